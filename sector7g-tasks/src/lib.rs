//! Background tasks for async Rust: annotate a function, enqueue typed jobs, run workers.
//!
#![doc = include_str!("docs/overview.md")]

pub mod args;
pub mod broker;
#[cfg(test)]
mod cases;
pub mod client;
pub mod clock;
pub mod codec;
pub mod context;
pub mod error;
mod hash;
pub mod health;
pub mod inspect;
pub mod inventory;
pub mod job;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod middleware;
pub mod retry;
pub mod runner;
#[cfg(feature = "cron")]
pub mod schedule;
pub mod task;
mod trace;
#[cfg(feature = "otel")]
#[doc = include_str!("docs/traces.md")]
pub mod traces {}
pub mod worker;

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "dashboard")]
pub mod dashboard;
#[cfg(feature = "operate")]
pub mod operate;
#[cfg(feature = "testing")]
pub mod testing;

#[doc(hidden)]
pub mod __private;
pub mod prelude;

pub use sector7g_macros::{Worker, task};

pub use crate::client::Client;
pub use crate::context::{Context, State};
pub use crate::error::TaskError;
pub use crate::job::Job;
pub use crate::runner::Runner;

/// Names crates whose tasks and workers this program runs, so that the compiler links them.
///
/// A dependency that no code names is left out with all its tasks, and no warning says so.
///
/// ```ignore
/// sector7g_tasks::include_tasks!(reactor_tasks, canteen_tasks);
/// ```
#[macro_export]
macro_rules! include_tasks {
    ($($krate:ident),+ $(,)?) => { $(use $krate as _;)+ };
}

/// The README's code, run by `cargo test --doc`.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
