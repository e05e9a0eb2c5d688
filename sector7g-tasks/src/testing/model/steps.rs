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
        /// Of which leases, and what is said of their jobs.
        finishes: Vec<(Pick, Ending)>,
    },
    /// A call of a worker's comes again: its last one, as its answer was lost, or an earlier one that its way held up.
    ClaimAgain {
        /// Which worker.
        worker: u8,
        /// Of which queue.
        queue: u8,
        /// How many calls came after it.
        later: usize,
    },
    /// A worker dies and another one takes its place.
    Crash {
        /// Which worker.
        worker: u8,
    },
    /// Leases are renewed.
    Extend {
        /// Which.
        leases: Vec<Pick>,
        /// For how long.
        span: u64,
    },
    /// A running job says how far it is.
    Progress {
        /// By which lease.
        lease: Pick,
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
        letter: Letter,
    },
    /// Somebody discards a dead letter.
    DiscardDead {
        /// Which one.
        letter: Letter,
    },
    /// Somebody makes a job due.
    MakeDue {
        /// Which job.
        id: u8,
        /// In which queue.
        queue: u8,
    },
    /// Somebody pauses a queue, or lets it go on.
    SetPaused {
        /// Which queue.
        queue: u8,
        /// Whether it is to give no jobs.
        paused: bool,
    },
    /// Time goes by.
    Pass {
        /// How much.
        ticks: u64,
    },
    /// So much time goes by that a lease which nobody renews is forgotten; the first two of a run do.
    Sleep,
}

/// One of the leases that ever were. Chance alone would mostly hit jobs that have ended.
#[derive(Clone, Copy, Debug)]
pub struct Pick {
    /// Which one of them.
    pub index: Index,
    /// Whether it is one of those that nobody has ended or taken over yet, if there are any.
    pub held: bool,
}

/// A dead letter.
#[derive(Clone, Copy, Debug)]
pub struct Letter {
    /// Which one of those that are there, if there are any.
    pub there: Option<Index>,
    /// Else which job's; there need not be one.
    pub id: u8,
    /// In which queue.
    pub queue: u8,
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
    let step = prop_oneof![
        8 => enqueue(),
        1 => any::<Index>().prop_map(|request| Step::EnqueueAgain { request }),
        12 => claim(),
        1 => (0..WORKERS, 0..QUEUES, prop_oneof![2 => Just(0), 1 => 1..3_usize])
            .prop_map(|(worker, queue, later)| Step::ClaimAgain { worker, queue, later }),
        1 => (0..WORKERS).prop_map(|worker| Step::Crash { worker }),
        2 => (prop::collection::vec(pick(), 1..3), 2..6_u64).prop_map(|(leases, span)| Step::Extend { leases, span }),
        1 => (pick(), any::<u8>()).prop_map(|(lease, value)| Step::Progress { lease, value }),
        2 => (id(), 0..QUEUES).prop_map(|(id, queue)| Step::Abort { id, queue }),
        2 => letter().prop_map(|letter| Step::RetryDead { letter }),
        1 => letter().prop_map(|letter| Step::DiscardDead { letter }),
        1 => (id(), 0..QUEUES).prop_map(|(id, queue)| Step::MakeDue { id, queue }),
        1 => (0..QUEUES, prop::bool::weighted(0.3)).prop_map(|(queue, paused)| Step::SetPaused { queue, paused }),
        6 => (1..5_u64).prop_map(|ticks| Step::Pass { ticks }),
        1 => Just(Step::Sleep),
    ];
    prop::collection::vec(step, 1..60)
}

/// One of them is met again and again: much shows only when an id has ended twice.
fn id() -> impl Strategy<Value = u8> {
    prop_oneof![1 => Just(0), 1 => 0..IDS]
}

fn pick() -> impl Strategy<Value = Pick> {
    (any::<Index>(), prop::bool::weighted(0.7)).prop_map(|(index, held)| Pick { index, held })
}

fn letter() -> impl Strategy<Value = Letter> {
    (prop::option::weighted(0.8, any::<Index>()), id(), 0..QUEUES).prop_map(|(there, id, queue)| Letter {
        there,
        id,
        queue,
    })
}

fn enqueue() -> impl Strategy<Value = Step> {
    let job = (id(), delay(), prop::option::weighted(0.3, 1..6_u64), any::<bool>())
        .prop_map(|(id, delay, expires, replace)| Job { id, delay, expires, replace });
    let jobs = prop::collection::vec(job, 1..4);
    let asks = (0..CALLERS, 0..QUEUES, jobs, any::<bool>(), prop::bool::weighted(0.9));
    asks.prop_map(|(caller, queue, jobs, settles, arrives)| Step::Enqueue { caller, queue, jobs, settles, arrives })
}

fn claim() -> impl Strategy<Value = Step> {
    let finishes = prop::collection::vec((pick(), ending()), 0..3);
    let asks = (0..WORKERS, 0..QUEUES, 0..4_u8, 2..6_u64, finishes);
    asks.prop_map(|(worker, queue, max, lease, finishes)| Step::Claim { worker, queue, max, lease, finishes })
}

fn delay() -> impl Strategy<Value = u64> {
    prop_oneof![2 => Just(0), 1 => 0..6_u64]
}

/// Often not at all: a result keeps the id taken by itself, and hides what else does.
fn keep() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![2 => Just(Some(0)), 2 => (1..8_u64).prop_map(Some), 1 => Just(None)]
}

/// Sometimes for longer than the next job of the id lives.
fn hold() -> impl Strategy<Value = u64> {
    prop_oneof![2 => Just(0), 2 => 1..6_u64, 1 => 6..60_u64]
}

fn ending() -> impl Strategy<Value = Ending> {
    let why = prop_oneof![Just(GiveBack::Stop), Just(GiveBack::Snooze), Just(GiveBack::UnknownTask)];
    prop_oneof![
        3 => (keep(), any::<bool>(), hold())
            .prop_map(|(keep, dead, hold)| Ending::End { keep, dead, hold }),
        2 => (delay(), prop_oneof![4 => Just(0), 1 => 1..3_u32])
            .prop_map(|(delay, above)| Ending::Retry { delay, above }),
        3 => (delay(), why).prop_map(|(delay, why)| Ending::GiveBack { delay, why }),
    ]
}
