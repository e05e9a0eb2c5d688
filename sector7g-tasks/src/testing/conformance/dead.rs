use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{Fixture, Ground, LEASE, MOMENT, SHORT, dead, done, done_with, ended, failure, ids, retry};
use crate::broker::{
    Due, Enqueued, Finished, JobFilter, JobId, JobRecord, JobState, KeptResult, NewJob, Outcome, ResultState,
};

async fn dead_letters<F: Fixture>(ground: &Ground<'_, F>) -> Vec<JobRecord> {
    ground.broker.jobs(&ground.queue, JobFilter::Dead, None, 100).await.expect("jobs").jobs
}

async fn retry_dead<F: Fixture>(ground: &Ground<'_, F>, ids: &[JobId]) -> Vec<bool> {
    ground.broker.retry_dead(&ground.queue, ids).await.expect("retry_dead")
}

/// A job that failed for good is kept with its payload, its result, its attempts and its history.
pub async fn a_dead_letter_is_kept_whole(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_dead_letter_is_kept_whole").await;
    let job = NewJob { payload: Bytes::from_static(b"poison"), ..ground.job() };
    ground.add(job.clone()).await;
    ground.finish(&ground.claim_one(LEASE).await.lease, retry(Duration::ZERO)).await;
    ground.pass(MOMENT).await;
    let claimed = ground.claim_one(LEASE).await;
    let record = Bytes::from_static(b"the error");
    let outcome = Outcome::End {
        result: Some(KeptResult { record: record.clone(), keep: Some(LEASE) }),
        dead: Some(failure("for good").into()),
        hold_id: Duration::ZERO,
    };
    assert_eq!(ground.finish(&claimed.lease, outcome).await, Finished::Applied);
    let letters = dead_letters(&ground).await;
    let shown = ground.record(&job.id).await.expect("it is kept");
    for letter in [&letters[0], &shown] {
        assert_eq!((&letter.id, letter.state, letter.attempt), (&job.id, JobState::Dead, 2));
        assert_eq!((&letter.payload, &letter.result), (&Some(job.payload.clone()), &Some(record.clone())));
        assert_eq!(letter.failures, [failure("not this time"), failure("for good")], "its whole history");
        assert!(letter.due_at > claimed.due_at, "when it died");
    }
    assert_eq!(letters.len(), 1);
    assert!(
        matches!(ground.result(&job.id).await, ResultState::Ready(_)),
        "those who ask for its result get the error"
    );
    ground.assert_nothing_due("it does not run again by itself").await;
}

/// A dead letter shows its own result, not that of a later job of its id.
pub async fn a_dead_letter_shows_no_later_result(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_dead_letter_shows_no_later_result").await;
    let id = ground.add_dead().await;
    ground.add(NewJob { id: id.clone(), replace_finished: true, ..ground.job() }).await;
    let record = Bytes::from_static(b"it ended well");
    let result = Some(KeptResult { record: record.clone(), keep: None });
    let outcome = Outcome::End { result, dead: None, hold_id: Duration::ZERO };
    assert_eq!(ground.finish(&ground.claim_one(LEASE).await.lease, outcome).await, Finished::Applied);
    let letters = dead_letters(&ground).await;
    assert_eq!(letters.iter().map(|letter| (&letter.id, &letter.result)).collect::<Vec<_>>(), [(&id, &None)]);
    assert_eq!(ground.record(&id).await.and_then(|shown| shown.result), Some(record), "the newer end is shown");
}

/// Dead letters are listed newest first, page by page.
pub async fn dead_letters_come_newest_first(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "dead_letters_come_newest_first").await;
    let mut expected = Vec::new();
    for _ in 0..5 {
        expected.insert(0, ground.add_dead().await);
        ground.pass(Duration::from_millis(5)).await;
    }
    let (mut found, mut after) = (Vec::new(), None);
    for size in [2, 2, 1] {
        let page = ground.broker.jobs(&ground.queue, JobFilter::Dead, after, 2).await.expect("jobs");
        assert_eq!(page.jobs.len(), size);
        found.extend(page.jobs.into_iter().map(|job| job.id));
        after = page.next;
    }
    assert_eq!((found, after), (expected, None));
}

/// A dead letter does not keep its id taken.
pub async fn a_dead_letter_does_not_keep_its_id(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_dead_letter_does_not_keep_its_id").await;
    let id = ground.add_dead().await;
    let again = NewJob { id: id.clone(), ..ground.job() };
    assert_eq!(ground.add(again).await, Enqueued::New);
    assert_eq!(ground.record(&id).await.expect("it lives").state, JobState::Queued, "the living one is shown");
    assert_eq!(dead_letters(&ground).await.len(), 1, "the dead letter is still there");
}

/// Of two deaths of one id the newer is kept.
pub async fn a_newer_death_replaces_the_older(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_newer_death_replaces_the_older").await;
    let id = ground.add_dead().await;
    let other = ground.add_dead().await;
    ground.pass(Duration::from_millis(5)).await;
    ground.add(NewJob { id: id.clone(), payload: Bytes::from_static(b"newer"), ..ground.job() }).await;
    let job = ground.claim_one(LEASE).await;
    ground.finish(&job.lease, dead(failure("again"))).await;
    let letters = dead_letters(&ground).await;
    assert_eq!(letters.iter().map(|letter| letter.id.clone()).collect::<Vec<_>>(), [id, other]);
    assert_eq!(
        (&letters[0].payload, &letters[0].failures),
        (&Some(Bytes::from_static(b"newer")), &vec![failure("again")])
    );
}

/// A dead letter that is retried is a waiting job of the same id and payload, due now, with no attempts and no result.
pub async fn a_dead_letter_can_be_retried(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_dead_letter_can_be_retried").await;
    let job = NewJob { payload: Bytes::from_static(b"poison"), expires_in: Some(SHORT), ..ground.job() };
    ground.add(job.clone()).await;
    let record = Bytes::from_static(b"the error");
    let kept = Some(KeptResult { record, keep: Some(LEASE) });
    let outcome = Outcome::End { result: kept, dead: Some(failure("for good").into()), hold_id: LEASE };
    ground.finish(&ground.claim_one(LEASE).await.lease, outcome).await;
    ground.pass(SHORT + MOMENT).await;
    let mut waits = JoinSet::new();
    ground.wait_on(&[&ground.queue], &mut waits).await;
    let unknown = JobId::generate();
    assert_eq!(retry_dead(&ground, &[unknown, job.id.clone(), job.id.clone()]).await, [false, true, false]);
    ground.pass(SHORT).await;
    assert_eq!(ended(&mut waits), 1, "a worker is woken for it");
    assert_eq!(ground.result(&job.id).await, ResultState::Pending, "its stored result is gone");
    assert_eq!(dead_letters(&ground).await.len(), 0);
    let claimed = ground.claim_one(LEASE).await;
    assert_eq!((&claimed.lease.id, claimed.payload), (&job.id, Some(job.payload)), "it does not expire any more");
    assert_eq!(claimed.attempt, 1, "attempts are counted anew");
    assert_eq!(ground.record(&job.id).await.expect("it runs").failures, [], "with a new history");
    ground.finish(&claimed.lease, done()).await;
    assert_eq!(ground.result(&job.id).await, ResultState::NotFound, "the earlier one's does not come back");
}

/// A dead letter whose id lives again is not retried, and stays.
pub async fn a_dead_letter_stays_while_its_id_lives(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_dead_letter_stays_while_its_id_lives").await;
    let id = ground.add_dead().await;
    ground.add(NewJob { id: id.clone(), due: Due::In(LEASE), ..ground.job() }).await;
    assert_eq!(retry_dead(&ground, std::slice::from_ref(&id)).await, [false]);
    assert_eq!(dead_letters(&ground).await.len(), 1);
    ground.assert_nothing_due("the living job keeps its time").await;
}

/// A dead letter that is discarded is gone; the answer says which were there.
pub async fn a_dead_letter_can_be_discarded(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_dead_letter_can_be_discarded").await;
    let (first, second) = (ground.add_dead().await, ground.add_dead().await);
    let living = ground.add_one().await;
    let asked = [living.clone(), first.clone(), first.clone()];
    let dropped = ground.broker.discard_dead(&ground.queue, &asked).await.expect("discard_dead");
    assert_eq!(dropped, [false, true, false]);
    assert!(ground.record(&first).await.is_none());
    assert_eq!(retry_dead(&ground, &[first]).await, [false]);
    let left = dead_letters(&ground).await;
    assert_eq!(left.iter().map(|letter| &letter.id).collect::<Vec<_>>(), [&second]);
    let claimed = ground.claim(10, LEASE).await;
    assert_eq!(ids(&claimed), [living], "living jobs are no dead letters");
    ground.finish(&claimed[0].lease, done()).await;
}

/// Of an id's dead letter and the result of a later job, the later is shown; without that result the letter.
pub async fn the_newer_of_two_ends_is_shown(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "the_newer_of_two_ends_is_shown").await;
    let id = ground.add_dead().await;
    ground.add(NewJob { id: id.clone(), ..ground.job() }).await;
    ground.finish(&ground.claim_one(LEASE).await.lease, done_with("result", Some(SHORT))).await;
    assert_eq!(ground.record(&id).await.expect("kept").state, JobState::Complete);
    ground.pass(SHORT + MOMENT).await;
    assert_eq!(ground.record(&id).await.expect("kept").state, JobState::Dead);
    ground.add(NewJob { id: id.clone(), ..ground.job() }).await;
    let kept = Some(KeptResult { record: Bytes::from_static(b"the error"), keep: Some(LEASE) });
    let outcome = Outcome::End { result: kept, dead: Some(failure("again").into()), hold_id: Duration::ZERO };
    ground.finish(&ground.claim_one(LEASE).await.lease, outcome).await;
    assert_eq!(ground.record(&id).await.expect("kept").state, JobState::Dead, "its newest end");
}

/// A dead letter's id was held for its end alone: retried, it is free as soon as the job has ended again.
pub async fn a_retried_dead_letter_is_not_held(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_retried_dead_letter_is_not_held").await;
    let id = ground.add_one().await;
    let outcome = Outcome::End { result: None, dead: Some(failure("for good").into()), hold_id: LEASE };
    ground.finish(&ground.claim_one(LEASE).await.lease, outcome).await;
    assert_eq!(retry_dead(&ground, std::slice::from_ref(&id)).await, [true]);
    ground.finish(&ground.claim_one(LEASE).await.lease, done()).await;
    assert_eq!(ground.add(NewJob { id, ..ground.job() }).await, Enqueued::New);
}

/// A dead letter of a job that had expired has nothing to run, and stays.
pub async fn an_expired_dead_letter_is_not_retried(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "an_expired_dead_letter_is_not_retried").await;
    let job = NewJob { expires_in: Some(SHORT), ..ground.job() };
    ground.add(job.clone()).await;
    ground.pass(SHORT + MOMENT).await;
    ground.finish(&ground.claim_one(LEASE).await.lease, dead(failure("expired"))).await;
    assert_eq!(retry_dead(&ground, std::slice::from_ref(&job.id)).await, [false]);
    let letters = dead_letters(&ground).await;
    assert_eq!((letters.len(), &letters[0].payload), (1, &None));
}
