//! The overview, the workers, the schedules.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};

use super::params::encoded;
use super::watch::{COLUMNS, Look};
use super::{Fault, MOST_QUEUES, Site, draw};
use crate::inspect::text::plain;
use crate::inspect::{self, QueueView, ReasonKind, Status};

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
    Ok(draw::page("Overview", "overview", Some((&look.overview.location, look.overview.at)), &content))
}

/// Whether all is well, in words, and if not, what is to be done.
fn health(look: &Look) -> Markup {
    let reasons = look.reasons();
    html! {
        @if look.status == Status::Healthy {
            p.health.good { span aria-hidden="true" { "✓ " } "All is well." }
        } @else {
            section.health.warn aria-labelledby="health" {
                h2 #health { span aria-hidden="true" { "! " } "Not all is well" }
                ul { @for (nth, reason) in reasons.iter().enumerate() { li {
                    span data-live=(format!("reason:{nth}")) { (plain(&reason.message)) }
                    @if let Some(queue) = &reason.queue { " " a href=(place_of(reason.kind, queue)) { "See " (plain(queue)) } }
                } } }
                @if look.reason_count > reasons.len() { p.hint { "and " (look.reason_count - reasons.len()) " more" } }
            }
        }
    }
}

fn place_of(kind: ReasonKind, queue: &str) -> String {
    match kind {
        ReasonKind::Dead => format!("dead?queue={}", encoded(queue)),
        ReasonKind::Workers | ReasonKind::Silent => "workers".to_owned(),
        _ => format!("queue?queue={}", encoded(queue)),
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
                @for name in COLUMNS { th.number scope="col" { (name) } }
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
    let look = site.watch.look(&site).await?;
    let now = look.overview.at;
    let all = look.overview.queues.iter().flat_map(|queue| &queue.workers);
    let workers: BTreeMap<_, _> =
        all.map(|worker| ((worker.name.clone(), worker.instance.clone(), worker.queues.clone()), worker)).collect();
    let content = html! {
        @if workers.is_empty() {
            p.empty { "No worker has said of late that it lives. Start one, or look into its log." }
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Workers that live" { table {
                caption.unseen { "Workers that live" }
                thead { tr {
                    @for name in ["Worker", "Queues", "Host"] { th scope="col" { (name) } }
                    @for name in ["Process", "Started", "Last beat", "Running", "Done", "Failed", "Retried"] { th.number scope="col" { (name) } }
                } }
                tbody { @for worker in workers.values().take(MOST_WORKERS) { tr {
                    th scope="row" { (plain(&worker.name)) @if worker.is_python { " " span.state { "Python" } } }
                    td { (plain(&worker.queues.join(", "))) }
                    td { (plain(worker.host.as_deref().unwrap_or("–"))) }
                    td.number { (worker.pid.map_or_else(|| "–".to_owned(), |pid| pid.to_string())) }
                    td.number { (draw::moment(worker.started_at, now)) }
                    td.number { (draw::moment(Some(worker.at), now)) }
                    td.number { (worker.running) @if let Some(most) = worker.max_jobs { " / " (most) } }
                    @for count in [worker.done, worker.failed, worker.retried] { td.number { (count) } }
                } } }
            } }
            @if workers.len() > MOST_WORKERS { p.note { "The first " (MOST_WORKERS) " of " (workers.len()) " workers are shown." } }
        }
    };
    Ok(draw::page("Workers", "workers", Some((&look.overview.location, now)), &content))
}

pub(super) async fn schedules(State(site): State<Arc<Site>>) -> Result<Markup, Fault> {
    let queues = site.queues().await?;
    let schedules = inspect::schedules(site.broker(), &queues).await?;
    let now = site.broker().clock().now();
    let content = html! {
        @if schedules.is_empty() {
            p.empty { "No worker that runs now has a schedule." }
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Schedules of the workers that live" { table {
                caption.unseen { "Schedules of the workers that live" }
                thead { tr {
                    @for name in ["Task", "Queue", "Expression", "Zone", "Next tick", "Last enqueued", "Workers"] { th scope="col" { (name) } }
                } }
                tbody { @for view in &schedules { tr {
                    th scope="row" { (plain(&view.schedule.task)) }
                    td { a href=(format!("queue?queue={}", encoded(&view.schedule.queue))) { (plain(&view.schedule.queue)) } }
                    td { code { (plain(&view.schedule.expression)) } }
                    td { (plain(&view.schedule.timezone)) }
                    td { (draw::moment(view.schedule.next, now)) }
                    td { (draw::moment(view.schedule.last, now)) }
                    td { (plain(&view.workers.join(", "))) }
                } } }
            } }
        }
        p.hint { "Those of Python workers can't be listed: they tell nobody." }
    };
    Ok(draw::page("Schedules", "schedules", Some((&site.broker().location(), now)), &content))
}
