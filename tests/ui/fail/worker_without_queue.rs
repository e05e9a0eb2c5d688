#![allow(unused)]

use sector7g_tasks::prelude::*;

#[derive(Worker)]
#[worker(max_jobs = 3)]
struct Homer;

fn main() {}
