#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task(queue = "homer")]
async fn eat(#[arg(default = "many")] donuts: u32) {}

fn main() {}
