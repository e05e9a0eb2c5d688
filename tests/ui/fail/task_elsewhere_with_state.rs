#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task(queue = "reports")]
async fn make_pdf(State(db): State<u8>, order: u64) -> String;

fn main() {}
