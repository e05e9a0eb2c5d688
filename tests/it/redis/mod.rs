//! The broker on a real Redis.

mod bounds;
mod conformance;
mod connections;
mod load;
mod walkthrough;
