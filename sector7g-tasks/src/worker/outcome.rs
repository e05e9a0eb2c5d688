use std::time::Duration;

use super::control::Cancel;
use super::settings::JobEndKind;
use super::supervise::Ending;
use crate::args::BindError;
use crate::clock::Timestamp;
use crate::error::{TaskError, Verdict};
use crate::job::{Failure, FailureKind};
use crate::retry::RetryPolicy;

/// What decides about another attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Set when plain errors are repeated at all.
    pub(crate) policy: Option<RetryPolicy>,
    pub(crate) attempt: u32,
    pub(crate) max_tries: u32,
}

impl Rules {
    /// What becomes of a job whose run has ended so; `None` when it is no longer ours to say.
    pub(crate) fn decide(&self, ending: &Ending, now: Timestamp, chance: f64) -> Option<(JobEndKind, Option<Failure>)> {
        match ending {
            Ending::Returned(Ok(_)) => Some((JobEndKind::Done, None)),
            Ending::Returned(Err(error)) => {
                Some((self.after_error(error.verdict, chance), Some(Failure::of(error, self.attempt, now))))
            }
            Ending::Cancelled(Cancel::Abort) => Some((JobEndKind::Aborted, Some(aborted(self.attempt, now)))),
            Ending::Cancelled(Cancel::LeaseLost) => None,
            // A timeout ends the task itself, which then returns; it never cancels the run around it.
            Ending::Cancelled(Cancel::Stop | Cancel::Timeout) => Some((JobEndKind::GivenBack(Duration::ZERO), None)),
        }
    }

    /// Whether the job runs again after such an ending.
    pub(crate) fn is_repeated(&self, ending: &Ending) -> bool {
        match ending {
            Ending::Returned(Ok(_)) | Ending::Cancelled(Cancel::Abort | Cancel::LeaseLost) => false,
            Ending::Returned(Err(error)) => self.after_error(error.verdict, 0.0) != JobEndKind::Failed,
            Ending::Cancelled(Cancel::Stop | Cancel::Timeout) => true,
        }
    }

    fn after_error(&self, verdict: Verdict, chance: f64) -> JobEndKind {
        let more = self.attempt < self.max_tries;
        match verdict {
            Verdict::Snooze(delay) => JobEndKind::GivenBack(delay),
            Verdict::RetryIn(delay) if more => JobEndKind::Retried(delay),
            Verdict::Policy | Verdict::Timeout | Verdict::Panic if more => match self.policy {
                Some(policy) => JobEndKind::Retried(policy.delay(self.attempt, chance)),
                None => JobEndKind::Failed,
            },
            _ => JobEndKind::Failed,
        }
    }
}

pub(crate) fn aborted(attempt: u32, now: Timestamp) -> Failure {
    Failure::new(FailureKind::Aborted, "aborted", attempt, now)
}

/// How long a job of an unknown task is left to others: as long as it has been known to be
/// unknown, so that the delay doubles, from half a second to ten; `None` when its grace is over.
pub(crate) fn unknown_delay(unknown_since: Option<Timestamp>, now: Timestamp, grace: Duration) -> Option<Duration> {
    const SHORTEST: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_secs(10);
    let elapsed = unknown_since.map_or(Duration::ZERO, |since| now.since(since));
    let left = grace.checked_sub(elapsed).filter(|left| !left.is_zero())?;
    Some(elapsed.clamp(SHORTEST, LONGEST).min(left))
}

/// Names the task as well: the message is read apart from the job.
pub(crate) fn arguments_error(task: &str, error: &BindError) -> TaskError {
    TaskError::because(Verdict::Arguments, format!("task `{task}`: {error}"))
}
