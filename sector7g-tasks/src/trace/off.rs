#![expect(clippy::unused_self, reason = "as with the feature")]

use tracing::Span;

use crate::broker::NewJob;
use crate::client::EnqueueError;
use crate::codec::Trace;
use crate::context::Context;
use crate::worker::JobEnd;

pub(crate) struct Sending;

impl Sending {
    pub(crate) fn begin(_: Option<&str>) -> Self {
        Self
    }

    pub(crate) fn trace(&self) -> Option<Trace> {
        None
    }

    pub(crate) fn encoded(&self, _: &[NewJob]) {}

    pub(crate) fn run<F: Future>(&self, sending: F) -> F {
        sending
    }

    pub(crate) fn end(&self, _: Option<&EnqueueError>) {}
}

pub(crate) fn job_span(ctx: &Context) -> Span {
    tracing::info_span!("job", job_id = %ctx.job_id(), task = ctx.task(), queue = %ctx.queue(), job_try = ctx.attempt())
}

pub(crate) fn ended(_: &JobEnd) {}

pub(crate) fn lost() {}
