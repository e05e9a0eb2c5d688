mod ends;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::hash::BuildHasherDefault;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Cx, Poll, ready};

use futures_util::future::BoxFuture;
use tokio::task::AbortHandle;

use self::ends::Ends;
use super::running::KeyHasher;

/// What `ends` is made of.
mod sync {
    pub(super) use std::sync::{Mutex, MutexGuard};

    pub(super) use futures_util::task::AtomicWaker;
}

/// Spawned futures and what they have returned. Dropped, it aborts those that have not ended.
///
/// Like tokio's `JoinSet`, but cheaper: what has come in is taken in batches, under one lock, and nothing is allocated
/// for a future beyond its task.
pub(super) struct Crew<T> {
    /// Those whose end has not been taken.
    tasks: HashMap<u64, AbortHandle, BuildHasherDefault<KeyHasher>>,
    next_key: u64,
    ends: Arc<Ends<End<T>>>,
    /// Moved out of `ends`, to be taken one by one.
    batch: VecDeque<End<T>>,
}

/// A future's key, and what it returned.
type End<T> = (u64, Result<T, CutOff>);

/// It panicked, or was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CutOff;

impl<T: Send + 'static> Crew<T> {
    pub(super) fn new() -> Self {
        Self { tasks: HashMap::default(), next_key: 0, ends: Arc::new(Ends::new()), batch: VecDeque::new() }
    }

    /// How many have not been taken.
    pub(super) fn len(&self) -> usize {
        self.tasks.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    #[expect(clippy::disallowed_methods, reason = "nothing is detached: the handle is kept, and its end told")]
    pub(super) fn spawn(&mut self, future: BoxFuture<'static, T>) {
        let key = self.next_key;
        self.next_key += 1;
        let member = Member { future: Some(future), word: Word { key, ends: Some(Arc::clone(&self.ends)) } };
        self.tasks.insert(key, tokio::spawn(member).abort_handle());
    }

    /// The next one that has ended, without waiting.
    pub(super) fn try_next(&mut self) -> Option<Result<T, CutOff>> {
        let (key, end) = self.ends.try_next(&mut self.batch)?;
        self.tasks.remove(&key);
        Some(end)
    }

    /// The next one that ends; `None` when none is left.
    ///
    /// Cancel safe: it takes only what it returns.
    pub(super) async fn next(&mut self) -> Option<Result<T, CutOff>> {
        if self.is_empty() {
            return None;
        }
        let (key, end) = poll_fn(|cx| self.ends.poll_next(&mut self.batch, cx)).await;
        self.tasks.remove(&key);
        Some(end)
    }

    /// Drops all that have not ended, each at its next `.await`.
    pub(super) fn abort_all(&self) {
        self.tasks.values().for_each(AbortHandle::abort);
    }
}

impl<T> Drop for Crew<T> {
    fn drop(&mut self) {
        self.tasks.values().for_each(AbortHandle::abort);
    }
}

/// A future that tells its end, whatever that is.
struct Member<T> {
    /// `None` once it has returned. First of the fields: it is dropped before its end is told, so that nothing of
    /// it is at work any more when that is taken.
    future: Option<BoxFuture<'static, T>>,
    word: Word<T>,
}

/// The word of a future's end.
struct Word<T> {
    key: u64,
    /// `None` once it is given.
    ends: Option<Arc<Ends<End<T>>>>,
}

impl<T> Future for Member<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<()> {
        if let Some(future) = &mut self.future {
            let value = ready!(future.as_mut().poll(cx));
            self.future = None;
            self.word.give(Ok(value));
        }
        Poll::Ready(())
    }
}

impl<T> Word<T> {
    fn give(&mut self, end: Result<T, CutOff>) {
        if let Some(ends) = self.ends.take() {
            ends.push((self.key, end));
        }
    }
}

impl<T> Drop for Word<T> {
    fn drop(&mut self) {
        self.give(Err(CutOff));
    }
}
