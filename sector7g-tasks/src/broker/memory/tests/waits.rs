use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::{LEASE, START, Worker, deferred, job, job_id, queue};
use crate::broker::{Broker, Claim, Finish, Finished, LeaseToken, MemoryBroker, NewJob, RequestId};
use crate::clock::Clock;

fn broker() -> MemoryBroker {
    MemoryBroker::with_clock(Clock::starting_from(START))
}

const MS: Duration = Duration::from_millis(1);

const LONG: Duration = Duration::from_hours(1);

/// Waits on `names` in a task of its own, and tells when the wait was over.
fn spawn_wait(set: &mut JoinSet<Duration>, broker: &MemoryBroker, names: &[&str]) {
    let (broker, began) = (broker.clone(), Instant::now());
    let queues: Vec<_> = names.iter().map(|name| queue(name)).collect();
    set.spawn(async move {
        broker.wait(&queues, MS, LONG).await.expect("wait");
        began.elapsed()
    });
}

#[tokio::test(start_paused = true)]
async fn a_deferred_job_wakes_in_its_millisecond() {
    let broker = broker();
    sleep(Duration::from_micros(1_700)).await; // the clock shows whole milliseconds, time has parts of them
    for delay in [1, 2, 7, 999, 86_400_000] {
        let id = delay.to_string();
        broker.enqueue(&[deferred("lenny", &id, delay * MS)], RequestId::unique()).await.expect("enqueue");
        let due = broker.job(&queue("lenny"), &job_id(&id)).await.expect("job").expect("it waits").due_at;
        broker.wait(&[queue("lenny")], MS, 2 * 24 * LONG).await.expect("wait");
        assert_eq!(broker.clock().now(), due, "neither before nor after");
        let mut worker = Worker::new(&broker, "lenny");
        let claimed = worker.claim(10).await;
        assert_eq!(claimed.len(), 1);
        worker.finish(&claimed[0].lease, super::done()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_waiter_keeps_the_time_for_all() {
    let broker = broker();
    let mut waits = JoinSet::new();
    for second in [1, 3] {
        broker
            .enqueue(&[deferred("lenny", &second.to_string(), second * 1_000 * MS)], RequestId::unique())
            .await
            .expect("enqueue");
    }
    for _ in 0..50 {
        spawn_wait(&mut waits, &broker, &["lenny"]);
    }
    sleep(MS).await;
    broker.enqueue(&[deferred("lenny", "2", 1_999 * MS)], RequestId::unique()).await.expect("enqueue");
    for second in 1..=3 {
        let took = waits.join_next().await.expect("a wait").expect("no panic");
        assert_eq!(took.as_secs(), second, "one wait a job");
        assert_eq!(Worker::new(&broker, "lenny").claim(10).await.len(), 1);
        sleep(100 * MS).await;
        assert!(waits.try_join_next().is_none(), "the others sleep on");
    }
    assert_eq!(waits.len(), 47);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_goes_hands_on_the_time() {
    let broker = broker();
    broker.enqueue(&[deferred("lenny", "a", 100 * MS)], RequestId::unique()).await.expect("enqueue");
    let queues = [queue("lenny")];
    for first_waits in [48 * MS, 98 * MS] {
        let mut waits = JoinSet::new();
        let mut first = Box::pin(broker.wait(&queues, MS, LONG));
        assert!(timeout(MS, &mut first).await.is_err(), "not due yet");
        spawn_wait(&mut waits, &broker, &["lenny"]);
        sleep(first_waits).await;
        drop(first);
        let took = waits.join_next().await.expect("a wait").expect("no panic");
        assert!(took <= 100 * MS, "{took:?}");
        waits.shutdown().await;
        assert_eq!(Worker::new(&broker, "lenny").claim(1).await.len(), 1, "it is due, and no earlier");
        broker.enqueue(&[deferred("lenny", "b", 100 * MS)], RequestId::unique()).await.expect("enqueue");
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiter_of_many_queues_holds_up_none() {
    let broker = broker();
    let mut waits = JoinSet::new();
    let mut both = Box::pin(async {
        let queues = [queue("lenny"), queue("carl")];
        broker.wait(&queues, MS, LONG).await.expect("wait");
    });
    assert!(timeout(MS, &mut both).await.is_err());
    spawn_wait(&mut waits, &broker, &["carl"]);
    sleep(MS).await;
    broker.enqueue(&[deferred("carl", "later", 50 * MS)], RequestId::unique()).await.expect("enqueue");
    broker.enqueue(&[job("lenny", "now")], RequestId::unique()).await.expect("enqueue"); // wakes `both`, which keeps carl's time as well
    let took = waits.join_next().await.expect("a wait").expect("no panic");
    assert_eq!(took, 51 * MS, "carl's time is kept by the next waiter");
    drop(both);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_wake_is_passed_on_at_once() {
    let broker = broker();
    let queues = [queue("lenny")];
    for n in 0..5 {
        let mut first = Box::pin(broker.wait(&queues, MS, LONG));
        assert!(timeout(MS, &mut first).await.is_err());
        let mut waits = JoinSet::new();
        spawn_wait(&mut waits, &broker, &["lenny"]);
        sleep(MS).await;
        let began = Instant::now();
        broker.enqueue(&[job("lenny", &n.to_string())], RequestId::unique()).await.expect("enqueue");
        drop(first);
        waits.join_next().await.expect("a wait").expect("no panic");
        assert_eq!(began.elapsed(), Duration::ZERO, "nobody's timer was needed");
        assert_eq!(Worker::new(&broker, "lenny").claim(1).await.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_abort_wakes_nobody_twice() {
    let broker = broker();
    broker.enqueue(&[job("lenny", "a")], RequestId::unique()).await.expect("enqueue");
    Worker::new(&broker, "lenny").claim(1).await;
    let mut waits = JoinSet::new();
    spawn_wait(&mut waits, &broker, &["lenny"]);
    sleep(MS).await;
    assert!(broker.abort(&queue("lenny"), &job_id("a")).await.expect("abort"));
    sleep(100 * MS).await;
    assert!(waits.try_join_next().is_none(), "the job runs: there is nothing to claim");
}

/// Workers on several threads: nothing is lost, run twice or left, and every worker gets to its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn workers_on_threads_lose_nothing() {
    const JOBS: usize = 4_000;
    let broker = MemoryBroker::new();
    let mut workers = JoinSet::new();
    for worker in 0..6_u64 {
        let broker = broker.clone();
        workers.spawn(async move { work(&broker, worker).await });
    }
    for batch in 0..JOBS / 20 {
        let jobs: Vec<_> = (0..20).map(|i| deferred("lenny", &format!("{batch}-{i}"), (i % 3) * MS)).collect();
        broker.enqueue(&jobs, RequestId::unique()).await.expect("enqueue");
        tokio::task::yield_now().await;
    }
    let stop: Vec<_> =
        (0..6).map(|i| NewJob { payload: "stop".into(), ..deferred("lenny", &format!("stop {i}"), 50 * MS) }).collect();
    broker.enqueue(&stop, RequestId::unique()).await.expect("enqueue");
    let done: usize = timeout(LONG / 60, workers.join_all()).await.expect("every worker ends").into_iter().sum();
    assert_eq!(done, JOBS);
    assert_eq!(broker.stats(&queue("lenny")).await.expect("stats").live(), 0);
}

/// Runs jobs, three at a time, until one says stop; tells how many.
async fn work(broker: &MemoryBroker, worker: u64) -> usize {
    let (queues, mut ran) = ([queue("lenny")], 0);
    let mut finished = Vec::new();
    for call in 0.. {
        let max = if finished.is_empty() { 1 + usize::try_from(call % 3).expect("small") } else { 1 };
        let token = LeaseToken { worker, call };
        let request = Claim { queue: &queues[0], finished: &finished, max, lease: LEASE, token };
        let claimed = broker.claim(&request).await.expect("claim");
        assert!(claimed.finished.iter().all(|finished| *finished == Finished::Applied));
        let stops = claimed.jobs.iter().filter(|job| job.payload.as_deref() == Some(b"stop")).count();
        ran += claimed.jobs.len() - stops;
        finished = claimed.jobs.into_iter().map(|job| Finish { lease: job.lease, outcome: super::done() }).collect();
        if stops > 0 {
            return ran + stop(broker, worker, call + 1, &finished, stops).await;
        }
        if finished.is_empty() {
            broker.wait(&queues, MS, LONG).await.expect("wait");
        }
    }
    unreachable!("calls do not run out")
}

/// Reports what is left, and passes on the stops that were meant for others.
async fn stop(broker: &MemoryBroker, worker: u64, call: u64, finished: &[Finish], stops: usize) -> usize {
    let request = Claim { queue: &queue("lenny"), finished, max: 0, lease: LEASE, token: LeaseToken { worker, call } };
    broker.claim(&request).await.expect("claim");
    let others: Vec<_> =
        (1..stops).map(|i| NewJob { payload: "stop".into(), ..job("lenny", &format!("stop {worker} {i}")) }).collect();
    broker.enqueue(&others, RequestId::unique()).await.expect("enqueue");
    0
}
