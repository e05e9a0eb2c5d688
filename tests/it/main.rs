//! The one binary of the integration tests: a module for each subject.

mod aborts;
mod around;
mod attempts;
mod binding;
mod cli;
mod clients;
mod crashes;
mod inventory;
mod outages;
mod schedules;
mod stopping;
mod tidy;
