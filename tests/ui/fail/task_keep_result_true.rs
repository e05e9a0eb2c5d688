#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task(queue = "homer", keep_result = true)]
async fn eat(donuts: u32) -> u32 {
    donuts
}

fn main() {}
