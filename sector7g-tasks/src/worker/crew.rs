use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::hash::BuildHasherDefault;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Cx, Poll};

use futures_util::future::BoxFuture;
use futures_util::task::AtomicWaker;
use tokio::task::AbortHandle;

use super::running::KeyHasher;

/// Spawned futures and what they have returned. Dropped, it aborts those that have not ended.
///
/// Like tokio's `JoinSet`, at a third of its cost: what has come in is taken in batches, under one lock, and
/// nothing is allocated for a future beyond its task.
pub(super) struct Crew<T> {
    /// Those whose end has not been taken.
    tasks: HashMap<u64, AbortHandle, BuildHasherDefault<KeyHasher>>,
    next_key: u64,
    ends: Arc<Ends<T>>,
    /// Moved out of `ends`, to be taken one by one.
    batch: VecDeque<End<T>>,
}

/// A future's key, and what it returned.
type End<T> = (u64, Result<T, CutOff>);

/// It panicked, or was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CutOff;

struct Ends<T> {
    queue: Mutex<VecDeque<End<T>>>,
    /// Wakes who waits for the next one.
    bell: AtomicWaker,
}

impl<T: Send + 'static> Crew<T> {
    pub(super) fn new() -> Self {
        let ends = Ends { queue: Mutex::default(), bell: AtomicWaker::new() };
        Self { tasks: HashMap::default(), next_key: 0, ends: Arc::new(ends), batch: VecDeque::new() }
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
        let member = Member { future, key, ends: Some(Arc::clone(&self.ends)) };
        self.tasks.insert(key, tokio::spawn(member).abort_handle());
    }

    /// The next one that has ended, without waiting.
    pub(super) fn try_next(&mut self) -> Option<Result<T, CutOff>> {
        if self.batch.is_empty() {
            std::mem::swap(&mut self.batch, &mut *self.ends.queue());
        }
        let (key, end) = self.batch.pop_front()?;
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
        poll_fn(|cx| {
            // Registered before it looks, so that none is missed in between.
            self.ends.bell.register(cx.waker());
            self.try_next().map_or(Poll::Pending, |end| Poll::Ready(Some(end)))
        })
        .await
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

impl<T> Ends<T> {
    fn queue(&self) -> MutexGuard<'_, VecDeque<End<T>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner) // nothing panics while it is held
    }

    fn push(&self, end: End<T>) {
        let mut queue = self.queue();
        queue.push_back(end);
        let is_first = queue.len() == 1;
        drop(queue);
        // All are taken at once, so whoever made it one has woken, or is about to wake, who takes them.
        if is_first {
            self.bell.wake();
        }
    }
}

/// A future that tells its end, whatever that is.
struct Member<T> {
    future: BoxFuture<'static, T>,
    key: u64,
    /// `None` once it has been told.
    ends: Option<Arc<Ends<T>>>,
}

impl<T> Future for Member<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<()> {
        let Poll::Ready(value) = self.future.as_mut().poll(cx) else { return Poll::Pending };
        if let Some(ends) = self.ends.take() {
            ends.push((self.key, Ok(value)));
        }
        Poll::Ready(())
    }
}

impl<T> Drop for Member<T> {
    fn drop(&mut self) {
        if let Some(ends) = self.ends.take() {
            ends.push((self.key, Err(CutOff)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn ends_come_in_their_order_and_each_once() {
        let mut crew = Crew::new();
        for number in 0..3_u64 {
            crew.spawn(Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(5 * (3 - number))).await;
                number
            }));
        }
        assert_eq!(crew.try_next(), None, "nothing has ended");
        for number in [2, 1, 0] {
            assert_eq!(crew.next().await, Some(Ok(number)));
        }
        assert_eq!((crew.next().await, crew.len()), (None, 0));
    }

    #[tokio::test]
    async fn what_panics_or_is_aborted_ends_too() {
        let mut crew = Crew::<()>::new();
        crew.spawn(Box::pin(async { panic!("on purpose") }));
        assert_eq!(crew.next().await, Some(Err(CutOff)));
        crew.spawn(Box::pin(pending()));
        crew.abort_all();
        assert_eq!(crew.next().await, Some(Err(CutOff)));
        assert!(crew.is_empty());
    }

    #[tokio::test]
    async fn dropped_it_drops_what_it_runs() {
        let (told, dropped) = tokio::sync::oneshot::channel::<()>();
        let mut crew = Crew::<()>::new();
        crew.spawn(Box::pin(async move {
            let _told = told;
            pending::<()>().await;
        }));
        tokio::task::yield_now().await;
        drop(crew);
        let dropped = tokio::time::timeout(Duration::from_secs(10), dropped).await;
        dropped.expect("the future is dropped").expect_err("without a word");
    }

    /// Futures end on other threads at the very moment at which this one looks and goes to sleep.
    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    async fn no_end_is_slept_through() {
        let mut all = Crew::new();
        // In a task of its own: nobody else polls it.
        all.spawn(Box::pin(async {
            let mut crew = Crew::new();
            for round in 0..5_000 {
                for spins in (0..16).map(|index| (round + index) * 31 % 97) {
                    crew.spawn(Box::pin(async move { (0..spins).for_each(|_| std::hint::spin_loop()) }));
                }
                while !crew.is_empty() {
                    assert_eq!(crew.next().await, Some(Ok(())));
                }
            }
        }));
        let ended = tokio::time::timeout(Duration::from_mins(1), all.next()).await;
        assert_eq!(ended.expect("it is woken each time"), Some(Ok(())));
    }
}
