#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task(queue = "homer")]
async fn eat(donuts: u32) -> u32 {
    let rest = donuts.;
    rest
}

fn main() {}
