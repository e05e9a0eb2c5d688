//! Thresholds on a worker's queues: each crossing is logged once, and given to a hook.

mod gate;
mod tell;
#[cfg(test)]
mod tests;
mod window;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use self::window::Ends;
use super::settings::{HookFuture, JobEndKind, LONGEST};
use crate::clock::Timestamp;
use crate::context::WorkerContext;

/// `on_alert`.
pub type AlertHook = fn(WorkerContext, Arc<Alert>) -> HookFuture;

/// Thresholds on each queue of a worker. What is not set is not looked at.
///
#[doc = include_str!("../../docs/alerts.md")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alerts {
    depth: Option<u64>,
    oldest_due: Option<Duration>,
    failure_rate: Option<f64>,
    window: Duration,
}

impl Alerts {
    /// No thresholds yet, and a window of 5 min.
    pub const fn new() -> Self {
        Self { depth: None, oldest_due: None, failure_rate: None, window: Duration::from_mins(5) }
    }

    /// From how many jobs on that have yet to end (due, deferred and running), from 1.
    #[must_use]
    pub const fn depth(mut self, jobs: u64) -> Self {
        self.depth = Some(jobs);
        self
    }

    /// From which wait of the oldest due job on, above zero.
    #[must_use]
    pub const fn oldest_due(mut self, waited: Duration) -> Self {
        self.oldest_due = Some(waited);
        self
    }

    /// From which part of this worker's attempts on that failed within the [window](Self::window), above 0 and up to 1.
    #[must_use]
    pub const fn failure_rate(mut self, rate: f64) -> Self {
        self.failure_rate = Some(rate);
        self
    }

    /// How far back the failure rate looks, from 1 s. Default: 5 min.
    #[must_use]
    pub const fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Of what is the queue's own, so that of several workers one tells: the depth, and the oldest due job's wait.
    pub(super) fn thresholds(&self) -> (Option<u64>, Option<Duration>) {
        (self.depth, self.oldest_due)
    }

    /// What can't work.
    pub(super) fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        if (self.depth, self.oldest_due, self.failure_rate) == (None, None, None) {
            mistakes.push("alerts has no threshold: set depth, oldest_due or failure_rate".to_owned());
        }
        if self.depth == Some(0) {
            mistakes.push("alerts: depth is 0, which every queue reaches; it must be 1 or more".to_owned());
        }
        let spans = [
            ("oldest_due", self.oldest_due.unwrap_or(LONGEST), Duration::from_millis(1)),
            ("window", self.window, Duration::from_secs(1)),
        ];
        let wrong = spans.iter().filter(|(_, span, least)| span < least || *span > LONGEST);
        mistakes.extend(
            wrong.map(|(name, span, least)| {
                format!("alerts: {name} is {span:?}; it must be from {least:?} to 100 years")
            }),
        );
        if let Some(rate) = self.failure_rate.filter(|rate| !(*rate > 0.0 && *rate <= 1.0)) {
            mistakes.push(format!("alerts: failure_rate is {rate}; it must be above 0, and 1 at most"));
        }
        mistakes
    }
}

impl Default for Alerts {
    fn default() -> Self {
        Self::new()
    }
}

/// A threshold that was crossed, either way.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Alert {
    /// The queue.
    pub queue: String,
    /// What was measured, beside its threshold.
    pub measure: Measure,
    /// What has happened.
    pub event: AlertEvent,
    /// How bad it is; of a recovery, how bad it was.
    pub level: AlertLevel,
    /// When the threshold was crossed upwards.
    pub since: Timestamp,
    /// When this was seen.
    pub at: Timestamp,
}

/// What a threshold is about: the value and the threshold that it is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Measure {
    /// How many jobs have yet to end: due, deferred and running.
    Depth {
        /// So many there are.
        jobs: u64,
        /// The threshold.
        threshold: u64,
    },
    /// How long the oldest due job has waited.
    OldestDue {
        /// Its wait; zero when none is due.
        waited: Duration,
        /// The threshold.
        threshold: Duration,
    },
    /// How many of this worker's attempts on the queue failed of late.
    FailureRate {
        /// Failed ones, retried or not.
        failed: u64,
        /// All that ended, but for aborted ones and those given back.
        attempts: u64,
        /// The threshold, a part of 1.
        threshold: f64,
        /// How far back it looks.
        window: Duration,
    },
}

/// What has happened to an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AlertEvent {
    /// The threshold was reached.
    Raised,
    /// It was raised before, and twice the threshold is reached.
    Escalated,
    /// The value is below 80 % of the threshold again.
    Recovered,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertLevel {
    /// The threshold was reached.
    Warn,
    /// Twice the threshold was reached, or all attempts failed.
    Error,
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Depth { jobs, threshold } => write!(f, "{jobs} jobs have yet to end (threshold: {threshold})"),
            Self::OldestDue { waited, threshold } => {
                write!(f, "the oldest due job has waited for {waited:?} (threshold: {threshold:?})")
            }
            Self::FailureRate { failed, attempts, threshold, window } => {
                let percent = threshold * 100.0;
                write!(f, "{failed} of {attempts} attempts failed within {window:?} (threshold: {percent:.1} %)")
            }
        }
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queue = super::log::Shown(&self.queue);
        match self.event {
            AlertEvent::Raised => write!(f, "alert: queue `{queue}`: {}", self.measure),
            AlertEvent::Escalated => write!(f, "alert, worse than before: queue `{queue}`: {}", self.measure),
            AlertEvent::Recovered => {
                let lasted = Duration::from_secs(self.at.since(self.since).as_secs());
                write!(f, "recovered after {lasted:?}: queue `{queue}`: {}", self.measure)
            }
        }
    }
}

/// What a worker with alerts counts of one of its queues.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    ended: AtomicU64,
    failed: AtomicU64,
}

impl Attempts {
    pub(crate) fn count(&self, kind: JobEndKind) {
        let has_failed = match kind {
            JobEndKind::Done => false,
            JobEndKind::Failed | JobEndKind::Retried(_) => true,
            JobEndKind::GivenBack(_) | JobEndKind::Aborted => return,
        };
        // In this order, and read in the other one: no more failures than attempts are ever seen.
        self.ended.fetch_add(1, Ordering::Release);
        if has_failed {
            self.failed.fetch_add(1, Ordering::Release);
        }
    }

    fn so_far(&self) -> Ends {
        let failed = self.failed.load(Ordering::Acquire);
        Ends { failed, attempts: self.ended.load(Ordering::Acquire) }
    }
}
