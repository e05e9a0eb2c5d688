#![allow(unused)]

use sector7g_tasks::prelude::*;

#[derive(Worker)]
#[worker(queue = "homer", cron = "@daily")]
struct Homer;

fn main() {}
