//! A task: a named function with options, as `#[task]` describes it to the inventory.

use std::any::TypeId;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::args::{Arguments, BindError, Param};
use crate::codec::Encoded;
use crate::context::Context;
use crate::error::TaskError;
use crate::job::JobKind;
use crate::retry::RetryPolicy;

/// A task that can be run here: `#[task]` implements it for the type that has the function's name.
pub trait Task: JobKind {
    /// Name, options and code of the task.
    const DEF: &'static TaskDef;
}

/// What one attempt came to: the encoded result, or the error.
pub type RunResult = Result<Encoded, TaskError>;

/// A task at work.
pub type RunFuture = Pin<Box<dyn Future<Output = RunResult> + Send + 'static>>;

/// Binds the job's arguments and returns the call, not yet started.
pub type RunFn = fn(Context) -> Result<RunFuture, BindError>;

/// Checks that arguments would bind.
pub type CheckFn = fn(&Arguments) -> Result<(), BindError>;

/// Name, options and code of a task. Built in constants, by `#[task]`.
#[derive(Clone)]
pub struct TaskDef {
    /// Its name on the wire, unique in a program.
    pub name: &'static str,
    /// The queue of its jobs.
    pub queue: &'static str,
    /// How many partitions that queue has; 1: none.
    pub partitions: u16,
    /// Where it was written.
    pub source: Source,
    /// The parameters that travel, in order.
    pub params: &'static [Param],
    /// The `State<T>`s that it wants.
    pub states: &'static [StateRef],
    /// Its result's type, for messages.
    pub output: fn() -> &'static str,
    /// Its code.
    pub run: RunFn,
    /// Its arguments' check.
    pub check: CheckFn,
    /// Whether it runs on the blocking pool.
    pub blocking: bool,
    /// The longest that one attempt may take; else the worker's `job_timeout`.
    pub timeout: Option<Duration>,
    /// Attempts in all; else the worker's `max_tries`.
    pub max_tries: Option<u32>,
    /// Whether and when a failed attempt is repeated.
    pub backoff: Option<RetryPolicy>,
    /// How long a result is kept; else the worker's `keep_result`. Zero keeps none.
    pub keep_result: Option<Keep>,
    /// Whether a job that failed for good becomes a dead letter (default: yes).
    pub dead_letter: bool,
    /// When it runs by itself.
    pub cron: Option<CronRule>,
}

/// Where a task or a worker was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// `file!()`
    pub file: &'static str,
    /// `line!()`
    pub line: u32,
    /// `module_path!()`
    pub module: &'static str,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A state that a task wants: its type's id and name.
#[derive(Clone, Copy)]
pub struct StateRef {
    pub(crate) id: fn() -> TypeId,
    pub(crate) name: fn() -> &'static str,
}

impl StateRef {
    /// The state `T`.
    pub const fn of<T: 'static>() -> Self {
        Self { id: TypeId::of::<T>, name: std::any::type_name::<T> }
    }
}

impl fmt::Debug for StateRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str((self.name)())
    }
}

/// How long a result is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// So long; zero keeps none.
    For(Duration),
    /// Until the broker's bound drops it.
    Forever,
}

/// A rule of a schedule, not yet parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CronRule {
    /// Five or six fields, or `@daily` and the like; see [`crate::schedule`].
    pub expression: &'static str,
    /// An IANA name such as `Europe/Berlin`; `None` is the worker's, else UTC.
    pub timezone: Option<&'static str>,
}

impl TaskDef {
    /// A task with default options.
    pub const fn new(
        name: &'static str,
        queue: &'static str,
        source: Source,
        run: RunFn,
        check: CheckFn,
        output: fn() -> &'static str,
    ) -> Self {
        Self {
            name,
            queue,
            partitions: 1,
            source,
            params: &[],
            states: &[],
            output,
            run,
            check,
            blocking: false,
            timeout: None,
            max_tries: None,
            backoff: None,
            keep_result: None,
            dead_letter: true,
            cron: None,
        }
    }

    /// Sets how many partitions its queue has.
    #[must_use]
    pub const fn partitions(mut self, partitions: u16) -> Self {
        self.partitions = partitions;
        self
    }

    /// Sets the parameters that travel.
    #[must_use]
    pub const fn params(mut self, params: &'static [Param]) -> Self {
        self.params = params;
        self
    }

    /// Sets the states that it wants.
    #[must_use]
    pub const fn states(mut self, states: &'static [StateRef]) -> Self {
        self.states = states;
        self
    }

    /// Says that it runs on the blocking pool.
    #[must_use]
    pub const fn blocking(mut self) -> Self {
        self.blocking = true;
        self
    }

    /// Sets the longest that one attempt may take.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets the number of attempts in all.
    #[must_use]
    pub const fn max_tries(mut self, tries: u32) -> Self {
        self.max_tries = Some(tries);
        self
    }

    /// Sets the retry policy.
    #[must_use]
    pub const fn backoff(mut self, policy: RetryPolicy) -> Self {
        self.backoff = Some(policy);
        self
    }

    /// Sets how long results are kept.
    #[must_use]
    pub const fn keep_result(mut self, keep: Keep) -> Self {
        self.keep_result = Some(keep);
        self
    }

    /// Sets whether failures for good become dead letters.
    #[must_use]
    pub const fn dead_letter(mut self, kept: bool) -> Self {
        self.dead_letter = kept;
        self
    }

    /// Sets its schedule.
    #[must_use]
    pub const fn cron(mut self, expression: &'static str, timezone: Option<&'static str>) -> Self {
        self.cron = Some(CronRule { expression, timezone });
        self
    }
}

impl fmt::Debug for TaskDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskDef")
            .field("name", &self.name)
            .field("queue", &self.queue)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}
