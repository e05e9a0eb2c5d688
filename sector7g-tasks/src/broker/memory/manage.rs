use super::state::State;
use super::waits::Bells;
use crate::broker::{JobId, QueueName};
use crate::clock::Timestamp;

/// What operators change.
impl State {
    pub(super) fn make_due(&mut self, name: &QueueName, id: &JobId, now: Timestamp, bells: &mut Bells) -> bool {
        let Some(queue) = self.queue_slot(name) else { return false };
        let Some(slot) = self.jobs.find(queue, self.key(id)) else { return false };
        let job = &self.jobs[slot];
        if job.token.is_some() || job.place.due <= now {
            return false;
        }
        self.move_to(slot, now);
        self.announce(queue, now, bells);
        true
    }

    pub(super) fn set_paused(&mut self, name: &QueueName, paused: bool, now: Timestamp, bells: &mut Bells) -> bool {
        if !paused && self.queue_slot(name).is_none() {
            return false;
        }
        let slot = self.queue_slot_or_new(name);
        if self.queues[slot].paused_since.is_some() == paused {
            return false;
        }
        self.queues[slot].paused_since = paused.then_some(now);
        if !paused {
            self.announce(slot, now, bells);
            self.keep_time(slot, now, bells);
            self.drop_if_idle(slot);
        }
        true
    }
}
