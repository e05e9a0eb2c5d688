#![allow(unused)]

use sector7g_tasks::prelude::*;

struct Db;

#[task(queue = "homer")]
async fn eat(State(db): State<Db>) {}

fn main() {}
