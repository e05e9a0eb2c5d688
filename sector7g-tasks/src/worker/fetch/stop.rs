//! How the loop stops: grace, then none, and a last report.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::Fetch;
use super::calls::Line;
use crate::broker::{Finish, GiveBack, Outcome};
use crate::worker::control::Cancel;
use crate::worker::execute::{Ended, HOOK_TIMEOUT};
use crate::worker::log;
use crate::worker::meters::NotStored;
use crate::worker::settings::{JobEnd, JobEndKind};

/// How long a stopping worker goes on trying to report what has ended.
const LAST_REPORT: Duration = Duration::from_secs(5);

/// How long a stopping worker waits for the hooks of its last jobs.
const LAST_HOOKS: Duration = Duration::from_secs(2);

/// How long a cancelled job may take to leave the thread that it blocks, before a stop goes on without it.
const LAST_POLL: Duration = Duration::from_secs(2);

/// What a worker's stop takes beyond `job_completion_wait` at the longest; `on_shutdown` comes last.
pub(crate) const LONGEST_END: Duration =
    LAST_POLL.saturating_add(LAST_REPORT).saturating_add(LAST_HOOKS).saturating_add(HOOK_TIMEOUT);

impl Fetch {
    /// Ends what runs: with grace, then without; reports all of it.
    pub(in crate::worker) async fn drain(&mut self) {
        let until = Instant::now() + self.engine.settings.job_completion_wait;
        let forced = self.stop.forced.clone();
        loop {
            self.give_back_ready();
            self.send_endings();
            if self.jobs.is_empty() && self.calls.is_empty() {
                break;
            }
            let again = self.next_try();
            tokio::select! {
                biased;
                () = forced.cancelled() => break, // cancel safe: stays cancelled
                () = sleep_until(until) => break, // cancel safe: only waits
                Some(ended) = self.jobs.next() => self.take(ended), // cancel safe: takes only what it returns
                Some(answer) = self.calls.next() => self.answered(answer), // cancel safe: takes only what it returns, the calls stay
                () = sleep_until(again.unwrap_or(until)), if again.is_some() => {} // cancel safe: only waits
            }
            self.collect();
        }
        self.cut_short().await;
        self.report_all().await;
    }

    /// Cancels what is left; each comes back as given back, due at once, its attempt uncounted.
    async fn cut_short(&mut self) {
        self.engine.cut.cancel();
        self.engine.running.cancel_all(Cancel::Stop);
        let until = Instant::now() + LAST_POLL;
        while let Ok(Some(ended)) = timeout_at(until, self.jobs.next()).await {
            self.take(ended);
            self.collect();
            let _ = timeout_at(until, self.report_now()).await; // what is left then, `report_all` takes
        }
        if !self.jobs.is_empty() {
            // Given back now, they would run twice at once; their leases run out when this process has ended.
            let why = "cut off: it ignores its cancellation, and starts again elsewhere when its lease ends";
            self.engine.running.for_each(|held| log::broken(&self.engine, held, why));
            self.jobs.abort_all();
        }
    }

    /// Reports what has ended, until all is told but what is to be tried again later.
    ///
    /// Cancel safe: the calls stay.
    async fn report_now(&mut self) {
        self.give_back_ready();
        self.send_endings();
        while !self.calls.is_empty() {
            let again = self.next_try();
            tokio::select! {
                biased;
                Some(answer) = self.calls.next() => self.answered(answer), // cancel safe: takes only what it returns, the calls stay
                // One that does not answer holds up none that can be tried again.
                () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {} // cancel safe: only waits
            }
            self.give_back_ready();
            self.send_endings();
        }
    }

    /// Sends what has ended, and lost calls again; asks for no jobs.
    fn send_endings(&mut self) {
        let now = Instant::now();
        self.repeat_lost(now);
        for queue in 0..self.lines.len() {
            if self.lines[queue].has_word(now, self.enough) {
                self.send(queue, 0);
            }
        }
    }

    /// When a call that has failed is to be tried again.
    fn next_try(&self) -> Option<Instant> {
        self.lines.iter().filter_map(Line::next_try).min()
    }

    /// Jobs that were claimed as the stop came, or by a lost call.
    fn give_back_ready(&mut self) {
        for (key, held) in std::mem::take(&mut self.ready) {
            let outcome = Outcome::GiveBack { delay: Duration::ZERO, why: GiveBack::Stop };
            let end = JobEnd::new(JobEndKind::GivenBack(Duration::ZERO), None, Duration::ZERO);
            self.engine.running.tally.given_back.fetch_add(1, Ordering::Relaxed);
            self.engine.meters.ended_without_run(held.queue, None, &end); // its payload is not read any more
            let finish = Finish { lease: held.job.lease.clone(), outcome };
            self.push(Ended { key, queue: held.queue, finish: Some(finish), after: None, thread: None });
        }
    }

    async fn report_all(&mut self) {
        let reporting = async {
            loop {
                self.report_now().await;
                match self.next_try() {
                    Some(again) => sleep_until(again).await,
                    None => return,
                }
            }
        };
        if timeout(LAST_REPORT, reporting).await.is_err() {
            for (index, line) in self.lines.iter().enumerate() {
                self.engine.meters.not_stored(index, NotStored::Unreported, line.untold().count());
                for held in line.untold().filter_map(|key| self.engine.running.get(key)) {
                    log::broken(
                        &self.engine,
                        &held,
                        "the broker took no report of its end; it runs again when its lease ends",
                    );
                }
            }
        }
        // The hooks of the last jobs.
        let hooks = async { while self.jobs.next().await.is_some() {} };
        let _ = timeout(LAST_HOOKS, hooks).await; // guard_hook says so if one hangs
    }
}
