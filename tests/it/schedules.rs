//! Schedules: each tick once, whoever runs; daylight saving; schedules of workers for other queues.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sector7g_tasks::clock::{Clock, Timestamp};
use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::prelude::*;
use sector7g_tasks::testing::Harness;
use sector7g_tasks::testing::chaos::{Call, ChaosBroker, Odds};
use support::Lines;

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

/// The ticks that ran, in seconds since the harness began.
#[derive(Clone, Debug, Default)]
struct Ticks(Arc<Mutex<Vec<i64>>>);

#[task(queue = "ten_seconds", cron = "*/10 * * * * *")]
async fn every_ten_seconds(ctx: &Context, State(ticks): State<Ticks>) {
    let tick = ctx.tick().unwrap();
    ticks.0.lock().unwrap().push((tick.as_millis() - 1_893_456_000_000) / 1000);
}

impl Ticks {
    /// Sorted: two of one tick show.
    fn all(&self) -> Vec<i64> {
        let mut ticks = self.0.lock().unwrap().clone();
        ticks.sort_unstable();
        ticks
    }
}

/// A harness on a broker that outlives its workers, as one of another process does.
fn outlived() -> (Arc<ChaosBroker>, Harness, Ticks) {
    let ticks = Ticks::default();
    let clock = Clock::starting_from(Timestamp::from_millis(1_893_456_000_000));
    let broker = Arc::new(ChaosBroker::new(Arc::new(MemoryBroker::with_clock(clock))).as_shared());
    let state = ticks.clone();
    let harness = Harness::on(broker.clone()).inventory(Inventory::empty().task::<every_ten_seconds>());
    (broker, harness.setup(move |runner| runner.state(state.clone())), ticks)
}

fn tens(from: i64, to: i64) -> impl Iterator<Item = i64> {
    (from / 10..=to / 10).map(|tens| tens * 10)
}

/// Within the misfire window, 60 s, none is skipped; of a longer gap the last 60 s are made up for. None runs
/// twice: neither when its job has ended just before the restart, nor when several workers look back.
#[tokio::test(start_paused = true)]
async fn a_restart_within_the_misfire_window_skips_no_tick() {
    for crashes in [false, true] {
        let (_, harness, ticks) = outlived();
        let run_for = async |seconds| {
            let fleets = [harness.start(), harness.start(), harness.start()];
            harness.advance(Duration::from_secs(seconds)).await;
            for fleet in fleets {
                if crashes { fleet.crash().await } else { drop(fleet.stop().await.unwrap()) }
            }
        };
        run_for(25).await; // to 25 s
        assert_eq!(ticks.all(), tens(-50, 20).collect::<Vec<_>>(), "those of the minute before as well");
        run_for(10).await; // to 35 s: no gap
        harness.advance(Duration::from_secs(50)).await;
        run_for(10).await; // from 85 to 95 s
        assert_eq!(ticks.all(), tens(-50, 90).collect::<Vec<_>>(), "none skipped, none twice (crashes: {crashes})");
        harness.advance(Duration::from_secs(300)).await;
        run_for(10).await; // from 395 to 405 s
        assert_eq!(ticks.all(), tens(-50, 90).chain(tens(340, 400)).collect::<Vec<_>>(), "(crashes: {crashes})");
    }
}

#[tokio::test(start_paused = true)]
async fn ticks_of_an_outage_are_made_up_for_within_the_misfire_window() {
    let (broker, harness, ticks) = outlived();
    let fleet = harness.start();
    harness.advance(Duration::from_secs(25)).await;
    broker.set_odds(&[Call::Enqueue], Odds { before: 1.0, ..Odds::default() });
    harness.advance(Duration::from_secs(300)).await;
    broker.calm();
    harness.advance(Duration::from_secs(20)).await;
    fleet.stop().await.unwrap();
    assert_eq!(ticks.all(), tens(-50, 20).chain(tens(270, 340)).collect::<Vec<_>>());
}

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
    harness.advance(Duration::from_secs(7 * 86_400)).await;
    assert_eq!(fleet.stop().await.unwrap().done(), 7);
    let calls = [Call::Extend, Call::Claim, Call::Wait, Call::Aborts, Call::SetHealth].map(|call| broker.calls(call));
    assert!(calls.iter().sum::<u64>() < 10_000, "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_runner_names_the_schedules_of_its_own_workers_only() {
    let inventory = Inventory::empty().task::<sweep>().task::<idle>().task::<nightly>().worker::<Caretaker>();
    for (only, expected) in [(Some("caretaker"), "1 schedules: sweep"), (None, "2 schedules: nightly, sweep")] {
        let (lines, _guard) = Lines::capture();
        let harness = Harness::new().inventory(inventory.clone()).setup(move |runner| runner.only(only));
        let fleet = harness.start();
        harness.advance(Duration::from_secs(1)).await;
        fleet.stop().await.unwrap();
        assert_eq!(lines.with("schedules"), [format!("INFO {expected}")]);
    }
}
