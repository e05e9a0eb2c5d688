#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task(queue = "homer")]
async fn eat(_: u32) {}

fn main() {}
