#![allow(unused)]

use sector7g_tasks::prelude::*;

#[derive(Worker)]
#[worker(queue = "homer", order = "strict")]
struct Homer;

fn main() {}
