//! Eight workers with one schedule, killed and started again at random: no tick is missed, and none comes twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sector7g_tasks::broker::RedisBroker;
use sector7g_tasks::clock::{Clock, Timestamp};
use sector7g_tasks::prelude::*;
use sector7g_tasks::testing::chaos::ChaosBroker;
use sector7g_tasks::testing::{Fleet, Harness};
use support::{Dice, RedisServer};
use tokio::time::{Instant, sleep};

const WORKERS: usize = 8;

/// On the virtual clock, unless `SECTOR7G_TICKS` says another number.
const TICKS: u64 = 10_000;

/// For how long workers are killed in real time, s.
const REAL: u64 = 12;

#[derive(Worker)]
#[worker(queue = "every_second", lease = 2)]
struct EverySecond;

#[task(queue = "every_second", cron = "* * * * * *")]
async fn every_second(ctx: &Context, State(ticks): State<Ticks>) {
    let tick = ctx.tick().unwrap().as_millis();
    ticks.0.lock().unwrap().entry(tick).or_default().push(ctx.attempt());
}

/// The attempts that began, by the tick that they are of, ms.
#[derive(Clone, Debug, Default)]
struct Ticks(Arc<Mutex<BTreeMap<i64, Vec<u32>>>>);

impl Ticks {
    /// The seconds between the two of which no tick ran.
    fn missed(&self, from: Timestamp, to: Timestamp) -> Vec<i64> {
        let ran = self.0.lock().unwrap();
        let seconds = from.as_millis() / 1_000 + 1..=to.as_millis() / 1_000;
        seconds.map(|second| second * 1_000).filter(|tick| !ran.contains_key(tick)).collect()
    }

    /// Those of which two jobs ran. A job whose worker was killed runs again, and says that it is another attempt.
    fn doubled(&self) -> Vec<(i64, Vec<u32>)> {
        let is_doubled = |attempts: &[u32]| attempts.windows(2).any(|pair| pair[0] >= pair[1]);
        let ran = self.0.lock().unwrap();
        ran.iter()
            .filter(|(_, attempts)| is_doubled(attempts))
            .map(|(tick, attempts)| (*tick, attempts.clone()))
            .collect()
    }

    fn runs(&self) -> (usize, usize) {
        let ran = self.0.lock().unwrap();
        (ran.len(), ran.values().map(|attempts| attempts.len() - 1).sum())
    }
}

fn harness(broker: Arc<dyn Broker>, ticks: &Ticks) -> Harness {
    let state = ticks.clone();
    let inventory = Inventory::empty().task::<every_second>().worker::<EverySecond>();
    Harness::on(broker).inventory(inventory).setup(move |runner| runner.state(state.clone()))
}

async fn crash(fleets: &mut [Option<Fleet>], which: &[usize]) {
    for index in which {
        if let Some(fleet) = fleets[*index].take() {
            fleet.crash().await;
        }
    }
}

/// One that is killed while it runs a tick's job leaves that to the others; at times all are gone for half a minute.
#[tokio::test(start_paused = true)]
async fn ten_thousand_ticks_run_once_while_their_workers_are_killed() {
    let count = std::env::var("SECTOR7G_TICKS").map_or(TICKS, |count| count.parse().expect("a number"));
    let (mut dice, ticks) = (Dice::thrown(), Ticks::default());
    let clock = Clock::starting_from(Timestamp::from_millis(1_893_456_000_000));
    let broker = ChaosBroker::new(Arc::new(MemoryBroker::with_clock(clock))).as_shared(); // outlives its workers
    let harness = harness(Arc::new(broker), &ticks);
    let (began, real) = (harness.now(), std::time::Instant::now());
    let mut fleets: Vec<Option<Fleet>> = (0..WORKERS).map(|_| Some(harness.start())).collect();
    let (mut kills, mut last) = (0, began);
    while harness.now().since(began) < Duration::from_secs(count) {
        // In a quarter of all cases at a tick.
        let span = dice.within(1..10_000);
        let odd = u64::try_from(last.as_millis() % 1_000).unwrap();
        let span = if dice.below(4) == 0 { span.next_multiple_of(1_000) + 1_000 - odd } else { span };
        harness.advance(Duration::from_millis(span)).await;
        if dice.below(100) == 0 {
            crash(&mut fleets, &(0..WORKERS).collect::<Vec<_>>()).await;
            harness.advance(Duration::from_millis(dice.within(1..30_000))).await;
        } else {
            crash(&mut fleets, &[usize::try_from(dice.below(WORKERS as u64)).unwrap()]).await;
        }
        kills += 1;
        if dice.below(2) == 0 || fleets.iter().all(Option::is_none) {
            for fleet in fleets.iter_mut().filter(|fleet| fleet.is_none()) {
                *fleet = Some(harness.start());
            }
        }
        last = harness.now();
    }
    harness.advance(Duration::from_secs(10)).await;
    let (runs, again) = ticks.runs();
    eprintln!("{runs} ticks, {again} runs after a kill, {kills} kills, {:?}", real.elapsed());
    assert_eq!(ticks.missed(began, last), [0; 0]);
    assert_eq!(ticks.doubled(), []);
    assert!(u64::try_from(runs).unwrap() >= count);
}

/// Schedules are the program's own: what a server forgets, workers tell it again with the next tick.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flushed_server_stops_no_schedule() {
    let (server, ticks) = (RedisServer::start(), Ticks::default());
    let harness = harness(Arc::new(RedisBroker::connect(server.url()).await.unwrap()), &ticks);
    let fleet = harness.start();
    let come = async |from: Timestamp, to: Timestamp| {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !ticks.missed(from, to).is_empty() && Instant::now() < deadline {
            sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(ticks.missed(from, to), [0; 0]);
    };
    let began = harness.now();
    come(began, began + Duration::from_secs(2)).await;
    server.cli(&["FLUSHALL"]);
    let flushed = harness.now() + Duration::from_secs(1); // the tick that was under way may be lost
    come(flushed, flushed + Duration::from_secs(3)).await;
    fleet.stop().await.unwrap();
}

/// As ten thousand, in real time for a while; in its middle all are gone for some seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ticks_on_redis_run_once_while_their_workers_are_killed() {
    let server = RedisServer::start();
    let (mut dice, ticks) = (Dice::thrown(), Ticks::default());
    let mut harnesses = Vec::new();
    for _ in 0..WORKERS {
        harnesses.push(harness(Arc::new(RedisBroker::connect(server.url()).await.unwrap()), &ticks));
    }
    let began = harnesses[0].now();
    let mut fleets: Vec<Option<Fleet>> = harnesses.iter().map(|harness| Some(harness.start())).collect();
    let (mut kills, mut is_halfway) = (0, false);
    while harnesses[0].now().since(began) < Duration::from_secs(REAL) {
        sleep(Duration::from_millis(dice.within(20..500))).await;
        if !is_halfway && harnesses[0].now().since(began) > Duration::from_secs(REAL / 2) {
            is_halfway = true;
            crash(&mut fleets, &(0..WORKERS).collect::<Vec<_>>()).await;
            sleep(Duration::from_secs(3)).await;
        } else {
            crash(&mut fleets, &[usize::try_from(dice.below(WORKERS as u64)).unwrap()]).await;
        }
        kills += 1;
        for (fleet, harness) in fleets.iter_mut().zip(&harnesses).filter(|(fleet, _)| fleet.is_none()) {
            *fleet = Some(harness.start());
        }
    }
    let (ended, deadline) = (harnesses[0].now(), Instant::now() + Duration::from_secs(30));
    while !ticks.missed(began, ended).is_empty() && Instant::now() < deadline {
        sleep(Duration::from_millis(50)).await;
    }
    for fleet in fleets.into_iter().flatten() {
        fleet.stop().await.unwrap();
    }
    let (runs, again) = ticks.runs();
    eprintln!("{runs} ticks, those of the minute before among them, {again} runs after a kill, {kills} kills");
    assert_eq!(ticks.missed(began, ended), [0; 0]);
    assert_eq!(ticks.doubled(), []);
}
