#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task(queue = "reports")]
async fn make_pdf(order: u64) -> String;

fn main() {
    drop(make_pdf(7));
}
