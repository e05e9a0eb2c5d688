use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::alerts::Attempts;
use super::execute::guard_hook;
use super::fetch::{Fetch, Group, RECONNECT, WAIT};
use super::meters::Meters;
use super::panics::catch_all;
use super::running::Running;
use super::settings::WorkerSettings;
use crate::args::Param;
use crate::broker::{AbortMark, Broker, KnownParameter, KnownSchedule, KnownTask, QueueName, WorkerHealth};
use crate::clock::{Clock, Timestamp};
use crate::codec::LastCodec;
use crate::context::WorkerContext;
use crate::error::{Chain, TaskError};
use crate::hash::Map;
use crate::job::Ran;
use crate::middleware::Middleware;
#[cfg(not(feature = "cron"))]
use crate::task::CronRule;
use crate::task::TaskDef;

/// See [`Engine::look`].
const VIRTUAL_LOOK: Duration = Duration::from_mins(10);

/// One worker, started.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) settings: WorkerSettings,
    /// Which of its queues share a turn.
    pub(crate) groups: Vec<Group>,
    /// What results call its queues.
    pub(crate) shared_names: Vec<String>,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) tasks: Arc<Map<&'static str, &'static TaskDef>>,
    pub(crate) context: WorkerContext,
    pub(crate) layers: Arc<[Arc<dyn Middleware>]>,
    pub(crate) running: Running,
    pub(crate) meters: Meters,
    /// Of each queue, for alerts; without these, none.
    pub(crate) attempts: Box<[Attempts]>,
    /// One for each queue of the context.
    pub(crate) last_codecs: Box<[LastCodec]>,
    /// Random for each start: two workers of one name are two.
    pub(crate) instance: u64,
    /// All queues of the runner, in burst mode: a job of another worker may still enqueue for this one.
    pub(crate) burst: Option<Arc<[QueueName]>>,
    /// Its schedules, as its health entry tells them.
    pub(crate) told_schedules: Mutex<Vec<KnownSchedule>>,
    /// Cancelled when a stop's grace is over: what is optional is left out then.
    pub(crate) cut: CancellationToken,
}

/// Two ways to stop: let running jobs end, or not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    pub(crate) graceful: CancellationToken,
    pub(crate) forced: CancellationToken,
}

/// Why a worker ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkerError {
    #[error("on_startup of worker `{worker}` failed: {error}")]
    Startup { worker: String, error: TaskError },
}

/// What a worker has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerReport {
    /// The worker's name.
    pub worker: String,
    /// Jobs that ended well.
    pub done: u64,
    /// Jobs that failed for good.
    pub failed: u64,
    /// Attempts that are to be repeated.
    pub retried: u64,
    /// Jobs given back uncounted: by the stop, a snooze, or because their task is not known here.
    pub given_back: u64,
    /// Jobs that were aborted.
    pub aborted: u64,
    /// Jobs whose lease was lost while they ran.
    pub lease_lost: u64,
}

impl Engine {
    pub(crate) fn clock(&self) -> &Clock {
        &self.context.0.clock
    }

    pub(crate) fn name(&self) -> &str {
        &self.context.0.name
    }

    /// Works until it is told to stop, or in burst mode until its queues are empty.
    pub(crate) async fn work(self: Arc<Self>, stop: Stop) -> Result<WorkerReport, WorkerError> {
        match stop.graceful.run_until_cancelled(self.start_up()).await {
            Some(started) => started?,
            None => return Ok(self.report()), // told to stop before it began
        }
        let mut beside = self.beside(&stop);
        let mut fetch = Fetch::new(Arc::clone(&self), stop);
        fetch.until_stopped().await;
        self.context.0.stopping.cancel();
        fetch.drain().await;
        beside.shutdown().await;
        self.shut_down().await;
        Ok(self.report())
    }

    async fn start_up(&self) -> Result<(), WorkerError> {
        let Some(hook) = self.settings.on_startup else { return Ok(()) };
        let started = catch_all(async { hook(self.context.clone()).await }).await;
        let error = match started {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(panic) => TaskError::permanent(format!("it {panic}")),
        };
        Err(WorkerError::Startup { worker: self.name().to_owned(), error })
    }

    async fn shut_down(&self) {
        if let Some(hook) = self.settings.on_shutdown {
            guard_hook(&"on_shutdown", || hook(self.context.clone())).await;
        }
        if let Err(error) = self.broker.set_health(&self.instance_name(), None, Duration::ZERO).await {
            tracing::debug!(
                worker = self.name(),
                "the health entry was not removed, it runs out by itself: {}",
                Chain(&error)
            );
        }
    }

    /// How long a loop may wait before it looks around, `real` on a real clock: in case the broker's
    /// word is lost, or the clock is set. A virtual clock has all in one process, where neither happens, and
    /// each look costs a test what its idle days take.
    pub(super) fn look(&self, real: Duration) -> Duration {
        if self.clock().is_virtual() { VIRTUAL_LOOK } else { real }
    }

    /// What goes on beside the loop: the watches for aborts and alerts, the health entry and the schedules.
    fn beside(self: &Arc<Self>, stop: &Stop) -> JoinSet<()> {
        #[cfg(feature = "cron")]
        self.tell_first_schedules();
        let mut beside = JoinSet::new();
        let engine = Arc::clone(self);
        beside.spawn(async move { keep_going("the watch for aborts", || engine.watch_aborts()).await });
        let engine = Arc::clone(self);
        beside.spawn(async move { keep_going("the health entry", || engine.tell_health()).await });
        #[cfg(feature = "metrics")]
        {
            let engine = Arc::clone(self);
            beside.spawn(async move { keep_going("the gauges", || engine.tell_gauges()).await });
        }
        if let Some(alerts) = self.settings.alerts {
            let engine = Arc::clone(self);
            beside.spawn(async move { keep_going("the watch for alerts", || engine.watch_alerts(alerts)).await });
        }
        let (engine, stop) = (Arc::clone(self), stop.graceful.clone());
        beside.spawn(async move {
            let schedules = keep_going("the schedules", || engine.schedules());
            stop.run_until_cancelled(schedules).await.unwrap_or_default();
        });
        beside
    }

    #[cfg(not(feature = "cron"))]
    #[expect(clippy::unused_self, reason = "with schedules it is used")]
    pub(crate) fn scheduled(&self) -> impl Iterator<Item = (&'static TaskDef, CronRule)> {
        std::iter::empty()
    }

    #[cfg(not(feature = "cron"))]
    async fn schedules(&self) {
        std::future::pending::<()>().await;
    }

    async fn watch_aborts(&self) {
        let mut mark = AbortMark::default();
        let mut failures = 0;
        loop {
            self.running.busy().await; // an idle worker asks nothing
            let asked_at = self.running.next_key();
            let answer = tokio::select! {
                biased; // the doubt first: it asks for the answer to be a later one
                () = self.running.doubtful() => { // cancel safe: only waits
                    mark = AbortMark::default(); // before all: what stands is told at once
                    continue;
                }
                answer = self.broker.aborts(&self.context.0.queues, mark, self.settings.poll_delay, self.look(WAIT)) => answer, // cancel safe: changes nothing
            };
            match answer {
                Ok(aborts) => {
                    failures = 0;
                    self.running.tally.mark_alive(self.clock().now()); // one whose slots are full claims nothing
                    let is_sure = self.running.abort(aborts.ids, asked_at);
                    mark = if is_sure { aborts.mark } else { AbortMark::default() };
                }
                Err(error) => {
                    tracing::debug!(worker = self.name(), "can't ask for aborts: {}", Chain(&error));
                    failures += 1;
                    sleep(RECONNECT.delay(failures, rand::random())).await;
                }
            }
        }
    }

    async fn tell_health(&self) {
        let interval = self.settings.health_check_interval;
        let longest = interval.max(self.look(interval));
        let started_at = self.clock().now();
        loop {
            let health = self.health(started_at);
            if let Err(error) =
                self.broker.set_health(&self.instance_name(), Some(&health), self.counts_as_living()).await
            {
                tracing::debug!(worker = self.name(), "the health entry was not stored: {}", Chain(&error));
            }
            sleep(interval).await;
            let _ = timeout(longest.saturating_sub(interval), self.running.busy()).await; // idle on a virtual clock, it has no news
        }
    }

    /// For how long its health entry lasts: two intervals and a second, as one may come late without the worker looking dead.
    pub(super) fn counts_as_living(&self) -> Duration {
        let interval = self.settings.health_check_interval;
        interval.max(self.look(interval)).saturating_mul(2).saturating_add(Duration::from_secs(1))
    }

    fn instance_name(&self) -> String {
        format!("{}-{:016x}", self.name(), self.instance)
    }

    /// An attempt of ours that began then.
    pub(super) fn ran(&self, started_at: Timestamp) -> Ran {
        Ran { started_at, worker: self.name().to_owned(), host: host(), pid: std::process::id() }
    }

    fn health(&self, started_at: Timestamp) -> WorkerHealth {
        let tally = &self.running.tally;
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        WorkerHealth {
            name: self.name().to_owned(),
            instance: format!("{:016x}", self.instance),
            queues: self.context.0.queues.iter().map(ToString::to_string).collect(),
            host: host(),
            pid: std::process::id(),
            started_at,
            // A worker that has only just started has asked for nothing yet.
            at: Timestamp::from_millis(i64::try_from(count(&tally.alive_at)).unwrap_or(i64::MAX)).max(started_at),
            done: count(&tally.done),
            failed: count(&tally.failed),
            retried: count(&tally.retried),
            running: self.running.len() as u64,
            max_jobs: self.settings.max_jobs as u64,
            alert_depth: self.settings.alerts.and_then(|alerts| alerts.thresholds().0),
            alert_oldest_due: self.settings.alerts.and_then(|alerts| alerts.thresholds().1),
            tasks: self.known_tasks(),
            schedules: self.told_schedules.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// The tasks of this worker's queues that have parameters.
    fn known_tasks(&self) -> Vec<KnownTask> {
        let parameter = |param: &Param| KnownParameter { name: param.name.to_owned(), redact: param.redact };
        let known = self.tasks.values().filter(|def| self.serves(def)).filter(|def| !def.params.is_empty());
        let mut known: Vec<KnownTask> = known
            .map(|def| KnownTask { name: def.name.to_owned(), parameters: def.params.iter().map(parameter).collect() })
            .collect();
        known.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        known
    }

    pub(super) fn serves(&self, def: &TaskDef) -> bool {
        self.context.0.queues.iter().any(|queue| queue.is_of(def.queue, def.partitions))
    }

    fn report(&self) -> WorkerReport {
        let tally = &self.running.tally;
        WorkerReport {
            worker: self.name().to_owned(),
            done: tally.done.load(Ordering::Relaxed),
            failed: tally.failed.load(Ordering::Relaxed),
            retried: tally.retried.load(Ordering::Relaxed),
            given_back: tally.given_back.load(Ordering::Relaxed),
            aborted: tally.aborted.load(Ordering::Relaxed),
            lease_lost: tally.lease_lost.load(Ordering::Relaxed),
        }
    }
}

/// Runs a loop that must not end: should it panic, it says so and starts again.
pub(super) async fn keep_going<F: Future<Output = ()>>(what: &str, start: impl Fn() -> F) {
    loop {
        match catch_all(start()).await {
            Ok(()) => return,
            Err(panic) => tracing::error!("{what} {panic}; it is started again"),
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// This machine's name, read once.
fn host() -> String {
    static HOST: OnceLock<String> = OnceLock::new();
    let kernel = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let named = || std::env::var("HOSTNAME").ok().or_else(kernel).map(|name| name.trim().to_owned());
    HOST.get_or_init(|| named().unwrap_or_else(|| "localhost".to_owned())).clone()
}
