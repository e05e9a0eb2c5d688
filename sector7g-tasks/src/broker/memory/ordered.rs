use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

/// An empty one gives back what a burst made it reserve beyond so many entries.
const KEPT_CAPACITY: usize = 4_096;

/// A sorted map for keys that come in ascending order and leave from the front, as nearly all times do: those
/// stand in a run, at a few instructions each. What comes out of order stands in a tree.
#[derive(Debug)]
pub(super) struct Ordered<K, V> {
    /// Ascending. What was taken out of its middle has left its key there; its ends have values.
    run: VecDeque<(K, Option<V>)>,
    /// How many of the run have no value.
    gone: usize,
    tree: BTreeMap<K, V>,
}

impl<K, V> Default for Ordered<K, V> {
    fn default() -> Self {
        Self { run: VecDeque::new(), gone: 0, tree: BTreeMap::new() }
    }
}

impl<K: Ord + Copy, V> Ordered<K, V> {
    pub(super) fn len(&self) -> usize {
        self.run.len() - self.gone + self.tree.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.run.is_empty() && self.tree.is_empty()
    }

    /// Adds a key that is not there yet.
    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.run.back().is_none_or(|(last, _)| *last < key) {
            self.run.push_back((key, Some(value)));
        } else {
            self.tree.insert(key, value);
        }
    }

    /// Adds a key that is not there yet, and greater than those to come: in the run it would keep them out.
    pub(super) fn insert_apart(&mut self, key: K, value: V) {
        self.tree.insert(key, value);
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        self.take_from_run(key).or_else(|| self.tree.remove(key))
    }

    fn take_from_run(&mut self, key: &K) -> Option<V> {
        let (first, _) = self.run.front()?;
        let index = if first == key { 0 } else { self.run.binary_search_by(|(other, _)| other.cmp(key)).ok()? };
        let value = self.run[index].1.take()?;
        self.gone += 1;
        self.trim();
        Some(value)
    }

    /// Takes out the first entry if its key is at most `limit`.
    pub(super) fn pop_until(&mut self, limit: &K) -> Option<(K, V)> {
        let (first, _) = self.first()?;
        if first > *limit {
            return None;
        }
        let value = self.remove(&first)?;
        Some((first, value))
    }

    /// Keeps values at both ends of the run, and at most as many gaps as values between them.
    fn trim(&mut self) {
        while self.run.front().is_some_and(|(_, value)| value.is_none()) {
            self.run.pop_front();
            self.gone -= 1;
        }
        while self.run.back().is_some_and(|(_, value)| value.is_none()) {
            self.run.pop_back();
            self.gone -= 1;
        }
        if self.gone > self.run.len() / 2 {
            self.run.retain(|(_, value)| value.is_some());
            self.gone = 0;
        }
        if self.run.is_empty() && self.run.capacity() > KEPT_CAPACITY {
            self.run.shrink_to(KEPT_CAPACITY);
        }
    }

    pub(super) fn first(&self) -> Option<(K, &V)> {
        let in_run = self.run.front().and_then(|(key, value)| Some((*key, value.as_ref()?)));
        let in_tree = self.tree.first_key_value().map(|(key, value)| (*key, value));
        match (in_run, in_tree) {
            (Some(in_run), Some(in_tree)) if in_tree.0 < in_run.0 => Some(in_tree),
            (None, in_tree) => in_tree,
            (in_run, _) => in_run,
        }
    }

    /// The entries in order, from after `mark` on.
    pub(super) fn after(&self, mark: Option<K>) -> impl Iterator<Item = (K, &V)> {
        let start = mark.map_or(0, |mark| self.run.partition_point(|(key, _)| *key <= mark));
        let in_run = self.run.range(start..).filter_map(|(key, value)| Some((*key, value.as_ref()?)));
        let from = mark.map_or(Bound::Unbounded, Bound::Excluded);
        let in_tree = self.tree.range((from, Bound::Unbounded)).map(|(key, value)| (*key, value));
        merged(in_run, in_tree)
    }

    /// The length of the run, with its gaps.
    #[cfg(all(test, feature = "testing"))]
    pub(super) fn reserved(&self) -> usize {
        self.run.len()
    }
}

/// Two ascending sequences as one.
pub(super) fn merged<K: Ord, V>(
    one: impl Iterator<Item = (K, V)>,
    other: impl Iterator<Item = (K, V)>,
) -> impl Iterator<Item = (K, V)> {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    std::iter::from_fn(move || match (one.peek(), other.peek()) {
        (Some((left, _)), Some((right, _))) if right < left => other.next(),
        (Some(_), _) => one.next(),
        (None, _) => other.next(),
    })
}
