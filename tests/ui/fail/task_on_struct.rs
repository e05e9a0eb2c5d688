#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task(queue = "homer")]
struct Eat;

fn main() {}
