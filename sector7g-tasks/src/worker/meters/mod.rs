//! What a worker counts for the feature `metrics`; without it, nothing, at no cost.

#[cfg(not(feature = "metrics"))]
mod off;
#[cfg(feature = "metrics")]
mod on;

#[cfg(not(feature = "metrics"))]
pub(crate) use self::off::Meters;
#[cfg(feature = "metrics")]
pub(crate) use self::on::Meters;
