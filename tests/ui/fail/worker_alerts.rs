#![allow(unused)]

use sector7g_tasks::prelude::*;

#[derive(Worker)]
#[worker(queue = "homer", alerts(depth = 0, oldest_due = 0, failure_rate = 25, window = "1ms", age = "5m"))]
struct Homer;

#[derive(Worker)]
#[worker(queue = "lenny", on_alert = page)]
struct Lenny;

async fn page(_: &WorkerContext, _: &Alert) {}

#[derive(Worker)]
#[worker(queue = "carl", alerts(window = "5m"), on_alert = page)]
struct Carl;

#[derive(Worker)]
#[worker(queue = "grimey", alerts = 1000, on_alert = page)]
struct Grimey;

fn main() {}
