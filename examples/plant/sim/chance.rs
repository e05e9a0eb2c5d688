//! Numbers that look random and are the same on every machine.

/// A small generator (`SplitMix64`): one seed, one sequence.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The sequence of a text and a number: of a job and its attempt, of an instrument and a reading.
    pub fn of(text: &str, number: u32) -> Self {
        // FNV-1a; the generator's own mixing does the rest.
        let bytes = text.bytes().chain(number.to_le_bytes());
        Self(bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)))
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next number of 0..1.
    pub fn unit(&mut self) -> f64 {
        f64::from(self.half()) / (f64::from(u32::MAX) + 1.0)
    }

    /// The next whole number of 0..`end`; 0 when `end` is.
    pub fn below(&mut self, end: u32) -> u32 {
        let scaled = (u64::from(self.half()) * u64::from(end)) >> 32;
        u32::try_from(scaled).unwrap_or(end)
    }

    /// The next number of `low`..`high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// The better half of the next bits.
    fn half(&mut self) -> u32 {
        u32::try_from(self.bits() >> 32).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_is_one_sequence() {
        let draw = |mut chance: Chance| [chance.bits(), chance.bits(), chance.bits()];
        assert_eq!(draw(Chance::new(7)), draw(Chance::new(7)));
        assert_ne!(draw(Chance::new(7)), draw(Chance::new(8)));
        assert_ne!(draw(Chance::of("gauge-1", 1)), draw(Chance::of("gauge-1", 2)));
        assert_ne!(draw(Chance::of("gauge-1", 1)), draw(Chance::of("gauge-2", 1)));
        // The reference value of SplitMix64, so that no change slips in.
        assert_eq!(Chance::new(0).bits(), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn numbers_stay_in_range_and_fill_it() {
        let mut chance = Chance::new(42);
        let mut seen = [0_u32; 10];
        for _ in 0..10_000 {
            assert!((0.0..1.0).contains(&chance.unit()));
            assert!((-2.0..3.0).contains(&chance.between(-2.0, 3.0)));
            seen[chance.below(10) as usize] += 1;
        }
        assert!(seen.iter().all(|count| (800..1_200).contains(count)), "{seen:?}");
        assert_eq!(chance.below(0), 0);
    }
}
