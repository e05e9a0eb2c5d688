use std::ops::{Index, IndexMut};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;

use super::ids::{Ids, Key};
use super::line::Place;
use super::slab::{Slab, Slot};
use crate::broker::{ClaimedJob, GiveBack, JobId, JobRecord, JobState, LEASE_LOST, Lease, LeaseToken, MAX_FAILURES};
use crate::clock::Timestamp;
use crate::job::{Failure, FailureKind};

/// A job that has not ended.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: JobId,
    /// Of its id: see [`Key`].
    pub(super) hash: u64,
    /// Its queue's slot.
    pub(super) queue: Slot,
    pub(super) payload: Bytes,
    /// Where its queue's line has it.
    pub(super) place: Place,
    /// When it was, is or will be due; unlike `place`, never a running lease's end.
    pub(super) due_at: Timestamp,
    /// Dropped once it has been started: a started job never expires.
    pub(super) expires_at: Option<Timestamp>,
    /// Set when a claim found it expired; it stays so.
    pub(super) expired: bool,
    /// The newest lease's token, also when that lease has run out.
    pub(super) token: Option<LeaseToken>,
    /// When that was.
    leased_at: Timestamp,
    pub(super) attempt: u32,
    pub(super) delivery: u32,
    /// Rung at its end; there once somebody has waited for its result.
    pub(super) ended: Option<Arc<Notify>>,
    rare: Option<Box<Rare>>,
}

/// What few jobs have: apart, since a backlog's jobs are as good as never in the processor's caches.
#[derive(Clone, Debug, Default)]
struct Rare {
    unknown_since: Option<Timestamp>,
    /// The mark of the abort request that stands.
    abort: Option<u64>,
    failures: Vec<Failure>,
    progress: Option<Bytes>,
}

impl Job {
    /// A waiting job that was never claimed.
    pub(super) fn new(key: Key<'_>, queue: Slot, payload: Bytes, place: Place, expires_at: Option<Timestamp>) -> Self {
        Self {
            id: key.id.clone(),
            hash: key.hash,
            queue,
            payload,
            place,
            due_at: place.due,
            expires_at,
            expired: false,
            token: None,
            leased_at: Timestamp::default(),
            attempt: 0,
            delivery: 0,
            ended: None,
            rare: None,
        }
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn unknown_since(&self) -> Option<Timestamp> {
        self.rare.as_ref()?.unknown_since
    }

    /// The mark of the abort request that stands.
    pub(super) fn abort(&self) -> Option<u64> {
        self.rare.as_ref()?.abort
    }

    /// Notes an abort request, and returns an earlier one's mark.
    pub(super) fn ask_to_abort(&mut self, mark: u64) -> Option<u64> {
        self.rare().abort.replace(mark)
    }

    pub(super) fn set_progress(&mut self, progress: Bytes) {
        self.rare().progress = Some(progress);
    }

    pub(super) fn take_failures(&mut self) -> Vec<Failure> {
        self.rare.as_mut().map(|rare| std::mem::take(&mut rare.failures)).unwrap_or_default()
    }

    fn is_known(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.unknown_since = None;
        }
    }

    /// Leases it, having counted what became of an earlier lease. The caller moves its place.
    pub(super) fn start(&mut self, token: LeaseToken, now: Timestamp) {
        if self.token.is_some() {
            self.lose_lease();
        }
        self.expired |= self.expires_at.is_some_and(|at| at <= now);
        (self.token, self.leased_at) = (Some(token), now);
        self.attempt = self.attempt.saturating_add(1);
        self.delivery = self.delivery.saturating_add(1);
    }

    fn lose_lease(&mut self) {
        let ended_at = self.place.due;
        self.add_failure(Failure::new(FailureKind::LeaseLost, LEASE_LOST, self.attempt, ended_at));
        self.due_at = ended_at;
        self.is_known(); // whoever lost it had started it
        self.expires_at = None;
    }

    /// Ends an attempt that counts; the failure may know of a higher count than ours.
    pub(super) fn fail(&mut self, failure: Failure) {
        self.attempt = self.attempt.max(failure.attempt);
        self.add_failure(failure);
        self.is_known();
        self.expires_at = None;
    }

    /// Ends an attempt that does not count.
    pub(super) fn give_back(&mut self, why: GiveBack, now: Timestamp) {
        self.attempt = self.attempt.saturating_sub(1);
        if why == GiveBack::UnknownTask {
            self.rare().unknown_since.get_or_insert(now);
        } else {
            self.is_known();
            self.expires_at = None;
        }
    }

    /// Whether it can't be started any more; one that is leased has been.
    fn has_expired(&self, now: Timestamp) -> bool {
        self.expired || self.token.is_none() && self.expires_at.is_some_and(|at| at <= now)
    }

    pub(super) fn add_failure(&mut self, failure: Failure) {
        let failures = &mut self.rare().failures;
        if failures.len() >= MAX_FAILURES {
            failures.remove(0);
        }
        failures.push(failure);
    }

    pub(super) fn claimed(&self, token: LeaseToken) -> ClaimedJob {
        ClaimedJob {
            lease: Lease { id: self.id.clone(), token },
            payload: (!self.expired).then(|| self.payload.clone()),
            attempt: self.attempt,
            delivery: self.delivery,
            due_at: self.due_at,
            abort_requested: self.abort().is_some(),
            unknown_since: self.unknown_since(),
        }
    }

    pub(super) fn record(&self, now: Timestamp) -> JobRecord {
        let is_due = self.place.due <= now;
        let (state, due_at) = match self.token {
            Some(_) if !is_due => (JobState::InProgress, self.due_at),
            _ if is_due => (JobState::Queued, self.place.due),
            _ => (JobState::Deferred, self.place.due),
        };
        let Rare { failures, progress, abort, .. } = self.rare.as_deref().cloned().unwrap_or_default();
        JobRecord {
            id: self.id.clone(),
            state,
            payload: (!self.has_expired(now)).then(|| self.payload.clone()),
            result: None,
            attempt: self.attempt,
            due_at,
            failures,
            progress,
            abort_requested: abort.is_some(),
            worker: (state == JobState::InProgress).then(|| self.token.map(|token| token.instance())).flatten(),
            running_since: (state == JobState::InProgress).then_some(self.leased_at),
        }
    }
}

/// The live jobs of all queues, by slot and by id.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    slab: Slab<Job>,
    by_id: Ids,
}

impl Jobs {
    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(super) fn insert(&mut self, job: Job) -> Slot {
        let hash = job.hash;
        let slot = self.slab.insert(job);
        self.by_id.insert(hash, slot);
        slot
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<Job> {
        let job = self.slab.remove(slot)?;
        self.by_id.remove(job.hash, slot);
        Some(job)
    }

    pub(super) fn contains(&self, key: Key<'_>) -> bool {
        self.slot_of(key).is_some()
    }

    fn slot_of(&self, key: Key<'_>) -> Option<Slot> {
        self.by_id.find(key, |slot| &self.slab[slot].id)
    }

    /// The slot of a job, if it is in `queue`.
    pub(super) fn find(&self, queue: Slot, key: Key<'_>) -> Option<Slot> {
        self.slot_of(key).filter(|slot| self.slab[*slot].queue == queue)
    }

    /// The slot of the job `key` if `token` is that of its newest lease.
    pub(super) fn held(&self, queue: Slot, key: Key<'_>, token: LeaseToken) -> Option<Slot> {
        self.find(queue, key).filter(|slot| self.slab[*slot].token == Some(token))
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Job> {
        self.slab.get(slot)
    }

    #[cfg(all(test, feature = "testing"))]
    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &Job)> {
        self.slab.iter()
    }
}

impl Index<Slot> for Jobs {
    type Output = Job;

    fn index(&self, slot: Slot) -> &Job {
        &self.slab[slot]
    }
}

impl IndexMut<Slot> for Jobs {
    fn index_mut(&mut self, slot: Slot) -> &mut Job {
        &mut self.slab[slot]
    }
}
