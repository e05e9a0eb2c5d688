//! `jobs`, and what listings of live and dead ones have in common.

use serde::Serialize;

use super::Site;
use super::args::{JobsCommand, PageArgs, ShowArgs};
use super::error::OperateError;
use super::show::{fields, moment, plain, relative, table};
use crate::broker::{Broker, BrokerError, JobFilter, JobId, JobRecord, JobState, QueueName};
use crate::clock::Timestamp;
use crate::inspect::{JobView, Outcome, Reveal};

pub(super) async fn run(site: &Site<'_>, command: &JobsCommand) -> Result<(), OperateError> {
    match command {
        JobsCommand::List { running, page } => {
            let filter = if *running { JobFilter::Running } else { JobFilter::Live };
            list(site, filter, page, "jobs").await
        }
        JobsCommand::Show(args) => show(site, args, "job", |_| true).await,
        JobsCommand::Abort { id } => abort(site, id).await,
        JobsCommand::RunNow { id } => run_now(site, id).await,
    }
}

/// Where a listing goes on.
#[derive(Serialize)]
struct Next {
    queue: String,
    /// For `--after`; none: from the beginning of this queue.
    after: Option<String>,
}

#[derive(Serialize)]
struct Listing {
    jobs: Vec<JobView>,
    next: Option<Next>,
}

pub(super) async fn list(site: &Site<'_>, filter: JobFilter, args: &PageArgs, what: &str) -> Result<(), OperateError> {
    let mut listing = Listing { jobs: Vec::new(), next: None };
    for queue in site.queues().await? {
        let room = args.limit - listing.jobs.len();
        if room == 0 {
            // Only if there is something in it.
            if !site.broker.jobs(&queue, filter, None, 1).await?.jobs.is_empty() {
                listing.next = Some(Next { queue: queue.as_str().to_owned(), after: None });
                break;
            }
            continue;
        }
        let page = site.broker.jobs(&queue, filter, args.after.clone(), room).await?;
        if page.jobs.is_empty() {
            continue;
        }
        let reveal = reveal(site, &queue, args.show_args).await?;
        listing.jobs.extend(page.jobs.into_iter().map(|record| JobView::new(record, &queue, &reveal)));
        if let Some(mark) = page.next {
            listing.next = Some(Next { queue: queue.as_str().to_owned(), after: Some(mark.0) });
            break;
        }
    }
    let now = site.broker.clock().now();
    site.output.tell(&listing, || {
        if listing.jobs.is_empty() {
            return format!("No {what}.");
        }
        let mut text = table_of(&listing.jobs, now);
        if let Some(Next { queue, after }) = &listing.next {
            let after = after.as_ref().map(|mark| format!(" --after {}", shell(mark))).unwrap_or_default();
            text = format!("{text}\n\nThere are more: --queue {}{after}", shell(queue));
        }
        text
    });
    Ok(())
}

/// A word as a shell takes it.
fn shell(word: &str) -> String {
    let is_tame = |c: char| c.is_ascii_alphanumeric() || "._:-/+@%=".contains(c);
    if !word.is_empty() && word.chars().all(is_tame) {
        return word.to_owned();
    }
    format!("'{}'", plain(word).replace('\'', r"'\''"))
}

async fn reveal(site: &Site<'_>, queue: &QueueName, show_unknown: bool) -> Result<Reveal, OperateError> {
    let reveal = Reveal::of(site.broker, queue).await?;
    Ok(if show_unknown { reveal.unknown_tasks() } else { reveal })
}

pub(super) fn table_of(jobs: &[JobView], now: Timestamp) -> String {
    let rows = jobs.iter().map(|job| {
        let when = job.died_at.or(job.due_at).or(job.finished_at);
        let last = job.failures.last().map(ToString::to_string).or_else(|| job.unreadable.clone());
        vec![
            job.queue.clone(),
            job.id.clone(),
            state(job),
            relative(when, now),
            job.attempt.to_string(),
            call(job),
            last.unwrap_or_default(),
        ]
    });
    table(&["queue", "id", "state", ">when", ">tries", "job", "last failure"], rows)
}

pub(super) fn state(job: &JobView) -> String {
    if job.abort_requested { format!("{}, aborting", job.state) } else { job.state.to_string() }
}

pub(super) fn call(job: &JobView) -> String {
    let arguments = job.arguments.as_ref().map(|arguments| format!("({arguments})")).unwrap_or_default();
    format!("{}{arguments}", job.task.as_deref().unwrap_or("<unreadable>"))
}

/// The job of that id, in the queue that is named, or in the first where it stands as it should.
async fn find(
    site: &Site<'_>,
    id: &JobId,
    what: &'static str,
    is_meant: impl Fn(JobState) -> bool,
) -> Result<(QueueName, JobRecord), OperateError> {
    for queue in site.queues().await? {
        match site.broker.job(&queue, id).await {
            Err(BrokerError::Refused(_)) if site.queue.is_none() => {} // on a cluster no queue has ids of another slot
            record => {
                if let Some(record) = record?.filter(|record| is_meant(record.state)) {
                    return Ok((queue, record));
                }
            }
        }
    }
    let place = site.queue.map_or_else(|| "any known queue".to_owned(), |queue| format!("queue `{queue}`"));
    Err(OperateError::NotFound { what, id: id.to_string(), place })
}

pub(super) async fn show(
    site: &Site<'_>,
    args: &ShowArgs,
    what: &'static str,
    is_meant: impl Fn(JobState) -> bool,
) -> Result<(), OperateError> {
    let (queue, record) = find(site, &args.id, what, is_meant).await?;
    let reveal = reveal(site, &queue, args.show_args).await?;
    let (job, now) = (JobView::new(record, &queue, &reveal), site.broker.clock().now());
    site.output.tell(&job, || for_people(&job, now));
    Ok(())
}

pub(super) fn for_people(job: &JobView, now: Timestamp) -> String {
    let at = |stamp: Option<Timestamp>| stamp.map(|stamp| moment(stamp, now));
    let tries = job.max_tries.map_or_else(|| job.attempt.to_string(), |most| format!("{} of {most}", job.attempt));
    let hidden = job.arguments.as_ref().is_some_and(|arguments| arguments.contains("***"));
    let mut entries = vec![
        ("id", Some(job.id.clone())),
        ("queue", Some(job.queue.clone())),
        ("state", Some(state(job))),
        ("job", Some(call(job))),
        ("unreadable", job.unreadable.clone()),
        ("codec", job.codec.clone().zip(job.size).map(|(codec, size)| format!("{codec}, {size} bytes"))),
        ("attempt", Some(tries)),
        ("enqueued", at(job.enqueued_at)),
        ("due", at(job.due_at)),
        ("tick", at(job.tick)),
        ("died", at(job.died_at)),
        ("started", at(job.started_at)),
        ("finished", at(job.finished_at)),
        (
            "worker",
            job.worker.as_ref().map(|worker| if worker.is_empty() { "Python's".to_owned() } else { worker.clone() }),
        ),
        ("trace", job.trace_id.clone()),
        ("progress", job.progress.as_ref().map(ToString::to_string)),
    ];
    match &job.outcome {
        Some(Outcome::Result(value)) => entries.push(("result", Some(value.to_string()))),
        Some(Outcome::Failure(failure)) => entries.push(("failure", Some(failure.to_string()))),
        None => {}
    }
    let mut text = fields(&entries);
    if !job.failures.is_empty() {
        let rows = job.failures.iter().map(|failure| {
            let type_name = failure.error_type.clone().unwrap_or_default();
            vec![failure.attempt.to_string(), moment(failure.at, now), type_name, failure.to_string()]
        });
        text = format!("{text}\n\n{}", table(&[">try", "failed", "type", "failure"], rows));
    }
    if hidden {
        text.push_str("\n\n*** hides what its task marks so, and all arguments of a task that no living worker knows (--show-args shows the latter).");
    }
    text
}

#[derive(Serialize)]
struct Change<'a> {
    id: &'a str,
    queue: &'a str,
    done: bool,
}

async fn abort(site: &Site<'_>, id: &JobId) -> Result<(), OperateError> {
    let (queue, JobRecord { state, .. }) = find(site, id, "job", |_| true).await?;
    if !site.broker.abort(&queue, id).await? {
        return Err(OperateError::NotPossible(format!(
            "job `{id}` of queue `{queue}` is {state}: only one that waits or runs can be aborted"
        )));
    }
    site.output.tell(&Change { id: id.as_str(), queue: queue.as_str(), done: true }, || {
        format!(
            "Job `{id}` of queue `{queue}` ({state}) is to be aborted: a worker records its end. A Python worker aborts only \
             with `allow_abort_jobs`; a paused queue waits with it."
        )
    });
    Ok(())
}

async fn run_now(site: &Site<'_>, id: &JobId) -> Result<(), OperateError> {
    let (queue, JobRecord { state, .. }) = find(site, id, "job", |_| true).await?;
    if !site.broker.make_due(&queue, id).await? {
        return Err(OperateError::NotPossible(format!(
            "job `{id}` of queue `{queue}` is {state}: only a deferred one can be made due"
        )));
    }
    site.output.tell(&Change { id: id.as_str(), queue: queue.as_str(), done: true }, || {
        format!("Job `{id}` of queue `{queue}` is due now.")
    });
    Ok(())
}
