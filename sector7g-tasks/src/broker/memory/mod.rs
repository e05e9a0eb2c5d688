mod aborts;
mod dead;
mod ids;
mod inspect;
mod jobs;
mod line;
mod manage;
mod ordered;
mod queue;
mod requests;
mod results;
mod slab;
mod state;
mod waits;

#[cfg(all(test, feature = "testing"))]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use self::inspect::read_mark;
use self::line::Place;
use self::state::{Denied, Limits, Lookup, State};
use self::waits::{Bells, Next, WaitId};
use super::{
    AbortMark, Aborts, Broker, BrokerError, Claim, Claimed, Enqueued, Extended, JobFilter, JobId, JobRecord, Lease,
    NewJob, Page, PageMark, QueueName, QueueStats, RequestId, ResultState, SETTLED, WorkerHealth, check_batch,
    check_lease,
};
use crate::clock::{Clock, Timestamp};

/// Keeps jobs in this process's memory: for tests, small programs and a laptop without a server.
///
/// It does all that other brokers do, but what it holds ends with the process and no other
/// process can reach it. Clones are handles to the same jobs. Nothing runs in the background: waits end by
/// notification or at a due time, and what has become too old is freed by later calls.
///
/// An id is one job in all queues, as in Redis. What it keeps is bounded, see
/// [`MemoryBrokerBuilder`]; besides, it remembers for a minute which finishes (at most 4,096 a queue) took effect,
/// so that one whose answer was lost may be reported again.
///
/// ```
/// # use sector7g_tasks::broker::{Broker, MemoryBroker};
/// let broker = MemoryBroker::builder().max_jobs(10_000).build();
/// assert_eq!(broker.location(), "memory");
/// assert!(!broker.is_shared());
/// ```
#[derive(Clone)]
pub struct MemoryBroker {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Clock,
    max_jobs: usize,
    state: Mutex<State>,
}

/// Sets the bounds of a [`MemoryBroker`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct MemoryBrokerBuilder {
    limits: Limits,
    clock: Option<Clock>,
}

impl MemoryBrokerBuilder {
    /// How many jobs may wait and run (1,000,000 unless set). Beyond it, enqueueing fails with
    /// [`BrokerError::Full`] and stores nothing.
    pub fn max_jobs(mut self, jobs: usize) -> Self {
        self.limits.jobs = jobs;
        self
    }

    /// How many results are kept (100,000 unless set). Beyond it, those of the jobs that ended first go first.
    pub fn max_results(mut self, results: usize) -> Self {
        self.limits.results = results;
        self
    }

    /// How many dead letters each queue keeps (10,000 unless set). Beyond it, the oldest go first.
    pub fn max_dead_letters(mut self, letters: usize) -> Self {
        self.limits.dead_letters = letters;
        self
    }

    /// How long dead letters are kept (7 days unless set).
    pub fn dead_letter_age(mut self, age: Duration) -> Self {
        self.limits.dead_letter_age = age;
        self
    }

    /// The clock that decides what is due ([`Clock::system`] unless set).
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// An empty broker with these bounds.
    pub fn build(self) -> MemoryBroker {
        let Self { mut limits, clock } = self;
        limits.jobs = limits.jobs.min(MOST_JOBS);
        let max_jobs = limits.jobs;
        let state = Mutex::new(State::new(limits));
        MemoryBroker { shared: Arc::new(Shared { clock: clock.unwrap_or_default(), max_jobs, state }) }
    }
}

/// Far above what memory holds, and below the number of a slab's slots.
const MOST_JOBS: usize = u32::MAX as usize / 2;

const WEEK: Duration = Duration::from_hours(7 * 24);

/// How long a wait sleeps at most before it reads the system's clock again, which may have been
/// set forward meanwhile (a suspended laptop). A virtual clock moves with the timers.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

const LOCATION: &str = "memory";

impl MemoryBroker {
    /// An empty broker on the system's clock.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// An empty broker on `clock`.
    pub fn with_clock(clock: Clock) -> Self {
        Self::builder().clock(clock).build()
    }

    /// For other bounds than the default ones.
    pub fn builder() -> MemoryBrokerBuilder {
        let limits = Limits { jobs: 1_000_000, results: 100_000, dead_letters: 10_000, dead_letter_age: WEEK };
        MemoryBrokerBuilder { limits, clock: None }
    }

    fn denied(&self, denied: Denied) -> BrokerError {
        let Denied::Full { held } = denied else { return BrokerError::Refused(SETTLED.to_owned()) };
        let limit = self.shared.max_jobs;
        let detail = format!("it holds {held} jobs of at most {limit}; add workers, or raise its bound");
        BrokerError::Full { location: LOCATION.to_owned(), detail }
    }
}

impl Default for MemoryBroker {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBroker").field("max_jobs", &self.shared.max_jobs).finish_non_exhaustive()
    }
}

impl Shared {
    /// One step of the state, under its lock; who is to be woken is woken after it.
    fn step<T>(&self, act: impl FnOnce(&mut State, Timestamp, &mut Bells) -> T) -> T {
        let mut bells = Bells::default();
        // Each step leaves the state whole, so one that panicked spoils nothing for the next.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let done = act(&mut state, self.clock.now(), &mut bells);
        drop(state);
        bells.ring();
        done
    }

    /// The instant at which the clock shows `moment`, or an earlier one if the clock may be set meanwhile.
    fn instant_of(&self, moment: Timestamp) -> Option<Instant> {
        let mut span = moment.since(self.clock.now());
        if !self.clock.is_virtual() {
            span = span.min(LONGEST_SLEEP);
        }
        Instant::now().checked_add(span)
    }
}

/// A wait under way: dropped, it passes on what it was woken for.
struct Wait<'a> {
    shared: &'a Shared,
    id: WaitId,
    bell: Arc<Notify>,
}

impl Wait<'_> {
    /// Until a job is due, or `deadline`.
    async fn run(&self, deadline: Option<Instant>) {
        loop {
            let next = self.shared.step(|state, now, bells| state.look(self.id, now, bells));
            let Next::Sleep(until) = next else { return };
            let until = until.and_then(|moment| self.shared.instant_of(moment));
            wait_until(until.into_iter().chain(deadline).min(), self.bell.notified()).await;
            if has_passed(deadline) {
                return;
            }
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.shared.step(|state, now, bells| state.end_wait(self.id, now, bells));
    }
}

fn check_mark(mark: &PageMark) -> Result<Place, BrokerError> {
    read_mark(mark)
        .ok_or_else(|| BrokerError::Refused(format!("{:?} is no mark of a page: begin with the first one", mark.0)))
}

#[async_trait]
impl Broker for MemoryBroker {
    async fn enqueue(&self, jobs: &[NewJob], request: RequestId) -> Result<Vec<Enqueued>, BrokerError> {
        check_batch("jobs", jobs.len())?;
        self.shared
            .step(|state, now, bells| state.enqueue(jobs, request, now, bells))
            .map_err(|denied| self.denied(denied))
    }

    async fn claim(&self, request: &Claim<'_>) -> Result<Claimed, BrokerError> {
        check_batch("finished jobs", request.finished.len())?;
        check_batch("jobs to claim", request.max)?;
        check_lease(request.lease)?;
        self.shared.step(|state, now, bells| state.claim(request, now, bells))
    }

    async fn extend(&self, queue: &QueueName, leases: &[Lease], lease: Duration) -> Result<Vec<Extended>, BrokerError> {
        check_batch("leases", leases.len())?;
        check_lease(lease)?;
        Ok(self.shared.step(|state, now, bells| state.extend(queue, leases, lease, now, bells)))
    }

    async fn wait(&self, queues: &[QueueName], _poll_delay: Duration, timeout: Duration) -> Result<(), BrokerError> {
        let deadline = Instant::now().checked_add(timeout);
        if let Some((id, bell)) = self.shared.step(|state, now, _| state.begin_wait(queues, now)) {
            Wait { shared: &self.shared, id, bell }.run(deadline).await;
        }
        Ok(())
    }

    async fn abort(&self, queue: &QueueName, id: &JobId) -> Result<bool, BrokerError> {
        Ok(self.shared.step(|state, now, bells| state.abort(queue, id, now, bells)))
    }

    async fn aborts(
        &self,
        queues: &[QueueName],
        since: AbortMark,
        _poll_delay: Duration,
        timeout: Duration,
    ) -> Result<Aborts, BrokerError> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            // In one step, so that no request falls between the look and the wait.
            let (found, next) = self.shared.step(|state, _, _| (state.aborts(queues, since), state.next_abort()));
            if found.any_new || has_passed(deadline) {
                return Ok(found.aborts);
            }
            wait_until(deadline, next).await;
        }
    }

    async fn result(&self, queue: &QueueName, id: &JobId, timeout: Duration) -> Result<ResultState, BrokerError> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let waits = !has_passed(deadline);
            match self.shared.step(|state, now, _| state.result(queue, id, waits, now)) {
                Lookup::Known(result) => return Ok(result),
                Lookup::Pending(ended) => wait_until(deadline, ended).await,
            }
        }
    }

    async fn set_progress(&self, queue: &QueueName, lease: &Lease, progress: Bytes) -> Result<bool, BrokerError> {
        Ok(self.shared.step(|state, _, _| state.set_progress(queue, lease, progress)))
    }

    async fn job(&self, queue: &QueueName, id: &JobId) -> Result<Option<JobRecord>, BrokerError> {
        Ok(self.shared.step(|state, now, _| state.job(queue, id, now)))
    }

    async fn jobs(
        &self,
        queue: &QueueName,
        filter: JobFilter,
        after: Option<PageMark>,
        limit: usize,
    ) -> Result<Page, BrokerError> {
        check_batch("jobs on a page", limit)?;
        let after = after.as_ref().map(check_mark).transpose()?;
        Ok(self.shared.step(|state, now, _| state.page(queue, filter, after, limit, now)))
    }

    async fn make_due(&self, queue: &QueueName, id: &JobId) -> Result<bool, BrokerError> {
        Ok(self.shared.step(|state, now, bells| state.make_due(queue, id, now, bells)))
    }

    async fn set_paused(&self, queue: &QueueName, paused: bool) -> Result<bool, BrokerError> {
        Ok(self.shared.step(|state, now, bells| state.set_paused(queue, paused, now, bells)))
    }

    async fn stats(&self, queue: &QueueName) -> Result<QueueStats, BrokerError> {
        Ok(self.shared.step(|state, now, _| state.stats(queue, now)))
    }

    async fn queues(&self) -> Result<Vec<QueueName>, BrokerError> {
        Ok(self.shared.step(|state, now, _| state.queue_names(now)))
    }

    async fn retry_dead(&self, queue: &QueueName, ids: &[JobId]) -> Result<Vec<bool>, BrokerError> {
        check_batch("dead letters", ids.len())?;
        self.shared
            .step(|state, now, bells| state.retry_dead(queue, ids, now, bells))
            .map_err(|denied| self.denied(denied))
    }

    async fn discard_dead(&self, queue: &QueueName, ids: &[JobId]) -> Result<Vec<bool>, BrokerError> {
        check_batch("dead letters", ids.len())?;
        Ok(self.shared.step(|state, now, _| state.discard_dead(queue, ids, now)))
    }

    async fn set_health(&self, worker: &str, health: Option<&WorkerHealth>, ttl: Duration) -> Result<(), BrokerError> {
        self.shared.step(|state, now, _| state.set_health(worker, health, ttl, now));
        Ok(())
    }

    fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    fn location(&self) -> String {
        LOCATION.to_owned()
    }

    fn is_shared(&self) -> bool {
        false
    }
}

fn has_passed(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| deadline <= Instant::now())
}

/// Waits for `event`, until `deadline` at most; `None` never comes.
async fn wait_until(deadline: Option<Instant>, event: impl Future<Output = ()>) {
    match deadline {
        Some(deadline) => drop(timeout_at(deadline, event).await),
        None => event.await,
    }
}
