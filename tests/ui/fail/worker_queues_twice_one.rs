#![allow(unused)]

use sector7g_tasks::prelude::*;

#[derive(Worker)]
#[worker(queues("homer" = 2, "homer" = 1))]
struct Homer;

fn main() {}
