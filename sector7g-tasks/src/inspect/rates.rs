//! How quickly workers end jobs, by what they say of themselves now and then.

use std::collections::HashMap;

use super::{Overview, QueueView, WorkerView};
use crate::clock::Timestamp;

/// Jobs a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rate {
    /// That ended well.
    pub(crate) done: u64,
    /// That failed for good.
    pub(crate) failed: u64,
}

/// The rates of the workers that were seen last. Python's say theirs too seldom to have one.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    counts: HashMap<String, Count>,
}

/// What a worker had ended when its entry last changed, and how quickly it did.
#[derive(Clone, Copy, Debug)]
struct Count {
    done: u64,
    failed: u64,
    at: Timestamp,
    rate: Option<Rate>,
}

impl Rates {
    /// Takes what a look has found.
    pub(crate) fn see(&mut self, overview: &Overview) {
        let before = std::mem::take(&mut self.counts);
        for worker in overview.queues.iter().flat_map(|queue| &queue.workers).filter(|worker| !worker.is_python) {
            let count = Count::next(before.get(&worker.instance), worker);
            self.counts.insert(worker.instance.clone(), count);
        }
    }

    /// That of a queue's workers, those of their other queues included; `None` until they have said so twice.
    pub(crate) fn of(&self, queue: &QueueView) -> Option<Rate> {
        queue.workers.iter().filter_map(|worker| self.counts.get(&worker.instance)?.rate).reduce(Rate::and)
    }

    /// That of all workers; `None` until one has said so twice.
    pub(crate) fn all(&self) -> Option<Rate> {
        self.counts.values().filter_map(|count| count.rate).reduce(Rate::and)
    }
}

impl Count {
    fn next(before: Option<&Self>, worker: &WorkerView) -> Self {
        let (done, failed, at) = (worker.done, worker.failed, worker.at);
        match before {
            None => Self { done, failed, at, rate: None },
            Some(before) if at <= before.at => *before, // it has said nothing new
            Some(before) => {
                let ms = super::millis(at.since(before.at)).max(1);
                let per_minute = |now: u64, then: u64| now.saturating_sub(then).saturating_mul(60_000) / ms;
                let rate = Rate { done: per_minute(done, before.done), failed: per_minute(failed, before.failed) };
                Self { done, failed, at, rate: Some(rate) }
            }
        }
    }
}

impl Rate {
    pub(crate) fn ended(self) -> u64 {
        self.done.saturating_add(self.failed)
    }

    fn and(self, other: Self) -> Self {
        Self { done: self.done.saturating_add(other.done), failed: self.failed.saturating_add(other.failed) }
    }
}
