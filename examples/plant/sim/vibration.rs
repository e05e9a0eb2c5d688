//! Shaking turbines: a recorded signal, and what it tells.

use std::f64::consts::TAU;

use super::chance::Chance;
use super::real;

/// Samples in a second.
pub const RATE: u32 = 2_048;

/// Listens to a turbine for `samples` samples: its shaft at `shaft_hz`, a harmonic, and noise.
pub fn record(turbine: u8, shaft_hz: f64, samples: u32) -> Vec<f64> {
    let mut chance = Chance::of("turbine", u32::from(turbine));
    let unbalance = chance.between(0.6, 1.4);
    (0..samples)
        .map(|sample| {
            let time = f64::from(sample) / f64::from(RATE);
            let shaft = unbalance * (TAU * shaft_hz * time).sin();
            let harmonic = 0.3 * (TAU * 2.0 * shaft_hz * time).sin();
            shaft + harmonic + chance.between(-0.4, 0.4)
        })
        .collect()
}

/// How strongly `signal` swings at `hz`, as an amplitude (Goertzel's algorithm: one line of a Fourier transform).
pub fn amplitude_at(signal: &[f64], hz: f64) -> f64 {
    let coefficient = 2.0 * (TAU * hz / f64::from(RATE)).cos();
    let (last, before) =
        signal.iter().fold((0.0, 0.0), |(last, before), value| (value + coefficient * last - before, last));
    let power = last * last + before * before - coefficient * last * before;
    2.0 * power.max(0.0).sqrt() / real(signal.len().max(1))
}

/// The frequency of `candidates` at which `signal` swings most, and its amplitude; `None` without candidates.
pub fn strongest(signal: &[f64], candidates: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    let lines = candidates.into_iter().map(|hz| (hz, amplitude_at(signal, hz)));
    lines.max_by(|a, b| a.1.total_cmp(&b.1))
}

/// The signal's effective value (root mean square); 0 for an empty one.
pub fn effective(signal: &[f64]) -> f64 {
    let squares: f64 = signal.iter().map(|value| value * value).sum();
    (squares / real(signal.len().max(1))).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shaft_is_found_in_the_noise() {
        for (turbine, hz) in [(1, 50.0), (2, 30.0), (3, 61.0)] {
            let signal = record(turbine, hz, RATE);
            let (found, amplitude) = strongest(&signal, (10..200).map(f64::from)).unwrap();
            assert!((found - hz).abs() < 1e-9, "turbine {turbine}: {found}");
            assert!((0.55..1.45).contains(&amplitude), "{amplitude}");
        }
    }

    #[test]
    fn a_pure_tone_has_its_amplitude_and_effective_value() {
        let tone: Vec<f64> = (0..RATE).map(|n| 3.0 * (TAU * 40.0 * f64::from(n) / f64::from(RATE)).sin()).collect();
        assert!((amplitude_at(&tone, 40.0) - 3.0).abs() < 1e-6);
        assert!(amplitude_at(&tone, 41.0) < 1e-6);
        assert!((effective(&tone) - 3.0 / 2.0_f64.sqrt()).abs() < 1e-6);
    }

    #[test]
    fn silence_is_no_error() {
        assert_eq!((effective(&[]), amplitude_at(&[], 50.0)), (0.0, 0.0));
        assert_eq!(strongest(&[1.0], []), None);
    }
}
