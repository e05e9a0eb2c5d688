#![allow(unused)]

use sector7g_tasks::prelude::*;

#[derive(Worker)]
#[worker(queue = "homer", max_job = 3)]
struct Homer;

fn main() {}
