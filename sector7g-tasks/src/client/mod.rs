//! Enqueueing jobs, and following them.

mod handle;
mod requests;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

#[cfg(doc)]
use crate::broker::REQUEST_MEMORY;
use crate::broker::{
    Broker, BrokerError, Enqueued, InvalidName, JobFilter, JobId, MAX_BATCH, MAX_BATCH_BYTES, NewJob, Page, PageMark,
    QueueName, QueueStats,
};
use crate::codec::{Codec, CodecError, Extra, Trace};
use crate::job::{Job, JobKind};
use crate::retry::RetryPolicy;
use crate::trace::Sending;

use self::requests::Requests;

pub use self::handle::{JobHandle, JobInfo, ResultError};

/// The largest encoded job, unless a client is given another bound: 1 MiB.
pub const MAX_PAYLOAD: usize = 1024 * 1024;

/// How often a [`Client`] asks a broker that does not answer to add jobs.
pub const ENQUEUE_TRIES: u32 = 3;

/// Pauses between these tries.
const AGAIN: RetryPolicy = RetryPolicy::exponential(Duration::from_millis(100)).jitter(0.5);

/// Enqueues jobs on a broker, and follows them. Clones are cheap and share the connection. A program does well to clone
/// one rather than make many: a broker keeps a note of each that enqueues for [`REQUEST_MEMORY`].
///
/// ```
/// use std::sync::Arc;
/// use sector7g_tasks::prelude::*;
///
/// #[task(queue = "homer")]
/// async fn count_donuts(boxes: Vec<u32>) -> u32 {
///     boxes.iter().sum()
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::new(Arc::new(MemoryBroker::new()));
/// let handle = client.enqueue(count_donuts::job(vec![12, 6])).await?;
/// # let runner = Runner::new().broker(client.broker().clone()).inventory(Inventory::empty().task::<count_donuts>());
/// # runner.burst(true).run().await?;
/// assert_eq!(handle.result().await?, 18);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    broker: Arc<dyn Broker>,
    pub(crate) codec: Codec,
    max_payload: usize,
    requests: Arc<Requests>,
}

/// Why jobs were not enqueued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnqueueError {
    /// An id or a queue's name can't be used.
    #[error("a job of task `{task}` was not enqueued")]
    Name {
        /// The job's task.
        task: String,
        /// Which name, and why.
        #[source]
        cause: InvalidName,
    },
    /// The arguments could not be encoded.
    #[error("the arguments of a job of task `{task}` can't be encoded")]
    Encode {
        /// The job's task.
        task: String,
        /// What the codec says.
        #[source]
        cause: CodecError,
    },
    /// The encoded job is larger than the client allows.
    #[error(
        "a job of task `{task}` has {size} bytes, more than {limit}; pass a reference to where its data is instead"
    )]
    TooLarge {
        /// The job's task.
        task: String,
        /// Its encoded size in bytes.
        size: usize,
        /// The client's bound.
        limit: usize,
    },
    /// The broker failed: it took the first `confirmed` of the jobs, and perhaps more.
    #[error("{} of {} jobs were not confirmed", ids.len() - confirmed, ids.len())]
    Broker {
        /// The ids of all jobs of the call, in order, to look for them or to enqueue them again with [`Job::id`].
        ids: Vec<JobId>,
        /// How many of them, from the first, the broker has answered for.
        confirmed: usize,
        /// What the broker said.
        #[source]
        cause: BrokerError,
    },
}

impl Client {
    /// A client of `broker`.
    pub fn new(broker: Arc<dyn Broker>) -> Self {
        Self { broker, codec: Codec::default(), max_payload: MAX_PAYLOAD, requests: Arc::default() }
    }

    /// Writes jobs in `codec` (default: JSON). Workers read any codec.
    #[must_use]
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// Refuses jobs of more than `bytes` once encoded (default: [`MAX_PAYLOAD`]).
    #[must_use]
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.max_payload = bytes;
        self
    }

    /// The broker.
    pub fn broker(&self) -> &Arc<dyn Broker> {
        &self.broker
    }

    /// Adds one job, and returns the handle to follow it by.
    ///
    /// If its id is taken, no job is added and the handle is that of the job that has it; see
    /// [`JobHandle::is_new`].
    ///
    /// # Errors
    /// [`EnqueueError`]. A broker that does not answer is asked [`ENQUEUE_TRIES`] times, within a second and its own
    /// time limits, and for no longer than [`REQUEST_MEMORY`]; however its answers get lost, and whatever comes of a
    /// request that is held up on its way for less than that, the job is added once. On `Broker` it may have been added all the
    /// same. Enqueue it again with the same [`Job::id`], which the error tells, to be sure that it is there: that
    /// adds no second one while it lives or its result is kept. With [`Job::replace_finished`] it does: a job that was
    /// added and has finished meanwhile runs again.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped, the job may or may not have been added.
    pub async fn enqueue<K: JobKind>(&self, job: Job<K>) -> Result<JobHandle<K>, EnqueueError> {
        let sending = Sending::begin(Some(job.queue_name()));
        let enqueued = sending.run(self.send(job, &sending)).await;
        sending.end(enqueued.as_ref().err());
        enqueued
    }

    async fn send<K: JobKind>(&self, job: Job<K>, sending: &Sending) -> Result<JobHandle<K>, EnqueueError> {
        let new = self.encode_for(&job, sending.trace())?;
        sending.encoded(std::slice::from_ref(&new));
        match self.add(std::slice::from_ref(&new), std::iter::once(&*job.task)).await {
            Ok(enqueued) => Ok(self.handle_of(new, enqueued.first().copied())),
            Err(cause) => Err(EnqueueError::Broker { ids: vec![new.id], confirmed: 0, cause }),
        }
    }

    /// Adds many jobs of one task, in their order: one round trip for each [`MAX_BATCH`] of them
    /// (or [`MAX_BATCH_BYTES`]).
    ///
    /// Nothing is sent before all are encoded.
    ///
    /// # Errors
    /// As [`enqueue`](Self::enqueue). When the broker fails between two batches, the earlier ones
    /// stay enqueued; the error tells how many.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped, some may have been added.
    pub async fn enqueue_all<K: JobKind>(
        &self,
        jobs: impl IntoIterator<Item = Job<K>>,
    ) -> Result<Vec<JobHandle<K>>, EnqueueError> {
        let mut jobs = jobs.into_iter().peekable();
        let sending = Sending::begin(jobs.peek().map(Job::queue_name));
        let trace = sending.trace();
        let encode = |job: Job<K>| self.encode_for(&job, trace.clone()).map(|new| (new, job.task));
        let encoded = jobs.map(encode).collect::<Result<(Vec<NewJob>, Vec<Cow<'static, str>>), _>>();
        let enqueued = match encoded {
            Ok((new, tasks)) => {
                sending.encoded(&new);
                sending.run(self.send_all(new, &tasks)).await
            }
            Err(error) => Err(error),
        };
        sending.end(enqueued.as_ref().err());
        enqueued
    }

    async fn send_all<K: JobKind>(
        &self,
        new: Vec<NewJob>,
        tasks: &[Cow<'static, str>],
    ) -> Result<Vec<JobHandle<K>>, EnqueueError> {
        let mut enqueued = Vec::with_capacity(new.len());
        for batch in batches(&new, |job| job.payload.len()) {
            let tasks = tasks[enqueued.len()..].iter().map(|task| &**task);
            match self.add(batch, tasks).await {
                Ok(answers) => enqueued.extend(answers),
                Err(cause) => {
                    let ids = new.iter().map(|job| job.id.clone()).collect();
                    return Err(EnqueueError::Broker { ids, confirmed: enqueued.len(), cause });
                }
            }
        }
        let mut enqueued = enqueued.into_iter();
        Ok(new.into_iter().map(|job| self.handle_of(job, enqueued.next())).collect())
    }

    /// One call to the broker, repeated while its answers are lost. `tasks` names those of `jobs`, in order.
    pub(crate) async fn add<'a>(
        &self,
        jobs: &'a [NewJob],
        tasks: impl Iterator<Item = &'a str> + Send,
    ) -> Result<Vec<Enqueued>, BrokerError> {
        let answers = self.add_again(jobs).await?;
        #[cfg(feature = "metrics")]
        crate::metrics::count(jobs.iter().zip(tasks), &answers);
        #[cfg(not(feature = "metrics"))]
        drop(tasks);
        Ok(answers)
    }

    async fn add_again(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, BrokerError> {
        let (request, mut id) = self.requests.begin();
        let mut failures = 0;
        loop {
            match self.broker.enqueue(jobs, id).await {
                Err(error @ BrokerError::Unavailable { .. }) if failures + 1 < ENQUEUE_TRIES => {
                    failures += 1;
                    sleep(AGAIN.delay(failures, rand::random())).await;
                    match request.again() {
                        Some(again) => id = again,
                        None => return Err(error),
                    }
                }
                answer => return answer,
            }
        }
    }

    /// Makes of a job what the broker stores; public for benchmarks.
    #[doc(hidden)]
    pub fn encode<K: JobKind>(&self, job: &Job<K>) -> Result<NewJob, EnqueueError> {
        self.encode_for(job, None)
    }

    /// The same for a job that belongs to a trace.
    fn encode_for<K: JobKind>(&self, job: &Job<K>, trace: Option<Trace>) -> Result<NewJob, EnqueueError> {
        let options = &job.options;
        let task = || job.task.clone().into_owned();
        let name = |cause| EnqueueError::Name { task: task(), cause };
        let extra = Extra { max_tries: options.max_tries, tick: options.tick, trace: trace.map(Box::new) };
        let now = self.broker.clock().now();
        let payload = self
            .codec
            .encode_job(&job.task, now, &extra, &job.args)
            .map_err(|cause| EnqueueError::Encode { task: task(), cause })?;
        if payload.len() > self.max_payload {
            return Err(EnqueueError::TooLarge { task: task(), size: payload.len(), limit: self.max_payload });
        }
        let queue = QueueName::new(&options.queue).map_err(name)?;
        let (key, id) = (options.partition_key.as_deref(), options.id.as_deref());
        let (queue, id) = queue.place(options.partitions, key, id).map_err(name)?;
        Ok(NewJob {
            id,
            is_new_id: options.id.is_none(),
            queue,
            payload,
            due: options.due,
            expires_in: options.expires_in,
            replace_finished: options.replace_finished,
        })
    }

    fn handle_of<K: JobKind>(&self, job: NewJob, enqueued: Option<Enqueued>) -> JobHandle<K> {
        JobHandle::new(self.clone(), job.queue, job.id, enqueued == Some(Enqueued::New))
    }

    /// The handle of a job enqueued earlier, or elsewhere. Whether it exists is seen when it is asked.
    ///
    /// `K` says what its result is: a task, or [`Untyped`](crate::job::Untyped).
    ///
    /// # Errors
    /// [`InvalidName`] when no job can have that queue or id.
    pub fn job<K: JobKind>(&self, queue: &str, id: &str) -> Result<JobHandle<K>, InvalidName> {
        Ok(JobHandle::new(self.clone(), QueueName::new(queue)?, JobId::new(id)?, false))
    }

    /// The sizes of a queue, and its living workers.
    ///
    /// # Errors
    /// [`BrokerError`]; also when `queue` is no possible name.
    ///
    /// # Cancel safety
    /// Cancel safe: it only reads.
    pub async fn stats(&self, queue: &str) -> Result<QueueStats, BrokerError> {
        self.broker.stats(&queue_name(queue)?).await
    }

    /// A page of the queue's jobs, at most `limit` (up to [`MAX_BATCH`]) of them.
    ///
    /// # Errors
    /// [`BrokerError`]; also when `queue` is no possible name.
    ///
    /// # Cancel safety
    /// Cancel safe: it only reads.
    pub async fn jobs(
        &self,
        queue: &str,
        filter: JobFilter,
        after: Option<PageMark>,
        limit: usize,
    ) -> Result<Listing, BrokerError> {
        let queue = queue_name(queue)?;
        let Page { jobs, next } = self.broker.jobs(&queue, filter, after, limit).await?;
        Ok(Listing { jobs: jobs.into_iter().map(|record| JobInfo::read(record, &queue)).collect(), next })
    }

    /// A page of the queue's dead letters, newest first.
    ///
    /// # Errors
    /// [`BrokerError`]; also when `queue` is no possible name.
    ///
    /// # Cancel safety
    /// Cancel safe: it only reads.
    pub async fn dead_letters(
        &self,
        queue: &str,
        after: Option<PageMark>,
        limit: usize,
    ) -> Result<Listing, BrokerError> {
        self.jobs(queue, JobFilter::Dead, after, limit).await
    }

    /// Puts one dead letter back into its queue: same id, attempts from 1, due now. False when
    /// there is none of that id, or a live job has taken the id meanwhile.
    ///
    /// # Errors
    /// [`BrokerError`]; also when a name is not possible.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped, it may or may not have been put back.
    pub async fn retry_dead(&self, queue: &str, id: &JobId) -> Result<bool, BrokerError> {
        let done = self.broker.retry_dead(&queue_name(queue)?, std::slice::from_ref(id)).await?;
        Ok(done.first() == Some(&true))
    }

    /// Deletes one dead letter for good. False when there is none of that id.
    ///
    /// # Errors
    /// [`BrokerError`]; also when a name is not possible.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped, it may or may not have been deleted.
    pub async fn discard_dead(&self, queue: &str, id: &JobId) -> Result<bool, BrokerError> {
        let done = self.broker.discard_dead(&queue_name(queue)?, std::slice::from_ref(id)).await?;
        Ok(done.first() == Some(&true))
    }

    /// Puts all dead letters of a queue back that are there now; says how many.
    ///
    /// # Errors
    /// [`BrokerError`]; those put back before it stay so.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped, some have been put back.
    pub async fn retry_all_dead(&self, queue: &str) -> Result<usize, BrokerError> {
        let queue = queue_name(queue)?;
        let mut count = 0;
        for ids in self.dead_ids(&queue).await? {
            count += self.broker.retry_dead(&queue, &ids).await?.into_iter().filter(|done| *done).count();
        }
        Ok(count)
    }

    /// Deletes all dead letters of a queue that are there now; says how many.
    ///
    /// # Errors
    /// [`BrokerError`]; those deleted before it stay so.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped, some have been deleted.
    pub async fn discard_all_dead(&self, queue: &str) -> Result<usize, BrokerError> {
        let queue = queue_name(queue)?;
        let mut count = 0;
        for ids in self.dead_ids(&queue).await? {
            count += self.broker.discard_dead(&queue, &ids).await?.into_iter().filter(|done| *done).count();
        }
        Ok(count)
    }

    /// The ids of all dead letters, read before any is touched: one that dies again meanwhile
    /// must not be met twice. Bounded by the broker's bound on dead letters.
    async fn dead_ids(&self, queue: &QueueName) -> Result<Vec<Vec<JobId>>, BrokerError> {
        let mut pages = Vec::new();
        let mut after = None;
        loop {
            let page = self.broker.jobs(queue, JobFilter::Dead, after, DEAD_PAGE).await?;
            pages.push(page.jobs.into_iter().map(|job| job.id).collect());
            after = page.next;
            if after.is_none() {
                return Ok(pages);
            }
        }
    }
}

fn queue_name(name: &str) -> Result<QueueName, BrokerError> {
    QueueName::new(name).map_err(|error| BrokerError::Refused(error.to_string()))
}

/// A page of jobs, readable.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The jobs.
    pub jobs: Vec<JobInfo>,
    /// Where the next page starts; `None` after the last.
    pub next: Option<PageMark>,
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.jobs.iter().try_for_each(|job| writeln!(f, "{job}"))
    }
}

/// Cuts `items` into what one call may carry, by number and by bytes.
pub(crate) fn batches<T>(items: &[T], size: impl Fn(&T) -> usize) -> impl Iterator<Item = &[T]> {
    let mut rest = items;
    std::iter::from_fn(move || {
        let mut bytes = 0_usize;
        let fitting = rest.iter().take(MAX_BATCH).take_while(|item| {
            bytes = bytes.saturating_add(size(item));
            bytes <= MAX_BATCH_BYTES
        });
        let (batch, after) = rest.split_at_checked(fitting.count().max(1))?;
        rest = after;
        Some(batch)
    })
}

/// How many dead letters are read at a time to learn their ids: they come with their payloads.
const DEAD_PAGE: usize = 100;

/// The longest that one question to the broker waits before it is asked again.
const RESULT_WAIT: Duration = Duration::from_secs(30);
