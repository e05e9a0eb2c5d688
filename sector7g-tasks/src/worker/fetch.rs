use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use rand::RngExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::control::Cancel;
use super::execute::{After, Ended, Taken, execute_guarded, guard_hook};
use super::running::Running;
use super::settings::{Order, QueueShare, WorkerSettings};
use super::supervise::message_of;
use crate::broker::{
    AbortMark, Broker, BrokerError, Claim, Claimed, ClaimedJob, Extended, Finish, Finished, GiveBack, Lease,
    LeaseToken, MAX_BATCH, Outcome, QueueName, WorkerHealth,
};
use crate::client::batches;
use crate::clock::{Clock, Timestamp};
use crate::context::WorkerContext;
use crate::error::{Chain, TaskError};
use crate::middleware::Middleware;
use crate::retry::RetryPolicy;
use crate::task::TaskDef;

/// The longest that one wait for work lasts: every loop looks around now and then.
const WAIT: Duration = Duration::from_secs(5);

/// Pauses between calls to a broker that does not answer.
const RECONNECT: RetryPolicy =
    RetryPolicy::exponential(Duration::from_millis(100)).max(Duration::from_secs(5)).jitter(0.5);

/// How long a stopping worker goes on trying to report what has ended.
const LAST_REPORT: Duration = Duration::from_secs(5);

/// How long a stopping worker waits for the hooks of its last jobs.
const LAST_HOOKS: Duration = Duration::from_secs(2);

/// How often a worker in burst mode looks whether the others' queues are empty, too.
const BURST_LOOK: Duration = Duration::from_millis(50);

/// How long a cancelled job may take to leave the thread that it blocks, before a stop goes on without it.
const LAST_POLL: Duration = Duration::from_secs(2);

/// One worker, started.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) settings: WorkerSettings,
    pub(crate) shares: Vec<QueueShare>,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) tasks: Arc<HashMap<&'static str, &'static TaskDef>>,
    pub(crate) context: WorkerContext,
    pub(crate) layers: Arc<[Arc<dyn Middleware>]>,
    pub(crate) running: Running,
    /// Random for each start: two workers of one name are two.
    pub(crate) instance: u64,
    /// All queues of the runner, in burst mode: a job of another worker may still enqueue for this one.
    pub(crate) burst: Option<Arc<[QueueName]>>,
    /// Cancelled when a stop's grace is over: what is optional is left out then.
    pub(crate) cut: CancellationToken,
}

/// Two ways to stop: let running jobs end, or not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    pub(crate) graceful: CancellationToken,
    pub(crate) forced: CancellationToken,
}

/// Why a worker ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkerError {
    #[error("on_startup of worker `{worker}` failed: {error}")]
    Startup { worker: String, error: TaskError },
}

/// What a worker has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerReport {
    /// The worker's name.
    pub worker: String,
    /// Jobs that ended well.
    pub done: u64,
    /// Jobs that failed for good.
    pub failed: u64,
    /// Attempts that are to be repeated.
    pub retried: u64,
    /// Jobs given back uncounted: by the stop, a snooze, or because their task is not known here.
    pub given_back: u64,
    /// Jobs that were aborted.
    pub aborted: u64,
    /// Jobs whose lease was lost while they ran.
    pub lease_lost: u64,
}

impl Engine {
    pub(crate) fn clock(&self) -> &Clock {
        &self.context.0.clock
    }

    pub(crate) fn name(&self) -> &str {
        &self.context.0.name
    }

    /// Works until it is told to stop, or in burst mode until its queues are empty.
    pub(crate) async fn work(self: Arc<Self>, stop: Stop) -> Result<WorkerReport, WorkerError> {
        match stop.graceful.run_until_cancelled(self.start_up()).await {
            Some(started) => started?,
            None => return Ok(self.report()), // told to stop before it began
        }
        let mut beside = self.beside(&stop);
        let mut fetch = Fetch::new(Arc::clone(&self), stop);
        fetch.until_stopped().await;
        self.context.0.stopping.cancel();
        fetch.drain().await;
        beside.shutdown().await;
        self.shut_down().await;
        Ok(self.report())
    }

    async fn start_up(&self) -> Result<(), WorkerError> {
        let Some(hook) = self.settings.on_startup else { return Ok(()) };
        let started = AssertUnwindSafe(async { hook(self.context.clone()).await }).catch_unwind().await;
        let error = match started {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(panic) => TaskError::permanent(format!("it panicked: {}", message_of(&*panic))),
        };
        Err(WorkerError::Startup { worker: self.name().to_owned(), error })
    }

    async fn shut_down(&self) {
        if let Some(hook) = self.settings.on_shutdown {
            guard_hook("on_shutdown", || hook(self.context.clone())).await;
        }
        if let Err(error) = self.broker.set_health(&self.instance_name(), None, Duration::ZERO).await {
            tracing::debug!(
                worker = self.name(),
                "the health entry was not removed, it runs out by itself: {}",
                Chain(&error)
            );
        }
    }

    /// What goes on beside the loop: the watch for aborts, the health entry and the schedules.
    fn beside(self: &Arc<Self>, stop: &Stop) -> JoinSet<()> {
        let mut beside = JoinSet::new();
        let engine = Arc::clone(self);
        beside.spawn(async move { keep_going("the watch for aborts", || engine.watch_aborts()).await });
        let engine = Arc::clone(self);
        beside.spawn(async move { keep_going("the health entry", || engine.tell_health()).await });
        let (engine, stop) = (Arc::clone(self), stop.graceful.clone());
        beside.spawn(async move {
            let schedules = keep_going("the schedules", || engine.schedules());
            stop.run_until_cancelled(schedules).await.unwrap_or_default();
        });
        beside
    }

    #[cfg(not(feature = "cron"))]
    async fn schedules(&self) {
        std::future::pending::<()>().await;
    }

    async fn watch_aborts(&self) {
        let mut mark = AbortMark::default();
        let mut failures = 0;
        loop {
            self.running.busy().await; // an idle worker asks nothing
            match self.broker.aborts(&self.context.0.queues, mark, self.settings.poll_delay, WAIT).await {
                Ok(aborts) => {
                    (mark, failures) = (aborts.mark, 0);
                    self.running.abort(aborts.ids);
                }
                Err(error) => {
                    tracing::debug!(worker = self.name(), "can't ask for aborts: {}", Chain(&error));
                    failures += 1;
                    sleep(RECONNECT.delay(failures, rand::random())).await;
                }
            }
        }
    }

    async fn tell_health(&self) {
        let interval = self.settings.health_check_interval;
        let started_at = self.clock().now();
        loop {
            let health = self.health(started_at);
            // Two intervals and a second: one may come late without the worker looking dead.
            let ttl = interval.saturating_mul(2).saturating_add(Duration::from_secs(1));
            if let Err(error) = self.broker.set_health(&self.instance_name(), Some(&health), ttl).await {
                tracing::debug!(worker = self.name(), "the health entry was not stored: {}", Chain(&error));
            }
            sleep(interval).await;
        }
    }

    fn instance_name(&self) -> String {
        format!("{}-{:016x}", self.name(), self.instance)
    }

    fn health(&self, started_at: Timestamp) -> WorkerHealth {
        let tally = &self.running.tally;
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        WorkerHealth {
            name: self.name().to_owned(),
            instance: format!("{:016x}", self.instance),
            queues: self.context.0.queues.iter().map(ToString::to_string).collect(),
            host: host(),
            pid: std::process::id(),
            started_at,
            at: Timestamp::from_millis(i64::try_from(count(&tally.alive_at)).unwrap_or(i64::MAX)),
            done: count(&tally.done),
            failed: count(&tally.failed),
            retried: count(&tally.retried),
            running: self.running.len() as u64,
        }
    }

    fn report(&self) -> WorkerReport {
        let tally = &self.running.tally;
        WorkerReport {
            worker: self.name().to_owned(),
            done: tally.done.load(Ordering::Relaxed),
            failed: tally.failed.load(Ordering::Relaxed),
            retried: tally.retried.load(Ordering::Relaxed),
            given_back: tally.given_back.load(Ordering::Relaxed),
            aborted: tally.aborted.load(Ordering::Relaxed),
            lease_lost: tally.lease_lost.load(Ordering::Relaxed),
        }
    }
}

/// Runs a loop that must not end: should it panic, it says so and starts again.
pub(super) async fn keep_going<F: Future<Output = ()>>(what: &str, start: impl Fn() -> F) {
    loop {
        match AssertUnwindSafe(start()).catch_unwind().await {
            Ok(()) => return,
            Err(panic) => tracing::error!("{what} panicked and is started again: {}", message_of(&*panic)),
        }
        sleep(Duration::from_secs(1)).await;
    }
}

fn host() -> String {
    let kernel = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    std::env::var("HOSTNAME").ok().or_else(kernel).map_or_else(|| "localhost".to_owned(), |name| name.trim().to_owned())
}

/// What runs in the loop's set.
pub(super) enum Event {
    Ended(Box<Ended>),
    /// An `after_job_end` hook has come to its end.
    Hooked,
}

/// The loop's own state: what runs, and what has ended but is not reported yet.
struct Fetch {
    engine: Arc<Engine>,
    stop: Stop,
    jobs: JoinSet<Event>,
    unreported: Vec<Unreported>,
    calls: u64,
    next_key: u64,
    outage: Outage,
    /// Of `wait` alone, which may fail where claims succeed.
    deaf: Outage,
    idle_rounds: u32,
}

/// One queue's endings, and the token of a call whose answer was lost.
#[derive(Default)]
struct Unreported {
    finishes: Vec<Finish>,
    /// Of each finish: its job's key, and what `after_job_end` is given.
    ends: Vec<(u64, After)>,
    /// A call whose answer was lost, to be repeated as it was before anything else is asked.
    lost: Option<Lost>,
}

/// A call whose answer was lost: the broker may have leased up to `max` jobs under the token.
#[derive(Clone, Copy)]
struct Lost {
    token: LeaseToken,
    max: usize,
    batch: usize,
}

/// What a round of calls achieved.
struct Round {
    claimed: usize,
    more_due: bool,
}

#[derive(Default)]
struct Outage {
    failures: u32,
}

impl Fetch {
    fn new(engine: Arc<Engine>, stop: Stop) -> Self {
        let unreported = engine.shares.iter().map(|_| Unreported::default()).collect();
        Self {
            engine,
            stop,
            jobs: JoinSet::new(),
            unreported,
            calls: 0,
            next_key: 0,
            outage: Outage::default(),
            deaf: Outage::default(),
            idle_rounds: 0,
        }
    }

    async fn until_stopped(&mut self) {
        while !self.stop.graceful.is_cancelled() {
            self.collect();
            let (round, error) = self.round().await;
            if let Some(error) = error {
                let pause = self.outage.pause(&self.engine, &error);
                self.rest_at_most(pause).await;
                continue;
            }
            self.outage.over(&self.engine);
            if self.engine.burst.is_some() && self.is_drained(&round).await {
                return;
            }
            // Straight on only while that leads somewhere: what is due may not be ours to claim.
            let more = round.claimed > 0 && round.more_due && self.free(None) > 0;
            if !more && !self.has_unsent() {
                self.rest(round.claimed > 0).await;
            }
        }
    }

    /// Slots that neither a job, nor an unreported ending, nor a lost call may hold: when the broker
    /// is away, endings fill the slots and nothing piles up. The endings that go with the call to
    /// `queue` count as gone: if it fails, it has started nothing.
    fn free(&self, queue: Option<usize>) -> usize {
        let held = |(index, unreported): (usize, &Unreported)| {
            let goes_along = if Some(index) == queue { unreported.batch() } else { 0 };
            unreported.finishes.len() - goes_along + unreported.lost.map_or(0, |lost| lost.max)
        };
        let held: usize = self.unreported.iter().enumerate().map(held).sum();
        self.engine.settings.max_jobs.saturating_sub(self.jobs.len() + held)
    }

    /// Whether endings did not fit into the last round's calls.
    fn has_unsent(&self) -> bool {
        self.unreported.iter().any(|queue| !queue.finishes.is_empty())
    }

    /// Takes what has ended, without waiting.
    fn collect(&mut self) {
        while let Some(ended) = self.jobs.try_join_next() {
            self.take(ended);
        }
    }

    fn take(&mut self, ended: Result<Event, tokio::task::JoinError>) {
        match ended {
            Ok(Event::Ended(ended)) => self.push(*ended),
            Ok(Event::Hooked) => {}
            Err(error) => tracing::error!("a job's execution was cut off: {error}"), // its drop has freed its slot
        }
    }

    fn push(&mut self, Ended { key, queue, finish, after }: Ended) {
        match finish {
            Some(finish) => {
                self.unreported[queue].finishes.push(finish);
                self.unreported[queue].ends.push((key, after));
            }
            None => self.engine.running.remove([key]),
        }
    }

    /// One call for each queue that has endings to report or may give jobs, in the worker's order.
    /// A queue whose call fails does not keep the others waiting; the first error is returned.
    async fn round(&mut self) -> (Round, Option<BrokerError>) {
        let mut round = Round { claimed: 0, more_due: false };
        let mut failure = None;
        let order = self.order();
        // An ending holds its slot until it is reported. So those of the later queues go first: else
        // the slots would stay with the queue that had them, whatever the order.
        for queue in order
            .iter()
            .skip(1)
            .copied()
            .filter(|queue| !self.unreported[*queue].finishes.is_empty())
            .collect::<Vec<_>>()
        {
            failure = self.ask(queue, 0, &mut round).await.err().or(failure);
        }
        for queue in order {
            let max = self.free(Some(queue)).min(MAX_BATCH);
            let has_word = !self.unreported[queue].finishes.is_empty() || self.unreported[queue].lost.is_some();
            if (max > 0 || has_word) && !self.stop.graceful.is_cancelled() {
                failure = self.ask(queue, max, &mut round).await.err().or(failure);
            }
        }
        (round, failure)
    }

    async fn ask(&mut self, queue: usize, max: usize, round: &mut Round) -> Result<(), BrokerError> {
        let claimed = self.call(queue, max).await?;
        round.claimed += claimed.jobs.len();
        round.more_due |= claimed.more_due;
        self.start(queue, claimed.jobs);
        Ok(())
    }

    /// The queues in the order in which they are asked this time.
    fn order(&self) -> Vec<usize> {
        let shares = &self.engine.shares;
        let mut left: Vec<usize> = (0..shares.len()).collect();
        if self.engine.settings.order == Order::Strict || left.len() == 1 {
            return left;
        }
        let mut order = Vec::with_capacity(left.len());
        while !left.is_empty() {
            let total: u64 = left.iter().map(|queue| u64::from(shares[*queue].weight)).sum();
            let mut draw = rand::rng().random_range(0..total);
            let chosen = left.iter().position(|queue| {
                let weight = u64::from(shares[*queue].weight);
                let hit = draw < weight;
                draw = draw.saturating_sub(weight);
                hit
            });
            order.push(left.remove(chosen.unwrap_or(0)));
        }
        order
    }

    /// One finish-and-claim, or the repetition of one whose answer was lost. Endings stay
    /// unreported until the broker has answered.
    async fn call(&mut self, queue: usize, max: usize) -> Result<Claimed, BrokerError> {
        let this = self.unreported[queue].lost.unwrap_or_else(|| {
            self.calls += 1;
            let token = LeaseToken { worker: self.engine.instance, call: self.calls };
            Lost { token, max, batch: self.unreported[queue].batch() }
        });
        let engine = Arc::clone(&self.engine);
        let request = Claim {
            queue: &engine.context.0.queues[queue],
            finished: &self.unreported[queue].finishes[..this.batch],
            max: this.max,
            lease: engine.settings.lease,
            token: this.token,
        };
        let asked = Instant::now();
        match engine.broker.claim(&request).await {
            Ok(mut claimed) => {
                engine.running.tally.mark_alive(claimed.now);
                self.unreported[queue].lost = None;
                self.reported(queue, this.batch, &claimed.finished);
                if asked.elapsed() > engine.settings.lease / 2 {
                    claimed.jobs = self.still_ours(queue, claimed.jobs).await;
                }
                Ok(claimed)
            }
            Err(error) if error.is_transient() => {
                self.unreported[queue].lost = Some(this);
                Err(error)
            }
            Err(error) => {
                self.unreported[queue].lost = None;
                self.refused(queue, this.batch, &error);
                Err(error)
            }
        }
    }

    /// After an answer that was long under way: only jobs whose lease could be renewed may start.
    async fn still_ours(&self, queue: usize, jobs: Vec<ClaimedJob>) -> Vec<ClaimedJob> {
        let leases: Vec<Lease> = jobs.iter().map(|job| job.lease.clone()).collect();
        let queue = &self.engine.context.0.queues[queue];
        let answers = match self.engine.broker.extend(queue, &leases, self.engine.settings.lease).await {
            Ok(answers) => answers,
            Err(error) => {
                tracing::warn!("{} claimed jobs are not started, they run elsewhere: {}", jobs.len(), Chain(&error));
                return Vec::new();
            }
        };
        let renewed = jobs.into_iter().zip(answers).filter(|(_, answer)| *answer == Extended::Renewed);
        renewed.map(|(job, _)| job).collect()
    }

    /// A finish that the broker refuses for good must not hold up those behind it: results go
    /// first, then the finish itself, whose job is due again when its lease ends.
    fn refused(&mut self, queue: usize, batch: usize, error: &BrokerError) {
        let queue = &mut self.unreported[queue];
        let mut stripped = 0;
        for finish in &mut queue.finishes[..batch] {
            if let Outcome::End { result, .. } = &mut finish.outcome {
                stripped += usize::from(result.take().is_some());
            }
        }
        tracing::error!("the outcomes of {batch} jobs were refused: {}", Chain(error));
        if stripped == 0 {
            queue.finishes.drain(..batch);
            self.engine.running.remove(queue.ends.drain(..batch).map(|(key, _)| key));
        }
    }

    fn reported(&mut self, queue: usize, batch: usize, answers: &[Finished]) {
        let Unreported { finishes, ends, .. } = &mut self.unreported[queue];
        self.engine.running.remove(ends[..batch].iter().map(|(key, _)| *key));
        for ((finish, (_, after)), answer) in finishes.drain(..batch).zip(ends.drain(..batch)).zip(answers) {
            if *answer == Finished::LeaseLost {
                self.engine.running.tally.lease_lost.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    "the outcome of job {} came too late and was not stored: its lease was lost",
                    finish.lease.id
                );
                continue;
            }
            if let (Some(hook), Some((ctx, end))) = (self.engine.settings.after_job_end, after) {
                self.jobs.spawn(async move {
                    guard_hook("after_job_end", || hook(ctx, end)).await;
                    Event::Hooked
                });
            }
        }
    }

    fn start(&mut self, queue: usize, jobs: Vec<ClaimedJob>) {
        let first_key = self.next_key;
        self.next_key += jobs.len() as u64;
        let take = |(key, job)| {
            let engine = Arc::clone(&self.engine);
            Box::new(Taken { engine, key, queue, job, control: Arc::default(), has_ended: false })
        };
        let taken: Vec<Box<Taken>> = (first_key..).zip(jobs).map(take).collect();
        self.engine.running.add(taken.iter().map(|taken| (taken.key, taken.held())));
        for taken in taken {
            self.jobs.spawn(execute_guarded(taken));
        }
    }

    /// Waits until there is something to do: a stop, an ending, or work while slots are free.
    async fn rest(&mut self, was_busy: bool) {
        // A broker that says «work» and gives none, time after time, must not spin this loop.
        self.idle_rounds = if was_busy { 0 } else { self.idle_rounds + 1 };
        let free = self.free(None) > 0;
        let longest = if self.engine.burst.is_some() { BURST_LOOK } else { WAIT };
        let began = Instant::now();
        tokio::select! {
            biased; // the stop first, then endings, which free slots, then new work
            () = self.stop.graceful.cancelled() => {} // cancel safe: stays cancelled
            Some(ended) = self.jobs.join_next() => { // cancel safe: takes only what it returns
                self.take(ended);
                self.idle_rounds = 0;
            }
            waited = self.engine.broker.wait(&self.engine.context.0.queues, self.engine.settings.poll_delay, longest), if free => { // cancel safe: only waits
                match waited {
                    Ok(()) => {
                        self.engine.running.tally.mark_alive(self.engine.clock().now());
                        self.deaf.over(&self.engine);
                    }
                    Err(error) => {
                        let pause = self.deaf.pause(&self.engine, &error);
                        self.rest_at_most(pause).await;
                    }
                }
                if began.elapsed() > Duration::from_millis(1) {
                    self.idle_rounds = 0;
                }
            }
        }
        if self.idle_rounds > 3 {
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn rest_at_most(&mut self, pause: Duration) {
        let until = Instant::now() + pause;
        loop {
            tokio::select! {
                biased;
                () = self.stop.graceful.cancelled() => return, // cancel safe: stays cancelled
                () = tokio::time::sleep_until(until) => return, // cancel safe: only waits
                Some(ended) = self.jobs.join_next() => self.take(ended), // cancel safe: takes only what it returns
            }
        }
    }

    /// Whether a burst is over: nothing runs here and all the runner's queues are empty, deferred
    /// jobs included, as in arq.
    async fn is_drained(&self, round: &Round) -> bool {
        if round.claimed > 0 || !self.jobs.is_empty() || self.has_unsent() {
            return false;
        }
        for queue in self.engine.burst.iter().flat_map(|queues| queues.iter()) {
            match self.engine.broker.stats(queue).await {
                Ok(stats) if stats.live() == 0 => {}
                _ => return false,
            }
        }
        true
    }

    /// Ends what runs: with grace, then without; reports all of it.
    async fn drain(&mut self) {
        let until = Instant::now() + self.engine.settings.job_completion_wait;
        let forced = self.stop.forced.clone();
        while !self.jobs.is_empty() {
            self.report_now().await;
            tokio::select! {
                biased;
                () = forced.cancelled() => break, // cancel safe: stays cancelled
                () = tokio::time::sleep_until(until) => break, // cancel safe: only waits
                Some(ended) = self.jobs.join_next() => self.take(ended), // cancel safe: takes only what it returns
            }
            self.collect();
        }
        self.cut_short().await;
        self.report_all().await;
    }

    /// Cancels what is left; each comes back as given back, due at once, its attempt uncounted.
    async fn cut_short(&mut self) {
        self.engine.cut.cancel();
        self.engine.running.cancel_all(Cancel::Stop);
        let until = Instant::now() + LAST_POLL;
        while let Ok(Some(ended)) = timeout_at(until, self.jobs.join_next()).await {
            self.take(ended);
            self.collect();
            let _ = timeout_at(until, self.report_now()).await; // what is left then, `report_all` takes
        }
        if !self.jobs.is_empty() {
            // Given back now, they would run twice at once; their leases run out when this process has ended.
            self.engine.running.for_each(|held| {
                let task = held.control.task.get().map_or("?", |def| def.name);
                tracing::error!(
                    "task `{task}` (job {}) ignores its cancellation; it starts again elsewhere when its lease ends",
                    held.lease.id
                );
            });
            self.jobs.abort_all();
        }
    }

    async fn report_now(&mut self) {
        for queue in 0..self.unreported.len() {
            while !self.unreported[queue].finishes.is_empty() || self.unreported[queue].lost.is_some() {
                match self.call(queue, 0).await {
                    Ok(claimed) => {
                        self.outage.over(&self.engine);
                        self.give_back(queue, claimed.jobs);
                    }
                    Err(_) => return, // tried again at the next ending, and at the end
                }
            }
        }
    }

    /// Jobs that a lost call turns out to have leased after the stop.
    fn give_back(&mut self, queue: usize, jobs: Vec<ClaimedJob>) {
        for job in jobs {
            let outcome = Outcome::GiveBack { delay: Duration::ZERO, why: GiveBack::Stop };
            let finish = Finish { lease: job.lease, outcome };
            self.next_key += 1;
            self.push(Ended { key: self.next_key, queue, finish: Some(finish), after: None });
        }
    }

    async fn report_all(&mut self) {
        let reporting = async {
            loop {
                self.report_now().await;
                if !self.has_unsent() {
                    return;
                }
                self.outage.failures += 1;
                sleep(RECONNECT.delay(self.outage.failures, rand::random())).await;
            }
        };
        if timeout(LAST_REPORT, reporting).await.is_err() {
            let left: usize = self.unreported.iter().map(|queue| queue.finishes.len()).sum();
            tracing::error!("the broker took no report of {left} ended jobs; they run again when their leases end");
        }
        // The hooks of the last jobs.
        let hooks = async { while self.jobs.join_next().await.is_some() {} };
        let _ = timeout(LAST_HOOKS, hooks).await; // guard_hook says so if one hangs
    }
}

impl Unreported {
    /// How many endings go with the next call.
    fn batch(&self) -> usize {
        let size = |finish: &Finish| match &finish.outcome {
            Outcome::End { result: Some(result), .. } => result.record.len(),
            _ => 0,
        };
        self.lost.map_or_else(|| batches(&self.finishes, size).next().map_or(0, <[Finish]>::len), |lost| lost.batch)
    }
}

impl Outage {
    /// Says once that the broker is away, and how long to wait before the next try.
    fn pause(&mut self, engine: &Engine, error: &BrokerError) -> Duration {
        self.failures = self.failures.saturating_add(1);
        if self.failures == 1 {
            tracing::error!(worker = engine.name(), "{}; running jobs go on, trying again", Chain(error));
        }
        RECONNECT.delay(self.failures, rand::random())
    }

    fn over(&mut self, engine: &Engine) {
        if self.failures > 0 {
            tracing::info!(worker = engine.name(), "the broker answers again, after {} tries", self.failures);
            self.failures = 0;
        }
    }
}
