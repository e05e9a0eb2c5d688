#![allow(unused)]

use sector7g_tasks::prelude::*;

#[derive(serde::Deserialize)]
struct Donut;

#[task(queue = "homer")]
async fn eat(donut: Donut, box_of: Donut) {}

fn main() {}
