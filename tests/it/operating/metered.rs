//! Each number that a worker exports, beside what the test knows of its own: it holds the jobs, counts the calls,
//! and breaks the way to Redis.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use sector7g_tasks::broker::RedisBroker;
use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::metrics::Prometheus;
use sector7g_tasks::prelude::*;
use sector7g_tasks::testing::chaos::{Call, ChaosBroker, Fault};
use sector7g_tasks::testing::{Fleet, Harness};
use support::{Proxy, RedisServer, Way};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tower::ServiceExt as _;

use super::{Scrape, expect_value};

/// Lets as many jobs end as the test says.
#[derive(Clone)]
struct Gate(Arc<Semaphore>);

impl Gate {
    async fn pass(&self) {
        self.0.acquire().await.unwrap().forget();
    }
}

/// Two at once; heartbeats each three seconds.
#[derive(Worker)]
#[worker(queue = "metered_sizes", max_jobs = 2, lease = 9)]
struct MeteredSizes;

#[task(queue = "metered_sizes")]
async fn holds_a_slot(State(gate): State<Gate>) {
    gate.pass().await;
}

#[derive(Worker)]
#[worker(queue = "metered_looks", max_jobs = 3)]
struct MeteredLooks;

#[task(queue = "metered_looks")]
async fn never_comes() {}

/// Its leases last for longer than the test: no heartbeat finds out what becomes of them.
#[derive(Worker)]
#[worker(queue = "metered_ends", lease = "10m")]
struct MeteredEnds;

#[task(queue = "metered_ends")]
async fn ends_when_told(State(gate): State<Gate>) {
    gate.pass().await;
}

/// Its end is counted, and panics before it is stored.
#[task(queue = "metered_ends")]
async fn breaks_at_last() -> Result<(), TaskError> {
    Err(TaskError::permanent(BadDrop))
}

#[derive(Debug)]
struct BadDrop;

impl fmt::Display for BadDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it can't be dropped")
    }
}

impl Error for BadDrop {}

impl Drop for BadDrop {
    fn drop(&mut self) {
        panic!("badly dropped");
    }
}

/// Heartbeats each three seconds, and each less than one once they fail.
#[derive(Worker)]
#[worker(queue = "metered_leases", lease = 9)]
struct MeteredLeases;

#[task(queue = "metered_leases")]
async fn is_held(State(gate): State<Gate>) {
    gate.pass().await;
}

/// A worker of this process, whose queue no other has: its series are its own. What it exports, and what happens to it.
struct Metered {
    queue: &'static str,
    prometheus: Prometheus,
    calls: Arc<ChaosBroker>,
    client: Client,
    gate: Gate,
    fleet: Fleet,
}

impl Metered {
    /// Starts the worker of `inventory` on the server, or the way to it, that `url` names.
    async fn start(queue: &'static str, inventory: Inventory, url: String, setup: impl FnOnce(&ChaosBroker)) -> Self {
        let prometheus = Prometheus::install().unwrap();
        let calls = Arc::new(ChaosBroker::new(Arc::new(RedisBroker::connect(url).await.unwrap())));
        setup(&calls);
        let gate = Gate(Arc::new(Semaphore::new(0)));
        let state = gate.clone();
        let harness = Harness::on(Arc::clone(&calls) as Arc<dyn Broker>)
            .inventory(inventory)
            .setup(move |runner| runner.state(state.clone()));
        Self { queue, prometheus, calls, client: harness.client(), gate, fleet: harness.start() }
    }

    async fn scrape(&self) -> Scrape {
        scrape(&self.prometheus).await
    }

    /// The value of a series of its queue, at once.
    async fn value(&self, name: &str, labels: &str) -> f64 {
        let (series, scrape) = (self.series(name, labels), self.scrape().await);
        *scrape.values.get(&series).unwrap_or_else(|| panic!("no {series}: {:#?}", scrape.values))
    }

    /// Waits until a series of its queue has the value.
    async fn expect(&self, name: &str, labels: &str, value: f64) -> Scrape {
        expect_value(&self.series(name, labels), value, async || self.scrape().await).await
    }

    /// Waits until a counter of its queue is above `before`.
    async fn expect_more(&self, name: &str, labels: &str, before: f64) {
        let until = Instant::now() + super::SOON;
        while self.value(name, labels).await <= before {
            assert!(Instant::now() < until, "{name} is not above {before}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// `labels` beside the queue's, as `outcome="done"`.
    fn series(&self, name: &str, labels: &str) -> String {
        let queue = format!("queue=\"{}\"", self.queue);
        let mut labels: Vec<&str> = labels.split(',').filter(|label| !label.is_empty()).chain([&*queue]).collect();
        labels.sort_unstable();
        format!("sector7g_{name}{{{}}}", labels.join(","))
    }

    /// The series of the worker, which is called as its queue is.
    fn of_worker(&self, name: &str) -> String {
        format!("sector7g_{name}{{worker=\"{}\"}}", self.queue.replace('_', "-"))
    }

    async fn expect_of_worker(&self, name: &str, value: f64) -> Scrape {
        expect_value(&self.of_worker(name), value, async || self.scrape().await).await
    }
}

/// What the router serves.
async fn scrape(prometheus: &Prometheus) -> Scrape {
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    let response = prometheus.router().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let text = to_bytes(response.into_body(), 8 << 20).await.unwrap();
    Scrape::read(std::str::from_utf8(&text).unwrap())
}

/// No number passes for a queue's size before the first look at it and after the last.
#[tokio::test]
async fn what_nobody_knows_is_no_number() {
    let server = RedisServer::start();
    let slow = |calls: &ChaosBroker| calls.fail_next(Call::Stats, 1, Fault::Late(Duration::from_secs(1)));
    let inventory = Inventory::empty().task::<never_comes>().worker::<MeteredLooks>();
    let metered = Metered::start("metered_looks", inventory, server.url(), slow).await;
    let queue =
        ["depth_jobs", "due_jobs", "deferred_jobs", "running_jobs", "dead_jobs", "oldest_due_age_seconds", "workers"]
            .map(|gauge| metered.series(&format!("queue_{gauge}"), ""));
    let [up, slots, running] =
        ["broker_up", "worker_max_jobs", "worker_running_jobs"].map(|gauge| metered.of_worker(gauge));
    let assert_unknown = |scrape: &Scrape| {
        for series in queue.iter().chain([&up]) {
            assert!(scrape.values[series].is_nan(), "{series} is {}", scrape.values[series]);
        }
    };
    let first = metered.expect_of_worker("worker_max_jobs", 3.0).await;
    assert_unknown(&first);
    metered.expect_of_worker("broker_up", 1.0).await;
    let known = metered.scrape().await;
    assert!(queue.iter().all(|series| known.values[series] >= 0.0), "{:#?}", known.values);

    let Metered { prometheus, fleet, .. } = metered;
    fleet.stop().await.unwrap();
    let gone = scrape(&prometheus).await;
    assert_unknown(&gone);
    assert_eq!([&slots, &running].map(|series| gone.values[series].to_string()), ["0", "0"]);
}

/// A queue's sizes, its worker's slots, the times of its jobs and the calls for them.
#[tokio::test]
async fn sizes_times_and_calls_are_counted_as_they_are() {
    let (server, began) = (RedisServer::start(), Instant::now());
    let broker = RedisBroker::connect(server.url()).await.unwrap();
    let (now, before) = (broker.clock().now(), Client::new(Arc::new(broker)));
    let seconds = Duration::from_secs;
    for age in [4_000, 1_000, 100] {
        let id = format!("for-{age}");
        before.enqueue(holds_a_slot::job().id(id.clone())).await.unwrap();
        let since = (now - seconds(age)).as_millis().to_string();
        server.cli(&["ZADD", "arq:queue:metered_sizes", "XX", &since, &id]); // as if it had waited so long
    }
    for delay in [3_600, 7_200] {
        before.enqueue(holds_a_slot::job().delay(seconds(delay))).await.unwrap();
    }
    let inventory = Inventory::empty().task::<holds_a_slot>().worker::<MeteredSizes>();
    let metered = Metered::start("metered_sizes", inventory, server.url(), |_| ()).await;
    let task = "task=\"holds_a_slot\"";
    metered.expect("jobs_started_total", task, 2.0).await;
    let held_since = Instant::now();
    metered.expect_of_worker("worker_max_jobs", 2.0).await;
    metered.expect("queue_running_jobs", "", 2.0).await;
    metered.expect("queue_workers", "", 1.0).await; // its health entry is there by the second look
    metered.expect_of_worker("broker_up", 1.0).await;
    metered.expect_of_worker("worker_running_jobs", 2.0).await;
    let held = metered.scrape().await;
    let value = |name: &str| held.values[&metered.series(name, "")];
    assert_eq!(
        ["depth_jobs", "due_jobs", "deferred_jobs", "dead_jobs"]
            .map(|name| value(&format!("queue_{name}")).to_string()),
        ["5", "1", "2", "0"]
    );
    let oldest = value("queue_oldest_due_age_seconds");
    assert!((100.0..=100.0 + began.elapsed().as_secs_f64()).contains(&oldest), "{oldest} s: the third's");
    metered.expect("jobs_claimed_total", "", 2.0).await;
    metered.expect_more("heartbeats_total", "outcome=\"renewed\"", 0.0).await;

    metered.gate.0.add_permits(3);
    let held_for = held_since.elapsed().as_secs_f64();
    metered.expect("jobs_finished_total", &format!("outcome=\"done\",{task}"), 3.0).await;
    metered.expect("jobs_claimed_total", "", 3.0).await;
    metered.expect("jobs_started_total", task, 3.0).await;
    let ended = metered.expect("queue_running_jobs", "", 0.0).await;
    let elapsed = began.elapsed().as_secs_f64();
    let of_task = |name: &str, labels: &str| ended.values[&metered.series(name, &format!("{task}{labels}"))];
    let counts = |name: &str, bounds: [&str; 4]| {
        bounds.map(|bound| of_task(&format!("{name}_bucket"), &format!(",le=\"{bound}\"")).to_string())
    };
    assert_eq!(counts("job_queue_latency_seconds", ["60", "300", "1800", "7200"]), ["0", "1", "2", "3"]);
    let waited = of_task("job_queue_latency_seconds_sum", "");
    assert!((5_100.0..=5_100.0 + 3.0 * elapsed).contains(&waited), "{waited} s");
    assert_eq!(counts("job_run_duration_seconds", ["60", "300", "1800", "+Inf"]), ["3"; 4]);
    let ran = of_task("job_run_duration_seconds_sum", "");
    assert!((2.0 * held_for..=3.0 * elapsed).contains(&ran), "{ran} s, two of them for {held_for}");
    let short = of_task("job_run_duration_seconds_bucket", ",le=\"1\"");
    assert!(short <= 1.0, "{short}: two were held for {held_for} s");

    metered.expect("queue_oldest_due_age_seconds", "", 0.0).await;
    metered.expect("queue_due_jobs", "", 0.0).await;
    metered.expect("queue_deferred_jobs", "", 2.0).await;
    metered.expect("queue_depth_jobs", "", 2.0).await;
    metered.expect_of_worker("worker_running_jobs", 0.0).await;
    // Nothing is under way, so what is counted is what the broker was asked.
    for (name, call, outcome) in
        [("claims_total", Call::Claim, "answered"), ("heartbeats_total", Call::Extend, "renewed")]
    {
        #[expect(clippy::cast_precision_loss, reason = "a handful")]
        let calls = metered.calls.calls(call) as f64;
        metered.expect(name, &format!("outcome=\"{outcome}\""), calls).await;
        metered.expect(name, "outcome=\"failed\"", 0.0).await;
    }

    metered.fleet.stop().await.unwrap();
}

/// Ends that are counted and not stored, each with its reason.
#[tokio::test]
async fn ends_that_are_not_stored_are_counted_by_their_reasons() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let inventory = Inventory::empty().task::<ends_when_told>().task::<breaks_at_last>().worker::<MeteredEnds>();
    let metered = Metered::start("metered_ends", inventory, proxy.url(), |_| ()).await;
    let task = "task=\"ends_when_told\"";
    let started = async |id: &str, nth: f64| {
        metered.client.enqueue(ends_when_told::job().id(id)).await.unwrap();
        metered.expect("jobs_started_total", task, nth).await;
    };
    let not_stored = async |counts: [f64; 4]| {
        for (reason, count) in ["late", "broken", "refused", "unreported"].into_iter().zip(counts) {
            metered.expect("outcomes_not_stored_total", &format!("reason=\"{reason}\""), count).await;
        }
    };
    not_stored([0.0; 4]).await;

    started("late", 1.0).await;
    server.cli(&["SET", "arq:in-progress:late", "another"]); // as if this process had stood still
    metered.gate.0.add_permits(1);
    not_stored([1.0, 0.0, 0.0, 0.0]).await;
    metered.expect("lease_losses_total", "", 1.0).await;
    metered.expect("jobs_finished_total", &format!("outcome=\"done\",{task}"), 1.0).await;

    metered.client.enqueue(breaks_at_last::job()).await.unwrap();
    not_stored([1.0, 1.0, 0.0, 0.0]).await;
    metered.expect("jobs_finished_total", "outcome=\"failed\",task=\"breaks_at_last\"", 1.0).await;
    metered.expect("job_errors_total", "error_type=\"permanent\",task=\"breaks_at_last\"", 1.0).await;

    metered.expect("claims_total", "outcome=\"failed\"", 0.0).await;
    started("refused", 2.0).await;
    server.cli(&["ACL", "SETUSER", "default", "-evalsha"]);
    metered.gate.0.add_permits(1);
    not_stored([1.0, 1.0, 1.0, 0.0]).await;
    metered.expect_more("claims_total", "outcome=\"failed\"", 1.0).await; // with its result, and without
    server.cli(&["ACL", "SETUSER", "default", "+evalsha"]);
    started("left", 3.0).await;
    metered.expect_of_worker("broker_reconnects_total", 0.0).await; // it was there all the time

    proxy.set(Way::Refuse);
    metered.gate.0.add_permits(1);
    metered.expect("jobs_finished_total", &format!("outcome=\"done\",{task}"), 3.0).await;
    let unreported = metered.series("outcomes_not_stored_total", "reason=\"unreported\"");
    metered.expect("lease_losses_total", "", 1.0).await;
    let Metered { prometheus, fleet, .. } = metered;
    fleet.stop().await.unwrap();
    let gone = scrape(&prometheus).await;
    assert!((gone.values[&unreported] - 1.0).abs() < 0.5, "{:#?}", gone.values);
}

/// Leases that another has, and a way to Redis that breaks and is mended.
#[tokio::test]
async fn lost_leases_failed_heartbeats_and_reconnections_are_counted() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let inventory = Inventory::empty().task::<is_held>().worker::<MeteredLeases>();
    let metered = Metered::start("metered_leases", inventory, proxy.url(), |_| ()).await;
    let task = "task=\"is_held\"";
    metered.client.enqueue(is_held::job().id("robbed")).await.unwrap();
    metered.expect("jobs_started_total", task, 1.0).await;
    server.cli(&["SET", "arq:in-progress:robbed", "another"]);
    metered.expect("jobs_finished_total", &format!("outcome=\"lease_lost\",{task}"), 1.0).await;
    metered.expect("lease_losses_total", "", 1.0).await;
    metered.expect("job_run_duration_seconds_count", task, 1.0).await;
    metered.expect("outcomes_not_stored_total", "reason=\"late\"", 0.0).await; // it had not ended
    metered.expect("heartbeats_total", "outcome=\"failed\"", 0.0).await;
    metered.expect("claims_total", "outcome=\"failed\"", 0.0).await;

    metered.client.enqueue(is_held::job().id("held")).await.unwrap();
    metered.expect("jobs_started_total", task, 2.0).await;
    let renewed = metered.value("heartbeats_total", "outcome=\"renewed\"").await;
    proxy.set(Way::Refuse);
    metered.expect_more("claims_total", "outcome=\"failed\"", 0.0).await;
    metered.expect_more("heartbeats_total", "outcome=\"failed\"", 0.0).await;
    metered.expect_of_worker("broker_reconnects_total", 0.0).await;
    proxy.set(Way::Pass);
    metered.expect_of_worker("broker_reconnects_total", 1.0).await;
    metered.expect_more("heartbeats_total", "outcome=\"renewed\"", renewed).await;
    metered.gate.0.add_permits(1);
    metered.expect("jobs_finished_total", &format!("outcome=\"done\",{task}"), 1.0).await;
    metered.expect_of_worker("broker_reconnects_total", 1.0).await;
    metered.expect("lease_losses_total", "", 1.0).await;
    metered.fleet.stop().await.unwrap();
}
