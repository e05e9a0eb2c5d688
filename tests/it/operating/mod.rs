//! What operators look at, from outside of a real worker process.

mod deploy;
mod health;
mod logs;
#[cfg(unix)]
mod manual;
mod metered;
mod metrics;
mod questions;
#[cfg(unix)]
mod systemd;

use std::collections::BTreeMap;
use std::time::Duration;

use sector7g_tasks::broker::RedisBroker;
use sector7g_tasks::prelude::*;
use support::{Program, RedisServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

const PROGRAM: &str = env!("CARGO_BIN_EXE_fixture-observed");

const OPERATE: &str = env!("CARGO_BIN_EXE_fixture-sector-7g");

/// How long anything may take.
const SOON: Duration = Duration::from_secs(30);

/// A worker with a listener of its own.
struct Observed {
    program: Program,
    port: u16,
}

/// Status and body of what listens on that port of loopback.
pub(super) async fn get(port: u16, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(SOON, stream.read_to_string(&mut answer)).await.expect("it answers").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

impl Observed {
    async fn start(server: &RedisServer, environment: &[String]) -> Self {
        let assignments: Vec<&str> = environment.iter().map(String::as_str).collect();
        let program = ["SECTOR7G_MAX_AWAY=6s", PROGRAM, "observed", "--listen", "0", "--max-blocked", "1s"];
        Self::run(server, &[&assignments[..], &program].concat()).await
    }

    /// Starts what `env` is told to run, on the server.
    async fn run(server: &RedisServer, command: &[&str]) -> Self {
        let program = Program::start("/usr/bin/env", &[command, &["--redis", &server.url()]].concat());
        let listening = until("it listens", || {
            let said = program.said();
            let (_, rest) = said.split_once("listening: http://127.0.0.1:")?;
            rest.split_once("/metrics, /live and /ready").map(|(port, _)| port.to_owned())
        });
        Self { port: listening.await.parse().unwrap(), program }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        get(self.port, path).await
    }

    /// Waits for an answer with `status` and a body that contains `words`.
    async fn expect(&self, path: &str, status: u16, words: &str) {
        let until = Instant::now() + SOON;
        loop {
            let (got, body) = self.get(path).await;
            if got == status && body.contains(words) {
                return;
            }
            assert!(Instant::now() < until, "{path} answers {got} {body}, not {status} {words}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn scrape(&self) -> Scrape {
        let (status, text) = self.get("/metrics").await;
        assert_eq!(status, 200, "{text}");
        Scrape::read(&text)
    }

    /// Waits until the series has the value.
    async fn expect_value(&self, series: &str, value: f64) -> Scrape {
        expect_value(series, value, async || self.scrape().await).await
    }
}

/// Waits until `scrape` finds the series with the value.
async fn expect_value(series: &str, value: f64, scrape: impl AsyncFn() -> Scrape) -> Scrape {
    let until = Instant::now() + SOON;
    loop {
        let scrape = scrape().await;
        if scrape.values.get(series).is_some_and(|found| found.total_cmp(&value).is_eq()) {
            return scrape;
        }
        assert!(Instant::now() < until, "{series} is not {value}: {:#?}", scrape.values);
        sleep(Duration::from_millis(50)).await;
    }
}

/// What `/metrics` said.
struct Scrape {
    /// Kind and help of each metric.
    metrics: BTreeMap<String, (String, String)>,
    /// Series with their labels sorted, such as `up{a="1",b="2"}`.
    values: BTreeMap<String, f64>,
}

impl Scrape {
    fn read(text: &str) -> Self {
        let mut scrape = Self { metrics: BTreeMap::new(), values: BTreeMap::new() };
        for line in text.lines().filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.splitn(4, ' ').collect();
            match words[..] {
                ["#", "TYPE", name, kind] => kind.clone_into(&mut scrape.metrics.entry(name.to_owned()).or_default().0),
                ["#", "HELP", name, help] => help.clone_into(&mut scrape.metrics.entry(name.to_owned()).or_default().1),
                _ => {
                    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
                    let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
                    scrape.values.insert(sorted(series), value);
                }
            }
        }
        scrape
    }
}

fn sorted(series: &str) -> String {
    let Some((name, labels)) = series.split_once('{') else { return series.to_owned() };
    let labels = labels.trim_end_matches('}');
    let mut labels: Vec<&str> = labels.split_inclusive("\",").map(|label| label.trim_end_matches(',')).collect();
    labels.sort_unstable();
    format!("{name}{{{}}}", labels.join(","))
}

/// Waits for what `look` finds.
async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + SOON;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "not in time: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn client(server: &RedisServer) -> Client {
    Client::new(std::sync::Arc::new(RedisBroker::connect(server.url()).await.unwrap()))
}

/// A job of the program's task `end`.
fn end(how: &str) -> Job<Untyped> {
    Job::untyped("end", "observed").arg(how)
}
