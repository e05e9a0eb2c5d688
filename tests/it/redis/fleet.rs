//! Rust and Python workers on one queue, killed all along.

use std::collections::{HashMap, HashSet};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use support::{PythonClient, PythonWorker, RedisServer};
use tokio::time::{Instant, sleep};

const FLEET: &str = env!("CARGO_BIN_EXE_fixture-fleet");
const QUEUE: &str = "arq:queue:fleet";
const LEDGER: &str = "ledger";
const JOBS: usize = 3_000;
const KILLS: u32 = 8;

/// What a job's last worker leaves behind may take: Python's keys outlive a job's timeout by ten seconds.
const DRAIN: Duration = Duration::from_secs(90);

/// A worker of either kind, killed with this value.
enum Worker {
    Rust(Child),
    Python(PythonWorker),
}

impl Worker {
    fn start(url: &str, is_rust: bool) -> Self {
        if is_rust {
            let mut program = Command::new(FLEET);
            program.env("REDIS_URL", url).env("FLEET_LEDGER", LEDGER).env("RUST_LOG", "warn").stderr(Stdio::null());
            return Self::Rust(program.spawn().expect("the fixture starts"));
        }
        let options = ["--queue", QUEUE, "--ledger", LEDGER, "--job-timeout", "1", "--poll-delay", "0.05"];
        Self::Python(PythonWorker::spawn(url, &options))
    }

    /// Kills it with SIGKILL; returns the process that it was.
    fn kill(&mut self) -> u32 {
        match self {
            Self::Rust(child) => {
                child.kill().expect("it is ours");
                child.wait().expect("it has ended");
                child.id()
            }
            Self::Python(worker) => {
                let pid = worker.pid();
                worker.kill9();
                u32::try_from(pid).expect("a process")
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Self::Rust(child) = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A line of the ledger.
struct Entry {
    is_start: bool,
    id: String,
    pid: u32,
}

fn ledger(server: &RedisServer) -> Vec<Entry> {
    let lines = server.cli(&["LRANGE", LEDGER, "0", "-1"]);
    let entry = |line: &str| {
        let mut words = line.split(' ');
        let mut word = || words.next().expect("four words").to_owned();
        let (what, id, _, pid) = (word(), word(), word(), word());
        Entry { is_start: what == "S", id, pid: pid.trim().parse().expect("a process") }
    };
    lines.lines().filter(|line| !line.is_empty()).map(entry).collect()
}

/// Nothing is lost, and no job is started a second time unless the worker that had it was killed.
#[tokio::test]
async fn killed_workers_of_both_kinds_lose_nothing_and_double_nothing() {
    let server = RedisServer::start();
    let url = server.url();
    let client = PythonClient::start(&url, &["--queue", QUEUE]);
    let enqueued = client.call(&["enqueue-many", "sleep", &JOBS.to_string(), "--args", "[0.08]"]).await;
    let ids: HashSet<String> =
        enqueued["ids"].as_array().expect("ids").iter().map(|id| id.as_str().expect("an id").to_owned()).collect();
    assert_eq!(ids.len(), JOBS);

    let mut workers: Vec<Worker> = [true, false, true, false].map(|is_rust| Worker::start(&url, is_rust)).into();
    let mut killed = HashSet::new();
    for kill in 0..KILLS {
        sleep(Duration::from_millis(700)).await;
        // Each in turn; what they are about at that moment is chance enough.
        let victim = &mut workers[(kill % 4) as usize];
        killed.insert(victim.kill());
        *victim = Worker::start(&url, kill % 2 == 0);
    }
    let until = Instant::now() + DRAIN;
    while server.cli(&["ZCARD", QUEUE]).trim() != "0" {
        assert!(Instant::now() < until, "{} jobs are left", server.cli(&["ZCARD", QUEUE]));
        sleep(Duration::from_millis(100)).await;
    }
    for worker in &mut workers {
        worker.kill();
    }

    let entries = ledger(&server);
    let mut holders: HashMap<&str, u32> = HashMap::new();
    let mut done = HashSet::new();
    for entry in &entries {
        if entry.is_start {
            if let Some(before) = holders.insert(&entry.id, entry.pid) {
                assert!(killed.contains(&before), "job {} was started while process {before} had it", entry.id);
            }
        } else {
            done.insert(entry.id.clone());
        }
    }
    assert_eq!(done, ids, "each job came to its end");
    let starts: HashMap<bool, usize> = [true, false]
        .map(|is_start| (is_start, entries.iter().filter(|entry| entry.is_start == is_start).count()))
        .into();
    println!("{JOBS} jobs, {} starts, {} ends, {} processes killed", starts[&true], starts[&false], killed.len());
    assert!(starts[&true] > JOBS, "some were killed at work");
    let results = server.cli(&["EVAL", "return #redis.call('KEYS', 'arq:result:*')", "0"]);
    assert_eq!(results.trim().trim_start_matches("(integer) "), JOBS.to_string(), "each has one result");
    let left = server.cli(&[
        "EVAL",
        "return #redis.call('KEYS', 'arq:job:*') + #redis.call('KEYS', 'arq:in-progress:*')",
        "0",
    ]);
    assert_eq!(left.trim().trim_start_matches("(integer) "), "0", "nothing else is left of them");
    let pids: HashSet<u32> = entries.iter().map(|entry| entry.pid).collect();
    assert!(pids.len() >= 4, "workers of both kinds took part: {pids:?}");
}
