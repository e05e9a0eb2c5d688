use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::dead::DeadLetters;
use super::line::Line;
use super::slab::Slot;
use super::waits::WaitId;
use crate::broker::{LeaseToken, QueueName};
use crate::clock::Timestamp;
use crate::hash::Map;

/// For how long an applied finish is known when it is reported again.
const APPLIED_FOR: Duration = Duration::from_mins(1);

/// For how long a call is known when it comes again, at least: a job whose lease has run out meanwhile is still its
/// worker's as long as nobody else has claimed it.
const CALL_FOR: Duration = Duration::from_mins(1);

/// How many applied finishes a queue knows at most.
const MAX_APPLIED: usize = 4_096;

/// All that the broker keeps of one queue.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) name: QueueName,
    pub(super) line: Line,
    pub(super) dead: DeadLetters,
    /// The waits under way, the longest first: that one keeps the time for all.
    pub(super) waiting: BTreeSet<WaitId>,
    /// The jobs of this queue that were asked to be aborted, by mark.
    pub(super) aborts: BTreeMap<u64, Slot>,
    /// Since when it gives no jobs.
    pub(super) paused_since: Option<Timestamp>,
    applied: VecDeque<Applied>,
    calls: Map<u64, Call>,
}

/// A finish that took effect, in case its answer was lost and it comes again.
#[derive(Clone, Copy, Debug)]
struct Applied {
    token: LeaseToken,
    /// Of the job's id. A call leases at most `MAX_BATCH` jobs, so that 64 bits of a seeded hash tell them apart as well
    /// as the ids would, which then are freed while they are still in the processor's caches.
    hash: u64,
    at: Timestamp,
}

/// A worker's last call, in case its answer was lost and it comes again.
#[derive(Debug)]
struct Call {
    number: u64,
    slots: Vec<Slot>,
    /// When it is forgotten.
    until: Timestamp,
}

impl Queue {
    pub(super) fn new(name: QueueName) -> Self {
        Self {
            name,
            line: Line::default(),
            dead: DeadLetters::default(),
            waiting: BTreeSet::new(),
            aborts: BTreeMap::new(),
            paused_since: None,
            applied: VecDeque::new(),
            calls: Map::default(),
        }
    }

    /// Whether there is nothing in it that anybody could ask for.
    pub(super) fn is_idle(&self) -> bool {
        self.is_unlisted() && self.waiting.is_empty() && self.applied.is_empty() && self.calls.is_empty()
    }

    /// Whether it holds neither jobs nor dead letters, and is not paused.
    pub(super) fn is_unlisted(&self) -> bool {
        self.line.is_empty() && self.dead.is_empty() && self.paused_since.is_none()
    }

    /// Whether there is something to claim.
    pub(super) fn has_due(&self, now: Timestamp) -> bool {
        self.paused_since.is_none() && self.line.has_due(now)
    }

    /// When there will next be something to claim that is not due yet.
    pub(super) fn next_after(&self, now: Timestamp) -> Option<Timestamp> {
        if self.paused_since.is_some() { None } else { self.line.next_after(now) }
    }

    pub(super) fn note_applied(&mut self, token: LeaseToken, hash: u64, now: Timestamp) {
        if self.applied.len() >= MAX_APPLIED {
            self.applied.pop_front();
        }
        self.applied.push_back(Applied { token, hash, at: now });
    }

    /// Whether such a finish took effect a while ago. Asked for stale ones only, so a scan does.
    pub(super) fn was_applied(&self, token: LeaseToken, hash: u64) -> bool {
        self.applied.iter().rev().any(|applied| applied.token == token && applied.hash == hash)
    }

    pub(super) fn note_call(&mut self, token: LeaseToken, slots: Vec<Slot>, lease: Duration, now: Timestamp) {
        self.calls.insert(
            token.worker,
            Call { number: token.call, slots, until: now + CALL_FOR.max(lease.saturating_mul(2)) },
        );
    }

    /// Whether a later call of its worker has come.
    pub(super) fn is_overtaken(&self, token: LeaseToken) -> bool {
        self.calls.get(&token.worker).is_some_and(|call| call.number > token.call)
    }

    /// The jobs that a call leased, if it was its worker's last one, and has come again.
    pub(super) fn leased_by(&mut self, token: LeaseToken, lease: Duration, now: Timestamp) -> Option<Vec<Slot>> {
        let call = self.calls.get_mut(&token.worker).filter(|call| call.number == token.call)?;
        call.until = now + CALL_FOR.max(lease.saturating_mul(2));
        Some(call.slots.clone())
    }

    /// Forgets what is too old to be repeated.
    pub(super) fn forget(&mut self, now: Timestamp, dead_until: Timestamp) {
        let limit = now - APPLIED_FOR;
        let old = self.applied.partition_point(|applied| applied.at <= limit);
        self.applied.drain(..old);
        self.calls.retain(|_, call| call.until > now);
        self.dead.drop_until(dead_until);
        if self.applied.is_empty() {
            self.applied.shrink_to(0);
        }
    }
}
