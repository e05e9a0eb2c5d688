//! Traces by OpenTelemetry, from a request through its jobs to the jobs that these enqueue, sent by OTLP over HTTP.
//!
//! ```text
//! cargo run --example traces                                     # jobs in this process
//! cargo run --example traces -- redis://127.0.0.1:6379           # jobs in Redis
//! ```
//!
//! They go to `OTEL_EXPORTER_OTLP_ENDPOINT`, `http://localhost:4318` unless it says otherwise: to a collector, Jaeger, Tempo.

use std::error::Error;
use std::io::Write;
use std::sync::Arc;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::runtime::Tokio;
use opentelemetry_sdk::trace::SdkTracerProvider;
use opentelemetry_sdk::trace::span_processor_with_async_runtime::BatchSpanProcessor;
use sector7g_tasks::broker::{Broker, RedisBroker};
use sector7g_tasks::client::EnqueueError;
use sector7g_tasks::prelude::*;
use tracing::{Instrument, info_span};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Orders a box, and has it counted: what a job enqueues belongs to its trace.
#[task(queue = "lenny")]
async fn order_donuts(ctx: &Context, boxes: Vec<u32>) -> Result<usize, EnqueueError> {
    let ordered = boxes.len();
    ctx.client().enqueue(count_donuts::job(boxes)).await?;
    Ok(ordered)
}

/// Counts on a thread of its own; the trace goes there, too.
#[task(queue = "homer")]
fn count_donuts(boxes: Vec<u32>) -> u32 {
    info_span!("open the boxes", boxes = boxes.len()).in_scope(|| boxes.iter().sum())
}

/// The layer that makes spans OpenTelemetry's, beside the log; what is returned sends them.
fn install() -> Result<SdkTracerProvider, Box<dyn Error>> {
    let exporter = SpanExporter::builder().with_http().build()?;
    // On tokio's runtime, as the exporter's client needs it.
    let provider = SdkTracerProvider::builder()
        .with_resource(Resource::builder().with_service_name("donut-shop").build())
        .with_span_processor(BatchSpanProcessor::builder(exporter, Tokio).build())
        .build();
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(EnvFilter::from_default_env());
    // What the exporter itself does is no part of it.
    let wanted = EnvFilter::new("info,hyper=off,hyper_util=off,opentelemetry=off");
    let traces = tracing_opentelemetry::layer().with_tracer(provider.tracer("donut-shop")).with_filter(wanted);
    tracing_subscriber::registry().with(log).with(traces).try_init()?;
    Ok(provider)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let provider = install()?;
    let broker: Arc<dyn Broker> = match std::env::args().nth(1) {
        Some(url) => Arc::new(RedisBroker::connect(url).await?),
        None => Arc::new(MemoryBroker::new()),
    };
    let runner = Runner::new().broker(broker);
    let client = runner.client();

    // A web framework's layer would begin this one, for each request.
    let request = info_span!("POST /orders");
    let handle = client.enqueue(order_donuts::job(vec![12, 6])).instrument(request).await?;

    runner.burst(true).run().await?; // may be another process, at another time
    writeln!(std::io::stdout(), "{} boxes ordered by job {}", handle.result().await?, handle.id())?;

    // Waits for what is not sent yet, so not on a thread of the runtime that sends it.
    tokio::task::spawn_blocking(move || provider.shutdown()).await??;
    Ok(())
}
