//! Claims: at once, or as soon as the bell rings.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use redis::Value;
use tokio::time::timeout;

use super::posts::{self, Answers};
use super::script::Call;
use super::{RedisBroker, Shared, aborts, check_batch, check_lease, path};
use crate::broker::{Broker as _, BrokerError, Claim, Claimed, JobId};

/// How long the answer to a claim waits for the abort requests, which were asked for with it.
const REQUESTS_WAIT: Duration = Duration::from_millis(100);

/// A request that can be made: the key of its queue, and the script's call.
fn call_of(broker: &RedisBroker, request: &Claim<'_>, is_to_wait: bool) -> Result<(String, Call), BrokerError> {
    check_batch("finished jobs", request.finished.len())?;
    check_batch("jobs to claim", request.max)?;
    check_lease(request.lease)?;
    let queue = broker.key_for(request.queue, request.finished.iter().map(|finish| &finish.lease.id))?;
    let call = path::claim(&queue, request, broker.shared.dead_letters, is_to_wait)?;
    Ok((queue, call))
}

/// See [`Broker::claim`](crate::broker::Broker::claim).
pub(super) async fn claim(broker: &RedisBroker, request: &Claim<'_>) -> Result<Claimed, BrokerError> {
    let (queue, call) = call_of(broker, request, false)?;
    let Shared { link, .. } = &*broker.shared;
    let claiming = link.script::<Value>(&call);
    if request.max == 0 {
        return taken(broker, &queue, request, claiming.await?, &[]).await;
    }
    // arq's requests are in one key for all queues, which a script must not touch. A cluster may have it on a node
    // that does not answer: what is not heard here, the watch for aborts hears once it does.
    let (claimed, requests) = match select(pin!(claiming), pin!(aborts::requests(link))).await {
        Either::Left((claimed, requests)) => (claimed, timeout(REQUESTS_WAIT, requests).await.ok()),
        Either::Right((requests, claiming)) => (claiming.await, Some(requests)),
    };
    taken(broker, &queue, request, claimed?, &requests.and_then(Result::ok).unwrap_or_default()).await
}

/// See [`Broker::claim_when_due`](crate::broker::Broker::claim_when_due).
pub(super) async fn claim_when_due(
    broker: &RedisBroker,
    request: &Claim<'_>,
    poll_delay: Duration,
    limit: Duration,
) -> Result<Claimed, BrokerError> {
    let Shared { link, posts, .. } = &*broker.shared;
    if link.is_cluster() {
        // Its nodes move queues, and answer each command for itself.
        broker.wait(std::slice::from_ref(request.queue), poll_delay, limit).await?;
        return Box::pin(claim(broker, request)).await;
    }
    let (queue, call) = call_of(broker, request, true)?;
    match posts::claim_when_rung(link, posts, &queue, (&call, &aborts::asking()), poll_delay, limit).await? {
        Some(Answers { claimed, also }) => {
            taken(
                broker,
                &queue,
                request,
                claimed,
                &also.map(aborts::requested).and_then(Result::ok).unwrap_or_default(),
            )
            .await
        }
        None => Box::pin(claim(broker, request)).await,
    }
}

/// What the server has answered, to a claim and to the question for abort requests.
async fn taken(
    broker: &RedisBroker,
    queue: &str,
    request: &Claim<'_>,
    answer: Value,
    requests: &[JobId],
) -> Result<Claimed, BrokerError> {
    let Shared { link, aborts, clock, .. } = &*broker.shared;
    let mut claimed = path::claimed(request, answer)?;
    aborts::sweep(link, aborts, queue, requests).await;
    for job in claimed.jobs.iter_mut().filter(|job| requests.contains(&job.lease.id)) {
        job.abort_requested = true;
    }
    clock.follow(claimed.now);
    aborts.add(claimed.jobs.iter().filter(|job| job.abort_requested).map(|job| job.lease.id.clone()));
    aborts::clean_up(link, aborts, request.finished, &claimed.finished, claimed.now).await;
    claimed.jobs.shrink_to_fit();
    Ok(claimed)
}
