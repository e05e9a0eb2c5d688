//! apalis-redis. Tuned: batches of as many as there are slots, a look each 10 ms, no task lock, no events.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use apalis::prelude::*;
use apalis_redis::{Config, RedisStorage};
use sector7g_peers::side::{self, Cannot, Enqueue, How, PACE, Work};
use sector7g_peers::{Args, exit};

#[tokio::main]
async fn main() -> ExitCode {
    sector7g_peers::main("apalis-redis 1.0.0", enqueue, work).await
}

async fn run(args: Args) -> Result<(), BoxDynError> {
    drop(args.text);
    side::ran(args.number);
    Ok(())
}

async fn storage(url: &str, config: Config) -> Result<RedisStorage<Args>, Cannot> {
    let connection = apalis_redis::connect(url).await?;
    Ok(RedisStorage::new(connection).with_config(config.queue("bench")))
}

async fn enqueue(ask: &Enqueue) -> Result<(), Cannot> {
    if ask.how == How::Deferred {
        return Err(Cannot("its deferred jobs are due to the second".to_owned()));
    }
    let mut storage = storage(&ask.url, Config::default()).await?;
    let text = ask.text();
    let args = |number: u64| Args { number, text: text.clone() };
    side::wait_for_go();
    let began = Instant::now();
    match ask.how {
        How::Bulk => {
            for batch in ask.batches() {
                let all = batch.map(|index| args(index as u64)).collect();
                storage.push_bulk(all).await.map_err(|error| Cannot(error.to_string()))?;
            }
        }
        How::Single => {
            for index in 0..ask.jobs {
                storage.push(args(index as u64)).await.map_err(|error| Cannot(error.to_string()))?;
            }
        }
        How::Paced => {
            let mut ticks = tokio::time::interval(PACE);
            for _ in 0..ask.jobs {
                ticks.tick().await;
                storage.push(args(side::now_us())).await.map_err(|error| Cannot(error.to_string()))?;
            }
        }
        How::Deferred => unreachable!("declined above"),
    }
    side::say_enqueued(ask.jobs, began);
    Ok(())
}

async fn work(ask: &Work) -> Result<(), Cannot> {
    let name = format!("bench-{}", std::process::id());
    if ask.is_tuned {
        let config =
            Config::default().batch_size(ask.slots).persist_results(ask.keeps).lock_tasks(false).emit_events(false);
        let storage = storage(&ask.url, config).await?.poll_with_interval(Duration::from_millis(10));
        side::wait_for_go();
        side::tell(exit);
        let worker = WorkerBuilder::new(name).backend(storage).concurrency(ask.slots).build(run);
        return worker.run().await.map_err(|error| Cannot(error.to_string()));
    }
    let storage = storage(&ask.url, Config::default()).await?;
    side::wait_for_go();
    side::tell(exit);
    WorkerBuilder::new(name).backend(storage).build(run).run().await.map_err(|error| Cannot(error.to_string()))
}
