#![allow(unused)]

use sector7g_tasks::prelude::*;

#[derive(Worker)]
#[worker(queues())]
struct Homer;

fn main() {}
