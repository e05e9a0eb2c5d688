//! Traces: from enqueueing through each attempt to what it enqueues, as OpenTelemetry's tools see them.

mod inside;
mod otlp;

use opentelemetry::trace::{SpanId, TracerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, Sampler, SdkTracerProvider, SpanData};
use tracing_subscriber::layer::SubscriberExt;

/// What this thread traces while it lives, in memory.
pub(crate) struct Traced {
    spans: InMemorySpanExporter,
    _provider: SdkTracerProvider,
    _guard: tracing::subscriber::DefaultGuard,
}

impl Traced {
    /// All of it; use a current-thread runtime.
    pub(crate) fn start() -> Self {
        Self::sampled(Sampler::AlwaysOn)
    }

    /// What begins here is recorded if `root` says so; else it goes by its parent.
    fn sampled(root: Sampler) -> Self {
        let spans = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(root)))
            .with_simple_exporter(spans.clone())
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
        Self { spans, _provider: provider, _guard: guard }
    }

    /// The ended spans of that name, in the order of their end.
    pub(crate) fn named(&self, name: &str) -> Vec<SpanData> {
        self.spans.get_finished_spans().unwrap().into_iter().filter(|span| span.name == name).collect()
    }

    /// The only one of that name.
    #[track_caller]
    fn one(&self, name: &str) -> SpanData {
        let mut found = self.named(name);
        assert_eq!(found.len(), 1, "spans named {name}");
        found.remove(0)
    }
}

/// An attribute's value as text; empty when it is not there.
pub(crate) fn attribute(span: &SpanData, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == key);
    found.map(|attribute| attribute.value.to_string()).unwrap_or_default()
}

/// That `child` is one of `parent`, in the same trace.
#[track_caller]
fn assert_child(child: &SpanData, parent: &SpanData) {
    assert_eq!(child.parent_span_id, parent.span_context.span_id(), "{} of {}", child.name, parent.name);
    assert_eq!(child.span_context.trace_id(), parent.span_context.trace_id());
}

/// That it begins a trace.
#[track_caller]
pub(crate) fn assert_root(span: &SpanData) {
    assert_eq!(span.parent_span_id, SpanId::INVALID, "{}", span.name);
}
