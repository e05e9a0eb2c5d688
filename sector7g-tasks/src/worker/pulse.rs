use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::control::{Cancel, Control};
use super::engine::{Engine, keep_going};
use crate::broker::{Extended, Lease, MAX_BATCH, QueueName};
use crate::error::{BoxError, Chain};

/// How often the watchdog looks.
const TICK: Duration = Duration::from_millis(100);

/// A poll this long blocks a thread of the runtime: 1 s.
const BLOCKED_TICKS: u32 = 10;

/// A call on the blocking pool that goes on so long after its job was cancelled ignores that: 5 s.
const STRAY_TICKS: u32 = 50;

/// Heartbeats and the watchdog of a runner's workers, on a thread and a runtime of their own, so
/// that a task which blocks the workers' runtime does not cost its neighbours their leases.
///
/// With a virtual clock they are tasks of the workers' own, paused runtime instead.
#[derive(Debug)]
pub(crate) struct Pulse {
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
    tasks: JoinSet<()>,
}

impl Pulse {
    pub(crate) fn start(engines: Vec<Arc<Engine>>) -> Result<Self, BoxError> {
        let stop = CancellationToken::new();
        let is_virtual = engines.iter().any(|engine| engine.clock().is_virtual());
        let mut pulse = Self { stop: stop.clone(), thread: None, tasks: JoinSet::new() };
        if is_virtual {
            pulse.tasks.spawn(async move { stop.run_until_cancelled(heartbeats(&engines)).await.unwrap_or_default() });
            return Ok(pulse);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let beating = async move {
            let both = async { tokio::join!(heartbeats(&engines), keep_going("the watchdog", || watch(&engines))) };
            stop.run_until_cancelled(both).await;
        };
        let thread = std::thread::Builder::new().name("s7g-pulse".to_owned());
        pulse.thread = Some(thread.spawn(move || runtime.block_on(beating))?);
        Ok(pulse)
    }

    /// Ends the beats; to be called once the workers have ended.
    pub(crate) async fn end(mut self) {
        self.stop.cancel();
        self.tasks.shutdown().await;
        if let Some(thread) = self.thread.take() {
            // Joining blocks, if only for an instant.
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("the heartbeats' thread had panicked");
            }
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn heartbeats(engines: &[Arc<Engine>]) {
    join_all(engines.iter().map(|engine| keep_going("the heartbeat", || heartbeat(engine)))).await;
}

/// Renews all leases of a worker, each third of a lease; an idle worker has none to renew.
async fn heartbeat(engine: &Engine) {
    let mut failing = false;
    loop {
        engine.running.busy().await;
        // A call that failed is made again at once: there is room for several before a lease ends.
        sleep(engine.settings.lease / if failing { 12 } else { 3 }).await;
        // Side by side, so that one queue's slow answer does not cost another's leases.
        let queues = engine.context.0.queues.iter().enumerate();
        let answers = join_all(queues.map(|(index, queue)| renew_all(engine, index, queue))).await;
        match answers.into_iter().find_map(Result::err) {
            Some(error) if !failing => {
                tracing::error!(
                    worker = engine.name(),
                    "leases could not be renewed, trying again: {}",
                    Chain(&*error)
                );
                failing = true;
            }
            Some(_) => {}
            None => failing = false,
        }
    }
}

async fn renew_all(engine: &Engine, index: usize, queue: &QueueName) -> Result<(), BoxError> {
    for leases in engine.running.leases(index).chunks(MAX_BATCH) {
        let renewed = renew(engine, queue, leases).await;
        engine.meters.heartbeat(index, renewed.is_ok());
        renewed?;
    }
    Ok(())
}

async fn renew(engine: &Engine, queue: &QueueName, leases: &[Lease]) -> Result<(), BoxError> {
    // A call that hangs must not outlast the lease which it is to renew.
    let lease = engine.settings.lease;
    let answers = timeout(lease / 4, engine.broker.extend(queue, leases, lease)).await??;
    engine.running.tally.mark_alive(engine.clock().now());
    let lost = leases.iter().zip(answers).filter(|(_, answer)| *answer == Extended::Lost);
    let lost: Vec<Lease> = lost.map(|(lease, _)| lease.clone()).collect();
    // A job that ended while this call was under way is lost, too, but no longer held.
    engine.running.cancel(&lost, Cancel::LeaseLost);
    Ok(())
}

/// Names tasks that block the runtime's threads, and calls that go on after their job has ended.
async fn watch(engines: &[Arc<Engine>]) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        for engine in engines {
            look(engine);
        }
    }
}

fn look(engine: &Engine) {
    let now = engine.running.tick.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
    let over = |since: u32, limit: u32| now.wrapping_sub(since) >= limit;
    let seconds = |since: u32| f64::from(now.wrapping_sub(since)) * TICK.as_secs_f64();
    engine.running.for_each(|held| {
        let blocking = held.control.polled_since().filter(|since| over(*since, BLOCKED_TICKS));
        if let Some(since) = blocking.filter(|_| first_time(&held.control)) {
            let task = held.task().map_or("?", |def| def.name);
            tracing::warn!(
                "task `{task}` (job {}) has blocked a thread of the runtime for {:.1}s: make it a plain `fn`, or use spawn_blocking",
                held.id(),
                seconds(since)
            );
        }
    });
    engine.running.strays(|stray| {
        if over(stray.since, STRAY_TICKS) && first_time(&stray.held.control) {
            tracing::warn!(
                "task `{}` (job {}) ignores its cancellation: its thread is still at work {:.1}s later; ask ctx.is_cancelled()",
                stray.task,
                stray.held.id(),
                seconds(stray.since)
            );
        }
    });
}

fn first_time(control: &Control) -> bool {
    !control.reported.swap(true, Ordering::Relaxed)
}
