//! Schedules: each tick once, whoever runs; daylight saving; schedules of workers for other queues.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sector7g_tasks::clock::{Clock, Timestamp};
use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::prelude::*;
use sector7g_tasks::testing::Harness;
use sector7g_tasks::testing::chaos::{Call, ChaosBroker};

static MINUTES: Mutex<Vec<Timestamp>> = Mutex::new(Vec::new());

#[task(queue = "every_minute", cron = "* * * * *")]
async fn every_minute(ctx: &Context) {
    MINUTES.lock().unwrap().extend(ctx.tick());
}

#[tokio::test(start_paused = true)]
async fn a_tick_runs_once_however_many_workers_come_and_go() {
    let harness = Harness::new().inventory(Inventory::empty().task::<every_minute>());
    let began = harness.now();
    let mut fleets: Vec<_> = (0..3).map(|_| harness.start()).collect();
    for _ in 0..100 {
        harness.advance(Duration::from_millis(37_100)).await; // never at a tick: one that is cut short runs again
        fleets.remove(0).crash().await;
        fleets.push(harness.start());
    }
    harness.advance(Duration::from_secs(60)).await;
    let ran = MINUTES.lock().unwrap().clone();
    let ticks: BTreeSet<Timestamp> = ran.iter().copied().collect();
    assert_eq!(ticks.len(), ran.len(), "no tick ran twice");
    let expected = harness.now().since(began).as_secs() / 60;
    assert_eq!(ticks.len() as u64, expected, "none was skipped");
}

static NIGHTS: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[task(queue = "nightly", cron = "30 2 * * *", timezone = "Europe/Berlin")]
async fn nightly(ctx: &Context) {
    NIGHTS.lock().unwrap().push(ctx.worker().now().to_string());
}

/// A week around each change of 2030: 31 March (02:30 is skipped) and 27 October (02:30 comes twice).
#[tokio::test(start_paused = true)]
async fn a_nightly_job_runs_once_a_night_through_both_changes() {
    for (start, expected) in [
        (1_901_145_600_000, ["2030-03-31T01:00:00.000Z", "2030-04-01T00:30:00.000Z"]), // 2030-03-30T12:00Z
        (1_919_246_400_000, ["2030-10-27T00:30:00.000Z", "2030-10-28T01:30:00.000Z"]), // 2030-10-26T12:00Z
    ] {
        NIGHTS.lock().unwrap().clear();
        let harness =
            Harness::starting_at(Timestamp::from_millis(start)).inventory(Inventory::empty().task::<nightly>());
        let fleet = harness.start();
        harness.advance(Duration::from_secs(2 * 86_400)).await;
        fleet.stop().await.unwrap();
        assert_eq!(*NIGHTS.lock().unwrap(), expected);
    }
}

#[task(queue = "uneventful", cron = "30 2 * * *")]
async fn uneventful() {}

static SWEPT: Mutex<u32> = Mutex::new(0);

#[task(queue = "broom")]
async fn sweep(#[arg(default = 3)] rooms: u32) {
    *SWEPT.lock().unwrap() += rooms;
}

#[derive(Worker)]
#[worker(queue = "caretaker", cron(sweep, "@every 10m"))]
struct Caretaker;

#[task(queue = "caretaker")]
async fn idle() {}

#[tokio::test(start_paused = true)]
async fn a_worker_may_schedule_other_queues_tasks() {
    let inventory = Inventory::empty().task::<sweep>().task::<idle>().worker::<Caretaker>();
    let harness = Harness::new().inventory(inventory);
    let fleet = harness.start();
    harness.advance(Duration::from_secs(3600 + 5)).await;
    fleet.stop().await.unwrap();
    assert_eq!(*SWEPT.lock().unwrap(), 6 * 3);
}

/// Nothing happens but a nightly job: no heartbeat without jobs, and few looks around.
#[tokio::test(start_paused = true)]
async fn an_idle_week_costs_next_to_nothing() {
    let clock = Clock::starting_from(Timestamp::from_millis(1_893_456_000_000));
    let broker = Arc::new(ChaosBroker::new(Arc::new(MemoryBroker::with_clock(clock))));
    let harness = Harness::on(broker.clone()).inventory(Inventory::empty().task::<uneventful>());
    let fleet = harness.start();
    let began = Instant::now();
    harness.advance(Duration::from_secs(7 * 86_400)).await;
    let took = began.elapsed();
    assert_eq!(fleet.stop().await.unwrap().done(), 7);
    let calls = [Call::Extend, Call::Claim, Call::Wait, Call::Aborts, Call::SetHealth].map(|call| broker.calls(call));
    assert!(calls.iter().sum::<u64>() < 10_000, "{calls:?}");
    assert!(took < Duration::from_secs(2), "a fifth of a second is usual, this took {took:?}");
}
