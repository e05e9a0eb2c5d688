//! What dispatching is measured against: the same function with the same JSON, on bare tasks of tokio.
//!
//! Each spawn reads the very payload that a worker is given, all of it, and writes what a worker
//! writes: the value, or the record with the value in it where results are kept. It does so in one pass
//! each, by types that know the function's arguments. Nothing of the broker is in it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::layers::payloads;
use crate::noop::noop;
use crate::{Case, Ran, Results, Threads, name, runtime};

pub(crate) fn case(threads: Threads, at_once: usize, results: Results) -> Case {
    Case::new(name("bare", at_once, Some(results), threads), threads, move |jobs| {
        let payloads = payloads(jobs);
        let runtime = runtime(threads);
        move || {
            let work = runtime.spawn(spawn_all(payloads, at_once, results));
            let took = runtime.block_on(work).expect("nothing in it panics");
            Ran { took, left: Box::new(runtime) }
        }
    })
}

#[expect(clippy::disallowed_methods, reason = "the bare spawn is the very measure")]
async fn spawn_all(payloads: Vec<Bytes>, at_once: usize, results: Results) -> Duration {
    let mut handles = Vec::with_capacity(at_once);
    let mut payloads = payloads.into_iter();
    let started = Instant::now();
    loop {
        handles.extend(payloads.by_ref().take(at_once).map(|payload| tokio::spawn(run(payload, results))));
        if handles.is_empty() {
            return started.elapsed();
        }
        for handle in handles.drain(..) {
            let result = handle.await.expect("it does not panic");
            assert!(!result.is_empty());
        }
    }
}

/// A stored job.
#[derive(Deserialize)]
struct JobIn<'a> {
    t: Option<u32>,
    f: &'a str,
    a: (u64, &'a str),
    k: NoneNamed,
    et: i64,
}

#[derive(Deserialize, Serialize)]
struct NoneNamed {}

/// A stored result.
#[derive(Serialize)]
struct ResultOut<'a> {
    t: u32,
    f: &'a str,
    a: (u64, &'a str),
    k: NoneNamed,
    et: i64,
    s: bool,
    r: u64,
    st: i64,
    ft: i64,
    q: &'a str,
    id: &'a str,
}

async fn run(payload: Bytes, results: Results) -> Vec<u8> {
    let job: JobIn<'_> = serde_json::from_slice(&payload).expect("it was made so");
    let value = noop(job.a.0, job.a.1.to_owned()).await;
    let written = match results {
        Results::Dropped => serde_json::to_vec(&value),
        Results::Kept => serde_json::to_vec(&record(job, value)),
    };
    written.expect("it is JSON")
}

fn record(job: JobIn<'_>, value: u64) -> ResultOut<'_> {
    let JobIn { t, f, a, k, et } = job;
    ResultOut { t: t.unwrap_or(1), f, a, k, et, s: true, r: value, st: et, ft: et, q: "bench", id: ID }
}

/// As long as those that a client makes.
const ID: &str = "0199a1b2c3d47e5f8091a2b3c4d5e6f7";

#[test]
fn it_writes_what_a_worker_does() {
    let payload = payloads(1).remove(0);
    let written = |results| runtime(Threads::One).block_on(run(payload.clone(), results));
    assert_eq!(written(Results::Dropped), b"7000000000");
    let record = String::from_utf8(written(Results::Kept)).expect("JSON is text");
    let start = r#"{"t":1,"f":"noop","a":[7000000000,"the quick brown fox, 32 bytes up"],"k":{},"et":"#;
    assert!(record.starts_with(start), "{record}");
    let end = format!(r#","q":"bench","id":"{ID}"}}"#);
    assert!(record.contains(r#","s":true,"r":7000000000,"st":"#) && record.ends_with(&end), "{record}");
}
