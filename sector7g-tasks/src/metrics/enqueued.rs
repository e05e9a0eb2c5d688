//! Counts what clients enqueue. Programs name queues and tasks as they like, so labels have a bound.

use std::sync::{LazyLock, PoisonError, RwLock};

use ::metrics::Counter;

use super::names;
use crate::broker::{Enqueued, NewJob};
use crate::hash::Map;

/// The label of what has none of its own.
pub(crate) const OTHER: &str = "_other";

/// How many pairs of queue and task have labels of their own, in one process; those that come later share one.
const MOST: usize = 1_000;

/// The counters, by queue and task: those of a program last as long as its recorder, which is as long as itself.
static COUNTERS: LazyLock<RwLock<Counters>> = LazyLock::new(RwLock::default);

#[derive(Default)]
struct Counters {
    by_queue: Map<String, Map<String, Counter>>,
    count: usize,
    /// Of all pairs that came too late, once there is one.
    other: Option<Counter>,
}

/// Counts the new ones of `jobs`, each with its task.
pub(crate) fn count<'a>(jobs: impl Iterator<Item = (&'a NewJob, &'a str)>, answers: &[Enqueued]) {
    let new = jobs.zip(answers).filter(|(_, answer)| **answer == Enqueued::New).map(|(job, _)| job);
    // A batch is of one task and one queue as a rule.
    let mut run: Option<(&str, &str, u64)> = None;
    for (job, task) in new {
        match &mut run {
            Some((queue, same, count)) if *queue == job.queue.as_str() && *same == task => *count += 1,
            _ => {
                let before = run.replace((job.queue.as_str(), task, 1));
                add(before);
            }
        }
    }
    add(run);
}

fn add(run: Option<(&str, &str, u64)>) {
    let Some((queue, task, count)) = run else { return };
    let known = COUNTERS.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(counter) = known.known(queue, task) {
        return counter.increment(count);
    }
    drop(known);
    COUNTERS.write().unwrap_or_else(PoisonError::into_inner).counter(queue, task).increment(count);
}

impl Counters {
    /// The counter of a pair, if it needs no new one.
    fn known(&self, queue: &str, task: &str) -> Option<&Counter> {
        self.by_queue.get(queue).and_then(|tasks| tasks.get(task)).or(self.other.as_ref())
    }

    fn counter(&mut self, queue: &str, task: &str) -> Counter {
        if let Some(counter) = self.known(queue, task) {
            return counter.clone(); // another thread was first
        }
        if self.count >= MOST {
            let other = || names::counter(names::ENQUEUED, [("queue", OTHER), ("task", OTHER)]);
            return self.other.get_or_insert_with(other).clone();
        }
        let tasks = self.by_queue.entry(queue.to_owned()).or_default();
        let new = || names::counter(names::ENQUEUED, [("queue", queue), ("task", task)]);
        let before = tasks.len();
        let counter = tasks.entry(task.to_owned()).or_insert_with(new).clone();
        self.count += tasks.len() - before;
        counter
    }
}

/// Makes the counters anew: a recorder has come.
#[cfg(feature = "prometheus")]
pub(super) fn forget() {
    *COUNTERS.write().unwrap_or_else(PoisonError::into_inner) = Counters::default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_have_a_bound() {
        let mut counters = Counters::default();
        for number in 0..3 * MOST {
            let _ = counters.counter(&format!("tenant-{number}"), "bill");
            let _ = counters.counter("tenant-0", "bill");
        }
        let pairs: usize = counters.by_queue.values().map(Map::len).sum();
        assert_eq!((pairs, counters.count), (MOST, MOST));
        assert!(
            counters.known("tenant-9999", "bill").is_some(),
            "what shares a counter is found without the write lock"
        );
    }
}
