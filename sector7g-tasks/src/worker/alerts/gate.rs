//! Which readings are crossings: no clock, no broker.

use std::time::Duration;

use super::window::{Ends, Window};
use super::{Alert, AlertEvent, AlertLevel, Alerts, Measure};
use crate::clock::Timestamp;

/// Fewer attempts say nothing of a rate.
const LEAST_ATTEMPTS: u64 = 10;

/// What an [`AlertLevel::Error`] is, in thresholds.
const ERROR: f64 = 2.0;

/// Below this part of the threshold all is well again.
const WELL: f64 = 0.8;

/// What was read at a look.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reading {
    pub(super) depth: u64,
    pub(super) oldest_due: Duration,
    /// Of this worker, since its start.
    pub(super) ends: Ends,
}

/// The thresholds of one queue, and which of them are crossed.
#[derive(Debug)]
pub(super) struct Watch {
    queue: String,
    alerts: Alerts,
    depth: Gate,
    oldest_due: Gate,
    failure_rate: Gate,
    window: Window,
}

/// One threshold: the level that was told, and since when.
#[derive(Debug, Default)]
struct Gate(Option<(AlertLevel, Timestamp)>);

impl Watch {
    pub(super) fn new(queue: String, alerts: Alerts) -> Self {
        let window = Window::new(alerts.window);
        Self {
            queue,
            alerts,
            depth: Gate::default(),
            oldest_due: Gate::default(),
            failure_rate: Gate::default(),
            window,
        }
    }

    /// What was crossed since the last look.
    pub(super) fn look(&mut self, reading: Reading, now: Timestamp) -> Vec<Alert> {
        let Alerts { depth, oldest_due, failure_rate, window } = self.alerts;
        let Ends { failed, attempts } = self.window.look(reading.ends, now);
        let gates = [
            (&mut self.depth, depth.map(|threshold| Measure::Depth { jobs: reading.depth, threshold })),
            (
                &mut self.oldest_due,
                oldest_due.map(|threshold| Measure::OldestDue { waited: reading.oldest_due, threshold }),
            ),
            (
                &mut self.failure_rate,
                failure_rate.map(|threshold| Measure::FailureRate { failed, attempts, threshold, window }),
            ),
        ];
        let crossings = gates.into_iter().filter_map(|(gate, measure)| {
            let measure = measure?;
            let (event, level, since) = gate.step(&measure, now)?;
            Some(Alert { queue: self.queue.clone(), measure, event, level, since, at: now })
        });
        crossings.collect()
    }

    /// Nothing can be read: nothing is told, and no time passes for the failure rate.
    pub(super) fn pause(&mut self) {
        self.window.pause();
    }
}

impl Gate {
    fn step(&mut self, measure: &Measure, now: Timestamp) -> Option<(AlertEvent, AlertLevel, Timestamp)> {
        let (event, level, since) = match (self.0, measure.level()) {
            (None, Some(level)) => (AlertEvent::Raised, level, now),
            (Some((AlertLevel::Warn, since)), Some(AlertLevel::Error)) => {
                (AlertEvent::Escalated, AlertLevel::Error, since)
            }
            (Some((level, since)), None) if measure.is_well() => (AlertEvent::Recovered, level, since),
            _ => return None,
        };
        self.0 = (event != AlertEvent::Recovered).then_some((level, since));
        Some((event, level, since))
    }
}

impl Measure {
    /// The value in thresholds; `None` when it can't be judged.
    fn ratio(&self) -> Option<f64> {
        match *self {
            Self::Depth { jobs, threshold } => Some(real(jobs) / real(threshold)),
            Self::OldestDue { waited, threshold } => Some(waited.as_secs_f64() / threshold.as_secs_f64()),
            Self::FailureRate { failed: 0, .. } => Some(0.0), // however few succeeded
            Self::FailureRate { attempts, .. } if attempts < LEAST_ATTEMPTS => None,
            Self::FailureRate { failed, attempts, threshold, .. } => Some(real(failed) / real(attempts) / threshold),
        }
    }

    pub(super) fn level(&self) -> Option<AlertLevel> {
        let ratio = self.ratio().filter(|ratio| *ratio >= 1.0)?;
        let all_failed = matches!(self, Self::FailureRate { failed, attempts, .. } if failed == attempts);
        Some(if ratio >= ERROR || all_failed { AlertLevel::Error } else { AlertLevel::Warn })
    }

    pub(super) fn is_well(&self) -> bool {
        self.ratio().is_some_and(|ratio| ratio < WELL)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn real(count: u64) -> f64 {
    count as f64
}
