//! `--check` of each side accepts the other side's workers.

use sector7g_tasks::prelude::*;
use serde_json::json;

use super::ground::{MIXED, until};
use super::in_each_codec;

fn health_key() -> String {
    format!("{MIXED}:health-check")
}

#[tokio::test]
async fn arqs_check_accepts_a_rust_worker() {
    in_each_codec(async |ground| {
        assert_eq!(ground.python.call(&["check"]).await, json!({"exit": 1}));
        let fleet = ground.rust_worker();
        until("it says that it lives", async || ground.python.call(&["check"]).await == json!({"exit": 0})).await;
        let line = ground.redis(&["GET", &health_key()]);
        let (time, counts) = line.split_at("Nov-24 00:31:50 ".len());
        assert_eq!(counts, "j_complete=0 j_failed=0 j_retried=0 j_ongoing=0 queued=0");
        let form: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(&form[3..], "-00 00:00:00 ", "{line}");
        assert!(form[..3].chars().all(char::is_alphabetic), "{line}");
        fleet.stop().await.unwrap();
        assert_eq!(ground.python.call(&["check"]).await, json!({"exit": 1}), "it has said goodbye");
    })
    .await;
}

#[tokio::test]
async fn our_look_at_a_queue_shows_a_python_worker() {
    in_each_codec(async |ground| {
        assert!(ground.client.stats("mixed").await.unwrap().workers.is_empty());
        let _worker = ground.python_worker(&["--health-check-interval", "1"]).await;
        let job = Job::untyped("echo", "mixed");
        ground.client.enqueue(job).await.unwrap().result().await.unwrap();
        let done = async || ground.client.stats("mixed").await.unwrap().workers.first().map(|worker| worker.done);
        until("it is shown with what it has done", async || done().await == Some(1)).await;
        let workers = ground.client.stats("mixed").await.unwrap().workers;
        assert!(workers.len() == 1 && workers[0].is_arq(), "{workers:?}");

        let fleet = ground.rust_worker();
        let ours = async || ground.client.stats("mixed").await.unwrap().workers;
        until("ours is shown", async || ours().await.iter().any(|worker| worker.name == "mixed")).await;
        assert!(!ours().await[0].is_arq(), "arq's line is ours then, as any worker writes the same key");
        fleet.stop().await.unwrap();
    })
    .await;
}

/// arq's line names no worker: it stands for any, as long as none of ours has said anything on the queue.
#[tokio::test]
async fn our_check_accepts_a_python_worker() {
    in_each_codec(async |ground| {
        let (code, said) = ground.our_check().await;
        assert_eq!(code, 1, "{said}");
        let mut worker = ground.python_worker(&["--health-check-interval", "1"]).await;
        until("its line is there", async || ground.redis(&["EXISTS", &health_key()]) == "1").await;
        let (code, said) = ground.our_check().await;
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("Health check successful: arq j_complete=0"), "{said}");
        worker.terminate().await;
        assert_eq!(ground.our_check().await.0, 1, "it has said goodbye");
    })
    .await;
}
