//! `/live`, `/ready` and `--check`, of a worker that works, that is blocked, whose broker is away, that stops.

use sector7g_tasks::prelude::*;
use support::{Program, Proxy, RedisServer, Way};
use tokio::time::{Instant, sleep};

use super::{Observed, PROGRAM, SOON, client, end, until};

#[tokio::test]
async fn a_worker_is_ready_until_it_is_told_to_stop() {
    let server = RedisServer::start();
    let mut observed = Observed::start(&server, &[]).await;
    observed.expect("/ready", 200, "ok").await;
    assert_eq!(observed.get("/live").await, (200, "ok\n".to_owned()));
    assert_eq!(observed.get("/nowhere").await.0, 404);
    client(&server).await.enqueue(end("hangs")).await.unwrap();
    observed.expect_value("sector7g_worker_running_jobs{worker=\"observed\"}", 1.0).await;
    observed.program.ask_to_stop();
    observed.expect("/ready", 503, "stopping").await;
    assert_eq!(observed.get("/live").await.0, 200, "it waits for its job, and lives");
    assert_eq!(observed.program.end().await, 0);
}

#[tokio::test]
async fn a_worker_whose_broker_is_away_lives_and_is_not_ready() {
    let mut server = RedisServer::builder().append_only().start();
    let observed = Observed::start(&server, &[]).await;
    observed.expect("/ready", 200, "ok").await;
    server.kill9();
    observed.expect("/ready", 503, "the broker has not answered for").await;
    assert_eq!(observed.get("/live").await.0, 200);
    server.restart();
    observed.expect("/ready", 200, "ok").await;
}

/// All threads of its runtime are blocked for longer than its limit of a second; it answers all the same.
#[tokio::test]
async fn a_blocked_worker_is_not_live() {
    let server = RedisServer::start();
    let observed = Observed::start(&server, &[]).await;
    observed.expect("/ready", 200, "ok").await;
    let threads = u32::try_from(std::thread::available_parallelism().unwrap().get()).unwrap();
    let block = Job::untyped("block", "observed").arg(5).arg(threads);
    client(&server).await.enqueue(block).await.unwrap();
    observed.expect("/live", 503, "blocked").await;
    observed.expect("/live", 200, "ok").await;
}

/// A port that is taken is an error that says what to do, before anything is claimed.
#[tokio::test]
async fn a_port_that_is_taken_is_refused() {
    let server = RedisServer::start();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let url = server.url();
    let mut program = Program::start(PROGRAM, &["observed", "--redis", &url, "--listen", &port]);
    let code = until("it ends", || program.exit_code());
    assert_ne!(tokio::time::timeout(SOON, code).await.unwrap(), 0);
    assert!(program.said().contains("choose another address"), "{}", program.said());
}

/// One whose process is up, but that hears nothing of its broker: who asks the broker is told so, until it works again.
#[tokio::test]
async fn a_worker_that_is_deaf_fails_its_check() {
    let deaf = |way| async move {
        let server = RedisServer::start();
        let proxy = Proxy::to(server.port()).await;
        let mut worker = Program::start(PROGRAM, &["observed", "--redis", &proxy.url()]);
        let check = async |code: i32, words: &str| {
            let until = Instant::now() + SOON;
            loop {
                let mut check = Program::start(PROGRAM, &["observed", "--check", "--redis", &server.url()]);
                let (ended, said) = (check.end().await, check.said());
                if ended == code && said.contains(words) {
                    break;
                }
                assert!(Instant::now() < until, "{way:?}: a check ends with {ended}, not {code}: {said}");
                sleep(std::time::Duration::from_millis(100)).await;
            }
        };
        check(0, "Health check successful").await;
        proxy.set(way);
        check(1, "no fresh health entry of `observed`").await;
        assert_eq!(worker.exit_code(), None, "{way:?}: its process is up");
        let waiting = client(&server).await.enqueue(end("works")).await.unwrap();
        proxy.set(Way::Pass);
        check(0, "Health check successful").await;
        assert_eq!(waiting.result_within(SOON).await.unwrap(), "works", "{way:?}");
        assert_eq!(worker.terminate().await, 0);
    };
    tokio::join!(deaf(Way::Stall), deaf(Way::Swallow), deaf(Way::Refuse));
}
