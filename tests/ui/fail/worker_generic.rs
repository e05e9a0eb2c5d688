#![allow(unused)]

use sector7g_tasks::prelude::*;

#[derive(Worker)]
#[worker(queue = "homer")]
struct Homer<T>(T);

fn main() {}
