#![allow(unused)]

use sector7g_tasks::prelude::*;

struct Donuts;

#[task(queue = "homer")]
async fn eat(donuts: &Donuts) {}

fn main() {}
