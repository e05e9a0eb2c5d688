use std::sync::Arc;
use std::time::Duration;

use super::MemoryBroker;
use crate::broker::Broker;
use crate::clock::{Clock, Timestamp};
use crate::testing::conformance::Fixture;

/// A broker whose time is tokio's, paused.
struct Memory;

impl Fixture for Memory {
    async fn broker(&self) -> Arc<dyn Broker> {
        Arc::new(MemoryBroker::with_clock(Clock::starting_from(START)))
    }

    async fn pass(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}

const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

crate::broker_conformance!(memory: || Memory, paused);
