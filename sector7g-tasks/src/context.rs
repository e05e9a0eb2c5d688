//! What a running task may ask for.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::args::Arguments;
use crate::broker::{BrokerError, JobId, QueueName};
use crate::client::Client;
use crate::clock::{Clock, Timestamp};
use crate::codec::{Codec, Extra};
use crate::error::{TaskError, Verdict};
use crate::task::{RunResult, TaskDef};
use crate::worker::Held;

/// The most bytes that one [`Context::progress`] may have, encoded: 64 KiB. Brokers keep it with the job.
pub const MAX_PROGRESS: usize = 64 * 1024;

/// The job that a task runs for, and its worker.
///
/// A task takes it as `ctx: &Context`; clones are cheap and may be moved into what the task spawns. What belongs to one run
/// goes by [`job_id`](Self::job_id) and [`attempt`](Self::attempt): a worker runs many jobs in one of tokio's tasks, one after
/// the other, so that `tokio::task::id()` tells nothing.
#[derive(Clone)]
pub struct Context(pub(crate) Arc<JobRun>);

/// One attempt of one job.
pub(crate) struct JobRun {
    pub(crate) def: &'static TaskDef,
    pub(crate) held: Arc<Held>,
    pub(crate) attempt: u32,
    pub(crate) max_tries: u32,
    pub(crate) enqueued_at: Timestamp,
    pub(crate) extra: Extra,
    pub(crate) codec: Codec,
    pub(crate) arguments: Arguments,
    pub(crate) worker: WorkerContext,
}

impl Context {
    /// The job's id.
    pub fn job_id(&self) -> &JobId {
        self.0.held.id()
    }

    /// The task's name.
    pub fn task(&self) -> &'static str {
        self.0.def.name
    }

    /// The queue that the job came from.
    pub fn queue(&self) -> &QueueName {
        &self.0.worker.0.queues[self.0.held.queue]
    }

    /// Which attempt this is, from 1. Mirrors: arq, `job_try`.
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// How many attempts the job has in all.
    pub fn max_tries(&self) -> u32 {
        self.0.max_tries
    }

    /// A number that grows each time the job is claimed: hand it to your own database to refuse
    /// writes of an attempt that was overtaken.
    pub fn fence(&self) -> u32 {
        self.0.held.job.delivery
    }

    /// When the job was enqueued, by its producer's clock.
    pub fn enqueued_at(&self) -> Timestamp {
        self.0.enqueued_at
    }

    /// When it was due, by the broker's clock.
    pub fn due_at(&self) -> Timestamp {
        self.0.held.job.due_at
    }

    /// The schedule's tick that made this job, if one did.
    pub fn tick(&self) -> Option<Timestamp> {
        self.0.extra.tick
    }

    /// A client of the broker that the job came from, to enqueue more.
    pub fn client(&self) -> &Client {
        &self.0.worker.0.client
    }

    /// The worker that runs the job.
    pub fn worker(&self) -> &WorkerContext {
        &self.0.worker
    }

    /// The state `T` that the runner was given, if it was.
    pub fn state<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        self.0.worker.state()
    }

    /// Whether the job was aborted, has timed out, lost its lease or must make way for a stop.
    ///
    /// An async task is dropped then, at its next `.await`. One that runs on the blocking pool
    /// can't be: it should ask here now and then, and return. Until it does, its slot stays taken, and
    /// its job is not run again.
    pub fn is_cancelled(&self) -> bool {
        self.0.held.control.is_cancelled()
    }

    /// Waits until [`is_cancelled`](Self::is_cancelled), for what the task has spawned.
    ///
    /// # Cancel safety
    /// Cancel safe: it only waits.
    pub async fn cancelled(&self) {
        self.0.held.control.cancelled().await;
    }

    /// Waits until the worker begins to stop: `job_completion_wait` is left to come to an end.
    ///
    /// # Cancel safety
    /// Cancel safe: it only waits.
    pub async fn stopping(&self) {
        self.0.worker.0.stopping.cancelled().await;
    }

    /// Stores how far the job is, for whoever asks its handle. Any value that serialises will do.
    ///
    /// # Errors
    /// When the broker can't be reached; `Refused` when the value can't be encoded, or is larger than
    /// [`MAX_PROGRESS`]. A lost lease is no error
    /// here: the task is being cancelled.
    ///
    /// # Cancel safety
    /// Cancel safe: the value is stored or not.
    pub async fn progress<T: Serialize + Sync>(&self, progress: &T) -> Result<(), BrokerError> {
        // JSON whatever the job's codec: it is for our own handles alone.
        let text = serde_json::to_vec(progress).map_err(|error| BrokerError::Refused(error.to_string()))?;
        let size = text.len();
        if size > MAX_PROGRESS {
            let problem = format!(
                "the progress of job {} has {size} bytes, more than MAX_PROGRESS ({MAX_PROGRESS}); store it elsewhere and report its place",
                self.job_id()
            );
            return Err(BrokerError::Refused(problem));
        }
        self.0.worker.0.client.broker().set_progress(self.queue(), &self.0.held.job.lease, text.into()).await.map(drop)
    }

    pub(crate) fn arguments(&self) -> &Arguments {
        &self.0.arguments
    }

    /// Writes a result in the job's codec, for a middleware that answers in the task's place.
    ///
    /// # Errors
    /// A [`TaskError`] when it can't be encoded or is larger than the worker's `max_result_size`.
    pub fn encode<T: Serialize + ?Sized>(&self, value: &T) -> RunResult {
        let encoded = self.0.codec.encode(value).map_err(|error| TaskError::because(Verdict::Unserialisable, error))?;
        let limit = self.0.worker.0.max_result_size;
        if encoded.len() > limit {
            let size = encoded.len();
            let problem = format!(
                "the result has {size} bytes, more than max_result_size ({limit}); store it elsewhere and return its place"
            );
            return Err(TaskError::because(Verdict::Unserialisable, problem));
        }
        Ok(encoded)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("job_id", self.job_id())
            .field("task", &self.task())
            .field("attempt", &self.attempt())
            .finish_non_exhaustive()
    }
}

/// A worker, as its hooks and tasks see it; clones are cheap.
#[derive(Clone)]
pub struct WorkerContext(pub(crate) Arc<WorkerShared>);

pub(crate) struct WorkerShared {
    pub(crate) name: String,
    pub(crate) queues: Vec<QueueName>,
    pub(crate) client: Client,
    pub(crate) states: Arc<States>,
    pub(crate) clock: Clock,
    pub(crate) stopping: CancellationToken,
    pub(crate) max_result_size: usize,
}

impl WorkerContext {
    /// The worker's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// A client of the worker's broker.
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    /// The state `T` that the runner was given, if it was.
    pub fn state<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        self.0.states.get()
    }

    /// The present moment, on the clock that the worker goes by.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }
}

impl fmt::Debug for WorkerContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerContext")
            .field("name", &self.0.name)
            .field("queues", &self.0.queues)
            .finish_non_exhaustive()
    }
}

/// A value that the runner was given, as a task's parameter: `State(db): State<Db>`.
///
/// It is cloned for each job; wrap what is large or must be shared in an `Arc`. A task that wants
/// a state that nobody gave keeps the runner from starting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State<T>(pub T);

/// The states of a runner, one for each type.
#[derive(Default)]
pub(crate) struct States(HashMap<TypeId, Box<dyn Any + Send + Sync>>);

impl States {
    pub(crate) fn insert<T: Clone + Send + Sync + 'static>(&mut self, value: T) {
        self.0.insert(TypeId::of::<T>(), Box::new(value));
    }

    pub(crate) fn has(&self, id: TypeId) -> bool {
        self.0.contains_key(&id)
    }

    fn get<T: Clone + 'static>(&self) -> Option<T> {
        self.0.get(&TypeId::of::<T>())?.downcast_ref::<T>().cloned()
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} states", self.0.len())
    }
}
