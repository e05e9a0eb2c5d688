//! A queue that moves from Python to Rust, and back: what either has begun, the other ends.

use super::ground::{Gate, MIXED, until};
use super::*;
use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::prelude::*;
use serde_json::json;
use std::process::Command;
use std::time::Duration;

/// As Python's, but it waits: it is running when its worker is stopped.
#[task(queue = "mixed", name = "count_try")]
async fn waits(ctx: &Context, State(gate): State<Gate>) -> u32 {
    let _ = gate.0.acquire().await;
    ctx.attempt()
}

#[task(queue = "mixed", name = "retry_then_ok")]
async fn retries(ctx: &Context, times: u32, defer: f64) -> Result<u32, TaskError> {
    if ctx.attempt() <= times { Err(TaskError::retry_in(Duration::from_secs_f64(defer))) } else { Ok(ctx.attempt()) }
}

#[task(queue = "mixed", name = "fail")]
async fn fails() -> Result<(), TaskError> {
    Err("the rod is gone".into())
}

/// Python knows it, too: a tick that is left is no unknown function there.
#[task(queue = "mixed", name = "echo", cron = "* * * * * *")]
async fn ticks() {}

#[derive(Worker)]
#[worker(queue = "mixed", poll_delay = "20ms", lease = "3s", job_completion_wait = 0)]
struct Moved;

fn inventory() -> Inventory {
    let inventory = Inventory::empty().worker::<Moved>().task::<waits>().task::<retries>();
    inventory.task::<fails>().task::<ticks>()
}

#[tokio::test]
async fn retries_that_python_began_go_on_under_ours() {
    in_each_codec(async |ground| {
        let mut worker = ground.python_worker(&[]).await;
        ground.python_enqueues(&["retry_then_ok", "--args", "[3, 1]", "--id", "begun"]).await;
        ground.python_enqueues(&["retry_then_ok", "--args", "[9, 1]", "--id", "hopeless"]).await;
        for id in ["begun", "hopeless"] {
            let count = format!("arq:retry:{id}");
            until("it has been tried twice", async || ground.redis(&["GET", &count]) == "2").await;
        }
        worker.terminate().await;
        let tried = |id: &str| ground.redis(&["GET", &format!("arq:retry:{id}")]).parse::<u32>().unwrap();
        assert!(tried("begun") == 2 && tried("hopeless") == 2, "some tries are used up, and not all");

        let fleet = ground.rust_worker_with(inventory());
        assert_eq!(ground.rust_result("begun").await.unwrap(), 4, "two tries there, two here");
        let error = ground.rust_result("hopeless").await.unwrap_err();
        assert_eq!(error.failure().unwrap().attempt, 5, "no more than five in all: {error}");
        let retried = fleet.stop().await.unwrap().retried();
        assert_eq!(retried, 1 + 2, "none was begun anew");
    })
    .await;
}

/// The keys of ours that are there, and those of them that end by themselves.
fn of_ours(ground: &Ground) -> (Vec<String>, Vec<String>) {
    let keys = ground.redis(&["KEYS", "*s7*"]);
    keys.lines().map(str::to_owned).partition(|key| ground.redis(&["PTTL", key]) == "-1")
}

/// Jobs of ours in every state are Python's to end; what is left of us is what OPERATIONS.md says, and goes as it says.
#[tokio::test]
async fn what_ours_began_python_ends_and_the_rest_can_be_deleted() {
    in_each_codec(async |ground| {
        let fleet = ground.rust_worker_with(inventory());
        let job = |task: &'static str, id: &str| Job::untyped(task, "mixed").id(id);
        let later = Duration::from_secs(3);
        let retried = job("retry_then_ok", "retried").arg(1).arg(later.as_secs());
        let jobs = vec![retried, job("add", "deferred").arg(2).arg(5).delay(later), job("count_try", "given-back")];
        ground.client.enqueue_all(jobs).await.unwrap();
        ground.client.enqueue(job("fail", "dead")).await.unwrap().result().await.unwrap_err();
        until("each is as it should be", async || {
            ground.rust_status("retried").await == Some(JobState::Deferred)
                && ground.rust_status("given-back").await == Some(JobState::InProgress)
                && !ground.redis(&["KEYS", "arq:s7:hold:*"]).is_empty()
        })
        .await;
        fleet.stop().await.unwrap();
        assert_eq!(ground.rust_status("dead").await, Some(JobState::Dead));

        let mut worker = ground.python_worker(&[]).await;
        assert_eq!(ground.python_result("retried").await, json!({"result": 2}), "its first try counts");
        assert_eq!(ground.python_result("deferred").await, json!({"result": 7}));
        assert_eq!(ground.python_result("given-back").await, json!({"result": 1}), "one cut short does not");
        until("no job waits", async || ground.redis(&["EXISTS", MIXED]) == "0").await;
        worker.terminate().await;

        let (stay, ends) = of_ours(&ground);
        assert_eq!(stay, ["arq:s7:queues"], "all else ends by itself");
        for letters in [format!("{MIXED}:s7:dead"), format!("{MIXED}:s7:dead:dead")] {
            assert!(ends.contains(&letters), "{ends:?}");
        }
        for (nth, script) in OPERATIONS.iter().enumerate() {
            let script = script.replace("6379", &ground.server.port().to_string()).replace("homer", "mixed");
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
            let (stay, ends) = of_ours(&ground);
            let left = [stay, ends].concat();
            let gone = ["arq:queue:mixed:s7:", "arq:s7:"][nth];
            assert!(left.iter().all(|key| !key.starts_with(gone)), "{script} leaves {left:?}");
        }
        assert!(
            ground.redis(&["KEYS", "arq:result:*"]).contains("arq:result:retried"),
            "nothing of arq's goes with it"
        );
    })
    .await;
}

/// What OPERATIONS.md has operators type when a queue, and then when the last one, has moved back.
const OPERATIONS: [&str; 2] = [
    "redis-cli -p 6379 --scan --pattern 'arq:queue:homer:s7:*' | xargs -r redis-cli -p 6379 unlink",
    "redis-cli -p 6379 --scan --pattern 'arq:s7:*' | xargs -r redis-cli -p 6379 unlink",
];

#[test]
fn the_commands_are_those_of_the_page() {
    let page = include_str!("../../../OPERATIONS.md");
    for script in OPERATIONS {
        assert!(page.contains(script), "OPERATIONS.md has `{script}`");
    }
}
