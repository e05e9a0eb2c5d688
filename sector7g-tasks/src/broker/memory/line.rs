use super::ordered::{Ordered, merged};
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
    waiting: Ordered<Place, Slot>,
    leased: Ordered<Place, Slot>,
    /// What `due` covers: each entry is counted once, when a caller of `counts` first sees it due.
    counted_to: Timestamp,
    due: Due,
}

/// Entries up to `counted_to`.
#[derive(Clone, Copy, Debug, Default)]
struct Due {
    waiting: usize,
    /// Those whose lease has run out.
    leased: usize,
}

/// Why an entry stands in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// It waits, and is due already.
    Due,
    /// It waits for a time before which others may become due.
    Deferred,
    /// It is leased until its time.
    Leased,
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
        self.waiting.len() + self.leased.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.leased.is_empty()
    }

    pub(super) fn insert(&mut self, place: Place, slot: Slot, stand: Stand) {
        match stand {
            Stand::Due => self.waiting.insert(place, slot),
            Stand::Deferred => self.waiting.insert_apart(place, slot),
            Stand::Leased => self.leased.insert(place, slot),
        }
        if place.due <= self.counted_to {
            let leased = stand == Stand::Leased;
            *(if leased { &mut self.due.leased } else { &mut self.due.waiting }) += 1;
        }
    }

    pub(super) fn remove(&mut self, place: Place) {
        let leased = self.leased.remove(&place).is_some();
        if leased || self.waiting.remove(&place).is_some() {
            self.uncount(place.due, leased);
        }
    }

    /// Takes out the earliest entry if its time has come.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<Slot> {
        let next = |entries: &Ordered<Place, Slot>| entries.first().map(|(place, _)| place);
        let leased = match (next(&self.waiting), next(&self.leased)) {
            (Some(waiting), Some(leased)) => leased < waiting,
            (waiting, _) => waiting.is_none(),
        };
        let limit = Place { due: now, seq: u64::MAX };
        let entries = if leased { &mut self.leased } else { &mut self.waiting };
        let (place, slot) = entries.pop_until(&limit)?;
        self.uncount(place.due, leased);
        Some(slot)
    }

    fn uncount(&mut self, due: Timestamp, leased: bool) {
        if due <= self.counted_to {
            *(if leased { &mut self.due.leased } else { &mut self.due.waiting }) -= 1;
        }
    }

    /// The time of the earliest entry.
    pub(super) fn first(&self) -> Option<Timestamp> {
        let earliest = self.waiting.first().into_iter().chain(self.leased.first()).map(|(place, _)| place.due);
        earliest.min()
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
        merged(self.waiting.after(mark), self.leased.after(mark)).map(|(place, slot)| (place, *slot))
    }

    /// The leased entries by their lease's end, from after `mark` on.
    pub(super) fn leased_after(&self, mark: Place) -> impl Iterator<Item = (Place, Slot)> {
        self.leased.after(Some(mark)).map(|(place, slot)| (place, *slot))
    }

    /// The sizes now. Costs a step for each entry that became due since the last call, whatever the backlog.
    pub(super) fn counts(&mut self, now: Timestamp) -> Counts {
        if now > self.counted_to {
            let from = Place { due: self.counted_to, seq: u64::MAX };
            let newly_due = |entries: &Ordered<Place, Slot>| {
                entries.after(Some(from)).take_while(|(place, _)| place.due <= now).count()
            };
            self.due.waiting += newly_due(&self.waiting);
            self.due.leased += newly_due(&self.leased);
            self.counted_to = now;
        }
        Counts {
            queued: self.due.waiting + self.due.leased,
            deferred: self.waiting.len() - self.due.waiting,
            running: self.leased.len() - self.due.leased,
        }
    }
}
