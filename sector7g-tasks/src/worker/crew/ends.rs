//! What has ended, on its way from those who ended to the one who takes it.
//!
//! `super::sync` are the standard library's locks, and loom's in the model that tries all orders of the steps here.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::task::{Context as Cx, Poll};

use super::sync::{AtomicWaker, Mutex, MutexGuard};

pub(super) struct Ends<E> {
    queue: Mutex<VecDeque<E>>,
    /// Wakes who waits for the next one.
    bell: AtomicWaker,
}

impl<E> Ends<E> {
    pub(super) fn new() -> Self {
        Self { queue: Mutex::new(VecDeque::new()), bell: AtomicWaker::new() }
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<E>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner) // nothing panics while it is held
    }

    pub(super) fn push(&self, end: E) {
        let mut queue = self.queue();
        queue.push_back(end);
        let is_first = queue.len() == 1;
        drop(queue);
        // Who takes them sleeps only once it has seen none, so the first to come after that wakes it.
        if is_first {
            self.bell.wake();
        }
    }

    /// The next one, from `batch`, into which all that has come is moved when it is empty.
    pub(super) fn try_next(&self, batch: &mut VecDeque<E>) -> Option<E> {
        if batch.is_empty() {
            std::mem::swap(batch, &mut *self.queue());
        }
        batch.pop_front()
    }

    /// The same, or a wake-up when there is one. One at a time may ask: the bell knows one.
    pub(super) fn poll_next(&self, batch: &mut VecDeque<E>, cx: &mut Cx<'_>) -> Poll<E> {
        // Registered before it looks, so that none is missed in between.
        self.bell.register(cx.waker());
        self.try_next(batch).map_or(Poll::Pending, Poll::Ready)
    }
}
