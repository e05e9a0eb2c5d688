#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task(queue = "homer")]
async fn eat(#[cfg(unix)] donuts: u32) {}

fn main() {}
