//! A worker of whose runtime no thread is left to do anything but what its jobs do.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use sector7g_tasks::broker::RedisBroker;
use sector7g_tasks::prelude::*;
use sector7g_tasks::testing::Harness;
use support::RedisServer;
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

const LEASE: Duration = Duration::from_secs(2);

/// Of the threads of the runtime, each for so long.
const BLOCKADE: Duration = Duration::from_secs(11);

/// How many threads the runtime has, and jobs that block one.
const THREADS: usize = 2;

const LONG: Duration = Duration::from_secs(60);

#[derive(Worker)]
#[worker(queue = "petrified", lease = 2, max_jobs = 2)]
struct Petrified;

#[task(queue = "petrified")]
#[expect(clippy::disallowed_methods, reason = "to block the thread is what it is for")]
async fn petrifies(ctx: &Context, State(at): State<Starts>) -> u32 {
    at.note(ctx);
    thread::sleep(BLOCKADE);
    ctx.attempt()
}

#[task(queue = "petrified")]
async fn strolls(ctx: &Context, State(at): State<Starts>) {
    at.note(ctx);
}

/// Each start of a job, and whether the worker whose state this is blocks.
#[derive(Clone, Debug)]
struct Starts {
    of_blocked: bool,
    all: Arc<watch::Sender<Vec<(String, bool)>>>,
}

impl Starts {
    fn note(&self, ctx: &Context) {
        self.all.send_modify(|all| all.push((ctx.job_id().to_string(), self.of_blocked)));
    }

    async fn until(&self, count: usize) {
        let mut all = self.all.subscribe();
        timeout(LONG, all.wait_for(|all| all.len() >= count))
            .await
            .expect("the jobs start")
            .expect("its sender is here");
    }
}

async fn harness(server: &RedisServer, starts: Starts) -> Harness {
    let inventory = Inventory::empty().task::<petrifies>().task::<strolls>().worker::<Petrified>();
    let broker = RedisBroker::connect(server.url()).await.unwrap();
    Harness::on(Arc::new(broker)).inventory(inventory).setup(move |runner| runner.state(starts.clone()))
}

/// Works on a runtime of its own until `stop`. Returns how many leases it lost, and the longest time for which nothing ran
/// there but jobs.
fn work_alone(server: &RedisServer, starts: Starts, stop: &CancellationToken) -> (u64, Duration) {
    let runtime = Builder::new_multi_thread().worker_threads(THREADS).enable_all().build().unwrap();
    runtime.block_on(async {
        let fleet = harness(server, starts).await.start();
        let longest = Arc::new(Mutex::new(Duration::ZERO));
        let (mut others, told) = (JoinSet::new(), Arc::clone(&longest));
        others.spawn(async move {
            loop {
                let before = Instant::now();
                sleep(Duration::from_millis(10)).await;
                let mut longest = told.lock().unwrap();
                *longest = longest.max(before.elapsed());
            }
        });
        stop.cancelled().await;
        let lost = fleet.stop().await.unwrap().workers[0].lease_lost;
        (lost, *longest.lock().unwrap())
    })
}

/// Nothing of the blocked runtime may be needed for a heartbeat, its connection to the server among it. Meanwhile another
/// worker has nothing to do, and would take over what is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wholly_blocked_runtime_loses_no_lease_to_an_idle_worker() {
    let server = Arc::new(RedisServer::start());
    let blocked = Starts { of_blocked: true, all: Arc::default() };
    let idle = Starts { of_blocked: false, ..blocked.clone() };
    let harness = harness(&server, idle).await;
    let client = harness.client();
    let blocking = client.enqueue_all((0..THREADS).map(|_| petrifies::job())).await.unwrap();
    let stop = CancellationToken::new();
    let alone = thread::spawn({
        let (server, starts, stop) = (Arc::clone(&server), blocked.clone(), stop.clone());
        move || work_alone(&server, starts, &stop)
    });
    blocked.until(THREADS).await;
    let idle = harness.start();
    let passed = client.enqueue(strolls::job()).await.unwrap();
    timeout(LONG, passed.result()).await.expect("the idle worker works").unwrap();
    for job in &blocking {
        assert_eq!(timeout(LONG, job.result()).await.expect("it ends").unwrap(), 1, "the first attempt");
    }
    sleep(LEASE).await; // a job that was taken over, too, would show by then
    let idle_lost = idle.stop().await.unwrap().workers[0].lease_lost;
    stop.cancel();
    let (lost, longest) = tokio::task::spawn_blocking(|| alone.join().unwrap()).await.unwrap();
    let starts = blocked.all.borrow().clone();
    let expected = blocking.iter().map(|job| (job.id().to_string(), true)).chain([(passed.id().to_string(), false)]);
    assert_eq!(starts.iter().cloned().collect::<BTreeSet<_>>(), expected.collect(), "where they started");
    assert_eq!(starts.len(), THREADS + 1, "each once: {starts:?}");
    assert_eq!((lost, idle_lost), (0, 0));
    assert!(longest >= 5 * LEASE, "it was blocked for {longest:?} only");
}
