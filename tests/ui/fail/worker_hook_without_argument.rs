#![allow(unused)]

use sector7g_tasks::prelude::*;

#[derive(Worker)]
#[worker(queue = "homer", on_job_end = count)]
struct Homer;

async fn count(_: &Context) {}

fn main() {}
