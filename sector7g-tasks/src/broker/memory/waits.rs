use std::sync::Arc;

use tokio::sync::Notify;

use super::queue::Queue;
use super::slab::Slot;
use super::state::State;
use crate::broker::QueueName;
use crate::clock::Timestamp;
use crate::hash::Map;

/// Numbers a wait; later ones are greater.
pub(super) type WaitId = u64;

/// The waits under way on all queues.
///
/// Of the waits on one queue the longest keeps the time: it alone sleeps until the queue's next
/// entry is due. Work that is due at once wakes one wait, and one only. What became due is
/// looked after by the wait that was woken for it: it returns, and its caller claims (a claim that
/// leaves something due wakes the next), or it is dropped, and wakes the next by that. So no
/// wake-up is lost, and a hundred idle workers do not rise for one job.
#[derive(Debug, Default)]
pub(super) struct Waits {
    by_id: Map<WaitId, Wait>,
    next: WaitId,
}

#[derive(Debug)]
struct Wait {
    queues: Arc<[QueueName]>,
    bell: Arc<Notify>,
    /// When it must look again: the next entry of the queues whose time it keeps.
    look_at: Option<Timestamp>,
    /// Set when it was chosen to return.
    woken: bool,
}

/// What a wait does next.
#[derive(Debug)]
pub(super) enum Next {
    /// It is over.
    Return,
    /// It sleeps until its bell rings, or until then.
    Sleep(Option<Timestamp>),
}

impl Waits {
    #[cfg(all(test, feature = "testing"))]
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }
}

impl State {
    /// Begins a wait, unless a job is due already. Its bell rings when it has to look again.
    pub(super) fn begin_wait(&mut self, names: &[QueueName], now: Timestamp) -> Option<(WaitId, Arc<Notify>)> {
        let is_due = |name| self.queue_slot(name).is_some_and(|slot| self.queues[slot].has_due(now));
        if names.iter().any(is_due) {
            return None;
        }
        let id = self.waits.next;
        self.waits.next += 1;
        for name in names {
            let slot = self.queue_slot_or_new(name);
            self.queues[slot].waiting.insert(id);
        }
        let bell = Arc::new(Notify::new());
        let look_at = self.next_look(id, names, now);
        self.waits.by_id.insert(id, Wait { queues: names.into(), bell: Arc::clone(&bell), look_at, woken: false });
        Some((id, bell))
    }

    /// What the wait does next; it is forgotten when it returns.
    pub(super) fn look(&mut self, id: WaitId, now: Timestamp, bells: &mut Bells) -> Next {
        let Some(wait) = self.waits.by_id.get(&id) else { return Next::Return };
        if wait.woken {
            self.waits.by_id.remove(&id);
            return Next::Return;
        }
        let names = Arc::clone(&wait.queues);
        let it_is_time = wait.look_at.is_some_and(|at| at <= now);
        if it_is_time && self.kept_by(id, &names).any(|queue| queue.has_due(now)) {
            self.leave(id, now, bells);
            return Next::Return;
        }
        let look_at = self.next_look(id, &names, now);
        if let Some(wait) = self.waits.by_id.get_mut(&id) {
            wait.look_at = look_at;
        }
        Next::Sleep(look_at)
    }

    /// Ends a wait that did not return for a due job, and passes on what it may have been woken for.
    pub(super) fn end_wait(&mut self, id: WaitId, now: Timestamp, bells: &mut Bells) {
        let Some(wait) = self.waits.by_id.get(&id) else { return };
        let (names, woken) = (Arc::clone(&wait.queues), wait.woken);
        let kept: Vec<_> = names.iter().filter(|name| woken || self.keeps_time(id, name)).collect();
        self.leave(id, now, bells);
        for name in kept {
            if let Some(slot) = self.queue_slot(name) {
                self.announce(slot, now, bells);
            }
        }
    }

    /// Says that a queue may have due work: one wait on it is woken.
    pub(super) fn announce(&mut self, slot: Slot, now: Timestamp, bells: &mut Bells) {
        let queue = &self.queues[slot];
        let Some(id) = queue.waiting.first().copied().filter(|_| queue.has_due(now)) else { return };
        let Some(wait) = self.waits.by_id.get_mut(&id) else { return };
        wait.woken = true;
        bells.ring_one(&wait.bell);
        let names = Arc::clone(&wait.queues);
        self.take_off(id, &names, now, bells);
    }

    /// Has the wait that keeps a queue's time look no later than at the queue's next entry.
    pub(super) fn keep_time(&mut self, slot: Slot, now: Timestamp, bells: &mut Bells) {
        let queue = &self.queues[slot];
        let Some(wait) = queue.waiting.first().and_then(|id| self.waits.by_id.get_mut(id)) else { return };
        let Some(next) = queue.next_after(now) else { return };
        if wait.look_at.is_none_or(|at| next < at) {
            wait.look_at = Some(next);
            bells.ring_one(&wait.bell);
        }
    }

    fn leave(&mut self, id: WaitId, now: Timestamp, bells: &mut Bells) {
        if let Some(wait) = self.waits.by_id.remove(&id) {
            self.take_off(id, &wait.queues, now, bells);
        }
    }

    /// Takes a wait off its queues; where it kept the time, the next one does.
    fn take_off(&mut self, id: WaitId, names: &[QueueName], now: Timestamp, bells: &mut Bells) {
        for name in names {
            let Some(slot) = self.queue_slot(name) else { continue };
            let kept_time = self.keeps_time(id, name);
            self.queues[slot].waiting.remove(&id);
            if kept_time {
                self.keep_time(slot, now, bells);
            }
            self.drop_if_idle(slot);
        }
    }

    fn keeps_time(&self, id: WaitId, name: &QueueName) -> bool {
        self.queue_slot(name).is_some_and(|slot| self.queues[slot].waiting.first() == Some(&id))
    }

    fn kept_by(&self, id: WaitId, names: &[QueueName]) -> impl Iterator<Item = &Queue> {
        let slots = names.iter().filter(move |name| self.keeps_time(id, name)).filter_map(|name| self.queue_slot(name));
        slots.map(|slot| &self.queues[slot])
    }

    fn next_look(&self, id: WaitId, names: &[QueueName], now: Timestamp) -> Option<Timestamp> {
        self.kept_by(id, names).filter_map(|queue| queue.next_after(now)).min()
    }
}

/// Bells to be rung once the lock is free.
#[derive(Debug, Default)]
pub(super) struct Bells {
    one: Vec<Arc<Notify>>,
    all: Vec<Arc<Notify>>,
}

impl Bells {
    fn ring_one(&mut self, bell: &Arc<Notify>) {
        self.one.push(Arc::clone(bell));
    }

    /// Rings for everybody who listens by then.
    pub(super) fn ring_all(&mut self, bell: Arc<Notify>) {
        self.all.push(bell);
    }

    pub(super) fn ring(self) {
        self.one.iter().for_each(|bell| bell.notify_one());
        self.all.iter().for_each(|bell| bell.notify_waiters());
    }
}
