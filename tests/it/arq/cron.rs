//! One schedule, kept by workers of both languages.
//!
//! A Rust task and a Python cron are the same to both when the cron has the task's name, the same rule in the same
//! time zone (arq's is the machine's unless told, ours UTC), and `microsecond=0`, as our ticks are whole seconds:
//! `cron(tock, name="tock", second=set(range(60)), microsecond=0)`. Then both make the id `<name>:<ms>`.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::prelude::*;

use super::ground::{Ground, MIXED, until};
use super::in_each_codec;

/// The ids of the ticks that ran here, each as often as it ran.
static RAN: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[task(queue = "mixed", cron = "* * * * * *")]
async fn tock(ctx: &Context) {
    assert_eq!(Some(ctx.tick().unwrap().as_millis().to_string()), tick_of(ctx.job_id().as_str()));
    RAN.lock().unwrap().push(ctx.job_id().to_string());
}

fn tick_of(id: &str) -> Option<String> {
    id.strip_prefix("tock:").map(str::to_owned)
}

#[derive(Worker)]
#[worker(queue = "mixed", poll_delay = "20ms", misfire_window = "2s", lease = "2s")]
struct Clocked;

fn inventory() -> Inventory {
    Inventory::empty().worker::<Clocked>().task::<tock>()
}

const PYTHON: [&str; 6] = ["--cron-every-second", "tock", "--cron-microsecond", "0", "--ledger", "ledger"];

fn of_python(ground: &Ground) -> Vec<String> {
    let ledger = ground.redis(&["LRANGE", "ledger", "0", "-1"]);
    ledger.lines().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect()
}

fn of_rust() -> Vec<String> {
    RAN.lock().unwrap().clone()
}

#[tokio::test]
async fn a_tick_runs_once_whoever_enqueues_it() {
    in_each_codec(async |ground| {
        RAN.lock().unwrap().clear();
        let seen = async |count| {
            until("ticks run", async || of_python(&ground).len() + of_rust().len() >= count).await;
        };
        let mut python = ground.python_worker(&PYTHON).await;
        seen(2).await;
        let first = ground.rust_worker_with(inventory());
        seen(5).await;
        first.crash().await;
        let second = ground.rust_worker_with(inventory());
        let third = ground.rust_worker_with(inventory());
        seen(7).await;
        python.kill9();
        seen(9).await;
        let _again = ground.python_worker(&PYTHON).await;
        seen(12).await;
        second.stop().await.unwrap();
        third.stop().await.unwrap();

        let ran = [of_python(&ground), of_rust()].concat();
        let ticks: BTreeSet<i64> = ran.iter().map(|id| tick_of(id).unwrap().parse().unwrap()).collect();
        assert_eq!(ticks.len(), ran.len(), "a tick ran twice: {ran:?}");
        assert!(ticks.iter().zip(ticks.iter().skip(1)).all(|(a, b)| b - a == 1_000), "one was skipped: {ticks:?}");
        assert!(!of_rust().is_empty(), "ours ran some");
    })
    .await;
}

/// A Python scheduler whose heartbeat comes late enqueues a tick anew that has run: among Python's workers that is a
/// second run, a minute later. DIFFERENCE: where one of ours lives, it goes.
#[tokio::test]
async fn a_tick_that_comes_late_does_not_run_again() {
    in_each_codec(async |ground| {
        RAN.lock().unwrap().clear();
        let fleet = ground.rust_worker_with(inventory());
        until("a tick has run", async || !of_rust().is_empty()).await;
        let id = of_rust()[0].clone();
        until("its end is stored", async || ground.redis(&["EXISTS", &format!("arq:job:{id}")]) == "0").await;
        ground.python_enqueues(&["tock", "--id", &id]).await;
        until("it is taken out", async || ground.redis(&["ZSCORE", MIXED, &id]).is_empty()).await;
        assert_eq!(ground.redis(&["EXISTS", &format!("arq:job:{id}")]), "0");
        assert_eq!(of_rust().iter().filter(|ran| **ran == id).count(), 1);
        fleet.stop().await.unwrap();
    })
    .await;
}

/// A tick that Python has run leaves its claim for a minute: a worker of ours that starts then does not make it up.
#[tokio::test]
async fn a_tick_that_python_ran_is_not_made_up() {
    in_each_codec(async |ground| {
        RAN.lock().unwrap().clear();
        let mut python = ground.python_worker(&PYTHON).await;
        until("ticks have run", async || of_python(&ground).len() >= 3).await;
        python.terminate().await;
        let theirs = of_python(&ground);
        let fleet = ground.rust_worker_with(inventory());
        until("ours run theirs", async || of_rust().len() >= 2).await;
        fleet.stop().await.unwrap();
        for id in &theirs {
            assert_eq!(ground.redis(&["ZSCORE", MIXED, id]), "", "it would run again once Python's claim is over");
        }
        assert!(of_rust().iter().all(|id| !theirs.contains(id)), "{theirs:?}, then {:?}", of_rust());
    })
    .await;
}

/// As much of a Python cron's job as its id tells is known here: it is a tick, and its result is not kept.
#[tokio::test]
async fn a_tick_from_python_is_a_tick_here() {
    in_each_codec(async |ground| {
        RAN.lock().unwrap().clear();
        ground.python_enqueues(&["tock", "--id", "tock:1800000000000"]).await;
        let fleet = ground.rust_worker_with(inventory());
        let has_run = async || of_rust().contains(&"tock:1800000000000".to_owned());
        until("it has run", has_run).await;
        until("its end is stored", async || ground.redis(&["EXISTS", "arq:job:tock:1800000000000"]) == "0").await;
        assert_eq!(ground.redis(&["EXISTS", "arq:result:tock:1800000000000"]), "0");
        let held: u64 = ground.redis(&["PTTL", "arq:in-progress:tock:1800000000000"]).parse().unwrap();
        assert!(Duration::from_millis(held) > Duration::from_secs(50), "for Python, too, it is taken: {held} ms");
        fleet.stop().await.unwrap();
    })
    .await;
}
