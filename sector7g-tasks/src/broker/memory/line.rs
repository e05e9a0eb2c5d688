use std::collections::BTreeMap;
use std::ops::Bound;

use super::slab::Slot;
use crate::clock::Timestamp;

/// A job's place in the line: its time, and the order of enqueueing among jobs of one millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// When it is due; for a leased job, when its lease ends.
    pub(super) due: Timestamp,
    /// Drawn at the enqueueing and kept for life, so no two jobs share a place.
    pub(super) seq: u64,
}

/// A queue's jobs by due time, like Redis's sorted set of them.
///
/// Leased jobs stand at their lease's end: out of the way of a claim, and due again by
/// themselves when their worker dies.
#[derive(Debug, Default)]
pub(super) struct Line {
    entries: BTreeMap<Place, Entry>,
    leased: usize,
    /// What `due` covers: each entry is counted once, when a caller of `counts` first sees it due.
    counted_to: Timestamp,
    due: Due,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    slot: Slot,
    leased: bool,
}

/// Entries up to `counted_to`.
#[derive(Clone, Copy, Debug, Default)]
struct Due {
    all: usize,
    /// Of these, the ones whose lease has run out.
    leased: usize,
}

/// A line's sizes at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) queued: usize,
    pub(super) deferred: usize,
    pub(super) running: usize,
}

impl Line {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn insert(&mut self, place: Place, slot: Slot, leased: bool) {
        self.entries.insert(place, Entry { slot, leased });
        self.leased += usize::from(leased);
        if place.due <= self.counted_to {
            self.due.all += 1;
            self.due.leased += usize::from(leased);
        }
    }

    pub(super) fn remove(&mut self, place: Place) {
        if let Some(entry) = self.entries.remove(&place) {
            self.uncount(place, entry);
        }
    }

    /// Takes out the earliest entry if its time has come.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<Slot> {
        let first = self.entries.first_entry()?;
        if first.key().due > now {
            return None;
        }
        let (place, entry) = first.remove_entry();
        self.uncount(place, entry);
        Some(entry.slot)
    }

    fn uncount(&mut self, place: Place, entry: Entry) {
        self.leased -= usize::from(entry.leased);
        if place.due <= self.counted_to {
            self.due.all -= 1;
            self.due.leased -= usize::from(entry.leased);
        }
    }

    /// The time of the earliest entry.
    pub(super) fn first(&self) -> Option<Timestamp> {
        self.entries.first_key_value().map(|(place, _)| place.due)
    }

    pub(super) fn has_due(&self, now: Timestamp) -> bool {
        self.first().is_some_and(|due| due <= now)
    }

    /// The time of the earliest entry that is not due yet.
    pub(super) fn next_after(&self, now: Timestamp) -> Option<Timestamp> {
        self.after(Some(Place { due: now, seq: u64::MAX })).next().map(|(place, _)| place.due)
    }

    /// The entries in order, from after `mark` on.
    pub(super) fn after(&self, mark: Option<Place>) -> impl Iterator<Item = (Place, Slot)> {
        let from = mark.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries.range((from, Bound::Unbounded)).map(|(place, entry)| (*place, entry.slot))
    }

    /// The sizes now. Costs a step for each entry that became due since the last call, whatever the backlog.
    pub(super) fn counts(&mut self, now: Timestamp) -> Counts {
        if now > self.counted_to {
            let from = Place { due: self.counted_to, seq: u64::MAX };
            let to = Place { due: now, seq: u64::MAX };
            for entry in self.entries.range((Bound::Excluded(from), Bound::Included(to))).map(|(_, entry)| entry) {
                self.due.all += 1;
                self.due.leased += usize::from(entry.leased);
            }
            self.counted_to = now;
        }
        let running = self.leased - self.due.leased;
        Counts { queued: self.due.all, deferred: self.entries.len() - self.due.all - running, running }
    }
}
