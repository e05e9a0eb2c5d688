//! A server that answers in part or late, is full, or holds what a Python client left there.

use std::hash::{BuildHasher, RandomState};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sector7g_tasks::broker::{
    Broker, BrokerError, Claim, Claimed, ClaimedJob, Due, Enqueued, Extended, Finish, Finished, GiveBack, JobFilter,
    JobId, JobState, KeptResult, Lease, LeaseToken, NewJob, Outcome, QueueName, RedisBroker, RequestId, ResultState,
};
use sector7g_tasks::job::{Failure, FailureKind};
use sector7g_tasks::testing::Guard;
use support::{Dice, Proxy, RedisServer, Way};
use tokio::time::Instant;

use super::cuts::failure;
use super::load::calls;

/// A worker with a connection of its own, call by call.
pub(super) struct Hand {
    pub(super) broker: RedisBroker,
    pub(super) queue: QueueName,
    pub(super) token: LeaseToken,
}

impl Hand {
    pub(super) async fn new(server: &RedisServer) -> Self {
        Self::at(&server.url()).await
    }

    pub(super) async fn at(url: &str) -> Self {
        let broker = RedisBroker::connect(url).await.unwrap();
        let token = LeaseToken { worker: RandomState::new().hash_one(0), call: 0 };
        Self { broker, queue: QueueName::new("trouble").unwrap(), token }
    }

    pub(super) fn job(&self, payload: &'static [u8]) -> NewJob {
        NewJob {
            queue: self.queue.clone(),
            id: JobId::generate(),
            is_new_id: false,
            payload: payload.into(),
            due: Due::Now,
            expires_in: None,
            replace_finished: false,
        }
    }

    pub(super) async fn add(&self, payload: &'static [u8]) -> Result<JobId, BrokerError> {
        let job = self.job(payload);
        self.broker.enqueue(std::slice::from_ref(&job), RequestId::unique()).await?;
        Ok(job.id)
    }

    pub(super) async fn call(
        &mut self,
        finished: &[Finish],
        max: usize,
        lease: Duration,
    ) -> Result<Claimed, BrokerError> {
        self.token.call += 1;
        self.broker.claim(&Claim { queue: &self.queue, finished, max, lease, token: self.token }).await
    }

    pub(super) async fn claim(&mut self, lease: Duration) -> Vec<ClaimedJob> {
        self.call(&[], 10, lease).await.unwrap().jobs
    }

    pub(super) async fn extend(&self, lease: &Lease) -> Extended {
        self.broker.extend(&self.queue, std::slice::from_ref(lease), LONG).await.unwrap()[0]
    }
}

pub(super) const LONG: Duration = Duration::from_secs(30);

pub(super) fn done(lease: Lease) -> Finish {
    let result = Some(KeptResult { record: "result".into(), keep: Some(LONG) });
    Finish { lease, outcome: Outcome::End { result, dead: None, hold_id: Duration::ZERO } }
}

/// An answer of which only a part came may have been acted upon: asked again under the same token, it comes whole. Of
/// claims and of finishes, cut at every byte; a cut as long as the answer is none, and ends the tests of its kind.
#[tokio::test]
async fn an_answer_that_is_cut_short_is_no_refusal() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let mut hand = Hand { broker: RedisBroker::connect(proxy.url()).await.unwrap(), ..Hand::new(&server).await };
    let warm = hand.add(b"{}").await.unwrap();
    let mut cuts = [0, 0];
    for (kind, least) in [(0, 60), (1, 4)] {
        for bytes in 0.. {
            assert!(bytes < 1_000, "no answer is as long");
            let id = if bytes == 0 && kind == 0 { warm.clone() } else { hand.add(b"{}").await.unwrap() };
            hand.broker.ready().await.unwrap(); // a connection is there: its making has answers, too
            let mut leases = Vec::new();
            if kind == 1 {
                leases.push(done(hand.call(&[], 1, LONG).await.unwrap().jobs.remove(0).lease));
            }
            let max = 1 - kind;
            proxy.set(Way::Cut(bytes));
            let answer = hand.call(&leases, max, LONG).await;
            proxy.set(Way::Pass);
            let is_cut = answer.is_err();
            let claimed = match answer {
                Ok(claimed) => claimed,
                Err(error) => {
                    assert!(error.is_transient(), "{kind}: cut after {bytes} bytes: {error:?}");
                    hand.token.call -= 1;
                    hand.call(&leases, max, LONG).await.unwrap()
                }
            };
            if kind == 1 {
                assert_eq!(claimed.finished, [Finished::Applied], "cut after {bytes} bytes");
            } else {
                let job = claimed.jobs[0].clone();
                assert_eq!((&job.lease.id, job.attempt), (&id, 1), "cut after {bytes} bytes");
                assert_eq!(hand.call(&[done(job.lease)], 0, LONG).await.unwrap().finished, [Finished::Applied]);
            }
            if !is_cut {
                assert_eq!(cuts[kind], bytes, "{kind}: each shorter one was cut");
                assert!(bytes >= least, "{kind}: the answer has more bytes than {bytes}");
                break;
            }
            cuts[kind] += 1;
        }
    }
    eprintln!("{cuts:?} cuts");
}

/// Set where the next test is to fail.
const WITHOUT: &str = "S7_TESTS_WITHOUT_REQUESTS";

/// The same for jobs that are added: their answer is cut at every byte, whatever has become of them meanwhile.
#[tokio::test]
async fn a_cut_answer_adds_no_job_twice() {
    if std::env::var_os(WITHOUT).is_some() {
        Guard::Request.take_out();
    }
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let (mut hand, producer) = (Hand::new(&server).await, RedisBroker::connect(proxy.url()).await.unwrap());
    let (mut cuts, mut added) = (0, 0);
    for bytes in 0.. {
        assert!(bytes < 1_000, "no answer is as long");
        let mut jobs = [(); 3].map(|()| hand.job(b"{}"));
        jobs[1].replace_finished = true;
        let request = RequestId { number: bytes + 1, settled: bytes + 1, ..RequestId::unique() };
        producer.ready().await.unwrap();
        proxy.set(Way::Cut(bytes.try_into().unwrap()));
        let answer = producer.enqueue(&jobs, request).await;
        proxy.set(Way::Pass);
        let before = hand.claim(LONG).await;
        let count = before.len();
        for job in before {
            let outcome = Outcome::End { result: None, dead: None, hold_id: Duration::ZERO }; // leaves no trace
            hand.call(&[Finish { lease: job.lease, outcome }], 0, LONG).await.unwrap();
        }
        let is_cut = answer.is_err();
        if let Err(error) = answer {
            assert!(error.is_transient(), "cut after {bytes} bytes: {error:?}");
            // The queue is noted first: a cut within the answer to that adds nothing.
            assert!(count == 3 || count == 0 && added == 0, "cut after {bytes} bytes: {count} were added");
            cuts += 1;
            added += u32::from(count == 3);
        }
        let again = producer.enqueue(&jobs, request).await.unwrap();
        assert_eq!(again, [Enqueued::New; 3], "cut after {bytes} bytes");
        assert_eq!(count + hand.claim(LONG).await.len(), 3, "cut after {bytes} bytes: each came once");
        if !is_cut {
            assert_eq!(cuts, bytes, "each shorter one was cut");
            assert!(added >= 5, "the answer to what was added has more bytes than {added}");
            break;
        }
    }
}

/// In a process of its own: the guard is taken out for all of one.
#[test]
fn without_its_guard_a_cut_answer_adds_jobs_twice() {
    let mut own = Command::new(std::env::current_exe().unwrap());
    own.args(["--exact", "redis::trouble::a_cut_answer_adds_no_job_twice"]).env(WITHOUT, "1");
    let output = own.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains("each came once"), "{said}");
}

/// Whoever flushes scripts all the time costs nobody a call: between a script's loading and its call there is room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_are_flushed_all_the_time_are_loaded_again() {
    let server = RedisServer::start();
    let hand = Hand::new(&server).await;
    let mut flushing = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let flusher = tokio::task::spawn_blocking(move || {
        let (mut flushes, mut dice) = (0, Dice::of(1));
        while !over.load(Ordering::Relaxed) {
            redis::cmd("SCRIPT").arg("FLUSH").query::<()>(&mut flushing).unwrap();
            flushes += 1;
            let next = Instant::now() + Duration::from_micros(dice.below(2_000));
            while Instant::now() < next {
                std::hint::spin_loop(); // no sleep is as short as a call
            }
        }
        flushes
    });
    let mut outcome = Ok(());
    for index in 0..2_000 {
        outcome = outcome.and(hand.add(b"{}").await.map(drop).map_err(|error| format!("at {index}: {error:?}")));
    }
    is_over.store(true, Ordering::Relaxed);
    let times: u32 = flusher.await.unwrap();
    assert_eq!(outcome, Ok(()));
    assert!(times > 100, "{times} flushes");
}

/// A worker tries its rights out when it starts. Killed in the midst of that, it leaves nothing behind for ever.
#[tokio::test]
async fn a_trial_that_is_cut_off_leaves_nothing_for_ever() {
    let server = RedisServer::start();
    let broker = RedisBroker::connect(server.url()).await.unwrap();
    let whole = Instant::now();
    broker.concerns().await.unwrap();
    let whole = whole.elapsed();
    let mut cut_off = 0;
    for part in 1..200 {
        // It takes less and less time, as scripts and connections are there: most come to their end.
        cut_off += u32::from(tokio::time::timeout(whole * part / 400, broker.concerns()).await.is_err());
    }
    assert!(cut_off > 10, "{cut_off} trials were cut off");
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let mut ask =
        |name: &str, argument: &str| redis::cmd(name).arg(argument).query::<redis::Value>(&mut connection).unwrap();
    let keys: Vec<String> = redis::from_redis_value(ask("KEYS", "*")).unwrap();
    let is_endless = |key: &String| ask("PTTL", key) == redis::Value::Int(-1);
    // That of arq's abort requests is for all queues, and swept by workers.
    let endless: Vec<String> = keys.into_iter().filter(is_endless).filter(|key| key != "arq:abort").collect();
    let endless = endless.get(..3).unwrap_or(&endless);
    assert_eq!(endless, [""; 0]);
}

/// Lets a call through that `proxy` holds up, and waits until the server has it.
pub(super) async fn let_arrive(server: &RedisServer, proxy: &Proxy) {
    let before = calls(server);
    proxy.set(Way::Pass);
    let deadline = Instant::now() + LONG;
    while calls(server) == before {
        assert!(Instant::now() < deadline, "the call never arrives");
        tokio::task::yield_now().await;
    }
}

/// A call that its way holds up arrives when it has been repeated, its jobs have ended, and its caller has perhaps gone
/// on: it adds nothing.
#[tokio::test]
async fn a_call_that_arrives_after_its_repetition_adds_nothing() {
    let server = RedisServer::start();
    let mut hand = Hand::new(&server).await;
    for is_settled in [false, true] {
        let proxy = Proxy::to(server.port()).await;
        let builder = RedisBroker::builder(proxy.url()).response_timeout(Duration::from_millis(200));
        let slow = Hand { broker: builder.connect().await.unwrap(), queue: hand.queue.clone(), ..hand };
        slow.add(b"{}").await.unwrap(); // now the queue is noted: the next call is the script's alone
        let first = hand.claim(LONG).await.remove(0);
        hand.call(&[done(first.lease)], 0, LONG).await.unwrap();
        let (jobs, request) = ([hand.job(b"{}"), hand.job(b"{}")], RequestId { number: 1, ..RequestId::unique() });
        proxy.set(Way::Stall);
        let error = slow.broker.enqueue(&jobs, request).await.expect_err("it is held up");
        assert!(error.is_transient(), "{error}");
        assert_eq!(hand.broker.enqueue(&jobs, request).await.unwrap(), [Enqueued::New; 2]);
        for job in hand.claim(LONG).await {
            let outcome = Outcome::End { result: None, dead: None, hold_id: Duration::ZERO }; // leaves no trace
            hand.call(&[Finish { lease: job.lease, outcome }], 0, LONG).await.unwrap();
        }
        if is_settled {
            let next = RequestId { number: 2, settled: 2, ..request };
            hand.broker.enqueue(&[hand.job(b"{}")], next).await.unwrap();
        }
        let_arrive(&server, &proxy).await;
        let left = hand.claim(LONG).await;
        assert_eq!(left.len(), usize::from(is_settled), "nothing but the next call's job");
        for job in left {
            hand.call(&[done(job.lease)], 0, LONG).await.unwrap();
        }
    }
}

/// A lease whose key is gone is a lost one all the same, and no more than that.
#[tokio::test]
async fn a_lease_whose_key_is_gone_ends_at_its_time() {
    let server = RedisServer::start();
    let mut hand = Hand::new(&server).await;
    let id = hand.add(b"{}").await.unwrap();
    let lease = Duration::from_millis(600);
    let lost = hand.claim(lease).await.remove(0);
    server.cli(&["DEL", &format!("arq:in-progress:{id}")]);
    assert_eq!(hand.claim(lease).await.len(), 0, "it has not run out");
    hand.broker.wait(std::slice::from_ref(&hand.queue), LONG, LONG).await.unwrap();
    let again = hand.claim(LONG).await.remove(0);
    assert_eq!((again.attempt, again.delivery), (2, 2));
    let failures = hand.broker.job(&hand.queue, &id).await.unwrap().unwrap().failures;
    assert_eq!(failures.iter().map(|failure| failure.kind).collect::<Vec<_>>(), [FailureKind::LeaseLost]);
    assert_eq!(hand.extend(&lost.lease).await, Extended::Lost);
}

/// What is noted of a job is forgotten a day after its attempts' last one began, but not while it goes on.
#[tokio::test]
async fn attempts_outlive_an_attempt_of_days() {
    let server = RedisServer::start();
    let mut hand = Hand::new(&server).await;
    let id = hand.add(b"{}").await.unwrap();
    let keys = [format!("arq:retry:{id}"), format!("arq:s7:job:{id}")];
    let now = hand.broker.clock().now();
    server.cli(&["SET", &keys[0], "1"]); // the first attempt is counted by its lease alone
    for (hours, is_kept) in [(0, false), (2, true)] {
        let due = (now - Duration::from_hours(hours)).as_millis().to_string();
        server.cli(&["ZADD", "arq:queue:trouble", &due, id.as_str()]);
        let lease = hand.claim(LONG).await.remove(0).lease;
        server.cli(&["HSET", &keys[1], "f", "{}"]);
        for key in &keys {
            server.cli(&["EXPIRE", key, "1000"]);
        }
        assert_eq!(hand.extend(&lease).await, Extended::Renewed);
        for key in &keys {
            let left: u64 = server.cli(&["TTL", key]).trim().parse().unwrap();
            assert_eq!(left > 80_000, is_kept, "{key}, begun {hours} h ago, is kept for {left} s more");
        }
        let outcome = Outcome::GiveBack { delay: Duration::ZERO, why: GiveBack::Stop };
        hand.call(&[Finish { lease, outcome }], 0, LONG).await.unwrap();
    }
}

/// A claim asks for a job's end unless its id is as our clients make them and none of them has given a job of the queue one;
/// what has one all the same is noticed by its first heartbeat.
#[tokio::test]
async fn what_has_started_expires_no_more_whoever_gave_it_an_end() {
    let server = RedisServer::start();
    let mut hand = Hand::new(&server).await;
    let ends = |id: &JobId| server.cli(&["PTTL", &format!("arq:job:{id}")]) != "-1";
    let endless = hand.add(b"{}").await.unwrap();
    assert_eq!((hand.claim(LONG).await.len(), ends(&endless)), (1, false));
    let ours = NewJob { expires_in: Some(LONG), ..hand.job(b"{}") };
    let others = ["2f1c8a4e9b0d4c6e8f7a1b2c3d4e5f60", "0192-7-nobody's", "7"].map(|id| JobId::new(id).unwrap());
    hand.broker.enqueue(std::slice::from_ref(&ours), RequestId::unique()).await.unwrap();
    assert!(ends(&ours.id));
    assert_eq!((hand.claim(LONG).await.len(), ends(&ours.id)), (1, false), "the queue says that some may expire");

    server.cli(&["DEL", "arq:queue:trouble:s7:expiring"]);
    for id in &others {
        let job = NewJob { id: id.clone(), ..hand.job(b"{}") };
        hand.broker.enqueue(&[job], RequestId::unique()).await.unwrap();
        server.cli(&["PEXPIRE", &format!("arq:job:{id}"), "60000"]);
        assert_eq!((hand.claim(LONG).await.len(), ends(id)), (1, false), "{id} is another's");
    }

    let like_ours = hand.add(b"{}").await.unwrap();
    server.cli(&["PEXPIRE", &format!("arq:job:{like_ours}"), "60000"]);
    let lease = hand.claim(LONG).await.remove(0).lease;
    assert_eq!(hand.extend(&lease).await, Extended::Renewed);
    assert!(!ends(&like_ours), "its first heartbeat has looked");
    assert_eq!(hand.extend(&lease).await, Extended::Renewed);
    let outcome = Outcome::GiveBack { delay: Duration::ZERO, why: GiveBack::UnknownTask };
    hand.call(&[Finish { lease, outcome }], 0, LONG).await.unwrap();
    assert!(ends(&like_ours), "nobody has started it, so it still expires");
    assert_eq!(server.cli(&["EXISTS", "arq:queue:trouble:s7:expiring"]), "1", "which its next claim has to know");

    let retry = Outcome::Retry { delay: Duration::ZERO, failure: failure("failed", 1, &hand).into() };
    for outcome in [retry, Outcome::GiveBack { delay: Duration::ZERO, why: GiveBack::Snooze }] {
        server.cli(&["FLUSHALL"]);
        let id = hand.add(b"{}").await.unwrap();
        server.cli(&["PEXPIRE", &format!("arq:job:{id}"), "60000"]);
        let lease = hand.claim(LONG).await.remove(0).lease;
        hand.call(&[Finish { lease, outcome }], 0, LONG).await.unwrap();
        assert!(!ends(&id), "it was over before its first heartbeat");
    }
}

/// One of several due jobs that somebody has makes a claim begin anew, in which nothing of the first try is left.
#[tokio::test]
async fn a_claim_that_meets_anothers_job_touches_only_what_it_leases() {
    let server = RedisServer::start();
    let mut hand = Hand::new(&server).await;
    let score = |id: &str| server.cli(&["ZSCORE", "arq:queue:trouble", id]);
    for (id, holder, stays) in [("tick", "held", false), ("theirs", "1", true)] {
        let free = hand.add(b"{}").await.unwrap();
        let job = NewJob { id: JobId::new(id).unwrap(), ..hand.job(b"{}") };
        hand.broker.enqueue(&[job], RequestId::unique()).await.unwrap();
        server.cli(&["SET", &format!("arq:in-progress:{id}"), holder]);
        let before = score(id);
        let jobs = hand.claim(LONG).await;
        assert_eq!(jobs.iter().map(|job| &job.lease.id).collect::<Vec<_>>(), [&free]);
        assert_eq!(score(id), if stays { before } else { String::new() }, "{id}");
        assert_eq!(server.cli(&["HGET", "arq:queue:trouble:s7:leases", id]), "", "{id}");
    }
}

/// A full server takes no new job and says so; those it has are worked off.
#[tokio::test]
async fn a_full_server_is_drained() {
    let server = RedisServer::start();
    let mut hand = Hand::new(&server).await;
    let ids = [hand.add(b"{}").await.unwrap(), hand.add(b"{}").await.unwrap()];
    let first = hand.call(&[], 1, LONG).await.unwrap().jobs.remove(0);
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = hand.add(b"{}").await.unwrap_err();
    assert!(matches!(refused, BrokerError::Full { .. }) && refused.to_string().contains("maxmemory"), "{refused}");
    assert_eq!(hand.extend(&first.lease).await, Extended::Renewed);
    let answer = hand.call(&[done(first.lease)], 1, LONG).await.unwrap();
    assert_eq!((answer.finished, answer.jobs.len()), (vec![Finished::Applied], 1));
    let second = answer.jobs[0].lease.clone();
    assert_eq!(hand.call(&[done(second)], 1, LONG).await.unwrap().finished, [Finished::Applied]);
    let ended = NewJob { id: ids[0].clone(), replace_finished: true, ..hand.job(b"{}") };
    let refused = hand.broker.enqueue(&[ended], RequestId::unique()).await.unwrap_err();
    assert!(matches!(refused, BrokerError::Full { .. }), "what is replaced makes no room for a new job: {refused}");
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    for id in ids {
        let kept = hand.broker.result(&hand.queue, &id, Duration::ZERO).await.unwrap();
        assert_eq!(kept, ResultState::Ready("result".into()));
    }
}

/// Ids are one space for all queues, and so are results: one that a job of another queue left is no dead letter's.
#[tokio::test]
async fn a_dead_letter_shows_no_result_of_another_queue() {
    let server = RedisServer::start();
    let mut hand = Hand::new(&server).await;
    let mut other = Hand { queue: QueueName::new("elsewhere").unwrap(), ..Hand::new(&server).await };
    let job = hand.job(b"{}");
    let failure = serde_json::json!({"kind": "error", "message": "for good", "attempt": 1, "at": 0});
    let failure: Failure = serde_json::from_value(failure).unwrap();
    let results = |hand: &Hand| {
        let (broker, queue, id) = (hand.broker.clone(), hand.queue.clone(), job.id.clone());
        async move {
            let page = broker.jobs(&queue, JobFilter::Dead, None, 10).await.unwrap();
            let of_page: Vec<_> = page.jobs.into_iter().map(|job| job.result).collect();
            let one = broker.job(&queue, &id).await.unwrap().unwrap();
            (of_page, one.state, one.result)
        }
    };
    hand.broker.enqueue(std::slice::from_ref(&job), RequestId::unique()).await.unwrap();
    let lease = hand.claim(LONG).await.remove(0).lease;
    let result = Some(KeptResult { record: "its error".into(), keep: Some(LONG) });
    let outcome = Outcome::End { result, dead: Some(failure.into()), hold_id: Duration::ZERO };
    hand.call(&[Finish { lease, outcome }], 0, LONG).await.unwrap();
    let own = Some("its error".into());
    assert_eq!(results(&hand).await, (vec![own.clone()], JobState::Dead, own));
    let anew = NewJob { queue: other.queue.clone(), replace_finished: true, ..job.clone() };
    assert_eq!(other.broker.enqueue(&[anew], RequestId::unique()).await.unwrap(), [Enqueued::New]);
    let lease = other.claim(LONG).await.remove(0).lease;
    other.call(&[done(lease)], 0, LONG).await.unwrap();
    assert_eq!(results(&hand).await, (vec![None], JobState::Complete, Some("result".into())), "the later of two ends");
    server.cli(&["DEL", &format!("arq:result:{}", job.id)]);
    assert_eq!(results(&hand).await, (vec![None], JobState::Dead, None));
}

/// A Python client that aborts a job puts its member back, also one that has just gone with its job's end.
#[tokio::test]
async fn a_member_that_is_put_back_after_the_end_changes_no_result() {
    let server = RedisServer::start();
    let mut hand = Hand::new(&server).await;
    let id = hand.add(b"{}").await.unwrap();
    let job = hand.claim(LONG).await.remove(0);
    hand.call(&[done(job.lease)], 0, LONG).await.unwrap();
    server.cli(&["ZADD", "arq:queue:trouble", "1", id.as_str()]);
    assert_eq!(hand.claim(LONG).await.len(), 0, "it has ended");
    assert_eq!(server.cli(&["ZCARD", "arq:queue:trouble"]).trim(), "0");
    let kept = hand.broker.result(&hand.queue, &id, Duration::ZERO).await.unwrap();
    assert_eq!(kept, ResultState::Ready("result".into()));
}

/// What other programs put into our keys costs them that job, not everybody's.
#[tokio::test]
async fn members_and_keys_that_make_no_sense_hold_nothing_up() {
    let server = RedisServer::start();
    let mut hand = Hand::new(&server).await;
    server.cli(&["ZADD", "arq:queue:trouble", "-inf", "never", "0", "nothing", "1", "a-list"]);
    server.cli(&["RPUSH", "arq:job:a-list", "1"]);
    server.cli(&["SET", "arq:job:never", "{}"]);
    hand.add(b"{}").await.unwrap();
    let claimed = hand.claim(LONG).await;
    let payloads: Vec<Option<&[u8]>> = claimed.iter().map(|job| job.payload.as_deref()).collect();
    assert_eq!(payloads, [Some(&b"{}"[..]), None, Some(b"{}")]);
    let finished: Vec<Finish> = claimed.into_iter().map(|job| done(job.lease)).collect();
    assert_eq!(hand.call(&finished, 0, LONG).await.unwrap().finished, [Finished::Applied; 3]);
}

/// arq: a score of 0 is no membership. Nothing takes such a member away; however many there are, they hide nothing.
#[tokio::test]
async fn members_that_count_for_nothing_hide_nothing() {
    let server = RedisServer::start();
    let mut hand = Hand::new(&server).await;
    let script = r"
        for i = 1, 2500 do redis.call('ZADD', KEYS[1], 0, 'nothing-' .. i) end
        redis.call('ZADD', KEYS[1], -0.5, 'before')
        redis.call('SET', 'arq:job:before', '{}')
    ";
    server.cli(&["EVAL", script, "1", "arq:queue:trouble"]);
    let (behind, mut before) = (hand.add(b"{}").await.unwrap(), None);
    for (id, more_due) in [("before", true), (behind.as_str(), false)] {
        let (queues, long) = (std::slice::from_ref(&hand.queue), Duration::from_secs(600));
        tokio::time::timeout(LONG, hand.broker.wait(queues, long, long)).await.expect("a look finds it").unwrap();
        assert!(hand.broker.stats(&hand.queue).await.unwrap().oldest_due.is_some(), "{id} waits");
        let claimed = hand.call(&[], 1, LONG).await.unwrap();
        let jobs: Vec<&str> = claimed.jobs.iter().map(|job| job.lease.id.as_str()).collect();
        assert_eq!((jobs, claimed.more_due), (vec![id], more_due));
        before = before.or(claimed.jobs.into_iter().map(|job| job.lease).next());
    }
    assert_eq!(server.cli(&["ZCOUNT", "arq:queue:trouble", "0", "0"]), "2500");
    // What is given back has its place again, but none at 0.
    let outcome = Outcome::GiveBack { delay: Duration::ZERO, why: GiveBack::Stop };
    let given_back = Finish { lease: before.unwrap(), outcome };
    let claimed = hand.call(&[given_back], 1, LONG).await.unwrap();
    assert_eq!(claimed.jobs.iter().map(|job| job.lease.id.as_str()).collect::<Vec<_>>(), ["before"]);
}

/// The abort requests of all queues are in one set: what was there for a moment could already have ended the job.
#[tokio::test]
async fn an_abort_in_the_wrong_queue_asks_nothing_of_the_right_one() {
    let server = RedisServer::start();
    let mut hand = Hand::new(&server).await;
    let id = hand.add(b"{}").await.unwrap();
    hand.claim(LONG).await;
    server.cli(&["SET", "arq:abort", "no set: who adds to it gets an error"]);
    assert!(!hand.broker.abort(&QueueName::new("elsewhere").unwrap(), &id).await.unwrap());
    hand.broker.abort(&hand.queue, &id).await.expect_err("it is added where the job is");
}
