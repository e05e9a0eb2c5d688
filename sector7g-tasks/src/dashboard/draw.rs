//! What pages have in common. All text goes through maud, which escapes it, and `plain`, which shows what has no shape.

use axum::http::StatusCode;
use maud::{DOCTYPE, Markup, html};

use super::guard::Csrf;
use crate::broker::JobState;
use crate::clock::Timestamp;
use crate::inspect::text::{lines, plain, relative};

/// From how many characters on a text is folded.
const FOLDED: usize = 160;

const PLACES: [(&str, &str); 4] =
    [("overview", "Overview"), ("dead", "Dead letters"), ("workers", "Workers"), ("schedules", "Schedules")];

/// What a page is of, for its foot.
pub(super) struct Seen<'a> {
    /// The broker.
    pub(super) location: &'a str,
    pub(super) at: Timestamp,
    /// Whether there is a login that can be ended.
    pub(super) logout: bool,
}

/// A page with all that leads elsewhere.
pub(super) fn page(title: &str, here: &str, seen: Option<&Seen<'_>>, content: &Markup) -> Markup {
    let top = html! {
        nav aria-label="Pages" {
            @for (place, name) in PLACES {
                a href=(place) aria-current=[(place == here).then_some("page")] { (name) }
            }
        }
        form.find role="search" action="job" {
            label.unseen for="find" { "Id of a job" }
            input #find name="id" placeholder="Job id" autocomplete="off" spellcheck="false" required maxlength="512";
            button { "Find" }
        }
    };
    let bottom = html! {
        @if let Some(seen) = seen {
            footer {
                span { "Broker " code { (plain(seen.location)) } }
                span { "As of " time data-live="at" { (seconds(seen.at)) } }
                span #connection role="status" {}
                @if seen.logout { a href="logout" { "Log out" } }
            }
        }
    };
    whole(title, &top, content, &bottom)
}

/// A page that leads nowhere.
pub(super) fn bare(title: &str, content: &Markup) -> Markup {
    whole(title, &html! {}, content, &html! {})
}

fn whole(title: &str, top: &Markup, content: &Markup, bottom: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (plain(title)) " · sector7g" }
                link rel="icon" href="dashboard.svg" type="image/svg+xml";
                link rel="stylesheet" href="dashboard.css";
                script src="dashboard.js" defer {}
            }
            body {
                a.skip href="#main" { "Skip to content" }
                header {
                    a.brand href="overview" { "sector7g" }
                    (top)
                }
                main #main tabindex="-1" {
                    h1 { (plain(title)) }
                    (content)
                }
                (bottom)
            }
        }
    }
}

pub(super) fn fault(status: StatusCode, text: &str) -> Markup {
    let title = match status {
        StatusCode::SERVICE_UNAVAILABLE => "The broker can't be asked",
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::FORBIDDEN => "Not allowed",
        _ => "This did not work",
    };
    let content = html! {
        p.note.bad role="alert" { (plain(text)) "." }
        @if status == StatusCode::SERVICE_UNAVAILABLE {
            p { "Load the page again once the broker is back; nothing here needs a restart." }
        }
        p { a href="overview" { "To the overview" } }
    };
    page(title, "", None, &content)
}

/// A moment to the second, UTC.
pub(super) fn seconds(at: Timestamp) -> String {
    let text = at.to_string();
    text.split_once('.').map_or(text.clone(), |(start, _)| start.replace('T', " ")) + " UTC"
}

pub(super) fn moment(at: Option<Timestamp>, now: Timestamp) -> Markup {
    html! {
        @match at {
            Some(moment) => time datetime=(moment) title=(moment) { (relative(Some(moment), now)) },
            None => span.none { "–" },
        }
    }
}

/// A text of any length: of a long one, or one of several lines, the start is shown, all of it a click away.
pub(super) fn long(text: &str) -> Markup {
    let text = text.trim_end();
    let first = plain(text.lines().next().unwrap_or(""));
    let start = &first[..first.char_indices().nth(FOLDED).map_or(first.len(), |(at, _)| at)];
    let is_all = start.len() == first.len() && !text.contains('\n');
    html! {
        @if is_all { code { (start) } } @else { details { summary { code { (start) "…" } } pre { (lines(text)) } } }
    }
}

/// A column's name, and whether it has numbers, which stand at the right.
pub(super) enum Column {
    Text(&'static str),
    Number(&'static str),
}

/// A table that scrolls where it is wider than the page, also by keyboard; the label says of what it is.
pub(super) fn table(label: &str, columns: &[Column], rows: &Markup) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(label) { table {
            caption.unseen { (label) }
            thead { tr { @for column in columns { @match column {
                Column::Text(name) => th scope="col" { (name) },
                Column::Number(name) => th.number scope="col" { (name) },
            } } } }
            tbody { (rows) }
        } }
    }
}

/// A state by shape and word, so that colour only helps.
pub(super) fn state(state: JobState) -> Markup {
    let (class, shape) = match state {
        JobState::Deferred => ("deferred", "◷"),
        JobState::Queued => ("queued", "○"),
        JobState::InProgress => ("running", "▶"),
        JobState::Complete => ("complete", "✓"),
        JobState::Dead => ("dead", "✕"),
    };
    html! { span.state.(class) { span aria-hidden="true" { (shape) } " " (state) } }
}

/// A form's hidden parts.
pub(super) fn hidden(csrf: &Csrf, entries: &[(&str, &str)]) -> Markup {
    html! {
        input type="hidden" name="csrf" value=(csrf.shown());
        @for (name, value) in entries { input type="hidden" name=(name) value=(value); }
    }
}

pub(super) const SPARK_WIDTH: usize = 120;
pub(super) const SPARK_HEIGHT: usize = 24;

/// A line of values as an SVG's points; the highest reaches the top.
pub(super) fn points(values: &[u64]) -> String {
    let most = values.iter().copied().max().unwrap_or(0).max(1);
    let last = values.len().saturating_sub(1).max(1);
    let point = |(nth, value): (usize, &u64)| {
        let height = u128::from(*value) * (SPARK_HEIGHT as u128 - 2) / u128::from(most);
        format!("{},{}", nth * SPARK_WIDTH / last, SPARK_HEIGHT as u128 - 1 - height)
    };
    values.iter().enumerate().map(point).collect::<Vec<_>>().join(" ")
}

/// A line that says what its label says; the number beside it is what it comes to.
pub(super) fn spark(id: &str, values: &[u64], label: &str) -> Markup {
    html! {
        svg.spark viewBox=(format!("0 0 {SPARK_WIDTH} {SPARK_HEIGHT}")) preserveAspectRatio="none" role="img" aria-label=(label) {
            polyline data-line=(id) points=(points(values)) {}
        }
    }
}
