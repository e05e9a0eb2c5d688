//! What becomes of a job's spans inside one process.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry::trace::{SpanKind, Status};
use opentelemetry_sdk::trace::{Sampler, SpanData};
use sector7g_tasks::broker::{JobFilter, NewJob, QueueName, RequestId};
use sector7g_tasks::client::EnqueueError;
use sector7g_tasks::inspect::{JobView, Reveal};
use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::prelude::*;
use sector7g_tasks::testing::Harness;
use serde_json::{Value, json};
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;
use tracing::{Instrument, info_span};

use super::{Traced, assert_child, assert_root, attribute};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[task(queue = "outer")]
async fn outer(ctx: &Context) -> Result<(), EnqueueError> {
    let inside = info_span!("inside");
    ctx.client().enqueue(inner::job(1).id("inner")).instrument(inside).await.map(drop)
}

#[task(queue = "inner")]
async fn inner(add: u32) -> u32 {
    1 + add
}

#[task(queue = "inner", max_tries = 2, backoff = "fixed(1s)")]
async fn breaks(ctx: &Context, how: String) -> Result<u32, TaskError> {
    match &*how {
        "twice" => Err("broken".into()),
        "once" if ctx.attempt() == 1 => Err("broken".into()),
        "hangs" => std::future::pending().await,
        _ => Ok(ctx.attempt()),
    }
}

fn harness() -> Harness {
    Harness::new().inventory(Inventory::empty().task::<outer>().task::<inner>().task::<breaks>())
}

/// What a job waiting in a queue carries.
async fn carried(harness: &Harness, queue: &str) -> Value {
    let queue = QueueName::new(queue).unwrap();
    let page = harness.broker().jobs(&queue, JobFilter::Live, None, 1).await.unwrap();
    let payload: Value = serde_json::from_slice(page.jobs[0].payload.as_ref().unwrap()).unwrap();
    payload["s7"]["trace"].clone()
}

/// Stores a job of `inner` that carries `trace`, as another producer might.
async fn store(harness: &Harness, id: &str, trace: &Value) {
    let payload = json!({"t": null, "f": "inner", "a": [1], "k": {}, "et": 1, "s7": {"trace": trace}});
    let client = harness.client();
    let mut job: NewJob = client.encode(&inner::job(1).id(id)).unwrap();
    job.payload = Bytes::from(payload.to_string());
    harness.broker().enqueue(&[job], RequestId::unique()).await.unwrap();
}

fn outcomes(spans: &[SpanData]) -> Vec<[String; 3]> {
    let keys = ["sector7g.job.attempt", "sector7g.job.outcome", "error.type"];
    spans.iter().map(|span| keys.map(|key| attribute(span, key))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_trace_goes_from_a_request_through_jobs_to_their_jobs() {
    let (traced, harness) = (Traced::start(), harness());
    let request = info_span!("request");
    harness.client().enqueue(outer::job().id("outer")).instrument(request).await.unwrap();
    harness.drain().await.unwrap();
    let path = ["request", "send outer", "process outer", "inside", "send inner", "process inner"];
    let spans = path.map(|name| traced.one(name));
    assert_root(&spans[0]);
    for pair in spans.windows(2) {
        assert_child(&pair[1], &pair[0]);
    }
    let [_, sent, processed, ..] = &spans;
    assert_eq!((&sent.span_kind, &processed.span_kind), (&SpanKind::Producer, &SpanKind::Consumer));
    assert!(processed.parent_span_is_remote, "it might be another process");
    for (span, operation) in [(sent, "send"), (processed, "process")] {
        for (key, value) in [
            ("messaging.system", "sector7g"),
            ("messaging.destination.name", "outer"),
            ("messaging.operation.name", operation),
            ("messaging.operation.type", operation),
            ("messaging.message.id", "outer"),
        ] {
            assert_eq!(attribute(span, key), value, "{key} of {}", span.name);
        }
        assert_eq!(span.status, Status::Unset);
    }
    assert_eq!(attribute(processed, "sector7g.task.name"), "outer");
    assert_eq!(outcomes(std::slice::from_ref(processed)), [["1", "done", ""]]);
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_a_child_of_the_call_that_enqueued_it() {
    let (traced, harness) = (Traced::start(), harness());
    let client = harness.client();
    client.enqueue(breaks::job("twice".to_owned()).id("dead")).await.unwrap();
    harness.drain().await.unwrap();
    assert!(client.retry_dead("inner", &JobId::new("dead").unwrap()).await.unwrap());
    harness.drain().await.unwrap();
    let (sent, attempts) = (traced.one("send inner"), traced.named("process inner"));
    for attempt in &attempts {
        assert_child(attempt, &sent);
    }
    let [first, last] = [["1", "retried", "error"], ["2", "failed", "error"]];
    assert_eq!(outcomes(&attempts), [first, last, first, last], "also when it is retried as a dead letter");
    assert!(attempts.iter().all(|attempt| attempt.status == Status::error("broken")), "{attempts:?}");
}

#[tokio::test(start_paused = true)]
async fn how_an_attempt_ended_is_told() {
    let (traced, harness) = (Traced::start(), harness());
    let client = harness.client();
    client.enqueue(breaks::job("once".to_owned())).await.unwrap();
    harness.drain().await.unwrap();
    let attempts = traced.named("process inner");
    assert_eq!(outcomes(&attempts), [["1", "retried", "error"], ["2", "done", ""]]);
    assert_eq!(attempts[1].status, Status::Unset, "what went well at last is no error");
    client.enqueue(breaks::job("hangs".to_owned()).max_tries(1)).await.unwrap();
    harness.drain().await.unwrap();
    let timeout = traced.named("process inner").split_off(2);
    assert_eq!(outcomes(&timeout), [["1", "failed", "timeout"]]);

    let aborted = client.enqueue(breaks::job("hangs".to_owned())).await.unwrap();
    let fleet = harness.start();
    harness.advance(Duration::from_secs(1)).await;
    aborted.abort().await.unwrap();
    harness.advance(Duration::from_secs(1)).await;
    client.enqueue(breaks::job("hangs".to_owned())).await.unwrap();
    harness.advance(Duration::from_secs(1)).await;
    fleet.stop().await.unwrap();
    let stopped = traced.named("process inner").split_off(3);
    assert_eq!(outcomes(&stopped), [["1", "aborted", ""], ["1", "given_back", ""]]);
    assert!(stopped.iter().all(|span| span.status == Status::Unset), "neither is a fault");
}

#[tokio::test(start_paused = true)]
async fn a_call_with_many_jobs_is_one_span() {
    let (traced, harness) = (Traced::start(), harness());
    let client = harness.client();
    client.enqueue_all((0..5).map(inner::job)).await.unwrap();
    client.enqueue_all(std::iter::empty::<Job<inner>>()).await.unwrap();
    harness.drain().await.unwrap();
    let (sent, processed) = (traced.one("send inner"), traced.named("process inner"));
    assert_eq!(attribute(&sent, "messaging.batch.message_count"), "5");
    assert_eq!(attribute(&sent, "messaging.message.id"), "");
    assert_eq!(processed.len(), 5);
    for span in &processed {
        assert_child(span, &sent);
    }
    client.enqueue_all([inner::job(1), inner::job(1).queue("outer")]).await.unwrap();
    assert_eq!(attribute(&traced.named("send inner")[1], "messaging.destination.name"), "", "they go to several");
}

#[tokio::test(start_paused = true)]
async fn an_enqueueing_that_fails_says_so() {
    let (traced, harness) = (Traced::start(), harness());
    let refused = harness.client().max_payload(10).enqueue(inner::job(1)).await;
    assert!(matches!(refused, Err(EnqueueError::TooLarge { .. })));
    let sent = traced.one("send inner");
    assert_eq!(attribute(&sent, "error.type"), "too_large");
    assert!(matches!(&sent.status, Status::Error { description } if description.contains("a job of task `inner` has")));
}

#[tokio::test(start_paused = true)]
async fn a_job_of_nobodys_trace_carries_none_and_begins_one() {
    let harness = harness();
    harness.client().enqueue(inner::job(1)).await.unwrap(); // no subscriber at all
    assert_eq!(carried(&harness, "inner").await, Value::Null);
    let traced = Traced::start();
    harness.client().enqueue(inner::job(1)).with_subscriber(NoSubscriber::default()).await.unwrap();
    harness.drain().await.unwrap();
    let processed = traced.named("process inner");
    assert_eq!(processed.len(), 2);
    processed.iter().for_each(assert_root);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_context_is_passed_over() {
    let (traced, harness) = (Traced::start(), harness());
    let long = "x".repeat(100_000);
    let garbage = [
        json!(null),
        json!(7),
        json!([PARENT]),
        json!({"traceparent": 7}),
        json!({"traceparent": "00-garbage"}),
        json!({"traceparent": PARENT.to_uppercase()}),
        json!({"traceparent": format!("{PARENT}-more")}),
        json!({"traceparent": long}),
    ];
    for (number, garbage) in garbage.iter().enumerate() {
        store(&harness, &format!("garbage-{number}"), garbage).await;
    }
    harness.drain().await.unwrap();
    let processed = traced.named("process inner");
    assert_eq!(processed.len(), garbage.len(), "each ran");
    processed.iter().for_each(assert_root);

    for (id, state) in [("bad-state", json!("no entry")), ("long-state", json!(long)), ("no-state", json!(7))] {
        store(&harness, id, &json!({"traceparent": PARENT, "tracestate": state})).await;
    }
    harness.drain().await.unwrap();
    for span in traced.named("process inner").split_off(garbage.len()) {
        assert_eq!(span.span_context.trace_id().to_string(), TRACE, "the rest of it is good");
        assert_eq!(span.span_context.trace_state().header(), "");
    }
}

#[tokio::test(start_paused = true)]
async fn what_tracing_systems_add_goes_along() {
    let (_traced, harness) = (Traced::start(), harness());
    let payload = json!({"t": null, "f": "outer", "a": [], "k": {}, "et": 1,
        "s7": {"trace": {"traceparent": PARENT, "tracestate": "vendor=a:1,other=b"}}});
    let mut job = harness.client().encode(&outer::job().id("outer")).unwrap();
    job.payload = Bytes::from(payload.to_string());
    harness.broker().enqueue(&[job], RequestId::unique()).await.unwrap();
    let inventory = Inventory::empty().task::<outer>();
    Harness::on(Arc::clone(harness.broker())).inventory(inventory).drain().await.unwrap();
    let nested = carried(&harness, "inner").await;
    assert_eq!(nested["tracestate"], "vendor=a:1,other=b");
    assert_eq!(nested["traceparent"].as_str().unwrap()[..36], PARENT[..36], "the trace is the same");
    assert_ne!(nested["traceparent"], PARENT, "the span is not");
}

#[tokio::test(start_paused = true)]
async fn whether_a_trace_is_recorded_is_decided_where_it_begins() {
    let harness = harness();
    {
        let traced = Traced::sampled(Sampler::AlwaysOff);
        harness.client().enqueue(inner::job(1)).await.unwrap();
        assert!(traced.named("send inner").is_empty());
    }
    let carried = carried(&harness, "inner").await;
    assert!(carried["traceparent"].as_str().unwrap().ends_with("-00"), "{carried}");
    let traced = Traced::start();
    harness.drain().await.unwrap();
    assert!(traced.named("process inner").is_empty(), "the worker would record all that begins there");
}

#[tokio::test(start_paused = true)]
async fn who_looks_at_a_job_is_told_its_trace() {
    let (traced, harness) = (Traced::start(), harness());
    harness.client().enqueue(inner::job(1).id("seen")).await.unwrap();
    let queue = QueueName::new("inner").unwrap();
    let seen = JobView::find(&**harness.broker(), &queue, &JobId::new("seen").unwrap(), &Reveal::default()).await;
    let trace = traced.one("send inner").span_context.trace_id().to_string();
    assert_eq!(seen.unwrap().unwrap().trace_id, Some(trace));
    store(&harness, "hostile", &json!({"traceparent": "\u{1b}[31m"})).await;
    let seen = JobView::find(&**harness.broker(), &queue, &JobId::new("hostile").unwrap(), &Reveal::default()).await;
    assert_eq!(seen.unwrap().unwrap().trace_id, None);
}
