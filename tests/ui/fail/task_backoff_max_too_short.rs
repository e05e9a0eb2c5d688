#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task(queue = "homer", backoff = "linear(2m, max = 10s)")]
async fn eat(donuts: u32) -> u32 {
    donuts
}

fn main() {}
