#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task(queue = "homer")]
async fn eat(ctx: &mut Context) {}

fn main() {}
