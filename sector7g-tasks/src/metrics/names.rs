//! The metrics, each in one place: name, kind, unit and what it says.

use ::metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Unit};

/// A metric's kind.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A metric.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    kind: Kind,
    unit: Unit,
    help: &'static str,
}

macro_rules! metrics {
    ($($NAME:ident = $kind:ident $name:literal in $unit:ident: $help:literal;)*) => {
        $(pub(crate) const $NAME: Metric = Metric { name: $name, kind: Kind::$kind, unit: Unit::$unit, help: $help };)*

        /// All of them.
        pub(crate) const ALL: &[Metric] = &[$($NAME),*];
    };
}

metrics! {
    ENQUEUED = Counter "sector7g_jobs_enqueued_total" in Count: "Jobs that this process added to a queue.";
    CLAIMED = Counter "sector7g_jobs_claimed_total" in Count: "Jobs that this process leased.";
    STARTED = Counter "sector7g_jobs_started_total" in Count: "Attempts that began.";
    FINISHED = Counter "sector7g_jobs_finished_total" in Count: "Attempts that ended, and claimed jobs that ended or were given back without one.";
    ERRORS = Counter "sector7g_job_errors_total" in Count: "Attempts that failed, retried or not, by the kind of the failure.";
    RUN_TIME = Histogram "sector7g_job_run_duration_seconds" in Seconds: "How long attempts ran.";
    LATENCY = Histogram "sector7g_job_queue_latency_seconds" in Seconds: "How long attempts had been due when they began.";
    DEPTH = Gauge "sector7g_queue_depth_jobs" in Count: "Jobs that have yet to end: due, deferred and running.";
    DUE = Gauge "sector7g_queue_due_jobs" in Count: "Jobs that are due and wait for a worker.";
    DEFERRED = Gauge "sector7g_queue_deferred_jobs" in Count: "Jobs whose time has not come.";
    RUNNING = Gauge "sector7g_queue_running_jobs" in Count: "Jobs that some worker has leased.";
    DEAD = Gauge "sector7g_queue_dead_jobs" in Count: "Dead letters.";
    OLDEST_DUE = Gauge "sector7g_queue_oldest_due_age_seconds" in Seconds: "How long the oldest due job has waited; 0 when none is due.";
    WORKERS = Gauge "sector7g_queue_workers" in Count: "Workers of the queue, in all processes, whose health entry is fresh.";
    CLAIMS = Counter "sector7g_claims_total" in Count: "Calls that report endings and lease jobs.";
    HEARTBEATS = Counter "sector7g_heartbeats_total" in Count: "Calls that renew leases.";
    LEASE_LOSSES = Counter "sector7g_lease_losses_total" in Count: "Jobs whose lease was lost before their outcome was stored.";
    NOT_STORED = Counter "sector7g_outcomes_not_stored_total" in Count: "Ended jobs whose outcome was not stored, by the reason.";
    RECONNECTS = Counter "sector7g_broker_reconnects_total" in Count: "Times that the broker answered again after it had not.";
    BROKER_UP = Gauge "sector7g_broker_up" in Count: "1 when the broker answered the last look at the queues, else 0.";
    SLOTS = Gauge "sector7g_worker_max_jobs" in Count: "Jobs that the worker runs at once, at most.";
    WORKER_RUNNING = Gauge "sector7g_worker_running_jobs" in Count: "Jobs that the worker holds.";
}

/// Tells the recorder what the metrics mean.
pub(crate) fn describe() {
    ::metrics::with_recorder(|recorder| {
        for Metric { name, kind, unit, help } in ALL {
            let (name, unit) = ((*name).into(), Some(*unit));
            match kind {
                Kind::Counter => recorder.describe_counter(name, unit, (*help).into()),
                Kind::Gauge => recorder.describe_gauge(name, unit, (*help).into()),
                Kind::Histogram => recorder.describe_histogram(name, unit, (*help).into()),
            }
        }
    });
}

const METADATA: Metadata<'static> = Metadata::new("sector7g_tasks", Level::INFO, Some("sector7g_tasks"));

fn key<const N: usize>(metric: Metric, labels: [(&'static str, &str); N]) -> Key {
    let labels = labels.map(|(name, value)| Label::new(name, value.to_owned()));
    Key::from_parts(metric.name, labels.to_vec())
}

/// A counter of the present recorder.
pub(crate) fn counter<const N: usize>(metric: Metric, labels: [(&'static str, &str); N]) -> Counter {
    ::metrics::with_recorder(|recorder| recorder.register_counter(&key(metric, labels), &METADATA))
}

/// A gauge of the present recorder.
pub(crate) fn gauge<const N: usize>(metric: Metric, labels: [(&'static str, &str); N]) -> Gauge {
    ::metrics::with_recorder(|recorder| recorder.register_gauge(&key(metric, labels), &METADATA))
}

/// A histogram of the present recorder.
pub(crate) fn histogram<const N: usize>(metric: Metric, labels: [(&'static str, &str); N]) -> Histogram {
    ::metrics::with_recorder(|recorder| recorder.register_histogram(&key(metric, labels), &METADATA))
}
