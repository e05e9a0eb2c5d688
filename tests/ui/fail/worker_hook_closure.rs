#![allow(unused)]

use sector7g_tasks::prelude::*;

#[derive(Worker)]
#[worker(queue = "homer", on_startup = |ctx| async { () })]
struct Homer;

fn main() {}
