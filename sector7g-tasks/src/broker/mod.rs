//! Where jobs are kept: the [`Broker`] trait; its requests and replies are in `messages` and `inspection`.
//!
//! A broker stores bytes under ids. It knows queues, leases and due times; it knows nothing of
//! tasks, codecs or retry policies. Every promise below is an async fn of
//! `testing::conformance`, and each broker passes all of them.

mod inspection;
mod memory;
mod messages;
mod names;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "redis", feature = "cli"))]
pub(crate) mod url;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

pub use self::inspection::{
    JobFilter, JobRecord, JobState, KnownParameter, KnownSchedule, KnownTask, MAX_FAILURES, Page, PageMark, QueueStats,
    ServerInfo, WorkerHealth,
};
pub use self::memory::{MemoryBroker, MemoryBrokerBuilder};
pub use self::messages::{
    AbortMark, Aborts, Claim, Claimed, ClaimedJob, Enqueued, Extended, Finish, Finished, GiveBack, KeptResult, Lease,
    LeaseToken, NewJob, Outcome, REQUEST_MEMORY, RequestId, ResultState,
};
pub use self::names::{InvalidName, JobId, MAX_PARTITIONS, QueueName};
#[cfg(all(feature = "redis", feature = "testing"))]
#[doc(hidden)] // see `testing`
pub use self::redis::Guard;
#[cfg(feature = "redis")]
pub use self::redis::{ConnectError, RedisBroker, RedisBrokerBuilder};
#[cfg(any(feature = "redis", feature = "cli"))]
pub use self::url::UrlError;
use crate::clock::Clock;
use crate::error::BoxError;
pub use crate::job::Due;

/// Why a claim is refused that comes too late.
const OVERTAKEN: &str = "a later claim of this worker has come before this one, which has changed nothing";

/// The most bytes that the payloads or results of one call should have together: 4 MiB. One that
/// is larger by itself goes alone.
pub const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// The most jobs that one call may carry; callers split what is longer.
///
/// It keeps one call short for everybody else on the broker (and a Redis script, one command of which takes
/// five values for each job, below the 8,000 at which Lua's `unpack` fails).
pub const MAX_BATCH: usize = 1_000;

/// How many queues are asked about at once, where many are: what one look takes of a broker stays bounded.
pub(crate) const QUEUES_AT_ONCE: usize = 16;

/// Keeps jobs, and hands each to one worker at a time.
///
/// All times are the broker's own clock; a caller's clock decides nothing. A write whose answer
/// is lost may be repeated unchanged: lease tokens make a repeated [`claim`](Broker::claim)
/// harmless, and a [`RequestId`] a repeated [`enqueue`](Broker::enqueue). Every call answers or errs
/// within the broker's own time limit; those that wait (`wait`, `aborts`, `result`) soon after their `timeout`.
#[async_trait]
pub trait Broker: fmt::Debug + Send + Sync + 'static {
    /// Adds up to [`MAX_BATCH`] jobs and says of each, in order, whether it is new.
    ///
    /// A job whose id is taken (see [`NewJob::id`]) is left out: that is an answer, not an error. A repeated request
    /// (see [`RequestId`]) changes nothing and is answered as before, whatever has become of its jobs; one that arrives
    /// when its caller has settled it was held up on its way, and changes nothing either.
    ///
    /// # Errors
    /// `Unavailable`: what was asked may have happened; `Full`: nothing was added. `Refused`, too, for a request
    /// that its caller has settled.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped, the jobs may or may not have been added.
    ///
    /// Promises: `conformance::{enqueue_is_kept, a_taken_id_is_no_second_job,
    /// an_id_is_one_job_in_all_queues, a_new_id_is_one_job, a_batch_keeps_its_order, a_batch_has_a_bound, a_past_moment_is_now,
    /// a_repeated_enqueue_adds_nothing, a_settled_enqueue_adds_nothing, expired_has_no_payload,
    /// a_started_job_never_expires, an_unknown_task_is_not_a_start, expired_shows_no_payload, expired_keeps_its_history,
    /// unknown_names_are_no_error}`.
    async fn enqueue(&self, jobs: &[NewJob], request: RequestId) -> Result<Vec<Enqueued>, BrokerError>;

    /// Reports what has ended, then leases up to `max` due jobs of one queue, earliest due first.
    ///
    /// Each claimed job is the caller's until `lease` has passed on the broker's clock, unless
    /// [`extend`](Broker::extend)ed; its attempt and its delivery are counted before this returns. Jobs of the same
    /// due millisecond come in the order of their enqueueing when their ids are
    /// [generated](JobId::generate). A job whose lease ran out is due again. With `max` 0 this
    /// only reports. A finish with a stale token changes nothing and is answered with
    /// [`Finished::LeaseLost`]. One that comes after its lease's end counts until another claim has the job, for five
    /// seconds at least; then a broker may have forgotten who had it, and answers the same.
    ///
    /// The very same request may be repeated because its answer was lost: it then returns the jobs
    /// that are still leased under its token, whose leases run anew and whose attempts are not
    /// counted again, and answers its finishes as it did before. A token's `worker` makes one call of a queue
    /// at a time: its next one says that the answer has come.
    ///
    /// # Errors
    /// `Unavailable`: jobs leased all the same are due again when their lease ends. `Refused`: a later call of this worker,
    /// which says that this one was answered, has come before it; it changes nothing.
    ///
    /// # Cancel safety
    /// Not cancel safe: keep it out of `select!` arms. Dropped after the broker has leased, the
    /// jobs wait out their lease.
    ///
    /// Promises: `conformance::{claim_is_exclusive, claim_is_earliest_first, claim_takes_no_more_than_asked,
    /// claim_is_of_one_queue, claim_of_none_only_reports, claim_can_take_what_it_gives_back,
    /// deferred_is_not_claimed_early, attempt_is_counted_before_the_start, every_claim_is_a_delivery,
    /// repeated_claim_returns_the_same_jobs, repeated_claim_renews_its_leases,
    /// late_repeated_claim_counts_until_the_next_claim, repeated_finish_is_applied_once, an_overtaken_claim_changes_nothing}`.
    /// Of leases: `conformance::{a_lease_has_a_least_length, lost_lease_is_due_again,
    /// lost_lease_is_in_the_history, a_lease_lost_long_ago_is_in_the_history, stale_finish_changes_nothing, late_finish_counts_until_the_next_claim}`.
    /// Of outcomes: `conformance::{an_ended_job_is_gone, retry_waits_for_its_delay, a_retry_can_raise_the_count,
    /// a_raised_count_is_no_delivery, give_back_is_not_counted,
    /// give_back_is_due_at_once, a_stop_keeps_places, unknown_since_is_unbroken, a_lost_lease_ends_unknown_since,
    /// an_end_keeps_the_history, history_has_a_bound, hold_id_keeps_the_id_taken, a_replaced_job_holds_no_more}`.
    ///
    /// Mirrors: arq's poll, start and finish, in one round trip.
    async fn claim(&self, request: &Claim<'_>) -> Result<Claimed, BrokerError>;

    /// Makes a claim once a job of its queue may be due, or `timeout` has passed: a [`wait`](Broker::wait) for that queue and a
    /// [`claim`](Broker::claim) in one, which a broker may make in less time than both.
    ///
    /// It may be made too early, and bring none, never too late. What it leases is leased from then on, not from when it was sent.
    ///
    /// # Errors
    /// As [`claim`](Broker::claim). `Unavailable` and `Refused` may also say that waiting is not possible: the caller should make the claim
    /// without that, and back off before it waits again.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped, it may have been made, or be made. Made again by [`claim`](Broker::claim) under the same token, for
    /// as many jobs or for none, it tells what it has leased, and leases no more.
    ///
    /// Promises: `conformance::{a_claim_waits_for_what_comes, a_claim_waits_for_what_is_deferred,
    /// a_waiting_claim_is_made_at_once_where_work_is, a_waiting_claim_ends_at_its_time, each_job_is_one_waiting_claims,
    /// a_dropped_waiting_claim_is_told_by_its_token}`.
    async fn claim_when_due(
        &self,
        request: &Claim<'_>,
        poll_delay: Duration,
        timeout: Duration,
    ) -> Result<Claimed, BrokerError> {
        self.wait(std::slice::from_ref(request.queue), poll_delay, timeout).await?;
        self.claim(request).await
    }

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
    /// abort_keeps_the_place_of_a_due_job, abort_outlives_an_attempt}`.
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
    /// a_stale_finish_leaves_the_abort, a_repeated_finish_leaves_the_next_jobs_abort, aborts_are_of_the_queues_asked_for}`.
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
    /// a_result_of_no_time_is_not_kept, a_retry_is_no_result, no_result_is_not_found}`.
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

    /// What is known of one job of this queue; `None` when nothing is, or only of one of its id in another queue. Where an
    /// id has ended in it more than once, its newest end is shown.
    ///
    /// # Errors
    /// `Unavailable`.
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    ///
    /// Promises: `conformance::{a_job_tells_its_state, the_newer_of_two_ends_is_shown,
    /// another_queues_ended_job_is_not_found}`.
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
    /// Promises: `conformance::{a_page_follows_its_mark, running_jobs_are_listed_by_themselves,
    /// a_dead_letter_shows_no_later_result, dead_letters_come_newest_first}`.
    async fn jobs(
        &self,
        queue: &QueueName,
        filter: JobFilter,
        after: Option<PageMark>,
        limit: usize,
    ) -> Result<Page, BrokerError>;

    /// Makes a deferred job due now; false when no such job waits for its time.
    ///
    /// Whatever it waited for (its own delay, a retry's, a snooze) is over; its attempts stay counted.
    ///
    /// # Errors
    /// `Unavailable`: it may be due now.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped, the job may or may not be due now.
    ///
    /// Promises: `conformance::{a_deferred_job_can_be_made_due, only_what_is_deferred_is_made_due}`.
    async fn make_due(&self, queue: &QueueName, id: &JobId) -> Result<bool, BrokerError>;

    /// Pauses a queue, or lets it go on; says whether that changed anything.
    ///
    /// While it is paused no claim leases jobs of it and no wait returns for them, whoever asks and however often
    /// workers start anew. Jobs that run go on, and their ends are taken; jobs can be added. When it goes on, waits end
    /// at once for what is due. Workers of other programs that share the queue (Python's arq) know nothing of it.
    ///
    /// # Errors
    /// `Unavailable`: it may have been done.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped, it may or may not have been done.
    ///
    /// Promises: `conformance::{a_paused_queue_gives_no_jobs, what_runs_in_a_paused_queue_ends,
    /// a_pause_holds_waits, a_queue_that_goes_on_ends_waits, a_pause_is_told}`.
    async fn set_paused(&self, queue: &QueueName, paused: bool) -> Result<bool, BrokerError>;

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

    /// The queues that hold jobs or dead letters, are paused or have a worker whose health entry is fresh, by name.
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
    /// Says of each, in order, whether it was a dead letter whose id is free and whose payload is there (an expired job's
    /// is not); its stored result goes, and a hold on its id.
    ///
    /// # Errors
    /// `Unavailable`: some may have been put back.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped, some may have been changed.
    ///
    /// Promises: `conformance::{a_dead_letter_is_kept_whole, a_dead_letter_does_not_keep_its_id,
    /// a_newer_death_replaces_the_older, a_dead_letter_can_be_retried,
    /// a_dead_letter_stays_while_its_id_lives, a_retried_dead_letter_is_not_held,
    /// an_expired_dead_letter_is_not_retried}`.
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

    /// What about the broker's own set-up would break these promises, for people: a sentence each.
    ///
    /// # Errors
    /// `Unavailable`.
    ///
    /// # Cancel safety
    /// Cancel safe: what it tries out goes by itself.
    async fn concerns(&self) -> Result<Vec<String>, BrokerError> {
        Ok(Vec::new())
    }

    /// What the server that keeps the jobs says of itself; `None` when there is none.
    ///
    /// # Errors
    /// `Unavailable`. `Refused` when this user may not ask.
    ///
    /// # Cancel safety
    /// Cancel safe: it only asks.
    async fn server(&self) -> Result<Option<ServerInfo>, BrokerError> {
        Ok(None)
    }

    /// Waits until the broker answers, for as long as it is set up to try; a runner asks before it starts.
    ///
    /// # Errors
    /// `Unavailable` after the last try.
    ///
    /// # Cancel safety
    /// Cancel safe: it only asks.
    async fn ready(&self) -> Result<(), BrokerError> {
        Ok(())
    }

    /// The clock that decides what is due, as near as this process knows it.
    fn clock(&self) -> &Clock;

    /// Where the jobs are, for people: `memory`, or an address without its password.
    fn location(&self) -> String;

    /// What results call the queue: its name, or where other programs share the queue, what they call it.
    fn shared_name(&self, queue: &QueueName) -> String {
        queue.as_str().to_owned()
    }

    /// Whether other processes can reach the same jobs.
    fn is_shared(&self) -> bool;

    /// Whether queues lie on different servers, so that one may be away while others are not.
    fn is_spread(&self) -> bool {
        false
    }
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
    #[error("the broker at {location} is full: {detail}")]
    Full {
        /// Where it is, without a password.
        location: String,
        /// Which bound it is, and what helps.
        detail: String,
    },
    /// The request breaks the trait's rules: a mistake in the caller.
    #[error("the broker refused the request: {0}")]
    Refused(String),
}

/// What is said of an attempt whose lease ran out.
pub(crate) const LEASE_LOST: &str = "its worker died, or was away for longer than its lease";

/// What is said of a request that arrives too late.
const SETTLED: &str = "it arrived when its caller had settled it; nothing was added";

impl BrokerError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::Refused(_))
    }
}

fn check_batch(what: &str, len: usize) -> Result<(), BrokerError> {
    if len <= MAX_BATCH {
        return Ok(());
    }
    Err(BrokerError::Refused(format!("{len} {what} in one call, at most {MAX_BATCH} may be: split them")))
}

fn check_lease(lease: Duration) -> Result<(), BrokerError> {
    if lease >= Duration::from_millis(1) {
        return Ok(());
    }
    Err(BrokerError::Refused(format!("a lease of {lease:?}, it must be a millisecond or longer")))
}
