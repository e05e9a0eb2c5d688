//! The sizes of a worker's queues, read now and then for the recorder of metrics.

use std::time::Duration;

use ::metrics::Gauge;
use tokio::time::{sleep, timeout};

use super::engine::Engine;
use crate::broker::{QueueName, QueueStats};
use crate::error::{BoxError, Chain};
use crate::metrics::names::{self, gauge};

/// How often the queues are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// What is told when nobody can say: no number, so that none passes for the present one. A gauge begins as 0, which would
/// be one.
const NOT_KNOWN: f64 = f64::NAN;

/// The gauges of a worker. When they are dropped, with the worker, they say so.
struct Gauges {
    queues: Vec<QueueGauges>,
    broker_up: Gauge,
    running: Gauge,
    slots: Gauge,
}

struct QueueGauges([Gauge; 7]);

impl Engine {
    /// Tells the sizes of its queues, every 5 s.
    pub(super) async fn tell_gauges(&self) {
        let gauges = Gauges::new(self);
        let mut failing = false;
        loop {
            let mut is_up = true;
            for (queue, gauges) in self.context.0.queues.iter().zip(&gauges.queues) {
                let asked = timeout(LOOK, self.broker.stats(queue)).await;
                let answer = asked.map_err(BoxError::from).and_then(|answer| answer.map_err(BoxError::from));
                match answer {
                    Ok(stats) => gauges.set(&stats),
                    Err(error) => {
                        is_up = false;
                        gauges.clear();
                        if !failing {
                            tracing::debug!(
                                worker = self.name(),
                                "the queue's sizes can't be read: {}",
                                Chain(&*error)
                            );
                        }
                    }
                }
            }
            failing = !is_up;
            gauges.broker_up.set(u8::from(is_up));
            gauges.running.set(count(self.running.len() as u64));
            sleep(self.look(LOOK)).await;
        }
    }
}

impl Gauges {
    fn new(engine: &Engine) -> Self {
        let worker = [("worker", engine.name())];
        let gauges = Self {
            queues: engine.context.0.queues.iter().map(QueueGauges::new).collect(),
            broker_up: gauge(names::BROKER_UP, worker),
            running: gauge(names::WORKER_RUNNING, worker),
            slots: gauge(names::SLOTS, worker),
        };
        gauges.queues.iter().for_each(QueueGauges::clear);
        gauges.broker_up.set(NOT_KNOWN);
        gauges.slots.set(count(engine.settings.max_jobs as u64));
        gauges
    }
}

impl Drop for Gauges {
    fn drop(&mut self) {
        self.queues.iter().for_each(QueueGauges::clear);
        self.running.set(0.0);
        self.slots.set(0.0);
        self.broker_up.set(NOT_KNOWN);
    }
}

impl QueueGauges {
    fn new(queue: &QueueName) -> Self {
        use names::{DEAD, DEFERRED, DEPTH, DUE, OLDEST_DUE, RUNNING, WORKERS};
        Self(
            [DEPTH, DUE, DEFERRED, RUNNING, DEAD, OLDEST_DUE, WORKERS].map(|of| gauge(of, [("queue", queue.as_str())])),
        )
    }

    fn set(&self, stats: &QueueStats) {
        let [depth, due, deferred, running, dead, oldest_due, workers] = &self.0;
        depth.set(count(stats.live()));
        due.set(count(stats.queued));
        deferred.set(count(stats.deferred));
        running.set(count(stats.running));
        dead.set(count(stats.dead));
        oldest_due.set(stats.oldest_due.unwrap_or_default().as_secs_f64());
        workers.set(count(stats.workers.len() as u64));
    }

    fn clear(&self) {
        self.0.iter().for_each(|gauge| gauge.set(NOT_KNOWN));
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn count(count: u64) -> f64 {
    count as f64
}
