#![allow(unused)]

use sector7g_tasks::prelude::*;

#[task]
async fn eat(donuts: u32) -> u32 {
    donuts
}

fn main() {}
