use std::collections::BTreeSet;

use super::super::state::State;
use crate::clock::Timestamp;

impl State {
    /// Checks that every job is in one place and that all indices say the same.
    pub(super) fn audit(&mut self, now: Timestamp) {
        self.audit_lines(now);
        self.audit_results();
        for (slot, queue) in self.queues.iter() {
            assert_eq!(self.queue_slot(&queue.name), Some(slot), "a queue is found by its name");
            assert!(!queue.is_idle(), "idle queues are dropped");
        }
        let waiting: BTreeSet<_> = self.queues.iter().flat_map(|(_, queue)| queue.waiting.iter()).collect();
        assert!(waiting.len() <= self.waits.len(), "who waits on a queue is known");
    }

    fn audit_lines(&mut self, now: Timestamp) {
        let queues: Vec<_> = self.queues.iter().map(|(slot, _)| slot).collect();
        let (mut in_lines, mut aborts) = (BTreeSet::new(), 0);
        for queue in queues {
            let mut expected = [0; 3];
            for (place, slot) in self.queues[queue].line.after(None) {
                let job = &self.jobs[slot];
                assert_eq!((job.queue, job.place), (queue, place), "{} knows its place", job.id);
                assert_eq!(self.jobs.find(queue, self.key(&job.id)), Some(slot), "{} is found by its id", job.id);
                assert!(in_lines.insert(slot), "{} is in one line, once", job.id);
                expected[if place.due <= now { 0 } else { 1 + usize::from(job.token.is_some()) }] += 1;
            }
            let queue = &mut self.queues[queue];
            let counts = queue.line.counts(now);
            assert_eq!([counts.queued, counts.deferred, counts.running], expected, "counts in {}", queue.name);
            for (mark, slot) in &queue.aborts {
                assert_eq!(self.jobs[*slot].abort(), Some(*mark), "an abort request stands for a living job");
            }
            aborts += queue.aborts.len();
        }
        let all: BTreeSet<_> = self.jobs.iter().map(|(slot, _)| slot).collect();
        assert_eq!(in_lines, all, "every living job is in a line");
        assert_eq!(aborts, self.jobs.iter().filter(|(_, job)| job.abort().is_some()).count());
    }

    fn audit_results(&self) {
        let (by_id, by_end, by_expiry) = self.results.lens();
        let is_right = (by_id..=2 * by_id).contains(&by_end) && by_expiry <= by_id;
        assert!(is_right, "results: {by_id}, {by_end}, {by_expiry}");
        let (by_id, by_end) = self.holds.lens();
        assert_eq!(by_id, by_end, "holds");
    }

    /// Checks that nothing is kept any more.
    pub(super) fn audit_empty(&self) {
        assert_eq!(self.jobs.len(), 0, "jobs");
        assert_eq!(self.queues.len(), 0, "queues");
        assert_eq!(self.results.lens(), (0, 0, 0), "results");
        assert_eq!(self.holds.lens(), (0, 0), "held ids");
        assert_eq!(self.requests.len(), 0, "answered requests");
        assert_eq!(self.health.len(), 0, "health entries");
        assert_eq!(self.waits.len(), 0, "waits");
    }
}
