use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{Client, RESULT_WAIT};
use crate::broker::{BrokerError, JobId, JobRecord, JobState, QueueName, ResultState};
use crate::clock::Timestamp;
use crate::codec::{Codec, CodecError, Encoded, Place, StoredResult};
use crate::inventory;
use crate::job::{Failure, FailureKind, JobKind};

/// An enqueued job: its result, status, progress and end. Clones follow the same job.
pub struct JobHandle<K: JobKind> {
    client: Client,
    queue: QueueName,
    id: JobId,
    is_new: bool,
    kind: PhantomData<fn() -> K>,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResultError {
    /// The job failed for good, was aborted or expired.
    #[error("job {id} failed, {failure}")]
    Failed {
        /// The job.
        id: JobId,
        /// What happened; [`Failure::kind`] tells an abort from an error.
        failure: Failure,
    },
    /// There is neither a job nor a result: it was never enqueued, or its result is no longer kept.
    #[error("job {id} is not known: it was never enqueued, or its task keeps no result (`keep_result`)")]
    NotFound {
        /// The job.
        id: JobId,
    },
    /// It has not ended in the time given. The job goes on.
    #[error("job {id} has no result after {waited:?}")]
    Timeout {
        /// The job.
        id: JobId,
        /// How long was waited.
        waited: Duration,
    },
    /// The stored result can't be read as the task's type.
    #[error("the result of job {id} is not what its task returns here")]
    Decode {
        /// The job.
        id: JobId,
        /// What the codec says.
        #[source]
        cause: CodecError,
    },
    /// The broker can't be asked.
    #[error("the result of job {id} can't be asked for")]
    Broker {
        /// The job.
        id: JobId,
        /// Why.
        #[source]
        cause: BrokerError,
    },
}

impl ResultError {
    /// How the job failed, if it did.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed { failure, .. } => Some(failure),
            _ => None,
        }
    }

    /// Whether the job was aborted.
    pub fn is_aborted(&self) -> bool {
        self.failure().is_some_and(|failure| failure.kind == FailureKind::Aborted)
    }
}

impl<K: JobKind> JobHandle<K> {
    pub(super) fn new(client: Client, queue: QueueName, id: JobId, is_new: bool) -> Self {
        Self { client, queue, id, is_new, kind: PhantomData }
    }

    /// The job's id.
    pub fn id(&self) -> &JobId {
        &self.id
    }

    /// The job's queue.
    pub fn queue(&self) -> &QueueName {
        &self.queue
    }

    /// Whether the enqueueing that made this handle added the job; false when its id was taken.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Waits until the job has ended, however long it takes, and returns its result.
    ///
    /// # Errors
    /// [`ResultError`].
    ///
    /// # Cancel safety
    /// Cancel safe: it only waits.
    pub async fn result(&self) -> Result<K::Output, ResultError> {
        loop {
            match self.result_within(RESULT_WAIT).await {
                Err(ResultError::Timeout { .. }) => {}
                ended => return ended,
            }
        }
    }

    /// Waits up to `timeout` for the job to end, and returns its result.
    ///
    /// # Errors
    /// [`ResultError`]; `Timeout` when it has not ended, which leaves it running.
    ///
    /// # Cancel safety
    /// Cancel safe: it only waits.
    pub async fn result_within(&self, timeout: Duration) -> Result<K::Output, ResultError> {
        let started = Instant::now();
        match self.ask(timeout).await? {
            ResultState::Ready(record) => self.read(&record),
            ResultState::Pending => Err(ResultError::Timeout { id: self.id.clone(), waited: started.elapsed() }),
            ResultState::NotFound => Err(self.without_result().await),
        }
    }

    /// A job whose result was not kept may still be there as a dead letter.
    async fn without_result(&self) -> ResultError {
        let id = self.id.clone();
        match self.record().await {
            Ok(record) => match record.and_then(|mut record| record.failures.pop()) {
                Some(failure) => ResultError::Failed { id, failure },
                None => ResultError::NotFound { id },
            },
            Err(cause) => ResultError::Broker { id, cause },
        }
    }

    async fn ask(&self, timeout: Duration) -> Result<ResultState, ResultError> {
        let asked = self.client.broker.result(&self.queue, &self.id, timeout).await;
        asked.map_err(|cause| ResultError::Broker { id: self.id.clone(), cause })
    }

    fn read(&self, record: &[u8]) -> Result<K::Output, ResultError> {
        let unreadable = |cause| ResultError::Decode { id: self.id.clone(), cause };
        match Codec::decode_result(record).map_err(unreadable)?.value {
            Ok(value) => value.decode().map_err(unreadable),
            Err(failure) => Err(ResultError::Failed { id: self.id.clone(), failure }),
        }
    }

    /// Where the job stands; `None` when there is neither a job nor a result.
    ///
    /// # Errors
    /// [`BrokerError`].
    ///
    /// # Cancel safety
    /// Cancel safe: it only reads.
    pub async fn status(&self) -> Result<Option<JobState>, BrokerError> {
        Ok(self.record().await?.map(|record| record.state))
    }

    /// All that is known of the job; `None` when nothing is.
    ///
    /// # Errors
    /// [`BrokerError`].
    ///
    /// # Cancel safety
    /// Cancel safe: it only reads.
    pub async fn info(&self) -> Result<Option<JobInfo>, BrokerError> {
        Ok(self.record().await?.map(|record| JobInfo::read(record, &self.queue)))
    }

    async fn record(&self) -> Result<Option<JobRecord>, BrokerError> {
        self.client.broker.job(&self.queue, &self.id).await
    }

    /// The progress that the task last reported; `None` when it reported none, or none that reads as `P`.
    ///
    /// # Errors
    /// [`BrokerError`].
    ///
    /// # Cancel safety
    /// Cancel safe: it only reads.
    pub async fn progress<P: DeserializeOwned>(&self) -> Result<Option<P>, BrokerError> {
        let progress = self.record().await?.and_then(|record| record.progress);
        Ok(progress.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// Asks that the job be aborted, waiting or running; false when it is neither.
    ///
    /// It ends soon after, with a result whose failure is [`FailureKind::Aborted`], unless it
    /// comes to its own end first. To wait for that, ask for the [`result`](Self::result).
    ///
    /// # Errors
    /// [`BrokerError`].
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped, the request may or may not have been made.
    pub async fn abort(&self) -> Result<bool, BrokerError> {
        self.client.broker.abort(&self.queue, &self.id).await
    }
}

impl<K: JobKind> Clone for JobHandle<K> {
    fn clone(&self) -> Self {
        Self::new(self.client.clone(), self.queue.clone(), self.id.clone(), self.is_new)
    }
}

impl<K: JobKind> fmt::Debug for JobHandle<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobHandle").field("queue", &self.queue).field("id", &self.id).finish_non_exhaustive()
    }
}

/// What is known of one job.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JobInfo {
    /// Its id.
    pub id: JobId,
    /// Its queue.
    pub queue: QueueName,
    /// Where it stands.
    pub state: JobState,
    /// Its task; `None` when the stored job can't be read.
    pub task: Option<String>,
    /// Its arguments for people, redacted where its task says so, at most 200 bytes.
    pub arguments: Option<String>,
    /// Attempts counted so far.
    pub attempt: u32,
    /// When it was enqueued, by its producer's clock.
    pub enqueued_at: Option<Timestamp>,
    /// When it is due; for a dead letter, when it died.
    pub due_at: Timestamp,
    /// When its last attempt began, once it has ended.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Its result, or why it has none, once it has ended.
    pub outcome: Option<Result<Encoded, Failure>>,
    /// Its failed attempts, oldest first.
    pub failures: Vec<Failure>,
    /// Whether an abort was asked for.
    pub abort_requested: bool,
}

/// How many bytes of a job's arguments are shown.
const SHOWN_ARGUMENTS: usize = 200;

impl JobInfo {
    pub(super) fn read(record: JobRecord, queue: &QueueName) -> Self {
        let job = record.payload.as_ref().and_then(|payload| Codec::decode_job(payload).ok()).map(|(_, job)| job);
        let ended: Option<StoredResult> = record.result.as_ref().and_then(|result| Codec::decode_result(result).ok());
        let task = job.as_ref().map(|job| job.task.clone().into_owned()).or(ended.as_ref().map(|end| end.task.clone()));
        let arguments = job.as_ref().map(|job| {
            let may_show = |place: Place<'_>| place.is_shown(inventory::linked_tasks(&job.task).map(|def| def.params));
            job.arguments.display_where(&may_show, SHOWN_ARGUMENTS)
        });
        Self {
            id: record.id,
            queue: queue.clone(),
            state: record.state,
            task,
            arguments,
            attempt: ended.as_ref().map_or(record.attempt, |end| end.attempt),
            enqueued_at: job.map(|job| job.enqueued_at).or(ended.as_ref().map(|end| end.enqueued_at)),
            due_at: record.due_at,
            started_at: ended.as_ref().map(|end| end.started_at),
            finished_at: ended.as_ref().map(|end| end.finished_at),
            outcome: ended.map(|end| end.value),
            failures: record.failures,
            abort_requested: record.abort_requested,
        }
    }
}

impl fmt::Display for JobInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let task = self.task.as_deref().unwrap_or("<unreadable>");
        write!(f, "{} {task}({}) {}", self.id, self.arguments.as_deref().unwrap_or(""), self.state)?;
        if self.attempt > 0 {
            write!(f, " try={}", self.attempt)?;
        }
        match self.failures.last() {
            Some(failure) => write!(f, " {failure}"),
            None => Ok(()),
        }
    }
}
