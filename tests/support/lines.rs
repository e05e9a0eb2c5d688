//! What a test logged.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::{Layer, Registry};

/// The log lines of one test, `LEVEL message`, while its guard lives on this thread.
#[derive(Clone, Debug, Default)]
pub struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    /// Captures what this thread logs from now on. Use a current-thread runtime.
    #[must_use]
    pub fn capture() -> (Self, tracing::subscriber::DefaultGuard) {
        let lines = Self::default();
        let guard = tracing::subscriber::set_default(Registry::default().with(lines.clone()));
        (lines, guard)
    }

    /// Captures what any thread of this process logs from now on. For one test of a process, as nextest runs them.
    ///
    /// # Panics
    /// When the process has such a capture already.
    #[must_use]
    pub fn capture_everywhere() -> Self {
        let lines = Self::default();
        tracing::subscriber::set_global_default(Registry::default().with(lines.clone()))
            .expect("one capture a process");
        lines
    }

    /// The lines so far.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The lines that contain `text`.
    #[must_use]
    pub fn with(&self, text: &str) -> Vec<String> {
        self.all().into_iter().filter(|line| line.contains(text)).collect()
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
        }
    }
}

impl<S: tracing::Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut message = Message(format!("{} ", event.metadata().level()));
        event.record(&mut message);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(message.0);
    }
}
