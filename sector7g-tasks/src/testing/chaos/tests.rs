use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::{Call, ChaosBroker, Fault, Odds};
use crate::broker::{
    Broker, BrokerError, Claim, Due, Enqueued, Finish, Finished, JobId, LeaseToken, MemoryBroker, NewJob, Outcome,
    QueueName, RequestId,
};
use crate::client::{Client, EnqueueError};
use crate::clock::{Clock, Timestamp};
use crate::job::Job;
use crate::testing::conformance::Fixture;

/// The wrapper with no faults.
struct Quiet;

impl Fixture for Quiet {
    async fn broker(&self) -> Arc<dyn Broker> {
        Arc::new(chaos(0))
    }

    async fn pass(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}

crate::broker_conformance!(chaos_off: || Quiet, paused);

fn chaos(seed: u64) -> ChaosBroker {
    let clock = Clock::starting_from(Timestamp::from_millis(1_800_000_000_000));
    ChaosBroker::seeded(Arc::new(MemoryBroker::with_clock(clock)), seed)
}

fn lenny() -> QueueName {
    QueueName::new("lenny").expect("a valid name")
}

fn job() -> NewJob {
    let (queue, id) = (lenny(), JobId::generate());
    NewJob {
        queue,
        id,
        is_new_id: false,
        payload: Bytes::new(),
        due: Due::Now,
        expires_in: None,
        replace_finished: false,
    }
}

/// One call of a worker.
async fn claim(broker: &ChaosBroker, finished: &[Finish], call: u64) -> Result<crate::broker::Claimed, BrokerError> {
    let token = LeaseToken { worker: 7, call };
    let request = Claim { queue: &lenny(), finished, max: 10, lease: Duration::from_secs(30), token };
    broker.claim(&request).await
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_before_has_not_happened() {
    let broker = chaos(0);
    broker.fail_next(Call::Enqueue, 1, Fault::Before);
    let job = job();
    let error = broker.enqueue(std::slice::from_ref(&job), RequestId::unique()).await.expect_err("the fault");
    assert!(error.is_transient(), "{error}");
    assert_eq!(error.to_string(), "the broker at memory is unavailable");
    assert!(broker.job(&job.queue, &job.id).await.expect("job").is_none());
    assert_eq!(broker.enqueue(&[job], RequestId::unique()).await.expect("the fault is over"), [Enqueued::New]);
    assert_eq!((broker.calls(Call::Enqueue), broker.faults(Call::Enqueue)), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_answer_is_lost_can_be_repeated() {
    let broker = chaos(0);
    broker.fail_next(Call::Enqueue, 1, Fault::After);
    broker.fail_next(Call::Claim, 1, Fault::After);
    let (job, request) = (job(), RequestId::unique());
    broker.enqueue(std::slice::from_ref(&job), request).await.expect_err("the answer is lost");
    let again = broker.enqueue(std::slice::from_ref(&job), request).await;
    assert_eq!(again.expect("again"), [Enqueued::New], "as it had been answered");
    claim(&broker, &[], 1).await.expect_err("the answer is lost");
    let again = claim(&broker, &[], 1).await.expect("again");
    assert_eq!((again.jobs.len(), again.jobs[0].attempt), (1, 1), "the job that the lost answer held");
    broker.fail_next(Call::Claim, 2, Fault::After);
    let outcome = Outcome::End { result: None, dead: None, hold_id: Duration::ZERO };
    let finished = [Finish { lease: again.jobs[0].lease.clone(), outcome }];
    claim(&broker, &finished, 2).await.expect_err("the answer is lost");
    claim(&broker, &finished, 2).await.expect_err("and again");
    let reported = claim(&broker, &finished, 2).await.expect("the third time");
    assert_eq!((reported.finished, reported.jobs.len()), (vec![Finished::Applied], 0));
}

#[tokio::test(start_paused = true)]
async fn a_client_asks_again_and_adds_its_job_once() {
    let broker = Arc::new(chaos(0));
    let client = Client::new(broker.clone());
    broker.fail_next(Call::Enqueue, 2, Fault::After);
    let job = || Job::untyped("nap", lenny().to_string());
    assert!(client.enqueue(job()).await.expect("at the third try").is_new());
    assert_eq!((broker.calls(Call::Enqueue), broker.stats(&lenny()).await.expect("stats").live()), (3, 1));
    broker.fail_next(Call::Enqueue, 3, Fault::Before);
    let error = client.enqueue(job()).await.expect_err("no fourth try");
    assert!(matches!(error, EnqueueError::Broker { confirmed: 0, .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn slow_calls_take_their_time() {
    let broker = chaos(0);
    let (second, job) = (Duration::from_secs(1), job());
    let began = Instant::now();
    broker.fail_next(Call::Enqueue, 1, Fault::Delay(second));
    broker.enqueue(std::slice::from_ref(&job), RequestId::unique()).await.expect("late");
    assert_eq!(began.elapsed(), second);
    let due_at = broker.job(&job.queue, &job.id).await.expect("job").expect("it waits").due_at;
    assert_eq!(due_at.since(Timestamp::from_millis(1_800_000_000_000)), second, "it happened late");
    broker.fail_next(Call::Claim, 1, Fault::Late(second));
    let claimed = claim(&broker, &[], 1).await.expect("late");
    assert_eq!((began.elapsed(), claimed.now), (2 * second, due_at), "it happened in time");
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_makes_the_same_faults() {
    let odds = Odds { before: 0.2, after: 0.2, slow: 0.2, slowness: Duration::from_secs(1) };
    let run = async |seed| {
        let (broker, began) = (chaos(seed), Instant::now());
        broker.set_odds(&[Call::Enqueue], odds);
        let mut answers = Vec::new();
        for _ in 0..100 {
            answers.push((broker.enqueue(&[job()], RequestId::unique()).await.is_ok(), began.elapsed()));
        }
        let lost = broker.stats(&lenny()).await.expect("other calls have no faults").live();
        (answers, lost)
    };
    let (answers, held) = run(1).await;
    assert_eq!((&answers, held), (&run(1).await.0, held));
    assert_ne!(answers, run(2).await.0);
    let succeeded = answers.iter().filter(|(ok, _)| *ok).count() as u64;
    assert!((40..=80).contains(&succeeded), "some fail, most do not: {succeeded}");
    assert!(held > succeeded && held < 100, "{held} happened, {succeeded} were answered");
    assert!(answers[99].1 > Duration::from_secs(2), "some were slow");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_down_comes_back() {
    let broker = chaos(0);
    broker.set_down(true);
    broker.fail_next(Call::Wait, 1, Fault::After);
    assert!(broker.wait(&[lenny()], Duration::ZERO, Duration::ZERO).await.is_err());
    assert!(broker.queues().await.is_err());
    broker.set_down(false);
    assert!(broker.queues().await.is_ok());
    assert!(
        broker.wait(&[lenny()], Duration::ZERO, Duration::ZERO).await.is_err(),
        "the fault that was asked for is still to come"
    );
    broker.fail_next(Call::Wait, 1, Fault::After);
    broker.calm();
    assert!(broker.wait(&[lenny()], Duration::ZERO, Duration::ZERO).await.is_ok());
}

#[test]
#[should_panic(expected = "no odds")]
fn odds_beyond_one_are_refused() {
    chaos(0).set_odds(&[Call::Claim], Odds { before: 0.6, after: 0.6, ..Odds::default() });
}
