#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task(queue = "homer", backoff = "fixed(10s, factor = 2)")]
async fn eat(donuts: u32) -> u32 {
    donuts
}

fn main() {}
