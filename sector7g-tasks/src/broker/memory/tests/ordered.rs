//! Random steps against the tree that it is to be like.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::ordered::Ordered;

#[derive(Clone, Debug)]
enum Step {
    Insert {
        key: u8,
        apart: bool,
    },
    /// A key above all that are there.
    Append {
        apart: bool,
    },
    Remove {
        key: u8,
    },
    /// One that is there.
    RemoveOne {
        which: prop::sample::Index,
    },
    PopUntil {
        limit: u8,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => (any::<u8>(), any::<bool>()).prop_map(|(key, apart)| Step::Insert { key, apart }),
        4 => prop::bool::weighted(0.1).prop_map(|apart| Step::Append { apart }),
        1 => any::<u8>().prop_map(|key| Step::Remove { key }),
        2 => any::<prop::sample::Index>().prop_map(|which| Step::RemoveOne { which }),
        1 => any::<u8>().prop_map(|limit| Step::PopUntil { limit }),
    ];
    prop::collection::vec(step, 0..120)
}

fn take(ordered: &mut Ordered<u8, u8>, tree: &mut BTreeMap<u8, u8>, key: u8) {
    assert_eq!(ordered.remove(&key), tree.remove(&key));
}

fn add(ordered: &mut Ordered<u8, u8>, tree: &mut BTreeMap<u8, u8>, key: u8, apart: bool) {
    if tree.insert(key, !key).is_none() {
        if apart { ordered.insert_apart(key, !key) } else { ordered.insert(key, !key) }
    }
}

fn check(ordered: &Ordered<u8, u8>, tree: &BTreeMap<u8, u8>) {
    let entries = |mark| ordered.after(mark).map(|(key, value)| (key, *value)).collect::<Vec<_>>();
    let all: Vec<_> = tree.iter().map(|(key, value)| (*key, *value)).collect();
    assert_eq!(entries(None), all);
    for mark in [0, 7, 100, u8::MAX] {
        let later: Vec<_> = all.iter().filter(|(key, _)| *key > mark).copied().collect();
        assert_eq!(entries(Some(mark)), later);
    }
    assert_eq!((ordered.len(), ordered.is_empty()), (tree.len(), tree.is_empty()));
    assert_eq!(ordered.first().map(|(key, _)| key), tree.keys().next().copied());
}

proptest! {
    #[test]
    fn it_is_a_sorted_map(steps in steps()) {
        let (mut ordered, mut tree) = (Ordered::default(), BTreeMap::new());
        for step in steps {
            match step {
                Step::Insert { key, apart } => add(&mut ordered, &mut tree, key, apart),
                Step::Append { apart } => {
                    if let Some(key) = tree.keys().next_back().map_or(Some(0), |last| last.checked_add(1)) {
                        add(&mut ordered, &mut tree, key, apart);
                    }
                }
                Step::Remove { key } => take(&mut ordered, &mut tree, key),
                Step::RemoveOne { which } => {
                    let keys: Vec<u8> = tree.keys().copied().collect();
                    if !keys.is_empty() {
                        take(&mut ordered, &mut tree, *which.get(&keys));
                    }
                }
                Step::PopUntil { limit } => {
                    let first = tree.first_key_value().map(|(key, value)| (*key, *value));
                    let due = first.filter(|(key, _)| *key <= limit);
                    prop_assert_eq!(ordered.pop_until(&limit), due);
                    due.and_then(|(key, _)| tree.remove(&key));
                }
            }
            check(&ordered, &tree);
        }
    }
}

/// Removing from the middle leaves gaps, but never more than there are values.
#[test]
fn gaps_are_cleared_away() {
    let mut ordered = Ordered::default();
    (0..10_000).for_each(|key: u32| ordered.insert(key, ()));
    (1..9_999).for_each(|key| assert_eq!(ordered.remove(&key), Some(())));
    assert!(ordered.reserved() <= 4, "{}", ordered.reserved());
    assert_eq!(ordered.after(None).map(|(key, ())| key).collect::<Vec<_>>(), [0, 9_999]);
}
