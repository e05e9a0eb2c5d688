//! Every shape of a task.

use sector7g_tasks::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone)]
struct Db;

#[derive(Serialize, Deserialize)]
enum Depth {
    Core,
}

#[derive(Serialize, Deserialize, Default)]
struct Inspection {
    status: String,
}

/// Context, state, arguments, and a result that may fail.
#[task(queue = "lenny", timeout = 300, max_tries = 5, backoff = "exponential(1s, max = 5m)")]
async fn inspect_reactor(
    ctx: &Context,
    State(db): State<Db>,
    reactor: u8,
    depth: Option<Depth>,
) -> Result<Inspection, std::io::Error> {
    let _ = (ctx, db, reactor, depth);
    Ok(Inspection::default())
}

/// Runs on the blocking pool.
#[task(queue = "homer")]
fn count_donuts(mut boxes: Vec<u32>, ctx: &Context, State(Db): State<Db>) -> u32 {
    let _ = ctx;
    boxes.dedup();
    boxes.iter().sum()
}

/// Runs on the blocking pool and may fail.
#[task(queue = "homer", blocking)]
fn eat(donuts: u32) -> Result<u32, TaskError> {
    donuts.checked_sub(1).ok_or_else(|| TaskError::permanent("no donuts"))
}

/// Runs right where it is called.
#[task(queue = "homer", blocking = false)]
fn burp() {}

/// Implemented elsewhere.
#[task(queue = "reports")]
async fn make_pdf(order: u64, paper: Option<String>) -> Inspection;

#[task(queue = "reports", name = "reports.clean")]
fn clean_reports();

/// A context by value, in the middle; a state by its full path.
#[task(queue = "carl")]
async fn hand_over(shift: String, ctx: Context, db: sector7g_tasks::State<Db>) {
    let _ = (shift, ctx, db);
}

/// Defaults and redaction.
#[task(queue = "carl", keep_result = false, dead_letter = false)]
async fn report(
    #[arg(default = 3)] pages: u8,
    #[arg(default)] notes: Vec<String>,
    #[arg(redact)] token: String,
    #[arg(default = "A4".to_owned(), redact)] paper: String,
) -> usize {
    let _ = (token, paper);
    notes.len() + usize::from(pages)
}

/// A schedule.
#[task(queue = "inanimate_rod", cron = "0 */5 * * * *", timezone = "Europe/Berlin", keep_result = "forever")]
async fn system_health_check(ctx: &Context, #[arg(default = 1)] depth: u8, host: Option<String>) -> Inspection {
    let _ = (ctx, depth, host);
    Inspection::default()
}

/// A schedule with a name for its rule, and every other way to say how often.
#[task(queue = "inanimate_rod", name = "clean", cron = "@daily", timeout = "1h30m", backoff = "fixed(500ms)", max_tries = 2)]
async fn cleanup() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    Ok(())
}

/// Twelve arguments, and a keyword for a name.
#[task(queue = "grimey")]
#[expect(clippy::too_many_arguments, reason = "for this test")]
async fn r#match(
    a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8, j: u8, k: u8, r#type: u8,
) -> Result<u8, &'static str> {
    let all = [a, b, c, d, e, f, g, h, i, j, k, r#type];
    all.into_iter().max().ok_or("none")
}

/// An error type of one's own, by an alias of `Result`.
type Result<T, E = std::num::ParseIntError> = std::result::Result<T, E>;

#[task(queue = "grimey")]
async fn audit(amount: String) -> Result<u32> {
    amount.parse()
}

fn main() {
    let job = inspect_reactor::job(7, Some(Depth::Core)).id("first");
    assert_eq!((job.task(), job.queue_name()), ("inspect_reactor", "lenny"));
    assert_eq!(clean_reports::job().task(), "reports.clean");
    assert_eq!(make_pdf::job(7, None).queue_name(), "reports");
    assert_eq!(r#match::job(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12).task(), "match");
    let _ = (count_donuts::job(vec![1]), eat::job(1), burp::job(), audit::job("7".to_owned()), cleanup::job());
    let _ = (hand_over::job("night".to_owned()), system_health_check::job(1, None));
    let _ = report::job(1, vec![], "secret".to_owned(), "A5".to_owned());
    // A task stays a function.
    assert_eq!(eat(3).unwrap(), 2);
    burp();
}
