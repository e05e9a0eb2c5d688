//! A server that is not there yet, not any more, or never.

use std::sync::Arc;
use std::time::Duration;

use sector7g_tasks::broker::RedisBroker;
use sector7g_tasks::prelude::*;
use support::{Lines, Program, RedisServer};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::check::says_that_it_lives;

/// A program with one worker, `mixed`.
const PROGRAM: &str = env!("CARGO_BIN_EXE_fixture-mixed");

/// Nobody listens there.
const NOBODY: &str = "redis://milhouse:thrillhouse@127.0.0.1:1/0";

#[task(queue = "first")]
async fn first_task() -> u32 {
    1
}

#[task(queue = "second")]
async fn second_task() -> u32 {
    2
}

/// Waits until `is_so`, for what happens by itself.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// As often, and with such pauses, as it is told to; the hour of a pause is not waited for here.
#[tokio::test(start_paused = true)]
async fn as_many_tries_as_it_is_told_to() {
    const PAUSE: Duration = Duration::from_secs(3600);
    for retries in [0, 1, 3] {
        let (lines, _guard) = Lines::capture();
        let began = Instant::now();
        let connecting = RedisBroker::builder(NOBODY).connect_retries(retries, PAUSE).connect();
        let error = connecting.await.expect_err("nobody is there");
        let (took, pauses) = (began.elapsed(), PAUSE * retries);
        assert!(took >= pauses && took < pauses + PAUSE / 2, "{retries} retries took {took:?}");
        let told: Vec<String> = lines.all();
        assert_eq!(told.len(), retries as usize, "{told:?}");
        for (line, left) in told.iter().zip((1..=retries).rev()) {
            assert!(line.starts_with("WARN the broker at redis://***@127.0.0.1:1/0 is unavailable: "), "{line}");
            assert!(line.ends_with(&format!(", {left} retries remaining...")), "{line}");
        }
        let said = chain(&error);
        assert!(said.starts_with("the broker at redis://***@127.0.0.1:1/0 is unavailable: "), "{said}");
        let tries = format!(": given up after {} tries: ", retries + 1);
        assert_eq!(said.contains(&tries), retries > 0, "{said}");
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// A server that refuses who asks is not asked again.
#[tokio::test]
async fn a_wrong_password_is_not_tried_again() {
    let server = RedisServer::builder().password("doughnut").start();
    let (lines, _guard) = Lines::capture();
    let url = server.url().replace("doughnut", "crumb-bun");
    RedisBroker::connect(url).await.expect_err("it is the wrong one");
    assert_eq!(lines.all(), [""; 0]);
}

/// The server comes up while the worker tries: it starts as if it had been there.
#[tokio::test]
async fn a_server_that_comes_up_during_the_tries() {
    let mut server = RedisServer::start();
    server.kill9();
    let (lines, _guard) = Lines::capture();
    let broker = RedisBroker::builder(server.url()).connect_retries(1_000, Duration::from_millis(10)).build().unwrap();
    let client = Client::new(Arc::new(broker));
    let stop = CancellationToken::new();
    let runner = Runner::new().broker(client.broker().clone()).inventory(Inventory::empty().task::<first_task>());
    let worker = runner.handle_signals(false).stop_on(stop.clone()).run();
    let test = async {
        until("the second try", || lines.with("retries remaining").len() >= 2).await;
        server.restart();
        let handle = loop {
            match client.enqueue(first_task::job()).await {
                Ok(handle) => break handle,
                Err(_) => sleep(Duration::from_millis(5)).await, // its connection may be of a moment before
            }
        };
        assert_eq!(handle.result().await.unwrap(), 1);
        stop.cancel();
    };
    let (report, ()) = tokio::join!(worker, test);
    assert_eq!(report.unwrap().done(), 1);
}

/// A program that finds no server says so once it has tried as often as arq does, and ends with exit code 1.
#[tokio::test]
async fn a_program_without_a_server_ends_with_one_clear_error() {
    let mut program = Program::start(PROGRAM, &["mixed", "--redis", NOBODY]);
    let (code, said) = (program.end().await, program.said());
    assert_eq!(code, 1, "{said}");
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    let [error] = errors[..] else { panic!("one error: {said}") };
    assert!(
        error.contains("the broker at redis://***@127.0.0.1:1/0 is unavailable: given up after 6 tries: "),
        "{said}"
    );
    assert_eq!(said.matches("retries remaining").count(), 5, "{said}");
    assert!(!said.contains("thrillhouse") && !said.contains("milhouse"), "{said}");
}

/// The authority that `SSL_CERT_FILE` names is trusted by `rediss://`, and without it no stranger is.
#[tokio::test]
async fn an_authority_that_the_environment_names() {
    let server = RedisServer::builder().tls().start();
    says_that_it_lives(&server).await;
    let file = format!("SSL_CERT_FILE={}", server.ca_file().display());
    for (environment, code, words) in [
        (&*file, 0, "Health check successful"),
        ("SSL_CERT_FILE=/dev/null", 1, "error: health check failed: the broker at "),
    ] {
        let mut check =
            Program::start("env", &[environment, PROGRAM, "mixed", "--check", "--redis", &server.tls_url()]);
        let (ended, said) = (check.end().await, check.said());
        assert!(ended == code && said.contains(words), "{environment}: {said}");
    }
}

/// Waits until whatever is not there has been tried so often.
async fn tries_at(port: u16, tries: usize) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    for _ in 0..tries {
        drop(listener.accept().await.unwrap());
    }
}

/// However often it is tried, an outage is told once by each worker, and so is its end: not each try.
#[tokio::test]
async fn an_outage_is_told_once() {
    let mut server = RedisServer::builder().append_only().start();
    let lines = Lines::capture_everywhere();
    let client = Client::new(Arc::new(RedisBroker::connect(server.url()).await.unwrap()));
    let stop = CancellationToken::new();
    let inventory = Inventory::empty().task::<first_task>().task::<second_task>();
    let runner = Runner::new().broker(client.broker().clone()).inventory(inventory);
    let worker = runner.handle_signals(false).stop_on(stop.clone()).run();
    let told = |level: &'static str, words: &'static str| {
        let lines = lines.with(words);
        lines.into_iter().filter(|line| line.starts_with(level)).count()
    };
    let (away, back) = ("running jobs go on, trying again", "the broker answers again, after ");
    let test = async {
        for outage in 1..=2 {
            assert_eq!(client.enqueue(first_task::job()).await.unwrap().result().await.unwrap(), 1);
            assert_eq!(client.enqueue(second_task::job()).await.unwrap().result().await.unwrap(), 2);
            server.kill9();
            until("both notice", || told("ERROR", away) >= 2 * outage).await;
            tries_at(server.port(), 10).await; // nobody tells of them
            server.restart();
            until("both are back", || told("INFO", back) >= 2 * outage).await;
            assert_eq!((told("ERROR", away), told("INFO", back)), (2 * outage, 2 * outage), "{:#?}", lines.all());
        }
        stop.cancel();
    };
    let (report, ()) = tokio::join!(worker, test);
    assert_eq!(report.unwrap().done(), 4);
    let loud = lines.all().into_iter().filter(|line| line.starts_with("ERROR") || line.starts_with("WARN"));
    // The look at the set-up, beside the work, may meet the first outage.
    let loud = loud.filter(|line| !line.contains("set-up could not be looked at"));
    assert_eq!(loud.count(), 4, "{:#?}", lines.all());
}
