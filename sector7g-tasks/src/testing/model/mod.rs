//! A check of whole brokers: random steps on one, beside a model of the contract that is too simple to be wrong.
//!
//! [`steps`] makes them (a proptest strategy, which shrinks what fails), [`run`] takes them and tells the first answer
//! that the contract of [`Broker`] does not allow. The model is one list, searched from end to end. What the contract
//! leaves open, it allows: the order of jobs of one moment, for how long a late finish counts, which job is claimed first
//! while its task is left to other programs.
//!
//! Time goes by in ticks of [`TICK`]. On a virtual clock all that happens in a tick happens at its beginning, and spans
//! are whole ticks. In real time the calls of a tick lie in its first half, and what they set ends in the second half of
//! a later one: no moment that decides anything is near a call. A machine that is too slow for that is [`Stop::TooSlow`].

mod claims;
mod contract;
mod driver;
mod look;
mod pace;
mod steps;

use std::fmt;

use self::driver::Driver;
pub use self::pace::TICK;
pub use self::steps::{Ending, Job, Letter, Pick, Step, steps};
use super::conformance::Fixture;
#[cfg(doc)]
use crate::broker::Broker;

/// What the model is tried on. The broker may hold other jobs; each run has queues and ids of its own.
pub trait Ground: Fixture {
    /// Whether its time is virtual: moments are exact, and looking at everything after every step costs none.
    const VIRTUAL: bool;

    /// Checks what no call shows, after each step.
    fn audit(&self) {}
}

/// Why a run ended early.
#[derive(Debug)]
pub enum Stop {
    /// The broker did what the contract does not allow.
    Differs(String),
    /// A call took so long that nobody can say what it should have found.
    TooSlow {
        /// How many steps before it were right.
        after: usize,
    },
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Differs(what) => f.write_str(what),
            Self::TooSlow { after } => write!(f, "after {after} steps the machine was too slow to tell"),
        }
    }
}

impl std::error::Error for Stop {}

/// Takes `steps` on a broker, one after the other.
///
/// # Errors
/// [`Stop`], with the step at which it came to that.
///
/// # Cancel safety
/// Cancel safe: its jobs are left in queues that nobody else knows.
pub async fn run(ground: &impl Ground, steps: &[Step]) -> Result<(), Stop> {
    let mut driver = Driver::new(ground).await;
    for (index, step) in steps.iter().enumerate() {
        driver.step(step).await.map_err(|stop| match stop {
            Stop::Differs(what) => Stop::Differs(format!("at step {index}, {step:?}: {what}")),
            Stop::TooSlow { .. } => Stop::TooSlow { after: index },
        })?;
    }
    driver.look_at_all().await.map_err(|stop| match stop {
        Stop::TooSlow { .. } => Stop::TooSlow { after: steps.len() },
        Stop::Differs(_) => stop,
    })
}
