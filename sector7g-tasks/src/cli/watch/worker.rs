use std::ffi::OsString;
use std::future::pending;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, ChildStdin, Command};
use tokio_util::sync::CancellationToken;

use crate::cli::args::UNTIL_EOF;

/// How long a worker still gets once its parent was told twice to stop.
const HURRY: Duration = Duration::from_secs(3);

/// The worker process that the parent of `--watch` keeps, or none.
///
/// It stops when its standard input ends, which needs no signal and also happens when the parent is killed.
pub(super) struct Worker {
    process: Option<(Child, ChildStdin)>,
    arguments: Vec<OsString>,
    /// How long it may take to stop.
    limit: Duration,
}

impl Worker {
    /// None yet. It will be started with `arguments`.
    pub(super) fn new(arguments: &[OsString], limit: Duration) -> Self {
        let flag = OsString::from(format!("--{UNTIL_EOF}"));
        Self { process: None, arguments: [flag].into_iter().chain(arguments.iter().cloned()).collect(), limit }
    }

    pub(super) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    pub(super) fn start(&mut self, exe: &Path) -> io::Result<()> {
        let mut command = Command::new(exe);
        let mut child = command.args(&self.arguments).stdin(Stdio::piped()).kill_on_drop(true).spawn()?;
        // Taken out, as waiting for a child closes what it still holds.
        let lifeline = child.stdin.take().ok_or_else(|| io::Error::other("the worker has no standard input"))?;
        self.process = Some((child, lifeline));
        Ok(())
    }

    /// Waits until it has ended by itself; for ever, if there is none.
    ///
    /// # Cancel safety
    /// Cancel safe: an end that was not returned is returned by the next call.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        let Some((child, _)) = &mut self.process else { return pending().await };
        let status = child.wait().await;
        self.process = None;
        status
    }

    /// Asks it to stop and waits for that: in order, or for [`HURRY`] after `hurry` was cancelled;
    /// then kills it. Returns how it ended, if there was one.
    pub(super) async fn stop(&mut self, hurry: &CancellationToken) -> Option<io::Result<ExitStatus>> {
        let (mut child, lifeline) = self.process.take()?;
        drop(lifeline); // the request
        tokio::select! {
            biased; // an end before the ends of patience
            status = child.wait() => return Some(status), // cancel safe: the status is kept
            () = tokio::time::sleep(self.limit) => {} // cancel safe: only waits
            () = async { hurry.cancelled().await; tokio::time::sleep(HURRY).await } => {} // cancel safe: only waits
        }
        tracing::error!("the worker did not stop in time and is killed; its jobs run again when their leases end");
        Some(match child.kill().await {
            Ok(()) => child.wait().await,
            Err(error) => Err(error),
        })
    }
}
