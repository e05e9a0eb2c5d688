use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::RngExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::control::{Cancel, Control};
use super::execute::{Ended, Taken, execute, guard_hook};
use super::running::{Held, Running};
use super::settings::{Order, QueueShare, WorkerSettings};
use crate::broker::{AbortMark, Broker, BrokerError, Claim, Claimed, ClaimedJob, Finish, Finished, LeaseToken, MAX_BATCH, WorkerBeat};
use crate::clock::{Clock, Timestamp};
use crate::context::WorkerContext;
use crate::error::{Chain, TaskError};
use crate::middleware::Middleware;
use crate::retry::RetryPolicy;
use crate::task::TaskDef;

/// The longest that one wait for work lasts: every loop looks around now and then.
const WAIT: Duration = Duration::from_secs(5);

/// Pauses between calls to a broker that does not answer.
const RECONNECT: RetryPolicy = RetryPolicy::exponential(Duration::from_millis(100)).max(Duration::from_secs(5)).jitter(0.5);

/// How long a stopping worker goes on trying to report what has ended.
const LAST_REPORT: Duration = Duration::from_secs(5);

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
    pub(crate) burst: bool,
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
        self.start_up().await?;
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
        let started = hook(self.context.clone()).await;
        started.map_err(|error| WorkerError::Startup { worker: self.name().to_owned(), error })
    }

    async fn shut_down(&self) {
        if let Some(hook) = self.settings.on_shutdown {
            guard_hook("on_shutdown", hook(self.context.clone())).await;
        }
        if let Err(error) = self.broker.beat(&self.instance_name(), None, Duration::ZERO).await {
            tracing::debug!(worker = self.name(), "the last beat was not removed, it runs out by itself: {}", Chain(&error));
        }
    }

    /// What goes on beside the loop: the watch for aborts, the beat and the schedules.
    fn beside(self: &Arc<Self>, stop: &Stop) -> JoinSet<()> {
        let mut beside = JoinSet::new();
        beside.spawn(Arc::clone(self).watch_aborts());
        let beating = Arc::clone(self);
        beside.spawn(async move { beating.beats().await });
        #[cfg(feature = "cron")]
        {
            let (ticking, stop) = (Arc::clone(self), stop.graceful.clone());
            beside.spawn(async move { stop.run_until_cancelled(ticking.schedules()).await.unwrap_or_default() });
        }
        let _ = stop; // without schedules nothing here stops before the last job has ended
        beside
    }

    async fn watch_aborts(self: Arc<Self>) {
        let mut mark = AbortMark::default();
        let mut failures = 0;
        loop {
            match self.broker.aborts(&self.context.0.queues, mark, WAIT).await {
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

    async fn beats(&self) {
        let interval = self.settings.health_check_interval;
        let started_at = self.clock().now();
        loop {
            let beat = self.beat(started_at);
            // Two beats and a second: one may come late without the worker looking dead.
            let ttl = interval * 2 + Duration::from_secs(1);
            if let Err(error) = self.broker.beat(&self.instance_name(), Some(&beat), ttl).await {
                tracing::debug!(worker = self.name(), "the beat was not stored: {}", Chain(&error));
            }
            sleep(interval).await;
        }
    }

    fn instance_name(&self) -> String {
        format!("{}-{:016x}", self.name(), self.instance)
    }

    fn beat(&self, started_at: Timestamp) -> WorkerBeat {
        let tally = &self.running.tally;
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        WorkerBeat {
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

fn host() -> String {
    let kernel = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    std::env::var("HOSTNAME").ok().or_else(kernel).map_or_else(|| "localhost".to_owned(), |name| name.trim().to_owned())
}

/// What runs in the loop's set.
enum Event {
    Ended(Box<Ended>),
    /// An `after_job_end` hook has come to its end.
    Hooked,
}

/// The loop's own state: what runs, and what has ended but is not reported yet.
struct Fetch {
    engine: Arc<Engine>,
    stop: Stop,
    jobs: JoinSet<Event>,
    /// Which job a spawned task is, should it ever end without saying so.
    keys: HashMap<tokio::task::Id, u64>,
    unreported: Vec<Unreported>,
    calls: u64,
    next_key: u64,
    outage: Outage,
    idle_rounds: u32,
}

/// One queue's endings, and the token of a call whose answer was lost.
#[derive(Default)]
struct Unreported {
    finishes: Vec<Finish>,
    ends: Vec<Box<Ended>>,
    repeat: Option<LeaseToken>,
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
            keys: HashMap::new(),
            unreported,
            calls: 0,
            next_key: 0,
            outage: Outage::default(),
            idle_rounds: 0,
        }
    }

    async fn until_stopped(&mut self) {
        while !self.stop.graceful.is_cancelled() {
            self.collect();
            let free = self.free();
            match self.round(free).await {
                Ok(round) => {
                    self.outage.over(&self.engine);
                    if self.engine.burst && self.is_drained(&round).await {
                        return;
                    }
                    if !(round.more_due && self.free() > 0) {
                        self.rest(round.claimed > 0).await;
                    }
                }
                Err(error) => {
                    let pause = self.outage.pause(&self.engine, &error);
                    self.rest_at_most(pause).await;
                }
            }
        }
    }

    /// Slots that neither a job nor an unreported ending holds: when the broker is away, endings
    /// fill the slots and nothing piles up.
    fn free(&self) -> usize {
        let unreported: usize = self.unreported.iter().map(|queue| queue.finishes.len()).sum();
        self.engine.settings.max_jobs.saturating_sub(self.jobs.len() + unreported)
    }

    /// Takes what has ended, without waiting.
    fn collect(&mut self) {
        while let Some(ended) = self.jobs.try_join_next_with_id() {
            self.take(ended);
        }
    }

    fn take(&mut self, ended: Result<(tokio::task::Id, Event), tokio::task::JoinError>) {
        match ended {
            Ok((id, Event::Ended(ended))) => {
                self.keys.remove(&id);
                self.push(ended);
            }
            Ok((id, Event::Hooked)) => {
                self.keys.remove(&id);
            }
            Err(error) => {
                // Users' code can't do this: it is caught inside. The lease runs out, the job is due again.
                tracing::error!("a job's execution ended abnormally: {error}");
                let key = self.keys.remove(&error.id());
                self.engine.running.remove(key);
            }
        }
    }

    fn push(&mut self, mut ended: Box<Ended>) {
        match ended.finish.take() {
            Some(finish) => {
                let queue = &mut self.unreported[ended.queue];
                queue.finishes.push(finish);
                queue.ends.push(ended);
            }
            None => self.engine.running.remove([ended.key]),
        }
    }

    /// One call for each queue that has endings to report or may give jobs, in the worker's order.
    async fn round(&mut self, free: usize) -> Result<Round, BrokerError> {
        let mut round = Round { claimed: 0, more_due: false };
        for queue in self.order() {
            let max = (free - round.claimed).min(MAX_BATCH);
            if max > 0 || !self.unreported[queue].finishes.is_empty() {
                let claimed = self.call(queue, max).await?;
                round.claimed += claimed.jobs.len();
                round.more_due |= claimed.more_due;
                self.start(queue, claimed.jobs);
            }
        }
        Ok(round)
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
            let total: u32 = left.iter().map(|queue| shares[*queue].weight).sum();
            let mut draw = rand::rng().random_range(0..total);
            let chosen = left.iter().position(|queue| {
                let weight = shares[*queue].weight;
                let hit = draw < weight;
                draw = draw.saturating_sub(weight);
                hit
            });
            order.push(left.remove(chosen.unwrap_or(0)));
        }
        order
    }

    /// One finish-and-claim. Endings stay unreported until the broker has answered.
    async fn call(&mut self, queue: usize, max: usize) -> Result<Claimed, BrokerError> {
        let token = self.unreported[queue].repeat.take().unwrap_or_else(|| {
            self.calls += 1;
            LeaseToken { worker: self.engine.instance, call: self.calls }
        });
        let batch = self.unreported[queue].finishes.len().min(MAX_BATCH);
        let request = Claim {
            queue: &self.engine.context.0.queues[queue],
            finished: &self.unreported[queue].finishes[..batch],
            max,
            lease: self.engine.settings.lease,
            token,
        };
        match self.engine.broker.claim(&request).await {
            Ok(claimed) => {
                self.engine.running.tally.mark_alive(claimed.now);
                self.reported(queue, batch, &claimed.finished);
                Ok(claimed)
            }
            Err(error) => {
                self.unreported[queue].repeat = error.is_transient().then_some(token);
                Err(error)
            }
        }
    }

    fn reported(&mut self, queue: usize, batch: usize, answers: &[Finished]) {
        let queue = &mut self.unreported[queue];
        let finishes: Vec<Finish> = queue.finishes.drain(..batch).collect();
        let ends: Vec<Box<Ended>> = queue.ends.drain(..batch).collect();
        self.engine.running.remove(ends.iter().map(|ended| ended.key));
        for ((ended, finish), answer) in ends.into_iter().zip(&finishes).zip(answers) {
            if *answer == Finished::LeaseLost {
                self.engine.running.tally.lease_lost.fetch_add(1, Ordering::Relaxed);
                tracing::warn!("the outcome of job {} came too late and was not stored: its lease was lost", finish.lease.id);
            }
            if let (Some(hook), Some((ctx, end))) = (self.engine.settings.after_job_end, ended.after) {
                self.jobs.spawn(async move {
                    guard_hook("after_job_end", hook(ctx, end)).await;
                    Event::Hooked
                });
            }
        }
    }

    fn start(&mut self, queue: usize, jobs: Vec<ClaimedJob>) {
        let first_key = self.next_key;
        self.next_key += jobs.len() as u64;
        let taken: Vec<Taken> = (first_key..)
            .zip(jobs)
            .map(|(key, job)| Taken { key, queue, job, control: Arc::new(Control::default()) })
            .collect();
        let held = |taken: &Taken| Held { queue, lease: taken.job.lease.clone(), control: Arc::clone(&taken.control) };
        self.engine.running.add(taken.iter().map(|taken| (taken.key, held(taken))));
        for taken in taken {
            let (key, engine) = (taken.key, Arc::clone(&self.engine));
            let task = self.jobs.spawn(async move { Event::Ended(Box::new(execute(engine, taken).await)) });
            self.keys.insert(task.id(), key);
        }
    }

    /// Waits until there is something to do: a stop, an ending, or work while slots are free.
    async fn rest(&mut self, was_busy: bool) {
        // A broker that says «work» and gives none, time after time, must not spin this loop.
        self.idle_rounds = if was_busy { 0 } else { self.idle_rounds + 1 };
        let free = self.free() > 0;
        let began = Instant::now();
        tokio::select! {
            biased; // the stop first, then endings, which free slots, then new work
            () = self.stop.graceful.cancelled() => {} // cancel safe: stays cancelled
            Some(ended) = self.jobs.join_next_with_id() => { // cancel safe: takes only what it returns
                self.take(ended);
                self.idle_rounds = 0;
            }
            waited = self.engine.broker.wait(&self.engine.context.0.queues, self.engine.settings.poll_delay, WAIT), if free => { // cancel safe: only waits
                match waited {
                    Ok(()) => self.engine.running.tally.mark_alive(self.engine.clock().now()),
                    Err(error) => {
                        let pause = self.outage.pause(&self.engine, &error);
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
                Some(ended) = self.jobs.join_next_with_id() => self.take(ended), // cancel safe: takes only what it returns
            }
        }
    }

    /// Whether a burst is over: nothing runs here and the queues are empty, deferred jobs included, as in arq.
    async fn is_drained(&self, round: &Round) -> bool {
        if round.claimed > 0 || !self.jobs.is_empty() || self.unreported.iter().any(|queue| !queue.finishes.is_empty()) {
            return false;
        }
        for queue in &self.engine.context.0.queues {
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
                Some(ended) = self.jobs.join_next_with_id() => self.take(ended), // cancel safe: takes only what it returns
            }
            self.collect();
        }
        self.cut_short().await;
        self.report_all().await;
    }

    /// Cancels what is left; each comes back as given back, due at once, its attempt uncounted.
    async fn cut_short(&mut self) {
        self.engine.running.cancel_all(Cancel::Stop);
        let until = Instant::now() + LAST_POLL;
        while let Ok(Some(ended)) = tokio::time::timeout_at(until, self.jobs.join_next_with_id()).await {
            self.take(ended);
        }
        if !self.jobs.is_empty() {
            // Given back now, they would run twice at once; their leases run out when this process has ended.
            self.engine.running.for_each(|held| {
                let task = held.control.task.get().map_or("?", |def| def.name);
                tracing::error!("task `{task}` (job {}) ignores its cancellation: it blocks a thread of the runtime", held.lease.id);
            });
            self.jobs.abort_all();
        }
    }

    async fn report_now(&mut self) {
        for queue in 0..self.unreported.len() {
            while !self.unreported[queue].finishes.is_empty() {
                match self.call(queue, 0).await {
                    Ok(_) => self.outage.over(&self.engine),
                    Err(_) => return, // tried again at the next ending, and at the end
                }
            }
        }
    }

    async fn report_all(&mut self) {
        let reporting = async {
            loop {
                self.report_now().await;
                let left: usize = self.unreported.iter().map(|queue| queue.finishes.len()).sum();
                if left == 0 {
                    return;
                }
                let pause = RECONNECT.delay(self.outage.failures.max(1), rand::random());
                self.outage.failures += 1;
                sleep(pause).await;
            }
        };
        if timeout(LAST_REPORT, reporting).await.is_err() {
            let left: usize = self.unreported.iter().map(|queue| queue.finishes.len()).sum();
            tracing::error!("the broker took no report of {left} ended jobs; they run again when their leases end");
        }
        // The hooks of the last jobs.
        let hooks = async { while self.jobs.join_next().await.is_some() {} };
        let _ = timeout(LAST_REPORT, hooks).await; // guard_hook has said so if one hangs
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
