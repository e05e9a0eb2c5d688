//! The options of a job and the ways in which it can end, whichever side enqueues and whichever runs it.

use std::time::Duration;

use sector7g_tasks::broker::JobFilter;
use sector7g_tasks::clock::Timestamp;
use sector7g_tasks::prelude::*;
use serde_json::json;

use super::ground::{Ground, MIXED, nothing, until};
use super::in_each_codec;

fn now(ground: &Ground) -> Timestamp {
    ground.client.broker().clock().now()
}

#[tokio::test]
async fn an_id_is_one_job_for_both() {
    in_each_codec(async |ground| {
        let ours = || nothing::job().id("ours");
        assert!(ground.client.enqueue(ours()).await.unwrap().is_new());
        let again = ["enqueue", "nothing", "--id", "ours"];
        assert_eq!(ground.python.call(&again).await, json!({"id": null}));
        ground.python_enqueues(&["nothing", "--id", "theirs"]).await;
        assert!(!ground.client.enqueue(nothing::job().id("theirs")).await.unwrap().is_new());
        assert_eq!(ground.redis(&["ZCARD", MIXED]), "2");

        let fleet = ground.rust_worker();
        ground.rust_result("ours").await.unwrap();
        ground.rust_result("theirs").await.unwrap();
        assert_eq!(ground.python.call(&again).await, json!({"id": null}), "its result is kept");
        assert!(!ground.client.enqueue(nothing::job().id("theirs")).await.unwrap().is_new());
        assert_eq!(fleet.stop().await.unwrap().done(), 2);
    })
    .await;
}

#[tokio::test]
async fn deferred_jobs_run_at_their_time() {
    in_each_codec(async |ground| {
        let fleet = ground.rust_worker();
        let until = now(&ground) + Duration::from_millis(700);
        let at = format!("{}.{:03}", until.as_millis() / 1_000, until.as_millis() % 1_000);
        ground.python_enqueues(&["nothing", "--id", "by", "--defer-by", "0.6"]).await;
        ground.python_enqueues(&["nothing", "--id", "until", "--defer-until", &at]).await;
        assert_eq!(ground.redis(&["ZSCORE", MIXED, "until"]), until.as_millis().to_string());
        let by: i64 = ground.redis(&["ZSCORE", MIXED, "by"]).parse().unwrap();
        for (id, due) in [("by", Timestamp::from_millis(by)), ("until", until)] {
            ground.rust_result(id).await.unwrap();
            let started = ground.handle(id).info().await.unwrap().unwrap().started_at.unwrap();
            assert!(started >= due, "{id} is due at {due} and started at {started}");
        }
        fleet.stop().await.unwrap();

        let _worker = ground.python_worker(&[]).await;
        let due = now(&ground) + Duration::from_millis(300);
        let count_try = || Job::untyped("count_try", "mixed");
        let by = ground.client.enqueue(count_try().delay(Duration::from_millis(300))).await.unwrap();
        let until = ground.client.enqueue(count_try().at(due)).await.unwrap();
        for handle in [by, until] {
            handle.result().await.unwrap();
            assert!(handle.info().await.unwrap().unwrap().started_at.unwrap() >= due);
        }
    })
    .await;
}

#[tokio::test]
async fn a_job_that_waits_too_long_expires() {
    in_each_codec(async |ground| {
        let fleet = ground.rust_worker();
        let words = ["enqueue", "nothing", "--id", "late", "--expires", "0.05", "--defer-by", "0.2", "--wait", "20"];
        let answer = ground.python.call(&words).await;
        assert_eq!(answer["message"], "job expired", "{answer}");
        let error = ground.rust_result("late").await.unwrap_err();
        assert_eq!(error.failure().unwrap().kind, FailureKind::Expired);
        let words = ["enqueue", "nothing", "--id", "in-time", "--expires", "20", "--wait", "20"];
        assert_eq!(ground.python.call(&words).await, json!({"id": "in-time", "result": null}));
        fleet.stop().await.unwrap();
        ground.assert_nothing_left();

        let _worker = ground.python_worker(&[]).await;
        let job = Job::untyped("echo", "mixed").expires(Duration::from_millis(50)).delay(Duration::from_millis(200));
        let error = ground.client.enqueue(job).await.unwrap().result().await.unwrap_err();
        assert!(error.failure().unwrap().message.contains("job expired"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_producer_may_start_the_count_of_tries() {
    in_each_codec(async |ground| {
        let fleet = ground.rust_worker();
        let words = |tries| ["enqueue", "count_try", "--job-try", tries, "--wait", "20"];
        assert_eq!(ground.python.call(&words("3")).await["result"], 3);
        assert_eq!(ground.python.call(&words("5")).await["result"], 5);
        let answer = ground.python.call(&words("6")).await;
        assert_eq!(answer["message"], "max 5 retries exceeded", "{answer}");
        let retried = ["enqueue", "retry_then_ok", "--args", "[3, 0.01]", "--job-try", "3", "--wait", "20"];
        assert_eq!(ground.python.call(&retried).await["result"], 4);
        fleet.stop().await.unwrap();
        ground.assert_nothing_left();
    })
    .await;
}

/// A try of a worker that is stopped counts in arq, one of ours does not: DIFFERENCE, wanted.
#[tokio::test]
async fn tries_of_both_sides_are_counted_together() {
    in_each_codec(async |ground| {
        let job = Job::untyped("sleep", "mixed").arg(600).id("moved");
        ground.client.enqueue(job).await.unwrap();
        for tries in ["1", "2"] {
            let mut worker = ground.python_worker(&[]).await;
            until("it runs", async || ground.redis(&["GET", "arq:retry:moved"]) == tries).await;
            until("it runs", async || ground.rust_status("moved").await == Some(JobState::InProgress)).await;
            assert_eq!(worker.terminate().await, 0);
            ground.until_status("moved", "queued", Some(JobState::Queued)).await;
        }
        let mut worker = ground.python_worker(&[]).await;
        until("it runs", async || ground.redis(&["GET", "arq:retry:moved"]) == "3").await;
        worker.kill9();
        ground.until_status("moved", "in_progress", Some(JobState::InProgress)).await;
        ground.redis(&["DEL", "arq:in-progress:moved"]); // it would run out after 310 s
        let fleet = ground.rust_worker();
        assert_eq!(ground.rust_result("moved").await.unwrap(), json!([4, 600.0]));

        let words = ["retry_then_ok", "--args", "[1, 1]", "--id", "back"];
        ground.python_enqueues(&words).await;
        until("its first try is over", async || ground.rust_status("back").await == Some(JobState::Deferred)).await;
        fleet.stop().await.unwrap();
        let mut worker = ground.python_worker(&[]).await;
        assert_eq!(ground.python_result("back").await, json!({"result": 2}));
        worker.terminate().await;

        ground.python_enqueues(&["retry_then_ok", "--args", "[1, 0.5]", "--id", "over"]).await;
        let fleet = ground.rust_worker();
        until("its first try is over", async || ground.rust_status("over").await == Some(JobState::Deferred)).await;
        fleet.stop().await.unwrap();
        let _worker = ground.python_worker(&["--max-tries", "1"]).await;
        let error = ground.rust_result("over").await.unwrap_err();
        assert!(error.failure().unwrap().message.contains("max 1 retries exceeded"), "{error}");
    })
    .await;
}

/// Python's retry moves the score from where it was when it took the job: nobody may have moved it meanwhile.
#[tokio::test]
async fn retries_go_from_hand_to_hand() {
    in_each_codec(async |ground| {
        let options = ["--max-jobs", "20", "--poll-delay", "0.001"];
        let _workers = (ground.python_worker(&options).await, ground.python_worker(&options).await);
        let fleet = ground.rust_worker();
        let began = now(&ground);
        let jobs = (0..60).map(|_| Job::untyped("retry_then_ok", "mixed").arg(3).arg(0.2));
        for handle in ground.client.enqueue_all(jobs).await.unwrap() {
            assert_eq!(handle.result().await.unwrap(), 4, "each try was counted once");
            let ended = handle.info().await.unwrap().unwrap().finished_at.unwrap();
            assert!(ended.since(began) >= Duration::from_millis(600), "each retry waited");
            assert!(ended.since(began) < Duration::from_secs(10), "and no longer than it should");
        }
        let ours = fleet.stop().await.unwrap().retried();
        assert!((1..180).contains(&ours), "both sides took part: {ours} of 180 retries were ours");
    })
    .await;
}

#[tokio::test]
async fn a_job_that_nobody_can_read_is_a_dead_letter() {
    in_each_codec(async |ground| {
        let put = |id: &str| {
            ground.redis(&["SET", &format!("arq:job:{id}"), "!no job!"]);
            ground.redis(&["ZADD", MIXED, "1", id]);
        };
        put("ours");
        let fleet = ground.rust_worker();
        let error = ground.rust_result("ours").await.unwrap_err();
        assert_eq!(error.failure().unwrap().kind, FailureKind::Payload);
        let dead = ground.client.jobs("mixed", JobFilter::Dead, None, 10).await.unwrap().jobs;
        assert_eq!(dead.len(), 1, "its bytes are kept");
        ground.client.discard_all_dead("mixed").await.unwrap();
        fleet.stop().await.unwrap();
        let answer = ground.python_result("ours").await;
        assert!(answer["message"].as_str().unwrap().contains("the job can't be read"), "{answer}");

        put("theirs");
        let _worker = ground.python_worker(&[]).await;
        let error = ground.rust_result("theirs").await.unwrap_err();
        assert!(error.failure().unwrap().message.contains("unable to deserialize job"), "{error}");
        ground.assert_nothing_left();
    })
    .await;
}

#[tokio::test]
async fn jobs_that_python_runs_do_not_hide_those_behind_them() {
    in_each_codec(async |ground| {
        let jobs = (0..250).map(|_| Job::untyped("sleep", "mixed").arg(600));
        ground.client.enqueue_all(jobs).await.unwrap();
        let _worker = ground.python_worker(&["--max-jobs", "250"]).await;
        until("all of them run", async || ground.client.stats("mixed").await.unwrap().running == 250).await;
        let behind = ground.client.enqueue_all((0..50).map(|_| nothing::job())).await.unwrap();
        let stats = ground.client.stats("mixed").await.unwrap();
        assert_eq!((stats.queued, stats.running), (50, 250));
        let fleet = ground.rust_worker();
        for handle in behind {
            handle.result_within(Duration::from_secs(10)).await.unwrap();
        }
        assert_eq!(fleet.stop().await.unwrap().done(), 50, "none of Python's was touched");
        assert_eq!(ground.client.stats("mixed").await.unwrap().running, 250);
    })
    .await;
}

/// To arq, a score of exactly 0 is no membership. DIFFERENCE: to those who look, we show the job.
#[tokio::test]
async fn a_score_of_0_never_runs() {
    in_each_codec(async |ground| {
        ground.client.enqueue(nothing::job().id("zero")).await.unwrap();
        ground.redis(&["ZADD", MIXED, "0", "zero"]);
        ground.client.enqueue(nothing::job().id("before")).await.unwrap();
        ground.redis(&["ZADD", MIXED, "-1", "before"]);
        let fleet = ground.rust_worker();
        let after = ground.client.enqueue(nothing::job()).await.unwrap();
        after.result().await.unwrap();
        ground.rust_result("before").await.expect("-1 does run");
        ground.until_status("zero", "not_found", Some(JobState::Queued)).await;
        assert_eq!(fleet.stop().await.unwrap().done(), 2);
    })
    .await;
}
