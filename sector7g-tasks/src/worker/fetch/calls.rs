//! What a queue is asked: what goes with a call, and what comes of its answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::turns::Prospect;
use super::{Chore, Fetch, Outage, SLOW};
use crate::broker::{BrokerError, Claim, Claimed, ClaimedJob, Extended, Finish, Finished, Lease, LeaseToken, Outcome};
use crate::client::batches;
use crate::error::Chain;
use crate::worker::engine::Engine;
use crate::worker::execute::{After, JobHook, guard_hook};
use crate::worker::log;
use crate::worker::meters::NotStored;
use crate::worker::running::Held;

/// How many calls of a queue may be under way: the broker works on one while the jobs of the other run, and a third waits for what
/// becomes due.
const LANES: usize = 3;

/// The lane of the one that waits.
const WAITING: usize = 2;

/// One queue: its endings, and its calls.
#[derive(Default)]
pub(super) struct Line {
    /// To be told, in their order.
    finishes: Vec<Finish>,
    /// Of each of them: its job's key, and what `after_job_end` is given.
    ends: Vec<(u64, After)>,
    lanes: [Lane; LANES],
    /// Whether it may give jobs, as far as its last answer says.
    pub(super) may_have: bool,
    /// Its calls that have failed since one was answered.
    outage: Outage,
    /// When it is to be tried again.
    pub(super) paused_until: Option<Instant>,
}

/// A call of a queue that may be under way beside another one. To the broker each lane is a worker of its own, so that
/// it is one call at a time.
#[derive(Default)]
struct Lane {
    /// What it has asked, until that is answered.
    asked: Option<Asked>,
    /// Whether the answer was lost: the call is to be repeated as it was before anything else is asked.
    is_lost: bool,
    /// The endings that go with it, which are with the call while it is under way.
    finishes: Vec<Finish>,
    ends: Vec<(u64, After)>,
}

/// A call: the broker may lease up to `max` jobs under its token.
#[derive(Clone, Copy)]
struct Asked {
    token: LeaseToken,
    max: usize,
    sent_at: Instant,
    /// How long it waits for something to be due; none but the first try of the call that waits does.
    waits: Option<Duration>,
}

/// What came of a call.
pub(super) struct Answer {
    queue: usize,
    /// Which of the queue's lanes it came by.
    nth: usize,
    /// Whether it was one that waited.
    has_waited: bool,
    finished: Vec<Finish>,
    claimed: Result<Claimed, BrokerError>,
}

impl Lane {
    /// Whether it is to be answered at once.
    fn is_under_way(&self) -> bool {
        self.asked.is_some_and(|asked| asked.waits.is_none()) && !self.is_lost
    }
}

impl Line {
    pub(super) fn new() -> Self {
        Self { may_have: true, ..Self::default() }
    }

    /// Whether it can be asked now: when nothing is under way, or one call, and enough has ended to be worth a second one.
    pub(super) fn is_open(&self, now: Instant, enough: usize) -> bool {
        let is_worth_it = !self.is_asked() || self.may_have_two() && self.finishes.len() >= enough;
        is_worth_it && self.has_lane(now)
    }

    /// Whether it can be asked now, or once enough has ended.
    pub(super) fn may_open(&self, now: Instant) -> bool {
        self.has_lane(now) && (!self.is_asked() || self.may_have_two())
    }

    /// Whether a second call may lead somewhere: while calls fail, one repeats another, nothing else is asked.
    fn may_have_two(&self) -> bool {
        self.may_have && self.outage.failures == 0
    }

    /// Whether a call can be sent.
    fn has_lane(&self, now: Instant) -> bool {
        self.paused_until.is_none_or(|until| until <= now) && !self.has_lost() && self.free_lane().is_some()
    }

    /// A lane by which a call can be sent that waits for nothing.
    fn free_lane(&self) -> Option<usize> {
        self.lanes[..WAITING].iter().position(|lane| lane.asked.is_none())
    }

    /// Whether a claim waits for what becomes due, or has.
    pub(super) fn has_waiting(&self) -> bool {
        self.lanes[WAITING].asked.is_some()
    }

    /// Whether a call is under way.
    fn is_asked(&self) -> bool {
        self.lanes.iter().any(Lane::is_under_way)
    }

    /// Whether an answer was lost, whose call is yet to be repeated.
    fn has_lost(&self) -> bool {
        self.lanes.iter().any(|lane| lane.is_lost)
    }

    /// A lost call to be repeated now.
    pub(super) fn lost_lane(&self, now: Instant) -> Option<usize> {
        let is_to_try = self.paused_until.is_none_or(|until| until <= now);
        self.lanes.iter().position(|lane| lane.is_lost).filter(|_| is_to_try)
    }

    /// When what has failed is to be tried again, if that waits for no answer.
    pub(super) fn next_try(&self) -> Option<Instant> {
        self.paused_until.filter(|_| self.has_lost() || !self.is_asked() && !self.finishes.is_empty())
    }

    /// How many jobs its calls under way, and lost ones, are to bring at most.
    pub(super) fn asked(&self) -> usize {
        self.lanes.iter().filter_map(|lane| lane.asked).map(|asked| asked.max).sum()
    }

    /// Whether it can be asked now, and has endings to tell.
    pub(super) fn has_word(&self, now: Instant, enough: usize) -> bool {
        self.is_open(now, enough) && !self.finishes.is_empty()
    }

    /// Whether all endings have been taken by the broker, and all answers have come.
    pub(super) fn is_told(&self) -> bool {
        self.lanes.iter().all(|lane| lane.asked.is_none()) && self.finishes.is_empty()
    }

    /// Until when its answers are waited for before other queues are looked after: nothing, where none is under way, or
    /// one failed before.
    pub(super) fn patience(&self) -> Option<Instant> {
        let under_way = self.lanes.iter().filter(|lane| lane.is_under_way()).filter_map(|lane| lane.asked);
        let first = under_way.map(|asked| asked.sent_at).min();
        first.filter(|_| self.outage.failures == 0).map(|sent_at| sent_at + SLOW)
    }

    pub(super) fn prospect(&self, now: Instant, enough: usize) -> Prospect {
        if !self.may_have {
            Prospect::None
        } else if self.is_open(now, enough) {
            Prospect::Open
        } else if self.patience().is_some_and(|until| now < until) {
            Prospect::UnderWay
        } else {
            Prospect::None
        }
    }

    /// How many slots are kept for it, beside those of its jobs that run.
    pub(super) fn held(&self, now: Instant, enough: usize) -> usize {
        let goes = if self.is_open(now, enough) { self.batch() } else { 0 };
        let lost: usize = self.lanes.iter().map(|lane| lane.finishes.len()).sum();
        self.finishes.len() - goes + self.asked() + lost
    }

    /// Of all jobs whose end is not taken, their keys.
    pub(super) fn untold(&self) -> impl Iterator<Item = u64> {
        self.lanes.iter().flat_map(|lane| &lane.ends).chain(&self.ends).map(|(key, _)| *key)
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
    fn take(&mut self, batch: usize) -> (Vec<Finish>, Vec<(u64, After)>) {
        if batch == self.finishes.len() {
            return (std::mem::take(&mut self.finishes), std::mem::take(&mut self.ends)); // none is moved one by one: they are large
        }
        (self.finishes.drain(..batch).collect(), self.ends.drain(..batch).collect())
    }

    /// Endings that the broker has not taken go before those that came since.
    fn put_back(&mut self, mut finished: Vec<Finish>, mut ends: Vec<(u64, After)>) {
        finished.append(&mut self.finishes);
        ends.append(&mut self.ends);
        (self.finishes, self.ends) = (finished, ends);
    }
}

impl Fetch {
    /// Repeats calls whose answers were lost.
    pub(super) fn repeat_lost(&mut self, now: Instant) {
        for queue in 0..self.lines.len() {
            while let Some(nth) = self.lines[queue].lost_lane(now) {
                self.call(queue, nth);
            }
        }
    }

    /// Sends one finish-and-claim of a queue that is open, for up to `max` jobs.
    pub(super) fn send(&mut self, queue: usize, max: usize) {
        let line = &mut self.lines[queue];
        let Some(nth) = line.free_lane() else { return };
        let (finishes, ends) = line.take(line.batch());
        let asked = self.asked(nth, max, None);
        self.lines[queue].lanes[nth] = Lane { asked: Some(asked), is_lost: false, finishes, ends };
        self.call(queue, nth);
    }

    /// Sends a claim for up to `max` jobs that waits until something is due, for so long at most.
    pub(super) fn send_waiting(&mut self, queue: usize, max: usize, limit: Duration) {
        let asked = self.asked(WAITING, max, Some(limit));
        self.lines[queue].lanes[WAITING] = Lane { asked: Some(asked), ..Lane::default() };
        self.call(queue, WAITING);
    }

    fn asked(&mut self, nth: usize, max: usize, waits: Option<Duration>) -> Asked {
        self.sent += 1;
        let token = LeaseToken { worker: self.engine.instance | nth as u64, call: self.sent };
        Asked { token, max, sent_at: Instant::now(), waits }
    }

    fn call(&mut self, queue: usize, nth: usize) {
        let line = &mut self.lines[queue];
        let here = &mut line.lanes[nth];
        let Some(asked) = &mut here.asked else { return };
        asked.sent_at = Instant::now();
        if self.stop.graceful.is_cancelled() {
            asked.max = 0; // what a lost call has leased is told all the same
        }
        let (asked, finished) = (*asked, std::mem::take(&mut here.finishes));
        here.is_lost = false;
        if asked.waits.is_none() {
            line.paused_until = None;
        }
        let (engine, stop) = (Arc::clone(&self.engine), self.stop.graceful.clone());
        self.calls.push(Box::pin(async move {
            let claimed = claim(&engine, queue, asked, &finished, &stop).await;
            Answer { queue, nth, has_waited: asked.waits.is_some(), finished, claimed }
        }));
    }

    /// Takes what a call brought. Endings stay unreported until the broker has answered.
    pub(super) fn answered(&mut self, Answer { queue, nth, has_waited, finished, claimed }: Answer) {
        if has_waited && self.has_waited(queue, claimed.as_ref().err()) {
            return;
        }
        let line = &mut self.lines[queue];
        match claimed {
            Ok(claimed) => {
                let Lane { asked, ends, .. } = std::mem::take(&mut line.lanes[nth]);
                self.engine.running.tally.mark_alive(claimed.now);
                self.engine.meters.claim(queue, Some(claimed.jobs.len()));
                if !line.has_lost() {
                    line.outage = Outage::default();
                }
                if asked.is_some_and(|asked| asked.max > 0) {
                    // Straight on only while that leads somewhere: what is due may not be ours to claim.
                    line.may_have = claimed.more_due && !claimed.jobs.is_empty();
                }
                self.reported(queue, ends, &claimed.finished);
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
                if !line.has_lost() {
                    line.outage.failures = line.outage.failures.saturating_add(1); // two that are lost together are one failure
                }
                // What a lost call has leased is to be told again before others may take it over.
                let pause = line.outage.pause().min(self.engine.settings.lease / 4);
                line.paused_until = Some(Instant::now() + pause);
                if error.is_transient() {
                    (line.lanes[nth].is_lost, line.lanes[nth].finishes) = (true, finished);
                } else {
                    let Lane { ends, .. } = std::mem::take(&mut line.lanes[nth]);
                    let batch = finished.len();
                    line.put_back(finished, ends);
                    self.refused(queue, batch, &error);
                }
                self.outage.take_over(&mut self.deaf); // it is one outage
                self.outage.note(&self.engine, &error);
            }
        }
    }

    /// Takes notice of how a claim has waited; says whether it is to be made again, without that.
    fn has_waited(&mut self, queue: usize, error: Option<&BrokerError>) -> bool {
        let lane = &mut self.lines[queue].lanes[WAITING];
        let Some(error) = error else {
            // A broker that says «work» and gives none, time after time, must not spin this loop.
            if lane.asked.is_some_and(|asked| asked.sent_at.elapsed() > Duration::from_millis(1)) {
                self.idle_rounds = 0;
            }
            self.deaf.over(&self.engine);
            return false;
        };
        // Whether it has been made is not known: made again, it tells.
        lane.is_lost = true;
        if let Some(asked) = &mut lane.asked {
            asked.waits = None;
        }
        self.deaf.note(&self.engine, error);
        self.deaf_until = Some(Instant::now() + self.deaf.pause());
        true
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

    fn reported(&mut self, queue: usize, mut ends: Vec<(u64, After)>, answers: &[Finished]) {
        for ((key, after), answer) in ends.iter_mut().zip(answers) {
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
                self.jobs.start(Chore::Hook(Box::pin(async move {
                    guard_hook(&JobHook("after_job_end", ctx.clone()), || hook(ctx, end)).await;
                })));
            }
        }
        self.engine.running.remove(ends.iter().map(|(key, _)| *key));
    }
}

async fn claim(
    engine: &Engine,
    queue: usize,
    Asked { token, max, waits, .. }: Asked,
    finished: &[Finish],
    stop: &CancellationToken,
) -> Result<Claimed, BrokerError> {
    let name = &engine.context.0.queues[queue];
    let lease = engine.settings.lease;
    let request = Claim { queue: name, finished, max, lease, token };
    let asked_at = Instant::now();
    let mut claimed = match waits {
        None => engine.broker.claim(&request).await?,
        Some(limit) => tokio::select! {
            biased; // what has been leased first
            claimed = engine.broker.claim_when_due(&request, engine.settings.poll_delay, limit) => claimed?, // dropped, it is made again
            () = stop.cancelled() => engine.broker.claim(&Claim { max: 0, ..request }).await?, // cancel safe: stays cancelled
        },
    };
    if !claimed.jobs.is_empty() && asked_at.elapsed() > lease / 2 {
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
