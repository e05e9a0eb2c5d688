#![allow(unused)]

use sector7g_tasks::prelude::*;

#[derive(Worker)]
#[worker(queue = "homer", on_startup = warm_up)]
struct Homer;

fn main() {}
