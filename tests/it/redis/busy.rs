//! A server that is there, but takes no call for now: it loads what it has stored, or runs somebody's script.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use sector7g_tasks::broker::RedisBroker;
use sector7g_tasks::prelude::*;
use sector7g_tasks::testing::{Fleet, Harness};
use support::RedisServer;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::trouble::{Hand, LONG, done};

/// What lets a job end, and how many have begun.
#[derive(Clone, Debug)]
struct Gate(Arc<(Semaphore, AtomicU32)>);

impl Gate {
    fn begun(&self) -> u32 {
        self.0.1.load(Ordering::SeqCst)
    }
}

#[task(queue = "refused")]
async fn held(State(gate): State<Gate>) -> u32 {
    let turn = gate.0.1.fetch_add(1, Ordering::SeqCst) + 1;
    gate.0.0.acquire().await.expect("it is never closed").forget();
    turn
}

/// A worker of a server's with a job that runs, a client, and a worker whose calls are made by hand.
struct Scene {
    gate: Gate,
    harness: Harness,
    /// The second starts while calls are refused.
    fleets: Vec<Fleet>,
    running: JobHandle<held>,
    hand: Hand,
    url: String,
}

impl Scene {
    async fn of(server: &RedisServer) -> Self {
        let gate = Gate(Arc::new((Semaphore::new(0), AtomicU32::new(0))));
        let given = gate.clone();
        let broker = RedisBroker::connect(server.url()).await.unwrap();
        let harness = Harness::on(Arc::new(broker))
            .inventory(Inventory::empty().task::<held>())
            .setup(move |runner| runner.state(given.clone()));
        let fleets = vec![harness.start()];
        let running = harness.client().enqueue(held::job()).await.unwrap();
        until("the job runs", || gate.begun() == 1).await;
        let hand = Hand::new(server).await;
        hand.add(b"{}").await.unwrap();
        Self { gate, harness, fleets, running, hand, url: server.url() }
    }

    /// Each call fails as one that may be made again, and changes nothing. Meanwhile the job ends, which can't be told.
    async fn is_refused(&mut self, word: &str) {
        let told = |what: &str, error: &dyn std::error::Error| {
            let said = chain(error);
            assert!(said.contains(" is unavailable") && said.contains(word), "{what}: {said}");
        };
        told("an enqueueing", &self.hand.add(b"{}").await.expect_err("none is taken"));
        told("a claim", &self.hand.call(&[], 10, LONG).await.expect_err("none is taken"));
        self.hand.token.call -= 1;
        // One that loads tells the time, which is all that is asked of it at first.
        let connecting = RedisBroker::builder(&*self.url).connect_retries(0, Duration::ZERO).connect();
        match connecting.await {
            Ok(broker) => {
                let new = Hand { broker, queue: self.hand.queue.clone(), token: self.hand.token };
                told("a new connection", &new.add(b"{}").await.expect_err("none is taken"));
            }
            Err(error) => told("a new connection", &error),
        }
        let client = self.harness.client();
        told("a client", &client.enqueue(held::job()).await.expect_err("it gives up"));
        self.fleets.push(self.harness.start());
        self.gate.0.0.add_permits(1);
        sleep(Duration::from_millis(300)).await; // its worker tries to tell, more than once
    }

    /// All is as before, and nothing has run twice.
    async fn goes_on(mut self) {
        assert_eq!(within(self.running.result()).await.unwrap(), 1);
        let next = self.harness.client().enqueue(held::job()).await.unwrap();
        self.gate.0.0.add_permits(1);
        assert_eq!((within(next.result()).await.unwrap(), self.gate.begun()), (2, 2), "each has begun once");
        let ended: Vec<_> = self.hand.claim(LONG).await.into_iter().map(|job| done(job.lease)).collect();
        assert_eq!(ended.len(), 1, "the one from before");
        self.hand.call(&ended, 0, LONG).await.unwrap();
        let mut ran = 0;
        for fleet in self.fleets {
            ran += within(fleet.stop()).await.unwrap().done();
        }
        assert_eq!(ran, 2);
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it comes to an end")
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// A server that starts anew answers `LOADING` until it has read what is on its disk.
#[tokio::test]
async fn a_server_that_loads_its_data_is_waited_for() {
    // A quarter of a minute, and some looks at its clients in each second.
    let server = RedisServer::builder().append_only().debug_command();
    let mut server = server
        .line("key-load-delay 5000")
        .line("loading-process-events-interval-bytes 1024")
        .line("rdbcompression no")
        .start();
    server.cli(&["DEBUG", "POPULATE", "3000", "filler", "500"]);
    server.cli(&["BGREWRITEAOF"]);
    until("the filler is on disk", || {
        let state = server.cli(&["INFO", "persistence"]);
        ["aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"].iter().all(|word| state.contains(word))
    })
    .await;
    let mut scene = Scene::of(&server).await;
    server.restart_until_loading();
    scene.is_refused("Redis is loading").await;
    let refused = server.try_cli(&["GET", "filler:1"]);
    assert!(refused.as_ref().is_err_and(|error| error.contains("LOADING")), "it loaded all the while: {refused:?}");
    server.cli(&["CONFIG", "SET", "key-load-delay", "0"]);
    until("it has loaded", || server.try_cli(&["PING"]).is_ok()).await;
    scene.goes_on().await;
}

/// A script that runs for long: from a while on the server answers `BUSY` to all others.
#[tokio::test]
async fn a_server_that_runs_a_long_script_is_waited_for() {
    let server = Arc::new(RedisServer::builder().line("lua-time-limit 10").start());
    let mut scene = Scene::of(&server).await;
    let script = {
        let server = Arc::clone(&server);
        thread::spawn(move || server.try_cli(&["EVAL", "while true do end", "0"]))
    };
    until("it is busy", || server.try_cli(&["PING"]).is_err_and(|error| error.contains("BUSY"))).await;
    scene.is_refused("BUSY").await;
    server.cli(&["SCRIPT", "KILL"]);
    script.join().unwrap().expect_err("it was killed");
    scene.goes_on().await;
}
