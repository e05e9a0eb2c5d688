//! What systemd is told, where it asks to be: `Type=notify`, `WatchdogSec=`.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Health, Unwell};

/// How often the runner is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Says once that the workers are ready, once that they stop, and pings the watchdog as long as the runner is live.
pub(super) async fn notify(health: Health, ended: CancellationToken) {
    // Twice in the time that systemd waits is its own advice; a third time is for a ping that comes late.
    let every = sd_notify::watchdog_enabled().map(|limit| limit / 3);
    let look = every.map_or(LOOK, |every| every.min(LOOK)).max(Duration::from_millis(1));
    let (mut is_told, mut since_ping) = (Told::default(), Duration::MAX);
    while !ended.is_cancelled() && !is_told.stopping {
        match health.ready() {
            Ok(()) if !is_told.ready => {
                tell(&[NotifyState::Ready, NotifyState::Status("all workers are ready")]);
                is_told.ready = true;
            }
            Err(Unwell::Stopping | Unwell::Stopped) => is_told.stopping = tell_stopping(),
            _ => {}
        }
        ping(&health, every, &mut since_ping);
        rest(look, &ended, &mut since_ping).await;
    }
    if !is_told.stopping {
        tell_stopping();
    }
    while !ended.is_cancelled() {
        ping(&health, every, &mut since_ping); // a stop can take its time, too
        rest(look, &ended, &mut since_ping).await;
    }
}

#[derive(Default)]
struct Told {
    ready: bool,
    stopping: bool,
}

fn tell_stopping() -> bool {
    tell(&[NotifyState::Stopping, NotifyState::Status("running jobs come to their end")]);
    true
}

fn ping(health: &Health, every: Option<Duration>, since_ping: &mut Duration) {
    if every.is_some_and(|every| *since_ping >= every) && health.live().is_ok() {
        tell(&[NotifyState::Watchdog]);
        *since_ping = Duration::ZERO;
    }
}

async fn rest(look: Duration, ended: &CancellationToken, since_ping: &mut Duration) {
    let _ = ended.run_until_cancelled(sleep(look)).await;
    *since_ping = since_ping.saturating_add(look);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("systemd can't be told that {states:?}: {error}");
    }
}
