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
    /// One of each way to end: at once, after a heartbeat, delayed, failing
    Each,
    /// Good ones, and in 150 one that kills its worker at each attempt
    Poisoned,
    /// In three good ones, two that panic, kill their worker, block its runtime for longer than a lease, eat its memory
    /// or ignore their end
    Hostile,
}

/// One job to enqueue, as often as it takes.
#[derive(Debug)]
pub(crate) struct Ticket {
    /// Ends in its task's name: the checker knows by it what is to become of the job.
    pub(crate) id: String,
    /// After how many milliseconds it is due.
    pub(crate) delay: u32,
    queue: String,
    task: &'static str,
    ms: u64,
    max_tries: Option<u32>,
    replaces: bool,
}

/// The task that does no harm, and ends well.
pub(crate) const GOOD: &str = "work_for";

/// Tasks that kill their worker.
const DEADLY: [&str; 3] = ["abort", "devour", "overflow"];

/// One that fails, and harms nobody else.
const FAILING: &str = "panic";

/// One that goes on after its timeout, which is noticed unless its worker's runtime is blocked meanwhile.
const STUBBORN: &str = "ignore";

/// One that blocks its worker's runtime, and ends well.
const BLOCKING: &str = "block";

/// Whether a job of this id is to end well.
pub(crate) fn must_end_well(id: &str) -> bool {
    id.ends_with(GOOD) || id.ends_with(BLOCKING)
}

/// Whether a job of this id can't end well.
pub(crate) fn must_fail(id: &str) -> bool {
    !must_end_well(id) && !id.ends_with(STUBBORN)
}

impl Mix {
    /// The job `id` of `queue`, by chance; `index` counts them.
    pub(crate) fn ticket(self, id: &str, index: u64, queue: &str, dice: &mut Dice) -> Ticket {
        let (task, max_tries) = match self {
            Self::Each if index % 4 == 3 => (FAILING, Some(1)),
            Self::Poisoned if index % 150 == 75 => (DEADLY[0], Some(3)),
            Self::Good | Self::Replacing | Self::Long | Self::Each | Self::Poisoned => (GOOD, None),
            Self::Hostile => match dice.below(100) {
                0..60 => (GOOD, None),
                60..62 => (*dice.pick(&DEADLY), Some(2)),
                62..65 => (BLOCKING, None),
                65..80 => (STUBBORN, None),
                _ => (FAILING, None),
            },
        };
        let ms = match dice.below(20) {
            _ if self == Self::Long || self == Self::Each && index % 4 == 1 => dice.within(800..1500),
            0 => dice.within(800..1500),
            1 => dice.within(100..400),
            _ => dice.within(5..40),
        };
        let is_delayed = if self == Self::Each { index % 4 == 2 } else { dice.below(10) == 0 };
        let delay = if is_delayed { dice.within(200..1500) } else { 0 };
        let delay = u32::try_from(delay).expect("it is less than 1500");
        Ticket {
            id: format!("{id}-{task}"),
            delay,
            queue: queue.to_owned(),
            task,
            ms,
            max_tries,
            replaces: self == Self::Replacing,
        }
    }
}

impl Ticket {
    pub(crate) fn job(&self) -> Job<Untyped> {
        let job = Job::untyped(self.task, self.queue.clone()).arg(self.ms).id(&*self.id);
        let job = if self.replaces { job.replace_finished() } else { job };
        let job = match self.max_tries {
            Some(tries) => job.max_tries(tries),
            None => job,
        };
        if self.delay > 0 { job.delay(Duration::from_millis(self.delay.into())) } else { job }
    }
}
