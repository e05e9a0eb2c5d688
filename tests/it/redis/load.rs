//! What the path of a job costs a server: commands from outside, and calls inside its scripts.

use std::hash::{BuildHasher, RandomState};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use sector7g_tasks::broker::{
    Broker, Claim, ClaimedJob, Due, Finish, JobFilter, JobId, LeaseToken, NewJob, Outcome, QueueName, RedisBroker,
    RequestId,
};
use sector7g_tasks::dashboard::Dashboard;
use sector7g_tasks::prelude::*;
use support::RedisServer;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::check::cost_of_a_check;

const LEASE: Duration = Duration::from_secs(30);

/// A worker of a queue, call by call.
struct Hand {
    broker: RedisBroker,
    queue: QueueName,
    worker: u64,
    calls: u64,
}

impl Hand {
    async fn new(server: &RedisServer, queue: &str) -> Self {
        let broker = RedisBroker::connect(server.url()).await.unwrap();
        Self { broker, queue: QueueName::new(queue).unwrap(), worker: RandomState::new().hash_one(0), calls: 0 }
    }

    async fn enqueue(&self, count: usize) {
        let job = || NewJob {
            queue: self.queue.clone(),
            id: JobId::generate(),
            is_new_id: false,
            payload: "{}".into(),
            due: Due::Now,
            expires_in: None,
            replace_finished: false,
        };
        let jobs: Vec<NewJob> = (0..count).map(|_| job()).collect();
        self.broker.enqueue(&jobs, RequestId::unique()).await.unwrap();
    }

    async fn call(&mut self, finished: &[Finish], max: usize) -> Vec<ClaimedJob> {
        self.calls += 1;
        let token = LeaseToken { worker: self.worker, call: self.calls };
        self.broker.claim(&Claim { queue: &self.queue, finished, max, lease: LEASE, token }).await.unwrap().jobs
    }

    /// Claims up to `count` jobs, extends their leases and ends them.
    async fn work_off(&mut self, count: usize) -> usize {
        let jobs = self.call(&[], count).await;
        let leases: Vec<_> = jobs.iter().map(|job| job.lease.clone()).collect();
        self.broker.extend(&self.queue, &leases, LEASE).await.unwrap();
        let end = |lease| Finish { lease, outcome: Outcome::End { result: None, dead: None, hold_id: Duration::ZERO } };
        let finished: Vec<Finish> = leases.into_iter().map(end).collect();
        self.call(&finished, 0).await;
        finished.len()
    }
}

/// A batch is worked off in as many commands whether it has ten jobs or five hundred.
#[tokio::test]
async fn a_batch_costs_a_constant_number_of_commands() {
    let server = RedisServer::start();
    let mut costs = Vec::new();
    for size in [10, 500] {
        let mut hand = Hand::new(&server, "batches").await;
        hand.enqueue(size).await;
        assert_eq!(hand.work_off(1).await, 1, "scripts are loaded, connections made");
        let monitor = server.monitor();
        assert_eq!(hand.work_off(size).await, size - 1);
        costs.push(monitor.stop_from_clients());
    }
    let [few, many] = &*costs else { panic!("two sizes") };
    assert_eq!(few.len(), many.len(), "few: {few:#?}");
    assert!(few.len() <= 5, "{few:#?}");
}

#[task(queue = "idle", name = "idle")]
async fn nothing() {}

/// A worker that has nothing to do asks for work twice a second, and each 5 s sends five calls more, when it stops waiting
/// and begins anew: whether its queue is empty, or has a million jobs that are not due.
#[tokio::test]
async fn an_idle_worker_sends_few_commands() {
    const DEFER: &str = "for i = 1, 1000000 do redis.call('ZADD', KEYS[1], 4000000000000 + i, i) end";
    let (empty, full) = (RedisServer::start(), RedisServer::builder().line("lua-time-limit 60000").start());
    full.cli(&["EVAL", DEFER, "1", "arq:queue:idle"]);
    let (of_none, of_million) = tokio::join!(idle(&empty), idle(&full));
    for (commands, took) in [&of_none, &of_million] {
        let sent: Vec<_> = commands.iter().filter(|line| !line.contains(" lua] \"")).collect();
        assert!(!sent.is_empty(), "it looks for work");
        eprintln!("{} commands in {took:?}, {} with those of scripts", sent.len(), commands.len());
        let ms = usize::try_from(took.as_millis()).unwrap();
        let most = (ms / 500 + 1) + 5 * (ms / 5_000 + 1) + 2; // two, as clocks are never quite in step
        assert!(sent.len() <= most, "{} in {took:?}, more than {most}: {sent:#?}", sent.len());
        assert!(commands.len() < ms / 25, "{} in {took:?}: {commands:#?}", commands.len());
        let without_end: Vec<_> = commands.iter().filter(|line| !is_bounded(line)).collect();
        assert!(without_end.is_empty(), "{without_end:#?}");
    }
    assert_eq!(full.cli(&["ZCARD", "arq:queue:idle"]).trim(), "1000000");
}

/// For how long it is listened to, at least.
const SPAN: Duration = Duration::from_secs(4);

/// What a server runs for an idle worker, its scripts' calls among it, and in what time.
async fn idle(server: &RedisServer) -> (Vec<String>, Duration) {
    let broker = RedisBroker::connect(server.url()).await.unwrap();
    let stop = CancellationToken::new();
    let runner = Runner::new().broker(Arc::new(broker)).inventory(Inventory::empty().task::<nothing>());
    let worker = runner.handle_signals(false).stop_on(stop.clone()).run();
    let watch = async {
        let waits = || server.cli(&["CLIENT", "LIST"]).lines().any(|client| client.contains(" flags=b "));
        let is_told = || server.cli(&["EXISTS", "arq:queue:idle:health-check"]).trim() == "1";
        while !waits() || !is_told() {
            tokio::task::yield_now().await; // until it has started
        }
        let mut heard = (Vec::new(), Duration::ZERO);
        // The first span may hold its look at the set-up, which goes on beside its work, once.
        for _ in 0..2 {
            let began = Instant::now();
            let monitor = server.monitor();
            tokio::time::sleep(SPAN).await;
            let commands = monitor.stop();
            heard = (commands, began.elapsed());
        }
        stop.cancel();
        heard
    };
    let (report, heard) = tokio::join!(worker, watch);
    report.unwrap();
    heard
}

/// Whether what a monitor shows takes no longer in a queue of a million: no command that looks at all keys, members or
/// fields, and no range without an end. Queues' names are as many as there are queues.
fn is_bounded(line: &str) -> bool {
    const MOST: i64 = 10_000;
    let words: Vec<String> = line.split('"').skip(1).step_by(2).map(str::to_ascii_uppercase).collect();
    let number = |index: usize| words.get(index).and_then(|word| word.parse::<i64>().ok());
    let name = words.first().map_or("", String::as_str);
    match name {
        _ if line.contains("\"arq:s7:queues\"") => true,
        "KEYS" | "SMEMBERS" | "HGETALL" | "HKEYS" | "HVALS" | "SORT" | "FLUSHALL" | "FLUSHDB" => false,
        _ if name.starts_with("ZUNION") || name.starts_with("ZINTER") || name.starts_with("ZDIFF") => false,
        _ if name.contains("RANGE") && !name.starts_with("ZREM") && !name.starts_with("GET") => {
            match words.iter().position(|word| word == "LIMIT") {
                Some(limit) => number(limit + 2).is_some_and(|most| (0..=MOST).contains(&most)),
                None => number(2)
                    .zip(number(3))
                    .is_some_and(|(from, to)| (from >= 0) == (to >= 0) && (0..MOST).contains(&(to - from))),
            }
        }
        _ => true,
    }
}

/// How many calls the server has answered, those of scripts counted one by one.
pub(in super::super) fn calls(server: &RedisServer) -> u64 {
    let stats = server.cli(&["INFO", "commandstats"]);
    let counts = stats.lines().filter(|line| line.starts_with("cmdstat_") && !line.starts_with("cmdstat_info"));
    let count = |line: &str| line.split_once("calls=")?.1.split(',').next()?.parse::<u64>().ok();
    counts.filter_map(count).sum()
}

/// All that workers, operators and `--check` ask of a queue.
async fn use_queue(hand: &mut Hand) {
    assert_eq!(hand.work_off(20).await, 20);
    let queues = [hand.queue.clone()];
    hand.broker.wait(&queues, LEASE, LEASE).await.unwrap();
    let stats = hand.broker.stats(&hand.queue).await.unwrap();
    assert!(stats.queued > 0 && stats.deferred > 0 && stats.running == 0, "{stats:?}");
    let page = hand.broker.jobs(&hand.queue, JobFilter::Live, None, 10).await.unwrap();
    let next = hand.broker.jobs(&hand.queue, JobFilter::Live, page.next, 10).await.unwrap();
    assert_eq!((page.jobs.len(), next.jobs.len()), (10, 10));
    hand.broker.queues().await.unwrap();
}

/// With a million jobs due and a million deferred, the same calls are made as with two hundred of each.
#[tokio::test]
async fn a_queue_of_two_million_costs_no_more_calls() {
    const FILL: &str = "for i = 1, ARGV[1] do
        local id = string.format('%032d', i)
        redis.call('SET', 'arq:job:' .. id, '{\"t\":null,\"f\":\"nothing\",\"a\":[],\"k\":{},\"et\":1}')
        redis.call('ZADD', KEYS[1], i % 2 == 0 and 1000 + i or 4000000000000 + i, id)
    end";
    let mut costs = Vec::new();
    for size in ["400", "2000000"] {
        let server = RedisServer::builder().line("lua-time-limit 60000").line("slowlog-log-slower-than 0");
        let server = server.line("slowlog-max-len 20000").start();
        server.cli(&["EVAL", FILL, "1", "arq:queue:mixed", size]);
        server.cli(&["SLOWLOG", "RESET"]);
        let mut hand = Hand::new(&server, "mixed").await;
        hand.enqueue(1).await; // the queue is known from then on
        use_queue(&mut hand).await;
        let before = calls(&server);
        use_queue(&mut hand).await;
        let cost = calls(&server) - before;
        assert_eq!(hand.call(&[], 20).await.len(), 20, "these are running");
        for words in ["SET arq:in-progress:of-python 1", "SET arq:job:of-python {}", "ZADD arq:queue:mixed 1 of-python"]
        {
            server.cli(&words.split(' ').collect::<Vec<_>>());
        }
        costs.push((cost, cost_of_a_check(&server).await, look_around(&server).await));
        tell_slowest(&server, size, "calls, looks and pages");
        burst(hand).await;
        tell_slowest(&server, size, "a worker");
    }
    assert_eq!(costs[0], costs[1]);
    assert!(costs[0].1 < 450, "a check is not much by itself: {costs:?}");
}

/// Says which commands took a server the longest, scripts as wholes; whether that is long, no test can say.
fn tell_slowest(server: &RedisServer, size: &str, what: &str) {
    type Entry = (u64, u64, u64, Vec<Vec<u8>>, String, String);
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let log: Vec<Entry> = redis::cmd("SLOWLOG").arg("GET").arg(-1).query(&mut connection).unwrap();
    redis::cmd("SLOWLOG").arg("RESET").query::<()>(&mut connection).unwrap();
    let count = log.len();
    let text = |words: &[Vec<u8>]| String::from_utf8_lossy(&words[..words.len().min(6)].join(&b' ')).into_owned();
    let mut took: Vec<_> = log.into_iter().map(|entry| (entry.2, text(&entry.3))).collect();
    took.retain(|(_, words)| !words.starts_with("SLOWLOG") && !words.ends_with("commandstats")); // the test's own
    took.sort_by_key(|(micros, _)| std::cmp::Reverse(*micros));
    for (micros, words) in took.into_iter().take(3) {
        eprintln!("{size} jobs, {what}: {micros} us, of {count} commands: {words:.150}");
    }
}

/// What every page of the dashboard, and every look of the command, costs `server` in calls; none is without an end.
async fn look_around(server: &RedisServer) -> Vec<(&'static str, u64)> {
    const OPERATE: &str = env!("CARGO_BIN_EXE_fixture-sector-7g");
    const PAGES: [&str; 7] = [
        "/overview",
        "/queue?queue=mixed",
        "/queue?queue=mixed&state=live",
        "/queue?queue=mixed&state=running",
        "/dead?queue=mixed",
        "/workers",
        "/schedules",
    ];
    const LOOKS: [&str; 6] = ["health status", "queues", "jobs list", "jobs list --json", "dead list", "schedule list"];
    let broker: Arc<dyn Broker> = Arc::new(RedisBroker::connect(server.url()).await.unwrap());
    let mut costs = Vec::new();
    for pages in [false, true] {
        let looks = if pages { &PAGES[..] } else { &LOOKS[..] };
        for look in looks {
            let (before, monitor) = (calls(server), server.monitor());
            if pages {
                // A new one each time: it shows for two seconds what it has seen.
                open(&Dashboard::new(Arc::clone(&broker)).router(), look).await;
            } else {
                let mut command = Command::new(OPERATE);
                command.args(look.split(' ')).args(["--queue", "mixed", "--redis", &server.url()]);
                let output = command.output().unwrap();
                assert!(output.status.code().is_some_and(|code| code <= 1), "{look}: {output:?}"); // nobody works there
            }
            costs.push((*look, calls(server) - before));
            let without_end: Vec<_> = monitor.stop().into_iter().filter(|line| !is_bounded(line)).collect();
            assert!(without_end.is_empty(), "{look}: {without_end:#?}");
        }
    }
    costs
}

async fn open(router: &Router, page: &str) {
    let request = Request::get(page).header("host", "localhost").body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 8 << 20).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{page}: {}", String::from_utf8_lossy(&body));
}

/// A worker in burst mode takes jobs off the queue, and is found alive; deferred ones keep it from its end.
async fn burst(hand: Hand) {
    let before = hand.broker.stats(&hand.queue).await.unwrap();
    let stop = CancellationToken::new();
    let runner = Runner::new().broker(Arc::new(hand.broker.clone())).inventory(Inventory::empty().task::<crowded>());
    let worker = runner.handle_signals(false).burst(true).stop_on(stop.clone()).run();
    let watch = async {
        loop {
            let stats = hand.broker.stats(&hand.queue).await.unwrap();
            let is_seen = stats.workers.iter().any(|worker| !worker.instance.is_empty()); // the check's was made up
            if stats.queued + 50 <= before.queued && is_seen {
                break stop.cancel();
            }
            tokio::task::yield_now().await;
        }
    };
    let (report, ()) = tokio::join!(worker, watch);
    assert!(report.unwrap().done() >= 50);
    assert_eq!(hand.broker.stats(&hand.queue).await.unwrap().deferred, before.deferred);
}

/// What the crowd waits for.
#[task(queue = "mixed", name = "nothing")]
async fn crowded() {}
