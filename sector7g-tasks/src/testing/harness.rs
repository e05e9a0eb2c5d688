use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::args::ArgList;
use crate::broker::{Broker, BrokerError, JobFilter, JobId, MAX_BATCH, MemoryBroker, QueueName};
use crate::client::{Client, EnqueueError, JobInfo, ResultError};
use crate::clock::{Clock, Timestamp};
use crate::codec::Codec;
use crate::inventory::Inventory;
use crate::job::{Job, JobKind};
use crate::runner::{RunReport, Runner, RunnerError};
use crate::task::Task;

/// 2030-01-01T00:00:00Z: where a harness's clock starts unless told otherwise.
const START: Timestamp = Timestamp::from_millis(1_893_456_000_000);

/// A broker, a client and workers in one test, on the real path of a job, with a virtual clock.
///
/// Under `#[tokio::test(start_paused = true)]` (or [`virtual_time`]) time stands still while
/// anything can run and jumps when nothing can. So a day of schedules, a ladder of retries or a
/// lease that runs out takes milliseconds, and there is nothing to sleep for. Idle workers say that
/// they live every ten minutes of it, not every `health_check_interval`.
///
/// ```standalone_crate
/// use std::time::Duration;
/// use sector7g_tasks::prelude::*;
/// use sector7g_tasks::testing::{Harness, virtual_time};
///
/// #[task(queue = "homer", max_tries = 3, backoff = "fixed(1h, jitter = 0)")]
/// async fn wake_up(ctx: &Context) -> Result<u32, TaskError> {
///     if ctx.attempt() < 3 { Err("five more minutes".into()) } else { Ok(ctx.attempt()) }
/// }
///
/// virtual_time(async {
///     let harness = Harness::new();
///     let before = harness.now();
///     assert_eq!(harness.run(wake_up::job()).await.unwrap(), 3);
///     assert_eq!(harness.now().since(before), Duration::from_secs(2 * 3600));
/// });
/// ```
pub struct Harness {
    broker: Arc<dyn Broker>,
    setup: Arc<dyn Fn(Runner) -> Runner + Send + Sync>,
    inventory: Inventory,
}

/// Why a job run by [`Harness::run`] has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HarnessError {
    /// It could not be enqueued.
    #[error(transparent)]
    Enqueue(#[from] EnqueueError),
    /// The workers did not start.
    #[error(transparent)]
    Runner(#[from] RunnerError),
    /// The job failed, or keeps no result.
    #[error(transparent)]
    Result(#[from] ResultError),
}

impl HarnessError {
    /// How the job failed, if it did.
    pub fn failure(&self) -> Option<&crate::job::Failure> {
        match self {
            Self::Result(error) => error.failure(),
            _ => None,
        }
    }
}

impl Harness {
    /// A harness with all linked tasks and workers, whose clock starts at 2030-01-01T00:00:00Z.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new() -> Self {
        Self::starting_at(START)
    }

    /// A harness whose clock starts at `start`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn starting_at(start: Timestamp) -> Self {
        Self::on(Arc::new(MemoryBroker::with_clock(Clock::starting_from(start))))
    }

    /// A harness on a broker of the caller's, say a [`ChaosBroker`](super::chaos::ChaosBroker).
    pub fn on(broker: Arc<dyn Broker>) -> Self {
        Self { broker, setup: Arc::new(|runner| runner), inventory: Inventory::linked() }
    }

    /// Sets each runner up: states, middleware, names of workers.
    #[must_use]
    pub fn setup(mut self, setup: impl Fn(Runner) -> Runner + Send + Sync + 'static) -> Self {
        self.setup = Arc::new(setup);
        self
    }

    /// Takes tasks and workers from `inventory` in place of all that is linked.
    #[must_use]
    pub fn inventory(mut self, inventory: Inventory) -> Self {
        self.inventory = inventory;
        self
    }

    /// A client of the harness's broker.
    pub fn client(&self) -> Client {
        Client::new(Arc::clone(&self.broker))
    }

    /// The broker.
    pub fn broker(&self) -> &Arc<dyn Broker> {
        &self.broker
    }

    /// The present moment of the virtual clock.
    pub fn now(&self) -> Timestamp {
        self.broker.clock().now()
    }

    fn runner(&self) -> Runner {
        let runner =
            Runner::new().broker(Arc::clone(&self.broker)).inventory(self.inventory.clone()).handle_signals(false);
        (self.setup)(runner)
    }

    /// Enqueues `job`, works until it has ended (retries included), and returns its result.
    ///
    /// # Errors
    /// [`HarnessError`]; a job that failed is `Result(Failed)`.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped, the workers end as if killed.
    pub async fn run<K: JobKind>(&self, job: Job<K>) -> Result<K::Output, HarnessError> {
        let handle = self.client().enqueue(job).await?;
        let fleet = self.start();
        let result = tokio::select! {
            result = handle.result() => result, // cancel safe: only waits
            ended = fleet.ended() => return Err(ended.err().map_or(ResultError::NotFound { id: handle.id().clone() }.into(), Into::into)), // only on a failed start
        };
        fleet.stop().await?;
        Ok(result?)
    }

    /// Works until all queues of the inventory are empty, deferred jobs and retries included.
    ///
    /// Schedules go on meanwhile: drain a harness whose inventory has none, or [`advance`](Self::advance) instead.
    ///
    /// # Errors
    /// [`RunnerError`].
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped, the workers end as if killed.
    pub async fn drain(&self) -> Result<RunReport, RunnerError> {
        self.runner().burst(true).run().await
    }

    /// Starts the workers; they run until the fleet is stopped or crashed.
    pub fn start(&self) -> Fleet {
        let stop = CancellationToken::new();
        let run = self.runner().stop_on(stop.clone()).run();
        Fleet::new(stop, Box::pin(run))
    }

    /// Lets `span` of the virtual time pass, and all happen that falls into it.
    pub async fn advance(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }

    /// The jobs that wait or run in a queue, by due time.
    ///
    /// # Errors
    /// [`BrokerError`].
    pub async fn jobs(&self, queue: &str) -> Result<Vec<JobInfo>, BrokerError> {
        Ok(self.client().jobs(queue, JobFilter::Live, None, MAX_BATCH).await?.jobs)
    }

    /// The queue's dead letters, newest first.
    ///
    /// # Errors
    /// [`BrokerError`].
    pub async fn dead_letters(&self, queue: &str) -> Result<Vec<JobInfo>, BrokerError> {
        Ok(self.client().dead_letters(queue, None, MAX_BATCH).await?.jobs)
    }

    /// The arguments of the jobs of task `T` that wait or run in its queue, by due time.
    ///
    /// # Errors
    /// [`BrokerError`]; `Refused` names a job whose arguments do not fit the task.
    pub async fn enqueued<T: Task>(&self) -> Result<Vec<Enqueued<T::Args>>, BrokerError>
    where
        T::Args: ArgList,
    {
        let queues = QueueName::new(T::DEF.queue).and_then(|queue| queue.all(T::DEF.partitions));
        let mut jobs = Vec::new();
        for queue in queues.map_err(|error| BrokerError::Refused(error.to_string()))? {
            jobs.extend(self.broker.jobs(&queue, JobFilter::Live, None, MAX_BATCH).await?.jobs);
        }
        jobs.sort_by_key(|job| job.due_at); // stable: those of one partition stay as they are
        let mut found = Vec::new();
        for job in jobs {
            let Some(payload) = &job.payload else { continue };
            let (_, envelope) = Codec::decode_job(payload).map_err(|error| BrokerError::Refused(error.to_string()))?;
            if envelope.task == T::DEF.name {
                let args = T::Args::bind(&envelope.arguments, T::DEF.params, <T::Args as ArgList>::Defaults::default());
                let args = args.map_err(|error| BrokerError::Refused(format!("job {}: {error}", job.id)))?;
                found.push(Enqueued { id: job.id, due_at: job.due_at, args });
            }
        }
        Ok(found)
    }

    /// Checks that exactly one job of task `T` waits, with these arguments, and returns it.
    ///
    /// # Panics
    /// With what waits instead.
    pub async fn assert_enqueued<T: Task>(&self, args: T::Args) -> Enqueued<T::Args>
    where
        T::Args: ArgList + fmt::Debug + PartialEq,
    {
        let jobs = self.enqueued::<T>().await;
        let jobs = jobs.unwrap_or_else(|error| panic!("the jobs of task `{}` can't be read: {error}", T::DEF.name));
        let shown = format!("{:?}", jobs.iter().map(|job| &job.args).collect::<Vec<_>>());
        let mut fitting: Vec<_> = jobs.into_iter().filter(|job| job.args == args).collect();
        match (fitting.pop(), fitting.len()) {
            (Some(job), 0) => job,
            (None, _) => panic!("no job of task `{}` waits with {args:?}; waiting: {shown}", T::DEF.name),
            (Some(_), more) => {
                panic!("{} jobs of task `{}` wait with {args:?}, one was expected", more + 1, T::DEF.name)
            }
        }
    }
}

/// A waiting job and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enqueued<A> {
    /// Its id.
    pub id: JobId,
    /// When it is due.
    pub due_at: Timestamp,
    /// Its arguments, a tuple.
    pub args: A,
}

impl Default for Harness {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Harness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness").field("broker", &self.broker).finish_non_exhaustive()
    }
}

/// Workers that a harness has started. Dropped, they end as if killed.
#[derive(Debug)]
pub struct Fleet {
    stop: CancellationToken,
    run: tokio::sync::Mutex<JoinSet<Result<RunReport, RunnerError>>>,
}

impl Fleet {
    fn new(stop: CancellationToken, run: Pin<Box<dyn Future<Output = Result<RunReport, RunnerError>> + Send>>) -> Self {
        let mut set = JoinSet::new();
        set.spawn(run);
        Self { stop, run: tokio::sync::Mutex::new(set) }
    }

    /// Stops the workers gracefully, as SIGTERM does, and says what they did.
    ///
    /// # Errors
    /// [`RunnerError`] when they had not started.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped, they end as if killed.
    pub async fn stop(self) -> Result<RunReport, RunnerError> {
        self.stop.cancel();
        self.ended().await
    }

    /// Ends the workers in the midst of whatever they do, as `kill -9` does: nothing is finished,
    /// nothing is given back, no more heartbeats. Their jobs are due again when their leases end.
    /// (A plain `fn` that is on its thread runs to its end all the same; its outcome is lost.)
    pub async fn crash(self) {
        self.run.lock().await.shutdown().await;
    }

    /// Waits until the workers have ended by themselves (burst mode, or a failed start).
    ///
    /// # Errors
    /// [`RunnerError`].
    ///
    /// # Cancel safety
    /// Cancel safe: the workers go on.
    pub async fn ended(&self) -> Result<RunReport, RunnerError> {
        match self.run.lock().await.join_next().await {
            Some(Ok(report)) => report,
            Some(Err(error)) => Err(RunnerError::System(error.into())),
            None => Ok(RunReport::default()),
        }
    }
}

/// Runs a test in virtual time, where no `#[tokio::test(start_paused = true)]` is at hand.
///
/// # Panics
/// When the system refuses a runtime, or `test` panics.
pub fn virtual_time<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.unwrap_or_else(|error| panic!("no runtime: {error}")).block_on(test)
}
