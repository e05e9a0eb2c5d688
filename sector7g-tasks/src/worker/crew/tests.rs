use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::task::JoinSet;
use tokio::task::coop::{consume_budget, has_budget_remaining};

use super::*;

struct Any<T>(BoxFuture<'static, T>);

impl<T: Send + 'static> Work for Any<T> {
    type Output = T;

    fn run(self) -> impl Future<Output = T> + Send {
        self.0
    }
}

fn any<T>(future: impl Future<Output = T> + Send + 'static) -> Any<T> {
    Any(Box::pin(future))
}

#[tokio::test]
async fn ends_come_in_their_order_and_each_once() {
    let mut crew = Crew::new();
    for number in 0..3_u64 {
        crew.start(any(async move {
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
    let mut crew = Crew::<Any<()>>::new();
    crew.start(any(async { panic!("on purpose") }));
    assert_eq!(crew.next().await, Some(Err(CutOff)));
    crew.start(any(pending()));
    crew.abort_all();
    assert_eq!(crew.next().await, Some(Err(CutOff)));
    assert!(crew.is_empty());
}

#[tokio::test]
async fn dropped_it_drops_what_it_runs() {
    let (told, dropped) = tokio::sync::oneshot::channel::<()>();
    let mut crew = Crew::<Any<()>>::new();
    crew.start(any(async move {
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
    all.start(any(async {
        let mut crew = Crew::new();
        for round in 0..5_000 {
            for spins in (0..16).map(|index| (round + index) * 31 % 97) {
                crew.start(any(async move { (0..spins).for_each(|_| std::hint::spin_loop()) }));
            }
            while !crew.is_empty() {
                assert_eq!(crew.next().await, Some(Ok(())));
            }
        }
    }));
    let ended = tokio::time::timeout(Duration::from_mins(1), all.next()).await;
    assert_eq!(ended.expect("it is woken each time"), Some(Ok(())));
}

/// Says when it is dropped, and takes its time for it.
struct Slow(Arc<AtomicBool>);

impl Drop for Slow {
    fn drop(&mut self) {
        (0..2_000).for_each(|_| std::hint::spin_loop());
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Who has taken the last end may let go of all that its futures use.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_cut_off_is_dropped_before_its_end_is_told() {
    for round in 0..1_000 {
        let dropped = Arc::new(AtomicBool::new(false));
        let slow = Slow(Arc::clone(&dropped));
        let mut crew = Crew::<Any<()>>::new();
        crew.start(any(async move {
            let _slow = slow;
            pending::<()>().await;
        }));
        if round % 2 == 0 {
            tokio::task::yield_now().await; // else it is perhaps not polled once
        }
        crew.abort_all();
        assert_eq!(crew.next().await, Some(Err(CutOff)));
        assert!(dropped.load(Ordering::SeqCst), "round {round}");
    }
}

#[tokio::test]
async fn members_work_off_one_after_the_other() {
    let mut crew = Crew::new();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..10 {
        for _ in 0..3 {
            crew.start(any(async { tokio::task::id().to_string() }));
        }
        while let Some(member) = crew.next().await {
            seen.insert(member.expect("it ends"));
        }
    }
    assert_eq!(seen.len(), 3, "as many as work at once: {seen:?}");
}

#[tokio::test]
async fn work_after_a_panic_or_an_abort_is_not_given_to_the_dead() {
    let mut crew = Crew::new();
    let run = async |crew: &mut Crew<Any<u32>>, number| {
        crew.start(any(async move { number }));
        assert_eq!(crew.next().await, Some(Ok(number)));
    };
    run(&mut crew, 1).await;
    crew.start(any(async { panic!("on purpose") }));
    assert_eq!(crew.next().await, Some(Err(CutOff)));
    run(&mut crew, 2).await;
    crew.abort_all(); // a member is idle
    run(&mut crew, 3).await;
    crew.start(any(async { 4 }));
    tokio::task::yield_now().await; // it has ended, which nobody has taken
    crew.abort_all();
    assert_eq!(crew.next().await, Some(Ok(4)));
    run(&mut crew, 5).await;
    assert_eq!(crew.members.iter().flatten().count(), 1);
}

#[test]
fn members_whose_runtime_has_ended_are_replaced() {
    let mut crew = Crew::new();
    for number in 0..3 {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("the system gives threads");
        let ended = runtime.block_on(async {
            crew.start(any(async move { number }));
            crew.next().await
        });
        assert_eq!(ended, Some(Ok(number)));
    }
    assert_eq!((crew.members.iter().flatten().count(), crew.idle.len()), (1, 1));
}

#[tokio::test]
async fn not_all_are_kept_that_many_at_once_needed() {
    let mut crew = Crew::new();
    for _ in 0..SPARE + 10 {
        crew.start(any(async {}));
    }
    while crew.next().await.is_some() {}
    assert_eq!((crew.members.iter().flatten().count(), crew.len()), (SPARE, 0));
    for _ in 0..SPARE + 10 {
        crew.start(any(async {}));
    }
    assert_eq!((crew.members.len(), crew.len()), (SPARE + 10, SPARE + 10), "places are used again");
}

type Told<W> = Arc<Ends<End<<W as Work>::Output>>>;

/// A member without a crew, whose work may know its desk.
fn member_of_none<W: Work>(first: impl FnOnce(Arc<Desk<W>>) -> W) -> (JoinSet<()>, Told<W>) {
    let (desk, ends) = (Arc::new(Desk::with(None)), Arc::new(Ends::new()));
    assert!(desk.put(first(Arc::clone(&desk))).is_ok());
    let mut member = JoinSet::new();
    member.spawn(Seat { place: 0, is_at_work: false, desk, ends: Arc::clone(&ends) }.work_off());
    (member, ends)
}

/// Gives its member the next one while it runs, as a loop on another thread may do just after.
struct Endless(Arc<Desk<Endless>>, u32);

impl Work for Endless {
    type Output = ();

    async fn run(self) {
        let Self(desk, before) = self;
        if before < 100_000 {
            let _ = Arc::clone(&desk).put(Self(desk, before + 1));
        }
    }
}

#[tokio::test]
async fn a_member_that_is_given_more_and_more_lets_others_have_their_turn() {
    let (mut member, ends) = member_of_none(|desk| Endless(desk, 0));
    tokio::task::yield_now().await;
    member.shutdown().await;
    let (mut batch, mut count) = (VecDeque::new(), 0);
    while ends.try_next(&mut batch).is_some() {
        count += 1;
    }
    // Tokio asks who waits outside of its tasks after some 61 turns.
    assert!((2..1_000).contains(&count), "{count} before anybody else");
}

/// Who has spent all of its turn is not bound to its thread, which may be blocked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_goes_on_while_its_thread_is_blocked() {
    let mut crew = Crew::new();
    let (tell, told) = std::sync::mpsc::channel();
    crew.start(any(async move {
        spend().await;
        // The next one on this thread.
        let mut blocking = JoinSet::new();
        blocking.spawn(async move { told.recv_timeout(Duration::from_secs(10)).is_ok() });
        Some(blocking)
    }));
    let first = crew.next().await.expect("it was started").expect("it ends");
    crew.start(any(async move {
        let _ = tell.send(());
        None
    }));
    let in_time = first.expect("it has spawned it").join_next().await.expect("there is one").expect("it ends");
    assert!(in_time, "the second work waited for the blocked thread");
    assert!(matches!(crew.next().await, Some(Ok(None))));
}

struct Bad;

impl Work for Bad {
    type Output = ();

    async fn run(self) {}
}

impl Drop for Bad {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

#[tokio::test]
async fn what_panics_as_it_is_dropped_unseen_ends_too() {
    let mut crew = Crew::new();
    crew.start(Bad);
    crew.abort_all();
    let ended = tokio::time::timeout(Duration::from_secs(10), crew.next()).await;
    assert_eq!(ended.expect("it is told"), Some(Err(CutOff)));
}

/// All that a task may do in its turn.
async fn spend() {
    while has_budget_remaining() {
        consume_budget().await;
    }
}

/// Says whether anything was left to it, and leaves nothing to the next one, which it puts on its member's desk.
struct Spender(Arc<Desk<Spender>>, u32);

impl Work for Spender {
    type Output = bool;

    async fn run(self) -> bool {
        let Self(desk, before) = self;
        let has_some = has_budget_remaining();
        spend().await;
        if before < 2 {
            let _ = Arc::clone(&desk).put(Self(desk, before + 1));
        }
        has_some
    }
}

#[tokio::test]
async fn none_has_to_do_with_what_the_one_before_has_left_of_its_turn() {
    let (_member, ends) = member_of_none(|desk| Spender(desk, 0));
    let mut batch = VecDeque::new();
    for _ in 0..3 {
        assert_eq!(poll_fn(|cx| ends.poll_next(&mut batch, cx)).await, (0, Ok(true)));
    }
}
