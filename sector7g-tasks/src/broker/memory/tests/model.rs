//! The model check, in virtual time.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::super::{Broker, MemoryBroker};
use super::START;
use crate::clock::Clock;
use crate::testing::conformance::Fixture;
use crate::testing::model::{Ground, run, steps};

struct Memory(MemoryBroker);

impl Fixture for Memory {
    async fn broker(&self) -> Arc<dyn Broker> {
        Arc::new(self.0.clone())
    }

    async fn pass(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}

impl Ground for Memory {
    const VIRTUAL: bool = true;

    fn audit(&self) {
        self.0.shared.step(|state, now, _| state.audit(now));
    }
}

proptest! {
    #![proptest_config(crate::cases::unkept(1024))]

    /// Any steps: each id is in one place, a job has one holder, and every attempt is counted.
    #[test]
    fn the_broker_does_as_its_model(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let ground = Memory(MemoryBroker::with_clock(Clock::starting_from(START)));
            run(&ground, &steps).await.map_err(|stop| TestCaseError::fail(stop.to_string()))
        })?;
    }
}
