#![allow(unused)]

use sector7g_tasks::prelude::*;

#[derive(Worker)]
#[worker(queues("homer", "lenny"), order = "random")]
struct Homer;

fn main() {}
