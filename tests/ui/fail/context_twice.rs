#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task(queue = "homer")]
async fn eat(ctx: &Context, donuts: u32, again: &Context) {}

fn main() {}
