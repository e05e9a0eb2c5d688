#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task(queue = "homer")]
async fn eat() -> u32 {
    let donuts = std::rc::Rc::new(12);
    std::future::ready(()).await;
    *donuts
}

fn main() {}
