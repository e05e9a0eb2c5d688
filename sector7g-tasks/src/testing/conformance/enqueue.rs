use std::time::Duration;

use bytes::Bytes;

use super::{Fixture, Ground, LEASE, MOMENT, SHORT, done, give_back, ids, retry, unique, unique_id};
use crate::broker::{Broker, BrokerError, Claim, Due, Enqueued, Finish, GiveBack, JobId, MAX_BATCH, NewJob, RequestId};

/// What was enqueued is claimed as it was given: id, payload, first attempt, first delivery.
pub async fn enqueue_is_kept(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "enqueue_is_kept").await;
    let payload = Bytes::from_static(b"\x00any bytes\xff");
    let job = NewJob { payload: payload.clone(), ..ground.job() };
    let before = ground.broker.clock().now();
    assert_eq!(ground.add(job.clone()).await, Enqueued::New);
    let claimed = ground.claim_one(LEASE).await;
    assert_eq!(claimed.lease.id, job.id, "the job that was enqueued");
    assert_eq!(claimed.payload, Some(payload), "its bytes, unchanged");
    assert_eq!((claimed.attempt, claimed.delivery), (1, 1), "first attempt, first delivery");
    assert!(!claimed.abort_requested && claimed.unknown_since.is_none(), "nothing has happened to it yet");
    let late = claimed.due_at.since(before);
    assert!(late < Duration::from_secs(5), "it was due when it was enqueued, not {late:?} later");
}

/// While a job waits or runs, another of its id is answered with `Duplicate` and changes nothing.
pub async fn a_taken_id_is_no_second_job(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_taken_id_is_no_second_job").await;
    let first = ground.job();
    let second = NewJob { payload: Bytes::from_static(b"second"), replace_finished: true, ..first.clone() };
    assert_eq!(ground.add(first.clone()).await, Enqueued::New);
    assert_eq!(ground.add(second.clone()).await, Enqueued::Duplicate, "it waits");
    let claimed = ground.claim_one(LEASE).await;
    assert_eq!(claimed.payload, Some(first.payload), "the first one's bytes");
    assert_eq!(ground.add(second.clone()).await, Enqueued::Duplicate, "it runs");
    ground.assert_nothing_due("there is one job").await;
    ground.finish(&claimed.lease, done()).await;
    assert_eq!(ground.add(second).await, Enqueued::New, "it has ended and left nothing");
}

/// A request that comes again is answered as before and adds nothing, also when its job has ended and left nothing;
/// as another request it would add that job once more.
pub async fn a_repeated_enqueue_adds_nothing(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_repeated_enqueue_adds_nothing").await;
    let taken = ground.add_one().await;
    let jobs = [NewJob { id: taken, ..ground.job() }, NewJob { replace_finished: true, ..ground.job() }];
    let request = RequestId { number: 7, settled: 7, ..RequestId::unique() };
    let others = RequestId { number: 8, ..request };
    let first = ground.broker.enqueue(&jobs, request).await.expect("enqueue");
    assert_eq!(first, [Enqueued::Duplicate, Enqueued::New]);
    for job in ground.claim(10, LEASE).await {
        ground.finish(&job.lease, done()).await;
    }
    let other = ground.job();
    assert_eq!(ground.broker.enqueue(std::slice::from_ref(&other), others).await.expect("enqueue"), [Enqueued::New]);
    for _ in 0..2 {
        let again = ground.broker.enqueue(&jobs, request).await.expect("enqueue");
        assert_eq!(again, first, "the same answers");
    }
    assert_eq!(ids(&ground.claim(10, LEASE).await), [other.id], "the other request's job alone");
    let anew = ground.broker.enqueue(&jobs, RequestId { number: 9, settled: 9, ..request }).await.expect("enqueue");
    assert_eq!(anew, [Enqueued::New; 2], "another request is no repetition");
    let never = RequestId { number: 10, settled: 10, ..request };
    assert_eq!(
        ground.broker.enqueue(&[ground.job()], never).await.expect("enqueue"),
        [Enqueued::New],
        "it is new here"
    );
}

/// A request that was held up, and arrives when its caller has given it up and gone on, is refused; one that another
/// has overtaken is not.
pub async fn a_settled_enqueue_adds_nothing(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_settled_enqueue_adds_nothing").await;
    let caller = RequestId::unique();
    let enqueue = async |number, settled, job: &NewJob| {
        let request = RequestId { number, settled, ..caller };
        ground.broker.enqueue(std::slice::from_ref(job), request).await
    };
    let jobs = [(); 4].map(|()| ground.job());
    assert_eq!(enqueue(12, 10, &jobs[0]).await.expect("the first"), [Enqueued::New]);
    assert_eq!(enqueue(11, 11, &jobs[1]).await.expect("overtaken"), [Enqueued::New]);
    assert_eq!(enqueue(13, 10, &jobs[2]).await.expect("settled no more than before"), [Enqueued::New]);
    for number in [9, 10] {
        assert_refused(enqueue(number, 9, &jobs[3]).await, "enqueue");
    }
    let all: Vec<JobId> = jobs[..3].iter().map(|job| job.id.clone()).collect();
    assert_eq!(ids(&ground.claim(10, LEASE).await), all, "the refused one is not there");
    assert_eq!(enqueue(11, 11, &jobs[1]).await.expect("again"), [Enqueued::New], "as before");
}

/// An id that is taken in one queue is taken in all.
pub async fn an_id_is_one_job_in_all_queues(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "an_id_is_one_job_in_all_queues").await;
    let job = ground.job();
    let elsewhere = NewJob { queue: unique("elsewhere"), ..job.clone() };
    assert_eq!(ground.add(job).await, Enqueued::New);
    assert_eq!(ground.add(elsewhere).await, Enqueued::Duplicate);
}

/// Answers come in the order of the jobs, and jobs of one batch are claimed in its order.
pub async fn a_batch_keeps_its_order(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_batch_keeps_its_order").await;
    let taken = ground.add_one().await;
    let mut jobs: Vec<NewJob> = (0..20).map(|_| ground.job()).collect();
    let expected: Vec<JobId> = std::iter::once(taken.clone()).chain(jobs.iter().map(|job| job.id.clone())).collect();
    jobs.insert(7, NewJob { id: taken, ..ground.job() });
    jobs.push(jobs[3].clone());
    let answers = ground.broker.enqueue(&jobs, RequestId::unique()).await.expect("enqueue");
    let duplicates: Vec<usize> = (0..answers.len()).filter(|i| answers[*i] == Enqueued::Duplicate).collect();
    assert_eq!((answers.len(), duplicates), (22, vec![7, 21]), "the taken id, and the id that comes twice");
    assert_eq!(ids(&ground.claim(100, LEASE).await), expected, "first in, first out");
}

/// Jobs of new ids are added as all others, in their order; and an id that was told as new, but has a job that waits or runs,
/// in whichever queue, is no second one.
pub async fn a_new_id_is_one_job(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_new_id_is_one_job").await;
    let new = || NewJob { is_new_id: true, ..ground.job() };
    let enqueue = async |jobs: &[NewJob]| ground.broker.enqueue(jobs, RequestId::unique()).await.expect("enqueue");
    let jobs: Vec<NewJob> = (0..3).map(|_| new()).collect();
    assert_eq!(enqueue(&jobs).await, [Enqueued::New; 3]);
    assert_eq!(enqueue(&jobs).await, [Enqueued::Duplicate; 3], "they wait");
    let running = ground.claim_one(LEASE).await.lease.id;
    assert_eq!(running, jobs[0].id, "first in, first out");
    let (more, last) = (new(), new());
    let again = [more.clone(), jobs[0].clone(), jobs[1].clone(), last.clone(), last.clone()];
    let expected = [Enqueued::New, Enqueued::Duplicate, Enqueued::Duplicate, Enqueued::New, Enqueued::Duplicate];
    assert_eq!(enqueue(&again).await, expected, "one runs, one waits, one comes twice");
    let elsewhere = NewJob { queue: unique("elsewhere"), ..more.clone() };
    assert_eq!(ground.add(elsewhere.clone()).await, Enqueued::Duplicate, "its job is in another queue");
    let claim = Claim { queue: &elsewhere.queue, finished: &[], max: 10, lease: LEASE, token: ground.token() };
    assert_eq!(ids(&ground.broker.claim(&claim).await.expect("claim").jobs), [], "nor is it a member of that queue");
    let waiting = [&jobs[1], &jobs[2], &more, &last].map(|job| job.id.clone());
    assert_eq!(ids(&ground.claim(10, LEASE).await), waiting);
}

/// More than `MAX_BATCH` things in one call are refused, and nothing is done.
pub async fn a_batch_has_a_bound(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_batch_has_a_bound").await;
    let jobs: Vec<NewJob> = (0..=MAX_BATCH).map(|_| ground.job()).collect();
    let broker: &dyn Broker = &*ground.broker;
    assert_refused(broker.enqueue(&jobs, RequestId::unique()).await, "enqueue");
    ground.assert_nothing_due("nothing was added").await;
    assert_eq!(
        broker.enqueue(&jobs[1..], RequestId::unique()).await.expect("the bound itself is allowed").len(),
        MAX_BATCH
    );
    let job = ground.claim_one(LEASE).await;
    let finish = Finish { lease: job.lease.clone(), outcome: done() };
    let finished = vec![finish; MAX_BATCH + 1];
    let request = Claim { queue: &ground.queue, finished: &finished, max: 0, lease: LEASE, token: ground.token() };
    assert_refused(broker.claim(&request).await, "finish");
    assert!(ground.record(&job.lease.id).await.is_some(), "nothing was finished");
    assert_refused(broker.claim(&Claim { finished: &[], max: MAX_BATCH + 1, ..request }).await, "claim");
    assert_refused(broker.extend(&ground.queue, &vec![job.lease.clone(); MAX_BATCH + 1], LEASE).await, "extend");
    let ids = vec![job.lease.id.clone(); MAX_BATCH + 1];
    assert_refused(broker.retry_dead(&ground.queue, &ids).await, "retry_dead");
    assert_refused(broker.discard_dead(&ground.queue, &ids).await, "discard_dead");
}

fn assert_refused<T: std::fmt::Debug>(answer: Result<T, BrokerError>, call: &str) {
    match answer {
        Err(error @ BrokerError::Refused(_)) => assert!(!error.is_transient(), "no repetition can mend it"),
        other => panic!("{call} should be refused, not answered {other:?}"),
    }
}

/// A job for a moment in the past is due now, and takes no precedence over what was due before.
pub async fn a_past_moment_is_now(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_past_moment_is_now").await;
    let first = ground.add_one().await;
    ground.pass(MOMENT).await;
    let now = ground.broker.clock().now();
    let past = NewJob { due: Due::At(now - Duration::from_hours(1)), ..ground.job() };
    let expected = [first, past.id.clone()];
    ground.add(past).await;
    let claimed = ground.claim(10, LEASE).await;
    assert_eq!(ids(&claimed), expected, "in the order of their enqueueing");
    assert!(now.since(claimed[1].due_at) < Duration::from_secs(5), "due when it was enqueued");
}

/// A job that was not started before it expired is claimed without its payload, so that its end can be recorded.
pub async fn expired_has_no_payload(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "expired_has_no_payload").await;
    let in_time = NewJob { expires_in: Some(SHORT), ..ground.job() };
    let expiring = NewJob { expires_in: Some(SHORT), ..ground.job() };
    ground.add(in_time.clone()).await;
    ground.add(expiring.clone()).await;
    let claimed = ground.claim_one(SHORT).await;
    assert_eq!((&claimed.lease.id, claimed.payload), (&in_time.id, Some(in_time.payload)), "claimed in time");
    ground.finish(&claimed.lease, done()).await;
    ground.pass(SHORT + MOMENT).await;
    let claimed = ground.claim_one(SHORT).await;
    assert_eq!((claimed.lease.id, claimed.payload), (expiring.id.clone(), None), "claimed too late");
    ground.pass(SHORT + MOMENT).await;
    let claimed = ground.claim_one(LEASE).await;
    assert_eq!(claimed.payload, None, "and it stays expired when the worker that was told dies");
}

/// A job that has been started once never expires, however long its attempts and their delays take.
pub async fn a_started_job_never_expires(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_started_job_never_expires").await;
    for outcome in [Some(retry(Duration::ZERO)), Some(give_back(GiveBack::Snooze)), None] {
        let job = NewJob { id: unique_id("started"), expires_in: Some(SHORT), ..ground.job() };
        ground.add(job).await;
        let claimed = ground.claim_one(SHORT).await;
        if let Some(outcome) = &outcome {
            ground.finish(&claimed.lease, outcome.clone()).await;
        }
        ground.pass(SHORT + MOMENT).await;
        let claimed = ground.claim_one(LEASE).await;
        assert!(claimed.payload.is_some(), "it was started in time, and then: {outcome:?}");
        ground.finish(&claimed.lease, done()).await;
    }
}

/// A job whose task a worker did not know was not started by it, and still expires.
pub async fn an_unknown_task_is_not_a_start(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "an_unknown_task_is_not_a_start").await;
    ground.add(NewJob { expires_in: Some(SHORT), ..ground.job() }).await;
    let claimed = ground.claim_one(LEASE).await;
    ground.finish(&claimed.lease, give_back(GiveBack::UnknownTask)).await;
    ground.pass(SHORT + MOMENT).await;
    assert_eq!(ground.claim_one(LEASE).await.payload, None, "nobody has started it");
}

/// A job that can't be started in time any more shows no payload, also before a claim has found it so.
pub async fn expired_shows_no_payload(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "expired_shows_no_payload").await;
    let job = NewJob { expires_in: Some(SHORT), ..ground.job() };
    ground.add(job.clone()).await;
    assert_eq!(ground.record(&job.id).await.expect("it waits").payload, Some(job.payload));
    ground.pass(SHORT + MOMENT).await;
    assert_eq!(ground.record(&job.id).await.expect("it waits").payload, None);
}

/// What is known of a job is known of it when it has expired.
pub async fn expired_keeps_its_history(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "expired_keeps_its_history").await;
    ground.add(NewJob { expires_in: Some(SHORT), ..ground.job() }).await;
    let job = ground.claim_one(LEASE).await;
    assert!(ground.broker.set_progress(&ground.queue, &job.lease, Bytes::from_static(b"half")).await.expect("stored"));
    ground.finish(&job.lease, give_back(GiveBack::UnknownTask)).await;
    ground.pass(SHORT + MOMENT).await;
    let progress = ground.record(&job.lease.id).await.expect("it waits").progress;
    assert_eq!(progress, Some(Bytes::from_static(b"half")));
    let again = ground.claim_one(LEASE).await;
    assert_eq!((again.payload, again.attempt, again.delivery), (None, 1, 2));
    assert!(again.unknown_since.is_some(), "given back as unknown");
}
