//! arq's command line for a program that runs workers.
//!
#![doc = include_str!("../docs/cli.md")]

pub(crate) mod args;
mod broker;
mod check;
mod error;
mod lifeline;
pub(crate) mod log;
mod watch;

use std::ffi::OsString;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::args::{Config, Mode};
use self::error::CliError;
use crate::error::BoxError;
use crate::inventory::PlannedWorker;
use crate::runner::{LEAKED_THREADS, RunReport, Runner, STOP_MARGIN};

/// What a worker's end may take beyond `job_completion_wait` before it is given up: that, and some.
const END_MARGIN: Duration = STOP_MARGIN.saturating_add(Duration::from_secs(3));

/// Runs the workers that the command line names, or all linked ones.
///
/// It is all that most programs need; [`Cli`] is for those whose tasks want a `State<T>`.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use my_tasks as _; // names the crate, so that its tasks are linked
/// # mod my_tasks {}
///
/// fn main() -> ExitCode {
///     sector7g_tasks::cli::main()
/// }
/// ```
///
/// It starts a runtime of its own, so don't call it from within one.
#[must_use = "the exit code tells whoever started the program how it ended"]
pub fn main() -> ExitCode {
    Cli::new().main()
}

type Change = Box<dyn FnOnce(Runner) -> Runner>;
type Setup = Box<dyn FnOnce(Runner) -> Pin<Box<dyn Future<Output = Result<Runner, BoxError>>>>>;

/// The command line of a program whose runner needs more than what is linked: states, middleware.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use sector7g_tasks::cli::Cli;
/// # #[derive(Clone)] struct Db;
/// # impl Db { async fn connect() -> Result<Self, std::io::Error> { Ok(Self) } }
/// # #[derive(Clone)] struct Limits;
///
/// fn main() -> ExitCode {
///     Cli::new()
///         .version(env!("CARGO_PKG_VERSION"))
///         .configure(|runner| runner.state(Limits))
///         .setup(|runner| async { Ok(runner.state(Db::connect().await?)) })
///         .main()
/// }
/// ```
#[must_use = "a command line does nothing until `main`"]
#[derive(Default)]
pub struct Cli {
    version: Option<&'static str>,
    changes: Vec<Change>,
    setups: Vec<Setup>,
}

impl Cli {
    /// The command line that [`main`] has.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what `--version` says of the program: `env!("CARGO_PKG_VERSION")`.
    pub fn version(mut self, version: &'static str) -> Self {
        self.version = Some(version);
        self
    }

    /// Changes the runner: [`state`](Runner::state), [`middleware`](Runner::middleware), [`inventory`](Runner::inventory), ….
    ///
    /// The runner has the broker and the workers that the command line chose. It may be changed
    /// several times, in this order; also for `--check`, and in the parent of `--watch`.
    pub fn configure(mut self, change: impl FnOnce(Runner) -> Runner + 'static) -> Self {
        self.changes.push(Box::new(change));
        self
    }

    /// Like [`configure`](Self::configure) and after it, for what may wait or fail: opening a database, reading a file.
    ///
    /// It runs only if workers are to start: not for `--check`, nor in the parent of `--watch`.
    /// An error ends the program with exit code 1, for it may go well the next time.
    pub fn setup<S, F>(mut self, setup: S) -> Self
    where
        S: FnOnce(Runner) -> F + 'static,
        F: Future<Output = Result<Runner, BoxError>> + 'static,
    {
        self.setups.push(Box::new(|runner| Box::pin(setup(runner))));
        self
    }

    /// Does what the program's arguments say, and returns the exit code.
    ///
    /// It starts a runtime of its own; a program that has one calls [`run`](Self::run).
    ///
    /// # Panics
    /// When it is called from within a runtime.
    #[must_use = "the exit code tells whoever started the program how it ended"]
    pub fn main(self) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("s7g-worker").build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return CliError::System(error.into()).report(log::Format::Pretty),
        };
        let code = runtime.block_on(self.run());
        // A task that blocks its thread is not to keep the program alive.
        runtime.shutdown_timeout(LEAKED_THREADS);
        code
    }

    /// Like [`main`](Self::main), on the runtime of the caller, who then has to deal with threads
    /// that tasks still block at the end: [`Runtime::shutdown_timeout`](tokio::runtime::Runtime::shutdown_timeout).
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped, the workers end as if killed.
    pub async fn run(self) -> ExitCode {
        let arguments: Vec<OsString> = std::env::args_os().collect();
        let config = match Config::from_args(&arguments) {
            Ok(config) => config,
            Err(error) => return error.report(log::Format::Pretty),
        };
        let format = config.log.format;
        match self.obey(config).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => error.report(format),
        }
    }

    async fn obey(self, config: Config) -> Result<(), CliError> {
        if config.mode == Mode::Version {
            args::print_version(self.version);
            return Ok(());
        }
        let broker = broker::broker_for(config.redis.as_deref())?;
        log::start(&config.log);
        let runner = Runner::new().broker(broker).only(&config.workers);
        #[cfg(all(unix, feature = "systemd"))]
        let runner = runner.notify_systemd(true);
        #[cfg(feature = "http")]
        let runner = match config.listen {
            Some(address) if matches!(config.mode, Mode::Work { .. }) => runner.listen(address),
            _ => runner,
        };
        let runner = self.changes.into_iter().fold(runner, |runner, change| change(runner));
        match &config.mode {
            Mode::Version => Ok(()),
            Mode::Check => check::check(&*runner.broker, &runner.check_linked()?).await,
            Mode::Watch(dir) => watch::watch(dir, &config, &runner.plan()?).await,
            Mode::Work { until_eof } => work(runner, self.setups, &config, *until_eof).await,
        }
    }
}

impl fmt::Debug for Cli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cli").field("version", &self.version).finish_non_exhaustive()
    }
}

/// Runs the workers; with `until_eof` also until standard input ends.
async fn work(runner: Runner, setups: Vec<Setup>, config: &Config, until_eof: bool) -> Result<(), CliError> {
    // Said before the setups, which may be long.
    let workers = runner.check_linked()?;
    let stop = CancellationToken::new();
    if until_eof {
        lifeline::hold(stop.clone(), end_limit(&workers))?;
    }
    let Some(prepared) = stop.run_until_cancelled(prepare(runner, setups)).await else { return Ok(()) };
    let mut runner = prepared.map_err(CliError::Setup)?;
    if let Some(burst) = config.burst {
        runner = runner.burst(burst);
    }
    runner = runner.with_limits(config.max_blocked, config.max_away);
    if !config.workers.is_empty() && !runner.broker.is_shared() {
        warn_of_embedded(&workers);
    }
    // The runner's own token, which may be the program's, so that all of the program stops.
    let token = runner.stop.clone();
    let mut passing_on = JoinSet::new();
    passing_on.spawn(async move {
        stop.cancelled().await;
        token.cancel();
    });
    let report = runner.run().await;
    passing_on.shutdown().await;
    sum_up(&report?);
    Ok(())
}

async fn prepare(mut runner: Runner, setups: Vec<Setup>) -> Result<Runner, BoxError> {
    for setup in setups {
        runner = setup(runner).await?;
    }
    Ok(runner)
}

fn warn_of_embedded(workers: &[PlannedWorker]) {
    let names: Vec<&str> = workers.iter().map(|worker| &*worker.name).collect();
    tracing::warn!(
        "on the embedded broker, which no other process can reach: {}; jobs come from this program alone, \
         unless --redis or REDIS_URL names a shared one",
        names.join(", ")
    );
}

/// How long these workers may take to stop.
fn end_limit(workers: &[PlannedWorker]) -> Duration {
    let longest = workers.iter().map(|worker| worker.settings.job_completion_wait).max();
    longest.unwrap_or_default().saturating_add(END_MARGIN)
}

fn sum_up(report: &RunReport) {
    let given_back: u64 = report.workers.iter().map(|worker| worker.given_back).sum();
    tracing::info!(
        "stopped ◆ {} jobs complete ◆ {} failed ◆ {} retries ◆ {given_back} given back",
        report.done(),
        report.failed(),
        report.retried()
    );
}
