//! How things are printed: tables for people, JSON for programs, and nothing that moves a terminal's cursor.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write as _};
use std::sync::OnceLock;
use std::time::Duration;

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Row, Table, TableStyle, Width};
use serde::Serialize;

use super::error::OperateError;
use crate::clock::Timestamp;
use crate::inspect;
pub(super) use crate::inspect::text::{plain, relative};

/// Where a command's answer goes.
pub(super) struct Output {
    pub(super) json: bool,
    /// Why it did not get there.
    failure: OnceLock<io::Error>,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json, failure: OnceLock::new() }
    }

    /// Writes to standard output. Who closed the pipe has seen enough; any other failure is told in the end.
    pub(super) fn write(&self, bytes: &[u8]) {
        let mut out = anstream::stdout().lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => drop(self.failure.set(error)),
            _ => {}
        }
    }

    /// Whether all that was written got there.
    pub(super) fn end(self) -> Result<(), OperateError> {
        self.failure.into_inner().map_or(Ok(()), |error| Err(OperateError::Output(error)))
    }

    /// One line of JSON, or what `people` makes of it.
    pub(super) fn tell<T: Serialize + ?Sized>(&self, value: &T, people: impl FnOnce() -> String) {
        let mut text = if self.json {
            serde_json::to_string(value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
        } else {
            people()
        };
        text.push('\n');
        self.write(text.as_bytes());
    }
}

/// A table, cut to the terminal's width where there is one. A name that begins with `>` is of numbers, one with `=` of ids:
/// neither is ever cut. Of the others each keeps [`LEAST`] signs, so in a narrow terminal lines may wrap.
pub(super) fn table(columns: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─')));
    table.set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = std::env::var("COLUMNS").ok().and_then(|width| width.parse().ok()).filter(|width| *width > 0) {
        table.set_width(width);
    }
    table.set_header(columns.iter().map(|name| name.trim_start_matches(['>', '='])));
    for cells in rows {
        let mut row = Row::from(cells.iter().map(|cell| plain(cell)).collect::<Vec<_>>());
        row.max_height(1);
        table.add_row(row);
    }
    let widths = table.column_max_content_widths();
    for ((column, name), width) in table.column_iter_mut().zip(columns).zip(widths) {
        if name.starts_with('>') {
            column.set_cell_alignment(CellAlignment::Right);
        }
        column.set_constraint(if name.starts_with(['>', '=']) {
            ColumnConstraint::ContentWidth
        } else {
            let (left, right) = (1, 1); // comfy-table's padding is within its widths
            ColumnConstraint::LowerBoundary(Width::Fixed(width.min(LEAST) + left + right))
        });
    }
    table.trim_fmt()
}

/// How much of a text is left at the least.
const LEAST: u16 = 24;

/// Names and values below one another, for one thing.
pub(super) fn fields(entries: &[(&str, Option<String>)]) -> String {
    let width = entries.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in entries {
        if let Some(value) = value {
            let _ = writeln!(text, "{name:width$}  {}", plain(value));
        }
    }
    text.truncate(text.trim_end().len());
    text
}

/// `3m 20s`, or `-`.
pub(super) fn span(ms: Option<u64>) -> String {
    ms.map_or_else(|| "-".to_owned(), |ms| inspect::span(Duration::from_millis(ms)))
}

/// A moment, and how far it is away.
pub(super) fn moment(moment: Timestamp, now: Timestamp) -> String {
    format!("{moment} ({})", relative(Some(moment), now))
}
