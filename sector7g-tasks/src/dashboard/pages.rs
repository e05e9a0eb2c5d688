//! The overview, the workers, the schedules.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};

use super::draw::Column;
use super::params::encoded;
use super::watch::{COLUMNS as QUEUE_COLUMNS, Look};
use super::{Fault, MOST_QUEUES, Site, draw};
use crate::clock::Timestamp;
use crate::inspect::text::plain;
use crate::inspect::{self, QueueView, ScheduleView, Status, WorkerView};

pub(super) async fn overview(State(site): State<Arc<Site>>) -> Result<Markup, Fault> {
    let look = site.watch.look(&site).await?;
    let content = html! {
        div #live data-events="events" data-shape=(look.shape()) {
            p #doubt.health.warn role="alert" hidden {}
            (health(&look))
            (totals(&look))
            h2 { "Queues" }
            @if look.overview.queues.is_empty() {
                p.empty { "No queue holds a job, and no worker runs. The first job that is enqueued shows up here." }
            } @else {
                (queues(&look))
            }
            @if look.overview.queues.len() > MOST_QUEUES {
                p.note { "The first " (MOST_QUEUES) " of " (look.overview.queues.len()) " queues are shown." }
            }
            noscript { p.hint { "Load the page again for newer numbers." } }
        }
    };
    Ok(site.page("Overview", "overview", look.overview.at, &content))
}

/// Whether all is well, in words, and if not, what is to be done: both, of which the script shows what holds.
fn health(look: &Look) -> Markup {
    let (is_well, concerns) = (look.status == Status::Healthy, look.concerns());
    html! {
        p #well.health.good hidden[!is_well] { span aria-hidden="true" { "✓ " } "All is well." }
        section #unwell.health.warn aria-labelledby="unwell-title" hidden[is_well] {
            h2 #unwell-title { span aria-hidden="true" { "! " } "Not all is well" }
            ul { @for concern in &concerns { li {
                span { (concern.text) }
                @if let Some(place) = &concern.place { " " a href=(place) { (concern.see) } }
            } } }
            p.hint hidden[look.more().is_none()] { (look.more().unwrap_or_default()) }
        }
    }
}

fn totals(look: &Look) -> Markup {
    html! {
        dl.totals {
            @for (id, name, text) in look.totals() {
                div.(id) {
                    dt { (name) }
                    dd { span data-live=(id) { (text) } }
                    @if id == "done" { dd { (draw::spark(id, &look.done, "Jobs done a minute, of late")) } }
                    @if id == "failed" { dd { (draw::spark(id, &look.failed, "Jobs failed a minute, of late")) } }
                }
            }
        }
    }
}

fn queues(look: &Look) -> Markup {
    html! {
        div.scroll { table {
            caption.unseen { "Queues and their sizes" }
            thead { tr {
                th scope="col" { "Queue" }
                @for name in QUEUE_COLUMNS { th.number scope="col" { (name) } }
                th scope="col" { "Depth of late" }
            } }
            tbody {
                @for (nth, queue) in look.shown().iter().enumerate() {
                    tr {
                        th scope="row" { (name_of(queue)) }
                        @for (column, text) in look.numbers(queue).into_iter().enumerate() {
                            td.number { span data-live=(format!("{nth}:{column}")) { (text) } }
                        }
                        td { (draw::spark(&nth.to_string(), look.depths.get(&queue.name).map_or(&[], Vec::as_slice), "Depth of late")) }
                    }
                }
            }
        } }
    }
}

fn name_of(queue: &QueueView) -> Markup {
    html! {
        a href=(format!("queue?queue={}", encoded(&queue.name))) { (plain(&queue.name)) }
        @if queue.paused_since.is_some() { " " span.state.paused { span aria-hidden="true" { "‖" } " paused" } }
    }
}

pub(super) async fn workers(State(site): State<Arc<Site>>) -> Result<Markup, Fault> {
    /// How many are shown.
    const MOST_WORKERS: usize = 1000;
    const COLUMNS: [Column; 10] = [
        Column::Text("Worker"),
        Column::Text("Queues"),
        Column::Text("Host"),
        Column::Number("Process"),
        Column::Number("Started"),
        Column::Number("Last beat"),
        Column::Number("Running"),
        Column::Number("Done"),
        Column::Number("Failed"),
        Column::Number("Retried"),
    ];
    let look = site.watch.look(&site).await?;
    let now = look.overview.at;
    let all = look.overview.queues.iter().flat_map(|queue| &queue.workers);
    let workers: BTreeMap<_, _> =
        all.map(|worker| ((worker.name.clone(), worker.instance.clone(), worker.queues.clone()), worker)).collect();
    let content = html! {
        @if workers.is_empty() {
            p.empty { "No worker has said of late that it lives. Start one, or look into its log." }
        } @else {
            (draw::table("Workers that live", &COLUMNS, &html! {
                @for worker in workers.values().take(MOST_WORKERS) { (worker_row(worker, now)) }
            }))
            @if workers.len() > MOST_WORKERS { p.note { "The first " (MOST_WORKERS) " of " (workers.len()) " workers are shown." } }
        }
    };
    Ok(site.page("Workers", "workers", now, &content))
}

fn worker_row(worker: &WorkerView, now: Timestamp) -> Markup {
    html! { tr {
        th scope="row" { (plain(&worker.name)) @if worker.is_python { " " span.state { "Python" } } }
        td { (plain(&worker.queues.join(", "))) }
        td { (plain(worker.host.as_deref().unwrap_or("–"))) }
        td.number { (worker.pid.map_or_else(|| "–".to_owned(), |pid| pid.to_string())) }
        td.number { (draw::moment(worker.started_at, now)) }
        td.number { (draw::moment(Some(worker.at), now)) }
        td.number { (worker.running) @if let Some(most) = worker.max_jobs { " / " (most) } }
        @for count in [worker.done, worker.failed, worker.retried] { td.number { (count) } }
    } }
}

pub(super) async fn schedules(State(site): State<Arc<Site>>) -> Result<Markup, Fault> {
    const COLUMNS: [&str; 7] = ["Task", "Queue", "Expression", "Zone", "Next tick", "Last enqueued", "Workers"];
    let queues = site.queues().await?;
    let schedules = inspect::schedules(site.broker(), &queues).await?;
    let now = site.broker().clock().now();
    let content = html! {
        @if schedules.is_empty() {
            p.empty { "No worker that runs now has a schedule." }
        } @else {
            (draw::table("Schedules of the workers that live", &COLUMNS.map(Column::Text), &html! {
                @for view in &schedules { (schedule_row(view, now)) }
            }))
        }
        p.hint { "Those of Python workers can't be listed: they tell nobody." }
    };
    Ok(site.page("Schedules", "schedules", now, &content))
}

fn schedule_row(view: &ScheduleView, now: Timestamp) -> Markup {
    let schedule = &view.schedule;
    html! { tr {
        th scope="row" { (plain(&schedule.task)) }
        td { a href=(format!("queue?queue={}", encoded(&schedule.queue))) { (plain(&schedule.queue)) } }
        td { code { (plain(&schedule.expression)) } }
        td { (plain(&schedule.timezone)) }
        td { (draw::moment(schedule.next, now)) }
        td { (draw::moment(schedule.last, now)) }
        td { (plain(&view.workers.join(", "))) }
    } }
}
