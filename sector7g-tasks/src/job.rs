//! A job: one enqueued call of a task, and how it can fail.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::args::JobArgs;
use crate::clock::Timestamp;
use crate::error::{BoxError, TaskError, Verdict};
use crate::task::TaskDef;

/// What a job calls: the types of its arguments and of its result.
///
/// Implemented by `#[task]` for each task, and by [`Untyped`].
pub trait JobKind: 'static {
    /// The arguments that travel.
    type Args: JobArgs;
    /// What the job's result is read as.
    type Output: DeserializeOwned + Send + 'static;
}

/// A job to enqueue: arguments and options. Made by a task's `job(..)`, or by name with [`Job::untyped`].
///
/// ```
/// # use sector7g_tasks::prelude::*;
/// # use std::time::Duration;
/// #[task(queue = "homer")]
/// async fn eat(donuts: u32) -> u32 {
///     donuts
/// }
///
/// let job = eat::job(12).id("breakfast").delay(Duration::from_secs(60));
/// assert_eq!(job.task(), "eat");
/// ```
#[must_use = "a job does nothing until it is enqueued"]
pub struct Job<K: JobKind> {
    pub(crate) task: Cow<'static, str>,
    pub(crate) args: K::Args,
    pub(crate) options: JobOptions,
}

/// When a job may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// As soon as a worker is free.
    Now,
    /// After a delay, counted by the broker.
    In(Duration),
    /// At a moment; one in the past is now.
    At(Timestamp),
}

/// The options of a [`Job`].
#[derive(Clone, Debug)]
pub(crate) struct JobOptions {
    pub(crate) queue: Cow<'static, str>,
    /// Of the queue; fewer than two: it has none.
    pub(crate) partitions: u16,
    pub(crate) partition_key: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) due: Due,
    pub(crate) expires_in: Option<Duration>,
    pub(crate) max_tries: Option<u32>,
    pub(crate) replace_finished: bool,
    /// The tick of a schedule that made this job.
    pub(crate) tick: Option<Timestamp>,
}

impl<K: JobKind> Job<K> {
    fn new(task: Cow<'static, str>, queue: Cow<'static, str>, args: K::Args) -> Self {
        let options = JobOptions {
            queue,
            partitions: 1,
            partition_key: None,
            id: None,
            due: Due::Now,
            expires_in: None,
            max_tries: None,
            replace_finished: false,
            tick: None,
        };
        Self { task, args, options }
    }

    /// A job of the task `def`; a task's own `job(..)` calls this.
    #[doc(hidden)]
    pub fn of(def: &'static TaskDef, args: K::Args) -> Self {
        Self::new(def.name.into(), def.queue.into(), args).partitions(def.partitions)
    }

    /// A job of a task that is declared here and implemented elsewhere.
    #[doc(hidden)]
    pub fn named(task: &'static str, queue: &'static str, args: K::Args) -> Self {
        Self::new(task.into(), queue.into(), args)
    }

    /// The task's name.
    pub fn task(&self) -> &str {
        &self.task
    }

    /// The queue it will go to.
    pub fn queue_name(&self) -> &str {
        &self.options.queue
    }

    /// Gives it an id of the caller's choice (1 to 512 bytes): a second job of the same id is not
    /// enqueued while the first lives or its result is kept. Without one it gets a new, unique id.
    ///
    /// Mirrors: arq, `_job_id`.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.options.id = Some(id.into());
        self
    }

    /// Runs it no sooner than `delay` after it was enqueued.
    ///
    /// Mirrors: arq, `_defer_by`.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.options.due = Due::In(delay);
        self
    }

    /// Runs it no sooner than `moment`.
    ///
    /// Mirrors: arq, `_defer_until`.
    pub fn at(mut self, moment: impl Into<Timestamp>) -> Self {
        self.options.due = Due::At(moment.into());
        self
    }

    /// Lets it expire when it has not been started `span` after it was enqueued (delay included).
    ///
    /// Mirrors: arq, `_expires`. Unlike there, a job without this option never expires.
    pub fn expires(mut self, span: Duration) -> Self {
        self.options.expires_in = Some(span);
        self
    }

    /// Puts it into another queue than its task's own. The workers of that queue must know the task.
    ///
    /// Mirrors: arq, `_queue_name`.
    pub fn queue(mut self, queue: impl Into<Cow<'static, str>>) -> Self {
        let queue = queue.into();
        if queue != self.options.queue {
            (self.options.queue, self.options.partitions) = (queue, 1);
        }
        self
    }

    /// Says how many partitions its queue has, where that is not known of its task: `#[task(partitions = ..)]` says it
    /// of a task's own queue. 1, the default: none.
    pub fn partitions(mut self, partitions: u16) -> Self {
        self.options.partitions = partitions;
        self
    }

    /// Puts it where all jobs of this key are, of its queue's partitions: see [`QueueName::partition_for`]. Without a key its
    /// id decides; without both it is any one of them. A queue without partitions has one place for all.
    ///
    /// An id is one job within a partition: give jobs with ids of your own the same key each time.
    ///
    /// [`QueueName::partition_for`]: crate::broker::QueueName::partition_for
    pub fn partition_key(mut self, key: impl Into<String>) -> Self {
        self.options.partition_key = Some(key.into());
        self
    }

    /// Allows `tries` attempts (at least 1) in place of what its task and worker say.
    pub fn max_tries(mut self, tries: u32) -> Self {
        self.options.max_tries = Some(tries.max(1));
        self
    }

    /// Takes the id even if the result of an ended job of that id is still kept: that result goes.
    ///
    /// A call that failed with [`EnqueueError::Broker`] may have added the job. Made again, it runs the job again if
    /// that one has finished meanwhile.
    ///
    /// [`EnqueueError::Broker`]: crate::client::EnqueueError::Broker
    pub fn replace_finished(mut self) -> Self {
        self.options.replace_finished = true;
        self
    }
}

impl<K: JobKind> fmt::Debug for Job<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the arguments: they may be secret.
        f.debug_struct("Job").field("task", &self.task).field("options", &self.options).finish_non_exhaustive()
    }
}

/// The kind of a job whose task is known by name only.
#[derive(Debug)]
pub enum Untyped {}

impl JobKind for Untyped {
    type Args = UntypedArgs;
    type Output = Value;
}

/// Arguments given as JSON values.
#[derive(Clone, Debug, Default)]
pub struct UntypedArgs {
    pub(crate) positional: Vec<Value>,
    pub(crate) named: Map<String, Value>,
}

impl Job<Untyped> {
    /// A job of a task that this program does not know, with JSON arguments to be added.
    ///
    /// ```
    /// # use sector7g_tasks::prelude::*;
    /// let job = Job::untyped("make_pdf", "reports").arg(42).named_arg("paper", "A4");
    /// ```
    pub fn untyped(task: impl Into<Cow<'static, str>>, queue: impl Into<Cow<'static, str>>) -> Self {
        Self::new(task.into(), queue.into(), UntypedArgs::default())
    }

    /// Adds a positional argument.
    pub fn arg(mut self, value: impl Into<Value>) -> Self {
        self.args.positional.push(value.into());
        self
    }

    /// Adds (or replaces) an argument by name.
    pub fn named_arg(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.args.named.insert(name.into(), value.into());
        self
    }
}

/// One failed attempt, as kept in results, dead letters and a job's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure it was.
    pub kind: FailureKind,
    /// What happened, at most [`MAX_FAILURE_TEXT`] bytes.
    pub message: String,
    /// The Rust type of the task's error, where it had one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_type: Option<String>,
    /// The error's causes, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// The attempt that failed, from 1.
    pub attempt: u32,
    /// When it failed, by the worker's clock.
    pub at: Timestamp,
    /// Its run. `None` where there was none, where the worker was lost, and of a Python worker's attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ran: Option<Box<Ran>>,
}

/// When and where an attempt ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Ran {
    /// When it started, by the worker's clock.
    pub started_at: Timestamp,
    /// The worker's name: as `WorkerHealth::name`.
    pub worker: String,
    /// The host it ran on, as `WorkerHealth::host`.
    pub host: String,
    /// Its process there.
    pub pid: u32,
}

/// The most bytes of a failure's message, its causes counted apart from it.
pub const MAX_FAILURE_TEXT: usize = 8 * 1024;

/// Kinds of [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureKind {
    /// The task returned an error.
    Error,
    /// The task returned [`TaskError::permanent`].
    Permanent,
    /// It ran longer than its timeout.
    Timeout,
    /// It panicked.
    Panic,
    /// Its worker died, or was away for longer than the lease.
    LeaseLost,
    /// It was started as often as allowed and never came to an end.
    MaxTries,
    /// It was aborted.
    Aborted,
    /// It was not started before it expired.
    Expired,
    /// The stored job could not be read.
    Payload,
    /// The stored arguments do not fit the task.
    Arguments,
    /// No worker knew the task for longer than `unknown_task_grace`.
    UnknownTask,
    /// The result could not be encoded, or is too large.
    Result,
}

impl FailureKind {
    /// The word for it in metrics and traces.
    #[cfg(any(feature = "metrics", feature = "otel"))]
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Permanent => "permanent",
            Self::Timeout => "timeout",
            Self::Panic => "panic",
            Self::LeaseLost => "lease_lost",
            Self::MaxTries => "max_tries",
            Self::Aborted => "aborted",
            Self::Expired => "expired",
            Self::Payload => "payload",
            Self::Arguments => "arguments",
            Self::UnknownTask => "unknown_task",
            Self::Result => "result",
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Permanent => "permanent error",
            Self::Timeout => "timeout",
            Self::Panic => "panic",
            Self::LeaseLost => "lease lost",
            Self::MaxTries => "too many tries",
            Self::Aborted => "aborted",
            Self::Expired => "expired",
            Self::Payload => "unreadable job",
            Self::Arguments => "wrong arguments",
            Self::UnknownTask => "unknown task",
            Self::Result => "unusable result",
        })
    }
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, message: impl Into<String>, attempt: u32, at: Timestamp) -> Self {
        let message = cut(message.into());
        Self { kind, message, error_type: None, causes: Vec::new(), attempt, at, ran: None }
    }

    pub(crate) fn of(error: &TaskError, attempt: u32, at: Timestamp) -> Self {
        let kind = match error.verdict {
            Verdict::Policy | Verdict::RetryIn(_) | Verdict::Snooze(_) => FailureKind::Error,
            Verdict::Permanent => FailureKind::Permanent,
            Verdict::Timeout => FailureKind::Timeout,
            Verdict::Panic => FailureKind::Panic,
            Verdict::Arguments => FailureKind::Arguments,
            Verdict::Unserialisable => FailureKind::Result,
        };
        let mut failure = Self::new(kind, error.message(), attempt, at);
        failure.error_type = error.type_name.map(str::to_owned);
        failure.causes = error.cause.as_ref().map(causes).unwrap_or_default();
        failure
    }
}

/// How many causes of an error are kept.
const MAX_CAUSES: usize = 8;

fn causes(error: &BoxError) -> Vec<String> {
    std::iter::successors(error.source(), |cause| cause.source())
        .take(MAX_CAUSES)
        .map(|cause| cut(cause.to_string()))
        .collect()
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_FAILURE_TEXT {
        text.truncate(text.floor_char_boundary(MAX_FAILURE_TEXT));
        text.push('…');
    }
    text
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)?;
        self.causes.iter().try_for_each(|cause| write!(f, ": {cause}"))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(moment: Timestamp) -> Self {
        moment.to_system_time()
    }
}
