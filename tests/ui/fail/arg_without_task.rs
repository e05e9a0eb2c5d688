#![allow(unused)]

use sector7g_tasks::prelude::*;

async fn eat(#[arg(default)] donuts: u32) {}

fn main() {}
