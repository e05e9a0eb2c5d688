//! What goes on beside the jobs, should it panic: it is told and started again; what fetches jobs ends its runner.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sector7g_tasks::clock::{Clock, Timestamp};
use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::prelude::*;
use sector7g_tasks::testing::Harness;
use sector7g_tasks::testing::chaos::{Call, ChaosBroker, Fault};
use support::Lines;

type Starts = Arc<AtomicU32>;

/// Ten leases long.
#[task(queue = "loops", timeout = 3600)]
async fn outlast(State(starts): State<Starts>) {
    starts.fetch_add(1, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(100)).await;
}

#[task(queue = "loops", cron = "*/5 * * * * *")]
async fn tick() {}

#[derive(Worker)]
#[worker(queue = "loops", health_check_interval = "5s")]
struct Rounds;

fn scene() -> (Arc<ChaosBroker>, Harness, Starts) {
    let memory = MemoryBroker::with_clock(Clock::starting_from(Timestamp::from_millis(1_900_000_000_000)));
    let (chaos, starts) = (Arc::new(ChaosBroker::new(Arc::new(memory))), Starts::default());
    let given = starts.clone();
    let inventory = Inventory::empty().task::<outlast>().task::<tick>().worker::<Rounds>();
    let harness = Harness::on(chaos.clone()).inventory(inventory).setup(move |runner| runner.state(given.clone()));
    (chaos, harness, starts)
}

/// Each loop by the call that it makes, its period, and its name. Within two periods after the panic it is at work again.
#[tokio::test(start_paused = true)]
async fn a_loop_that_panics_is_started_again() {
    const HEARTBEAT: Duration = Duration::from_secs(4); // a third of a lease, and a bit
    for (call, period, name) in [
        (Call::Extend, HEARTBEAT, "the heartbeat"),
        (Call::Aborts, Duration::from_secs(5), "the watch for aborts"),
        (Call::SetHealth, Duration::from_secs(5), "the health entry"),
        (Call::Enqueue, Duration::from_secs(5), "the schedules"),
    ] {
        let (lines, _guard) = Lines::capture();
        let (chaos, harness, starts) = scene();
        let client = harness.client();
        let (handle, other) =
            (client.enqueue(outlast::job()).await.unwrap(), client.enqueue(outlast::job()).await.unwrap());
        let fleet = harness.start();
        harness.advance(Duration::from_secs(1)).await;
        chaos.fail_next(call, 1, Fault::Panic);
        if call == Call::Aborts {
            assert!(other.abort().await.unwrap()); // ends the call under way: the next one panics
        }
        harness.advance(period).await;
        let told = lines.with(&format!("{name} panicked: `{call}` panicked, on purpose; it is started again"));
        assert_eq!((chaos.faults(call), told.len()), (1, 1), "{name}");
        let before = chaos.calls(call);
        harness.advance(period + Duration::from_secs(1)).await;
        if call == Call::Aborts {
            assert!(handle.abort().await.unwrap());
            assert!(handle.result().await.unwrap_err().is_aborted(), "{name} hears again");
        } else {
            assert!(chaos.calls(call) > before, "{name} is at work again");
            handle.result().await.unwrap();
        }
        assert_eq!(starts.load(Ordering::Relaxed), 2, "{name}: no lease was lost");
        fleet.stop().await.unwrap();
    }
}

/// Who can't claim any more must not go on as if it could: its process ends, and whoever supervises it starts another one.
#[tokio::test(start_paused = true)]
async fn a_fetch_that_panics_ends_its_runner() {
    for call in [Call::Claim, Call::Wait] {
        let (chaos, harness, _) = scene();
        let fleet = harness.start();
        harness.advance(Duration::from_secs(1)).await;
        chaos.fail_next(call, 1, Fault::Panic);
        harness.client().enqueue(tick::job()).await.unwrap();
        harness.advance(Duration::from_secs(10)).await;
        assert_eq!(chaos.faults(call), 1, "{call}");
        let error = fleet.stop().await.unwrap_err();
        let said = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(said.contains("panicked"), "{call}: {error}: {said}");
    }
}

/// Looking at the broker's set-up takes many calls: on a bad way no job waits for them, and no stop.
#[tokio::test(start_paused = true)]
async fn no_job_waits_for_the_look_at_the_set_up() {
    let (chaos, harness, _) = scene();
    chaos.fail_next(Call::Concerns, 1, Fault::Delay(Duration::from_secs(3600)));
    let began = harness.now();
    let fleet = harness.start();
    harness.client().enqueue(tick::job()).await.unwrap().result().await.unwrap();
    fleet.stop().await.unwrap();
    assert_eq!(chaos.faults(Call::Concerns), 1);
    assert!(harness.now().since(began) < Duration::from_secs(10), "{:?}", harness.now().since(began));
}
