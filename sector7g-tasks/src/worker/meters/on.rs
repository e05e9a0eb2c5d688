use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use ::metrics::{Counter, Histogram};

use super::NotStored;
use crate::broker::QueueName;
use crate::hash::Map;
use crate::metrics::names::{self, counter, histogram};
use crate::task::TaskDef;
use crate::worker::{JobEnd, JobEndKind};

/// The label of tasks that this program does not have, whatever other producers call them.
const UNKNOWN: &str = "_unknown";

/// A worker's counters and histograms: handles into the recorder that was installed when it started.
pub(crate) struct Meters {
    queues: Box<[QueueMeters]>,
    reconnects: Counter,
}

/// Those of one of its queues.
struct QueueMeters {
    name: String,
    /// By the address of their definition. Those of the queue are made at once; others when one of their jobs comes.
    tasks: Map<usize, (&'static str, OnceLock<TaskMeters>)>,
    unknown: TaskMeters,
    claimed: Counter,
    claims: [Counter; 2],
    heartbeats: [Counter; 2],
    lease_losses: Counter,
    not_stored: [Counter; NotStored::ALL.len()],
}

/// Those of a task in a queue.
struct TaskMeters {
    started: Counter,
    latency: Histogram,
    run_time: Histogram,
    done: Counter,
    failed: Counter,
    retried: Counter,
    given_back: Counter,
    aborted: Counter,
    lease_lost: Counter,
}

impl Meters {
    pub(crate) fn new(worker: &str, queues: &[QueueName], tasks: &Map<&'static str, &'static TaskDef>) -> Self {
        names::describe();
        Self {
            queues: queues.iter().map(|queue| QueueMeters::new(queue, tasks)).collect(),
            reconnects: counter(names::RECONNECTS, [("worker", worker)]),
        }
    }

    /// A claim of a queue was answered with so many jobs, or failed.
    pub(crate) fn claim(&self, queue: usize, jobs: Option<usize>) {
        let meters = &self.queues[queue];
        meters.claims[usize::from(jobs.is_none())].increment(1);
        if let Some(jobs @ 1..) = jobs {
            meters.claimed.increment(jobs as u64);
        }
    }

    /// Leases were renewed, or could not be.
    pub(crate) fn heartbeat(&self, queue: usize, went_well: bool) {
        self.queues[queue].heartbeats[usize::from(!went_well)].increment(1);
    }

    pub(crate) fn reconnected(&self) {
        self.reconnects.increment(1);
    }

    /// An attempt begins; `waited` says how long its job had been due.
    pub(crate) fn started(&self, queue: usize, def: &'static TaskDef, waited: impl FnOnce() -> Duration) {
        let meters = self.of(queue, Some(def));
        meters.started.increment(1);
        meters.latency.record(waited().as_secs_f64());
    }

    /// An attempt has ended.
    pub(crate) fn ended(&self, queue: usize, def: &'static TaskDef, end: &JobEnd) {
        let meters = self.of(queue, Some(def));
        meters.run_time.record(end.run_time.as_secs_f64()); // 0 where its clock stands
        self.count_end(meters, queue, def.name, end);
    }

    /// A job that got no attempt has ended, or one whose attempt can't be told any more.
    pub(crate) fn ended_without_run(&self, queue: usize, def: Option<&'static TaskDef>, end: &JobEnd) {
        self.count_end(self.of(queue, def), queue, def.map_or(UNKNOWN, |def| def.name), end);
    }

    fn count_end(&self, meters: &TaskMeters, queue: usize, task: &str, end: &JobEnd) {
        let count = match end.kind {
            JobEndKind::Done => &meters.done,
            JobEndKind::Failed => &meters.failed,
            JobEndKind::Retried(_) => &meters.retried,
            JobEndKind::GivenBack(_) => &meters.given_back,
            JobEndKind::Aborted => &meters.aborted,
        };
        count.increment(1);
        let is_error = matches!(end.kind, JobEndKind::Failed | JobEndKind::Retried(_));
        if let Some(failure) = end.failure.as_ref().filter(|_| is_error) {
            let labels = [("queue", &*self.queues[queue].name), ("task", task), ("error_type", failure.kind.label())];
            counter(names::ERRORS, labels).increment(1); // looked up each time: failures are few
        }
    }

    /// An attempt was cut short as its lease was lost.
    pub(crate) fn lost(&self, queue: usize, def: &'static TaskDef, run_time: Duration) {
        let meters = self.of(queue, Some(def));
        meters.lease_lost.increment(1);
        meters.run_time.record(run_time.as_secs_f64());
        self.lease_lost(queue);
    }

    /// A lease was lost before the outcome was stored.
    pub(crate) fn lease_lost(&self, queue: usize) {
        self.queues[queue].lease_losses.increment(1);
    }

    /// The outcomes of so many jobs were counted as their ends, and are not stored: they run again.
    pub(crate) fn not_stored(&self, queue: usize, why: NotStored, jobs: usize) {
        self.queues[queue].not_stored[why as usize].increment(jobs as u64);
    }

    fn of(&self, queue: usize, def: Option<&'static TaskDef>) -> &TaskMeters {
        let queue = &self.queues[queue];
        match def.and_then(|def| queue.tasks.get(&address(def))) {
            Some((task, meters)) => meters.get_or_init(|| TaskMeters::new(&queue.name, task)),
            None => &queue.unknown,
        }
    }
}

impl QueueMeters {
    fn new(queue: &QueueName, tasks: &Map<&'static str, &'static TaskDef>) -> Self {
        let name = queue.as_str();
        let meters = |def: &'static TaskDef| {
            let meters = OnceLock::new();
            if queue.is_of(def.queue, def.partitions) {
                meters.get_or_init(|| TaskMeters::new(name, def.name)); // so that it is there, as 0, before a job is
            }
            (address(def), (def.name, meters))
        };
        let by_outcome = |metric, [well, badly]: [&str; 2]| {
            [well, badly].map(|outcome| counter(metric, [("queue", name), ("outcome", outcome)]))
        };
        Self {
            name: name.to_owned(),
            tasks: tasks.values().map(|def| meters(def)).collect(),
            unknown: TaskMeters::new(name, UNKNOWN),
            claimed: counter(names::CLAIMED, [("queue", name)]),
            claims: by_outcome(names::CLAIMS, ["answered", "failed"]),
            heartbeats: by_outcome(names::HEARTBEATS, ["renewed", "failed"]),
            lease_losses: counter(names::LEASE_LOSSES, [("queue", name)]),
            not_stored: NotStored::ALL
                .map(|why| counter(names::NOT_STORED, [("queue", name), ("reason", why.label())])),
        }
    }
}

impl TaskMeters {
    fn new(queue: &str, task: &str) -> Self {
        let labels = [("queue", queue), ("task", task)];
        let ended = |outcome| counter(names::FINISHED, [("queue", queue), ("task", task), ("outcome", outcome)]);
        Self {
            started: counter(names::STARTED, labels),
            latency: histogram(names::LATENCY, labels),
            run_time: histogram(names::RUN_TIME, labels),
            done: ended("done"),
            failed: ended("failed"),
            retried: ended("retried"),
            given_back: ended("given_back"),
            aborted: ended("aborted"),
            lease_lost: ended("lease_lost"),
        }
    }
}

/// A definition is a static: its address is its name, and cheaper to look up.
fn address(def: &'static TaskDef) -> usize {
    std::ptr::from_ref(def).addr()
}

// By hand: handles show nothing.
impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.queues.iter().map(|queue| &queue.name)).finish()
    }
}
