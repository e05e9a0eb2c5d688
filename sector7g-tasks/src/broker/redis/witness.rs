//! Since when the server is known to answer. A lease that ran out while it was away says nothing of its worker, who could
//! not renew it: only who has seen the server answer meanwhile may take the job over.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::link::Failed;
use crate::broker::BrokerError;

/// What the calls to a server tell of it.
#[derive(Debug, Default)]
pub(super) struct Witness {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Since when calls are answered, but for gaps in which every lease could have been renewed later; `None` before the
    /// first answer.
    since: Option<Instant>,
    /// When the first of those calls was sent that have failed since the last answer.
    failing: Option<Instant>,
    /// The shortest lease asked for.
    lease: Option<Duration>,
}

/// For how long something has been so, before a call is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Ages {
    /// That calls were answered.
    pub(super) answered: Duration,
    /// That calls have failed.
    pub(super) failing: Duration,
    /// See [`State::lease`].
    pub(super) lease: Duration,
}

impl Witness {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner) // no code panics while it holds the lock
    }

    /// A call is made. When what it returns is dropped before the call was answered, it has failed.
    pub(super) fn call(&self) -> UnderWay<'_> {
        UnderWay { witness: self, sent: Instant::now(), is_answered: false }
    }

    /// Leases are asked for.
    pub(super) fn lease(&self, lease: Duration) {
        let mut state = self.state();
        state.lease = Some(state.lease.map_or(lease, |shortest| shortest.min(lease)));
    }

    pub(super) fn ages(&self, now: Instant) -> Ages {
        let state = self.state();
        let age = |moment: Option<Instant>| moment.map_or(Duration::ZERO, |moment| now.duration_since(moment));
        Ages { answered: age(state.since), failing: age(state.failing), lease: state.lease.unwrap_or_default() }
    }

    fn failed(&self, sent: Instant) {
        self.state().failing.get_or_insert(sent);
    }

    fn answered(&self, sent: Instant, now: Instant) {
        let mut state = self.state();
        let asked = state.failing.take().map_or(sent, |failing| failing.min(sent));
        let is_gap = state.lease.is_some_and(|lease| now.duration_since(asked) > lease / 2);
        if is_gap || state.since.is_none() {
            state.since = Some(now);
        }
    }
}

/// A call of which nobody knows yet whether it is answered.
#[derive(Debug)]
pub(super) struct UnderWay<'a> {
    witness: &'a Witness,
    sent: Instant,
    is_answered: bool,
}

impl UnderWay<'_> {
    /// A refusal is an answer, too.
    pub(super) fn ended<T>(mut self, answer: &Result<T, Failed>) {
        self.is_answered =
            answer.as_ref().err().is_none_or(|(error, _)| !matches!(error, BrokerError::Unavailable { .. }));
        if self.is_answered {
            self.witness.answered(self.sent, Instant::now());
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.witness.failed(self.sent);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const LEASE: Duration = Duration::from_secs(10);
    const SECOND: Duration = Duration::from_secs(1);

    async fn a_call_of(witness: &Witness, seconds: u32) {
        let call = witness.call();
        advance(SECOND * seconds).await;
        call.ended(&Ok(()));
    }

    fn answered(witness: &Witness) -> Duration {
        witness.ages(Instant::now()).answered
    }

    #[tokio::test(start_paused = true)]
    async fn a_gap_of_half_a_lease_begins_anew() {
        let witness = Witness::default();
        witness.lease(LEASE * 2);
        witness.lease(LEASE);
        assert_eq!(witness.ages(Instant::now()), Ages { lease: LEASE, ..Ages::default() }, "nothing is known");
        a_call_of(&witness, 1).await;
        assert_eq!(answered(&witness), Duration::ZERO);
        advance(SECOND * 60).await;
        a_call_of(&witness, 5).await;
        assert_eq!(answered(&witness), SECOND * 65, "a call was slow, yet leases could be renewed");
        witness.call().ended::<()>(&Err((BrokerError::Refused(String::new()), false)));
        assert_eq!(
            witness.ages(Instant::now()).failing,
            Duration::ZERO,
            "an answer, if not the one that was wished for"
        );
        a_call_of(&witness, 6).await;
        assert_eq!(answered(&witness), Duration::ZERO, "one was too slow");
        advance(SECOND).await;
        for _ in 0..2 {
            drop(witness.call());
            advance(SECOND * 3).await;
        }
        assert_eq!(witness.ages(Instant::now()).failing, SECOND * 6, "since the first that failed");
        assert_eq!(answered(&witness), SECOND * 7, "what was before, as it may be a short gap");
        a_call_of(&witness, 0).await;
        assert_eq!(witness.ages(Instant::now()), Ages { lease: LEASE, ..Ages::default() });
    }
}
