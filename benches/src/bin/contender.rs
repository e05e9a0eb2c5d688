//! sector7g as one of the contenders of `cargo xtask peers`; see `side`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sector7g_benches::side::{self, AHEAD, Ask, Cannot, Enqueue, How, PACE, Work};
use sector7g_tasks::broker::RedisBroker;
use sector7g_tasks::clock::Timestamp;
use sector7g_tasks::job::{Job, JobKind};
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

/// The same on a cluster, all in one slot.
#[task(queue = "{bench}")]
async fn tagged(number: u64, text: String) -> u64 {
    noop(number, text).await
}

/// The same on a cluster, in four slots.
#[task(queue = "parts", partitions = 4)]
async fn parted(number: u64, text: String) -> u64 {
    noop(number, text).await
}

#[derive(Worker)]
#[worker(queue = "{bench}", max_jobs = 400, keep_result = false)]
struct Tagged;

#[derive(Worker)]
#[worker(queue = "parts", max_jobs = 400, keep_result = false)]
struct Parted;

/// Which of the queues is asked for.
fn queue() -> Result<Queue, Cannot> {
    let mut words = std::env::args().skip_while(|word| word != "--queue").skip(1);
    match words.next().as_deref() {
        None | Some("plain") => Ok(Queue::Plain),
        Some("tagged") => Ok(Queue::Tagged),
        Some("parted") => Ok(Queue::Parted),
        Some(other) => Err(Cannot(format!("--queue {other}: it is plain, tagged or parted"))),
    }
}

#[derive(Clone, Copy)]
enum Queue {
    Plain,
    Tagged,
    Parted,
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
    match queue()? {
        Queue::Plain => enqueue_to(&client, ask, |number| noop::job(number, text.clone())).await,
        Queue::Tagged => enqueue_to(&client, ask, |number| tagged::job(number, text.clone())).await,
        Queue::Parted => enqueue_to(&client, ask, |number| parted::job(number, text.clone())).await,
    }
}

async fn enqueue_to<K: JobKind>(client: &Client, ask: &Enqueue, job: impl Fn(u64) -> Job<K>) -> Result<(), Cannot> {
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
                job(due * 1_000).at(at)
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
    let inventory = match queue()? {
        Queue::Plain => plain(ask)?,
        Queue::Tagged => Inventory::empty().task::<tagged>().worker::<Tagged>(),
        Queue::Parted => Inventory::empty().task::<parted>().worker::<Parted>(),
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

fn plain(ask: &Work) -> Result<Inventory, Cannot> {
    let inventory = Inventory::empty().task::<noop>();
    match (ask.is_tuned, ask.slots, ask.keeps) {
        (false, ..) => Ok(inventory.worker::<Defaults>()),
        (_, 1, false) => Ok(inventory.worker::<Tuned<1, false>>()),
        (_, 1, true) => Ok(inventory.worker::<Tuned<1, true>>()),
        (_, 10, false) => Ok(inventory.worker::<Tuned<10, false>>()),
        (_, 10, true) => Ok(inventory.worker::<Tuned<10, true>>()),
        (_, 100, false) => Ok(inventory.worker::<Tuned<100, false>>()),
        (_, 100, true) => Ok(inventory.worker::<Tuned<100, true>>()),
        (_, 1_000, false) => Ok(inventory.worker::<Tuned<1_000, false>>()),
        (_, 1_000, true) => Ok(inventory.worker::<Tuned<1_000, true>>()),
        (_, slots, _) => Err(Cannot(format!("a worker's slots are a constant; none here has {slots}"))),
    }
}
