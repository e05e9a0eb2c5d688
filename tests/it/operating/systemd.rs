//! What systemd hears on its socket.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use sector7g_tasks::prelude::*;
use support::RedisServer;
use tokio::time::Instant;

use super::{Observed, SOON, client, end};

struct Systemd {
    socket: UnixDatagram,
    folder: tempfile::TempDir,
}

impl Systemd {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        Self { socket, folder }
    }

    fn environment(&self, more: &[&str]) -> Vec<String> {
        let socket = format!("NOTIFY_SOCKET={}", self.folder.path().join("notify").display());
        [socket].into_iter().chain(more.iter().map(|assignment| (*assignment).to_owned())).collect()
    }

    /// The next message, if one comes soon.
    fn heard(&self) -> Option<String> {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    /// Leaves no room for a further message.
    fn fill_up(&self) {
        let other = UnixDatagram::unbound().unwrap();
        other.set_nonblocking(true).unwrap();
        while other.send_to(b"FILLER=1", self.folder.path().join("notify")).is_ok() {}
    }

    async fn expect(&self, words: &str) {
        let until = Instant::now() + SOON;
        while !self.heard().is_some_and(|message| message.contains(words)) {
            assert!(Instant::now() < until, "nothing says {words}");
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn systemd_is_told_of_start_and_stop() {
    let (server, systemd) = (RedisServer::start(), Systemd::new());
    let mut observed = Observed::start(&server, &systemd.environment(&[])).await;
    systemd.expect("READY=1").await;
    observed.program.ask_to_stop();
    systemd.expect("STOPPING=1").await;
    assert_eq!(observed.program.end().await, 0);
}

/// The pings go on while it lives, and end while its runtime is blocked: so systemd would kill it.
#[tokio::test]
async fn the_watchdog_is_not_told_that_a_blocked_worker_lives() {
    let (server, systemd) = (RedisServer::start(), Systemd::new());
    let observed = Observed::start(&server, &systemd.environment(&["WATCHDOG_USEC=600000"])).await;
    systemd.expect("WATCHDOG=1").await;
    systemd.expect("WATCHDOG=1").await;
    let threads = u32::try_from(std::thread::available_parallelism().unwrap().get()).unwrap();
    client(&server).await.enqueue(Job::untyped("block", "observed").arg(6).arg(threads)).await.unwrap();
    observed.expect("/live", 503, "blocked").await;
    while systemd.heard().is_some() {} // what was on its way
    let silent_until = Instant::now() + Duration::from_secs(1);
    let mut looks = 0;
    while Instant::now() < silent_until && observed.get("/live").await.0 == 503 {
        assert_eq!(systemd.heard(), None, "blocked, and it says that it lives");
        looks += 1;
    }
    assert!(looks > 0, "it was blocked for long enough to be looked at");
    systemd.expect("WATCHDOG=1").await;
}

/// The socket holds ten messages or so; who reads none of them holds nobody up.
#[tokio::test]
async fn a_service_manager_that_reads_nothing_keeps_no_worker_from_its_end() {
    let (server, systemd) = (RedisServer::start(), Systemd::new());
    let mut observed = Observed::start(&server, &systemd.environment(&["WATCHDOG_USEC=30000"])).await;
    observed.expect("/ready", 200, "ok").await;
    systemd.fill_up();
    tokio::time::sleep(Duration::from_millis(200)).await; // a dozen pings, were there room for them
    assert_eq!(observed.get("/live").await.0, 200, "it goes on answering");
    assert_eq!(observed.program.terminate().await, 0);
    assert!(systemd.heard().is_some(), "there was something to read");
}

/// A worker that has jobs to end says that it lives until they have ended.
#[tokio::test]
async fn the_pings_go_on_while_it_stops() {
    let (server, systemd) = (RedisServer::start(), Systemd::new());
    let mut observed = Observed::start(&server, &systemd.environment(&["WATCHDOG_USEC=600000"])).await;
    systemd.expect("READY=1").await;
    client(&server).await.enqueue(end("hangs")).await.unwrap();
    observed.expect_value("sector7g_jobs_started_total{queue=\"observed\",task=\"end\"}", 1.0).await;
    observed.program.ask_to_stop();
    systemd.expect("STOPPING=1").await;
    systemd.expect("WATCHDOG=1").await;
    systemd.expect("WATCHDOG=1").await;
    assert_eq!(observed.program.end().await, 0);
}
