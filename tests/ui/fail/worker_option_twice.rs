#![allow(unused)]

use sector7g_tasks::prelude::*;

#[derive(Worker)]
#[worker(queue = "homer", max_jobs = 3, max_jobs = 4)]
struct Homer;

fn main() {}
