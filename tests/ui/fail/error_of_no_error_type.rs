#![allow(unused)]

use sector7g_tasks::prelude::*;

struct Burp;

#[task(queue = "homer")]
async fn eat() -> Result<u32, Burp> {
    Err(Burp)
}

fn main() {}
