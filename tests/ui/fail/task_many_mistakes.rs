#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task(queue = 7, timeout = "soon", max_tries = 0, retry = true, backoff = "often")]
async fn eat(donuts: &str, (a, b): (u8, u8), #[arg(hidden)] box_id: u32) -> impl Sized {
    donuts
}

fn main() {}
