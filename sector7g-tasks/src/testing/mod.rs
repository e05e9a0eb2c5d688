//! For tests of tasks, of programs that enqueue, and of brokers.

pub mod chaos;
pub mod conformance;
mod context;
mod harness;
#[cfg(feature = "proptest")]
pub mod model;

pub use self::context::TestContext;
pub use self::harness::{Enqueued, Fleet, Harness, HarnessError, virtual_time};
#[cfg(feature = "redis")]
#[doc(hidden)] // for our own fault rig
pub use crate::broker::Guard;
