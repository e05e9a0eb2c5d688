use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{ENDLESS, Fixture, Ground, LEASE, LONG, MOMENT, SHORT, done, ids};
use crate::broker::{Claim, Claimed, Due, Finish, Finished, JobId, LeaseToken, NewJob, RequestId};

impl<F: Fixture> Ground<'_, F> {
    async fn claim_when_due(&self, finished: &[Finish], max: usize, token: LeaseToken, limit: Duration) -> Claimed {
        let request = Claim { queue: &self.queue, finished, max, lease: LEASE, token };
        let claiming = self.broker.claim_when_due(&request, ENDLESS, limit);
        timeout(LONG, claiming).await.expect("it ends by itself").expect("claim_when_due")
    }

    /// Waits as another worker would, until it has a job; the wait has begun when this returns.
    async fn claim_on(&self, claims: &mut JoinSet<JobId>) {
        let (broker, queue) = (Arc::clone(&self.broker), self.queue.clone());
        let worker = self.token().worker;
        claims.spawn(async move {
            let mut call = 0;
            loop {
                call += 1;
                let token = LeaseToken { worker, call };
                let request = Claim { queue: &queue, finished: &[], max: 1, lease: LEASE, token };
                let claimed = broker.claim_when_due(&request, ENDLESS, ENDLESS).await.expect("claim_when_due");
                if let Some(job) = claimed.jobs.first() {
                    return job.lease.id.clone();
                }
            }
        });
        self.pass(MOMENT).await;
    }
}

/// A claim that waits has the job that comes, under its token, at its first attempt.
pub async fn a_claim_waits_for_what_comes(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_claim_waits_for_what_comes").await;
    let mut claims = JoinSet::new();
    ground.claim_on(&mut claims).await;
    assert!(claims.try_join_next().is_none(), "nothing is due");
    let id = ground.add_one().await;
    let claimed = timeout(LONG, claims.join_next()).await.expect("it is claimed").expect("a claim").expect("no panic");
    assert_eq!(claimed, id);
    ground.assert_nothing_due("it is leased").await;
    let record = ground.record(&id).await.expect("it runs");
    assert_eq!(record.attempt, 1);
}

/// It comes for a deferred job when that is due, not before, and not much later.
pub async fn a_claim_waits_for_what_is_deferred(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_claim_waits_for_what_is_deferred").await;
    let due = ground.broker.clock().now() + SHORT;
    ground.add(NewJob { due: Due::At(due), ..ground.job() }).await;
    let worker = ground.token().worker;
    for call in 1.. {
        assert!(call < 10, "woken too early too often");
        let claimed = ground.claim_when_due(&[], 1, LeaseToken { worker, call }, ENDLESS).await;
        if !claimed.jobs.is_empty() {
            let late = claimed.now.since(due);
            assert!(claimed.now >= due && late < 5 * MOMENT, "claimed {late:?} late");
            return;
        }
    }
}

/// Where something is due it is claimed at once, and what has ended is reported with it.
pub async fn a_waiting_claim_is_made_at_once_where_work_is(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_waiting_claim_is_made_at_once_where_work_is").await;
    ground.add_one().await;
    let job = ground.claim_one(LEASE).await;
    let next = ground.add_one().await;
    let finish = Finish { lease: job.lease.clone(), outcome: done() };
    let claimed = ground.claim_when_due(&[finish], 10, ground.token(), ENDLESS).await;
    assert_eq!((ids(&claimed.jobs), claimed.finished), (vec![next], vec![Finished::Applied]));
    assert!(ground.record(&job.lease.id).await.is_none(), "it has ended");
}

/// Where nothing comes it ends at its time, without jobs.
pub async fn a_waiting_claim_ends_at_its_time(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_waiting_claim_ends_at_its_time").await;
    assert_eq!(ids(&ground.claim_when_due(&[], 1, ground.token(), SHORT).await.jobs), []);
    assert_eq!(ids(&ground.claim_when_due(&[], 1, ground.token(), Duration::ZERO).await.jobs), []);
    let id = ground.add_one().await;
    assert_eq!(ground.claim_one(LEASE).await.lease.id, id, "neither takes it any more");
}

/// Of those that wait, as many have a job as there are jobs.
pub async fn each_job_is_one_waiting_claims(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "each_job_is_one_waiting_claims").await;
    let mut claims = JoinSet::new();
    for _ in 0..4 {
        ground.claim_on(&mut claims).await;
    }
    let jobs: Vec<NewJob> = (0..3).map(|_| ground.job()).collect();
    ground.broker.enqueue(&jobs, RequestId::unique()).await.expect("enqueue");
    let mut claimed = Vec::new();
    for _ in &jobs {
        let job = timeout(LONG, claims.join_next()).await.expect("one more is claimed");
        claimed.push(job.expect("a claim").expect("no panic"));
    }
    let mut expected: Vec<JobId> = jobs.iter().map(|job| job.id.clone()).collect();
    claimed.sort();
    expected.sort();
    assert_eq!(claimed, expected, "each once");
    ground.pass(SHORT).await;
    assert!(claims.try_join_next().is_none(), "there is none for the fourth");
}

/// One that is dropped keeps nothing to itself: the same claim for no jobs tells what it has leased, and wakes another worker for
/// what it has not.
pub async fn a_dropped_waiting_claim_is_told_by_its_token(fixture: &impl Fixture) {
    for comes_before in [true, false] {
        let ground = Ground::new(fixture, "a_dropped_waiting_claim_is_told_by_its_token").await;
        let token = ground.token();
        let request = Claim { queue: &ground.queue, finished: &[], max: 1, lease: LEASE, token };
        let mut waiting = Box::pin(ground.broker.claim_when_due(&request, ENDLESS, ENDLESS));
        assert!(timeout(MOMENT, &mut waiting).await.is_err(), "nothing is due");
        let waiting = comes_before.then_some(waiting);
        let id = ground.add_one().await; // nobody polls that claim any more
        ground.pass(MOMENT).await;
        drop(waiting);
        let mut claims = JoinSet::new();
        ground.claim_on(&mut claims).await;
        let told = ground.call(&[], 0, LEASE, token).await;
        let has_it = if let Some(job) = told.jobs.first() {
            ground.finish(&job.lease, done()).await;
            claims.abort_all();
            job.lease.id.clone()
        } else {
            timeout(LONG, claims.join_next()).await.expect("another has it").expect("a claim").expect("no panic")
        };
        assert_eq!(has_it, id, "came before the drop: {comes_before}");
        while claims.join_next().await.is_some() {}
    }
}
