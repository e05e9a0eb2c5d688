//! Aborting waiting and running jobs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sector7g_tasks::clock::{Clock, Timestamp};

use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::prelude::*;
use sector7g_tasks::testing::Harness;
use sector7g_tasks::testing::chaos::{Call, ChaosBroker, Fault};

#[task(queue = "aborts", timeout = 86400)]
async fn endless(ctx: &Context) {
    let _ = ctx.progress(&50).await;
    std::future::pending::<()>().await;
}

#[task(queue = "aborts")]
async fn a_second() {
    tokio::time::sleep(Duration::from_secs(1)).await;
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
    let harness = Harness::on(Arc::new(MemoryBroker::new())).inventory(Inventory::empty().task::<on_a_thread>());
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

/// Every worker hears of every request. One for a job that another worker holds says nothing about
/// a later job of that id, whoever gets it.
#[tokio::test(start_paused = true)]
async fn a_fresh_job_is_not_aborted_for_an_older_one_of_its_id() {
    let harness = harness();
    let client = harness.client();
    client.enqueue_all((0..6).map(|_| endless::job())).await.unwrap();
    let fleets: Vec<_> = (0..3).map(|_| harness.start()).collect();
    harness.advance(Duration::from_secs(1)).await;
    for round in 0..20 {
        let handle = client.enqueue(endless::job().id("report-742").replace_finished()).await.unwrap();
        harness.advance(Duration::from_secs(1)).await;
        assert_eq!(handle.status().await.unwrap(), Some(JobState::InProgress), "in round {round}");
        let before = harness.now();
        assert!(handle.abort().await.unwrap());
        assert!(handle.result().await.unwrap_err().is_aborted());
        assert_eq!(harness.now().since(before), Duration::ZERO, "asked again at once, by whoever holds it");
    }
    for fleet in fleets {
        fleet.crash().await;
    }
}

/// A broker whose calls can be late, and a worker that runs a job and so hears of abort requests.
async fn late_broker() -> (Arc<ChaosBroker>, Harness, sector7g_tasks::testing::Fleet) {
    let clock = Clock::starting_from(Timestamp::from_millis(1_893_456_000_000));
    let broker = Arc::new(ChaosBroker::new(Arc::new(MemoryBroker::with_clock(clock))));
    let harness = Harness::on(broker.clone()).inventory(Inventory::empty().task::<endless>().task::<a_second>());
    harness.client().enqueue(endless::job().id("busy")).await.unwrap();
    let fleet = harness.start();
    harness.advance(Duration::from_millis(100)).await;
    (broker, harness, fleet)
}

#[tokio::test(start_paused = true)]
async fn a_request_that_comes_while_the_claim_is_under_way_is_heard() {
    let (broker, harness, fleet) = late_broker().await;
    broker.fail_next(Call::Claim, 1, Fault::Late(Duration::from_secs(2)));
    let before = harness.now();
    let handle = harness.client().enqueue(endless::job()).await.unwrap();
    harness.advance(Duration::from_secs(1)).await;
    assert_eq!(broker.faults(Call::Claim), 1, "it is leased, and its worker does not know yet");
    assert!(handle.abort().await.unwrap());
    assert!(handle.result().await.unwrap_err().is_aborted());
    assert_eq!(harness.now().since(before), Duration::from_secs(2), "aborted as soon as it began");
    fleet.crash().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_late_says_nothing_about_a_job_claimed_since() {
    let (broker, harness, fleet) = late_broker().await;
    let client = harness.client();
    broker.fail_next(Call::Aborts, 1, Fault::Late(Duration::from_secs(3)));
    client.enqueue(endless::job().id("busy-as-well")).await.unwrap();
    let busy = client.job::<endless>("aborts", "busy").unwrap();
    assert!(busy.abort().await.unwrap()); // ends the call under way: the next will be late
    assert!(busy.result().await.unwrap_err().is_aborted());
    let earlier = client.enqueue(a_second::job().id("report-742")).await.unwrap();
    harness.advance(Duration::from_millis(500)).await;
    assert_eq!(broker.faults(Call::Aborts), 1);
    assert!(earlier.abort().await.unwrap());
    earlier.result().await.unwrap(); // it has ended before its worker heard of the request
    let later = client.enqueue(endless::job().id("report-742").replace_finished()).await.unwrap();
    harness.advance(Duration::from_secs(10)).await;
    assert_eq!(later.status().await.unwrap(), Some(JobState::InProgress));
    fleet.crash().await;
}
