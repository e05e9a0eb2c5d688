//! The steps of a job's life, each by itself.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sector7g_tasks::__private;
use sector7g_tasks::args::Arguments;
use sector7g_tasks::broker::{
    Claim, Claimed, ClaimedJob, Finish, Finished, KeptResult, LeaseToken, MAX_BATCH, NewJob, Outcome, QueueName,
    RequestId,
};
use sector7g_tasks::prelude::*;
use sector7g_tasks::task::RunFuture;

use crate::dispatch::contexts;
use crate::noop::{jobs, noop, number};
use crate::{AT_ONCE, Case, Ran, Results, Threads, name, runtime};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![encode()];
    cases.extend(AT_ONCE.map(claim));
    cases.extend([decode(), bind(), middleware(), call(), encode_value(), encode_record()]);
    for at_once in AT_ONCE {
        cases.extend([Results::Dropped, Results::Kept].map(|results| finish(at_once, results)));
    }
    for at_once in AT_ONCE {
        cases.extend([Results::Dropped, Results::Kept].map(|results| finish_and_claim(at_once, results)));
    }
    cases
}

fn client() -> Client {
    Client::new(Arc::new(MemoryBroker::new()))
}

/// Jobs as a client hands them to its broker.
pub(crate) fn encoded(client: &Client, count: usize) -> Vec<NewJob> {
    jobs(count).map(|job| client.encode(&job).expect("it can be encoded")).collect()
}

/// Their payloads, in bytes of their own as a broker has them.
pub(crate) fn payloads(count: usize) -> Vec<Bytes> {
    encoded(&client(), count).into_iter().map(|job| job.payload).collect()
}

fn timed<T>(items: Vec<T>, mut each: impl FnMut(T)) -> Ran {
    let started = Instant::now();
    items.into_iter().for_each(&mut each);
    Ran { took: started.elapsed(), left: Box::new(()) }
}

/// Writing a job, its id included.
fn encode() -> Case {
    Case::new("encode", Threads::One, |count| {
        let (client, jobs) = (client(), jobs(count).collect::<Vec<_>>());
        move || timed(jobs, |job| drop(black_box(client.encode(&job))))
    })
}

/// Reading what stands around a job's arguments.
fn decode() -> Case {
    Case::new("decode", Threads::One, |count| {
        let payloads = payloads(count);
        move || timed(payloads, |payload| drop(black_box(Arguments::of_job(&payload))))
    })
}

/// Reading the arguments into the function's own types.
fn bind() -> Case {
    Case::new("bind", Threads::One, |count| {
        let read = |payload| Arguments::of_job(&payload).expect("it can be read");
        let arguments: Vec<Arguments> = payloads(count).into_iter().map(read).collect();
        move || {
            timed(arguments, |arguments| {
                let bound = (noop::DEF.check)(black_box(&arguments));
                assert!(bound.is_ok());
            })
        }
    })
}

/// A middleware that only goes on.
#[derive(Debug)]
struct Through;

#[async_trait]
impl Middleware for Through {
    async fn run(&self, ctx: &Context, next: Next<'_>) -> RunResult {
        next.run(ctx).await
    }
}

/// One middleware, around a task that is ready at once.
fn middleware() -> Case {
    Case::new("middleware", Threads::One, |count| {
        let layers: Vec<Arc<dyn Middleware>> = vec![Arc::new(Through)];
        let (contexts, results): (Vec<Context>, Vec<RunResult>) = values(count).into_iter().unzip();
        let ready = |result: RunResult| Box::pin(async move { result }) as RunFuture;
        let tasks: Vec<RunFuture> = results.into_iter().map(ready).collect();
        awaited(contexts, tasks, async move |ctx: &Context, task| __private::next(&layers, task).run(ctx).await)
    })
}

/// The bound function, run to its end; writing its value is in it.
fn call() -> Case {
    Case::new("call", Threads::One, |count| {
        let contexts = contexts(count);
        let bound = |ctx: &Context| (noop::DEF.run)(ctx.clone()).expect("it can be bound");
        let tasks: Vec<RunFuture> = contexts.iter().map(bound).collect();
        awaited(contexts, tasks, async |_: &Context, task: RunFuture| task.await)
    })
}

/// Awaits each of `tasks` on one thread; the contexts outlive it, as freeing one is no part of a step.
fn awaited<F>(contexts: Vec<Context>, tasks: Vec<RunFuture>, each: F) -> impl FnOnce() -> Ran
where
    F: AsyncFn(&Context, RunFuture) -> RunResult,
{
    let runtime = runtime(Threads::One);
    move || {
        let took = runtime.block_on(async {
            let started = Instant::now();
            for (ctx, task) in contexts.iter().zip(tasks) {
                assert!(black_box(each(ctx, task).await).is_ok());
            }
            started.elapsed()
        });
        Ran { took, left: Box::new(contexts) }
    }
}

/// Writing what the function returned.
fn encode_value() -> Case {
    Case::new("encode-value", Threads::One, |count| {
        let contexts = contexts(count);
        move || {
            let Ran { took, .. } = timed(contexts.iter().collect(), |ctx: &Context| {
                assert!(black_box(ctx.encode(&number(0))).is_ok());
            });
            Ran { took, left: Box::new(contexts) }
        }
    })
}

/// Writing what is stored of it where results are kept.
fn encode_record() -> Case {
    Case::new("encode-record", Threads::One, |count| {
        let values = values(count);
        move || {
            let Ran { took, .. } = timed(values.iter().collect(), |(ctx, value): &(Context, RunResult)| {
                let record = value.as_ref().map(|value| __private::record(ctx, value));
                assert!(matches!(black_box(record), Ok(Ok(_))));
            });
            Ran { took, left: Box::new(values) }
        }
    })
}

/// What so many jobs returned, each with its context.
fn values(count: usize) -> Vec<(Context, RunResult)> {
    let encoded = |(index, ctx): (usize, Context)| {
        let result = ctx.encode(&number(index));
        (ctx, result)
    };
    contexts(count).into_iter().enumerate().map(encoded).collect()
}

/// Taking jobs, in calls of `at_once`, on the memory broker.
fn claim(at_once: usize) -> Case {
    Case::new(name("claim", at_once, None, Threads::One), Threads::One, move |count| {
        let (broker, runtime) = (filled(count), runtime(Threads::One));
        move || {
            let started = Instant::now();
            let claimed = runtime.block_on(claim_all(&broker, at_once));
            Ran { took: started.elapsed(), left: Box::new((broker, claimed)) }
        }
    })
}

/// Reporting jobs, in calls of `at_once`.
fn finish(at_once: usize, results: Results) -> Case {
    Case::new(name("finish", at_once, Some(results), Threads::One), Threads::One, move |count| {
        let broker = filled(count);
        let claimed = runtime(Threads::One).block_on(claim_all(&broker, at_once));
        let calls: Vec<Vec<Finish>> = claimed.into_iter().map(|jobs| ended(jobs, results)).collect();
        let runtime = runtime(Threads::One);
        move || {
            let took = runtime.block_on(async {
                let queue = queue();
                let started = Instant::now();
                for (call, finished) in (1..).zip(&calls) {
                    let token = LeaseToken { worker: 2, call };
                    let request = Claim { queue: &queue, finished, max: 0, lease: LEASE, token };
                    assert_applied(&broker.claim(&request).await.expect("it answers"));
                }
                started.elapsed()
            });
            Ran { took, left: Box::new((broker, calls)) }
        }
    })
}

/// Both in one call, as a worker does.
fn finish_and_claim(at_once: usize, results: Results) -> Case {
    Case::new(name("finish-and-claim", at_once, Some(results), Threads::One), Threads::One, move |count| {
        let (broker, runtime) = (filled(count), runtime(Threads::One));
        move || {
            let took = runtime.block_on(work_off(&broker, at_once, results));
            Ran { took, left: Box::new(broker) }
        }
    })
}

/// Takes all jobs of a broker, and reports each call's with the next call.
pub(crate) async fn work_off(broker: &dyn Broker, at_once: usize, results: Results) -> Duration {
    let (queue, mut finished) = (queue(), Vec::new());
    let started = Instant::now();
    for call in 1.. {
        let token = LeaseToken { worker: 1, call };
        let request = Claim { queue: &queue, finished: &finished, max: at_once, lease: LEASE, token };
        let claimed = broker.claim(&request).await.expect("it answers");
        assert_applied(&claimed);
        if claimed.jobs.is_empty() {
            break;
        }
        finished = ended(claimed.jobs, results);
    }
    started.elapsed()
}

async fn claim_all(broker: &MemoryBroker, at_once: usize) -> Vec<Vec<ClaimedJob>> {
    let (queue, mut calls) = (queue(), Vec::new());
    for call in 1.. {
        let token = LeaseToken { worker: 1, call };
        let request = Claim { queue: &queue, finished: &[], max: at_once, lease: LEASE, token };
        let Claimed { jobs, .. } = broker.claim(&request).await.expect("it answers");
        if jobs.is_empty() {
            break;
        }
        calls.push(jobs);
    }
    calls
}

fn ended(jobs: Vec<ClaimedJob>, results: Results) -> Vec<Finish> {
    let keep = Some(Duration::from_hours(1));
    let record = Bytes::from_static(&[b' '; RECORD_SIZE]);
    let result = (results == Results::Kept).then_some(KeptResult { record, keep });
    let ended = |job: ClaimedJob| Finish {
        lease: job.lease,
        outcome: Outcome::End { result: result.clone(), dead: None, hold_id: Duration::ZERO },
    };
    jobs.into_iter().map(ended).collect()
}

fn assert_applied(claimed: &Claimed) {
    assert!(claimed.finished.iter().all(|answer| *answer == Finished::Applied));
}

fn queue() -> QueueName {
    QueueName::new(noop::DEF.queue).expect("a valid name")
}

/// None ends meanwhile, however slow valgrind is.
const LEASE: Duration = Duration::from_hours(1);

/// A broker with so many jobs.
pub(crate) fn filled(count: usize) -> MemoryBroker {
    let broker = MemoryBroker::new();
    let client = Client::new(Arc::new(broker.clone()));
    runtime(Threads::One).block_on(fill(&broker, &encoded(&client, count), MAX_BATCH));
    broker
}

/// Enqueues these, so many a call.
pub(crate) async fn fill(broker: &dyn Broker, jobs: &[NewJob], a_call: usize) {
    for batch in jobs.chunks(a_call) {
        let added = broker.enqueue(batch, RequestId::unique()).await.expect("they fit");
        assert_eq!(added.len(), batch.len());
    }
}

/// About what a result record of the job has, in bytes.
const RECORD_SIZE: usize = 240;
