//! Workers that die, leases that are lost, jobs that kill, tasks that nobody knows.

use std::time::Duration;

use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::prelude::*;
use sector7g_tasks::testing::Harness;

#[task(queue = "crashes")]
async fn slow(ctx: &Context) -> u32 {
    tokio::time::sleep(Duration::from_secs(120)).await;
    ctx.attempt()
}

#[task(queue = "crashes")]
async fn quick() -> u32 {
    1
}

fn harness() -> Harness {
    Harness::new().inventory(Inventory::empty().task::<slow>().task::<quick>())
}

#[tokio::test(start_paused = true)]
async fn heartbeats_keep_a_job_that_outlives_its_lease_many_times() {
    let harness = harness();
    let handle = harness.client().enqueue(slow::job()).await.unwrap();
    let (first, second) = (harness.start(), harness.start());
    assert_eq!(handle.result().await.unwrap(), 1, "twelve leases long, it ran once");
    for fleet in [first, second] {
        let report = fleet.stop().await.unwrap();
        assert_eq!(report.workers[0].lease_lost, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_killed_workers_job_starts_again_when_its_lease_ends() {
    let harness = harness();
    let handle = harness.client().enqueue(slow::job()).await.unwrap();
    let doomed = harness.start();
    harness.advance(Duration::from_secs(60)).await;
    doomed.crash().await;
    let died = harness.now();
    let next = harness.start();
    assert_eq!(handle.result().await.unwrap(), 2, "the attempt that died is counted");
    let took = harness.now().since(died);
    assert!(took <= Duration::from_secs(10 + 120), "it started again within one lease, but ended after {took:?}");
    next.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_job_that_kills_its_worker_ends_as_a_dead_letter() {
    let harness = harness();
    let killer = harness.client().enqueue(slow::job().max_tries(3).id("killer")).await.unwrap();
    for _ in 0..3 {
        let fleet = harness.start();
        harness.advance(Duration::from_secs(30)).await; // it is running, since its last lease has ended
        fleet.crash().await;
    }
    let neighbour = harness.client().enqueue(quick::job()).await.unwrap();
    let fleet = harness.start();
    assert_eq!(neighbour.result().await.unwrap(), 1);
    let error = killer.result().await.unwrap_err();
    assert_eq!(error.failure().unwrap().kind, FailureKind::MaxTries, "{error}");
    let dead = harness.dead_letters("crashes").await.unwrap();
    let kinds: Vec<FailureKind> = dead[0].failures.iter().map(|failure| failure.kind).collect();
    assert_eq!(kinds, [FailureKind::LeaseLost, FailureKind::LeaseLost, FailureKind::LeaseLost, FailureKind::MaxTries]);
    fleet.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_unknown_task_is_left_for_others_then_dead() {
    let harness = harness();
    let client = harness.client();
    let unknown = client.enqueue(Job::untyped("from_a_newer_deploy", "crashes")).await.unwrap();
    let before = harness.now();
    let fleet = harness.start();
    harness.advance(Duration::from_secs(50)).await;
    let info = unknown.info().await.unwrap().unwrap();
    assert!(matches!(info.state, JobState::Deferred | JobState::Queued), "{info}");
    assert_eq!(info.attempt, 0, "looking at it is no attempt");
    let error = unknown.result().await.unwrap_err();
    let failure = error.failure().unwrap();
    assert_eq!(failure.kind, FailureKind::UnknownTask);
    assert_eq!(failure.message, "function 'from_a_newer_deploy' not found");
    assert!(failure.causes[0].contains("use that_crate as _;"), "{failure}");
    assert_eq!(harness.now().since(before), Duration::from_secs(60), "after its grace");
    assert_eq!(harness.dead_letters("crashes").await.unwrap().len(), 1);
    fleet.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_unknown_task_runs_where_it_is_known() {
    let harness = harness();
    let handle = harness.client().enqueue(quick::job()).await.unwrap();
    let stranger = Harness::on(harness.broker().clone()).inventory(Inventory::empty().task::<slow>());
    let stranger = stranger.start();
    harness.advance(Duration::from_secs(20)).await;
    assert_eq!(handle.info().await.unwrap().unwrap().attempt, 0);
    let knowing = harness.start();
    assert_eq!(handle.result().await.unwrap(), 1);
    stranger.stop().await.unwrap();
    knowing.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_expired_job_is_seen_as_such() {
    let harness = harness();
    let job = quick::job().delay(Duration::from_secs(20)).expires(Duration::from_secs(10));
    let error = harness.run(job).await.unwrap_err();
    assert_eq!(error.failure().unwrap().kind, FailureKind::Expired);
}
