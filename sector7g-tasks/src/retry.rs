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
const DEFAULT_MAX: Duration = Duration::from_secs(86_400);

/// The part of a delay that chance decides, unless a policy says otherwise.
const DEFAULT_JITTER: f64 = 0.2;

impl RetryPolicy {
    /// What a task with `max_tries` but no `backoff` gets: `exponential(1s, max = 5m)`.
    pub const DEFAULT: Self = Self::exponential(Duration::from_secs(1)).max(Duration::from_secs(300));

    const fn new(growth: Growth, first: Duration) -> Self {
        Self { growth, first, max: DEFAULT_MAX, jitter: DEFAULT_JITTER }
    }

    /// The same delay each time.
    pub const fn fixed(delay: Duration) -> Self {
        Self::new(Growth::Fixed, delay)
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
    /// retries of jobs that failed together spread out.
    #[must_use]
    pub const fn jitter(mut self, jitter: f64) -> Self {
        self.jitter = if jitter >= 0.0 && jitter <= 1.0 { jitter } else { DEFAULT_JITTER };
        self
    }

    /// The delay after the failed `attempt` (from 1), with `chance` in 0..1 deciding the jitter.
    pub fn delay(&self, attempt: u32, chance: f64) -> Duration {
        let attempt = f64::from(attempt.max(1));
        let first = self.first.as_secs_f64();
        let seconds = match self.growth {
            Growth::Fixed => first,
            Growth::Linear => first * attempt,
            Growth::Exponential { factor } => first * factor.powf(attempt - 1.0),
        };
        let max = self.max.as_secs_f64();
        let spread = 1.0 + self.jitter * (2.0 * chance.clamp(0.0, 1.0) - 1.0);
        Duration::try_from_secs_f64((seconds.min(max) * spread).min(max)).unwrap_or(self.max)
    }
}
