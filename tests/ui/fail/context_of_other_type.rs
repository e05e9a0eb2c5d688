#![allow(unused)]

use sector7g_tasks::prelude::*;

mod other {
    pub struct Context;
}

#[task(queue = "homer")]
async fn eat(ctx: &other::Context) {}

fn main() {}
