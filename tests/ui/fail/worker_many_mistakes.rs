#![allow(unused)]

use sector7g_tasks::prelude::*;

#[derive(Worker)]
#[worker(queue = "homer", max_jobs = 0, job_timout = 5, poll_delay = "fast", order = "any", cron(eat))]
struct Homer;

fn main() {}
