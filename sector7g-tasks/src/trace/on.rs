use std::borrow::Cow;
use std::str::FromStr;

use opentelemetry::trace::{SpanContext, SpanId, Status, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::instrument::Instrumented;
use tracing::{Instrument, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::broker::NewJob;
use crate::client::EnqueueError;
use crate::codec::{LONGEST_TRACE_STATE, Trace, TraceParent};
use crate::context::Context;
use crate::error::Chain;
use crate::worker::{JobEnd, JobEndKind};

const SYSTEM: &str = "messaging.system";
const DESTINATION: &str = "messaging.destination.name";
const OPERATION: [&str; 2] = ["messaging.operation.name", "messaging.operation.type"];
const MESSAGE_ID: &str = "messaging.message.id";
const MESSAGE_COUNT: &str = "messaging.batch.message_count";
const ERROR_TYPE: &str = "error.type";
const ATTEMPT: &str = "sector7g.job.attempt";
const OUTCOME: &str = "sector7g.job.outcome";
const TASK: &str = "sector7g.task.name";

/// The span of one call that enqueues: a producer's.
pub(crate) struct Sending(Span);

impl Sending {
    /// Begins one for jobs that go to `queue`; none where there are no jobs.
    pub(crate) fn begin(queue: Option<&str>) -> Self {
        let Some(queue) = queue else { return Self(Span::none()) };
        let span = tracing::info_span!("enqueue", otel.name = %format_args!("send {queue}"), otel.kind = "producer");
        if !span.is_disabled() {
            describe(&span, "send");
        }
        Self(span)
    }

    /// What its jobs are to carry, unless nobody traces.
    pub(crate) fn trace(&self) -> Option<Trace> {
        if self.0.is_disabled() {
            return None;
        }
        let context = self.0.context();
        let span = context.span();
        let span = span.span_context();
        span.is_valid().then(|| Trace {
            parent: TraceParent {
                trace_id: u128::from_be_bytes(span.trace_id().to_bytes()),
                span_id: u64::from_be_bytes(span.span_id().to_bytes()),
                flags: span.trace_flags().to_u8(),
            },
            state: bounded(span.trace_state().header()),
        })
    }

    pub(crate) fn encoded(&self, jobs: &[NewJob]) {
        if self.0.is_disabled() {
            return;
        }
        if let Some((first, others)) = jobs.split_first() {
            if others.iter().all(|job| job.queue == first.queue) {
                self.0.set_attribute(DESTINATION, first.queue.to_string());
            }
            if others.is_empty() {
                self.0.set_attribute(MESSAGE_ID, first.id.to_string());
            } else {
                self.0.set_attribute(MESSAGE_COUNT, i64::try_from(jobs.len()).unwrap_or(i64::MAX));
            }
        }
    }

    pub(crate) fn run<F: Future>(&self, sending: F) -> Instrumented<F> {
        sending.instrument(self.0.clone())
    }

    pub(crate) fn end(&self, error: Option<&EnqueueError>) {
        if let Some(error) = error {
            let kind = match error {
                EnqueueError::Name { .. } => "name",
                EnqueueError::Encode { .. } => "encode",
                EnqueueError::TooLarge { .. } => "too_large",
                EnqueueError::Broker { .. } => "broker",
            };
            fail(&self.0, kind, Chain(error).to_string());
        }
    }
}

/// Begins the span of one attempt: a consumer's, a child of the one that enqueued its job.
pub(crate) fn job_span(ctx: &Context) -> Span {
    let queue = ctx.queue();
    let span = tracing::info_span!(
        "job",
        job_id = %ctx.job_id(),
        task = ctx.task(),
        queue = %queue,
        job_try = ctx.attempt(),
        otel.name = %format_args!("process {queue}"),
        otel.kind = "consumer",
    );
    if span.is_disabled() {
        return span;
    }
    if let Some(trace) = &ctx.0.extra.trace {
        // An error says that nobody traces.
        let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(remote(trace)));
    }
    describe(&span, "process");
    span.set_attribute(DESTINATION, queue.to_string());
    span.set_attribute(MESSAGE_ID, ctx.job_id().to_string());
    span.set_attribute(TASK, ctx.task());
    span.set_attribute(ATTEMPT, i64::from(ctx.attempt()));
    span
}

/// Says in the attempt's span, which is the current one, how it ended.
pub(crate) fn ended(end: &JobEnd) {
    let span = Span::current();
    if span.is_disabled() {
        return;
    }
    let (outcome, is_error) = match end.kind {
        JobEndKind::Done => ("done", false),
        JobEndKind::Failed => ("failed", true),
        JobEndKind::Retried(_) => ("retried", true),
        JobEndKind::GivenBack(_) => ("given_back", false),
        JobEndKind::Aborted => ("aborted", false),
    };
    span.set_attribute(OUTCOME, outcome);
    if let Some(failure) = end.failure.as_ref().filter(|_| is_error) {
        fail(&span, failure.kind.label(), failure.message.clone());
    }
}

/// The same of an attempt that another worker may have by now.
pub(crate) fn lost() {
    let span = Span::current();
    span.set_attribute(OUTCOME, "lease_lost");
    fail(&span, "lease_lost", "its lease was lost");
}

fn describe(span: &Span, operation: &'static str) {
    span.set_attribute(SYSTEM, "sector7g");
    for attribute in OPERATION {
        span.set_attribute(attribute, operation);
    }
}

fn fail(span: &Span, kind: &'static str, description: impl Into<Cow<'static, str>>) {
    span.set_attribute(ERROR_TYPE, kind);
    span.set_status(Status::error(description));
}

/// A `tracestate` as long as all pass it on, without the entries at its end that would make it longer.
fn bounded(mut state: String) -> Option<Box<str>> {
    while state.len() > LONGEST_TRACE_STATE {
        let end = state.rfind(',').unwrap_or(0);
        state.truncate(end);
    }
    (!state.is_empty()).then(|| state.into())
}

/// The span of another process. A `tracestate` that is none is left out.
fn remote(trace: &Trace) -> SpanContext {
    let Trace { parent: TraceParent { trace_id, span_id, flags }, state } = trace;
    let state = state.as_ref().and_then(|state| TraceState::from_str(state).ok()).unwrap_or_default();
    SpanContext::new(
        TraceId::from_bytes(trace_id.to_be_bytes()),
        SpanId::from_bytes(span_id.to_be_bytes()),
        TraceFlags::new(*flags),
        true,
        state,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_state_loses_its_last_entries() {
        let entry = |letter: char| format!("{letter}={}", "x".repeat(198));
        let three = ['a', 'b', 'c'].map(entry).join(",");
        assert_eq!(bounded(three).as_deref(), Some(&*['a', 'b'].map(entry).join(",")));
        assert_eq!(bounded("x".repeat(600)), None);
        assert_eq!(bounded(String::new()), None);
    }

    #[test]
    fn a_state_that_is_none_is_left_out() {
        let parent = TraceParent { trace_id: 5, span_id: 6, flags: 1 };
        let span = |state: &str| remote(&Trace { parent, state: Some(state.into()) });
        assert_eq!(span("vendor=a,other=b").trace_state().header(), "vendor=a,other=b");
        for garbage in ["", "no entry", "=,=", "A=\u{e9}", "a=b,,=c"] {
            let span = span(garbage);
            assert!(span.is_valid() && span.is_remote() && span.is_sampled(), "{garbage:?}");
        }
        assert_eq!(span("no entry").trace_state().header(), "");
        assert_eq!((span("").trace_id(), span("").span_id()), (TraceId::from(5_u128), SpanId::from(6_u64)));
    }
}
