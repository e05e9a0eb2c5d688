#![allow(unused)]

use sector7g_tasks::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Donut;

#[task(queue = "homer")]
async fn eat(#[arg(default)] donut: Donut) {}

fn main() {}
