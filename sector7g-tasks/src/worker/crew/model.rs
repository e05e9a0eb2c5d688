//! All orders in which works end while one waits for them, and in which a member is given the next, by loom.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context as Cx, Poll, Waker};

use loom::future::block_on;
use loom::model::Builder;
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};

use self::desk::Desk;
use self::ends::Ends;

#[path = "desk.rs"]
#[expect(clippy::duplicate_mod, reason = "once with the standard library's locks, once with loom's")]
mod desk;
#[path = "ends.rs"]
#[expect(clippy::duplicate_mod, reason = "once with the standard library's locks, once with loom's")]
mod ends;

mod sync {
    use std::task::Waker;

    pub(super) use loom::sync::{Mutex, MutexGuard};

    /// What `futures_util`'s promises: whoever rings after a waker was registered wakes that one.
    pub(super) struct AtomicWaker(Mutex<Option<Waker>>);

    impl AtomicWaker {
        pub(super) fn new() -> Self {
            Self(Mutex::new(None))
        }

        pub(super) fn register(&self, waker: &Waker) {
            *self.0.lock().expect("nothing panics while it is held") = Some(waker.clone());
        }

        pub(super) fn wake(&self) {
            let waker = self.0.lock().expect("nothing panics while it is held").take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// How often an order may break off a thread that could go on: more takes minutes, and faults of this kind need few.
const PREEMPTIONS: usize = 2;

/// Who takes the ends of one `Crew`.
struct Taker {
    ends: Arc<Ends<u32>>,
    batch: VecDeque<u32>,
    taken: Vec<u32>,
}

impl Taker {
    fn take(&mut self, end: u32) {
        self.taken.push(end);
    }

    async fn next(&mut self) {
        let end = poll_fn(|cx| self.ends.poll_next(&mut self.batch, cx)).await;
        self.take(end);
    }

    /// As an arm of a `select!` that another arm may win.
    async fn next_or_give_up(&mut self) {
        let mut next = pin!(self.next());
        poll_fn(|cx| {
            let _ = next.as_mut().poll(cx);
            Poll::Ready(())
        })
        .await;
    }

    fn collect(&mut self) {
        while let Some(end) = self.ends.try_next(&mut self.batch) {
            self.take(end);
        }
    }
}

/// `take` takes until it has as many as all of `tellers` tell, each on a thread of its own.
fn check(tellers: &'static [&'static [u32]], take: impl Fn(&mut Taker, usize) + Send + Sync + 'static) {
    let mut model = Builder::new();
    model.preemption_bound = Some(PREEMPTIONS);
    model.check(move || {
        let ends = Arc::new(Ends::new());
        let tell = |told: &'static [u32]| {
            let ends = Arc::clone(&ends);
            thread::spawn(move || told.iter().for_each(|end| ends.push(*end)))
        };
        let tellers_at_work: Vec<_> = tellers.iter().copied().map(tell).collect();
        let all = tellers.concat();
        let mut taker = Taker { ends, batch: VecDeque::new(), taken: Vec::new() };
        take(&mut taker, all.len()); // one that is slept through is a deadlock, which loom reports
        for teller in tellers_at_work {
            teller.join().expect("it only tells");
        }
        for told in tellers {
            let in_order: Vec<u32> = taker.taken.iter().copied().filter(|end| told.contains(end)).collect();
            assert_eq!(in_order, *told, "each once, in its order");
        }
        assert_eq!(taker.taken.len(), all.len());
    });
}

#[test]
fn none_is_slept_through() {
    check(&[&[1, 2], &[3]], |taker, all| {
        block_on(async {
            while taker.taken.len() < all {
                taker.next().await;
            }
        });
    });
}

#[test]
fn none_is_lost_with_a_wait_that_is_given_up() {
    check(&[&[1, 2], &[3]], |taker, all| {
        block_on(async {
            taker.next_or_give_up().await;
            taker.collect();
            while taker.taken.len() < all {
                taker.next().await;
            }
        });
    });
}

/// What a member does at its desk, on a thread of its own, beside who gives it work and takes its ends.
fn check_desk<T: 'static>(member: fn(&Desk<u32>, &Ends<u32>) -> T, giver: fn(&Desk<u32>, &Ends<u32>, JoinHandle<T>)) {
    let mut model = Builder::new();
    model.preemption_bound = Some(PREEMPTIONS);
    model.check(move || {
        let (desk, ends) = (Arc::new(Desk::with(Some(1))), Arc::new(Ends::new()));
        let (own_desk, own_ends) = (Arc::clone(&desk), Arc::clone(&ends));
        let at_work = thread::spawn(move || member(&own_desk, &own_ends));
        giver(&desk, &ends, at_work);
    });
}

#[test]
fn no_work_is_slept_through() {
    let member = |desk: &Desk<u32>, ends: &Ends<u32>| {
        block_on(async {
            for expected in 1..=3 {
                poll_fn(|cx| desk.poll_filled(cx)).await;
                let work = poll_fn(|cx| desk.poll_take(cx)).await;
                assert_eq!(work, expected);
                ends.push(work);
            }
        });
    };
    check_desk(member, |desk, ends, member| {
        let mut batch = VecDeque::new();
        block_on(async {
            for expected in 1..=3 {
                assert_eq!(poll_fn(|cx| ends.poll_next(&mut batch, cx)).await, expected);
                if expected < 3 {
                    assert_eq!(desk.put(expected + 1), Ok(()), "its member is there");
                }
            }
        });
        member.join().expect("it takes all");
    });
}

/// One of both knows of it: its member, which tells that it is cut off, or who is refused.
#[test]
fn what_is_given_to_a_member_that_goes_is_not_lost() {
    let member = |desk: &Desk<u32>, ends: &Ends<u32>| {
        let mut cx = Cx::from_waker(Waker::noop());
        assert_eq!(desk.poll_take(&mut cx), Poll::Ready(1));
        ends.push(1);
        let next = desk.poll_take(&mut cx);
        (next.is_ready().then_some(2), desk.close())
    };
    check_desk(member, |desk, ends, member| {
        let mut batch = VecDeque::new();
        block_on(poll_fn(|cx| ends.poll_next(&mut batch, cx)));
        let refused = desk.put(2).err();
        let (taken, left) = member.join().expect("it only takes");
        let known: Vec<u32> = [taken, left, refused].into_iter().flatten().collect();
        assert_eq!(known, [2], "{taken:?} {left:?} {refused:?}");
    });
}
