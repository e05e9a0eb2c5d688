use std::collections::BTreeMap;

use crate::broker::{Enqueued, REQUEST_MEMORY, RequestId};
use crate::clock::Timestamp;
use crate::hash::Map;

/// The answers to enqueue calls that may come again.
#[derive(Debug, Default)]
pub(super) struct Requests(Map<u64, Asked>);

/// One caller's.
#[derive(Debug)]
struct Asked {
    answers: BTreeMap<u64, Vec<Enqueued>>,
    /// Its requests below this number come no more; one that does was held up on its way.
    settled: u64,
    /// When it asked last.
    at: Timestamp,
}

/// Its caller has given the request up, or has had its answer.
pub(super) struct Settled;

impl Requests {
    /// What a request was answered, if it has come before.
    pub(super) fn answer(&self, request: RequestId) -> Result<Option<&Vec<Enqueued>>, Settled> {
        let Some(asked) = self.0.get(&request.client) else { return Ok(None) };
        if request.number < asked.settled { Err(Settled) } else { Ok(asked.answers.get(&request.number)) }
    }

    /// Keeps the answer to a request, and drops those that its caller has settled.
    pub(super) fn note(&mut self, request: RequestId, answers: &[Enqueued], now: Timestamp) {
        if answers.is_empty() {
            return;
        }
        let new = || Asked { answers: BTreeMap::new(), settled: 0, at: now };
        let asked = self.0.entry(request.client).or_insert_with(new);
        asked.at = now;
        asked.settled = asked.settled.max(request.settled);
        while asked.answers.first_key_value().is_some_and(|(number, _)| *number < asked.settled) {
            asked.answers.pop_first();
        }
        asked.answers.insert(request.number, answers.to_vec());
    }

    pub(super) fn forget(&mut self, now: Timestamp) {
        let limit = now - REQUEST_MEMORY;
        self.0.retain(|_, asked| asked.at > limit);
    }

    #[cfg(all(test, feature = "testing"))]
    pub(super) fn len(&self) -> usize {
        self.0.values().map(|asked| asked.answers.len()).sum()
    }
}
