#![allow(unused)]

use sector7g_tasks::prelude::*;

#[derive(Clone)]
struct Db;

#[task(queue = "homer")]
async fn eat(State(db): &State<Db>) {}

fn main() {}
