//! Whether a fleet is well, and if not, why and what to do.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Overview, QueueView, WorkerView, millis};
use crate::broker::QueueName;
use crate::clock::Timestamp;

/// How a fleet fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nothing is beyond its threshold.
    Healthy,
    /// Something is: jobs are late, lost workers missed, dead letters to be seen to.
    Degraded,
    /// The broker does not answer, or does not let us in: nothing can run.
    Down,
}

/// What is beyond its threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReasonKind {
    /// The broker does not answer.
    Unreachable,
    /// The broker answers, and refuses what has to be asked: a wrong password, or lacking rights.
    Refused,
    /// Its server's memory is nearly full.
    Memory,
    /// What its set-up would break.
    SetUp,
    /// Too many jobs wait and run.
    Depth,
    /// The oldest due job has waited for too long.
    Age,
    /// Dead letters.
    Dead,
    /// Too few workers.
    Workers,
    /// A worker lives and hears nothing from the broker.
    Silent,
    /// A queue is paused.
    Paused,
}

/// One thing that is not well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// What it is, for programs.
    pub kind: ReasonKind,
    /// The queue, if it is about one.
    pub queue: Option<String>,
    /// For people: what, where, and what to do.
    pub message: String,
}

/// A fleet, how it fares, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// The worst of it.
    pub status: Status,
    /// What is not well; empty when all is.
    pub reasons: Vec<Reason>,
    /// What was looked at.
    #[serde(flatten)]
    pub overview: Overview,
}

/// From where on something is not well. What is not set is not looked at.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Thresholds {
    /// The most jobs of a queue that may wait and run (10,000).
    pub max_depth: u64,
    /// The longest that a due job may have waited (5 min).
    pub max_age: Duration,
    /// The most dead letters that a queue may have (none).
    pub max_dead: u64,
    /// The least number of workers of each queue (1).
    pub min_workers: usize,
    /// The longest that a worker may have heard nothing from the broker (1 min): an idle one asks for work every 5 s, a
    /// full one renews its leases.
    pub max_silence: Duration,
    /// The most of the server's memory that may be in use, in percent of its limit (90).
    pub max_memory: u64,
    /// Whether a queue may be paused (no).
    pub allow_paused: bool,
    /// Queues that are judged even when the broker knows nothing of them any more (none). Give them to
    /// [`Overview::of_expected`], too.
    pub expected: Vec<QueueName>,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            max_depth: 10_000,
            max_age: Duration::from_mins(5),
            max_dead: 0,
            min_workers: 1,
            max_silence: Duration::from_mins(1),
            max_memory: 90,
            allow_paused: false,
            expected: Vec::new(),
        }
    }
}

impl Health {
    /// That of a fleet whose broker at `location` does not answer; `cause` says why.
    pub fn down(location: &str, at: Timestamp, cause: &str) -> Self {
        let message = format!("{cause}: see that the server runs and that this machine reaches it");
        Self::without_answer(ReasonKind::Unreachable, location, at, message)
    }

    /// A fleet whose broker at `location` answers, and refuses what has to be asked; `cause` says why.
    pub fn refused(location: &str, at: Timestamp, cause: &str) -> Self {
        let message =
            format!("{cause}: see that the user and password are right, and that this user has the rights it needs");
        Self::without_answer(ReasonKind::Refused, location, at, message)
    }

    fn without_answer(kind: ReasonKind, location: &str, at: Timestamp, message: String) -> Self {
        let overview = Overview { location: location.to_owned(), at, ..Overview::default() };
        Self { status: Status::Down, reasons: vec![Reason { kind, queue: None, message }], overview }
    }
}

impl Thresholds {
    /// Compares a fleet with these.
    pub fn assess(&self, overview: Overview) -> Health {
        let mut reasons = Vec::new();
        reasons.extend(self.memory(&overview));
        reasons.extend(overview.concerns.iter().map(|concern| Reason {
            kind: ReasonKind::SetUp,
            queue: None,
            message: format!("the broker at {}: {concern}", overview.location),
        }));
        for queue in &overview.queues {
            self.queue(queue, overview.at, &mut reasons);
        }
        let status = if reasons.is_empty() { Status::Healthy } else { Status::Degraded };
        Health { status, reasons, overview }
    }

    fn memory(&self, overview: &Overview) -> Option<Reason> {
        let server = overview.server.as_ref()?;
        let (used, limit) = (server.memory_used?, server.memory_limit.filter(|limit| *limit > 0)?);
        let percent = u64::try_from(u128::from(used) * 100 / u128::from(limit)).unwrap_or(u64::MAX);
        let message = format!(
            "the broker at {} uses {percent} % of its memory, more than {} %: work off or discard jobs, keep results for less \
             time, or raise its `maxmemory`; when it is full, nothing can be enqueued",
            overview.location, self.max_memory
        );
        (percent > self.max_memory).then_some(Reason { kind: ReasonKind::Memory, queue: None, message })
    }

    fn queue(&self, queue: &QueueView, now: Timestamp, reasons: &mut Vec<Reason>) {
        let name = queue.name.escape_debug();
        let mut add = |kind, message| reasons.push(Reason { kind, queue: Some(queue.name.clone()), message });
        if let Some(since) = queue.paused_since
            && !self.allow_paused
        {
            let span = span(now.since(since));
            let waiting = jobs(queue.queued, "due job");
            add(
                ReasonKind::Paused,
                format!(
                    "queue `{name}` has been paused for {span}, {waiting} in it: `sector-7g resume {name}` when it may go on"
                ),
            );
        }
        if queue.workers.len() < self.min_workers {
            let found = match queue.workers.len() {
                0 => "no worker".to_owned(),
                some => format!("{some} of {} workers", self.min_workers),
            };
            add(
                ReasonKind::Workers,
                format!("queue `{name}` has {found}: start one, and look into its log if it should run already"),
            );
        }
        for worker in &queue.workers {
            if let Some(message) = self.silence(worker, &queue.name, now) {
                add(ReasonKind::Silent, message);
            }
        }
        if queue.depth > self.max_depth {
            let (depth, most) = (queue.depth, self.max_depth);
            add(
                ReasonKind::Depth,
                format!(
                    "queue `{name}` holds {depth} jobs, more than {most}: start more workers, or slow its producers down"
                ),
            );
        }
        let age = Duration::from_millis(queue.oldest_due_ms.unwrap_or(0));
        if age > self.max_age {
            let (age, most) = (span(age), span(self.max_age));
            add(
                ReasonKind::Age,
                format!(
                    "the oldest due job of queue `{name}` has waited for {age}, longer than {most}: start more workers, or see \
                     what they are busy with (`sector-7g jobs list --running --queue {name}`)"
                ),
            );
        }
        if queue.dead > self.max_dead {
            let dead = jobs(queue.dead, "dead letter");
            add(
                ReasonKind::Dead,
                format!(
                    "queue `{name}` has {dead}: see why (`sector-7g dead list --queue {name}`), then retry or discard them"
                ),
            );
        }
    }

    fn silence(&self, worker: &WorkerView, queue: &str, now: Timestamp) -> Option<String> {
        let silent = now.since(worker.at);
        let host = worker.host.as_deref().unwrap_or("an unknown host").escape_debug();
        let message = format!(
            "worker `{}` (process {} on {host}) of queue `{}` has not heard from the broker for {}: see its log, and restart it \
             if it hangs",
            worker.name.escape_debug(),
            worker.pid.unwrap_or_default(),
            queue.escape_debug(),
            span(silent)
        );
        (!worker.is_python && silent > self.max_silence).then_some(message)
    }
}

fn jobs(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// A span for people, in its two largest units: `3m 20s`.
pub fn span(span: Duration) -> String {
    const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
    let ms = millis(span);
    let Some(first) = UNITS.iter().position(|(_, unit)| ms >= *unit) else { return "0s".to_owned() };
    let (name, unit) = UNITS[first];
    let rest = UNITS.get(first + 1).filter(|(name, _)| *name != "ms").map(|(name, unit_)| (name, ms % unit / unit_));
    match rest {
        Some((rest_name, rest)) if rest > 0 => format!("{}{name} {rest}{rest_name}", ms / unit),
        _ => format!("{}{name}", ms / unit),
    }
}
