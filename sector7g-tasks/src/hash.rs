//! How maps are hashed that are on every job's path.

use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::SharedSeed;
use foldhash::quality::{FoldHasher, SeedableRandomState};

/// A map by names that may come from outside, such as job ids.
///
/// Foldhash costs a fraction of the standard library's hash on them. Each map has a seed of its own from a
/// cryptographic generator, so ids that would collide can't be made up in advance; whoever could see a map's
/// hashes might find some, so nothing shows them: no order of such a map leaves this crate.
pub(crate) type Map<K, V> = HashMap<K, V, Seeded>;

/// Makes a map's hashers.
#[derive(Clone, Debug)]
pub(crate) struct Seeded(SeedableRandomState);

impl Default for Seeded {
    fn default() -> Self {
        Self(SeedableRandomState::with_seed(rand::random(), SharedSeed::global_random()))
    }
}

impl BuildHasher for Seeded {
    type Hasher = FoldHasher<'static>;

    fn build_hasher(&self) -> FoldHasher<'static> {
        self.0.build_hasher()
    }
}
