//! What the path of a job asks a broker, and what it answers.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

#[cfg(doc)]
use super::{Broker, MAX_BATCH};
use super::{JobId, QueueName};
use crate::clock::Timestamp;
use crate::job::{Due, Failure};

/// One job to add.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// The queue it goes to.
    pub queue: QueueName,
    /// Its id, taken while the job lives and, by default, while its result is kept. (That of a job which has expired, and
    /// whose end nobody has recorded yet, for sure in its own queue only.)
    pub id: JobId,
    /// Whether that id was [generated](JobId::generate) for this very job, so that nobody can have had it: a broker need not look
    /// for it among all that it keeps. Told of an id that was used before, it may add a second job once the first has ended.
    pub is_new_id: bool,
    /// The encoded job; the broker never looks inside.
    pub payload: Bytes,
    /// When it may run.
    pub due: Due,
    /// From the enqueueing on: not started by then, it ends as expired. `None`: it waits for ever.
    pub expires_in: Option<Duration>,
    /// Whether a stored result of the same id, and a hold on it, are dropped instead of keeping the id taken.
    pub replace_finished: bool,
}

/// Names one enqueue call, so that repeating it after a lost answer adds nothing a second time.
///
/// A broker knows a caller and its calls for [`REQUEST_MEMORY`] after the last one, each until the caller says that it is
/// settled, and refuses it from then on in each queue to which its caller has said so. A [`Client`] makes, repeats and settles its own; who calls a broker by hand
/// takes [`RequestId::unique`].
///
/// [`Client`]: crate::client::Client
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId {
    /// Random for each caller.
    pub client: u64,
    /// Counts that caller's requests; each is asked one time, or again as it was.
    pub number: u64,
    /// Its requests of smaller numbers will not be repeated any more.
    pub settled: u64,
}

/// For how long a broker knows a request, at least.
pub const REQUEST_MEMORY: Duration = Duration::from_mins(1);

impl RequestId {
    /// The only request of its caller.
    #[must_use]
    pub fn unique() -> Self {
        Self { client: rand::random(), number: 0, settled: 0 }
    }
}

/// What became of a [`NewJob`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enqueued {
    /// It was added.
    New,
    /// Its id is taken: nothing changed.
    Duplicate,
}

/// Names one claim call, and with it the right to the jobs that it leased.
///
/// A worker draws a random number once and counts its calls, so no two calls share a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseToken {
    /// Random for each start of a worker, but for its two lowest bits: a worker may have three calls of a queue under way,
    /// one of which waits, and makes each as if it were a worker of its own.
    pub worker: u64,
    /// Counts that worker's claims.
    pub call: u64,
}

impl LeaseToken {
    /// Which worker's it is, as [`WorkerHealth::instance`](super::WorkerHealth::instance) has it.
    #[must_use]
    pub fn instance(&self) -> String {
        format!("{:016x}", self.worker & !3)
    }
}

impl fmt::Display for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:x}", self.worker, self.call)
    }
}

/// A worker's time-limited right to one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The job.
    pub id: JobId,
    /// The claim that leased it.
    pub token: LeaseToken,
}

/// A request to finish and claim.
#[derive(Clone, Debug)]
pub struct Claim<'a> {
    /// The one queue that both halves are about.
    pub queue: &'a QueueName,
    /// What has ended since the last call; at most [`MAX_BATCH`].
    pub finished: &'a [Finish],
    /// How many jobs to lease at most; at most [`MAX_BATCH`].
    pub max: usize,
    /// How long they stay leased without an extension; at least a millisecond.
    pub lease: Duration,
    /// The token of the new leases; unused so far, or that of the call being repeated.
    pub token: LeaseToken,
}

/// The answer to a [`Claim`].
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The leased jobs, earliest due first.
    pub jobs: Vec<ClaimedJob>,
    /// For each [`Claim::finished`], in order, whether it took effect.
    pub finished: Vec<Finished>,
    /// Whether the queue had more due jobs than were taken.
    pub more_due: bool,
    /// The broker's clock at the call.
    pub now: Timestamp,
}

/// A job leased to the caller.
#[derive(Clone, Debug)]
pub struct ClaimedJob {
    /// Its lease: id and token.
    pub lease: Lease,
    /// The encoded job; `None` when it has expired.
    pub payload: Option<Bytes>,
    /// Which attempt this is, from 1; given-back attempts are not counted.
    pub attempt: u32,
    /// How often the job was claimed in all: grows with every claim, so it can fence writes elsewhere.
    pub delivery: u32,
    /// When it was due.
    pub due_at: Timestamp,
    /// Whether it was asked to be aborted while it waited.
    pub abort_requested: bool,
    /// When a worker first gave it back as [`GiveBack::UnknownTask`], unbroken since: a retry, giving it back for another
    /// reason and a lost lease break it, as somebody had started it.
    pub unknown_since: Option<Timestamp>,
}

/// How one attempt ended.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The lease under which it ran.
    pub lease: Lease,
    /// What to do with the job.
    pub outcome: Outcome,
}

/// What is to become of a job whose attempt has ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is over: done, failed, aborted or expired.
    End {
        /// What to keep for those who ask; `None` keeps nothing.
        result: Option<KeptResult>,
        /// Set when it failed for good: it is kept as a dead letter with this last failure.
        dead: Option<Box<Failure>>,
        /// Keeps the id taken for so long after the end, result or not (a schedule's tick).
        hold_id: Duration,
    },
    /// It runs again after `delay`; the attempt counts, and the job's count becomes
    /// [`Failure::attempt`] where that is larger (a producer may start it above 1).
    Retry {
        /// From now on the broker's clock.
        delay: Duration,
        /// Added to the job's history.
        failure: Box<Failure>,
    },
    /// It runs again after `delay`; the attempt does not count.
    GiveBack {
        /// From now on the broker's clock.
        delay: Duration,
        /// Why.
        why: GiveBack,
    },
}

/// Why a job is given back uncounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiveBack {
    /// The worker stops. Without a delay the job keeps its place: it is due when it had been, before what came after it.
    Stop,
    /// The task asked for a later time.
    Snooze,
    /// This worker does not know the task; another may. A broker that other programs share may leave the job to them
    /// for as long again as the delay is, a second at most, before one of ours can claim it.
    UnknownTask,
}

/// A result to store.
#[derive(Clone, Debug)]
pub struct KeptResult {
    /// The encoded result record, in the codec of its job.
    pub record: Bytes,
    /// For how long; `None` is for ever (within the broker's bound), zero not at all.
    pub keep: Option<Duration>,
}

/// Whether a [`Finish`] took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// It did.
    Applied,
    /// Another holds the job now, or it is gone: nothing changed.
    LeaseLost,
}

/// Whether a lease could be extended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extended {
    /// It runs anew.
    Renewed,
    /// It is no longer the caller's; its job must be cancelled.
    Lost,
}

/// A position in the broker's abort requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AbortMark(pub u64);

/// Abort requests that stand.
#[derive(Clone, Debug, Default)]
pub struct Aborts {
    /// The jobs, in no order.
    pub ids: Vec<JobId>,
    /// Pass it to the next call.
    pub mark: AbortMark,
}

/// What [`Broker::result`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResultState {
    /// The encoded result record.
    Ready(Bytes),
    /// The job waits or runs.
    Pending,
    /// There is neither a job nor a result.
    NotFound,
}
