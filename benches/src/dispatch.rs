//! The whole way of a job through a worker: claim, decode, bind, call, encode, finish.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sector7g_tasks::error::TaskError;
use sector7g_tasks::prelude::*;
use sector7g_tasks::task::Keep;
use sector7g_tasks::worker::{HookFuture, QueueShare, WorkerSettings};

use crate::layers::filled;
use crate::noop::noop;
use crate::{Case, Ran, Results, Threads, name, runtime};

pub(crate) fn case(threads: Threads, at_once: usize, results: Results) -> Case {
    Case::new(name("dispatch", at_once, Some(results), threads), threads, move |count| {
        let broker = filled(count);
        let runtime = runtime(threads);
        move || {
            let took = runtime.block_on(run_all(broker.clone(), count, inventory(at_once, results)));
            Ran { took, left: Box::new((broker, runtime)) }
        }
    })
}

fn inventory(at_once: usize, results: Results) -> Inventory {
    let inventory = Inventory::empty().task::<noop>();
    let kept = results == Results::Kept;
    match at_once {
        1 if kept => inventory.worker::<Bench<1, true>>(),
        1 => inventory.worker::<Bench<1, false>>(),
        10 if kept => inventory.worker::<Bench<10, true>>(),
        10 => inventory.worker::<Bench<10, false>>(),
        100 if kept => inventory.worker::<Bench<100, true>>(),
        _ => inventory.worker::<Bench<100, false>>(),
    }
}

struct Bench<const MAX_JOBS: usize, const KEPT: bool>;

impl<const MAX_JOBS: usize, const KEPT: bool> Worker for Bench<MAX_JOBS, KEPT> {
    const SETTINGS: &'static WorkerSettings = &WorkerSettings::new("bench", &[QueueShare::new("bench", 1)])
        .max_jobs(MAX_JOBS)
        .keep_result(Keep::For(Duration::from_secs(if KEPT { 3_600 } else { 0 })))
        .on_startup(note)
        .on_shutdown(note);
}

/// When the worker began to claim, and when it had ended.
#[derive(Clone, Debug, Default)]
struct Watch(Arc<Mutex<Vec<Instant>>>);

impl Watch {
    fn note(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
    }

    fn spent(&self) -> Duration {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(noted.len(), 2, "a start and an end");
        noted[1] - noted[0]
    }
}

fn note(worker: WorkerContext) -> HookFuture {
    Box::pin(async move {
        let watch = worker.state::<Watch>().ok_or_else(|| TaskError::permanent("no watch was given"))?;
        watch.note();
        Ok(())
    })
}

/// What so many jobs were run with, each by a worker.
pub(crate) fn contexts(count: usize) -> Vec<Context> {
    let kept = Kept::default();
    let inventory = inventory(100, Results::Dropped);
    let runner = Runner::new().broker(Arc::new(filled(count))).inventory(inventory).state(Watch::default());
    let runner = runner.middleware(kept.clone()).handle_signals(false).burst(true);
    let report = runtime(Threads::One).block_on(runner.run()).expect("it runs");
    assert_eq!(report.done(), count as u64);
    std::mem::take(&mut kept.0.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Keeps the context of each run.
#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<Context>>>);

#[async_trait]
impl Middleware for Kept {
    async fn run(&self, ctx: &Context, next: Next<'_>) -> RunResult {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(ctx.clone());
        next.run(ctx).await
    }
}

async fn run_all(broker: MemoryBroker, count: usize, inventory: Inventory) -> Duration {
    let watch = Watch::default();
    let runner = Runner::new().broker(Arc::new(broker)).inventory(inventory).state(watch.clone());
    let report = runner.handle_signals(false).burst(true).run().await.expect("it runs");
    assert_eq!(report.done(), count as u64);
    watch.spent()
}
