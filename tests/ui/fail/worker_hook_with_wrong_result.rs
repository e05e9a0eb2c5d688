#![allow(unused)]

use sector7g_tasks::prelude::*;

#[derive(Worker)]
#[worker(queue = "homer", on_startup = warm_up)]
struct Homer;

async fn warm_up(_: &WorkerContext) -> u8 {
    12
}

fn main() {}
