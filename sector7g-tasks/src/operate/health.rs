//! `health status`.

use std::fmt::Write as _;

use clap::builder::styling::{AnsiColor, Style};
use serde::Serialize;

use super::args::{HealthCommand, StatusArgs};
use super::jobs;
use super::queues;
use super::show::{Output, plain, relative, table};
use crate::broker::{Broker, BrokerError, JobFilter, QueueName, RedisBroker};
use crate::error::Chain;
use crate::inspect::{Health, JobView, Overview, Reveal, Status};

/// How many running jobs of a queue are shown.
const MOST_RUNNING: usize = 20;

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    health: Health,
    /// With `--detailed`: what runs, the first of each queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    running_jobs: Option<Vec<JobView>>,
    /// Running ones that are not among these, as Python workers have them.
    #[serde(skip)]
    unlisted: u64,
}

/// Says how the fleet fares. The exit code: 0 healthy, 1 degraded, 2 down.
pub(super) async fn status(
    broker: &RedisBroker,
    command: &HealthCommand,
    queue: Option<&QueueName>,
    output: &Output,
) -> u8 {
    let HealthCommand::Status(args) = command;
    let report = look(broker, args, queue).await.unwrap_or_else(|error| {
        let (location, at, cause) = (broker.location(), broker.clock().now(), Chain(&error).to_string());
        let health = match error {
            BrokerError::Unavailable { .. } => Health::down(&location, at, &cause),
            BrokerError::Refused(_) | BrokerError::Full { .. } => Health::refused(&location, at, &cause),
        };
        Report { health, running_jobs: None, unlisted: 0 }
    });
    output.tell(&report, || for_people(&report, args.detailed));
    match report.health.status {
        Status::Healthy => 0,
        Status::Degraded => 1,
        Status::Down => 2,
    }
}

async fn look(broker: &RedisBroker, args: &StatusArgs, queue: Option<&QueueName>) -> Result<Report, BrokerError> {
    broker.ready().await?; // and its clock is known from then on
    let thresholds = args.thresholds.read();
    let only = queue.map(std::slice::from_ref);
    let mut overview = Overview::of_expected(broker, only, &thresholds.expected).await?;
    let (mut running_jobs, mut unlisted) = (None, 0);
    if args.detailed {
        overview = overview.with_concerns(broker).await?;
        let mut running = Vec::new();
        for view in overview.queues.iter().filter(|view| view.running > 0) {
            let Ok(name) = QueueName::new(&view.name) else { continue };
            let reveal = Reveal::of(broker, &name).await?;
            let page = broker.jobs(&name, JobFilter::Running, None, MOST_RUNNING).await?;
            if page.next.is_none() {
                unlisted += jobs::unlisted(view.running, page.jobs.len());
            }
            running.extend(page.jobs.into_iter().map(|record| JobView::new(record, &name, &reveal)));
        }
        running_jobs = Some(running);
    }
    Ok(Report { health: thresholds.assess(overview), running_jobs, unlisted })
}

fn for_people(report: &Report, detailed: bool) -> String {
    let Health { status, reasons, overview } = &report.health;
    let (word, color) = match status {
        Status::Healthy => ("healthy", AnsiColor::Green),
        Status::Degraded => ("degraded", AnsiColor::Yellow),
        Status::Down => ("down", AnsiColor::Red),
    };
    let style = Style::new().bold().fg_color(Some(color.into()));
    let mut text = format!("{style}{word}{style:#}  {}", plain(&overview.location));
    if let Some(server) = &overview.server {
        let version = server.version.as_deref().unwrap_or("of an unknown version");
        let _ = write!(text, ", {} {}", plain(&server.kind), plain(version));
        if let Some(used) = server.memory_used {
            let limit =
                server.memory_limit.map_or_else(|| "no limit".to_owned(), |limit| format!("of {}", bytes(limit)));
            let _ = write!(text, ", memory {} ({limit})", bytes(used));
        }
    }
    for reason in reasons {
        let _ = write!(text, "\n  ! {}", plain(&reason.message));
    }
    if *status == Status::Down {
        return text;
    }
    if overview.queues.is_empty() {
        text.push_str("\n\nNo queue holds a job, and no worker runs.");
        return text;
    }
    let _ = write!(text, "\n\n{}", queues::table_of(&overview.queues, overview.at));
    if detailed {
        let _ = write!(text, "\n\n{}", workers(overview));
        if let Some(running) = report.running_jobs.as_ref().filter(|running| !running.is_empty()) {
            let _ = write!(text, "\n\n{}", jobs::table_of_running(running, overview.at));
        }
        text += &jobs::others(report.unlisted);
    }
    text
}

fn workers(overview: &Overview) -> String {
    let rows = overview.queues.iter().flat_map(|queue| queue.workers.iter().map(move |worker| (queue, worker)));
    let rows: Vec<Vec<String>> = rows
        .map(|(queue, worker)| {
            let unknown = || "-".to_owned();
            vec![
                queue.name.clone(),
                if worker.is_python { "arq (Python)".to_owned() } else { worker.name.clone() },
                worker.host.clone().unwrap_or_else(unknown),
                worker.pid.map_or_else(unknown, |pid| pid.to_string()),
                relative(worker.started_at, overview.at),
                if worker.is_python { unknown() } else { relative(Some(worker.at), overview.at) },
                worker.done.to_string(),
                worker.failed.to_string(),
                worker.retried.to_string(),
                worker.max_jobs.map_or_else(|| worker.running.to_string(), |most| format!("{}/{most}", worker.running)),
            ]
        })
        .collect();
    if rows.is_empty() {
        return "No worker runs.".to_owned();
    }
    let columns =
        ["queue", "worker", "host", ">pid", ">since", ">last beat", ">done", ">failed", ">retried", ">running"];
    table(&columns, rows)
}

fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut whole, mut unit, mut tenths) = (bytes, 0, 0);
    while whole >= 1024 && unit + 1 < UNITS.len() {
        tenths = whole % 1024 * 10 / 1024;
        whole /= 1024;
        unit += 1;
    }
    if unit == 0 { format!("{whole} B") } else { format!("{whole}.{tenths} {}", UNITS[unit]) }
}
