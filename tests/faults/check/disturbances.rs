//! What was broken when, and what that explains.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::{MARGIN, Run, Stop};
use crate::ledger::{Event, Moment, What};
use crate::worker::LEASE;

/// For how long after a trouble a job may begin that loses its lease by it: its worker claims again before its heartbeats
/// get through again.
const AFTERMATH: Duration = LEASE;

/// For how long after a trouble jobs start again that lost their leases by it: until a lease ends, and with that of grace,
/// and as long as it takes until it is their turn.
const REPEATS: Duration = LEASE.saturating_mul(2).saturating_add(Duration::from_secs(1));

/// How long before and after a sentinel says that it has made another server master, of its own accord, both may have
/// taken writes: it looks ten times a second, and demotes the old one within some looks more.
const SWITCH: Duration = Duration::from_secs(3);

/// Spans in which a process, or everybody, was kept from its work.
///
/// A hitch excuses nothing; it is one of them for what its end is: the moment from which all must go on.
#[derive(Default)]
pub(super) struct Disturbances {
    deaths: HashMap<i32, Moment>,
    killed: HashSet<i32>,
    told: HashMap<i32, Moment>,
    frozen: Vec<(i32, Moment, Moment)>,
    parted: Vec<(i32, Moment, Moment)>,
    pub(super) trouble: Vec<Trouble>,
    last_answer: Option<Moment>,
}

pub(super) struct Trouble {
    number: i32,
    pub(super) from: Moment,
    pub(super) to: Moment,
    pub(super) costs_leases: bool,
}

impl Disturbances {
    pub(super) fn of(events: &[Event]) -> Self {
        let mut found = Self::default();
        let mut switches = Vec::new();
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
                    found.trouble.push(Trouble { number: event.pid, from: event.at, to: Moment::NEVER, costs_leases });
                }
                What::Mended => {
                    let is_it = |trouble: &&mut Trouble| trouble.number == event.pid && trouble.to == Moment::NEVER;
                    if let Some(open) = found.trouble.iter_mut().rfind(is_it) {
                        open.to = event.at;
                    }
                }
                What::Answered => found.last_answer = Some(event.at),
                What::Switched => switches.push(event.at),
                _ => {}
            }
        }
        for at in switches {
            // On a busy machine its master seems dead to it: that strikes, too.
            let is_own = found.trouble.iter().all(|trouble| at < trouble.from || at > trouble.to.after(MARGIN));
            if is_own {
                let (from, to) = (at.before(SWITCH), at.after(SWITCH));
                found.trouble.push(Trouble { number: 0, from, to, costs_leases: true });
            }
        }
        found
    }

    pub(super) fn death(&self, pid: i32) -> Moment {
        self.deaths.get(&pid).copied().unwrap_or(Moment::NEVER)
    }

    /// Whether a process was asked to stop before `now`.
    pub(super) fn was_told(&self, pid: i32, now: Moment) -> bool {
        self.told.get(&pid).is_some_and(|told| *told <= now)
    }

    /// Spans in which a process could not renew its leases, though it lived.
    pub(super) fn away(&self) -> impl Iterator<Item = &(i32, Moment, Moment)> {
        self.frozen.iter().chain(&self.parted)
    }

    /// Whether anything explains that a job which `before` had runs again as `after`.
    pub(super) fn explain(&self, before: &Run, after: &Run) -> bool {
        let next = after.start;
        let touches =
            |from: Moment, to: Moment| from <= next && next <= to.after(REPEATS) && before.start <= to.after(AFTERMATH);
        let was_away = self.away().any(|(pid, from, to)| *pid == before.pid && touches(*from, *to));
        // Before its end, or before it could report that; who is asked to stop, and does, reports it first.
        let death = self.death(before.pid);
        let is_orderly = self.stopped_in_order(before.pid);
        let is_stopped = death <= next && (!is_orderly || before.how == Stop::Died);
        let is_given_back = before.how == Stop::Cut && self.was_told(before.pid, before.stop);
        let troubled = self.trouble.iter().any(|trouble| trouble.costs_leases && touches(trouble.from, trouble.to));
        // A claim that its worker could only begin with when it had been taken over; the next heartbeat tells it.
        let is_stale = after.fence < before.fence && self.was_away(after.pid, Moment::START, next);
        was_away || is_stale || is_stopped || is_given_back || troubled
    }

    /// Whether anything explains that somebody claimed a job between two moments, and did not run it.
    pub(super) fn explain_claim(&self, from: Moment, to: Moment) -> bool {
        let during = |moment: &Moment| *moment >= from && *moment <= to;
        let has_died = self.deaths.values().any(during);
        // Who has been asked to stop gives back what comes of the claims that it was waiting for.
        let is_stopping = |(pid, told): (&i32, &Moment)| {
            let until = self.death(*pid).min(told.after(AFTERMATH));
            *told <= to && until >= from
        };
        let is_stopping = self.told.iter().any(is_stopping);
        let was_away = self.away().any(|(_, began, ended)| *began <= to && *ended >= from);
        let troubled =
            |trouble: &Trouble| trouble.costs_leases && trouble.from <= to && trouble.to.after(AFTERMATH) >= from;
        has_died || is_stopping || was_away || self.trouble.iter().any(troubled)
    }

    /// Until when, from `mended` on, nothing else breaks and there is work for all.
    pub(super) fn undisturbed(&self, mended: Moment) -> Moment {
        if self.trouble.iter().any(|other| other.from < mended && other.to > mended) {
            return mended; // another one goes on
        }
        let next_trouble = self.trouble.iter().map(|next| next.from).filter(|from| *from >= mended).min();
        next_trouble.unwrap_or(Moment::NEVER).min(self.last_answer.unwrap_or(mended))
    }

    /// Whether a process was frozen or cut off at any time between the two.
    pub(super) fn was_away(&self, pid: i32, from: Moment, to: Moment) -> bool {
        self.away().any(|(other, began, ended)| *other == pid && *began <= to && *ended >= from)
    }

    /// For how long between the two nobody could be asked to recover: there was trouble, or each lease had another one of
    /// grace because of it.
    pub(super) fn excused(&self, from: Moment, to: Moment) -> Duration {
        let clipped = self.trouble.iter().map(|trouble| (trouble.from.max(from), trouble.to.after(LEASE).min(to)));
        let mut spans: Vec<_> = clipped.filter(|(from, to)| from < to).collect();
        spans.sort_unstable();
        let (mut sum, mut until) = (Duration::ZERO, from);
        for (from, to) in spans {
            sum += to.since(from.max(until));
            until = until.max(to);
        }
        sum
    }

    /// When the last of what broke something between the two was mended; `None` if a process was away or died, too.
    pub(super) fn clear_from(&self, from: Moment, to: Moment) -> Option<Moment> {
        let during = |moment: &Moment| *moment >= from && *moment <= to;
        let is_else =
            self.deaths.values().any(during) || self.away().any(|(_, began, ended)| *began <= to && *ended >= from);
        let touching = self.trouble.iter().filter(|trouble| trouble.from <= to && trouble.to >= from);
        (!is_else).then(|| touching.map(|trouble| trouble.to).fold(from, Moment::max))
    }

    /// Whether nothing was broken between the two, nor so shortly before that who waits for news has not come back.
    pub(super) fn is_calm(&self, from: Moment, to: Moment) -> bool {
        let is_near = |trouble: &Trouble| trouble.from <= to && trouble.to.after(AFTERMATH) >= from;
        self.clear_from(from, to) == Some(from) && !self.trouble.iter().any(is_near)
    }

    /// Whether a process stopped because it was told to, and could report all that it had: it was not killed meanwhile, and
    /// the server and the way there were good.
    pub(super) fn stopped_in_order(&self, pid: i32) -> bool {
        let (Some(told), death) = (self.told.get(&pid), self.death(pid)) else { return false };
        let troubled = |trouble: &Trouble| trouble.from <= death && trouble.to.after(AFTERMATH) >= *told;
        !self.killed.contains(&pid) && !self.was_away(pid, *told, death) && !self.trouble.iter().any(troubled)
    }

    /// How many workers died.
    pub(super) fn died(&self) -> usize {
        self.deaths.len()
    }

    /// Whether a worker died that none of `runs` was in, within a lease and a bit after `last` and the `wait` of a job for its
    /// turn.
    pub(super) fn somebody_else_died(&self, runs: &[Run], last: Moment, wait: Duration) -> bool {
        let until = last.after(REPEATS + wait);
        let is_other = |pid: &i32| runs.iter().all(|run| run.pid != *pid);
        self.deaths.iter().any(|(pid, at)| is_other(pid) && *at >= last && *at <= until)
    }

    /// Spans in which a run's process could not hear that its lease was lost, though it lived.
    fn deaf(&self, run: &Run) -> impl Iterator<Item = (Moment, Moment)> {
        let own = self.away().filter(|(pid, ..)| *pid == run.pid).map(|(_, from, to)| (*from, *to));
        let all = self.trouble.iter().filter(|trouble| trouble.costs_leases);
        own.chain(all.map(|trouble| (trouble.from, trouble.to)))
    }

    /// Whether a run's process, alive, may have lost its lease by `now`.
    pub(super) fn may_lose(&self, run: &Run, now: Moment) -> bool {
        self.deaf(run).any(|(from, to)| from <= now && run.start <= to.after(AFTERMATH))
    }

    /// The longest time between the two in which a run's process could hear that its lease was lost, all at a stretch.
    pub(super) fn unheeded(&self, run: &Run, from: Moment, until: Moment) -> Duration {
        let mut spans: Vec<_> = self.deaf(run).collect();
        spans.sort_unstable();
        let (mut longest, mut since) = (Duration::ZERO, from);
        for (began, ended) in spans {
            longest = longest.max(began.min(until).since(since));
            since = since.max(ended);
        }
        longest.max(until.since(since))
    }

    /// How long two runs went on beside each other; a frozen process runs nothing.
    pub(super) fn overlap(&self, before: &Run, next: &Run) -> Duration {
        let until = before.stop.min(next.stop);
        let frozen = self.frozen.iter().filter(|(pid, ..)| *pid == before.pid || *pid == next.pid);
        let from = frozen.filter(|(_, from, _)| *from <= until).map(|(.., to)| *to).fold(next.start, Moment::max);
        until.since(from)
    }
}
