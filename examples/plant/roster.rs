//! Who does what, and when: the jobs of a shift.

use std::time::Duration;

use sector7g_tasks::broker::BrokerError;
use sector7g_tasks::client::EnqueueError;
use sector7g_tasks::job::JobKind;
use sector7g_tasks::prelude::*;

use crate::book::{Book, Expected};
use crate::carl::{FLOW_METER, compile_shift_report, hand_over, inspect_coolant};
use crate::charlie::{PRESSURE_GAUGE, calibrate_gauge, read_gauges, restock_vending};
use crate::grimey::{audit_reports, close_books, review_personnel_file, stamp_ledger};
use crate::homer::{Depth, count_donuts, safety_check, take_nap, vent_gas};
use crate::inanimate_rod::{Withdrawal, cleanup_temp_files, rod_sim_task, rotate_logs, withdraw_rods};
use crate::lenny::{THERMOMETER, diagnose_turbine, file_report, inspect_reactor, sort_dosimeters};

/// The six queues, in the order of the plant's organisation chart.
pub const QUEUES: [&str; 6] = ["inanimate_rod", "homer", "lenny", "carl", "charlie", "grimey"];

/// Entries that Grimey makes in each round.
pub const STAMPS: u32 = 3;

/// A job of a name that every shift uses: results that an earlier one has left on the same broker make room.
fn named<K: JobKind>(job: Job<K>, id: impl Into<String>) -> Job<K> {
    job.id(id).replace_finished()
}

/// Enqueues one round of everybody's usual work.
///
/// # Errors
/// What enqueueing says.
pub async fn round(client: &Client, book: &mut Book, round: u32) -> Result<(), EnqueueError> {
    rods_round(client, book, round).await?;
    homers_round(client, book, round).await?;
    lennys_round(client, book, round).await?;
    carls_round(client, book, round).await?;
    charlies_round(client, book, round).await?;
    grimeys_round(client, book, round).await
}

async fn rods_round(client: &Client, book: &mut Book, round: u32) -> Result<(), EnqueueError> {
    let insertion = |n: u32| 0.42 + 0.03 * f64::from(n);
    let simulations = (0..5).map(|n| rod_sim_task::job(u64::from(round * 5 + n), insertion(n), 5.0));
    book.expect_done(&client.enqueue_all(simulations).await?);
    book.expect(&client.enqueue(cleanup_temp_files::job(Some(2.0))).await?, Expected::Done);
    book.expect(&client.enqueue(rotate_logs::job(512)).await?, Expected::Done);
    Ok(())
}

async fn homers_round(client: &Client, book: &mut Book, round: u32) -> Result<(), EnqueueError> {
    let boxes = |n: u32| (0..25).map(|box_id| (round * 3 + n) * 25 + box_id).collect();
    book.expect_done(&client.enqueue_all((0..3).map(|n| count_donuts::job(boxes(n)))).await?);
    let depth = round.is_multiple_of(2).then_some(Depth::Thorough);
    book.expect(&client.enqueue(safety_check::job(1, depth)).await?, Expected::Done);
    book.expect(&client.enqueue(take_nap::job(0.15)).await?, Expected::Done);
    Ok(())
}

async fn lennys_round(client: &Client, book: &mut Book, round: u32) -> Result<(), EnqueueError> {
    let depth = |reactor: u8| reactor.is_multiple_of(3).then_some(Depth::Thorough);
    let inspect =
        |reactor| named(inspect_reactor::job(reactor, depth(reactor)), format!("reactor-{reactor}-round-{round}"));
    book.expect_readings(&client.enqueue_all((1..=5).map(inspect)).await?, &THERMOMETER, 5);
    let report = |n| file_report::job(format!("round-{round}-{n}"), 40);
    book.expect_done(&client.enqueue_all((0..3).map(report)).await?);
    book.hand_over("verify_report", 3);
    book.hand_over("write_shift_note", 3);
    book.expect_done(&client.enqueue_all((1..=2).map(|n| diagnose_turbine::job(n, 25.0 * f64::from(n)))).await?);
    book.expect(&client.enqueue(sort_dosimeters::job(1_500 + 100 * round)).await?, Expected::Done);
    Ok(())
}

async fn carls_round(client: &Client, book: &mut Book, round: u32) -> Result<(), EnqueueError> {
    let inspect = |circuit| named(inspect_coolant::job(circuit), format!("coolant-{circuit}-round-{round}"));
    book.expect_readings(&client.enqueue_all((1..=5).map(inspect)).await?, &FLOW_METER, 6);
    book.expect(&client.enqueue(compile_shift_report::job()).await?, Expected::Done);
    let points = vec!["the fish in the outlet have three eyes".to_owned(), "somebody taped over the leak".to_owned()];
    book.hand_over("write_shift_note", 2);
    book.expect(&client.enqueue(hand_over::job(points)).await?, Expected::Done);
    Ok(())
}

async fn charlies_round(client: &Client, book: &mut Book, round: u32) -> Result<(), EnqueueError> {
    let read = |panel| named(read_gauges::job(panel, 8), format!("panel-{panel}-round-{round}"));
    book.expect_readings(&client.enqueue_all((1..=6).map(read)).await?, &PRESSURE_GAUGE, 5);
    let items = ["crab juice", "powersauce bar"];
    book.expect_done(&client.enqueue_all(items.map(|item| restock_vending::job(item.to_owned(), 12))).await?);
    book.may_be_put_off += 1;
    book.expect(&client.enqueue(calibrate_gauge::job(7, 400)).await?, Expected::Done);
    Ok(())
}

async fn grimeys_round(client: &Client, book: &mut Book, round: u32) -> Result<(), EnqueueError> {
    let entry = |n| stamp_ledger::job(format!("round {round}, item {n}: in order"));
    book.expect_done(&client.enqueue_all((1..=STAMPS).map(entry)).await?);
    book.expect(&client.enqueue(audit_reports::job()).await?, Expected::Done);
    let employee = if round.is_multiple_of(2) { "Lenford Leonard" } else { "Carlton Carlson" };
    book.expect(&client.enqueue(review_personnel_file::job(employee.to_owned())).await?, Expected::Done);
    Ok(())
}

/// Enqueues work for later: gauges to be read over the next seconds, the books to be closed at the end.
///
/// # Errors
/// What enqueueing says.
pub async fn deferred(client: &Client, book: &mut Book, end: Duration) -> Result<(), EnqueueError> {
    let later = |n: u16| {
        named(read_gauges::job(100 + n, 4), format!("later-{n}")).delay(Duration::from_millis(700) * u32::from(n))
    };
    book.expect_readings(&client.enqueue_all((1..=8).map(later)).await?, &PRESSURE_GAUGE, 5);
    let at_the_end = client.broker().clock().now() + end;
    let close = || named(close_books::job(), "close-books").at(at_the_end);
    book.expect(&client.enqueue(close()).await?, Expected::Done);
    // The same id again is no second job, and no error.
    let again = client.enqueue(close()).await?;
    book.check(!again.is_new(), "a second job of the id close-books was taken for new");
    Ok(())
}

/// Enqueues what goes wrong in every shift.
///
/// # Errors
/// What enqueueing says.
pub async fn incidents(client: &Client, book: &mut Book) -> Result<(), EnqueueError> {
    let nap = client.enqueue(named(take_nap::job(30.0), "homer-sleeps-in")).await?;
    book.expect(&nap, Expected::Failed(FailureKind::Timeout));
    let late = named(restock_vending::job("krusty burger".to_owned(), 1), "late-delivery");
    let late = client.enqueue(late.delay(Duration::from_secs(3)).expires(Duration::from_secs(1))).await?;
    book.expect(&late, Expected::Failed(FailureKind::Expired));
    let vent = |code: &str| vent_gas::job(7, code.to_owned());
    book.expect(&client.enqueue(vent("tibbetts-742")).await?, Expected::Done);
    let wrong = client.enqueue(named(vent("1234"), "wrong-code")).await?;
    book.expect(&wrong, Expected::Dead(FailureKind::Permanent));
    let poison = client.enqueue(named(review_personnel_file::job("Homer Simpson".to_owned()), "poison-file")).await?;
    book.retries += 2;
    book.expect(&poison, Expected::Dead(FailureKind::Error));
    // By name, as a program would that does not know the task: nobody checks the arguments beforehand.
    let misread = named(Job::untyped("read_gauges", "charlie").arg("the big one"), "misread-panel");
    let misread = client.enqueue(misread).await?;
    book.expect(&misread, Expected::Dead(FailureKind::Arguments));
    Ok(())
}

/// The two jobs that are going to be aborted.
pub struct ToAbort {
    running: JobHandle<withdraw_rods>,
    waiting: JobHandle<restock_vending>,
}

/// Enqueues two jobs to abort later: one that runs by then, one that still waits.
///
/// # Errors
/// What enqueueing says.
pub async fn to_abort(client: &Client, book: &mut Book) -> Result<ToAbort, EnqueueError> {
    let running = client.enqueue(named(withdraw_rods::job(0.45, 1_000, 20), "slow-withdrawal")).await?;
    let tomorrow = restock_vending::job("malk".to_owned(), 100).delay(Duration::from_hours(24));
    let waiting = client.enqueue(named(tomorrow, "tomorrows-delivery")).await?;
    book.expect(&running, Expected::Failed(FailureKind::Aborted));
    book.expect(&waiting, Expected::Failed(FailureKind::Aborted));
    Ok(ToAbort { running, waiting })
}

impl ToAbort {
    /// Aborts both.
    ///
    /// # Errors
    /// What the broker says.
    pub async fn abort(self, book: &mut Book) -> Result<(), BrokerError> {
        let progress = self.running.progress::<Withdrawal>().await?;
        book.check(progress.is_some_and(|reached| reached.step > 0), "the slow withdrawal of rods told no progress");
        book.check(self.running.abort().await?, "the slow withdrawal of rods could not be aborted");
        book.check(self.waiting.abort().await?, "tomorrow's delivery could not be called off");
        Ok(())
    }
}
