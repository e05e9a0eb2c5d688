#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task(queue = "homer", backoff = exponential(1s, max = 5m))]
async fn eat(donuts: u32) -> u32 {
    donuts
}

fn main() {}
