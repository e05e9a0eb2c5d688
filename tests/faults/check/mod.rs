//! The accounts: what became of every job, by the ledgers and by what Redis holds in the end.

mod disturbances;
mod losses;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use disturbances::{Disturbances, Trouble};
pub(crate) use losses::{Loss, Near};
use losses::{Losses, MARGIN};

use crate::ends::{End, Ends};
use crate::ledger::{Event, Moment, What};
use crate::load::Kind;
use crate::worker::LEASE;

/// For how long after a trouble its recovery must be watched: a limit beyond it could never be exceeded.
pub(crate) const LOOK: Duration = Duration::from_secs(5);

/// Within which a run ends whose worker has lost its lease, from when the worker can hear of it: a third of a lease until
/// its next heartbeat, a quarter until that one has failed, a twelfth until the one after, and a twelfth for a busy machine.
pub(crate) const NOTICE: Duration = LEASE.saturating_mul(3).checked_div(4).expect("four is not zero");

/// That of Redis's clock, as scripts read it.
const GRAIN: Duration = Duration::from_millis(1);

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
    pub(crate) aborted: usize,
    pub(crate) expired: usize,
    /// Ended in none of these ways, and in no queue any more, though their producer was told that they are there.
    pub(crate) lost: Vec<String>,
    /// In none of these ways either, but still queued when the scenario ended.
    pub(crate) unfinished: usize,
    /// Of all that is below, and of what is lost, what is Redis's own loss; it is in none of the others.
    pub(crate) near: Near,
    /// Whose result was stored more than once, or by a run that had lost its lease.
    pub(crate) twice: Vec<String>,
    /// Starts beyond the first of each job.
    pub(crate) again: usize,
    /// Of these, those that no fault had hit before.
    pub(crate) unprovoked: Vec<String>,
    /// Claims that nobody ran, and no fault explains.
    pub(crate) unrun: Vec<String>,
    /// Runs that were cut off by a worker that had been told to stop.
    pub(crate) given_back: usize,
    /// Runs that came to their end in a worker that had been told to stop.
    pub(crate) seen_through: usize,
    /// Refused, and run all the same; ended in a way that is not its own, or well without a run; run before its time; an
    /// attempt counted that was only given back, or one that had begun and was not; a pill that was tried more often, or
    /// less, than it may be.
    pub(crate) untrue: Vec<String>,
    pub(crate) refused: usize,
    /// Processes whose wall clock was off by more than half an hour.
    pub(crate) skewed: usize,
    /// The longest time that two runs of one job went on beside each other.
    pub(crate) overlap: Duration,
    /// The longest of these, less the time in which the worker that had lost the job could not hear of it.
    pub(crate) unheeded: Duration,
    /// Runs beside another one of their job, whose workers nothing had kept from renewing their leases.
    pub(crate) beside: Vec<String>,
    /// From a fault to the next start of each job that it hit, ascending.
    pub(crate) recovery: Vec<Duration>,
    /// The longest of these, less what any job has to wait on a busy machine: what the gate looks at.
    pub(crate) slowest: Duration,
    /// From when a delayed job was due and nothing was broken any more to its start, ascending.
    pub(crate) late: Vec<Duration>,
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
        self.aborted += other.aborted;
        self.expired += other.expired;
        self.lost.extend(other.lost);
        self.unfinished += other.unfinished;
        self.near.add(other.near);
        self.twice.extend(other.twice);
        self.again += other.again;
        self.unprovoked.extend(other.unprovoked);
        self.unrun.extend(other.unrun);
        self.given_back += other.given_back;
        self.seen_through += other.seen_through;
        self.untrue.extend(other.untrue);
        self.refused += other.refused;
        self.skewed = self.skewed.max(other.skewed);
        self.overlap = self.overlap.max(other.overlap);
        self.unheeded = self.unheeded.max(other.unheeded);
        self.beside.extend(other.beside);
        self.recovery.extend(other.recovery);
        self.recovery.sort_unstable();
        self.slowest = self.slowest.max(other.slowest);
        self.late.extend(other.late);
        self.late.sort_unstable();
        self.watched += other.watched;
        self.witnessed += other.witnessed;
    }

    /// How much is wrong by now.
    fn told(&self) -> Told {
        let (twice, unprovoked, beside) = (self.twice.len(), self.unprovoked.len(), self.beside.len());
        Told { twice, unprovoked, beside, unrun: self.unrun.len(), untrue: self.untrue.len() }
    }

    /// All that was told since comes of what Redis has lost.
    fn waive(&mut self, since: Told) {
        self.near.twice += self.twice.drain(since.twice..).count();
        self.near.unprovoked += self.unprovoked.drain(since.unprovoked..).count();
        self.near.beside += self.beside.drain(since.beside..).count();
        self.near.unrun += self.unrun.drain(since.unrun..).count();
        self.near.untrue += self.untrue.drain(since.untrue..).count();
    }

    /// How long `percent` in 100 recoveries took at the most.
    pub(crate) fn recovery_of(&self, percent: usize) -> Option<Duration> {
        nearest_rank(&self.recovery, percent)
    }

    /// How late 99 in 100 delayed jobs start at the most.
    pub(crate) fn lateness(&self) -> Option<Duration> {
        nearest_rank(&self.late, 99)
    }
}

/// The least of these, which are in order, that `percent` in 100 do not exceed.
fn nearest_rank(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

/// How many entries lists have.
#[derive(Clone, Copy)]
struct Told {
    twice: usize,
    unprovoked: usize,
    beside: usize,
    unrun: usize,
    untrue: usize,
}

/// Goes through all of it; `loss` is what Redis may lose there.
pub(crate) fn account(events: &[Event], ends: &Ends, pill_tries: u32, loss: Option<Loss>) -> Account {
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
    let aborts = Aborts::of(events);
    let answers = events.iter().filter(|event| event.what == What::Answered).map(|event| (&*event.job, event.at));
    let answers: HashMap<&str, Moment> = answers.collect();
    let losses = Losses::of(loss, &disturbances, &answers, &runs, &aborts.taken);
    for id in &answered {
        let is_near = losses.of_job(id);
        account.near.jobs += usize::from(is_near);
        match () {
            () if ends.known.contains_key(*id) => {}
            () if ends.waiting.contains(*id) => account.unfinished += 1,
            () if is_near => account.near.lost += 1,
            () => account.lost.push((*id).to_owned()),
        }
    }
    let waits = waits(events, &runs, &answers);
    for (id, end) in &ends.known {
        let runs: &[Run] = runs.get(&**id).map_or(&[], Vec::as_slice);
        let before = account.told();
        settle(&mut account, id, *end, ends, runs);
        let settled = account.told();
        match Kind::of(id) {
            Kind::Aborted => aborts.settle(&mut account, id, *end, runs, &disturbances),
            kind if kind.is_deadly() => {
                let last = runs.last().map_or(Moment::NEVER, |run| run.stop);
                let other = disturbances.somebody_else_died(runs, last, usual_wait(&waits, last));
                pill(&mut account, id, *end, runs, pill_tries, other, disturbances.died());
            }
            _ => {}
        }
        if losses.of_work(id) {
            account.waive(Told { twice: before.twice, ..settled }); // no loss explains an end that is not the job's
        }
    }
    for id in refused.difference(&answered).filter(|id| runs.contains_key(**id)) {
        account.untrue.push(format!("{id} was refused, and ran"));
    }
    for event in events.iter().filter(|event| event.what == What::Asked) {
        let Some(first) = runs.get(&*event.job).and_then(|runs| runs.first()) else { continue };
        let due = event.at.after(Duration::from_millis(event.attempt.into()));
        if let Some(answer) = answers.get(&*event.job).filter(|_| event.attempt > 0 && first.fence <= 1) {
            account.late.extend(lateness(&disturbances, due.max(*answer), first));
        }
        if first.start.after(GRAIN) < due {
            account.untrue.push(format!("{} began {:?} before it was due", event.job, due.since(first.start)));
        }
        if first.fence > 1 && !disturbances.explain_claim(event.at, first.start) {
            let before = account.told();
            account.unrun.push(format!("{}, before {first:?}", event.job));
            if losses.between(event.at, first.start) {
                account.waive(before);
            }
        }
    }
    for (id, runs) in &runs {
        let before = account.told();
        repeats(&mut account, id, runs, &disturbances);
        let unheeded = beside(&mut account, id, runs, &disturbances);
        if losses.of_work(id) {
            account.waive(before);
        } else {
            account.unheeded = account.unheeded.max(unheeded);
        }
    }
    let saw_through = |run: &&Run| run.how == Stop::Ended && disturbances.was_told(run.pid, run.stop);
    account.seen_through = runs.values().flatten().filter(saw_through).count();
    let recovery = recovery(events, &runs, &disturbances);
    let own = |(at, span): &(Moment, Duration)| span.saturating_sub(usual_wait(&waits, *at));
    account.slowest = recovery.iter().map(own).max().unwrap_or_default();
    account.recovery = recovery.into_iter().map(|(_, span)| span).collect();
    account.recovery.sort_unstable();
    account.late.sort_unstable();
    account.watched = watched(events, &disturbances);
    account.witnessed = ends.known.keys().filter(|id| ends.stored.contains_key(*id)).count();
    account
}

fn settle(account: &mut Account, id: &str, end: End, ends: &Ends, runs: &[Run]) {
    let kind = Kind::of(id);
    match end {
        End::Done { fence } => {
            account.finished += 1;
            if !kind.may_end_well() {
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
        End::Dead { .. } => {
            account.dead += 1;
            if !kind.may_fail() {
                account.untrue.push(format!("{id} ended as a dead letter, by the faults of others"));
            }
        }
        End::Aborted => {
            account.aborted += 1;
            if kind != Kind::Aborted {
                account.untrue.push(format!("{id} was aborted, for which nobody had asked"));
            }
        }
        End::Expired => {
            account.expired += 1;
            if !kind.may_expire() || !runs.is_empty() {
                account.untrue.push(format!("{id} expired, of {} runs", runs.len()));
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
        if !disturbances.explain(before, next) {
            account.unprovoked.push(format!("{id}: {before:?}, then {next:?}"));
        }
        if next.fence > before.fence + 1 && !disturbances.explain_claim(before.start, next.start) {
            account.unrun.push(format!("{id}, between {before:?} and {next:?}"));
        }
        // Who is killed meanwhile, or can't be heard, gives nothing back; nor does one whose job runs elsewhere by then: its
        // lease was lost, perhaps long before, and it has not heard of that yet.
        let given_back = before.how == Stop::Cut
            && next.start >= before.stop
            && disturbances.was_told(before.pid, before.stop)
            && disturbances.stopped_in_order(before.pid);
        account.given_back += usize::from(given_back);
        let unrun = (next.fence.saturating_sub(before.fence)).saturating_sub(1); // each may have been counted
        if given_back && next.attempt > before.attempt + unrun {
            account.untrue.push(format!("{id}: attempt {} was given back, and counted", before.attempt));
        }
        if before.how == Stop::Died && next.attempt <= before.attempt {
            account.untrue.push(format!("{id}: attempt {} died, and {} is the next", before.attempt, next.attempt));
        }
        account.overlap = account.overlap.max(disturbances.overlap(before, next));
    }
}

/// Looks for runs that went on beside each other; for how long they did though who had lost the job could hear of it.
fn beside(account: &mut Account, id: &str, runs: &[Run], disturbances: &Disturbances) -> Duration {
    let mut unheeded = Duration::ZERO;
    for (index, before) in runs.iter().enumerate() {
        for next in &runs[index + 1..] {
            let loser = if next.fence < before.fence { next } else { before };
            let (from, until) = (next.start, before.stop.min(next.stop));
            match () {
                () if from >= until => {}
                () if disturbances.may_lose(loser, from) => {
                    unheeded = unheeded.max(disturbances.unheeded(loser, from, until));
                }
                () => account.beside.push(format!("{id}: {before:?}, and {next:?}")),
            }
        }
    }
    unheeded
}

/// When producers were about to ask for the abort of a job, and when they were told that it will be.
struct Aborts<'a> {
    asked: HashSet<&'a str>,
    taken: HashMap<&'a str, Moment>,
}

impl<'a> Aborts<'a> {
    fn of(events: &'a [Event]) -> Self {
        let of = |what: What| events.iter().filter(move |event| event.what == what);
        Self {
            asked: of(What::Aborting).map(|event| &*event.job).collect(),
            taken: of(What::AbortTaken).map(|event| (&*event.job, event.at)).collect(),
        }
    }

    fn settle(&self, account: &mut Account, id: &str, end: End, runs: &[Run], disturbances: &Disturbances) {
        if end == End::Aborted && !self.asked.contains(id) {
            account.untrue.push(format!("{id} was aborted before anybody asked for it"));
        }
        let ended = runs.iter().filter(|run| run.how == Stop::Ended).map(|run| run.stop).max();
        let Some((taken, ended)) = self.taken.get(id).copied().zip(ended) else { return };
        let is_late = matches!(end, End::Done { .. }) && ended > taken;
        if is_late && disturbances.is_calm(taken, ended) {
            account.untrue.push(format!("{id} was to be aborted, and worked on for {:?}", ended.since(taken)));
        }
    }
}

/// A job that kills its worker at each attempt is tried as often as it may be, and has that many starts; of a claim that
/// came to no start, somebody else's death is the reason: `other` is whether there was one when its turn came again.
fn pill(account: &mut Account, id: &str, end: End, runs: &[Run], tries: u32, other: bool, deaths: usize) {
    let starts = u32::try_from(runs.len()).unwrap_or(u32::MAX);
    // The claim after the last one that it may have finds its tries used up, or its worker dies, too, before it says so.
    let counted = matches!(end, End::Dead { attempt } if attempt == tries + 1 || attempt > tries && other);
    // One that never started was claimed each time by a worker that another job killed before it came to this one.
    let never_came_to_it = runs.is_empty() && deaths >= tries as usize;
    let is_explained = runs.last().is_some_and(|run| run.fence > starts) || other || never_came_to_it;
    if !counted || starts > tries || starts < tries && !is_explained {
        account.untrue.push(format!("{id} kills its worker, and has {starts} starts, of {tries} it may have: {end:?}"));
    }
}

/// How late a delayed job starts, from when it was due and nothing was broken; nothing if it was hit meanwhile.
fn lateness(disturbances: &Disturbances, due: Moment, first: &Run) -> Option<Duration> {
    let clear = disturbances.clear_from(due.min(first.start), first.start)?;
    Some(first.start.since(clear))
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
/// process that was there when the server came back; each with when that start was.
fn recovery(events: &[Event], runs: &BTreeMap<&str, Vec<Run>>, disturbances: &Disturbances) -> Vec<(Moment, Duration)> {
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
        let span = next.start.since(hit).saturating_sub(disturbances.excused(hit, next.start));
        spans.push((next.start, span / claims));
    }
    for trouble in &disturbances.trouble {
        spans.extend(returns(events, disturbances, trouble).into_iter().map(|span| (trouble.to.after(span), span)));
    }
    spans
}

/// When each job started that was due at once and hit by nothing, and how long it had waited; in the order of starts.
fn waits(
    events: &[Event],
    runs: &BTreeMap<&str, Vec<Run>>,
    answers: &HashMap<&str, Moment>,
) -> Vec<(Moment, Duration)> {
    let undelayed = events.iter().filter(|event| event.what == What::Asked && event.attempt == 0);
    let mut waits: Vec<_> = undelayed
        .filter_map(|event| {
            let first = runs.get(&*event.job)?.first().filter(|run| run.fence <= 1)?;
            Some((first.start, first.start.since(*answers.get(&*event.job)?)))
        })
        .collect();
    waits.sort_unstable();
    waits
}

/// How long jobs had waited that started just before `at`, in the median. Who starts again is in line with them.
fn usual_wait(waits: &[(Moment, Duration)], at: Moment) -> Duration {
    const FEW: usize = 20;
    let before = &waits[..waits.partition_point(|(start, _)| *start < at)];
    let mut last: Vec<Duration> = before.iter().rev().take(FEW).map(|(_, wait)| *wait).collect();
    last.sort_unstable();
    last.get(last.len() / 2).copied().unwrap_or_default()
}

/// How many troubles nothing else followed for [`LOOK`], while there was work and a worker that had worked before.
fn watched(events: &[Event], disturbances: &Disturbances) -> usize {
    let began = |from: Moment| events.iter().any(|event| event.what == What::Start && event.at < from);
    let is_watched =
        |trouble: &&Trouble| began(trouble.from) && disturbances.undisturbed(trouble.to).since(trouble.to) > LOOK;
    disturbances.trouble.iter().filter(is_watched).count()
}

/// For each process that worked before a trouble and lives on: how long after its end it started a job.
fn returns(events: &[Event], disturbances: &Disturbances, trouble: &Trouble) -> Vec<Duration> {
    let Trouble { from: began, to: mended, .. } = *trouble;
    let starts = || events.iter().filter(|event| event.what == What::Start);
    let workers: HashSet<i32> = starts().filter(|event| event.at < began).map(|event| event.pid).collect();
    let lives = |pid: &i32| disturbances.death(*pid).since(mended) > Duration::from_secs(1);
    let until = disturbances.undisturbed(mended);
    let there_is_work = until.since(mended) > Duration::from_millis(200);
    workers
        .into_iter()
        .filter(|pid| lives(pid) && there_is_work && !disturbances.was_away(*pid, began, until))
        .map(|pid| {
            let next = starts().find(|event| event.pid == pid && event.at >= mended).map(|event| event.at);
            next.unwrap_or(Moment::NEVER).min(until).min(disturbances.death(pid)).since(mended)
        })
        .collect()
}
