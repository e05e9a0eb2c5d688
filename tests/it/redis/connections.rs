//! The ways to a Redis: sockets, encryption, users, sentinels; and what happens when it goes away.

use std::sync::Arc;
use std::time::Duration;

use sector7g_tasks::broker::{Broker, RedisBroker};
use sector7g_tasks::prelude::*;
use support::{RedisSentinel, RedisServer};
use tokio_util::sync::CancellationToken;

#[task(queue = "{ways}", max_tries = 5)]
async fn double(number: u32) -> u32 {
    number * 2
}

/// Runs two jobs on it, one by one.
pub(super) async fn check_works(broker: RedisBroker) {
    let client = Client::new(Arc::new(broker));
    let runner = || Runner::new().broker(client.broker().clone()).inventory(Inventory::empty().task::<double>());
    for number in [21, 4] {
        let handle = client.enqueue(double::job(number)).await.unwrap();
        runner().burst(true).handle_signals(false).run().await.unwrap();
        assert_eq!(handle.result_within(Duration::ZERO).await.unwrap(), number * 2);
    }
    assert_eq!(client.stats("{ways}").await.unwrap().live(), 0);
}

async fn refusal(url: String) -> String {
    let connecting = RedisBroker::builder(url).connect_retries(0, Duration::ZERO).connect().await;
    let error = connecting.expect_err("it can't work");
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

#[tokio::test]
async fn through_a_socket() {
    let server = RedisServer::start();
    check_works(RedisBroker::connect(server.unix_url()).await.unwrap()).await;
}

#[tokio::test]
async fn in_another_database() {
    let server = RedisServer::start();
    let url = server.url().replace("/0", "/7");
    check_works(RedisBroker::connect(url).await.unwrap()).await;
    assert_eq!(server.cli(&["-n", "0", "DBSIZE"]).trim(), "0", "nothing is in the first one");
}

#[tokio::test]
async fn with_a_password_that_is_never_shown() {
    let server = RedisServer::builder().password("doughnut").start();
    let url = |secret: &str| server.url().replace("redis://", &format!("redis://:{secret}@"));
    let url =
        |secret: &str| if server.url().contains('@') { server.url().replace("doughnut", secret) } else { url(secret) };
    let broker = RedisBroker::connect(url("doughnut")).await.unwrap();
    assert!(!format!("{broker:?} {}", broker.location()).contains("doughnut"));
    check_works(broker).await;
    let said = refusal(url("crumb-bun")).await;
    assert!(!said.contains("crumb-bun") && said.contains("***@"), "{said}");
}

#[tokio::test]
async fn encrypted_with_an_authority_of_its_own() {
    let server = RedisServer::builder().tls().start();
    let ca = std::fs::read(server.ca_file()).unwrap();
    check_works(RedisBroker::builder(server.tls_url()).ca(ca).connect().await.unwrap()).await;
    let said = refusal(server.tls_url()).await;
    assert!(said.contains("certificate") || said.contains("UnknownIssuer"), "a stranger's certificate: {said}");
}

/// A Python producer rings no bell. Where the server tells of changes, who waits is woken all the same.
#[tokio::test]
async fn a_producer_that_rings_no_bell() {
    let server = RedisServer::builder().keyspace_events("Kz").start();
    let broker = RedisBroker::connect(server.url()).await.unwrap();
    let queues = [sector7g_tasks::broker::QueueName::new("ways").unwrap()];
    let endless = Duration::from_secs(120);
    let mut wait = Box::pin(broker.wait(&queues, endless, endless));
    let subscribed = || server.cli(&["PUBSUB", "CHANNELS"]).contains("__keyspace@0__:arq:queue:ways");
    while !subscribed() {
        let over = tokio::time::timeout(Duration::from_millis(10), &mut wait).await;
        assert!(over.is_err(), "nothing is due");
    }
    server.cli(&["ZADD", "arq:queue:ways", "1", "from-python"]);
    tokio::time::timeout(Duration::from_secs(10), wait).await.expect("it is woken").unwrap();
}

#[tokio::test]
async fn nobody_there_is_one_clear_error() {
    let said = refusal("redis://127.0.0.1:1/0".to_owned()).await;
    assert!(said.starts_with("the broker at redis://127.0.0.1:1/0 is unavailable: "), "{said}");
    assert_eq!(said.matches("refused").count(), 1, "{said}");
}

/// What a worker and a client may do at the least; `sector7g-tasks/src/docs/redis.md` shows the same rules.
pub(super) const RULES: &str = "resetchannels -@all ~arq:* +time +ping +info +eval +evalsha +script|load +set +del +exists +mget +mset +msetnx \
    +persist +pttl +pexpire +pexpireat +time +zadd +zrem +zscore +zmscore +zcard +zcount +zrank +zrevrank +zrange \
    +zrevrange +zrangebyscore +zremrangebyscore +hset +hmget +hrandfield +hlen +hscan +hdel +rpush +lindex +blpop";

#[tokio::test]
async fn a_user_with_the_least_rights() {
    let docs = include_str!("../../../sector7g-tasks/src/docs/redis.md").split_whitespace().collect::<Vec<_>>();
    assert!(RULES.split_whitespace().all(|rule| docs.contains(&rule)), "the docs show these rules");
    let as_user = |server: &RedisServer| format!("redis://milhouse:thrillhouse@127.0.0.1:{}/0", server.port());
    let server = RedisServer::builder().user("milhouse", &format!("on >thrillhouse {RULES}")).start();
    let broker = RedisBroker::connect(as_user(&server)).await.unwrap();
    assert_eq!(broker.concerns().await.unwrap(), Vec::<String>::new());
    check_works(broker).await;
    let client = redis::Client::open(as_user(&server)).unwrap();
    let mut connection = client.get_connection().unwrap();
    let foreign = "return redis.call('SET', 'moes', 1)";
    for beyond in [
        "SET moes 1",
        "GET moes",
        "ZADD moes 1 otto",
        "KEYS *",
        "CONFIG GET maxmemory",
        "FLUSHALL",
        "PUBLISH moes 1",
        "SCRIPT FLUSH",
        "CLIENT KILL TYPE normal",
    ] {
        let mut words = beyond.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            command.arg(word);
        });
        let refused = command.query::<redis::Value>(&mut connection).unwrap_err().to_string();
        assert!(refused.to_lowercase().contains("permission"), "{beyond}: {refused}");
    }
    for (script, key) in [(foreign, None), (foreign, Some("moes")), ("return redis.call('FLUSHALL')", None)] {
        let mut command = redis::cmd("EVAL");
        command.arg(script).arg(usize::from(key.is_some())).arg(key);
        let refused = command.query::<redis::Value>(&mut connection).unwrap_err().to_string();
        let is_of_rights = ["permission", "The user executing the script"].iter().any(|words| refused.contains(words));
        assert!(is_of_rights, "{script}: {refused}");
    }
    assert_eq!(server.cli(&["EXISTS", "moes"]).trim(), "0");
    for right in [
        "+blpop",
        "+lindex",
        "+mset",
        "+msetnx",
        "+hset",
        "+hmget",
        "+hrandfield",
        "+hlen",
        "+hscan",
        "+hdel",
        "+zremrangebyscore",
        "+pexpireat",
        "+info",
    ] {
        let fewer: Vec<&str> = RULES.split_whitespace().filter(|rule| *rule != right).collect();
        let server = RedisServer::builder().user("milhouse", &format!("on >thrillhouse {}", fewer.join(" "))).start();
        let concerns = RedisBroker::connect(as_user(&server)).await.unwrap().concerns().await.unwrap();
        assert!(concerns.iter().any(|concern| concern.contains("lacks rights")), "without {right}: {concerns:?}");
        let keys = server.cli(&["KEYS", "*s7-check*"]);
        let endless: Vec<&str> = keys.lines().filter(|key| server.cli(&["PTTL", key]) == "-1").collect();
        assert_eq!(endless, [""; 0], "a trial that breaks off without {right} leaves nothing for ever");
    }
}

#[tokio::test]
async fn a_server_that_evicts_is_named() {
    let server = RedisServer::builder().line("maxmemory-policy allkeys-lru").start();
    let concerns = RedisBroker::connect(server.url()).await.unwrap().concerns().await.unwrap();
    assert!(matches!(&*concerns, [only] if only.contains("`allkeys-lru`")), "{concerns:?}");
    let before = server.cli(&["KEYS", "*"]);
    assert!(!before.contains("s7-check") || before.contains(":s7:"), "a trial leaves no job: {before}");
}

#[tokio::test]
async fn a_master_that_sentinels_know() {
    let trio = RedisSentinel::start().await;
    let url = format!("redis+sentinel://127.0.0.1:{}/{}/0", trio.sentinel().port(), RedisSentinel::NAME);
    let broker = RedisBroker::connect(url).await.unwrap();
    check_works(broker.clone()).await;
    trio.failover().await;
    // The old master is a replica now: what is asked of it first finds the new one.
    check_works(broker).await;
}

/// What a client may do at the least on the sentinels themselves.
const OF_A_SENTINEL: &str = "resetchannels -@all +sentinel|masters +role";

/// Sentinels may have users of their own, with as few rights as their docs say, and wrong ones are told.
#[tokio::test]
async fn sentinels_that_ask_for_a_password() {
    let page: Vec<&str> = include_str!("../../../sector7g-tasks/src/docs/redis.md").split(['`', ' ', '\n']).collect();
    assert!(OF_A_SENTINEL.split_whitespace().all(|rule| page.contains(&rule)), "the docs show these rules");
    let master = RedisServer::builder().user("milhouse", &format!("on >thrillhouse {RULES}")).start();
    let asker = format!("on >doh@4/5:6 {OF_A_SENTINEL}");
    let sentinel = RedisServer::builder().user("default", "off").user("bart", &asker).start_sentinel_of(&master);
    let url = |of_sentinel: &str| {
        let (port, name) = (sentinel.port(), RedisSentinel::NAME);
        format!("redis+sentinel://milhouse:thrillhouse@127.0.0.1:{port}/{name}/0{of_sentinel}")
    };
    let broker = RedisBroker::connect(url("?sentinel_username=bart&sentinel_password=doh%404/5:6")).await.unwrap();
    assert!(!broker.location().contains("doh") && !broker.location().contains("milhouse"), "{}", broker.location());
    assert_eq!(broker.concerns().await.unwrap(), Vec::<String>::new());
    check_works(broker).await;
    for wrong in ["", "?sentinel_username=bart&sentinel_password=crumb-bun"] {
        let said = refusal(url(wrong)).await;
        assert!(!said.contains("crumb-bun") && !said.contains("thrillhouse"), "{said}");
        assert!(said.contains("uth"), "{said}");
    }
    let said = refusal(url("?password=crumb-bun")).await;
    assert!(said.contains("other than `sentinel_username` and `sentinel_password`"), "{said}");
}

#[tokio::test]
async fn sentinels_and_a_master_that_encrypt() {
    let master = RedisServer::builder().tls().line("tls-replication yes").start();
    let sentinel = RedisServer::builder().tls().start_sentinel_of(&master);
    let url = format!("rediss+sentinel://127.0.0.1:{}/{}", sentinel.tls_port(), RedisSentinel::NAME);
    let ca = [std::fs::read(master.ca_file()).unwrap(), std::fs::read(sentinel.ca_file()).unwrap()].concat();
    check_works(RedisBroker::builder(&url).ca(ca).connect().await.unwrap()).await;
    let said = refusal(url).await;
    assert!(said.contains("certificate") || said.contains("UnknownIssuer"), "a stranger's certificate: {said}");
}

/// A worker outlives its server: running jobs go on, outcomes are held until it is back, new jobs are run.
#[tokio::test]
async fn a_server_that_goes_and_comes_back() {
    let mut server = RedisServer::builder().append_only().start();
    let broker = RedisBroker::connect(server.url()).await.unwrap();
    let client = Client::new(Arc::new(broker));
    let (stop, inside, go_on) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    let runner = Runner::new().broker(client.broker().clone()).handle_signals(false).stop_on(stop.clone());
    let runner = runner.inventory(Inventory::empty().task::<double>().task::<outlast>());
    let worker = runner.state(Signals { inside: inside.clone(), go_on: go_on.clone() }).run();
    let test = async {
        let running = client.enqueue(outlast::job()).await.unwrap();
        inside.cancelled().await;
        server.kill9();
        let lost = client.enqueue(double::job(1)).await.unwrap_err();
        assert!(lost.to_string().contains("not confirmed"), "{lost}");
        go_on.cancel(); // it ends while there is no server to tell
        server.restart();
        assert_eq!(running.result().await.unwrap(), 1, "its first attempt");
        let next = client.enqueue(double::job(4)).await.unwrap();
        assert_eq!(next.result().await.unwrap(), 8);
        server.cli(&["SCRIPT", "FLUSH"]);
        server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
        let next = client.enqueue(double::job(5)).await.unwrap();
        assert_eq!(next.result().await.unwrap(), 10, "scripts and connections are made anew");
        stop.cancel();
    };
    let (report, ()) = tokio::join!(worker, test);
    assert_eq!(report.unwrap().done(), 3);
}

#[derive(Clone)]
struct Signals {
    inside: CancellationToken,
    go_on: CancellationToken,
}

/// Says when it runs, and runs until it is told to end.
#[task(queue = "{ways}")]
async fn outlast(ctx: &Context, State(signals): State<Signals>) -> u32 {
    signals.inside.cancel();
    signals.go_on.cancelled().await;
    ctx.attempt()
}

/// A number that the server tells of itself.
fn told(server: &RedisServer, section: &str, name: &str) -> usize {
    let info = server.cli(&["INFO", section]);
    let said = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim_end().parse().ok());
    said.unwrap_or_else(|| panic!("{section} has no {name}: {info}"))
}

/// How many connections there are once that does not change any more.
async fn settled(server: &RedisServer, at_least: usize) -> usize {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    let (mut last, mut looks) = (0, 0);
    while looks < 10 {
        assert!(tokio::time::Instant::now() < deadline, "{last} connections, of {at_least} at least");
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = told(server, "clients", "connected_clients");
        looks = if now == last && now >= at_least { looks + 1 } else { 0 };
        last = now;
    }
    last
}

/// Its heartbeats, which have a connection of their own, don't come while the test runs.
#[derive(Worker)]
#[worker(queue = "{ways}", lease = "5m")]
struct Patient;

/// However often all workers come back at once, they hold no more connections than before, and none is turned away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_come_back_hold_no_more_connections() {
    const WORKERS: usize = 12;
    let mut server = RedisServer::builder().line("maxclients 64").start();
    let (stop, mut running) = (CancellationToken::new(), tokio::task::JoinSet::new());
    for _ in 0..WORKERS {
        let broker = RedisBroker::connect(server.url()).await.unwrap();
        let inventory = Inventory::empty().task::<double>().worker::<Patient>();
        let runner = Runner::new().broker(Arc::new(broker)).inventory(inventory).handle_signals(false);
        running.spawn(runner.stop_on(stop.clone()).run());
    }
    let client = Client::new(Arc::new(RedisBroker::connect(server.url()).await.unwrap()));
    let work = async || {
        let handles = client.enqueue_all((0..100).map(double::job)).await.unwrap();
        for handle in handles {
            handle.result().await.unwrap();
        }
    };
    work().await;
    let (least, most) = (2 * WORKERS, 2 * WORKERS + 2); // and the client's own, and that of whoever asks
    for round in 0..10 {
        let held = settled(&server, least).await;
        let list = || server.cli(&["CLIENT", "LIST"]);
        assert!(held <= most, "round {round}: {held} connections, {most} at most: {}", list());
        assert_eq!(told(&server, "stats", "rejected_connections"), 0, "round {round}: nobody was turned away");
        server.restart();
        work().await;
    }
    stop.cancel();
    while let Some(ended) = running.join_next().await {
        ended.unwrap().unwrap();
    }
}
