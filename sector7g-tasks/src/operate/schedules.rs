//! `schedule list`.

use super::Site;
use super::error::OperateError;
use super::show::{relative, table};
use crate::broker::Broker as _;
use crate::inspect;

pub(super) async fn list(site: &Site<'_>) -> Result<(), OperateError> {
    let schedules = inspect::schedules(site.broker, &site.queues().await?).await?;
    let now = site.broker.clock().now();
    site.output.tell(&schedules, || {
        let note = "Those of Python workers can't be listed: they tell nobody.";
        if schedules.is_empty() {
            return format!("No worker that runs now has a schedule. {note}");
        }
        let rows = schedules.iter().map(|view| {
            let schedule = &view.schedule;
            vec![
                schedule.task.clone(),
                schedule.queue.clone(),
                schedule.expression.clone(),
                schedule.timezone.clone(),
                relative(schedule.next, now),
                relative(schedule.last, now),
                view.workers.join(", "),
            ]
        });
        let columns = ["task", "queue", "expression", "zone", ">next tick", ">last enqueued", "workers"];
        format!("{}\n\n{note}", table(&columns, rows))
    });
    Ok(())
}
