use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::control::{Cancel, Control};
use crate::broker::{ClaimedJob, JobId, Lease};
use crate::clock::Timestamp;
use crate::task::TaskDef;

/// What a worker holds leases for: written by its loop, read by its heartbeat and the watchdog.
///
/// The loop takes the lock once for a batch of claims and once for a batch of finishes.
#[derive(Debug, Default)]
pub(crate) struct Running {
    jobs: Mutex<Jobs>,
    busy: Notify,
    /// Rings when an abort request that is known by its id may be for a job added since.
    doubt: Notify,
    /// Calls on the blocking pool that outlived their job.
    strays: Mutex<Vec<Stray>>,
    /// Counts the watchdog's rounds; a poll notes it when it begins.
    pub(crate) tick: AtomicU32,
    pub(crate) tally: Tally,
}

#[derive(Debug, Default)]
struct Jobs {
    held: HashMap<u64, Arc<Held>, BuildHasherDefault<KeyHasher>>,
    /// Above the keys of all jobs so far: the loop counts them up.
    next_key: u64,
    /// The abort requests of the last answer that are for none of the jobs held when it was asked for.
    aborts: Vec<JobId>,
}

/// For keys that the loop counts up itself: a multiplication spreads them well enough.
#[derive(Default)]
pub(super) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write_u64(&mut self, key: u64) {
        self.0 = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A claimed job, and what may be done to it.
#[derive(Debug)]
pub(crate) struct Held {
    /// The index of its queue among its worker's.
    pub(crate) queue: usize,
    pub(crate) job: ClaimedJob,
    pub(crate) control: Control,
    /// Whether its end was counted.
    pub(crate) is_counted: AtomicBool,
}

impl Held {
    pub(crate) fn new(queue: usize, job: ClaimedJob) -> Self {
        Self { queue, job, control: Control::default(), is_counted: AtomicBool::new(false) }
    }

    pub(crate) fn id(&self) -> &JobId {
        &self.job.lease.id
    }

    /// Its task, once that was looked up.
    pub(crate) fn task(&self) -> Option<&'static TaskDef> {
        self.control.task.get().map(|(task, _)| *task)
    }

    pub(crate) fn attempt(&self) -> u32 {
        self.control.task.get().map_or(self.job.attempt, |(_, attempt)| *attempt)
    }

    /// Whether it was claimed before, perhaps by this very worker.
    fn was_claimed_before(&self) -> bool {
        self.job.delivery > 1
    }
}

#[derive(Debug)]
pub(crate) struct Stray {
    pub(crate) task: &'static str,
    pub(crate) held: Arc<Held>,
    pub(crate) since: u32,
}

/// A worker's counters since its start.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) done: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) retried: AtomicU64,
    pub(crate) given_back: AtomicU64,
    pub(crate) aborted: AtomicU64,
    pub(crate) lease_lost: AtomicU64,
    /// When the broker last answered a claim or a wait, ms since the epoch.
    pub(crate) alive_at: AtomicU64,
    /// The same in ms of this process's own time, see `own_ms`; 0 before that. Clocks of others, and steps of the system's,
    /// have no part in it.
    heard_at: AtomicU64,
    /// Set once a worker in burst mode has found its queues empty: it asks no more.
    pub(crate) is_drained: AtomicBool,
}

/// The time since this was first asked, in ms, from 1.
fn own_ms() -> u64 {
    static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(ORIGIN.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
}

impl Tally {
    pub(crate) fn mark_alive(&self, now: Timestamp) {
        self.alive_at.store(u64::try_from(now.as_millis()).unwrap_or(0), Ordering::Relaxed);
        self.heard_at.store(own_ms(), Ordering::Relaxed);
    }

    /// How long the broker has not been heard; `None` before it was, and nothing once there is no more to ask.
    pub(crate) fn silence(&self) -> Option<Duration> {
        let heard_at = self.heard_at.load(Ordering::Relaxed);
        let silence = Duration::from_millis(own_ms().saturating_sub(heard_at));
        let silence = if self.is_drained.load(Ordering::Relaxed) { Duration::ZERO } else { silence };
        (heard_at > 0).then_some(silence)
    }
}

impl Running {
    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        // No code panics while it holds the lock, and the map stays whole if one ever does.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, batch: impl IntoIterator<Item = (u64, Arc<Held>)>) {
        let mut jobs = self.jobs();
        let was_idle = jobs.held.is_empty();
        let mut is_doubtful = false;
        for (key, held) in batch {
            if held.was_claimed_before() {
                // An earlier run of it here has lost its lease, and has not been told yet.
                let earlier = jobs.held.values().filter(|other| other.id() == held.id());
                earlier.for_each(|other| other.control.cancel(Cancel::LeaseLost));
            }
            is_doubtful |= jobs.aborts.contains(held.id());
            jobs.next_key = jobs.next_key.max(key + 1);
            jobs.held.insert(key, held);
        }
        if is_doubtful {
            self.doubt.notify_one();
        }
        if was_idle && !jobs.held.is_empty() {
            self.busy.notify_waiters();
        }
    }

    /// Waits until something runs.
    pub(crate) async fn busy(&self) {
        loop {
            let busy = self.busy.notified();
            tokio::pin!(busy);
            // Enabled before it looks, so a job that comes in between is not missed; several wait here.
            busy.as_mut().enable();
            if self.len() > 0 {
                return;
            }
            busy.await;
        }
    }

    pub(crate) fn remove(&self, batch: impl IntoIterator<Item = u64>) {
        let mut jobs = self.jobs();
        for key in batch {
            jobs.held.remove(&key);
        }
    }

    pub(crate) fn get(&self, key: u64) -> Option<Arc<Held>> {
        self.jobs().held.get(&key).cloned()
    }

    pub(crate) fn len(&self) -> usize {
        self.jobs().held.len()
    }

    pub(crate) fn leases(&self, queue: usize) -> Vec<Lease> {
        self.jobs().held.values().filter(|held| held.queue == queue).map(|held| held.job.lease.clone()).collect()
    }

    /// Cancels the jobs of these leases.
    pub(crate) fn cancel(&self, leases: &[Lease], why: Cancel) {
        if !leases.is_empty() {
            self.for_each(|held| {
                if leases.contains(&held.job.lease) {
                    held.control.cancel(why);
                }
            });
        }
    }

    /// What the next answer about abort requests can speak of: the jobs with keys below this.
    pub(crate) fn next_key(&self) -> u64 {
        self.jobs().next_key
    }

    /// Cancels the jobs that someone wants aborted. False: ask for all requests again.
    ///
    /// An answer names ids, and an id may have had an earlier job: here, or in another worker,
    /// since all workers of a queue hear of all its requests. So it counts for the jobs with keys below
    /// `asked_at`, held all the time since it was asked for. Whether it is for a job that came
    /// since, or is still on its way here with the answer to a claim, only the next answer can say.
    pub(crate) fn abort(&self, mut ids: Vec<JobId>, asked_at: u64) -> bool {
        let mut jobs = self.jobs();
        let (mut heard, mut is_sure) = (Vec::new(), true);
        for (key, held) in jobs.held.iter().filter(|(_, held)| ids.contains(held.id())) {
            if *key < asked_at {
                held.control.cancel(Cancel::Abort);
                heard.push(held.id().clone());
            } else {
                is_sure = false;
            }
        }
        ids.retain(|id| !heard.contains(id));
        jobs.aborts = ids;
        is_sure
    }

    /// Waits until a job is added that a known abort request may be for.
    pub(crate) async fn doubtful(&self) {
        self.doubt.notified().await; // a permit is kept for who comes late
    }

    pub(crate) fn cancel_all(&self, why: Cancel) {
        self.for_each(|held| held.control.cancel(why));
    }

    pub(crate) fn for_each(&self, mut visit: impl FnMut(&Held)) {
        self.jobs().held.values().for_each(|held| visit(held));
    }

    pub(crate) fn add_stray(&self, task: &'static str, held: Arc<Held>) {
        let since = self.tick.load(Ordering::Relaxed);
        self.strays.lock().unwrap_or_else(PoisonError::into_inner).push(Stray { task, held, since });
    }

    /// Visits the calls that are still at work and forgets those that are not.
    pub(crate) fn strays(&self, mut visit: impl FnMut(&Stray)) {
        let mut strays = self.strays.lock().unwrap_or_else(PoisonError::into_inner);
        strays.retain(|stray| stray.held.control.is_on_pool());
        strays.iter().for_each(&mut visit);
    }
}
