//! What is judged: queues that are expected, brokers that refuse, and the same thresholds wherever one looks.

use std::io::{BufRead as _, BufReader};
use std::process::Child;

use sector7g_tasks::prelude::*;
use serde_json::{Value, json};
use support::{Program, RedisServer};

use super::terminal::play_with;
use super::{WORKER, broker, command, die, operate, said, until};

/// Once its workers' entries have run out, the broker knows nothing of an empty queue.
#[tokio::test]
async fn a_fleet_that_is_gone_is_missed() {
    let server = RedisServer::start();
    operate(&server, "health status").expect(0, &["healthy"]);
    let missed = "queue `homer` has no worker: start one";
    operate(&server, "health status --expect homer").expect(1, &["degraded", missed]);
    let told = operate(&server, "health status --json --expect homer --expect lenny").expect(1, &[]).json();
    let names: Vec<_> = told["queues"].as_array().unwrap().iter().map(|queue| &queue["name"]).collect();
    assert_eq!(names, [&json!("homer"), &json!("lenny")]);
    operate(&server, "health status --expect homer --min-workers 0").expect(0, &["healthy"]);
    operate(&server, "health status --expect homer --queue lenny").expect(1, &["queue `lenny` has no worker"]);

    let mut by_environment = command(&["health", "status"]);
    by_environment.env("REDIS_URL", server.url()).env("SECTOR7G_EXPECT", "lenny, homer");
    said(by_environment).expect(1, &[missed, "queue `lenny` has no worker"]);

    die(&server, "homer", "prods", 1).await;
    let told = operate(&server, "health status --json --expect homer").expect(1, &[]).json();
    assert_eq!(told["queues"].as_array().unwrap().len(), 1, "once, also when it is listed: {told}");
}

#[test]
fn a_broker_that_lets_nobody_in_is_down_and_says_why() {
    let server = RedisServer::builder().password("thrillhouse").user("lenny", "on >x ~* +ping").start();
    for (user, why) in [(":wrong", "does not let this user in"), ("lenny:x", "lacks rights")] {
        let url = format!("redis://{user}@127.0.0.1:{}/0", server.port());
        for more in [&[][..], &["--detailed"]] {
            let status = [&["--redis", &url, "health", "status"], more].concat();
            said(command(&status)).expect(2, &["down  redis://***@127.0.0.1", why]);
            let told = said(command(&[&status[..], &["--json"]].concat())).expect(2, &[]).json();
            assert_eq!((&told["status"], &told["reasons"][0]["kind"]), (&json!("down"), &json!("refused")), "{told}");
        }
    }
}

/// It answers, so it is not down; what is wrong is said in plain words.
#[test]
fn a_broker_that_takes_no_writes_is_degraded() {
    let server = RedisServer::start();
    let check = |message: &str| {
        operate(&server, "health status --detailed").expect(1, &["degraded", message]);
        let told = operate(&server, "health status --detailed --json").expect(1, &[]).json();
        let has = |reason: &Value| reason["kind"] == "set_up" && reason["message"].as_str().unwrap().contains(message);
        assert!(told["reasons"].as_array().unwrap().iter().any(has), "{told}");
    };
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    check("nothing can be enqueued, as it is full: its memory is used up");
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    operate(&server, "health status --detailed").expect(0, &["healthy"]);
    server.cli(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    check("it refuses writes at present, so nothing can be enqueued, claimed or finished");
}

/// Its workers go on draining: to restart them for it would make things worse.
#[tokio::test]
async fn workers_of_a_full_server_are_well() {
    let server = RedisServer::start();
    let _worker = Program::start(WORKER, &["mixed", "--redis", &server.url()]);
    let client = Client::new(broker(&server));
    until("it lives", async || client.stats("mixed").await.unwrap().workers.len() == 1).await;
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let mut check = std::process::Command::new(WORKER);
    check.args(["mixed", "--check", "--redis", &server.url()]);
    said(check).expect(0, &["nothing can be enqueued, as it is full", "Health check successful"]);
}

#[tokio::test]
async fn screens_judge_as_the_exit_code_does() {
    let server = RedisServer::start();
    die(&server, "lenny", "prods", 2).await;
    let one = "queue `lenny` has 2 dead letters";
    let script = format!("expect(b\"{one}\")\npress(b\"q\"); end()");
    let options = ["--every", "100ms", "--min-workers", "0"];
    let played = play_with(&server, &[&["top"], &options[..]].concat(), &script);
    assert_eq!((played.out.trim(), played.err.as_str()), ("0 True True", ""));
    for (most, is_well) in [("1", false), ("2", true)] {
        let page = overview(&server, &["--max-dead", most, "--min-workers", "0"]);
        assert_eq!(page.contains("2 dead letters"), !is_well, "{page}");
    }
    let page = overview(&server, &["--expect", "homer", "--max-dead", "2"]);
    assert!(page.contains("homer") && page.contains("has no worker"), "{page}");
}

/// What it says of itself is for programs, too: they need not guess the port.
#[test]
fn a_dashboard_tells_where_it_is_and_what_it_allows() {
    let server = RedisServer::start();
    for (options, actions) in [(&[][..], false), (&["--allow-actions"], true)] {
        let (mut dashboard, told) = dashboard(&server, options);
        let url = told["url"].as_str().unwrap_or_else(|| panic!("{told}"));
        assert_eq!(told, json!({ "url": url, "actions": actions }));
        assert!(url.starts_with("http://127.0.0.1:") && url.ends_with('/'), "{url}");
        assert!(page(&format!("{url}overview")).contains("<html"), "{url}");
        dashboard.kill().unwrap();
        dashboard.wait().unwrap();
    }
}

/// Starts a dashboard of these options. Returns what it says, too.
fn dashboard(server: &RedisServer, options: &[&str]) -> (Child, Value) {
    let mut dashboard = command(&[&["dashboard", "--json", "--listen", "127.0.0.1:0"], options].concat());
    let mut dashboard = dashboard.env("REDIS_URL", server.url()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(dashboard.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let told = serde_json::from_str(&line).unwrap_or_else(|error| {
        dashboard.kill().unwrap();
        panic!("{error}: {line:?}")
    });
    (dashboard, told)
}

fn page(url: &str) -> String {
    let mut curl = std::process::Command::new("curl");
    curl.args(["-sS", "--max-time", "20", url]);
    said(curl).out
}

/// The overview of a dashboard of these options.
fn overview(server: &RedisServer, options: &[&str]) -> String {
    let (mut dashboard, told) = dashboard(server, options);
    let page = told["url"].as_str().map(|url| page(&format!("{url}overview")));
    dashboard.kill().unwrap();
    dashboard.wait().unwrap();
    page.unwrap_or_else(|| panic!("{told}"))
}
