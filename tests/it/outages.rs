//! A broker that fails, loses answers or is slow: nothing is lost, nothing runs twice at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sector7g_tasks::broker::{Claim, LeaseToken, QueueName};
use sector7g_tasks::client::{ENQUEUE_TRIES, EnqueueError};
use sector7g_tasks::clock::{Clock, Timestamp};
use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::prelude::*;
use sector7g_tasks::testing::Harness;
use sector7g_tasks::testing::chaos::{Call, ChaosBroker, Fault, Odds};
use support::Lines;

/// What ran, and what runs now: the witness that no library can talk to.
#[derive(Clone, Debug, Default)]
struct Ledger(Arc<Mutex<HashMap<String, Entry>>>);

#[derive(Clone, Debug, Default)]
struct Entry {
    starts: u32,
    running: u32,
    overlapped: bool,
}

struct Running(Ledger, String);

impl Ledger {
    fn start(&self, id: &JobId) -> Running {
        let mut entries = self.0.lock().unwrap();
        let entry = entries.entry(id.to_string()).or_default();
        entry.starts += 1;
        entry.running += 1;
        entry.overlapped |= entry.running > 1;
        Running(self.clone(), id.to_string())
    }

    fn entry(&self, id: &JobId) -> Entry {
        self.0.lock().unwrap().get(id.as_str()).cloned().unwrap_or_default()
    }

    fn running(&self) -> u32 {
        self.0.lock().unwrap().values().map(|entry| entry.running).sum()
    }

    fn starts(&self) -> u32 {
        self.0.lock().unwrap().values().map(|entry| entry.starts).sum()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().entry(self.1.clone()).or_default().running -= 1;
    }
}

macro_rules! witness {
    ($($name:ident in $queue:literal),*) => {$(
        #[task(queue = $queue)]
        async fn $name(ctx: &Context, State(ledger): State<Ledger>, millis: u64) -> u32 {
            let _running = ledger.start(ctx.job_id());
            tokio::time::sleep(Duration::from_millis(millis)).await;
            ctx.attempt()
        }
    )*};
}

witness!(first in "first", second in "second", third in "third", fourth in "fourth");

#[derive(Worker)]
#[worker(queues("first", "second", "third"), max_jobs = 10)]
struct Clerk;

/// With so many slots a queue has two calls under way once a third of their jobs have ended.
#[derive(Worker)]
#[worker(queues("fourth"), max_jobs = 40)]
struct Desk;

struct Scene {
    chaos: Arc<ChaosBroker>,
    harness: Harness,
    ledger: Ledger,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let memory = MemoryBroker::with_clock(Clock::starting_from(Timestamp::from_millis(1_900_000_000_000)));
        let chaos = Arc::new(ChaosBroker::seeded(Arc::new(memory), seed));
        let ledger = Ledger::default();
        let given = ledger.clone();
        let harness = Harness::on(chaos.clone())
            .inventory(
                Inventory::empty()
                    .task::<first>()
                    .task::<second>()
                    .task::<third>()
                    .task::<fourth>()
                    .worker::<Clerk>()
                    .worker::<Desk>(),
            )
            .setup(move |runner| runner.state(given.clone()));
        Self { chaos, harness, ledger }
    }

    async fn enqueue(&self, each: u64, millis: u64) -> Vec<JobId> {
        let client = self.harness.client();
        let mut ids = Vec::new();
        for _ in 0..each {
            ids.push(client.enqueue(first::job(millis)).await.unwrap().id().clone());
            ids.push(client.enqueue(second::job(millis)).await.unwrap().id().clone());
            ids.push(client.enqueue(third::job(millis)).await.unwrap().id().clone());
        }
        ids
    }

    /// Jobs of the desk, of 10 ms, 20 and so on to 400, and again.
    async fn enqueue_for_desk(&self, jobs: u64) -> Vec<JobId> {
        let jobs = (0..jobs).map(|nth| fourth::job(10 * (nth % 40 + 1)));
        self.harness.client().enqueue_all(jobs).await.unwrap().iter().map(|handle| handle.id().clone()).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn lost_answers_and_failures_lose_and_double_nothing() {
    for seed in 0..20 {
        let scene = Scene::new(seed);
        let ids = scene.enqueue(100, 700).await;
        let odds = Odds { before: 0.2, after: 0.2, slow: 0.2, slowness: Duration::from_secs(2) };
        scene.chaos.set_odds(&[Call::Claim, Call::Wait, Call::Aborts, Call::Stats], odds);
        let report = scene.harness.drain().await.unwrap();
        assert_eq!(report.done(), ids.len() as u64, "seed {seed}");
        for id in &ids {
            let entry = scene.ledger.entry(id);
            assert_eq!((entry.starts, entry.overlapped), (1, false), "seed {seed}, job {id}");
        }
    }
}

/// Three queues, one claim's answer lost: the worker must not run more than `max_jobs` at once.
#[tokio::test(start_paused = true)]
async fn a_lost_claim_holds_its_slots_until_it_is_repeated() {
    for lost in 1..8 {
        let scene = Scene::new(0);
        scene.enqueue(20, 1_000).await;
        let fleet = scene.harness.start();
        scene.harness.advance(Duration::from_millis(100 * lost)).await;
        scene.chaos.fail_next(Call::Claim, 1, Fault::After);
        let mut most = 0;
        for _ in 0..100 {
            scene.harness.advance(Duration::from_millis(97)).await;
            most = most.max(scene.ledger.running());
        }
        assert_eq!(most, 10, "max_jobs, neither more nor less");
        fleet.stop().await.unwrap();
        assert!(scene.ledger.0.lock().unwrap().values().all(|entry| entry.starts == 1), "each claim was heard of once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_lost_while_stopping_is_given_back() {
    let scene = Scene::new(0);
    let ids = scene.enqueue(3, 100).await;
    scene.chaos.fail_next(Call::Claim, 1, Fault::After);
    let fleet = scene.harness.start();
    tokio::task::yield_now().await;
    fleet.stop().await.unwrap();
    let client = scene.harness.client();
    for queue in ["first", "second", "third"] {
        let stats = client.stats(queue).await.unwrap();
        assert_eq!((stats.running, stats.deferred), (0, 0), "no lease is left to wait for in {queue}");
    }
    let report = scene.harness.drain().await.unwrap();
    assert_eq!(report.done(), ids.len() as u64);
    for id in &ids {
        assert_eq!(scene.ledger.entry(id).starts, 1);
    }
}

/// The answer to one call of a queue is late, and that to the other one is lost: that one is repeated, and work goes on by it.
#[tokio::test(start_paused = true)]
async fn a_late_call_of_a_queue_does_not_hold_up_the_other() {
    let scene = Scene::new(0);
    let ids = scene.enqueue_for_desk(400).await;
    let fleet = scene.harness.start();
    scene.harness.advance(Duration::from_millis(5)).await;
    assert_eq!(scene.ledger.running(), 40);
    scene.chaos.fail_next(Call::Claim, 1, Fault::Late(Duration::from_secs(8)));
    scene.chaos.fail_next(Call::Claim, 1, Fault::After);
    let mut most = 0;
    for _ in 0..180 {
        scene.harness.advance(Duration::from_millis(20)).await;
        most = most.max(scene.ledger.running());
    }
    assert!(scene.ledger.starts() > 200, "{} jobs have started beside a late call", scene.ledger.starts());
    assert!(most <= 40, "{most} at once");
    scene.harness.advance(Duration::from_secs(20)).await;
    for id in &ids {
        assert_eq!(scene.ledger.entry(id).starts, 1, "{id}");
    }
    fleet.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_hears_of_both_calls_of_a_queue() {
    for faults in
        [[Fault::Late(Duration::from_secs(2)), Fault::After], [Fault::After, Fault::Late(Duration::from_secs(2))]]
    {
        let scene = Scene::new(0);
        let ids = scene.enqueue_for_desk(200).await;
        let fleet = scene.harness.start();
        scene.harness.advance(Duration::from_millis(5)).await;
        for fault in faults {
            scene.chaos.fail_next(Call::Claim, 1, fault);
        }
        scene.harness.advance(Duration::from_millis(125)).await;
        fleet.stop().await.unwrap();
        assert_eq!(scene.chaos.faults(Call::Claim), 2, "both have struck: {faults:?}");
        let stats = scene.harness.client().stats("fourth").await.unwrap();
        assert_eq!((stats.running, stats.deferred), (0, 0), "no lease is left to wait for, {faults:?}");
        scene.harness.drain().await.unwrap();
        for id in &ids {
            assert_eq!(scene.ledger.entry(id).starts, 1, "{faults:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_told_once_and_endings_are_kept() {
    let (lines, _guard) = Lines::capture();
    let scene = Scene::new(0);
    let ids = scene.enqueue(10, 3_000).await;
    let fleet = scene.harness.start();
    scene.harness.advance(Duration::from_secs(1)).await;
    scene.chaos.set_down(true);
    scene.harness.advance(Duration::from_secs(6)).await; // the running ones end meanwhile, within their leases
    scene.chaos.set_down(false);
    scene.harness.advance(Duration::from_secs(60)).await;
    assert_eq!(fleet.stop().await.unwrap().done(), ids.len() as u64);
    assert_eq!(scene.ledger.starts() as usize, ids.len(), "what had ended was reported, not run again");
    assert_eq!(lines.with("running jobs go on, trying again").len(), 1, "{:#?}", lines.with("ERROR"));
    assert_eq!(lines.with("the broker answers again").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failed_enqueue_tells_what_is_sure_and_can_be_repeated() {
    let scene = Scene::new(0);
    let client = scene.harness.client();
    let jobs = || (0..2_500_u64).map(|number| first::job(0).id(format!("job-{number}")));
    scene.chaos.fail_next(Call::Enqueue, 1, Fault::Delay(Duration::ZERO));
    scene.chaos.fail_next(Call::Enqueue, ENQUEUE_TRIES as usize, Fault::After);
    let Err(error) = client.enqueue_all(jobs()).await else { panic!("no fourth try") };
    let EnqueueError::Broker { ids, confirmed, .. } = &error else { panic!("{error}") };
    assert_eq!((ids.len(), *confirmed, ids[1_999].as_str()), (2_500, 1_000, "job-1999"));
    assert_eq!(error.to_string(), "1500 of 2500 jobs were not confirmed");
    let again = client.enqueue_all(jobs()).await.unwrap();
    assert_eq!(again.iter().filter(|handle| handle.is_new()).count(), 500, "two batches of a thousand were there");
    assert_eq!(scene.harness.drain().await.unwrap().done(), 2_500);
}

/// Takes the worker's jobs away under its hands, as after a pause longer than its lease.
#[tokio::test(start_paused = true)]
async fn a_worker_that_lost_its_lease_cancels_the_job_and_changes_nothing() {
    let scene = Scene::new(0);
    let handle = scene.harness.client().enqueue(first::job(3_600_000)).await.unwrap();
    let fleet = scene.harness.start();
    scene.harness.advance(Duration::from_secs(1)).await;
    let always = Odds { before: 1.0, ..Odds::default() };
    scene.chaos.set_odds(&[Call::Extend, Call::Claim, Call::Wait], always);
    scene.harness.advance(Duration::from_secs(10)).await; // no heartbeat got through: the lease has ended
    scene.chaos.calm();
    let queue = QueueName::new("first").unwrap();
    let token = LeaseToken { worker: 1, call: 1 };
    let thief = Claim { queue: &queue, finished: &[], max: 1, lease: Duration::from_secs(7_200), token };
    assert_eq!(scene.harness.broker().claim(&thief).await.unwrap().jobs.len(), 1, "it was due again");
    scene.harness.advance(Duration::from_secs(4)).await;
    assert_eq!(scene.ledger.entry(handle.id()).running, 0, "the next heartbeat ended it");
    scene.harness.advance(Duration::from_secs(3_600)).await;
    assert_eq!(handle.status().await.unwrap(), Some(JobState::InProgress), "the thief still holds it");
    let report = fleet.stop().await.unwrap();
    assert_eq!((report.done(), report.workers[0].lease_lost), (0, 1));
}

/// The same, but the worker itself is the first to claim the job again.
#[tokio::test(start_paused = true)]
async fn a_worker_that_claims_its_own_lost_job_ends_the_earlier_run() {
    let scene = Scene::new(0);
    let handle = scene.harness.client().enqueue(first::job(15_000)).await.unwrap();
    let fleet = scene.harness.start();
    scene.harness.advance(Duration::from_secs(1)).await;
    scene.chaos.fail_next(Call::Extend, 10, Fault::Before); // one in time, and its repetitions until the lease has ended
    assert_eq!(handle.result().await.unwrap(), 2);
    let entry = scene.ledger.entry(handle.id());
    assert_eq!((entry.starts, entry.overlapped), (2, false));
    assert_eq!(fleet.stop().await.unwrap().workers[0].lease_lost, 1);
}

/// An answer that took longer than the lease leases nothing any more.
#[tokio::test(start_paused = true)]
async fn a_claim_that_was_long_under_way_starts_only_what_is_still_leased() {
    let scene = Scene::new(0);
    let ids = scene.enqueue(1, 60_000).await;
    scene.chaos.fail_next(Call::Claim, 1, Fault::Late(Duration::from_secs(30)));
    let slow = scene.harness.start();
    scene.harness.advance(Duration::from_secs(15)).await;
    let quick = scene.harness.start();
    for id in &ids {
        while scene
            .harness
            .client()
            .job::<first>("first", id.as_str())
            .unwrap()
            .status()
            .await
            .unwrap()
            .is_some_and(|state| state != JobState::Complete)
        {
            scene.harness.advance(Duration::from_secs(1)).await;
        }
    }
    scene.harness.advance(Duration::from_secs(100)).await;
    for fleet in [slow, quick] {
        fleet.stop().await.unwrap();
    }
    for id in &ids {
        let entry = scene.ledger.entry(id);
        assert_eq!((entry.starts, entry.overlapped), (1, false), "the late claim must not run beside its successor");
    }
}

#[tokio::test(start_paused = true)]
async fn a_random_fleet_under_faults_and_crashes_ends_every_job_once() {
    for seed in 0..10 {
        let scene = Scene::new(seed);
        let ids = scene.enqueue(60, 2_500).await;
        let odds = Odds { before: 0.1, after: 0.1, slow: 0.1, slowness: Duration::from_secs(1) };
        scene.chaos.set_odds(&[Call::Claim, Call::Extend, Call::Wait, Call::Aborts], odds);
        let mut fleets = vec![scene.harness.start(), scene.harness.start()];
        for round in 0..6_u64 {
            scene.harness.advance(Duration::from_millis(1_300 + 700 * round + 13 * seed)).await;
            let fleet = fleets.remove(0);
            if round % 2 == 0 {
                fleet.crash().await;
            } else {
                fleet.stop().await.unwrap();
            }
            fleets.push(scene.harness.start());
        }
        scene.harness.advance(Duration::from_secs(300)).await;
        scene.chaos.calm();
        for fleet in fleets {
            fleet.stop().await.unwrap();
        }
        let client = scene.harness.client();
        for id in &ids {
            let entry = scene.ledger.entry(id);
            assert!(!entry.overlapped, "seed {seed}: job {id} ran twice at once");
        }
        for queue in ["first", "second", "third"] {
            let stats = client.stats(queue).await.unwrap();
            assert_eq!((stats.live(), stats.dead), (0, 0), "seed {seed}: every job of {queue} has ended, well");
        }
    }
}
