use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context as Cx, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::control::Cancel;
use super::panics::{Panicked, catch};
use super::running::{Held, Running};
use crate::context::Context;
use crate::error::{TaskError, Verdict};
use crate::task::{RunFuture, RunResult};

/// How a supervised run came to its end.
#[derive(Debug)]
pub(crate) enum Ending {
    Returned(RunResult),
    Cancelled(Cancel),
}

/// Runs the task's own future: panics and the timeout become errors of the task.
///
/// The timer is made only when the task does not finish at its first poll, which most short ones do.
pub(crate) struct Timed<H: Deref<Target = Held>> {
    task: Option<RunFuture>,
    held: H,
    timeout: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
    started: Option<Instant>,
}

impl<H: Deref<Target = Held>> Timed<H> {
    pub(crate) fn new(task: RunFuture, held: H, timeout: Duration) -> Self {
        Self { task: Some(task), held, timeout, deadline: None, started: None }
    }

    /// Counts its time from `began` on, not from its first poll.
    pub(crate) fn since(mut self, began: Instant) -> Self {
        self.started = Some(began);
        self
    }

    fn poll_task(&mut self, cx: &mut Cx<'_>) -> Poll<RunResult> {
        let Some(task) = &mut self.task else { return Poll::Pending };
        match catch(|| task.as_mut().poll(cx)) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(result)) => Poll::Ready(result),
            Err(panic) => Poll::Ready(Err(panicked(&panic))),
        }
    }
}

impl<H: Deref<Target = Held> + Unpin> Future for Timed<H> {
    type Output = RunResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<RunResult> {
        let this = &mut *self;
        let started = *this.started.get_or_insert_with(Instant::now);
        if let Poll::Ready(result) = this.poll_task(cx) {
            drop_quietly(&this.held, this.task.take());
            return Poll::Ready(result);
        }
        let Self { held, timeout, .. } = this;
        let first = || Box::pin(sleep_until(held.control.deadline(started, *timeout)));
        let deadline = this.deadline.get_or_insert_with(first);
        // A task that has used up its budget (tokio's coop) would keep the timer from ever being
        // ready, so the clock is asked first.
        if Instant::now() < deadline.deadline() && deadline.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let postponed = this.held.control.deadline(started, this.timeout);
        if Instant::now() < postponed {
            deadline.as_mut().reset(postponed);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        this.held.control.cancel(Cancel::Timeout);
        drop_quietly(&this.held, this.task.take());
        let problem = format!("ran longer than its timeout of {:?}", this.timeout);
        Poll::Ready(Err(TaskError::because(Verdict::Timeout, problem)))
    }
}

impl<H: Deref<Target = Held>> Drop for Timed<H> {
    fn drop(&mut self) {
        if self.started.is_some() && self.task.is_some() {
            // Code around it has given it up; a thread that runs it can only be told.
            self.held.control.cancel(Cancel::Timeout);
        }
        drop_quietly(&self.held, self.task.take());
    }
}

/// Drops a task; a panic in the drop of its locals is not to reach the engine.
fn drop_quietly<F>(held: &Held, task: Option<F>) {
    if let Err(panic) = catch(|| drop(task)) {
        let task = held.task().map_or("?", |def| def.name);
        tracing::error!("{}:{task} failed to be dropped, try={}, {panic}", held.id(), held.attempt());
    }
}

/// Runs all of an attempt (hooks, middleware, task) until it ends or is cancelled.
pub(crate) struct Supervised<'a, F> {
    inner: Option<F>,
    held: &'a Held,
    running: &'a Running,
}

impl<'a, F: Future<Output = RunResult> + Unpin> Supervised<'a, F> {
    pub(crate) fn new(inner: F, held: &'a Held, running: &'a Running) -> Self {
        Self { inner: Some(inner), held, running }
    }

    fn cancelled(&self) -> Option<Cancel> {
        self.held.control.why().filter(|why| *why != Cancel::Timeout) // that is the task's own end, on its way out
    }
}

impl<F: Future<Output = RunResult> + Unpin> Future for Supervised<'_, F> {
    type Output = Ending;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Ending> {
        let this = &mut *self;
        if let Some(why) = this.cancelled() {
            return Poll::Ready(Ending::Cancelled(why));
        }
        this.held.control.poll_begins(this.running.tick.load(Ordering::Relaxed).max(1));
        let Some(inner) = &mut this.inner else { return Poll::Pending };
        let polled = catch(|| Pin::new(inner).poll(cx));
        this.held.control.poll_ends();
        match polled {
            Ok(Poll::Pending) => {
                // Registered before the flag is read again, so a cancellation in between is not missed.
                this.held.control.register(cx.waker());
                this.cancelled().map_or(Poll::Pending, |why| Poll::Ready(Ending::Cancelled(why)))
            }
            Ok(Poll::Ready(result)) => Poll::Ready(Ending::Returned(result)),
            Err(panic) => Poll::Ready(Ending::Returned(Err(panicked(&panic)))),
        }
    }
}

impl<F> Drop for Supervised<'_, F> {
    fn drop(&mut self) {
        drop_quietly(self.held, self.inner.take());
    }
}

fn panicked(panic: &Panicked) -> TaskError {
    TaskError::because(Verdict::Panic, panic.to_string())
}

/// A call on a thread of the blocking pool; tells when it has left, also by a panic.
struct OnPool(Context);

impl OnPool {
    fn enter(ctx: Context) -> Self {
        ctx.0.held.control.enter_pool();
        Self(ctx)
    }
}

impl Drop for OnPool {
    fn drop(&mut self) {
        self.0.0.held.control.leave_pool();
    }
}

/// Runs a plain function on the blocking pool. Dropped before the call began, it never runs;
/// dropped later, the thread goes on (the watchdog names it) and its result is lost.
pub(crate) fn run_blocking(ctx: Context, call: impl FnOnce(&Context) -> RunResult + Send + 'static) -> RunFuture {
    Box::pin(async move {
        let span = tracing::Span::current();
        let held = Arc::clone(&ctx.0.held);
        held.control.set_awaits_thread(true);
        let thread = tokio::task::spawn_blocking(move || {
            // Entered first: a cancellation in between then finds a thread to wait for.
            let on_pool = OnPool::enter(ctx);
            if on_pool.0.is_cancelled() {
                return Err(TaskError::because(Verdict::Policy, "was cancelled before a thread was free"));
            }
            // Caught on this thread, which alone knows where it was.
            span.in_scope(|| catch(|| call(&on_pool.0))).unwrap_or_else(|panic| Err(panicked(&panic)))
        });
        match (AbortOnDrop { thread, held }).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => Err(panicked(&Panicked::new(panic))),
                Err(error) => Err(TaskError::because(Verdict::Policy, error)), // the runtime is shutting down
            },
        }
    })
}

/// Takes a call that has not begun out of the pool's line.
struct AbortOnDrop {
    thread: tokio::task::JoinHandle<RunResult>,
    held: Arc<Held>,
}

impl Future for AbortOnDrop {
    type Output = Result<RunResult, tokio::task::JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.thread).poll(cx)
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.thread.abort();
        self.held.control.set_awaits_thread(false);
    }
}
