//! Alerts: each crossing of a threshold is told once, to the log and to a hook, whatever happens meanwhile.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sector7g_tasks::broker::{QueueName, RedisBroker};
use sector7g_tasks::clock::{Clock, Timestamp};
use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::prelude::*;
use sector7g_tasks::testing::Harness;
use sector7g_tasks::testing::chaos::{Call, ChaosBroker, Odds};
use sector7g_tasks::worker::{Alerts, QueueShare, WorkerSettings};
use support::{Lines, Proxy, PythonClient, RedisServer, Way};
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);

/// What the hooks were told, `worker: alert`.
#[derive(Clone, Debug, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// Takes so many seconds, and fails if it should.
#[task(queue = "sirens")]
async fn work(seconds: u32, fails: bool) -> Result<(), String> {
    sleep(seconds * SECOND).await;
    if fails { Err("broken".to_owned()) } else { Ok(()) }
}

async fn note(ctx: &WorkerContext, alert: &Alert) -> Result<(), String> {
    let told = ctx.state::<Told>().ok_or("nobody to tell")?;
    told.0.lock().unwrap().push(format!("{:?} {:?}: {}", alert.event, alert.level, alert.measure));
    Ok(())
}

#[derive(Worker)]
#[worker(queue = "sirens", max_jobs = 1, alerts(depth = 10, oldest_due = "50s"), on_alert = note)]
struct Busy;

#[derive(Worker)]
#[worker(queue = "sirens", max_jobs = 100, alerts(failure_rate = 0.25, window = "1m"), on_alert = note)]
struct Failing;

fn harness(told: &Told, inventory: Inventory) -> Harness {
    on(Harness::new(), told, inventory)
}

fn on(harness: Harness, told: &Told, inventory: Inventory) -> Harness {
    let told = told.clone();
    harness.inventory(inventory.task::<work>()).setup(move |runner| runner.state(told.clone()))
}

/// A broker that outlives its workers, as one of another process does.
fn outlived() -> Arc<ChaosBroker> {
    let clock = Clock::starting_from(Timestamp::from_millis(1_893_456_000_000));
    Arc::new(ChaosBroker::new(Arc::new(MemoryBroker::with_clock(clock))).as_shared())
}

async fn enqueue(harness: &Harness, jobs: usize, seconds: u32, fails: bool) {
    harness.client().enqueue_all((0..jobs).map(|_| work::job(seconds, fails))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn depth_and_age_are_told_once_and_recover() {
    let (lines, _guard) = Lines::capture();
    let told = Told::default();
    let harness = harness(&told, Inventory::empty().worker::<Busy>());
    let fleet = harness.start();
    enqueue(&harness, 12, 10, false).await; // 2 min of work
    harness.advance(30 * SECOND).await;
    enqueue(&harness, 12, 10, false).await; // and 2 more
    harness.advance(300 * SECOND).await;
    let expected = [
        "Raised Warn: 12 jobs have yet to end (threshold: 10)",
        "Escalated Error: 22 jobs have yet to end (threshold: 10)",
        "Raised Warn: the oldest due job has waited for 50s (threshold: 50s)",
        "Escalated Error: the oldest due job has waited for 100s (threshold: 50s)",
        "Recovered Error: 7 jobs have yet to end (threshold: 10)",
        "Recovered Error: the oldest due job has waited for 0ns (threshold: 50s)",
    ];
    assert_eq!(told.all(), expected);
    for (level, start, count) in [
        ("WARN", "alert: queue `sirens`: ", 2),
        ("ERROR", "alert, worse than before: queue `sirens`: ", 2),
        ("INFO", "recovered after ", 2),
    ] {
        assert_eq!(lines.with(&format!("{level} {start}")).len(), count, "{:?}", lines.all());
    }
    enqueue(&harness, 10, 0, false).await;
    assert_eq!(fleet.stop().await.unwrap().workers[0].failed, 0);
}

#[tokio::test(start_paused = true)]
async fn attempts_that_fail_are_told_by_their_part_of_late() {
    let told = Told::default();
    let harness = harness(&told, Inventory::empty().worker::<Failing>());
    let _fleet = harness.start();
    enqueue(&harness, 9, 0, true).await;
    harness.advance(10 * SECOND).await;
    assert_eq!(told.take(), [""; 0], "nine say nothing");
    enqueue(&harness, 27, 0, false).await;
    harness.advance(10 * SECOND).await;
    assert_eq!(told.take(), ["Raised Warn: 9 of 36 attempts failed within 60s (threshold: 25.0 %)"]);
    enqueue(&harness, 20, 0, true).await;
    harness.advance(10 * SECOND).await;
    assert_eq!(told.take(), ["Escalated Error: 29 of 56 attempts failed within 60s (threshold: 25.0 %)"]);
    enqueue(&harness, 5, 0, false).await;
    harness.advance(30 * SECOND).await;
    assert_eq!(told.take(), [""; 0], "it is no better yet");
    harness.advance(60 * SECOND).await;
    assert_eq!(told.take(), ["Recovered Error: 0 of 5 attempts failed within 60s (threshold: 25.0 %)"]);
}

async fn break_down(ctx: &WorkerContext, alert: &Alert) {
    note(ctx, alert).await.unwrap();
    if alert.level == AlertLevel::Error {
        std::future::pending::<()>().await;
    }
    panic!("in the siren")
}

#[derive(Worker)]
#[worker(queue = "sirens", max_jobs = 1, alerts(depth = 10), on_alert = break_down)]
struct Broken;

#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_or_hangs_hurts_nobody() {
    let (lines, _guard) = Lines::capture();
    let told = Told::default();
    let harness = harness(&told, Inventory::empty().worker::<Broken>());
    let fleet = harness.start();
    enqueue(&harness, 15, 10, false).await;
    harness.advance(20 * SECOND).await;
    assert_eq!(lines.with("ERROR hook on_alert panicked: in the siren").len(), 1, "{:?}", lines.all());
    enqueue(&harness, 15, 10, false).await;
    harness.advance(400 * SECOND).await;
    // It hung at the second, and again at the recovery of an error.
    assert_eq!(lines.with("ERROR hook on_alert was dropped: it ran longer than 30s").len(), 2, "{:?}", lines.all());
    let events: Vec<String> = told.all().iter().map(|told| told.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(events, ["Raised", "Escalated", "Recovered"]);
    assert_eq!(fleet.stop().await.unwrap().done(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_hook_that_hangs() {
    let told = Told::default();
    let harness = harness(&told, Inventory::empty().worker::<Broken>());
    enqueue(&harness, 20, 0, false).await;
    let began = harness.now();
    let fleet = harness.start();
    while told.all().is_empty() {
        harness.advance(Duration::from_millis(1)).await;
    }
    fleet.stop().await.unwrap();
    assert!(harness.now().since(began) < SECOND, "the hook would have taken 30 s");
}

/// Of one crossing nobody wants as many messages as there are processes.
#[tokio::test(start_paused = true)]
async fn one_of_several_workers_tells_what_is_the_queues() {
    let told = Told::default();
    let harness = on(Harness::on(outlived()), &told, Inventory::empty().worker::<Busy>());
    let mut fleets = Vec::new();
    for _ in 0..3 {
        fleets.push(harness.start());
        harness.advance(SECOND).await;
    }
    enqueue(&harness, 100, 60, false).await;
    harness.advance(180 * SECOND).await; // what it told just before it dies, the next might tell again
    let expected = [
        "Raised Error: 100 jobs have yet to end (threshold: 10)",
        "Raised Warn: the oldest due job has waited for 52s (threshold: 50s)",
        "Escalated Error: the oldest due job has waited for 102s (threshold: 50s)",
    ];
    assert_eq!(told.take(), expected);
    fleets.remove(0).crash().await;
    harness.advance(1_800 * SECOND).await; // meanwhile its health entry runs out, which takes long on a virtual clock
    assert_eq!(told.take(), [""; 0], "the others know that it was told");
    harness.advance(3_600 * SECOND).await;
    let expected = [
        "Recovered Error: 6 jobs have yet to end (threshold: 10)",
        "Recovered Error: the oldest due job has waited for 0ns (threshold: 50s)",
    ];
    assert_eq!(told.take(), expected, "the next one tells it");
}

#[derive(Worker)]
#[worker(queue = "sirens", max_jobs = 1, alerts(depth = 20, oldest_due = "50s"), on_alert = note)]
struct Lax;

/// As while a release that changes thresholds rolls out: an older worker would never tell what it does not look at.
#[tokio::test(start_paused = true)]
async fn older_workers_with_other_thresholds_mute_nobody() {
    let (told, broker) = (Told::default(), outlived());
    let rates = on(Harness::on(broker.clone()), &told, Inventory::empty().worker::<Unlucky>());
    let lax = on(Harness::on(broker.clone()), &told, Inventory::empty().worker::<Lax>());
    let harness = on(Harness::on(broker), &told, Inventory::empty().worker::<Busy>());
    let mut fleets = Vec::new();
    for harness in [&rates, &lax, &harness, &harness] {
        fleets.push(harness.start());
        harness.advance(SECOND).await;
    }
    enqueue(&harness, 15, 200, false).await;
    harness.advance(80 * SECOND).await;
    let expected = [
        "Raised Warn: 15 jobs have yet to end (threshold: 10)",
        "Raised Warn: the oldest due job has waited for 52s (threshold: 50s)",
    ];
    assert_eq!(told.take(), expected, "each once, whoever has other thresholds");
}

#[derive(Worker)]
#[worker(queue = "sirens", max_jobs = 1, alerts(failure_rate = 0.25, window = "1m"), on_alert = note)]
struct Unlucky;

#[tokio::test(start_paused = true)]
async fn each_of_several_workers_tells_its_own_failures() {
    let told = Told::default();
    let harness = on(Harness::on(outlived()), &told, Inventory::empty().worker::<Unlucky>());
    let _fleets = [harness.start(), harness.start()];
    enqueue(&harness, 40, 1, true).await; // each has its share
    harness.advance(30 * SECOND).await;
    assert_eq!(told.all().len(), 2, "{:?}", told.all());
    assert!(told.all().iter().all(|told| told.starts_with("Raised Error: ")), "{:?}", told.all());
}

#[tokio::test(start_paused = true)]
async fn what_is_crossed_while_the_teller_is_dead_is_told_by_the_next() {
    let told = Told::default();
    let harness = on(Harness::on(outlived()), &told, Inventory::empty().worker::<Busy>());
    let first = harness.start();
    harness.advance(SECOND).await;
    let _second = harness.start();
    harness.advance(10 * SECOND).await;
    first.crash().await;
    enqueue(&harness, 20, 200, false).await;
    harness.advance(30 * SECOND).await;
    assert_eq!(told.take(), [""; 0], "it counts as living, for long on a virtual clock");
    harness.advance(1_300 * SECOND).await;
    let expected = [
        "Raised Error: 20 jobs have yet to end (threshold: 10)",
        "Escalated Error: the oldest due job has waited for 100s (threshold: 50s)",
    ];
    assert_eq!(told.take(), expected);
}

#[tokio::test(start_paused = true)]
async fn while_the_broker_is_away_nothing_is_raised_or_recovers() {
    let (lines, _guard) = Lines::capture();
    let (broker, told) = (outlived(), Told::default());
    let harness = on(Harness::on(broker.clone()), &told, Inventory::empty().worker::<Failing>());
    let _fleet = harness.start();
    enqueue(&harness, 10, 0, true).await;
    harness.advance(10 * SECOND).await;
    assert_eq!(told.take(), ["Raised Error: 10 of 10 attempts failed within 60s (threshold: 25.0 %)"]);
    broker.set_odds(&[Call::Stats], Odds { before: 1.0, ..Odds::default() });
    harness.advance(600 * SECOND).await;
    assert_eq!(told.take(), [""; 0], "that nothing fails now says nothing");
    broker.calm();
    harness.advance(20 * SECOND).await;
    assert_eq!(told.take(), [""; 0], "its window stood still");
    harness.advance(60 * SECOND).await;
    assert_eq!(told.take().len(), 1, "it recovers");
    let away = "WARN its queues can't be looked at, so no alert is raised and none recovers: ";
    assert_eq!(lines.with(away).len(), 1, "{:?}", lines.all());
    assert_eq!(lines.with("INFO its queues can be looked at again, for alerts").len(), 1);
}

/// Depth and age of a queue that Python fills, over a way that breaks.
#[tokio::test]
async fn on_redis_python_jobs_count_and_an_outage_is_no_alert() {
    #[derive(Worker)]
    #[worker(queue = "sirens", alerts(depth = 3, oldest_due = "1s", failure_rate = 1, window = 1), on_alert = note)]
    struct Shared;

    async fn until(what: &str, is_so: impl Fn() -> bool) {
        let waited = tokio::time::timeout(60 * SECOND, async {
            while !is_so() {
                sleep(SECOND / 20).await;
            }
        })
        .await;
        waited.unwrap_or_else(|_| panic!("not in time: {what}"));
    }

    let (lines, _guard) = Lines::capture();
    let (server, told) = (RedisServer::start(), Told::default());
    let way = Proxy::to(server.port()).await;
    let broker: Arc<dyn Broker> = Arc::new(RedisBroker::connect(way.url()).await.unwrap());
    let queue = QueueName::new("sirens").unwrap();
    broker.set_paused(&queue, true).await.unwrap(); // so that jobs wait
    let harness = on(Harness::on(broker.clone()), &told, Inventory::empty().worker::<Shared>());
    let fleet = harness.start();
    let python = PythonClient::start(&server.url(), &["--queue", "arq:queue:sirens"]);
    for _ in 0..5 {
        python.call(&["enqueue", "work", "--args", "[0, false]"]).await;
    }
    let raised = || told.all().iter().filter(|told| told.starts_with("Raised")).count();
    until("depth and age are raised", || raised() == 2).await;

    way.set(Way::Refuse);
    until("the outage is told", || !lines.with("WARN its queues can't be looked at").is_empty()).await;
    server.cli(&["FLUSHALL"]); // all is well, if it only could be seen
    sleep(SECOND).await;
    assert!(told.all().iter().all(|told| !told.starts_with("Recovered")), "{:?}", told.all());
    way.set(Way::Pass);
    until("both recover", || told.all().iter().filter(|told| told.starts_with("Recovered")).count() == 2).await;
    assert_eq!(raised(), 2, "{:?}", told.all());
    assert_eq!(lines.with("WARN its queues can't be looked at").len(), 1);
    fleet.stop().await.unwrap();
}

#[test]
fn thresholds_that_make_no_sense_stop_the_start() {
    static QUEUES: [QueueShare; 1] = [QueueShare::new("sirens", 1)];
    static SETTINGS: WorkerSettings = WorkerSettings::new("mad", &QUEUES)
        .alerts(Alerts::new().depth(0).failure_rate(f64::NAN).window(Duration::ZERO));
    static UNHEARD: WorkerSettings =
        WorkerSettings::new("unheard", &QUEUES).on_alert(|_, _| Box::pin(async { Ok(()) }));
    struct Mad;
    impl Worker for Mad {
        const SETTINGS: &'static WorkerSettings = &SETTINGS;
    }
    struct Unheard;
    impl Worker for Unheard {
        const SETTINGS: &'static WorkerSettings = &UNHEARD;
    }
    let problem = |inventory: Inventory| {
        let runner = Runner::new().inventory(inventory.task::<work>());
        runner.check().expect_err("it should be refused").to_string()
    };
    let mad = problem(Inventory::empty().worker::<Mad>());
    for part in ["`mad`", "depth is 0", "failure_rate is NaN", "window is 0ns; it must be from 1s to 100 years"] {
        assert!(mad.contains(part), "{mad:?} should contain {part:?}");
    }
    assert!(problem(Inventory::empty().worker::<Unheard>()).contains("on_alert is never called"));
}
