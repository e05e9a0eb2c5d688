//! The foreman's book: what is to become of each job, and in the end what was off.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::pin::Pin;
use std::time::Duration;

use sector7g_tasks::client::JobInfo;
use sector7g_tasks::job::JobKind;
use sector7g_tasks::prelude::*;

use crate::report::Row;
use crate::sim::instrument::Instrument;

/// What is to become of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It ends well.
    Done,
    /// It fails that way, and nobody needs to look into it.
    Failed(FailureKind),
    /// It fails that way and is kept as a dead letter.
    Dead(FailureKind),
}

/// All that the foreman wrote down during a shift.
#[derive(Default)]
pub struct Book {
    entries: Vec<Entry>,
    /// Failed attempts that are to be repeated.
    pub retries: u64,
    /// Jobs that may be put off once.
    pub may_be_put_off: u64,
    /// Jobs that other jobs are to enqueue, by task.
    handed_over: BTreeMap<&'static str, u64>,
    /// What was off already while jobs were enqueued.
    pub remarks: Vec<String>,
}

struct Entry {
    id: JobId,
    expected: Expected,
    ended: Ended,
}

/// Asks for a job's end; runs only when it is awaited.
type Ended = Pin<Box<dyn Future<Output = Result<(), ResultError>> + Send>>;

impl Book {
    /// Writes down what is to become of a job.
    pub fn expect<K: JobKind>(&mut self, handle: &JobHandle<K>, expected: Expected) {
        let handle = handle.clone();
        let id = handle.id().clone();
        let ended = Box::pin(async move { handle.result_within(Duration::ZERO).await.map(drop) });
        self.entries.push(Entry { id, expected, ended });
    }

    /// All of these jobs are to end well.
    pub fn expect_done<K: JobKind>(&mut self, handles: &[JobHandle<K>]) {
        for handle in handles {
            self.expect(handle, Expected::Done);
        }
    }

    /// These jobs read an instrument: how often each fails is known beforehand, and whether it runs out of `tries`.
    pub fn expect_readings<K: JobKind>(&mut self, handles: &[JobHandle<K>], instrument: &Instrument, tries: u32) {
        for handle in handles {
            let faults = instrument.faults_before_success(handle.id().as_str(), tries);
            self.retries += u64::from(faults.unwrap_or(tries - 1));
            self.expect(handle, if faults.is_some() { Expected::Done } else { Expected::Dead(FailureKind::Error) });
        }
    }

    /// `count` more jobs of `task` are to be enqueued by other jobs, and to end well.
    pub fn hand_over(&mut self, task: &'static str, count: u64) {
        *self.handed_over.entry(task).or_default() += count;
    }

    /// Writes `remark` down unless `fine`.
    pub fn check(&mut self, fine: bool, remark: &str) {
        if !fine {
            self.remarks.push(remark.to_owned());
        }
    }

    /// Compares the book with what workers and time clock have counted and with the dead letters; returns what is off.
    pub async fn close(self, total: &Row, dead: &[JobInfo]) -> Vec<String> {
        let mut off = self.remarks;
        let put_off = 0..=self.may_be_put_off;
        differs(&mut off, "repeated attempts", &total.worker.retried, &self.retries);
        for (task, count) in &self.handed_over {
            differs(&mut off, &format!("jobs of {task} handed over and done"), &total.card.done_of(task), count);
        }
        if !put_off.contains(&total.worker.given_back) {
            off.push(format!(
                "{} attempts were put off, at most {} should have been",
                total.worker.given_back,
                put_off.end()
            ));
        }
        let mut expected_dead = BTreeSet::new();
        for Entry { id, expected, ended } in self.entries {
            if let Expected::Dead(_) = expected {
                expected_dead.insert(id.to_string());
            }
            off.extend(difference(&id, expected, ended.await));
        }
        let dead = dead.iter().map(|letter| letter.id.to_string()).collect();
        differs(&mut off, "dead letters", &dead, &expected_dead);
        off
    }
}

fn differs<T: PartialEq + Debug>(off: &mut Vec<String>, what: &str, found: &T, expected: &T) {
    if found != expected {
        off.push(format!("{what}: {found:?}, expected {expected:?}"));
    }
}

fn difference(id: &JobId, expected: Expected, ended: Result<(), ResultError>) -> Option<String> {
    let kind = ended.as_ref().err().and_then(|error| error.failure()).map(|failure| failure.kind);
    let as_expected = match expected {
        Expected::Done => ended.is_ok(),
        Expected::Failed(wanted) | Expected::Dead(wanted) => kind == Some(wanted),
    };
    if as_expected {
        return None;
    }
    let found = ended.map_or_else(|error| error.to_string(), |()| format!("job {id} ended well"));
    Some(match expected {
        Expected::Done => format!("{found}; it should have ended well"),
        Expected::Failed(wanted) | Expected::Dead(wanted) => format!("{found}; it should have failed ({wanted})"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> JobId {
        JobId::new("nap-1").unwrap()
    }

    #[test]
    fn a_job_that_ends_otherwise_is_off() {
        let lost = || Err(ResultError::NotFound { id: id() });
        assert_eq!(difference(&id(), Expected::Done, Ok(())), None);
        assert!(difference(&id(), Expected::Done, lost()).unwrap().ends_with("it should have ended well"));
        let timeout = Expected::Failed(FailureKind::Timeout);
        assert_eq!(
            difference(&id(), timeout, Ok(())).unwrap(),
            "job nap-1 ended well; it should have failed (timeout)"
        );
        assert!(difference(&id(), timeout, lost()).is_some());
    }

    #[tokio::test]
    async fn numbers_that_differ_are_named() {
        let book = Book { retries: 3, may_be_put_off: 1, ..Book::default() };
        let mut total = Row::default();
        (total.worker.retried, total.worker.given_back) = (2, 2);
        let off = book.close(&total, &[]).await;
        assert_eq!(off, ["repeated attempts: 2, expected 3", "2 attempts were put off, at most 1 should have been"]);
    }
}
