//! How soon a Rust worker sees what a Python client enqueues, who rings no bell: by the server's own clock.

use std::sync::Arc;
use std::time::Duration;

use sector7g_tasks::broker::RedisBroker;
use sector7g_tasks::prelude::*;
use support::{PythonClient, RedisCluster, RedisServer};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

#[task(queue = "{seen}", name = "add")]
async fn seen_add(a: i64, b: i64) -> i64 {
    a + b
}

/// It hardly looks by itself.
#[derive(Worker)]
#[worker(queue = "{seen}", poll_delay = 120)]
struct Hears;

/// As workers are unless told otherwise: it looks each half second.
#[derive(Worker)]
#[worker(queue = "{seen}")]
struct Polls;

/// Has Python enqueue jobs one by one while a worker is idle. Returns of each how many ms passed between its `ZADD` and
/// its lease on `node`, the server that has the queue: first of those after a quiet while.
async fn seen_after(broker: RedisBroker, inventory: Inventory, node: &RedisServer, hears: bool) -> [Vec<f64>; 2] {
    const JOBS: usize = 7;
    const QUIET: Duration = Duration::from_millis(100); // longer than one look is put off after another
    let stop = CancellationToken::new();
    let runner = Runner::new().broker(Arc::new(broker)).inventory(inventory.task::<seen_add>());
    let worker = runner.handle_signals(false).stop_on(stop.clone()).run();
    let test = async {
        let python = PythonClient::start(&node.url(), &["--queue", "arq:queue:{seen}"]);
        let mut spans = [Vec::new(), Vec::new()];
        for number in 0..JOBS {
            let id = format!("{{seen}}:{number}");
            let words = ["enqueue", "add", "--args", "[1, 2]", "--id", &id, "--wait", "60"];
            if number == 0 {
                python.call(&words).await; // the first is seen as the worker starts
                continue;
            }
            while !node.cli(&["CLIENT", "LIST"]).lines().any(|client| client.contains(" flags=b ")) {
                tokio::task::yield_now().await; // until the worker waits
            }
            if number % 2 == 0 {
                sleep(QUIET).await;
            }
            let monitor = node.monitor();
            assert_eq!(python.call(&words).await["result"], 3);
            let lines = monitor.stop();
            let place = |words: &str| lines.iter().position(|line| line.contains(words) && line.contains(&id)).unwrap();
            let (enqueued, leased) = (place("\"ZADD\""), place("\"PEXPIREAT\" \"arq:in-progress:"));
            let at = |line: usize| lines[line].split(' ').next().unwrap().parse::<f64>().unwrap();
            let is_rung =
                lines[enqueued..leased].iter().any(|line| line.contains("\"RPUSH\" \"arq:queue:{seen}:s7:bell\""));
            assert!(is_rung || !hears, "it was found by a look that came anyway: {lines:#?}");
            spans[number % 2].push((at(leased) - at(enqueued)) * 1000.0);
        }
        stop.cancel();
        spans
    };
    let (report, mut spans) = tokio::join!(worker, test);
    assert_eq!(report.unwrap().done(), JOBS as u64);
    let [quiet, busy] = &mut spans;
    quiet.sort_by(f64::total_cmp);
    busy.sort_by(f64::total_cmp);
    spans
}

fn tell(what: &str, [after_quiet, at_once]: &[Vec<f64>; 2]) {
    let show = |spans: &[f64]| format!("{:.1} ms ({:.1} to {:.1})", spans[1], spans[0], spans[2]);
    eprintln!("{what}: seen after {}; right after another job, {}", show(after_quiet), show(at_once));
}

/// A producer's job is seen by the notification, also right after that of another change: it has the bell rung.
#[tokio::test]
async fn where_the_server_tells_of_changes() {
    let server = RedisServer::builder().keyspace_events("Kz").start();
    let broker = RedisBroker::connect(server.url()).await.unwrap();
    let spans = seen_after(broker, Inventory::empty().worker::<Hears>(), &server, true).await;
    tell("with keyspace notifications", &spans);
}

#[tokio::test]
async fn on_a_cluster() {
    let cluster = RedisCluster::start().await;
    let hosts: Vec<String> = cluster.urls().iter().map(|url| url.trim_start_matches("redis://").to_owned()).collect();
    let broker = RedisBroker::connect(format!("redis+cluster://{}", hosts.join(","))).await.unwrap();
    let has_queue = |node: &&RedisServer| node.try_cli(&["ZCARD", "arq:queue:{seen}"]).is_ok();
    let node = cluster.nodes().iter().find(has_queue).unwrap();
    let spans = seen_after(broker, Inventory::empty().worker::<Polls>(), node, false).await;
    tell("on a cluster", &spans);
}
