//! What dispatching is measured against: the same function with the same JSON, on bare tasks of tokio.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::noop::{TEXT, noop, number};
use crate::{Case, Ran, Threads, name, runtime};

pub(crate) fn case(threads: Threads, at_once: usize) -> Case {
    Case::new(name("bare", at_once, None, threads), threads, move |jobs| {
        let arguments = arguments(jobs);
        let runtime = runtime(threads);
        move || {
            let work = runtime.spawn(spawn_all(arguments, at_once));
            let took = runtime.block_on(work).expect("nothing in it panics");
            Ran { took, left: Box::new(runtime) }
        }
    })
}

/// The JSON of each job's arguments, in bytes of its own as a broker has them.
fn arguments(jobs: usize) -> Vec<Bytes> {
    let text = |index| serde_json::to_vec(&(number(index), TEXT)).expect("numbers and texts are JSON");
    (0..jobs).map(|index| text(index).into()).collect()
}

#[expect(clippy::disallowed_methods, reason = "the bare spawn is the very measure")]
async fn spawn_all(arguments: Vec<Bytes>, at_once: usize) -> Duration {
    let mut handles = Vec::with_capacity(at_once);
    let mut arguments = arguments.into_iter();
    let started = Instant::now();
    loop {
        handles.extend(arguments.by_ref().take(at_once).map(|bytes| tokio::spawn(run(bytes))));
        if handles.is_empty() {
            return started.elapsed();
        }
        for handle in handles.drain(..) {
            let result = handle.await.expect("it does not panic");
            assert!(!result.is_empty());
        }
    }
}

async fn run(arguments: Bytes) -> Vec<u8> {
    let (number, text) = serde_json::from_slice(&arguments).expect("they were made so");
    let result = noop(number, text).await;
    serde_json::to_vec(&result).expect("a number is JSON")
}
