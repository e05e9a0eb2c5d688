use std::collections::VecDeque;

use crate::broker::{Enqueued, REQUEST_MEMORY, RequestId};
use crate::clock::Timestamp;
use crate::hash::Map;

/// The answers to enqueue calls that may come again.
#[derive(Debug, Default)]
pub(super) struct Requests(Map<u64, Asked>);

/// One caller's.
#[derive(Debug)]
struct Asked {
    /// With their numbers, ascending but for calls that overtook each other.
    answers: VecDeque<(u64, Vec<Enqueued>)>,
    /// When it asked last.
    at: Timestamp,
}

impl Requests {
    /// What a repeated request was answered.
    pub(super) fn answer(&self, request: RequestId) -> Option<&Vec<Enqueued>> {
        let asked = self.0.get(&request.client).filter(|_| request.is_repeat)?;
        asked.answers.iter().rev().find(|(number, _)| *number == request.number).map(|(_, answers)| answers)
    }

    /// Keeps the answer to a request, and drops those that its caller has settled.
    pub(super) fn note(&mut self, request: RequestId, answers: &[Enqueued], now: Timestamp) {
        if answers.is_empty() {
            return;
        }
        let asked = self.0.entry(request.client).or_insert_with(|| Asked { answers: VecDeque::new(), at: now });
        asked.at = now;
        asked.answers.retain(|(number, _)| *number >= request.settled);
        asked.answers.push_back((request.number, answers.to_vec()));
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
