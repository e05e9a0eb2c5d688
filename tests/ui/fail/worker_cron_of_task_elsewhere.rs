#![allow(unused)]

use sector7g_tasks::prelude::*;

#[derive(Worker)]
#[worker(queue = "homer", cron(make_pdf, "@daily"))]
struct Homer;

#[task(queue = "reports")]
async fn make_pdf() -> String;

fn main() {}
