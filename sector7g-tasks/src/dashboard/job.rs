//! One job: what it was given, what became of it, and when.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use futures_util::stream::{self, StreamExt as _};
use maud::{Markup, html};

use super::guard::Csrf;
use super::jobs::{reveal, told};
use super::params::{Asked, Params, encoded};
use super::{Fault, Site, draw};
use crate::broker::{BrokerError, JobId, JobRecord, JobState, QUEUES_AT_ONCE, QueueName};
use crate::clock::Timestamp;
use crate::codec::Codec;
use crate::inspect::text::{lines, plain};
use crate::inspect::{JobView, Outcome, span};
use crate::job::Failure;

pub(super) async fn job(
    State(site): State<Arc<Site>>,
    Extension(csrf): Extension<Csrf>,
    asked: Asked,
) -> Result<Markup, Fault> {
    let params = Params::of(asked)?;
    let Some((queue, record)) = find(&site, &params).await? else {
        let text = format!(
            "there is no job `{}` in {} (one that has ended is known while its result or dead letter is kept)",
            params.text("id").unwrap_or(""),
            params.text("queue").map_or_else(|| "any queue listed here".to_owned(), |name| format!("queue `{name}`"))
        );
        return Err(Fault::new(StatusCode::NOT_FOUND, text));
    };
    let is_named = names_its_queue(&record);
    let reveal = reveal(&site, &mut site.broker().stats(&queue).await?);
    let job = JobView::new(record, &queue, &reveal);
    let now = site.broker().clock().now();
    let content = html! {
        (told(&params))
        p {
            (draw::state(job.state)) " in "
            @if is_named { a href=(format!("queue?queue={}", encoded(queue.as_str()))) { (plain(queue.as_str())) } }
            @else { "a queue that its record does not name" }
        }
        @if site.dashboard.actions { (choices(&job, &csrf)) }
        (facts(&job))
        h2 { "Arguments" }
        @match (&job.arguments, &job.unreadable) {
            (Some(text), _) => {
                pre tabindex="0" role="region" aria-label="Arguments" { (plain(text)) }
                @if text.contains("***") {
                    p.hint { "*** stands for what its task hides, and for all arguments of a task that no living worker knows." }
                }
            },
            (None, Some(why)) => p.note.bad { (plain(why)) },
            (None, None) => p.empty { "Not kept once a job has ended." },
        }
        (outcome(job.outcome.as_ref()))
        (timeline(&job, now))
    };
    let title = format!("Job {}", job.id);
    Ok(site.page(&title, "", now, &content))
}

/// Whether it is known to be of the queue in which it was found. Results are kept under their job's id alone: one that
/// names no queue, or can't be read, is found in each.
fn names_its_queue(record: &JobRecord) -> bool {
    let result = record.result.as_deref().filter(|_| record.state == JobState::Complete);
    result.is_none_or(|result| Codec::queue_of_result(result).is_some())
}

/// The job that is named, in its queue, or in the first of all where there is one of that id; where one is not known to
/// be of the queues that are shown, only if all are.
async fn find(site: &Site, params: &Params) -> Result<Option<(QueueName, JobRecord)>, Fault> {
    let broker = site.broker();
    let may_show = |record: &JobRecord| site.dashboard.only.is_none() || names_its_queue(record);
    if params.queue()?.is_some() {
        let (queue, ids) = (site.queue(params)?, params.ids()?);
        let [id] = &ids[..] else { return Err(Fault::bad("the address has to name one job")) };
        return Ok(broker.job(&queue, id).await?.filter(may_show).map(|record| (queue, record)));
    }
    // As it was pasted.
    let id = JobId::new(params.text("id").unwrap_or("").trim()).map_err(|error| Fault::bad(error.to_string()))?;
    let queues = site.queues().await?;
    let id = &id;
    let asked = stream::iter(queues).map(|queue| async move {
        match broker.job(&queue, id).await {
            Err(BrokerError::Refused(_)) => Ok(None), // on a cluster no queue has ids of another slot
            record => Ok(record?.map(|record| (queue, record))),
        }
    });
    let mut answers = asked.buffered(QUEUES_AT_ONCE);
    let mut of_none = None;
    while let Some(answer) = answers.next().await {
        match answer.map_err(|error: BrokerError| error)? {
            Some(found) if names_its_queue(&found.1) => return Ok(Some(found)),
            // Another queue may have a job of that id that is known to be its own.
            Some(found) if may_show(&found.1) => of_none = of_none.or(Some(found)),
            _ => {}
        }
    }
    Ok(of_none)
}

fn choices(job: &JobView, csrf: &Csrf) -> Markup {
    let acts: &[(&str, &str)] = match job.state {
        JobState::Dead => &[("retry", "Retry"), ("discard", "Discard")],
        JobState::Deferred => &[("run-now", "Run now"), ("abort", "Abort")],
        JobState::Queued | JobState::InProgress if !job.abort_requested => &[("abort", "Abort")],
        _ => return html! {},
    };
    html! { form.actions method="post" action="act" {
        (draw::hidden(csrf, &[("queue", &job.queue), ("id", &job.id), ("from", "job")]))
        @for (act, name) in acts { button.danger[matches!(*act, "discard" | "abort")] name="act" value=(act) { (name) } }
    } }
}

fn facts(job: &JobView) -> Markup {
    let tries = job.max_tries.map_or_else(|| job.attempt.to_string(), |most| format!("{} of {most}", job.attempt));
    let size = job.codec.as_ref().zip(job.size).map(|(codec, size)| format!("{codec}, {size} bytes"));
    html! { dl.facts {
        dt { "Task" } dd { (plain(job.task.as_deref().unwrap_or("unknown"))) }
        dt { "Attempt" } dd { (tries) }
        @if let Some(size) = size { dt { "Stored as" } dd { (size) } }
        @if let Some(worker) = &job.worker { dt { "Worker" } dd { (plain(&worker.to_string())) } }
        @if let Some(progress) = &job.progress { dt { "Progress" } dd { (draw::long(&progress.to_string())) } }
        @if let Some(trace) = &job.trace_id { dt { "Trace" } dd { code { (trace) } } }
        @if job.abort_requested { dt { "Abort" } dd { "asked for" } }
    } }
}

fn outcome(outcome: Option<&Outcome>) -> Markup {
    html! { @match outcome {
        None => {},
        Some(Outcome::Result(value)) => {
            h2 { "Result" }
            pre tabindex="0" role="region" aria-label="Result" { (lines(&serde_json::to_string_pretty(value).unwrap_or_default())) }
        }
        Some(Outcome::Failure(failure)) => { h2 { "Failure" } (reason(failure)) }
    } }
}

fn reason(failure: &Failure) -> Markup {
    html! {
        p { span.kind { (failure.kind) } @if let Some(name) = &failure.error_type { " " code.hint { (plain(name)) } } }
        (draw::long(&failure.message))
        @if !failure.causes.is_empty() {
            p.hint { "caused by" }
            ol.causes aria-label="Causes, outermost first" { @for cause in &failure.causes { li { (draw::long(cause)) } } }
        }
    }
}

/// What happened to a job, and what is to happen, in this order.
fn timeline(job: &JobView, now: Timestamp) -> Markup {
    let is_ahead = matches!(job.state, JobState::Deferred | JobState::Queued);
    // How it ended says more than the last of its failures, which is the same.
    let died = job.died_at.or(job.finished_at.filter(|_| job.state == JobState::Dead));
    let ended = job.finished_at.filter(|_| died.is_none());
    html! {
        h2 { "Timeline" }
        ol.timeline {
            @if job.tick.is_some() { (event("ahead", "Tick of its schedule", job.tick, now)) }
            @if job.enqueued_at.is_some() { (event("", "Enqueued", job.enqueued_at, now)) }
            @for failure in &job.failures {
                li.bad {
                    p { strong { "Attempt " (failure.attempt) " failed" } " " (draw::moment(Some(failure.at), now)) }
                    @if let Some(ran) = &failure.ran {
                        p.hint {
                            "after " (span(failure.at.since(ran.started_at))) ", on worker " (plain(&ran.worker)) " of "
                            (plain(&ran.host)) ", process " (ran.pid)
                        }
                    }
                    (reason(failure))
                }
            }
            @if job.started_at.is_some() {
                @let class = if job.state == JobState::InProgress { "good" } else { "" };
                (event(class, &format!("Attempt {} started", job.attempt), job.started_at, now))
            }
            @if job.state == JobState::InProgress && job.started_at.is_none() {
                (event("good", &format!("Attempt {} runs", job.attempt), None, now))
            }
            @if is_ahead { (event("ahead", if job.state == JobState::Queued { "Due" } else { "To be due" }, job.due_at, now)) }
            @if ended.is_some() {
                @match job.outcome {
                    Some(Outcome::Failure(_)) => (event("bad", "Ended as failed", ended, now)),
                    _ => (event("good", "Ended well", ended, now)),
                }
            }
            @if died.is_some() { (event("bad", "Became a dead letter", died, now)) }
        }
    }
}

fn event(class: &str, what: &str, at: Option<Timestamp>, now: Timestamp) -> Markup {
    html! { li class=(class) { p { strong { (what) } @if at.is_some() { " " (draw::moment(at, now)) } } } }
}
