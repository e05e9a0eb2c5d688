//! Enqueueing that is answered once replicas have it.

use std::sync::Arc;
use std::time::Duration;

use sector7g_tasks::broker::{Broker, BrokerError, RedisBroker, RedisBrokerBuilder};
use sector7g_tasks::client::EnqueueError;
use sector7g_tasks::prelude::*;
use support::RedisServer;
use tokio::time::{Instant, sleep};

const PATIENCE: Duration = Duration::from_secs(2);

#[task(queue = "copied")]
async fn copied(number: u32) -> u32 {
    number
}

fn pair() -> (RedisServer, RedisServer) {
    let server = || RedisServer::builder().line("repl-diskless-sync-delay 0").line("repl-ping-replica-period 1");
    let master = server().start();
    let replica = server().line(format!("replicaof 127.0.0.1 {}", master.port())).start();
    (master, replica)
}

async fn until_linked(replica: &RedisServer) {
    let end = Instant::now() + Duration::from_secs(30);
    while !replica.cli(&["INFO", "replication"]).contains("master_link_status:up") {
        assert!(Instant::now() < end, "the replica follows");
        sleep(Duration::from_millis(20)).await;
    }
}

fn to(master: &RedisServer) -> RedisBrokerBuilder {
    RedisBroker::builder(master.url()).wait_for_replicas(1, PATIENCE)
}

fn cause_of(error: EnqueueError) -> BrokerError {
    match error {
        EnqueueError::Broker { cause, .. } => cause,
        other => panic!("the job is sound: {other}"),
    }
}

#[tokio::test]
async fn an_answered_job_is_on_the_replica() {
    let (master, replica) = pair();
    until_linked(&replica).await;
    let client = Client::new(Arc::new(to(&master).connect().await.unwrap()));
    client.enqueue(copied::job(0)).await.unwrap(); // both connections are there
    replica.freeze();
    let mut enqueueing = Box::pin(client.enqueue(copied::job(1).id("copied-1")));
    tokio::select! { // the first one to be ready counts; the other is awaited below
        answer = &mut enqueueing => panic!("answered before the replica has it: {answer:?}"),
        () = sleep(PATIENCE / 4) => {}
    }
    replica.thaw();
    enqueueing.await.unwrap();
    assert_eq!(replica.cli(&["EXISTS", "arq:job:copied-1"]).trim(), "1");
}

/// Without its replica a master is told so, and nothing else on the broker waits for that.
#[tokio::test]
async fn what_no_replica_has_is_not_answered() {
    let (master, mut replica) = pair();
    until_linked(&replica).await;
    let client = Client::new(Arc::new(to(&master).response_timeout(2 * PATIENCE).connect().await.unwrap()));
    client.enqueue(copied::job(0)).await.unwrap();
    replica.kill9();
    let mut enqueueing = Box::pin(client.enqueue(copied::job(1).id("alone")));
    let stats = async {
        loop {
            let stats = client.stats("copied").await.unwrap();
            if stats.queued == 2 {
                break; // it is there, and its producer does not know it yet
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! { // the first one to be ready counts; the other is awaited below
        answer = &mut enqueueing => panic!("answered before all else: {answer:?}"),
        () = stats => {}
    }
    let cause = cause_of(enqueueing.await.unwrap_err());
    assert!(cause.is_transient(), "{cause:?}");
    let said = format!("{:?}", std::error::Error::source(&cause).map(ToString::to_string));
    assert!(said.contains("0 of 1 replicas"), "{said}");
    assert_eq!(client.stats("copied").await.unwrap().queued, 2, "three tries are one job");
    replica.restart();
    until_linked(&replica).await;
    assert!(!client.enqueue(copied::job(1).id("alone")).await.unwrap().is_new(), "it has been there");
}

/// The second of two requests that are the same writes again: else its connection, a new one, had nothing to wait for.
#[tokio::test]
async fn a_repeated_request_writes_again() {
    let (master, replica) = pair();
    until_linked(&replica).await;
    let client = Client::new(Arc::new(RedisBroker::connect(master.url()).await.unwrap()));
    let jobs = [client.encode(&copied::job(1)).unwrap()];
    let request = sector7g_tasks::broker::RequestId::unique();
    client.broker().enqueue(&jobs, request).await.unwrap();
    let asked = master.cli(&["--raw", "KEYS", "*:s7:asked:*"]);
    master.cli(&["PERSIST", asked.trim()]);
    let broker = to(&master).connect().await.unwrap();
    broker.enqueue(&jobs, request).await.unwrap();
    assert_ne!(master.cli(&["TTL", asked.trim()]).trim(), "-1", "what is known of it lives anew");
}

/// How many `WAIT`s the server has answered.
fn waits(master: &RedisServer) -> u64 {
    let stats = master.cli(&["INFO", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_wait:calls="));
    line.and_then(|line| line.split(',').next()).map_or(0, |calls| calls.parse().unwrap())
}

/// Producers at once wait together, not one after the other: a `WAIT` is of all that came before it.
#[tokio::test]
async fn producers_at_once_wait_together() {
    let (master, mut replica) = pair();
    until_linked(&replica).await;
    let broker = to(&master).response_timeout(2 * PATIENCE).connect().await.unwrap();
    let client = Client::new(Arc::new(broker.clone()));
    let enqueue = async |number| {
        let jobs = [client.encode(&copied::job(number)).unwrap()];
        broker.enqueue(&jobs, sector7g_tasks::broker::RequestId::unique()).await
    };
    let at_once = async || <[_; 5]>::from(tokio::join!(enqueue(1), enqueue(2), enqueue(3), enqueue(4), enqueue(5)));
    enqueue(0).await.unwrap(); // the connection is there, the script loaded
    let before = waits(&master);
    for answer in at_once().await {
        answer.unwrap();
    }
    let well = waits(&master) - before;
    assert!(well <= 2, "{well} WAITs for 5 producers");
    replica.kill9();
    let before = waits(&master);
    for answer in at_once().await {
        let error = answer.unwrap_err();
        assert!(error.is_transient(), "{error:?}");
    }
    let badly = waits(&master) - before;
    assert!(badly <= 2, "{badly} WAITs for 5 producers");
}

/// A replica that can be written to stands for a master that was demoted when it had taken the write: its answer to
/// `WAIT` is no fault of the job's, and another connection may lead to the new master.
#[tokio::test]
async fn a_demoted_master_is_left() {
    let (_master, replica) = pair();
    until_linked(&replica).await;
    replica.cli(&["CONFIG", "SET", "replica-read-only", "no"]);
    let broker = to(&replica).connect().await.unwrap();
    let client = Client::new(Arc::new(broker.clone()));
    let jobs = [client.encode(&copied::job(1)).unwrap()];
    let connections = || {
        let stats = replica.cli(&["INFO", "stats"]);
        let line = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    for _ in 0..2 {
        let before = connections();
        let error = broker.enqueue(&jobs, sector7g_tasks::broker::RequestId::unique()).await.unwrap_err();
        assert!(error.is_transient(), "{error:?}");
        assert!(connections() - before > 1, "one of them is that of the command line"); // and ours are new
    }
    replica.cli(&["REPLICAOF", "NO", "ONE"]);
    let error = broker.enqueue(&jobs, sector7g_tasks::broker::RequestId::unique()).await.unwrap_err();
    let said = format!("{:?}", std::error::Error::source(&error).map(ToString::to_string));
    assert!(said.contains("0 of 1 replicas"), "a master answers: {said}");
}

#[test]
fn clusters_are_refused() {
    let builder = RedisBroker::builder("redis+cluster://127.0.0.1:7000").wait_for_replicas(1, PATIENCE);
    let error = builder.build().unwrap_err().to_string();
    assert!(error.contains("wait_for_replicas") && error.contains("min-replicas-to-write"), "{error}");
}
