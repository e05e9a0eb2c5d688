//! `--check` as an operator runs it: what it says of a server and of a queue, and how it ends.

use std::time::Duration;

use sector7g_tasks::broker::{Broker, RedisBroker, WorkerHealth};
use support::{Program, RedisServer};

use super::connections::RULES;
use super::load::calls;

/// A program with one worker, `mixed`.
const PROGRAM: &str = env!("CARGO_BIN_EXE_fixture-mixed");

/// Exit code and words of `--check`.
async fn check(url: &str) -> (i32, String) {
    let mut check = Program::start(PROGRAM, &["mixed", "--check", "--redis", url]);
    (check.end().await, check.said())
}

/// As if a worker had just said that it lives.
pub(super) async fn says_that_it_lives(server: &RedisServer) {
    let broker = RedisBroker::connect(server.url()).await.unwrap();
    let (name, queues) = ("mixed".to_owned(), vec!["mixed".to_owned()]);
    let health = WorkerHealth { name, queues, at: broker.clock().now(), done: 7, ..WorkerHealth::default() };
    broker.set_health("mixed-1", Some(&health), Duration::from_mins(1)).await.unwrap();
}

#[tokio::test]
async fn a_concern_is_a_warning_and_a_missing_worker_an_error() {
    let server = RedisServer::builder().line("maxmemory-policy allkeys-lru").start();
    let warning = format!(
        "WARN the broker at {}: its maxmemory-policy is `allkeys-lru`, so jobs can be evicted: set it to `noeviction`",
        server.url()
    );
    let (code, said) = check(&server.url()).await;
    assert_eq!(code, 1, "{said}");
    let missing = format!("error: health check failed: no fresh health entry of `mixed` at {}", server.url());
    assert!(said.contains(&warning) && said.contains(&missing), "{said}");
    says_that_it_lives(&server).await;
    let (code, said) = check(&server.url()).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(&warning) && said.contains("Health check successful: mixed j_complete=7"), "{said}");
    server.cli(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    let (code, said) = check(&server.url()).await;
    assert!(code == 0 && !said.contains("WARN"), "{said}");
}

/// What a user may not do is named, and where it does not hinder the check itself, its answer is that of the worker.
#[tokio::test]
async fn rights_that_lack_are_named() {
    for (right, code, words) in [
        ("+hset", 0, "Health check successful: mixed"),
        ("+zcount", 1, "error: health check failed: the broker refused the request: the user at redis://***@"),
        ("+evalsha", 1, "error: health check failed: the broker refused the request: the user at redis://***@"),
    ] {
        let fewer: Vec<&str> = RULES.split_whitespace().filter(|rule| *rule != right).collect();
        let server = RedisServer::builder().user("milhouse", &format!("on >thrillhouse {}", fewer.join(" "))).start();
        says_that_it_lives(&server).await;
        let (ended, said) = check(&format!("redis://milhouse:thrillhouse@127.0.0.1:{}/0", server.port())).await;
        assert_eq!(ended, code, "without {right}: {said}");
        assert!(said.contains("WARN the broker at redis://***@") && said.contains("lacks rights"), "{said}");
        assert!(said.contains(words) && !said.contains("thrillhouse"), "without {right}: {said}");
    }
}

/// What a check of the worker `mixed` costs `server` in calls, none of them for a range of its queue without an end.
pub(super) async fn cost_of_a_check(server: &RedisServer) -> u64 {
    says_that_it_lives(server).await;
    let (before, monitor) = (calls(server), server.monitor());
    let (code, said) = check(&server.url()).await;
    let cost = calls(server) - before;
    assert!(code == 0 && said.contains("Health check successful: mixed j_complete=7"), "{said}");
    let commands = monitor.stop();
    let of_queue = |line: &&String| line.contains("\"arq:queue:mixed\"");
    let mut ranges = commands.iter().filter(of_queue).filter(|line| line.contains("RANGE")).peekable();
    assert!(ranges.peek().is_some(), "{commands:#?}");
    assert!(ranges.all(|line| line.contains("\"LIMIT\"")), "{commands:#?}");
    cost
}
