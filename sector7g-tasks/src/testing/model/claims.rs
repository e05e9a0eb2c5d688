use super::contract::{Live, Model};
use crate::broker::LeaseToken;

/// What a claim says of a job.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Claimed {
    pub(super) id: u8,
    pub(super) payload: Option<u64>,
    pub(super) attempt: u32,
    pub(super) delivery: u32,
    /// The tick.
    pub(super) due: Option<u64>,
    pub(super) aborted: bool,
    pub(super) unknown_since: Option<u64>,
}

impl Claimed {
    fn of(job: &Live, now: u64) -> Self {
        Self {
            id: job.id,
            payload: job.has_payload(now).then_some(job.payload),
            attempt: job.attempt,
            delivery: job.delivery,
            due: Some(job.due),
            aborted: job.aborted,
            unknown_since: job.unknown_since,
        }
    }
}

/// A call that leased something, or reported something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claiming {
    pub(super) queue: u8,
    pub(super) max: usize,
    pub(super) lease: u64,
    pub(super) token: LeaseToken,
}

impl Model {
    /// A claim that leased the jobs `ids`, in this order: what is said of them, if it may have been these.
    pub(super) fn claim(&mut self, claiming: Claiming, ids: &[u8]) -> Result<Vec<Claimed>, String> {
        let Claiming { queue, max, lease, token } = claiming;
        let now = self.now;
        let is_paused = self.paused_since(queue).is_some();
        let due: Vec<&Live> = self.due(queue).filter(|_| !is_paused).collect();
        let taken: Vec<&Live> = ids.iter().filter_map(|id| due.iter().find(|job| job.id == *id).copied()).collect();
        let is_taken = |job: &Live| taken.iter().any(|taken| taken.id == job.id);
        if taken.len() < ids.len() || ids.iter().enumerate().any(|(nth, id)| ids[..nth].contains(id)) || ids.len() > max
        {
            return Err(format!("{ids:?} were leased, at most {max} of {due:?} could be"));
        }
        for job in due.iter().filter(|job| !is_taken(job) && job.left_until <= now) {
            let after = taken.iter().find(|taken| self.is_before(job, taken));
            if taken.len() < max || after.is_some() {
                return Err(format!("{ids:?} were leased, and not {job:?}, which comes before {after:?}"));
            }
        }
        for (nth, later) in taken.iter().enumerate() {
            if let Some(earlier) = taken[..nth].iter().find(|earlier| self.is_before(later, earlier)) {
                return Err(format!("{ids:?}: {later:?} comes before {earlier:?}"));
            }
        }
        Ok(ids.iter().filter_map(|id| self.start(*id, token, lease)).collect())
    }

    fn start(&mut self, id: u8, token: LeaseToken, lease: u64) -> Option<Claimed> {
        let (now, call) = (self.now, self.call);
        let job = self.live.iter_mut().find(|job| job.id == id)?;
        job.start(token, now, lease, call);
        Some(Claimed::of(job, now))
    }

    /// The same call again, which had leased `before` and now leased `ids`: what is said of them.
    pub(super) fn claim_again(
        &mut self,
        claiming: Claiming,
        before: &[u8],
        ids: &[u8],
    ) -> Result<Vec<Claimed>, String> {
        let (now, call) = (self.now, self.call);
        let mut claimed = Vec::new();
        for id in before {
            let Some(job) = self.live.iter_mut().find(|job| job.id == *id && job.lease == Some(claiming.token)) else {
                continue;
            };
            if !ids.contains(id) && job.is_late(now) {
                continue;
            }
            (job.at, job.set_by) = (now + claiming.lease, call);
            claimed.push(Claimed::of(job, now));
        }
        let allowed: Vec<u8> = claimed.iter().map(|job| job.id).collect();
        if allowed == ids { Ok(claimed) } else { Err(format!("{ids:?} were leased again, not {allowed:?}")) }
    }

    fn due(&self, queue: u8) -> impl Iterator<Item = &Live> {
        self.live.iter().filter(move |job| job.queue == queue && job.at <= self.now)
    }

    /// Whether `a` stands before `b` for sure. Jobs of one moment come in the order of their enqueueing where their ids
    /// do, and in any order else; two calls of one tick may have been one moment, or not, and the end of a lease may stand before
    /// what is due at that moment.
    pub(super) fn is_before(&self, a: &Live, b: &Live) -> bool {
        let are_alike = a.set_by == b.set_by && a.lease.is_some() == b.lease.is_some();
        let is_one_moment = a.at == b.at && (self.exact || are_alike);
        a.at < b.at || is_one_moment && a.added < b.added && a.id < b.id
    }

    /// Whether a claim must find jobs in a queue, and whether it may.
    pub(super) fn has_due(&self, queue: u8) -> (bool, bool) {
        if self.paused_since(queue).is_some() {
            return (false, false);
        }
        (self.due(queue).any(|job| job.left_until <= self.now), self.due(queue).next().is_some())
    }

    /// When the job was due that waits longest; the same with those that are left to other programs for a while.
    pub(super) fn oldest_due(&self, queue: u8) -> (Option<u64>, Option<u64>) {
        let certain = self.due(queue).filter(|job| job.left_until <= self.now).map(|job| job.at).min();
        (certain, self.due(queue).map(|job| job.at).min())
    }
}
