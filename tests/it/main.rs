//! The one binary of the integration tests: a module for each subject.

mod aborts;
mod attempts;
mod binding;
mod cli;
mod crashes;
mod inventory;
mod schedules;
mod stopping;
