//! Jobs enqueued in one language and run in the other; results that both read.

use sector7g_tasks::codec::Codec;
use sector7g_tasks::prelude::*;
use serde_json::{Value, json};

use super::in_each_codec;

/// Python's tasks, as a Rust program declares them.
mod elsewhere {
    use sector7g_tasks::prelude::*;
    use serde::Deserialize;
    use serde_json::Value;

    #[derive(Debug, Deserialize, PartialEq)]
    pub(super) struct Echoed {
        pub(super) args: Vec<Value>,
        pub(super) kwargs: std::collections::BTreeMap<String, Value>,
        pub(super) by: String,
    }

    #[task(queue = "mixed")]
    pub(super) async fn add(a: i64, b: i64) -> i64;

    #[task(queue = "mixed")]
    pub(super) async fn echo(one: String, two: Option<u8>) -> Echoed;

    #[task(queue = "mixed")]
    pub(super) async fn big(n: usize) -> String;
}

/// Values of many shapes, each of which must come through unchanged.
fn shapes() -> Vec<Value> {
    let deep = (0..50).fold(json!("core"), |inner, _| json!([inner]));
    vec![
        json!(null),
        json!(true),
        json!(-7),
        json!(i64::MAX),
        json!(2.5),
        json!(1e300),
        json!(""),
        json!("zażółć gęślą 🍩 \u{0} \" \\ \n"),
        json!([]),
        json!([[], {}, [null]]),
        json!({"reactor": {"7-G": [1, 2.5, null]}, "": "no name"}),
        json!("x".repeat(100_000)),
        json!((0..3_000).collect::<Vec<u32>>()),
        deep,
    ]
}

#[tokio::test]
async fn rust_runs_what_python_enqueues() {
    in_each_codec(async |ground| {
        let fleet = ground.rust_worker();
        let wait = ["--wait", "30"];
        let by_place = ground.python.call(&[&["enqueue", "add", "--args", "[2, 5]"], &wait[..]].concat()).await;
        assert_eq!(by_place["result"], 7, "{by_place}");
        let by_name = ["enqueue", "add", "--kwargs", r#"{"b": 40, "a": 2}"#];
        assert_eq!(ground.python.call(&[&by_name, &wait[..]].concat()).await["result"], 42);
        let mixed = ["enqueue", "add", "--args", "[-1]", "--kwargs", r#"{"b": 1}"#];
        assert_eq!(ground.python.call(&[&mixed, &wait[..]].concat()).await["result"], 0);
        for shape in shapes() {
            let args = json!([shape, [shape]]).to_string();
            let answer = ground.python.call(&[&["enqueue", "echo", "--args", &args], &wait[..]].concat()).await;
            assert_eq!(answer["result"], json!({"args": [shape, [shape], null], "named": {}, "by": "rust"}));
            let ours = ground.rust_result(answer["id"].as_str().unwrap()).await.unwrap();
            assert_eq!(ours, answer["result"], "both read the same");
        }
        ground.assert_nothing_left();
        assert_eq!(fleet.stop().await.unwrap().failed(), 0);
    })
    .await;
}

#[tokio::test]
async fn python_runs_what_rust_enqueues() {
    in_each_codec(async |ground| {
        let worker = ground.python_worker(&[]).await;
        let client = &ground.client;
        let typed = client.enqueue(elsewhere::add::job(2, 5)).await.unwrap();
        assert_eq!(typed.result().await.unwrap(), 7);
        let echoed =
            client.enqueue(elsewhere::echo::job("7-G".to_owned(), None)).await.unwrap().result().await.unwrap();
        assert_eq!(echoed.args, [json!("7-G"), json!(null)]);
        assert_eq!((echoed.kwargs.len(), echoed.by.as_str()), (0, "python"));
        let big = client.enqueue(elsewhere::big::job(300_000)).await.unwrap();
        assert_eq!(big.result().await.unwrap().len(), 300_000);
        for shape in shapes() {
            let job = Job::untyped("echo", "mixed").arg(shape.clone()).named_arg("named", json!([shape]));
            let handle = client.enqueue(job).await.unwrap();
            let expected = json!({"args": [shape], "kwargs": {"named": [shape]}, "by": "python"});
            assert_eq!(handle.result().await.unwrap(), expected);
            assert_eq!(ground.python_result(handle.id().as_str()).await, json!({"result": expected}));
        }
        ground.assert_nothing_left();
        assert!(!worker.said().contains("failed,"), "{}", worker.said());
    })
    .await;
}

#[tokio::test]
async fn a_batch_goes_over_in_its_order() {
    in_each_codec(async |ground| {
        let jobs = (0..500).map(|n| elsewhere::add::job(n, 1));
        let handles = ground.client.enqueue_all(jobs).await.unwrap();
        let queued = ground.python.call(&["queued"]).await;
        let seen: Vec<&str> =
            queued["jobs"].as_array().unwrap().iter().map(|job| job["job_id"].as_str().unwrap()).collect();
        let ours: Vec<&str> = handles.iter().map(|handle| handle.id().as_str()).collect();
        assert_eq!(seen.len(), 500);
        assert_eq!(seen, ours, "jobs of one millisecond, too, wait in the order of their enqueueing");
        let options = ["--burst", "--max-jobs", "100"];
        assert_eq!(ground.python_worker(&options).await.end().await, 0);
        for (n, handle) in (0..500).zip(&handles) {
            assert_eq!(handle.result().await.unwrap(), n + 1);
        }
    })
    .await;
}

#[tokio::test]
async fn python_reads_how_a_rust_job_failed() {
    in_each_codec(async |ground| {
        let fleet = ground.rust_worker();
        let failed = ["enqueue", "fail", "--args", r#"["the rod is gone"]"#, "--wait", "30"];
        let answer = ground.python.call(&failed).await;
        assert_eq!(answer["message"], "the rod is gone", "{answer}");
        // arq raises a pickled exception itself, and without pickle wraps whatever text it finds.
        let class = if ground.codec() == Codec::Pickle { "RuntimeError" } else { "SerializationError" };
        assert_eq!(answer["error"], class, "{answer}");
        let ours = ground.rust_result(answer["id"].as_str().unwrap()).await.unwrap_err();
        assert_eq!(ours.failure().unwrap().message, "the rod is gone");

        let unfit = ["enqueue", "add", "--args", r#"[1, "two"]"#, "--wait", "30"];
        let answer = ground.python.call(&unfit).await;
        let message = answer["message"].as_str().unwrap();
        assert!(message.contains("task `add`") && message.contains("`b`"), "{answer}");
        assert_eq!(fleet.stop().await.unwrap().failed(), 2);
    })
    .await;
}

#[tokio::test]
async fn rust_reads_how_a_python_job_failed() {
    in_each_codec(async |ground| {
        let _worker = ground.python_worker(&[]).await;
        let job = Job::untyped("fail", "mixed").arg("the rod is gone");
        let error = ground.client.enqueue(job).await.unwrap().result().await.unwrap_err();
        let failure = error.failure().unwrap();
        assert_eq!(failure.kind, FailureKind::Error);
        assert!(failure.message.contains("the rod is gone"), "{failure}");
        assert_eq!(failure.attempt, 1);

        let unfit = ground.client.enqueue(Job::untyped("add", "mixed").arg(1)).await.unwrap();
        let error = unfit.result().await.unwrap_err();
        assert!(error.failure().unwrap().message.contains("missing 1 required positional argument: 'b'"), "{error}");
        // arq, as it says itself, destroys a job whose function it does not know.
        let unknown = ground.client.enqueue(Job::untyped("from_a_newer_deploy", "mixed")).await.unwrap();
        let error = unknown.result().await.unwrap_err();
        assert!(error.failure().unwrap().message.contains("function 'from_a_newer_deploy' not found"), "{error}");
    })
    .await;
}
