use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use super::jobs::Job;
use super::line::Place;
use super::results::Stored;
use crate::broker::{JobId, JobRecord, JobState};
use crate::clock::Timestamp;
use crate::hash::Map;
use crate::job::Failure;

/// A job that failed for good.
#[derive(Debug)]
pub(super) struct DeadLetter {
    pub(super) id: JobId,
    /// `None` when it had expired.
    pub(super) payload: Option<Bytes>,
    pub(super) attempt: u32,
    pub(super) failures: Vec<Failure>,
}

impl DeadLetter {
    pub(super) fn of(mut job: Job) -> Self {
        let failures = job.take_failures();
        let Job { id, payload, expired, attempt, .. } = job;
        Self { id, payload: (!expired).then_some(payload), attempt, failures }
    }

    /// `stored` is the result of its id, which may be that of a later job.
    pub(super) fn record(&self, died: Place, stored: Option<&Stored>) -> JobRecord {
        let own = stored.filter(|stored| stored.end == died.seq);
        JobRecord {
            id: self.id.clone(),
            state: JobState::Dead,
            payload: self.payload.clone(),
            result: own.map(|stored| stored.record.clone()),
            attempt: self.attempt,
            due_at: died.due,
            failures: self.failures.clone(),
            progress: None,
            abort_requested: false,
            worker: None,
            running_since: None,
        }
    }
}

/// A queue's dead letters, by time of death; one for each id.
#[derive(Debug, Default)]
pub(super) struct DeadLetters {
    by_time: BTreeMap<Place, DeadLetter>,
    by_id: Map<JobId, Place>,
}

impl DeadLetters {
    pub(super) fn len(&self) -> usize {
        self.by_time.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_time.is_empty()
    }

    /// Keeps `letter` in place of an earlier one of its id, and drops the oldest beyond `max`.
    pub(super) fn insert(&mut self, died: Place, letter: DeadLetter, max: usize) {
        self.remove(&letter.id);
        self.by_id.insert(letter.id.clone(), died);
        self.by_time.insert(died, letter);
        while self.by_time.len() > max {
            self.pop_oldest();
        }
    }

    pub(super) fn remove(&mut self, id: &JobId) -> Option<DeadLetter> {
        let died = self.by_id.remove(id)?;
        self.by_time.remove(&died)
    }

    /// Takes a letter out if its job can be run again.
    pub(super) fn take_payload(&mut self, id: &JobId) -> Option<Bytes> {
        self.get(id)?.1.payload.as_ref()?;
        self.remove(id)?.payload
    }

    pub(super) fn get(&self, id: &JobId) -> Option<(Place, &DeadLetter)> {
        let died = *self.by_id.get(id)?;
        Some((died, self.by_time.get(&died)?))
    }

    /// Drops those that died at `limit` or earlier.
    pub(super) fn drop_until(&mut self, limit: Timestamp) {
        while self.by_time.first_key_value().is_some_and(|(died, _)| died.due <= limit) {
            self.pop_oldest();
        }
    }

    fn pop_oldest(&mut self) {
        if let Some((_, letter)) = self.by_time.pop_first() {
            self.by_id.remove(&letter.id);
        }
    }

    /// The newest first, from after `mark` on.
    pub(super) fn after(&self, mark: Option<Place>) -> impl Iterator<Item = (Place, &DeadLetter)> {
        let to = mark.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_time.range((Bound::Unbounded, to)).rev().map(|(died, letter)| (*died, letter))
    }
}
