//! What producers ask for.

use std::time::Duration;

use sector7g_tasks::prelude::*;
use support::Dice;

/// Which jobs there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mix {
    /// Good ones, mostly short: nine in ten end within 100 ms, the longest take a second and a half
    Good,
    /// Good ones that replace what has finished, of which a second enqueueing makes a second run
    Replacing,
    /// Good ones that take as long as a worker that is frozen for longer than its lease is late
    Long,
    /// Good ones that have seconds to go when their worker comes back, which was away for longer than its lease
    Longer,
    /// Good ones that take two milliseconds at most
    Short,
    /// One of each way to end: at once, after a heartbeat of a short lease, delayed, failing
    Each,
    /// Good ones, and in 150 one that kills its worker at each attempt
    Poisoned,
    /// In three good ones, two that panic, kill their worker, block its runtime for longer than a lease, eat its memory
    /// or ignore their end
    Hostile,
    /// In ten good ones, one that its producer aborts, waiting or at work, one that expires before it is due, and one that
    /// may expire
    Ending,
}

/// What a job is, told by the end of its id: the checker knows by it what is to become of the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Good,
    /// Kills its worker: by a signal, by using its memory up, by overflowing its stack.
    Abort,
    Devour,
    Overflow,
    /// Fails, and harms nobody else.
    Panic,
    /// Goes on after its timeout, which is noticed unless its worker's runtime is blocked meanwhile.
    Ignore,
    /// Blocks its worker's runtime, and ends well.
    Block,
    /// Takes so long that its producer's request to abort it comes first.
    Aborted,
    /// Is due after it has expired.
    TooLate,
    /// Expires soon after it is due.
    Tight,
}

/// Each with what its ids end in, and its task. The audit knows by it, too, which may expire.
const KINDS: [(Kind, &str, &str); 10] = [
    (Kind::Good, "good", "work_for"),
    (Kind::Abort, "abort", "abort"),
    (Kind::Devour, "devour", "devour"),
    (Kind::Overflow, "overflow", "overflow"),
    (Kind::Panic, "panic", "panic"),
    (Kind::Ignore, "ignore", "ignore"),
    (Kind::Block, "block", "block"),
    (Kind::Aborted, "aborted", "work_for"),
    (Kind::TooLate, "too-late", "work_for"),
    (Kind::Tight, "tight", "work_for"),
];

/// Those that kill their worker.
const DEADLY: [Kind; 3] = [Kind::Abort, Kind::Devour, Kind::Overflow];

/// How often a pill may start: of those among few others, and among many.
const POISONED_TRIES: u32 = 3;
const HOSTILE_TRIES: u32 = 2;

impl Kind {
    /// That of a job with this id.
    pub(crate) fn of(id: &str) -> Self {
        KINDS.iter().find(|(_, end, _)| id.ends_with(end)).map_or(Self::Good, |(kind, ..)| *kind)
    }

    fn words(self) -> (&'static str, &'static str) {
        KINDS.iter().find(|(kind, ..)| *kind == self).map_or(("", ""), |(_, end, task)| (end, task))
    }

    /// Whether it kills its worker at each attempt.
    pub(crate) fn is_deadly(self) -> bool {
        DEADLY.contains(&self)
    }

    /// Whether it may end well.
    pub(crate) fn may_end_well(self) -> bool {
        !self.is_deadly() && !matches!(self, Self::Panic | Self::TooLate)
    }

    /// Whether it may end as a failure.
    pub(crate) fn may_fail(self) -> bool {
        self.is_deadly() || matches!(self, Self::Panic | Self::Ignore)
    }

    /// Whether it may end without having begun, as its time was over.
    pub(crate) fn may_expire(self) -> bool {
        matches!(self, Self::TooLate | Self::Tight)
    }
}

/// One job to enqueue, as often as it takes.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) id: String,
    /// After how many milliseconds it is due.
    pub(crate) delay: u32,
    /// After how many milliseconds its producer aborts it.
    pub(crate) abort_after: Option<u64>,
    pub(crate) queue: String,
    task: &'static str,
    ms: u64,
    max_tries: Option<u32>,
    /// After how many milliseconds it expires, the delay included.
    expires: Option<u64>,
    replaces: bool,
}

impl Mix {
    /// How often a job that kills its worker may start.
    pub(crate) fn pill_tries(self) -> u32 {
        if self == Self::Hostile { HOSTILE_TRIES } else { POISONED_TRIES }
    }

    fn kind(self, index: u64, dice: &mut Dice) -> Kind {
        match self {
            Self::Each if index % 4 == 3 => Kind::Panic,
            Self::Poisoned if index % 150 == 75 => Kind::Abort,
            Self::Good | Self::Replacing | Self::Long | Self::Longer | Self::Short | Self::Each | Self::Poisoned => {
                Kind::Good
            }
            Self::Ending => match index % 13 {
                3 => Kind::Aborted,
                6 => Kind::TooLate,
                9 => Kind::Tight,
                _ => Kind::Good,
            },
            Self::Hostile => match dice.below(100) {
                0..60 => Kind::Good,
                60..62 => *dice.pick(&DEADLY),
                62..65 => Kind::Block,
                65..80 => Kind::Ignore,
                _ => Kind::Panic,
            },
        }
    }

    /// The job `id` of `queue`, by chance; `index` counts them.
    pub(crate) fn ticket(self, id: &str, index: u64, queue: &str, dice: &mut Dice) -> Ticket {
        let kind = self.kind(index, dice);
        let ms = match dice.below(20) {
            _ if kind == Kind::Aborted => ABORTED_WORK,
            _ if self == Self::Each && index % 4 == 1 => dice.within(1600..2000), // still there at the end of a stop's grace
            _ if self == Self::Long => dice.within(800..1500),
            _ if self == Self::Longer => dice.within(6000..7000),
            _ if self == Self::Short => dice.within(0..3),
            0 => dice.within(800..1500),
            1 => dice.within(100..400),
            _ => dice.within(5..40),
        };
        let is_delayed = match kind {
            Kind::TooLate => true,
            Kind::Tight => false,
            Kind::Aborted => dice.below(2) == 0,
            _ if self == Self::Each => index % 4 == 2,
            _ => dice.below(10) == 0,
        };
        let delay = match kind {
            Kind::TooLate => dice.within(1000..1500),
            _ if is_delayed => dice.within(200..1500),
            _ => 0,
        };
        let max_tries = match kind {
            _ if kind.is_deadly() => Some(self.pill_tries()),
            Kind::Panic if self == Self::Each => Some(1),
            _ => None,
        };
        let (end, task) = kind.words();
        Ticket {
            id: format!("{id}-{end}"),
            delay: u32::try_from(delay).expect("it is less than 1500"),
            abort_after: (kind == Kind::Aborted).then(|| dice.within(50..1000)),
            queue: queue.to_owned(),
            task,
            ms,
            max_tries,
            expires: kind.may_expire().then(|| dice.within(20..300)),
            replaces: self == Self::Replacing,
        }
    }
}

/// For how long a job works that is aborted long before, ms.
const ABORTED_WORK: u64 = 4_000;

impl Ticket {
    pub(crate) fn job(&self) -> Job<Untyped> {
        let mut job = Job::untyped(self.task, self.queue.clone()).arg(self.ms).id(&*self.id);
        if self.replaces {
            job = job.replace_finished();
        }
        if let Some(tries) = self.max_tries {
            job = job.max_tries(tries);
        }
        if let Some(ms) = self.expires {
            job = job.expires(Duration::from_millis(ms));
        }
        if self.delay > 0 { job.delay(Duration::from_millis(self.delay.into())) } else { job }
    }
}
