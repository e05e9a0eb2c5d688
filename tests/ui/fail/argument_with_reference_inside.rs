#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task(queue = "homer")]
async fn eat(donuts: Vec<(u8, Option<&str>)>) {}

fn main() {}
