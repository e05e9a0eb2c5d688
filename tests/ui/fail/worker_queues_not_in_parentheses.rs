#![allow(unused)]

use sector7g_tasks::prelude::*;

#[derive(Worker)]
#[worker(queues = "homer")]
struct Homer;

fn main() {}
