use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use proptest::prelude::*;
use tokio::sync::Notify;

use super::super::state::State;
use super::super::waits::{Bells, Next, WaitId};
use super::{START, deferred, job_id, queue, state};
use crate::broker::{Claim, LeaseToken, QueueName, RequestId};
use crate::clock::Timestamp;

const MS: Duration = Duration::from_millis(1);

/// What may happen around waits.
#[derive(Clone, Debug)]
enum Step {
    Enqueue {
        queue: usize,
        delay: u32,
    },
    /// A worker begins to wait on one queue, or on both.
    Wait {
        worker: usize,
        queues: usize,
    },
    /// A worker whose bell rings or whose time has come looks; one that returns claims.
    Poll {
        worker: usize,
        max: usize,
    },
    Drop {
        worker: usize,
    },
    Pass {
        span: u32,
    },
    /// Until nobody has anything to do.
    Settle,
    /// Of a job that may wait.
    Abort {
        job: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..2_usize, 0..20_u32).prop_map(|(queue, delay)| Step::Enqueue { queue, delay: delay.saturating_sub(8) }),
        4 => (0..4_usize, 0..3_usize).prop_map(|(worker, queues)| Step::Wait { worker, queues }),
        4 => (0..4_usize, 1..3_usize).prop_map(|(worker, max)| Step::Poll { worker, max }),
        3 => (0..4_usize).prop_map(|worker| Step::Drop { worker }),
        2 => (0..12_u32).prop_map(|span| Step::Pass { span }),
        1 => (0..20_usize).prop_map(|job| Step::Abort { job }),
        3 => Just(Step::Settle),
    ];
    prop::collection::vec(step, 1..80)
}

/// A wait as a runtime sees it.
struct Waiting {
    id: WaitId,
    queues: Vec<QueueName>,
    bell: Arc<Notify>,
    /// When its timer fires; it looks at once when it is new.
    timer: Option<Timestamp>,
}

/// A runtime by hand: it polls a wait only when its bell has rung or its timer has fired.
struct Runtime {
    state: State,
    now: Timestamp,
    workers: [Option<Waiting>; 4],
    jobs: usize,
    calls: u64,
}

impl Runtime {
    fn act<T>(&mut self, act: impl FnOnce(&mut State, Timestamp, &mut Bells) -> T) -> T {
        let mut bells = Bells::default();
        let done = act(&mut self.state, self.now, &mut bells);
        bells.ring();
        done
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Enqueue { queue, delay } => {
                let new = deferred(["lenny", "carl"][*queue], &self.jobs.to_string(), *delay * 10 * MS);
                self.jobs += 1;
                self.act(|state, now, bells| state.enqueue(&[new], RequestId::unique(), now, bells)).expect("room");
            }
            Step::Wait { worker, queues } => self.wait(*worker, *queues),
            Step::Poll { worker, max } => drop(self.poll(*worker, *max)),
            Step::Drop { worker } => {
                if let Some(wait) = self.workers[*worker].take() {
                    self.act(|state, now, bells| state.end_wait(wait.id, now, bells));
                }
            }
            Step::Settle => self.settle(),
            Step::Pass { span } => self.now = self.now + *span * 10 * MS,
            Step::Abort { job } => {
                let id = job_id(&job.to_string());
                for name in ["lenny", "carl"] {
                    self.act(|state, now, bells| state.abort(&queue(name), &id, now, bells));
                }
            }
        }
    }

    fn wait(&mut self, worker: usize, queues: usize) {
        if self.workers[worker].is_some() {
            return;
        }
        let queues =
            [&["lenny"][..], &["carl"], &["lenny", "carl"]][queues].iter().map(|name| queue(name)).collect::<Vec<_>>();
        match self.act(|state, now, _| state.begin_wait(&queues, now)) {
            Some((id, bell)) => {
                let timer = Some(self.now);
                self.workers[worker] = Some(Waiting { id, queues, bell, timer });
            }
            None => self.claim(worker, &queues, 1),
        }
    }

    /// Whether there was anything to do.
    fn poll(&mut self, worker: usize, max: usize) -> bool {
        let Some(wait) = &self.workers[worker] else { return false };
        let rang = wait.bell.notified().now_or_never().is_some();
        if !rang && wait.timer.is_none_or(|at| at > self.now) {
            return false;
        }
        let id = wait.id;
        match self.act(|state, now, bells| state.look(id, now, bells)) {
            Next::Sleep(until) => self.workers[worker].as_mut().expect("it waits").timer = until,
            Next::Return => {
                let wait = self.workers[worker].take().expect("it waits");
                self.claim(worker, &wait.queues, max);
            }
        }
        true
    }

    /// As a worker does when its wait has returned.
    fn claim(&mut self, worker: usize, queues: &[QueueName], max: usize) {
        for queue in queues {
            self.calls += 1;
            let token = LeaseToken { worker: worker as u64, call: self.calls };
            let request = Claim { queue, finished: &[], max, lease: 70 * MS, token };
            self.act(|state, now, bells| state.claim(&request, now, bells)).expect("no later one has come");
        }
    }

    /// Polls until nobody has anything to do. Then nothing that is due may have somebody waiting for it,
    /// and for what will be due somebody must have set a timer.
    fn settle(&mut self) {
        while (0..4).any(|worker| self.poll(worker, 1)) {}
        for (_, queue) in self.state.queues.iter() {
            let Some(keeper) = queue.waiting.first() else { continue };
            assert!(!queue.line.has_due(self.now), "{} has due work, and {:?} sleep", queue.name, queue.waiting);
            let timer = self.workers.iter().flatten().find(|wait| wait.id == *keeper).and_then(|wait| wait.timer);
            let next = queue.line.next_after(self.now);
            assert!(next.is_none_or(|next| timer.is_some_and(|timer| timer <= next)), "{} would be late", queue.name);
        }
        self.state.audit(self.now);
    }

    fn next_timer(&self) -> Option<Timestamp> {
        self.workers.iter().flatten().filter_map(|wait| wait.timer).min()
    }
}

proptest! {
    #![proptest_config(crate::cases::unkept(512))]

    /// However waits begin, are polled and are dropped, no due job is left while a worker waits for its queue.
    #[test]
    fn no_wake_up_is_lost(steps in steps()) {
        let mut runtime = Runtime { state: state(), now: START, workers: [const { None }; 4], jobs: 0, calls: 0 };
        for step in &steps {
            runtime.step(step);
        }
        for _ in 0..40 {
            runtime.settle();
            let Some(next) = runtime.next_timer() else { break };
            runtime.now = next.max(runtime.now);
        }
    }
}
