#![allow(unused)]

use sector7g_tasks::prelude::*;

#[derive(Worker)]
#[worker(queue = "homer", queues("lenny", "carl"))]
struct Homer;

fn main() {}
