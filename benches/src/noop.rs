//! The job of all cases: it gets an integer and a text of 32 bytes, and does nothing.

use sector7g_tasks::job::Job;
use sector7g_tasks::prelude::*;

/// Returns its number.
#[task(queue = "bench")]
pub(crate) async fn noop(number: u64, text: String) -> u64 {
    drop(text);
    number
}

/// A number of ten digits, another for each job.
pub(crate) fn number(index: usize) -> u64 {
    7_000_000_000 + index as u64
}

/// 32 bytes.
pub(crate) const TEXT: &str = "the quick brown fox, 32 bytes up";

/// As many jobs.
pub(crate) fn jobs(count: usize) -> impl Iterator<Item = Job<noop>> {
    (0..count).map(|index| noop::job(number(index), TEXT.to_owned()))
}

#[test]
fn the_text_is_as_long_as_it_says() {
    assert_eq!(TEXT.len(), 32);
}
