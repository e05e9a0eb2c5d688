//! The nuclear plant "sector 7-G": six workers, one queue each, in one program.
//!
//! ```text
//! cargo run --example plant                 # one shift on the embedded broker: no server, some ten seconds
//! cargo run --example plant -- --redis redis://127.0.0.1:6379   # the same shift on a Redis server
//! cargo run --example plant -- homer lenny  # these workers, until they are stopped; with --redis, on that server
//! cargo run --example plant -- --help       # what else the command line knows
//! ```
//!
//! `PLANT_ROOMS` names a directory for the plant's files that several such processes share; without it each has one of its
//! own, which goes with it.
//!
//! A file for each worker holds its settings, its tasks and their results; nothing lists them. `sim` holds the real
//! work, and the rest is the shift. `RUST_LOG=info` shows the workers' logs.

#![expect(unreachable_pub, reason = "the plant is written like a library of tasks, and a program has no outside")]

mod book;
mod carl;
mod charlie;
mod grimey;
mod histogram;
mod homer;
mod inanimate_rod;
mod lenny;
mod plant;
mod progress;
mod report;
mod roster;
mod shift;
mod sim;
mod timeclock;

use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use sector7g_tasks::broker::{Broker, MemoryBroker, RedisBroker};
use sector7g_tasks::cli::Cli;
use tracing_subscriber::EnvFilter;

use crate::plant::Plant;
use crate::progress::Style;
use crate::shift::Trouble;

/// The environment variable with the directory of the plant's rooms.
const ROOMS: &str = "PLANT_ROOMS";

#[tokio::main]
async fn main() -> ExitCode {
    match work().await {
        Ok(code) => code,
        Err(trouble) => {
            eprintln!("error: {}", report::with_causes(&*trouble));
            ExitCode::FAILURE
        }
    }
}

/// Opens the plant, works in it, and leaves nothing behind, unless it is to share its rooms.
async fn work() -> Result<ExitCode, Trouble> {
    // What Lenny files, Carl reads: in processes of their own they need one place.
    if let Some(rooms) = env::var_os(ROOMS) {
        return work_in(&Plant::new(Path::new(&rooms))?).await;
    }
    let scratch = tempfile::Builder::new().prefix("sector7g-plant-").tempdir()?;
    let code = work_in(&Plant::new(scratch.path())?).await?;
    scratch.close()?;
    Ok(code)
}

async fn work_in(plant: &Plant) -> Result<ExitCode, Trouble> {
    match broker_of_shift(env::args().skip(1)) {
        Some(broker) => hold_shift(broker, plant).await,
        None => {
            let plant = plant.clone();
            Ok(Cli::new().configure(|runner| runner.state(plant)).run().await)
        }
    }
}

/// Where to hold a shift: without arguments here, with a URL alone there. All else is for the workers' command line,
/// also a URL that is none, whose fault it tells.
fn broker_of_shift(arguments: impl Iterator<Item = String>) -> Option<Arc<dyn Broker>> {
    let arguments: Vec<String> = arguments.collect();
    let url = match &*arguments {
        [] => return Some(Arc::new(MemoryBroker::new())),
        [flag, url] if flag == "--redis" => url,
        [flag] => flag.strip_prefix("--redis=")?,
        _ => return None,
    };
    let broker = RedisBroker::builder(url).build().ok()?;
    Some(Arc::new(broker))
}

async fn hold_shift(broker: Arc<dyn Broker>, plant: &Plant) -> Result<ExitCode, Trouble> {
    let logging = env::var_os(EnvFilter::DEFAULT_ENV).is_some();
    if logging {
        tracing_subscriber::fmt().with_env_filter(EnvFilter::from_default_env()).with_writer(std::io::stderr).init();
    }
    let off = shift::hold(broker, plant, Style::fitting(logging)).await?;
    if off.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("The shift is over, but not all went as it should:");
    for problem in off {
        eprintln!("  - {problem}");
    }
    Ok(ExitCode::FAILURE)
}
