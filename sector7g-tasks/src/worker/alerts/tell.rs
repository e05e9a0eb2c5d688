//! Looks at the queues and tells what was crossed.

use std::mem::{discriminant, take};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::gate::{Reading, Watch};
use super::{Alert, AlertEvent, AlertLevel, Alerts, Attempts, Measure};
use crate::broker::{QueueName, QueueStats, WorkerHealth};
use crate::clock::Timestamp;
use crate::error::{BoxError, Chain};
use crate::worker::engine::Engine;
use crate::worker::execute::guard_hook;

/// How often the queues are looked at, and how long a look may take.
const LOOK: Duration = Duration::from_secs(5);

/// The shortest pause between two looks.
const SHORTEST_LOOK: Duration = Duration::from_millis(100);

/// One queue, and what is left to an older worker to tell.
struct Watched {
    watch: Watch,
    /// Crossings of late that another worker should have told, one of each measure at most.
    left: Vec<Alert>,
}

impl Engine {
    /// Looks at the queues for as long as the worker runs.
    pub(in crate::worker) async fn watch_alerts(&self, alerts: Alerts) {
        let started_at = self.clock().now();
        let pause = (alerts.window / 10).clamp(SHORTEST_LOOK, LOOK);
        let queues = &self.context.0.queues;
        let watched = |queue: &QueueName| Watched { watch: Watch::new(queue.to_string(), alerts), left: Vec::new() };
        let mut watched: Vec<Watched> = queues.iter().map(watched).collect();
        let mut is_away = false;
        loop {
            let mut failure = None;
            for (index, (queue, watched)) in queues.iter().zip(&mut watched).enumerate() {
                let asked = timeout(LOOK, self.broker.stats(queue)).await;
                match asked.map_err(BoxError::from).and_then(|answer| answer.map_err(BoxError::from)) {
                    Ok(stats) => {
                        let ends = self.attempts.get(index).map(Attempts::so_far).unwrap_or_default();
                        let oldest_due = stats.oldest_due.unwrap_or_default();
                        let reading = Reading { depth: stats.live(), oldest_due, ends };
                        let crossed = watched.watch.look(reading, self.clock().now());
                        let speaks = |measure: &Measure| self.speaks(measure, &stats, started_at);
                        self.tell_crossed(crossed, &mut watched.left, speaks, pause).await;
                    }
                    Err(error) => {
                        watched.watch.pause();
                        failure = Some(error);
                    }
                }
            }
            match &failure {
                Some(error) if !is_away => tracing::warn!(
                    worker = self.name(),
                    "its queues can't be looked at, so no alert is raised and none recovers: {}",
                    Chain(&**error)
                ),
                None if is_away => {
                    tracing::info!(worker = self.name(), "its queues can be looked at again, for alerts");
                }
                _ => {}
            }
            is_away = failure.is_some();
            sleep(pause).await;
        }
    }

    /// What is the queue's own, one worker tells for all: of those with this very threshold, that which has lived longest,
    /// as one with another may not see this crossing at all. One that does not see itself among the living goes by its start.
    fn speaks(&self, measure: &Measure, stats: &QueueStats, started_at: Timestamp) -> bool {
        let tells_it = |other: &WorkerHealth| match *measure {
            Measure::Depth { threshold, .. } => other.alert_depth == Some(threshold),
            Measure::OldestDue { threshold, .. } => other.alert_oldest_due == Some(threshold),
            Measure::FailureRate { .. } => false, // each worker's own
        };
        let instance = format!("{:016x}", self.instance);
        let own = stats.workers.iter().find(|worker| worker.instance == instance);
        let own = (own.map_or(started_at, |own| own.started_at), &instance);
        !stats.workers.iter().any(|other| tells_it(other) && (other.started_at, &other.instance) < own)
    }

    async fn tell_crossed(
        &self,
        crossed: Vec<Alert>,
        left: &mut Vec<Alert>,
        speaks: impl Fn(&Measure) -> bool,
        pause: Duration,
    ) {
        // Who should have told what is left may have died before it did, and counts as living for so long after that.
        let longest = self.counts_as_living().saturating_add(LOOK + pause * 2);
        let now = self.clock().now();
        left.retain(|alert| now.since(alert.at) <= longest);
        for alert in crossed {
            let kind = discriminant(&alert.measure);
            left.retain(|earlier| discriminant(&earlier.measure) != kind);
            left.push(alert);
        }
        for alert in take(left) {
            if speaks(&alert.measure) {
                self.tell(alert).await;
            } else {
                left.push(alert);
            }
        }
    }

    async fn tell(&self, alert: Alert) {
        let worker = self.name();
        match (alert.event, alert.level) {
            (AlertEvent::Recovered, _) => tracing::info!(worker, "{alert}"),
            (_, AlertLevel::Warn) => tracing::warn!(worker, "{alert}"),
            (_, AlertLevel::Error) => tracing::error!(worker, "{alert}"),
        }
        if let Some(hook) = self.settings.on_alert {
            guard_hook(&"on_alert", || hook(self.context.clone(), Arc::new(alert))).await;
        }
    }
}
