//! Jobs, queues and workers, for those who look.

use std::time::Duration;

use bytes::Bytes;
use jiff::tz::TimeZone;

use super::link::Link;
use super::reply::Reply;
use super::script::{HEALTH, JOBS, STATS};
use crate::broker::{
    BrokerError, JobFilter, JobId, JobRecord, JobState, LeaseToken, Page, PageMark, QueueName, QueueStats, WorkerHealth,
};
use crate::clock::Timestamp;
use crate::codec::Codec;
use crate::job::Failure;

pub(super) async fn job(link: &Link, queue: &str, id: &JobId) -> Result<Option<JobRecord>, BrokerError> {
    let mut call = JOBS.key(queue);
    call.arg("one").arg(id.as_str());
    let mut reply = Reply::of("jobs", link.script(&call).await?)?;
    reply.maybe_list()?;
    let mut records = reply.list()?;
    while !records.is_over() {
        let job = record(&mut records.list()?)?.filter(|job| is_of(queue, job));
        if job.is_some() {
            return Ok(job);
        }
    }
    Ok(None)
}

/// Whether an ended job is this queue's. arq's results are under their ids alone, and name their queue; one that can't
/// be read, or names none, is shown in all.
fn is_of(queue: &str, job: &JobRecord) -> bool {
    let result = job.result.as_deref().filter(|_| job.state == JobState::Complete);
    result.and_then(Codec::queue_of_result).is_none_or(|named| named == queue)
}

pub(super) async fn jobs(
    link: &Link,
    queue: &str,
    filter: JobFilter,
    after: Option<PageMark>,
    limit: usize,
) -> Result<Page, BrokerError> {
    let (score, id) = match &after {
        None => ("", ""),
        Some(mark) => read_mark(mark)?,
    };
    if limit == 0 {
        return Ok(Page::default()); // Redis would take the range from 0 to -1 for all
    }
    let running_only = filter == JobFilter::Running; // a Python worker may have ended one, and left its lease
    let which = match filter {
        JobFilter::Live => "live",
        JobFilter::Running => "running",
        JobFilter::Dead => "dead",
    };
    let mut call = JOBS.key(queue);
    call.arg(which).arg(limit).arg(score).arg(id);
    let mut reply = Reply::of("jobs", link.script(&call).await?)?;
    let next = match reply.maybe_list()? {
        Some(mut mark) => mark.text()?.zip(mark.lossy()?).map(|(score, id)| PageMark(format!("{score}:{id}"))),
        None => None,
    };
    let mut records = reply.list()?;
    let mut jobs = Vec::with_capacity(records.len());
    while !records.is_over() {
        jobs.extend(record(&mut records.list()?)?.filter(|job| !running_only || job.state == JobState::InProgress));
    }
    Ok(Page { jobs, next })
}

fn read_mark(mark: &PageMark) -> Result<(&str, &str), BrokerError> {
    let parts = mark.0.split_once(':').filter(|(score, _)| score.parse::<f64>().is_ok_and(f64::is_finite));
    parts.ok_or_else(|| BrokerError::Refused(format!("{:?} is no mark of a page: begin with the first one", mark.0)))
}

/// A job as `jobs.lua` tells it; `None` when its id can't be used.
fn record(reply: &mut Reply) -> Result<Option<JobRecord>, BrokerError> {
    let id = reply.id("is not shown")?;
    let state = match reply.text()?.as_deref() {
        Some("deferred") => JobState::Deferred,
        Some("running") => JobState::InProgress,
        Some("complete") => JobState::Complete,
        Some("dead") => JobState::Dead,
        _ => JobState::Queued,
    };
    let (payload, result) = (reply.bytes()?, reply.bytes()?);
    let (attempt, due_at) = (reply.count()?, reply.moment()?);
    let failures = failures(reply.bytes()?);
    let (progress, abort_requested) = (reply.bytes()?, reply.bytes()?.is_some());
    let (worker, since) = (reply.lossy()?.map(instance), reply.text()?);
    Ok(id.map(|id| JobRecord {
        id,
        state,
        payload,
        result,
        attempt,
        due_at,
        failures,
        progress,
        abort_requested,
        worker,
        running_since: since.and_then(|since| since.parse().ok()).map(Timestamp::from_millis),
    }))
}

/// Which worker's a lease is, by what its token begins with; a Python worker's says nothing.
fn instance(worker: String) -> String {
    match u64::from_str_radix(&worker, 16) {
        Ok(worker) => LeaseToken { worker, call: 0 }.instance(),
        Err(_) => worker,
    }
}

/// A failure a line; one that another version wrote and this one can't read is left out.
fn failures(lines: Option<Bytes>) -> Vec<Failure> {
    let lines = lines.unwrap_or_default();
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

pub(super) async fn stats(
    link: &Link,
    queue: &str,
    name: &QueueName,
    now: Timestamp,
) -> Result<QueueStats, BrokerError> {
    let mut reply = Reply::of("stats", link.script(&STATS.key(queue)).await?)?;
    let (queued, deferred, running, dead) = (reply.count()?, reply.count()?, reply.count()?, reply.count()?);
    let oldest_due = u64::try_from(reply.int()?).ok().map(Duration::from_millis);
    let mut entries = reply.list()?;
    let mut workers: Vec<WorkerHealth> = Vec::with_capacity(entries.len());
    while !entries.is_over() {
        workers.extend(entries.bytes()?.and_then(|entry| serde_json::from_slice(&entry).ok()));
    }
    let of_python = reply.lossy()?;
    if workers.is_empty() {
        workers.extend(of_python.map(|line| WorkerHealth::of_arq(&line, name.as_str(), now)));
    }
    let paused_since = reply.lossy()?.map(|since| Timestamp::from_millis(since.parse().unwrap_or_default()));
    workers.sort_by(|a, b| (&a.name, &a.instance).cmp(&(&b.name, &b.instance)));
    Ok(QueueStats { queued, deferred, running, dead, oldest_due, paused_since, workers })
}

/// Stores or removes a worker's entry of one queue.
pub(super) async fn set_health(
    link: &Link,
    queue: &str,
    worker: &str,
    health: Option<&WorkerHealth>,
    ttl: Duration,
) -> Result<(), BrokerError> {
    let (entry, words) = match health {
        Some(health) => (json(health)?, arq_words(health)),
        None => (String::new(), String::new()),
    };
    let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).clamp(1, LONGEST_TTL_MS);
    let mut call = HEALTH.key(queue);
    call.arg(worker).arg(entry).arg(ttl).arg(words);
    link.script(&call).await
}

/// A year: within what Redis's expiries hold.
const LONGEST_TTL_MS: u64 = 365 * 86_400_000;

fn json(health: &WorkerHealth) -> Result<String, BrokerError> {
    serde_json::to_string(health).map_err(|error| BrokerError::Refused(error.to_string()))
}

/// arq's own words, up to the number of queued jobs, which the script adds.
fn arq_words(health: &WorkerHealth) -> String {
    let WorkerHealth { at, done, failed, retried, running, .. } = health;
    format!("{} j_complete={done} j_failed={failed} j_retried={retried} j_ongoing={running} queued=", local(*at))
}

fn local(moment: Timestamp) -> String {
    let moment = jiff::Timestamp::from_millisecond(moment.as_millis()).unwrap_or_default();
    moment.to_zoned(TimeZone::system()).strftime("%b-%d %H:%M:%S").to_string()
}
