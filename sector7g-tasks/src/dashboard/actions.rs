//! What changes something: only by a form of ours, only where it is allowed, and what can't be undone after a question.

use std::sync::Arc;
use std::time::Duration;

use axum::Form;
use axum::extract::rejection::FormRejection;
use axum::extract::{Extension, OriginalUri, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use tokio::time::Instant;

use super::guard::{Csrf, is_ours};
use super::params::{Params, encoded};
use super::{Fault, Site, draw};
use crate::broker::{BrokerError, JobFilter, JobId, MAX_BATCH, QueueName};
use crate::error::Chain;
use crate::inspect::text::plain;

/// How long all letters of a queue are worked at, at most: well within what a page may take.
const AT_LENGTH: Duration = Duration::from_secs(5);

/// The most letters that are worked at in one go.
const MOST_LETTERS: usize = 20 * MAX_BATCH;

type Sent = Result<Form<Vec<(String, String)>>, FormRejection>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Pause,
    Resume,
    Abort,
    RunNow,
    Retry,
    Discard,
    RetryAll,
    DiscardAll,
}

const ACTS: [(&str, Act); 8] = [
    ("pause", Act::Pause),
    ("resume", Act::Resume),
    ("abort", Act::Abort),
    ("run-now", Act::RunNow),
    ("retry", Act::Retry),
    ("discard", Act::Discard),
    ("retry-all", Act::RetryAll),
    ("discard-all", Act::DiscardAll),
];

impl Act {
    fn of(name: &str) -> Option<Self> {
        ACTS.iter().find(|(known, _)| *known == name).map(|(_, act)| *act)
    }

    fn name(self) -> &'static str {
        ACTS.iter().find(|(_, act)| *act == self).map_or("", |(name, _)| name)
    }

    /// Whether it is done to all dead letters of a queue.
    fn is_all(self) -> bool {
        matches!(self, Self::RetryAll | Self::DiscardAll)
    }

    /// The question to be answered before it is done: its title, and what will be so.
    fn question(self) -> Option<(&'static str, &'static str)> {
        Some(match self {
            Self::Abort => ("Abort this job?", "It ends as aborted, and is not tried again by itself."),
            Self::Discard => {
                ("Discard these dead letters?", "They are deleted for good, with their arguments and errors.")
            }
            Self::RetryAll => ("Retry all dead letters?", "They become due at once, their attempts counted from 1."),
            Self::DiscardAll => {
                ("Discard all dead letters?", "They are deleted for good, with their arguments and errors.")
            }
            Self::Pause | Self::Resume | Self::RunNow | Self::Retry => return None,
        })
    }
}

/// What was asked for, and has passed all checks.
struct Order {
    act: Act,
    queue: QueueName,
    ids: Vec<JobId>,
    /// Whether it was asked for on the job's own page.
    from_job: bool,
}

/// What became of it.
#[derive(Clone, Copy, Default)]
struct Done {
    changed: usize,
    left: usize,
    /// Whether there is more to do.
    more: bool,
}

pub(super) async fn act(
    State(site): State<Arc<Site>>,
    Extension(csrf): Extension<Csrf>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    sent: Sent,
) -> Result<Response, Fault> {
    if !site.dashboard.actions {
        let text = "this dashboard only reads: who runs it may allow actions";
        return Err(Fault::new(StatusCode::FORBIDDEN, text));
    }
    is_ours(&headers, &uri)?;
    let Form(pairs) =
        sent.map_err(|error| Fault::new(error.status(), "the form can't be read; nothing was changed"))?;
    let params = Params(pairs);
    if !csrf.admits(params.text("csrf")) {
        let text =
            "the form is not one of this page's, or too old: go back, load it again, and repeat; nothing was changed";
        return Err(Fault::new(StatusCode::FORBIDDEN, text));
    }
    let order = Order::of(&site, &params)?;
    match order.act.question() {
        Some(question) if params.text("sure") != Some("yes") => {
            let letters = if order.act.is_all() { Some(site.broker().stats(&order.queue).await?.dead) } else { None };
            Ok(draw::page(question.0, "", None, &order.ask(question.1, letters, &csrf)).into_response())
        }
        _ => {
            let done = order.apply(&site).await?;
            Ok((StatusCode::SEE_OTHER, [(header::LOCATION, order.place(&done))]).into_response())
        }
    }
}

impl Order {
    fn of(site: &Site, params: &Params) -> Result<Self, Fault> {
        let act = params.text("act").and_then(Act::of);
        let act = act.ok_or_else(|| Fault::bad("there is no such action; nothing was changed"))?;
        // Those that happen to be chosen don't matter to what is done to all.
        let (queue, ids) = (site.queue(params)?, if act.is_all() { Vec::new() } else { params.ids()? });
        match (act, ids.len()) {
            (Act::Abort | Act::RunNow, 1) => {}
            (Act::Abort | Act::RunNow, _) => {
                return Err(Fault::bad("this is done to one job at a time; nothing was changed"));
            }
            (Act::Retry | Act::Discard, 0) => {
                return Err(Fault::bad("no dead letter was chosen; nothing was changed"));
            }
            (_, many) if many > MAX_BATCH => {
                return Err(Fault::bad(format!("at most {MAX_BATCH} jobs at a time; nothing was changed")));
            }
            _ => {}
        }
        Ok(Self { act, queue, ids, from_job: params.text("from") == Some("job") })
    }

    /// The page that asks whether it is meant; it needs no script.
    fn ask(&self, what: &str, letters: Option<u64>, csrf: &Csrf) -> Markup {
        let from = if self.from_job { "job" } else { "" };
        html! {
            p { (what) }
            dl.facts {
                dt { "Queue" } dd { (plain(self.queue.as_str())) }
                @if let Some(letters) = letters { dt { "Dead letters" } dd { (letters) } }
                @if !self.ids.is_empty() {
                    dt { (if self.ids.len() == 1 { "Job".to_owned() } else { format!("{} jobs", self.ids.len()) }) }
                    dd { ul.plain { @for id in &self.ids { li { code { (plain(id.as_str())) } } } } }
                }
            }
            form.actions method="post" action="act" {
                (draw::hidden(csrf, &[("queue", self.queue.as_str()), ("from", from), ("sure", "yes")]))
                @for id in &self.ids { input type="hidden" name="id" value=(id.as_str()); }
                button.danger[self.act != Act::RetryAll] name="act" value=(self.act.name()) {
                    (match self.act {
                        Act::Abort => "Abort it",
                        Act::RetryAll => "Retry all",
                        Act::DiscardAll => "Discard all for good",
                        _ => "Discard for good",
                    })
                }
                a.button href=(self.back()) { "Leave it" }
            }
        }
    }

    /// Where it was asked for.
    fn back(&self) -> String {
        let queue = encoded(self.queue.as_str());
        match (&*self.ids, self.act) {
            ([id], _) if self.from_job => format!("job?queue={queue}&id={}", encoded(id.as_str())),
            (_, Act::Pause | Act::Resume) => format!("queue?queue={queue}"),
            _ => format!("dead?queue={queue}"),
        }
    }

    /// Where to go when it is done.
    fn place(&self, done: &Done) -> String {
        let told = match (done.changed, done.left) {
            _ if done.more => "more",
            (0, _) => "none",
            (_, 0) => "done",
            _ => "some",
        };
        let back = match self.act {
            Act::Discard => format!("dead?queue={}", encoded(self.queue.as_str())), // it has no page any more
            _ => self.back(),
        };
        format!("{back}&told={told}")
    }

    /// Does it, and logs it: before anything is touched, as who asked may be gone before it is done, and how it ended.
    async fn apply(&self, site: &Site) -> Result<Done, Fault> {
        let jobs: Vec<_> = self.ids.iter().map(JobId::as_str).collect();
        tracing::info!(queue = %self.queue, act = self.act.name(), ?jobs, "dashboard: asked for by hand");
        let trouble = "the page took too long, or its reader has gone".to_owned();
        let mut course = Course { order: self, done: Done::default(), trouble: Some(trouble) };
        let applied = self.apply_to(site, &mut course.done).await;
        course.trouble = applied.as_ref().err().map(|error| Chain(error).to_string());
        applied?;
        Ok(course.done)
    }

    async fn apply_to(&self, site: &Site, done: &mut Done) -> Result<(), BrokerError> {
        let (broker, queue) = (site.broker(), &self.queue);
        *done = match (self.act, &*self.ids) {
            (Act::Pause, _) => Done::of(&[broker.set_paused(queue, true).await?]),
            (Act::Resume, _) => Done::of(&[broker.set_paused(queue, false).await?]),
            (Act::Abort, [id]) => Done::of(&[broker.abort(queue, id).await?]),
            (Act::RunNow, [id]) => Done::of(&[broker.make_due(queue, id).await?]),
            (Act::Retry, ids) => Done::of(&broker.retry_dead(queue, ids).await?),
            (Act::Discard, ids) => Done::of(&broker.discard_dead(queue, ids).await?),
            _ => return self.apply_to_all(site, done).await,
        };
        Ok(())
    }

    /// Reads which letters there are before it touches any: one that dies again must not be met twice.
    async fn apply_to_all(&self, site: &Site, done: &mut Done) -> Result<(), BrokerError> {
        let (broker, until) = (site.broker(), Instant::now() + AT_LENGTH);
        let (mut ids, mut after) = (Vec::new(), None);
        loop {
            let page = broker.jobs(&self.queue, JobFilter::Dead, after, MAX_BATCH).await?;
            ids.extend(page.jobs.into_iter().map(|record| record.id));
            after = page.next;
            if after.is_none() || ids.len() >= MOST_LETTERS || Instant::now() > until {
                break;
            }
        }
        done.more = after.is_some();
        for batch in ids.chunks(MAX_BATCH) {
            if Instant::now() > until && done.changed + done.left > 0 {
                done.more = true;
                break;
            }
            let changed = match self.act {
                Act::RetryAll => broker.retry_dead(&self.queue, batch).await?,
                _ => broker.discard_dead(&self.queue, batch).await?,
            };
            let now = Done::of(&changed);
            done.changed += now.changed;
            done.left += now.left;
        }
        Ok(())
    }
}

/// How far an order has got: logged at its end, also when its request is dropped in between.
struct Course<'a> {
    order: &'a Order,
    done: Done,
    /// What kept it from being done, unless it is.
    trouble: Option<String>,
}

impl Drop for Course<'_> {
    fn drop(&mut self) {
        let (queue, act) = (&self.order.queue, self.order.act.name());
        let Done { changed, left, .. } = self.done;
        match &self.trouble {
            None => tracing::info!(%queue, act, changed, left, "dashboard: changed by hand"),
            // What was asked of the broker last may have been done or not.
            Some(trouble) => {
                tracing::warn!(%queue, act, changed, left, "dashboard: a change by hand ended early: {trouble}");
            }
        }
    }
}

impl Done {
    fn of(changed: &[bool]) -> Self {
        let count = changed.iter().filter(|changed| **changed).count();
        Self { changed: count, left: changed.len() - count, more: false }
    }
}
