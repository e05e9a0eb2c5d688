#![allow(unused)]

use sector7g_tasks::prelude::*;

#[worker(queue = "homer")]
struct Homer;

fn main() {}
