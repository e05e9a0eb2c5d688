#![allow(unused)]

use sector7g_tasks::prelude::*;

#[derive(serde::Deserialize)]
struct Donut;

#[task(queue = "homer")]
async fn eat() -> Donut {
    Donut
}

fn main() {}
