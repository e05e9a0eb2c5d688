//! Aborts across languages: who asks, and who has the job.

use std::time::Duration;

use sector7g_tasks::codec::Codec;
use sector7g_tasks::prelude::*;
use serde_json::{Value, json};

use super::ground::{Ground, held, nothing, until};
use super::in_each_codec;

/// What `Job.abort()` gives for a job that it did abort.
///
/// Without pickle nobody can write the `CancelledError` that it waits for: arq raises `SerializationError` then, from
/// Python workers, too.
fn assert_aborted(ground: &Ground, answer: &Value) {
    if ground.codec() == Codec::Pickle {
        assert_eq!(answer["aborted"], true, "{answer}");
    } else {
        assert_eq!(answer["error"], "SerializationError", "{answer}");
    }
}

async fn python_aborts(ground: &Ground, id: &str) -> Value {
    ground.python.call(&["abort", id, "--wait", "20"]).await
}

fn requests(ground: &Ground) -> String {
    ground.redis(&["ZRANGE", "arq:abort", "0", "-1"])
}

async fn until_forgotten(ground: &Ground) {
    until("the requests are cleaned up", async || requests(ground).is_empty()).await;
}

async fn until_running(ground: &Ground, id: &str) {
    until("it runs", async || ground.rust_status(id).await == Some(JobState::InProgress)).await;
}

#[tokio::test]
async fn python_aborts_a_running_rust_job() {
    in_each_codec(async |ground| {
        let fleet = ground.rust_worker();
        ground.python_enqueues(&["held", "--id", "running"]).await;
        until_running(&ground, "running").await;
        assert_aborted(&ground, &python_aborts(&ground, "running").await);
        assert!(ground.rust_result("running").await.unwrap_err().is_aborted());
        until_forgotten(&ground).await;
        ground.assert_nothing_left();
        assert_eq!(fleet.stop().await.unwrap().workers[0].aborted, 1);
    })
    .await;
}

#[tokio::test]
async fn python_aborts_waiting_rust_jobs() {
    in_each_codec(async |ground| {
        ground.python_enqueues(&["held", "--id", "queued"]).await;
        ground.client.enqueue(held::job().id("deferred").delay(Duration::from_secs(3600))).await.unwrap();
        let (first, second) = (ground.another_python(), ground.another_python());
        let (queued, deferred, ()) = tokio::join!(
            first.call(&["abort", "queued", "--wait", "20"]),
            second.call(&["abort", "deferred", "--wait", "20"]),
            async {
                until("both are asked for", async || requests(&ground).lines().count() == 2).await;
                let fleet = ground.rust_worker();
                until("both are over", async || ground.rust_status("deferred").await == Some(JobState::Complete)).await;
                assert!(ground.rust_result("queued").await.unwrap_err().is_aborted());
                until_forgotten(&ground).await;
                let report = fleet.stop().await.unwrap();
                assert_eq!((report.workers[0].aborted, report.done()), (2, 0), "neither ran");
            }
        );
        assert_aborted(&ground, &queued);
        assert_aborted(&ground, &deferred);
        ground.assert_nothing_left();
    })
    .await;
}

#[tokio::test]
async fn rust_aborts_python_jobs() {
    in_each_codec(async |ground| {
        let _worker = ground.python_worker(&["--abort"]).await;
        let sleep = |id: &str| Job::untyped("sleep", "mixed").arg(600).id(id);
        let running = ground.client.enqueue(sleep("running")).await.unwrap();
        until_running(&ground, "running").await;
        assert!(running.abort().await.unwrap());
        running.result().await.expect_err("it was cancelled");
        assert!(!running.abort().await.unwrap(), "there is nothing left to abort");

        let deferred = ground.client.enqueue(sleep("deferred").delay(Duration::from_secs(3600))).await.unwrap();
        assert!(deferred.abort().await.unwrap());
        deferred.result().await.expect_err("it was cancelled before it started");
        until_forgotten(&ground).await;
    })
    .await;
}

/// arq's `abort()` of a job that is over leaves its request behind for ever, and a Python worker then kills the next
/// job of that id. DIFFERENCE: here it is gone before one can come.
#[tokio::test]
async fn a_request_that_met_no_job_kills_no_later_one() {
    in_each_codec(async |ground| {
        let fleet = ground.rust_worker();
        assert_eq!(python_aborts(&ground, "nobody").await, json!({"aborted": false}));
        assert_eq!(requests(&ground), "nobody");
        until_forgotten(&ground).await; // by a worker that has run no job at all
        ground.python_enqueues(&["nothing", "--id", "nobody"]).await;
        ground.rust_result("nobody").await.expect("the request was for no job");

        let first = ground.client.enqueue(nothing::job().id("again")).await.unwrap();
        first.result().await.unwrap();
        assert_eq!(python_aborts(&ground, "again").await, json!({"aborted": false}));
        let second = ground.client.enqueue(nothing::job().id("again").replace_finished()).await.unwrap();
        assert!(second.is_new());
        second.result().await.expect("the request was for the job before it");
        fleet.stop().await.unwrap();
    })
    .await;
}

/// A request for a job of another queue stands until that job's worker has seen it.
#[tokio::test]
async fn requests_of_other_queues_stay() {
    in_each_codec(async |ground| {
        let fleet = ground.rust_worker();
        ground.python_enqueues(&["sleep", "--id", "theirs", "--queue", "arq:other"]).await;
        let python = ground.another_python();
        let abort = ["abort", "theirs", "--queue", "arq:other", "--wait", "2"];
        let (answer, ()) = tokio::join!(python.call(&abort), async {
            until("it is asked for", async || requests(&ground) == "theirs").await;
            for id in 0..20 {
                ground.client.enqueue(held::job().id(format!("{id}"))).await.unwrap();
                until_running(&ground, &id.to_string()).await;
                ground.gate.0.add_permits(1);
                ground.rust_result(&id.to_string()).await.unwrap();
            }
        });
        assert_eq!(answer["error"], "TimeoutError", "{answer}");
        assert_eq!(requests(&ground), "theirs");
        fleet.stop().await.unwrap();
    })
    .await;
}

/// What Rust notes of a job is not of the next one of its id, which Python enqueues when the first is over.
#[tokio::test]
async fn a_later_job_of_the_same_id_starts_afresh() {
    in_each_codec(async |ground| {
        let words = ["sleep", "--args", "[600]", "--id", "daily"];
        let mut rounds = 0;
        while ground.redis(&["HGET", "arq:s7:job:daily", "b"]) != "1" {
            assert!(rounds < 5, "Python leaves our note, unless it is done before that is made");
            rounds += 1;
            ground.python_enqueues(&words).await;
            let mut worker = ground.python_worker(&["--abort", "--keep-result", "0"]).await;
            until_running(&ground, "daily").await;
            assert!(ground.handle("daily").abort().await.unwrap());
            until("it is over", async || ground.rust_status("daily").await.is_none()).await;
            until_forgotten(&ground).await;
            worker.terminate().await;
        }

        ground.python_enqueues(&words).await;
        let info = ground.handle("daily").info().await.unwrap().unwrap();
        assert!(!info.abort_requested);
        let fleet = ground.rust_worker();
        assert_eq!(ground.rust_result("daily").await.unwrap(), json!([1, 600.0]));
        fleet.stop().await.unwrap();
        ground.assert_nothing_left();
    })
    .await;
}
