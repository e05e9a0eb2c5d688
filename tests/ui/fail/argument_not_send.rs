#![allow(unused)]

use sector7g_tasks::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Donut(std::marker::PhantomData<*const u8>);

#[task(queue = "homer")]
async fn eat(donut: Donut) {}

fn main() {}
