//! How `top` looks.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph, Row, Table, TableState, Wrap};

use super::super::jobs;
use super::super::show::{plain, relative, span};
use super::model::{Filter, Model, Screen};
use crate::clock::Timestamp;
use crate::inspect::QueueView;

const DIM: Style = Style::new().add_modifier(Modifier::DIM);
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const CHOSEN: Style = Style::new().add_modifier(Modifier::REVERSED);

pub(super) fn draw(frame: &mut Frame<'_>, model: &mut Model) {
    let reason = reason(model);
    let [head, below, body, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(u16::from(reason.is_some())),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Line::styled(title(model), BOLD), head);
    frame.render_widget(Line::styled(reason.unwrap_or_default(), BOLD), below);
    let now = model.overview.as_ref().map_or(Timestamp::default(), |overview| overview.at);
    match model.screen {
        Screen::Queues => queues(frame, body, model, now),
        Screen::Queue { .. } => jobs_of_queue(frame, body, model, now),
        Screen::Job { .. } => job(frame, body, model, now),
    }
    let keys = match model.screen {
        Screen::Queues => "↑↓ choose  ⏎ jobs  q quit",
        Screen::Queue { .. } => "↑↓ choose  ⏎ job  r running  w waiting  d dead  esc back  q quit",
        Screen::Job { .. } => "↑↓ scroll  esc back  q quit",
    };
    frame.render_widget(Line::styled(keys, DIM), foot);
}

fn title(model: &Model) -> String {
    if let Some(trouble) = &model.trouble {
        return format!("! {}", plain(trouble));
    }
    let path = match &model.screen {
        Screen::Queues => String::new(),
        Screen::Queue { name } => format!("  {}: {}", plain(name), filter_word(model.filter)),
        Screen::Job { queue, id } => format!("  {}  {}", plain(queue), plain(id)),
    };
    let at = model.overview.as_ref().map_or_else(|| "looking…".to_owned(), |overview| overview.at.to_string());
    format!("sector-7g  {}  {at}{path}", plain(&model.location))
}

/// The first thing that is not well, and how many more there are.
fn reason(model: &Model) -> Option<String> {
    let more = match model.reasons.len() {
        0 | 1 => String::new(),
        count => format!("(1 of {count}) "),
    };
    model.reasons.first().map(|first| format!("! {more}{}", plain(first)))
}

fn filter_word(filter: Filter) -> &'static str {
    match filter {
        Filter::Running => "running",
        Filter::Waiting => "waiting and running",
        Filter::Dead => "dead letters",
    }
}

fn table(
    frame: &mut Frame<'_>,
    area: Rect,
    head: &[&str],
    widths: Vec<Constraint>,
    rows: Vec<Row<'_>>,
    at: &mut TableState,
) {
    let head = Row::new(head.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).style(DIM);
    frame.render_stateful_widget(Table::new(rows, widths).header(head).row_highlight_style(CHOSEN), area, at);
}

fn queues(frame: &mut Frame<'_>, area: Rect, model: &mut Model, now: Timestamp) {
    let Some(overview) = &model.overview else { return };
    if overview.queues.is_empty() {
        return frame.render_widget("No queue holds a job, and no worker runs.", area);
    }
    let rows = overview.queues.iter().enumerate().map(|(index, queue)| queue_row(queue, model.per_minute(index), now));
    let rows: Vec<Row<'_>> = rows.collect();
    let head = ["queue", "depth", "due", "deferred", "running", "dead", "oldest due", "workers", "ends/min", ""];
    let mut widths = vec![Constraint::Fill(2)];
    widths.extend([7, 7, 8, 7, 6, 10, 7, 8].map(Constraint::Length));
    widths.push(Constraint::Fill(1));
    table(frame, area, &head, widths, rows, &mut model.queue_row);
}

fn queue_row(queue: &QueueView, per_minute: Option<u64>, now: Timestamp) -> Row<'static> {
    let sizes = [queue.depth, queue.queued, queue.deferred, queue.running, queue.dead].map(|size| size.to_string());
    let paused = queue.paused_since.map_or_else(String::new, |since| format!("paused {}", relative(Some(since), now)));
    let mut cells = vec![plain(&queue.name)];
    cells.extend(sizes);
    cells.push(span(queue.oldest_due_ms));
    cells.push(queue.workers.len().to_string());
    cells.push(per_minute.map_or_else(|| "-".to_owned(), |rate| rate.to_string()));
    cells.push(paused);
    Row::new(cells)
}

fn jobs_of_queue(frame: &mut Frame<'_>, area: Rect, model: &mut Model, now: Timestamp) {
    if model.jobs.is_empty() {
        return frame.render_widget("None.", area);
    }
    let rows = model.jobs.iter().map(|job| {
        let failure = job.failures.last().map(ToString::to_string).unwrap_or_default();
        let cells = [
            job.id.clone(),
            jobs::state(job),
            relative(jobs::when(job), now),
            job.attempt.to_string(),
            jobs::call(job),
            failure,
        ];
        Row::new(cells.map(|cell| plain(&cell)))
    });
    let rows: Vec<Row<'_>> = rows.collect();
    let widths = vec![
        Constraint::Length(32),
        Constraint::Length(11),
        Constraint::Length(11),
        Constraint::Length(5),
        Constraint::Fill(2),
        Constraint::Fill(2),
    ];
    table(frame, area, &["id", "state", "when", "tries", "job", "last failure"], widths, rows, &mut model.job_row);
}

fn job(frame: &mut Frame<'_>, area: Rect, model: &mut Model, now: Timestamp) {
    let text = model
        .job
        .as_ref()
        .map_or_else(|| "It has ended, and nothing of it is kept.".to_owned(), |job| jobs::for_people(job, now));
    let lines = u16::try_from(text.lines().count()).unwrap_or(u16::MAX);
    model.scroll = model.scroll.min(lines.saturating_sub(1));
    let shown = Paragraph::new(text).wrap(Wrap { trim: false }).scroll((model.scroll, 0)).block(Block::new());
    frame.render_widget(shown, area);
}
