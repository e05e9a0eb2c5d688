//! Instruments that fail now and then, the same way each time the same job asks.

use super::chance::Chance;

/// A gauge with a loose contact.
#[derive(Clone, Copy, Debug)]
pub struct Instrument {
    /// What it measures around, in its own unit.
    pub nominal: f64,
    /// How far readings spread, in the same unit.
    pub spread: f64,
    /// The part of attempts that fail, 0 to 1.
    pub failing: f64,
}

/// Why a reading is no good. Trying again may help.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum Fault {
    /// No signal at all.
    #[error("the instrument gives no signal")]
    NoSignal,
    /// A value that can't be true.
    #[error("the instrument reads {0:.1}, which is off its scale")]
    OffScale(f64),
}

impl Instrument {
    /// The reading of one attempt of one job.
    ///
    /// # Errors
    /// A [`Fault`] in a part of all attempts; the same job and attempt always fare the same.
    pub fn read(&self, job: &str, attempt: u32) -> Result<f64, Fault> {
        let mut chance = Chance::of(job, attempt);
        if chance.unit() >= self.failing {
            return Ok(self.value(&mut chance));
        }
        Err(if chance.below(2) == 0 { Fault::NoSignal } else { Fault::OffScale(self.nominal + self.spread * 20.0) })
    }

    /// A reading while its contact holds.
    pub fn value(&self, chance: &mut Chance) -> f64 {
        self.nominal + self.spread * chance.between(-1.0, 1.0)
    }

    /// How many attempts of that job fail before one succeeds; `None` when the first `attempts` all do.
    pub fn faults_before_success(&self, job: &str, attempts: u32) -> Option<u32> {
        (1..=attempts).find(|attempt| self.read(job, *attempt).is_ok()).map(|attempt| attempt - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAUGE: Instrument = Instrument { nominal: 280.0, spread: 4.0, failing: 0.3 };

    #[test]
    fn the_same_attempt_fares_the_same() {
        for attempt in 1..50 {
            assert_eq!(GAUGE.read("gauge-1", attempt), GAUGE.read("gauge-1", attempt));
        }
    }

    #[test]
    fn faults_come_as_often_as_said_and_readings_are_near_nominal() {
        let readings: Vec<_> = (0..2_000).map(|attempt| GAUGE.read("gauge-2", attempt)).collect();
        let faults = readings.iter().filter(|reading| reading.is_err()).count();
        assert!((500..700).contains(&faults), "{faults}");
        assert!(readings.iter().flatten().all(|value| (276.0..284.0).contains(value)));
        assert!(readings.contains(&Err(Fault::NoSignal)) && readings.contains(&Err(Fault::OffScale(360.0))));
    }

    #[test]
    fn faults_before_success_are_counted() {
        let never = Instrument { failing: 1.0, ..GAUGE };
        let always = Instrument { failing: 0.0, ..GAUGE };
        assert_eq!(never.faults_before_success("gauge-3", 5), None);
        assert_eq!(always.faults_before_success("gauge-3", 5), Some(0));
        let faults = GAUGE.faults_before_success("gauge-3", 50).unwrap();
        assert!((1..=faults).all(|attempt| GAUGE.read("gauge-3", attempt).is_err()));
        assert!(GAUGE.read("gauge-3", faults + 1).is_ok());
    }
}
