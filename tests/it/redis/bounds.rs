//! What one call may carry.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use sector7g_tasks::broker::{
    Broker, Claim, ClaimedJob, Due, Finish, Finished, JobFilter, JobId, LeaseToken, MAX_BATCH_BYTES, NewJob, Outcome,
    QueueName, RedisBroker, RequestId,
};
use sector7g_tasks::prelude::*;
use support::RedisServer;
use tokio_util::sync::CancellationToken;

/// An answer holds four MiB of payloads, and one job that is larger by itself.
#[tokio::test]
async fn a_claim_of_large_jobs_takes_what_fits_into_an_answer() {
    const JOB: usize = 1_500_000;
    let server = RedisServer::start();
    let broker = RedisBroker::connect(server.url()).await.unwrap();
    let queue = QueueName::new("large").unwrap();
    let job = |size: usize| NewJob {
        queue: queue.clone(),
        id: JobId::generate(),
        is_new_id: false,
        payload: vec![b'x'; size].into(),
        due: Due::Now,
        expires_in: None,
        replace_finished: false,
    };
    for size in [2 * MAX_BATCH_BYTES, JOB, JOB, JOB, JOB] {
        broker.enqueue(&[job(size)], RequestId::unique()).await.unwrap();
    }
    let mut sizes = Vec::new();
    for call in 1..=4 {
        let token = LeaseToken { worker: 7, call };
        let request = Claim { queue: &queue, finished: &[], max: 10, lease: Duration::from_secs(30), token };
        let claimed = broker.claim(&request).await.unwrap();
        sizes.push((claimed.jobs.len(), claimed.more_due));
    }
    assert_eq!(sizes, [(1, true), (3, true), (1, false), (0, false)]);
}

/// Of very many leases, one call looks at a thousand: to count them, and none is left out of their pages.
#[tokio::test]
async fn more_running_jobs_than_one_call_looks_at() {
    let server = RedisServer::start();
    let broker = RedisBroker::connect(server.url()).await.unwrap();
    let queue = QueueName::new("crowd").unwrap();
    let job = || NewJob {
        queue: queue.clone(),
        id: JobId::generate(),
        is_new_id: false,
        payload: "{}".into(),
        due: Due::Now,
        expires_in: None,
        replace_finished: false,
    };
    let long = Duration::from_secs(60);
    for (call, count, lease) in [(1, 900, long), (2, 900, long), (3, 600, Duration::from_millis(1))] {
        let jobs: Vec<NewJob> = (0..count).map(|_| job()).collect();
        broker.enqueue(&jobs, RequestId::unique()).await.unwrap();
        let token = LeaseToken { worker: 8, call };
        let claimed = broker.claim(&Claim { queue: &queue, finished: &[], max: count, lease, token }).await.unwrap();
        assert_eq!(claimed.jobs.len(), count);
        if call == 2 {
            assert_eq!(broker.stats(&queue).await.unwrap().running, 1_800, "all go on: that is no guess");
        }
    }
    for size in [1, 7, 250] {
        let (mut ids, mut after) = (Vec::new(), None);
        loop {
            let page = broker.jobs(&queue, JobFilter::Running, after, size).await.unwrap();
            assert!(page.jobs.len() <= size, "{} where {size} were asked for", page.jobs.len());
            ids.extend(page.jobs.into_iter().map(|job| job.id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!((ids.len(), ids.iter().collect::<HashSet<_>>().len()), (1_800, 1_800), "pages of {size}");
    }
    for filter in [JobFilter::Live, JobFilter::Running, JobFilter::Dead] {
        assert_eq!(broker.jobs(&queue, filter, None, 0).await.unwrap().jobs.len(), 0);
    }
    // By chance a thousand of these 2,400 have far more or fewer of the 600 once in a life of this project.
    let stats = broker.stats(&queue).await.unwrap();
    assert!((1_600..=2_000).contains(&stats.running), "{stats:?}");
    assert_eq!((stats.queued, stats.live()), (600, 2_400), "{stats:?}");
}

/// A claim of many makes a tree of a short queue, and a table of few leases, by a name of 65 bytes: of its own, whatever
/// else is in them.
#[tokio::test]
async fn a_claim_of_many_takes_no_other_member_out() {
    let server = RedisServer::start();
    let broker = RedisBroker::connect(server.url()).await.unwrap();
    let queue = QueueName::new("many").unwrap();
    let odd = "-".repeat(65);
    for (id, score) in [(odd.clone(), "99999999999999")].into_iter().chain((0..12).map(|id| (id.to_string(), "1"))) {
        server.cli(&["SET", &format!("arq:job:{id}"), "{}"]);
        server.cli(&["ZADD", "arq:queue:many", score, &id]);
    }
    // As some other program may have put there, in the place of ours.
    let foreign = b"\xff".repeat(65);
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let _: () =
        redis::cmd("ZADD").arg("arq:queue:many").arg("99999999999999").arg(&foreign).query(&mut connection).unwrap();
    let lease = Duration::from_secs(30);
    for call in [1, 2] {
        let token = LeaseToken { worker: 6, call };
        let claimed = broker.claim(&Claim { queue: &queue, finished: &[], max: 20, lease, token }).await.unwrap();
        assert_eq!(claimed.jobs.len(), if call == 1 { 12 } else { 0 });
    }
    assert_eq!(server.cli(&["ZSCORE", "arq:queue:many", &odd]), "99999999999999");
    assert_eq!(server.cli(&["ZCARD", "arq:queue:many"]), "14");
    assert_eq!(server.cli(&["HLEN", "arq:queue:many:s7:leases"]), "12");
    assert_eq!(server.cli(&["OBJECT", "ENCODING", "arq:queue:many:s7:leases"]), "hashtable");
}

/// Python's clients may call a job what they like; it is run, found again after a lost answer, and ended.
#[tokio::test]
async fn ids_that_only_python_would_choose() {
    let server = RedisServer::start();
    let broker = RedisBroker::connect(server.url()).await.unwrap();
    let queue = QueueName::new("odd").unwrap();
    let long = "x".repeat(5_000);
    let ids = ["two words", "two\nlines", "null\0", "%d 'quoted' \"twice\"", &long];
    for id in ids {
        server.cli(&["SET", &format!("arq:job:{id}").replace('\0', "?"), "{}"]);
        server.cli(&["ZADD", "arq:queue:odd", "1", &id.replace('\0', "?")]);
    }
    let call = |call, max, finished| {
        let (broker, queue) = (&broker, &queue);
        async move {
            let (lease, token) = (Duration::from_secs(30), LeaseToken { worker: 7, call });
            broker.claim(&Claim { queue, finished, max, lease, token }).await.unwrap()
        }
    };
    let first = call(1, 10, &[]).await.jobs;
    let again = call(1, 10, &[]).await.jobs;
    assert_eq!(first.len(), ids.len());
    assert_eq!(
        again.iter().map(|job| &job.lease).collect::<Vec<_>>(),
        first.iter().map(|job| &job.lease).collect::<Vec<_>>()
    );
    let end = |job: &ClaimedJob| Finish {
        lease: job.lease.clone(),
        outcome: Outcome::End { result: None, dead: None, hold_id: Duration::ZERO },
    };
    let finished: Vec<Finish> = first.iter().map(end).collect();
    assert_eq!(call(2, 0, &finished).await.finished, [Finished::Applied; 5]);
    assert!(first.iter().all(|job| !job.lease.id.to_string().contains('\n')), "shown on one line");
    assert_eq!(server.cli(&["ZCARD", "arq:queue:odd"]).trim(), "0");
}

#[task(queue = "tidy", max_tries = 2, backoff = "fixed(10ms)")]
async fn makes_a_mess(ctx: &Context, dies: bool) -> Result<u32, TaskError> {
    ctx.progress(&ctx.attempt()).await?;
    if dies || ctx.attempt() < 2 { Err("not this time".into()) } else { Ok(ctx.attempt()) }
}

#[task(queue = "tidy", cron = "* * * * * *")]
async fn ticks(State(ticked): State<CancellationToken>) {
    ticked.cancel();
}

/// Once a queue is worked off, all that is left of it goes by itself in time.
#[tokio::test]
async fn what_is_left_of_a_drained_queue_has_an_end() {
    let server = RedisServer::start();
    let client = Client::new(Arc::new(RedisBroker::connect(server.url()).await.unwrap()));
    let jobs: Vec<_> = (0..20).map(|n| makes_a_mess::job(n % 4 == 0)).collect();
    let handles = client.enqueue_all(jobs).await.unwrap();
    assert!(handles[1].abort().await.unwrap());
    let runner = Runner::new().broker(client.broker().clone()).inventory(Inventory::empty().task::<makes_a_mess>());
    let report = runner.handle_signals(false).burst(true).run().await.unwrap();
    assert_eq!((report.done(), report.failed()), (14, 5));
    let keys = server.cli(&["KEYS", "*"]);
    assert!(keys.lines().count() > 20, "results and dead letters are kept: {keys}");
    // One entry for each queue, gone when it was not used for a month.
    let endless: Vec<&str> =
        keys.lines().filter(|key| *key != "arq:s7:queues" && server.cli(&["PTTL", key]).trim() == "-1").collect();
    assert_eq!(endless, [""; 0]);
}

/// The keys that the head of `common.lua` lists, each as its parts between ids and names.
fn documented() -> Vec<String> {
    let text = include_str!("../../../sector7g-tasks/src/broker/redis/lua/common.lua");
    let lines = text.lines().filter_map(|line| line.strip_prefix("--   "));
    let keys = lines.filter(|line| !line.starts_with(' ')).filter_map(|line| line.split_whitespace().next());
    keys.map(str::to_owned).collect()
}

/// Whether `key` is what `pattern` says, as `q:s7:dead:<id>`. Queues of this test have no colon in their names.
fn is_like(key: &str, pattern: &str) -> bool {
    let (key, pattern) = match (key.strip_prefix("arq:queue:"), pattern.strip_prefix('q')) {
        (Some(key), Some(pattern)) => (key.trim_start_matches(|c| c != ':'), pattern),
        (None, None) => (key, pattern),
        _ => return false,
    };
    match pattern.split_once('<') {
        Some((start, _)) => key.strip_prefix(start).is_some_and(|name| !name.is_empty()),
        None => key == pattern,
    }
}

/// Every key that any command names, from a client or from a script, is one of those that are documented.
#[tokio::test]
async fn no_key_is_undocumented() {
    let server = RedisServer::start();
    let monitor = server.monitor();
    let broker = Arc::new(RedisBroker::connect(server.url()).await.unwrap());
    assert_eq!(broker.concerns().await.unwrap(), [""; 0]);
    let client = Client::new(broker.clone());
    let handles = client.enqueue_all((0..20).map(|n| makes_a_mess::job(n % 4 == 0)).collect::<Vec<_>>()).await.unwrap();
    assert!(handles[1].abort().await.unwrap());
    client.enqueue(Job::untyped("of_nobody", "tidy")).await.unwrap();
    server.cli(&["SET", "arq:in-progress:python-has-it", "1"]);
    server.cli(&["ZADD", "arq:queue:tidy", "1", "python-has-it"]);
    let (stop, ticked) = (CancellationToken::new(), CancellationToken::new());
    let inventory = Inventory::empty().task::<makes_a_mess>().task::<ticks>();
    let runner = Runner::new().broker(client.broker().clone()).inventory(inventory).handle_signals(false);
    let runner = runner.state(ticked.clone());
    let worker = runner.stop_on(stop.clone()).run();
    let test = async {
        for handle in &handles {
            let _ = handle.result().await; // some fail
        }
        ticked.cancelled().await;
        stop.cancel();
    };
    let (report, ()) = tokio::join!(worker, test);
    assert!(report.unwrap().done() >= 15);
    let dead = client.dead_letters("tidy", None, 10).await.unwrap();
    client.retry_dead("tidy", &dead.jobs[0].id).await.unwrap();
    let commands = monitor.stop();
    let words = commands.iter().flat_map(|line| line.split('"').skip(1).step_by(2));
    let mut keys: Vec<&str> = words.filter(|word| word.starts_with("arq:") && !word.contains(' ')).collect();
    keys.sort_unstable();
    keys.dedup();
    let documented = documented();
    let strange: Vec<_> = keys.iter().filter(|key| !documented.iter().any(|pattern| is_like(key, pattern))).collect();
    assert!(strange.is_empty(), "not among {documented:?}: {strange:?}");
    let unseen: Vec<_> = documented.iter().filter(|pattern| !keys.iter().any(|key| is_like(key, pattern))).collect();
    assert!(unseen.is_empty(), "no such key was used: {unseen:?}");
}
