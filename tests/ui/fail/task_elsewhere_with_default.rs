#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task(queue = "reports")]
async fn make_pdf(#[arg(default = 1)] order: u64) -> String;

fn main() {}
