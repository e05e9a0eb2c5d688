use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::alerts::{AlertHook, Alerts};
use crate::context::{Context, WorkerContext};
use crate::error::TaskError;
use crate::job::Failure;
use crate::task::{CronRule, Keep, Source, TaskDef};

/// A worker type: one settings type per worker, as in arq. Derived:
///
/// ```
/// use sector7g_tasks::prelude::*;
///
/// #[derive(Worker)]
/// #[worker(queue = "homer", max_jobs = 3, job_timeout = "5m")]
/// pub struct Homer;
/// ```
pub trait Worker: 'static {
    /// Its settings.
    const SETTINGS: &'static WorkerSettings;
}

/// A hook at work.
pub type HookFuture = Pin<Box<dyn Future<Output = Result<(), TaskError>> + Send + 'static>>;
/// `on_startup`, `on_shutdown`.
pub type StartHook = fn(WorkerContext) -> HookFuture;
/// `on_job_start`.
pub type JobHook = fn(Context) -> HookFuture;
/// `on_job_end`, `after_job_end`.
pub type EndHook = fn(Context, Arc<JobEnd>) -> HookFuture;

/// How one attempt of a job ended, as hooks see it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JobEnd {
    /// What becomes of the job.
    pub kind: JobEndKind,
    /// Why, unless it went well.
    pub failure: Option<Failure>,
    /// How long the attempt ran.
    pub run_time: Duration,
}

impl JobEnd {
    pub(crate) fn new(kind: JobEndKind, failure: Option<Failure>, run_time: Duration) -> Self {
        Self { kind, failure, run_time }
    }
}

/// What becomes of a job whose attempt has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JobEndKind {
    /// It ended well.
    Done,
    /// It failed for good.
    Failed,
    /// It runs again after the delay.
    Retried(Duration),
    /// It runs again after the delay, the attempt uncounted: a snooze, or the worker stops.
    GivenBack(Duration),
    /// It was aborted.
    Aborted,
}

/// The settings of a worker. Built in constants, by `#[derive(Worker)]`.
///
/// What is not set has the default that its method names; the names are arq's.
#[derive(Clone)]
pub struct WorkerSettings {
    pub(crate) name: &'static str,
    pub(crate) source: Option<Source>,
    pub(crate) queues: &'static [QueueShare],
    pub(crate) order: Order,
    pub(crate) max_jobs: usize,
    pub(crate) job_timeout: Duration,
    pub(crate) max_tries: u32,
    pub(crate) keep_result: Keep,
    pub(crate) poll_delay: Duration,
    pub(crate) health_check_interval: Duration,
    pub(crate) job_completion_wait: Duration,
    pub(crate) lease: Duration,
    pub(crate) unknown_task_grace: Duration,
    pub(crate) misfire_window: Duration,
    pub(crate) max_payload_size: usize,
    pub(crate) max_result_size: usize,
    pub(crate) timezone: Option<&'static str>,
    pub(crate) cron: &'static [CronEntry],
    pub(crate) on_startup: Option<StartHook>,
    pub(crate) on_shutdown: Option<StartHook>,
    pub(crate) on_job_start: Option<JobHook>,
    pub(crate) on_job_end: Option<EndHook>,
    pub(crate) after_job_end: Option<EndHook>,
    pub(crate) alerts: Option<Alerts>,
    pub(crate) on_alert: Option<AlertHook>,
}

/// A queue that a worker serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueShare {
    pub(crate) name: &'static str,
    pub(crate) weight: u32,
}

impl QueueShare {
    /// A queue, with a weight (at least 1) for [`Order::Weighted`].
    pub const fn new(name: &'static str, weight: u32) -> Self {
        Self { name, weight: if weight == 0 { 1 } else { weight } }
    }
}

/// Which of its queues a worker asks first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The first that has work: later queues wait while an earlier one has any.
    Strict,
    /// By chance, each queue as often as its weight says, so none starves.
    Weighted,
}

/// A schedule's entry of a worker, for a task that may belong to another queue.
#[derive(Clone, Copy, Debug)]
pub struct CronEntry {
    pub(crate) task: &'static TaskDef,
    pub(crate) rule: CronRule,
}

impl CronEntry {
    /// Runs `task` without arguments at the times of `expression`.
    pub const fn new(task: &'static TaskDef, expression: &'static str, timezone: Option<&'static str>) -> Self {
        Self { task, rule: CronRule { expression, timezone } }
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty $(=> $wrap:ident)?;)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub const fn $name(mut self, $name: $type) -> Self {
            self.$name = setters!(@value $name $($wrap)?);
            self
        }
    )*};
    (@value $name:ident) => { $name };
    (@value $name:ident $wrap:ident) => { $wrap($name) };
}

impl WorkerSettings {
    /// The worker `name`, with default settings, serving `queues`.
    pub const fn new(name: &'static str, queues: &'static [QueueShare]) -> Self {
        Self {
            name,
            source: None,
            queues,
            order: Order::Strict,
            max_jobs: 10,
            job_timeout: Duration::from_mins(5),
            max_tries: 5,
            keep_result: Keep::For(Duration::from_hours(1)),
            poll_delay: Duration::from_millis(500),
            health_check_interval: Duration::from_secs(10),
            job_completion_wait: Duration::from_secs(5),
            lease: Duration::from_secs(10),
            unknown_task_grace: Duration::from_mins(1),
            misfire_window: Duration::from_mins(1),
            max_payload_size: crate::client::MAX_PAYLOAD,
            max_result_size: 1024 * 1024,
            timezone: None,
            cron: &[],
            on_startup: None,
            on_shutdown: None,
            on_job_start: None,
            on_job_end: None,
            after_job_end: None,
            alerts: None,
            on_alert: None,
        }
    }

    setters! {
        /// Where it was written.
        source: Source => Some;
        /// Which of several queues it asks first. Default: strict.
        order: Order;
        /// Jobs at once in this worker. Default: 10.
        max_jobs: usize;
        /// The longest that one attempt may take, unless its task says otherwise. Default: 300 s.
        job_timeout: Duration;
        /// Attempts in all, unless job or task say otherwise. Default: 5.
        max_tries: u32;
        /// How long results are kept, unless the task says otherwise. Default: 3,600 s.
        keep_result: Keep;
        /// How often the broker is asked where it can't wake the worker. Default: 0.5 s.
        poll_delay: Duration;
        /// How often the worker says that it lives. Default: 10 s (arq: 3,600 s, which leaves a
        /// dead worker healthy for an hour); its entry lasts a second more than two of them.
        health_check_interval: Duration;
        /// How long running jobs get when the worker stops, before they are cancelled and given
        /// back. Default: 5 s (arq: 0), so that all is reported within the 10 s that container
        /// engines give.
        job_completion_wait: Duration;
        /// How long a claimed job stays the worker's without a heartbeat; heartbeats come each
        /// third of it. A killed worker's jobs start again elsewhere after so long. Default: 10 s.
        lease: Duration;
        /// How long jobs of unknown tasks are left for other workers. Default: 60 s.
        unknown_task_grace: Duration;
        /// How far back a starting scheduler makes up for missed ticks, and for how long an ended
        /// tick's id stays taken. Default: 60 s.
        misfire_window: Duration;
        /// The largest stored job, in bytes; a larger one is not read and becomes a dead letter. Jobs that its tasks
        /// enqueue by their context have the same bound. Default: 1 MiB.
        max_payload_size: usize;
        /// The largest encoded result, in bytes. Default: 1 MiB.
        max_result_size: usize;
        /// The time zone of its schedules, an IANA name. Default: UTC.
        timezone: &'static str => Some;
        /// Schedules for tasks that may belong to other queues.
        cron: &'static [CronEntry];
        /// Runs before the first claim; an error stops the start.
        on_startup: StartHook => Some;
        /// Runs after the last job has ended.
        on_shutdown: StartHook => Some;
        /// Runs before each attempt.
        on_job_start: JobHook => Some;
        /// Runs after each attempt, before its outcome is stored.
        on_job_end: EndHook => Some;
        /// Runs after each attempt, once its outcome is stored.
        after_job_end: EndHook => Some;
        /// Thresholds on its queues; each crossing is logged once. Default: none.
        alerts: Alerts => Some;
        /// Runs at each crossing of `alerts`, for 30 s at most.
        on_alert: AlertHook => Some;
    }
}

/// The longest span that a setting may have: sums of such spans can't overflow.
pub(super) const LONGEST: Duration = Duration::from_hours(100 * 365 * 24);

impl WorkerSettings {
    /// What can't work.
    pub(crate) fn mistakes(&self) -> Vec<String> {
        let spans = [
            ("job_timeout", self.job_timeout, Duration::from_millis(1)),
            ("poll_delay", self.poll_delay, Duration::from_millis(1)),
            ("health_check_interval", self.health_check_interval, Duration::from_millis(100)),
            ("job_completion_wait", self.job_completion_wait, Duration::ZERO),
            ("lease", self.lease, Duration::from_millis(100)),
            ("unknown_task_grace", self.unknown_task_grace, Duration::ZERO),
            ("misfire_window", self.misfire_window, Duration::ZERO),
        ];
        let wrong = spans.iter().filter(|(_, span, least)| span < least || *span > LONGEST);
        let mut mistakes: Vec<String> = wrong
            .map(|(name, span, least)| format!("{name} is {span:?}; it must be from {least:?} to 100 years"))
            .collect();
        if self.max_jobs == 0 {
            mistakes.push("max_jobs is 0: it would never run a job".to_owned());
        }
        if self.max_tries == 0 {
            mistakes.push("max_tries is 0: every job would fail before it runs".to_owned());
        }
        mistakes.extend(self.alerts.iter().flat_map(Alerts::mistakes));
        if self.on_alert.is_some() && self.alerts.is_none() {
            mistakes.push("on_alert is never called: set a threshold in alerts".to_owned());
        }
        mistakes
    }
}

impl fmt::Debug for WorkerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerSettings")
            .field("name", &self.name)
            .field("queues", &self.queues)
            .field("max_jobs", &self.max_jobs)
            .finish_non_exhaustive()
    }
}
