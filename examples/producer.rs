//! A producer only: it enqueues jobs for workers elsewhere, in Rust or Python, and has none of their code.
//!
//! ```text
//! cargo run --example producer
//! ```
//!
//! Where jobs are kept is the broker's business. Here that is the embedded one, which no other process can reach, so
//! the jobs wait until this program ends, and it shows how they wait. With a shared broker nothing else changes.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use sector7g_tasks::broker::JobFilter;
use sector7g_tasks::prelude::*;
use serde::{Deserialize, Serialize};

/// What a worker elsewhere returns.
#[derive(Serialize, Deserialize)]
struct Pdf {
    pages: u32,
}

/// Without a body a task is only declared: name, queue, arguments and result are checked here, the code is elsewhere.
#[task(queue = "reports")]
async fn make_pdf(order: u64, paper: Option<String>) -> Pdf;

#[task(queue = "mail", name = "mail.send")]
async fn send_mail(to: String, body: String) -> bool;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::new(Arc::new(MemoryBroker::new()));
    let mut out = io::stdout().lock();

    // One job, with an id of our own: enqueued twice, it is there once.
    let first = client.enqueue(make_pdf::job(742, None).id("order-742")).await?;
    let again = client.enqueue(make_pdf::job(742, None).id("order-742")).await?;
    writeln!(out, "{}: new {}, again {}", first.id(), first.is_new(), again.is_new())?;

    // Many jobs, in one round trip.
    let orders = (743..753).map(|order| make_pdf::job(order, Some("A4".to_owned())));
    writeln!(out, "{} more enqueued", client.enqueue_all(orders).await?.len())?;

    // Later, and not at all if no worker is free by then.
    let reminder = send_mail::job("lenny@plant.example".to_owned(), "the report of order 742".to_owned());
    client.enqueue(reminder.delay(Duration::from_mins(1)).expires(Duration::from_mins(5))).await?;

    // By name alone, for a task that is not even declared here.
    client.enqueue(Job::untyped("archive", "reports").arg(742).named_arg("years", 10)).await?;

    for queue in ["reports", "mail"] {
        let stats = client.stats(queue).await?;
        writeln!(out, "\n{queue}: {} queued, {} deferred", stats.queued, stats.deferred)?;
        write!(out, "{}", client.jobs(queue, JobFilter::Live, None, 3).await?)?;
    }

    // Waiting for a result is possible, but takes a worker.
    if let Err(error) = first.result_within(Duration::from_millis(100)).await {
        writeln!(out, "\n{error}")?;
    }
    Ok(())
}
