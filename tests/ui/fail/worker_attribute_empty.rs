#![allow(unused)]

use sector7g_tasks::prelude::*;

#[derive(Worker)]
#[worker]
struct Homer;

fn main() {}
