#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task(queue = "homer")]
async fn eat() -> impl Sized {
    12
}

fn main() {}
