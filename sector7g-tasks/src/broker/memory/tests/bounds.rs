use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use super::{LEASE, START, Worker, done, failure, job, job_id, queue};
use crate::broker::{
    Broker, Due, Enqueued, JobFilter, KeptResult, MemoryBroker, MemoryBrokerBuilder, NewJob, Outcome, RequestId,
    ResultState, WorkerHealth,
};
use crate::clock::Clock;

const SECOND: Duration = Duration::from_secs(1);

fn builder() -> MemoryBrokerBuilder {
    MemoryBroker::builder().clock(Clock::starting_from(START))
}

fn kept(keep: Option<Duration>) -> Outcome {
    let record = Bytes::from_static(b"result");
    Outcome::End { result: Some(KeptResult { record, keep }), dead: None, hold_id: Duration::ZERO }
}

fn dead() -> Outcome {
    Outcome::End { result: None, dead: Some(failure("it broke").into()), hold_id: Duration::ZERO }
}

/// Runs a job of this id to its end.
async fn run(worker: &mut Worker<'_>, id: &str, outcome: Outcome) {
    worker.broker.enqueue(&[job(worker.queue.as_str(), id)], RequestId::unique()).await.expect("enqueue");
    let claimed = worker.claim(1).await;
    assert_eq!(claimed[0].lease.id, job_id(id));
    worker.finish(&claimed[0].lease, outcome).await;
}

async fn dead_letters(broker: &MemoryBroker) -> Vec<String> {
    let page = broker.jobs(&queue("lenny"), JobFilter::Dead, None, 100).await.expect("jobs");
    page.jobs.iter().map(|job| job.id.to_string()).collect()
}

async fn has_result(broker: &MemoryBroker, id: &str) -> bool {
    let result = broker.result(&queue("lenny"), &job_id(id), Duration::ZERO).await.expect("result");
    matches!(result, ResultState::Ready(_))
}

#[tokio::test(start_paused = true)]
async fn a_full_broker_stores_nothing() {
    let broker = builder().max_jobs(3).build();
    let batch = |ids: &[&str]| ids.iter().map(|id| job("lenny", id)).collect::<Vec<_>>();
    broker.enqueue(&batch(&["a", "b"]), RequestId::unique()).await.expect("two fit");
    let error = broker.enqueue(&batch(&["c", "d"]), RequestId::unique()).await.expect_err("two more do not");
    assert!(error.to_string().contains("holds 2 jobs of at most 3"), "{error:?}");
    assert!(error.is_transient(), "it will be less full");
    assert!(broker.job(&queue("lenny"), &job_id("c")).await.expect("job").is_none(), "all or nothing");
    let answers = broker
        .enqueue(&batch(&["a", "b", "c", "c", "a"]), RequestId::unique())
        .await
        .expect("only one of these is new");
    let is_new: Vec<bool> = answers.iter().map(|answer| *answer == Enqueued::New).collect();
    assert_eq!(is_new, [false, false, true, false, false]);
    let mut worker = Worker::new(&broker, "lenny");
    let running = worker.claim(1).await;
    broker.enqueue(&batch(&["d"]), RequestId::unique()).await.expect_err("a running job counts");
    worker.finish(&running[0].lease, dead()).await;
    broker.enqueue(&batch(&["d"]), RequestId::unique()).await.expect("an ended one does not");
    let error = broker.retry_dead(&queue("lenny"), &[job_id("a")]).await.expect_err("it would be the fourth");
    assert!(error.to_string().contains("holds 3 jobs of at most 3"), "{error:?}");
    assert_eq!(dead_letters(&broker).await, ["a"], "the dead letter is still there");
}

#[tokio::test(start_paused = true)]
async fn the_results_that_ended_first_go_first() {
    let broker = builder().max_results(3).build();
    let mut worker = Worker::new(&broker, "lenny");
    let keeps = [None, Some(10 * SECOND), None, Some(5 * SECOND), Some(3600 * SECOND)];
    for (id, keep) in ["a", "b", "c", "d", "e"].into_iter().zip(keeps) {
        run(&mut worker, id, kept(keep)).await;
    }
    let mut left = Vec::new();
    for id in ["a", "b", "c", "d", "e"] {
        left.push(has_result(&broker, id).await);
    }
    assert_eq!(left, [false, false, true, true, true], "however long they were to be kept");
    let answers = broker.enqueue(&[job("lenny", "a"), job("lenny", "c")], RequestId::unique()).await.expect("enqueue");
    assert_eq!(answers, [Enqueued::New, Enqueued::Duplicate], "an id is free when its result is gone");
}

/// A later job of the same id has a result with a turn of its own, also where the first one's lay.
#[tokio::test(start_paused = true)]
async fn a_replaced_results_turn_is_not_the_new_ones() {
    let broker = builder().max_results(3).build();
    let mut worker = Worker::new(&broker, "lenny");
    run(&mut worker, "a", kept(None)).await;
    run(&mut worker, "b", kept(None)).await;
    let again = NewJob { replace_finished: true, ..job("lenny", "a") };
    broker.enqueue(&[again], RequestId::unique()).await.expect("enqueue");
    let claimed = worker.claim(1).await;
    worker.finish(&claimed[0].lease, kept(None)).await;
    run(&mut worker, "c", kept(None)).await;
    run(&mut worker, "d", kept(None)).await;
    let mut left = Vec::new();
    for id in ["a", "b", "c", "d"] {
        left.push(has_result(&broker, id).await);
    }
    assert_eq!(left, [true, false, true, true], "b's job ended first of the four");
}

#[tokio::test(start_paused = true)]
async fn the_oldest_dead_letters_go_first() {
    let broker = builder().max_dead_letters(2).dead_letter_age(60 * SECOND).build();
    let (mut lenny, mut carl) = (Worker::new(&broker, "lenny"), Worker::new(&broker, "carl"));
    for id in ["a", "b", "c"] {
        run(&mut lenny, id, dead()).await;
        sleep(20 * SECOND).await;
    }
    run(&mut carl, "d", dead()).await;
    assert_eq!(dead_letters(&broker).await, ["c", "b"], "two a queue");
    sleep(20 * SECOND).await; // now they are 60 s, 40 s and 20 s old
    assert_eq!(dead_letters(&broker).await, ["c"], "one is too old");
    assert_eq!(broker.stats(&queue("lenny")).await.expect("stats").dead, 1);
    sleep(20 * SECOND).await;
    assert_eq!(broker.queues().await.expect("queues"), [queue("carl")]);
    assert_eq!(broker.retry_dead(&queue("lenny"), &[job_id("c")]).await.expect("retry_dead"), [false]);
    assert!(broker.job(&queue("lenny"), &job_id("c")).await.expect("job").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_bound_of_zero_keeps_none() {
    let broker = builder().max_results(0).max_dead_letters(0).build();
    let mut worker = Worker::new(&broker, "lenny");
    run(&mut worker, "a", kept(None)).await;
    run(&mut worker, "b", dead()).await;
    assert!(!has_result(&broker, "a").await);
    assert_eq!(dead_letters(&broker).await, [""; 0]);
}

/// After all has ended and its time is over, nothing is left: no queue, no id, no memory of calls.
#[tokio::test(start_paused = true)]
async fn what_is_over_leaves_nothing() {
    let broker = builder().dead_letter_age(100 * SECOND).build();
    let mut worker = Worker::new(&broker, "lenny");
    run(&mut worker, "a", kept(Some(100 * SECOND))).await;
    run(&mut worker, "b", dead()).await;
    run(&mut worker, "c", Outcome::End { result: None, dead: None, hold_id: 100 * SECOND }).await;
    run(&mut worker, "d", done()).await;
    let deferred = NewJob { due: Due::In(20 * SECOND), ..job("carl", "e") };
    broker.enqueue(&[deferred], RequestId::unique()).await.expect("enqueue");
    broker.abort(&queue("carl"), &job_id("e")).await.expect("abort");
    let queues = [queue("lenny"), queue("charlie")];
    broker.wait(&queues, SECOND, SECOND).await.expect("wait");
    let claimed = Worker::new(&broker, "carl").claim(1).await;
    Worker::new(&broker, "carl").finish(&claimed[0].lease, done()).await;
    broker.set_health("homer", Some(&WorkerHealth::default()), 100 * SECOND).await.expect("set_health");
    sleep(101 * SECOND).await;
    broker.enqueue(&[], RequestId::unique()).await.expect("any write sweeps");
    broker.shared.step(|state, _, _| state.audit_empty());
}

/// What expires is freed as new things come, without waiting for a bound to be reached.
#[tokio::test(start_paused = true)]
async fn what_expires_is_freed_by_later_calls() {
    let broker = builder().build();
    let mut worker = Worker::new(&broker, "lenny");
    for i in 0..2_000 {
        run(&mut worker, &format!("job {i}"), kept(Some(SECOND))).await;
        sleep(Duration::from_millis(10)).await;
    }
    let (results, ..) = broker.shared.step(|state, _, _| state.results.lens());
    assert!(results <= 101, "{results} results are held, 100 are of the last second");
}

/// An id is free again once its result has expired, swept away or not; then there is one result of it, the new one.
#[tokio::test(start_paused = true)]
async fn a_new_result_is_found_where_an_expired_one_lies() {
    let broker = builder().build();
    let mut worker = Worker::new(&broker, "lenny");
    let ids: Vec<_> = (0..200).map(|i| format!("job {i}")).collect(); // more than a few calls sweep away
    for id in &ids {
        run(&mut worker, id, kept(Some(SECOND))).await;
    }
    sleep(SECOND).await;
    for id in ids.iter().rev().take(3) {
        run(&mut worker, id, kept(Some(SECOND))).await;
        assert!(has_result(&broker, id).await, "{id}");
    }
    broker.shared.step(|state, now, _| state.audit(now));
}

/// A finish that is reported again much later is no longer known; what is remembered has a bound in count, too.
#[tokio::test(start_paused = true)]
async fn applied_finishes_are_remembered_for_a_while() {
    let broker = builder().build();
    let mut worker = Worker::new(&broker, "lenny");
    broker.enqueue(&[job("lenny", "a")], RequestId::unique()).await.expect("enqueue");
    let lease = worker.claim(1).await.remove(0).lease;
    assert_eq!(worker.finish(&lease, done()).await, crate::broker::Finished::Applied);
    sleep(59 * SECOND).await;
    assert_eq!(worker.finish(&lease, done()).await, crate::broker::Finished::Applied);
    sleep(10 * SECOND).await;
    broker.enqueue(&[], RequestId::unique()).await.expect("any write sweeps");
    assert_eq!(worker.finish(&lease, done()).await, crate::broker::Finished::LeaseLost);
    let mut first = None;
    for i in 0..5_000 {
        broker.enqueue(&[job("lenny", &format!("job {i}"))], RequestId::unique()).await.expect("enqueue");
        let lease = worker.claim(1).await.remove(0).lease;
        worker.finish(&lease, done()).await;
        first.get_or_insert(lease);
    }
    let first = first.expect("a first lease");
    assert_eq!(worker.finish(&first, done()).await, crate::broker::Finished::LeaseLost, "4,096 at most");
}

/// A worker that claims the most it may gets it in one call, and its leases in one more.
#[tokio::test(start_paused = true)]
async fn whole_batches_go_through() {
    let broker = builder().build();
    let jobs: Vec<_> = (0..1_000).map(|i| job("lenny", &format!("job {i:04}"))).collect();
    broker.enqueue(&jobs, RequestId::unique()).await.expect("enqueue");
    let mut worker = Worker::new(&broker, "lenny");
    let claimed = worker.claim(1_000).await;
    assert!(claimed.iter().map(|job| &job.lease.id).eq(jobs.iter().map(|job| &job.id)), "in order");
    let leases: Vec<_> = claimed.into_iter().map(|job| job.lease).collect();
    let extended = broker.extend(&queue("lenny"), &leases, LEASE).await.expect("extend");
    assert!(extended.iter().all(|extended| *extended == crate::broker::Extended::Renewed));
}
