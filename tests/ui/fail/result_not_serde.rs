#![allow(unused)]

use sector7g_tasks::prelude::*;

struct Donut;

#[task(queue = "homer")]
async fn eat() -> Result<Donut, TaskError> {
    Ok(Donut)
}

fn main() {}
