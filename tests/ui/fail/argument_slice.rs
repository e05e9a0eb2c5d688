#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task(queue = "homer")]
async fn eat(donuts: &[u8]) {}

fn main() {}
