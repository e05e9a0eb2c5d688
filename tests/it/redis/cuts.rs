//! Answers that are cut where they tell of more than a plain job's first attempt.

use std::process::Command;
use std::time::Duration;

use sector7g_tasks::broker::{
    Broker, Claimed, ClaimedJob, Finish, Finished, GiveBack, JobId, JobRecord, JobState, Lease, LeaseToken, Outcome,
    RedisBroker, RequestId,
};
use sector7g_tasks::job::{Failure, FailureKind};
use sector7g_tasks::testing::Guard;
use support::{Proxy, RedisServer, Way};
use tokio::time::sleep;

use super::trouble::{Hand, LONG, done};

/// Set where the test is to fail.
const WITHOUT: &str = "S7_TESTS_WITHOUT_REPEATING";

fn failure(message: &str, attempt: u32, hand: &Hand) -> Failure {
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
        hand.broker.enqueue(std::slice::from_ref(&late), RequestId::unique()).await.unwrap();
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
        hand.broker.discard_dead(&hand.queue, std::slice::from_ref(&self.dead)).await.unwrap();
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
