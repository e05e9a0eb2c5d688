use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::control::Cancel;
use super::run_blocking;
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
