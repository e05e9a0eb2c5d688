//! Redis servers, each with a folder, a socket and ports of its own.

mod builder;
mod cluster;
mod monitor;
mod talk;
mod tls;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::watched::{Signal, Watched, blink, program};
use builder::Access;
use talk::Talk;

pub use builder::RedisServerBuilder;
pub use cluster::{RedisCluster, RedisSentinel};
pub use monitor::Monitor;
pub use tls::Certificate;

/// Within which a server must answer; it takes some ten milliseconds, but machines can be busy.
const START: Duration = Duration::from_secs(20);

/// The user whom tests know in each server that has a password or users: may do all, needs no password.
const SUPPORT: &str = "support";

/// The file that a sentinel's folder has.
const SENTINEL: &str = "sentinel";

/// A real `redis-server` of one test: on a free port of loopback and on a socket in a folder of its own.
///
/// It ends with this value, and with this process however that dies. What it stores is gone then, too.
/// `SECTOR7G_REDIS_SERVER` names another server program to test with, as `valkey-server`.
#[derive(Debug)]
pub struct RedisServer {
    watched: Watched,
    folder: TempDir,
    port: u16,
    tls_port: Option<u16>,
    access: Access,
}

impl RedisServer {
    /// A server that asks for no password and writes nothing to disk.
    #[must_use]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// A server with options.
    #[must_use]
    pub fn builder() -> RedisServerBuilder {
        RedisServerBuilder::default()
    }

    /// One whose folder holds all that it needs. `Err` is what it logged when it ended at once.
    fn try_start(folder: TempDir, port: u16, tls_port: Option<u16>, access: Access) -> Result<Self, String> {
        let watched = launch(folder.path())?;
        let mut server = Self { watched, folder, port, tls_port, access };
        server.wait_until_it_says("+PONG")?;
        Ok(server)
    }

    /// `redis://127.0.0.1:PORT/0`, with the password if there is one.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_as("redis", self.port)
    }

    /// `rediss://127.0.0.1:PORT/0`, with the password if there is one. See [`Self::ca_file`].
    #[must_use]
    pub fn tls_url(&self) -> String {
        self.url_as("rediss", self.tls_port())
    }

    fn url_as(&self, scheme: &str, port: u16) -> String {
        let password = self.access.password.as_ref();
        let credentials = password.map(|password| format!(":{password}@")).unwrap_or_default();
        format!("{scheme}://{credentials}127.0.0.1:{port}/0")
    }

    /// `unix:///…/redis.sock`, without a password.
    #[must_use]
    pub fn unix_url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The certificate, PEM, of the authority that signed the server's own.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        assert!(self.tls_port.is_some(), "the server was started with `.tls()`");
        self.folder.path().join(tls::CA)
    }

    /// The TCP port of loopback that takes plain connections.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// That which takes encrypted ones; see [`RedisServerBuilder::tls`].
    #[must_use]
    pub fn tls_port(&self) -> u16 {
        self.tls_port.expect("the server was started with `.tls()`")
    }

    /// The server's process.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.watched.pid()
    }

    /// The server's log so far.
    #[must_use]
    pub fn log(&self) -> String {
        log(self.folder.path())
    }

    /// Kills it with `kill -9` and waits for its end: connections break, the port refuses new ones.
    pub fn kill9(&mut self) {
        self.watched.kill();
    }

    /// Freezes it with SIGSTOP: it still takes connections, but answers nothing.
    pub fn freeze(&self) {
        self.watched.freeze();
    }

    /// Lets it go on after [`Self::freeze`].
    pub fn thaw(&self) {
        self.watched.signal(Signal::CONT);
    }

    /// Starts it again, on the same ports and in the same folder, killing it first if it still runs.
    pub fn restart(&mut self) {
        self.restart_until("+PONG");
    }

    /// The same, but waits only until it refuses calls as it loads what it has stored: see `key-load-delay`.
    pub fn restart_until_loading(&mut self) {
        self.restart_until("-LOADING ");
    }

    fn restart_until(&mut self, answer: &str) {
        self.watched.kill();
        let outcome = launch(self.folder.path()).and_then(|watched| {
            self.watched = watched;
            self.wait_until_it_says(answer)
        });
        outcome.unwrap_or_else(|log| panic!("redis-server did not start again:\n{log}"));
    }

    /// What `redis-cli` says to one command, as user with all rights, without the line's end.
    ///
    /// # Panics
    /// When the command fails. See [`Self::try_cli`].
    pub fn cli(&self, arguments: &[&str]) -> String {
        self.try_cli(arguments).unwrap_or_else(|error| panic!("redis-cli {}: {error}", arguments.join(" ")))
    }

    /// As [`Self::cli`]; `Err` is what the server or `redis-cli` found wrong.
    ///
    /// # Errors
    /// The server's error, as it words it.
    pub fn try_cli(&self, arguments: &[&str]) -> Result<String, String> {
        let socket = self.socket();
        let mut prefix = vec!["-s".to_owned(), socket.display().to_string()];
        if self.access.is_restricted() {
            prefix.extend(["--user", SUPPORT, "--pass", SUPPORT, "--no-auth-warning"].map(str::to_owned));
        }
        redis_cli(&prefix, arguments)
    }

    /// Collects, from now on, each command that the server runs.
    #[must_use]
    pub fn monitor(&self) -> Monitor {
        let mut talk = self.talk().expect("the server takes connections");
        assert_eq!(talk.ask("MONITOR").expect("the server answers"), "+OK");
        Monitor::read(talk, self.talk().expect("the server takes connections"))
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    fn talk(&self) -> std::io::Result<Talk> {
        Talk::open(&self.socket(), self.access.is_restricted().then_some(SUPPORT))
    }

    /// Asks on the socket: whoever answers on it is this server, not one that has taken the port before it.
    fn wait_until_it_says(&mut self, begin: &str) -> Result<(), String> {
        let until = Instant::now() + START;
        while Instant::now() < until {
            if self.watched.exit_code().is_some() {
                return Err(self.log());
            }
            if self.talk().and_then(|mut talk| talk.ask("PING")).is_ok_and(|answer| answer.starts_with(begin)) {
                return Ok(());
            }
            blink();
        }
        Err(format!("no {begin} within {START:?}; its log:\n{}", self.log()))
    }
}

/// Runs `redis-cli` with `prefix` (where to, as whom) and the words of one command.
fn redis_cli(prefix: &[String], arguments: &[&str]) -> Result<String, String> {
    let program = program("redis-cli", "SECTOR7G_REDIS_CLI");
    let output = Command::new(&program).arg("-e").args(prefix).args(arguments).output();
    let output =
        output.map_err(|error| format!("can't run {}: {error}; see `cargo xtask needs`", program.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let said = said.strip_suffix('\n').unwrap_or(&said).to_owned();
    if output.status.success() { Ok(said) } else { Err(said + &String::from_utf8_lossy(&output.stderr)) }
}

fn launch(folder: &Path) -> Result<Watched, String> {
    let program: OsString = program("redis-server", "SECTOR7G_REDIS_SERVER").into();
    let mut arguments = vec![folder.join("redis.conf").into_os_string()];
    if folder.join(SENTINEL).exists() {
        arguments.push("--sentinel".into());
    }
    Watched::start(&program, &arguments, folder).map_err(|error| error.to_string())
}

fn log(folder: &Path) -> String {
    let file = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
    file("log") + &file("output")
}
