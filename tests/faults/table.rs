//! What is printed in the end.

use std::time::Duration;

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};

use crate::scenario::Outcome;

/// A line for each scenario.
pub(crate) fn of(outcomes: &[Outcome]) -> Table {
    let mut table = Table::new();
    let line = LineStyle::none().fill('─').junction('─');
    table.load_style(TableStyle::new().top_border(line).header_separator(line).bottom_border(line));
    table.set_header([
        "fault",
        "times",
        "jobs",
        "acknowledged",
        "finished",
        "dead",
        "aborted",
        "expired",
        "unfinished",
        "lost",
        "may be lost (seen)",
        "twice",
        "again",
        "overlap (heard)",
        "median",
        "p99",
        "max",
        "late",
        "gates",
    ]);
    for outcome in outcomes {
        let account = &outcome.account;
        let near = account.near;
        let may_be_lost = outcome.loss.map_or_else(|| "-".to_owned(), |_| format!("{} ({})", near.jobs, near.lost));
        let counts = [
            outcome.strikes,
            account.asked,
            account.acknowledged,
            account.finished,
            account.dead,
            account.aborted,
            account.expired,
            account.unfinished,
            account.lost.len(),
        ];
        let mut row = vec![outcome.title()];
        row.extend(counts.map(|count| count.to_string()));
        row.push(may_be_lost);
        row.extend([account.twice.len(), account.again].map(|count| count.to_string()));
        row.push(format!("{} ({})", span(Some(account.overlap)), span(Some(account.unheeded))));
        row.extend([50, 99, 100].map(|percent| span(account.recovery_of(percent))));
        row.push(span(account.lateness()));
        row.push(outcome.gates().to_owned());
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn span(span: Option<Duration>) -> String {
    span.map_or_else(|| "-".to_owned(), |span| format!("{:.2} s", span.as_secs_f64()))
}
