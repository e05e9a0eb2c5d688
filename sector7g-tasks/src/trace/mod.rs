//! The spans of a job, which the feature `otel` makes those of OpenTelemetry's conventions; without it, only what logs need.

#[cfg(not(feature = "otel"))]
mod off;
#[cfg(feature = "otel")]
mod on;

#[cfg(not(feature = "otel"))]
pub(crate) use self::off::{Sending, ended, job_span, lost};
#[cfg(feature = "otel")]
pub(crate) use self::on::{Sending, ended, job_span, lost};
