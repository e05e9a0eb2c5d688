#![allow(unused)]

use sector7g_tasks::prelude::*;

struct Homer;

impl Homer {
    #[task(queue = "homer")]
    async fn eat(&self, donuts: u32) -> u32 {
        donuts
    }
}

fn main() {}
