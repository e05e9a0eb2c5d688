//! What a task may return instead of a result, and what all errors share.

use std::fmt;
use std::time::Duration;

/// Any error, with its causes.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Why a task did not succeed, and what that means for its job.
///
/// Made by `?` from any error (`std`, `thiserror`, `anyhow`, a `&str` or `String`), which leaves
/// the decision to the task's retry policy; or by one of the functions below, which take it.
/// For that reason it is not an [`Error`](std::error::Error) itself.
///
/// ```
/// use sector7g_tasks::prelude::*;
/// # use std::time::Duration;
/// # async fn fetch(url: &str) -> Result<u16, std::io::Error> { Ok(429) }
/// async fn ping(url: String) -> Result<(), TaskError> {
///     match fetch(&url).await? {
///         200 => Ok(()),
///         429 => Err(TaskError::retry_in(Duration::from_secs(30))),
///         404 => Err(TaskError::permanent(format!("{url} is gone"))),
///         other => Err(format!("unexpected status {other}").into()),
///     }
/// }
/// ```
#[derive(Debug)]
pub struct TaskError {
    pub(crate) verdict: Verdict,
    pub(crate) cause: Option<BoxError>,
    /// The type of the cause, when it had one worth naming.
    pub(crate) type_name: Option<&'static str>,
}

/// What a [`TaskError`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The retry policy decides.
    Policy,
    RetryIn(Duration),
    Snooze(Duration),
    Permanent,
    // Set by the engine, never by a task.
    Timeout,
    Panic,
    Arguments,
    Unserialisable,
}

impl TaskError {
    fn plain(verdict: Verdict) -> Self {
        Self { verdict, cause: None, type_name: None }
    }

    pub(crate) fn because(verdict: Verdict, cause: impl Into<BoxError>) -> Self {
        Self { verdict, cause: Some(cause.into()), type_name: None }
    }

    /// Runs the job again after `delay`, whatever its retry policy says, while attempts are left.
    ///
    /// Mirrors: arq's `Retry(defer)`.
    pub fn retry_in(delay: Duration) -> Self {
        Self::plain(Verdict::RetryIn(delay))
    }

    /// Runs the job again after `delay` without counting this attempt: it was too early, not wrong.
    pub fn snooze(delay: Duration) -> Self {
        Self::plain(Verdict::Snooze(delay))
    }

    /// Fails the job for good, whatever its retry policy says.
    pub fn permanent(cause: impl Into<BoxError>) -> Self {
        Self::because(Verdict::Permanent, cause)
    }

    /// The same decision, with the error that led to it.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<BoxError>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// What happened, this level only.
    pub fn message(&self) -> String {
        match (&self.cause, self.verdict) {
            (Some(cause), _) => cause.to_string(),
            (None, Verdict::RetryIn(delay)) => format!("asked to be retried in {delay:?}"),
            (None, Verdict::Snooze(delay)) => format!("snoozed for {delay:?}"),
            (None, _) => "failed".to_owned(),
        }
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}

impl<E: Into<BoxError>> From<E> for TaskError {
    fn from(error: E) -> Self {
        let name = std::any::type_name::<E>();
        let anonymous = name.contains("dyn ") || name.ends_with("::String") || name == "&str";
        Self { verdict: Verdict::Policy, cause: Some(error.into()), type_name: (!anonymous).then_some(name) }
    }
}

/// Shows an error with its causes on one line: `top: cause: root`.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
