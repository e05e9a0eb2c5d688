//! The promises of [`Broker`], each an async fn that panics where a broker breaks it.
//!
//! A broker's own tests give a [`Fixture`] to [`broker_conformance!`](crate::broker_conformance),
//! which makes a test of each promise:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use sector7g_tasks::broker::{Broker, MemoryBroker};
//! use sector7g_tasks::testing::conformance::Fixture;
//!
//! struct Memory;
//!
//! impl Fixture for Memory {
//!     async fn broker(&self) -> Arc<dyn Broker> {
//!         Arc::new(MemoryBroker::new())
//!     }
//!
//!     async fn pass(&self, span: Duration) {
//!         tokio::time::sleep(span).await;
//!     }
//! }
//!
//! sector7g_tasks::broker_conformance!(memory: || Memory);
//! ```
//!
//! Where a promise needs time to pass it takes some hundred milliseconds, so that the suite runs
//! in real time as well as on a paused clock.

#![expect(clippy::missing_panics_doc, reason = "each panics where a broker breaks the promise, as is said above")]

mod aborts;
mod claims;
mod dead;
mod enqueue;
mod inspection;
mod leases;
mod manage;
mod outcomes;
mod results;
mod waiting_claims;
mod waits;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

pub use self::aborts::*;
pub use self::claims::*;
pub use self::dead::*;
pub use self::enqueue::*;
pub use self::inspection::*;
pub use self::leases::*;
pub use self::manage::*;
pub use self::outcomes::*;
pub use self::results::*;
pub use self::waiting_claims::*;
pub use self::waits::*;
use crate::broker::{
    Broker, Claim, Claimed, ClaimedJob, Due, Enqueued, Finish, Finished, GiveBack, JobId, JobRecord, KeptResult, Lease,
    LeaseToken, NewJob, Outcome, QueueName, RequestId, ResultState,
};
use crate::job::{Failure, FailureKind};

/// What the promises are tried on.
pub trait Fixture: Sync {
    /// A broker. It may hold other jobs; each promise has a queue and ids of its own.
    fn broker(&self) -> impl Future<Output = Arc<dyn Broker>> + Send;

    /// Lets `span` pass on the broker's clock, and on the timers of this program.
    fn pass(&self, span: Duration) -> impl Future<Output = ()> + Send;
}

/// Makes a `#[tokio::test]` of each promise of [`conformance`](crate::testing::conformance).
///
/// `broker_conformance!(redis: make_fixture)` makes them in a module `redis`, in real time; each
/// calls `make_fixture()`, which gives a [`Fixture`](crate::testing::conformance::Fixture).
/// `broker_conformance!(memory: make_fixture, paused)` starts them with tokio's time paused, for
/// brokers whose clock moves with tokio's timers. The caller's crate needs `tokio` with `macros` and `rt`
/// (and `test-util` for `paused`).
#[macro_export]
macro_rules! broker_conformance {
    ($module:ident : $fixture:expr) => {
        $crate::broker_conformance!(@list $module, $fixture, [::tokio::test]);
    };
    ($module:ident : $fixture:expr, paused) => {
        $crate::broker_conformance!(@list $module, $fixture, [::tokio::test(start_paused = true)]);
    };
    (@list $module:ident, $fixture:expr, $test:tt) => {
        $crate::broker_conformance! {
            @tests $module, $fixture, $test,
            // enqueue
            enqueue_is_kept
            a_taken_id_is_no_second_job
            a_repeated_enqueue_adds_nothing
            a_settled_enqueue_adds_nothing
            an_id_is_one_job_in_all_queues
            a_new_id_is_one_job
            a_batch_keeps_its_order
            a_batch_has_a_bound
            a_past_moment_is_now
            expired_has_no_payload
            a_started_job_never_expires
            an_unknown_task_is_not_a_start
            expired_shows_no_payload
            expired_keeps_its_history
            // claims
            claim_is_exclusive
            claim_is_earliest_first
            claim_takes_no_more_than_asked
            claim_is_of_one_queue
            claim_of_none_only_reports
            claim_can_take_what_it_gives_back
            deferred_is_not_claimed_early
            attempt_is_counted_before_the_start
            every_claim_is_a_delivery
            repeated_claim_returns_the_same_jobs
            repeated_claim_renews_its_leases
            late_repeated_claim_counts_until_the_next_claim
            repeated_finish_is_applied_once
            an_overtaken_claim_changes_nothing
            // leases
            a_lease_has_a_least_length
            lost_lease_is_due_again
            lost_lease_is_in_the_history
            a_lease_lost_long_ago_is_in_the_history
            stale_finish_changes_nothing
            late_finish_counts_until_the_next_claim
            extend_keeps_the_lease
            late_extend_counts_until_the_next_claim
            extend_says_what_is_lost
            progress_needs_the_lease
            // outcomes
            an_ended_job_is_gone
            retry_waits_for_its_delay
            a_retry_can_raise_the_count
            a_raised_count_is_no_delivery
            give_back_is_not_counted
            give_back_is_due_at_once
            a_stop_keeps_places
            unknown_since_is_unbroken
            a_lost_lease_ends_unknown_since
            an_end_keeps_the_history
            history_has_a_bound
            hold_id_keeps_the_id_taken
            a_replaced_job_holds_no_more
            // waits
            wait_returns_for_what_is_due
            wait_ends_at_its_timeout
            enqueue_ends_a_wait
            deferred_wakes_exactly
            an_earlier_job_shortens_a_wait
            give_back_ends_a_wait
            lost_lease_ends_a_wait
            a_wait_covers_its_queues
            one_job_wakes_one_waiter
            what_is_left_wakes_another_waiter
            a_dropped_waiter_passes_the_wake_on
            // claims that wait
            a_claim_waits_for_what_comes
            a_claim_waits_for_what_is_deferred
            a_waiting_claim_is_made_at_once_where_work_is
            a_waiting_claim_ends_at_its_time
            each_job_is_one_waiting_claims
            a_dropped_waiting_claim_is_told_by_its_token
            // aborts
            abort_of_an_unknown_job_is_false
            abort_makes_a_waiting_job_due
            abort_names_a_running_job
            abort_ends_its_watch
            abort_outlives_an_attempt
            aborts_end_with_their_jobs
            aborts_are_of_the_queues_asked_for
            abort_keeps_the_place_of_a_due_job
            a_stale_finish_leaves_the_abort
            a_repeated_finish_leaves_the_next_jobs_abort
            // results
            a_result_is_kept_for_its_time
            a_result_can_be_kept_for_ever
            a_result_keeps_the_id_taken
            replace_finished_frees_the_id
            a_result_can_be_waited_for
            a_retry_is_no_result
            no_result_is_not_found
            a_result_of_no_time_is_not_kept
            // dead letters
            a_dead_letter_is_kept_whole
            a_dead_letter_shows_no_later_result
            dead_letters_come_newest_first
            a_dead_letter_does_not_keep_its_id
            a_newer_death_replaces_the_older
            a_dead_letter_can_be_retried
            a_dead_letter_stays_while_its_id_lives
            a_dead_letter_can_be_discarded
            the_newer_of_two_ends_is_shown
            a_retried_dead_letter_is_not_held
            an_expired_dead_letter_is_not_retried
            // operators
            a_deferred_job_can_be_made_due
            only_what_is_deferred_is_made_due
            a_paused_queue_gives_no_jobs
            what_runs_in_a_paused_queue_ends
            a_pause_holds_waits
            a_queue_that_goes_on_ends_waits
            a_pause_is_told
            // inspection
            a_job_tells_its_state
            a_page_follows_its_mark
            another_queues_ended_job_is_not_found
            running_jobs_are_listed_by_themselves
            stats_count_each_state
            health_runs_out
            queues_are_listed
            unknown_names_are_no_error
        }
    };
    (@tests $module:ident, $fixture:expr, $test:tt, $($promise:ident)*) => {
        mod $module {
            #[allow(unused_imports, reason = "the fixture may need nothing of it")]
            use super::*;
            $(
                # $test
                async fn $promise() {
                    $crate::testing::conformance::$promise(&($fixture)()).await;
                }
            )*
        }
    };
}

/// A lease that no test outlives.
const LEASE: Duration = Duration::from_secs(30);

/// A lease that is to run out.
const SHORT: Duration = Duration::from_millis(600);

/// Much longer than a lease that runs out.
const LATE: Duration = Duration::from_secs(6);

/// Enough for what happens at once to have happened.
const MOMENT: Duration = Duration::from_millis(100);

/// A limit for what must come, far beyond what a slow machine needs.
const LONG: Duration = Duration::from_secs(10);

/// Longer than that, so that nothing comes only because a wait timed out or looked again.
const ENDLESS: Duration = Duration::from_mins(2);

/// What each promise starts with: a broker and a queue of its own.
struct Ground<'a, F> {
    fixture: &'a F,
    broker: Arc<dyn Broker>,
    queue: QueueName,
}

impl<'a, F: Fixture> Ground<'a, F> {
    /// `promise` names the queue; what follows it tells apart two runs on one server.
    async fn new(fixture: &'a F, promise: &str) -> Self {
        let broker = fixture.broker().await;
        let queue = unique(promise);
        Self { fixture, broker, queue }
    }

    /// Lets time go by, in which somebody asks of the queue now and then, as workers do: where nobody does, a broker does
    /// not know whether its server was there.
    async fn pass(&self, span: Duration) {
        let mut left = span;
        while !left.is_zero() {
            let part = left.min(SHORT / 2);
            self.fixture.pass(part).await;
            left -= part;
            self.broker.wait(std::slice::from_ref(&self.queue), MOMENT, Duration::ZERO).await.expect("wait");
        }
    }

    /// The token of a worker's first call: one that no other call has.
    #[expect(clippy::unused_self, reason = "every call of a promise is on its ground")]
    fn token(&self) -> LeaseToken {
        LeaseToken { worker: rand::random(), call: 1 }
    }

    /// A job of this queue, due now.
    fn job(&self) -> NewJob {
        NewJob {
            queue: self.queue.clone(),
            id: JobId::generate(),
            is_new_id: false,
            payload: Bytes::from_static(b"payload"),
            due: Due::Now,
            expires_in: None,
            replace_finished: false,
        }
    }

    async fn add(&self, job: NewJob) -> Enqueued {
        let answers = self.broker.enqueue(&[job], RequestId::unique()).await.expect("enqueue");
        assert_eq!(answers.len(), 1, "one answer for one job");
        answers[0]
    }

    /// Adds a job that is due now.
    async fn add_one(&self) -> JobId {
        let job = NewJob { is_new_id: true, ..self.job() };
        let id = job.id.clone();
        assert_eq!(self.add(job).await, Enqueued::New, "a generated id is free");
        id
    }

    async fn call(&self, finished: &[Finish], max: usize, lease: Duration, token: LeaseToken) -> Claimed {
        let request = Claim { queue: &self.queue, finished, max, lease, token };
        self.broker.claim(&request).await.expect("claim")
    }

    async fn claim(&self, max: usize, lease: Duration) -> Vec<ClaimedJob> {
        self.call(&[], max, lease, self.token()).await.jobs
    }

    async fn claim_one(&self, lease: Duration) -> ClaimedJob {
        let mut jobs = self.claim(1, lease).await;
        assert_eq!(jobs.len(), 1, "a job is due");
        jobs.remove(0)
    }

    async fn assert_nothing_due(&self, why: &str) {
        assert_eq!(ids(&self.claim(10, LEASE).await), [], "{why}");
    }

    async fn finish(&self, lease: &Lease, outcome: Outcome) -> Finished {
        let finish = Finish { lease: lease.clone(), outcome };
        let answer = self.call(&[finish], 0, LEASE, self.token()).await;
        assert_eq!(answer.finished.len(), 1, "one answer for one finish");
        answer.finished[0]
    }

    async fn record(&self, id: &JobId) -> Option<JobRecord> {
        self.broker.job(&self.queue, id).await.expect("job")
    }

    async fn result(&self, id: &JobId) -> ResultState {
        self.broker.result(&self.queue, id, Duration::ZERO).await.expect("result")
    }

    /// Adds a job and ends it, as dead.
    async fn add_dead(&self) -> JobId {
        let id = self.add_one().await;
        let job = self.claim_one(LEASE).await;
        assert_eq!(self.finish(&job.lease, dead(failure("it broke"))).await, Finished::Applied);
        id
    }

    /// Waits as another worker would; the wait has begun when this returns.
    async fn wait_on(&self, queues: &[&QueueName], waits: &mut JoinSet<()>) {
        let broker = Arc::clone(&self.broker);
        let queues: Vec<_> = queues.iter().map(|queue| (*queue).clone()).collect();
        waits.spawn(async move { broker.wait(&queues, ENDLESS, ENDLESS).await.expect("wait") });
        self.pass(MOMENT).await;
    }
}

/// How many waits are over.
fn ended(waits: &mut JoinSet<()>) -> usize {
    std::iter::from_fn(|| waits.try_join_next()).map(|wait| wait.expect("a wait")).count()
}

fn unique(name: &str) -> QueueName {
    QueueName::new(format!("{name}-{:016x}", rand::random::<u64>())).expect("a valid name")
}

fn unique_id(name: &str) -> JobId {
    JobId::new(format!("{name}-{:016x}", rand::random::<u64>())).expect("a valid id")
}

fn ids(jobs: &[ClaimedJob]) -> Vec<JobId> {
    jobs.iter().map(|job| job.lease.id.clone()).collect()
}

fn failure(message: &str) -> Failure {
    Failure {
        kind: FailureKind::Error,
        message: message.to_owned(),
        error_type: None,
        causes: Vec::new(),
        attempt: 1,
        at: crate::clock::Timestamp::from_millis(5_000),
        ran: Some(Box::new(crate::job::Ran {
            started_at: crate::clock::Timestamp::from_millis(0),
            worker: "homer".to_owned(),
            host: "sector-7g".to_owned(),
            pid: 7,
        })),
    }
}

/// An end that leaves nothing.
fn done() -> Outcome {
    Outcome::End { result: None, dead: None, hold_id: Duration::ZERO }
}

fn done_with(record: &'static str, keep: Option<Duration>) -> Outcome {
    let record = Bytes::from_static(record.as_bytes());
    Outcome::End { result: Some(KeptResult { record, keep }), dead: None, hold_id: Duration::ZERO }
}

fn dead(failure: Failure) -> Outcome {
    Outcome::End { result: None, dead: Some(failure.into()), hold_id: Duration::ZERO }
}

fn retry(delay: Duration) -> Outcome {
    Outcome::Retry { delay, failure: failure("not this time").into() }
}

fn give_back(why: GiveBack) -> Outcome {
    Outcome::GiveBack { delay: Duration::ZERO, why }
}
