//! The loop of one worker: report what has ended, claim what is due, wait.

mod stop;

pub(crate) use self::stop::LONGEST_END;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::RngExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::crew::{Crew, CutOff};
use super::engine::{Engine, Stop};
use super::execute::{After, Ended, JobHook, Taken, execute_guarded, guard_hook};
use super::log;
use super::meters::NotStored;
use super::running::Held;
use super::settings::Order;
use crate::broker::{
    BrokerError, Claim, Claimed, ClaimedJob, Extended, Finish, Finished, Lease, LeaseToken, MAX_BATCH, Outcome,
};
use crate::client::batches;
use crate::error::Chain;
use crate::retry::RetryPolicy;

/// The longest that one wait for work lasts: every loop looks around now and then.
pub(super) const WAIT: Duration = Duration::from_secs(5);

/// Pauses between calls to a broker that does not answer.
pub(super) const RECONNECT: RetryPolicy =
    RetryPolicy::exponential(Duration::from_millis(100)).max(Duration::from_secs(2)).jitter(0.5);

/// How often a worker in burst mode looks whether the others' queues are empty, too.
const BURST_LOOK: Duration = Duration::from_millis(50);

/// What runs in the loop's set.
pub(super) enum Event {
    Ended(Ended),
    /// An `after_job_end` hook has come to its end.
    Hooked,
}

/// The loop's own state: what runs, and what has ended but is not reported yet.
pub(super) struct Fetch {
    engine: Arc<Engine>,
    stop: Stop,
    jobs: Crew<Event>,
    /// Waits for threads whose job has ended: each holds its slot until it returns. A stop does not wait for them.
    threads: JoinSet<()>,
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
    /// Whether it did not answer, once at least; one that refuses is there.
    was_away: bool,
}

impl Fetch {
    pub(super) fn new(engine: Arc<Engine>, stop: Stop) -> Self {
        let unreported = engine.shares.iter().map(|_| Unreported::default()).collect();
        Self {
            engine,
            stop,
            jobs: Crew::new(),
            threads: JoinSet::new(),
            unreported,
            calls: 0,
            next_key: 0,
            outage: Outage::default(),
            deaf: Outage::default(),
            idle_rounds: 0,
        }
    }

    pub(super) async fn until_stopped(&mut self) {
        while !self.stop.graceful.is_cancelled() {
            self.collect();
            let (round, error) = self.round().await;
            if let Some(error) = error {
                self.outage.take_over(&mut self.deaf); // it is one outage
                let pause = self.outage.pause(&self.engine, &error);
                self.rest_at_most(pause).await;
                continue;
            }
            self.outage.over(&self.engine);
            if self.engine.burst.is_some() && self.is_drained(&round).await {
                self.engine.running.tally.is_drained.store(true, Ordering::Relaxed);
                return;
            }
            // Straight on only while that leads somewhere: what is due may not be ours to claim.
            let more = round.claimed > 0 && round.more_due && self.free(None) > 0;
            if !more && !self.has_unsent() {
                self.rest(round.claimed > 0).await;
            }
        }
    }

    /// Slots that neither a job, nor the thread of an ended one, nor an unreported ending, nor a lost call may hold: when the broker
    /// is away, endings fill the slots and nothing piles up. The endings that go with the call to
    /// `queue` count as gone: if it fails, it has started nothing.
    fn free(&self, queue: Option<usize>) -> usize {
        let held = |(index, unreported): (usize, &Unreported)| {
            let goes_along = if Some(index) == queue { unreported.batch() } else { 0 };
            unreported.finishes.len() - goes_along + unreported.lost.map_or(0, |lost| lost.max)
        };
        let held: usize = self.unreported.iter().enumerate().map(held).sum();
        self.engine.settings.max_jobs.saturating_sub(self.jobs.len() + self.threads.len() + held)
    }

    /// Whether endings did not fit into the last round's calls.
    fn has_unsent(&self) -> bool {
        self.unreported.iter().any(|queue| !queue.finishes.is_empty())
    }

    /// Whether a call is to be repeated.
    fn has_lost(&self) -> bool {
        self.unreported.iter().any(|queue| queue.lost.is_some())
    }

    /// Takes what has ended, without waiting.
    fn collect(&mut self) {
        while let Some(ended) = self.jobs.try_next() {
            self.take(ended);
        }
        while self.threads.try_join_next().is_some() {}
    }

    fn take(&mut self, event: Result<Event, CutOff>) {
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
                engine.meters.claim(queue, Some(claimed.jobs.len()));
                self.unreported[queue].lost = None;
                self.reported(queue, this.batch, &claimed.finished);
                if asked.elapsed() > engine.settings.lease / 2 {
                    claimed.jobs = self.still_ours(queue, claimed.jobs).await;
                }
                Ok(claimed)
            }
            Err(error) if error.is_transient() => {
                engine.meters.claim(queue, None);
                self.unreported[queue].lost = Some(this);
                Err(error)
            }
            Err(error) => {
                engine.meters.claim(queue, None);
                self.unreported[queue].lost = None;
                self.refused(queue, this.batch, &error);
                Err(error)
            }
        }
    }

    /// After an answer that was long under way: only jobs whose lease could be renewed may start.
    async fn still_ours(&self, queue: usize, jobs: Vec<ClaimedJob>) -> Vec<ClaimedJob> {
        let leases: Vec<Lease> = jobs.iter().map(|job| job.lease.clone()).collect();
        let name = &self.engine.context.0.queues[queue];
        let answers = self.engine.broker.extend(name, &leases, self.engine.settings.lease).await;
        let why = match &answers {
            Ok(_) => "the answer to its claim came too late".to_owned(),
            Err(error) => {
                format!("the answer to its claim came late, and the lease could not be renewed: {}", Chain(error))
            }
        };
        let is_renewed =
            |nth: usize| answers.as_ref().is_ok_and(|answers| answers.get(nth) == Some(&Extended::Renewed));
        let mut ours = Vec::with_capacity(jobs.len());
        for (nth, job) in jobs.into_iter().enumerate() {
            if is_renewed(nth) {
                ours.push(job);
                continue;
            }
            self.engine.running.tally.lease_lost.fetch_add(1, Ordering::Relaxed);
            self.engine.meters.lease_lost(queue);
            log::lost(&self.engine, &Held::new(queue, job), format_args!("lease lost: it was not started here, {why}"));
        }
        ours
    }

    /// A finish that the broker refuses for good must not hold up those behind it: results go
    /// first, then the finish itself, whose job is due again when its lease ends.
    fn refused(&mut self, index: usize, batch: usize, error: &BrokerError) {
        let queue = &mut self.unreported[index];
        let mut is_stripped = false;
        for finish in &mut queue.finishes[..batch] {
            if let Outcome::End { result, .. } = &mut finish.outcome {
                is_stripped |= result.take().is_some();
            }
        }
        let fate = if is_stripped { "results are left out" } else { "it runs again when its lease ends" };
        for held in queue.ends[..batch].iter().filter_map(|(key, _)| self.engine.running.get(*key)) {
            log::broken(&self.engine, &held, format_args!("its outcome was refused, {fate}: {}", Chain(error)));
        }
        if !is_stripped {
            queue.finishes.drain(..batch);
            self.engine.meters.not_stored(index, NotStored::Refused, batch);
            self.engine.running.remove(queue.ends.drain(..batch).map(|(key, _)| key));
        }
    }

    fn reported(&mut self, queue: usize, batch: usize, answers: &[Finished]) {
        let Unreported { finishes, ends, .. } = &mut self.unreported[queue];
        for ((key, after), answer) in ends[..batch].iter_mut().zip(answers) {
            if *answer == Finished::LeaseLost {
                self.engine.running.tally.lease_lost.fetch_add(1, Ordering::Relaxed);
                self.engine.meters.lease_lost(queue);
                self.engine.meters.not_stored(queue, NotStored::Late, 1);
                if let Some(held) = self.engine.running.get(*key) {
                    log::lost(&self.engine, &held, "lease lost: its outcome came too late and was not stored");
                }
                continue;
            }
            if let (Some(hook), Some((ctx, end))) = (self.engine.settings.after_job_end, after.take()) {
                self.jobs.spawn(Box::pin(async move {
                    guard_hook(&JobHook("after_job_end", ctx.clone()), || hook(ctx, end)).await;
                    Event::Hooked
                }));
            }
        }
        self.engine.running.remove(ends[..batch].iter().map(|(key, _)| *key));
        finishes.drain(..batch); // none is moved one by one: they are large
        ends.drain(..batch);
    }

    fn start(&mut self, queue: usize, jobs: Vec<ClaimedJob>) {
        let first_key = self.next_key;
        self.next_key += jobs.len() as u64;
        let held = jobs.into_iter().map(|job| Arc::new(Held::new(queue, job)));
        let held: Vec<_> = (first_key..).zip(held).collect();
        self.engine.running.add(held.iter().cloned());
        for (key, held) in held {
            let engine = Arc::clone(&self.engine);
            self.jobs.spawn(execute_guarded(Taken { engine, key, held, has_ended: false }));
        }
    }

    /// Waits until there is something to do: a stop, an ending, or work while slots are free.
    async fn rest(&mut self, was_busy: bool) {
        // A broker that says «work» and gives none, time after time, must not spin this loop.
        self.idle_rounds = if was_busy { 0 } else { self.idle_rounds + 1 };
        let free = self.free(None) > 0;
        // Who asks more seldom than twice a lease can't know that the broker was there meanwhile.
        let often = WAIT.min(self.engine.settings.lease * 9 / 20);
        let longest = if self.engine.burst.is_some() { BURST_LOOK } else { self.engine.look(often) };
        let began = Instant::now();
        tokio::select! {
            biased; // the stop first, then endings, which free slots, then new work
            () = self.stop.graceful.cancelled() => {} // cancel safe: stays cancelled
            Some(ended) = self.jobs.next() => { // cancel safe: takes only what it returns
                self.take(ended);
                self.idle_rounds = 0;
            }
            Some(_) = self.threads.join_next() => self.idle_rounds = 0, // cancel safe: takes only what it returns
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
                Some(ended) = self.jobs.next() => self.take(ended), // cancel safe: takes only what it returns
                Some(_) = self.threads.join_next() => {} // cancel safe: takes only what it returns
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
    /// What another one has told is not told again.
    fn take_over(&mut self, other: &mut Self) {
        let Self { failures, was_away } = std::mem::take(other);
        self.failures = self.failures.saturating_add(failures);
        self.was_away |= was_away;
    }

    /// Keeps in mind how a call failed.
    fn note(&mut self, error: &BrokerError) {
        self.was_away |= matches!(error, BrokerError::Unavailable { .. });
    }

    /// Says once that the broker is away, and how long to wait before the next try.
    fn pause(&mut self, engine: &Engine, error: &BrokerError) -> Duration {
        self.note(error);
        self.failures = self.failures.saturating_add(1);
        if self.failures == 1 {
            tracing::error!(worker = engine.name(), "{}; running jobs go on, trying again", Chain(error));
        }
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
