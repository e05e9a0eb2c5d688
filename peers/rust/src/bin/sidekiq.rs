//! rusty-sidekiq: a job that is fetched is in the worker's memory only. Tuned: as many workers as slots, a pool for each.

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use sector7g_peers::side::{self, AHEAD, Cannot, Enqueue, How, PACE, Work};
use sector7g_peers::{Args, exit};
use sidekiq::{Processor, ProcessorConfig, RedisConnectionManager, RedisPool, Worker};

#[derive(Clone)]
struct Noop;

#[async_trait]
impl Worker<Args> for Noop {
    async fn perform(&self, args: Args) -> sidekiq::Result<()> {
        drop(args.text);
        side::ran(args.number);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    sector7g_peers::main("rusty-sidekiq 0.15.2", enqueue, work).await
}

async fn pool(url: &str, size: u32) -> Result<RedisPool, Cannot> {
    Ok(bb8::Pool::builder().max_size(size).build(RedisConnectionManager::new(url)?).await?)
}

async fn enqueue(ask: &Enqueue) -> Result<(), Cannot> {
    let redis = pool(&ask.url, 10).await?;
    let text = ask.text();
    let args = |number: u64| Args { number, text: text.clone() };
    side::wait_for_go();
    let began = Instant::now();
    match ask.how {
        // It has no call for many: as many at a time as it has connections.
        How::Bulk => {
            let adders = (0..10).map(|first| {
                let (redis, text, jobs) = (redis.clone(), text.clone(), ask.jobs);
                tokio::spawn(async move {
                    for index in (first..jobs).step_by(10) {
                        Noop::perform_async(&redis, Args { number: index as u64, text: text.clone() }).await?;
                    }
                    Ok::<(), sidekiq::Error>(())
                })
            });
            for adder in adders.collect::<Vec<_>>() {
                adder.await??;
            }
        }
        How::Single => {
            for index in 0..ask.jobs {
                Noop::perform_async(&redis, args(index as u64)).await?;
            }
        }
        How::Paced => {
            let mut ticks = tokio::time::interval(PACE);
            for _ in 0..ask.jobs {
                ticks.tick().await;
                Noop::perform_async(&redis, args(side::now_us())).await?;
            }
        }
        How::Deferred => {
            let first = side::now_us() + u64::try_from(AHEAD.as_micros()).unwrap_or_default();
            for index in 0..ask.jobs as u64 {
                let due = first + index * u64::try_from(PACE.as_micros()).unwrap_or_default();
                let delay = (SystemTime::UNIX_EPOCH + Duration::from_micros(due)).duration_since(SystemTime::now());
                Noop::perform_in(&redis, delay.unwrap_or_default(), args(due)).await?;
            }
        }
    }
    side::say_enqueued(ask.jobs, began);
    Ok(())
}

async fn work(ask: &Work) -> Result<(), Cannot> {
    if ask.keeps {
        return Err(Cannot("it has no results".to_owned()));
    }
    let slots = u32::try_from(ask.slots).unwrap_or(u32::MAX);
    let redis = pool(&ask.url, if ask.is_tuned { slots.saturating_add(10) } else { 10 }).await?;
    let mut processor = Processor::new(redis, vec!["default".to_owned()]);
    if ask.is_tuned {
        processor = processor.with_config(ProcessorConfig::default().num_workers(ask.slots));
    }
    processor.register(Noop);
    side::wait_for_go();
    side::tell(exit);
    processor.run().await;
    Ok(())
}
