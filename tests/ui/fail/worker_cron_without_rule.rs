#![allow(unused)]

use sector7g_tasks::prelude::*;

#[derive(Worker)]
#[worker(queue = "homer", cron(eat))]
struct Homer;

#[task(queue = "homer")]
async fn eat() {}

fn main() {}
