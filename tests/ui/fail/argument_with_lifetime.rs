#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task(queue = "homer")]
async fn eat(name: std::borrow::Cow<'_, str>) {}

fn main() {}
