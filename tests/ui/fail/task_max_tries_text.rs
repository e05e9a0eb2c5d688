#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task(queue = "homer", max_tries = "three")]
async fn eat(donuts: u32) -> u32 {
    donuts
}

fn main() {}
