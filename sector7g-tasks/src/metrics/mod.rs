//! What workers and clients count, for Prometheus or any other system.
//!
#![doc = include_str!("../docs/metrics.md")]

mod enqueued;
pub(crate) mod names;
#[cfg(feature = "prometheus")]
mod prometheus;

pub(crate) use self::enqueued::count;
#[cfg(feature = "prometheus")]
pub use self::prometheus::{InstallError, Prometheus};
