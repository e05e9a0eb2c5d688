//! BullMQ's own port to Rust, with as much at once as there are slots.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use bullmq::options::RedisConnectionOptions;
use bullmq::types::RemoveOnFinish;
use bullmq::{BulkJob, Job, Queue, QueueOptions, Worker, WorkerOptions};
use sector7g_peers::side::{self, AHEAD, Cannot, Enqueue, How, PACE, Work};
use sector7g_peers::{Args, exit};

#[tokio::main]
async fn main() -> ExitCode {
    sector7g_peers::main("bullmq-official 1.4.4", enqueue, work).await
}

fn at(url: &str) -> RedisConnectionOptions {
    RedisConnectionOptions::default().url(url)
}

async fn enqueue(ask: &Enqueue) -> Result<(), Cannot> {
    let queue = Queue::with_options("bench", QueueOptions::default().connection(at(&ask.url))).await?;
    let text = ask.text();
    let args = |number: u64| Args { number, text: text.clone() };
    side::wait_for_go();
    let began = Instant::now();
    match ask.how {
        How::Bulk => {
            for batch in ask.batches() {
                queue.add_bulk(batch.map(|index| BulkJob::new("noop", args(index as u64))).collect()).await?;
            }
        }
        How::Single => {
            for index in 0..ask.jobs {
                queue.add("noop", args(index as u64)).await?;
            }
        }
        How::Paced => {
            let mut ticks = tokio::time::interval(PACE);
            for _ in 0..ask.jobs {
                ticks.tick().await;
                queue.add("noop", args(side::now_us())).await?;
            }
        }
        How::Deferred => {
            let first = side::now_us() / 1_000 + u64::try_from(AHEAD.as_millis()).unwrap_or_default();
            for index in 0..ask.jobs as u64 {
                let due = first + index * u64::try_from(PACE.as_millis()).unwrap_or_default();
                let delay = Duration::from_millis(due.saturating_sub(side::now_us() / 1_000));
                queue.add("noop", args(due * 1_000)).delay(delay).await?;
            }
        }
    }
    side::say_enqueued(ask.jobs, began);
    Ok(())
}

async fn work(ask: &Work) -> Result<(), Cannot> {
    let mut options = WorkerOptions::default().connection(at(&ask.url));
    if ask.is_tuned {
        options = options.concurrency(ask.slots);
    }
    if !ask.keeps {
        options = options.remove_on_complete(RemoveOnFinish::Bool(true));
    }
    side::wait_for_go();
    side::tell(exit);
    let run = |job: Job, _| async move {
        let args: Args = serde_json::from_value(job.data().clone())?;
        drop(args.text);
        side::ran(args.number);
        Ok(serde_json::json!(args.number))
    };
    let _worker = Worker::with_options("bench", run, options).await?;
    std::future::pending().await
}
