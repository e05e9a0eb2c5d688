use std::hash::BuildHasher;

use hashbrown::HashTable;

use super::slab::Slot;
use crate::broker::JobId;
use crate::hash::Seeded;

/// An empty index gives back what a burst made it reserve beyond so many entries.
const KEPT_CAPACITY: usize = 4_096;

/// An id and its hash, which costs as much as the rest of a look-up: made once a job, kept with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key<'a> {
    pub(super) id: &'a JobId,
    pub(super) hash: u64,
}

impl<'a> Key<'a> {
    pub(super) fn new(hasher: &Seeded, id: &'a JobId) -> Self {
        Self { id, hash: hasher.hash_one(id) }
    }
}

/// The slots of a slab by id. It holds hashes and leaves the ids in the slab, so that growing, and taking out what is
/// known, touch no more than it.
#[derive(Debug, Default)]
pub(super) struct Ids(HashTable<Entry>);

#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u64,
    slot: Slot,
}

impl Ids {
    #[cfg(all(test, feature = "testing"))]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The slot of `key`; `id` says which id a slot has.
    pub(super) fn find<'a>(&self, key: Key<'_>, id: impl Fn(Slot) -> &'a JobId) -> Option<Slot> {
        let is_it = |entry: &Entry| entry.hash == key.hash && id(entry.slot) == key.id;
        self.0.find(key.hash, is_it).map(|entry| entry.slot)
    }

    /// Adds an id that is not in it.
    pub(super) fn insert(&mut self, hash: u64, slot: Slot) {
        self.0.insert_unique(hash, Entry { hash, slot }, |entry| entry.hash);
    }

    pub(super) fn remove(&mut self, hash: u64, slot: Slot) {
        if let Ok(entry) = self.0.find_entry(hash, |entry| entry.slot == slot) {
            entry.remove();
        }
        if self.0.is_empty() {
            self.0.shrink_to(KEPT_CAPACITY, |entry| entry.hash);
        }
    }
}
