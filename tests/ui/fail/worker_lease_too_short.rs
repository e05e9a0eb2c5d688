#![allow(unused)]

use sector7g_tasks::prelude::*;

#[derive(Worker)]
#[worker(queue = "homer", lease = "10ms")]
struct Homer;

fn main() {}
