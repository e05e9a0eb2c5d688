//! The loop of one worker: report what has ended, claim what is due, wait.

mod calls;
mod stop;
mod turns;
mod under_way;

pub(crate) use self::stop::LONGEST_END;
pub(crate) use self::turns::Group;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep, sleep_until};

use self::calls::{Answer, Line};
use self::turns::{Prospect, Turns};
use self::under_way::UnderWay;
use super::crew::{Crew, CutOff, Work};
use super::engine::{Engine, Stop};
use super::execute::{Ended, Taken, execute_guarded};
use super::running::Held;
use crate::broker::{BrokerError, ClaimedJob, MAX_BATCH, QueueName};
use crate::error::Chain;
use crate::retry::RetryPolicy;

/// The longest that one wait for work lasts: every loop looks around now and then.
pub(super) const WAIT: Duration = Duration::from_secs(5);

/// Pauses between calls to a broker that does not answer.
pub(super) const RECONNECT: RetryPolicy =
    RetryPolicy::exponential(Duration::from_millis(100)).max(Duration::from_secs(2)).jitter(0.5);

/// How often a worker in burst mode looks whether the others' queues are empty, too.
const BURST_LOOK: Duration = Duration::from_millis(50);

/// How long a call is under way before its worker looks after its other queues meanwhile.
const SLOW: Duration = Duration::from_millis(50);

/// How many endings, of a third of all slots, must wait for a second call of a queue: each costs the broker as much as
/// four of them do. With fewer, ten slots are faster still, but of whole fault runs with two, in which workers are hit time
/// after time, some had jobs run out of attempts; why is not known.
const FEW: usize = 5;
const MANY: usize = 64;

/// What runs beside the loop.
enum Chore {
    Job(Taken),
    /// An `after_job_end` hook.
    Hook(BoxFuture<'static, ()>),
}

impl Work for Chore {
    type Output = Event;

    async fn run(self) -> Event {
        match self {
            Self::Job(taken) => Event::Ended(execute_guarded(taken).await),
            Self::Hook(hook) => {
                hook.await;
                Event::Hooked
            }
        }
    }
}

/// What came of it.
enum Event {
    Ended(Ended),
    /// An `after_job_end` hook has come to its end.
    Hooked,
}

/// The loop's own state: what runs, what is being asked, and what has ended but is not reported yet.
///
/// Each queue has a call under way, a second one where there is much to tell meanwhile, and a third that waits where nothing is due. They
/// belong to the loop, not to one of its waits: none is dropped before it is answered, unless the loop is, or a stop asks what the
/// third has leased.
pub(super) struct Fetch {
    engine: Arc<Engine>,
    stop: Stop,
    jobs: Crew<Chore>,
    /// Waits for threads whose job has ended: each holds its slot until it returns. A stop does not wait for them.
    threads: JoinSet<()>,
    lines: Vec<Line>,
    turns: Turns,
    calls: UnderWay<Answer>,
    /// Held, and not started yet, by their keys.
    ready: Vec<(u64, Arc<Held>)>,
    /// How many endings are worth a second call of their queue.
    enough: usize,
    sent: u64,
    next_key: u64,
    outage: Outage,
    /// Of `wait` alone, which may fail where claims succeed.
    deaf: Outage,
    /// Until when there is no waiting, as it failed.
    deaf_until: Option<Instant>,
    /// How often it has waited since there was last something to do.
    idle_rounds: u32,
}

#[derive(Default)]
struct Outage {
    failures: u32,
    /// Whether it did not answer, once at least; one that refuses is there.
    was_away: bool,
}

impl Fetch {
    pub(super) fn new(engine: Arc<Engine>, stop: Stop) -> Self {
        Self {
            stop,
            jobs: Crew::new(),
            threads: JoinSet::new(),
            lines: engine.context.0.queues.iter().map(|_| Line::new()).collect(),
            turns: Turns::new(engine.settings.order, engine.groups.clone()),
            calls: UnderWay::new(),
            ready: Vec::new(),
            enough: (engine.settings.max_jobs / 3).clamp(FEW, MANY),
            sent: 0,
            next_key: 0,
            outage: Outage::default(),
            deaf: Outage::default(),
            deaf_until: None,
            idle_rounds: 0,
            engine,
        }
    }

    pub(super) async fn until_stopped(&mut self) {
        while !self.stop.graceful.is_cancelled() {
            self.collect();
            if self.send_calls() && !self.ready.is_empty() {
                self.get_under_way().await;
            }
            self.start_ready();
            if self.engine.burst.is_some() && self.is_idle() && is_drained(&self.engine).await {
                self.engine.running.tally.is_drained.store(true, Ordering::Relaxed);
                return;
            }
            self.rest().await;
        }
    }

    /// Slots that neither a job, nor the thread of an ended one, nor an unreported ending, nor a call may hold: when the broker
    /// is away, endings fill the slots and nothing piles up. Endings that can be sent now, or are on their way, count as gone:
    /// if their call fails, it has started nothing.
    fn free(&self, now: Instant) -> usize {
        let held: usize = self.lines.iter().map(|line| line.held(now, self.enough)).sum();
        self.engine.settings.max_jobs.saturating_sub(self.jobs.len() + self.threads.len() + self.ready.len() + held)
    }

    /// Takes what has ended, without waiting.
    fn collect(&mut self) {
        while let Some(ended) = self.jobs.try_next() {
            self.take(ended);
        }
        while self.threads.try_join_next().is_some() {
            self.look_around();
        }
    }

    fn take(&mut self, event: Result<Event, CutOff>) {
        self.look_around();
        match event {
            Ok(Event::Ended(ended)) => self.push(ended),
            Ok(Event::Hooked) | Err(CutOff) => {} // what is cut off has said so, and freed its slot, when it was dropped
        }
    }

    fn push(&mut self, Ended { key, queue, finish, after, thread }: Ended) {
        if let Some(held) = thread {
            self.threads.spawn(async move { held.control.off_pool().await });
        }
        match finish {
            Some(finish) => self.lines[queue].push(finish, key, after),
            None => self.engine.running.remove([key]),
        }
    }

    /// Any queue may give jobs: time has passed since it was asked, or a slot has come free that there was not then.
    fn look_around(&mut self) {
        self.idle_rounds = 0;
        self.lines.iter_mut().for_each(|line| line.may_have = true);
    }

    /// Sends a call for each queue that has endings to report, is to be asked for jobs, or has a lost one to repeat;
    /// says whether there were any.
    fn send_calls(&mut self) -> bool {
        let now = Instant::now();
        let before = self.calls.len();
        self.repeat_lost(now);
        let prospects: Vec<Prospect> = self.lines.iter().map(|line| line.prospect(now, self.enough)).collect();
        // A call to a server that does not answer keeps the slots that it was to fill: the others must have some.
        let is_spread = self.engine.broker.is_spread();
        let most = if is_spread { self.engine.settings.max_jobs.div_ceil(self.lines.len()) } else { MAX_BATCH };
        let shares = self.turns.divide(self.free(now), most.min(MAX_BATCH), &prospects, &mut rand::rng());
        for (queue, share) in shares.into_iter().enumerate() {
            let share = if is_spread { share.min(most.saturating_sub(self.lines[queue].asked())) } else { share };
            if share > 0 || self.lines[queue].has_word(now, self.enough) {
                self.send(queue, share);
            }
        }
        self.calls.len() > before
    }

    /// Sees to it that calls leave for the broker before this thread has other things to do.
    async fn get_under_way(&mut self) {
        while let Some(Some(answer)) = self.calls.next().now_or_never() {
            self.answered(answer);
        }
        yield_now().await; // the connection is another task's
    }

    /// Takes what a claim brought: from here on heartbeats renew its leases, whatever keeps this loop from its start.
    fn hold(&mut self, queue: usize, jobs: Vec<ClaimedJob>) {
        let first_key = self.next_key;
        self.next_key += jobs.len() as u64;
        let held = jobs.into_iter().map(|job| Arc::new(Held::new(queue, job)));
        let first = self.ready.len();
        self.ready.extend((first_key..).zip(held));
        self.engine.running.add(self.ready[first..].iter().cloned());
    }

    fn start_ready(&mut self) {
        for (key, held) in std::mem::take(&mut self.ready) {
            let engine = Arc::clone(&self.engine);
            self.jobs.start(Chore::Job(Taken { engine, key, held, has_ended: false }));
        }
    }

    /// Whether nothing runs, is asked, or is left to be told.
    fn is_idle(&self) -> bool {
        let is_full = self.free(Instant::now()) == 0; // of threads that have outlived their jobs
        let is_quiet = |line: &Line| line.is_told() && (is_full || !line.may_have);
        self.calls.is_empty() && self.jobs.is_empty() && self.lines.iter().all(is_quiet)
    }

    /// Waits until there is something to do: a stop, an answer, an ending, or work while slots are free.
    async fn rest(&mut self) {
        let now = Instant::now();
        if self.lines.iter().any(|line| line.lost_lane(now).is_some()) {
            return; // its pause was over when an answer was taken in passing
        }
        let waiting = self.wait_at(now);
        self.idle_rounds += u32::from(!waiting.is_empty());
        if !waiting.is_empty() && self.idle_rounds > 3 {
            sleep(Duration::from_millis(5)).await;
        }
        // While all queues are being asked, as often as they can be, there is nobody to tell of an ending.
        let is_open = self.lines.iter().any(|line| line.may_open(now));
        // Who asks more seldom than twice a lease can't know that the broker was there meanwhile.
        let often = WAIT.min(self.engine.settings.lease * 9 / 20);
        let longest = if self.engine.burst.is_some() { BURST_LOOK } else { self.engine.look(often) };
        if self.is_alone() && !waiting.is_empty() {
            // Of more, the next call brings the others: this one lies at the broker while its worker is idle, and would lease to one
            // that is frozen or cut off meanwhile.
            self.send_waiting(0, self.free(now).min(FEW), longest);
            return;
        }
        let look_at = self.next_look(now);
        let engine = Arc::clone(&self.engine);
        tokio::select! {
            biased; // the stop first, then endings, which free slots, then answers, then new work
            () = self.stop.graceful.cancelled() => {} // cancel safe: stays cancelled
            Some(ended) = self.jobs.next(), if is_open => self.take(ended), // cancel safe: takes only what it returns
            Some(answer) = self.calls.next() => self.answered(answer), // cancel safe: takes only what it returns, the calls stay
            Some(_) = self.threads.join_next() => self.look_around(), // cancel safe: takes only what it returns
            () = sleep_until(look_at.unwrap_or(now)), if look_at.is_some() => self.look_again(), // cancel safe: only waits
            waited = engine.broker.wait(&waiting, engine.settings.poll_delay, longest), if !waiting.is_empty() => { // cancel safe: only waits
                let idle_rounds = self.idle_rounds;
                self.look_around();
                match waited {
                    Ok(()) => {
                        // A broker that says «work» and gives none, time after time, must not spin this loop.
                        self.idle_rounds = if now.elapsed() > Duration::from_millis(1) { 0 } else { idle_rounds };
                        engine.running.tally.mark_alive(engine.clock().now());
                        self.deaf.over(&engine);
                    }
                    Err(error) => {
                        self.deaf.note(&engine, &error);
                        self.deaf_until = Some(Instant::now() + self.deaf.pause());
                    }
                }
            }
        }
    }

    /// Whether what becomes due can be claimed as soon as it is: of one queue alone is known where that will be. A burst is to
    /// look elsewhere meanwhile.
    fn is_alone(&self) -> bool {
        self.lines.len() == 1 && self.engine.burst.is_none()
    }

    /// The queues to wait at: all, once none of them is being asked or away. Where they lie on different servers, one that does
    /// not answer does not make the others deaf.
    fn wait_at(&self, now: Instant) -> Vec<QueueName> {
        let is_apart = self.engine.broker.is_spread();
        let is_open = |line: &Line| line.is_open(now, usize::MAX);
        let may_wait = if is_apart {
            self.lines.iter().filter_map(Line::patience).all(|until| until <= now)
        } else {
            self.lines.iter().all(is_open)
        };
        let has_waiting = self.lines.iter().any(Line::has_waiting);
        if !may_wait || has_waiting || self.deaf_until.is_some() || self.free(now) == 0 {
            return Vec::new();
        }
        let queues = self.lines.iter().zip(&self.engine.context.0.queues);
        queues.filter(|(line, _)| is_open(line)).map(|(_, queue)| queue.clone()).collect()
    }

    /// When something is to be tried again, or a call is slow.
    fn next_look(&self, now: Instant) -> Option<Instant> {
        let has_others = self.lines.len() > 1;
        let slow = self.lines.iter().filter_map(Line::patience).filter(|until| has_others && *until > now);
        // Threads that outlive their jobs may have all slots: then nothing else wakes a burst.
        let is_stuck = self.engine.burst.is_some() && self.jobs.is_empty() && self.free(now) == 0;
        let tries = self.lines.iter().filter_map(|line| line.paused_until);
        tries.chain(self.deaf_until).chain(slow).chain(is_stuck.then(|| now + BURST_LOOK)).min()
    }

    /// The time of one of these has come.
    fn look_again(&mut self) {
        let now = Instant::now();
        let is_over = |until: &mut Option<Instant>| until.take_if(|until| *until <= now).is_some();
        let mut is_to_try = is_over(&mut self.deaf_until);
        for line in &mut self.lines {
            is_to_try |= is_over(&mut line.paused_until);
        }
        if is_to_try {
            self.lines.iter_mut().for_each(|line| line.may_have = true);
        }
    }
}

/// Whether a burst is over for a worker that has nothing to do: all the runner's queues are empty, deferred jobs included,
/// as in arq.
async fn is_drained(engine: &Engine) -> bool {
    for queue in engine.burst.iter().flat_map(|queues| queues.iter()) {
        match engine.broker.stats(queue).await {
            Ok(stats) if stats.live() == 0 => {}
            _ => return false,
        }
    }
    true
}

impl Outage {
    /// What another one has told is not told again.
    fn take_over(&mut self, other: &mut Self) {
        let Self { failures, was_away } = std::mem::take(other);
        self.failures = self.failures.saturating_add(failures);
        self.was_away |= was_away;
    }

    /// Keeps in mind how a call failed; says so once.
    fn note(&mut self, engine: &Engine, error: &BrokerError) {
        self.was_away |= matches!(error, BrokerError::Unavailable { .. });
        self.failures = self.failures.saturating_add(1);
        if self.failures == 1 {
            tracing::error!(worker = engine.name(), "{}; running jobs go on, trying again", Chain(error));
        }
    }

    /// How long to wait before the next try.
    fn pause(&self) -> Duration {
        RECONNECT.delay(self.failures, rand::random())
    }

    fn over(&mut self, engine: &Engine) {
        let Self { failures, was_away } = std::mem::take(self);
        if failures == 0 {
            return;
        }
        if was_away {
            engine.meters.reconnected();
            tracing::info!(worker = engine.name(), "the broker answers again, after {failures} tries");
        } else {
            tracing::info!(worker = engine.name(), "the broker refuses no more, after {failures} tries");
        }
    }
}
