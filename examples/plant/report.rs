//! The account of a shift: a table of the queues, and the dead letters. Eighty columns wide at most.

use std::time::Duration;

use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use sector7g_tasks::client::JobInfo;
use sector7g_tasks::worker::WorkerReport;

use crate::histogram::Histogram;
use crate::timeclock::Card;

/// The widest that anything gets, in columns.
const WIDTH: u16 = 80;

/// A queue's line in the summary.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Its name.
    pub queue: String,
    /// What its worker counted.
    pub worker: WorkerReport,
    /// What the time clock measured.
    pub card: Card,
    /// Dead letters.
    pub dead: usize,
}

/// All rows as one.
pub fn total(rows: &[Row], card: Card) -> Row {
    let mut total = Row { queue: "all".to_owned(), card, ..Row::default() };
    for Row { worker, dead, .. } in rows {
        total.dead += dead;
        total.worker.done += worker.done;
        total.worker.failed += worker.failed;
        total.worker.retried += worker.retried;
        total.worker.given_back += worker.given_back;
        total.worker.aborted += worker.aborted;
    }
    total
}

/// The table of all queues, their total last.
pub fn summary(rows: &[Row], total: &Row) -> String {
    let mut table =
        table(&["queue", "done", "failed", "retried", "dead", "wait\np50", "wait\np95", "run\np50", "run\np95"]);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.add_rows(rows.iter().chain([total]).map(cells));
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((1, 0));
        column.set_cell_alignment(if index == 0 { CellAlignment::Left } else { CellAlignment::Right });
    }
    let WorkerReport { aborted, given_back, .. } = total.worker;
    format!("{table}\n failed: for good, dead letters included. Besides: {aborted} aborted, {given_back} put off.")
}

fn cells(row: &Row) -> Vec<Cell> {
    let Row { queue, worker, card, dead } = row;
    let counts = [worker.done, worker.failed, worker.retried, *dead as u64].map(|count| count.to_string());
    let spans = [(&card.wait, 0.5), (&card.wait, 0.95), (&card.run, 0.5), (&card.run, 0.95)].map(quantile);
    let numbers = counts.into_iter().chain(spans).map(Cell::new);
    std::iter::once(Cell::new(queue)).chain(numbers).collect()
}

/// The dead letters, each with its id, task, attempts and last failure.
pub fn dead_letters(letters: &[JobInfo]) -> String {
    if letters.is_empty() {
        return "No dead letters.".to_owned();
    }
    let mut table = table(&["dead letter", "task", "tries", "why"]);
    for letter in letters {
        let task = letter.task.clone().unwrap_or_else(|| "unreadable".to_owned());
        let why = letter.failures.last().map_or_else(String::new, ToString::to_string);
        table.add_row([letter.id.to_string(), task, letter.attempt.to_string(), why]);
    }
    table.to_string()
}

fn table(header: &[&str]) -> Table {
    let line = LineStyle::none().fill('─').junction('─');
    let mut table = Table::new();
    table.load_style(TableStyle::new().top_border(line).header_separator(line).bottom_border(line));
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table.set_header(header);
    table
}

fn quantile((histogram, part): (&Histogram, f64)) -> String {
    histogram.quantile(part).map_or_else(|| "-".to_owned(), short)
}

/// A duration with three digits: `850 µs`, `12.3 ms`, `1.24 s`.
fn short(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let (value, unit) = match seconds {
        s if s < 0.000_999_5 => (s * 1e6, "µs"),
        s if s < 0.999_5 => (s * 1e3, "ms"),
        s => (s, "s"),
    };
    let decimals = match value {
        v if v < 9.995 && unit != "µs" => 2,
        v if v < 99.95 && unit != "µs" => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

/// An error and its causes on one line.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits() {
        let check = |micros, expected: &str| assert_eq!(short(Duration::from_micros(micros)), expected);
        check(0, "0 µs");
        check(850, "850 µs");
        check(1_000, "1.00 ms");
        check(12_340, "12.3 ms");
        check(999_400, "999 ms");
        check(999_600, "1.00 s");
        check(12_345_678, "12.3 s");
        check(345_000_000, "345 s");
    }

    #[test]
    fn the_summary_is_narrow_whatever_it_holds() {
        let mut row = Row { queue: "inanimate_rod".to_owned(), dead: 1_234, ..Row::default() };
        (row.worker.done, row.worker.failed, row.worker.retried) = (123_456, 12_345, 12_345);
        row.card.wait.add(Duration::from_millis(345));
        row.card.run.add(Duration::from_micros(345));
        let total = total(&[row.clone(), row.clone()], row.card.clone());
        let text = summary(&[row.clone(), row], &total);
        assert!(text.lines().all(|line| line.chars().count() <= usize::from(WIDTH)), "{text}");
        assert_eq!(text.lines().filter(|line| line.contains("inanimate_rod")).count(), 2, "{text}");
        assert!(text.contains("246912") && text.contains("24690") && text.contains("352 ms"), "{text}");
    }

    #[test]
    fn no_dead_letters_are_said_to_be_none() {
        assert_eq!(dead_letters(&[]), "No dead letters.");
    }

    #[test]
    fn errors_tell_their_causes() {
        let error = crate::inanimate_rod::SimError::Trace(std::io::Error::other("disk full"));
        assert_eq!(with_causes(&error), "the trace could not be written: disk full");
    }
}
