//! Plain functions on the blocking pool: no one can end a thread, so a job whose thread goes on holds its slot,
//! and starts again only when the thread has left.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sector7g_tasks::broker::{Claim, LeaseToken, QueueName};
use sector7g_tasks::clock::{Clock, Timestamp};
use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::prelude::*;
use sector7g_tasks::testing::Harness;
use sector7g_tasks::testing::chaos::{Call, ChaosBroker, Fault};
use tokio::sync::watch;

/// A result that takes longer never comes.
const LIMIT: Duration = Duration::from_secs(5);

/// Less than the two seconds that a stop gives what ignores its end.
const NO_GRACE: Duration = Duration::from_millis(1_500);

/// The threads at work, by job, and a gate that they wait at.
#[derive(Clone, Debug, Default)]
struct Threads(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    at_work: watch::Sender<HashMap<String, u32>>,
    /// The most threads at once; of all jobs, and of one.
    most: Mutex<(u32, u32)>,
    is_open: AtomicBool,
}

struct AtWork(Threads, String);

impl Threads {
    fn begin(&self, ctx: &Context) -> AtWork {
        self.0.at_work.send_modify(|at_work| {
            *at_work.entry(ctx.job_id().to_string()).or_default() += 1;
            let mut most = self.0.most.lock().unwrap();
            most.0 = most.0.max(sum(at_work));
            most.1 = most.1.max(at_work.values().copied().max().unwrap_or(0));
        });
        AtWork(self.clone(), ctx.job_id().to_string())
    }

    fn count(&self) -> u32 {
        sum(&self.0.at_work.borrow())
    }

    fn open(&self) {
        self.0.is_open.store(true, Ordering::SeqCst);
    }

    async fn until(&self, count: u32) {
        let mut at_work = self.0.at_work.subscribe();
        at_work.wait_for(|at_work| sum(at_work) == count).await.expect("its sender is here");
    }
}

fn sum(at_work: &HashMap<String, u32>) -> u32 {
    at_work.values().sum()
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.0.at_work.send_modify(|at_work| *at_work.get_mut(&self.1).unwrap() -= 1);
    }
}

/// Also when a test fails: a runtime does not end before its threads.
struct OpenAtLast(Threads);

impl Drop for OpenAtLast {
    fn drop(&mut self) {
        self.0.open();
    }
}

#[task(queue = "threads", timeout = 0.05, max_tries = 2, backoff = "fixed(1ms)")]
#[expect(clippy::disallowed_methods, reason = "to ignore its end is what it is for")]
fn overstays(ctx: &Context, State(threads): State<Threads>) {
    let _at_work = threads.begin(ctx);
    std::thread::sleep(Duration::from_millis(150));
}

fn wait_at_the_gate(ctx: &Context, threads: &Threads) {
    let _at_work = threads.begin(ctx);
    while !threads.0.is_open.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
}

#[task(queue = "threads")]
fn waits(ctx: &Context, State(threads): State<Threads>) {
    wait_at_the_gate(ctx, &threads);
}

#[task(queue = "threads", timeout = 0.05)]
fn waits_too_long(ctx: &Context, State(threads): State<Threads>) {
    wait_at_the_gate(ctx, &threads);
}

#[task(queue = "threads", timeout = 0.05, max_tries = 2, backoff = "fixed(1ms)")]
fn waits_too_long_twice(ctx: &Context, State(threads): State<Threads>) -> u32 {
    wait_at_the_gate(ctx, &threads);
    ctx.attempt()
}

#[task(queue = "threads", timeout = 10)]
fn waits_ten_seconds(ctx: &Context, State(threads): State<Threads>) {
    wait_at_the_gate(ctx, &threads);
}

#[task(queue = "threads")]
fn asks_whether_to_go_on(ctx: &Context, State(threads): State<Threads>) {
    let _at_work = threads.begin(ctx);
    while !ctx.is_cancelled() && !threads.0.is_open.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
}

#[task(queue = "threads")]
async fn next() {}

#[derive(Debug)]
struct Transparent;

#[async_trait]
impl Middleware for Transparent {
    async fn run(&self, ctx: &Context, next: Next<'_>) -> RunResult {
        next.run(ctx).await
    }
}

/// Has a shorter limit than the task.
#[derive(Debug)]
struct Impatient;

#[async_trait]
impl Middleware for Impatient {
    async fn run(&self, ctx: &Context, next: Next<'_>) -> RunResult {
        let run = tokio::time::timeout(Duration::from_millis(50), next.run(ctx));
        run.await.unwrap_or_else(|_| Err(TaskError::permanent("too long")))
    }
}

#[derive(Worker)]
#[worker(queue = "threads", max_jobs = 1, lease = 0.3, job_completion_wait = 0)]
struct Single;

fn harness_on(broker: Arc<dyn Broker>) -> (Harness, Threads, OpenAtLast) {
    let threads = Threads::default();
    let inventory = Inventory::empty().worker::<Single>().task::<next>().task::<overstays>();
    let inventory = inventory
        .task::<waits>()
        .task::<waits_too_long>()
        .task::<waits_too_long_twice>()
        .task::<asks_whether_to_go_on>();
    let inventory = inventory.task::<waits_ten_seconds>();
    let state = threads.clone();
    let harness = Harness::on(broker).inventory(inventory).setup(move |runner| runner.state(state.clone()));
    (harness, threads.clone(), OpenAtLast(threads))
}

fn harness() -> (Harness, Threads, OpenAtLast) {
    harness_on(Arc::new(MemoryBroker::new()))
}

async fn pause(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

#[tokio::test]
async fn threads_that_outstay_their_jobs_hold_slots_and_leases() {
    let (harness, threads, _open) = harness();
    let fleets = [harness.start(), harness.start()];
    for handle in harness.client().enqueue_all((0..5).map(|_| overstays::job())).await.unwrap() {
        let error = handle.result_within(LIMIT).await.unwrap_err();
        assert_eq!((error.failure().unwrap().kind, error.failure().unwrap().attempt), (FailureKind::Timeout, 2));
    }
    for fleet in fleets {
        assert_eq!(fleet.stop().await.unwrap().workers[0].lease_lost, 0);
    }
    assert_eq!(*threads.0.most.lock().unwrap(), (2, 1), "two workers of one slot; each job once at a time");
}

/// Its outcome is told at once, whatever the thread does; the slot is free when the thread has left.
#[tokio::test]
async fn a_job_that_has_ended_holds_its_slot_until_its_thread_has_left() {
    for how in ["times out", "is aborted", "loses its lease"] {
        let broker = Arc::new(ChaosBroker::new(Arc::new(MemoryBroker::new())));
        let (harness, threads, _open) = harness_on(broker.clone());
        let (client, fleet) = (harness.client(), harness.start());
        match how {
            "times out" => {
                let handle = client.enqueue(waits_too_long::job()).await.unwrap();
                assert_eq!(
                    handle.result_within(LIMIT).await.unwrap_err().failure().unwrap().kind,
                    FailureKind::Timeout
                );
            }
            "is aborted" => {
                let handle = client.enqueue(waits::job()).await.unwrap();
                threads.until(1).await;
                assert!(handle.abort().await.unwrap());
                assert!(handle.result_within(LIMIT).await.unwrap_err().is_aborted());
            }
            _ => {
                client.enqueue(waits::job()).await.unwrap();
                threads.until(1).await;
                steal(&broker).await;
            }
        }
        assert_eq!(threads.count(), 1, "the thread of a job that {how} is still at work");
        let next = client.enqueue(next::job()).await.unwrap();
        pause(200).await;
        assert_eq!(next.status().await.unwrap(), Some(JobState::Queued), "the slot of a job that {how} is held");
        threads.open();
        next.result_within(LIMIT).await.unwrap();
        let lost = fleet.stop().await.unwrap().workers[0].lease_lost;
        assert_eq!(lost, u64::from(how == "loses its lease"));
    }
}

/// Lets the lease of the one running job run out, takes the job, and waits until its worker knows.
async fn steal(broker: &ChaosBroker) {
    broker.fail_next(Call::Extend, 100, Fault::Before);
    pause(400).await;
    let queue = QueueName::new("threads").unwrap();
    let token = LeaseToken { worker: 1, call: 1 };
    let claim = Claim { queue: &queue, finished: &[], max: 1, lease: Duration::from_secs(60), token };
    assert_eq!(broker.claim(&claim).await.unwrap().jobs.len(), 1);
    broker.calm();
    pause(200).await; // a heartbeat says that the lease is lost
}

#[tokio::test]
async fn a_job_runs_again_only_when_its_thread_has_left() {
    let (harness, threads, _open) = harness();
    let (client, fleet) = (harness.client(), harness.start());
    let handle = client.enqueue(waits_too_long_twice::job()).await.unwrap();
    threads.until(1).await;
    pause(600).await; // two leases
    let info = handle.info().await.unwrap().unwrap();
    assert_eq!((info.state, info.attempt), (JobState::InProgress, 1));
    threads.open();
    assert_eq!(handle.result_within(LIMIT).await.unwrap(), 2);
    assert_eq!(fleet.stop().await.unwrap().workers[0].lease_lost, 0);
}

#[tokio::test]
async fn a_job_that_waits_for_its_thread_can_be_aborted() {
    let (harness, threads, _open) = harness();
    let (client, fleet) = (harness.client(), harness.start());
    let handle = client.enqueue(waits_too_long_twice::job()).await.unwrap();
    threads.until(1).await;
    pause(200).await; // it has timed out
    assert!(handle.abort().await.unwrap());
    assert!(handle.result_within(LIMIT).await.unwrap_err().is_aborted());
    assert_eq!(threads.count(), 1);
    fleet.stop().await.unwrap();
}

#[tokio::test]
async fn a_stop_gives_back_a_job_when_its_thread_has_left() {
    let (harness, threads, _open) = harness();
    let (client, fleet) = (harness.client(), harness.start());
    let handle = client.enqueue(waits::job()).await.unwrap();
    threads.until(1).await;
    let opening = async {
        pause(500).await;
        let info = handle.info().await.unwrap().unwrap();
        assert_eq!(info.state, JobState::InProgress, "given back now, it would run twice at once");
        threads.open();
    };
    let (report, ()) = tokio::join!(fleet.stop(), opening);
    assert_eq!(report.unwrap().workers[0].given_back, 1);
    let info = handle.info().await.unwrap().unwrap();
    assert_eq!((info.state, info.attempt), (JobState::Queued, 0));
}

#[tokio::test]
async fn a_stop_does_not_wait_for_threads_whose_jobs_have_ended() {
    let (harness, threads, _open) = harness();
    let (client, fleet) = (harness.client(), harness.start());
    let handle = client.enqueue(waits_too_long::job()).await.unwrap();
    handle.result_within(LIMIT).await.unwrap_err();
    tokio::time::timeout(NO_GRACE, fleet.stop()).await.expect("a stop waits for no thread").unwrap();
    assert_eq!(threads.count(), 1);
    client.enqueue(waits_too_long::job()).await.unwrap();
    let drained = tokio::time::timeout(NO_GRACE, harness.drain()).await.expect("nor does a burst");
    assert_eq!(drained.unwrap().failed(), 1);
    assert_eq!(threads.count(), 2);
}

#[tokio::test]
async fn a_thread_that_a_middleware_gave_up_is_told() {
    let (harness, threads, _open) = harness();
    let state = threads.clone();
    let harness = harness.setup(move |runner| runner.state(state.clone()).middleware(Impatient));
    let (client, fleet) = (harness.client(), harness.start());
    let handle = client.enqueue(asks_whether_to_go_on::job()).await.unwrap();
    let error = handle.result_within(LIMIT).await.unwrap_err();
    assert_eq!(error.failure().unwrap().message, "too long");
    tokio::time::timeout(LIMIT, threads.until(0)).await.expect("the thread should have ended");
    fleet.stop().await.unwrap();
}

/// Its time, and that of the code around it, counts from when it has a thread.
#[test]
fn the_wait_for_a_thread_is_no_part_of_the_timeout() {
    for has_middleware in [false, true] {
        for queued in [9, 200] {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().start_paused(true).max_blocking_threads(1).build().unwrap();
            runtime.block_on(waits_for_a_thread(has_middleware, queued));
        }
    }
}

/// For so many seconds; then it works for five of its ten.
async fn waits_for_a_thread(has_middleware: bool, queued: u32) {
    let (free, occupied) = std::sync::mpsc::channel();
    let occupant = tokio::task::spawn_blocking(move || occupied.recv());
    let clock = Clock::starting_from(Timestamp::from_millis(0));
    let (harness, threads, _open) = harness_on(Arc::new(MemoryBroker::with_clock(clock)));
    let state = threads.clone();
    let harness = harness.setup(move |runner| {
        let runner = runner.state(state.clone());
        if has_middleware { runner.middleware(Transparent) } else { runner }
    });
    let fleet = harness.start();
    let handle = harness.client().enqueue(waits_ten_seconds::job()).await.unwrap();
    pass(queued).await;
    assert_eq!((handle.status().await.unwrap(), threads.count()), (Some(JobState::InProgress), 0));
    free.send(()).unwrap();
    occupant.await.unwrap().unwrap();
    while threads.count() == 0 {
        tokio::task::yield_now().await;
    }
    pass(5).await;
    threads.open();
    handle.result_within(LIMIT).await.unwrap();
    fleet.stop().await.unwrap();
}

/// Seconds that pass by hand: by itself, time stands still while a thread of the pool is in use.
async fn pass(seconds: u32) {
    for _ in 0..10 * seconds {
        tokio::time::advance(Duration::from_millis(100)).await;
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
}
