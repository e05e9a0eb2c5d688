//! Failures that a Python worker stored.

use serde_json::Value;

use crate::clock::Timestamp;
use crate::job::{Failure, FailureKind};

/// What can be told of one.
#[derive(Debug)]
pub(super) struct Foreign {
    /// The exception's class, with its module unless that is `builtins`.
    pub(super) error_type: Option<String>,
    pub(super) message: String,
}

/// From JSON: a text, or an exception as `{"error": class, "message": text}`.
pub(super) fn of_json(stored: &Value) -> Foreign {
    let text = |name: &str| stored.get(name).and_then(Value::as_str).map(str::to_owned);
    match (stored, text("error"), text("message")) {
        (Value::String(message), ..) => Foreign { error_type: None, message: message.clone() },
        (_, Some(class), Some(message)) => Foreign { error_type: Some(class), message },
        (_, Some(message), None) | (_, None, Some(message)) => Foreign { error_type: None, message },
        _ => Foreign { error_type: None, message: stored.to_string() },
    }
}

/// The most characters of a class's name that are kept.
const MAX_CLASS: usize = 200;

impl Foreign {
    pub(super) fn failure(self, attempt: u32, at: Timestamp) -> Failure {
        let kind = self.kind();
        let message = match (&self.error_type, kind) {
            _ if !self.message.is_empty() => self.message,
            (_, FailureKind::Aborted) => "aborted".to_owned(),
            (Some(class), _) => class.chars().take(MAX_CLASS).collect(),
            (None, _) => "failed".to_owned(),
        };
        let mut failure = Failure::new(kind, message, attempt, at);
        failure.error_type = self.error_type.map(|class| class.chars().take(MAX_CLASS).collect());
        failure
    }

    /// arq's own failures are known by class and text.
    fn kind(&self) -> FailureKind {
        let class = self.error_type.as_deref().and_then(|class| class.rsplit('.').next());
        let message = self.message.as_str();
        match class {
            None if message == "unable to serialize result" => FailureKind::Result,
            Some("CancelledError") => FailureKind::Aborted,
            // A job's timeout says nothing; what does is the job's own error.
            Some("TimeoutError") if message.is_empty() => FailureKind::Timeout,
            Some("DeserializationError") => FailureKind::Payload,
            Some("JobExecutionFailed") if message == "job expired" => FailureKind::Expired,
            Some("JobExecutionFailed") if message.ends_with(" not found") => FailureKind::UnknownTask,
            Some("JobExecutionFailed") if message.ends_with(" retries exceeded") => FailureKind::MaxTries,
            _ => FailureKind::Error,
        }
    }
}
