//! `queues`, `pause`, `resume`.

use serde::Serialize;

use super::Site;
use super::error::OperateError;
use super::show::{relative, span, table};
use crate::broker::{Broker, QueueName};
use crate::clock::Timestamp;
use crate::inspect::{Overview, QueueView};

pub(super) async fn list(site: &Site<'_>) -> Result<(), OperateError> {
    let names = site.queues().await?;
    let overview = Overview::of(site.broker, Some(&names)).await?;
    site.output.tell(&overview.queues, || {
        if overview.queues.is_empty() {
            return "No queue holds a job, and no worker runs.".to_owned();
        }
        table_of(&overview.queues, overview.at)
    });
    Ok(())
}

pub(super) fn table_of(queues: &[QueueView], now: Timestamp) -> String {
    let rows = queues.iter().map(|queue| {
        let mut row = vec![queue.name.clone()];
        row.extend([queue.depth, queue.queued, queue.deferred, queue.running, queue.dead].map(|size| size.to_string()));
        row.push(span(queue.oldest_due_ms));
        row.push(queue.workers.len().to_string());
        row.push(queue.paused_since.map_or_else(String::new, |since| format!("paused {}", relative(Some(since), now))));
        row
    });
    table(&["queue", ">depth", ">due", ">deferred", ">running", ">dead", ">oldest due", ">workers", ""], rows)
}

#[derive(Serialize)]
struct Change<'a> {
    queue: &'a str,
    paused: bool,
    /// Whether it was otherwise before.
    changed: bool,
    /// Whether a Python worker serves it, who knows nothing of it.
    python_workers: bool,
}

pub(super) async fn pause(site: &Site<'_>, queue: &QueueName, yes: bool) -> Result<(), OperateError> {
    let view = if yes {
        QueueView::new(queue, site.broker.stats(queue).await?)
    } else {
        site.known(queue).await.map_err(|error| match error {
            OperateError::UnknownQueue { .. } => {
                OperateError::NotPossible(format!("{error}; add --yes to pause it all the same"))
            }
            error => error,
        })?
    };
    tell(site, queue, &view, true).await
}

pub(super) async fn resume(site: &Site<'_>, queue: &QueueName) -> Result<(), OperateError> {
    let view = site.known(queue).await?;
    tell(site, queue, &view, false).await
}

async fn tell(site: &Site<'_>, queue: &QueueName, view: &QueueView, paused: bool) -> Result<(), OperateError> {
    let changed = site.broker.set_paused(queue, paused).await?;
    let python_workers = view.workers.iter().any(|worker| worker.is_python);
    site.output.tell(&Change { queue: queue.as_str(), paused, changed, python_workers }, || match (paused, changed) {
        (true, true) => format!(
            "Queue `{queue}` is paused: its workers claim nothing more; {} running go on, {} wait. Python workers ignore \
             it{}.\nLet it go on with `sector-7g resume {queue}`.",
            view.running,
            view.queued + view.deferred,
            if python_workers { ", and one serves this queue" } else { "" }
        ),
        (true, false) => format!("Queue `{queue}` was paused already. Python workers ignore it."),
        (false, true) => format!("Queue `{queue}` goes on."),
        (false, false) => format!("Queue `{queue}` was not paused."),
    });
    Ok(())
}
