#![allow(unused)]

use sector7g_tasks::prelude::*;

#[derive(serde::Serialize)]
struct Donut;

#[task(queue = "homer")]
async fn eat(donut: Donut, count: u32) {}

fn main() {
    let _ = eat::job(Donut, 12);
}
