use std::time::Duration;

use bytes::Bytes;

use super::{Fixture, Ground, LATE, LEASE, MOMENT, SHORT, dead, done, done_with, failure, give_back, retry};
use crate::broker::{
    BrokerError, Claim, Extended, Finished, GiveBack, JobId, JobState, Lease, LeaseToken, ResultState,
};
use crate::job::FailureKind;

/// A lease of less than a millisecond is refused.
pub async fn a_lease_has_a_least_length(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_lease_has_a_least_length").await;
    ground.add_one().await;
    for lease in [Duration::ZERO, Duration::from_micros(999)] {
        let request = Claim { queue: &ground.queue, finished: &[], max: 1, lease, token: ground.token() };
        let answer = ground.broker.claim(&request).await;
        assert!(matches!(answer, Err(BrokerError::Refused(_))), "{lease:?}: {answer:?}");
        let answer = ground.broker.extend(&ground.queue, &[], lease).await;
        assert!(matches!(answer, Err(BrokerError::Refused(_))), "{lease:?}: {answer:?}");
    }
    assert_eq!(ground.claim_one(LEASE).await.attempt, 1, "nothing was leased by then");
}

/// A job is nobody else's while its lease runs, and due again when it has run out.
pub async fn lost_lease_is_due_again(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "lost_lease_is_due_again").await;
    let id = ground.add_one().await;
    let leased_at = ground.broker.clock().now();
    let first = ground.claim_one(SHORT).await;
    ground.assert_nothing_due("it is leased").await;
    ground.pass(SHORT + MOMENT).await;
    assert_eq!(ground.record(&id).await.expect("it lives").state, JobState::Queued, "nobody has it");
    let second = ground.claim_one(LEASE).await;
    assert_eq!((&second.lease.id, second.attempt, second.delivery), (&id, 2, 2));
    assert_ne!(second.lease.token, first.lease.token);
    assert!(second.due_at.since(leased_at) >= SHORT, "it was due again at the end of the lease");
}

/// An attempt whose lease ran out is a failure in the job's history.
pub async fn lost_lease_is_in_the_history(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "lost_lease_is_in_the_history").await;
    let id = ground.add_one().await;
    ground.claim_one(SHORT).await;
    ground.pass(SHORT + MOMENT).await;
    ground.claim_one(LEASE).await;
    let failures = ground.record(&id).await.expect("it runs").failures;
    let kinds: Vec<_> = failures.iter().map(|failure| (failure.kind, failure.attempt)).collect();
    assert_eq!(kinds, [(FailureKind::LeaseLost, 1)]);
}

/// Once another claim has the job, the former holder's finish changes nothing, whatever it says, and is told so.
pub async fn stale_finish_changes_nothing(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "stale_finish_changes_nothing").await;
    let id = ground.add_one().await;
    let stale = ground.claim_one(SHORT).await.lease;
    ground.pass(SHORT + MOMENT).await;
    let newest = ground.claim_one(LEASE).await;
    let outcomes =
        [done_with("stale", Some(LEASE)), dead(failure("stale")), retry(Duration::ZERO), give_back(GiveBack::Stop)];
    for outcome in outcomes {
        assert_eq!(ground.finish(&stale, outcome).await, Finished::LeaseLost);
    }
    let record = ground.record(&id).await.expect("it runs on");
    assert_eq!((record.state, record.attempt), (JobState::InProgress, 2), "the newest holder's attempt");
    assert_eq!(record.failures.len(), 1, "only that the lease was lost");
    assert_eq!(ground.result(&id).await, ResultState::Pending, "the stale result was not stored");
    assert_eq!(ground.finish(&newest.lease, done()).await, Finished::Applied, "the newest holder can end it");
    assert_eq!(ground.finish(&stale, done()).await, Finished::LeaseLost, "also when the job is gone");
}

/// A finish after the lease's end still counts, as long as nobody else has claimed the job.
pub async fn late_finish_counts_until_the_next_claim(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "late_finish_counts_until_the_next_claim").await;
    let id = ground.add_one().await;
    let late = ground.claim_one(SHORT).await;
    ground.pass(SHORT + MOMENT).await;
    assert_eq!(ground.finish(&late.lease, done_with("late", Some(LEASE))).await, Finished::Applied);
    assert_eq!(ground.result(&id).await, ResultState::Ready(Bytes::from_static(b"late")), "no need to run it again");
    ground.assert_nothing_due("it has ended").await;
}

/// A lease that is extended in time does not run out.
pub async fn extend_keeps_the_lease(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "extend_keeps_the_lease").await;
    let id = ground.add_one().await;
    let job = ground.claim_one(2 * SHORT).await;
    let since = async || ground.record(&id).await.expect("it runs").running_since;
    let began = since().await;
    for _ in 0..3 {
        ground.pass(SHORT).await;
        assert_eq!(extend(&ground, &[&job.lease], 2 * SHORT).await, [Extended::Renewed]);
        assert_eq!((began.is_some(), since().await), (true, began), "it runs since then");
        ground.assert_nothing_due("it is leased").await;
    }
    ground.pass(2 * SHORT + MOMENT).await;
    assert_eq!(ground.claim_one(LEASE).await.attempt, 2, "the last extension has run out");
}

async fn extend<F: Fixture>(ground: &Ground<'_, F>, leases: &[&Lease], lease: Duration) -> Vec<Extended> {
    let leases: Vec<Lease> = leases.iter().map(|lease| (*lease).clone()).collect();
    ground.broker.extend(&ground.queue, &leases, lease).await.expect("extend")
}

/// A lease that has run out can be extended as long as nobody else has claimed the job.
pub async fn late_extend_counts_until_the_next_claim(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "late_extend_counts_until_the_next_claim").await;
    ground.add_one().await;
    let job = ground.claim_one(SHORT).await;
    ground.pass(SHORT + MOMENT).await;
    assert_eq!(extend(&ground, &[&job.lease], LEASE).await, [Extended::Renewed]);
    ground.assert_nothing_due("it is leased again").await;
    assert_eq!(ground.finish(&job.lease, done()).await, Finished::Applied);
}

/// Of each lease an extension says, in order, whether it is still held; what is not held stays as it is.
pub async fn extend_says_what_is_lost(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "extend_says_what_is_lost").await;
    let ids = [ground.add_one().await, ground.add_one().await, ground.add_one().await];
    let jobs = ground.claim(3, SHORT).await;
    let (lost, kept, ended) = (&jobs[0].lease, &jobs[1].lease, &jobs[2].lease);
    ground.finish(ended, done()).await;
    ground.pass(SHORT + MOMENT).await;
    assert_eq!(ground.claim_one(SHORT).await.lease.id, ids[0], "the first is another's now");
    let unknown = Lease { id: JobId::generate(), token: lost.token };
    let foreign = Lease { id: kept.id.clone(), token: LeaseToken { worker: !kept.token.worker, ..kept.token } };
    let answers = extend(&ground, &[lost, kept, ended, &unknown, &foreign], LEASE).await;
    assert_eq!(answers, [Extended::Lost, Extended::Renewed, Extended::Lost, Extended::Lost, Extended::Lost]);
    ground.pass(SHORT + MOMENT).await;
    let due: Vec<_> = ground.claim(10, LEASE).await.into_iter().map(|job| job.lease.id).collect();
    assert_eq!(due, [ids[0].clone()], "another's lease was not extended by it");
}

/// Progress is stored for the holder of the newest lease, and for no other.
pub async fn progress_needs_the_lease(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "progress_needs_the_lease").await;
    let id = ground.add_one().await;
    let progress = async |lease: &Lease, value| {
        ground.broker.set_progress(&ground.queue, lease, Bytes::from_static(value)).await.expect("set_progress")
    };
    let stale = ground.claim_one(SHORT).await.lease;
    assert!(progress(&stale, b"half").await);
    assert_eq!(ground.record(&id).await.expect("it runs").progress, Some(Bytes::from_static(b"half")));
    ground.pass(SHORT + MOMENT).await;
    let newest = ground.claim_one(LEASE).await.lease;
    assert!(progress(&newest, b"most").await);
    assert!(!progress(&stale, b"stale").await, "its lease is lost");
    assert_eq!(ground.record(&id).await.expect("it runs").progress, Some(Bytes::from_static(b"most")));
    ground.finish(&newest, done()).await;
    assert!(!progress(&newest, b"late").await, "the job is gone");
}

/// The same when it ran out so long ago that nothing else tells of it any more.
pub async fn a_lease_lost_long_ago_is_in_the_history(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_lease_lost_long_ago_is_in_the_history").await;
    let id = ground.add_one().await;
    ground.claim_one(SHORT).await;
    ground.pass(SHORT + LATE + MOMENT).await;
    assert_eq!(ground.claim_one(LEASE).await.attempt, 2);
    let failures = ground.record(&id).await.expect("it runs").failures;
    let kinds: Vec<_> = failures.iter().map(|failure| (failure.kind, failure.attempt)).collect();
    assert_eq!(kinds, [(FailureKind::LeaseLost, 1)]);
}
