//! For tests of tasks, of programs that enqueue, and of brokers.

mod chaos;
pub mod conformance;
mod context;
mod harness;

pub use self::chaos::ChaosBroker;
pub use self::context::TestContext;
pub use self::harness::{Enqueued, Fleet, Harness, HarnessError, virtual_time};
