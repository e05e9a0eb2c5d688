//! What a broker tells those who look: jobs, pages of them, queues, workers.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::JobId;
use crate::clock::Timestamp;
use crate::job::Failure;

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Its time has not come (arq: `deferred`).
    Deferred,
    /// It is due and waits for a worker (arq: `queued`).
    Queued,
    /// A worker has it (arq: `in_progress`).
    InProgress,
    /// It has ended and its result is kept (arq: `complete`).
    Complete,
    /// It failed for good and is kept as a dead letter.
    Dead,
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Deferred => "deferred",
            Self::Queued => "queued",
            Self::InProgress => "in progress",
            Self::Complete => "complete",
            Self::Dead => "dead",
        })
    }
}

/// What a broker knows of one job.
#[derive(Clone, Debug)]
pub struct JobRecord {
    /// Its id.
    pub id: JobId,
    /// Where it stands.
    pub state: JobState,
    /// The encoded job; `None` once it has ended well or expired.
    pub payload: Option<Bytes>,
    /// The encoded result record of an ended job.
    pub result: Option<Bytes>,
    /// Attempts counted so far.
    pub attempt: u32,
    /// When it was, is or will be due (a running job's lease end excluded); for a dead letter, when it died.
    pub due_at: Timestamp,
    /// Its failed attempts, oldest first, the last [`MAX_FAILURES`] of them. They outlive a job that ends well for as long
    /// as its result is kept, on Redis for a week at most.
    pub failures: Vec<Failure>,
    /// The last progress that it reported.
    pub progress: Option<Bytes>,
    /// Whether an abort was asked for.
    pub abort_requested: bool,
    /// Of a running one: the [instance](super::LeaseToken::instance) of the worker that has it, empty for a Python worker.
    pub worker: Option<String>,
    /// Of a running one: when its worker claimed it; unknown of a Python worker.
    pub running_since: Option<Timestamp>,
}

/// How many failures a job's history holds; older ones are dropped.
pub const MAX_FAILURES: usize = 20;

/// Which jobs to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobFilter {
    /// Deferred, queued and running ones.
    Live,
    /// Those whose lease has not run out, by its end, which moves as it is renewed: a later page may tell one again. In Redis
    /// more than a thousand come in any order.
    /// Jobs that workers of other programs run are among the live ones only.
    Running,
    /// Dead letters.
    Dead,
}

/// Where a page of jobs ended; what it says is the broker's own affair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PageMark(pub String);

/// A page of jobs.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The jobs.
    pub jobs: Vec<JobRecord>,
    /// Where the next page starts; `None` after the last.
    pub next: Option<PageMark>,
}

/// The sizes of a queue.
#[derive(Clone, Debug, Default)]
pub struct QueueStats {
    /// Due and waiting.
    pub queued: u64,
    /// Waiting for their time.
    pub deferred: u64,
    /// Leased.
    pub running: u64,
    /// Dead letters.
    pub dead: u64,
    /// How long the oldest due job has waited.
    pub oldest_due: Option<Duration>,
    /// Since when it has been paused, if it is.
    pub paused_since: Option<Timestamp>,
    /// Workers whose health entry has not run out; where there are none, a worker of Python's arq if it said so.
    pub workers: Vec<WorkerHealth>,
}

impl QueueStats {
    /// All that still has to end: queued, deferred and running.
    pub fn live(&self) -> u64 {
        self.queued + self.deferred + self.running
    }
}

/// What a worker says of itself now and then.
///
/// Of a worker of Python's arq only its counters are known: its name is `arq`, its instance empty.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct WorkerHealth {
    /// Its name, e.g. `homer`.
    pub name: String,
    /// Random for each start, so that two workers of one name are two; see
    /// [`LeaseToken::instance`](super::LeaseToken::instance).
    pub instance: String,
    /// The queues that it serves.
    pub queues: Vec<String>,
    /// The machine.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// When it last claimed or waited with success, or started.
    pub at: Timestamp,
    /// Jobs that ended well since the start.
    pub done: u64,
    /// Jobs that failed for good.
    pub failed: u64,
    /// Attempts that are to be repeated.
    pub retried: u64,
    /// Jobs running now.
    pub running: u64,
    /// How many it runs at most; 0 when that is not known.
    #[serde(default)]
    pub max_jobs: u64,
    /// Its alerts' threshold of a queue's depth: of workers that have the same, one tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert_depth: Option<u64>,
    /// The same for the wait of a queue's oldest due job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert_oldest_due: Option<Duration>,
    /// The tasks of its queues that have parameters, so that who looks at jobs knows which arguments to hide.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<KnownTask>,
    /// The schedules that it enqueues.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedules: Vec<KnownSchedule>,
}

/// A task, as a worker tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownTask {
    /// Its name.
    pub name: String,
    /// Its parameters that travel, in their order.
    pub parameters: Vec<KnownParameter>,
}

/// A parameter of a task, as a worker tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownParameter {
    /// Its name.
    pub name: String,
    /// Whether its values are to be hidden. What does not say so is.
    #[serde(default = "is_hidden", skip_serializing_if = "Clone::clone")]
    pub redact: bool,
}

fn is_hidden() -> bool {
    true
}

/// A schedule, as a worker tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownSchedule {
    /// The task that it enqueues.
    pub task: String,
    /// The queue that its jobs go to.
    pub queue: String,
    /// When it ticks, as written: `*/5 * * * *`.
    pub expression: String,
    /// The time zone that it follows.
    pub timezone: String,
    /// Its next tick that is not enqueued yet.
    pub next: Option<Timestamp>,
    /// The last tick that is enqueued, by this worker or another, as far as this one knows.
    pub last: Option<Timestamp>,
}

/// What a broker's server says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerInfo {
    /// What it is: `redis`.
    pub kind: String,
    /// Its version.
    pub version: Option<String>,
    /// Bytes of memory in use; in a cluster, of all nodes.
    pub memory_used: Option<u64>,
    /// Bytes of memory that it may use; `None` when it has no bound of its own.
    pub memory_limit: Option<u64>,
}

impl WorkerHealth {
    /// What is known of a Python worker by its health line, `Nov-24 00:31:50 j_complete=1 … queued=0`.
    #[cfg(feature = "redis")]
    pub(crate) fn of_arq(line: &str, queue: &str, now: Timestamp) -> Self {
        let words = line.split_whitespace().filter_map(|word| word.split_once('='));
        let counts: Vec<(&str, u64)> = words.filter_map(|(name, count)| Some((name, count.parse().ok()?))).collect();
        let count = |name| counts.iter().find(|(found, _)| *found == name).map_or(0, |(_, count)| *count);
        Self {
            name: "arq".to_owned(),
            queues: vec![queue.to_owned()],
            // Its own time lacks year and zone; that it is there says that it lives.
            at: now,
            done: count("j_complete"),
            failed: count("j_failed"),
            retried: count("j_retried"),
            running: count("j_ongoing"),
            ..Self::default()
        }
    }

    /// Whether this is a worker of Python's arq.
    pub fn is_arq(&self) -> bool {
        self.name == "arq" && self.instance.is_empty()
    }
}
