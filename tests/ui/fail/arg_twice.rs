#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task(queue = "homer")]
async fn eat(#[arg(redact)] #[arg(redact)] donuts: u32) {}

fn main() {}
