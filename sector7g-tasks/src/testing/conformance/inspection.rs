use std::collections::HashSet;
use std::time::Duration;

use super::{Fixture, Ground, LEASE, MOMENT, SHORT, dead, done, done_with, failure, give_back, retry, unique};
use crate::broker::{
    AbortMark, Claim, Due, Extended, Finish, Finished, GiveBack, JobFilter, JobId, JobRecord, JobState, KeptResult,
    Lease, NewJob, Outcome, PageMark, RequestId, ResultState, WorkerHealth,
};
use crate::codec::{Codec, ResultRecord};
use crate::job::Failure;

/// A job's record says where the job stands, through all its states.
pub async fn a_job_tells_its_state(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_job_tells_its_state").await;
    let due = ground.broker.clock().now() + SHORT;
    let job = NewJob { due: Due::At(due), ..ground.job() };
    let state = async || ground.record(&job.id).await.map(|record| (record.state, record.attempt));
    assert_eq!(state().await, None, "nobody has enqueued it");
    ground.add(job.clone()).await;
    assert_eq!(state().await, Some((JobState::Deferred, 0)));
    let record = ground.record(&job.id).await.expect("it waits");
    assert_eq!((record.due_at, &record.payload), (due, &Some(job.payload.clone())), "when it will be due");
    ground.pass(SHORT + MOMENT).await;
    assert_eq!(state().await, Some((JobState::Queued, 0)));
    let claimed = ground.claim_one(LEASE).await;
    assert_eq!(state().await, Some((JobState::InProgress, 1)));
    assert_eq!(ground.record(&job.id).await.expect("it runs").due_at, due, "not the end of its lease");
    ground.finish(&claimed.lease, retry(LEASE)).await;
    assert_eq!(state().await, Some((JobState::Deferred, 1)));
    ground.broker.abort(&ground.queue, &job.id).await.expect("abort");
    assert_eq!(state().await, Some((JobState::Queued, 1)));
    ground.finish(&ground.claim_one(LEASE).await.lease, done_with("result", Some(LEASE))).await;
    let record = ground.record(&job.id).await.expect("its result is kept");
    assert_eq!((record.state, record.payload), (JobState::Complete, None));
    assert_eq!(record.result.as_deref(), Some(&b"result"[..]));
}

/// What has ended in one queue is shown there alone, a dead letter whose result is kept too.
pub async fn another_queues_ended_job_is_not_found(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "another_queues_ended_job_is_not_found").await;
    let other = Ground { fixture, broker: ground.broker.clone(), queue: unique("another") };
    let (done, died) = (ground.job(), NewJob { queue: other.queue.clone(), ..ground.job() });
    end_with_result(&ground, done.clone(), None).await;
    end_with_result(&other, died.clone(), Some(failure("it broke"))).await;
    let states = async |id: &JobId| {
        [ground.record(id).await, other.record(id).await].map(|record| record.map(|record| record.state))
    };
    assert_eq!(states(&done.id).await, [Some(JobState::Complete), None]);
    assert_eq!(states(&died.id).await, [None, Some(JobState::Dead)]);
    end_with_result(&ground, NewJob { queue: ground.queue.clone(), replace_finished: true, ..died.clone() }, None)
        .await;
    assert_eq!(states(&died.id).await, [Some(JobState::Complete), Some(JobState::Dead)], "each its own end");
}

/// Runs a job to its end, and keeps a result as workers write it.
async fn end_with_result(ground: &Ground<'_, impl Fixture>, job: NewJob, dead: Option<Failure>) {
    let (id, now) = (job.id.clone(), ground.broker.clock().now());
    ground.add(job).await;
    let claimed = ground.claim_one(LEASE).await;
    let value = Codec::Json.encode(&7).expect("a number");
    let record = ResultRecord {
        job: None,
        attempt: 1,
        value: dead.as_ref().map_or(Ok(&value), Err),
        started_at: now,
        finished_at: now,
        queue: &ground.broker.shared_name(&ground.queue),
        id: id.as_str(),
    };
    let record = Codec::Json.encode_result(&record).expect("a record");
    let result = Some(KeptResult { record, keep: Some(LEASE) });
    let outcome = Outcome::End { result, dead: dead.map(Box::new), hold_id: Duration::ZERO };
    assert_eq!(ground.finish(&claimed.lease, outcome).await, Finished::Applied);
}

/// Pages follow one another by due time, without gap or overlap, also when jobs come and go between.
pub async fn a_page_follows_its_mark(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "a_page_follows_its_mark").await;
    let now = ground.broker.clock().now();
    let job = |seconds| NewJob { due: Due::At(now + Duration::from_secs(seconds)), ..ground.job() };
    let jobs: Vec<NewJob> = [60, 60, 60, 70, 80, 90, 90].map(job).into();
    ground.broker.enqueue(&jobs, RequestId::unique()).await.expect("enqueue");
    let running = ground.add_one().await;
    ground.claim_one(LEASE).await;
    let page = async |after: Option<PageMark>| {
        let page = ground.broker.jobs(&ground.queue, JobFilter::Live, after, 3).await.expect("jobs");
        (page.jobs.into_iter().map(|job| job.id).collect::<Vec<_>>(), page.next)
    };
    let (first, mark) = page(None).await;
    assert_eq!(
        first,
        [running, jobs[0].id.clone(), jobs[1].id.clone()],
        "the earliest, running ones by their lease's end"
    );
    ground.add(job(50)).await; // before the mark: not seen by this reader
    let (second, mark) = page(mark).await;
    assert_eq!(second, [2, 3, 4].map(|i: usize| jobs[i].id.clone()));
    let late = job(100);
    ground.add(late.clone()).await;
    let (third, mark) = page(mark).await;
    let expected: HashSet<JobId> = [jobs[5].id.clone(), jobs[6].id.clone(), late.id].into();
    assert_eq!((third.into_iter().collect::<HashSet<_>>(), mark), (expected, None), "the rest, and no mark");
}

/// The running jobs are listed without the waiting ones before them, each with the worker that has it.
pub async fn running_jobs_are_listed_by_themselves(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "running_jobs_are_listed_by_themselves").await;
    for _ in 0..5 {
        ground.add_one().await;
    }
    let (token, began) = (ground.token(), ground.broker.clock().now());
    let lost: Vec<_> = ground.claim(1, SHORT).await.into_iter().map(|job| job.lease.id).collect();
    let runs: Vec<_> = ground.call(&[], 3, LEASE, token).await.jobs.into_iter().map(|job| job.lease.id).collect();
    ground.pass(SHORT + MOMENT).await;
    let first = ground.broker.jobs(&ground.queue, JobFilter::Running, None, 2).await.expect("jobs");
    let second = ground.broker.jobs(&ground.queue, JobFilter::Running, first.next.clone(), 2).await.expect("jobs");
    assert_eq!((first.jobs.len(), second.jobs.len(), second.next), (2, 1, None));
    let listed: HashSet<JobId> = first.jobs.iter().chain(&second.jobs).map(|job| job.id.clone()).collect();
    assert_eq!(listed, runs.iter().cloned().collect(), "neither those that wait nor the lost {lost:?}");
    let worker = Some(token.instance());
    assert!(first.jobs.iter().all(|job| job.state == JobState::InProgress && job.worker == worker), "{first:?}");
    assert_eq!(ground.record(&runs[0]).await.map(|job| job.worker), Some(worker));
    assert_eq!(ground.record(&lost[0]).await.map(|job| job.worker), Some(None), "nobody has it");
    let since = |job: &JobRecord| job.running_since.expect("known");
    let span = SHORT + MOMENT;
    for job in first.jobs.iter().chain(&second.jobs) {
        // A server's clock may be another.
        assert!(since(job).since(began) <= Duration::from_secs(5), "{job:?}");
        assert!(ground.broker.clock().now().since(since(job)) >= span / 2, "{job:?}");
    }
}

/// A queue's sizes count each job once, by its state now, and say how long the oldest due one has waited.
pub async fn stats_count_each_state(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "stats_count_each_state").await;
    let sizes = async || {
        let stats = ground.broker.stats(&ground.queue).await.expect("stats");
        ([stats.queued, stats.deferred, stats.running, stats.dead], stats.oldest_due)
    };
    assert_eq!(sizes().await, ([0, 0, 0, 0], None));
    ground.add_dead().await;
    for _ in 0..4 {
        ground.add_one().await;
    }
    ground.add(NewJob { due: Due::In(2 * SHORT), ..ground.job() }).await;
    ground.add(NewJob { due: Due::In(LEASE), ..ground.job() }).await;
    let jobs = ground.claim(2, LEASE).await;
    ground.claim_one(2 * SHORT).await;
    let (counts, oldest) = sizes().await;
    assert_eq!(counts, [1, 2, 3, 1], "queued, deferred, running, dead");
    assert!(oldest.is_some_and(|age| age < Duration::from_secs(5)), "{oldest:?}");
    ground.pass(2 * SHORT + MOMENT).await;
    let (counts, oldest) = sizes().await;
    assert_eq!(counts, [3, 1, 2, 1], "one has become due, one has lost its lease");
    assert!(oldest.is_some_and(|age| age >= 2 * SHORT), "the first one still waits: {oldest:?}");
    ground.finish(&jobs[0].lease, done()).await;
    ground.finish(&jobs[1].lease, dead(failure("it broke"))).await;
    ground.claim(10, LEASE).await;
    assert_eq!(sizes().await, ([0, 1, 3, 2], None));
}

/// A worker is listed with its queues, as it last said of itself, until its entry runs out or it says goodbye.
pub async fn health_runs_out(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "health_runs_out").await;
    let health = |name: &str, done| WorkerHealth {
        name: name.to_owned(),
        queues: vec![ground.queue.to_string(), "another".to_owned()],
        done,
        ..WorkerHealth::default()
    };
    let send = async |name: &str, health: Option<&WorkerHealth>, ttl| {
        let key = format!("{name}-{}", ground.queue);
        ground.broker.set_health(&key, health, ttl).await.expect("set_health");
    };
    let workers = async || {
        let workers = ground.broker.stats(&ground.queue).await.expect("stats").workers;
        let mut workers: Vec<_> = workers.into_iter().map(|health| (health.name, health.done)).collect();
        workers.sort_unstable();
        workers
    };
    send("homer", Some(&health("homer", 1)), LEASE).await;
    send("lenny", Some(&health("lenny", 2)), SHORT).await;
    send("carl", Some(&health("carl", 3)), LEASE).await;
    let elsewhere = WorkerHealth { queues: vec![unique("elsewhere").to_string()], ..health("grimey", 4) };
    send("grimey", Some(&elsewhere), LEASE).await;
    send("homer", Some(&health("homer", 5)), LEASE).await;
    let named = |name: &str, done| (name.to_owned(), done);
    assert_eq!(workers().await, [named("carl", 3), named("homer", 5), named("lenny", 2)], "each worker's last word");
    ground.pass(SHORT + MOMENT).await;
    assert_eq!(workers().await, [named("carl", 3), named("homer", 5)], "lenny's has run out");
    send("homer", None, LEASE).await;
    assert_eq!(workers().await, [named("carl", 3)], "homer has said goodbye");
}

/// A queue is listed while it holds a job, waiting or running, or a dead letter, or a worker says that it serves it.
pub async fn queues_are_listed(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "queues_are_listed").await;
    let is_listed = async || ground.broker.queues().await.expect("queues").contains(&ground.queue);
    assert!(!is_listed().await, "it is empty");
    let id = ground.add_one().await;
    assert!(is_listed().await, "a job waits");
    let job = ground.claim_one(LEASE).await;
    assert!(is_listed().await, "a job runs");
    ground.finish(&job.lease, dead(failure("it broke"))).await;
    assert!(is_listed().await, "it holds a dead letter");
    ground.broker.discard_dead(&ground.queue, &[id]).await.expect("discard_dead");
    assert!(!is_listed().await, "it is empty again");
    let health = WorkerHealth { queues: vec![ground.queue.to_string()], ..WorkerHealth::default() };
    let worker = format!("worker-{}", ground.queue);
    ground.broker.set_health(&worker, Some(&health), LEASE).await.expect("set_health");
    assert!(is_listed().await, "a worker serves it");
    ground.broker.set_health(&worker, None, LEASE).await.expect("set_health");
    assert!(!is_listed().await, "it is empty, and nobody serves it");
    ground.add(NewJob { queue: unique("a"), ..ground.job() }).await;
    let names = ground.broker.queues().await.expect("queues");
    assert!(names.is_sorted(), "by name: {names:?}");
}

/// What is asked of queues, jobs and workers that nobody has heard of is answered, not refused.
pub async fn unknown_names_are_no_error(fixture: &impl Fixture) {
    let ground = Ground::new(fixture, "unknown_names_are_no_error").await;
    let (broker, queue, id) = (&ground.broker, &ground.queue, JobId::generate());
    let lease = Lease { id: id.clone(), token: ground.token() };
    let finished =
        [done(), retry(LEASE), give_back(GiveBack::Stop)].map(|outcome| Finish { lease: lease.clone(), outcome });
    let request = Claim { queue, finished: &finished, max: 5, lease: LEASE, token: ground.token() };
    let claimed = broker.claim(&request).await.expect("claim");
    assert_eq!((claimed.jobs.len(), claimed.finished), (0, vec![Finished::LeaseLost; 3]));
    assert_eq!(broker.enqueue(&[], RequestId::unique()).await.expect("enqueue"), []);
    assert_eq!(broker.extend(queue, std::slice::from_ref(&lease), LEASE).await.expect("extend"), [Extended::Lost]);
    assert!(!broker.set_progress(queue, &lease, "half".into()).await.expect("set_progress"));
    assert!(!broker.abort(queue, &id).await.expect("abort"));
    let queues = [queue.clone()];
    assert_eq!(broker.aborts(&queues, AbortMark::default(), MOMENT, Duration::ZERO).await.expect("aborts").ids, []);
    assert_eq!(broker.result(queue, &id, Duration::ZERO).await.expect("result"), ResultState::NotFound);
    assert!(broker.job(queue, &id).await.expect("job").is_none());
    for filter in [JobFilter::Live, JobFilter::Dead] {
        let page = broker.jobs(queue, filter, None, 10).await.expect("jobs");
        assert!(page.jobs.is_empty() && page.next.is_none());
    }
    assert!(!broker.make_due(queue, &id).await.expect("make_due"));
    assert!(!broker.set_paused(queue, false).await.expect("set_paused"));
    assert_eq!(broker.retry_dead(queue, std::slice::from_ref(&id)).await.expect("retry_dead"), [false]);
    assert_eq!(broker.discard_dead(queue, &[id]).await.expect("discard_dead"), [false]);
    assert_eq!(broker.stats(queue).await.expect("stats").live(), 0);
    broker.set_health("nobody", None, LEASE).await.expect("set_health");
    assert!(!broker.queues().await.expect("queues").contains(queue), "asking makes no queue");
}
