use std::time::Duration;

use super::{Fixture, Ground, LEASE, MOMENT, SHORT, done, done_with, failure, give_back, ids, retry};
use crate::broker::{Enqueued, Finished, GiveBack, JobState, MAX_FAILURES, NewJob, Outcome};
use crate::job::Failure;

/// A job that ended and left nothing is unknown, and its id is free.
pub async fn an_ended_job_is_gone(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "an_ended_job_is_gone").await;
    let job = ground.job();
    ground.add(job.clone()).await;
    let claimed = ground.claim_one(SHORT).await;
    assert_eq!(ground.finish(&claimed.lease, done()).await, Finished::Applied);
    assert!(ground.record(&job.id).await.is_none());
    ground.pass(SHORT + MOMENT).await;
    ground.assert_nothing_due("its lease has ended with it").await;
    assert_eq!(ground.add(job).await, Enqueued::New);
}

/// A retry waits for its delay, counts its attempt, and adds its failure to the history.
pub async fn retry_waits_for_its_delay(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "retry_waits_for_its_delay").await;
    let id = ground.add_one().await;
    let job = ground.claim_one(LEASE).await;
    assert_eq!(ground.finish(&job.lease, retry(SHORT)).await, Finished::Applied);
    let record = ground.record(&id).await.expect("it waits");
    assert_eq!((record.state, record.attempt), (JobState::Deferred, 1));
    assert_eq!(record.failures, [failure("not this time")]);
    ground.assert_nothing_due("its delay has not passed").await;
    ground.pass(SHORT + MOMENT).await;
    let again = ground.claim_one(LEASE).await;
    assert_eq!((again.lease.id, again.attempt), (id, 2));
    assert!(again.due_at > job.due_at, "it says when it was due this time");
}

/// A retry whose failure was a higher attempt than the broker has counted raises the count to it.
pub async fn a_retry_can_raise_the_count(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_retry_can_raise_the_count").await;
    ground.add_one().await;
    for (failed, next) in [(7, 8), (3, 9)] {
        let failure = Failure { attempt: failed, ..failure("not this time") };
        let job = ground.claim_one(LEASE).await;
        ground.finish(&job.lease, Outcome::Retry { delay: Duration::ZERO, failure: failure.into() }).await;
        let job = ground.claim_one(LEASE).await;
        assert_eq!(job.attempt, next, "after attempt {failed} failed");
        ground.finish(&job.lease, give_back(GiveBack::Stop)).await;
    }
}

/// An attempt that is given back does not count; the next one has its number.
pub async fn give_back_is_not_counted(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "give_back_is_not_counted").await;
    let id = ground.add_one().await;
    ground.finish(&ground.claim_one(LEASE).await.lease, retry(Duration::ZERO)).await;
    for why in [GiveBack::Stop, GiveBack::Snooze, GiveBack::UnknownTask] {
        let job = ground.claim_one(LEASE).await;
        assert_eq!(job.attempt, 2, "before it is given back: {why:?}");
        assert_eq!(ground.finish(&job.lease, give_back(why)).await, Finished::Applied);
        assert_eq!(ground.record(&id).await.expect("it waits").attempt, 1, "given back: {why:?}");
    }
    let record = ground.record(&id).await.expect("it waits");
    assert_eq!(record.failures.len(), 1, "being given back is no failure");
}

/// Given back without a delay, a job is due at once; with one, when it has passed.
pub async fn give_back_is_due_at_once(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "give_back_is_due_at_once").await;
    let id = ground.add_one().await;
    let job = ground.claim_one(LEASE).await;
    ground.finish(&job.lease, give_back(GiveBack::Stop)).await;
    let job = ground.claim_one(LEASE).await;
    ground.finish(&job.lease, Outcome::GiveBack { delay: SHORT, why: GiveBack::Snooze }).await;
    ground.assert_nothing_due("it snoozes").await;
    ground.pass(SHORT + MOMENT).await;
    assert_eq!(ids(&ground.claim(1, LEASE).await), [id]);
}

/// What a stopping worker gives back has its place again, before what was added after it.
pub async fn a_stop_keeps_places(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_stop_keeps_places").await;
    let mut expected = Vec::new();
    for _ in 0..3 {
        expected.push(ground.add_one().await);
        ground.pass(Duration::from_millis(5)).await;
    }
    for again in [false, true] {
        let job = ground.claim_one(LEASE).await;
        assert_eq!(job.lease.id, expected[0], "it is the first one; again: {again}");
        ground.finish(&job.lease, give_back(GiveBack::Stop)).await;
        assert_eq!(ground.record(&expected[0]).await.expect("it waits").due_at, job.due_at);
    }
    assert_eq!(ids(&ground.claim(3, LEASE).await), expected);
}

/// A claim says since when no worker knew the task, as long as nothing else came of the job between.
pub async fn unknown_since_is_unbroken(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "unknown_since_is_unbroken").await;
    ground.add_one().await;
    let job = ground.claim_one(LEASE).await;
    assert_eq!(job.unknown_since, None);
    let unknown = give_back(GiveBack::UnknownTask);
    ground.finish(&job.lease, unknown.clone()).await;
    let job = ground.claim_one(LEASE).await;
    let since = job.unknown_since.expect("it was given back as unknown");
    ground.pass(MOMENT).await;
    ground.finish(&job.lease, unknown.clone()).await;
    let job = ground.claim_one(LEASE).await;
    assert_eq!(job.unknown_since, Some(since), "since the first time");
    ground.finish(&job.lease, unknown.clone()).await;
    for breaking in [retry(Duration::ZERO), give_back(GiveBack::Snooze), give_back(GiveBack::Stop)] {
        let job = ground.claim_one(LEASE).await;
        assert!(job.unknown_since >= Some(since), "unknown again: {:?}", job.unknown_since);
        ground.finish(&job.lease, breaking.clone()).await;
        let job = ground.claim_one(LEASE).await;
        assert_eq!(job.unknown_since, None, "broken by {breaking:?}");
        ground.finish(&job.lease, unknown.clone()).await;
    }
}

/// What failed before a job ended well is known for as long as its result, and is not that of the next job of its id.
pub async fn an_end_keeps_the_history(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "an_end_keeps_the_history").await;
    let job = ground.job();
    ground.add(job.clone()).await;
    ground.finish(&ground.claim_one(LEASE).await.lease, retry(Duration::ZERO)).await;
    ground.finish(&ground.claim_one(LEASE).await.lease, done_with("at last", Some(LEASE))).await;
    let ended = ground.record(&job.id).await.expect("its result is kept");
    assert_eq!((ended.state, ended.result.as_deref()), (JobState::Complete, Some(&b"at last"[..])));
    assert_eq!(ended.failures, [failure("not this time")]);

    let next = NewJob { replace_finished: true, ..job };
    assert_eq!(ground.add(next.clone()).await, Enqueued::New);
    assert_eq!(ground.record(&next.id).await.expect("it waits").failures, []);
    ground.finish(&ground.claim_one(LEASE).await.lease, done_with("at once", Some(LEASE))).await;
    let ended = ground.record(&next.id).await.expect("its result is kept");
    assert_eq!((ended.state, ended.failures), (JobState::Complete, Vec::new()));
}

/// A job's history keeps the last `MAX_FAILURES` failures.
pub async fn history_has_a_bound(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "history_has_a_bound").await;
    let id = ground.add_one().await;
    for attempt in 0..MAX_FAILURES + 5 {
        let job = ground.claim_one(LEASE).await;
        let failure = failure(&format!("failure {attempt}"));
        ground.finish(&job.lease, Outcome::Retry { delay: Duration::ZERO, failure: failure.into() }).await;
    }
    let record = ground.record(&id).await.expect("it waits");
    let kept: Vec<_> = record.failures.iter().map(|failure| failure.message.clone()).collect();
    let expected: Vec<_> = (5..MAX_FAILURES + 5).map(|attempt| format!("failure {attempt}")).collect();
    assert_eq!(kept, expected, "the newest, oldest first");
}

/// `hold_id` keeps an id taken for so long after the end, also when nothing else is kept.
pub async fn hold_id_keeps_the_id_taken(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "hold_id_keeps_the_id_taken").await;
    let held = Outcome::End { result: None, dead: None, hold_id: SHORT };
    let (job, replaced) = (ground.job(), ground.job());
    for job in [&job, &replaced] {
        ground.add(job.clone()).await;
        assert_eq!(ground.finish(&ground.claim_one(LEASE).await.lease, held.clone()).await, Finished::Applied);
    }
    assert_eq!(ground.add(job.clone()).await, Enqueued::Duplicate, "it is held");
    let replacing = NewJob { replace_finished: true, ..replaced };
    assert_eq!(ground.add(replacing).await, Enqueued::New, "unless the caller replaces what has finished");
    ground.pass(SHORT + MOMENT).await;
    assert_eq!(ground.add(job).await, Enqueued::New, "it is held no longer");
}

/// An id was held for the job that has been replaced: it is free as soon as the new one has ended.
pub async fn a_replaced_job_holds_no_more(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_replaced_job_holds_no_more").await;
    let job = ground.job();
    ground.add(job.clone()).await;
    let held = Outcome::End { result: None, dead: None, hold_id: LEASE };
    ground.finish(&ground.claim_one(LEASE).await.lease, held).await;
    assert_eq!(ground.add(NewJob { replace_finished: true, ..job.clone() }).await, Enqueued::New);
    ground.finish(&ground.claim_one(LEASE).await.lease, done()).await;
    assert_eq!(ground.add(job).await, Enqueued::New);
}

/// Whoever lost a job's lease had started it: from then on its task is known.
pub async fn a_lost_lease_ends_unknown_since(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_lost_lease_ends_unknown_since").await;
    ground.add_one().await;
    ground.finish(&ground.claim_one(LEASE).await.lease, give_back(GiveBack::UnknownTask)).await;
    assert!(ground.claim_one(SHORT).await.unknown_since.is_some(), "given back as unknown");
    ground.pass(SHORT + MOMENT).await;
    assert_eq!(ground.claim_one(LEASE).await.unknown_since, None, "a worker died running it");
}

/// A retry that raises the count of attempts leaves that of deliveries as it is.
pub async fn a_raised_count_is_no_delivery(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_raised_count_is_no_delivery").await;
    ground.add_one().await;
    let failure = Failure { attempt: 5, ..failure("not this time") };
    let outcome = Outcome::Retry { delay: Duration::ZERO, failure: failure.into() };
    ground.finish(&ground.claim_one(LEASE).await.lease, outcome).await;
    let job = ground.claim_one(LEASE).await;
    assert_eq!((job.attempt, job.delivery), (6, 2));
}
