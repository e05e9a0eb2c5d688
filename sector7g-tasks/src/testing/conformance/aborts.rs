use std::slice::from_ref;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{ENDLESS, Fixture, Ground, LEASE, LONG, MOMENT, SHORT, done, done_with, give_back, retry, unique};
use crate::broker::{AbortMark, Aborts, Due, Finish, Finished, GiveBack, JobId, NewJob, QueueName};

async fn abort<F: Fixture>(ground: &Ground<'_, F>, id: &JobId) -> bool {
    ground.broker.abort(&ground.queue, id).await.expect("abort")
}

async fn aborts<F: Fixture>(ground: &Ground<'_, F>, since: AbortMark, longest: Duration) -> Aborts {
    let queues = [ground.queue.clone()];
    let aborts = ground.broker.aborts(&queues, since, MOMENT, longest);
    timeout(LONG, aborts).await.expect("what is known is told at once").expect("aborts")
}

/// An abort of a job that neither waits nor runs is answered with false and leaves no trace.
pub async fn abort_of_an_unknown_job_is_false(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "abort_of_an_unknown_job_is_false").await;
    let never = ground.job();
    let ended = ground.add_one().await;
    ground.finish(&ground.claim_one(LEASE).await.lease, done_with("result", Some(LEASE))).await;
    assert!(!abort(&ground, &never.id).await, "it never was");
    assert!(!abort(&ground, &ended).await, "it has ended");
    let elsewhere = NewJob { queue: unique("elsewhere"), ..ground.job() };
    ground.add(elsewhere.clone()).await;
    assert!(!abort(&ground, &elsewhere.id).await, "it is in another queue");
    ground.add(never).await;
    assert!(!ground.claim_one(LEASE).await.abort_requested, "the request was not kept for a later job");
}

/// A waiting job that is to be aborted is due at once, and says so when it is claimed.
pub async fn abort_makes_a_waiting_job_due(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "abort_makes_a_waiting_job_due").await;
    let job = NewJob { due: Due::In(LEASE), ..ground.job() };
    ground.add(job.clone()).await;
    let mut waits = JoinSet::new();
    ground.wait_on(&[&ground.queue], &mut waits).await;
    assert!(abort(&ground, &job.id).await);
    ground.pass(SHORT).await;
    assert_eq!(super::ended(&mut waits), 1, "a worker is woken for it");
    assert!(ground.record(&job.id).await.expect("it waits").abort_requested);
    let claimed = ground.claim_one(LEASE).await;
    assert_eq!((&claimed.lease.id, claimed.abort_requested), (&job.id, true));
    assert_eq!(claimed.payload, Some(job.payload), "its end is recorded in its own codec");
}

/// A running job that is to be aborted is named to those who watch, until it ends.
pub async fn abort_names_a_running_job(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "abort_names_a_running_job").await;
    let id = ground.add_one().await;
    let job = ground.claim_one(LEASE).await;
    let before = aborts(&ground, AbortMark::default(), Duration::ZERO).await;
    assert_eq!(before.ids, [], "no request stands");
    assert!(abort(&ground, &id).await);
    assert!(abort(&ground, &id).await, "asking again is no mistake");
    let found = aborts(&ground, before.mark, ENDLESS).await;
    assert_eq!(found.ids, from_ref(&id));
    assert_eq!(aborts(&ground, AbortMark::default(), ENDLESS).await.ids, from_ref(&id), "also to those who come later");
    assert!(ground.record(&id).await.expect("it runs").abort_requested);
    ground.finish(&job.lease, done()).await;
    assert_eq!(aborts(&ground, AbortMark::default(), Duration::ZERO).await.ids, []);
}

/// A watch that has begun ends when an abort is asked for, and not for requests before its mark.
pub async fn abort_ends_its_watch(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "abort_ends_its_watch").await;
    let first = ground.add_one().await;
    let second = ground.add_one().await;
    ground.claim(2, LEASE).await;
    assert!(abort(&ground, &first).await);
    let mark = aborts(&ground, AbortMark::default(), ENDLESS).await.mark;
    let (broker, queues) = (Arc::clone(&ground.broker), [ground.queue.clone()]);
    let mut watch = JoinSet::new();
    watch.spawn(async move { broker.aborts(&queues, mark, MOMENT, ENDLESS).await.expect("aborts") });
    ground.pass(SHORT).await;
    assert!(watch.try_join_next().is_none(), "the first request is known already");
    assert!(abort(&ground, &second).await);
    ground.pass(SHORT).await;
    let found = watch.try_join_next().expect("the watch has ended").expect("no panic");
    assert!(found.ids.contains(&second), "the second request is new: {found:?}");
    let found = aborts(&ground, found.mark, MOMENT).await;
    assert_eq!(sorted(found.ids), sorted(vec![first, second]), "at its timeout a watch tells all that stand");
}

fn sorted(mut ids: Vec<JobId>) -> Vec<JobId> {
    ids.sort_unstable();
    ids
}

/// A request that came while the job ran still stands when it is not over: it does not wait for its delay.
pub async fn abort_outlives_an_attempt(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "abort_outlives_an_attempt").await;
    let delayed = crate::broker::Outcome::GiveBack { delay: LEASE, why: GiveBack::Snooze };
    for outcome in [Some(retry(LEASE)), Some(delayed), Some(give_back(GiveBack::Stop)), None] {
        let id = ground.add_one().await;
        let job = ground.claim_one(SHORT).await;
        assert!(abort(&ground, &id).await);
        match &outcome {
            Some(outcome) => drop(ground.finish(&job.lease, outcome.clone()).await),
            None => ground.pass(SHORT + MOMENT).await,
        }
        let again = ground.claim_one(LEASE).await;
        assert_eq!((&again.lease.id, again.abort_requested), (&id, true), "after {outcome:?}");
        ground.finish(&again.lease, done()).await;
    }
}

/// A request ends with its job: a later job of the same id is not aborted by it.
pub async fn aborts_end_with_their_jobs(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "aborts_end_with_their_jobs").await;
    let job = ground.job();
    ground.add(job.clone()).await;
    assert!(abort(&ground, &job.id).await);
    ground.finish(&ground.claim_one(LEASE).await.lease, done()).await;
    ground.add(job).await;
    assert!(!ground.claim_one(LEASE).await.abort_requested);
    assert_eq!(aborts(&ground, AbortMark::default(), Duration::ZERO).await.ids, []);
}

/// A watch tells requests for jobs of its own queues only.
pub async fn aborts_are_of_the_queues_asked_for(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "aborts_are_of_the_queues_asked_for").await;
    let other: QueueName = unique("other");
    let there = NewJob { queue: other.clone(), ..ground.job() };
    ground.add(there.clone()).await;
    let here = ground.add_one().await;
    assert!(abort(&ground, &here).await);
    assert!(ground.broker.abort(&other, &there.id).await.expect("abort"));
    assert_eq!(aborts(&ground, AbortMark::default(), ENDLESS).await.ids, from_ref(&here));
    let both = [ground.queue.clone(), other];
    let found = ground.broker.aborts(&both, AbortMark::default(), MOMENT, LONG).await.expect("aborts");
    assert_eq!(sorted(found.ids), sorted(vec![here, there.id]));
}

/// A due job that is to be aborted keeps its place before those that became due after it.
pub async fn abort_keeps_the_place_of_a_due_job(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "abort_keeps_the_place_of_a_due_job").await;
    let first = ground.add_one().await;
    ground.pass(MOMENT).await;
    ground.add_one().await;
    ground.pass(MOMENT).await;
    assert!(abort(&ground, &first).await);
    assert_eq!(super::ids(&ground.claim(1, LEASE).await), [first]);
}

/// A request stands when somebody reports the end of a job that is not his any more.
pub async fn a_stale_finish_leaves_the_abort(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_stale_finish_leaves_the_abort").await;
    let id = ground.add_one().await;
    let stale = ground.claim_one(SHORT).await.lease;
    ground.pass(SHORT + MOMENT).await;
    ground.claim_one(LEASE).await;
    assert!(abort(&ground, &id).await);
    ground.finish(&stale, done()).await;
    assert_eq!(aborts(&ground, AbortMark::default(), Duration::ZERO).await.ids, [id], "it runs on elsewhere");
}

/// A request stands when the end of an earlier job of its id is told again, as its answer was lost.
pub async fn a_repeated_finish_leaves_the_next_jobs_abort(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_repeated_finish_leaves_the_next_jobs_abort").await;
    let job = ground.job();
    ground.add(job.clone()).await;
    let ended = [Finish { lease: ground.claim_one(LEASE).await.lease, outcome: done() }];
    let token = ground.token();
    ground.call(&ended, 0, LEASE, token).await;
    ground.add(job.clone()).await;
    ground.claim_one(LEASE).await;
    assert!(abort(&ground, &job.id).await);
    assert_eq!(ground.call(&ended, 0, LEASE, token).await.finished, [Finished::Applied], "it is answered as before");
    assert_eq!(aborts(&ground, AbortMark::default(), Duration::ZERO).await.ids, [job.id], "the next one runs on");
}
