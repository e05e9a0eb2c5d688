//! What operators ask of a fleet: how it fares, what waits and runs, what became of a job.
//!
//! All of it is read through the public side of a [`Broker`], so it holds for the embedded broker, for Redis, and for
//! queues that workers of Python's arq share. The types serialise: moments are milliseconds since the epoch, spans
//! milliseconds. The command `sector-7g` (feature `operate`) prints them.
//!
//! ```
//! # use std::sync::Arc;
//! use sector7g_tasks::broker::{Broker, MemoryBroker};
//! use sector7g_tasks::inspect::{Overview, Status, Thresholds};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = MemoryBroker::new();
//! let overview = Overview::of(&broker, None).await?;
//! let health = Thresholds::default().assess(overview);
//! assert_eq!(health.status, Status::Healthy);
//! # Ok(())
//! # }
//! ```

mod health;
mod job;
#[cfg(feature = "dashboard")]
pub(crate) mod rates;
#[cfg(test)]
mod tests;
#[cfg(any(feature = "cli", feature = "dashboard"))]
pub(crate) mod text;

use std::time::Duration;

use futures_util::future::join;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};

pub use self::health::{Health, Reason, ReasonKind, Status, Thresholds, span};
pub use self::job::{JobView, JobWorker, Outcome, Reveal};
use crate::broker::{
    Broker, BrokerError, KnownSchedule, QUEUES_AT_ONCE, QueueName, QueueStats, ServerInfo, WorkerHealth,
};
use crate::clock::Timestamp;

/// A fleet at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// Where the jobs are, without a password.
    pub location: String,
    /// The broker's clock.
    pub at: Timestamp,
    /// The server that keeps the jobs, where there is one that may be asked.
    pub server: Option<ServerInfo>,
    /// What about the broker's set-up would break its promises, a sentence each; filled by [`Overview::with_concerns`].
    pub concerns: Vec<String>,
    /// The queues, by name.
    pub queues: Vec<QueueView>,
}

/// A queue at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QueueView {
    /// Its name.
    pub name: String,
    /// All that has yet to end: queued, deferred and running.
    pub depth: u64,
    /// Due and waiting.
    pub queued: u64,
    /// Waiting for their time.
    pub deferred: u64,
    /// Running.
    pub running: u64,
    /// Dead letters.
    pub dead: u64,
    /// How long the oldest due job has waited, ms.
    pub oldest_due_ms: Option<u64>,
    /// Since when it is paused, if it is.
    pub paused_since: Option<Timestamp>,
    /// The workers that have said of late that they serve it.
    pub workers: Vec<WorkerView>,
}

/// A worker, as it last said of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerView {
    /// Its name; `arq` for one of Python's, of which only the counts are known.
    pub name: String,
    /// Random for each start; empty for Python's.
    pub instance: String,
    /// Whether it is a worker of Python's arq.
    pub is_python: bool,
    /// Its machine.
    pub host: Option<String>,
    /// Its process.
    pub pid: Option<u32>,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// When it last heard from the broker: by a claim, a wait, or a heartbeat of its jobs.
    pub at: Timestamp,
    /// Jobs that ended well since the start.
    pub done: u64,
    /// Jobs that failed for good.
    pub failed: u64,
    /// Attempts that are to be repeated.
    pub retried: u64,
    /// Jobs running now, of all its queues.
    pub running: u64,
    /// How many it runs at most, if it says so.
    pub max_jobs: Option<u64>,
    /// All queues that it serves.
    pub queues: Vec<String>,
}

/// A schedule, and the worker that told it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScheduleView {
    /// The schedule.
    #[serde(flatten)]
    pub schedule: KnownSchedule,
    /// The names of the workers that enqueue it.
    pub workers: Vec<String>,
}

impl Overview {
    /// The fleet now: of all queues, or of these.
    ///
    /// # Errors
    /// [`BrokerError`]. That the server may not be asked for its version is none.
    ///
    /// # Cancel safety
    /// Cancel safe: it only reads.
    pub async fn of(broker: &dyn Broker, queues: Option<&[QueueName]>) -> Result<Self, BrokerError> {
        Self::of_expected(broker, queues, &[]).await
    }

    /// The fleet now, of these queues alone, or of all, those among them that are `expected` and of which the broker knows
    /// nothing any more: the entries of a fleet that is gone run out, and with them its empty queues.
    ///
    /// # Errors
    /// [`BrokerError`]. That the server may not be asked for its version is none.
    ///
    /// # Cancel safety
    /// Cancel safe: it only reads.
    pub async fn of_expected(
        broker: &dyn Broker,
        queues: Option<&[QueueName]>,
        expected: &[QueueName],
    ) -> Result<Self, BrokerError> {
        let known = async {
            if let Some(names) = queues {
                return Ok(names.to_vec());
            }
            let mut names = broker.queues().await?;
            names.extend_from_slice(expected);
            names.sort_unstable();
            names.dedup();
            Ok(names)
        };
        let (server, names) = join(broker.server(), known).await;
        let server = match server {
            Err(BrokerError::Refused(_)) => None,
            server => server?,
        };
        let stats = stats_of(broker, names?).await?;
        let views = stats.into_iter().map(|(name, stats)| QueueView::new(&name, stats)).collect();
        Ok(Self { location: broker.location(), at: broker.clock().now(), server, concerns: Vec::new(), queues: views })
    }

    /// The same, with what the broker's set-up would break. It tries a job's whole path out, on a queue of its own.
    ///
    /// # Errors
    /// [`BrokerError`].
    ///
    /// # Cancel safety
    /// Cancel safe: what it tries out goes by itself.
    pub async fn with_concerns(mut self, broker: &dyn Broker) -> Result<Self, BrokerError> {
        self.concerns = broker.concerns().await?;
        Ok(self)
    }
}

impl QueueView {
    /// What a queue's sizes say.
    pub fn new(name: &QueueName, stats: QueueStats) -> Self {
        Self {
            name: name.as_str().to_owned(),
            depth: stats.live(),
            queued: stats.queued,
            deferred: stats.deferred,
            running: stats.running,
            dead: stats.dead,
            oldest_due_ms: stats.oldest_due.map(millis),
            paused_since: stats.paused_since,
            workers: stats.workers.into_iter().map(WorkerView::from).collect(),
        }
    }

    /// Whether anything is known of it: a job, a dead letter, a worker or a pause.
    pub fn is_known(&self) -> bool {
        self.depth + self.dead > 0 || self.paused_since.is_some() || !self.workers.is_empty()
    }
}

impl From<WorkerHealth> for WorkerView {
    fn from(health: WorkerHealth) -> Self {
        let is_python = health.is_arq();
        let told = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            is_python,
            name: health.name,
            instance: health.instance,
            host: told(health.host),
            pid: Some(health.pid).filter(|pid| *pid != 0),
            started_at: Some(health.started_at).filter(|_| !is_python),
            at: health.at,
            done: health.done,
            failed: health.failed,
            retried: health.retried,
            running: health.running,
            max_jobs: Some(health.max_jobs).filter(|jobs| *jobs != 0),
            queues: health.queues,
        }
    }
}

/// What the broker says of each of these queues, in their order.
async fn stats_of(broker: &dyn Broker, names: Vec<QueueName>) -> Result<Vec<(QueueName, QueueStats)>, BrokerError> {
    let asked = stream::iter(names).map(|name| async move { broker.stats(&name).await.map(|stats| (name, stats)) });
    asked.buffered(QUEUES_AT_ONCE).try_collect().await
}

/// The schedules that the living workers of these queues enqueue, by task.
///
/// Those of Python workers can't be known: they tell nobody.
///
/// # Errors
/// [`BrokerError`].
///
/// # Cancel safety
/// Cancel safe: it only reads.
pub async fn schedules(broker: &dyn Broker, queues: &[QueueName]) -> Result<Vec<ScheduleView>, BrokerError> {
    let mut views: Vec<ScheduleView> = Vec::new();
    for (_, stats) in stats_of(broker, queues.to_vec()).await? {
        for worker in stats.workers {
            for told in worker.schedules {
                add_schedule(&mut views, told, &worker.name);
            }
        }
    }
    views.sort_by(|a, b| (&a.schedule.task, &a.schedule.expression).cmp(&(&b.schedule.task, &b.schedule.expression)));
    Ok(views)
}

/// Several workers enqueue the same schedule; what the furthest of them knows counts.
fn add_schedule(views: &mut Vec<ScheduleView>, told: KnownSchedule, worker: &str) {
    let is_same = |view: &&mut ScheduleView| {
        let known = &view.schedule;
        (&known.task, &known.queue, &known.expression, &known.timezone)
            == (&told.task, &told.queue, &told.expression, &told.timezone)
    };
    let Some(view) = views.iter_mut().find(is_same) else {
        return views.push(ScheduleView { schedule: told, workers: vec![worker.to_owned()] });
    };
    if !view.workers.iter().any(|name| name == worker) {
        view.workers.push(worker.to_owned());
    }
    view.schedule.last = view.schedule.last.max(told.last);
    view.schedule.next = view.schedule.next.max(told.next);
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
