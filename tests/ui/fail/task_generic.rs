#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task(queue = "homer")]
async fn eat<T>(donuts: T) -> T {
    donuts
}

fn main() {
    let _ = eat::job(12);
}
