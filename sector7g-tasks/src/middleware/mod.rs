//! Code around every run of a task.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::context::Context;
use crate::task::{RunFuture, RunResult};

/// Code around every run of a task: measure it, log it, refuse it, set something up.
///
/// The first layer added to a runner sees the job first and its result last. It runs inside the
/// job's span and outside the job's timeout, after the arguments were bound; a timeout or a panic
/// of the task reaches it as an error. It may be dropped at any `.await`, as the task may.
///
/// ```
/// use sector7g_tasks::prelude::*;
///
/// #[derive(Debug)]
/// struct Timing;
///
/// #[async_trait]
/// impl Middleware for Timing {
///     async fn run(&self, ctx: &Context, next: Next<'_>) -> RunResult {
///         let started = std::time::Instant::now();
///         let result = next.run(ctx).await;
///         println!("{} took {:?}", ctx.task(), started.elapsed());
///         result
///     }
/// }
/// ```
#[async_trait]
pub trait Middleware: fmt::Debug + Send + Sync + 'static {
    /// Runs the job: calls `next` (or does not) and returns what is to count as its result.
    async fn run(&self, ctx: &Context, next: Next<'_>) -> RunResult;
}

/// What is inside of a middleware: further ones, then the task.
pub struct Next<'a> {
    layers: &'a [Arc<dyn Middleware>],
    task: RunFuture,
}

impl<'a> Next<'a> {
    pub(crate) fn new(layers: &'a [Arc<dyn Middleware>], task: RunFuture) -> Self {
        Self { layers, task }
    }

    /// Goes on.
    ///
    /// # Errors
    /// What the task, or a middleware further in, returned.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped, the task is cancelled.
    pub async fn run(self, ctx: &Context) -> RunResult {
        match self.layers.split_first() {
            Some((layer, layers)) => layer.run(ctx, Next { layers, task: self.task }).await,
            None => self.task.await,
        }
    }
}

impl fmt::Debug for Next<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Next({} layers, then the task)", self.layers.len())
    }
}
