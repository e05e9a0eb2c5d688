//! Abort requests: arq's one sorted set for all queues.

use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use redis::{Cmd, Value};
use tokio::time::{Instant, sleep_until};

use super::keys::{ABORTS, job, notes};
use super::link::Link;
use super::reply::Reply;
use super::script::{ABORT, LIVE};
use crate::broker::{AbortMark, Aborts, BrokerError, Finish, Finished, JobId, MAX_BATCH, Outcome};
use crate::clock::Timestamp;

/// The requests that this process has seen, so that it can take them out with their jobs.
#[derive(Debug, Default)]
pub(super) struct Seen {
    ids: Mutex<HashSet<JobId>>,
    swept: Mutex<Option<Instant>>,
}

/// How often requests are looked through for those whose jobs are gone: a command for each of another queue's jobs.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Beyond it some are forgotten; who next looks at the requests takes those out whose jobs are gone.
const MOST_SEEN: usize = 10_000;

impl Seen {
    pub(super) fn add(&self, ids: impl IntoIterator<Item = JobId>) {
        let mut seen = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            if seen.len() < MOST_SEEN {
                seen.insert(id);
            }
        }
    }

    /// Those of the jobs ended by `finished` that someone had asked to abort. Who has lost a job does not end it.
    fn take_ended(&self, finished: &[Finish], answers: &[Finished]) -> Vec<JobId> {
        let mut seen = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_empty() {
            return Vec::new();
        }
        let applied = finished.iter().zip(answers).filter(|(_, answer)| **answer == Finished::Applied);
        let ended = applied.filter(|(finish, _)| matches!(finish.outcome, Outcome::End { .. }));
        ended.filter_map(|(finish, _)| seen.take(&finish.lease.id)).collect()
    }

    /// Whether it is time to look through the requests again.
    fn is_sweep_due(&self) -> bool {
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = swept.is_none_or(|at| at.elapsed() >= SWEEP_EVERY);
        if is_due {
            *swept = Some(Instant::now());
        }
        is_due
    }
}

/// Asks that a job be aborted; false when no such job waits or runs in the queue.
pub(super) async fn abort(
    link: &Link,
    seen: &Seen,
    queue: &str,
    id: &JobId,
    now: Timestamp,
) -> Result<bool, BrokerError> {
    // The set is that of all queues: a request for another queue's job, even for a moment, could end that job.
    if link.command::<Option<f64>>(redis::cmd("ZSCORE").arg(queue).arg(id.as_str())).await?.is_none() {
        return Ok(false);
    }
    // The request first: who claims the job with the script's mark on it can rely on finding the request, and takes
    // it out with the job.
    let added = ask(link, id, now).await?;
    let lives = link.script::<bool>(ABORT.key(queue).arg(id.as_str())).await?;
    if lives {
        seen.add([id.clone()]);
        return Ok(true);
    }
    // Between the two a Python worker may have taken the request, and ended the job by it.
    Ok(added && remove(link, std::slice::from_ref(id)).await? == 0)
}

/// Puts a request in; false when there was one.
async fn ask(link: &Link, id: &JobId, now: Timestamp) -> Result<bool, BrokerError> {
    // A second in the past, as a Python worker drops what its own clock calls the future.
    let asked_at = (now - Duration::from_secs(1)).as_millis();
    link.command(redis::cmd("ZADD").arg(ABORTS).arg("NX").arg(asked_at).arg(id.as_str())).await
}

/// Takes requests out; says how many were still there.
async fn remove(link: &Link, ids: &[JobId]) -> Result<usize, BrokerError> {
    let mut command = redis::cmd("ZREM");
    command.arg(ABORTS);
    for id in ids {
        command.arg(id.as_str());
    }
    link.command(&command).await
}

/// The requests that stand for jobs that this call has ended go with them.
pub(super) async fn clean_up(link: &Link, seen: &Seen, finished: &[Finish], answers: &[Finished], now: Timestamp) {
    let ended = seen.take_ended(finished, answers);
    if !ended.is_empty()
        && let Err(error) = remove_unmarked(link, seen, ended, now).await
    {
        tracing::debug!("abort requests of ended jobs are left to the next look: {}", crate::error::Chain(&error));
    }
}

/// A call that comes again ends nothing again: by then its id may be a later job's, which somebody asked to abort.
/// Looked at last, as that may happen at any time.
async fn remove_unmarked(link: &Link, seen: &Seen, ended: Vec<JobId>, now: Timestamp) -> Result<(), BrokerError> {
    remove(link, &ended).await?;
    let looks = ended.into_iter().map(async |id| {
        let marks: Vec<Option<String>> = link.command(redis::cmd("HMGET").arg(notes(id.as_str())).arg("b")).await?;
        // A mark may be left of an earlier job that a Python worker has ended.
        let is_asked = marks.iter().any(Option::is_some)
            && link.command::<bool>(redis::cmd("EXISTS").arg(job(id.as_str()))).await?;
        Ok::<_, BrokerError>(is_asked.then_some(id))
    });
    let later: Vec<JobId> = try_join_all(looks).await?.into_iter().flatten().collect();
    for id in &later {
        ask(link, id, now).await?;
    }
    seen.add(later);
    Ok(())
}

/// Takes out requests whose jobs are gone, now and then: arq's clients leave one whenever they abort a job that has
/// ended, and it would end the next job of its id.
pub(super) async fn sweep(link: &Link, seen: &Seen, queue: &str, requests: &[JobId]) {
    if requests.is_empty() || !seen.is_sweep_due() {
        return;
    }
    if let Err(error) = standing(link, seen, &[queue.to_owned()], true).await {
        tracing::debug!("abort requests of ended jobs are left to the next look: {}", crate::error::Chain(&error));
    }
}

/// Before jobs take the ids of ended ones: requests for those go.
pub(super) async fn forget(link: &Link, ids: Vec<JobId>) -> Result<(), BrokerError> {
    let stale = without_job(link, ids).await?;
    if stale.is_empty() { Ok(()) } else { remove(link, &stale).await.map(drop) }
}

async fn without_job(link: &Link, ids: Vec<JobId>) -> Result<Vec<JobId>, BrokerError> {
    let looks = ids.into_iter().map(async |id| {
        let exists = link.command::<bool>(redis::cmd("EXISTS").arg(job(id.as_str()))).await?;
        Ok((!exists).then_some(id))
    });
    Ok(try_join_all(looks).await?.into_iter().flatten().collect())
}

/// How many requests are looked at: those of all queues are in one set.
const MOST_REQUESTS: usize = 10_000;

/// All requests, at most [`MOST_REQUESTS`], the earliest first.
pub(super) async fn requests(link: &Link) -> Result<Vec<JobId>, BrokerError> {
    requested(link.command(&asking()).await?)
}

/// Asks for them.
pub(super) fn asking() -> Cmd {
    redis::cmd("ZRANGE").arg(ABORTS).arg(0).arg(MOST_REQUESTS - 1).clone()
}

/// What that was answered.
pub(super) fn requested(answer: Value) -> Result<Vec<JobId>, BrokerError> {
    let mut reply = Reply::of("ZRANGE", answer)?;
    let mut ids = Vec::with_capacity(reply.len());
    while !reply.is_over() {
        ids.extend(reply.id("can't be aborted")?);
    }
    Ok(ids)
}

/// Waits for requests that are not those of `since`; see [`Broker::aborts`](crate::broker::Broker::aborts).
pub(super) async fn watch(
    link: &Link,
    seen: &Seen,
    queues: &[String],
    since: AbortMark,
    poll_delay: Duration,
    limit: Duration,
) -> Result<Aborts, BrokerError> {
    let deadline = Instant::now() + limit;
    loop {
        let ids = standing(link, seen, queues, seen.is_sweep_due()).await?;
        let mark = mark_of(&ids);
        if mark != since || Instant::now() >= deadline {
            return Ok(Aborts { ids, mark });
        }
        sleep_until((Instant::now() + poll_delay.max(SHORTEST_POLL)).min(deadline)).await;
    }
}

const SHORTEST_POLL: Duration = Duration::from_millis(10);

/// The requests for live jobs of these queues. In a sweep those for jobs that are nowhere are taken out: arq leaves
/// them, and they would end the next job of their id.
async fn standing(link: &Link, seen: &Seen, queues: &[String], sweeps: bool) -> Result<Vec<JobId>, BrokerError> {
    let requests = requests(link).await?;
    if requests.is_empty() {
        return Ok(requests);
    }
    let mut live = BTreeSet::new();
    for queue in queues {
        let mut call = LIVE.key(queue);
        for id in &requests {
            call.arg(id.as_str());
        }
        let mut reply = Reply::of("live", link.script(&call).await?)?;
        while !reply.is_over() {
            live.extend(reply.id("can't be aborted")?);
        }
    }
    if sweeps {
        let elsewhere = requests.into_iter().filter(|id| !live.contains(id)).collect();
        forget(link, elsewhere).await?;
    }
    seen.add(live.iter().cloned());
    Ok(live.into_iter().take(MAX_BATCH).collect())
}

/// Names a set of requests: when it is the same as before, nothing was added.
fn mark_of(ids: &[JobId]) -> AbortMark {
    if ids.is_empty() {
        return AbortMark::default();
    }
    let mut hasher = DefaultHasher::new();
    ids.hash(&mut hasher);
    AbortMark(hasher.finish().max(1))
}
