//! Expansions mean `core`'s names, whatever stands around them.

#![allow(dead_code, non_camel_case_types, unused_macros)]

use ::sector7g_tasks::prelude::{task, Context as Ctx, State as St, Worker, WorkerContext};

enum Option {}
enum Result {}
enum Box {}
enum String {}
enum Vec {}
enum Send {}
enum Sync {}
enum Clone {}
enum Default {}
enum Fn {}
enum Duration {}
enum u32 {}
enum str {}
enum u64 {}

#[expect(non_upper_case_globals)]
const Some: () = ();
#[expect(non_upper_case_globals)]
const None: () = ();
#[expect(non_upper_case_globals)]
const Ok: () = ();
#[expect(non_upper_case_globals)]
const Err: () = ();

mod core {}
mod std {}
mod sector7g_tasks {}
mod inventory {}
mod __private {}

macro_rules! stringify {
    ($($tokens:tt)*) => { compile_error!("not this one") };
}
macro_rules! file {
    ($($tokens:tt)*) => { compile_error!("not this one") };
}
macro_rules! line {
    ($($tokens:tt)*) => { compile_error!("not this one") };
}
macro_rules! module_path {
    ($($tokens:tt)*) => { compile_error!("not this one") };
}

mod full {
    pub(super) type Context = ::sector7g_tasks::prelude::Context;
    pub(super) type State<T> = ::sector7g_tasks::prelude::State<T>;
    pub(super) type Result<T, E> = ::core::result::Result<T, E>;
}

#[task(queue = "lenny", timeout = 1, max_tries = 2, backoff = "linear", keep_result = 5, cron = "@hourly", timezone = "UTC")]
async fn awaited(ctx: &full::Context, St(db): full::State<u8>, #[arg(default = 1)] count: u16, #[arg(default)] rest: i8)
    -> full::Result<u16, &'static ::core::primitive::str>
{
    let _ = (ctx, db, rest);
    ::core::result::Result::Ok(count)
}

#[task(queue = "lenny")]
fn blocking(ctx: full::Context, name: ::std::string::String, next: ::core::option::Option<bool>) -> bool {
    let _ = (ctx, name);
    next.unwrap_or(true)
}

#[task(queue = "lenny")]
async fn elsewhere(name: ::std::string::String) -> ::std::vec::Vec<bool>;

#[derive(Worker)]
#[worker(
    queues("a" = 2, "b" = 1), job_timeout = 1, keep_result = "forever", timezone = "UTC", on_startup = start,
    on_job_start = job, cron(awaited, "@daily", timezone = "UTC")
)]
struct Lenny;

async fn start(_: &WorkerContext) {}

async fn job(_: &Ctx) -> full::Result<(), ::std::io::Error> {
    ::core::result::Result::Ok(())
}

fn main() {
    let _ = (awaited::job(1, 2), blocking::job(::std::string::String::new(), ::core::option::Option::None));
    let _ = (elsewhere::job(::std::string::String::new()), Lenny::SETTINGS);
}
