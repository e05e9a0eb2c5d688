//! Chance that can be repeated.

use std::hash::{BuildHasher, RandomState};

/// Numbers that are the same for the same seed.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// `SECTOR7G_SEED` repeats a run, as far as processes can be; the seed is said on standard error.
    #[must_use]
    pub fn thrown() -> Self {
        let given = std::env::var("SECTOR7G_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(Self::any_seed);
        eprintln!("SECTOR7G_SEED={seed}");
        Self::of(seed)
    }

    /// Those of `seed`.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1) // near seeds are to differ at once, and 0 would stay 0
    }

    /// A seed that is another one each time, short enough to be typed.
    #[must_use]
    pub fn any_seed() -> u64 {
        RandomState::new().hash_one(std::process::id()) % 1_000_000 // a new state has new keys
    }

    /// Other numbers, that follow from these and from `name` alone.
    #[must_use]
    pub fn apart(&self, name: &str) -> Self {
        name.bytes().fold(self.clone(), |dice, byte| Self::of(dice.0 ^ u64::from(byte)))
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    /// A number of `range`, which is not empty.
    pub fn within(&mut self, range: std::ops::Range<u64>) -> u64 {
        range.start + self.below(range.end - range.start)
    }

    /// One of `choices`, of which there is at least one.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let index = self.below(choices.len().max(1) as u64);
        &choices[usize::try_from(index).expect("less than their number")]
    }
}
