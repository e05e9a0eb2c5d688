#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task(queue = "homer")]
async fn eat(name: &str) {}

fn main() {
    let _ = eat::job("Homer".to_owned());
}
