//! The accounts: what became of every job, by the ledgers and by what Redis holds in the end.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use crate::ends::{End, Ends};
use crate::ledger::{Event, Moment, What};
use crate::load;

/// For how long after a trouble what it did may show: a lease lost in it is noticed a lease later.
const AFTERMATH: Duration = Duration::from_secs(5);

/// For how long after a trouble its recovery must be watched: a limit beyond it could never be exceeded.
pub(crate) const LOOK: Duration = Duration::from_secs(5);

/// How a run stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// By itself.
    Ended,
    /// Its future was dropped.
    Cut,
    /// Its process died, or it still runs.
    Died,
}

/// One attempt at one job, as its witness saw it.
#[derive(Clone, Debug)]
struct Run {
    pid: i32,
    attempt: u32,
    fence: u32,
    start: Moment,
    stop: Moment,
    how: Stop,
}

/// What a scenario came to.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) asked: usize,
    pub(crate) acknowledged: usize,
    /// Ended well.
    pub(crate) finished: usize,
    /// Ended as dead letters.
    pub(crate) dead: usize,
    /// Ended neither way, though their producer was told that they are there.
    pub(crate) lost: Vec<String>,
    /// Whose result was stored more than once, or by a run that had lost its lease.
    pub(crate) twice: Vec<String>,
    /// Starts beyond the first of each job.
    pub(crate) again: usize,
    /// Of these, those that no fault had hit before.
    pub(crate) unprovoked: Vec<String>,
    /// Refused, and run all the same; ended well without a run; run before its time; an attempt counted that was only
    /// given back, or one that had begun and was not.
    pub(crate) untrue: Vec<String>,
    pub(crate) refused: usize,
    /// Processes whose wall clock was off by more than half an hour.
    pub(crate) skewed: usize,
    /// The longest time that two runs of one job went on beside each other.
    pub(crate) overlap: Duration,
    /// From a fault to the next start of each job that it hit, ascending.
    pub(crate) recovery: Vec<Duration>,
    /// How many troubles were followed by [`LOOK`] of work in which nothing else broke.
    pub(crate) watched: usize,
    /// Of the results that runs came to, those whose storing Redis has told of.
    pub(crate) witnessed: usize,
}

impl Account {
    /// The two as one.
    pub(crate) fn add(&mut self, other: Self) {
        self.asked += other.asked;
        self.acknowledged += other.acknowledged;
        self.finished += other.finished;
        self.dead += other.dead;
        self.lost.extend(other.lost);
        self.twice.extend(other.twice);
        self.again += other.again;
        self.unprovoked.extend(other.unprovoked);
        self.untrue.extend(other.untrue);
        self.refused += other.refused;
        self.skewed = self.skewed.max(other.skewed);
        self.overlap = self.overlap.max(other.overlap);
        self.recovery.extend(other.recovery);
        self.recovery.sort_unstable();
        self.watched += other.watched;
        self.witnessed += other.witnessed;
    }

    pub(crate) fn median(&self) -> Option<Duration> {
        self.recovery.get(self.recovery.len() / 2).copied()
    }
}

/// Spans in which a process, or everybody, was kept from its work.
///
/// A hitch excuses nothing; it is one of them for what its end is: the moment from which all must go on.
#[derive(Default)]
struct Disturbances {
    deaths: HashMap<i32, Moment>,
    killed: HashSet<i32>,
    told: HashMap<i32, Moment>,
    frozen: Vec<(i32, Moment, Moment)>,
    parted: Vec<(i32, Moment, Moment)>,
    trouble: Vec<Trouble>,
}

struct Trouble {
    from: Moment,
    to: Moment,
    costs_leases: bool,
}

impl Disturbances {
    fn of(events: &[Event]) -> Self {
        let mut found = Self::default();
        for event in events {
            match event.what {
                What::Killed | What::Gone => {
                    found.deaths.insert(event.pid, event.at);
                    if event.what == What::Killed {
                        found.killed.insert(event.pid);
                    }
                }
                What::Told => drop(found.told.entry(event.pid).or_insert(event.at)),
                What::Frozen => found.frozen.push((event.pid, event.at, Moment::NEVER)),
                What::Parted => found.parted.push((event.pid, event.at, Moment::NEVER)),
                What::Thawed | What::Rejoined => {
                    let spans = if event.what == What::Thawed { &mut found.frozen } else { &mut found.parted };
                    if let Some(open) = spans.iter_mut().rfind(|(pid, ..)| *pid == event.pid) {
                        open.2 = event.at;
                    }
                }
                What::Trouble | What::Hitch => {
                    let costs_leases = event.what == What::Trouble;
                    found.trouble.push(Trouble { from: event.at, to: Moment::NEVER, costs_leases });
                }
                What::Mended => {
                    if let Some(open) = found.trouble.last_mut() {
                        open.to = event.at;
                    }
                }
                _ => {}
            }
        }
        found
    }

    fn death(&self, pid: i32) -> Moment {
        self.deaths.get(&pid).copied().unwrap_or(Moment::NEVER)
    }

    /// Whether a process was asked to stop before `now`.
    fn was_told(&self, pid: i32, now: Moment) -> bool {
        self.told.get(&pid).is_some_and(|told| *told <= now)
    }

    /// Spans in which a process could not renew its leases, though it lived.
    fn away(&self) -> impl Iterator<Item = &(i32, Moment, Moment)> {
        self.frozen.iter().chain(&self.parted)
    }

    /// Whether anything explains that a job which `before` had runs again at `next`.
    fn explain(&self, before: &Run, next: Moment) -> bool {
        let touches = |from: Moment, to: Moment| from <= next && before.start <= to.after(AFTERMATH);
        let was_away = self.away().any(|(pid, from, to)| *pid == before.pid && touches(*from, *to));
        // Before its end, or before it could report that; who is asked to stop, and does, reports it first.
        let death = self.death(before.pid);
        let is_orderly = self.was_told(before.pid, death) && !self.killed.contains(&before.pid);
        let is_stopped = death <= next && (!is_orderly || before.how == Stop::Died);
        let is_given_back = before.how == Stop::Cut && self.was_told(before.pid, before.stop);
        let troubled = self.trouble.iter().any(|trouble| trouble.costs_leases && touches(trouble.from, trouble.to));
        was_away || is_stopped || is_given_back || troubled
    }

    /// Whether anything explains that somebody claimed a job between two moments, and did not run it.
    fn explain_claim(&self, from: Moment, to: Moment) -> bool {
        let during = |moment: &Moment| *moment >= from && *moment <= to;
        let anybody = self.deaths.values().chain(self.told.values()).any(during);
        let was_away = self.away().any(|(_, began, ended)| *began <= to && *ended >= from);
        let troubled =
            |trouble: &Trouble| trouble.costs_leases && trouble.from <= to && trouble.to.after(AFTERMATH) >= from;
        anybody || was_away || self.trouble.iter().any(troubled)
    }

    /// Until when, from `mended` on, nothing else breaks and there is work for all.
    fn undisturbed(&self, events: &[Event], mended: Moment) -> Moment {
        let last_answer = events.iter().filter(|event| event.what == What::Answered).map(|event| event.at).max();
        let next_trouble = self.trouble.iter().map(|next| next.from).filter(|from| *from >= mended).min();
        next_trouble.unwrap_or(Moment::NEVER).min(last_answer.unwrap_or(mended))
    }

    /// How long two runs went on beside each other; a frozen process runs nothing.
    fn overlap(&self, before: &Run, next: &Run) -> Duration {
        let until = before.stop.min(next.stop);
        let frozen = self.frozen.iter().filter(|(pid, ..)| *pid == before.pid || *pid == next.pid);
        let from = frozen.filter(|(_, from, _)| *from <= until).map(|(.., to)| *to).fold(next.start, Moment::max);
        until.since(from)
    }
}

/// Goes through all of it.
pub(crate) fn account(events: &[Event], ends: &Ends) -> Account {
    let disturbances = Disturbances::of(events);
    let runs = runs(events, &disturbances);
    let ids = |what: What| -> BTreeSet<&str> {
        events.iter().filter(|event| event.what == what).map(|event| &*event.job).collect()
    };
    let (answered, refused) = (ids(What::Answered), ids(What::Refused));
    let mut account = Account {
        asked: ids(What::Asked).len(),
        acknowledged: answered.len(),
        refused: refused.len(),
        skewed: events.iter().filter(|event| event.what == What::Clock && event.attempt > 30 * 60).count(),
        ..Account::default()
    };
    for id in &answered {
        if !ends.ends.contains_key(*id) {
            account.lost.push((*id).to_owned());
        }
    }
    for (id, end) in &ends.ends {
        settle(&mut account, id, *end, ends, runs.get(&**id).map_or(&[], Vec::as_slice));
    }
    for id in refused.difference(&answered).filter(|id| runs.contains_key(**id)) {
        account.untrue.push(format!("{id} was refused, and ran"));
    }
    for event in events.iter().filter(|event| event.what == What::Asked) {
        let Some(first) = runs.get(&*event.job).and_then(|runs| runs.first()) else { continue };
        let due = event.at.after(Duration::from_millis(event.attempt.into()));
        if first.start < due {
            account.untrue.push(format!("{} began {:?} before it was due", event.job, due.since(first.start)));
        }
        if first.fence > 1 && !disturbances.explain_claim(event.at, first.start) {
            account.unprovoked.push(format!("{}: claimed before, and not run: {first:?}", event.job));
        }
    }
    for (id, runs) in &runs {
        repeats(&mut account, id, runs, &disturbances);
    }
    account.recovery = recovery(events, &runs, &disturbances);
    account.recovery.sort_unstable();
    account.watched = watched(events, &disturbances);
    account.witnessed = ends.ends.keys().filter(|id| ends.stored.contains_key(*id)).count();
    account
}

fn settle(account: &mut Account, id: &str, end: End, ends: &Ends, runs: &[Run]) {
    match end {
        End::Done { fence } => {
            account.finished += 1;
            if load::must_fail(id) {
                account.untrue.push(format!("{id} ended well, which its task never does"));
            }
            let is_witnessed = runs.iter().any(|run| run.how == Stop::Ended && run.fence == fence);
            if !is_witnessed {
                account.untrue.push(format!("{id} has a result, and no run of fence {fence} came to its end"));
            }
            if runs.iter().any(|run| run.fence > fence) {
                account.twice.push(format!("{id}: the result is of a lease that was lost"));
            }
        }
        End::Dead => {
            account.dead += 1;
            if load::must_end_well(id) {
                account.untrue.push(format!("{id} ended as a dead letter, by the faults of others"));
            }
        }
    }
    if ends.stored.get(id).is_some_and(|times| *times > 1) {
        account.twice.push(format!("{id}: its result was stored more than once"));
    }
}

fn repeats(account: &mut Account, id: &str, runs: &[Run], disturbances: &Disturbances) {
    for pair in runs.windows(2) {
        let (before, next) = (&pair[0], &pair[1]);
        account.again += 1;
        if !disturbances.explain(before, next.start) {
            account.unprovoked.push(format!("{id}: {before:?}, then {next:?}"));
        }
        if next.fence > before.fence + 1 && !disturbances.explain_claim(before.start, next.start) {
            account.unprovoked.push(format!("{id}: claimed in between, and not run: {before:?}, then {next:?}"));
        }
        // Who is killed meanwhile gives nothing back.
        let given_back = before.how == Stop::Cut
            && disturbances.was_told(before.pid, before.stop)
            && !disturbances.killed.contains(&before.pid);
        if given_back && next.attempt > before.attempt {
            account.untrue.push(format!("{id}: attempt {} was given back, and counted", before.attempt));
        }
        if before.how == Stop::Died && next.attempt <= before.attempt {
            account.untrue.push(format!("{id}: attempt {} died, and {} is the next", before.attempt, next.attempt));
        }
        account.overlap = account.overlap.max(disturbances.overlap(before, next));
    }
}

/// Each job's runs, in their order.
fn runs<'a>(events: &'a [Event], disturbances: &Disturbances) -> BTreeMap<&'a str, Vec<Run>> {
    let mut runs: BTreeMap<&str, Vec<Run>> = BTreeMap::new();
    for event in events {
        let of_job = runs.entry(&event.job);
        let is_it = |run: &&mut Run| {
            run.pid == event.pid && run.attempt == event.attempt && run.fence == event.fence && run.how == Stop::Died
        };
        match event.what {
            What::Start => of_job.or_default().push(Run {
                pid: event.pid,
                attempt: event.attempt,
                fence: event.fence,
                start: event.at,
                stop: disturbances.death(event.pid),
                how: Stop::Died,
            }),
            What::End | What::Cut => {
                if let Some(run) = of_job.or_default().iter_mut().rev().find(is_it) {
                    run.stop = event.at;
                    run.how = if event.what == What::End { Stop::Ended } else { Stop::Cut };
                }
            }
            _ => {}
        }
    }
    runs.retain(|_, runs| !runs.is_empty());
    runs
}

/// From each fault to the next start: of the jobs that a dead, frozen or stopping process had, and of any job in each
/// process that was there when the server came back.
fn recovery(events: &[Event], runs: &BTreeMap<&str, Vec<Run>>, disturbances: &Disturbances) -> Vec<Duration> {
    let mut spans = Vec::new();
    for pair in runs.values().flat_map(|runs| runs.windows(2)) {
        let (before, next) = (&pair[0], &pair[1]);
        let away = disturbances.away().find(|(pid, from, _)| {
            *pid == before.pid && *from >= before.start && *from <= before.stop && *from <= next.start
        });
        let hit = match (before.how, away) {
            (_, Some((_, from, _))) => *from,
            (Stop::Died, None) if before.stop <= next.start => before.stop,
            (Stop::Cut, None) if disturbances.was_told(before.pid, before.stop) => before.stop,
            _ => continue,
        };
        // Each claim in between is one whose worker was hit, too, before its task could write a line.
        let claims = next.fence.saturating_sub(before.fence).max(1);
        spans.push(next.start.since(hit) / claims);
    }
    for trouble in &disturbances.trouble {
        spans.extend(returns(events, disturbances, trouble));
    }
    spans
}

/// How many troubles nothing else followed for [`LOOK`], while there was work and a worker that had worked before.
fn watched(events: &[Event], disturbances: &Disturbances) -> usize {
    let began = |from: Moment| events.iter().any(|event| event.what == What::Start && event.at < from);
    let is_watched = |trouble: &&Trouble| {
        began(trouble.from) && disturbances.undisturbed(events, trouble.to).since(trouble.to) > LOOK
    };
    disturbances.trouble.iter().filter(is_watched).count()
}

/// For each process that worked before a trouble and lives on: how long after its end it started a job.
fn returns(events: &[Event], disturbances: &Disturbances, trouble: &Trouble) -> Vec<Duration> {
    let Trouble { from: began, to: mended, .. } = *trouble;
    let starts = || events.iter().filter(|event| event.what == What::Start);
    let workers: HashSet<i32> = starts().filter(|event| event.at < began).map(|event| event.pid).collect();
    let lives = |pid: &i32| disturbances.death(*pid).since(mended) > Duration::from_secs(1);
    let until = disturbances.undisturbed(events, mended);
    let there_is_work = until.since(mended) > Duration::from_millis(200);
    workers
        .into_iter()
        .filter(|pid| lives(pid) && there_is_work)
        .map(|pid| {
            let next = starts().find(|event| event.pid == pid && event.at >= mended).map(|event| event.at);
            next.unwrap_or(Moment::NEVER).min(until).min(disturbances.death(pid)).since(mended)
        })
        .collect()
}
