use std::io;
use std::process::ExitStatus;

use tokio::process::{Child, Command};

/// A cargo at work, and all that it has started.
#[derive(Debug)]
pub(super) struct Build {
    cargo: Child,
}

impl Build {
    pub(super) fn start(mut command: Command) -> io::Result<Self> {
        // A group of its own: killing cargo alone would leave its compilers and build scripts at work.
        #[cfg(unix)]
        command.process_group(0);
        Ok(Self { cargo: command.kill_on_drop(true).spawn()? })
    }

    /// Waits for its end.
    ///
    /// # Cancel safety
    /// Cancel safe: an end that was not returned is returned by the next call.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.cargo.wait().await
    }

    /// Ends it before its time.
    pub(super) async fn cancel(mut self) {
        #[cfg(unix)]
        self.kill_group();
        if let Err(error) = self.cargo.kill().await {
            tracing::warn!("cargo could not be killed: {error}");
        }
    }

    #[cfg(unix)]
    fn kill_group(&self) {
        use rustix::process::{Pid, Signal, kill_process_group};
        // Cargo leads the group, and has an id until its end was waited for.
        let leader = self.cargo.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(Err(error)) = leader.map(|leader| kill_process_group(leader, Signal::KILL)) {
            tracing::debug!("cargo's processes could not be killed: {error}");
        }
    }
}
