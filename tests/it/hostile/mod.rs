//! What no honest program stores: it costs one job at most, and is told.

mod keys;
mod secrets;
mod sizes;
