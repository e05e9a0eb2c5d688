#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task(queue = "homer")]
async fn eat<'a>(donuts: std::borrow::Cow<'a, str>) {
    drop(donuts);
}

fn main() {}
