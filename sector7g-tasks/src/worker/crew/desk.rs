//! Where a member finds its next work.
//!
//! `super::sync` are the standard library's locks, and loom's in the model that tries all orders of the steps here.

use std::sync::PoisonError;
use std::task::{Context as Cx, Poll, Waker};

use super::sync::{Mutex, MutexGuard};

pub(super) struct Desk<W>(Mutex<State<W>>);

struct State<W> {
    work: Option<W>,
    /// Of its member, while that sleeps.
    waker: Option<Waker>,
    is_closed: bool,
}

impl<W> Desk<W> {
    pub(super) fn with(first: Option<W>) -> Self {
        Self(Mutex::new(State { work: first, waker: None, is_closed: false }))
    }

    fn state(&self) -> MutexGuard<'_, State<W>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner) // nothing panics while it is held
    }

    /// Gives it to a member that has nothing, or has told the end of what it had. Returns it where there is no member any more.
    pub(super) fn put(&self, work: W) -> Result<(), W> {
        let mut state = self.state();
        if state.is_closed {
            return Err(work);
        }
        let left = state.work.replace(work);
        let waker = state.waker.take();
        drop(state);
        debug_assert!(left.is_none(), "one at a time");
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// The next work, or a wake-up when there is some.
    pub(super) fn poll_take(&self, cx: &mut Cx<'_>) -> Poll<W> {
        let mut state = self.state();
        state.work.take().map_or_else(|| state.wait(cx), Poll::Ready)
    }

    /// The same, and leaves it there.
    pub(super) fn poll_filled(&self, cx: &mut Cx<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.work.is_some() { Poll::Ready(()) } else { state.wait(cx) }
    }

    /// The member is no more: nothing is put here from now on. Returns what it has not taken.
    pub(super) fn close(&self) -> Option<W> {
        let mut state = self.state();
        state.is_closed = true;
        state.waker = None;
        state.work.take()
    }
}

impl<W> State<W> {
    fn wait<T>(&mut self, cx: &mut Cx<'_>) -> Poll<T> {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}
