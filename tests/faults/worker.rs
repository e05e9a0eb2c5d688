//! A worker process: our real runner, and tasks that write down what they see.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use sector7g_tasks::broker::RedisBroker;
use sector7g_tasks::prelude::*;
use sector7g_tasks::testing::Guard;
use serde::{Deserialize, Serialize};

use crate::ledger::{Ledger, What};

/// The lease of the workers in all scenarios but those of [`PATIENT`] and [`CALM`].
pub(crate) const LEASE: Duration = Duration::from_secs(2);

/// Of a worker's runtime.
const THREADS: usize = 2;

/// The queue of the workers whose lease is [`LEASE`].
pub(crate) const HASTY: &str = "{hasty}";

/// The queue of the workers whose lease is so long that nobody could wait for it unnoticed.
pub(crate) const PATIENT: &str = "{patient}";

#[derive(Debug, Worker)]
#[worker(
    queue = "{hasty}",
    max_jobs = 10,
    lease = "2s",
    job_completion_wait = "500ms",
    job_timeout = "10s",
    on_startup = up
)]
struct Hasty;

#[derive(Debug, Worker)]
#[worker(
    queue = "{patient}",
    max_jobs = 10,
    lease = "30s",
    job_completion_wait = "500ms",
    job_timeout = "30s",
    on_startup = up
)]
struct Patient;

/// The queue of the workers that try a job again however often it was hit.
pub(crate) const HARDY: &str = "{hardy}";

#[derive(Debug, Worker)]
#[worker(
    queue = "{hardy}",
    max_jobs = 10,
    max_tries = 100,
    lease = "2s",
    job_completion_wait = "500ms",
    job_timeout = "5s",
    on_startup = up
)]
struct Hardy;

/// The queue of the workers that wait, when they are told to stop, for longer than any job takes.
pub(crate) const CALM: &str = "{calm}";

#[derive(Debug, Worker)]
#[worker(
    queue = "{calm}",
    max_jobs = 10,
    lease = "30s",
    job_completion_wait = "10s",
    job_timeout = "30s",
    on_startup = up
)]
struct Calm;

/// By now the runner hears signals.
async fn up(ctx: &WorkerContext) {
    ctx.state::<Arc<Ledger>>().expect("it was given").run(What::Up, "-", 0, 0);
}

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(long)]
    redis: String,
    #[arg(long)]
    ledger: PathBuf,
    /// The worker to run: `hasty`, `hardy`, `patient` or `calm`
    #[arg(long)]
    name: String,
    /// The guard to take out of the scripts
    #[arg(long, value_parser = guard)]
    without: Option<Guard>,
}

fn guard(name: &str) -> Result<Guard, String> {
    let found = Guard::ALL.iter().find(|(known, _)| *known == name);
    found.map(|(_, guard)| *guard).ok_or_else(|| format!("no guard is called {name}"))
}

pub(crate) fn main(options: &Options) -> ExitCode {
    // Without a backtrace, whose making would hold the runtime up: many jobs panic on purpose.
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::INFO).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    match runtime.expect("the system has threads").block_on(work(options)) {
        Ok(report) => {
            tracing::info!("{report:?}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!("{error}: {:?}", error.source());
            ExitCode::FAILURE
        }
    }
}

async fn work(options: &Options) -> Result<RunReport, Box<dyn std::error::Error>> {
    let ledger = Arc::new(Ledger::open(&options.ledger, "worker")?);
    ledger.clock();
    if let Some(guard) = options.without {
        guard.take_out();
    }
    let broker = RedisBroker::builder(&options.redis).connect_retries(60, Duration::from_millis(250)).build()?;
    let runner = Runner::new().broker(Arc::new(broker)).state(ledger).only([&options.name]);
    Ok(runner.run().await?)
}

/// What a run leaves as its result: the checker compares it with the ledger.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ran {
    pub(crate) attempt: u32,
    pub(crate) fence: u32,
}

/// A run under way. It is cut unless it ends.
struct Run {
    ledger: Arc<Ledger>,
    job: String,
    attempt: u32,
    fence: u32,
    has_ended: bool,
}

impl Run {
    fn start(ctx: &Context, ledger: Arc<Ledger>) -> Self {
        let run = Self {
            ledger,
            job: ctx.job_id().to_string(),
            attempt: ctx.attempt(),
            fence: ctx.fence(),
            has_ended: false,
        };
        run.note(What::Start);
        run
    }

    fn end(mut self) -> Ran {
        self.has_ended = true;
        self.note(What::End);
        Ran { attempt: self.attempt, fence: self.fence }
    }

    fn note(&self, what: What) {
        self.ledger.run(what, &self.job, self.attempt, self.fence);
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.has_ended {
            self.note(What::Cut);
        }
    }
}

#[task(queue = "{hasty}")]
async fn work_for(ctx: &Context, State(ledger): State<Arc<Ledger>>, ms: u64) -> Ran {
    let run = Run::start(ctx, ledger);
    tokio::time::sleep(Duration::from_millis(ms)).await;
    run.end()
}

/// Kills its worker.
#[task(queue = "{hasty}", name = "abort")]
async fn kill(ctx: &Context, State(ledger): State<Arc<Ledger>>, _ms: u64) {
    let _run = Run::start(ctx, ledger);
    std::process::abort();
}

/// Eats its worker's memory, which is limited, until that dies of it.
#[task(queue = "{hasty}")]
async fn devour(ctx: &Context, State(ledger): State<Arc<Ledger>>, _ms: u64) {
    const BITE: usize = 32 * 1024 * 1024;
    let run = Run::start(ctx, ledger);
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    while eaten.len() < 1_000 {
        eaten.push(vec![1; BITE]); // not zeros: the system gives those without any memory
    }
    drop(run);
}

/// Overflows its thread's stack, which kills the process.
#[task(queue = "{hasty}")]
async fn overflow(ctx: &Context, State(ledger): State<Arc<Ledger>>, ms: u64) -> u64 {
    let _run = Run::start(ctx, ledger);
    deeper(ms)
}

fn deeper(depth: u64) -> u64 {
    let room = std::hint::black_box([depth; 1024]);
    if depth == u64::MAX { depth } else { deeper(depth + 1) ^ room[1] }
}

#[task(queue = "{hasty}")]
async fn panic(ctx: &Context, State(ledger): State<Arc<Ledger>>, ms: u64) {
    let _run = Run::start(ctx, ledger);
    panic!("as asked, after {ms} ms or at once");
}

/// Blocks its worker's runtime, all threads of it, for longer than a lease.
#[task(queue = "{hasty}")]
#[expect(clippy::disallowed_methods, reason = "it is to do harm")]
async fn block(ctx: &Context, State(ledger): State<Arc<Ledger>>, ms: u64) -> Ran {
    let run = Run::start(ctx, ledger);
    let until = std::time::Instant::now() + LEASE + Duration::from_millis(ms);
    let hold = move || std::thread::sleep(until.saturating_duration_since(std::time::Instant::now()));
    for _ in 0..THREADS {
        tokio::spawn(async move { hold() }); // the last one is this thread's own: the others take those before
    }
    hold();
    run.end()
}

/// Goes on though it is told to end.
#[task(queue = "{hasty}", timeout = "200ms")]
#[expect(clippy::disallowed_methods, reason = "it is to do harm")]
fn ignore(ctx: &Context, State(ledger): State<Arc<Ledger>>, ms: u64) -> Ran {
    let run = Run::start(ctx, ledger);
    std::thread::sleep(Duration::from_millis(300 + ms));
    run.end()
}
