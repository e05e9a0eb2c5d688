#![allow(unused)]

use sector7g_tasks::prelude::*;

#[derive(Worker)]
#[worker(queue = "homer", max_jobs = 0)]
struct Homer;

fn main() {}
