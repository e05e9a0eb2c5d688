//! Graceful stops: no new claims, grace for what runs, the rest given back uncounted.

use std::sync::Arc;
use std::time::Duration;

use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::prelude::*;
use sector7g_tasks::testing::Harness;
use tokio_util::sync::CancellationToken;

#[task(queue = "stopping")]
async fn minutes(ctx: &Context, count: u64) -> u32 {
    tokio::time::sleep(Duration::from_secs(60 * count)).await;
    ctx.attempt()
}

#[task(queue = "stopping")]
async fn tidies_up(ctx: &Context) -> String {
    tokio::select! {
        () = ctx.stopping() => "stopped early".to_owned(), // cancel safe: only waits
        () = std::future::pending() => "never".to_owned(),
    }
}

#[task(queue = "stopping")]
async fn seconds(count: u64) {
    tokio::time::sleep(Duration::from_secs(count)).await;
}

fn harness() -> Harness {
    Harness::new().inventory(Inventory::empty().task::<minutes>().task::<tidies_up>().task::<seconds>())
}

#[tokio::test(start_paused = true)]
async fn what_ends_within_the_grace_is_finished() {
    let harness = harness();
    let client = harness.client();
    let short = client.enqueue(seconds::job(8)).await.unwrap();
    let tidy = client.enqueue(tidies_up::job()).await.unwrap();
    let fleet = harness.start();
    harness.advance(Duration::from_secs(5)).await;
    let late = client.enqueue(seconds::job(1).delay(Duration::from_secs(1))).await.unwrap();
    let report = fleet.stop().await.unwrap();
    assert_eq!((report.done(), report.workers[0].given_back), (2, 0));
    assert_eq!(tidy.result_within(Duration::ZERO).await.unwrap(), "stopped early");
    short.result_within(Duration::ZERO).await.unwrap();
    harness.advance(Duration::from_secs(5)).await;
    assert_eq!(late.status().await.unwrap(), Some(JobState::Queued), "nothing new is claimed after a stop");
}

#[tokio::test(start_paused = true)]
async fn what_is_left_goes_back_due_at_once_and_uncounted() {
    let harness = harness();
    let handle = harness.client().enqueue(minutes::job(4)).await.unwrap();
    for _ in 0..20 {
        let fleet = harness.start();
        harness.advance(Duration::from_secs(60)).await;
        let before = harness.now();
        let report = fleet.stop().await.unwrap();
        assert_eq!(report.workers[0].given_back, 1);
        assert_eq!(harness.now().since(before), Duration::from_secs(5), "job_completion_wait, to the end");
        let info = handle.info().await.unwrap().unwrap();
        assert_eq!((info.state, info.attempt), (JobState::Queued, 0), "due at once: no lease is waited for");
    }
    let fleet = harness.start();
    assert_eq!(handle.result().await.unwrap(), 1, "twenty deploys later it still is the first attempt");
    fleet.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_burst_ends_when_all_is_done_deferred_jobs_too() {
    let harness = harness();
    harness.client().enqueue(seconds::job(1).delay(Duration::from_secs(3600))).await.unwrap();
    let before = harness.now();
    assert_eq!(harness.drain().await.unwrap().done(), 1);
    assert_eq!(harness.now().since(before), Duration::from_secs(3601));
}

/// Start and stop under load, at every moment: none hangs, none loses or doubles a job.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_rounds_of_start_and_stop_lose_nothing() {
    let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new());
    let client = Client::new(broker.clone());
    let mut handles = Vec::new();
    for round in 0..50_u64 {
        handles.extend(client.enqueue_all((0..10).map(|_| seconds::job(0))).await.unwrap());
        let stop = CancellationToken::new();
        let runner = Runner::new().broker(broker.clone()).inventory(Inventory::empty().task::<seconds>());
        let run = runner.handle_signals(false).stop_on(stop.clone()).run();
        let stopping = async {
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            stop.cancel();
        };
        let (report, ()) = tokio::join!(run, stopping);
        assert_eq!(report.unwrap().workers[0].lease_lost, 0);
    }
    let last = Runner::new().broker(broker).inventory(Inventory::empty().task::<seconds>()).handle_signals(false);
    last.burst(true).run().await.unwrap();
    for handle in handles {
        handle.result_within(Duration::ZERO).await.unwrap();
        assert_eq!(handle.info().await.unwrap().unwrap().attempt, 1);
    }
}
