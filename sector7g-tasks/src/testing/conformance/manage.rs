use tokio::task::JoinSet;

use super::{Fixture, Ground, LEASE, MOMENT, SHORT, done, ended, give_back, ids, retry, unique};
use crate::broker::{Due, Finished, GiveBack, JobId, JobState, NewJob};

/// A deferred job that is made due ends a wait at once, and is claimed.
pub async fn a_deferred_job_can_be_made_due(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_deferred_job_can_be_made_due").await;
    let jobs = [(); 2].map(|()| NewJob { due: Due::In(LEASE), ..ground.job() });
    for job in &jobs {
        ground.add(job.clone()).await;
    }
    let mut waits = JoinSet::new();
    ground.wait_on(&[&ground.queue], &mut waits).await;
    assert!(ground.broker.make_due(&ground.queue, &jobs[1].id).await.expect("make_due"));
    ground.pass(SHORT).await;
    assert_eq!(ended(&mut waits), 1, "it is due");
    assert_eq!(ids(&ground.claim(10, LEASE).await), [jobs[1].id.clone()], "and no other");
}

/// A job that is due, runs, has ended or is not known is left as it is; a retry that waits is made due, its attempts
/// counted.
pub async fn only_what_is_deferred_is_made_due(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "only_what_is_deferred_is_made_due").await;
    let make_due = async |id: &JobId| ground.broker.make_due(&ground.queue, id).await.expect("make_due");
    assert!(!make_due(&JobId::generate()).await, "nobody has enqueued it");
    let id = ground.add_one().await;
    assert!(!make_due(&id).await, "it is due already");
    let job = ground.claim_one(LEASE).await;
    assert!(!make_due(&id).await, "it runs");
    ground.assert_nothing_due("a running job keeps its lease").await;
    assert_eq!(ground.finish(&job.lease, retry(LEASE)).await, Finished::Applied);
    assert!(!ground.broker.make_due(&unique("another"), &id).await.expect("make_due"), "it is in another queue");
    assert!(make_due(&id).await, "it waits for its next attempt");
    let job = ground.claim_one(LEASE).await;
    assert_eq!((job.lease.id.clone(), job.attempt), (id.clone(), 2));
    ground.finish(&job.lease, done()).await;
    assert!(!make_due(&id).await, "it has ended");
}

/// Nothing of a paused queue is leased, what is added meanwhile included; other queues go on, and so does it later.
pub async fn a_paused_queue_gives_no_jobs(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_paused_queue_gives_no_jobs").await;
    let first = ground.add_one().await;
    assert!(ground.broker.set_paused(&ground.queue, true).await.expect("set_paused"));
    let second = ground.add_one().await;
    let claimed = ground.call(&[], 10, LEASE, ground.token()).await;
    assert_eq!((ids(&claimed.jobs), claimed.more_due), (vec![], false), "it is paused");
    let other = Ground { queue: unique("another"), broker: ground.broker.clone(), fixture };
    other.add_one().await;
    other.claim_one(LEASE).await;
    assert!(ground.broker.set_paused(&ground.queue, false).await.expect("set_paused"));
    assert_eq!(ids(&ground.claim(10, LEASE).await), [first, second]);
}

/// Jobs that run when their queue is paused keep their lease, end, and can be given back.
pub async fn what_runs_in_a_paused_queue_ends(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "what_runs_in_a_paused_queue_ends").await;
    let (ends, returns) = (ground.add_one().await, ground.add_one().await);
    let jobs = ground.claim(2, LEASE).await;
    ground.broker.set_paused(&ground.queue, true).await.expect("set_paused");
    let extended = ground.broker.extend(&ground.queue, &[jobs[0].lease.clone()], LEASE).await.expect("extend");
    assert_eq!(extended, [crate::broker::Extended::Renewed]);
    assert_eq!(ground.finish(&jobs[0].lease, done()).await, Finished::Applied);
    assert!(ground.record(&ends).await.is_none(), "it has ended");
    assert_eq!(ground.finish(&jobs[1].lease, give_back(GiveBack::Stop)).await, Finished::Applied);
    ground.assert_nothing_due("what was given back waits, too").await;
    assert_eq!(ground.record(&returns).await.map(|record| record.state), Some(JobState::Queued));
}

/// A wait does not return for jobs of a paused queue: not for one that is due, nor one that becomes due or is added.
pub async fn a_pause_holds_waits(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_pause_holds_waits").await;
    ground.add_one().await;
    ground.add(NewJob { due: Due::In(SHORT), ..ground.job() }).await;
    ground.broker.set_paused(&ground.queue, true).await.expect("set_paused");
    let other = unique("another");
    let mut waits = JoinSet::new();
    ground.wait_on(&[&ground.queue, &other], &mut waits).await;
    ground.add_one().await;
    ground.pass(SHORT + MOMENT).await;
    assert_eq!(ended(&mut waits), 0, "it is paused");
    ground.add(NewJob { queue: other, ..ground.job() }).await;
    ground.pass(SHORT).await;
    assert_eq!(ended(&mut waits), 1, "the other queue is not");
}

/// When a queue goes on, a wait under way returns for what is due, and at its time for what will be.
pub async fn a_queue_that_goes_on_ends_waits(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_queue_that_goes_on_ends_waits").await;
    for deferred in [false, true] {
        ground.broker.set_paused(&ground.queue, true).await.expect("set_paused");
        let due = if deferred { Due::In(SHORT * 2) } else { Due::Now };
        ground.add(NewJob { due, ..ground.job() }).await;
        let mut waits = JoinSet::new();
        ground.wait_on(&[&ground.queue], &mut waits).await;
        assert_eq!(ended(&mut waits), 0, "it is paused");
        ground.broker.set_paused(&ground.queue, false).await.expect("set_paused");
        ground.pass(if deferred { SHORT * 2 + MOMENT } else { SHORT }).await;
        assert_eq!(ended(&mut waits), 1, "deferred: {deferred}");
        ground.claim_one(LEASE).await;
    }
}

/// A pause is told with its beginning, once; the queue is listed while it lasts, empty or not.
pub async fn a_pause_is_told(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_pause_is_told").await;
    let since = async || ground.broker.stats(&ground.queue).await.expect("stats").paused_since;
    let is_listed = async || ground.broker.queues().await.expect("queues").contains(&ground.queue);
    let set = async |paused| ground.broker.set_paused(&ground.queue, paused).await.expect("set_paused");
    assert!(!set(false).await, "it is not paused");
    assert_eq!((since().await, is_listed().await), (None, false));
    let before = ground.broker.clock().now();
    assert!(set(true).await);
    let paused = since().await.expect("it is paused");
    assert!(paused.since(before) < LEASE && before.since(paused) < LEASE, "{paused} is about {before}");
    ground.pass(MOMENT).await;
    assert!(!set(true).await, "it is paused already");
    assert_eq!((since().await, is_listed().await), (Some(paused), true), "since when it first was");
    assert!(set(false).await);
    assert_eq!((since().await, is_listed().await), (None, false));
}
