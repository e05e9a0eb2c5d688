//! Pages of jobs: each reads [`PAGE`] of them, however many there are.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use futures_util::future::try_join;
use maud::{Markup, html};

use super::guard::Csrf;
use super::params::{Asked, Params, encoded};
use super::{Fault, MOST_QUEUES, Site, draw};
use crate::broker::{JobFilter, PageMark, QueueName, QueueStats};
use crate::clock::Timestamp;
use crate::inspect::text::plain;
use crate::inspect::{JobView, Outcome, QueueView, Reveal};

const PAGE: usize = 50;

/// A page of a queue's jobs.
struct Listed {
    queue: QueueView,
    name: QueueName,
    filter: JobFilter,
    jobs: Vec<JobView>,
    next: Option<PageMark>,
    /// Whether it is not the first.
    is_later: bool,
}

pub(super) async fn queue(
    State(site): State<Arc<Site>>,
    Extension(csrf): Extension<Csrf>,
    asked: Asked,
) -> Result<Markup, Fault> {
    let params = Params::of(asked)?;
    let name = site.queue(&params)?;
    let (filter, chosen) = match params.text("state") {
        None | Some("live") => (JobFilter::Live, "live"),
        Some("running") => (JobFilter::Running, "running"),
        Some("dead") => (JobFilter::Dead, "dead"),
        Some(_) => return Err(Fault::bad("jobs are listed by state `live`, `running` or `dead`")),
    };
    let listed = Listed::of(&site, name, filter, &params).await?;
    let (view, name) = (&listed.queue, &listed.name);
    if !view.is_known() && site.dashboard.only.is_none() {
        let text = format!("nothing is known of queue `{name}`: it holds no job, and no worker serves it");
        return Err(Fault::new(StatusCode::NOT_FOUND, text));
    }
    let now = site.broker().clock().now();
    let here = format!("queue?queue={}", encoded(name.as_str()));
    let tabs = [
        ("live", "Waiting and running", view.depth),
        ("running", "Running", view.running),
        ("dead", "Dead", view.dead),
    ];
    let content = html! {
        (told(&params))
        (pause(&site, view, &csrf, now))
        nav.tabs aria-label="States" { @for (key, label, count) in tabs {
            a href=(format!("{here}&state={key}")) aria-current=[(key == chosen).then_some("page")] { (label) " " span.count { (count) } }
        } }
        (listed.draw(&site, &csrf, now))
        (listed.of_python(&here))
        (listed.onward(&format!("{here}&state={chosen}")))
    };
    Ok(site.page(&format!("Queue {name}"), "", now, &content))
}

pub(super) async fn dead(
    State(site): State<Arc<Site>>,
    Extension(csrf): Extension<Csrf>,
    asked: Asked,
) -> Result<Markup, Fault> {
    let params = Params::of(asked)?;
    let now = site.broker().clock().now();
    let content = if params.queue()?.is_some() {
        let listed = Listed::of(&site, site.queue(&params)?, JobFilter::Dead, &params).await?;
        let name = listed.name.as_str();
        html! {
            (told(&params))
            p { a href="dead" { "All queues" } " / " strong { (plain(name)) } " " span.count { (listed.queue.dead) } }
            (listed.draw(&site, &csrf, now))
            (listed.onward(&format!("dead?queue={}", encoded(name))))
        }
    } else {
        let look = site.watch.look(&site).await?;
        let with: Vec<_> = look.overview.queues.iter().filter(|queue| queue.dead > 0).collect();
        html! {
            @if with.is_empty() {
                p.empty { "No dead letters: every job so far ended well or is to be tried again." }
            } @else {
                div.scroll { table {
                    caption.unseen { "Queues with dead letters" }
                    thead { tr { th scope="col" { "Queue" } th.number scope="col" { "Dead letters" } } }
                    tbody { @for queue in with.iter().take(MOST_QUEUES) { tr {
                        th scope="row" { a href=(format!("dead?queue={}", encoded(&queue.name))) { (plain(&queue.name)) } }
                        td.number { (queue.dead) }
                    } } }
                } }
                @if with.len() > MOST_QUEUES { p.note { "The first " (MOST_QUEUES) " of " (with.len()) " queues are shown." } }
            }
        }
    };
    Ok(site.page("Dead letters", "dead", now, &content))
}

/// Which arguments may be shown.
pub(super) fn reveal(site: &Site, stats: &mut QueueStats) -> Reveal {
    let reveal = Reveal::told(stats);
    if site.dashboard.show_unknown { reveal.unknown_tasks() } else { reveal }
}

/// What the action that led here did.
pub(super) fn told(params: &Params) -> Markup {
    let text = match params.text("told") {
        Some("done") => "Done.",
        Some("some") => "Done for some; the others were no longer in a state for it.",
        Some("more") => "Done for many; there are more: do it again for the rest.",
        Some("none") => "Nothing was changed: it was no longer in a state for that.",
        _ => return html! {},
    };
    html! { p.note role="status" { (text) } }
}

fn pause(site: &Site, view: &QueueView, csrf: &Csrf, now: Timestamp) -> Markup {
    let act = if view.paused_since.is_some() { "resume" } else { "pause" };
    html! {
        @if view.paused_since.is_some() {
            p.note { "Paused " (draw::moment(view.paused_since, now)) ": its workers claim nothing more. Python workers ignore it." }
        }
        @if site.dashboard.actions {
            form.actions method="post" action="act" {
                (draw::hidden(csrf, &[("queue", &view.name)]))
                button name="act" value=(act) { (if act == "pause" { "Pause this queue" } else { "Let it go on" }) }
            }
        }
    }
}

impl Listed {
    async fn of(site: &Site, name: QueueName, filter: JobFilter, params: &Params) -> Result<Self, Fault> {
        let broker = site.broker();
        let after = params.after()?;
        let is_later = after.is_some();
        let (mut stats, page) = try_join(broker.stats(&name), broker.jobs(&name, filter, after, PAGE)).await?;
        let reveal = reveal(site, &mut stats);
        let jobs = page.jobs.into_iter().map(|record| JobView::new(record, &name, &reveal)).collect();
        Ok(Self { queue: QueueView::new(&name, stats), name, filter, jobs, next: page.next, is_later })
    }

    fn draw(&self, site: &Site, csrf: &Csrf, now: Timestamp) -> Markup {
        let is_dead = self.filter == JobFilter::Dead;
        let chooses = is_dead && site.dashboard.actions;
        html! {
            @if self.jobs.is_empty() {
                p.empty { (if is_dead { "No dead letters here." } else { "No jobs here." }) }
            } @else if chooses {
                form method="post" action="act" {
                    (draw::hidden(csrf, &[("queue", self.name.as_str())]))
                    (self.table(true, now))
                    p.actions {
                        button name="act" value="retry" { "Retry the chosen" }
                        button.danger name="act" value="discard" { "Discard the chosen" }
                        span.gap {}
                        button name="act" value="retry-all" formnovalidate { "Retry all " (self.queue.dead) }
                        button.danger name="act" value="discard-all" formnovalidate { "Discard all " (self.queue.dead) }
                    }
                }
            } @else { (self.table(false, now)) }
        }
    }

    fn table(&self, chooses: bool, now: Timestamp) -> Markup {
        let is_dead = self.filter == JobFilter::Dead;
        html! {
            div.scroll { table {
                caption.unseen { "Jobs, a page of at most " (PAGE) }
                thead { tr {
                    @if chooses { th scope="col" { span.unseen { "Choose" } } }
                    @for name in ["Job", "Task"] { th scope="col" { (name) } }
                    @if !is_dead { th scope="col" { "State" } }
                    th.number scope="col" { "Try" }
                    th.number scope="col" { (self.moment_of_each()) }
                    @if self.filter == JobFilter::Running { th scope="col" { "Worker" } }
                    th scope="col" { "Arguments" }
                    @if is_dead { th scope="col" { "Failure" } }
                } }
                tbody { @for job in &self.jobs { (row(job, self.filter, chooses, now)) } }
            } }
        }
    }

    fn moment_of_each(&self) -> &'static str {
        match self.filter {
            JobFilter::Dead => "Died",
            JobFilter::Running => "Since",
            JobFilter::Live => "Due",
        }
    }

    /// Python workers' running jobs are in no list of running ones.
    fn of_python(&self, here: &str) -> Markup {
        let is_whole = self.filter == JobFilter::Running && self.next.is_none() && !self.is_later;
        let listed = u64::try_from(self.jobs.len()).unwrap_or(u64::MAX);
        let others = self.queue.running.saturating_sub(listed);
        html! { @if is_whole && others > 0 {
            p.note { "Python workers run " (others) ": these are " a href=(here) { "among those that wait" } "." }
        } }
    }

    fn onward(&self, here: &str) -> Markup {
        html! { @if self.is_later || self.next.is_some() {
            nav.pages aria-label="Pages of jobs" {
                @if self.is_later { a href=(here) { "First page" } }
                @if let Some(mark) = &self.next { a rel="next" href=(format!("{here}&after={}", encoded(&mark.0))) { "Next page" } }
            }
        } }
    }
}

fn row(job: &JobView, filter: JobFilter, chooses: bool, now: Timestamp) -> Markup {
    let is_dead = filter == JobFilter::Dead;
    let moment = match filter {
        JobFilter::Dead => job.died_at,
        JobFilter::Running => job.started_at,
        JobFilter::Live => job.due_at,
    };
    html! { tr {
        @if chooses { td { input type="checkbox" name="id" value=(job.id) aria-label=(format!("Choose {}", plain(&job.id))); } }
        th.id scope="row" { a href=(job_link(job)) { (plain(&job.id)) } }
        td { (plain(job.task.as_deref().unwrap_or("unknown"))) }
        @if !is_dead { td { (draw::state(job.state)) @if job.abort_requested { " " span.hint { "aborting" } } } }
        td.number { (job.attempt) }
        td.number { (draw::moment(moment, now)) }
        @if filter == JobFilter::Running { td { (plain(&job.worker.as_ref().map(ToString::to_string).unwrap_or_default())) } }
        td.text { (draw::long(job.arguments.as_deref().or(job.unreadable.as_deref()).unwrap_or(""))) }
        @if is_dead { td.text { (draw::long(&failure_of(job))) } }
    } }
}

fn failure_of(job: &JobView) -> String {
    match &job.outcome {
        Some(Outcome::Failure(failure)) => failure.to_string(),
        _ => job.failures.last().map(ToString::to_string).unwrap_or_default(),
    }
}

fn job_link(job: &JobView) -> String {
    format!("job?queue={}&id={}", encoded(&job.queue), encoded(&job.id))
}
