//! The engine: one loop a worker, which claims, runs and finishes jobs.

mod alerts;
pub(crate) mod control;
mod crew;
mod engine;
mod execute;
mod fetch;
#[cfg(feature = "metrics")]
mod gauges;
mod log;
mod meters;
mod outcome;
pub(crate) mod panics;
mod pulse;
mod running;
mod settings;
mod supervise;
#[cfg(all(test, feature = "testing"))]
mod tests;
#[cfg(feature = "cron")]
mod ticker;

pub use self::alerts::{Alert, AlertEvent, AlertHook, AlertLevel, Alerts, Measure};
pub use self::engine::WorkerReport;
pub use self::settings::{
    CronEntry, EndHook, HookFuture, JobEnd, JobEndKind, JobHook, Order, QueueShare, StartHook, Worker, WorkerSettings,
};

pub(crate) use self::alerts::Attempts;
pub(crate) use self::engine::{Engine, Stop, WorkerError};
pub(crate) use self::fetch::{Group, LONGEST_END};
pub(crate) use self::meters::Meters;
pub(crate) use self::pulse::Pulse;
pub(crate) use self::running::{Held, Running};
pub(crate) use self::supervise::run_blocking;
