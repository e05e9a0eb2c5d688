//! A broker that fails on purpose, to see that what stands on it does not.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::broker::{
    AbortMark, Aborts, Broker, BrokerError, Claim, Claimed, Enqueued, Extended, JobFilter, JobId, JobRecord, Lease,
    NewJob, Page, PageMark, QueueName, QueueStats, RequestId, ResultState, ServerInfo, WorkerHealth,
};
use crate::clock::Clock;

/// A broker around another one, whose calls fail or are late when a test says so.
///
/// As long as no faults are asked for it keeps every promise that the inner one keeps.
///
/// ```
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// # use sector7g_tasks::broker::{Broker, MemoryBroker, QueueName};
/// # use sector7g_tasks::testing::chaos::{Call, ChaosBroker, Fault};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = ChaosBroker::new(Arc::new(MemoryBroker::new()));
/// broker.fail_next(Call::Stats, 1, Fault::Before);
/// let queue = QueueName::new("lenny")?;
/// assert!(broker.stats(&queue).await.is_err());
/// assert!(broker.stats(&queue).await.is_ok());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ChaosBroker {
    inner: Arc<dyn Broker>,
    plan: Mutex<Plan>,
    is_shared: bool,
}

/// A kind of call: the [`Broker`] method of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the method of its name")]
pub enum Call {
    Enqueue,
    Claim,
    Extend,
    Wait,
    Abort,
    Aborts,
    Result,
    SetProgress,
    Job,
    Jobs,
    Stats,
    Queues,
    RetryDead,
    DiscardDead,
    MakeDue,
    SetPaused,
    SetHealth,
    Concerns,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Enqueue => "enqueue",
            Self::Claim => "claim",
            Self::Extend => "extend",
            Self::Wait => "wait",
            Self::Abort => "abort",
            Self::Aborts => "aborts",
            Self::Result => "result",
            Self::SetProgress => "set_progress",
            Self::Job => "job",
            Self::Jobs => "jobs",
            Self::Stats => "stats",
            Self::Queues => "queues",
            Self::RetryDead => "retry_dead",
            Self::DiscardDead => "discard_dead",
            Self::MakeDue => "make_due",
            Self::SetPaused => "set_paused",
            Self::SetHealth => "set_health",
            Self::Concerns => "concerns",
        })
    }
}

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and nothing has happened.
    Before,
    /// It happens, and its answer is lost: it fails as well.
    After,
    /// It happens so much later.
    Delay(Duration),
    /// It happens at once, and its answer comes so much later.
    Late(Duration),
    /// It panics, and nothing has happened: a broker with a mistake in it.
    Panic,
}

/// How often each fault happens to a call, each from 0 (never) to 1; together at most 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Odds {
    /// Of [`Fault::Before`].
    pub before: f64,
    /// Of [`Fault::After`].
    pub after: f64,
    /// Of [`Fault::Delay`] and [`Fault::Late`], half of it each.
    pub slow: f64,
    /// The longest that a slow call takes; each takes a part of it.
    pub slowness: Duration,
}

/// What is to go wrong.
#[derive(Debug)]
struct Plan {
    is_down: bool,
    next: HashMap<Call, VecDeque<Fault>>,
    odds: HashMap<Call, Odds>,
    chance: StdRng,
    /// Calls and faults so far.
    met: HashMap<Call, (u64, u64)>,
}

impl ChaosBroker {
    /// A broker without faults, until some are asked for.
    pub fn new(inner: Arc<dyn Broker>) -> Self {
        Self::seeded(inner, 0)
    }

    /// The same, with `seed` deciding what [`set_odds`](Self::set_odds) leaves to chance: the same calls in
    /// the same order meet the same faults.
    pub fn seeded(inner: Arc<dyn Broker>, seed: u64) -> Self {
        let chance = StdRng::seed_from_u64(seed);
        let (next, odds, met) = (HashMap::new(), HashMap::new(), HashMap::new());
        let is_shared = inner.is_shared();
        Self { inner, plan: Mutex::new(Plan { is_down: false, next, odds, chance, met }), is_shared }
    }

    /// Has it say that other processes reach the same jobs, whatever the inner one says: its workers
    /// then make up for the ticks of schedules that fell between their runs.
    #[must_use]
    pub fn as_shared(mut self) -> Self {
        self.is_shared = true;
        self
    }

    /// Has the next `calls` of one kind meet `fault`, after those that were asked for before.
    pub fn fail_next(&self, call: Call, calls: usize, fault: Fault) {
        self.plan().next.entry(call).or_default().extend(std::iter::repeat_n(fault, calls));
    }

    /// Leaves the faults of all calls of the kinds `calls` to chance.
    ///
    /// # Panics
    /// When the odds are not from 0 to 1, or are more than 1 together.
    pub fn set_odds(&self, calls: &[Call], odds: Odds) {
        let Odds { before, after, slow, slowness: _ } = odds;
        let all = [before, after, slow, before + after + slow];
        assert!(all.iter().all(|odds| (0.0..=1.0).contains(odds)), "these are no odds: {odds:?}");
        self.plan().odds.extend(calls.iter().map(|call| (*call, odds)));
    }

    /// Has every call fail before it happens, or no longer.
    pub fn set_down(&self, is_down: bool) {
        self.plan().is_down = is_down;
    }

    /// Drops all faults that were asked for.
    pub fn calm(&self) {
        let mut plan = self.plan();
        plan.is_down = false;
        plan.next.clear();
        plan.odds.clear();
    }

    /// How many calls of one kind came so far.
    pub fn calls(&self, call: Call) -> u64 {
        self.plan().met.get(&call).map_or(0, |(calls, _)| *calls)
    }

    /// How many calls of one kind met a fault so far.
    pub fn faults(&self, call: Call) -> u64 {
        self.plan().met.get(&call).map_or(0, |(_, faults)| *faults)
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a call with the fault that is its turn. `act` does nothing until it is awaited.
    async fn pass<T, F>(&self, call: Call, act: F) -> Result<T, BrokerError>
    where
        F: Future<Output = Result<T, BrokerError>> + Send,
    {
        let fault = self.plan().draw(call);
        match fault {
            None => act.await,
            Some(Fault::Before) => Err(self.unavailable(call, "failed before it happened")),
            Some(Fault::After) => {
                act.await?;
                Err(self.unavailable(call, "happened, and its answer is lost"))
            }
            Some(Fault::Panic) => panic!("`{call}` panicked, on purpose"),
            Some(Fault::Delay(span)) => {
                tokio::time::sleep(span).await;
                act.await
            }
            Some(Fault::Late(span)) => {
                let answer = act.await;
                tokio::time::sleep(span).await;
                answer
            }
        }
    }

    fn unavailable(&self, call: Call, what: &str) -> BrokerError {
        BrokerError::Unavailable { location: self.location(), cause: format!("`{call}` {what}, on purpose").into() }
    }
}

impl Plan {
    fn draw(&mut self, call: Call) -> Option<Fault> {
        let fault = self.fault_of(call);
        let (calls, faults) = self.met.entry(call).or_default();
        *calls += 1;
        *faults += u64::from(fault.is_some());
        fault
    }

    fn fault_of(&mut self, call: Call) -> Option<Fault> {
        if self.is_down {
            return Some(Fault::Before);
        }
        if let Some(fault) = self.next.get_mut(&call).and_then(VecDeque::pop_front) {
            return Some(fault);
        }
        let odds = *self.odds.get(&call)?;
        let slowness = odds.slowness.mul_f64(self.chance.random());
        let kinds = [
            (odds.before, Fault::Before),
            (odds.after, Fault::After),
            (odds.slow / 2.0, Fault::Delay(slowness)),
            (odds.slow / 2.0, Fault::Late(slowness)),
        ];
        let mut left: f64 = self.chance.random();
        kinds.into_iter().find_map(|(odds, fault)| {
            left -= odds;
            (left < 0.0).then_some(fault)
        })
    }
}

#[async_trait]
impl Broker for ChaosBroker {
    async fn enqueue(&self, jobs: &[NewJob], request: RequestId) -> Result<Vec<Enqueued>, BrokerError> {
        self.pass(Call::Enqueue, self.inner.enqueue(jobs, request)).await
    }

    async fn claim(&self, request: &Claim<'_>) -> Result<Claimed, BrokerError> {
        self.pass(Call::Claim, self.inner.claim(request)).await
    }

    async fn extend(&self, queue: &QueueName, leases: &[Lease], lease: Duration) -> Result<Vec<Extended>, BrokerError> {
        self.pass(Call::Extend, self.inner.extend(queue, leases, lease)).await
    }

    async fn wait(&self, queues: &[QueueName], poll_delay: Duration, timeout: Duration) -> Result<(), BrokerError> {
        self.pass(Call::Wait, self.inner.wait(queues, poll_delay, timeout)).await
    }

    async fn abort(&self, queue: &QueueName, id: &JobId) -> Result<bool, BrokerError> {
        self.pass(Call::Abort, self.inner.abort(queue, id)).await
    }

    async fn aborts(
        &self,
        queues: &[QueueName],
        since: AbortMark,
        poll_delay: Duration,
        timeout: Duration,
    ) -> Result<Aborts, BrokerError> {
        self.pass(Call::Aborts, self.inner.aborts(queues, since, poll_delay, timeout)).await
    }

    async fn result(&self, queue: &QueueName, id: &JobId, timeout: Duration) -> Result<ResultState, BrokerError> {
        self.pass(Call::Result, self.inner.result(queue, id, timeout)).await
    }

    async fn set_progress(&self, queue: &QueueName, lease: &Lease, progress: Bytes) -> Result<bool, BrokerError> {
        self.pass(Call::SetProgress, self.inner.set_progress(queue, lease, progress)).await
    }

    async fn job(&self, queue: &QueueName, id: &JobId) -> Result<Option<JobRecord>, BrokerError> {
        self.pass(Call::Job, self.inner.job(queue, id)).await
    }

    async fn jobs(
        &self,
        queue: &QueueName,
        filter: JobFilter,
        after: Option<PageMark>,
        limit: usize,
    ) -> Result<Page, BrokerError> {
        self.pass(Call::Jobs, self.inner.jobs(queue, filter, after, limit)).await
    }

    async fn make_due(&self, queue: &QueueName, id: &JobId) -> Result<bool, BrokerError> {
        self.pass(Call::MakeDue, self.inner.make_due(queue, id)).await
    }

    async fn set_paused(&self, queue: &QueueName, paused: bool) -> Result<bool, BrokerError> {
        self.pass(Call::SetPaused, self.inner.set_paused(queue, paused)).await
    }

    async fn stats(&self, queue: &QueueName) -> Result<QueueStats, BrokerError> {
        self.pass(Call::Stats, self.inner.stats(queue)).await
    }

    async fn queues(&self) -> Result<Vec<QueueName>, BrokerError> {
        self.pass(Call::Queues, self.inner.queues()).await
    }

    async fn retry_dead(&self, queue: &QueueName, ids: &[JobId]) -> Result<Vec<bool>, BrokerError> {
        self.pass(Call::RetryDead, self.inner.retry_dead(queue, ids)).await
    }

    async fn discard_dead(&self, queue: &QueueName, ids: &[JobId]) -> Result<Vec<bool>, BrokerError> {
        self.pass(Call::DiscardDead, self.inner.discard_dead(queue, ids)).await
    }

    async fn set_health(&self, worker: &str, health: Option<&WorkerHealth>, ttl: Duration) -> Result<(), BrokerError> {
        self.pass(Call::SetHealth, self.inner.set_health(worker, health, ttl)).await
    }

    fn clock(&self) -> &Clock {
        self.inner.clock()
    }

    async fn concerns(&self) -> Result<Vec<String>, BrokerError> {
        self.pass(Call::Concerns, self.inner.concerns()).await
    }

    async fn server(&self) -> Result<Option<ServerInfo>, BrokerError> {
        self.inner.server().await
    }

    async fn ready(&self) -> Result<(), BrokerError> {
        self.inner.ready().await
    }

    fn location(&self) -> String {
        self.inner.location()
    }

    fn shared_name(&self, queue: &QueueName) -> String {
        self.inner.shared_name(queue)
    }

    fn is_shared(&self) -> bool {
        self.is_shared
    }

    fn is_spread(&self) -> bool {
        self.inner.is_spread()
    }
}
