//! The steps of a job's life, each by itself.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sector7g_tasks::args::Arguments;
use sector7g_tasks::broker::{
    Claim, Claimed, ClaimedJob, Finish, Finished, KeptResult, LeaseToken, MAX_BATCH, NewJob, Outcome, QueueName,
    RequestId,
};
use sector7g_tasks::prelude::*;

use crate::noop::{jobs, noop};
use crate::{AT_ONCE, Case, Ran, Results, Threads, name, runtime};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![encode(), decode(), bind()];
    for at_once in AT_ONCE {
        cases.extend([Results::Dropped, Results::Kept].map(|results| claim(at_once, results)));
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

/// Finishing jobs and claiming the next ones, on the memory broker, in calls of `at_once` jobs.
fn claim(at_once: usize, results: Results) -> Case {
    Case::new(name("claim", at_once, Some(results), Threads::One), Threads::One, move |count| {
        let broker = filled(count);
        let runtime = runtime(Threads::One);
        move || {
            let took = runtime.block_on(claim_all(&broker, at_once, results));
            Ran { took, left: Box::new(broker) }
        }
    })
}

/// A broker with so many jobs.
pub(crate) fn filled(count: usize) -> MemoryBroker {
    let broker = MemoryBroker::new();
    let client = Client::new(Arc::new(broker.clone()));
    runtime(Threads::One).block_on(async {
        for batch in encoded(&client, count).chunks(MAX_BATCH) {
            let added = broker.enqueue(batch, RequestId::unique()).await.expect("they fit");
            assert_eq!(added.len(), batch.len());
        }
    });
    broker
}

async fn claim_all(broker: &MemoryBroker, at_once: usize, results: Results) -> Duration {
    let queue = QueueName::new(noop::DEF.queue).expect("a valid name");
    let record = Bytes::from(vec![b' '; RECORD_SIZE]);
    let mut finished = Vec::new();
    let started = Instant::now();
    for call in 1.. {
        let token = LeaseToken { worker: 1, call };
        let lease = Duration::from_secs(10);
        let request = Claim { queue: &queue, finished: &finished, max: at_once, lease, token };
        let Claimed { jobs, finished: answers, .. } = broker.claim(&request).await.expect("it answers");
        assert!(answers.iter().all(|answer| *answer == Finished::Applied));
        if jobs.is_empty() {
            break;
        }
        let keep = Some(Duration::from_hours(1));
        let result = (results == Results::Kept).then(|| KeptResult { record: record.clone(), keep });
        let ended = |job: ClaimedJob| Finish {
            lease: job.lease,
            outcome: Outcome::End { result: result.clone(), dead: None, hold_id: Duration::ZERO },
        };
        finished = jobs.into_iter().map(ended).collect();
    }
    started.elapsed()
}

/// About what a result record of the job has, in bytes.
const RECORD_SIZE: usize = 240;
