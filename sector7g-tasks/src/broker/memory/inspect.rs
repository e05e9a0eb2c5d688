use std::collections::BTreeSet;

use super::jobs::Job;
use super::line::Place;
use super::results::Stored;
use super::state::State;
use crate::broker::{JobFilter, JobId, JobRecord, Page, PageMark, QueueName, QueueStats, WorkerHealth};
use crate::clock::Timestamp;

/// Reading: what changes here is only what had become too old anyway.
impl State {
    pub(super) fn job(&mut self, name: &QueueName, id: &JobId, now: Timestamp) -> Option<JobRecord> {
        let queue = self.with_fresh_dead(name, now);
        if let Some(slot) = queue.and_then(|queue| self.jobs.find(queue, self.key(id))) {
            return Some(self.jobs[slot].record(now));
        }
        let stored = self.results.of(name, self.key(id), now);
        let dead = queue.and_then(|queue| self.queues[queue].dead.get(id));
        match (dead, stored) {
            // A later job of the same id may have ended well: the newer end counts.
            (Some((died, letter)), stored) if stored.is_none_or(|stored| stored.end <= died.seq) => {
                Some(letter.record(died, stored))
            }
            (_, stored) => stored.map(Stored::record),
        }
    }

    pub(super) fn page(
        &mut self,
        name: &QueueName,
        filter: JobFilter,
        after: Option<Place>,
        limit: usize,
        now: Timestamp,
    ) -> Page {
        let Some(slot) = self.with_fresh_dead(name, now) else { return Page::default() };
        let queue = &self.queues[slot];
        match filter {
            JobFilter::Live => {
                let jobs = queue.line.after(after).map(|(place, slot)| (place, &self.jobs[slot]));
                page(jobs, limit, |_, job: &Job| job.record(now))
            }
            JobFilter::Running => {
                let lost = Place { due: now, seq: u64::MAX };
                let jobs = queue.line.leased_after(after.map_or(lost, |mark| mark.max(lost)));
                page(jobs.map(|(place, slot)| (place, &self.jobs[slot])), limit, |_, job: &Job| job.record(now))
            }
            JobFilter::Dead => {
                let stored = |id| self.results.of(name, self.key(id), now);
                page(queue.dead.after(after), limit, |died, letter| letter.record(died, stored(&letter.id)))
            }
        }
    }

    pub(super) fn stats(&mut self, name: &QueueName, now: Timestamp) -> QueueStats {
        let workers = self.workers(name, now);
        let Some(slot) = self.with_fresh_dead(name, now) else {
            return QueueStats { workers, ..QueueStats::default() };
        };
        let queue = &mut self.queues[slot];
        let counts = queue.line.counts(now);
        QueueStats {
            queued: counts.queued as u64,
            deferred: counts.deferred as u64,
            running: counts.running as u64,
            dead: queue.dead.len() as u64,
            oldest_due: queue.line.first().filter(|due| *due <= now).map(|due| now.since(due)),
            paused_since: queue.paused_since,
            workers,
        }
    }

    /// The workers of a queue whose health entry is fresh, by name.
    fn workers(&self, name: &QueueName, now: Timestamp) -> Vec<WorkerHealth> {
        let serves = |health: &WorkerHealth| health.queues.iter().any(|queue| queue == name.as_str());
        let fresh = self.health.values().filter(|entry| entry.until > now && serves(&entry.health));
        let mut workers: Vec<_> = fresh.map(|entry| entry.health.clone()).collect();
        workers.sort_by(|a, b| (&a.name, &a.instance).cmp(&(&b.name, &b.instance)));
        workers
    }

    pub(super) fn queue_names(&mut self, now: Timestamp) -> Vec<QueueName> {
        let dead_until = now - self.limits.dead_letter_age;
        let slots: Vec<_> = self.queues.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.queues[slot].dead.drop_until(dead_until);
        }
        let listed = self.queues.iter().filter(|(_, queue)| !queue.is_unlisted());
        let mut names: BTreeSet<_> = listed.map(|(_, queue)| queue.name.clone()).collect();
        let fresh = self.health.values().filter(|entry| entry.until > now);
        names.extend(fresh.flat_map(|entry| &entry.health.queues).filter_map(|name| QueueName::new(name).ok()));
        names.into_iter().collect()
    }
}

/// Up to `limit` of `found`, and where the next page starts if there are more.
fn page<T>(found: impl Iterator<Item = (Place, T)>, limit: usize, record: impl Fn(Place, T) -> JobRecord) -> Page {
    let mut found = found.peekable();
    let mut page = Page::default();
    while page.jobs.len() < limit
        && let Some((place, value)) = found.next()
    {
        page.jobs.push(record(place, value));
        page.next = found.peek().map(|_| write_mark(place));
    }
    page
}

/// A place as a mark: `<ms>-<sequence>`.
fn write_mark(place: Place) -> PageMark {
    PageMark(format!("{}-{}", place.due.as_millis(), place.seq))
}

/// `None` for what is no mark of ours.
pub(super) fn read_mark(mark: &PageMark) -> Option<Place> {
    let (due, seq) = mark.0.rsplit_once('-')?;
    Some(Place { due: Timestamp::from_millis(due.parse().ok()?), seq: seq.parse().ok()? })
}
