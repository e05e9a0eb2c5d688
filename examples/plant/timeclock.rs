//! The time clock at the gate: every worker punches in before a job and out after it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sector7g_tasks::broker::QueueName;
use sector7g_tasks::prelude::*;

use crate::histogram::Histogram;

/// Counts what the workers do. Clones are the same clock.
///
/// Its size is that of the program: a card for each queue, a line for each task, the running jobs.
#[derive(Clone, Debug, Default)]
pub struct TimeClock(Arc<Mutex<BTreeMap<String, Card>>>);

/// A queue's card: what the workers' own reports do not tell, or not before their end.
#[derive(Clone, Debug, Default)]
pub struct Card {
    /// The jobs that run now.
    running: BTreeSet<JobId>,
    /// Jobs that came to an end, well or not, after they had started.
    pub ended: u64,
    /// Failed attempts that are repeated.
    pub retried: u64,
    /// From due to started, for each attempt.
    pub wait: Histogram,
    /// From started to ended, for each attempt.
    pub run: Histogram,
    /// Jobs that ended well, by task.
    done_by_task: BTreeMap<&'static str, u64>,
}

impl TimeClock {
    /// A queue's card as it is now.
    pub fn card(&self, queue: &str) -> Card {
        self.cards().get(queue).cloned().unwrap_or_default()
    }

    /// All cards as one.
    pub fn total(&self) -> Card {
        self.cards().values().fold(Card::default(), Card::and)
    }

    fn cards(&self) -> MutexGuard<'_, BTreeMap<String, Card>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner) // numbers are never half written
    }

    fn punch(&self, queue: &QueueName, mark: impl FnOnce(&mut Card)) {
        mark(self.cards().entry(queue.to_string()).or_default());
    }
}

impl Card {
    /// Jobs that run now.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Jobs of a task that ended well.
    pub fn done_of(&self, task: &str) -> u64 {
        self.done_by_task.get(task).copied().unwrap_or(0)
    }

    fn start(&mut self, job: &JobId, wait: Duration) {
        self.running.insert(job.clone());
        self.wait.add(wait);
    }

    fn end(&mut self, job: &JobId, task: &'static str, kind: JobEndKind, run: Duration) {
        self.running.remove(job);
        self.run.add(run);
        match kind {
            JobEndKind::Retried(_) => self.retried += 1,
            JobEndKind::GivenBack(_) => {}
            JobEndKind::Done => {
                self.ended += 1;
                *self.done_by_task.entry(task).or_default() += 1;
            }
            _ => self.ended += 1,
        }
    }

    fn and(mut self, other: &Self) -> Self {
        self.running.extend(other.running.iter().cloned());
        self.ended += other.ended;
        self.retried += other.retried;
        self.wait.merge(&other.wait);
        self.run.merge(&other.run);
        for (task, done) in &other.done_by_task {
            *self.done_by_task.entry(task).or_default() += done;
        }
        self
    }
}

/// `on_job_start` of every worker; does nothing where no time clock hangs.
pub async fn clock_in(ctx: &Context) {
    if let Some(clock) = ctx.state::<TimeClock>() {
        let wait = ctx.worker().now().since(ctx.due_at());
        clock.punch(ctx.queue(), |card| card.start(ctx.job_id(), wait));
    }
}

/// `after_job_end` of every worker; does nothing where no time clock hangs.
pub async fn clock_out(ctx: &Context, end: &JobEnd) {
    if let Some(clock) = ctx.state::<TimeClock>() {
        clock.punch(ctx.queue(), |card| card.end(ctx.job_id(), ctx.task(), end.kind, end.run_time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_counts_each_end_once() {
        let mut card = Card::default();
        let job = JobId::new("job").unwrap();
        let ends = [
            JobEndKind::Retried(Duration::ZERO),
            JobEndKind::GivenBack(Duration::ZERO),
            JobEndKind::Done,
            JobEndKind::Failed,
            JobEndKind::Aborted,
        ];
        for kind in ends {
            card.start(&job, Duration::from_millis(1));
            assert_eq!(card.running(), 1);
            card.end(&job, "nap", kind, Duration::from_millis(2));
            assert_eq!(card.running(), 0);
        }
        assert_eq!((card.ended, card.retried), (3, 1));
        assert_eq!((card.done_of("nap"), card.done_of("audit")), (1, 0));
        assert_eq!((card.wait.total(), card.run.total()), (5, 5));
    }

    #[test]
    fn the_total_is_all_cards() {
        let clock = TimeClock::default();
        for queue in ["homer", "lenny"] {
            let queue = QueueName::new(queue).unwrap();
            clock.punch(&queue, |card| card.start(&JobId::new(queue.as_str()).unwrap(), Duration::ZERO));
            clock.punch(&queue, |card| card.end(&JobId::new("x").unwrap(), "nap", JobEndKind::Done, Duration::ZERO));
        }
        let total = clock.total();
        assert_eq!((total.running(), total.ended, total.done_of("nap"), total.wait.total()), (2, 2, 2, 2));
        assert_eq!(clock.card("homer").ended, 1);
        assert_eq!(clock.card("nobody").ended, 0);
    }
}
