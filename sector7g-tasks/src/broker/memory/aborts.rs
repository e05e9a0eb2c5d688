use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use tokio::sync::futures::OwnedNotified;

use super::slab::Slot;
use super::state::State;
use super::waits::Bells;
use crate::broker::{AbortMark, Aborts, JobId, MAX_BATCH, QueueName};
use crate::clock::Timestamp;

/// Abort requests that stand, and whether some are new.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) aborts: Aborts,
    pub(super) any_new: bool,
}

impl State {
    pub(super) fn abort(&mut self, name: &QueueName, id: &JobId, now: Timestamp, bells: &mut Bells) -> bool {
        let Some(queue) = self.queue_slot(name) else { return false };
        let Some(slot) = self.jobs.find(queue, self.key(id)) else { return false };
        self.abort_mark += 1;
        let aborts = &mut self.queues[queue].aborts;
        if let Some(earlier) = self.jobs[slot].ask_to_abort(self.abort_mark) {
            aborts.remove(&earlier);
        }
        aborts.insert(self.abort_mark, slot);
        bells.ring_all(Arc::clone(&self.abort_bell));
        let job = &self.jobs[slot];
        if job.token.is_none() && job.place.due > now {
            self.move_to(slot, now);
            self.announce(queue, now, bells);
        }
        true
    }

    /// Ends at the next abort request that comes after this call.
    pub(super) fn next_abort(&self) -> OwnedNotified {
        Arc::clone(&self.abort_bell).notified_owned()
    }

    /// The requests after `since`, oldest first; then, as far as there is room, earlier ones that stand.
    pub(super) fn aborts(&self, names: &[QueueName], since: AbortMark) -> Standing {
        let queues = || names.iter().filter_map(|name| self.queue_slot(name)).map(|slot| &self.queues[slot].aborts);
        let mut found: Vec<_> = queues().flat_map(|aborts| after(aborts, since).take(MAX_BATCH)).collect();
        found.sort_unstable();
        let mark = match found.get(MAX_BATCH - 1) {
            Some((last, _)) => *last, // there may be more: the next call goes on from here
            None => self.abort_mark,
        };
        found.truncate(MAX_BATCH);
        let any_new = !found.is_empty();
        let room = MAX_BATCH - found.len();
        found.extend(queues().flat_map(|aborts| until(aborts, since)).take(room));
        let ids = found.iter().map(|(_, slot)| self.jobs[*slot].id.clone()).collect();
        Standing { aborts: Aborts { ids, mark: AbortMark(mark) }, any_new }
    }
}

fn after(aborts: &BTreeMap<u64, Slot>, since: AbortMark) -> impl Iterator<Item = (u64, Slot)> {
    aborts.range((Bound::Excluded(since.0), Bound::Unbounded)).map(|(mark, slot)| (*mark, *slot))
}

fn until(aborts: &BTreeMap<u64, Slot>, since: AbortMark) -> impl Iterator<Item = (u64, Slot)> {
    aborts.range(..=since.0).rev().map(|(mark, slot)| (*mark, *slot))
}
