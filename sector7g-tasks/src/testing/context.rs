use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::args::{Arguments, BindError};
use crate::broker::{Broker, ClaimedJob, JobId, Lease, LeaseToken, MemoryBroker, QueueName};
use crate::client::Client;
use crate::codec::{Codec, Extra};
use crate::context::{Context, JobRun, States, WorkerContext, WorkerShared};
use crate::task::{RunFuture, Source, TaskDef};
use crate::worker::Held;

/// A [`Context`] for calling a task as the plain function that it is.
///
/// ```
/// use sector7g_tasks::prelude::*;
/// use sector7g_tasks::testing::TestContext;
///
/// #[task(queue = "lenny")]
/// async fn tries(ctx: &Context, State(limit): State<u32>) -> u32 {
///     limit - ctx.attempt()
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let ctx = TestContext::new().attempt(2).build();
/// assert_eq!(tries(&ctx, State(5)).await, 3);
/// # }
/// ```
#[derive(Debug)]
pub struct TestContext {
    broker: Arc<dyn Broker>,
    states: States,
    attempt: u32,
}

static DEF: TaskDef = TaskDef::new(
    "test",
    "test",
    Source { file: file!(), line: line!(), module: module_path!() },
    not_run,
    not_bound,
    || "()",
);

fn not_run(_: Context) -> Result<RunFuture, BindError> {
    Err(BindError::Malformed("a test's context runs no task".to_owned()))
}

fn not_bound(_: &Arguments) -> Result<(), BindError> {
    Err(BindError::Malformed("a test's context has no parameters".to_owned()))
}

impl TestContext {
    /// A context of the first attempt of a job, with an embedded broker of its own.
    pub fn new() -> Self {
        Self { broker: Arc::new(MemoryBroker::new()), states: States::default(), attempt: 1 }
    }

    /// Sets which attempt it is, from 1.
    #[must_use]
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// Adds a state, for tasks that ask [`Context::state`].
    #[must_use]
    pub fn state<T: Clone + Send + Sync + 'static>(mut self, state: T) -> Self {
        self.states.insert(state);
        self
    }

    /// Lets the task enqueue on `broker`.
    #[must_use]
    pub fn broker(mut self, broker: Arc<dyn Broker>) -> Self {
        self.broker = broker;
        self
    }

    /// The context.
    ///
    /// # Panics
    /// Never: its names are valid.
    pub fn build(self) -> Context {
        let clock = self.broker.clock().clone();
        let now = clock.now();
        let shared = WorkerShared {
            name: "test".to_owned(),
            queues: vec![QueueName::new(DEF.queue).expect("a valid name")],
            client: Client::new(self.broker),
            states: Arc::new(self.states),
            clock,
            stopping: CancellationToken::new(),
            max_result_size: usize::MAX,
        };
        let job = ClaimedJob {
            lease: Lease { id: JobId::generate(), token: LeaseToken { worker: 0, call: 0 } },
            payload: None,
            attempt: self.attempt,
            delivery: self.attempt,
            due_at: now,
            abort_requested: false,
            unknown_since: None,
        };
        Context(Arc::new(JobRun {
            def: &DEF,
            held: Arc::new(Held::new(0, job)),
            attempt: self.attempt,
            max_tries: 5,
            enqueued_at: now,
            extra: Extra::default(),
            codec: Codec::default(),
            arguments: Arguments::none(),
            worker: WorkerContext(Arc::new(shared)),
        }))
    }
}

impl Default for TestContext {
    fn default() -> Self {
        Self::new()
    }
}
