#![allow(unused)]

use sector7g_tasks::prelude::*;

#[derive(Worker)]
#[worker(queue = "homer", max_result_size = "1MiB")]
struct Homer;

fn main() {}
