//! Which queues there are: those that clients and workers of ours have used of late.

use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::RedisBroker;
use super::keys::QUEUES;
use super::reply::Reply;
use crate::broker::{BrokerError, QueueName};

/// A queue that no client and no worker of ours has used for so long is not listed any more.
const FORGET_AFTER: Duration = Duration::from_hours(30 * 24);

/// How often a queue in use is noted.
const NOTE_EVERY: Duration = Duration::from_mins(1);

/// The longest that a call waits for it.
const NOTE_WAIT: Duration = Duration::from_millis(500);

impl RedisBroker {
    /// The names of the queues that were noted.
    pub(super) async fn listed(&self) -> Result<Vec<QueueName>, BrokerError> {
        let value = self.shared.link.command(redis::cmd("ZRANGE").arg(QUEUES).arg(0).arg(-1)).await?;
        let mut reply = Reply::of("ZRANGE", value)?;
        let mut names = Vec::new();
        while !reply.is_over() {
            names.extend(reply.lossy()?.and_then(|name| QueueName::new(name).ok()));
        }
        Ok(names)
    }

    /// Notes that queues are used, each now and then, so that they can be listed. A cluster may have the list on a node that
    /// does not answer: jobs of queues on others don't wait for it.
    pub(super) async fn note(&self, queues: &[&QueueName]) {
        let now = Instant::now();
        let is_stale = |noted: Option<&Instant>| noted.is_none_or(|noted| now.duration_since(*noted) > NOTE_EVERY);
        let stale: Vec<&QueueName> = {
            let noted = self.shared.noted.lock().unwrap_or_else(PoisonError::into_inner);
            queues.iter().copied().filter(|queue| is_stale(noted.get(*queue))).collect()
        };
        if stale.is_empty() {
            return;
        }
        {
            let mut noted = self.shared.noted.lock().unwrap_or_else(PoisonError::into_inner);
            noted.retain(|_, at| now.duration_since(*at) <= NOTE_EVERY);
            noted.extend(stale.iter().map(|queue| ((*queue).clone(), now)));
        }
        if let Ok(Err(error)) = timeout(NOTE_WAIT, self.list(&stale)).await {
            tracing::debug!("a queue is not listed as used yet: {}", crate::error::Chain(&error));
            let mut noted = self.shared.noted.lock().unwrap_or_else(PoisonError::into_inner);
            noted.retain(|queue, _| !stale.contains(&queue));
        }
    }

    async fn list(&self, queues: &[&QueueName]) -> Result<(), BrokerError> {
        self.ask_time().await?;
        let mut command = redis::cmd("ZADD");
        command.arg(QUEUES);
        for queue in queues {
            command.arg(self.shared.clock.now().as_millis()).arg(queue.as_str());
        }
        self.shared.link.command::<()>(&command).await?;
        let forgotten = (self.shared.clock.now() - FORGET_AFTER).as_millis();
        let mut command = redis::cmd("ZREMRANGEBYSCORE");
        self.shared.link.command(command.arg(QUEUES).arg("-inf").arg(forgotten)).await
    }
}
