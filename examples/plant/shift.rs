//! One shift of the plant: all six workers, a few hundred jobs, and an account of it.

use std::fs;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use sector7g_tasks::broker::BrokerError;
use sector7g_tasks::client::JobInfo;
use sector7g_tasks::clock::Timestamp;
use sector7g_tasks::prelude::*;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::book::Book;
use crate::plant::{Plant, Room};
use crate::progress::{self, Style};
use crate::report::{self, Row};
use crate::roster::{self, QUEUES};
use crate::sim::ledger;
use crate::timeclock::{Card, TimeClock};

/// Rounds of usual work, one each [`ROUND`]; half-way, what runs too long is aborted.
const ROUNDS: u32 = 10;
const ROUND: Duration = Duration::from_millis(750);

/// When the last job that is planned beforehand is due.
const LAST_DUE: Duration = Duration::from_secs(8);

/// A shift that is not over by then has failed.
const LIMIT: Duration = Duration::from_secs(18);

/// Health checks that the schedule, one each two seconds, makes in a shift at the least.
const HEALTH_CHECKS: u64 = 2;

/// Why a shift could not be held at all.
pub type Trouble = Box<dyn std::error::Error + Send + Sync>;

/// What there is to look at once a shift is over.
struct Shift<'a> {
    client: &'a Client,
    clock: &'a TimeClock,
    plant: &'a Plant,
    started: Instant,
    /// `started` by the broker's clock: what died before is of an earlier shift.
    began: Timestamp,
}

/// Holds a shift on `broker` and tells of it; returns what was off, nothing if all went as it should.
///
/// # Errors
/// When the workers can't start, or the broker does not answer.
pub async fn hold(broker: Arc<dyn Broker>, plant: &Plant, style: Style) -> Result<Vec<String>, Trouble> {
    let started = Instant::now();
    broker.ready().await?;
    let client = Client::new(broker);
    let began = client.broker().clock().now();
    let (clock, whistle) = (TimeClock::default(), CancellationToken::new());
    let runner = Runner::new().broker(client.broker().clone()).state(plant.clone()).state(clock.clone());
    let runner = runner.stop_on(whistle.clone());
    // Whoever ends first, for whatever reason, ends the others: the foreman when all is done, the
    // workers when they can't start or are told to stop from outside.
    let workers = async {
        let _over = whistle.clone().drop_guard();
        runner.run().await
    };
    let foreman = async {
        let _over = whistle.clone().drop_guard();
        whistle.run_until_cancelled(supervise(&client, started)).await
    };
    let progress = progress::show(style, &client, &clock, &whistle, started);
    let (ran, book, ()) = tokio::join!(workers, foreman, progress);
    let ran = ran?;
    let Some(book) = book else { return Ok(vec!["it was stopped before its end".to_owned()]) };
    account(Shift { client: &client, clock: &clock, plant, started, began }, book?, ran).await
}

/// Enqueues the shift's jobs in time and waits until all are done.
async fn supervise(client: &Client, started: Instant) -> Result<Book, Trouble> {
    let mut book = Book::default();
    roster::incidents(client, &mut book).await?;
    roster::deferred(client, &mut book, LAST_DUE).await?;
    let to_abort = roster::to_abort(client, &mut book).await?;
    rounds(client, &mut book, 0..ROUNDS / 2, started).await?;
    to_abort.abort(&mut book).await?;
    rounds(client, &mut book, ROUNDS / 2..ROUNDS, started).await?;
    while let Some(open) = still_open(client).await? {
        if started.elapsed() > LIMIT {
            book.remarks.push(format!("after {LIMIT:?} there was still work: {open}"));
            break;
        }
        sleep(Duration::from_millis(25)).await;
    }
    Ok(book)
}

async fn rounds(client: &Client, book: &mut Book, rounds: Range<u32>, started: Instant) -> Result<(), Trouble> {
    for round in rounds {
        roster::round(client, book, round).await?;
        sleep_until(started + ROUND * (round + 1)).await;
    }
    Ok(())
}

/// Which queues still have jobs, for people; `None` when none has.
async fn still_open(client: &Client) -> Result<Option<String>, BrokerError> {
    let mut open = Vec::new();
    for queue in QUEUES {
        let live = client.stats(queue).await?.live();
        if live > 0 {
            open.push(format!("{live} in {queue}"));
        }
    }
    Ok((!open.is_empty()).then(|| open.join(", ")))
}

/// Prints how the shift was, and compares it with the foreman's book.
async fn account(shift: Shift<'_>, book: Book, ran: RunReport) -> Result<Vec<String>, Trouble> {
    let Shift { client, clock, plant, started, began } = shift;
    let (rows, dead) = queues(client, clock, began, ran).await?;
    let total = report::total(&rows, clock.total());
    let mut off = book.close(&total, &dead).await;
    off.extend(check_plant(plant, &total.card)?);
    let mut out = io::stdout().lock();
    writeln!(out, "{}\n\n{}", report::summary(&rows, &total), report::dead_letters(&dead))?;
    writeln!(out, "{} donuts counted, {} health checks.", plant.donuts(), total.card.done_of("system_health_check"))?;
    if off.is_empty() {
        let (worker, attempts, seconds) = (&total.worker, total.card.run.total(), started.elapsed().as_secs_f64());
        let jobs = worker.done + worker.failed + worker.aborted;
        writeln!(
            out,
            "The shift is over: {jobs} jobs in {attempts} attempts and {seconds:.1} s, all as it should be."
        )?;
    }
    Ok(off)
}

/// Each queue's line of the summary, and its dead letters.
async fn queues(
    client: &Client,
    clock: &TimeClock,
    began: Timestamp,
    ran: RunReport,
) -> Result<(Vec<Row>, Vec<JobInfo>), BrokerError> {
    let (mut rows, mut dead) = (Vec::new(), Vec::new());
    for queue in QUEUES {
        let mut letters = client.dead_letters(queue, None, 100).await?.jobs;
        letters.retain(|letter| letter.due_at >= began);
        let worker = ran.workers.iter().find(|report| report.worker.replace('-', "_") == queue);
        let worker = worker.cloned().unwrap_or_default();
        rows.push(Row { queue: queue.to_owned(), worker, card: clock.card(queue), dead: letters.len() });
        dead.extend(letters);
    }
    Ok((rows, dead))
}

/// What is off in the plant itself: the schedule, the ledger, the donuts.
fn check_plant(plant: &Plant, total: &Card) -> Result<Vec<String>, Trouble> {
    let mut off = Vec::new();
    let health_checks = total.done_of("system_health_check");
    if health_checks < HEALTH_CHECKS {
        off.push(format!("{health_checks} scheduled health checks, at least {HEALTH_CHECKS} were due"));
    }
    let stamps = usize::try_from(ROUNDS * roster::STAMPS)?;
    let entries = ledger::verify(&fs::read_to_string(plant.room(Room::Office).join("ledger"))?)?;
    if entries != stamps {
        off.push(format!("the ledger has {entries} entries, {stamps} were stamped"));
    }
    if plant.donuts() == 0 {
        off.push("homer has counted no donut".to_owned());
    }
    Ok(off)
}
