//! What a worker keeps of jobs that are over: nothing. A binary of its own, whose allocator counts.
//!
//! `SECTOR7G_STEADY_JOBS=1000000 cargo test --release --test steady -- --nocapture` is the long form.

#![allow(clippy::print_stdout, reason = "the long form's figures")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use peak_alloc::PeakAlloc;
use sector7g_tasks::broker::{Broker, MemoryBroker, RedisBroker};
use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::prelude::*;
use support::RedisServer;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Jobs in the short form.
const JOBS: u64 = 40_000;

/// Jobs in one call; they are over before the next.
const BATCH: u64 = 500;

/// Looks at the heap, after the first quarter: by then all that is made once has been made.
const LOOKS: u64 = 8;

/// By how much the heap may grow from the first look to the last: some three bytes a job in the short form, less than a
/// word. Tables that shrink late and the sharing of work among threads move it by some tens of KiB.
const GROWTH: usize = 96 * 1024;

/// By how much the process may grow in the same time: pages that a moment's peak has touched stay with the allocator.
const PAGES: usize = 4 * 1024 * 1024;

/// How often each that fails is tried.
const TRIES: u64 = 2;

/// The ends of jobs.
type Ends = Arc<AtomicU64>;

/// Panics of the process.
static PANICS: AtomicU64 = AtomicU64::new(0);

#[task(queue = "steady", keep_result = 0, dead_letter = false, max_tries = 2, backoff = "fixed(0s)")]
async fn some_fail(ctx: &Context, State(ends): State<Ends>, number: u64, _text: String) -> Result<u64, String> {
    ctx.progress(&number).await.map_err(|error| error.to_string())?;
    let is_last = number % 10 > 1 || ctx.attempt() == ctx.max_tries();
    if is_last {
        ends.fetch_add(1, Ordering::Relaxed);
    }
    match number % 10 {
        0 => Err(format!("number {number} fails each time")),
        1 => panic!("number {number} panics"),
        _ => Ok(number),
    }
}

/// Its result is kept for so short that it is gone before the next look.
#[task(queue = "steady", keep_result = "100ms")]
async fn kept(State(ends): State<Ends>, number: u64) -> u64 {
    ends.fetch_add(1, Ordering::Relaxed);
    number
}

#[task(queue = "steady", keep_result = 0, dead_letter = false, max_tries = 2, backoff = "fixed(0s)", timeout = "10ms")]
async fn too_slow(ctx: &Context, State(ends): State<Ends>) {
    if ctx.attempt() == ctx.max_tries() {
        ends.fetch_add(1, Ordering::Relaxed);
    }
    std::future::pending::<()>().await;
}

/// Enqueues the jobs of these numbers: of ten one fails, one panics, one takes too long, and the result of one is kept for
/// a while.
async fn enqueue(client: &Client, numbers: std::ops::Range<u64>) {
    let those = |digits: &'static [u64]| numbers.clone().filter(|number| digits.contains(&(number % 10)));
    client.enqueue_all(those(&[2]).map(|_| too_slow::job())).await.expect("enqueued");
    client.enqueue_all(those(&[3]).map(kept::job)).await.expect("enqueued");
    let others = those(&[0, 1, 4, 5, 6, 7, 8, 9]).map(|number| some_fail::job(number, format!("box {number}")));
    client.enqueue_all(others).await.expect("enqueued");
}

#[derive(Worker)]
#[worker(queue = "steady", max_jobs = 50)]
struct Steady;

fn jobs() -> u64 {
    std::env::var("SECTOR7G_STEADY_JOBS").ok().map_or(JOBS, |jobs| jobs.parse().expect("a number of jobs"))
}

/// Of this process, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<usize>().ok());
    kib.unwrap_or_default() * 1024
}

/// Has a worker run all the jobs; what the heap held at each look, and how large the process was.
async fn work(broker: Arc<dyn Broker>) -> Vec<(usize, usize)> {
    let (ends, stop) = (Ends::default(), CancellationToken::new());
    let inventory = Inventory::empty().task::<some_fail>().task::<kept>().task::<too_slow>().worker::<Steady>();
    let runner = Runner::new().broker(broker).inventory(inventory).state(ends.clone()).handle_signals(false);
    let client = runner.client();
    let mut worker = JoinSet::new();
    worker.spawn(runner.stop_on(stop.clone()).run());
    let (mut held, all) = (Vec::new(), jobs());
    let mut enqueued = 0;
    while enqueued < all {
        enqueue(&client, enqueued..enqueued + BATCH).await;
        enqueued += BATCH;
        // Ended, and reported: nothing is left of it in the queue.
        while client.stats("steady").await.expect("it answers").live() > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let part = all / LOOKS;
        if enqueued % part < BATCH && enqueued >= all / 4 {
            tokio::time::sleep(Duration::from_millis(300)).await; // what is kept is kept no more
            let (heap, resident) = (HEAP.current_usage(), resident());
            println!("{enqueued:>9} jobs: {:>6} KiB on the heap, {:>6} KiB resident", heap / 1024, resident / 1024);
            held.push((heap, resident));
        }
    }
    stop.cancel();
    let report = worker.join_next().await.expect("it was spawned").expect("it ends").expect("it ran");
    let failed = all / 10 * 3;
    let retried: u64 = report.workers.iter().map(|worker| worker.retried).sum();
    assert_eq!((report.done(), report.failed(), retried), (all - failed, failed, failed * (TRIES - 1)), "{report:?}");
    assert_eq!(ends.load(Ordering::Relaxed), all, "all came to their end");
    assert_eq!(PANICS.swap(0, Ordering::Relaxed), all / 10 * TRIES, "none panicked that should not");
    held
}

fn is_flat(broker: &str, held: &[(usize, usize)]) {
    let (first, last) = (held[0], held[held.len() - 1]);
    assert!(last.0 <= first.0 + GROWTH, "{broker}: from {first:?} to {last:?} bytes on the heap: {held:?}");
    assert!(last.1 <= first.1 + PAGES, "{broker}: from {first:?} to {last:?} bytes resident: {held:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_keeps_nothing_of_jobs_that_are_over() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let is_meant = panic.payload_as_str().is_some_and(|text| text.ends_with("panics"));
        if is_meant {
            PANICS.fetch_add(1, Ordering::Relaxed);
        } else {
            usual(panic);
        }
    }));
    is_flat("memory", &work(Arc::new(MemoryBroker::new())).await);
    let server = RedisServer::start();
    is_flat("redis", &work(Arc::new(RedisBroker::connect(server.url()).await.expect("it is there"))).await);
}
