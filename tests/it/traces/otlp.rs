//! The example `traces`, and a collector that takes what it sends by OTLP.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use support::{Program, RedisServer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::plant::example_program;

/// Takes spans at `/v1/traces` of a free port.
struct Collector {
    port: u16,
    spans: Spans,
    _server: JoinSet<()>,
}

type Spans = Arc<Mutex<Vec<Span>>>;

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (port, spans) = (listener.local_addr().unwrap().port(), Spans::default());
        let router = Router::new().route("/v1/traces", post(take)).with_state(spans.clone());
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { port, spans, _server: server }
    }

    /// The only span of that name.
    fn one(&self, name: &str) -> Span {
        let spans = self.spans.lock().unwrap();
        let found: Vec<&Span> = spans.iter().filter(|span| span.name == name).collect();
        let names: Vec<&str> = spans.iter().map(|span| &*span.name).collect();
        assert_eq!(found.len(), 1, "spans named {name} of {names:?}");
        found[0].clone()
    }
}

async fn take(
    State(spans): State<Spans>,
    body: Bytes,
) -> (StatusCode, [(header::HeaderName, &'static str); 1], Vec<u8>) {
    let protobuf = [(header::CONTENT_TYPE, "application/x-protobuf")];
    let Ok(request) = ExportTraceServiceRequest::decode(body) else {
        return (StatusCode::BAD_REQUEST, protobuf, vec![]);
    };
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    spans.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
    (StatusCode::OK, protobuf, ExportTraceServiceResponse::default().encode_to_vec())
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{key} is {other:?}"),
    }
}

/// Runs the example, whose spans a collector gets.
async fn run(arguments: &[&str]) {
    let collector = Collector::start().await;
    let endpoint = format!("OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{}", collector.port);
    let program = tokio::task::spawn_blocking(|| example_program("traces")).await.unwrap();
    let words = [&[&*endpoint, program.to_str().unwrap()], arguments].concat();
    let mut example = Program::start("/usr/bin/env", &words);
    let code = example.end().await;
    assert_eq!(code, 0, "{}", example.said());
    assert!(example.said().starts_with("2 boxes ordered by job "), "{}", example.said());

    let path = ["POST /orders", "send lenny", "process lenny", "send homer", "process homer", "open the boxes"];
    let spans = path.map(|name| collector.one(name));
    assert!(spans[0].parent_span_id.is_empty(), "it begins there");
    for pair in spans.windows(2) {
        let [parent, child] = pair else { unreachable!("two each") };
        assert_eq!(child.parent_span_id, parent.span_id, "{} is a child of {}", child.name, parent.name);
        assert_eq!(child.trace_id, parent.trace_id);
    }
    for (span, kind, operation, queue) in [
        (&spans[1], SpanKind::Producer, "send", "lenny"),
        (&spans[2], SpanKind::Consumer, "process", "lenny"),
        (&spans[3], SpanKind::Producer, "send", "homer"),
        (&spans[4], SpanKind::Consumer, "process", "homer"),
    ] {
        assert_eq!(span.kind(), kind, "{}", span.name);
        assert_eq!(attribute(span, "messaging.operation.type").as_deref(), Some(operation));
        assert_eq!(attribute(span, "messaging.destination.name").as_deref(), Some(queue));
    }
    assert_eq!(attribute(&spans[2], "sector7g.job.outcome").as_deref(), Some("done"));
    let [sent, processed] = [1, 2].map(|nth: usize| attribute(&spans[nth], "messaging.message.id").unwrap());
    assert_eq!(sent, processed);
    assert!(example.said().contains(&sent), "it is the job that the program tells");
}

#[tokio::test]
async fn the_example_sends_one_trace_with_jobs_in_its_process() {
    run(&[]).await;
}

#[tokio::test]
async fn the_example_sends_one_trace_with_jobs_in_redis() {
    let server = RedisServer::start();
    run(&[&server.url()]).await;
}
