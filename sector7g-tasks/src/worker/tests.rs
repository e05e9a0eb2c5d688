use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures_util::FutureExt;

use super::control::Cancel;
use super::supervise::{Ending, Supervised};
use super::{Running, run_blocking};
use crate::error::{TaskError, Verdict};
use crate::testing::TestContext;

/// The thread enters the pool before it looks: who cancels the job at that very moment sees it, and waits.
#[tokio::test]
async fn a_thread_that_comes_after_the_cancellation_is_seen_and_runs_nothing() {
    let (ctx, ran) = (TestContext::new().build(), Arc::new(AtomicBool::new(false)));
    let (held, seen) = (Arc::clone(&ctx.0.held), Arc::clone(&ran));
    let control = &held.control;
    control.cancel(Cancel::Stop);
    let run = run_blocking(ctx, move |_| {
        seen.store(true, Ordering::SeqCst);
        Err(TaskError::because(Verdict::Policy, "it ran"))
    });
    let error = run.await.expect_err("it should not have run");
    assert_eq!(error.to_string(), "was cancelled before a thread was free");
    assert!(!ran.load(Ordering::SeqCst));
    assert!(control.thread_since.get().is_some() && !control.is_on_pool(), "it entered, and left");
}

/// At the first poll nobody can be woken yet: a cancellation meanwhile is seen when the poll is over.
#[test]
fn a_cancellation_during_the_first_poll_is_not_missed() {
    let (ctx, running) = (TestContext::new().build(), Running::default());
    let held = &*ctx.0.held;
    let task = poll_fn(|_| {
        held.control.cancel(Cancel::Abort);
        Poll::Pending // and nothing of its own wakes it
    });
    let ending = Supervised::new(task, held, &running).now_or_never();
    assert!(matches!(ending, Some(Ending::Cancelled(Cancel::Abort))));
}
