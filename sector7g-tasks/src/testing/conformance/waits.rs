use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{ENDLESS, Fixture, Ground, LEASE, LONG, MOMENT, SHORT, ended, give_back, ids, unique};
use crate::broker::{Due, GiveBack, NewJob, RequestId};

/// A wait returns at once when something is due already.
pub async fn wait_returns_for_what_is_due(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "wait_returns_for_what_is_due").await;
    ground.add_one().await;
    let wait = ground.broker.wait(std::slice::from_ref(&ground.queue), ENDLESS, ENDLESS);
    timeout(LONG, wait).await.expect("it ends at once").expect("wait");
}

/// A wait for nothing is over at its timeout, not before it and not much later.
pub async fn wait_ends_at_its_timeout(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "wait_ends_at_its_timeout").await;
    let queues = [ground.queue.clone()];
    let wait = ground.broker.wait(&queues, ENDLESS, SHORT);
    timeout(LONG, wait).await.expect("it ends by itself").expect("wait");
    timeout(LONG, ground.broker.wait(&queues, ENDLESS, Duration::ZERO)).await.expect("at once").expect("wait");
}

/// A job that is due at once ends a wait under way.
pub async fn enqueue_ends_a_wait(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "enqueue_ends_a_wait").await;
    let mut waits = JoinSet::new();
    ground.wait_on(&[&ground.queue], &mut waits).await;
    assert_eq!(ended(&mut waits), 0, "nothing is due");
    ground.add_one().await;
    ground.pass(SHORT).await;
    assert_eq!(ended(&mut waits), 1);
}

/// A deferred job ends a wait at its due time: no later, and without waking its waiter again and again before.
pub async fn deferred_wakes_exactly(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "deferred_wakes_exactly").await;
    let now = ground.broker.clock().now();
    let due = now + SHORT;
    let job = NewJob { due: Due::At(due), ..ground.job() };
    ground.add(job.clone()).await;
    let queues = [ground.queue.clone()];
    for wakes in 0.. {
        assert!(wakes < 10, "woken too early too often");
        ground.broker.wait(&queues, ENDLESS, ENDLESS).await.expect("wait");
        let claimed = ground.call(&[], 1, LEASE, ground.token()).await;
        if !claimed.jobs.is_empty() {
            let late = claimed.now.since(due);
            assert!(claimed.now >= due && late < 5 * MOMENT, "claimed {late:?} late");
            return;
        }
    }
}

/// A job that is due earlier than what a wait was waiting for ends it earlier.
pub async fn an_earlier_job_shortens_a_wait(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "an_earlier_job_shortens_a_wait").await;
    ground.add(NewJob { due: Due::In(LEASE), ..ground.job() }).await;
    let mut waits = JoinSet::new();
    ground.wait_on(&[&ground.queue], &mut waits).await;
    let earlier = NewJob { due: Due::In(SHORT), ..ground.job() };
    ground.add(earlier.clone()).await;
    ground.pass(SHORT + 2 * MOMENT).await;
    assert_eq!(ended(&mut waits), 1);
    assert_eq!(ids(&ground.claim(10, LEASE).await), [earlier.id]);
}

/// A job that is given back ends a wait under way.
pub async fn give_back_ends_a_wait(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "give_back_ends_a_wait").await;
    ground.add_one().await;
    let job = ground.claim_one(LEASE).await;
    let mut waits = JoinSet::new();
    ground.wait_on(&[&ground.queue], &mut waits).await;
    assert_eq!(ended(&mut waits), 0, "the job is leased");
    ground.finish(&job.lease, give_back(GiveBack::Stop)).await;
    ground.pass(SHORT).await;
    assert_eq!(ended(&mut waits), 1);
}

/// A lease that runs out ends a wait under way, also when it began after the wait.
pub async fn lost_lease_ends_a_wait(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "lost_lease_ends_a_wait").await;
    let mut waits = JoinSet::new();
    for _ in 0..2 {
        ground.wait_on(&[&ground.queue], &mut waits).await;
    }
    let id = ground.add_one().await;
    ground.pass(MOMENT).await;
    ground.claim_one(SHORT).await;
    ground.pass(SHORT + 2 * MOMENT).await;
    assert_eq!(ended(&mut waits), 2, "one for the job, one for its lost lease");
    assert_eq!(ids(&ground.claim(1, LEASE).await), [id]);
}

/// A wait on several queues is ended by a job of any of them.
pub async fn a_wait_covers_its_queues(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_wait_covers_its_queues").await;
    let (second, third) = (unique("second"), unique("third"));
    for queue in [&ground.queue, &second, &third] {
        let mut waits = JoinSet::new();
        ground.wait_on(&[&ground.queue, &second, &third], &mut waits).await;
        ground.add(NewJob { queue: unique("none of them"), ..ground.job() }).await;
        ground.pass(MOMENT).await;
        assert_eq!(ended(&mut waits), 0, "nothing is due in these queues");
        let due = NewJob { queue: queue.clone(), ..ground.job() };
        ground.add(due).await;
        ground.pass(SHORT).await;
        assert_eq!(ended(&mut waits), 1, "{queue}");
        let other = Ground { queue: queue.clone(), broker: ground.broker.clone(), fixture };
        other.claim_one(LEASE).await;
    }
}

/// One enqueued job ends the wait of one worker; the others wait on.
pub async fn one_job_wakes_one_waiter(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "one_job_wakes_one_waiter").await;
    let mut waits = JoinSet::new();
    for _ in 0..3 {
        ground.wait_on(&[&ground.queue], &mut waits).await;
    }
    for left in [2, 1, 0] {
        ground.add_one().await;
        timeout(LONG, waits.join_next()).await.expect("one is woken").expect("a wait").expect("no panic");
        ground.claim_one(LEASE).await;
        ground.pass(SHORT).await;
        assert_eq!((ended(&mut waits), waits.len()), (0, left), "the others wait on");
    }
}

/// A claim that leaves due jobs behind wakes another waiting worker.
pub async fn what_is_left_wakes_another_waiter(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "what_is_left_wakes_another_waiter").await;
    let mut waits = JoinSet::new();
    for _ in 0..3 {
        ground.wait_on(&[&ground.queue], &mut waits).await;
    }
    let jobs: Vec<NewJob> = (0..3).map(|_| ground.job()).collect();
    ground.broker.enqueue(&jobs, RequestId::unique()).await.expect("enqueue");
    for _ in 0..3 {
        timeout(LONG, waits.join_next()).await.expect("one is woken").expect("a wait").expect("no panic");
        ground.claim_one(LEASE).await;
    }
}

/// A wait that is dropped after it was woken does not take the wake-up with it.
pub async fn a_dropped_waiter_passes_the_wake_on(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_dropped_waiter_passes_the_wake_on").await;
    let queues = [ground.queue.clone()];
    let mut dropped = Box::pin(ground.broker.wait(&queues, ENDLESS, ENDLESS));
    let unfinished = timeout(MOMENT, &mut dropped).await;
    assert!(unfinished.is_err(), "nothing is due");
    let mut waits = JoinSet::new();
    ground.wait_on(&[&ground.queue], &mut waits).await;
    ground.add_one().await; // meant for the first wait, which is not polled any more
    drop(dropped);
    ground.pass(SHORT).await;
    assert_eq!(ended(&mut waits), 1, "the other worker was woken");
}
