//! sector7g as one of the contenders of `cargo xtask peers`; see `side`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sector7g_benches::side::{self, AHEAD, Ask, Cannot, Enqueue, How, PACE, Work};
use sector7g_tasks::broker::RedisBroker;
use sector7g_tasks::clock::Timestamp;
use sector7g_tasks::job::Job;
use sector7g_tasks::prelude::*;
use sector7g_tasks::task::Keep;
use sector7g_tasks::worker::{QueueShare, WorkerSettings};
use tokio_util::sync::CancellationToken;

/// Counts that it was run, and returns its number.
#[task(queue = "bench")]
async fn noop(number: u64, text: String) -> u64 {
    drop(text);
    side::ran(number);
    number
}

struct Tuned<const SLOTS: usize, const KEEPS: bool>;

impl<const SLOTS: usize, const KEEPS: bool> Worker for Tuned<SLOTS, KEEPS> {
    const SETTINGS: &'static WorkerSettings = &WorkerSettings::new("bench", &[QueueShare::new("bench", 1)])
        .max_jobs(SLOTS)
        .keep_result(Keep::For(Duration::from_secs(if KEEPS { 3_600 } else { 0 })));
}

struct Defaults;

impl Worker for Defaults {
    const SETTINGS: &'static WorkerSettings = &WorkerSettings::new("bench", &[QueueShare::new("bench", 1)]);
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Ask::read() {
        Ok(Ask::Version) => {
            side::say(&format!("sector7g {}", env!("CARGO_PKG_VERSION")));
            Ok(())
        }
        Ok(Ask::Enqueue(ask)) => enqueue(&ask).await,
        Ok(Ask::Work(ask)) => work(&ask).await,
        Err(error) => Err(error),
    };
    if let Err(error) = &done {
        side::say_cannot(error);
    }
    ExitCode::from(u8::from(done.is_err()))
}

async fn enqueue(ask: &Enqueue) -> Result<(), Cannot> {
    let client = Client::new(Arc::new(RedisBroker::connect(&ask.url).await?)).max_payload(16 * 1024 * 1024);
    let text = ask.text();
    let job = |number: u64| noop::job(number, text.clone());
    side::wait_for_go();
    let began = Instant::now();
    match ask.how {
        How::Bulk => {
            for batch in ask.batches() {
                client.enqueue_all(batch.map(|index| job(index as u64))).await?;
            }
        }
        How::Single => {
            for index in 0..ask.jobs {
                client.enqueue(job(index as u64)).await?;
            }
        }
        How::Paced => {
            let mut ticks = tokio::time::interval(PACE);
            for _ in 0..ask.jobs {
                ticks.tick().await;
                client.enqueue(job(side::now_us())).await?;
            }
        }
        How::Deferred => {
            let first = side::now_us() / 1_000 + millis(AHEAD);
            let jobs = (0..ask.jobs as u64).map(|index| {
                let due = first + index * millis(PACE);
                let at = Timestamp::from_millis(i64::try_from(due).unwrap_or(i64::MAX));
                let job: Job<noop> = job(due * 1_000);
                job.at(at)
            });
            client.enqueue_all(jobs).await?;
        }
    }
    side::say_enqueued(ask.jobs, began);
    Ok(())
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

async fn work(ask: &Work) -> Result<(), Cannot> {
    let inventory = Inventory::empty().task::<noop>();
    let inventory = match (ask.is_tuned, ask.slots, ask.keeps) {
        (false, ..) => inventory.worker::<Defaults>(),
        (_, 1, false) => inventory.worker::<Tuned<1, false>>(),
        (_, 1, true) => inventory.worker::<Tuned<1, true>>(),
        (_, 10, false) => inventory.worker::<Tuned<10, false>>(),
        (_, 10, true) => inventory.worker::<Tuned<10, true>>(),
        (_, 100, false) => inventory.worker::<Tuned<100, false>>(),
        (_, 100, true) => inventory.worker::<Tuned<100, true>>(),
        (_, 1_000, false) => inventory.worker::<Tuned<1_000, false>>(),
        (_, 1_000, true) => inventory.worker::<Tuned<1_000, true>>(),
        (_, slots, _) => return Err(Cannot(format!("a worker's slots are a constant; none here has {slots}"))),
    };
    let broker = RedisBroker::connect(&ask.url).await?;
    let stop = CancellationToken::new();
    let runner = Runner::new().broker(Arc::new(broker)).inventory(inventory).handle_signals(false);
    side::wait_for_go();
    let stopping = stop.clone();
    side::tell(move || stopping.cancel());
    runner.stop_on(stop).run().await?;
    Ok(())
}
