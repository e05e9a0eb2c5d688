//! Random steps against a model that is too simple to be wrong: one list, searched from end to end.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::super::state::{Lookup, State};
use super::super::waits::Bells;
use super::{START, failure, job_id, queue, state};
use crate::broker::{
    Claim, Due, Enqueued, Extended, Finish, Finished, GiveBack, JobState, KeptResult, Lease, LeaseToken, NewJob,
    Outcome, RequestId, ResultState,
};
use crate::clock::Timestamp;

#[derive(Clone, Debug)]
enum Step {
    Enqueue {
        id: u8,
        queue: u8,
        delay: u64,
        expires: Option<u64>,
        replace: bool,
    },
    Claim {
        worker: u64,
        queue: u8,
        max: usize,
        lease: u64,
    },
    /// Of one worker's last call.
    Repeat {
        worker: u64,
    },
    /// Of any lease that ever was.
    Finish {
        lease: prop::sample::Index,
        ending: Ending,
    },
    Extend {
        lease: prop::sample::Index,
        span: u64,
    },
    Abort {
        id: u8,
        queue: u8,
    },
    RetryDead {
        id: u8,
        queue: u8,
    },
    DiscardDead {
        id: u8,
        queue: u8,
    },
    Pass {
        span: u64,
    },
}

#[derive(Clone, Debug)]
enum Ending {
    End { keep: Option<u64>, dead: bool, hold: u64 },
    Retry { delay: u64 },
    GiveBack { delay: u64, why: GiveBack },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (id, queue, span) = (0..5_u8, 0..2_u8, 0..40_u64);
    let why = prop_oneof![Just(GiveBack::Stop), Just(GiveBack::Snooze), Just(GiveBack::UnknownTask)];
    let ending = prop_oneof![
        3 => (prop::option::of(span.clone()), any::<bool>(), 0..30_u64)
            .prop_map(|(keep, dead, hold)| Ending::End { keep, dead, hold }),
        2 => span.clone().prop_map(|delay| Ending::Retry { delay }),
        2 => (span.clone(), why).prop_map(|(delay, why)| Ending::GiveBack { delay, why }),
    ];
    let step = prop_oneof![
        6 => (id.clone(), queue.clone(), span.clone(), prop::option::of(span.clone()), any::<bool>())
            .prop_map(|(id, queue, delay, expires, replace)| Step::Enqueue { id, queue, delay, expires, replace }),
        6 => (0..3_u64, queue.clone(), 0..4_usize, 1..60_u64)
            .prop_map(|(worker, queue, max, lease)| Step::Claim { worker, queue, max, lease }),
        1 => (0..3_u64).prop_map(|worker| Step::Repeat { worker }),
        6 => (any::<prop::sample::Index>(), ending).prop_map(|(lease, ending)| Step::Finish { lease, ending }),
        2 => (any::<prop::sample::Index>(), 1..60_u64).prop_map(|(lease, span)| Step::Extend { lease, span }),
        1 => (id.clone(), queue.clone()).prop_map(|(id, queue)| Step::Abort { id, queue }),
        1 => (id.clone(), queue.clone()).prop_map(|(id, queue)| Step::RetryDead { id, queue }),
        1 => (id, queue).prop_map(|(id, queue)| Step::DiscardDead { id, queue }),
        4 => span.prop_map(|span| Step::Pass { span }),
    ];
    prop::collection::vec(step, 1..120)
}

/// A living job, as one would write it down.
#[derive(Clone, Debug, Default)]
struct Live {
    id: u8,
    queue: u8,
    /// When it is due, or its lease ends.
    at: u64,
    order: usize,
    lease: Option<Held>,
    /// Its place in the answer to its claim.
    nth: usize,
    attempt: u32,
    delivery: u32,
    failures: usize,
    expires_at: Option<u64>,
    expired: bool,
    aborted: bool,
    unknown_since: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
struct Held {
    id: u8,
    queue: u8,
    token: LeaseToken,
}

#[derive(Debug, Default)]
struct Model {
    now: u64,
    live: Vec<Live>,
    /// Id, queue, when it is dropped, and which end it was.
    results: Vec<(u8, u8, Option<u64>, usize)>,
    holds: Vec<(u8, u64)>,
    /// Id, queue, attempts, failures, and which end it was.
    dead: Vec<(u8, u8, u32, usize, usize)>,
    /// All that took effect.
    applied: Vec<Held>,
    /// The last call of each worker on each queue that leased something.
    calls: Vec<(u64, u8, LeaseToken)>,
    orders: usize,
    ends: usize,
}

/// A claimed job: id, attempt, delivery, whether it has a payload, whether it is to be aborted, since when unknown.
type Claimed = (u8, u32, u32, bool, bool, Option<u64>);

impl Model {
    fn has_ended(&mut self, id: u8) -> bool {
        let now = self.now;
        self.results.retain(|(_, _, until, _)| until.is_none_or(|until| until > now));
        self.holds.retain(|(_, until)| *until > now);
        self.results.iter().any(|(of, ..)| *of == id) || self.holds.iter().any(|(of, _)| *of == id)
    }

    fn enqueue(&mut self, id: u8, queue: u8, delay: u64, expires: Option<u64>, replace: bool) -> Enqueued {
        if self.live.iter().any(|job| job.id == id) || self.has_ended(id) && !replace {
            return Enqueued::Duplicate;
        }
        self.results.retain(|(of, ..)| *of != id);
        self.holds.retain(|(of, _)| *of != id);
        self.add(id, queue, delay, expires.map(|span| self.now + span));
        Enqueued::New
    }

    fn add(&mut self, id: u8, queue: u8, delay: u64, expires_at: Option<u64>) {
        let (at, order) = (self.now + delay, self.orders);
        self.orders += 1;
        self.live.push(Live { id, queue, at, order, expires_at, ..Live::default() });
    }

    fn claim(&mut self, queue: u8, max: usize, lease: u64, token: LeaseToken) -> Vec<Claimed> {
        let now = self.now;
        if self.calls.contains(&(token.worker, queue, token)) {
            let holds = |job: &&mut Live| job.lease.as_ref().is_some_and(|lease| lease.token == token);
            let mut again: Vec<_> = self.live.iter_mut().filter(holds).collect();
            again.sort_by_key(|job| job.nth);
            for job in &mut again {
                job.at = now + lease;
            }
            return again.into_iter().map(|job| job.claimed()).collect();
        }
        let mut due: Vec<_> = self.live.iter_mut().filter(|job| job.queue == queue && job.at <= now).collect();
        due.sort_by_key(|job| (job.at, job.order));
        due.truncate(max);
        for (nth, job) in due.iter_mut().enumerate() {
            job.nth = nth;
            job.start(token, now, lease);
        }
        let claimed: Vec<_> = due.into_iter().map(|job| job.claimed()).collect();
        if !claimed.is_empty() {
            self.calls.retain(|(worker, of, _)| (*worker, *of) != (token.worker, queue));
            self.calls.push((token.worker, queue, token));
        }
        claimed
    }

    fn held(&self, lease: &Held) -> Option<usize> {
        self.live.iter().position(|job| job.lease.as_ref() == Some(lease))
    }

    fn finish(&mut self, lease: &Held, ending: &Ending) -> Finished {
        let Some(at) = self.held(lease) else {
            return if self.applied.contains(lease) { Finished::Applied } else { Finished::LeaseLost };
        };
        self.applied.push(lease.clone());
        match ending {
            Ending::End { keep, dead, hold } => self.end(at, *keep, *dead, *hold),
            Ending::Retry { delay } => self.live[at].retry(self.now, *delay),
            Ending::GiveBack { delay, why } => self.live[at].give_back(self.now, *delay, *why),
        }
        Finished::Applied
    }

    fn end(&mut self, at: usize, keep: Option<u64>, dead: bool, hold: u64) {
        let Live { id, queue, attempt, failures, .. } = self.live.remove(at);
        self.ends += 1;
        if keep != Some(0) {
            self.results.retain(|(of, ..)| *of != id);
            self.results.push((id, queue, keep.map(|keep| self.now + keep), self.ends));
        }
        if hold > 0 {
            self.holds.push((id, self.now + hold));
        }
        if dead {
            self.dead.retain(|(of, from, ..)| (*of, *from) != (id, queue));
            self.dead.push((id, queue, attempt, failures + 1, self.ends));
        }
    }

    fn retry_dead(&mut self, id: u8, queue: u8) -> bool {
        let Some(at) = self.dead.iter().position(|(of, from, ..)| (*of, *from) == (id, queue)) else { return false };
        if self.live.iter().any(|job| job.id == id) {
            return false;
        }
        self.dead.remove(at);
        self.results.retain(|(of, ..)| *of != id);
        self.add(id, queue, 0, None);
        true
    }

    fn abort(&mut self, id: u8, queue: u8) -> bool {
        let Some(job) = self.live.iter_mut().find(|job| (job.id, job.queue) == (id, queue)) else { return false };
        job.aborted = true;
        if job.lease.is_none() {
            job.at = job.at.min(self.now);
        }
        true
    }
}

impl Live {
    fn start(&mut self, token: LeaseToken, now: u64, lease: u64) {
        if self.lease.is_some() {
            self.failures += 1;
            self.expires_at = None;
        }
        self.expired |= self.expires_at.is_some_and(|at| at <= now);
        self.lease = Some(Held { id: self.id, queue: self.queue, token });
        self.at = now + lease;
        self.attempt += 1;
        self.delivery += 1;
    }

    fn claimed(&self) -> Claimed {
        (self.id, self.attempt, self.delivery, !self.expired, self.aborted, self.unknown_since)
    }

    fn wait_again(&mut self, now: u64, delay: u64) {
        self.lease = None;
        self.at = if self.aborted { now } else { now + delay };
    }

    fn retry(&mut self, now: u64, delay: u64) {
        self.failures += 1;
        self.unknown_since = None;
        self.expires_at = None;
        self.wait_again(now, delay);
    }

    fn give_back(&mut self, now: u64, delay: u64, why: GiveBack) {
        self.attempt -= 1;
        self.unknown_since = (why == GiveBack::UnknownTask).then(|| self.unknown_since.unwrap_or(now));
        if why != GiveBack::UnknownTask {
            self.expires_at = None;
        }
        self.wait_again(now, delay);
    }

    fn state(&self, now: u64) -> JobState {
        match &self.lease {
            _ if self.at <= now => JobState::Queued,
            Some(_) => JobState::InProgress,
            None => JobState::Deferred,
        }
    }
}

/// The broker and its model, side by side.
struct Both {
    state: State,
    model: Model,
    /// All leases that ever were.
    leases: Vec<Held>,
    calls: u64,
    last: Vec<Option<(u8, LeaseToken)>>,
}

fn ms(span: u64) -> Duration {
    Duration::from_millis(span)
}

fn names(id: u8, of: u8) -> (crate::broker::JobId, crate::broker::QueueName) {
    (job_id(&format!("job {id}")), queue(["lenny", "carl"][usize::from(of)]))
}

impl Both {
    fn new() -> Self {
        Self { state: state(), model: Model::default(), leases: Vec::new(), calls: 0, last: vec![None; 3] }
    }

    fn now(&self) -> Timestamp {
        START + ms(self.model.now)
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Enqueue { id, queue, delay, expires, replace } => {
                self.enqueue(*id, *queue, *delay, *expires, *replace);
            }
            Step::Claim { worker, queue, max, lease } => {
                self.calls += 1;
                let token = LeaseToken { worker: *worker, call: self.calls };
                self.last[usize::try_from(*worker).expect("few workers")] = Some((*queue, token));
                self.claim(*queue, *max, *lease, token);
            }
            Step::Repeat { worker } => {
                if let Some((queue, token)) = self.last[usize::try_from(*worker).expect("few workers")] {
                    self.claim(queue, 3, 30, token);
                }
            }
            Step::Finish { lease, ending } => self.finish(*lease, ending),
            Step::Extend { lease, span } => self.extend(*lease, *span),
            Step::Abort { id, queue } => {
                let (name, of) = names(*id, *queue);
                let found = self.state.abort(&of, &name, self.now(), &mut Bells::default());
                assert_eq!(found, self.model.abort(*id, *queue));
            }
            Step::RetryDead { id, queue } => {
                let (name, of) = names(*id, *queue);
                let found = self.state.retry_dead(&of, &[name], self.now(), &mut Bells::default());
                assert_eq!(found, Ok(vec![self.model.retry_dead(*id, *queue)]));
            }
            Step::DiscardDead { id, queue } => {
                let (name, of) = names(*id, *queue);
                let found = self.state.discard_dead(&of, &[name], self.now());
                let before = self.model.dead.len();
                self.model.dead.retain(|(dead, from, ..)| (dead, from) != (id, queue));
                assert_eq!(found, [self.model.dead.len() < before]);
            }
            Step::Pass { span } => self.model.now += span,
        }
        self.compare();
    }

    fn enqueue(&mut self, id: u8, of: u8, delay: u64, expires: Option<u64>, replace: bool) {
        let (name, queue) = names(id, of);
        let payload = Bytes::from_static(b"payload");
        let (due, expires_in) = (Due::In(ms(delay)), expires.map(ms));
        let job = NewJob { queue, id: name, payload, due, expires_in, replace_finished: replace };
        let answers = self.state.enqueue(&[job], RequestId::unique(), self.now(), &mut Bells::default());
        assert_eq!(answers, Ok(vec![self.model.enqueue(id, of, delay, expires, replace)]));
    }

    fn claim(&mut self, of: u8, max: usize, lease: u64, token: LeaseToken) {
        let queue = names(0, of).1;
        let request = Claim { queue: &queue, finished: &[], max, lease: ms(lease), token };
        let claimed = self.state.claim(&request, self.now(), &mut Bells::default());
        let expected = if max == 0 { Vec::new() } else { self.model.claim(of, max, lease, token) };
        for (job, model) in claimed.jobs.iter().zip(&expected) {
            assert_eq!((&job.lease.id, job.lease.token), (&names(model.0, of).0, token));
            let lease = Held { id: model.0, queue: of, token };
            if !self.leases.contains(&lease) {
                self.leases.push(lease);
            }
        }
        let found = claimed.jobs.iter().zip(&expected).map(|(job, model)| {
            let unknown = job.unknown_since.map(|since| u64::try_from(since.since(START).as_millis()).expect("short"));
            (model.0, job.attempt, job.delivery, job.payload.is_some(), job.abort_requested, unknown)
        });
        assert_eq!(found.collect::<Vec<_>>(), expected);
        assert_eq!(claimed.jobs.len(), expected.len(), "as many jobs");
        let more = self.model.live.iter().any(|job| job.queue == of && job.at <= self.model.now);
        assert_eq!(claimed.more_due, more, "more due");
    }

    fn finish(&mut self, lease: prop::sample::Index, ending: &Ending) {
        if self.leases.is_empty() {
            return;
        }
        let held = lease.get(&self.leases).clone();
        let outcome = match ending {
            Ending::End { keep, dead, hold } => Outcome::End {
                result: Some(KeptResult { record: Bytes::from_static(b"result"), keep: keep.map(ms) }),
                dead: dead.then(|| failure("for good").into()),
                hold_id: ms(*hold),
            },
            Ending::Retry { delay } => Outcome::Retry { delay: ms(*delay), failure: failure("not yet").into() },
            Ending::GiveBack { delay, why } => Outcome::GiveBack { delay: ms(*delay), why: *why },
        };
        let (id, queue) = names(held.id, held.queue);
        let finished = [Finish { lease: Lease { id, token: held.token }, outcome }];
        self.calls += 1;
        let token = LeaseToken { worker: 99, call: self.calls };
        let request = Claim { queue: &queue, finished: &finished, max: 0, lease: ms(1), token };
        let answer = self.state.claim(&request, self.now(), &mut Bells::default());
        assert_eq!(answer.finished, [self.model.finish(&held, ending)], "{held:?}");
    }

    fn extend(&mut self, lease: prop::sample::Index, span: u64) {
        if self.leases.is_empty() {
            return;
        }
        let held = lease.get(&self.leases).clone();
        let (id, queue) = names(held.id, held.queue);
        let leases = [Lease { id, token: held.token }];
        let found = self.state.extend(&queue, &leases, ms(span), self.now(), &mut Bells::default());
        let at = self.model.held(&held);
        if let Some(at) = at {
            self.model.live[at].at = self.model.now + span;
        }
        assert_eq!(found, [if at.is_some() { Extended::Renewed } else { Extended::Lost }]);
    }

    /// What each side says of every job and every queue.
    fn compare(&mut self) {
        let now = self.now();
        self.state.audit(now);
        for of in 0..2 {
            for id in 0..5 {
                self.compare_job(id, of);
            }
            let found: Vec<_> =
                self.model.live.iter().filter(|job| job.queue == of).map(|job| job.state(self.model.now)).collect();
            let count = |wanted| found.iter().filter(|state| **state == wanted).count() as u64;
            let stats = self.state.stats(&names(0, of).1, now);
            assert_eq!(
                [stats.queued, stats.deferred, stats.running],
                [count(JobState::Queued), count(JobState::Deferred), count(JobState::InProgress)]
            );
            assert_eq!(stats.dead, self.model.dead.iter().filter(|(_, from, ..)| *from == of).count() as u64);
        }
    }

    fn compare_job(&mut self, id: u8, of: u8) {
        let (now, (name, queue)) = (self.now(), names(id, of));
        self.model.has_ended(id); // drops what is over
        let record = self.state.job(&queue, &name, now).map(|job| (job.state, job.attempt, job.failures.len()));
        let live = self.model.live.iter().find(|job| (job.id, job.queue) == (id, of));
        let dead = self.model.dead.iter().find(|(dead, from, ..)| (*dead, *from) == (id, of));
        let result = self.model.results.iter().find(|(ended, from, ..)| (*ended, *from) == (id, of));
        let expected = match (live, dead, result) {
            (Some(job), ..) => Some((job.state(self.model.now), job.attempt, job.failures.min(20))),
            (None, Some(dead), result) if result.is_none_or(|result| result.3 <= dead.4) => {
                Some((JobState::Dead, dead.2, dead.3.min(20)))
            }
            // The newer end is shown; of a result the model knows no attempts.
            (None, _, Some(_)) => Some((JobState::Complete, record.map_or(0, |record| record.1), 0)),
            (None, _, None) => None,
        };
        assert_eq!(record, expected);
        let found = match self.state.result(&queue, &name, false, now) {
            Lookup::Known(found) => found,
            Lookup::Pending(_) => panic!("nobody asked to wait"),
        };
        let ready = ResultState::Ready(Bytes::from_static(b"result"));
        let expected = match (live, result) {
            (Some(_), _) => ResultState::Pending,
            (None, Some(_)) => ready,
            (None, None) => ResultState::NotFound,
        };
        assert_eq!(found, expected, "the result of {name} in {queue}");
    }
}

proptest! {
    #![proptest_config(crate::cases::unkept(256))]

    /// Any steps: each id is in one place, a job has one holder, and every attempt is counted.
    #[test]
    fn the_broker_does_as_its_model(steps in steps()) {
        let mut both = Both::new();
        for step in &steps {
            both.step(step);
        }
    }
}
