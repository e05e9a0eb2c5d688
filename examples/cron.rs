//! Schedules: tasks that run by themselves, in the time zone of those who wait for them.
//!
//! ```text
//! cargo run --example cron
//! ```
//!
//! It runs until the tower has told the time three times, some three seconds.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use sector7g_tasks::prelude::*;
use tokio_util::sync::CancellationToken;

/// How often the clock has struck, and who is told when that is enough.
#[derive(Clone)]
struct Tower {
    strokes: Arc<AtomicU32>,
    enough: CancellationToken,
}

/// Every second. However many workers run, each tick is enqueued once.
#[task(queue = "tower", cron = "* * * * * *")]
async fn strike(ctx: &Context, State(tower): State<Tower>) -> Result<u32, io::Error> {
    let stroke = tower.strokes.fetch_add(1, Ordering::Relaxed) + 1;
    // The tick is the moment that the schedule meant, not the one at which a worker came round to it.
    let tick = ctx.tick().map_or_else(|| "by hand".to_owned(), |tick| tick.to_string());
    writeln!(io::stdout(), "stroke {stroke}: {tick}")?;
    if stroke == 3 {
        tower.enough.cancel();
    }
    Ok(stroke)
}

/// At half past two at night in Springfield. On the night when that hour is skipped, it runs once, as the clocks have
/// changed; on the night when it comes twice, once, the first time.
#[task(queue = "tower", cron = "0 30 2 * * *", timezone = "America/New_York")]
async fn polish_bells() {}

/// A task can have its schedule from its worker, too: there it stands beside the others.
#[task(queue = "tower")]
async fn count_bells(#[arg(default = 7)] bells: u8) -> u8 {
    bells
}

#[derive(Worker)]
#[worker(queue = "tower", max_jobs = 2, timezone = "Europe/Berlin", cron(count_bells, "0 0 9 * * MON"))]
struct Bellringer;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let enough = CancellationToken::new();
    let tower = Tower { strokes: Arc::default(), enough: enough.clone() };
    let report = Runner::new().state(tower).stop_on(enough).run().await?;
    writeln!(io::stdout(), "{} strokes, {} failed", report.done(), report.failed())?;
    Ok(())
}
