//! The plant's real work, without jobs, workers or clocks: functions that can be tested by calling them.

pub mod archive;
pub mod chance;
pub mod checksum;
pub mod donuts;
pub mod files;
pub mod instrument;
pub mod ledger;
pub mod reactor;
pub mod sorting;
pub mod vibration;
pub mod vitals;

/// A count, to calculate with.
#[expect(clippy::cast_precision_loss, reason = "nothing here counts to 2^53")]
pub fn real(count: usize) -> f64 {
    count as f64
}
