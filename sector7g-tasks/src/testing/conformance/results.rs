use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{ENDLESS, Fixture, Ground, LEASE, LONG, MOMENT, SHORT, done, done_with, retry, unique};
use crate::broker::{ClaimedJob, Enqueued, Finish, NewJob, RequestId, ResultState};

fn ready(record: &'static str) -> ResultState {
    ResultState::Ready(Bytes::from_static(record.as_bytes()))
}

/// A result can be read for as long as it was to be kept, and not after.
pub async fn a_result_is_kept_for_its_time(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_result_is_kept_for_its_time").await;
    let (short, long) = (ground.add_one().await, ground.add_one().await);
    for (record, keep) in [("short", 2 * SHORT), ("long", LEASE)] {
        ground.finish(&ground.claim_one(LEASE).await.lease, done_with(record, Some(keep))).await;
    }
    assert_eq!((ground.result(&short).await, ground.result(&long).await), (ready("short"), ready("long")));
    assert_eq!(ground.result(&short).await, ready("short"), "reading does not use it up");
    ground.pass(2 * SHORT + MOMENT).await;
    assert_eq!((ground.result(&short).await, ground.result(&long).await), (ResultState::NotFound, ready("long")));
    assert!(ground.record(&short).await.is_none(), "nothing is left of it");
}

/// A result that is to be kept for ever stays.
pub async fn a_result_can_be_kept_for_ever(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_result_can_be_kept_for_ever").await;
    let id = ground.add_one().await;
    ground.finish(&ground.claim_one(LEASE).await.lease, done_with("kept", None)).await;
    ground.pass(SHORT).await;
    assert_eq!(ground.result(&id).await, ready("kept"));
}

/// An id stays taken while its result is kept, and is free afterwards.
pub async fn a_result_keeps_the_id_taken(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_result_keeps_the_id_taken").await;
    let job = ground.job();
    ground.add(job.clone()).await;
    ground.finish(&ground.claim_one(LEASE).await.lease, done_with("result", Some(2 * SHORT))).await;
    assert_eq!(ground.add(job.clone()).await, Enqueued::Duplicate);
    assert_eq!(ground.result(&job.id).await, ready("result"), "the duplicate changed nothing");
    ground.pass(2 * SHORT + MOMENT).await;
    assert_eq!(ground.add(job).await, Enqueued::New);
}

/// `replace_finished` drops the stored result and takes its id.
pub async fn replace_finished_frees_the_id(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "replace_finished_frees_the_id").await;
    let job = ground.job();
    ground.add(job.clone()).await;
    ground.finish(&ground.claim_one(LEASE).await.lease, done_with("old", Some(LEASE))).await;
    let replacing = NewJob { replace_finished: true, ..job.clone() };
    assert_eq!(ground.add(replacing).await, Enqueued::New);
    assert_eq!(ground.result(&job.id).await, ResultState::Pending, "the old result is gone");
    let claimed = ground.claim_one(LEASE).await;
    assert_eq!(claimed.attempt, 1, "it is a new job");
    ground.finish(&claimed.lease, done_with("new", Some(LEASE))).await;
    assert_eq!(ground.result(&job.id).await, ready("new"));
}

/// A wait for a result ends when its job does, for everyone who waits.
pub async fn a_result_can_be_waited_for(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_result_can_be_waited_for").await;
    let id = ground.add_one().await;
    let mut waits = JoinSet::new();
    for _ in 0..3 {
        let (broker, queue, id) = (Arc::clone(&ground.broker), ground.queue.clone(), id.clone());
        waits.spawn(async move { broker.result(&queue, &id, ENDLESS).await.expect("result") });
    }
    ground.pass(MOMENT).await;
    let job = ground.claim_one(LEASE).await;
    ground.pass(MOMENT).await;
    assert!(waits.try_join_next().is_none(), "it runs");
    ground.finish(&job.lease, done_with("result", Some(LEASE))).await;
    ground.pass(SHORT).await;
    for _ in 0..3 {
        let result = waits.try_join_next().expect("the wait is over").expect("no panic");
        assert_eq!(result, ready("result"));
    }
}

/// A wait for a result goes on through retries, and ends as `Pending` at its timeout.
pub async fn a_retry_is_no_result(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_retry_is_no_result").await;
    let id = ground.add_one().await;
    let began = ground.broker.clock().now();
    let (broker, queue) = (Arc::clone(&ground.broker), ground.queue.clone());
    let mut wait = JoinSet::new();
    wait.spawn(async move { broker.result(&queue, &id, 2 * SHORT).await.expect("result") });
    ground.pass(MOMENT).await;
    ground.finish(&ground.claim_one(LEASE).await.lease, retry(LEASE)).await;
    let result = wait.join_next().await.expect("a wait").expect("no panic");
    assert_eq!(result, ResultState::Pending);
    let took = ground.broker.clock().now().since(began);
    assert!(took + MOMENT >= 2 * SHORT, "not before its timeout, but after {took:?}");
}

/// Of a job that never was, left nothing, or is in another queue there is no result; who waited is told at its end.
pub async fn no_result_is_not_found(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "no_result_is_not_found").await;
    let never = ground.job().id;
    let unknown = timeout(LONG, ground.broker.result(&ground.queue, &never, ENDLESS)).await.expect("at once");
    assert_eq!(unknown.expect("result"), ResultState::NotFound);
    let id = ground.add_one().await;
    assert_eq!(ground.result(&id).await, ResultState::Pending);
    let (broker, queue, waited) = (Arc::clone(&ground.broker), ground.queue.clone(), id.clone());
    let mut wait = JoinSet::new();
    wait.spawn(async move { broker.result(&queue, &waited, ENDLESS).await.expect("result") });
    ground.pass(MOMENT).await;
    ground.finish(&ground.claim_one(LEASE).await.lease, done()).await;
    ground.pass(SHORT).await;
    let result = wait.try_join_next().expect("the wait is over").expect("no panic");
    assert_eq!(result, ResultState::NotFound, "it has ended and left nothing");
    let elsewhere = ground.broker.result(&unique("elsewhere"), &id, Duration::ZERO).await.expect("result");
    assert_eq!(elsewhere, ResultState::NotFound);
}

/// A result that is to be kept for no time is not kept.
pub async fn a_result_of_no_time_is_not_kept(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_result_of_no_time_is_not_kept").await;
    let jobs = [(); 20].map(|()| ground.job());
    ground.broker.enqueue(&jobs, RequestId::unique()).await.expect("enqueue");
    let finish = |job: ClaimedJob| Finish { lease: job.lease, outcome: done_with("result", Some(Duration::ZERO)) };
    let finished: Vec<Finish> = ground.claim(20, LEASE).await.into_iter().map(finish).collect();
    ground.call(&finished, 0, LEASE, ground.token()).await;
    let again = ground.broker.enqueue(&jobs, RequestId::unique()).await.expect("enqueue");
    assert_eq!(again, [Enqueued::New; 20], "no id is taken");
}
