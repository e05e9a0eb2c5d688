mod audit;
mod bounds;
#[cfg(feature = "proptest")]
mod model;
mod ordered;
mod waits;
mod wakes;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::MemoryBroker;
use super::state::{Limits, State};
use crate::broker::{
    Broker, Claim, ClaimedJob, Due, Finish, Finished, JobId, Lease, LeaseToken, NewJob, Outcome, QueueName,
};
use crate::clock::{Clock, Timestamp};
use crate::job::{Failure, FailureKind};
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

const LEASE: Duration = Duration::from_secs(30);

crate::broker_conformance!(memory: || Memory, paused);

/// On the system's clock it keeps its promises, too; this one needs a clock and a timer to agree.
#[tokio::test]
async fn deferred_wakes_exactly_in_real_time() {
    struct RealTime;
    impl Fixture for RealTime {
        async fn broker(&self) -> Arc<dyn Broker> {
            Arc::new(MemoryBroker::new())
        }

        async fn pass(&self, span: Duration) {
            tokio::time::sleep(span).await;
        }
    }
    crate::testing::conformance::deferred_wakes_exactly(&RealTime).await;
}

/// The trait's documentation names exactly the promises that the suite has, and the macro runs all of them.
#[test]
fn promises_are_documented_and_run() {
    let suite = [
        include_str!("../../../testing/conformance/aborts.rs"),
        include_str!("../../../testing/conformance/claims.rs"),
        include_str!("../../../testing/conformance/dead.rs"),
        include_str!("../../../testing/conformance/enqueue.rs"),
        include_str!("../../../testing/conformance/inspection.rs"),
        include_str!("../../../testing/conformance/leases.rs"),
        include_str!("../../../testing/conformance/manage.rs"),
        include_str!("../../../testing/conformance/outcomes.rs"),
        include_str!("../../../testing/conformance/results.rs"),
        include_str!("../../../testing/conformance/waiting_claims.rs"),
        include_str!("../../../testing/conformance/waits.rs"),
    ];
    let promises = suite.iter().flat_map(|file| file.split("\npub async fn ").skip(1));
    let promises: Vec<&str> = promises.filter_map(|rest| rest.split('(').next()).collect();
    assert!(promises.len() > 40, "the suite was found");
    let run = include_str!("../../../testing/conformance/mod.rs");
    let documented = include_str!("../../mod.rs");
    let is_in =
        |text: &str, name: &&str| text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == *name);
    let missing: Vec<_> = promises.iter().filter(|name| !is_in(run, name)).collect();
    assert!(missing.is_empty(), "not run by broker_conformance!: {missing:?}");
    let missing: Vec<_> = promises.iter().filter(|name| !is_in(documented, name)).collect();
    assert!(missing.is_empty(), "not named in the docs of the trait Broker: {missing:?}");
}

fn queue(name: &str) -> QueueName {
    QueueName::new(name).expect("a valid name")
}

fn job_id(name: &str) -> JobId {
    JobId::new(name).expect("a valid id")
}

fn job(name: &str, id: &str) -> NewJob {
    NewJob {
        queue: queue(name),
        id: job_id(id),
        is_new_id: false,
        payload: Bytes::from_static(b"payload"),
        due: Due::Now,
        expires_in: None,
        replace_finished: false,
    }
}

fn deferred(name: &str, id: &str, delay: Duration) -> NewJob {
    NewJob { due: Due::In(delay), ..job(name, id) }
}

fn failure(message: &str) -> Failure {
    Failure::new(FailureKind::Error, message, 1, START)
}

fn state() -> State {
    State::new(Limits { jobs: 1_000, results: 1_000, dead_letters: 1_000, dead_letter_age: Duration::from_hours(24) })
}

fn done() -> Outcome {
    Outcome::End { result: None, dead: None, hold_id: Duration::ZERO }
}

/// A worker that numbers its calls.
struct Worker<'a> {
    broker: &'a MemoryBroker,
    queue: QueueName,
    number: u64,
    calls: u64,
}

impl<'a> Worker<'a> {
    fn new(broker: &'a MemoryBroker, name: &str) -> Self {
        Self { broker, queue: queue(name), number: rand::random(), calls: 0 }
    }

    async fn claim(&mut self, max: usize) -> Vec<ClaimedJob> {
        self.call(&[], max).await.0
    }

    async fn finish(&mut self, lease: &Lease, outcome: Outcome) -> Finished {
        let finish = Finish { lease: lease.clone(), outcome };
        self.call(&[finish], 0).await.1[0]
    }

    async fn call(&mut self, finished: &[Finish], max: usize) -> (Vec<ClaimedJob>, Vec<Finished>) {
        self.calls += 1;
        let token = LeaseToken { worker: self.number, call: self.calls };
        let request = Claim { queue: &self.queue, finished, max, lease: LEASE, token };
        let claimed = self.broker.claim(&request).await.expect("claim");
        (claimed.jobs, claimed.finished)
    }
}
