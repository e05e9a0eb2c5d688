//! `--watch`: a parent process that rebuilds the program on a change and keeps one worker process running.

mod build;
mod files;
mod program;
mod worker;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Instant;

use tokio::task::JoinSet;

use self::build::Build;
use self::files::Files;
use self::program::{Package, Program};
use self::worker::Worker;
use super::args::Config;
use super::end_limit;
use super::error::CliError;
use crate::inventory::PlannedWorker;
use crate::runner::Signals;
use crate::worker::Stop;

/// Runs the workers in a process of their own, rebuilt and started anew at each change below `dir`,
/// until a signal comes.
pub(super) async fn watch(dir: &Path, config: &Config, workers: &[PlannedWorker]) -> Result<(), CliError> {
    let problem = |cause: io::Error| CliError::WatchDir { dir: dir.to_owned(), cause: cause.into() };
    let root = dir.canonicalize().map_err(problem)?;
    if !root.is_dir() {
        return Err(problem(io::ErrorKind::NotADirectory.into()));
    }
    let program = Program::current()?;
    let package = Package::find(&program, &root).await?;
    let files = Files::watch(root).map_err(|error| CliError::WatchDir { dir: dir.to_owned(), cause: error.into() })?;
    if config.burst.is_some() {
        tracing::warn!("--burst and --no-burst have no effect with --watch");
    }
    tracing::info!("watching {}: a change rebuilds and restarts {program}", dir.display());
    let worker = Worker::new(&config.passed_on, end_limit(workers));
    Watch { program, package, files, worker, stop: Stop::default() }.run().await
}

struct Watch {
    program: Program,
    package: Package,
    files: Files,
    worker: Worker,
    stop: Stop,
}

impl Watch {
    async fn run(mut self) -> Result<(), CliError> {
        let mut signals = JoinSet::new();
        let (stop, heard) = (self.stop.clone(), Signals::new().map_err(|error| CliError::System(error.into()))?);
        signals.spawn(obey(heard, stop));
        self.until_stopped().await;
        self.worker.stop(&self.stop.forced).await;
        signals.shutdown().await;
        self.files.end().await;
        Ok(())
    }

    async fn until_stopped(&mut self) {
        self.start();
        loop {
            tokio::select! {
                biased; // the stop first, and an end before what restarts the worker anyway
                () = self.stop.graceful.cancelled() => return, // cancel safe: stays cancelled
                ended = self.worker.ended() => say_ended(ended), // cancel safe: so it says
                changed = self.files.changed() => self.rebuild(&changed).await, // cancel safe: so it says
            }
        }
    }

    fn start(&mut self) {
        if let Err(error) = self.worker.start(&self.program.exe) {
            tracing::error!(
                "`{}` could not be started: {error}; waiting for the next change",
                self.program.exe.display()
            );
        }
    }

    /// Builds the program, and only if that goes well puts the new one in the old one's place.
    async fn rebuild(&mut self, changed: &[PathBuf]) {
        tracing::info!("files changed ({}), building {}", self.files.summary(changed), self.program);
        let began = Instant::now();
        match self.build().await {
            None => {}
            Some(Ok(status)) if status.success() => {
                tracing::info!("built in {:.1}s, reloading the worker", began.elapsed().as_secs_f64());
                self.restart().await;
            }
            Some(Ok(status)) => tracing::error!("the build failed ({status}); {}", self.meanwhile()),
            Some(Err(error)) => tracing::error!("cargo could not be started: {error}; {}", self.meanwhile()),
        }
    }

    /// How cargo ended; `None` if it was killed because the program is to stop.
    async fn build(&mut self) -> Option<io::Result<ExitStatus>> {
        let mut build = match Build::start(self.program.build(&self.package)) {
            Ok(build) => build,
            Err(error) => return Some(Err(error)),
        };
        loop {
            tokio::select! {
                biased; // the stop first; the worker's end is said before what the build came to
                () = self.stop.graceful.cancelled() => break, // cancel safe: stays cancelled
                ended = self.worker.ended() => say_ended(ended), // cancel safe: so it says
                status = build.ended() => return Some(status), // cancel safe: so it says
            }
        }
        build.cancel().await;
        None
    }

    async fn restart(&mut self) {
        self.worker.stop(&self.stop.forced).await;
        if !self.stop.graceful.is_cancelled() {
            self.start();
        }
    }

    /// What happens until the next change.
    fn meanwhile(&self) -> &'static str {
        if self.worker.is_running() { "the worker goes on as it was" } else { "waiting for the next change" }
    }
}

fn say_ended(ended: io::Result<ExitStatus>) {
    match ended {
        Ok(status) if status.success() => tracing::info!("the worker has ended; waiting for the next change"),
        Ok(status) => tracing::error!("the worker ended by itself ({status}); waiting for the next change"),
        Err(error) => tracing::error!("the worker was lost: {error}; waiting for the next change"),
    }
}

/// The worker's own lines say what a stop means for its jobs.
async fn obey(mut signals: Signals, stop: Stop) {
    let signal = signals.heard().await;
    tracing::info!("stopping the worker on {signal}");
    stop.graceful.cancel();
    signals.heard().await;
    stop.forced.cancel();
}
