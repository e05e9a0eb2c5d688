//! Starts the workers of the inventory, and owns their signals.

use std::fmt;
#[cfg(feature = "http")]
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, BrokerError, MemoryBroker, QueueName};
use crate::client::Client;
use crate::codec::{Codec, LastCodec};
use crate::context::{States, WorkerContext, WorkerShared};
use crate::error::{BoxError, Chain, TaskError};
use crate::hash::Map;
#[cfg(any(feature = "http", all(unix, feature = "systemd")))]
use crate::health::{Attendant, Duties};
use crate::health::{Health, HealthLimits};
use crate::inventory::{Inventory, InventoryError, PlannedWorker};
use crate::middleware::Middleware;
use crate::task::TaskDef;
use crate::worker::{Attempts, Engine, Group, Meters, Pulse, Running, Stop, WorkerError, WorkerReport};

/// Runs workers: all of the inventory, or the named ones.
///
/// Without a [`broker`](Self::broker), jobs live in this process and end with it.
///
/// ```standalone_crate
/// use sector7g_tasks::prelude::*;
///
/// #[task(queue = "homer")]
/// async fn nap(ctx: &Context) -> u32 {
///     ctx.attempt()
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let runner = Runner::new();
/// runner.client().enqueue(nap::job()).await?;
/// let report = runner.burst(true).run().await?; // burst: until the queues are empty
/// assert_eq!(report.done(), 1);
/// # Ok(())
/// # }
/// ```
#[must_use = "a runner does nothing until `run`"]
pub struct Runner {
    pub(crate) broker: Arc<dyn Broker>,
    codec: Codec,
    inventory: Inventory,
    states: Arc<States>,
    only: Vec<String>,
    layers: Vec<Arc<dyn Middleware>>,
    burst: bool,
    signals: bool,
    pub(crate) stop: CancellationToken,
    health: Health,
    #[cfg(feature = "http")]
    listen: Option<SocketAddr>,
    #[cfg(all(unix, feature = "systemd"))]
    notify: bool,
}

/// Why a runner did not start, or ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunnerError {
    /// Mistakes in tasks and workers, all of them.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// A worker of a name that the inventory does not hold.
    #[error("there is no worker `{name}`; known: {}", known.join(", "))]
    UnknownWorker {
        /// The name asked for.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// A worker's `on_startup` failed.
    #[error("on_startup of worker `{worker}` failed: {error}")]
    Startup {
        /// The worker.
        worker: String,
        /// What its hook returned.
        error: TaskError,
    },
    /// The broker does not answer.
    #[error("starting the workers failed")]
    Broker(#[source] BrokerError),
    /// The address to listen on can't be had.
    #[cfg(feature = "http")]
    #[error("listening on {address} failed; choose another address, or port 0 for any that is free")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        cause: std::io::Error,
    },
    /// The system refused a thread or a signal handler, or a worker ended abnormally.
    #[error("running the workers failed")]
    System(#[source] BoxError),
}

/// What the workers have done, by name.
#[derive(Clone, Debug, Default)]
pub struct RunReport {
    /// One report for each worker.
    pub workers: Vec<WorkerReport>,
}

impl RunReport {
    /// Jobs that ended well, of all workers.
    pub fn done(&self) -> u64 {
        self.workers.iter().map(|worker| worker.done).sum()
    }

    /// Jobs that failed for good, of all workers.
    pub fn failed(&self) -> u64 {
        self.workers.iter().map(|worker| worker.failed).sum()
    }

    /// Attempts that were to be repeated, of all workers.
    pub fn retried(&self) -> u64 {
        self.workers.iter().map(|worker| worker.retried).sum()
    }
}

impl Runner {
    /// A runner of all linked tasks and workers, on an embedded broker.
    pub fn new() -> Self {
        Self {
            broker: Arc::new(MemoryBroker::new()),
            codec: Codec::default(),
            inventory: Inventory::linked(),
            states: Arc::default(),
            only: Vec::new(),
            layers: Vec::new(),
            burst: false,
            signals: true,
            stop: CancellationToken::new(),
            health: Health::new(),
            #[cfg(feature = "http")]
            listen: None,
            #[cfg(all(unix, feature = "systemd"))]
            notify: false,
        }
    }

    /// Takes jobs from `broker`.
    pub fn broker(mut self, broker: Arc<dyn Broker>) -> Self {
        self.broker = broker;
        self
    }

    /// Writes in `codec` what comes from here (default: JSON): the jobs of schedules, of [`client`](Self::client)
    /// and of the tasks' own clients.
    ///
    /// Jobs are read in any codec, and the result of a job goes back in its own; that of one which has
    /// expired or is in none in the codec that its queue's last job came in, or else in this one.
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// Gives tasks their `State<T>`. A second value of one type replaces the first.
    pub fn state<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        // Shared with workers only once they run, and then this runner is consumed.
        if let Some(states) = Arc::get_mut(&mut self.states) {
            states.insert(value);
        }
        self
    }

    /// Takes tasks and workers from `inventory` in place of all that is linked.
    pub fn inventory(mut self, inventory: Inventory) -> Self {
        self.inventory = inventory;
        self
    }

    /// Runs only the workers of these names; `-` and `_` are the same. None: all.
    pub fn only<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.only = names.into_iter().map(Into::into).collect();
        self
    }

    /// Adds code around every run. The first layer added sees the job first.
    pub fn middleware(mut self, layer: impl Middleware) -> Self {
        self.layers.push(Arc::new(layer));
        self
    }

    /// Stops each worker once its queues are empty, deferred jobs included. Mirrors: arq, `burst`.
    pub fn burst(mut self, burst: bool) -> Self {
        self.burst = burst;
        self
    }

    /// Whether SIGTERM and SIGINT stop the workers (default: yes). A second one cuts running jobs
    /// short. Mirrors: arq, `handle_signals`.
    pub fn handle_signals(mut self, handle: bool) -> Self {
        self.signals = handle;
        self
    }

    /// Stops the workers gracefully when `token` is cancelled, for programs that have their own shutdown.
    pub fn stop_on(mut self, token: CancellationToken) -> Self {
        self.stop = token;
        self
    }

    /// When it counts as unwell, for [`health`](Self::health) and whoever asks that.
    pub fn health_limits(self, limits: HealthLimits) -> Self {
        self.health.set_limits(limits);
        self
    }

    /// Changes those of the limits that are given.
    #[cfg(feature = "cli")]
    pub(crate) fn with_limits(self, blocked: Option<Duration>, away: Option<Duration>) -> Self {
        let HealthLimits { blocked: now_blocked, away: now_away } = self.health.limits();
        let limits = HealthLimits { blocked: blocked.unwrap_or(now_blocked), away: away.unwrap_or(now_away) };
        self.health_limits(limits)
    }

    /// Tells how the run is, before it, during it and after it.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Serves `/live` and `/ready` on `address` for as long as it runs (port 0: any; the log says which), and with the feature
    /// `prometheus` `/metrics`, too, unless the program has another recorder of metrics. See [`health`](crate::health).
    #[cfg(feature = "http")]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        #[cfg(feature = "prometheus")]
        let _ = crate::metrics::Prometheus::install(); // now, to count what is enqueued before the run; `run` says what it says
        self.listen = Some(address);
        self
    }

    /// Whether to tell systemd when the workers are ready, when they stop, and that they live (default: no; programs with
    /// the command line: yes). It has no effect where systemd does not ask for it. See [`health`](crate::health).
    #[cfg(all(unix, feature = "systemd"))]
    pub fn notify_systemd(mut self, notify: bool) -> Self {
        self.notify = notify;
        self
    }

    /// A client of the same broker.
    pub fn client(&self) -> Client {
        Client::new(Arc::clone(&self.broker)).codec(self.codec)
    }

    /// Looks for every mistake in tasks, workers and states, without running anything.
    ///
    /// # Errors
    /// [`RunnerError::Inventory`] with all of them, or [`RunnerError::UnknownWorker`].
    pub fn check(&self) -> Result<(), RunnerError> {
        self.inventory.check(Some(&self.states))?;
        self.plan().map(drop)
    }

    /// Like [`check`](Self::check), before the states are there. Returns the workers to start.
    #[cfg(feature = "cli")]
    pub(crate) fn check_linked(&self) -> Result<Vec<PlannedWorker>, RunnerError> {
        self.inventory.check(None)?;
        self.plan()
    }

    /// The workers to start.
    pub(crate) fn plan(&self) -> Result<Vec<PlannedWorker>, RunnerError> {
        let plan = self.inventory.plan();
        let same = |a: &str, b: &str| a.replace('_', "-") == b.replace('_', "-");
        for name in &self.only {
            if !plan.iter().any(|worker| same(&worker.name, name)) {
                let known = plan.iter().map(|worker| worker.name.clone()).collect();
                return Err(RunnerError::UnknownWorker { name: name.clone(), known });
            }
        }
        let wanted =
            |worker: &PlannedWorker| self.only.is_empty() || self.only.iter().any(|name| same(&worker.name, name));
        Ok(plan.into_iter().filter(wanted).collect())
    }

    /// Runs the workers until they are told to stop, or in burst mode until their queues are empty.
    ///
    /// A stop is graceful: no new claims, `job_completion_wait` for what runs, and what is left
    /// goes back to its queue, due at once and its attempt uncounted.
    ///
    /// # Errors
    /// [`RunnerError`], before any job is claimed, or when a worker's `on_startup` fails.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped, the workers end as if killed, and their jobs start again when
    /// their leases have run out. Cancel the token given to [`stop_on`](Self::stop_on) instead.
    pub async fn run(self) -> Result<RunReport, RunnerError> {
        self.check()?;
        let until_ended = self.health.until_ended();
        #[cfg(any(feature = "http", all(unix, feature = "systemd")))]
        let attendant = self.attendant()?;
        let report = self.run_workers().await;
        drop(until_ended);
        #[cfg(any(feature = "http", all(unix, feature = "systemd")))]
        if let Some(attendant) = attendant {
            attendant.end().await;
        }
        report
    }

    /// Who tells the world outside how the run is, if anybody is to be told.
    #[cfg(any(feature = "http", all(unix, feature = "systemd")))]
    fn attendant(&self) -> Result<Option<Attendant>, RunnerError> {
        let mut duties = Duties::default();
        let mut has_any = false;
        #[cfg(feature = "http")]
        if let Some(address) = self.listen {
            let refused = |cause| RunnerError::Listen { address, cause };
            let listener = std::net::TcpListener::bind(address).map_err(refused)?;
            let address = listener.local_addr().map_err(refused)?;
            duties.listener = Some(listener);
            has_any = true;
            #[cfg(feature = "prometheus")]
            match crate::metrics::Prometheus::install() {
                Ok(prometheus) => {
                    duties.router = prometheus.router();
                    tracing::info!("listening: http://{address}/metrics, /live and /ready");
                }
                Err(error) => tracing::warn!("listening: http://{address}/live and /ready, no /metrics: {error}"),
            }
            #[cfg(not(feature = "prometheus"))]
            tracing::info!("listening: http://{address}/live and /ready");
        }
        #[cfg(all(unix, feature = "systemd"))]
        {
            duties.notify = self.notify && std::env::var_os("NOTIFY_SOCKET").is_some(); // systemd asks by it
            has_any |= duties.notify;
        }
        if !has_any {
            return Ok(None);
        }
        Attendant::start(self.health.clone(), duties).map(Some).map_err(RunnerError::System)
    }

    async fn run_workers(self) -> Result<RunReport, RunnerError> {
        let stop = Stop { graceful: self.stop.child_token(), ..Stop::default() };
        let engines = self.engines(self.plan()?)?;
        let mut signals = JoinSet::new();
        if self.signals {
            let (stop, mut heard) = (stop.clone(), Signals::new().map_err(|error| RunnerError::System(error.into()))?);
            signals.spawn(async move { heard.obey(&stop).await });
        }
        match stop.graceful.run_until_cancelled(self.broker.ready()).await {
            Some(ready) => ready.map_err(RunnerError::Broker)?,
            None => return Ok(RunReport::default()), // told to stop before it began
        }
        self.health.began(&engines, &stop.graceful);
        let mut beside = JoinSet::new();
        if !self.broker.clock().is_virtual() {
            let health = self.health.clone();
            beside.spawn(async move { health.beat().await });
        }
        self.announce(&engines);
        // It takes many calls, on a bad way as many times as long: no job waits for it, and no stop.
        let (broker, mut concerns) = (Arc::clone(&self.broker), JoinSet::new());
        concerns.spawn(async move { voice_concerns(&*broker).await });
        let pulse = Pulse::start(engines.clone()).map_err(RunnerError::System)?;
        let report = work(engines, stop).await;
        let _ = timeout(LAST_LOOK, concerns.join_next()).await; // a burst is over sooner
        pulse.end().await;
        signals.shutdown().await;
        report
    }

    fn engines(&self, plan: Vec<PlannedWorker>) -> Result<Vec<Arc<Engine>>, RunnerError> {
        let tasks: Arc<Map<&'static str, &'static TaskDef>> = Arc::new(self.inventory.by_name().into_iter().collect());
        let queues = plan.iter().flat_map(|worker| &worker.queues).map(|share| self.inventory.queues_of(share.name));
        let queues = queues.collect::<Result<Vec<_>, _>>().map_err(|error| RunnerError::System(error.into()))?;
        let queues: Arc<[_]> = queues.concat().into();
        plan.into_iter().map(|worker| self.engine(worker, &tasks, &queues)).collect()
    }

    fn engine(
        &self,
        worker: PlannedWorker,
        tasks: &Arc<Map<&'static str, &'static TaskDef>>,
        all: &Arc<[QueueName]>,
    ) -> Result<Arc<Engine>, RunnerError> {
        let (mut queues, mut groups) = (Vec::new(), Vec::new());
        for share in &worker.queues {
            let first = queues.len();
            queues.extend(self.inventory.queues_of(share.name).map_err(|error| RunnerError::System(error.into()))?);
            groups.push(Group { queues: first..queues.len(), weight: share.weight });
        }
        let shared_names = queues.iter().map(|queue| self.broker.shared_name(queue)).collect();
        let shared = WorkerShared {
            name: worker.name,
            queues,
            client: self.client().max_payload(worker.settings.max_payload_size),
            states: Arc::clone(&self.states),
            clock: self.broker.clock().clone(),
            stopping: CancellationToken::new(),
            max_result_size: worker.settings.max_result_size,
        };
        let meters = Meters::new(&shared.name, &shared.queues, tasks);
        let has_alerts = worker.settings.alerts.is_some();
        let attempts = shared.queues.iter().filter(|_| has_alerts).map(|_| Attempts::default()).collect();
        let last_codecs = shared.queues.iter().map(|_| LastCodec::default()).collect();
        Ok(Arc::new(Engine {
            settings: worker.settings,
            groups,
            shared_names,
            broker: Arc::clone(&self.broker),
            tasks: Arc::clone(tasks),
            context: WorkerContext(Arc::new(shared)),
            layers: self.layers.clone().into(),
            running: Running::default(),
            meters,
            attempts,
            last_codecs,
            instance: rand::random::<u64>() & !3, // see `LeaseToken::worker`
            burst: self.burst.then(|| Arc::clone(all)),
            told_schedules: Mutex::default(),
            cut: CancellationToken::new(),
        }))
    }

    fn announce(&self, engines: &[Arc<Engine>]) {
        let names = |names: Vec<&str>| names.join(", ");
        let tasks: Vec<&str> = self.inventory.tasks().map(|def| def.name).collect();
        tracing::info!(
            "Starting {} workers: {}",
            engines.len(),
            names(engines.iter().map(|engine| engine.name()).collect())
        );
        tracing::info!("{} tasks: {}", tasks.len(), names(tasks.clone()));
        let scheduled = engines.iter().flat_map(|engine| engine.scheduled());
        let mut crons: Vec<&str> = scheduled.map(|(def, _)| def.name).collect();
        crons.sort_unstable();
        if !crons.is_empty() {
            tracing::info!("{} schedules: {}", crons.len(), names(crons));
        }
        tracing::info!("broker: {}", self.broker.location());
    }
}

impl Default for Runner {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner")
            .field("broker", &self.broker.location())
            .field("only", &self.only)
            .finish_non_exhaustive()
    }
}

/// How long a runner that has ended waits for the look at the broker's set-up: cut off, that may leave keys behind.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// How long the end of a program waits for threads that tasks still hold.
pub(crate) const LEAKED_THREADS: Duration = Duration::from_secs(1);

/// The longest that a stop takes beyond its workers' `job_completion_wait`, 42 s: up to 12 where jobs ignore their cancellation
/// and the broker does not answer, and up to 30 of a hook `on_shutdown`.
///
/// Who ends programs by force (a container engine, systemd, Kubernetes) is to wait for longer than both together: what is cut
/// off is run again when its lease ends, and counts as an attempt.
pub const STOP_MARGIN: Duration = crate::worker::LONGEST_END.saturating_add(LAST_LOOK).saturating_add(LEAKED_THREADS);

/// Says what is wrong with the broker's set-up. The workers start all the same: it may still do for them.
async fn voice_concerns(broker: &dyn Broker) {
    match broker.concerns().await {
        Ok(concerns) => {
            for concern in concerns {
                tracing::warn!("the broker at {}: {concern}", broker.location());
            }
        }
        Err(error) => tracing::warn!("the broker's set-up could not be looked at: {}", Chain(&error)),
    }
}

async fn work(engines: Vec<Arc<Engine>>, stop: Stop) -> Result<RunReport, RunnerError> {
    let mut workers: JoinSet<Result<WorkerReport, WorkerError>> = JoinSet::new();
    for engine in engines {
        workers.spawn(engine.work(stop.clone()));
    }
    let mut report = RunReport::default();
    let mut failure = None;
    while let Some(ended) = workers.join_next().await {
        match ended {
            Ok(Ok(worker)) => report.workers.push(worker),
            Ok(Err(WorkerError::Startup { worker, error })) => failure = Some(RunnerError::Startup { worker, error }),
            Err(error) => failure = Some(RunnerError::System(error.into())),
        }
        if failure.is_some() {
            stop.graceful.cancel(); // the others end in order; the first failure is reported
        }
    }
    report.workers.sort_by(|a, b| a.worker.cmp(&b.worker));
    failure.map_or(Ok(report), Err)
}

/// The signals that stop a runner, heard from its making on. Mirrors: arq, SIGINT and SIGTERM.
pub(crate) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    pub(crate) fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    #[cfg(not(unix))]
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for the next signal.
    ///
    /// # Cancel safety
    /// Cancel safe: a signal that was not returned is returned by the next call (on Unix).
    #[cfg(unix)]
    pub(crate) async fn heard(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM", // cancel safe: signals are kept for the next call
            _ = self.interrupt.recv() => "SIGINT", // cancel safe: signals are kept for the next call
        }
    }

    #[cfg(not(unix))]
    pub(crate) async fn heard(&mut self) -> &'static str {
        // An error means that none can come.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        "Ctrl-C"
    }

    async fn obey(&mut self, stop: &Stop) {
        let signal = self.heard().await;
        tracing::info!("shutdown on {signal}: no new jobs; a second signal cuts running ones short");
        stop.graceful.cancel();
        let signal = self.heard().await;
        tracing::warn!("second signal, {signal}: running jobs go back to their queues now");
        stop.forced.cancel();
    }
}
