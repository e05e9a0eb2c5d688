//! Tasks that only Python's workers know, on a queue that Rust's workers serve, too.

use std::time::Duration;

use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::prelude::*;

use super::ground::{MIXED, nothing, until};
use super::in_each_codec;

/// Gives up on a job six seconds after it was first seen.
#[derive(Worker)]
#[worker(queue = "mixed", unknown_task_grace = "6s")]
struct Impatient;

fn inventory() -> Inventory {
    Inventory::empty().worker::<Impatient>().task::<nothing>()
}

/// Ours wake on the dot and a stock Python worker looks each half second: it would never come first by itself.
#[tokio::test]
async fn a_task_unknown_to_rust_is_left_to_python() {
    in_each_codec(async |ground| {
        let fleet = ground.rust_worker_with(inventory());
        let jobs = (0..20).map(|_| Job::untyped("count_try", "mixed"));
        let handles = ground.client.enqueue_all(jobs).await.unwrap();
        until("ours have seen them", async || ground.redis(&["ZCOUNT", MIXED, "-inf", "+inf"]) == "20").await;
        let _worker = ground.python_worker(&["--poll-delay", "0.5"]).await;
        for handle in handles {
            assert_eq!(handle.result_within(Duration::from_secs(20)).await.unwrap(), 1, "our looks do not count");
        }
        let report = fleet.stop().await.unwrap();
        assert!(report.workers[0].given_back > 0, "{report:?}");
        assert_eq!((report.done(), report.failed()), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn a_busy_python_worker_has_time_to_come_to_its_jobs() {
    in_each_codec(async |ground| {
        let busy = ground.client.enqueue(Job::untyped("sleep", "mixed").arg(8)).await.unwrap();
        let _worker = ground.python_worker(&["--max-jobs", "1", "--poll-delay", "0.5"]).await;
        until("it is busy", async || ground.rust_status(busy.id().as_str()).await == Some(JobState::InProgress)).await;
        let fleet = ground.rust_worker_with(inventory());
        let next = ground.client.enqueue(Job::untyped("count_try", "mixed")).await.unwrap();
        assert_eq!(next.result().await.unwrap(), 1, "it came to it after eight seconds");
        assert_eq!(fleet.stop().await.unwrap().failed(), 0);
    })
    .await;
}

/// A task that runs and asks for another try is known to somebody, however long its tries take.
#[tokio::test]
async fn a_python_job_that_retries_is_not_unknown() {
    in_each_codec(async |ground| {
        let fleet = ground.rust_worker_with(inventory());
        let _worker = ground.python_worker(&["--poll-delay", "0.5"]).await;
        let job = Job::untyped("retry_then_ok", "mixed").arg(2).arg(3.3);
        assert_eq!(ground.client.enqueue(job).await.unwrap().result().await.unwrap(), 3);
        assert_eq!(fleet.stop().await.unwrap().failed(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_task_that_nobody_knows_ends_after_its_grace() {
    in_each_codec(async |ground| {
        let fleet = ground.rust_worker_with(inventory());
        let answer = ground.python.call(&["enqueue", "nobodys", "--id", "nobodys", "--wait", "20"]).await;
        assert_eq!(answer["message"], "function 'nobodys' not found", "{answer}");
        let error = ground.rust_result("nobodys").await.unwrap_err();
        assert_eq!(error.failure().unwrap().kind, FailureKind::UnknownTask);
        assert_eq!(fleet.stop().await.unwrap().failed(), 1);
    })
    .await;
}
