use super::steps::Job;
use crate::broker::{Enqueued, Finished, GiveBack, JobState, LeaseToken, MAX_FAILURES};
use crate::job::FailureKind;

/// Ticks after a lease's end in which its holder can still finish or renew it for sure: five seconds.
pub(super) const AFTERLIFE: u64 = 50;

/// A failure, as far as the model knows it.
pub(super) type Failed = (FailureKind, u32);

/// A living job, as one would write it down. Moments are ticks.
#[derive(Clone, Debug, Default)]
pub(super) struct Live {
    pub(super) id: u8,
    pub(super) queue: u8,
    pub(super) payload: u64,
    /// When it is due, or its lease ends.
    pub(super) at: u64,
    /// The call that set `at`.
    pub(super) set_by: u64,
    /// Which one it was of all that were added.
    pub(super) added: u64,
    /// When it was due at its last claim, and the call that set that.
    pub(super) due: u64,
    due_by: u64,
    pub(super) lease: Option<LeaseToken>,
    pub(super) attempt: u32,
    pub(super) delivery: u32,
    pub(super) failures: Vec<Failed>,
    pub(super) progress: Option<u8>,
    pub(super) expires_at: Option<u64>,
    /// A claim found it expired.
    pub(super) expired: bool,
    pub(super) aborted: bool,
    pub(super) unknown_since: Option<u64>,
    /// Its task is left to other programs; it may be claimed from its due time on, and must be from here on.
    pub(super) left_until: u64,
}

/// The right to a job that a claim gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Held {
    pub(super) id: u8,
    pub(super) queue: u8,
    pub(super) token: LeaseToken,
    /// The attempt that it was.
    pub(super) attempt: u32,
}

/// A stored result.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) id: u8,
    pub(super) queue: u8,
    pub(super) record: u64,
    /// None of a dead letter, which has its own.
    pub(super) failures: Vec<Failed>,
    until: Option<u64>,
    /// Which of all ends it was.
    pub(super) end: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) id: u8,
    pub(super) queue: u8,
    /// `None` when it had expired: nobody can retry it.
    pub(super) payload: Option<u64>,
    pub(super) attempt: u32,
    pub(super) failures: Vec<Failed>,
    pub(super) died: u64,
    pub(super) end: u64,
}

/// What becomes of a job, as [`super::Ending`] says it.
#[derive(Clone, Debug)]
pub(super) enum End {
    Over { keep: Option<u64>, record: u64, dead: Option<Failed>, hold: u64 },
    Retry { delay: u64, failure: Failed },
    GiveBack { delay: u64, why: GiveBack },
}

/// All that is kept.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) now: u64,
    /// Which call this is.
    pub(super) call: u64,
    /// Whether all that happens in one tick happens at one moment.
    pub(super) exact: bool,
    pub(super) live: Vec<Live>,
    pub(super) results: Vec<Kept>,
    holds: Vec<(u8, u64)>,
    pub(super) dead: Vec<Letter>,
    /// The queues that give no jobs, and since when.
    pub(super) paused: Vec<(u8, u64)>,
    /// All finishes that took effect.
    applied: Vec<Held>,
    added: u64,
    ends: u64,
}

impl Model {
    pub(super) fn new(exact: bool) -> Self {
        Self { exact, ..Self::default() }
    }

    /// Time goes on; what is over goes.
    pub(super) fn pass(&mut self, ticks: u64) {
        self.now += ticks;
        let now = self.now;
        self.results.retain(|kept| kept.until.is_none_or(|until| until > now));
        self.holds.retain(|(_, until)| *until > now);
    }

    pub(super) fn is_live(&self, id: u8) -> bool {
        self.live.iter().any(|job| job.id == id)
    }

    /// Whether it lives in another queue than `queue` and has lost its payload: it counts as an end there that nobody
    /// has recorded, and whether its id is taken is nobody's promise.
    pub(super) fn has_expired_elsewhere(&self, id: u8, queue: u8) -> bool {
        self.live.iter().any(|job| job.id == id && job.queue != queue && !job.has_payload(self.now))
    }

    pub(super) fn enqueue(&mut self, queue: u8, job: &Job, payload: u64) -> Enqueued {
        let has_ended =
            self.results.iter().any(|kept| kept.id == job.id) || self.holds.iter().any(|(of, _)| *of == job.id);
        if self.is_live(job.id) || has_ended && !job.replace {
            return Enqueued::Duplicate;
        }
        self.free(job.id);
        self.add(queue, job, payload);
        Enqueued::New
    }

    /// What an earlier job of this id has left goes; its dead letter stays.
    fn free(&mut self, id: u8) {
        self.results.retain(|kept| kept.id != id);
        self.holds.retain(|(of, _)| *of != id);
    }

    fn add(&mut self, queue: u8, job: &Job, payload: u64) {
        self.added += 1;
        self.live.push(Live {
            id: job.id,
            queue,
            payload,
            at: self.now + job.delay,
            set_by: self.call,
            added: self.added,
            expires_at: job.expires.map(|span| self.now + span),
            ..Live::default()
        });
    }

    /// The place of the job of which this is the newest lease.
    fn held(&self, lease: &Held) -> Option<usize> {
        let is_it = |job: &Live| (job.id, job.queue, job.lease) == (lease.id, lease.queue, Some(lease.token));
        self.live.iter().position(is_it)
    }

    pub(super) fn is_held(&self, lease: &Held) -> bool {
        self.held(lease).is_some()
    }

    /// A finish that was answered so; says what it should have been, if that was wrong.
    pub(super) fn finish(&mut self, lease: &Held, end: &End, answer: Finished) -> Result<(), Finished> {
        let Some(at) = self.held(lease) else {
            // Whether a finish is known that came in another call is open: it has no effect again, in any case.
            let may_be = answer == Finished::LeaseLost || self.applied.contains(lease);
            return if may_be { Ok(()) } else { Err(Finished::LeaseLost) };
        };
        if answer == Finished::LeaseLost {
            return if self.live[at].is_late(self.now) { Ok(()) } else { Err(Finished::Applied) };
        }
        self.applied.push(*lease);
        match *end {
            End::Over { keep, record, dead, hold } => self.end(at, keep, record, dead, hold),
            End::Retry { delay, failure } => {
                let job = &mut self.live[at];
                job.attempt = job.attempt.max(failure.1);
                job.fail(failure);
                job.is_known();
                job.expires_at = None;
                job.wait_again(self.now, self.call, (self.now + delay, self.call));
            }
            End::GiveBack { delay, why } => {
                let (now, job) = (self.now, &mut self.live[at]);
                job.attempt -= 1;
                let keeps_place = why == GiveBack::Stop && delay == 0;
                let (due, by) = if keeps_place { (job.due, job.due_by) } else { (now + delay, self.call) };
                job.wait_again(now, self.call, (due, by));
                if why == GiveBack::UnknownTask {
                    job.unknown_since.get_or_insert(now);
                    job.left_until = now + 2 * delay;
                } else {
                    job.is_known();
                    job.expires_at = None;
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, at: usize, keep: Option<u64>, record: u64, dead: Option<Failed>, hold: u64) {
        let mut job = self.live.remove(at);
        let Live { id, queue, .. } = job;
        self.ends += 1;
        let (now, end) = (self.now, self.ends);
        if keep != Some(0) {
            let failures = if dead.is_none() { job.failures.clone() } else { Vec::new() };
            self.results.push(Kept { id, queue, record, failures, until: keep.map(|keep| now + keep), end });
        }
        if hold > 0 {
            self.holds.push((id, now + hold));
        }
        if let Some(failure) = dead {
            job.fail(failure);
            self.dead.retain(|letter| (letter.id, letter.queue) != (id, queue));
            let payload = job.has_payload(now).then_some(job.payload);
            let Live { attempt, failures, .. } = job;
            self.dead.push(Letter { id, queue, payload, attempt, failures, died: now, end });
        }
    }

    /// An extension that was answered so: whether it may have been.
    pub(super) fn extend(&mut self, lease: &Held, span: u64, renewed: bool) -> bool {
        let Some(at) = self.held(lease) else { return !renewed };
        if !renewed {
            return self.live[at].is_late(self.now);
        }
        let (at, by) = (&mut self.live[at], self.call);
        (at.at, at.set_by) = (self.now + span, by);
        true
    }

    /// Progress that was answered so: whether it may have been.
    pub(super) fn progress(&mut self, lease: &Held, value: u8, stored: bool) -> bool {
        let Some(at) = self.held(lease) else { return !stored };
        if stored {
            self.live[at].progress = Some(value);
        }
        stored || self.live[at].is_late(self.now)
    }

    pub(super) fn abort(&mut self, id: u8, queue: u8) -> bool {
        let (now, call) = (self.now, self.call);
        let Some(job) = self.live.iter_mut().find(|job| (job.id, job.queue) == (id, queue)) else { return false };
        job.aborted = true;
        job.left_until = 0;
        if job.lease.is_none() && job.at > now {
            (job.at, job.set_by) = (now, call);
        }
        true
    }

    pub(super) fn make_due(&mut self, id: u8, queue: u8) -> bool {
        let (now, call) = (self.now, self.call);
        let is_it = |job: &&mut Live| (job.id, job.queue) == (id, queue) && job.state(now) == JobState::Deferred;
        let Some(job) = self.live.iter_mut().find(is_it) else { return false };
        (job.at, job.set_by) = (now, call);
        true
    }

    pub(super) fn set_paused(&mut self, queue: u8, paused: bool) -> bool {
        if self.paused_since(queue).is_some() == paused {
            return false;
        }
        self.paused.retain(|(of, _)| *of != queue);
        self.paused.extend(paused.then_some((queue, self.now)));
        true
    }

    pub(super) fn paused_since(&self, queue: u8) -> Option<u64> {
        self.paused.iter().find(|(of, _)| *of == queue).map(|(_, since)| *since)
    }

    pub(super) fn retry_dead(&mut self, id: u8, queue: u8) -> bool {
        let Some(at) = self.letter(id, queue) else { return false };
        let Some(payload) = self.dead[at].payload.filter(|_| !self.is_live(id)) else { return false };
        self.dead.remove(at);
        self.free(id);
        self.add(queue, &Job { id, delay: 0, expires: None, replace: true }, payload);
        true
    }

    pub(super) fn discard_dead(&mut self, id: u8, queue: u8) -> bool {
        let found = self.letter(id, queue);
        found.is_some_and(|at| self.dead.remove(at).id == id)
    }

    pub(super) fn letter(&self, id: u8, queue: u8) -> Option<usize> {
        self.dead.iter().position(|letter| (letter.id, letter.queue) == (id, queue))
    }
}

impl Live {
    pub(super) fn start(&mut self, token: LeaseToken, now: u64, lease: u64, call: u64) {
        if self.lease.is_some() {
            self.fail((FailureKind::LeaseLost, self.attempt));
            self.is_known(); // whoever lost it had started it
            self.expires_at = None;
        }
        self.expired |= self.expires_at.is_some_and(|at| at <= now);
        self.lease = Some(token);
        (self.due, self.due_by) = (self.at, self.set_by);
        (self.at, self.set_by) = (now + lease, call);
        self.attempt += 1;
        self.delivery += 1;
    }

    fn fail(&mut self, failure: Failed) {
        self.failures.push(failure);
        if self.failures.len() > MAX_FAILURES {
            self.failures.remove(0);
        }
    }

    fn is_known(&mut self) {
        self.unknown_since = None;
        self.left_until = 0;
    }

    /// From when on, and which call has set that.
    fn wait_again(&mut self, now: u64, call: u64, due: (u64, u64)) {
        self.lease = None;
        self.left_until = 0;
        (self.at, self.set_by) = if self.aborted { (now, call) } else { due };
    }

    pub(super) fn state(&self, now: u64) -> JobState {
        match self.lease {
            _ if self.at <= now => JobState::Queued,
            Some(_) => JobState::InProgress,
            None => JobState::Deferred,
        }
    }

    /// Whether there is still something to run: an expired job has nothing.
    pub(super) fn has_payload(&self, now: u64) -> bool {
        !self.expired && (self.lease.is_some() || self.expires_at.is_none_or(|at| at > now))
    }

    /// Whether its lease ended so long ago that a broker may have forgotten the holder.
    pub(super) fn is_late(&self, now: u64) -> bool {
        self.lease.is_some() && self.at + AFTERLIFE <= now
    }
}
