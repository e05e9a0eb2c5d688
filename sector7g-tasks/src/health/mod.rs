//! Whether a runner lives, and whether it can work: for Kubernetes, systemd, or whoever asks.
//!
#![doc = include_str!("../docs/health.md")]

#[cfg(any(feature = "http", all(unix, feature = "systemd")))]
mod attendant;
#[cfg(feature = "http")]
mod http;
#[cfg(all(unix, feature = "systemd"))]
mod systemd;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::worker::Engine;

#[cfg(any(feature = "http", all(unix, feature = "systemd")))]
pub(crate) use self::attendant::{Attendant, Duties};
#[cfg(feature = "operate")]
pub(crate) use self::http::Peer;
#[cfg(feature = "operate")]
pub(crate) use self::http::{Bounded, serve};

/// How often the workers' runtime shows that it gets to its tasks.
const BEAT: Duration = Duration::from_millis(500);

/// When a runner counts as unwell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthLimits {
    /// How long its runtime may get to no task before it is not live. Default: 10 s.
    pub blocked: Duration,
    /// How long a worker may hear nothing from its broker before it is not ready; at least 6 s, as an idle one asks every 5 s.
    /// Default: 30 s.
    pub away: Duration,
}

impl Default for HealthLimits {
    fn default() -> Self {
        Self { blocked: Duration::from_secs(10), away: Duration::from_secs(30) }
    }
}

/// The longest that an idle worker hears nothing in good order.
const LEAST_AWAY: Duration = Duration::from_secs(6);

/// Why a runner is not live, or not ready.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unwell {
    /// The runtime's threads are blocked.
    #[error("the workers' runtime has been blocked for {}s; a task blocks its threads", .0.as_secs())]
    Blocked(Duration),
    /// It has not begun, or `on_startup` hooks are at work.
    #[error("starting: {0}")]
    Starting(String),
    /// It stops: running jobs come to their end, no new ones are taken.
    #[error("stopping")]
    Stopping,
    /// It has ended.
    #[error("stopped")]
    Stopped,
    /// The broker does not answer these workers.
    #[error("the broker has not answered for {}s: {workers}", away.as_secs())]
    Away {
        /// How long the longest of them waits.
        away: Duration,
        /// Their names.
        workers: String,
    },
}

/// How a runner is, from [`Runner::health`](crate::Runner::health). Clones speak of the same one.
#[derive(Clone)]
pub struct Health(Arc<Inner>);

struct Inner {
    made_at: Instant,
    /// When the runtime last got to its tasks, ms after `made_at`; `NO_BEAT` while it does not say.
    beat_at: AtomicU64,
    state: Mutex<State>,
}

const NO_BEAT: u64 = u64::MAX;

#[derive(Default)]
struct State {
    limits: HealthLimits,
    phase: Phase,
}

#[derive(Default)]
enum Phase {
    #[default]
    New,
    Running(Vec<Arc<Engine>>, CancellationToken),
    Ended,
}

impl Health {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner { made_at: Instant::now(), beat_at: AtomicU64::new(NO_BEAT), state: Mutex::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner) // no code panics while it holds the lock
    }

    pub(crate) fn set_limits(&self, limits: HealthLimits) {
        self.state().limits = HealthLimits { away: limits.away.max(LEAST_AWAY), ..limits };
    }

    #[cfg(feature = "cli")]
    pub(crate) fn limits(&self) -> HealthLimits {
        self.state().limits
    }

    /// Whether the process does anything at all. If not, it should be killed and started anew.
    ///
    /// # Errors
    /// [`Unwell::Blocked`].
    pub fn live(&self) -> Result<(), Unwell> {
        let beat_at = self.0.beat_at.load(Ordering::Relaxed);
        if beat_at == NO_BEAT {
            return Ok(());
        }
        let silent = self.0.made_at.elapsed().saturating_sub(Duration::from_millis(beat_at));
        if silent > self.state().limits.blocked { Err(Unwell::Blocked(silent)) } else { Ok(()) }
    }

    /// Whether all workers take jobs: they have started, their broker answers, and nobody has asked them to stop.
    ///
    /// # Errors
    /// [`Unwell`].
    pub fn ready(&self) -> Result<(), Unwell> {
        self.live()?;
        let state = self.state();
        match &state.phase {
            Phase::New => Err(Unwell::Starting("the broker has not answered yet".to_owned())),
            Phase::Ended => Err(Unwell::Stopped),
            Phase::Running(_, stop) if stop.is_cancelled() => Err(Unwell::Stopping),
            Phase::Running(engines, _) => all_hear(engines, state.limits.away),
        }
    }

    pub(crate) fn began(&self, engines: &[Arc<Engine>], stop: &CancellationToken) {
        self.state().phase = Phase::Running(engines.to_vec(), stop.clone());
    }

    /// Has it say that the run has ended once that is dropped, also where the run is.
    pub(crate) fn until_ended(&self) -> UntilEnded {
        UntilEnded(self.clone())
    }

    /// Shows, as a task of the runtime, that the runtime gets to its tasks.
    pub(crate) async fn beat(&self) {
        loop {
            let now = u64::try_from(self.0.made_at.elapsed().as_millis()).unwrap_or(NO_BEAT - 1);
            self.0.beat_at.store(now, Ordering::Relaxed);
            sleep(BEAT).await;
        }
    }
}

/// See [`Health::until_ended`].
pub(crate) struct UntilEnded(Health);

impl Drop for UntilEnded {
    fn drop(&mut self) {
        self.0.state().phase = Phase::Ended;
        self.0.0.beat_at.store(NO_BEAT, Ordering::Relaxed);
    }
}

/// A worker hears from its broker by claims, waits and, while all of its slots are taken, heartbeats.
fn all_hear(engines: &[Arc<Engine>], limit: Duration) -> Result<(), Unwell> {
    let silence = |engine: &Arc<Engine>| engine.running.tally.silence();
    let names = |of: &dyn Fn(Option<Duration>) -> bool| {
        let of = engines.iter().filter(|engine| of(silence(engine)));
        of.map(|engine| engine.name()).collect::<Vec<_>>().join(", ")
    };
    let not_started = names(&|silence| silence.is_none());
    if !not_started.is_empty() {
        return Err(Unwell::Starting(not_started));
    }
    match engines.iter().filter_map(silence).max() {
        Some(away) if away > limit => {
            Err(Unwell::Away { away, workers: names(&|silence| silence.is_some_and(|away| away > limit)) })
        }
        _ => Ok(()),
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").field("live", &self.live()).field("ready", &self.ready()).finish()
    }
}
