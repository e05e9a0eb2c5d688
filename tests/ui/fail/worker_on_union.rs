#![allow(unused)]

use sector7g_tasks::prelude::*;

#[derive(Worker)]
#[worker(queue = "homer")]
union Homer {
    donuts: u8,
}

fn main() {}
