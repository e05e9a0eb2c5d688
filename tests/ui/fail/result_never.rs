#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task(queue = "homer")]
async fn eat() -> ! {
    std::process::exit(0)
}

fn main() {}
