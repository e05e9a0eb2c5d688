//! Where jobs are kept: the [`Broker`] trait, its requests and its replies.
//!
//! A broker stores bytes under ids. It knows queues, leases and due times; it knows nothing of
//! tasks, codecs or retry policies. Every promise below is an async fn of
//! `testing::conformance`, and each broker passes all of them.

mod memory;
mod names;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use self::memory::{MemoryBroker, MemoryBrokerBuilder};
pub use self::names::{InvalidName, JobId, QueueName};
use crate::clock::{Clock, Timestamp};
use crate::error::BoxError;
pub use crate::job::Due;
use crate::job::Failure;

/// The most bytes that the payloads or results of one call should have together: 4 MiB. One that
/// is larger by itself goes alone.
pub const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// The most jobs that one call may carry; callers split what is longer.
///
/// It keeps one call short for everybody else on the broker (and a Redis script far below the
/// 8,000 values at which Lua's `unpack` fails).
pub const MAX_BATCH: usize = 1_000;

/// Keeps jobs, and hands each to one worker at a time.
///
/// All times are the broker's own clock; a caller's clock decides nothing. A write whose answer
/// is lost may be repeated unchanged: lease tokens make a repeated [`claim`](Broker::claim)
/// harmless, and a job's id a repeated [`enqueue`](Broker::enqueue) while the job lives or its
/// result is kept. Every call answers or errs within the broker's own time limit; those that wait
/// (`wait`, `aborts`, `result`) soon after their `timeout`.
#[async_trait]
pub trait Broker: fmt::Debug + Send + Sync + 'static {
    /// Adds up to [`MAX_BATCH`] jobs and says of each, in order, whether it is new.
    ///
    /// A job whose id is taken (see [`NewJob::id`]) is left out: that is an answer, not an error.
    ///
    /// # Errors
    /// `Unavailable`: what was asked may have happened; `Full`: nothing was added.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped, the jobs may or may not have been added.
    ///
    /// Promises: `conformance::{enqueue_is_kept, a_taken_id_is_no_second_job,
    /// an_id_is_one_job_in_all_queues, a_batch_keeps_its_order, a_batch_has_a_bound, a_past_moment_is_now,
    /// expired_has_no_payload, a_started_job_never_expires, an_unknown_task_is_not_a_start,
    /// unknown_names_are_no_error}`.
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, BrokerError>;

    /// Reports what has ended, then leases up to `max` due jobs of one queue, earliest due first.
    ///
    /// Each claimed job is the caller's until `lease` has passed on the broker's clock, unless
    /// [`extend`](Broker::extend)ed; its attempt and its delivery are counted before this returns. Jobs of the same
    /// due millisecond come in the order of their enqueueing when their ids are
    /// [generated](JobId::generate). A job whose lease ran out is due again. With `max` 0 this
    /// only reports. A finish with a stale token changes nothing and is answered with
    /// [`Finished::LeaseLost`].
    ///
    /// The very same request may be repeated because its answer was lost: it then returns the jobs
    /// that are still leased under its token, whose leases run anew and whose attempts are not
    /// counted again, and answers [`Finished::Applied`] to finishes that it had taken.
    ///
    /// # Errors
    /// `Unavailable`: jobs leased all the same are due again when their lease ends.
    ///
    /// # Cancel safety
    /// Not cancel safe: keep it out of `select!` arms. Dropped after the broker has leased, the
    /// jobs wait out their lease.
    ///
    /// Promises: `conformance::{claim_is_exclusive, claim_is_earliest_first, claim_takes_no_more_than_asked,
    /// claim_is_of_one_queue, claim_of_none_only_reports, claim_can_take_what_it_gives_back,
    /// deferred_is_not_claimed_early, attempt_is_counted_before_the_start, every_claim_is_a_delivery,
    /// repeated_claim_returns_the_same_jobs, repeated_claim_renews_its_leases,
    /// repeated_finish_is_applied_once}`.
    /// Of leases: `conformance::{a_lease_has_a_least_length, lost_lease_is_due_again,
    /// lost_lease_is_in_the_history, stale_finish_changes_nothing, late_finish_counts_until_the_next_claim}`.
    /// Of outcomes: `conformance::{an_ended_job_is_gone, retry_waits_for_its_delay, a_retry_can_raise_the_count,
    /// give_back_is_not_counted,
    /// give_back_is_due_at_once, unknown_since_is_unbroken, history_has_a_bound,
    /// hold_id_keeps_the_id_taken}`.
    ///
    /// Mirrors: arq's poll, start and finish, in one round trip.
    async fn claim(&self, request: &Claim<'_>) -> Result<Claimed, BrokerError>;

    /// Renews leases for `lease` from now; says of each, in order, whether it was still held.
    ///
    /// Called from a thread and a runtime of its own, beside all other calls.
    ///
    /// # Errors
    /// `Unavailable`: the leases run on as they were, or were renewed.
    ///
    /// # Cancel safety
    /// Cancel safe: leases are renewed or not.
    ///
    /// Promises: `conformance::{extend_keeps_the_lease, late_extend_counts_until_the_next_claim,
    /// extend_says_what_is_lost}`.
    async fn extend(&self, queue: &QueueName, leases: &[Lease], lease: Duration) -> Result<Vec<Extended>, BrokerError>;

    /// Waits until a job of one of `queues` may be due, or `timeout` has passed.
    ///
    /// Returns at once when one is due already. It may return too early, never too late: a
    /// deferred job, a given-back one and one whose lease has run out end the wait at their due
    /// time. One enqueued job wakes one of the waiting workers. Where another program's producers
    /// wake nobody (arq's on a server without keyspace notifications), the broker looks every
    /// `poll_delay`.
    ///
    /// # Errors
    /// `Unavailable` when waiting is not possible; the caller should back off.
    ///
    /// # Cancel safety
    /// Cancel safe: a wake that comes while nobody waits ends the next wait, here or in another worker.
    ///
    /// Promises: `conformance::{wait_returns_for_what_is_due, wait_ends_at_its_timeout, enqueue_ends_a_wait,
    /// deferred_wakes_exactly, an_earlier_job_shortens_a_wait, give_back_ends_a_wait,
    /// lost_lease_ends_a_wait, a_wait_covers_its_queues, one_job_wakes_one_waiter,
    /// what_is_left_wakes_another_waiter, a_dropped_waiter_passes_the_wake_on}`.
    async fn wait(&self, queues: &[QueueName], poll_delay: Duration, timeout: Duration) -> Result<(), BrokerError>;

    /// Asks that a job be aborted; false when no such job is waiting or running.
    ///
    /// A waiting job becomes due at once and is claimed with [`ClaimedJob::abort_requested`] set,
    /// so that a worker records its end in the job's own codec. A running one is named by
    /// [`aborts`](Broker::aborts).
    ///
    /// # Errors
    /// `Unavailable`: the request may have been stored.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped, the request may or may not have been stored.
    ///
    /// Promises: `conformance::{abort_of_an_unknown_job_is_false, abort_makes_a_waiting_job_due,
    /// abort_outlives_an_attempt}`.
    async fn abort(&self, queue: &QueueName, id: &JobId) -> Result<bool, BrokerError>;

    /// Waits until abort requests were added after `since`, or `timeout` has passed, and returns
    /// all that stand for live jobs of `queues` (at most [`MAX_BATCH`]), with the mark to pass
    /// next time. [`AbortMark::default`] is before all. A broker that nobody tells of requests (arq's
    /// clients) looks every `poll_delay`; workers ask only while they run jobs.
    ///
    /// # Errors
    /// `Unavailable`; nothing is lost, ask again with the same mark.
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    ///
    /// Promises: `conformance::{abort_names_a_running_job, abort_ends_its_watch, aborts_end_with_their_jobs,
    /// aborts_are_of_the_queues_asked_for}`.
    async fn aborts(
        &self,
        queues: &[QueueName],
        since: AbortMark,
        poll_delay: Duration,
        timeout: Duration,
    ) -> Result<Aborts, BrokerError>;

    /// The stored result of a job, waiting up to `timeout` while the job lives and has none.
    ///
    /// # Errors
    /// `Unavailable`.
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    ///
    /// Promises: `conformance::{a_result_is_kept_for_its_time, a_result_can_be_kept_for_ever,
    /// a_result_keeps_the_id_taken, replace_finished_frees_the_id, a_result_can_be_waited_for,
    /// a_retry_is_no_result, no_result_is_not_found}`.
    async fn result(&self, queue: &QueueName, id: &JobId, timeout: Duration) -> Result<ResultState, BrokerError>;

    /// Stores how far a running job is; false when the lease is no longer held.
    ///
    /// # Errors
    /// `Unavailable`.
    ///
    /// # Cancel safety
    /// Cancel safe: the value is stored or not.
    ///
    /// Promises: `conformance::progress_needs_the_lease`.
    async fn set_progress(&self, queue: &QueueName, lease: &Lease, progress: Bytes) -> Result<bool, BrokerError>;

    /// What is known of one job; `None` when nothing is.
    ///
    /// # Errors
    /// `Unavailable`.
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    ///
    /// Promises: `conformance::a_job_tells_its_state`.
    async fn job(&self, queue: &QueueName, id: &JobId) -> Result<Option<JobRecord>, BrokerError>;

    /// A page of a queue's jobs, up to `limit` (at most [`MAX_BATCH`]), after the job `after`.
    ///
    /// Waiting and running jobs come by due time, dead letters newest first. The next page starts
    /// at [`Page::next`].
    ///
    /// # Errors
    /// `Unavailable`.
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    ///
    /// Promises: `conformance::{a_page_follows_its_mark, dead_letters_come_newest_first}`.
    async fn jobs(
        &self,
        queue: &QueueName,
        filter: JobFilter,
        after: Option<PageMark>,
        limit: usize,
    ) -> Result<Page, BrokerError>;

    /// The sizes of a queue, and the workers whose health entry is fresh.
    ///
    /// # Errors
    /// `Unavailable`.
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    ///
    /// Promises: `conformance::stats_count_each_state`.
    async fn stats(&self, queue: &QueueName) -> Result<QueueStats, BrokerError>;

    /// The queues that hold jobs or dead letters, by name.
    ///
    /// # Errors
    /// `Unavailable`.
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    ///
    /// Promises: `conformance::queues_are_listed`.
    async fn queues(&self) -> Result<Vec<QueueName>, BrokerError>;

    /// Puts dead letters back as waiting jobs: same id, same payload, attempts from 1, due now.
    ///
    /// Says of each, in order, whether it was a dead letter whose id is free; its stored result goes.
    ///
    /// # Errors
    /// `Unavailable`: some may have been put back.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped, some may have been changed.
    ///
    /// Promises: `conformance::{a_dead_letter_is_kept_whole, a_dead_letter_does_not_keep_its_id,
    /// a_newer_death_replaces_the_older, a_dead_letter_can_be_retried,
    /// a_dead_letter_stays_while_its_id_lives}`.
    async fn retry_dead(&self, queue: &QueueName, ids: &[JobId]) -> Result<Vec<bool>, BrokerError>;

    /// Deletes dead letters for good; says of each, in order, whether it was there.
    ///
    /// # Errors
    /// `Unavailable`: some may have been deleted.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped, some may have been changed.
    ///
    /// Promises: `conformance::a_dead_letter_can_be_discarded`.
    async fn discard_dead(&self, queue: &QueueName, ids: &[JobId]) -> Result<Vec<bool>, BrokerError>;

    /// Stores that a worker lives, for `ttl`. `None` removes its entry (a clean end).
    ///
    /// `worker` is its name and instance; see [`WorkerHealth::instance`].
    ///
    /// # Errors
    /// `Unavailable`.
    ///
    /// # Cancel safety
    /// Cancel safe: the entry is stored or not.
    ///
    /// Promises: `conformance::health_runs_out`.
    async fn set_health(&self, worker: &str, health: Option<&WorkerHealth>, ttl: Duration) -> Result<(), BrokerError>;

    /// The clock that decides what is due, as near as this process knows it.
    fn clock(&self) -> &Clock;

    /// Where the jobs are, for people: `memory`, or an address without its password.
    fn location(&self) -> String;

    /// Whether other processes can reach the same jobs.
    fn is_shared(&self) -> bool;
}

/// One job to add.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// The queue it goes to.
    pub queue: QueueName,
    /// Its id, taken while the job lives and, by default, while its result is kept.
    pub id: JobId,
    /// The encoded job; the broker never looks inside.
    pub payload: Bytes,
    /// When it may run.
    pub due: Due,
    /// From the enqueueing on: not started by then, it ends as expired. `None`: it waits for ever.
    pub expires_in: Option<Duration>,
    /// Whether a stored result of the same id is dropped instead of keeping the id taken.
    pub replace_finished: bool,
}

/// What became of a [`NewJob`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enqueued {
    /// It was added.
    New,
    /// Its id is taken: nothing changed.
    Duplicate,
}

/// Names one claim call, and with it the right to the jobs that it leased.
///
/// A worker draws a random number once and counts its calls, so no two calls share a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseToken {
    /// Random for each start of a worker.
    pub worker: u64,
    /// Counts that worker's claims.
    pub call: u64,
}

impl fmt::Display for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:x}", self.worker, self.call)
    }
}

/// A worker's time-limited right to one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The job.
    pub id: JobId,
    /// The claim that leased it.
    pub token: LeaseToken,
}

/// A request to finish and claim.
#[derive(Clone, Debug)]
pub struct Claim<'a> {
    /// The one queue that both halves are about.
    pub queue: &'a QueueName,
    /// What has ended since the last call; at most [`MAX_BATCH`].
    pub finished: &'a [Finish],
    /// How many jobs to lease at most; at most [`MAX_BATCH`].
    pub max: usize,
    /// How long they stay leased without an extension; at least a millisecond.
    pub lease: Duration,
    /// The token of the new leases; unused so far, or that of the call being repeated.
    pub token: LeaseToken,
}

/// The answer to a [`Claim`].
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The leased jobs, earliest due first.
    pub jobs: Vec<ClaimedJob>,
    /// For each [`Claim::finished`], in order, whether it took effect.
    pub finished: Vec<Finished>,
    /// Whether the queue had more due jobs than were taken.
    pub more_due: bool,
    /// The broker's clock at the call.
    pub now: Timestamp,
}

/// A job leased to the caller.
#[derive(Clone, Debug)]
pub struct ClaimedJob {
    /// Its lease: id and token.
    pub lease: Lease,
    /// The encoded job; `None` when it has expired.
    pub payload: Option<Bytes>,
    /// Which attempt this is, from 1; given-back attempts are not counted.
    pub attempt: u32,
    /// How often the job was claimed in all: grows with every claim, so it can fence writes elsewhere.
    pub delivery: u32,
    /// When it was due.
    pub due_at: Timestamp,
    /// Whether it was asked to be aborted while it waited.
    pub abort_requested: bool,
    /// When a worker first gave it back as [`GiveBack::UnknownTask`], unbroken since.
    pub unknown_since: Option<Timestamp>,
}

/// How one attempt ended.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The lease under which it ran.
    pub lease: Lease,
    /// What to do with the job.
    pub outcome: Outcome,
}

/// What is to become of a job whose attempt has ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is over: done, failed, aborted or expired.
    End {
        /// What to keep for those who ask; `None` keeps nothing.
        result: Option<KeptResult>,
        /// Set when it failed for good: it is kept as a dead letter with this last failure.
        dead: Option<Failure>,
        /// Keeps the id taken for so long after the end, result or not (a schedule's tick).
        hold_id: Duration,
    },
    /// It runs again after `delay`; the attempt counts, and the job's count becomes
    /// [`Failure::attempt`] where that is larger (a producer may start it above 1).
    Retry {
        /// From now on the broker's clock.
        delay: Duration,
        /// Added to the job's history.
        failure: Failure,
    },
    /// It runs again after `delay`; the attempt does not count.
    GiveBack {
        /// From now on the broker's clock.
        delay: Duration,
        /// Why.
        why: GiveBack,
    },
}

/// Why a job is given back uncounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiveBack {
    /// The worker stops.
    Stop,
    /// The task asked for a later time.
    Snooze,
    /// This worker does not know the task; another may.
    UnknownTask,
}

/// A result to store.
#[derive(Clone, Debug)]
pub struct KeptResult {
    /// The encoded result record, in the codec of its job.
    pub record: Bytes,
    /// For how long; `None` is for ever (within the broker's bound).
    pub keep: Option<Duration>,
}

/// Whether a [`Finish`] took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// It did.
    Applied,
    /// Another holds the job now, or it is gone: nothing changed.
    LeaseLost,
}

/// Whether a lease could be extended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extended {
    /// It runs anew.
    Renewed,
    /// It is no longer the caller's; its job must be cancelled.
    Lost,
}

/// A position in the broker's abort requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AbortMark(pub u64);

/// Abort requests that stand.
#[derive(Clone, Debug, Default)]
pub struct Aborts {
    /// The jobs, in no order.
    pub ids: Vec<JobId>,
    /// Pass it to the next call.
    pub mark: AbortMark,
}

/// What [`Broker::result`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResultState {
    /// The encoded result record.
    Ready(Bytes),
    /// The job waits or runs.
    Pending,
    /// There is neither a job nor a result.
    NotFound,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Its time has not come (arq: `deferred`).
    Deferred,
    /// It is due and waits for a worker (arq: `queued`).
    Queued,
    /// A worker has it (arq: `in_progress`).
    InProgress,
    /// It has ended and its result is kept (arq: `complete`).
    Complete,
    /// It failed for good and is kept as a dead letter.
    Dead,
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Deferred => "deferred",
            Self::Queued => "queued",
            Self::InProgress => "in progress",
            Self::Complete => "complete",
            Self::Dead => "dead",
        })
    }
}

/// What a broker knows of one job.
#[derive(Clone, Debug)]
pub struct JobRecord {
    /// Its id.
    pub id: JobId,
    /// Where it stands.
    pub state: JobState,
    /// The encoded job; `None` once it has ended well or expired.
    pub payload: Option<Bytes>,
    /// The encoded result record of an ended job.
    pub result: Option<Bytes>,
    /// Attempts counted so far.
    pub attempt: u32,
    /// When it was, is or will be due (a running job's lease end excluded); for a dead letter, when it died.
    pub due_at: Timestamp,
    /// Its failed attempts, oldest first, the last [`MAX_FAILURES`] of them.
    pub failures: Vec<Failure>,
    /// The last progress that it reported.
    pub progress: Option<Bytes>,
    /// Whether an abort was asked for.
    pub abort_requested: bool,
}

/// How many failures a job's history holds; older ones are dropped.
pub const MAX_FAILURES: usize = 20;

/// Which jobs to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobFilter {
    /// Deferred, queued and running ones.
    Live,
    /// Dead letters.
    Dead,
}

/// Where a page of jobs ended; what it says is the broker's own affair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PageMark(pub String);

/// A page of jobs.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The jobs.
    pub jobs: Vec<JobRecord>,
    /// Where the next page starts; `None` after the last.
    pub next: Option<PageMark>,
}

/// The sizes of a queue.
#[derive(Clone, Debug, Default)]
pub struct QueueStats {
    /// Due and waiting.
    pub queued: u64,
    /// Waiting for their time.
    pub deferred: u64,
    /// Leased.
    pub running: u64,
    /// Dead letters.
    pub dead: u64,
    /// How long the oldest due job has waited.
    pub oldest_due: Option<Duration>,
    /// Workers whose health entry has not run out.
    pub workers: Vec<WorkerHealth>,
}

impl QueueStats {
    /// All that still has to end: queued, deferred and running.
    pub fn live(&self) -> u64 {
        self.queued + self.deferred + self.running
    }
}

/// What a worker says of itself now and then.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct WorkerHealth {
    /// Its name, e.g. `homer`.
    pub name: String,
    /// Random for each start, so that two workers of one name are two.
    pub instance: String,
    /// The queues that it serves.
    pub queues: Vec<String>,
    /// The machine.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// When it last claimed or waited with success.
    pub at: Timestamp,
    /// Jobs that ended well since the start.
    pub done: u64,
    /// Jobs that failed for good.
    pub failed: u64,
    /// Attempts that are to be repeated.
    pub retried: u64,
    /// Jobs running now.
    pub running: u64,
}

/// Why a broker did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// The broker did not answer in time; what was asked may have happened all the same.
    #[error("the broker at {location} is unavailable")]
    Unavailable {
        /// Where it should be, without a password.
        location: String,
        /// What the connection said.
        #[source]
        cause: BoxError,
    },
    /// The broker's bound is reached; nothing was stored.
    #[error(
        "the broker at {location} is full: it holds {held} jobs of at most {limit}; add workers, or raise its bound"
    )]
    Full {
        /// Where it is, without a password.
        location: String,
        /// Live jobs now.
        held: usize,
        /// The bound.
        limit: usize,
    },
    /// The request breaks the trait's rules: a mistake in the caller.
    #[error("the broker refused the request: {0}")]
    Refused(String),
}

impl BrokerError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::Refused(_))
    }
}
