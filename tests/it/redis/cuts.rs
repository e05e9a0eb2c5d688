//! Answers that are cut where they tell of more than a plain job's first attempt.

use std::process::Command;
use std::slice::from_ref;
use std::time::Duration;

use sector7g_tasks::broker::{
    AbortMark, Broker, Claimed, ClaimedJob, Due, Extended, Finish, Finished, GiveBack, JobId, JobRecord, JobState,
    Lease, LeaseToken, NewJob, Outcome, RedisBroker, RequestId,
};
use sector7g_tasks::job::{Failure, FailureKind};
use sector7g_tasks::testing::Guard;
use support::{Proxy, RedisServer, Way};
use tokio::time::sleep;

use super::trouble::{Hand, LONG, done};

/// Set where the test is to fail.
const WITHOUT: &str = "S7_TESTS_WITHOUT_REPEATING";

pub(super) fn failure(message: &str, attempt: u32, hand: &Hand) -> Failure {
    Failure {
        kind: FailureKind::Error,
        message: message.to_owned(),
        error_type: None,
        causes: Vec::new(),
        attempt,
        at: hand.broker.clock().now(),
        ran: None,
    }
}

/// What a batch is made of.
struct Batch {
    /// Reported in one call: a retry, a give-back, a dead letter, a second attempt that ends well, a lease that is lost.
    ends: Vec<Finish>,
    retried: JobId,
    given_back: JobId,
    dead: JobId,
    done: JobId,
    /// Waits, and is to be aborted.
    aborted: JobId,
    /// Waits, and has expired.
    expired: JobId,
}

impl Batch {
    async fn new(hand: &mut Hand) -> Self {
        let retry = |hand: &Hand| Outcome::Retry { delay: Duration::ZERO, failure: failure("first", 1, hand).into() };
        let done_id = hand.add(b"{}").await.unwrap();
        let first = hand.claim(LONG).await.remove(0);
        let outcome = retry(hand);
        hand.call(&[Finish { lease: first.lease, outcome }], 0, LONG).await.unwrap();
        let second = hand.claim(LONG).await.remove(0);
        assert_eq!((&second.lease.id, second.attempt), (&done_id, 2));
        let mut leases = Vec::new();
        for _ in 0..3 {
            hand.add(b"{}").await.unwrap();
            leases.extend(hand.claim(LONG).await.into_iter().map(|job| job.lease));
        }
        let [retried, given_back, dead] = [0, 1, 2].map(|index| leases[index].id.clone());
        let lost = Lease { token: LeaseToken { call: 1, ..second.lease.token }, ..second.lease.clone() };
        let stop = Outcome::GiveBack { delay: Duration::ZERO, why: GiveBack::Stop };
        let end = Outcome::End { result: None, dead: Some(failure("last", 1, hand).into()), hold_id: Duration::ZERO };
        let mut ends = vec![done(lost), done(second.lease)];
        let outcomes = [retry(hand), stop, end];
        ends.extend(leases.into_iter().zip(outcomes).map(|(lease, outcome)| Finish { lease, outcome }));
        let aborted = hand.add(b"{}").await.unwrap();
        assert!(hand.broker.abort(&hand.queue, &aborted).await.unwrap());
        let mut late = hand.job(b"{}");
        late.expires_in = Some(Duration::from_millis(1));
        hand.broker.enqueue(from_ref(&late), RequestId::unique()).await.unwrap();
        sleep(Duration::from_millis(3)).await;
        Self { ends, retried, given_back, dead, done: done_id, aborted, expired: late.id }
    }

    /// That `answer` tells of all of it once, and that it is so.
    async fn check(&self, answer: Claimed, hand: &mut Hand, at: &str) {
        use Finished::{Applied, LeaseLost};
        assert_eq!(answer.finished, [LeaseLost, Applied, Applied, Applied, Applied], "{at}");
        let mut jobs: Vec<_> = answer.jobs.iter().collect();
        jobs.sort_by_key(|job| &job.lease.id);
        let told = |job: &ClaimedJob| {
            (job.lease.id.clone(), job.attempt, job.delivery, job.abort_requested, job.payload.is_some())
        };
        let mut expected = [
            (self.retried.clone(), 2, 2, false, true),
            (self.given_back.clone(), 1, 2, false, true),
            (self.aborted.clone(), 1, 1, true, true),
            (self.expired.clone(), 1, 1, false, false),
        ];
        expected.sort();
        assert_eq!(jobs.into_iter().map(told).collect::<Vec<_>>(), expected, "{at}");
        let record = async |id: &JobId| hand.broker.job(&hand.queue, id).await.unwrap().unwrap();
        let said = |record: &JobRecord| -> Vec<String> {
            record.failures.iter().map(|failure| failure.message.clone()).collect()
        };
        let (retried, dead, ended) = (record(&self.retried).await, record(&self.dead).await, record(&self.done).await);
        assert_eq!((retried.state, said(&retried)), (JobState::InProgress, vec!["first".to_owned()]), "{at}");
        assert_eq!((dead.state, said(&dead)), (JobState::Dead, vec!["last".to_owned()]), "{at}");
        assert_eq!((ended.state, ended.result.as_deref()), (JobState::Complete, Some(&b"result"[..])), "{at}");
        let nothing = || Outcome::End { result: None, dead: None, hold_id: Duration::ZERO };
        let ends: Vec<_> = answer.jobs.into_iter().map(|job| Finish { lease: job.lease, outcome: nothing() }).collect();
        assert_eq!(hand.call(&ends, 10, LONG).await.unwrap().finished, [Applied; 4], "{at}");
        hand.broker.discard_dead(&hand.queue, from_ref(&self.dead)).await.unwrap();
        let stats = hand.broker.stats(&hand.queue).await.unwrap();
        assert_eq!((stats.queued, stats.running, stats.dead), (0, 0, 0), "{at}");
    }
}

/// One call that reports and claims all that is odd, its answer cut at every byte: repeated, it is answered whole, and
/// nothing has been done twice.
#[tokio::test]
async fn an_answer_about_all_that_is_odd_is_cut_short() {
    if std::env::var_os(WITHOUT).is_some() {
        Guard::Repeat.take_out();
    }
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let mut hand = Hand::new(&server).await;
    let mut cut = Hand { broker: RedisBroker::connect(proxy.url()).await.unwrap(), ..Hand::new(&server).await };
    for bytes in 0.. {
        assert!(bytes < 2_000, "no answer is as long");
        let batch = Batch::new(&mut hand).await;
        cut.broker.ready().await.unwrap(); // a connection is there: its making has answers, too
        cut.token.call = hand.token.call;
        proxy.set(Way::Cut(bytes));
        let answer = cut.call(&batch.ends, 10, LONG).await;
        proxy.set(Way::Pass);
        let at = format!("cut after {bytes} bytes");
        let (is_whole, answer) = match answer {
            Ok(answer) => (true, answer),
            Err(error) => {
                assert!(error.is_transient(), "{at}: {error:?}");
                cut.token.call -= 1;
                (false, cut.call(&batch.ends, 10, LONG).await.unwrap())
            }
        };
        hand.token.call = cut.token.call;
        batch.check(answer, &mut hand, &at).await;
        if is_whole {
            assert!(bytes >= 200, "the answer has more bytes than {bytes}");
            break;
        }
    }
}

/// In a process of its own: the guard is taken out for all of one.
#[test]
fn without_its_guard_a_cut_answer_costs_a_claim() {
    let mut own = Command::new(std::env::current_exe().unwrap());
    own.args(["--exact", "redis::cuts::an_answer_about_all_that_is_odd_is_cut_short"]).env(WITHOUT, "1");
    let output = own.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains("cut after"), "{said}");
}

/// A worker, and another broker whose way is `proxy`.
async fn both(server: &RedisServer, proxy: &Proxy) -> (Hand, RedisBroker) {
    (Hand::new(server).await, RedisBroker::connect(proxy.url()).await.unwrap())
}

/// Until when a lease goes on, ms.
fn ends_at(server: &RedisServer, id: &JobId) -> f64 {
    server.cli(&["ZSCORE", "arq:queue:trouble", id.as_str()]).trim().parse().unwrap()
}

/// Heartbeats whose answer is cut at every byte: they have renewed what is held all the same, and say so when they are
/// repeated; of what is lost they tell that it is.
#[tokio::test]
async fn a_cut_answer_to_a_heartbeat_loses_no_lease() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let (mut hand, beating) = both(&server, &proxy).await;
    hand.broker.extend(&hand.queue, &[], LONG).await.unwrap(); // the script is there: its loading has answers, too
    for bytes in 0.. {
        assert!(bytes < 1_000, "no answer is as long");
        let at = format!("cut after {bytes} bytes");
        hand.add(b"{}").await.unwrap();
        hand.add(b"{}").await.unwrap();
        let leases: Vec<Lease> = hand.claim(LONG / 2).await.into_iter().map(|job| job.lease).collect();
        let stale = Lease { token: LeaseToken { call: 0, ..hand.token }, ..leases[1].clone() };
        let before = ends_at(&server, &leases[0].id);
        beating.ready().await.unwrap();
        proxy.set(Way::Cut(bytes));
        let beats = [leases[0].clone(), stale];
        let answer = beating.extend(&hand.queue, &beats, LONG).await;
        proxy.set(Way::Pass);
        assert!(ends_at(&server, &leases[0].id) >= before + 14_000.0, "{at}: it has been renewed");
        assert!(ends_at(&server, &leases[1].id) < before + 14_000.0, "{at}: it was not its holder's");
        let is_whole = answer.is_ok();
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                assert!(error.is_transient(), "{at}: {error:?}");
                beating.extend(&hand.queue, &beats, LONG).await.unwrap()
            }
        };
        assert_eq!(answer, [Extended::Renewed, Extended::Lost], "{at}");
        assert!(Hand::new(&server).await.claim(LONG).await.is_empty(), "{at}: nobody else gets it");
        let ends: Vec<Finish> = leases.into_iter().map(done).collect();
        assert_eq!(hand.call(&ends, 0, LONG).await.unwrap().finished, [Finished::Applied; 2], "{at}");
        if is_whole {
            assert!(bytes >= 8, "the answer has more bytes than {bytes}");
            break;
        }
    }
}

/// What a job does when its abort is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Aborted {
    /// For long.
    Waits,
    Runs,
    /// Is due, and is claimed and ended before the request is repeated.
    Ends,
}

/// An abort is three calls: any of their answers is cut at every byte. Repeated, the request reaches the job, which ends
/// by it, and no later one of its id.
#[tokio::test]
async fn a_cut_answer_to_an_abort_reaches_its_job_once() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let (mut hand, asking) = both(&server, &proxy).await;
    let mut cuts = [0; 3];
    for (what, reply) in
        [Aborted::Waits, Aborted::Runs, Aborted::Ends].into_iter().flat_map(|what| [(what, 0), (what, 1), (what, 2)])
    {
        for bytes in 0.. {
            assert!(bytes < 1_000, "no answer is as long");
            let at = format!("{what:?}, reply {reply} cut after {bytes} bytes");
            let mut job = hand.job(b"{}");
            if what == Aborted::Waits {
                job.due = Due::In(LONG * 100);
            }
            hand.broker.enqueue(from_ref(&job), RequestId::unique()).await.unwrap();
            let mut running = Vec::new();
            if what == Aborted::Runs {
                running = hand.claim(LONG).await;
            }
            asking.ready().await.unwrap();
            proxy.cut_later(reply, bytes);
            let answer = asking.abort(&hand.queue, &job.id).await;
            proxy.set(Way::Pass);
            let is_whole = answer.is_ok();
            if what == Aborted::Ends {
                running = hand.claim(LONG).await;
                let lease = running.remove(0).lease;
                assert_eq!(hand.call(&[done(lease)], 0, LONG).await.unwrap().finished, [Finished::Applied], "{at}");
            }
            let asked = match answer {
                Ok(asked) => asked,
                Err(error) => {
                    assert!(error.is_transient(), "{at}: {error:?}");
                    cuts[usize::try_from(reply).unwrap()] += 1;
                    asking.abort(&hand.queue, &job.id).await.unwrap()
                }
            };
            assert_eq!(asked, is_whole || what != Aborted::Ends, "{at}");
            let named = async |hand: &Hand| {
                let zero = Duration::ZERO;
                hand.broker.aborts(from_ref(&hand.queue), AbortMark::default(), zero, zero).await.unwrap().ids
            };
            if what == Aborted::Waits {
                running = hand.claim(LONG).await;
                assert_eq!(running.len(), 1, "{at}: it is due at once");
                assert!(running[0].abort_requested, "{at}: its claim tells it");
            }
            for job in running {
                assert_eq!(named(&hand).await, from_ref(&job.lease.id), "{at}: who runs it hears of it");
                assert_eq!(hand.call(&[done(job.lease)], 0, LONG).await.unwrap().finished, [Finished::Applied], "{at}");
            }
            assert_eq!(named(&hand).await, [], "{at}: no request is left");
            let next = NewJob { replace_finished: true, due: Due::Now, ..job };
            hand.broker.enqueue(from_ref(&next), RequestId::unique()).await.unwrap();
            let next = hand.claim(LONG).await.remove(0);
            assert!(!next.abort_requested, "{at}: nor for the next job of its id");
            assert_eq!(named(&hand).await, [], "{at}: nor for the next job of its id");
            hand.call(&[done(next.lease)], 0, LONG).await.unwrap();
            if is_whole {
                assert!(bytes >= 4, "{at}: the answer has more bytes");
                break;
            }
        }
    }
    eprintln!("{cuts:?} cuts");
    assert_eq!(server.cli(&["ZCARD", "arq:abort"]).trim(), "0");
}
