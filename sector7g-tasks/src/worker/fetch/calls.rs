//! What a queue is asked: what goes with a call, and what comes of its answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::turns::Prospect;
use super::{Event, Fetch, Outage, SLOW};
use crate::broker::{BrokerError, Claim, Claimed, ClaimedJob, Extended, Finish, Finished, Lease, LeaseToken, Outcome};
use crate::client::batches;
use crate::error::Chain;
use crate::worker::engine::Engine;
use crate::worker::execute::{After, JobHook, guard_hook};
use crate::worker::log;
use crate::worker::meters::NotStored;
use crate::worker::running::Held;

/// One queue: its endings, and its call.
#[derive(Default)]
pub(super) struct Line {
    /// Those that are not under way, in their order.
    pub(super) finishes: Vec<Finish>,
    /// Of each ending, those under way first: its job's key, and what `after_job_end` is given.
    pub(super) ends: Vec<(u64, After)>,
    under_way: Option<Asked>,
    /// When its last call was sent.
    sent_at: Option<Instant>,
    /// A call whose answer was lost, to be repeated as it was before anything else is asked.
    pub(super) lost: Option<Asked>,
    /// Whether it may give jobs, as far as its last answer says.
    pub(super) may_have: bool,
    /// Its calls that have failed since one was answered.
    outage: Outage,
    /// When it is to be tried again.
    pub(super) paused_until: Option<Instant>,
}

/// A call: the broker may lease up to `max` jobs under its token; the first `batch` endings go with it.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    token: LeaseToken,
    max: usize,
    batch: usize,
}

/// What came of a call.
pub(super) struct Answer {
    queue: usize,
    asked: Asked,
    finished: Vec<Finish>,
    claimed: Result<Claimed, BrokerError>,
}

impl Line {
    pub(super) fn new() -> Self {
        Self { may_have: true, ..Self::default() }
    }

    /// Whether it can be asked now.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.under_way.is_none() && self.paused_until.is_none_or(|until| until <= now)
    }

    /// Whether it can be asked now, and has endings to tell.
    pub(super) fn has_word(&self, now: Instant) -> bool {
        self.is_open(now) && !self.finishes.is_empty()
    }

    /// Whether all endings have been taken by the broker, and all answers have come.
    pub(super) fn is_told(&self) -> bool {
        self.under_way.is_none() && self.lost.is_none() && self.finishes.is_empty()
    }

    /// Until when its answer is waited for before other queues are looked after: nothing, where none is under way, or
    /// it failed before.
    pub(super) fn patience(&self) -> Option<Instant> {
        let asked = self.under_way.and(self.sent_at).filter(|_| self.outage.failures == 0);
        asked.map(|sent_at| sent_at + SLOW)
    }

    pub(super) fn prospect(&self, now: Instant) -> Prospect {
        if !self.may_have {
            Prospect::None
        } else if self.is_open(now) {
            Prospect::Open
        } else if self.patience().is_some_and(|until| now < until) {
            Prospect::UnderWay
        } else {
            Prospect::None
        }
    }

    /// How many slots are kept for it, beside those of its jobs that run.
    pub(super) fn held(&self, now: Instant) -> usize {
        let goes = if self.is_open(now) && self.lost.is_none() { self.batch() } else { 0 };
        let asked = self.under_way.or(self.lost);
        self.finishes.len() - goes + asked.map_or(0, |asked| asked.max)
    }

    pub(super) fn push(&mut self, finish: Finish, key: u64, after: After) {
        self.finishes.push(finish);
        self.ends.push((key, after));
    }

    /// How many endings fit into a call.
    fn batch(&self) -> usize {
        let size = |finish: &Finish| match &finish.outcome {
            Outcome::End { result: Some(result), .. } => result.record.len(),
            _ => 0,
        };
        batches(&self.finishes, size).next().map_or(0, <[Finish]>::len)
    }

    /// Takes the endings that go with a call.
    fn take(&mut self, batch: usize) -> Vec<Finish> {
        if batch == self.finishes.len() {
            return std::mem::take(&mut self.finishes); // none is moved one by one: they are large
        }
        self.finishes.drain(..batch).collect()
    }

    /// Endings that the broker has not taken go before those that came since.
    fn put_back(&mut self, mut finished: Vec<Finish>) {
        finished.append(&mut self.finishes);
        self.finishes = finished;
    }
}

impl Fetch {
    /// Sends one finish-and-claim, or repeats the one whose answer was lost.
    pub(super) fn send(&mut self, queue: usize, max: usize) {
        let line = &mut self.lines[queue];
        self.sent += 1;
        line.sent_at = Some(Instant::now());
        let asked = line.lost.take().unwrap_or_else(|| {
            let token = LeaseToken { worker: self.engine.instance, call: self.sent };
            Asked { token, max, batch: line.batch() }
        });
        let finished = line.take(asked.batch);
        (line.under_way, line.paused_until) = (Some(asked), None);
        let engine = Arc::clone(&self.engine);
        self.calls.push(Box::pin(async move {
            let claimed = claim(&engine, queue, asked, &finished).await;
            Answer { queue, asked, finished, claimed }
        }));
    }

    /// Takes what a call brought. Endings stay unreported until the broker has answered.
    pub(super) fn answered(&mut self, Answer { queue, asked, finished, claimed }: Answer) {
        let line = &mut self.lines[queue];
        line.under_way = None;
        match claimed {
            Ok(claimed) => {
                self.engine.running.tally.mark_alive(claimed.now);
                self.engine.meters.claim(queue, Some(claimed.jobs.len()));
                line.outage = Outage::default();
                if asked.max > 0 {
                    // Straight on only while that leads somewhere: what is due may not be ours to claim.
                    line.may_have = claimed.more_due && !claimed.jobs.is_empty();
                }
                self.reported(queue, finished.len(), &claimed.finished);
                if !claimed.jobs.is_empty() {
                    self.idle_rounds = 0;
                    self.hold(queue, claimed.jobs);
                }
                if self.lines.iter().all(|line| line.outage.failures == 0) {
                    self.outage.over(&self.engine);
                }
            }
            Err(error) => {
                self.engine.meters.claim(queue, None);
                line.put_back(finished);
                line.outage.failures = line.outage.failures.saturating_add(1);
                line.paused_until = Some(Instant::now() + line.outage.pause());
                if error.is_transient() {
                    line.lost = Some(asked);
                } else {
                    self.refused(queue, asked.batch, &error);
                }
                self.outage.take_over(&mut self.deaf); // it is one outage
                self.outage.note(&self.engine, &error);
            }
        }
    }

    /// A finish that the broker refuses for good must not hold up those behind it: results go
    /// first, then the finish itself, whose job is due again when its lease ends.
    fn refused(&mut self, index: usize, batch: usize, error: &BrokerError) {
        let line = &mut self.lines[index];
        let mut is_stripped = false;
        for finish in &mut line.finishes[..batch] {
            if let Outcome::End { result, .. } = &mut finish.outcome {
                is_stripped |= result.take().is_some();
            }
        }
        let fate = if is_stripped { "results are left out" } else { "it runs again when its lease ends" };
        for held in line.ends[..batch].iter().filter_map(|(key, _)| self.engine.running.get(*key)) {
            log::broken(&self.engine, &held, format_args!("its outcome was refused, {fate}: {}", Chain(error)));
        }
        if !is_stripped {
            line.finishes.drain(..batch);
            self.engine.meters.not_stored(index, NotStored::Refused, batch);
            self.engine.running.remove(line.ends.drain(..batch).map(|(key, _)| key));
        }
    }

    fn reported(&mut self, queue: usize, batch: usize, answers: &[Finished]) {
        let ends = &mut self.lines[queue].ends;
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
        ends.drain(..batch);
    }
}

async fn claim(engine: &Engine, queue: usize, asked: Asked, finished: &[Finish]) -> Result<Claimed, BrokerError> {
    let name = &engine.context.0.queues[queue];
    let lease = engine.settings.lease;
    let request = Claim { queue: name, finished, max: asked.max, lease, token: asked.token };
    let asked_at = Instant::now();
    let mut claimed = engine.broker.claim(&request).await?;
    if asked_at.elapsed() > lease / 2 {
        claimed.jobs = still_ours(engine, queue, claimed.jobs).await;
    }
    Ok(claimed)
}

/// After an answer that was long under way: only jobs whose lease could be renewed may start.
async fn still_ours(engine: &Engine, queue: usize, jobs: Vec<ClaimedJob>) -> Vec<ClaimedJob> {
    let leases: Vec<Lease> = jobs.iter().map(|job| job.lease.clone()).collect();
    let answers = engine.broker.extend(&engine.context.0.queues[queue], &leases, engine.settings.lease).await;
    let why = match &answers {
        Ok(_) => "the answer to its claim came too late".to_owned(),
        Err(error) => {
            format!("the answer to its claim came late, and the lease could not be renewed: {}", Chain(error))
        }
    };
    let is_renewed = |nth: usize| answers.as_ref().is_ok_and(|answers| answers.get(nth) == Some(&Extended::Renewed));
    let mut ours = Vec::with_capacity(jobs.len());
    for (nth, job) in jobs.into_iter().enumerate() {
        if is_renewed(nth) {
            ours.push(job);
            continue;
        }
        engine.running.tally.lease_lost.fetch_add(1, Ordering::Relaxed);
        engine.meters.lease_lost(queue);
        log::lost(engine, &Held::new(queue, job), format_args!("lease lost: it was not started here, {why}"));
    }
    ours
}
