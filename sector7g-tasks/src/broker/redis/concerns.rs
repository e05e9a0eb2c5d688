//! What about a server would break our promises.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use super::keys::{self, bell};
use super::link::Link;
use super::{RedisBroker, path};
use crate::broker::{
    Broker as _, BrokerError, Claim, Due, Finish, GiveBack, JobFilter, JobId, LeaseToken, NewJob, Outcome, PageMark,
    QueueName, RequestId, ServerInfo,
};
use crate::clock::Timestamp;
use crate::job::{Failure, FailureKind};

/// The oldest server that has all that the scripts call.
const OLDEST: (u32, u32) = (6, 2);

/// All that is wrong, a sentence each.
pub(super) async fn concerns(broker: &RedisBroker) -> Result<Vec<String>, BrokerError> {
    let mut concerns = Vec::new();
    for section in ["server", "memory"] {
        match broker.shared.link.command::<redis::Value>(redis::cmd("INFO").arg(section)).await {
            Ok(info) => concerns.extend(texts(&info).iter().flat_map(|text| of_info(text))),
            Err(BrokerError::Refused(reason)) => {
                concerns.push(format!("its version and its maxmemory-policy can't be looked at: {reason}"));
            }
            Err(error) => return Err(error),
        }
    }
    match try_out(broker).await {
        Err(BrokerError::Refused(reason)) => concerns.push(reason),
        // Not an error: it answers, and workers go on draining what it holds.
        Err(BrokerError::Full { detail, .. }) => {
            concerns.push(format!("nothing can be enqueued, as it is full: {detail}"));
        }
        Err(BrokerError::Unavailable { cause, .. }) if is_no_write(&cause.to_string()) => concerns.push(format!(
            "it refuses writes at present, so nothing can be enqueued, claimed or finished: see that it can save to its disk, \
             and that it has the replicas it wants ({cause})"
        )),
        tried => tried?,
    }
    concerns.sort_unstable();
    concerns.dedup(); // the nodes of a cluster say the same
    Ok(concerns)
}

/// Whether a server says that it takes no writes for now: it can't save, or lacks replicas.
fn is_no_write(problem: &str) -> bool {
    ["MISCONF", "NOREPLICAS"].iter().any(|code| problem.contains(code))
}

/// What the server is, and its memory.
pub(super) async fn server(link: &Link) -> Result<ServerInfo, BrokerError> {
    let mut server = ServerInfo { kind: "redis".to_owned(), ..ServerInfo::default() };
    for section in ["server", "memory"] {
        let info = link.command::<redis::Value>(redis::cmd("INFO").arg(section)).await?;
        for text in texts(&info) {
            add_info(&mut server, &text);
        }
    }
    Ok(server)
}

fn add_info(server: &mut ServerInfo, info: &str) {
    let said = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let add = |sum: &mut Option<u64>, name: &str| {
        let number = said(name).and_then(|number| number.parse::<u64>().ok()).filter(|number| *number > 0);
        *sum = number.map(|number| number.saturating_add(sum.unwrap_or(0))).or(*sum);
    };
    if let Some(kind) = said("server_name") {
        kind.clone_into(&mut server.kind); // Valkey says `redis_version`, too, for others' sake
    }
    if let Some(version) = said("valkey_version").or(said("redis_version")) {
        server.version.get_or_insert_with(|| version.to_owned());
    }
    add(&mut server.memory_used, "used_memory");
    add(&mut server.memory_limit, "maxmemory");
}

/// What the server says of itself; a cluster answers for each node.
fn texts(info: &redis::Value) -> Vec<String> {
    match info {
        redis::Value::BulkString(text) => vec![String::from_utf8_lossy(text).into_owned()],
        redis::Value::VerbatimString { text, .. } | redis::Value::SimpleString(text) => vec![text.clone()],
        redis::Value::Map(nodes) => nodes.iter().flat_map(|(_, node)| texts(node)).collect(),
        redis::Value::Array(nodes) => nodes.iter().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

fn of_info(info: &str) -> Vec<String> {
    let said = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let version = said("redis_version").and_then(of_version);
    version.into_iter().chain(said("maxmemory_policy").and_then(of_policy)).collect()
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
        is_new_id: true,
        payload: Bytes::from_static(b"{}"),
        due: Due::Now,
        expires_in: Some(TRIAL),
        replace_finished: false,
    };
    let (link, key) = (&broker.shared.link, broker.key(&queue)?);
    let id = new.id.as_str();
    let brief = Brief { link, keys: [key.clone(), keys::leases(&key), keys::job(id), keys::lease(id)] };
    // Not by the broker, which would note the queue. Without jobs first, which loads the script.
    let news = [&new];
    for jobs in [&news[..0], &news] {
        brief.during(Box::pin(path::enqueue(&broker.shared.producing, &key, jobs, RequestId::unique()))).await?;
    }
    // As a job that does not expire is stored.
    let again = redis::cmd("MSET").arg(keys::job(new.id.as_str())).arg(&*new.payload).clone();
    brief.during(link.command::<redis::Value>(&again)).await?;
    link.command::<redis::Value>(redis::cmd("LINDEX").arg(bell(&key)).arg(0)).await?; // as who finds nothing due
    link.command::<redis::Value>(redis::cmd("BLPOP").arg(bell(&key)).arg(1)).await?; // it has just been rung
    broker.wait(std::slice::from_ref(&queue), TRIAL, TRIAL).await?;
    let failure = Failure::new(FailureKind::Error, "a trial", 1, Timestamp::default());
    let retry = Outcome::Retry { delay: Duration::ZERO, failure: failure.clone().into() };
    let unknown = Outcome::GiveBack { delay: Duration::ZERO, why: GiveBack::UnknownTask };
    let snooze = Outcome::GiveBack { delay: Duration::ZERO, why: GiveBack::Snooze };
    // Without a result: one that is none would break arq's `all_job_results()` for everybody.
    let end = Outcome::End { result: None, dead: Some(failure.into()), hold_id: Duration::ZERO };
    let mut token = LeaseToken { worker: rand::random(), call: 0 };
    broker.claim(&Claim { queue: &queue, finished: &[], max: 0, lease: TRIAL, token }).await?; // loads the script
    for outcome in [unknown, retry, snooze, end] {
        token.call += 1;
        let claim = Claim { queue: &queue, finished: &[], max: 1, lease: TRIAL, token };
        let claimed = brief.during(broker.claim(&claim)).await?;
        let Some(lease) = claimed.jobs.into_iter().next().map(|job| job.lease) else { break };
        broker.extend(&queue, std::slice::from_ref(&lease), TRIAL).await?;
        broker.set_progress(&queue, &lease, new.payload.clone()).await?;
        broker.abort(&queue, &lease.id).await?;
        token.call += 1;
        let finished = [Finish { lease, outcome }];
        broker.claim(&Claim { queue: &queue, finished: &finished, max: 0, lease: TRIAL, token }).await?;
    }
    broker.jobs(&queue, JobFilter::Dead, None, 1).await?;
    let of_many = PageMark("0:".to_owned()); // as of more running jobs than are told in order
    broker.jobs(&queue, JobFilter::Running, Some(of_many), 1).await?;
    broker.job(&queue, &new.id).await?;
    broker.discard_dead(&queue, &[new.id]).await?;
    broker.stats(&queue).await.map(drop)
}

/// What must not outlive a trial that breaks off, as its user has no right to go on or its process is killed: a job
/// that has been started does not expire by itself, and no queue does.
struct Brief<'a> {
    link: &'a Link,
    keys: [String; 4],
}

impl Brief<'_> {
    /// Has the keys end soon, by commands that are on their way behind the `step` which makes them last before that is
    /// answered: its script has been loaded.
    async fn during<T>(&self, step: impl Future<Output = Result<T, BrokerError>>) -> Result<T, BrokerError> {
        let ends = self
            .keys
            .iter()
            .map(|key| async move { self.link.command::<i64>(redis::cmd("PEXPIRE").arg(key).arg(TRIAL_MS)).await });
        let (answer, ended) = tokio::join!(biased; step, futures_util::future::try_join_all(ends)); // in this order
        ended?;
        answer
    }
}

/// How long what a trial leaves may live.
const TRIAL: Duration = Duration::from_millis(TRIAL_MS);
const TRIAL_MS: u64 = 5_000;

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
    fn what_nodes_say_is_summed_up() {
        let mut server = ServerInfo::default();
        add_info(&mut server, "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0\r\n");
        add_info(&mut server, "used_memory:10\r\nused_memory_human:10B\r\nmaxmemory:0\r\n");
        add_info(&mut server, "used_memory:5\r\nmaxmemory:100\r\n");
        let version = Some("8.1.0".to_owned());
        let expected =
            ServerInfo { kind: "valkey".to_owned(), version, memory_used: Some(15), memory_limit: Some(100) };
        assert_eq!(server, expected);
    }

    #[test]
    fn servers_that_evict_are_named() {
        assert!(of_policy("allkeys-lru").unwrap().contains("`allkeys-lru`"));
        assert_eq!(of_policy("noeviction"), None);
    }
}
