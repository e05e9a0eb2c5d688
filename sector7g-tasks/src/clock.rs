//! What time it is: one place to ask, so that tests can set it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// A moment, in milliseconds since the Unix epoch, as arq keeps it in Redis.
///
/// Displays as RFC 3339 in UTC. Arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment `ms` milliseconds after the epoch (before it, when negative).
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Time from `earlier` until this moment; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This moment in the system's type, for use with other libraries.
    pub fn to_system_time(self) -> SystemTime {
        let span = Duration::from_millis(self.0.unsigned_abs());
        let moment = if self.0 < 0 { UNIX_EPOCH.checked_sub(span) } else { UNIX_EPOCH.checked_add(span) };
        moment.unwrap_or(UNIX_EPOCH)
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(millis(after)),
            Err(before) => Self(-millis(before.duration())),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(moment) => write!(f, "{moment:.3}"),
            Err(_) => write!(f, "{} ms", self.0), // outside of the years that RFC 3339 can name
        }
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// The time of one process, which never runs backwards.
///
/// Cloning is cheap; clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started: Instant,
    /// Epoch milliseconds at `started`.
    base_ms: AtomicI64,
    /// Milliseconds from `started` to the last look at the system's clock.
    looked_ms: AtomicI64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A forward jump of the system's clock raises the base.
    System,
    /// Tokio's timers alone move it.
    Virtual,
    /// What another machine says moves it.
    #[cfg(feature = "redis")]
    Other,
}

/// How far ahead of another machine's clock we may be before we go back to it: its answers are under way for a while.
#[cfg(feature = "redis")]
const AHEAD_MS: i64 = 1_000;

/// How often the system's clock is looked at.
const LOOK_EVERY_MS: i64 = 10;

/// How far the system's clock may be ahead before we follow it: a suspended laptop, a step by NTP.
const JUMP_MS: i64 = 500;

impl Clock {
    /// The system's time, on a monotonic scale: steps forward are followed (a machine that
    /// slept), steps backward are not, so a lease or a delay is never lengthened by one.
    pub fn system() -> Self {
        Self::starting_at(system_now(), Kind::System)
    }

    /// A clock that starts at `start` and runs with tokio's timers only.
    ///
    /// Under `#[tokio::test(start_paused = true)]` it stands still while any task can run and
    /// jumps to the next timer when none can, so hours pass in milliseconds. Workers whose
    /// broker has such a clock keep their heartbeats on the same paused runtime.
    pub fn starting_from(start: Timestamp) -> Self {
        Self::starting_at(start, Kind::Virtual)
    }

    /// The clock of another machine, as near as this process knows it: the system's until it hears of the other.
    #[cfg(feature = "redis")]
    pub(crate) fn of_another() -> Self {
        Self::starting_at(system_now(), Kind::Other)
    }

    /// Follows what the other machine said its time was, a moment ago.
    #[cfg(feature = "redis")]
    pub(crate) fn follow(&self, said: Timestamp) {
        let elapsed = millis(self.0.started.elapsed());
        let base = said.0.saturating_sub(elapsed);
        let ahead = self.0.base_ms.load(Ordering::Relaxed).saturating_sub(base);
        if !(0..=AHEAD_MS).contains(&ahead) {
            self.0.base_ms.store(base, Ordering::Relaxed);
        }
    }

    fn starting_at(start: Timestamp, kind: Kind) -> Self {
        let base_ms = AtomicI64::new(start.0);
        Self(Arc::new(Inner { started: Instant::now(), base_ms, looked_ms: AtomicI64::new(0), kind }))
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.at(Instant::now())
    }

    /// The present moment, for whoever has read tokio's clock just now.
    pub(crate) fn at(&self, instant: Instant) -> Timestamp {
        let elapsed = millis(instant.saturating_duration_since(self.0.started));
        let now = self.0.base_ms.load(Ordering::Relaxed).saturating_add(elapsed);
        // Each job asks twice, and every look costs as much again as reading tokio's clock.
        let is_fresh = elapsed - self.0.looked_ms.load(Ordering::Relaxed) < LOOK_EVERY_MS;
        if self.0.kind != Kind::System || is_fresh {
            return Timestamp(now);
        }
        self.0.looked_ms.store(elapsed, Ordering::Relaxed);
        let system = system_now().0;
        if system - now <= JUMP_MS {
            return Timestamp(now);
        }
        self.0.base_ms.fetch_max(system - elapsed, Ordering::Relaxed);
        Timestamp(system)
    }

    /// Whether tokio's timers alone move this clock (see [`Clock::starting_from`]).
    pub fn is_virtual(&self) -> bool {
        self.0.kind == Kind::Virtual
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that may ask")]
fn system_now() -> Timestamp {
    SystemTime::now().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_of_the_systems_clock_is_followed_soon() {
        let hour = Duration::from_hours(1);
        let clock = Clock::starting_at(system_now() - hour, Kind::System); // as after an hour of a machine's sleep
        for _ in 0..2 {
            let began = std::time::Instant::now();
            while system_now().since(clock.now()) > hour / 2 {
                assert!(began.elapsed() < Duration::from_secs(10), "it does not look");
                std::thread::yield_now();
            }
            clock.0.base_ms.fetch_sub(millis(hour), Ordering::Relaxed); // and once more
        }
    }

    #[cfg(all(feature = "redis", feature = "testing"))]
    #[tokio::test(start_paused = true)]
    async fn another_machines_clock_is_followed_both_ways() {
        let clock = Clock::of_another();
        let hour = Duration::from_hours(1);
        for said in [clock.now() + hour, clock.now() - hour] {
            clock.follow(said);
            assert_eq!(clock.now(), said);
            tokio::time::advance(hour).await;
            assert_eq!(clock.now(), said + hour, "it goes on by itself");
        }
        let now = clock.now();
        clock.follow(now - Duration::from_millis(300));
        assert_eq!(clock.now(), now, "an answer that was under way for a while is no step back");
    }
}
