#![allow(unused)]

use sector7g_tasks::prelude::*;

#[derive(Worker)]
#[worker(queues("homer" = 2, "lenny"))]
struct Homer;

fn main() {}
