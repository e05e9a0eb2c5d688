use proptest::prelude::*;
use proptest::sample::Index;

use crate::broker::GiveBack;

/// How many workers, queues and ids there are: few, so that they meet.
pub(super) const WORKERS: u8 = 3;
pub(super) const QUEUES: u8 = 2;
pub(super) const IDS: u8 = 5;
pub(super) const CALLERS: u8 = 2;

/// Something that happens to a broker. Spans are in ticks.
#[derive(Clone, Debug)]
pub enum Step {
    /// A caller adds jobs; `arrives` is false when the request is held up on its way.
    Enqueue {
        /// Who asks.
        caller: u8,
        /// Where the jobs go.
        queue: u8,
        /// The jobs.
        jobs: Vec<Job>,
        /// Whether its earlier requests are settled with this one.
        settles: bool,
        /// Whether the broker gets it now.
        arrives: bool,
    },
    /// One of the requests comes, again or at last.
    EnqueueAgain {
        /// Which one.
        request: Index,
    },
    /// A worker reports what has ended, and claims.
    Claim {
        /// Which worker.
        worker: u8,
        /// Of which queue.
        queue: u8,
        /// How many jobs at most.
        max: u8,
        /// The span of the leases.
        lease: u64,
        /// Of any leases that ever were, and what is said of their jobs.
        finishes: Vec<(Index, Ending)>,
    },
    /// A worker's last call comes again, its answer being lost.
    ClaimAgain {
        /// Which worker.
        worker: u8,
        /// The last call of which queue.
        queue: u8,
    },
    /// A worker dies and another one takes its place.
    Crash {
        /// Which worker.
        worker: u8,
    },
    /// Leases are renewed.
    Extend {
        /// Any that ever were.
        leases: Vec<Index>,
        /// For how long.
        span: u64,
    },
    /// A running job says how far it is.
    Progress {
        /// Any lease that ever was.
        lease: Index,
        /// How far.
        value: u8,
    },
    /// Somebody asks for the end of a job.
    Abort {
        /// Which job.
        id: u8,
        /// In which queue.
        queue: u8,
    },
    /// Somebody retries a dead letter.
    RetryDead {
        /// Which one.
        id: u8,
        /// In which queue.
        queue: u8,
    },
    /// Somebody discards a dead letter.
    DiscardDead {
        /// Which one.
        id: u8,
        /// In which queue.
        queue: u8,
    },
    /// Time goes by.
    Pass {
        /// How much.
        ticks: u64,
    },
    /// So much time goes by that a lease which nobody renews is forgotten; the first two of a run do.
    Sleep,
}

/// One job to add.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its id.
    pub id: u8,
    /// From now; 0 is due now.
    pub delay: u64,
    /// From now, at least 1.
    pub expires: Option<u64>,
    /// Whether a result of its id goes.
    pub replace: bool,
}

/// How an attempt ends.
#[derive(Clone, Debug)]
pub enum Ending {
    /// For good.
    End {
        /// How long the result is kept: 0 is not at all, `None` for ever.
        keep: Option<u64>,
        /// Whether it is a dead letter.
        dead: bool,
        /// How long the id is held; 0 is not at all.
        hold: u64,
    },
    /// It is to run again.
    Retry {
        /// After so long.
        delay: u64,
        /// By how much the failure's attempt is above the one that was counted.
        above: u32,
    },
    /// It is given back.
    GiveBack {
        /// Due after so long.
        delay: u64,
        /// Why.
        why: GiveBack,
    },
}

/// Any steps, up to 60.
pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let lease = any::<Index>;
    let step = prop_oneof![
        8 => enqueue(),
        1 => lease().prop_map(|request| Step::EnqueueAgain { request }),
        12 => claim(),
        1 => (0..WORKERS, 0..QUEUES).prop_map(|(worker, queue)| Step::ClaimAgain { worker, queue }),
        1 => (0..WORKERS).prop_map(|worker| Step::Crash { worker }),
        2 => (prop::collection::vec(lease(), 1..3), 2..6_u64).prop_map(|(leases, span)| Step::Extend { leases, span }),
        1 => (lease(), any::<u8>()).prop_map(|(lease, value)| Step::Progress { lease, value }),
        2 => (0..IDS, 0..QUEUES).prop_map(|(id, queue)| Step::Abort { id, queue }),
        1 => (0..IDS, 0..QUEUES).prop_map(|(id, queue)| Step::RetryDead { id, queue }),
        1 => (0..IDS, 0..QUEUES).prop_map(|(id, queue)| Step::DiscardDead { id, queue }),
        6 => (1..5_u64).prop_map(|ticks| Step::Pass { ticks }),
        1 => Just(Step::Sleep),
    ];
    prop::collection::vec(step, 1..60)
}

fn enqueue() -> impl Strategy<Value = Step> {
    let job = (0..IDS, delay(), prop::option::weighted(0.3, 1..6_u64), any::<bool>())
        .prop_map(|(id, delay, expires, replace)| Job { id, delay, expires, replace });
    let jobs = prop::collection::vec(job, 1..4);
    let asks = (0..CALLERS, 0..QUEUES, jobs, any::<bool>(), prop::bool::weighted(0.9));
    asks.prop_map(|(caller, queue, jobs, settles, arrives)| Step::Enqueue { caller, queue, jobs, settles, arrives })
}

fn claim() -> impl Strategy<Value = Step> {
    let finishes = prop::collection::vec((any::<Index>(), ending()), 0..3);
    let asks = (0..WORKERS, 0..QUEUES, 0..4_u8, 2..6_u64, finishes);
    asks.prop_map(|(worker, queue, max, lease, finishes)| Step::Claim { worker, queue, max, lease, finishes })
}

fn delay() -> impl Strategy<Value = u64> {
    prop_oneof![2 => Just(0), 1 => 0..6_u64]
}

fn ending() -> impl Strategy<Value = Ending> {
    let why = prop_oneof![Just(GiveBack::Stop), Just(GiveBack::Snooze), Just(GiveBack::UnknownTask)];
    prop_oneof![
        3 => (prop::option::of(0..8_u64), any::<bool>(), prop_oneof![Just(0), 0..6_u64])
            .prop_map(|(keep, dead, hold)| Ending::End { keep, dead, hold }),
        2 => (delay(), prop_oneof![4 => Just(0), 1 => 1..3_u32])
            .prop_map(|(delay, above)| Ending::Retry { delay, above }),
        3 => (delay(), why).prop_map(|(delay, why)| Ending::GiveBack { delay, why }),
    ]
}
