//! What it changes.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sector7g_tasks::prelude::*;
use serde_json::json;
use support::{Program, RedisServer};

use super::{Mended, WORKER, broker, die, operate, rod, until};

/// An operator's day: a failure shows, its letters are read and put back once it is mended, and all is well again.
#[tokio::test]
async fn a_failure_is_seen_and_mended() {
    let (server, mended) = (RedisServer::start(), Mended::default());
    let harness = rod(&server, &mended);
    let (fleet, client) = (harness.start(), Client::new(broker(&server)));
    let jobs = client.enqueue_all((1..=3).map(stumbles_job)).await.unwrap();
    for job in &jobs {
        job.result().await.unwrap_err();
    }
    let degraded =
        operate(&server, "health status --detailed").expect(1, &["degraded", "queue `rod` has 3 dead letters"]);
    assert!(degraded.out.contains("`sector-7g dead list --queue rod`"), "{degraded:?}");
    operate(&server, "health status --max-dead 3").expect(0, &["healthy"]);
    let id = jobs[1].id().as_str();
    let listed = operate(&server, "dead list").expect(0, &[id, "stumbles(2, ***)", "no coolant in reactor 2"]);
    assert!(!listed.out.contains("thrillhouse"), "{listed:?}");
    let shown = operate(&server, &format!("dead show {id} --show-args")).expect(
        0,
        &[
            "stumbles(2, ***)",
            "[std::io::",
            "try 1  error: ",
            "failed 2",
            ", after ",
            " on worker rod of ",
            ", process ",
        ],
    );
    assert!(!shown.out.contains("thrillhouse"), "what its task hides stays hidden: {shown:?}");

    mended.0.store(true, Ordering::Relaxed);
    operate(&server, &format!("dead retry {id}")).expect(0, &["1 dead letter put back."]);
    assert_eq!(jobs[1].result().await.unwrap(), json!(11));
    operate(&server, "dead retry --all").expect(64, &["2 dead letters of `rod` (2) are to be put back", "--yes"]);
    assert_eq!(client.stats("rod").await.unwrap().dead, 2, "nobody said yes");
    let answer = operate(&server, "dead retry --all --yes --json").expect(0, &[]).json();
    assert_eq!(answer, json!({ "changed": 2, "left": [] }));
    for job in &jobs {
        assert_eq!(job.result().await.unwrap(), json!(11));
    }
    operate(&server, "health status").expect(0, &["healthy"]);
    operate(&server, &format!("jobs show {id}")).expect(0, &["complete", "result", "11"]);
    fleet.stop().await.unwrap();
}

/// Its result is kept for a while, under its id alone; the letter is found all the same, where it is.
#[tokio::test]
async fn a_dead_letter_of_the_second_queue_is_found() {
    let server = RedisServer::start();
    die(&server, "another", "task", 1).await;
    let (fleet, client) = (rod(&server, &Mended::default()).start(), Client::new(broker(&server)));
    let job = client.enqueue(stumbles_job(1)).await.unwrap();
    job.result().await.unwrap_err();
    let shown = operate(&server, &format!("jobs show {} --json", job.id())).expect(0, &[]).json();
    assert_eq!((&shown["queue"], &shown["state"]), (&json!("rod"), &json!("dead")));
    operate(&server, &format!("jobs show {} -q another", job.id())).expect(3, &["in queue `another`"]);
    fleet.stop().await.unwrap();
}

fn stumbles_job(reactor: u8) -> Job<Untyped> {
    Job::untyped("stumbles", "rod").arg(reactor).arg("thrillhouse")
}

/// A pause holds workers in other processes, also one that starts while it stands; when it ends, they go on at once.
#[tokio::test]
async fn a_pause_outlives_a_restart_of_the_workers() {
    let server = RedisServer::start();
    let client = Client::new(broker(&server));
    let start = || Program::start(WORKER, &["mixed", "--redis", &server.url()]);
    let mut worker = start();
    let lives = async |count| client.stats("mixed").await.unwrap().workers.len() == count;
    until("it lives", async || lives(1).await).await;
    operate(&server, "pause mixed").expect(0, &["`mixed` is paused", "Python workers ignore it."]);
    let job = client.enqueue(Job::untyped("sleep", "mixed").arg(0.01)).await.unwrap();
    assert_eq!(worker.terminate().await, 0);
    let _worker = start();
    until("another lives", async || lives(1).await).await;
    let asked = || {
        let told = server.cli(&["INFO", "commandstats"]);
        let calls = told.split("cmdstat_evalsha:calls=").nth(1).and_then(|rest| rest.split(',').next()?.parse().ok());
        calls.unwrap_or(0_u64)
    };
    let before = asked();
    until("it has asked for jobs again and again", async || asked() >= before + 10).await;
    assert_eq!(job.status().await.unwrap(), Some(JobState::Queued), "it is paused");
    operate(&server, "queues").expect(0, &["paused "]);
    operate(&server, "health status")
        .expect(1, &["queue `mixed` has been paused for ", "1 due job in it: `sector-7g resume mixed`"]);
    operate(&server, "health status --allow-paused").expect(0, &["healthy"]);
    operate(&server, "pause mixed").expect(0, &["was paused already"]);
    let answer = operate(&server, "resume mixed --json").expect(0, &[]).json();
    assert_eq!(answer, json!({ "queue": "mixed", "paused": false, "changed": true, "python_workers": false }));
    assert_eq!(job.result().await.unwrap(), json!(0.01));
    operate(&server, "resume mixed").expect(0, &["was not paused"]);
}

#[tokio::test]
async fn a_deferred_job_is_run_now_or_aborted() {
    let (server, mended) = (RedisServer::start(), Mended::default());
    mended.0.store(true, Ordering::Relaxed);
    let (fleet, client) = (rod(&server, &mended).start(), Client::new(broker(&server)));
    let hour = Duration::from_hours(1);
    let [now, never] = [1, 2].map(|n| client.enqueue(stumbles_job(n).delay(hour)));
    let (now, never) = (now.await.unwrap(), never.await.unwrap());
    operate(&server, "jobs list").expect(0, &["deferred", "in 59m 59s", now.id().as_str()]);
    operate(&server, &format!("jobs run-now {}", now.id())).expect(0, &["is due now"]);
    assert_eq!(now.result().await.unwrap(), json!(11));
    operate(&server, &format!("jobs run-now {}", now.id())).expect(3, &["is complete: only a deferred one"]);
    operate(&server, &format!("jobs abort {}", never.id())).expect(0, &["(deferred) is to be aborted"]);
    assert!(never.result().await.unwrap_err().is_aborted());
    operate(&server, &format!("jobs abort {}", never.id())).expect(3, &["only one that waits or runs"]);
    fleet.stop().await.unwrap();
}

/// Letters are chosen by id, task and age, over all queues or in one; nothing else is touched.
#[tokio::test]
async fn dead_letters_are_chosen() {
    let server = RedisServer::start();
    let eaten = die(&server, "homer", "eat", 3).await;
    die(&server, "homer", "nap", 2).await;
    die(&server, "lenny", "nap", 1).await;
    let dead = || {
        let queues = operate(&server, "queues --json").json();
        queues.as_array().unwrap().iter().map(|queue| queue["dead"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    operate(&server, "dead discard --task eat")
        .expect(64, &["3 dead letters of `homer` (3) are to be deleted for good"]);
    for chosen in ["--older-than 0s", "--newer-than 1h", "--older-than 0s --newer-than 1h --task nap -q lenny", "--all"]
    {
        operate(&server, &format!("dead discard {chosen}")).expect(64, &["to be deleted for good", "add --yes"]);
        operate(&server, &format!("dead retry {chosen}")).expect(64, &["to be put back", "add --yes"]);
    }
    assert_eq!(dead(), [5, 1], "nobody said yes");
    operate(&server, "dead discard --older-than 1h --yes").expect(0, &["0 dead letters deleted"]);
    assert_eq!(dead(), [5, 1], "none was");
    operate(&server, &format!("dead discard {} {}", eaten[0], eaten[1])).expect(64, &["2 dead letters"]);
    operate(&server, &format!("dead discard {} {} --yes", eaten[0], eaten[1])).expect(0, &["2 dead letters deleted"]);
    operate(&server, "dead discard --task nap --queue homer --newer-than 1h --yes")
        .expect(0, &["2 dead letters deleted"]);
    assert_eq!(dead(), [1, 1]);
    operate(&server, "dead discard --all --task nap").expect(64, &["cannot be used with"]);
    operate(&server, "dead discard --all --yes").expect(0, &["2 dead letters deleted"]);
    assert_eq!(dead(), [0_u64; 0], "and no queue is left");
}
