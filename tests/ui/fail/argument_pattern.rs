#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task(queue = "homer")]
async fn eat((first, last): (String, String)) {}

fn main() {}
