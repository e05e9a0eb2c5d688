use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::{Fixture, Ground, LATE, LEASE, MOMENT, SHORT, done, done_with, give_back, ids, retry, unique};
use crate::broker::{
    BrokerError, Claim, Due, Finish, Finished, GiveBack, JobId, JobState, Lease, LeaseToken, NewJob, RequestId,
    ResultState,
};

/// Of workers that claim at the same time, exactly one gets each job.
pub async fn claim_is_exclusive(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "claim_is_exclusive").await;
    let jobs: Vec<NewJob> = (0..60).map(|_| ground.job()).collect();
    ground.broker.enqueue(&jobs, RequestId::unique()).await.expect("enqueue");
    let mut workers = JoinSet::new();
    for worker in 0..8 {
        let (broker, queue) = (Arc::clone(&ground.broker), ground.queue.clone());
        workers.spawn(async move {
            let mut claimed = Vec::new();
            for call in 0..10 {
                let token = LeaseToken { worker, call };
                let request = Claim { queue: &queue, finished: &[], max: 3, lease: LEASE, token };
                claimed.extend(ids(&broker.claim(&request).await.expect("claim").jobs));
            }
            claimed
        });
    }
    let claimed: Vec<JobId> = workers.join_all().await.concat();
    assert_eq!(claimed.len(), 60, "every job was claimed, and none twice");
    assert_eq!(claimed.into_iter().collect::<HashSet<_>>().len(), 60, "each job once");
}

/// Jobs come by due time; those of one millisecond in the order of their enqueueing.
pub async fn claim_is_earliest_first(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "claim_is_earliest_first").await;
    let now = ground.broker.clock().now();
    let at = |ms| Due::At(now + Duration::from_millis(ms));
    let jobs: Vec<NewJob> = [240, 120, 180, 120].map(|ms| NewJob { due: at(ms), ..ground.job() }).into();
    ground.broker.enqueue(&jobs, RequestId::unique()).await.expect("enqueue");
    ground.pass(SHORT).await;
    let last = ground.add_one().await;
    let expected = [1, 3, 2, 0].map(|i: usize| jobs[i].id.clone()).into_iter().chain([last]);
    let claimed = ground.claim(10, LEASE).await;
    assert_eq!(ids(&claimed), expected.collect::<Vec<_>>());
    assert_eq!(claimed[3].due_at, now + Duration::from_millis(240), "each says when it was due");
}

/// A claim leases `max` jobs at most, says whether more are due, and none is no error.
pub async fn claim_takes_no_more_than_asked(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "claim_takes_no_more_than_asked").await;
    for _ in 0..5 {
        ground.add_one().await;
    }
    ground.add(NewJob { due: Due::In(LEASE), ..ground.job() }).await;
    let mut sizes = Vec::new();
    for max in [2, 2, 2, 2] {
        let claimed = ground.call(&[], max, LEASE, ground.token()).await;
        sizes.push((claimed.jobs.len(), claimed.more_due));
    }
    assert_eq!(sizes, [(2, true), (2, true), (1, false), (0, false)], "the deferred job is not due");
}

/// A claim takes jobs of its own queue only.
pub async fn claim_is_of_one_queue(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "claim_is_of_one_queue").await;
    let elsewhere = NewJob { queue: unique("elsewhere"), ..ground.job() };
    ground.add(elsewhere.clone()).await;
    ground.assert_nothing_due("the job is in another queue").await;
    let request = Claim { queue: &elsewhere.queue, finished: &[], max: 1, lease: LEASE, token: ground.token() };
    let claimed = ground.broker.claim(&request).await.expect("claim");
    assert_eq!(ids(&claimed.jobs), [elsewhere.id]);
    assert_eq!(ground.finish(&claimed.jobs[0].lease, done()).await, Finished::LeaseLost, "nor does a finish reach it");
}

/// With `max` 0 a claim reports what has ended and leases nothing.
pub async fn claim_of_none_only_reports(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "claim_of_none_only_reports").await;
    let first = ground.add_one().await;
    ground.add_one().await;
    let job = ground.claim_one(LEASE).await;
    let finish = Finish { lease: job.lease, outcome: done() };
    let answer = ground.call(&[finish], 0, LEASE, ground.token()).await;
    assert_eq!((answer.finished, answer.jobs.len(), answer.more_due), (vec![Finished::Applied], 0, true));
    assert!(ground.record(&first).await.is_none(), "the reported job has ended");
    assert_eq!(ground.claim(10, LEASE).await.len(), 1, "the other one was left");
}

/// What a call gives back without a delay is due for the claim of the same call.
pub async fn claim_can_take_what_it_gives_back(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "claim_can_take_what_it_gives_back").await;
    let id = ground.add_one().await;
    let job = ground.claim_one(LEASE).await;
    let finish = Finish { lease: job.lease, outcome: retry(Duration::ZERO) };
    let answer = ground.call(&[finish], 1, LEASE, ground.token()).await;
    assert_eq!((answer.finished, ids(&answer.jobs)), (vec![Finished::Applied], vec![id]));
    assert_eq!(answer.jobs[0].attempt, 2);
}

/// A deferred job is not claimed before its time, and then it is.
pub async fn deferred_is_not_claimed_early(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "deferred_is_not_claimed_early").await;
    let job = NewJob { due: Due::In(SHORT), ..ground.job() };
    ground.add(job.clone()).await;
    ground.assert_nothing_due("its time has not come").await;
    ground.pass(SHORT + MOMENT).await;
    let claimed = ground.call(&[], 1, LEASE, ground.token()).await;
    assert_eq!(ids(&claimed.jobs), [job.id]);
    assert!(claimed.jobs[0].due_at <= claimed.now, "it was due by the broker's own clock");
}

/// An attempt is counted when it is claimed, so one that kills its worker counts.
pub async fn attempt_is_counted_before_the_start(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "attempt_is_counted_before_the_start").await;
    let id = ground.add_one().await;
    for attempt in 1..=3 {
        assert_eq!(ground.claim_one(SHORT).await.attempt, attempt);
        let record = ground.record(&id).await.expect("a running job");
        assert_eq!((record.attempt, record.state), (attempt, JobState::InProgress), "counted while it runs");
        ground.pass(SHORT + MOMENT).await; // the worker is dead, and reports nothing
    }
}

/// Every claim counts as a delivery, whatever became of the one before.
pub async fn every_claim_is_a_delivery(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "every_claim_is_a_delivery").await;
    ground.add_one().await;
    let mut deliveries = Vec::new();
    for outcome in [retry(Duration::ZERO), give_back(GiveBack::Stop), give_back(GiveBack::UnknownTask)] {
        let job = ground.claim_one(LEASE).await;
        deliveries.push(job.delivery);
        ground.finish(&job.lease, outcome).await;
    }
    deliveries.push(ground.claim_one(SHORT).await.delivery);
    ground.pass(SHORT + MOMENT).await;
    deliveries.push(ground.claim_one(LEASE).await.delivery);
    assert_eq!(deliveries, [1, 2, 3, 4, 5]);
}

/// A claim that comes again with its token returns the jobs it has leased, and leases no others.
pub async fn repeated_claim_returns_the_same_jobs(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "repeated_claim_returns_the_same_jobs").await;
    for _ in 0..4 {
        ground.add_one().await;
    }
    let token = ground.token();
    let first = ground.call(&[], 3, LEASE, token).await;
    let again = ground.call(&[], 3, LEASE, token).await;
    assert_eq!(ids(&again.jobs), ids(&first.jobs), "the same jobs in the same order");
    assert_eq!((again.jobs[0].attempt, again.jobs[0].delivery), (1, 1), "counted once");
    assert!(again.more_due, "the fourth is left");
    ground.finish(&first.jobs[0].lease, done()).await;
    let again = ground.call(&[], 3, LEASE, token).await;
    assert_eq!(ids(&again.jobs), ids(&first.jobs[1..]), "what has ended is not leased any more");
    assert_eq!(ground.claim(10, LEASE).await.len(), 1, "another token gets what is left");
}

/// The leases of a claim that comes again run anew; a job that another has claimed by then is not in its answer.
pub async fn repeated_claim_renews_its_leases(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "repeated_claim_renews_its_leases").await;
    let (lost, kept) = (ground.add_one().await, ground.add_one().await);
    let token = ground.token();
    assert_eq!(ground.call(&[], 2, 2 * SHORT, token).await.jobs.len(), 2);
    ground.pass(SHORT).await;
    assert_eq!(ground.call(&[], 2, 2 * SHORT, token).await.jobs.len(), 2);
    ground.pass(SHORT + MOMENT).await;
    ground.assert_nothing_due("the first leases would have run out, the second have not").await;
    ground.pass(SHORT).await;
    assert_eq!(ids(&ground.claim(1, LEASE).await), [lost], "the second leases have run out");
    assert_eq!(ids(&ground.call(&[], 2, LEASE, token).await.jobs), [kept], "one is another's now, one nobody's");
    ground.assert_nothing_due("both are leased").await;
}

/// A finish that comes again because its answer was lost is answered as before, and done once.
pub async fn repeated_finish_is_applied_once(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "repeated_finish_is_applied_once").await;
    let (ended, retried) = (ground.add_one().await, ground.add_one().await);
    let jobs = ground.claim(2, LEASE).await;
    let finished = [done_with("result", Some(LEASE)), retry(Duration::ZERO)];
    let finished: Vec<Finish> =
        jobs.iter().zip(finished).map(|(job, outcome)| Finish { lease: job.lease.clone(), outcome }).collect();
    let token = ground.token();
    for round in ["first", "again"] {
        let answer = ground.call(&finished, 0, LEASE, token).await;
        assert_eq!(answer.finished, [Finished::Applied; 2], "{round}");
    }
    assert!(matches!(ground.result(&ended).await, ResultState::Ready(_)));
    assert_eq!(ground.record(&retried).await.expect("it waits").failures.len(), 1, "one failure, not two");
    let job = ground.claim_one(LEASE).await;
    let answer = ground.call(&finished, 0, LEASE, token).await;
    assert_eq!(answer.finished, [Finished::Applied; 2], "also when the job runs again meanwhile");
    assert_eq!(ground.record(&job.lease.id).await.expect("it runs").state, JobState::InProgress, "which goes on");
}

/// A claim that its way held up comes after its worker's next one, which says that it was answered: it neither ends nor
/// leases anything.
pub async fn an_overtaken_claim_changes_nothing(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "an_overtaken_claim_changes_nothing").await;
    let (first, job) = (ground.token(), ground.add_one().await);
    let second = LeaseToken { call: first.call + 20, ..first };
    for finished in [&[][..], &[Finish { lease: Lease { id: job.clone(), token: second }, outcome: done() }]] {
        // What was leased, or that nothing was.
        ground.call(&[], 1, LEASE, second).await;
        let late = LeaseToken { call: second.call - 1, ..first };
        let request = Claim { queue: &ground.queue, finished, max: 1, lease: LEASE, token: late };
        let refused = ground.broker.claim(&request).await.expect_err("a later one has come");
        assert!(matches!(&refused, BrokerError::Refused(why) if why.contains("later claim")), "{refused}");
    }
    assert_eq!(ground.record(&job).await.expect("it runs").state, JobState::InProgress);
    let (third, id) = (LeaseToken { call: second.call + 1, ..first }, ground.add_one().await);
    ground.call(&[], 0, LEASE, third).await;
    ground
        .broker
        .claim(&Claim { queue: &ground.queue, finished: &[], max: 1, lease: LEASE, token: second })
        .await
        .expect_err("a later one came, though it asked for nothing");
    assert_eq!(ground.record(&id).await.expect("it waits").state, JobState::Queued);
}

/// A claim that comes again after its leases have run out renews those that nobody else has taken over.
pub async fn late_repeated_claim_counts_until_the_next_claim(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "late_repeated_claim_counts_until_the_next_claim").await;
    let id = ground.add_one().await;
    let (token, lease) = (ground.token(), Duration::from_secs(2));
    ground.call(&[], 1, lease, token).await;
    ground.pass(LATE).await;
    let again = ground.call(&[], 1, lease, token).await.jobs;
    assert_eq!((ids(&again), again[0].attempt), (vec![id], 1), "counted once");
    ground.assert_nothing_due("it is leased again").await;
}
