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
            is_new_id: true,
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

#[task(queue = "spread", partitions = 4)]
async fn double(number: u32) -> u32 {
    number * 2
}

/// A name's last digit goes to the four quarters of the slots, whatever comes before it.
#[tokio::test]
async fn four_partitions_lie_in_the_four_quarters_of_the_slots() {
    let server = support::RedisServer::builder().line("cluster-enabled yes").start();
    for name in ["spread", "orders", "a", "reports.daily"] {
        for first in [0, 4, 20] {
            let mut quarters: Vec<u32> = (first..first + 4)
                .map(|index| {
                    let partition = QueueName::new(name).unwrap().partition(index).unwrap();
                    let slot: u32 = server.cli(&["CLUSTER", "KEYSLOT", partition.as_str()]).trim().parse().unwrap();
                    slot / 4_096
                })
                .collect();
            quarters.sort_unstable();
            assert_eq!(quarters, [0, 1, 2, 3], "{name} from {first}");
        }
    }
}

/// Its parts lie on all nodes. While one of these does not answer, jobs of the others go on, whichever it is: also the one
/// that has the keys of all queues.
#[tokio::test]
async fn a_queue_in_partitions_outlives_a_deaf_node() {
    let mut cluster = RedisCluster::start().await;
    let hosts: Vec<String> = cluster.urls().iter().map(|url| url.trim_start_matches("redis://").to_owned()).collect();
    let url = format!("redis+cluster://{}", hosts.join(","));
    // A call to a node that is frozen hangs for longer than the test may take.
    let connect = async || {
        let broker = RedisBroker::builder(url.clone()).response_timeout(4 * LEASE).connect().await.unwrap();
        Client::new(Arc::new(broker))
    };
    let client = connect().await;
    let handles = client.enqueue_all((0..100).map(double::job)).await.unwrap();
    let held: Vec<bool> = cluster.nodes().iter().map(|node| node.cli(&["DBSIZE"]).trim() != "0").collect();
    assert_eq!(held, [true; 3], "the partitions are spread over the nodes");
    let stop = tokio_util::sync::CancellationToken::new();
    let runner = Runner::new().broker(client.broker().clone()).inventory(Inventory::empty().task::<double>());
    let mut running = JoinSet::new();
    running.spawn(runner.handle_signals(false).stop_on(stop.clone()).run());
    for (number, handle) in (0..).zip(&handles) {
        assert_eq!(handle.result_within(LEASE).await.unwrap(), number * 2);
    }
    for index in 0..cluster.nodes().len() {
        let queues: Vec<QueueName> =
            (0..4).map(|part| QueueName::new("spread").unwrap().partition(part).unwrap()).collect();
        let port = |queue: &QueueName| cluster.owner(queue.as_str()).port();
        let reachable: Vec<&QueueName> =
            queues.iter().filter(|queue| port(queue) != cluster.nodes()[index].port()).collect();
        assert!(reachable.len() >= 2);
        let client = connect().await; // one that has not noted yet that it uses the queue
        client.broker().server().await.unwrap();
        cluster.nodes()[index].freeze();
        for round in 0..3 {
            for queue in &reachable {
                let job = double::job(round).id(JobId::generate_in(queue).to_string());
                let handle = tokio::time::timeout(LEASE, client.enqueue(job)).await.expect("enqueued").unwrap();
                let result = handle.result_within(LEASE).await;
                assert_eq!(result.unwrap(), round * 2, "{queue}, node {index} frozen");
            }
        }
        cluster.nodes_mut()[index].thaw();
    }
    stop.cancel();
    running.join_next().await.expect("it ran").unwrap().unwrap();
}
