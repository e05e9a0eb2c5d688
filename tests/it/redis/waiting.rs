//! Claims that wait at a bell, on a connection of their own, when something goes wrong meanwhile.

use std::sync::Arc;
use std::time::Duration;

use sector7g_tasks::broker::{Broker, Claim, Extended, JobState, LeaseToken, QueueName, RedisBroker};
use sector7g_tasks::prelude::*;
use support::{Proxy, RedisServer, Way};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::load::calls;
use super::trouble::{Hand, LONG};

/// Longer than what the test needs in between, also on a busy machine, and short enough to be waited for.
const LEASE: Duration = Duration::from_secs(3);

#[task(queue = "idle")]
async fn counts_its_attempt(ctx: &Context) -> u32 {
    ctx.attempt()
}

/// Within which a stop is over, and no claim that has just begun to wait, which does so for five seconds.
const UNHEARD: Duration = Duration::from_secs(3);

/// Who take rings and do nothing: more than are rung before a claim that waits ends by itself.
const THIEVES: usize = 40;

/// Its lease is so long that nobody waits for its end.
#[derive(Worker)]
#[worker(queue = "idle", lease = "5m", max_jobs = 30)]
struct Idle;

/// A worker that reaches its server through a proxy, and waits for work.
struct Scene {
    server: RedisServer,
    proxy: Proxy,
    client: Client,
    stop: CancellationToken,
    workers: JoinSet<RunReport>,
}

impl Scene {
    async fn new() -> Self {
        let server = RedisServer::start();
        let proxy = Proxy::to(server.port()).await;
        let client = Client::new(Arc::new(RedisBroker::connect(server.url()).await.unwrap()));
        let broker = Arc::new(RedisBroker::connect(proxy.url()).await.unwrap());
        let stop = CancellationToken::new();
        let inventory = Inventory::empty().task::<counts_its_attempt>().worker::<Idle>();
        let runner = Runner::new().broker(broker).inventory(inventory).handle_signals(false).stop_on(stop.clone());
        let mut workers = JoinSet::new();
        workers.spawn(async move { runner.run().await.unwrap() });
        wait_for_waiting(&server, 1).await;
        Self { server, proxy, client, stop, workers }
    }

    /// Adds a job, and waits until it is leased.
    async fn leased(&self) -> JobHandle<counts_its_attempt> {
        let handle = self.client.enqueue(counts_its_attempt::job()).await.unwrap();
        let running = async || self.client.stats("idle").await.unwrap().running;
        until(async || running().await == 1).await;
        handle
    }

    async fn end(&mut self) -> RunReport {
        self.stop.cancel();
        timeout(LONG, self.workers.join_next()).await.expect("it stops").unwrap().unwrap()
    }
}

async fn until(is_so: impl AsyncFn() -> bool) {
    let looking = async {
        while !is_so().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, looking).await.expect("it comes to be so");
}

/// Until so many claims wait at bells.
async fn wait_for_waiting(server: &RedisServer, count: usize) {
    until(async || server.cli(&["CLIENT", "LIST"]).matches("cmd=blpop").count() == count).await;
}

/// A stop does not wait for the claim's time to be over.
#[tokio::test]
async fn a_stop_does_not_wait_for_the_bell() {
    let mut scene = Scene::new().await;
    let by = Instant::now() + UNHEARD;
    scene.stop.cancel();
    let ended = timeout(UNHEARD, scene.workers.join_next()).await;
    assert!(ended.is_ok(), "it waits as long as the claim does");
    // Its connection is closed, or a bell would ring for nobody.
    timeout_at(by, wait_for_waiting(&scene.server, 0)).await.expect("it waits no more");
}

/// Nor does it leave to its lease what has been leased unheard: it is given back, uncounted.
#[tokio::test]
async fn a_stop_gives_back_what_was_claimed_unheard() {
    let mut scene = Scene::new().await;
    scene.proxy.set(Way::StallReplies);
    let handle = scene.leased().await;
    let before = calls(&scene.server);
    scene.stop.cancel();
    until(async || calls(&scene.server) > before).await;
    scene.proxy.set(Way::Pass);
    let report = scene.end().await;
    assert_eq!((report.done(), report.workers[0].given_back), (0, 1));
    let info = handle.info().await.unwrap().unwrap();
    assert_eq!((info.state, info.attempt), (JobState::Queued, 0));
}

/// When its connection breaks, whether it has been made is not known: it is made again, and tells.
#[tokio::test]
async fn a_claim_whose_answer_is_lost_is_made_again() {
    let mut scene = Scene::new().await;
    scene.proxy.set(Way::Swallow);
    let handle = scene.leased().await;
    scene.proxy.set(Way::Pass); // which breaks the connections whose replies were thrown away
    assert_eq!(handle.result().await.unwrap(), 1, "it had been counted once");
    assert_eq!(scene.end().await.done(), 1);
}

/// Who is frozen or cut off while he waits has few jobs to himself, of however many slots: others have the rest at once.
#[tokio::test]
async fn who_waits_and_is_gone_has_few_jobs() {
    let mut scene = Scene::new().await;
    scene.proxy.set(Way::StallReplies);
    scene.client.enqueue_all((0..9).map(|_| counts_its_attempt::job())).await.unwrap();
    until(async || scene.client.stats("idle").await.unwrap().running == 5).await;
    let broker = RedisBroker::connect(scene.server.url()).await.unwrap();
    let queue = QueueName::new("idle").unwrap();
    let token = LeaseToken { worker: 7 << 2, call: 1 };
    let request = Claim { queue: &queue, finished: &[], max: 10, lease: LONG, token };
    assert_eq!(broker.claim(&request).await.unwrap().jobs.len(), 4);
    scene.proxy.set(Way::Pass);
    scene.end().await;
}

/// Whose connection is lost while he is told to stop asks what he has, and for nothing more.
#[tokio::test]
async fn a_stop_leases_nothing() {
    let mut scene = Scene::new().await;
    scene.proxy.set(Way::Refuse);
    let handle = scene.client.enqueue(counts_its_attempt::job()).await.unwrap();
    scene.stop.cancel();
    sleep(Duration::from_millis(50)).await; // its first call finds nobody
    scene.proxy.set(Way::Pass);
    let report = scene.end().await;
    assert_eq!((report.done(), report.workers[0].given_back), (0, 0));
    assert_eq!(handle.info().await.unwrap().unwrap().state, JobState::Queued);
}

/// Abort requests that can't be read cost no claim its answer.
#[tokio::test]
async fn what_is_asked_for_beside_may_fail() {
    let server = RedisServer::start();
    server.cli(&["SET", "arq:abort", "no sorted set"]);
    let mut hand = Hand::new(&server).await;
    hand.claim(LONG).await; // the script is loaded
    let broker = RedisBroker::connect(server.url()).await.unwrap();
    let queue = hand.queue.clone();
    let mut claiming = JoinSet::new();
    claiming.spawn(async move {
        let token = LeaseToken { worker: 7 << 2, call: 1 };
        let request = Claim { queue: &queue, finished: &[], max: 1, lease: LEASE, token };
        broker.claim_when_due(&request, LONG, LONG).await
    });
    wait_for_waiting(&server, 1).await;
    let id = hand.add(b"{}").await.unwrap();
    let claimed = timeout(LONG, claiming.join_next()).await.expect("the bell has rung").unwrap().unwrap().unwrap();
    assert_eq!(claimed.jobs[0].lease.id, id);
}

/// A worker whose rings go astray, as with a connection that is dead and does not say so, claims by its other one.
#[tokio::test]
async fn rings_that_go_astray_are_not_waited_for() {
    let server = RedisServer::start();
    let mut thieves = JoinSet::new();
    for _ in 0..THIEVES {
        let client = redis::Client::open(server.url()).unwrap();
        thieves.spawn(async move {
            let mut connection = client.get_multiplexed_async_connection().await.unwrap();
            let mut bell = redis::cmd("BLPOP");
            let _: redis::RedisResult<redis::Value> =
                bell.arg("arq:queue:idle:s7:bell").arg(0).query_async(&mut connection).await;
        });
    }
    wait_for_waiting(&server, THIEVES).await;
    let broker = RedisBroker::connect(server.url()).await.unwrap();
    let client = Client::new(Arc::new(broker.clone()));
    let claiming = async {
        let queue = QueueName::new("idle").unwrap();
        let token = LeaseToken { worker: 7 << 2, call: 1 };
        let request = Claim { queue: &queue, finished: &[], max: 1, lease: LEASE, token };
        broker.claim_when_due(&request, Duration::from_millis(100), LONG).await.unwrap()
    };
    let adding = async {
        wait_for_waiting(&server, THIEVES + 1).await;
        client.enqueue(counts_its_attempt::job()).await.unwrap();
    };
    let (claimed, ()) = tokio::join!(claiming, adding);
    assert_eq!(claimed.jobs.len(), 1);
    let left = server.cli(&["CLIENT", "LIST"]).matches("cmd=blpop").count();
    assert!(left > THIEVES / 2, "some rings are waited for, not {} of them", THIEVES - left);
}

/// Nobody can renew a lease while the server is away, so what runs out meanwhile has a lease's time more. Claims that were sent
/// before, and are made when the bell rings, are no sign that the server was there: they take nothing over, nor does who asks next.
#[tokio::test]
async fn claims_that_have_waited_are_no_sign_of_life() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let mut holder = Hand::new(&server).await;
    holder.add(b"{}").await.unwrap();
    let held = holder.claim(LEASE).await.remove(0).lease;
    let leased_at = Instant::now();
    let mut claiming = JoinSet::new();
    for worker in 1..=3 {
        let (broker, queue) = (RedisBroker::connect(proxy.url()).await.unwrap(), holder.queue.clone());
        claiming.spawn(async move {
            let token = LeaseToken { worker: worker << 2, call: 1 };
            let request = Claim { queue: &queue, finished: &[], max: 10, lease: LEASE, token };
            broker.claim_when_due(&request, LONG, LONG).await
        });
    }
    wait_for_waiting(&server, 3).await;
    proxy.set(Way::SwallowRequests); // from now on nobody can ask
    for part in [LEASE / 3, LEASE * 2 / 3, LEASE + LEASE / 10] {
        sleep_until(leased_at + part).await;
        server.cli(&["RPUSH", "arq:queue:trouble:s7:bell", "1"]);
        let claimed = timeout(LONG, claiming.join_next()).await.expect("the bell has rung").unwrap().unwrap();
        let jobs = claimed.expect("its answer gets through").jobs;
        assert!(jobs.is_empty(), "after {part:?}: {jobs:?}");
    }
    let jobs = Hand::new(&server).await.claim(LEASE).await;
    assert!(jobs.is_empty(), "nor who asks again: {jobs:?}");
    assert_eq!(holder.extend(&held).await, Extended::Renewed);
}
