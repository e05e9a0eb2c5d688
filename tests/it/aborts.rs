//! Aborting waiting and running jobs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::prelude::*;
use sector7g_tasks::testing::Harness;

#[task(queue = "aborts", timeout = 86400)]
async fn endless(ctx: &Context) {
    let _ = ctx.progress(&50).await;
    std::future::pending::<()>().await;
}

static BEGAN: AtomicBool = AtomicBool::new(false);
static SEEN: AtomicBool = AtomicBool::new(false);

#[task(queue = "aborts")]
fn on_a_thread(ctx: &Context) {
    BEGAN.store(true, Ordering::SeqCst);
    while !ctx.is_cancelled() {
        std::thread::yield_now();
    }
    SEEN.store(true, Ordering::SeqCst);
}

fn harness() -> Harness {
    Harness::new().inventory(Inventory::empty().task::<endless>().task::<on_a_thread>())
}

#[tokio::test(start_paused = true)]
async fn a_running_job_is_aborted_at_once() {
    let harness = harness();
    let handle = harness.client().enqueue(endless::job()).await.unwrap();
    let fleet = harness.start();
    harness.advance(Duration::from_secs(100)).await;
    assert_eq!(handle.status().await.unwrap(), Some(JobState::InProgress));
    assert_eq!(handle.progress::<u32>().await.unwrap(), Some(50));
    let before = harness.now();
    assert!(handle.abort().await.unwrap());
    assert!(handle.result().await.unwrap_err().is_aborted());
    assert_eq!(harness.now().since(before), Duration::ZERO, "no poll, no heartbeat is waited for");
    assert!(!handle.abort().await.unwrap(), "there is nothing left to abort");
    assert_eq!(fleet.stop().await.unwrap().workers[0].aborted, 1);
    assert!(harness.dead_letters("aborts").await.unwrap().is_empty(), "an abort is no failure to look at");
}

#[tokio::test(start_paused = true)]
async fn a_deferred_job_is_aborted_without_running() {
    let harness = harness();
    let handle = harness.client().enqueue(endless::job().delay(Duration::from_secs(3600))).await.unwrap();
    assert!(handle.abort().await.unwrap());
    let before = harness.now();
    let fleet = harness.start();
    assert!(handle.result().await.unwrap_err().is_aborted());
    assert_eq!(harness.now().since(before), Duration::ZERO);
    fleet.stop().await.unwrap();
}

#[tokio::test]
async fn a_thread_sees_its_abort() {
    let harness =
        Harness::on(std::sync::Arc::new(MemoryBroker::new())).inventory(Inventory::empty().task::<on_a_thread>());
    let handle = harness.client().enqueue(on_a_thread::job()).await.unwrap();
    let fleet = harness.start();
    while !BEGAN.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
    assert!(handle.abort().await.unwrap());
    assert!(handle.result().await.unwrap_err().is_aborted());
    while !SEEN.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
    fleet.stop().await.unwrap();
}
