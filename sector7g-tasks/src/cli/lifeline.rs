use std::io;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::error::CliError;

/// Cancels `stop` once standard input ends, and `limit` later ends the process if it still runs.
///
/// Whoever started this process holds the other end: it lets go to stop it, and the system lets
/// go for it if it was killed, so no worker outlives its parent.
///
/// The thread is not of the runtime, which tasks may block, and is not joined: a read of standard
/// input can't be called off. It ends with the process.
pub(super) fn hold(stop: CancellationToken, limit: Duration) -> Result<(), CliError> {
    let waiting = move || {
        // An error is an end, too.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        stop.cancel();
        wait(limit);
        tracing::error!("the worker did not stop within {limit:?}; its jobs run again when their leases end");
        std::process::exit(1);
    };
    let thread = std::thread::Builder::new().name("s7g-lifeline".to_owned()).spawn(waiting);
    thread.map(drop).map_err(|error| CliError::System(error.into()))
}

/// Parks may end early without a cause.
fn wait(limit: Duration) {
    let began = Instant::now();
    while let Some(left) = limit.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}
