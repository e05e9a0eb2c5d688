//! `jobs`, and what listings of live and dead ones have in common.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};

use serde::Serialize;

use super::Site;
use super::args::{JobsCommand, PageArgs, QUEUE_PREFIX, ShowArgs};
use super::error::OperateError;
use super::show::{fields, moment, plain, relative, table};
use crate::broker::{Broker, BrokerError, JobFilter, JobId, JobRecord, JobState, PageMark, QueueName};
use crate::clock::Timestamp;
use crate::codec::Codec;
use crate::inspect::{JobView, Outcome, Reveal, span};
use crate::job::Failure;

pub(super) async fn run(site: &Site<'_>, command: &JobsCommand) -> Result<(), OperateError> {
    match command {
        JobsCommand::List { running, deferred, task, page } => {
            let filter = if *running { JobFilter::Running } else { JobFilter::Live };
            let is_meant =
                |job: &JobRecord| (!deferred || job.state == JobState::Deferred) && is_of(job, task.as_deref());
            let wanted = Wanted { filter, is_any: !deferred && task.is_none(), is_meant: &is_meant };
            let state = if *running {
                " --running"
            } else if *deferred {
                " --deferred"
            } else {
                ""
            };
            let command = format!("jobs list{state}{}", option("--task", task.as_deref()));
            list(site, &wanted, page, &Words { what: "jobs", command }).await
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
    /// Of running ones: those of Python workers in the queues that were read to their end.
    unlisted: u64,
}

/// How many jobs are read at a time where most may not be meant: they come with their payloads.
pub(super) const PAGE: usize = 200;

/// Which jobs are listed.
pub(super) struct Wanted<'a> {
    pub(super) filter: JobFilter,
    /// Whether each that passes the filter is meant.
    pub(super) is_any: bool,
    pub(super) is_meant: &'a (dyn Fn(&JobRecord) -> bool + Sync),
}

/// How a listing speaks.
pub(super) struct Words {
    pub(super) what: &'static str,
    /// The command with what chooses, for reading on.
    pub(super) command: String,
}

/// Lists up to `--limit` jobs. Where few are meant it reads on, a page at a time, and says how far it is.
pub(super) async fn list(
    site: &Site<'_>,
    wanted: &Wanted<'_>,
    args: &PageArgs,
    words: &Words,
) -> Result<(), OperateError> {
    let mut listing = Listing { jobs: Vec::new(), next: None, unlisted: 0 };
    let mut looked = Looked::default();
    for queue in site.queues().await? {
        let room = args.limit - listing.jobs.len();
        if room == 0 {
            // Only if there is something in it.
            let page = site.broker.jobs(&queue, wanted.filter, None, 1).await?;
            if !page.jobs.is_empty() || page.next.is_some() {
                listing.next = Some(Next { queue: queue.as_str().to_owned(), after: None });
                break;
            }
            continue;
        }
        let (records, next) = read(site, &queue, wanted, args, room, &mut looked).await?;
        if wanted.filter == JobFilter::Running && next.is_none() && args.after.is_none() {
            let running = site.broker.stats(&queue).await?.running;
            listing.unlisted += unlisted(running, records.len());
        }
        if !records.is_empty() {
            let reveal = reveal(site, &queue, args.show_args).await?;
            listing.jobs.extend(records.into_iter().map(|record| JobView::new(record, &queue, &reveal)));
        }
        if let Some(mark) = next {
            listing.next = Some(Next { queue: queue.as_str().to_owned(), after: Some(mark.0) });
            break;
        }
    }
    looked.end();
    let now = site.broker.clock().now();
    site.output.tell(&listing, || {
        let others = others(listing.unlisted);
        if listing.jobs.is_empty() {
            let none = if wanted.is_any { "No" } else { "No such" };
            return format!("{none} {}.{others}", words.what);
        }
        let table = if wanted.filter == JobFilter::Running { table_of_running } else { table_of };
        let mut text = table(&listing.jobs, now);
        if let Some(next) = &listing.next {
            let may = if wanted.is_any { "are" } else { "may be" };
            text = format!("{text}\n\nThere {may} more: {}", read_on(site, next, args, words));
        }
        text + &others
    });
    Ok(())
}

/// How many of a queue's running jobs are in no list of such, when that has been read to its end.
pub(super) fn unlisted(running: u64, listed: usize) -> u64 {
    running.saturating_sub(u64::try_from(listed).unwrap_or(u64::MAX))
}

/// What is said of these.
pub(super) fn others(unlisted: u64) -> String {
    match unlisted {
        0 => String::new(),
        count => format!("\n\nPython workers run {count}: `sector-7g jobs list` has these among those that wait."),
    }
}

/// The first `room` that are meant, and where to go on if not all were looked at.
async fn read(
    site: &Site<'_>,
    queue: &QueueName,
    wanted: &Wanted<'_>,
    args: &PageArgs,
    room: usize,
    looked: &mut Looked,
) -> Result<(Vec<JobRecord>, Option<PageMark>), OperateError> {
    let whole = if wanted.is_any { room } else { PAGE.max(room) };
    let (mut found, mut after, mut count) = (Vec::new(), args.after.clone(), whole);
    loop {
        let page = site.broker.jobs(queue, wanted.filter, after.clone(), count).await?;
        let (read, left) = (page.jobs.len(), room - found.len());
        let mut meant: Vec<(usize, JobRecord)> =
            page.jobs.into_iter().enumerate().filter(|(_, record)| (wanted.is_meant)(record)).collect();
        if meant.len() > left {
            // A mark stands at a page's end, so the page is to end with the last that there is room for. Each time it is
            // smaller, and one as small as the room always fits: no page has more jobs than it may.
            count = meant.swap_remove(left - 1).0 + 1;
            continue;
        }
        looked.at(read);
        found.extend(meant.into_iter().map(|(_, record)| record));
        (after, count) = (page.next, whole);
        if after.is_none() || found.len() == room {
            return Ok((found, after));
        }
    }
}

/// Says how far a search is, where somebody watches and it is long.
#[derive(Default)]
pub(super) struct Looked {
    count: usize,
    told: usize,
}

impl Looked {
    const STEP: usize = 10_000;

    pub(super) fn at(&mut self, count: usize) {
        self.count += count;
        if self.count >= self.told + Self::STEP && std::io::stderr().is_terminal() {
            self.told = self.count;
            let _ = write!(anstream::stderr(), "\rlooked at {}", self.count);
        }
    }

    pub(super) fn end(&self) {
        if self.told > 0 {
            let _ = writeln!(anstream::stderr(), "\rlooked at {}", self.count);
        }
    }
}

/// The command that lists what comes next, as it can be typed.
fn read_on(site: &Site<'_>, next: &Next, args: &PageArgs, words: &Words) -> String {
    let mut command = format!("sector-7g {} --queue {}", words.command, shell(&next.queue));
    command += &option("--after", next.after.as_deref());
    if args.limit != PageArgs::LIMIT {
        let _ = write!(command, " --limit {}", args.limit);
    }
    if args.show_args {
        command += " --show-args";
    }
    // A password is for nobody's screen.
    command += &option("--redis", site.typed_url.map(|url| if url.contains('@') { "URL" } else { url }));
    command += &option("--queue-prefix", Some(site.queue_prefix).filter(|prefix| *prefix != QUEUE_PREFIX));
    command
}

/// An option as a shell takes it, after a space; nothing if it was not given.
pub(super) fn option(name: &str, value: Option<&str>) -> String {
    // With `=`, as a value may begin with a hyphen.
    value.map(|value| format!(" {name}={}", shell(value))).unwrap_or_default()
}

/// Whether a job is of that task, if one is named; one that can't be read is of none.
pub(super) fn is_of(job: &JobRecord, task: Option<&str>) -> bool {
    let Some(task) = task else { return true };
    let decoded = job.payload.as_ref().and_then(|payload| Codec::decode_job(payload).ok());
    decoded.is_some_and(|(_, job)| job.task == task)
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
        let when = when(job);
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
    table(&["queue", "=id", "=state", ">when", ">tries", "job", "last failure"], rows)
}

/// Running jobs: since when, and on whose machine.
pub(super) fn table_of_running(jobs: &[JobView], now: Timestamp) -> String {
    let rows = jobs.iter().map(|job| {
        let worker = job.worker.as_ref().map(ToString::to_string).unwrap_or_default();
        vec![job.queue.clone(), job.id.clone(), relative(when(job), now), job.attempt.to_string(), worker, call(job)]
    });
    table(&["queue", "=id", ">since", ">try", "worker", "job"], rows)
}

/// What tells most of a job in its state: when it died, since when it runs, when it is due, or when it ended.
pub(super) fn when(job: &JobView) -> Option<Timestamp> {
    let since = job.started_at.filter(|_| job.state == JobState::InProgress);
    job.died_at.or(since).or(job.due_at).or(job.finished_at)
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
        ("worker", job.worker.as_ref().map(ToString::to_string)),
        ("trace", job.trace_id.clone()),
        ("progress", job.progress.as_ref().map(ToString::to_string)),
    ];
    match &job.outcome {
        Some(Outcome::Result(value)) => entries.push(("result", Some(value.to_string()))),
        Some(Outcome::Failure(failure)) => entries.push(("failure", Some(failure.to_string()))),
        None => {}
    }
    let mut text = fields(&entries);
    for failure in &job.failures {
        let _ = write!(text, "\n\n{}", attempt(failure, now));
    }
    if hidden {
        text.push_str("\n\n*** hides what its task marks so, and all arguments of a task that no living worker knows (--show-args shows the latter).");
    }
    text
}

/// A failed attempt: how it failed, when and where it ran.
fn attempt(failure: &Failure, now: Timestamp) -> String {
    let ran = failure.ran.as_ref().map_or(String::new(), |ran| {
        let took = span(failure.at.since(ran.started_at));
        format!(", after {took} on worker {} of {}, process {}", ran.worker, ran.host, ran.pid)
    });
    let type_name = failure.error_type.as_ref().map(|name| format!(" [{name}]")).unwrap_or_default();
    fields(&[
        (&format!("try {}", failure.attempt), Some(format!("{failure}{type_name}"))),
        ("", Some(format!("failed {}{ran}", moment(failure.at, now)))),
    ])
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
