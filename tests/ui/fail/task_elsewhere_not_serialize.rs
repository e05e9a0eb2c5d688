#![allow(unused)]

use sector7g_tasks::prelude::*;

struct Order;

#[task(queue = "reports")]
async fn make_pdf(order: Order) -> String;

fn main() {}
