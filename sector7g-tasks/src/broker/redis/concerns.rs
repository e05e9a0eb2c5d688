//! What about a server would break our promises.

use std::time::Duration;

use bytes::Bytes;

use super::keys::bell;
use super::{RedisBroker, path};
use crate::broker::{Broker as _, BrokerError, Claim, Due, Finish, JobId, LeaseToken, NewJob, Outcome, QueueName};

/// The oldest server that has all that the scripts call.
const OLDEST: (u32, u32) = (6, 2);

/// All that is wrong, a sentence each.
pub(super) async fn concerns(broker: &RedisBroker) -> Result<Vec<String>, BrokerError> {
    let mut concerns = Vec::new();
    for section in ["server", "memory"] {
        match broker.shared.link.command::<redis::InfoDict>(redis::cmd("INFO").arg(section)).await {
            Ok(info) => concerns.extend(of_info(&info)),
            // A cluster answers for each node; each of them was set up as the others.
            Err(BrokerError::Refused(_)) => {}
            Err(error) => return Err(error),
        }
    }
    match try_out(broker).await {
        Err(BrokerError::Refused(reason)) => concerns.push(reason),
        tried => tried?,
    }
    Ok(concerns)
}

fn of_info(info: &redis::InfoDict) -> Vec<String> {
    let version = info.get::<String>("redis_version");
    let policy = info.get::<String>("maxmemory_policy");
    version
        .and_then(|version| of_version(&version))
        .into_iter()
        .chain(policy.and_then(|policy| of_policy(&policy)))
        .collect()
}

fn of_version(version: &str) -> Option<String> {
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let found = (numbers.next()?, numbers.next().unwrap_or(0));
    (found < OLDEST).then(|| format!("Redis {version} is too old: {}.{} or later is needed", OLDEST.0, OLDEST.1))
}

fn of_policy(policy: &str) -> Option<String> {
    (policy != "noeviction")
        .then(|| format!("its maxmemory-policy is `{policy}`, so jobs can be evicted: set it to `noeviction`"))
}

/// Takes a job of a queue of its own along all of its path: what the user has no right to is refused here.
async fn try_out(broker: &RedisBroker) -> Result<(), BrokerError> {
    let refused = |error: crate::broker::InvalidName| BrokerError::Refused(error.to_string());
    let queue = QueueName::new(format!("{{s7-check-{:016x}}}", rand::random::<u64>())).map_err(refused)?;
    let new = NewJob {
        queue: queue.clone(),
        id: JobId::generate_in(&queue),
        payload: Bytes::from_static(b"{}"),
        due: Due::Now,
        expires_in: Some(TRIAL),
        replace_finished: false,
    };
    let (link, key) = (&broker.shared.link, broker.key(&queue)?);
    path::enqueue(link, &key, &[&new]).await?; // not by the broker, which would note the queue
    link.command::<redis::Value>(redis::cmd("BLPOP").arg(bell(&key)).arg(1)).await?; // it has just been rung
    broker.wait(std::slice::from_ref(&queue), TRIAL, TRIAL).await?;
    let token = LeaseToken { worker: rand::random(), call: 1 };
    let claimed = broker.claim(&Claim { queue: &queue, finished: &[], max: 1, lease: TRIAL, token }).await?;
    let leases: Vec<_> = claimed.jobs.iter().map(|job| job.lease.clone()).collect();
    broker.extend(&queue, &leases, TRIAL).await?;
    let ended = |lease| Finish { lease, outcome: Outcome::End { result: None, dead: None, hold_id: Duration::ZERO } };
    let finished: Vec<Finish> = leases.into_iter().map(ended).collect();
    let token = LeaseToken { call: 2, ..token };
    broker.claim(&Claim { queue: &queue, finished: &finished, max: 0, lease: TRIAL, token }).await?;
    broker.stats(&queue).await.map(drop)
}

/// How long what a trial leaves may live.
const TRIAL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_are_named() {
        assert_eq!(of_version("6.0.16").unwrap(), "Redis 6.0.16 is too old: 6.2 or later is needed");
        for version in ["6.2.0", "7.0.15", "8.0.0", "255.255.255"] {
            assert_eq!(of_version(version), None);
        }
    }

    #[test]
    fn servers_that_evict_are_named() {
        assert!(of_policy("allkeys-lru").unwrap().contains("`allkeys-lru`"));
        assert_eq!(of_policy("noeviction"), None);
    }
}
