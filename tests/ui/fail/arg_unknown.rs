#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task(queue = "homer")]
async fn eat(#[arg(defualt = 12)] donuts: u32) {}

fn main() {}
