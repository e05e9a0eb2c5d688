//! What expanded macros name. Not for people: anything here may change in any release.

use std::any::TypeId;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use crate::codec::{CodecError, Encoded, JobRef, ResultRecord};
use crate::middleware::{Middleware, Next};

pub use inventory;

pub use crate::args::{ArgList, Arguments, BindError, JobArgs, Param};
pub use crate::context::{Context, WorkerContext};
pub use crate::error::TaskError;
pub use crate::inventory::Linked;
pub use crate::job::{Job, JobKind};
pub use crate::retry::RetryPolicy;
pub use crate::task::{Keep, RunFuture, RunResult, Source, StateRef, Task, TaskDef};
pub use crate::worker::{
    Alert, AlertHook, Alerts, CronEntry, EndHook, HookFuture, JobEnd, JobHook, Order, QueueShare, StartHook, Worker,
    WorkerSettings,
};

/// Binds the job's arguments.
pub fn bind<A: ArgList>(ctx: &Context, params: &[Param], defaults: A::Defaults) -> Result<A, BindError> {
    A::bind(ctx.arguments(), params, defaults)
}

/// Checks arguments without running anything.
pub fn check<A: ArgList>(arguments: &Arguments, params: &[Param], defaults: A::Defaults) -> Result<(), BindError> {
    A::bind(arguments, params, defaults).map(drop)
}

/// The state that the runner holds; its check at start makes sure that it is there.
pub fn state<T: Clone + Send + Sync + 'static>(ctx: &Context) -> Result<crate::context::State<T>, TaskError> {
    ctx.state::<T>().map(crate::context::State).ok_or_else(|| {
        TaskError::permanent(format!("no state `{}` was given to this runner", std::any::type_name::<T>()))
    })
}

/// Encodes what a task returned as `T`.
pub fn value<T: Serialize>(ctx: &Context, value: T) -> RunResult {
    ctx.encode(&value)
}

/// Encodes what a task returned as `Result<T, E>`.
pub fn outcome<T: Serialize, E: Into<TaskError>>(ctx: &Context, outcome: Result<T, E>) -> RunResult {
    match outcome {
        Ok(value) => ctx.encode(&value),
        Err(error) => Err(error.into()),
    }
}

/// Runs `call` on the blocking pool.
pub fn blocking(ctx: Context, call: impl FnOnce(&Context) -> RunResult + Send + 'static) -> RunFuture {
    crate::worker::run_blocking(ctx, call)
}

/// The name and id of a type.
pub fn type_of<T: 'static>() -> (TypeId, &'static str) {
    (TypeId::of::<T>(), std::any::type_name::<T>())
}

/// A task behind middleware, as a worker runs it: for our own benchmarks.
pub fn next(layers: &[Arc<dyn Middleware>], task: RunFuture) -> Next<'_> {
    Next::new(layers, task)
}

/// What a worker stores of a run that has returned `value`: for our own benchmarks.
pub fn record(ctx: &Context, value: &Encoded) -> Result<Bytes, CodecError> {
    let run = &ctx.0;
    let job = JobRef { task: run.def.name, enqueued_at: run.enqueued_at, arguments: &run.arguments };
    run.codec.encode_result(&ResultRecord {
        job: Some(job),
        attempt: run.attempt,
        value: Ok(value),
        started_at: run.enqueued_at,
        finished_at: run.enqueued_at,
        queue: ctx.queue().as_str(),
        id: ctx.job_id().as_str(),
    })
}

/// What a hook may return: nothing, or a result.
#[diagnostic::on_unimplemented(message = "a hook returns nothing, or a `Result<(), E>` with any error type")]
pub trait HookResult {
    /// As a result.
    fn into_result(self) -> Result<(), TaskError>;
}

impl HookResult for () {
    fn into_result(self) -> Result<(), TaskError> {
        Ok(())
    }
}

impl<E: Into<TaskError>> HookResult for Result<(), E> {
    fn into_result(self) -> Result<(), TaskError> {
        self.map_err(Into::into)
    }
}

/// Boxes a hook's call.
pub fn hook<R: HookResult>(call: impl Future<Output = R> + Send + 'static) -> HookFuture {
    Box::pin(async move { call.await.into_result() })
}
