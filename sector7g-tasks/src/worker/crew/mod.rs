mod desk;
mod ends;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;

use tokio::task::AbortHandle;

use self::desk::Desk;
use self::ends::Ends;
use super::panics::catch;

/// What `desk` and `ends` are made of.
mod sync {
    pub(super) use std::sync::{Mutex, MutexGuard};

    pub(super) use futures_util::task::AtomicWaker;
}

/// How many members without work are kept: each has the memory of a whole job's future.
const SPARE: usize = 1_024;

/// What a crew does.
pub(super) trait Work: Send + 'static {
    type Output: Send + 'static;

    fn run(self) -> impl Future<Output = Self::Output> + Send;
}

/// Works off what it is given, all at once, and keeps what that returns. Dropped, it drops what has not ended, soon.
///
/// Like tokio's `JoinSet`, but cheaper: what has come in is taken in batches, under one lock; and each of its members, a
/// task of tokio's, works off one after the other, as to make, move and free a task costs more than most jobs' ways
/// through it. So a waker that is left over from something earlier may wake what comes after it, in vain.
pub(super) struct Crew<W: Work> {
    members: Vec<Option<Member<W>>>,
    /// Places of members without work: who was the last to have some is the first to get more, as its memory is warm.
    idle: Vec<usize>,
    /// Places of nobody.
    vacant: Vec<usize>,
    ends: Arc<Ends<End<W::Output>>>,
    /// Moved out of `ends`, to be taken one by one.
    batch: VecDeque<End<W::Output>>,
}

/// A member's place, and what its work returned.
type End<T> = (usize, Result<T, CutOff>);

/// It panicked, or was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CutOff;

/// Dropped, it is aborted.
struct Member<W> {
    desk: Arc<Desk<W>>,
    task: AbortHandle,
    is_aborted: bool,
}

impl<W: Work> Crew<W> {
    pub(super) fn new() -> Self {
        Self {
            members: Vec::new(),
            idle: Vec::new(),
            vacant: Vec::new(),
            ends: Arc::new(Ends::new()),
            batch: VecDeque::new(),
        }
    }

    /// How many works' ends have not been taken.
    pub(super) fn len(&self) -> usize {
        self.members.len() - self.idle.len() - self.vacant.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[expect(clippy::disallowed_methods, reason = "nothing is detached: the handle is kept, and each end told")]
    pub(super) fn start(&mut self, mut work: W) {
        while let Some(place) = self.idle.pop() {
            if let Some(member) = &self.members[place] {
                match member.desk.put(work) {
                    Ok(()) => return,
                    Err(refused) => work = refused, // its runtime has ended
                }
            }
            self.leave(place);
        }
        let place = self.vacant.pop().unwrap_or_else(|| {
            self.members.push(None);
            self.members.len() - 1
        });
        let desk = Arc::new(Desk::with(Some(work)));
        let seat = Seat { place, is_at_work: false, desk: Arc::clone(&desk), ends: Arc::clone(&self.ends) };
        self.members[place] =
            Some(Member { desk, task: tokio::spawn(seat.work_off()).abort_handle(), is_aborted: false });
    }

    /// What the next one that has ended returned, without waiting.
    pub(super) fn try_next(&mut self) -> Option<Result<W::Output, CutOff>> {
        let end = self.ends.try_next(&mut self.batch)?;
        Some(self.take(end))
    }

    /// The same of the next one that ends; `None` when none is left.
    ///
    /// Cancel safe: it takes only what it returns.
    pub(super) async fn next(&mut self) -> Option<Result<W::Output, CutOff>> {
        if self.is_empty() {
            return None;
        }
        let end = poll_fn(|cx| self.ends.poll_next(&mut self.batch, cx)).await;
        Some(self.take(end))
    }

    #[inline]
    fn take(&mut self, (place, end): End<W::Output>) -> Result<W::Output, CutOff> {
        let may_go_on = self.members[place].as_ref().is_some_and(|member| !member.is_aborted);
        if end.is_ok() && may_go_on && self.idle.len() < SPARE {
            self.idle.push(place);
        } else {
            self.leave(place);
        }
        end
    }

    fn leave(&mut self, place: usize) {
        self.members[place] = None;
        self.vacant.push(place);
    }

    /// Drops all that have not ended, each at its next `.await`.
    pub(super) fn abort_all(&mut self) {
        for member in self.members.iter_mut().flatten() {
            member.task.abort();
            member.is_aborted = true;
        }
        while let Some(place) = self.idle.pop() {
            self.leave(place);
        }
    }
}

impl<W> Drop for Member<W> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where a member sits while its task lives. Dropped, it tells that its work is cut off.
struct Seat<W: Work> {
    place: usize,
    is_at_work: bool,
    desk: Arc<Desk<W>>,
    ends: Arc<Ends<End<W::Output>>>,
}

impl<W: Work> Seat<W> {
    async fn work_off(mut self) {
        loop {
            let work = poll_fn(|cx| self.desk.poll_take(cx)).await;
            self.is_at_work = true;
            // It is dropped before its end is told, so that nothing of it is at work any more when that is taken.
            let returned = work.run().await;
            self.is_at_work = false;
            self.ends.push((self.place, Ok(returned)));
            self.next_turn().await;
        }
    }

    /// Waits until there is work, and has a turn of its own for it, as a task of its own would have: tokio allows each so
    /// much, and who feeds a member from another thread can't keep this one from all others.
    async fn next_turn(&self) {
        let mut is_next = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut is_next, true) {
                return Poll::Ready(());
            }
            if self.desk.poll_filled(cx).is_ready() {
                // Tokio's own ways of yielding leave a task with its thread, which the next one there may block.
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await;
    }
}

impl<W: Work> Drop for Seat<W> {
    fn drop(&mut self) {
        let left = self.desk.close();
        if self.is_at_work || left.is_some() {
            if let Err(panic) = catch(|| drop(left)) {
                tracing::error!("a job or hook that had not begun failed to be dropped, {panic}");
            }
            self.ends.push((self.place, Err(CutOff)));
        }
    }
}
