//! For tests of tasks, of programs that enqueue, and of brokers.

pub mod chaos;
pub mod conformance;
mod context;
mod harness;

pub use self::context::TestContext;
pub use self::harness::{Enqueued, Fleet, Harness, HarnessError, virtual_time};
