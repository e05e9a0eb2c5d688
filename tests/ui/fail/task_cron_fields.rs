#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task(queue = "homer", cron = "* * *")]
async fn eat() -> u32 {
    12
}

fn main() {}
