#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task(queue = "homer")]
async fn eat(ctx: &Context, donuts: u32, kind: String) {
    let _ = (ctx, donuts, kind);
}

fn main() {
    let _ = eat::job(12);
}
