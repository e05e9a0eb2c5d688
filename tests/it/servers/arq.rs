use serde_json::{Value, json};
use support::{PythonClient, PythonWorker, RedisServer};

use super::runs;

#[tokio::test]
async fn python_runs_what_python_enqueues_in_each_codec() {
    let server = RedisServer::start();
    for codec in ["pickle", "json", "msgpack"] {
        let queue = format!("arq:{codec}");
        let options = ["--codec", codec, "--queue", &queue];
        let (client, mut worker) =
            (PythonClient::start(&server.url(), &options), PythonWorker::spawn(&server.url(), &options));
        let answer = client.call(&["enqueue", "add", "--args", "[2, 5]", "--id", codec, "--wait", "20"]).await;
        assert_eq!(answer, json!({"id": codec, "result": 7}));
        assert_eq!(client.call(&["status", codec]).await, json!({"status": "complete"}));
        assert_eq!(worker.terminate().await, 0);
        assert!(worker.said().contains(" ● 7"), "{}", worker.said());
    }
}

#[tokio::test]
async fn a_client_answers_each_command_by_itself() {
    let server = RedisServer::start();
    let client = PythonClient::start(&server.unix_url(), &["--queue", "arq:lenny"]);
    let many = client.call(&["enqueue-many", "add", "--args-list", "[[1, 2], [3, 4]]"]).await;
    assert_eq!(many["ids"].as_array().map(Vec::len), Some(2), "{many}");
    assert_eq!(client.call(&["enqueue-many", "echo", "3"]).await["ids"].as_array().map(Vec::len), Some(3));
    assert_eq!(client.call(&["queued"]).await["jobs"].as_array().map(Vec::len), Some(5));
    assert_eq!(client.call(&["queued", "--queue", "arq:carl"]).await, json!({"jobs": []}));
    let later = ["enqueue", "echo", "--id", "later", "--defer-until", "4102444800"];
    assert_eq!(client.call(&later).await, json!({"id": "later"}));
    assert_eq!(client.call(&later).await, json!({"id": null}), "the id is taken");
    assert_eq!(server.cli(&["ZSCORE", "arq:lenny", "later"]), "4102444800000");
    let timed_out = client.call(&["result", "later", "--wait", "0.05"]).await;
    assert_eq!(timed_out["error"], "TimeoutError", "{timed_out}");
    assert_eq!(client.call(&["check"]).await, json!({"exit": 1}), "no worker has said that it is well");

    server.cli(&["SET", "arq:job:broken", "no pickle"]);
    let raised = client.try_call(&["info", "broken"]).await.unwrap_err();
    assert_eq!(raised["raised"], "DeserializationError", "{raised}");
    assert_eq!(client.call(&["status", "nobody"]).await, json!({"status": "not_found"}), "it goes on");
}

#[tokio::test]
async fn a_worker_can_burst_be_killed_and_be_frozen() {
    let server = RedisServer::start();
    let client = PythonClient::start(&server.url(), &[]);
    client.call(&["enqueue-many", "echo", "3"]).await;
    let burst = ["--burst", "--ledger", "ledger"];
    assert_eq!(PythonWorker::start(&server.url(), &burst).await.end().await, 0);
    assert_eq!(server.cli(&["LLEN", "ledger"]), "6", "each start and each end");

    let mut worker = PythonWorker::start(&server.url(), &["--functions", "echo,crash"]).await;
    assert_eq!(client.call(&["enqueue", "add", "--wait", "20"]).await["error"], "JobExecutionFailed");
    worker.freeze();
    let waited = client.call(&["enqueue", "echo", "--id", "frozen", "--wait", "0.7"]).await;
    assert_eq!(waited["error"], "TimeoutError", "{waited}");
    worker.thaw();
    let result = client.call(&["result", "frozen", "--wait", "20"]).await;
    assert_eq!(result["result"]["by"], Value::from("python"), "{result}");
    client.call(&["enqueue", "crash"]).await;
    assert_eq!(worker.end().await, 9);

    let mut worker = PythonWorker::start(&server.url(), &[]).await;
    worker.kill9();
    assert!(!runs(worker.pid()));
    assert_eq!(worker.end().await, 137);
}
