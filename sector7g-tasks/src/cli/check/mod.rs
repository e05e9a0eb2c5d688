use std::time::Duration;

use super::error::CliError;
use crate::broker::{Broker, QueueName, WorkerHealth};
use crate::clock::Timestamp;
use crate::inventory::PlannedWorker;

/// How long the broker may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// How much older than its entry a worker's last sign of life may be: its longest wait for work.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What about the broker's set-up is of concern is said, and fails nothing: a full server's workers go on draining it, so
/// who restarts them for it makes things worse. Where it can't be written to at all, their entries run out.
///
/// Looks for a fresh health entry of each worker; one line says what was found. Mirrors: arq, `--check`.
pub(super) async fn check(broker: &dyn Broker, workers: &[PlannedWorker]) -> Result<(), CliError> {
    if !broker.is_shared() {
        let reason = "workers on the embedded broker can't be reached from another process; \
                      give the workers and --check a shared one with --redis or REDIS_URL";
        return Err(CliError::Unhealthy(reason.to_owned()));
    }
    let looking = async {
        let concerns = broker.concerns().await.map_err(|error| crate::error::Chain(&error).to_string())?;
        for concern in concerns {
            tracing::warn!("the broker at {}: {concern}", broker.location());
        }
        find_all(broker, workers).await
    };
    let found = tokio::time::timeout(ANSWER, looking).await;
    let entries =
        found.unwrap_or_else(|_| Err(format!("the broker at {} did not answer in {ANSWER:?}", broker.location())));
    let entries = entries.map_err(CliError::Unhealthy)?;
    tracing::info!("Health check successful: {}", entries.iter().map(summary).collect::<Vec<_>>().join(", "));
    Ok(())
}

/// One entry for each worker, or that of a Python worker which serves its queue alone, or the names of those that have none.
async fn find_all(broker: &dyn Broker, workers: &[PlannedWorker]) -> Result<Vec<WorkerHealth>, String> {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for worker in workers {
        match find(broker, worker).await? {
            Some(health) => found.push(health),
            None => missing.push(format!("`{}`", worker.name)),
        }
    }
    if missing.is_empty() {
        Ok(found)
    } else {
        Err(format!("no fresh health entry of {} at {}", missing.join(", "), broker.location()))
    }
}

async fn find(broker: &dyn Broker, worker: &PlannedWorker) -> Result<Option<WorkerHealth>, String> {
    let now = broker.clock().now();
    for queue in &worker.queues {
        let queue = QueueName::new(queue.name).map_err(|error| error.to_string())?;
        let stats = broker.stats(&queue).await.map_err(|error| crate::error::Chain(&error).to_string())?;
        let is_it = |health: &WorkerHealth| health.is_arq() || health.name == worker.name;
        let health = stats.workers.into_iter().find(|health| is_it(health) && is_alive(health, worker, now));
        if health.is_some() {
            return Ok(health);
        }
    }
    Ok(None)
}

/// Whether the worker was seen at work of late, by a claim, a wait, or, while all of its slots are taken, by what it asks for those jobs: whether one is to be
/// aborted, and that their leases be renewed.
fn is_alive(health: &WorkerHealth, worker: &PlannedWorker, now: Timestamp) -> bool {
    let limit =
        worker.settings.health_check_interval.saturating_mul(2).saturating_add(Duration::from_secs(1) + LONGEST_WAIT);
    now.since(health.at) <= limit
}

fn summary(health: &WorkerHealth) -> String {
    let WorkerHealth { name, done, failed, retried, running, .. } = health;
    format!("{name} j_complete={done} j_failed={failed} j_retried={retried} j_ongoing={running}")
}

#[cfg(test)]
mod tests;
