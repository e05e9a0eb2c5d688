//! What operators find in a worker's log: `grep "ERROR\|failed"` shows each failure, with task, job, attempt and cause.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use sector7g_tasks::prelude::*;
use serde_json::Value;
use support::{Program, RedisServer};

use super::{client, until};

pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_fixture-failing");
const FIXTURE: &str = include_str!("../../fixtures/failing.rs");

/// What documentation and compose.yaml tell operators to call.
const GREP: &str = "ERROR\\|failed";

/// The place of what stands in the program once.
fn place(code: &str) -> String {
    assert_eq!(FIXTURE.matches(code).count(), 1, "{code}");
    let before = &FIXTURE[..FIXTURE.find(code).unwrap()];
    let column = before.len() - before.rfind('\n').unwrap();
    format!("panicked at tests/fixtures/failing.rs:{}:{column}: ", before.matches('\n').count() + 1)
}

/// What is to be found of a job: its task, the attempts that failed, and why.
pub(super) struct Failure {
    id: &'static str,
    task: &'static str,
    tries: &'static [u32],
    cause: String,
}

fn failure(id: &'static str, task: &'static str, tries: &'static [u32], cause: impl Into<String>) -> Failure {
    Failure { id, task, tries, cause: cause.into() }
}

/// A worker whose log has one of the formats.
struct Logging {
    program: Program,
    is_json: bool,
}

impl Logging {
    fn start(server: &RedisServer, is_json: bool) -> Self {
        let format = if is_json { "json" } else { "pretty" };
        let port = format!("FAILING_REDIS_PORT={}", server.port());
        let url = server.url();
        let words =
            ["-u", "RUST_BACKTRACE", &port, "NO_COLOR=1", PROGRAM, "failing", "--redis", &url, "--log-format", format];
        Self { program: Program::start("/usr/bin/env", &words), is_json }
    }

    /// What that very command shows of the log.
    fn grepped(&self) -> Vec<String> {
        let mut grep = Command::new("grep");
        grep.arg(GREP).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut grep = grep.spawn().unwrap();
        let mut pipe = grep.stdin.take().unwrap();
        let said = self.program.said();
        let writer = std::thread::spawn(move || pipe.write_all(said.as_bytes()));
        let output = grep.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// Waits for the line of each attempt, and looks whether it says all.
    async fn expect(&self, failure: &Failure) {
        let Failure { id, task, tries, cause } = failure;
        for attempt in *tries {
            let words = [format!("{id}:{task}"), format!("try={attempt},"), cause.clone()];
            let is_it = |line: &&String| {
                let message = self.message(line);
                words.iter().all(|words| message.contains(words.as_str()))
            };
            let what = format!("{words:?}");
            let line = until(&what, || self.grepped().iter().find(is_it).cloned()).await;
            if self.is_json {
                let line: Value = serde_json::from_str(&line).unwrap();
                let span = &line["span"];
                assert_eq!((&span["job_id"], &span["task"]), (&(*id).into(), &(*task).into()), "{line}");
                assert_eq!((&span["job_try"], &span["queue"]), (&(*attempt).into(), &"failing".into()), "{line}");
            }
        }
    }

    fn message(&self, line: &str) -> String {
        if !self.is_json {
            return line.to_owned();
        }
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        line["message"].as_str().unwrap().replace('\n', "\\n")
    }

    /// An event is a line, and a line is an event.
    fn assert_lines(&self) {
        for line in self.program.said().lines() {
            let is_event = if self.is_json {
                let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
                ["timestamp", "level", "message"].iter().all(|field| event[field].is_string())
            } else {
                let stamp: Vec<_> = line.bytes().take(10).map(|byte| byte.is_ascii_digit()).collect();
                let digits = [true, true, false, true, true, false, true, true, false, false];
                stamp == digits && line[8..].starts_with(": ")
            };
            assert!(is_event, "{line}");
        }
    }
}

fn job(task: &'static str, id: &str) -> Job<Untyped> {
    Job::untyped(task, "failing").id(id)
}

/// Has each job fail in its way. Returns what is to be found.
pub(super) async fn fail(server: &RedisServer) -> Vec<Failure> {
    let client = client(server).await;
    let ends = |id: &str, how: &str| job("end", id).arg(how);
    let jobs = [
        ends("error", "fails"),
        ends("permanent", "is spoilt"),
        ends("panic", "panics"),
        ends("timeout", "hangs"),
        ends("result", "is wordy"),
        ends("drop", "drops badly"),
        ends("broken", "is unspeakable"),
        ends("late", "is robbed"),
        ends("hooked", "works"),
        job("end", "arguments").arg(7),
        job("end", "expired").arg("works").delay(Duration::from_millis(300)).expires(Duration::from_millis(1)),
        job("crash", "crash"),
        job("run_on", "lease").arg(true),
        job("let_others_crash", "beside"),
        job("of_nobody\n12:00:00: ERROR forged", "unknown"),
    ];
    // What others store: bytes that are no job, too many of them, and a job that has killed two workers.
    server.cli(&["SET", "arq:job:torn", r#"{"f":"end","a":["#]);
    server.cli(&["SET", "arq:job:large", &format!(r#"{{"f":"end","a":["{}"]}}"#, "x".repeat(30_000))]);
    server.cli(&["SET", "arq:job:deadly", r#"{"t":null,"f":"end","a":["works"],"k":{},"et":1}"#]);
    server.cli(&["SET", "arq:retry:deadly", "2"]);
    server.cli(&["ZADD", "arq:queue:failing", "1", "torn", "1", "large", "1", "deadly"]);
    client.enqueue_all(jobs).await.unwrap();
    vec![
        failure("error", "end", &[1, 2], "error: the valve is stuck"),
        failure("permanent", "end", &[1], "permanent error: the core is spoilt"),
        failure("panic", "end", &[1, 2], format!(r"panic: {}no coolant\nin sector 7-G", place("panic!(\"no coolant"))),
        failure("timeout", "end", &[1, 2], "timeout: ran longer than its timeout of 300ms"),
        failure("result", "end", &[1], "max_result_size"),
        failure("drop", "end", &[1, 2], format!("{}badly dropped", place("panic!(\"badly"))),
        failure("drop", "end", &[1, 2], "timeout: ran longer"),
        failure(
            "broken",
            "end",
            &[1],
            format!("panic: outside of its run, it {}it can't be said", place("panic!(\"it can")),
        ),
        failure("late", "end", &[1], "lease lost: its outcome came too late and was not stored"),
        failure("hooked", "end", &[1], "failed: the hook is off"),
        failure("hooked", "end", &[1], "the other hook is off"),
        failure("arguments", "end", &[1], "wrong arguments: task `end`: "),
        failure("expired", "<unknown>", &[1], "expired: job expired"),
        failure("crash", "crash", &[1], format!("panic: {}a thread melts down", place("panic!(\"a thread"))),
        failure("lease", "run_on", &[1], "lease lost: it was cancelled here"),
        failure("unknown", r"of_nobody\n12:00:00: ERROR forged", &[1], "unknown task: function 'of_nobody"),
        failure("torn", "<unknown>", &[1], "unreadable job: "),
        failure("large", "<unknown>", &[1], "unreadable job: the job has 30"),
        failure("deadly", "end", &[3], "too many tries: max 2 retries exceeded"),
    ]
}

#[tokio::test]
async fn grep_finds_each_failure_with_task_job_attempt_and_cause() {
    tokio::join!(fail_in_all_ways(false), fail_in_all_ways(true));
}

async fn fail_in_all_ways(is_json: bool) {
    let server = RedisServer::start();
    let mut worker = Logging::start(&server, is_json);
    for failure in fail(&server).await {
        if is_json && ["hooked", "unknown"].contains(&failure.id) {
            continue; // hooks run outside of an attempt's span; `JobId:task` is spelled out in the text
        }
        worker.expect(&failure).await;
    }
    let beside = format!("the thread `other` {}nobody waits for it", place("panic!(\"nobody"));
    until("others' panics are told", || worker.grepped().iter().find(|line| line.contains(&beside)).cloned()).await;

    // What is done as somebody wished is no failure, and not found.
    let client = client(&server).await;
    let handle = client.enqueue(job("run_on", "aborted").arg(false)).await.unwrap();
    until("it runs", || worker.program.said().contains("aborted:run_on(false)").then_some(())).await;
    assert!(handle.abort().await.unwrap());
    until("it is told", || worker.program.said().contains("aborted:run_on aborted, try=1").then_some(())).await;
    let held = client.enqueue(job("run_on", "held").arg(false)).await.unwrap();
    client.enqueue(job("stand_still", "still")).await.unwrap();
    until("they run", || {
        let said = worker.program.said();
        (said.contains("held:run_on(") && said.contains("still:stand_still(")).then_some(())
    })
    .await;
    assert_eq!(worker.program.terminate().await, 0, "{}", worker.program.said());
    worker.expect(&failure("still", "stand_still", &[1], "cut off: it ignores its cancellation")).await;
    assert!(worker.program.said().contains(&format!("{}:run_on cancelled, will be run again", held.id())));
    let found = worker.grepped();
    assert!(!found.iter().any(|line| line.contains("held:") || line.contains("aborted:")), "{found:#?}");
    worker.assert_lines();
    assert_once_each(&worker, &found);
}

/// No failure is told twice.
fn assert_once_each(worker: &Logging, found: &[String]) {
    let mut counts = BTreeMap::new();
    for line in
        found.iter().map(|line| worker.message(line)).filter(|line| line.contains(" ! ") || line.contains(" ↻ "))
    {
        let name = line
            .split_once(" failed, try=")
            .map(|(start, rest)| (start.rsplit(' ').next().unwrap().to_owned(), rest[..1].to_owned()));
        *counts.entry(name).or_insert(0) += 1;
    }
    assert!(counts.len() > 15, "{counts:?}");
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
}

/// A broker that refuses, and one that is gone: each job whose end it does not take is named.
#[tokio::test]
async fn each_end_that_redis_does_not_take_is_found() {
    tokio::join!(lose_the_server(false), lose_the_server(true));
}

async fn lose_the_server(is_json: bool) {
    let mut server = RedisServer::start();
    let mut worker = Logging::start(&server, is_json);
    let client = client(&server).await;
    client.enqueue(job("take", "refused").arg(1_000)).await.unwrap();
    until("it runs", || worker.program.said().contains("refused:take(").then_some(())).await;
    server.cli(&["ACL", "SETUSER", "default", "-evalsha"]);
    worker
        .expect(&failure("refused", "take", &[1], "its outcome was refused, it runs again when its lease ends: "))
        .await;
    server.cli(&["ACL", "SETUSER", "default", "+evalsha"]);
    client.enqueue(job("take", "left").arg(1_000)).await.unwrap();
    until("it runs", || worker.program.said().contains("left:take(").then_some(())).await;
    server.kill9();
    until("the outage is told", || {
        worker.grepped().iter().find(|line| line.contains("running jobs go on, trying again")).cloned()
    })
    .await;
    until("it has ended", || worker.program.said().contains("left:take ●").then_some(())).await;
    assert_eq!(worker.program.terminate().await, 0);
    worker.expect(&failure("left", "take", &[1], "the broker took no report of its end; it runs again")).await;
    worker.assert_lines();
}

/// A worker that does not even start says so where operators look for it.
#[tokio::test]
async fn a_start_that_fails_is_found() {
    tokio::join!(start_without_a_server(false), start_without_a_server(true));
}

async fn start_without_a_server(is_json: bool) {
    let mut server = RedisServer::start();
    server.kill9();
    let mut worker = Logging::start(&server, is_json);
    assert_eq!(worker.program.end().await, 1);
    let found = worker.grepped();
    assert!(found.last().is_some_and(|line| line.contains("starting the workers failed")), "{found:?}");
}
