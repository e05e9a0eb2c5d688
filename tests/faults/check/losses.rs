//! What Redis itself may have lost: writes that it had answered within a bounded time of a strike.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::disturbances::{Disturbances, Trouble};
use super::{Moment, Run};

/// How much later than a write is acknowledged, on a busy machine, that is in a ledger, or the other way round: what a run
/// came to is reported after it has ended.
pub(super) const MARGIN: Duration = Duration::from_millis(500);

/// What a scenario's server may lose of what it has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Loss {
    /// For how long before a strike its last writes may be lost, up to its end.
    pub(crate) before: Duration,
    /// Whether it is lost by restarts, which cost no leases, or by failovers, which do.
    pub(crate) by_restarts: bool,
    /// Whether new jobs may be among them: not where a replica confirms these.
    pub(crate) takes_jobs: bool,
}

/// What came of that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Near {
    /// Jobs that were acknowledged so near to a strike that they may be lost.
    pub(crate) jobs: usize,
    /// Of them, those that are.
    pub(crate) lost: usize,
    /// What else gates would have told, of jobs whose runs were as near to one.
    pub(crate) twice: usize,
    pub(crate) unprovoked: usize,
    pub(crate) beside: usize,
    pub(crate) unrun: usize,
    pub(crate) untrue: usize,
}

impl Near {
    pub(super) fn add(&mut self, other: Self) {
        self.jobs += other.jobs;
        self.lost += other.lost;
        self.twice += other.twice;
        self.unprovoked += other.unprovoked;
        self.beside += other.beside;
        self.unrun += other.unrun;
        self.untrue += other.untrue;
    }

    /// Whether Redis has lost anything that a gate saw.
    pub(crate) fn has_lost(self) -> bool {
        Self { jobs: 0, ..self } != Self::default()
    }
}

/// Which writes may have been lost, and what is known of when jobs were written about.
pub(super) struct Losses<'a> {
    spans: Vec<(Moment, Moment)>,
    takes_jobs: bool,
    answers: &'a HashMap<&'a str, Moment>,
    runs: &'a BTreeMap<&'a str, Vec<Run>>,
    aborts: &'a HashMap<&'a str, Moment>,
}

impl<'a> Losses<'a> {
    pub(super) fn of(
        loss: Option<Loss>,
        disturbances: &Disturbances,
        answers: &'a HashMap<&'a str, Moment>,
        runs: &'a BTreeMap<&'a str, Vec<Run>>,
        aborts: &'a HashMap<&'a str, Moment>,
    ) -> Self {
        let mut spans = Vec::new();
        if let Some(loss) = loss {
            let strikes = disturbances.trouble.iter().filter(|trouble| loss.by_restarts || trouble.costs_leases);
            let span = |trouble: &Trouble| (trouble.from.before(loss.before).before(MARGIN), trouble.to.after(MARGIN));
            spans.extend(strikes.map(span));
        }
        let takes_jobs = loss.is_some_and(|loss| loss.takes_jobs);
        Self { spans, takes_jobs, answers, runs, aborts }
    }

    /// Whether that a job is there may be lost.
    pub(super) fn of_job(&self, id: &str) -> bool {
        self.takes_jobs && self.answers.get(id).is_some_and(|at| self.between(*at, *at))
    }

    /// Whether anything that was done with it may be: a claim, a renewal, an ending, the wish to abort it.
    pub(super) fn of_work(&self, id: &str) -> bool {
        let mut runs = self.runs.get(id).into_iter().flatten();
        runs.any(|run| self.between(run.start, run.stop))
            || self.aborts.get(id).is_some_and(|at| self.between(*at, *at))
    }

    /// Whether anything may be that was written between the two.
    pub(super) fn between(&self, from: Moment, to: Moment) -> bool {
        self.spans.iter().any(|(began, ended)| *began <= to && *ended >= from)
    }
}
