use std::collections::BTreeSet;

use super::contract::{Failed, Live};
use super::driver::{Driver, number_of, same};
use super::pace::TICK;
use super::steps::{IDS, QUEUES};
use super::{Ground, Stop};
use crate::broker::{AbortMark, JobFilter, JobRecord, JobState, ResultState};

/// What is shown of a job.
#[derive(Debug, PartialEq)]
struct Shown {
    id: u8,
    state: JobState,
    payload: Option<u64>,
    result: Option<u64>,
    /// Attempts and due time are not kept of each job that has ended well.
    attempt: Option<u32>,
    due: Option<u64>,
    failures: Vec<Failed>,
    progress: Option<u8>,
    aborted: bool,
}

impl<G: Ground> Driver<'_, G> {
    /// What each side says of every job and every queue.
    pub(super) async fn look_at_all(&self) -> Result<(), Stop> {
        for queue in 0..QUEUES {
            self.look_at_page(queue, JobFilter::Live).await?;
            self.look_at_page(queue, JobFilter::Running).await?;
            self.look_at_page(queue, JobFilter::Dead).await?;
            self.look_at_stats(queue).await?;
            self.look_at_aborts(queue).await?;
        }
        for id in 0..IDS {
            self.look_at_job(id).await?;
        }
        Ok(())
    }

    fn shown(&self, record: &JobRecord) -> Shown {
        let is_complete = record.state == JobState::Complete;
        Shown {
            id: self.number_of_id(&record.id),
            state: record.state,
            payload: record.payload.as_ref().map(number_of),
            result: record.result.as_ref().map(number_of),
            attempt: (!is_complete).then_some(record.attempt),
            due: (!is_complete).then(|| self.tick_of(record.due_at).unwrap_or(u64::MAX)),
            failures: record.failures.iter().map(|failure| (failure.kind, failure.attempt)).collect(),
            progress: record.progress.as_ref().map(|progress| progress.first().copied().unwrap_or_default()),
            aborted: record.abort_requested,
        }
    }

    fn live(&self, job: &Live) -> Shown {
        let state = job.state(self.model.now);
        Shown {
            id: job.id,
            state,
            payload: job.has_payload(self.model.now).then_some(job.payload),
            result: None,
            attempt: Some(job.attempt),
            due: Some(if state == JobState::InProgress { job.due } else { job.at }),
            failures: job.failures.clone(),
            progress: job.progress,
            aborted: job.aborted,
        }
    }

    fn ended(&self, id: u8, queue: u8) -> Option<Shown> {
        let kept = self.model.results.iter().find(|kept| (kept.id, kept.queue) == (id, queue));
        let dead = self.model.letter(id, queue).map(|at| &self.model.dead[at]);
        let result = kept.map(|kept| kept.record);
        let shown = Shown {
            id,
            state: JobState::Complete,
            payload: None,
            result,
            attempt: None,
            due: None,
            failures: kept.map(|kept| kept.failures.clone()).unwrap_or_default(),
            progress: None,
            aborted: false,
        };
        match (dead, kept) {
            // Of two ends the newer is shown.
            (Some(dead), kept) if kept.is_none_or(|kept| kept.end <= dead.end) => Some(self.dead(id, queue)?),
            (_, Some(_)) => Some(shown),
            (_, None) => None,
        }
    }

    fn dead(&self, id: u8, queue: u8) -> Option<Shown> {
        let letter = &self.model.dead[self.model.letter(id, queue)?];
        // The result of its id may be that of a later job.
        let kept = self.model.results.iter().find(|kept| (kept.id, kept.end) == (id, letter.end));
        Some(Shown {
            id,
            state: JobState::Dead,
            payload: letter.payload,
            result: kept.map(|kept| kept.record),
            attempt: Some(letter.attempt),
            due: Some(letter.died),
            failures: letter.failures.clone(),
            progress: None,
            aborted: false,
        })
    }

    async fn look_at_job(&self, id: u8) -> Result<(), Stop> {
        for queue in 0..QUEUES {
            // A result can be found by its id alone; whether it is, in a queue that was not its job's, is open.
            if self.model.results.iter().any(|kept| kept.id == id && kept.queue != queue) {
                continue;
            }
            let job = self.model.live.iter().find(|job| (job.id, job.queue) == (id, queue));
            let found = self.broker.job(self.queue(queue), self.id(id)).await;
            let found = self.answer(found)?.map(|record| self.shown(&record));
            let allowed = job.map(|job| self.live(job)).or_else(|| self.ended(id, queue));
            same(&format!("job {id} in queue {queue}"), &found, &allowed)?;
            let found = self.broker.result(self.queue(queue), self.id(id), Self::ZERO).await;
            let kept = self.model.results.iter().find(|kept| (kept.id, kept.queue) == (id, queue));
            let allowed = match (job, kept) {
                (Some(_), _) => ResultState::Pending,
                (None, Some(kept)) => ResultState::Ready(super::driver::numbered("result", kept.record)),
                (None, None) => ResultState::NotFound,
            };
            same(&format!("the result of job {id} in queue {queue}"), &self.answer(found)?, &allowed)?;
        }
        Ok(())
    }

    async fn look_at_page(&self, queue: u8, filter: JobFilter) -> Result<(), Stop> {
        let page = self.broker.jobs(self.queue(queue), filter, None, 100).await;
        let page = self.answer(page)?;
        let mut found: Vec<Shown> = page.jobs.iter().map(|record| self.shown(record)).collect();
        let mut allowed: Vec<Shown> = match filter {
            JobFilter::Live | JobFilter::Running => {
                let is_wanted = |job: &&Live| {
                    let is_running = job.state(self.model.now) == JobState::InProgress;
                    job.queue == queue && (is_running || filter == JobFilter::Live)
                };
                self.model.live.iter().filter(is_wanted).map(|job| self.live(job)).collect()
            }
            JobFilter::Dead => (0..IDS).filter_map(|id| self.dead(id, queue)).collect(),
        };
        let place = |id: u8| found.iter().position(|shown| shown.id == id);
        for job in &self.model.live {
            for other in &self.model.live {
                if filter == JobFilter::Live && self.model.is_before(job, other) && place(job.id) > place(other.id) {
                    let both_shown = place(job.id).is_some() && place(other.id).is_some();
                    same(&format!("the order of {} and {} on a page", job.id, other.id), &both_shown, &false)?;
                }
            }
        }
        if filter == JobFilter::Dead {
            let is_sorted = found.windows(2).all(|pair| pair[0].due >= pair[1].due);
            same("the newest letters come first", &is_sorted, &true)?;
        }
        found.sort_by_key(|shown| shown.id);
        allowed.sort_by_key(|shown| shown.id);
        same(&format!("the page of queue {queue}, {filter:?}"), &found, &allowed)
    }

    async fn look_at_stats(&self, queue: u8) -> Result<(), Stop> {
        let stats = self.broker.stats(self.queue(queue)).await;
        let stats = self.answer(stats)?;
        let jobs = self.model.live.iter().filter(|job| job.queue == queue);
        let found_in: Vec<JobState> = jobs.map(|job| job.state(self.model.now)).collect();
        let count = |wanted| found_in.iter().filter(|state| **state == wanted).count() as u64;
        let dead = self.model.dead.iter().filter(|letter| letter.queue == queue).count() as u64;
        let allowed = [count(JobState::Queued), count(JobState::Deferred), count(JobState::InProgress), dead];
        let found = [stats.queued, stats.deferred, stats.running, stats.dead];
        same(&format!("queued, deferred, running and dead in queue {queue}"), &found, &allowed)?;
        let paused = stats.paused_since.map(|since| self.tick_of(since).unwrap_or(u64::MAX));
        same(&format!("since when queue {queue} is paused"), &paused, &self.model.paused_since(queue))?;
        let (certain, oldest) = self.model.oldest_due(queue);
        let is_near = |at: u64| {
            let waited = TICK * u32::try_from(self.model.now - at).unwrap_or(u32::MAX);
            stats.oldest_due.is_some_and(|found| found.abs_diff(waited) < TICK)
        };
        let may_be =
            certain.is_none() && stats.oldest_due.is_none() || [certain, oldest].into_iter().flatten().any(is_near);
        same(&format!("{:?} waited in queue {queue}, as may be", stats.oldest_due), &may_be, &true)
    }

    async fn look_at_aborts(&self, queue: u8) -> Result<(), Stop> {
        let queues = [self.queue(queue).clone()];
        let found = self.broker.aborts(&queues, AbortMark::default(), Self::ZERO, Self::ZERO).await;
        let mut found: BTreeSet<u8> = self.answer(found)?.ids.iter().map(|id| self.number_of_id(id)).collect();
        let jobs = self.model.live.iter().filter(|job| job.queue == queue && job.aborted);
        let mut allowed: BTreeSet<u8> = jobs.clone().map(|job| job.id).collect();
        // Of one that has expired the claim tells; it can't run.
        for job in jobs.filter(|job| !job.has_payload(self.model.now)) {
            found.remove(&job.id);
            allowed.remove(&job.id);
        }
        same(&format!("the aborts of queue {queue}"), &found, &allowed)
    }
}
