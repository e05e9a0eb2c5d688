//! What no honest program stores: it costs one job at most, and is told.

mod arguments;
mod keys;
mod secrets;
mod sizes;
