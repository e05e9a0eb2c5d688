//! The one binary of the integration tests: a module for each subject.

#![allow(clippy::unwrap_used, reason = "whatever fails here fails a test, in helpers and tasks, too")]
#![allow(clippy::duration_suboptimal_units, reason = "a test counts in one unit")]

mod aborts;
mod alerts;
mod around;
mod arq;
mod attempts;
mod binding;
mod cli;
mod clients;
mod codecs;
mod crashes;
mod dashboard;
mod hostile;
mod inventory;
mod loops;
mod mounted;
mod operate;
mod operating;
mod outages;
mod partitions;
mod plant;
mod redis;
mod schedules;
mod servers;
mod stopping;
mod threads;
mod ticks;
mod tidy;
mod traces;
