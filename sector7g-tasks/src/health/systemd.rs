//! What systemd is told, where it asks to be: `Type=notify`, `WatchdogSec=`.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Health, Unwell};

/// How often the runner is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// How long a message may take to be sent before others are left out: the socket holds a few that systemd has not read.
const SEND: Duration = Duration::from_millis(500);

/// Says once that the workers are ready, once that they stop, and pings the watchdog as long as the runner is live.
pub(super) async fn notify(health: Health, ended: CancellationToken) {
    // Twice in the time that systemd waits is its own advice; a third time is for a ping that comes late.
    let every = sd_notify::watchdog_enabled().map(|limit| limit / 3);
    let look = every.map_or(LOOK, |every| every.min(LOOK)).max(Duration::from_millis(1));
    let (mut voice, mut since_ping) = (Voice::default(), Duration::MAX);
    let (mut is_ready, mut is_stopping) = (false, false);
    while !ended.is_cancelled() {
        match health.ready() {
            Ok(()) if !is_ready => {
                is_ready = voice.tell([NotifyState::Ready, NotifyState::Status("all workers are ready")]).await;
            }
            Err(Unwell::Stopping | Unwell::Stopped) if !is_stopping => is_stopping = voice.tell(STOPPING).await,
            _ => {}
        }
        // Also while it stops, which can take its time.
        if every.is_some_and(|every| since_ping >= every)
            && health.live().is_ok()
            && voice.tell([NotifyState::Watchdog]).await
        {
            since_ping = Duration::ZERO;
        }
        let _ = ended.run_until_cancelled(sleep(look)).await;
        since_ping = since_ping.saturating_add(look);
    }
    if !is_stopping {
        voice.tell(STOPPING).await;
    }
    voice.is_free().await;
}

const STOPPING: [NotifyState<'static>; 2] =
    [NotifyState::Stopping, NotifyState::Status("running jobs come to their end")];

/// Sends one message at a time, each from a thread of the blocking pool: sending waits while the socket is full, and a
/// service manager that reads nothing must not keep a worker from its end, nor others from asking how it is.
#[derive(Default)]
struct Voice {
    sending: Option<JoinHandle<()>>,
}

impl Voice {
    /// False, and nothing is sent, when the message before is still on its way.
    async fn tell<const N: usize>(&mut self, states: [NotifyState<'static>; N]) -> bool {
        let is_free = self.is_free().await;
        if is_free {
            self.sending = Some(tokio::task::spawn_blocking(move || send(&states)));
        }
        is_free
    }

    /// Waits for the last message, for a while.
    async fn is_free(&mut self) -> bool {
        let Some(sending) = &mut self.sending else { return true };
        let is_sent = timeout(SEND, sending).await.is_ok();
        if is_sent {
            self.sending = None;
        }
        is_sent
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("systemd can't be told that {states:?}: {error}");
    }
}
