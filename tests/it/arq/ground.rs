//! A server with clients and workers of both languages, and the tasks that the Rust ones know.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sector7g_tasks::broker::{Broker, RedisBroker};
use sector7g_tasks::codec::Codec;
use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::prelude::*;
use sector7g_tasks::testing::{Fleet, Harness};
use serde_json::{Value, json};
use support::{Program, PythonClient, PythonWorker, RedisServer};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

/// The queue that both sides share, as arq calls it; here it is `mixed`.
pub(super) const MIXED: &str = "arq:queue:mixed";

const MIXED_PROGRAM: &str = env!("CARGO_BIN_EXE_fixture-mixed");

/// Within which everything here happens.
const SOON: Duration = Duration::from_secs(30);

/// Lets jobs of [`held`] go on, one for each permit.
#[derive(Clone)]
pub(super) struct Gate(pub(super) Arc<Semaphore>);

/// Names of the tasks that Python's worker knows, too: the same jobs run on both sides.
#[task(queue = "mixed", name = "add")]
async fn rust_add(a: i64, b: i64) -> i64 {
    a + b
}

/// As Python's, but for `by`; arguments of all kinds, so that a name or a place may be used for each.
#[task(queue = "mixed", name = "echo")]
async fn rust_echo(
    #[arg(default)] one: Value,
    #[arg(default)] two: Value,
    #[arg(default)] three: Value,
    #[arg(default)] named: BTreeMap<String, Value>,
) -> Value {
    json!({"args": [one, two, three], "named": named, "by": "rust"})
}

#[task(queue = "mixed", name = "fail")]
async fn rust_fail(#[arg(default = "boom".to_owned())] message: String) -> Result<(), TaskError> {
    Err(message.into())
}

#[task(queue = "mixed", name = "count_try")]
async fn rust_count_try(ctx: &Context) -> u32 {
    ctx.attempt()
}

#[task(queue = "mixed", name = "retry_then_ok")]
async fn rust_retry_then_ok(ctx: &Context, times: u32, #[arg(default = 0.2)] defer: f64) -> Result<u32, TaskError> {
    if ctx.attempt() <= times { Err(TaskError::retry_in(Duration::from_secs_f64(defer))) } else { Ok(ctx.attempt()) }
}

/// Where Python's sleeps, this one tells the attempt at once.
#[task(queue = "mixed", name = "sleep")]
async fn rust_sleep(ctx: &Context, seconds: f64) -> Value {
    json!([ctx.attempt(), seconds])
}

/// Runs until the test lets it go.
#[task(queue = "mixed")]
pub(super) async fn held(State(gate): State<Gate>) -> String {
    gate.0.acquire().await.unwrap().forget();
    "let go".to_owned()
}

/// The least that a job can be.
#[task(queue = "mixed")]
pub(super) async fn nothing() {}

#[derive(Worker)]
#[worker(queue = "mixed", poll_delay = "20ms", lease = "3s", job_completion_wait = 0)]
struct Mixed;

/// One server, one codec, a client of each language; workers are started by the test.
pub(super) struct Ground {
    pub(super) server: RedisServer,
    pub(super) client: Client,
    pub(super) python: PythonClient,
    pub(super) gate: Gate,
    codec: (&'static str, Codec),
}

impl Ground {
    pub(super) fn start(name: &'static str, codec: Codec) -> Self {
        let server = RedisServer::start();
        let python = PythonClient::start(&server.url(), &["--codec", name, "--queue", MIXED]);
        let broker: Arc<dyn Broker> = Arc::new(RedisBroker::builder(server.url()).build().unwrap());
        let client = Client::new(broker).codec(codec);
        Self { server, client, python, gate: Gate(Arc::new(Semaphore::new(0))), codec: (name, codec) }
    }

    pub(super) fn codec(&self) -> Codec {
        self.codec.1
    }

    /// A Python worker that looks every 20 ms, with more options.
    pub(super) async fn python_worker(&self, more: &[&str]) -> PythonWorker {
        let mut worker = self.spawn_python_worker(more);
        worker.ready().await;
        worker
    }

    pub(super) fn spawn_python_worker(&self, more: &[&str]) -> PythonWorker {
        let usual = ["--codec", self.codec.0, "--queue", MIXED, "--poll-delay", "0.02"];
        PythonWorker::spawn(&self.server.url(), &[&usual, more].concat())
    }

    /// A second Python client, for what happens during a call of the first.
    pub(super) fn another_python(&self) -> PythonClient {
        PythonClient::start(&self.server.url(), &["--codec", self.codec.0, "--queue", MIXED])
    }

    /// All tasks of this file.
    pub(super) fn inventory() -> Inventory {
        let inventory = Inventory::empty().worker::<Mixed>();
        let inventory = inventory.task::<rust_add>().task::<rust_echo>().task::<rust_fail>().task::<held>();
        let inventory = inventory.task::<rust_count_try>().task::<rust_retry_then_ok>();
        inventory.task::<rust_sleep>().task::<nothing>()
    }

    /// A Rust worker with all tasks of this file, on a broker (so: with connections) of its own.
    pub(super) fn rust_worker(&self) -> Fleet {
        self.rust_worker_with(Self::inventory())
    }

    pub(super) fn rust_worker_with(&self, inventory: Inventory) -> Fleet {
        let broker: Arc<dyn Broker> = Arc::new(RedisBroker::builder(self.server.url()).build().unwrap());
        let (gate, codec) = (self.gate.clone(), self.codec.1);
        Harness::on(broker).inventory(inventory).setup(move |runner| runner.codec(codec).state(gate.clone())).start()
    }

    /// Enqueues from Python; `words` as after `py_client.py enqueue`. Returns the id.
    pub(super) async fn python_enqueues(&self, words: &[&str]) -> String {
        let answer = self.python.call(&[&["enqueue"], words].concat()).await;
        answer["id"].as_str().unwrap_or_else(|| panic!("{words:?} was not enqueued: {answer}")).to_owned()
    }

    /// What Python's `Job.status()` says.
    pub(super) async fn python_status(&self, id: &str) -> String {
        let answer = self.python.call(&["status", id]).await;
        answer["status"].as_str().unwrap_or_default().to_owned()
    }

    /// What Python's `Job.result()` gives or raises.
    pub(super) async fn python_result(&self, id: &str) -> Value {
        self.python.call(&["result", id, "--wait", "30"]).await
    }

    /// Our handle of a job that somebody else has enqueued.
    pub(super) fn handle(&self, id: &str) -> JobHandle<Untyped> {
        self.client.job("mixed", id).unwrap()
    }

    /// What our handle gives within the test's patience.
    pub(super) async fn rust_result(&self, id: &str) -> Result<Value, ResultError> {
        self.handle(id).result_within(SOON).await
    }

    pub(super) async fn rust_status(&self, id: &str) -> Option<JobState> {
        self.handle(id).status().await.unwrap()
    }

    /// Waits until Python says so of a job, and we say the same.
    pub(super) async fn until_status(&self, id: &str, python: &str, rust: Option<JobState>) {
        until(&format!("{id} is {python}"), async || self.python_status(id).await == python).await;
        assert_eq!(self.rust_status(id).await, rust, "Python: {python}");
    }

    /// A worker of ours in a process of its own (`fixtures/mixed.rs`), which knows `sleep` and keeps a ledger.
    pub(super) fn rust_process(&self) -> Program {
        let (url, ledger) = (self.server.url(), format!("MIXED_LEDGER=127.0.0.1:{}", self.server.port()));
        Program::start("env", &[&ledger, MIXED_PROGRAM, "mixed", "--redis", &url])
    }

    /// Exit code and words of `fixture-mixed mixed --check`.
    pub(super) async fn our_check(&self) -> (i32, String) {
        let mut check = Program::start(MIXED_PROGRAM, &["mixed", "--check", "--redis", &self.server.url()]);
        (check.end().await, check.said())
    }

    /// One command to the server, in words.
    pub(super) fn redis(&self, words: &[&str]) -> String {
        self.server.cli(words)
    }

    /// That no job, member or claim is left.
    pub(super) fn assert_no_job_left(&self) {
        let keys = self.redis(&["KEYS", "arq:*"]);
        let is_left = |key: &&str| key.starts_with("arq:job:") || key.starts_with("arq:in-progress:") || *key == MIXED;
        // A worker that is killed while it starts leaves its trial, which ends by itself.
        let is_trial = |key: &&str| key.contains("{s7-check-") && self.redis(&["PTTL", key]) != "-1";
        let left: Vec<&str> = keys.lines().filter(is_left).filter(|key| !is_trial(key)).collect();
        assert!(left.is_empty(), "left over: {left:?}");
    }

    /// That nothing is left of jobs but results: no member, job, counter, claim or abort request.
    pub(super) fn assert_nothing_left(&self) {
        let keys = self.redis(&["KEYS", "arq:*"]);
        let left: Vec<&str> = keys.lines().filter(|key| is_of_a_live_job(key)).collect();
        assert!(left.is_empty(), "left over: {left:?}");
    }
}

fn is_of_a_live_job(key: &str) -> bool {
    let prefixes = ["arq:job:", "arq:retry:", "arq:in-progress:", "arq:s7:job:", "arq:abort"];
    key == MIXED || key.ends_with(":s7:leases") || prefixes.iter().any(|prefix| key.starts_with(prefix))
}

/// Looks again and again until `is_so`; only for what another process does and tells nobody.
pub(super) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not within {SOON:?}: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}
