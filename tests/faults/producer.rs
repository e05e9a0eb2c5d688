//! A producer process: enqueues through a client, and writes down what it was told.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use sector7g_tasks::broker::{BrokerError, RedisBroker};
use sector7g_tasks::client::{Client, EnqueueError};
use sector7g_tasks::job::Untyped;
use support::Dice;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use crate::ledger::{Ledger, What};
use crate::load::{Mix, Ticket};

/// For how long a producer asks again for jobs of which it doesn't know whether they are there.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(long)]
    redis: String,
    #[arg(long)]
    ledger: PathBuf,
    #[arg(long)]
    queue: String,
    #[arg(long)]
    seed: u64,
    /// How many jobs in all
    #[arg(long)]
    jobs: u64,
    /// How many jobs a second
    #[arg(long)]
    rate: u64,
    /// How many jobs in a call
    #[arg(long)]
    batch: u64,
    #[arg(long, value_enum)]
    mix: Mix,
    /// How many replicas must have a job before it counts as answered
    #[arg(long, default_value_t = 0)]
    replicas: u32,
}

pub(crate) fn main(options: &Options) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.expect("the system has threads").block_on(produce(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the producer failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn produce(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let ledger = Ledger::open(&options.ledger, "producer")?;
    let broker = RedisBroker::builder(&options.redis)
        .response_timeout(Duration::from_secs(2))
        .wait_for_replicas(options.replicas, Duration::from_secs(1))
        .connect_retries(60, Duration::from_millis(250));
    let producer = Producer { client: Client::new(Arc::new(broker.connect().await?)), ledger };
    let mut dice = Dice::of(options.seed);
    let mut ticks = interval(Duration::from_micros(1_000_000 * options.batch / options.rate.max(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut left = options.jobs;
    let mut aborts = Vec::new();
    while left > 0 {
        ticks.tick().await;
        producer.abort(&mut aborts, Instant::now()).await;
        let count = options.batch.min(left);
        left -= count;
        let tickets: Vec<Ticket> = (left..left + count)
            .map(|index| {
                let id = format!("{}:{}-{index}", options.queue, options.seed);
                options.mix.ticket(&id, index, &options.queue, &mut dice)
            })
            .collect();
        // Asked for anew, what has finished would be replaced and run again, as it should be.
        let asks_again = dice.below(4) > 0 && options.mix != Mix::Replacing;
        producer.enqueue(&tickets, asks_again).await;
        let to_abort = tickets.into_iter().filter_map(|ticket| {
            let ms = ticket.abort_after?;
            Some((Instant::now() + Duration::from_millis(ms), ticket))
        });
        aborts.extend(to_abort);
    }
    while let Some(next) = aborts.iter().map(|(at, _)| *at).min() {
        sleep_until(next).await;
        producer.abort(&mut aborts, Instant::now()).await;
    }
    Ok(())
}

struct Producer {
    client: Client,
    ledger: Ledger,
}

impl Producer {
    /// Aborts what is due by `now`, and asks again as long as it is told neither yes nor no.
    async fn abort(&self, aborts: &mut Vec<(Instant, Ticket)>, now: Instant) {
        for (_, ticket) in aborts.extract_if(.., |(at, _)| *at <= now) {
            let handle = self.client.job::<Untyped>(&ticket.queue, &ticket.id).expect("it has been enqueued");
            self.ledger.jobs(What::Aborting, [(&*ticket.id, 0)]);
            let until = Instant::now() + PATIENCE;
            loop {
                match handle.abort().await {
                    Ok(is_taken) => {
                        if is_taken {
                            self.ledger.jobs(What::AbortTaken, [(&*ticket.id, 0)]);
                        }
                        break;
                    }
                    Err(error) => assert!(error.is_transient(), "an abort is refused: {error}"),
                }
                if Instant::now() > until {
                    break;
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Enqueues, and asks again, or doesn't, when it is told neither yes nor no.
    async fn enqueue(&self, tickets: &[Ticket], asks_again: bool) {
        let ids: Vec<(&str, u32)> = tickets.iter().map(|ticket| (&*ticket.id, ticket.delay)).collect();
        self.ledger.jobs(What::Asked, ids.iter().copied());
        let until = Instant::now() + PATIENCE;
        let mut known = 0;
        loop {
            let outcome = self.client.enqueue_all(tickets[known..].iter().map(Ticket::job)).await;
            let Err(error) = outcome else {
                return self.ledger.jobs(What::Answered, ids[known..].iter().copied());
            };
            let EnqueueError::Broker { confirmed, cause, .. } = error else { panic!("the jobs are sound: {error}") };
            self.ledger.jobs(What::Answered, ids[known..known + confirmed].iter().copied());
            known += confirmed;
            if matches!(cause, BrokerError::Full { .. }) {
                return self.ledger.jobs(What::Refused, ids[known..].iter().copied());
            }
            assert!(cause.is_transient(), "what the broker refuses here is a mistake of ours: {cause}");
            if !asks_again || Instant::now() > until {
                return self.ledger.jobs(What::Unknown, ids[known..].iter().copied());
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}
