//! Whether and when a failed attempt is repeated: pure functions of attempt, policy and chance.

use std::time::Duration;

/// How long to wait before the next attempt.
///
/// Written in `#[task(backoff = "..")]` as `fixed(10s)`, `linear(10s, max = 2m)` or
/// `exponential(1s, max = 5m, factor = 3, jitter = 0.5)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    growth: Growth,
    first: Duration,
    max: Duration,
    jitter: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Growth {
    Fixed,
    Linear,
    Exponential { factor: f64 },
}

/// The cap of a policy that names none: a day.
const DEFAULT_MAX: Duration = Duration::from_hours(24);

/// The part of a delay that chance decides, unless a policy says otherwise.
const DEFAULT_JITTER: f64 = 0.2;

impl RetryPolicy {
    /// What a task with `max_tries` but no `backoff` gets: `exponential(1s, max = 5m)`.
    pub const DEFAULT: Self = Self::exponential(Duration::from_secs(1)).max(Duration::from_mins(5));

    const fn new(growth: Growth, first: Duration) -> Self {
        Self { growth, first, max: DEFAULT_MAX, jitter: DEFAULT_JITTER }
    }

    /// The same delay each time; as it never grows, it has no cap unless one is set.
    pub const fn fixed(delay: Duration) -> Self {
        Self::new(Growth::Fixed, delay).max(Duration::MAX)
    }

    /// `step` after the first attempt, twice that after the second, and so on.
    pub const fn linear(step: Duration) -> Self {
        Self::new(Growth::Linear, step)
    }

    /// `first` after the first attempt, doubled after each further one.
    pub const fn exponential(first: Duration) -> Self {
        Self::new(Growth::Exponential { factor: 2.0 }, first)
    }

    /// No delay is longer than `max` (a day, unless set), jitter included.
    ///
    /// So that the jitter still spreads delays that have reached the cap, their mean is
    /// max / (1 + jitter).
    #[must_use]
    pub const fn max(mut self, max: Duration) -> Self {
        self.max = max;
        self
    }

    /// An exponential policy's growth from one delay to the next (2, unless set; at least 1).
    #[must_use]
    pub const fn factor(mut self, factor: f64) -> Self {
        if let Growth::Exponential { .. } = self.growth {
            self.growth = Growth::Exponential { factor: if factor >= 1.0 { factor } else { 1.0 } };
        }
        self
    }

    /// The part of each delay that chance decides, from 0 (none) to 1 (all of it); 0.2 unless set.
    ///
    /// A delay d becomes one from d·(1 − jitter) to d·(1 + jitter), so the mean stays d and
    /// retries of jobs that failed together spread out. What lies outside of 0 to 1 counts as the
    /// nearer of the two.
    #[must_use]
    pub const fn jitter(mut self, jitter: f64) -> Self {
        self.jitter = if jitter.is_nan() { DEFAULT_JITTER } else { jitter.clamp(0.0, 1.0) };
        self
    }

    /// The delay after the failed `attempt` (from 1), with `chance` in 0..1 deciding the jitter.
    pub fn delay(&self, attempt: u32, chance: f64) -> Duration {
        if self.first.is_zero() {
            return Duration::ZERO; // and not zero times an infinite growth
        }
        let attempt = f64::from(attempt.max(1));
        let first = self.first.as_secs_f64();
        let grown = match self.growth {
            Growth::Fixed => first,
            Growth::Linear => first * attempt,
            Growth::Exponential { factor } => first * factor.powf(attempt - 1.0),
        };
        // Capped below `max` by the jitter's size: if the jittered delay were cut at `max`, half of
        // all capped retries would come at that one moment.
        let mean = grown.min(self.max.as_secs_f64() / (1.0 + self.jitter));
        let chance = if chance.is_nan() { 0.5 } else { chance.clamp(0.0, 1.0) };
        let spread = 1.0 + self.jitter * (2.0 * chance - 1.0);
        Duration::try_from_secs_f64(mean * spread).map_or(self.max, |delay| delay.min(self.max))
    }
}

#[cfg(test)]
mod tests;
