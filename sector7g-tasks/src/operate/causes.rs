//! `dead causes`: what dead letters died of, most of all first.

use std::collections::HashMap;

use serde::Serialize;

use super::Site;
use super::args::LetterArgs;
use super::error::OperateError;
use super::jobs::{Looked, PAGE};
use super::show::{relative, table};
use crate::broker::{Broker, JobFilter, JobRecord, QueueName};
use crate::clock::Timestamp;
use crate::inspect::{JobView, Reveal};

/// How many causes are told apart; what comes when there are as many is of one without a name.
const MOST: usize = 1000;

/// The most bytes of a cause.
const LENGTH: usize = 160;

/// Dead letters of one queue and task that died alike.
#[derive(Debug, PartialEq, Serialize)]
struct Tally {
    count: u64,
    queue: String,
    task: Option<String>,
    /// The last failure's first line, with `#` in place of numbers and the like; `None` for all beyond the first thousand.
    cause: Option<String>,
    /// When the first and the last of them died.
    first: Timestamp,
    last: Timestamp,
    /// The last one's id.
    example: String,
}

pub(super) async fn tell(site: &Site<'_>, which: &LetterArgs) -> Result<(), OperateError> {
    let now = site.broker.clock().now();
    let (mut causes, mut looked) = (Causes::default(), Looked::default());
    for queue in site.queues().await? {
        let mut after = None;
        loop {
            let page = site.broker.jobs(&queue, JobFilter::Dead, after, PAGE).await?;
            looked.at(page.jobs.len());
            for letter in page.jobs.into_iter().filter(|letter| which.takes(letter, now)) {
                causes.add(letter, &queue);
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    looked.end();
    let causes = causes.sorted();
    site.output.tell(&causes, || {
        if causes.is_empty() {
            return if which.is_any() { "No dead letters." } else { "No such dead letters." }.to_owned();
        }
        let rows = causes.iter().map(|cause| {
            vec![
                cause.count.to_string(),
                cause.queue.clone(),
                match &cause.task {
                    Some(task) => task.clone(),
                    None if cause.cause.is_none() => String::new(),
                    None => "<unreadable>".to_owned(),
                },
                cause.cause.clone().unwrap_or_else(|| "<others>".to_owned()),
                relative(Some(cause.last), now),
                cause.example.clone(),
            ]
        });
        table(&[">letters", "queue", "task", "cause", ">last", "=its id"], rows)
    });
    Ok(())
}

#[derive(Default)]
struct Causes {
    by: HashMap<(String, Option<String>, Option<String>), Tally>,
}

impl Causes {
    fn add(&mut self, letter: JobRecord, queue: &QueueName) {
        let job = JobView::new(letter, queue, &Reveal::default());
        let cause = job.failures.last().map(|failure| outline(&failure.to_string())).unwrap_or_default();
        let mut key = (job.queue, job.task, Some(cause));
        if self.by.len() >= MOST && !self.by.contains_key(&key) {
            (key.1, key.2) = (None, None);
        }
        let died = job.died_at.unwrap_or_default();
        let (queue, task, cause) = key.clone();
        let known = self.by.entry(key).or_insert_with(|| Tally {
            count: 0,
            queue,
            task,
            cause,
            first: died,
            last: died,
            example: job.id.clone(),
        });
        known.count += 1;
        known.first = known.first.min(died);
        if died > known.last {
            (known.last, known.example) = (died, job.id);
        }
    }

    fn sorted(self) -> Vec<Tally> {
        let mut causes: Vec<Tally> = self.by.into_values().collect();
        causes.sort_by(|a, b| {
            b.count.cmp(&a.count).then_with(|| b.last.cmp(&a.last)).then_with(|| a.example.cmp(&b.example))
        });
        causes
    }
}

/// What a failure has in common with others that are alike: its first line, without the numbers and ids in it.
fn outline(failure: &str) -> String {
    let mut outline = String::new();
    let mut rest = failure.lines().next().unwrap_or_default();
    while let Some(first) = rest.chars().next().filter(|_| outline.len() < LENGTH) {
        let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len()).max(first.len_utf8());
        let (word, after) = rest.split_at(if starts_with_uuid(rest) { UUID } else { end });
        match unit_of(word) {
            None => outline.push_str(word),
            Some(unit) => {
                outline.push('#');
                outline.push_str(unit);
            }
        }
        rest = after;
    }
    outline.truncate(outline.floor_char_boundary(LENGTH));
    outline
}

/// The length of a UUID, `550e8400-e29b-41d4-a716-446655440000`.
const UUID: usize = 36;

fn starts_with_uuid(text: &str) -> bool {
    let is_of_uuid = |(nth, byte): (usize, &u8)| match nth {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    text.as_bytes().get(..UUID).is_some_and(|start| start.iter().enumerate().all(is_of_uuid))
}

/// What stands behind a number, as in `300s`: mostly nothing, as behind the hexadecimal digits of ids and addresses. `None`
/// of a word that is no number.
fn unit_of(word: &str) -> Option<&str> {
    const LEAST_OF_ID: usize = 8;
    const UNIT: usize = 3;
    if starts_with_uuid(word) {
        return Some("");
    }
    let digits = word.strip_prefix("0x").unwrap_or(word);
    let has_digit = digits.contains(|c: char| c.is_ascii_digit());
    if has_digit && digits.len() >= LEAST_OF_ID && digits.chars().all(|c| c.is_ascii_hexdigit()) {
        return Some("");
    }
    let unit = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let is_unit = unit.len() < word.len() && unit.len() <= UNIT && unit.chars().all(char::is_alphabetic);
    is_unit.then_some(unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{JobId, JobState};
    use crate::job::{Failure, FailureKind};

    #[test]
    fn what_differs_in_numbers_and_ids_alone_is_one() {
        let check = |failure: &str, expected: &str| assert_eq!(outline(failure), expected, "{failure}");
        check("error: no coolant in reactor 7", "error: no coolant in reactor #");
        check("timeout: it took longer than 300s", "timeout: it took longer than #s");
        check("error: user 0193c4be-77aa2 is gone", "error: user #-77aa2 is gone");
        check("error: order 550e8400-e29b-41d4-a716-446655440000 is gone", "error: order # is gone");
        check("panic: at src/lenny.rs:41:9: utf8", "panic: at src/lenny.rs:#:#: utf8");
        check("error: 12.5 of 100 %\nand more", "error: #.# of # %");
        check("error: dead beef at 0xdeadbeef1", "error: dead beef at #");
        check("", "");
        assert_eq!(outline(&"ä".repeat(500)).len(), LENGTH, "cut where a sign ends");
    }

    fn letter(id: String, cause: &str, at: i64) -> JobRecord {
        let at = Timestamp::from_millis(at);
        JobRecord {
            id: JobId::new(id).expect("an id"),
            state: JobState::Dead,
            payload: None,
            result: None,
            attempt: 1,
            due_at: at,
            failures: vec![Failure::new(FailureKind::Error, cause, 1, at)],
            progress: None,
            abort_requested: false,
            worker: None,
            running_since: None,
        }
    }

    #[test]
    fn the_most_frequent_comes_first_and_there_is_a_bound() {
        let queue = QueueName::new("homer").expect("a name");
        let mut causes = Causes::default();
        for nth in 0..3 {
            causes.add(letter(format!("a{nth}"), &format!("try {nth}"), 100 - nth), &queue);
        }
        for nth in 0..2 * MOST {
            let cause: String = nth.to_string().chars().map(|digit| char::from(digit as u8 + 49)).collect();
            causes.add(letter(format!("b{nth}"), &cause, 1), &queue);
        }
        let causes = causes.sorted();
        assert_eq!(causes.len(), MOST + 1);
        assert_eq!((causes[0].count, &causes[0].cause), (MOST as u64 + 1, &None), "the rest together");
        let most = &causes[1];
        assert_eq!((most.count, most.cause.as_deref(), &*most.example), (3, Some("error: try #"), "a0"));
        assert_eq!((most.first, most.last), (Timestamp::from_millis(98), Timestamp::from_millis(100)));
    }
}
