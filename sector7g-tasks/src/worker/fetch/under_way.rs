//! Futures of one task: a few, of which each is polled whenever the task is.

use std::future::poll_fn;
use std::task::Poll;

use futures_util::future::BoxFuture;

/// Futures that are under way. Dropped, it drops them.
///
/// `FuturesUnordered` polls only those that were woken, but wakes its own task once more whenever it has polled all that it
/// has and none was ready, as it has when one call is sent: another round of the loop, and another thread that tokio
/// wakes for it, before the connection's task has sent that call.
pub(super) struct UnderWay<T> {
    /// The one that was added first comes first, so that none waits for ever behind others.
    futures: Vec<BoxFuture<'static, T>>,
}

impl<T> UnderWay<T> {
    pub(super) fn new() -> Self {
        Self { futures: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.futures.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.futures.is_empty()
    }

    pub(super) fn push(&mut self, future: BoxFuture<'static, T>) {
        self.futures.push(future);
    }

    /// What the next one that is ready has returned; `None` when none is left.
    ///
    /// Cancel safe: it takes only what it returns, the others stay.
    pub(super) async fn next(&mut self) -> Option<T> {
        poll_fn(|cx| {
            for nth in 0..self.futures.len() {
                if let Poll::Ready(value) = self.futures[nth].as_mut().poll(cx) {
                    drop(self.futures.remove(nth));
                    return Poll::Ready(Some(value));
                }
            }
            if self.futures.is_empty() { Poll::Ready(None) } else { Poll::Pending }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake, Waker};

    use futures_util::FutureExt as _;
    use tokio::sync::oneshot;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn waiting() -> (oneshot::Sender<u8>, BoxFuture<'static, u8>) {
        let (sender, receiver) = oneshot::channel();
        (sender, async { receiver.await.unwrap() }.boxed())
    }

    #[test]
    fn what_is_ready_is_taken_the_oldest_first_and_the_rest_stays() {
        let (mut under_way, (first, one), (second, two)) = (UnderWay::new(), waiting(), waiting());
        assert_eq!(under_way.next().now_or_never(), Some(None), "nothing is under way");
        under_way.push(one);
        under_way.push(two);
        assert_eq!(under_way.next().now_or_never(), None, "none is ready");
        second.send(2).unwrap();
        assert_eq!(under_way.next().now_or_never(), Some(Some(2)));
        let (third, three) = waiting();
        under_way.push(three);
        third.send(3).unwrap();
        first.send(1).unwrap();
        assert_eq!(under_way.len(), 2);
        assert_eq!(under_way.next().now_or_never(), Some(Some(1)), "the oldest");
        assert_eq!(under_way.next().now_or_never(), Some(Some(3)));
        assert!(under_way.is_empty());
    }

    /// `FuturesUnordered` would wake it at once.
    #[test]
    fn a_task_that_waits_is_woken_by_what_it_waits_for_only() {
        let wakes = Arc::new(Wakes::default());
        let (mut under_way, (sender, future)) = (UnderWay::new(), waiting());
        under_way.push(future);
        {
            let next = std::pin::pin!(under_way.next());
            assert!(next.poll(&mut Context::from_waker(&Waker::from(Arc::clone(&wakes)))).is_pending());
        }
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
        sender.send(1).unwrap();
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    }
}
