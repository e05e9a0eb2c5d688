#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task(queue = "reports")]
async fn make_pdf(ctx: &Context, order: u64) -> String;

fn main() {}
