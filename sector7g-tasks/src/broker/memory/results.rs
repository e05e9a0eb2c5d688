use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::ids::{Ids, Key};
use super::ordered::Ordered;
use super::slab::{Slab, Slot};
use crate::broker::{JobId, JobRecord, JobState, KeptResult, QueueName};
use crate::clock::Timestamp;
use crate::hash::Map;
use crate::job::Failure;

/// An ended job's stored result, and what `Broker::job` says of it.
#[derive(Debug)]
pub(super) struct Stored {
    id: JobId,
    /// Of its id: see [`Key`].
    hash: u64,
    pub(super) queue: QueueName,
    pub(super) record: Bytes,
    pub(super) attempt: u32,
    failures: Vec<Failure>,
    pub(super) due_at: Timestamp,
    /// Which end this was, counted over all queues.
    pub(super) end: u64,
    /// `None` is for ever.
    expires_at: Option<Timestamp>,
}

impl Stored {
    pub(super) fn record(&self) -> JobRecord {
        JobRecord {
            id: self.id.clone(),
            state: JobState::Complete,
            payload: None,
            result: Some(self.record.clone()),
            attempt: self.attempt,
            due_at: self.due_at,
            failures: self.failures.clone(),
            progress: None,
            abort_requested: false,
            worker: None,
            running_since: None,
        }
    }

    fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// What a result is stored with.
#[derive(Debug)]
pub(super) struct Ending<'a> {
    pub(super) queue: &'a QueueName,
    pub(super) key: Key<'a>,
    pub(super) attempt: u32,
    /// None of a dead letter, which has its own.
    pub(super) failures: Vec<Failure>,
    pub(super) due_at: Timestamp,
    pub(super) end: u64,
}

/// Stored results by id, bounded by their times and by count.
#[derive(Debug, Default)]
pub(super) struct Results {
    stored: Slab<Stored>,
    by_id: Ids,
    /// In the order of the ends: what goes first when there are too many. Those that are gone
    /// already are passed over, and cleared away before they are as many as the rest.
    by_end: VecDeque<(u64, Slot)>,
    /// In the order of the expiries, the end breaking ties.
    by_expiry: Ordered<(Timestamp, u64), Slot>,
}

impl Results {
    /// Stores a result of which there is none yet, and drops the ones that ended first beyond `max`.
    pub(super) fn insert(&mut self, ending: Ending<'_>, result: &KeptResult, now: Timestamp, max: usize) {
        let Ending { queue, key, attempt, failures, due_at, end } = ending;
        if result.keep == Some(Duration::ZERO) {
            return;
        }
        let expires_at = result.keep.map(|keep| now + keep);
        let (id, hash) = (key.id.clone(), key.hash);
        let (queue, record) = (queue.clone(), result.record.clone());
        let slot = self.stored.insert(Stored { id, hash, queue, record, attempt, failures, due_at, end, expires_at });
        self.by_id.insert(hash, slot);
        self.by_end.push_back((end, slot));
        if let Some(at) = expires_at {
            self.by_expiry.insert((at, end), slot);
        }
        while self.stored.len() > max {
            self.drop_first_ended();
        }
    }

    fn drop_first_ended(&mut self) {
        while let Some((end, slot)) = self.by_end.pop_front() {
            if self.stored.get(slot).is_some_and(|stored| stored.end == end) {
                self.take_out(slot);
                return;
            }
        }
    }

    pub(super) fn remove(&mut self, key: Key<'_>) {
        if let Some(slot) = self.slot_of(key) {
            self.take_out(slot);
        }
    }

    fn slot_of(&self, key: Key<'_>) -> Option<Slot> {
        self.by_id.find(key, |slot| &self.stored[slot].id)
    }

    fn take_out(&mut self, slot: Slot) {
        let Some(stored) = self.stored.remove(slot) else { return };
        self.by_id.remove(stored.hash, slot);
        if let Some(at) = stored.expires_at {
            self.by_expiry.remove(&(at, stored.end));
        }
        if self.by_end.len() > 2 * self.stored.len() {
            let stored = &self.stored;
            self.by_end.retain(|(end, slot)| stored.get(*slot).is_some_and(|stored| stored.end == *end));
        }
    }

    pub(super) fn get(&self, key: Key<'_>, now: Timestamp) -> Option<&Stored> {
        self.slot_of(key).map(|slot| &self.stored[slot]).filter(|stored| !stored.has_expired(now))
    }

    /// The result of a job of `queue`.
    pub(super) fn of(&self, queue: &QueueName, key: Key<'_>, now: Timestamp) -> Option<&Stored> {
        self.get(key, now).filter(|stored| stored.queue == *queue)
    }

    /// Drops up to `most` whose time is over.
    pub(super) fn drop_expired(&mut self, now: Timestamp, most: usize) {
        for _ in 0..most {
            let Some((_, slot)) = self.by_expiry.pop_until(&(now, u64::MAX)) else { break };
            self.take_out(slot);
        }
    }

    #[cfg(all(test, feature = "testing"))]
    pub(super) fn lens(&self) -> (usize, usize, usize) {
        assert_eq!(self.by_id.len(), self.stored.len(), "every result is found by its id");
        (self.stored.len(), self.by_end.len(), self.by_expiry.len())
    }
}

/// Ids that stay taken for a while after their job's end.
#[derive(Debug, Default)]
pub(super) struct Holds {
    until: Map<JobId, Timestamp>,
    by_end: BTreeSet<(Timestamp, JobId)>,
}

impl Holds {
    /// Holds `id` until `until`, or longer if it is held for longer already.
    pub(super) fn insert(&mut self, id: &JobId, until: Timestamp) {
        if self.until.get(id).is_some_and(|held| *held >= until) {
            return;
        }
        self.remove(id);
        self.until.insert(id.clone(), until);
        self.by_end.insert((until, id.clone()));
    }

    pub(super) fn remove(&mut self, id: &JobId) {
        if let Some(until) = self.until.remove(id) {
            self.by_end.remove(&(until, id.clone()));
        }
    }

    pub(super) fn contains(&self, id: &JobId, now: Timestamp) -> bool {
        self.until.get(id).is_some_and(|until| *until > now)
    }

    /// Drops up to `most` whose time is over.
    pub(super) fn drop_expired(&mut self, now: Timestamp, most: usize) {
        for _ in 0..most {
            match self.by_end.first() {
                Some((until, _)) if *until <= now => {}
                _ => break,
            }
            if let Some((_, id)) = self.by_end.pop_first() {
                self.until.remove(&id);
            }
        }
    }

    #[cfg(all(test, feature = "testing"))]
    pub(super) fn lens(&self) -> (usize, usize) {
        (self.until.len(), self.by_end.len())
    }
}
