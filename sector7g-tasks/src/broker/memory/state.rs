use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use super::dead::DeadLetter;
use super::ids::Key;
use super::jobs::{Job, Jobs};
use super::line::{Place, Stand};
use super::queue::Queue;
use super::requests::{Requests, Settled};
use super::results::{Ending, Holds, Results};
use super::slab::{Slab, Slot};
use super::waits::{Bells, Waits};
use crate::broker::{
    BrokerError, Claim, Claimed, ClaimedJob, Due, Enqueued, Extended, Finish, Finished, GiveBack, JobId, KeptResult,
    Lease, LeaseToken, NewJob, OVERTAKEN, Outcome, QueueName, RequestId, ResultState, WorkerHealth,
};
use crate::clock::Timestamp;
use crate::hash::{Map, Seeded};
use crate::job::Failure;

/// How often a write also looks for what has become too old.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// How much one sweep frees at most, to keep the lock short.
const SWEEP_MOST: usize = 10_000;

/// How much each small write frees, so that what expires can't outrun what is added.
const SWEEP_LEAST: usize = 8;

/// Room for so many jobs is made at once in a claim; few workers have more slots.
const LIKELY_BATCH: usize = 32;

/// How much the broker keeps.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) jobs: usize,
    pub(super) results: usize,
    pub(super) dead_letters: usize,
    pub(super) dead_letter_age: Duration,
}

/// All jobs and what belongs to them; every method is one step, at the moment `now`.
#[derive(Debug)]
pub(super) struct State {
    /// Of the ids of jobs and of results.
    hasher: Seeded,
    pub(super) jobs: Jobs,
    pub(super) queues: Slab<Queue>,
    slots: Map<QueueName, Slot>,
    pub(super) results: Results,
    pub(super) holds: Holds,
    pub(super) requests: Requests,
    pub(super) health: HashMap<String, Entry>,
    pub(super) waits: Waits,
    /// Rung when an abort is asked for.
    pub(super) abort_bell: Arc<Notify>,
    /// The newest abort request's mark.
    pub(super) abort_mark: u64,
    /// Counts enqueueings.
    seq: u64,
    /// Counts ends.
    ends: u64,
    next_sweep: Timestamp,
    pub(super) limits: Limits,
}

/// What a worker said of itself last.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) health: WorkerHealth,
    pub(super) until: Timestamp,
}

/// Why nothing was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// The bound on live jobs is reached.
    Full { held: usize },
    /// The request came after its caller had settled it.
    Settled,
}

/// What is known of a result.
#[derive(Debug)]
pub(super) enum Lookup {
    /// This is the answer.
    Known(ResultState),
    /// The job lives; this ends when it does.
    Pending(OwnedNotified),
}

impl State {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            hasher: Seeded::default(),
            jobs: Jobs::default(),
            queues: Slab::default(),
            slots: Map::default(),
            results: Results::default(),
            holds: Holds::default(),
            requests: Requests::default(),
            health: HashMap::new(),
            waits: Waits::default(),
            abort_bell: Arc::default(),
            abort_mark: 0,
            seq: 0,
            ends: 0,
            next_sweep: Timestamp::default(),
            limits,
        }
    }

    pub(super) fn queue_slot(&self, name: &QueueName) -> Option<Slot> {
        self.slots.get(name).copied()
    }

    pub(super) fn queue_slot_or_new(&mut self, name: &QueueName) -> Slot {
        if let Some(slot) = self.queue_slot(name) {
            return slot;
        }
        let slot = self.queues.insert(Queue::new(name.clone()));
        self.slots.insert(name.clone(), slot);
        slot
    }

    pub(super) fn drop_if_idle(&mut self, slot: Slot) {
        if self.queues[slot].is_idle()
            && let Some(queue) = self.queues.remove(slot)
        {
            self.slots.remove(&queue.name);
        }
    }

    /// Frees what is too old: a little for each `written` thing, all of it now and then.
    fn sweep(&mut self, now: Timestamp, written: usize) {
        let most = SWEEP_LEAST + 2 * written;
        self.results.drop_expired(now, most);
        self.holds.drop_expired(now, most);
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now + SWEEP_EVERY;
        self.results.drop_expired(now, SWEEP_MOST);
        self.holds.drop_expired(now, SWEEP_MOST);
        self.requests.forget(now);
        self.health.retain(|_, entry| entry.until > now);
        let dead_until = now - self.limits.dead_letter_age;
        let slots: Vec<Slot> = self.slots.values().copied().collect();
        for slot in slots {
            self.queues[slot].forget(now, dead_until);
            self.drop_if_idle(slot);
        }
    }

    pub(super) fn enqueue(
        &mut self,
        jobs: &[NewJob],
        request: RequestId,
        now: Timestamp,
        bells: &mut Bells,
    ) -> Result<Vec<Enqueued>, Denied> {
        self.sweep(now, jobs.len());
        if let Some(answers) = self.requests.answer(request).map_err(|Settled| Denied::Settled)? {
            return Ok(answers.clone());
        }
        let held = self.jobs.len();
        let free = self.limits.jobs.saturating_sub(held);
        if jobs.len() > free && self.count_new(jobs, now) > free {
            return Err(Denied::Full { held });
        }
        let mut made_due = BTreeSet::new();
        let answers: Vec<_> = jobs.iter().map(|job| self.add(job, now, &mut made_due, bells)).collect();
        self.requests.note(request, &answers, now);
        for queue in made_due {
            self.announce(queue, now, bells);
        }
        Ok(answers)
    }

    fn count_new(&self, jobs: &[NewJob], now: Timestamp) -> usize {
        let new = jobs.iter().filter(|job| !self.is_taken(job, self.key(&job.id), now)).map(|job| &job.id);
        new.collect::<HashSet<_>>().len()
    }

    pub(super) fn key<'a>(&self, id: &'a JobId) -> Key<'a> {
        Key::new(&self.hasher, id)
    }

    fn is_taken(&self, job: &NewJob, key: Key<'_>, now: Timestamp) -> bool {
        self.jobs.contains(key) || !job.replace_finished && self.is_kept(key, now)
    }

    fn is_kept(&self, key: Key<'_>, now: Timestamp) -> bool {
        self.results.get(key, now).is_some() || self.holds.contains(key.id, now)
    }

    /// Adds a job if its id is free. A queue with waits on it is noted when the job is due already.
    fn add(&mut self, job: &NewJob, now: Timestamp, made_due: &mut BTreeSet<Slot>, bells: &mut Bells) -> Enqueued {
        let key = self.key(&job.id);
        if self.is_taken(job, key, now) {
            return Enqueued::Duplicate;
        }
        self.results.remove(key); // one to be replaced, or one that has expired and was not swept away yet
        if job.replace_finished {
            self.holds.remove(key.id);
        }
        let due = match job.due {
            Due::Now => now,
            Due::In(delay) => now + delay,
            Due::At(moment) => moment.max(now),
        };
        let queue = self.queue_slot_or_new(&job.queue);
        let expires_at = job.expires_in.map(|span| now + span);
        self.insert(queue, key, job.payload.clone(), (due, now), expires_at);
        let anybody_waits = !self.queues[queue].waiting.is_empty();
        if anybody_waits && due <= now {
            made_due.insert(queue);
        } else if anybody_waits {
            self.keep_time(queue, now, bells);
        }
        Enqueued::New
    }

    fn insert(
        &mut self,
        queue: Slot,
        key: Key<'_>,
        payload: Bytes,
        (due, now): (Timestamp, Timestamp),
        expires_at: Option<Timestamp>,
    ) {
        let place = Place { due, seq: self.seq };
        self.seq += 1;
        let stand = if due <= now { Stand::Due } else { Stand::Deferred };
        let slot = self.jobs.insert(Job::new(key, queue, payload, place, expires_at));
        self.queues[queue].line.insert(place, slot, stand);
    }

    pub(super) fn claim(
        &mut self,
        request: &Claim<'_>,
        now: Timestamp,
        bells: &mut Bells,
    ) -> Result<Claimed, BrokerError> {
        self.sweep(now, request.finished.len());
        let queue = self.queue_slot_or_new(request.queue);
        if self.queues[queue].is_overtaken(request.token) {
            return Err(BrokerError::Refused(OVERTAKEN.to_owned()));
        }
        let finished = request.finished.iter().map(|finish| self.finish(queue, finish, now, bells)).collect();
        let jobs = self.lease(queue, request, now);
        let more_due = self.queues[queue].has_due(now);
        if more_due {
            self.announce(queue, now, bells);
        } else {
            self.keep_time(queue, now, bells);
        }
        Ok(Claimed { jobs, finished, more_due, now })
    }

    fn lease(&mut self, queue: Slot, request: &Claim<'_>, now: Timestamp) -> Vec<ClaimedJob> {
        let token = request.token;
        let queue = &mut self.queues[queue];
        let until = now + request.lease;
        if let Some(slots) = queue.leased_by(token, request.lease, now) {
            return self.lease_again(&slots, token, until);
        }
        let is_off = queue.paused_since.is_some();
        let likely = request.max.min(queue.line.len()).min(LIKELY_BATCH);
        let (mut claimed, mut slots) = (Vec::with_capacity(likely), Vec::with_capacity(likely));
        while !is_off
            && claimed.len() < request.max
            && let Some(slot) = queue.line.pop_due(now)
        {
            let job = &mut self.jobs[slot];
            job.start(token, now);
            job.place.due = until;
            queue.line.insert(job.place, slot, Stand::Leased);
            slots.push(slot);
            claimed.push(job.claimed(token));
        }
        queue.note_call(token, slots, request.lease, now);
        claimed
    }

    /// Renews what an earlier call of the same token leased; its answer was lost.
    fn lease_again(&mut self, slots: &[Slot], token: LeaseToken, until: Timestamp) -> Vec<ClaimedJob> {
        let mut claimed = Vec::new();
        for slot in slots {
            if self.jobs.get(*slot).is_some_and(|job| job.token == Some(token)) {
                self.move_to(*slot, until);
                claimed.push(self.jobs[*slot].claimed(token));
            }
        }
        claimed
    }

    fn finish(&mut self, queue: Slot, finish: &Finish, now: Timestamp, bells: &mut Bells) -> Finished {
        let (key, token) = (self.key(&finish.lease.id), finish.lease.token);
        let Some(slot) = self.jobs.held(queue, key, token) else {
            let was_applied = self.queues[queue].was_applied(token, key.hash);
            return if was_applied { Finished::Applied } else { Finished::LeaseLost };
        };
        self.queues[queue].note_applied(token, key.hash, now);
        match &finish.outcome {
            Outcome::End { result, dead, hold_id } => {
                self.end(slot, result.as_ref(), dead.as_deref(), *hold_id, now, bells);
            }
            Outcome::Retry { delay, failure } => {
                self.jobs[slot].fail(Failure::clone(failure));
                self.put_back(slot, now + *delay, now);
            }
            Outcome::GiveBack { delay, why } => {
                let job = &mut self.jobs[slot];
                job.give_back(*why, now);
                let keeps_place = *why == GiveBack::Stop && delay.is_zero();
                let due = if keeps_place { job.due_at } else { now + *delay };
                self.put_back(slot, due, now);
            }
        }
        Finished::Applied
    }

    /// The slot of the job of which this is the newest lease.
    fn held(&self, queue: Slot, lease: &Lease) -> Option<Slot> {
        self.jobs.held(queue, self.key(&lease.id), lease.token)
    }

    fn end(
        &mut self,
        slot: Slot,
        result: Option<&KeptResult>,
        dead: Option<&Failure>,
        hold_id: Duration,
        now: Timestamp,
        bells: &mut Bells,
    ) {
        let Some(mut job) = self.jobs.remove(slot) else { return };
        let queue = &mut self.queues[job.queue];
        queue.line.remove(job.place);
        if let Some(mark) = job.abort() {
            queue.aborts.remove(&mark);
        }
        if let Some(bell) = job.ended.take() {
            bells.ring_all(bell);
        }
        self.ends += 1;
        if !hold_id.is_zero() {
            self.holds.insert(&job.id, now + hold_id);
        }
        if let Some(result) = result {
            let failures = if dead.is_none() { job.take_failures() } else { Vec::new() };
            let ending = Ending {
                queue: &queue.name,
                key: Key { id: &job.id, hash: job.hash },
                attempt: job.attempt,
                failures,
                due_at: job.due_at,
                end: self.ends,
            };
            self.results.insert(ending, result, now, self.limits.results);
        }
        if let Some(failure) = dead {
            job.add_failure(failure.clone());
            let died = Place { due: now, seq: self.ends };
            queue.dead.insert(died, DeadLetter::of(job), self.limits.dead_letters);
        }
    }

    /// Makes a leased job wait again; one that is to be aborted does not wait until then.
    fn put_back(&mut self, slot: Slot, due: Timestamp, now: Timestamp) {
        let job = &mut self.jobs[slot];
        job.token = None;
        let due = if job.abort().is_some() { now } else { due };
        self.move_to(slot, due);
    }

    pub(super) fn move_to(&mut self, slot: Slot, due: Timestamp) {
        let job = &mut self.jobs[slot];
        let line = &mut self.queues[job.queue].line;
        line.remove(job.place);
        job.place.due = due;
        if job.token.is_none() {
            job.due_at = due;
        }
        let stand = if job.token.is_some() { Stand::Leased } else { Stand::Deferred };
        line.insert(job.place, slot, stand);
    }

    pub(super) fn extend(
        &mut self,
        name: &QueueName,
        leases: &[Lease],
        lease: Duration,
        now: Timestamp,
        bells: &mut Bells,
    ) -> Vec<Extended> {
        let Some(queue) = self.queue_slot(name) else { return vec![Extended::Lost; leases.len()] };
        let extended = leases.iter().map(|held| match self.held(queue, held) {
            Some(slot) => {
                self.move_to(slot, now + lease);
                Extended::Renewed
            }
            None => Extended::Lost,
        });
        let extended = extended.collect();
        self.keep_time(queue, now, bells);
        extended
    }

    pub(super) fn set_progress(&mut self, name: &QueueName, lease: &Lease, progress: Bytes) -> bool {
        let held = self.queue_slot(name).and_then(|queue| self.held(queue, lease));
        if let Some(slot) = held {
            self.jobs[slot].set_progress(progress);
        }
        held.is_some()
    }

    /// The state of a result; with `wait`, something to wait for instead of `Pending`.
    pub(super) fn result(&mut self, name: &QueueName, id: &JobId, wait: bool, now: Timestamp) -> Lookup {
        let live = self.queue_slot(name).and_then(|queue| self.jobs.find(queue, self.key(id)));
        if let Some(slot) = live {
            if !wait {
                return Lookup::Known(ResultState::Pending);
            }
            let bell = self.jobs[slot].ended.get_or_insert_default();
            return Lookup::Pending(Arc::clone(bell).notified_owned());
        }
        Lookup::Known(match self.results.of(name, self.key(id), now) {
            Some(stored) => ResultState::Ready(stored.record.clone()),
            None => ResultState::NotFound,
        })
    }

    /// The queue's slot, its dead letters rid of those that are too old.
    pub(super) fn with_fresh_dead(&mut self, name: &QueueName, now: Timestamp) -> Option<Slot> {
        let slot = self.queue_slot(name)?;
        self.queues[slot].dead.drop_until(now - self.limits.dead_letter_age);
        Some(slot)
    }

    pub(super) fn retry_dead(
        &mut self,
        name: &QueueName,
        ids: &[JobId],
        now: Timestamp,
        bells: &mut Bells,
    ) -> Result<Vec<bool>, Denied> {
        let Some(queue) = self.with_fresh_dead(name, now) else { return Ok(vec![false; ids.len()]) };
        let held = self.jobs.len();
        if ids.len() > self.limits.jobs.saturating_sub(held) {
            return Err(Denied::Full { held });
        }
        let put_back = ids.iter().map(|id| self.revive(queue, id, now)).collect();
        self.announce(queue, now, bells);
        self.drop_if_idle(queue);
        Ok(put_back)
    }

    fn revive(&mut self, queue: Slot, id: &JobId, now: Timestamp) -> bool {
        let key = self.key(id);
        if self.jobs.contains(key) {
            return false;
        }
        let Some(payload) = self.queues[queue].dead.take_payload(id) else { return false };
        self.results.remove(key);
        self.holds.remove(id);
        self.insert(queue, key, payload, (now, now), None);
        true
    }

    pub(super) fn discard_dead(&mut self, name: &QueueName, ids: &[JobId], now: Timestamp) -> Vec<bool> {
        let Some(queue) = self.with_fresh_dead(name, now) else { return vec![false; ids.len()] };
        let dropped = ids.iter().map(|id| self.queues[queue].dead.remove(id).is_some()).collect();
        self.drop_if_idle(queue);
        dropped
    }

    pub(super) fn set_health(&mut self, worker: &str, health: Option<&WorkerHealth>, ttl: Duration, now: Timestamp) {
        self.sweep(now, 1);
        match health {
            Some(health) => {
                let entry = Entry { health: health.clone(), until: now + ttl };
                self.health.insert(worker.to_owned(), entry);
            }
            None => drop(self.health.remove(worker)),
        }
    }
}
