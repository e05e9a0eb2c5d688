//! What each side sees of jobs that the other one has, at every stage.

use std::collections::HashSet;
use std::time::Duration;

use sector7g_tasks::broker::JobFilter;
use sector7g_tasks::codec::Codec;
use sector7g_tasks::prelude::*;
use serde_json::{Value, json};
use support::Program;

use super::ground::{Ground, MIXED, held, until};
use super::{in_codec, in_each_codec};

/// Python's `Job.info()`.
async fn info(ground: &Ground, id: &str) -> Value {
    ground.python.call(&["info", id]).await["info"].clone()
}

#[tokio::test]
async fn python_sees_each_stage_of_a_rust_job() {
    in_each_codec(async |ground| {
        ground.until_status("later", "not_found", None).await;
        let later = ground.client.enqueue(held::job().id("later").delay(Duration::from_secs(3600))).await.unwrap();
        ground.until_status("later", "deferred", Some(JobState::Deferred)).await;
        let seen = info(&ground, "later").await;
        assert_eq!((&seen["function"], &seen["args"], &seen["kwargs"]), (&json!("held"), &json!([]), &json!({})));
        assert_eq!(seen["score"], ground.redis(&["ZSCORE", MIXED, "later"]).parse::<i64>().unwrap());

        ground.client.enqueue(held::job().id("now")).await.unwrap();
        ground.until_status("now", "queued", Some(JobState::Queued)).await;
        let fleet = ground.rust_worker();
        ground.until_status("now", "in_progress", Some(JobState::InProgress)).await;
        let queued = ground.python.call(&["queued"]).await;
        let ids: Vec<&Value> = queued["jobs"].as_array().unwrap().iter().map(|job| &job["job_id"]).collect();
        assert_eq!(ids, ["now", "later"], "a running job is still one of the queue: {queued}");
        assert_eq!(info(&ground, "now").await["function"], "held");
        let waited = ground.python.call(&["result", "now", "--wait", "0.05"]).await;
        assert_eq!(waited["error"], "TimeoutError", "{waited}");

        ground.gate.0.add_permits(1);
        assert_eq!(ground.python_result("now").await, json!({"result": "let go"}));
        ground.until_status("now", "complete", Some(JobState::Complete)).await;
        let ended = ground.python.call(&["result-info", "now"]).await["info"].clone();
        let expected = json!({
            "function": "held", "args": [], "kwargs": {}, "job_try": 1, "success": true, "result": "let go",
            "queue_name": MIXED, "job_id": "now", "score": null,
        });
        for (field, expected) in expected.as_object().unwrap() {
            assert_eq!(&ended[field], expected, "{field} of {ended}");
        }
        assert!(ended["start_time"]["repr"].as_str() <= ended["finish_time"]["repr"].as_str(), "{ended}");

        assert!(later.abort().await.unwrap());
        assert!(later.result().await.unwrap_err().is_aborted());
        ground.until_status("later", "complete", Some(JobState::Complete)).await;
        let results = ground.python.call(&["results"]).await;
        let ids: Vec<&Value> = results["results"].as_array().unwrap().iter().map(|job| &job["job_id"]).collect();
        assert_eq!(ids, ["later", "now"], "sorted by when they were enqueued");
        fleet.stop().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn rust_sees_each_stage_of_a_python_job() {
    in_each_codec(async |ground| {
        let words = ["sleep", "--args", "[0.5]", "--id", "nap", "--defer-by", "0.5"];
        ground.python_enqueues(&words).await;
        ground.until_status("nap", "deferred", Some(JobState::Deferred)).await;
        let handle = ground.handle("nap");
        let seen = handle.info().await.unwrap().unwrap();
        assert_eq!((seen.task.as_deref(), seen.arguments.as_deref(), seen.attempt), (Some("sleep"), Some("0.5"), 0));
        until("it is due", async || ground.rust_status("nap").await == Some(JobState::Queued)).await;
        assert_eq!(ground.client.stats("mixed").await.unwrap().queued, 1);

        let _worker = ground.python_worker(&[]).await;
        until("it runs", async || ground.rust_status("nap").await == Some(JobState::InProgress)).await;
        let stats = ground.client.stats("mixed").await.unwrap();
        assert_eq!((stats.queued, stats.deferred, stats.running, stats.dead), (0, 0, 1, 0));
        assert_eq!(stats.oldest_due, None, "what Python runs does not wait");
        let listed = ground.client.jobs("mixed", JobFilter::Live, None, 10).await.unwrap().jobs;
        let found: Vec<JobState> = listed.iter().map(|job| job.state).collect();
        assert_eq!(found, [JobState::InProgress]);

        assert_eq!(ground.rust_result("nap").await.unwrap(), json!(0.5));
        let ended = handle.info().await.unwrap().unwrap();
        assert_eq!((ended.state, ended.attempt), (JobState::Complete, 1));
        assert_eq!(ended.outcome.unwrap().unwrap().as_json(), "0.5");
        assert!(ended.started_at < ended.finished_at && ended.enqueued_at < ended.started_at);
        let stats = ground.client.stats("mixed").await.unwrap();
        assert_eq!((stats.live(), stats.dead), (0, 0));
    })
    .await;
}

/// Python's `queued_jobs()` raises for a member without a job, `KEYS[1]` must never hold one.
const MEMBERS_WITHOUT_JOB: &str = "
    local bare = 0
    for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
        bare = bare + 1 - redis.call('EXISTS', 'arq:job:' .. id)
    end
    return bare";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pythons_list_of_jobs_holds_while_rust_works() {
    in_each_codec(async |ground| {
        let fleet = ground.rust_worker();
        let mut looks = 0;
        for round in 0..10 {
            let jobs = (0..200).map(|n| Job::untyped("add", "mixed").arg(n).arg(round));
            ground.client.enqueue_all(jobs).await.unwrap();
            while ground.redis(&["ZCARD", MIXED]) != "0" {
                assert_eq!(ground.redis(&["EVAL", MEMBERS_WITHOUT_JOB, "1", MIXED]), "0");
                looks += 1;
            }
        }
        assert!(looks > 10, "jobs were at work during {looks} looks");
        assert_eq!(ground.python.call(&["results"]).await["results"].as_array().unwrap().len(), 2_000);
        assert_eq!(fleet.stop().await.unwrap().done(), 2_000);
        ground.assert_nothing_left();
    })
    .await;
}

/// While workers of ours drain a queue, Python's `queued_jobs()` shows no job that had ended before it was asked; and
/// whenever they are stopped, it can read each member: none is there without its job.
#[tokio::test]
async fn python_sees_a_queue_that_is_drained() {
    const JOBS: usize = 2_000;
    in_codec("pickle", Codec::Pickle, async |ground: Ground| {
        let jobs = (0..JOBS).map(|_| Job::untyped("sleep", "mixed").arg(0.02)).collect::<Vec<_>>();
        ground.client.enqueue_all(jobs).await.unwrap();
        let workers = [ground.rust_process(), ground.rust_process()];
        let ended = || -> HashSet<String> {
            let keys = ground.redis(&["KEYS", "arq:result:*"]);
            keys.lines().map(|key| key.trim_start_matches("arq:result:").to_owned()).collect()
        };
        let ids = |queued: &Value| -> HashSet<String> {
            let jobs = queued["jobs"].as_array().unwrap().iter();
            jobs.map(|job| job["job_id"].as_str().unwrap().to_owned()).collect()
        };
        until("jobs have ended", async || !ended().is_empty()).await;
        let (mut live, mut stopped) = (0, 0);
        loop {
            let before = ended();
            match ground.python.try_call(&["queued"]).await {
                Ok(queued) => assert!(ids(&queued).is_disjoint(&before), "these have ended: {before:?}"),
                // arq reads the queue first and then each job: one that ended in between is not found, whoever ran it.
                Err(raised) => assert!(ended().iter().any(|id| raised["message"].to_string().contains(id)), "{raised}"),
            }
            live += usize::from(before.len() < JOBS);
            workers.iter().for_each(Program::freeze);
            ground.redis(&["PING"]); // answered once what they had sent is done
            let queued = ground.python.call(&["queued"]).await;
            let (queued, ended) = (ids(&queued), ended());
            assert!(queued.is_disjoint(&ended) && queued.len() + ended.len() == JOBS, "{queued:?} {ended:?}");
            workers.iter().for_each(Program::thaw);
            if queued.is_empty() {
                break;
            }
            stopped += 1;
        }
        assert!(live > 2 && stopped > 2, "it was looked at during the drain: {live}, {stopped}");
    })
    .await;
}
