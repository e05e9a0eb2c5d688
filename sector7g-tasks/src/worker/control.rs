use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::settings::LONGEST;
use crate::task::TaskDef;

/// Why a running job is to end before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Cancel {
    /// Someone asked for it.
    Abort = 1,
    /// Another may hold it now.
    LeaseLost = 2,
    /// The worker stops and the job's grace is over.
    Stop = 3,
    /// Its time is over.
    Timeout = 4,
}

/// What may be done to a job while it runs, from the loop, the heartbeat's thread and the watchdog.
///
/// All of it is atomic: it is on the path of every job.
#[derive(Debug, Default)]
pub(crate) struct Control {
    cancel: AtomicU8,
    /// Wakes the future that runs the task.
    runner: AtomicWaker,
    /// Wakes those who wait in `Context::cancelled`.
    waiters: Notify,
    /// The watchdog's tick at which the present poll of the task began; 0 between polls.
    polled_since: AtomicU32,
    /// Whether a plain function still waits for a thread of the blocking pool.
    awaits_thread: AtomicBool,
    /// When it got one.
    pub(super) thread_since: OnceLock<Instant>,
    /// Whether the task's code sits on a thread of the blocking pool.
    ///
    /// The thread sets this and then asks whether the job is cancelled; who cancels the job does so and
    /// then asks this. In one order of both, `SeqCst`, one of them sees the other.
    on_blocking_pool: AtomicBool,
    /// Wakes those who wait for that thread: it has left, or the job is cancelled.
    thread: Notify,
    /// What the job turned out to be, and which attempt this is, for those who tell of it.
    pub(crate) task: OnceLock<(&'static TaskDef, u32)>,
    /// Whether the watchdog has named it.
    pub(crate) reported: AtomicBool,
}

impl Control {
    /// Ends the job. The first reason stands, but for a timeout: that is the task's alone, and
    /// the code around it can still be told to end.
    pub(crate) fn cancel(&self, why: Cancel) {
        let replace =
            |now: u8| (now == 0 || (now == Cancel::Timeout as u8 && why != Cancel::Timeout)).then_some(why as u8);
        if self.cancel.fetch_update(Ordering::SeqCst, Ordering::SeqCst, replace).is_ok() {
            self.runner.wake();
            self.waiters.notify_waiters();
            self.thread.notify_waiters();
        }
    }

    pub(crate) fn why(&self) -> Option<Cancel> {
        match self.cancel.load(Ordering::SeqCst) {
            1 => Some(Cancel::Abort),
            2 => Some(Cancel::LeaseLost),
            3 => Some(Cancel::Stop),
            4 => Some(Cancel::Timeout),
            _ => None,
        }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.why().is_some()
    }

    pub(crate) async fn cancelled(&self) {
        let notified = self.waiters.notified();
        tokio::pin!(notified);
        // Enabled before the flag is read, so a cancellation in between is not missed.
        notified.as_mut().enable();
        if !self.is_cancelled() {
            notified.await;
        }
    }

    pub(crate) fn set_awaits_thread(&self, awaits: bool) {
        self.awaits_thread.store(awaits, Ordering::Release);
    }

    pub(crate) fn enter_pool(&self) {
        let _ = self.thread_since.set(Instant::now()); // once: this is the only attempt of this control
        self.on_blocking_pool.store(true, Ordering::SeqCst);
        self.awaits_thread.store(false, Ordering::Release);
    }

    /// When something ends that began at `began` and may take `limit`: for a plain function that
    /// counts from when it has a thread. How long that takes is the pool's affair.
    pub(crate) fn deadline(&self, began: Instant, limit: Duration) -> Instant {
        let limit = limit.min(LONGEST);
        if self.awaits_thread.load(Ordering::Acquire) {
            return Instant::now() + limit;
        }
        self.thread_since.get().copied().unwrap_or(began) + limit
    }

    pub(crate) fn leave_pool(&self) {
        self.on_blocking_pool.store(false, Ordering::SeqCst);
        self.thread.notify_waiters();
    }

    pub(crate) fn is_on_pool(&self) -> bool {
        self.on_blocking_pool.load(Ordering::SeqCst)
    }

    /// Waits until no thread runs the task's code.
    pub(crate) async fn off_pool(&self) {
        self.off_pool_or(|_| false).await;
    }

    /// Waits until no thread runs the task's code, or the job ends all the same: it was aborted, or
    /// its lease is lost. Returns that reason.
    pub(crate) async fn off_pool_or_ended(&self) -> Option<Cancel> {
        self.off_pool_or(|why| matches!(why, Cancel::Abort | Cancel::LeaseLost)).await
    }

    async fn off_pool_or(&self, is_enough: impl Fn(Cancel) -> bool) -> Option<Cancel> {
        loop {
            let told = self.thread.notified();
            tokio::pin!(told);
            // Enabled before anything is read, so a change in between is not missed.
            told.as_mut().enable();
            let ended = self.why().filter(|why| is_enough(*why));
            if ended.is_some() || !self.is_on_pool() {
                return ended;
            }
            told.await;
        }
    }

    pub(crate) fn register(&self, waker: &std::task::Waker) {
        self.runner.register(waker);
    }

    /// `tick` is never 0.
    pub(crate) fn poll_begins(&self, tick: u32) {
        self.polled_since.store(tick, Ordering::Relaxed);
    }

    pub(crate) fn poll_ends(&self) {
        self.polled_since.store(0, Ordering::Relaxed);
    }

    /// The tick at which the poll under way began.
    pub(crate) fn polled_since(&self) -> Option<u32> {
        match self.polled_since.load(Ordering::Relaxed) {
            0 => None,
            tick => Some(tick),
        }
    }
}
