//! Redis Cluster: every script keeps to the slot of its queue.

use std::sync::Arc;
use std::time::Duration;

use sector7g_tasks::broker::{
    AbortMark, Broker, BrokerError, Claim, Claimed, Due, Extended, Finish, Finished, JobFilter, JobId, JobState,
    KeptResult, LeaseToken, NewJob, Outcome, QueueName, RedisBroker, RequestId, ResultState, WorkerHealth,
};
use sector7g_tasks::client::EnqueueError;
use sector7g_tasks::prelude::*;
use support::RedisCluster;
use tokio::task::JoinSet;

const LEASE: Duration = Duration::from_secs(30);

#[task(queue = "{cluster}")]
async fn halve(number: u32) -> u32 {
    number / 2
}

async fn connect(cluster: &RedisCluster) -> RedisBroker {
    let hosts: Vec<String> = cluster.urls().iter().map(|url| url.trim_start_matches("redis://").to_owned()).collect();
    RedisBroker::connect(format!("redis+cluster://{}", hosts.join(","))).await.unwrap()
}

/// A worker of one queue, call by call.
struct Hand {
    broker: RedisBroker,
    queue: QueueName,
    calls: u64,
}

impl Hand {
    fn new(broker: &RedisBroker, queue: &str) -> Self {
        Self { broker: broker.clone(), queue: QueueName::new(queue).unwrap(), calls: 0 }
    }

    async fn add(&self, due: Due) -> JobId {
        let job = NewJob {
            queue: self.queue.clone(),
            id: JobId::generate_in(&self.queue),
            payload: "{}".into(),
            due,
            expires_in: None,
            replace_finished: false,
        };
        self.broker.enqueue(std::slice::from_ref(&job), RequestId::unique()).await.unwrap();
        job.id
    }

    async fn call(&mut self, finished: &[Finish], max: usize) -> Claimed {
        self.calls += 1;
        let token = LeaseToken { worker: 7, call: self.calls };
        self.broker.claim(&Claim { queue: &self.queue, finished, max, lease: LEASE, token }).await.unwrap()
    }
}

fn end(result: Option<&'static str>, dead: Option<Failure>) -> Outcome {
    let result = result.map(|record| KeptResult { record: record.into(), keep: Some(LEASE) });
    Outcome::End { result, dead: dead.map(Box::new), hold_id: Duration::ZERO }
}

fn failure() -> Failure {
    serde_json::from_value(serde_json::json!({"kind": "error", "message": "it broke", "attempt": 1, "at": 0})).unwrap()
}

/// Each call of a broker, on queues that lie on different nodes.
#[tokio::test]
async fn every_script_keeps_to_its_queues_slot() {
    let cluster = RedisCluster::start().await;
    let broker = connect(&cluster).await;
    for name in ["{a}", "{b}", "{c}", "{d}"] {
        let mut hand = Hand::new(&broker, name);
        let queue = hand.queue.clone();
        let (done, dead) = (hand.add(Due::Now).await, hand.add(Due::Now).await);
        let later = hand.add(Due::In(LEASE)).await;
        let jobs = hand.call(&[], 10).await.jobs;
        assert_eq!(jobs.len(), 2);
        let leases: Vec<_> = jobs.iter().map(|job| job.lease.clone()).collect();
        assert_eq!(broker.extend(&queue, &leases, LEASE).await.unwrap(), [Extended::Renewed; 2]);
        assert!(broker.set_progress(&queue, &leases[0], "half".into()).await.unwrap());
        assert!(broker.abort(&queue, &later).await.unwrap());
        let aborts = broker.aborts(std::slice::from_ref(&queue), AbortMark::default(), LEASE, LEASE).await.unwrap();
        assert_eq!(aborts.ids, std::slice::from_ref(&later));
        let outcomes = [end(Some("result"), None), end(None, Some(failure()))];
        let finished: Vec<Finish> =
            leases.into_iter().zip(outcomes).map(|(lease, outcome)| Finish { lease, outcome }).collect();
        let claimed = hand.call(&finished, 1).await;
        assert_eq!(claimed.finished, [Finished::Applied; 2]);
        assert_eq!((&claimed.jobs[0].lease.id, claimed.jobs[0].abort_requested), (&later, true));
        let ready = broker.result(&queue, &done, Duration::ZERO).await.unwrap();
        assert_eq!(ready, ResultState::Ready("result".into()));
        assert_eq!(broker.job(&queue, &dead).await.unwrap().unwrap().state, JobState::Dead);
        assert_eq!(broker.jobs(&queue, JobFilter::Live, None, 10).await.unwrap().jobs.len(), 1);
        assert_eq!(broker.retry_dead(&queue, std::slice::from_ref(&dead)).await.unwrap(), [true]);
        assert_eq!(broker.discard_dead(&queue, &[dead]).await.unwrap(), [false]);
        let health =
            WorkerHealth { name: "homer".to_owned(), queues: vec![name.to_owned()], ..WorkerHealth::default() };
        broker.set_health("homer-1", Some(&health), LEASE).await.unwrap();
        let stats = broker.stats(&queue).await.unwrap();
        assert_eq!((stats.queued, stats.running, stats.workers.len()), (1, 1, 1));
        hand.call(&[], 10).await;
    }
    assert_eq!(broker.queues().await.unwrap().len(), 4);
    assert_eq!(broker.concerns().await.unwrap(), Vec::<String>::new());
    let held: Vec<bool> = cluster.nodes().iter().map(|node| node.cli(&["DBSIZE"]).trim() != "0").collect();
    assert_eq!(held, [true; 3], "the queues are spread over the nodes");
}

/// One wait covers queues of several nodes.
#[tokio::test]
async fn a_wait_covers_queues_of_several_nodes() {
    let cluster = RedisCluster::start().await;
    let broker = connect(&cluster).await;
    let hands = ["{a}", "{b}", "{c}"].map(|name| Hand::new(&broker, name));
    let queues: Vec<QueueName> = hands.iter().map(|hand| hand.queue.clone()).collect();
    for mut hand in hands {
        let mut waits = JoinSet::new();
        let (waiter, awaited) = (broker.clone(), queues.clone());
        waits.spawn(async move { waiter.wait(&awaited, 4 * LEASE, 4 * LEASE).await });
        let blocked = || {
            cluster.nodes().iter().map(|node| node.cli(&["CLIENT", "LIST"]).matches(" flags=b ").count()).sum::<usize>()
        };
        while blocked() < 3 {
            tokio::task::yield_now().await;
        }
        hand.add(Due::Now).await;
        let woken = tokio::time::timeout(LEASE, waits.join_next()).await.expect("it is woken");
        woken.expect("a wait").expect("no panic").unwrap();
        assert_eq!(hand.call(&[], 10).await.jobs.len(), 1);
    }
}

#[tokio::test]
async fn workers_and_clients_work_on_a_cluster() {
    let cluster = RedisCluster::start().await;
    let client = Client::new(Arc::new(connect(&cluster).await));
    let handle = client.enqueue(halve::job(42)).await.unwrap();
    let runner = Runner::new().broker(client.broker().clone()).inventory(Inventory::empty().task::<halve>());
    assert_eq!(runner.handle_signals(false).burst(true).run().await.unwrap().done(), 1);
    assert_eq!(handle.result().await.unwrap(), 21);
    let untagged = client.enqueue(halve::job(1).queue("cluster")).await.unwrap_err();
    let elsewhere = client.enqueue(halve::job(1).id("one")).await.unwrap_err();
    for (error, advice) in [(untagged, "`{cluster}`"), (elsewhere, "`{cluster}:`")] {
        let EnqueueError::Broker { cause: BrokerError::Refused(said), .. } = &error else { panic!("{error:?}") };
        assert!(said.contains(advice), "{said}");
    }
}
