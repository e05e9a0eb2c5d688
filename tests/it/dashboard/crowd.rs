//! Many: browsers that watch, and jobs in a queue.

use std::collections::BTreeSet;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

use super::*;

/// How many may watch, as the documentation says.
const MOST_WATCHERS: usize = 32;

/// Asks for the overview's events; the connection, and how the answer begins.
async fn watches(address: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    while !answer.contains("data: {") && !answer.contains("</html>") {
        let mut bytes = [0; 4096];
        let length = stream.read(&mut bytes).await.unwrap();
        assert!(length > 0, "it ends: {answer}");
        answer.push_str(&String::from_utf8_lossy(&bytes[..length]));
    }
    (stream, answer)
}

#[tokio::test]
async fn no_more_than_so_many_watch() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let router = Dashboard::new(Arc::new(MemoryBroker::new())).router();
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(async { axum::serve(listener, router).await.unwrap() });
    let mut watchers = Vec::new();
    for nth in 0..MOST_WATCHERS {
        let (watcher, answer) = watches(&address).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("text/event-stream"), "{nth}: {answer}");
        watchers.push(watcher);
    }
    let (_one_more, answer) = watches(&address).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("32 pages are watching already"), "{answer}");
    // A place is free once the server has noticed that its watcher is gone.
    watchers.pop();
    let until = Instant::now() + Duration::from_secs(30);
    while !watches(&address).await.1.starts_with("HTTP/1.1 200") {
        assert!(Instant::now() < until, "the place of one that left is not given to another");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Jobs of a queue, all of one moment, and dead letters of another.
const MANY: usize = 1_000_000;

/// Stores copies of one job under as many ids, as enqueueing and failing them would.
const FILL: &str = "
    local payload = redis.call('GET', 'arq:job:model')
    local died = redis.call('HGETALL', 'arq:queue:dead:s7:dead:model')
    local at = redis.call('ZSCORE', 'arq:queue:dead:s7:dead', 'model')
    for nth = 1, tonumber(ARGV[1]) do
      local id = string.format('job-%07d', nth)
      redis.call('SET', 'arq:job:' .. id, payload)
      redis.call('ZADD', 'arq:queue:many', 1000, id)
      redis.call('HSET', 'arq:queue:dead:s7:dead:' .. id, unpack(died))
      redis.call('ZADD', 'arq:queue:dead:s7:dead', at, id)
    end";

/// What the server has done so far: commands, those within scripts too, and bytes that it sent.
fn spent(server: &RedisServer) -> (u64, u64) {
    let commands = server.cli(&["INFO", "commandstats"]);
    let calls = |line: &str| line.split_once("calls=")?.1.split(',').next()?.parse::<u64>().ok();
    let ours = commands.lines().filter(|line| !line.starts_with("cmdstat_info"));
    let sent = server.cli(&["INFO", "stats"]);
    let sent = sent.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:")).unwrap();
    (ours.filter_map(calls).sum(), sent.trim().parse().unwrap())
}

/// A page near the end of a long queue is right, and costs the server no more than the first.
#[tokio::test]
async fn a_page_costs_the_same_however_many_jobs_there_are() {
    let server = RedisServer::start();
    let broker = on_redis(&server);
    enqueue(&broker, vec![Job::untyped("task", "dead").arg(7).id("model")]).await;
    kill(&broker, "dead", "broke").await;
    enqueue(&broker, vec![Job::untyped("task", "few").arg(7).id("model")]).await;
    server.cli(&["EVAL", FILL, "0", &MANY.to_string()]);
    let router = Dashboard::new(Arc::clone(&broker)).router();
    let next_of = |page: &Answer| {
        let next = page.text.split("rel=\"next\" href=\"").nth(1)?;
        Some(format!("/{}", next.split('"').next()?.replace("&amp;", "&")))
    };
    let read = async |path: &str| {
        let before = spent(&server);
        let page = get(&router, path).await.expect(StatusCode::OK, &["job-"]);
        let after = spent(&server);
        (page, after.0 - before.0, after.1 - before.1)
    };
    for (queue, path, late, last) in [
        ("many", "/queue?queue=many&state=live", "0999000", "job-1000000"),
        ("dead", "/dead?queue=dead", "0001001", "job-0000001"), // the newest first
    ] {
        read(path).await; // connections and scripts
        let (first, commands, bytes) = read(path).await;
        assert!(!first.text.contains(last), "{queue}");
        // A page's mark ends with the id of the last job before it.
        let next = next_of(&first).unwrap();
        let mut path = Some(format!("{}{late}", &next[..next.len() - late.len()]));
        let (mut seen, mut pages) = (BTreeSet::new(), 0);
        while let Some(here) = path {
            let page = read(&here).await;
            assert!(
                page.1 <= commands + 2 && page.2 <= bytes + 1024,
                "{queue}: {} commands, {} bytes; the first {commands}, {bytes}",
                page.1,
                page.2
            );
            let mut ids = page.0.text.split("&amp;id=job-").skip(1).map(|rest| rest[..7].to_owned());
            assert!(ids.all(|id| seen.insert(id)), "{queue}: one is shown twice");
            pages += 1;
            path = next_of(&page.0);
        }
        assert_eq!((seen.len(), pages), (1000, 20), "{queue}: {:?}..{:?}", seen.first(), seen.last());
        assert!(seen.contains(&last[4..]), "{queue}");
        assert!(commands < 400 && bytes < 64 << 10, "{queue}: {commands} commands, {bytes} bytes");
        eprintln!("{queue}: {commands} commands, {bytes} bytes a page");
    }
}
