//! The broker on a real Redis.

mod conformance;
mod connections;
