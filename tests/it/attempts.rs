//! What becomes of a job: results, errors, retries, timeouts, panics, poison.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use sector7g_tasks::broker::MAX_BATCH;
use sector7g_tasks::clock::Timestamp;
use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::prelude::*;
use sector7g_tasks::testing::Harness;

#[derive(Debug)]
struct Jammed;

impl std::fmt::Display for Jammed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the valve is jammed")
    }
}

impl std::error::Error for Jammed {}

#[task(queue = "attempts")]
async fn plain_error() -> Result<(), Jammed> {
    Err(Jammed)
}

#[task(queue = "attempts", max_tries = 4, backoff = "exponential(10s, jitter = 0)")]
async fn third_time(ctx: &Context) -> Result<u32, Jammed> {
    if ctx.attempt() == 3 { Ok(ctx.attempt()) } else { Err(Jammed) }
}

#[task(queue = "attempts", max_tries = 3, backoff = "fixed(1s)")]
async fn never() -> Result<(), Jammed> {
    Err(Jammed)
}

#[task(queue = "attempts", max_tries = 5, backoff = "fixed(1s)")]
async fn hopeless() -> Result<(), TaskError> {
    Err(TaskError::permanent("the core is gone"))
}

#[task(queue = "attempts")]
async fn asks_again(ctx: &Context) -> Result<u32, TaskError> {
    if ctx.attempt() < 3 { Err(TaskError::retry_in(Duration::from_secs(60))) } else { Ok(ctx.attempt()) }
}

static SNOOZED: AtomicU32 = AtomicU32::new(0);

#[task(queue = "attempts", max_tries = 1)]
async fn snoozes(ctx: &Context) -> Result<u32, TaskError> {
    if SNOOZED.fetch_add(1, Ordering::SeqCst) < 9 {
        Err(TaskError::snooze(Duration::from_secs(60)))
    } else {
        Ok(ctx.attempt())
    }
}

static IS_DOWN: AtomicBool = AtomicBool::new(true);
static ASKED: Mutex<Vec<Timestamp>> = Mutex::new(Vec::new());

/// Asks something that may be down, with the backoff that a task has which names none.
#[task(queue = "attempts", max_tries = 20)]
async fn depends(ctx: &Context) -> Result<(), Jammed> {
    ASKED.lock().unwrap().push(ctx.worker().now());
    if IS_DOWN.load(Ordering::SeqCst) { Err(Jammed) } else { Ok(()) }
}

/// There is no budget for retries: what keeps them from becoming a storm is their backoff and its jitter.
#[tokio::test(start_paused = true)]
async fn a_dependency_that_is_down_is_asked_less_and_less() {
    const JOBS: usize = 500;
    let harness = Harness::new().inventory(Inventory::empty().task::<depends>());
    let began = harness.now();
    harness.client().enqueue_all((0..JOBS).map(|_| depends::job())).await.unwrap();
    let fleet = harness.start();
    harness.advance(Duration::from_secs(300)).await;
    IS_DOWN.store(false, Ordering::SeqCst);
    let asked: Vec<u64> = ASKED.lock().unwrap().iter().map(|at| at.since(began).as_secs()).collect();
    let between = |from: u64, to: u64| asked.iter().filter(|second| (from..to).contains(*second)).count();
    let minutes: Vec<usize> = (0..5).map(|minute| between(60 * minute, 60 * minute + 60)).collect();
    assert!(minutes[0] <= 7 * JOBS && minutes[1..].iter().all(|asked| *asked <= 3 * JOBS / 2), "{minutes:?}");
    let busiest = (30..300).map(|second| between(second, second + 1)).max();
    assert!(busiest < Some(JOBS / 4), "they don't all come at once: {busiest:?} in a second");
    harness.advance(Duration::from_secs(300)).await;
    assert_eq!(fleet.stop().await.unwrap().done(), JOBS as u64, "none gave up");
}

#[task(queue = "attempts", timeout = 2)]
async fn sleeps_long() {
    tokio::time::sleep(Duration::from_secs(3)).await;
}

#[task(queue = "attempts", timeout = 2)]
async fn sleeps_short() -> String {
    tokio::time::sleep(Duration::from_secs(1)).await;
    "rested".to_owned()
}

#[task(queue = "attempts")]
async fn panics() {
    panic!("meltdown in sector {}", 7);
}

#[task(queue = "attempts")]
fn panics_on_its_thread() {
    panic!("meltdown below");
}

struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("while it was dropped");
    }
}

#[task(queue = "attempts", timeout = 1)]
async fn panics_when_dropped() {
    let _bomb = PanicsInDrop;
    std::future::pending::<()>().await;
}

struct Unreadable;

impl serde::Serialize for Unreadable {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> serde::Deserialize<'de> for Unreadable {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("while it was read");
    }
}

#[task(queue = "attempts", max_tries = 3, backoff = "fixed(1s)")]
async fn panics_when_bound(_what: Unreadable) {}

#[derive(Debug)]
struct Unspeakable;

impl std::fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("while it was shown");
    }
}

impl std::error::Error for Unspeakable {}

#[task(queue = "attempts", max_tries = 3, backoff = "fixed(1s)")]
async fn panics_when_told() -> Result<(), Unspeakable> {
    Err(Unspeakable)
}

#[task(queue = "attempts")]
async fn too_much() -> String {
    "x".repeat(2 * 1024 * 1024)
}

#[derive(Debug, serde::Deserialize)]
struct Unwritable;

impl serde::Serialize for Unwritable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it can't be written down"))
    }
}

#[task(queue = "attempts")]
async fn unwritable() -> Unwritable {
    Unwritable
}

#[task(queue = "attempts")]
async fn fine(number: u32) -> u32 {
    number + 1
}

fn harness() -> Harness {
    Harness::new().inventory(
        Inventory::empty()
            .task::<plain_error>()
            .task::<third_time>()
            .task::<never>()
            .task::<hopeless>()
            .task::<asks_again>()
            .task::<snoozes>()
            .task::<sleeps_long>()
            .task::<sleeps_short>()
            .task::<panics>()
            .task::<panics_on_its_thread>()
            .task::<panics_when_dropped>()
            .task::<panics_when_bound>()
            .task::<panics_when_told>()
            .task::<too_much>()
            .task::<unwritable>()
            .task::<fine>(),
    )
}

/// Runs a job that fails; its neighbour, enqueued after it, must end well all the same.
async fn failure_of<K: sector7g_tasks::job::JobKind>(job: Job<K>) -> Failure
where
    K::Output: std::fmt::Debug,
{
    let harness = harness();
    let neighbour = harness.client().enqueue(fine::job(6).delay(Duration::from_secs(1))).await.unwrap();
    let error = harness.run(job).await.expect_err("the job should have failed");
    harness.drain().await.unwrap();
    assert_eq!(neighbour.result().await.unwrap(), 7, "the worker lives on");
    error.failure().unwrap_or_else(|| panic!("no failure: {error}")).clone()
}

#[tokio::test(start_paused = true)]
async fn an_error_without_a_policy_is_final() {
    let failure = failure_of(plain_error::job()).await;
    assert_eq!((failure.kind, failure.attempt), (FailureKind::Error, 1));
    assert_eq!(failure.message, "the valve is jammed");
    assert!(failure.error_type.as_deref().unwrap_or("").ends_with("Jammed"), "{:?}", failure.error_type);
}

#[tokio::test(start_paused = true)]
async fn a_policy_spaces_the_attempts() {
    let harness = harness();
    let before = harness.now();
    assert_eq!(harness.run(third_time::job()).await.unwrap(), 3);
    assert_eq!(harness.now().since(before), Duration::from_secs(10 + 20));
}

#[tokio::test(start_paused = true)]
async fn after_the_last_try_it_is_a_dead_letter_with_its_history() {
    let harness = harness();
    let error = harness.run(never::job().id("stuck")).await.unwrap_err();
    assert_eq!(error.failure().unwrap().attempt, 3);
    let dead = harness.dead_letters("attempts").await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].id.as_str(), dead[0].task.as_deref(), dead[0].state), ("stuck", Some("never"), JobState::Dead));
    let attempts: Vec<u32> = dead[0].failures.iter().map(|failure| failure.attempt).collect();
    assert_eq!(attempts, [1, 2, 3]);
    let mut before = None;
    for failure in &dead[0].failures {
        let ran = failure.ran.as_ref().expect("it is told when and where it ran");
        assert!(ran.started_at <= failure.at && before.is_none_or(|at| at < ran.started_at), "{ran:?} in its turn");
        assert_eq!((&*ran.worker, ran.pid, ran.host.is_empty()), ("attempts", std::process::id(), false));
        before = Some(failure.at);
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_may_be_given_other_tries_than_its_task() {
    let harness = harness();
    let error = harness.run(never::job().max_tries(7)).await.unwrap_err();
    assert_eq!(error.failure().unwrap().attempt, 7);
}

#[tokio::test(start_paused = true)]
async fn permanent_is_final_whatever_the_policy() {
    let failure = failure_of(hopeless::job()).await;
    assert_eq!((failure.kind, failure.attempt, &*failure.message), (FailureKind::Permanent, 1, "the core is gone"));
}

#[tokio::test(start_paused = true)]
async fn retry_in_needs_no_policy() {
    let harness = harness();
    let before = harness.now();
    assert_eq!(harness.run(asks_again::job()).await.unwrap(), 3);
    assert_eq!(harness.now().since(before), Duration::from_secs(120));
}

#[tokio::test(start_paused = true)]
async fn a_snooze_is_no_attempt() {
    assert_eq!(harness().run(snoozes::job()).await.unwrap(), 1, "nine snoozes later it still is the first attempt");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_is_an_error() {
    let failure = failure_of(sleeps_long::job()).await;
    assert_eq!((failure.kind, &*failure.message), (FailureKind::Timeout, "ran longer than its timeout of 2s"));
    assert_eq!(harness().run(sleeps_short::job()).await.unwrap(), "rested");
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_one_jobs_failure() {
    let failure = failure_of(panics::job()).await;
    assert_eq!((failure.kind, &*failure.message), (FailureKind::Panic, "panicked: meltdown in sector 7"));
    let failure = failure_of(panics_on_its_thread::job()).await;
    assert_eq!((failure.kind, &*failure.message), (FailureKind::Panic, "panicked: meltdown below"));
    let failure = failure_of(panics_when_dropped::job()).await;
    assert_eq!(failure.kind, FailureKind::Timeout);
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_type_is_one_jobs_failure_at_its_first_attempt() {
    let failure = failure_of(panics_when_bound::job(Unreadable)).await;
    assert_eq!((failure.kind, failure.attempt), (FailureKind::Arguments, 1));
    assert_eq!(failure.message, "task `panics_when_bound`: reading its arguments panicked: while it was read");
    let harness = harness();
    let _ = harness.run(panics_when_told::job()).await;
    let dead = harness.dead_letters("attempts").await.unwrap();
    let failure = dead[0].failures.last().unwrap();
    assert_eq!((failure.kind, failure.attempt, dead[0].failures.len()), (FailureKind::Panic, 1, 1));
    assert_eq!(failure.message, "outside of its run, it panicked: while it was shown");
}

#[tokio::test(start_paused = true)]
async fn an_unusable_result_is_one_jobs_failure() {
    let failure = failure_of(too_much::job()).await;
    assert_eq!(failure.kind, FailureKind::Result);
    assert!(failure.message.contains("max_result_size"), "{}", failure.message);
    let failure = failure_of(unwritable::job()).await;
    assert_eq!(failure.kind, FailureKind::Result);
    assert!(format!("{failure}").contains("it can't be written down"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_shown_retried_and_discarded() {
    let harness = harness();
    let client = harness.client();
    let ids = ["a", "b", "c", "d"];
    client.enqueue_all(ids.map(|id| plain_error::job().id(id))).await.unwrap();
    harness.drain().await.unwrap();
    let dead = client.dead_letters("attempts", None, MAX_BATCH).await.unwrap().jobs;
    assert_eq!(dead.len(), 4);
    assert!(client.retry_dead("attempts", &dead[0].id).await.unwrap());
    assert!(!client.retry_dead("attempts", &dead[0].id).await.unwrap(), "it is no dead letter any more");
    assert!(client.discard_dead("attempts", &dead[1].id).await.unwrap());
    assert_eq!(client.stats("attempts").await.unwrap().dead, 2);
    assert_eq!(client.retry_all_dead("attempts").await.unwrap(), 2);
    assert_eq!(client.stats("attempts").await.unwrap().queued, 3);
    harness.drain().await.unwrap();
    let again = client.dead_letters("attempts", None, MAX_BATCH).await.unwrap().jobs;
    assert_eq!(again.len(), 3, "each failed once more");
    assert!(
        again.iter().all(|job| job.failures.last().is_some_and(|failure| failure.attempt == 1)),
        "attempts start anew"
    );
    assert_eq!(client.discard_all_dead("attempts").await.unwrap(), 3);
    assert_eq!(client.stats("attempts").await.unwrap().dead, 0);
}
