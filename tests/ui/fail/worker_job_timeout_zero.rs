#![allow(unused)]

use sector7g_tasks::prelude::*;

#[derive(Worker)]
#[worker(queue = "homer", job_timeout = 0)]
struct Homer;

fn main() {}
