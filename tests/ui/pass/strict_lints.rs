//! Expansions trip no lint that a crate may have on.

#![forbid(unsafe_code)]
#![deny(
    missing_docs,
    missing_debug_implementations,
    missing_copy_implementations,
    unreachable_pub,
    unused,
    unused_qualifications,
    unused_results,
    non_camel_case_types,
    rust_2018_idioms,
    single_use_lifetimes,
    let_underscore_drop,
    deprecated,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::absolute_paths,
    clippy::missing_docs_in_private_items,
    clippy::unwrap_used,
    clippy::unreachable
)]
#![expect(clippy::unused_async, reason = "a task is async even when it never waits")]

use sector7g_tasks::prelude::*;

/// A state.
#[derive(Clone, Copy, Debug)]
pub struct Db;

/// A task that others see.
///
/// # Errors
/// None.
#[task(queue = "lenny", timeout = 0.5, backoff = "exponential", cron = "* * * * *")]
pub async fn seen(ctx: &Context, State(db): State<Db>, #[arg(default = 1)] reactor: u8) -> Result<u8, TaskError> {
    let _: (&Context, Db) = (ctx, db);
    Ok(reactor)
}

/// One for this crate, with more arguments than clippy likes.
#[task(queue = "lenny")]
#[expect(clippy::too_many_arguments, clippy::many_single_char_names, reason = "for this test")]
pub(crate) fn many(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8) -> u8 {
    a | b | c | d | e | f | g | h
}

/// Nobody enqueues it here.
#[task(queue = "lenny")]
async fn unused_here() {}

/// Implemented elsewhere.
#[task(queue = "reports")]
pub async fn make_pdf(order: u64) -> String;

/// It has a better sister.
#[task(queue = "lenny")]
#[deprecated = "use `seen`"]
pub async fn old() {}

/// A worker.
#[derive(Clone, Copy, Debug, Worker)]
#[worker(queue = "lenny", on_startup = start, on_job_end = end, cron(seen, "@daily"))]
pub struct Lenny;

/// A hook.
async fn start(_: &WorkerContext) {}

/// Another.
async fn end(_: &Context, _: &JobEnd) -> Result<(), TaskError> {
    Ok(())
}

fn main() {
    drop((seen::job(1), many::job(1, 2, 3, 4, 5, 6, 7, 8), make_pdf::job(7)));
}
