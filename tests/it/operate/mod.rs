//! `sector-7g` as an operator runs it: what it says, does and returns, on real servers.

mod changes;
mod choosing;
mod judged;
mod looks;
mod secrets;
mod terminal;

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sector7g_tasks::broker::{Claim, Enqueued, Finish, LeaseToken, NewJob, Outcome, QueueName, RedisBroker, RequestId};
use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::job::{Failure, FailureKind};
use sector7g_tasks::prelude::*;
use sector7g_tasks::testing::Harness;
use serde_json::Value;
use support::RedisServer;

const OPERATE: &str = env!("CARGO_BIN_EXE_fixture-sector-7g");
/// A program with one worker, `mixed`, whose task `sleep` sleeps.
const WORKER: &str = env!("CARGO_BIN_EXE_fixture-mixed");

const SOON: Duration = Duration::from_secs(20);

/// What the command said.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// That it ended so, and said all of this.
    fn expect(self, code: i32, texts: &[&str]) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        for text in texts {
            assert!(self.out.contains(text) || self.err.contains(text), "«{text}» in {self:#?}");
        }
        self
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(OPERATE);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in ["REDIS_URL", "COLUMNS", "NO_COLOR", "CLICOLOR_FORCE", "RUST_BACKTRACE"] {
        command.env_remove(name);
    }
    command
}

fn said(mut command: Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// Runs the command on a server; `words` are separated by spaces.
fn operate(server: &RedisServer, words: &str) -> Said {
    let arguments: Vec<&str> = words.split_whitespace().collect();
    let mut command = command(&arguments);
    command.env("REDIS_URL", server.url());
    said(command)
}

/// Whether what breaks in `stumbles` is mended.
#[derive(Clone, Default)]
struct Mended(Arc<AtomicBool>);

#[task(queue = "rod")]
async fn stumbles(
    State(mended): State<Mended>,
    reactor: u8,
    #[arg(redact)] password: String,
) -> Result<usize, std::io::Error> {
    if mended.0.load(Ordering::Relaxed) {
        return Ok(password.len());
    }
    Err(std::io::Error::other(format!("no coolant in reactor {reactor}")))
}

#[task(queue = "rod", cron = "0 4 1 1 *", timezone = "Europe/Berlin")]
async fn counts_the_year() -> u32 {
    1
}

#[derive(Worker)]
#[worker(queue = "rod", poll_delay = "50ms", max_jobs = 5)]
struct Rod;

fn broker(server: &RedisServer) -> Arc<RedisBroker> {
    Arc::new(RedisBroker::builder(server.url()).build().unwrap())
}

/// A worker of `rod` in this process.
fn rod(server: &RedisServer, mended: &Mended) -> Harness {
    let (inventory, mended) =
        (Inventory::empty().task::<stumbles>().task::<counts_the_year>().worker::<Rod>(), mended.clone());
    Harness::on(broker(server)).inventory(inventory).setup(move |runner| runner.state(mended.clone()))
}

/// Stores jobs of a task that nobody runs, and lets them die.
async fn die(server: &RedisServer, queue: &str, task: &str, count: usize) -> Vec<String> {
    die_of(server, queue, task, &vec!["it broke"; count]).await
}

/// One for each of these messages.
async fn die_of(server: &RedisServer, queue: &str, task: &str, messages: &[&str]) -> Vec<String> {
    let count = messages.len();
    let (broker, queue) = (broker(server), QueueName::new(queue).unwrap());
    let client = Client::new(Arc::clone(&broker) as Arc<dyn Broker>);
    let job = |number| client.encode(&Job::untyped(task.to_owned(), queue.as_str().to_owned()).arg(number)).unwrap();
    let jobs: Vec<NewJob> = (0..count).map(job).collect();
    let answers = broker.enqueue(&jobs, RequestId::unique()).await.unwrap();
    assert_eq!(answers, vec![Enqueued::New; count]);
    let claim = async |finished: &[Finish], max| {
        let token = LeaseToken { worker: rand_number(), call: 1 };
        broker.claim(&Claim { queue: &queue, finished, max, lease: SOON, token }).await.unwrap()
    };
    let finished: Vec<Finish> = claim(&[], count)
        .await
        .jobs
        .into_iter()
        .zip(messages)
        .map(|(job, message)| {
            let failure = Failure {
                kind: FailureKind::Error,
                message: (*message).to_owned(),
                error_type: None,
                causes: Vec::new(),
                attempt: 1,
                at: broker.clock().now(),
                ran: None,
            };
            let dead = Some(Box::new(failure));
            Finish { lease: job.lease, outcome: Outcome::End { result: None, dead, hold_id: Duration::ZERO } }
        })
        .collect();
    assert_eq!(finished.len(), count);
    claim(&finished, 0).await;
    jobs.iter().map(|job| job.id.to_string()).collect()
}

/// One that no other call of this process has.
fn rand_number() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Looks again and again until `is_so`; only for what another process does.
pub(super) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not within {SOON:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
