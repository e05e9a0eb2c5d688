use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
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
        let mut crew = Crew::<()>::new();
        crew.spawn(Box::pin(async move {
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
