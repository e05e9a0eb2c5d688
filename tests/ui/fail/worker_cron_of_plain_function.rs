#![allow(unused)]

use sector7g_tasks::prelude::*;

#[derive(Worker)]
#[worker(queue = "homer", cron(eat, "@daily"))]
struct Homer;

async fn eat() {}

fn main() {}
