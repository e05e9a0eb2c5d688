//! The broker on a real Redis.

mod away;
mod blocked;
mod bounds;
mod busy;
mod check;
mod cluster;
mod conformance;
mod connections;
mod cuts;
mod encryption;
pub(super) mod load;
mod model;
mod new_ids;
mod noted;
mod outages;
mod replicas;
mod trouble;
mod waiting;
mod walkthrough;
