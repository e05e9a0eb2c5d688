#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task(queue = "reports", timeout = 5, cron = "@daily")]
async fn make_pdf(order: u64) -> String;

fn main() {}
