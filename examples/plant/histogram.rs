//! Durations, counted in buckets: as small after a million of them as after ten.

use std::time::Duration;

/// Each power of two is cut into this many buckets, so a reading is off by 3 % at most.
const PARTS: usize = 32;
const PART_BITS: u32 = PARTS.ilog2();

/// What is longer than 2^40 µs, twelve days, counts as that.
const TOP_BITS: u32 = 40;
const BUCKETS: usize = (TOP_BITS - PART_BITS + 1) as usize * PARTS;

/// How often each duration came, to 3 %.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Box<[u64]>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS].into(), total: 0 }
    }
}

impl Histogram {
    /// Counts one.
    pub fn add(&mut self, duration: Duration) {
        self.counts[bucket(duration)] += 1;
        self.total += 1;
    }

    /// How many were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The duration that a `part` (0 to 1) of all did not exceed; `None` when none was counted.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let wanted = (part.clamp(0.0, 1.0) * real(self.total)).ceil().max(1.0);
        let mut seen = 0;
        let reached = self.counts.iter().position(|count| {
            seen += count;
            real(seen) >= wanted
        });
        reached.map(upper_edge)
    }

    /// Counts all of `other`, too.
    pub fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self.total += other.total;
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody counts to 2^53")]
fn real(count: u64) -> f64 {
    count as f64
}

/// Below [`PARTS`] µs a bucket is a microsecond; from there on each power of two has [`PARTS`] of them.
fn bucket(duration: Duration) -> usize {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).min((1 << TOP_BITS) - 1);
    let Some(bits) = micros.checked_ilog2().filter(|bits| *bits >= PART_BITS) else {
        return usize::try_from(micros).unwrap_or(0);
    };
    let doublings = bits - PART_BITS;
    let part = usize::try_from(micros >> doublings).unwrap_or(0) - PARTS;
    (doublings as usize + 1) * PARTS + part
}

fn upper_edge(bucket: usize) -> Duration {
    let (row, part) = (bucket / PARTS, (bucket % PARTS) as u64);
    let micros = match row {
        0 => part,
        _ => ((PARTS as u64 + part + 1) << (row - 1)) - 1,
    };
    Duration::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_is_in_a_bucket_that_ends_close_above() {
        let mut micros = 0_u64;
        while micros < 1 << 42 {
            let edge = u64::try_from(upper_edge(bucket(Duration::from_micros(micros))).as_micros()).unwrap();
            let bounded = micros.min((1 << TOP_BITS) - 1);
            assert!(
                edge >= bounded && edge <= bounded + bounded / PARTS as u64,
                "{micros} µs in a bucket up to {edge}"
            );
            micros += 1 + micros / 100;
        }
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_nearest_ranks() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for micros in 1..=20 {
            histogram.add(Duration::from_micros(micros));
        }
        let micros = |part| histogram.quantile(part).unwrap().as_micros();
        assert_eq!((micros(0.0), micros(0.5), micros(0.95), micros(1.0)), (1, 10, 19, 20));
    }

    #[test]
    fn merging_is_counting_together() {
        let (mut one, mut other) = (Histogram::default(), Histogram::default());
        one.add(Duration::from_micros(5));
        other.add(Duration::from_micros(9));
        other.add(Duration::from_micros(9));
        one.merge(&other);
        assert_eq!((one.total(), one.quantile(0.5)), (3, Some(Duration::from_micros(9))));
    }
}
