#![allow(unused)]

use sector7g_tasks::prelude::*;

#[derive(Worker)]
struct Homer;

fn main() {}
