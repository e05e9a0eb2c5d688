use std::time::Duration;

use tokio::time::Instant;

use super::{Ground, Stop};
use crate::clock::{Clock, Timestamp};

/// The unit of a run's time.
pub const TICK: Duration = Duration::from_millis(100);

/// In real time a tick's calls begin after this, are begun before `BEGUN` and must have ended before `ENDED`.
const BEGIN: Duration = Duration::from_millis(6);
const BEGUN: Duration = Duration::from_millis(22);
const ENDED: Duration = Duration::from_millis(44);

/// Where a run is in time.
#[derive(Debug)]
pub(super) struct Pace {
    origin: Instant,
    clock: Clock,
    /// What it said then.
    epoch: Timestamp,
    is_virtual: bool,
}

impl Pace {
    pub(super) fn new(clock: Clock, is_virtual: bool) -> Self {
        Self { origin: Instant::now(), epoch: clock.now(), clock, is_virtual }
    }

    /// A span that ends at the beginning of a tick: in real time, in the half before it.
    pub(super) fn span(&self, ticks: u64) -> Duration {
        let whole = TICK * u32::try_from(ticks).unwrap_or(u32::MAX);
        if self.is_virtual { whole } else { whole.saturating_sub(TICK / 2) }
    }

    /// Lets time go by up to the tick `now`.
    pub(super) async fn pass_to(&self, now: u64, ground: &impl Ground) {
        let begin = self.begin_of(now) + if self.is_virtual { Duration::ZERO } else { BEGIN };
        ground.pass(begin.saturating_duration_since(Instant::now())).await;
    }

    fn begin_of(&self, tick: u64) -> Instant {
        self.origin + TICK * u32::try_from(tick).unwrap_or(u32::MAX)
    }

    /// Whether there is time left in tick `now` for another step.
    pub(super) fn has_time(&self, now: u64) -> bool {
        self.is_virtual || self.begin_of(now).elapsed() < BEGUN
    }

    /// Whether what has been answered just now was so in tick `now`, by both clocks: a machine that was put to sleep has its
    /// wall clock set on when it goes on, and the timers' not.
    pub(super) fn is_in_time(&self, now: u64) -> Result<(), Stop> {
        let is_set = || self.origin.elapsed().abs_diff(self.clock.now().since(self.epoch)) > BEGIN;
        let is_late = || self.begin_of(now).elapsed() >= ENDED || is_set();
        if self.is_virtual || !is_late() { Ok(()) } else { Err(Stop::TooSlow { after: 0 }) }
    }

    /// The tick of a moment; `None` when nothing can have happened then.
    pub(super) fn tick_of(&self, moment: Timestamp) -> Option<u64> {
        let tick = u64::try_from(TICK.as_millis()).ok()?;
        let half = Duration::from_millis(tick / 2);
        let passed = u64::try_from((moment + half).since(self.epoch).as_millis()).ok()?;
        (!self.is_virtual || passed % tick == tick / 2).then_some(passed / tick)
    }
}
