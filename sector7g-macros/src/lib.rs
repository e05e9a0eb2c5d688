//! The attribute `#[task]` and the derive `Worker` of [`sector7g-tasks`](https://docs.rs/sector7g-tasks).
//!
//! Name that crate, not this one: it re-exports both, and what they expand to names its items.

mod attr;
mod backoff;
mod duration;
mod task;
#[cfg(test)]
mod testing;
mod value;
mod worker;

use proc_macro::TokenStream;
use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Ident, Span};
use quote::quote;

/// Makes a function a background task.
///
/// ```ignore
/// use sector7g_tasks::prelude::*;
///
/// /// Inspects one reactor.
/// #[task(queue = "lenny", timeout = 300, max_tries = 5, backoff = "exponential(1s, max = 5m)")]
/// async fn inspect_reactor(ctx: &Context, State(db): State<Db>, reactor: u8, depth: Option<Depth>)
///     -> Result<Inspection, InspectError> { .. }
///
/// #[task(queue = "homer")]            // not async: runs on the blocking pool
/// fn count_donuts(box_ids: Vec<u32>) -> DonutCount { .. }
///
/// #[task(queue = "reports")]          // no body: implemented elsewhere, in Rust or Python
/// async fn make_pdf(order: u64) -> Pdf;
///
/// let handle = client.enqueue(inspect_reactor::job(7, None)).await?;
/// ```
///
/// The function stays as it is: a unit test calls it as any other. Beside it the attribute puts a
/// type of the same name and visibility, whose function `job` takes the arguments that travel and
/// makes a job of them. The task is also entered in the inventory, where runners find it, if its
/// crate is linked: `use my_tasks as _;` in a program that names nothing else of it.
///
/// A task without a body is not entered and can't be called; it can be enqueued, and whoever
/// serves its queue runs it. It takes only `queue`, `partitions` and `name`: all else is decided over there.
///
/// # Parameters
///
/// | parameter | what it is given |
/// | --- | --- |
/// | `ctx: &Context`, or `Context` | the running job's context, at most once; does not travel |
/// | `State(db): State<Db>` | a clone of the `Db` that the runner was given, which must be there when it starts; does not travel |
/// | `name: Type`, up to 12 | an argument of the job: `Serialize`, `Deserialize`, `Send`, `Sync`, without borrowed parts |
///
/// Arguments bind as in a call in Python, by position or by name. A missing `Option` is `None`;
/// what else may be missing says so:
///
/// * `#[arg(default)]`: a missing one is `Default::default()`;
/// * `#[arg(default = EXPR)]`: a missing one is the value of `EXPR`, computed for each such job;
/// * `#[arg(redact)]`: the value is never shown, in no log, error or dashboard.
///
/// # Result
///
/// What the function returns, or the `T` of its `Result<T, E>`, is the job's result: `Serialize`,
/// `Deserialize` and `Send`. `E` is anything that turns into a `TaskError`: errors of `std`,
/// `thiserror` or `anyhow`, text, or a `TaskError` that says what is to follow. A type is taken for
/// a result if its last name is `Result`, be it an alias; one without types, like `fmt::Result`,
/// has the result `()`.
///
/// # Options
///
/// Time spans are seconds (`300`, `0.5`) or text with units, large ones first: `"1d"`, `"1h30m"`,
/// `"90s"`, `"500ms"`.
///
/// | option | value | default | mirrors, in arq |
/// | --- | --- | --- | --- |
/// | `queue` | name of the queue its jobs go to, 1 to 512 bytes | (required) | `queue_name` |
/// | `partitions` | in how many parts its queue is split, 1 to 64, each with a slot of its own on a Redis Cluster; all tasks of the queue say the same | 1: none | (none) |
/// | `name` | its name on the wire, unique in a program, 1 to 512 bytes | the function's name | `func(name)` |
/// | `timeout` | the longest that one attempt may take, above zero | the worker's `job_timeout` | `func(timeout)` |
/// | `max_tries` | attempts in all, from 1 | the worker's `max_tries` | `func(max_tries)` |
/// | `backoff` | whether a failed attempt is repeated, and when: see below | none | (none; arq repeats on `Retry` only) |
/// | `keep_result` | for how long the result is kept; `false` or `0`: not at all; `"forever"` | the worker's `keep_result` | `func(keep_result, keep_result_forever)` |
/// | `cron` | when it runs by itself, without arguments, so each must be an `Option` or have a default: 5 fields, 6 with seconds first, or `"@daily"` and the like | never | `cron(..)` |
/// | `timezone` | the time zone of `cron`, an IANA name | the worker's `timezone`, else UTC | `timezone` |
/// | `dead_letter` | whether a job that failed for good is kept as a dead letter | `true` | (none) |
/// | `blocking` | for a function that is not async: `false` calls it right on a runtime's thread, for work of microseconds | `true` | (none) |
///
/// An `Err` ends a job, as in arq, unless the task has a `backoff` or `max_tries`, or the error asks
/// for a retry. `max_tries` without `backoff` means `"exponential(1s, max = 5m)"`. Policies are
///
/// * `"fixed(10s)"`: the same delay each time;
/// * `"linear(10s)"`: 10 s, 20 s, 30 s, ..;
/// * `"exponential(1s)"`: 1 s, 2 s, 4 s, ..; with `factor = 3` (1 to 1000, default 2) 1 s, 3 s, 9 s, ..
///
/// each with `max = 5m` as the longest delay (default: a day) and `jitter = 0.5` as the part of it
/// that chance decides (0 to 1, default 0.2). The first delay may be left out: it is 1 s.
///
/// # Other attributes
///
/// They stay on the function. `cfg`, `allow` and `deprecated` count for the type beside it, too.
///
/// # Errors
///
/// All mistakes of one task are compiler errors at once, each at its place. Functions with `self`,
/// generic parameters or lifetimes, and `const`, `unsafe` or `extern` ones can't be tasks.
#[proc_macro_attribute]
pub fn task(options: TokenStream, item: TokenStream) -> TokenStream {
    task::expand(options.into(), item.into(), &root()).into()
}

/// Makes a struct a worker: what arq calls a `WorkerSettings` class.
///
/// ```ignore
/// use sector7g_tasks::prelude::*;
///
/// #[derive(Worker)]
/// #[worker(queue = "homer", max_jobs = 3, job_timeout = "5m", on_startup = warm_up)]
/// pub struct Homer;
///
/// async fn warm_up(ctx: &WorkerContext) -> Result<(), std::io::Error> { .. }
///
/// #[derive(Worker)]
/// #[worker(queues("urgent" = 3, "later" = 1), cron(audit, "0 0 4 * * *", timezone = "Europe/Berlin"))]
/// pub struct LennyAndCarl;
/// ```
///
/// The worker is entered in the inventory, where runners find it if its crate is linked. A queue
/// with tasks that no worker type serves gets a worker with all defaults.
///
/// # Options
///
/// Time spans are seconds (`300`, `0.5`) or text with units, large ones first: `"1d"`, `"1h30m"`,
/// `"90s"`, `"500ms"`. All but `cron` are given at most once; several `#[worker(..)]` count as one.
///
/// | option | value | default | mirrors, in arq |
/// | --- | --- | --- | --- |
/// | `queue` | name of the queue it serves, 1 to 512 bytes | (required, or `queues`) | `queue_name` |
/// | `queues(..)` | several: `queues("high", "low")`, or with weights `queues("high" = 3, "low" = 1)` | | (none) |
/// | `order` | of several queues: `"strict"` asks the first one that has work, `"weighted"` asks by chance and weight | weighted if there are weights, else strict | (none) |
/// | `name` | its name on the command line, 1 to 512 bytes | that of the type, `InanimateRod` as `inanimate-rod` | the class's name |
/// | `max_jobs` | jobs at once in one process, from 1 | 10 | `max_jobs` |
/// | `job_timeout` | the longest that one attempt may take, above zero, unless its task says otherwise | 300 s | `job_timeout` |
/// | `max_tries` | attempts in all, from 1, unless job or task say otherwise | 5 | `max_tries` |
/// | `keep_result` | for how long results are kept, unless the task says otherwise; `false` or `0`: not at all; `"forever"` | 3,600 s | `keep_result`, `keep_result_forever` |
/// | `poll_delay` | how often it asks a broker that can't wake it, above zero | 0.5 s | `poll_delay` |
/// | `health_check_interval` | how often it says that it lives, above zero | 10 s (arq: 3,600 s) | `health_check_interval` |
/// | `job_completion_wait` | how long running jobs get when it stops | 5 s (arq: 0) | `job_completion_wait` |
/// | `lease` | how long a claimed job stays its own without a heartbeat, at least 0.1 s: so long after a crash its jobs start again | 10 s | (none; arq: `job_timeout` + 10 s) |
/// | `unknown_task_grace` | how long jobs of unknown tasks are left for other workers | 60 s | (none) |
/// | `misfire_window` | how far back it makes up for missed ticks of schedules | 60 s | (none) |
/// | `max_payload_size` | the largest stored job, in bytes, from 1: a larger one is a dead letter, unread | 1,048,576 | (none) |
/// | `max_result_size` | the largest encoded result, in bytes, from 1 | 1,048,576 | (none) |
/// | `timezone` | the time zone of its schedules, an IANA name | UTC | `timezone` |
/// | `cron(..)` | runs a task of any queue by schedule, without arguments: `cron(task, "0 */5 * * * *", timezone = "..")`; may be given again | | `cron_jobs` |
/// | `on_startup` | path of an `async fn(&WorkerContext)`: runs before the first claim; its error stops the start | | `on_startup` |
/// | `on_shutdown` | path of an `async fn(&WorkerContext)`: runs after the last job | | `on_shutdown` |
/// | `on_job_start` | path of an `async fn(&Context)`: runs before each attempt | | `on_job_start` |
/// | `on_job_end` | path of an `async fn(&Context, &JobEnd)`: runs after each attempt, before its outcome is stored | | `on_job_end` |
/// | `after_job_end` | path of an `async fn(&Context, &JobEnd)`: runs after each attempt, once its outcome is stored | | `after_job_end` |
/// | `alerts(..)` | thresholds on its queues, one at least: `depth` (jobs that have yet to end, from 1), `oldest_due` (the wait of the oldest due job), `failure_rate` (of its attempts, above 0 and up to 1) with `window` (how far that looks back, from 1 s; 5 min): `alerts(depth = 1000, oldest_due = "5m", failure_rate = 0.25, window = "10m")`. See `worker::Alerts` | | (none) |
/// | `on_alert` | path of an `async fn(&WorkerContext, &Alert)`: runs at each crossing of `alerts` | | (none) |
///
/// Hooks return nothing, or a `Result<(), E>` with an `E` that turns into a `TaskError`.
///
/// # Errors
///
/// All mistakes of one worker are compiler errors at once, each at its place. Enums, unions and
/// generic structs can't be workers.
#[proc_macro_derive(Worker, attributes(worker))]
pub fn worker(item: TokenStream) -> TokenStream {
    worker::expand(item.into(), &root()).into()
}

/// The path of the library, which the user's manifest may have renamed.
fn root() -> proc_macro2::TokenStream {
    let name = match crate_name("sector7g-tasks") {
        Ok(FoundCrate::Name(name)) => name,
        // Its own tests and doctests name it from outside. Without a manifest there is only its name to go by.
        Ok(FoundCrate::Itself) | Err(_) => "sector7g_tasks".to_owned(),
    };
    let name = Ident::new(&name, Span::call_site());
    quote!(::#name)
}
