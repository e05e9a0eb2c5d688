//! Payloads from nothing to far over the limit, and what a failed job may leave behind.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use sector7g_tasks::broker::{Broker, Due, NewJob, QueueName, RedisBroker, RequestId};
use sector7g_tasks::client::{EnqueueError, MAX_PAYLOAD};
use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::job::MAX_FAILURE_TEXT;
use sector7g_tasks::prelude::*;
use sector7g_tasks::testing::Harness;
use support::{Lines, RedisServer};

#[task(queue = "sizes")]
async fn length(text: String) -> usize {
    text.len()
}

#[task(queue = "sizes")]
async fn repeats(bytes: usize) -> String {
    "x".repeat(bytes)
}

#[task(queue = "sizes")]
async fn enqueues(ctx: &Context, bytes: usize) -> Result<String, String> {
    let enqueued = ctx.client().enqueue(length::job("x".repeat(bytes))).await;
    enqueued.map(|job| job.id().to_string()).map_err(|error| error.to_string())
}

/// An error whose texts have ten million bytes, with ten thousand causes.
#[derive(Debug)]
struct Endless(usize);

impl fmt::Display for Endless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = "é".repeat(50_000);
        (0..if self.0 == 0 { 100 } else { 1 }).try_for_each(|_| f.write_str(&text))
    }
}

#[derive(Debug)]
struct Chained(Endless, Option<Box<Chained>>);

impl fmt::Display for Chained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Chained {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1.as_deref().map(|cause| cause as _)
    }
}

/// Dropped one by one: a chain of boxes is dropped by recursion, ten thousand deep.
impl Drop for Chained {
    fn drop(&mut self) {
        let mut next = self.1.take();
        while let Some(mut cause) = next {
            next = cause.1.take();
        }
    }
}

#[task(queue = "sizes", max_tries = 2, backoff = "fixed(1ms)")]
async fn fails_at_length() -> Result<(), Chained> {
    let causes = (1..=10_000).rev().fold(None, |cause, n| Some(Box::new(Chained(Endless(n), cause))));
    Err(Chained(Endless(0), causes))
}

#[task(queue = "sizes")]
async fn panics_at_length() {
    panic!("{}", Endless(0));
}

#[derive(Worker)]
#[worker(queue = "sizes", max_payload_size = 100_000, max_result_size = 50_000)]
struct Sizes;

fn inventory() -> Inventory {
    let tasks = Inventory::empty().task::<length>().task::<repeats>().task::<enqueues>();
    tasks.task::<fails_at_length>().task::<panics_at_length>().worker::<Sizes>()
}

/// One that runs on a real server, and one without.
fn harnesses(server: &RedisServer) -> [(&'static str, Harness); 2] {
    let redis = RedisBroker::builder(server.url()).build().unwrap();
    let on = |broker: Arc<dyn Broker>| Harness::on(broker).inventory(inventory());
    [("memory", on(Arc::new(MemoryBroker::new()))), ("redis", on(Arc::new(redis)))]
}

/// As another producer stores it, who has no limit.
async fn store(harness: &Harness, id: &str, payload: Vec<u8>) -> JobHandle<Untyped> {
    let job = NewJob {
        queue: QueueName::new("sizes").unwrap(),
        id: JobId::new(id).unwrap(),
        is_new_id: false,
        payload: payload.into(),
        due: Due::Now,
        expires_in: None,
        replace_finished: false,
    };
    harness.broker().enqueue(&[job], RequestId::unique()).await.unwrap();
    harness.client().job("sizes", id).unwrap()
}

/// A job of `length`, in JSON, of exactly so many bytes.
fn job_of(size: usize) -> Vec<u8> {
    let frame = r#"{"f":"length","a":[""],"k":{},"et":1}"#;
    frame.replace("\"\"", &format!("\"{}\"", "x".repeat(size - frame.len()))).into_bytes()
}

#[tokio::test]
async fn payloads_of_other_producers_have_the_workers_limit() {
    let server = RedisServer::start();
    for (broker, harness) in harnesses(&server) {
        let at_limit = store(&harness, "at-limit", job_of(100_000)).await;
        let over = store(&harness, "over", job_of(100_001)).await;
        let far_over = store(&harness, "far-over", [job_of(50_000), vec![b' '; 20_000_000]].concat()).await;
        let empty = store(&harness, "empty", Vec::new()).await;
        let one_byte = store(&harness, "one-byte", b"{".to_vec()).await;
        let neighbour = harness.client().enqueue(length::job("four".to_owned())).await.unwrap();
        let report = harness.drain().await.unwrap();
        assert_eq!((report.done(), report.failed()), (2, 4), "{broker}");
        assert_eq!(at_limit.result().await.unwrap(), serde_json::json!(100_000 - 37), "{broker}");
        assert_eq!(neighbour.result().await.unwrap(), 4);
        for (job, size) in [(over, 100_001), (far_over, 20_050_000)] {
            let info = job.info().await.unwrap().unwrap();
            assert_eq!((info.state, info.task.as_deref()), (JobState::Dead, Some("length")), "kept whole, on {broker}");
            let failure = job.result().await.unwrap_err().failure().unwrap().clone();
            assert_eq!(failure.kind, FailureKind::Payload, "{broker}");
            let limit = format!(
                "the job has {size} bytes, more than max_payload_size (100000), and was not read; pass a reference to \
                 where its data is, or raise the limit and retry it"
            );
            assert_eq!(failure.message, limit, "{broker}");
        }
        for job in [empty, one_byte] {
            assert_eq!(job.result().await.unwrap_err().failure().unwrap().kind, FailureKind::Payload, "{broker}");
        }
        assert_eq!(harness.dead_letters("sizes").await.unwrap().len(), 4, "{broker}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_refuses_what_is_over_its_limit_before_it_is_sent() {
    let harness = Harness::new().inventory(inventory());
    let client = harness.client();
    let refused = client.enqueue(length::job("x".repeat(MAX_PAYLOAD))).await.unwrap_err();
    let EnqueueError::TooLarge { size, limit: MAX_PAYLOAD, .. } = refused else { panic!("{refused}") };
    let advice = "pass a reference to where its data is instead";
    assert_eq!(
        refused.to_string(),
        format!("a job of task `length` has {size} bytes, more than {MAX_PAYLOAD}; {advice}")
    );
    // Exactly at the limit it is taken; a batch with one that is over it is refused whole.
    let fits = MAX_PAYLOAD - (size - MAX_PAYLOAD);
    client.enqueue(length::job("x".repeat(fits))).await.unwrap();
    client.enqueue(length::job("x".repeat(fits + 1))).await.unwrap_err();
    let batch = [fits + 1, 1].map(|bytes| length::job("x".repeat(bytes)));
    client.enqueue_all(batch).await.unwrap_err();
    client.clone().max_payload(10).enqueue(length::job(String::new())).await.unwrap_err();
    client.clone().max_payload(2 * MAX_PAYLOAD).enqueue(length::job("x".repeat(fits + 1))).await.unwrap();
    assert_eq!(client.stats("sizes").await.unwrap().queued, 2);
}

/// What its tasks enqueue has the worker's own limit, so that it can run what it enqueues.
#[tokio::test(start_paused = true)]
async fn a_context_enqueues_within_the_workers_limit() {
    let harness = Harness::new().inventory(inventory());
    harness.run(enqueues::job(90_000)).await.unwrap();
    let refused = harness.run(enqueues::job(100_000)).await.unwrap_err();
    assert!(refused.failure().unwrap().message.contains("more than 100000; pass a reference"), "{refused}");
}

/// Whatever a task's error has to say, what is stored and logged of it is bounded.
#[tokio::test]
async fn failures_and_results_of_any_size_are_cut_or_refused() {
    let server = RedisServer::start();
    let lines = Lines::capture_everywhere();
    for (broker, harness) in harnesses(&server) {
        let client = harness.client();
        let endless = client.enqueue(fails_at_length::job().id("endless")).await.unwrap();
        let panicking = client.enqueue(panics_at_length::job().id("panicking")).await.unwrap();
        let too_large = client.enqueue(repeats::job(50_000)).await.unwrap();
        let fits = client.enqueue(repeats::job(49_998)).await.unwrap();
        harness.drain().await.unwrap();
        assert_eq!(fits.result().await.unwrap().len(), 49_998, "{broker}");
        let failure = too_large.result().await.unwrap_err().failure().unwrap().clone();
        assert_eq!(failure.kind, FailureKind::Result);
        let problem = "the result has 50002 bytes, more than max_result_size (50000); store it elsewhere";
        assert!(failure.message.contains(problem), "{broker}: {failure}");
        let queue = QueueName::new("sizes").unwrap();
        for job in [endless.id(), panicking.id()] {
            let record = harness.broker().job(&queue, job).await.unwrap().unwrap();
            assert_eq!(record.state, JobState::Dead);
            for failure in &record.failures {
                assert!(failure.message.len() <= MAX_FAILURE_TEXT + 4 && failure.causes.len() <= 8, "{broker}");
                assert!(failure.causes.iter().all(|cause| cause.len() <= MAX_FAILURE_TEXT + 4), "{broker}");
            }
            assert!(record.result.unwrap().len() < 200_000, "{broker}");
        }
        assert_eq!(harness.broker().job(&queue, endless.id()).await.unwrap().unwrap().failures.len(), 2);
    }
    let longest = lines.all().into_iter().map(|line| line.len()).max().unwrap();
    assert!(longest < 100_000, "a line of the log has {longest} bytes");
}

/// Values at the edges of what a job can hold, through a whole worker.
#[tokio::test(start_paused = true)]
async fn odd_values_fail_one_job_each() {
    #[derive(Worker)]
    #[worker(queue = "sizes", max_payload_size = 20_000_000)]
    struct Roomy;
    let harness = Harness::new().inventory(Inventory::empty().task::<length>().worker::<Roomy>());
    let json = |argument: &str| format!(r#"{{"f":"length","a":[{argument}],"k":{{}},"et":1}}"#).into_bytes();
    let list = format!("[{}1]", "1,".repeat(1_000_000));
    let digits = "9".repeat(1_000_000);
    let pickle = |argument: &[u8]| {
        [&b"\x80\x04}(\x8c\x01f\x8c\x06length\x8c\x01a"[..], argument, b"\x85\x8c\x01k}\x8c\x02etK\x01u."].concat()
    };
    let integer = [&b"\x8b\x40\x42\x0f\x00"[..], &vec![0x7f; 1_000_000]].concat();
    let many = [&b"("[..], &b"K\x01".repeat(1_000_000), b"l"].concat();
    let msgpack_list =
        [&b"\x84\xa1f\xa6length\xa1a\x91\xdd\x00\x0f\x42\x40"[..], &vec![1; 1_000_000], b"\xa1k\x80\xa2et\x01"];
    let payloads = [
        json(&list),
        json(&digits),
        json(&format!("-{digits}.{digits}e-{digits}")),
        json(&"[".repeat(1_000_000)),
        json(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))),
        pickle(&integer),
        pickle(&many),
        msgpack_list.concat(),
    ];
    let mut jobs = Vec::new();
    for (n, payload) in payloads.into_iter().enumerate() {
        jobs.push(store(&harness, &format!("odd-{n}"), payload).await);
    }
    let neighbour = harness.client().enqueue(length::job("fine".to_owned())).await.unwrap();
    harness.drain().await.unwrap();
    assert_eq!(neighbour.result().await.unwrap(), 4);
    for job in jobs {
        let failure = job.result().await.unwrap_err().failure().unwrap().clone();
        assert!(matches!(failure.kind, FailureKind::Arguments | FailureKind::Payload), "{}: {failure}", job.id());
        assert!(failure.message.len() < 1_000, "{} bytes are said of {}", failure.message.len(), job.id());
    }
}
