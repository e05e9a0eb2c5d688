//! One fault, or a mixture of them, from a fresh server to its account.

use std::path::PathBuf;
use std::time::Duration;

use support::Dice;
use tokio::time::{Instant, sleep};

use crate::audit;
use crate::check::{Account, Loss, NOTICE, account};
use crate::crash;
use crate::ends;
use crate::fault::{Begun, Fault, Ongoing};
use crate::ground::Server;
use crate::ledger;
use crate::load::Mix;
use crate::plant::Plant;
use crate::worker::{CALM, HARDY, HASTY, PATIENT};

/// What is tried.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) crew: Crew,
    pub(crate) server: Server,
    pub(crate) surroundings: Surroundings,
    pub(crate) workers: usize,
    /// How many workers may end by themselves, as their jobs kill them.
    pub(crate) may_crash: usize,
    pub(crate) load: Load,
    /// One of these, by chance, each time.
    pub(crate) faults: &'static [Fault],
    /// How many of them may go on beside each other.
    pub(crate) at_once: usize,
    /// Between two faults, ms.
    pub(crate) pause: std::ops::Range<u64>,
    /// After the first fault, in which the next one waits so that all can be seen to come back.
    pub(crate) quiet: Option<Duration>,
    /// The longest recovery that passes.
    pub(crate) recovery: Option<Duration>,
    /// Within which a queue is empty once producers have ended and nothing breaks any more.
    pub(crate) drain: Duration,
    /// Who is hit at each of its writes to the server, in place of all faults.
    pub(crate) victim: Option<Victim>,
    /// The guard that is taken out of the workers' scripts: then some gate must break.
    pub(crate) without: Option<&'static str>,
}

/// Whose workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crew {
    /// Ours, with a short lease.
    Hasty,
    /// Ours, with a short lease, who try a job a hundred times: beside many jobs that kill, a good one is hit often.
    Hardy,
    /// Ours, with a long one.
    Patient,
    /// The same, and who is told to stop waits for longer than any job takes.
    Calm,
    /// Stock arq's. What they do breaks no gate: it is there to compare.
    Python,
}

impl Crew {
    /// The worker's name, and that of its queue.
    pub(crate) fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Hasty => ("hasty", HASTY),
            Self::Hardy => ("hardy", HARDY),
            Self::Patient => ("patient", PATIENT),
            Self::Calm => ("calm", CALM),
            Self::Python => ("python", HASTY),
        }
    }
}

/// Who is hit, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Victim {
    pub(crate) role: Role,
    pub(crate) fate: Fate,
    /// At how many points, at the least: a fifth less than the fewest in eight runs.
    pub(crate) least: usize,
}

/// Who is hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A worker, from the first job on.
    Worker,
    /// A worker that has jobs and was told to stop.
    StoppingWorker,
    /// A producer.
    Producer,
}

/// What befalls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// `kill -9`.
    Dies,
    /// All its connections break; new ones are good after a moment.
    IsCut,
}

impl Victim {
    /// Whether who is hit can't tell what became of its calls.
    fn loses_calls(self) -> bool {
        self.role == Role::Producer && self.fate == Fate::Dies
    }
}

/// In what workers and producers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surroundings {
    Plain,
    /// On a way to the server that can be made a bad one.
    Proxy,
    /// The same for producers alone: what they have added is done before they are answered.
    ProducersProxy,
    /// Each worker has a way of its own, that can be made a bad one.
    Apart,
    /// Each worker has a way of its own to the one that all take.
    Winding,
    /// Producers are answered once a replica has their jobs.
    Confirmed,
    /// Workers' clocks are an hour late, right, and an hour early, in turns.
    Skew,
    /// Workers have 2 GB of address space.
    Narrow,
}

impl Surroundings {
    /// What stands before the command of worker number `index`.
    pub(crate) fn before(self, index: usize) -> Vec<&'static str> {
        match self {
            Self::Plain | Self::Proxy | Self::ProducersProxy | Self::Apart | Self::Winding | Self::Confirmed => {
                Vec::new()
            }
            Self::Skew => {
                // What the package's program `faketime` does, in this very process. The timers need a clock that
                // nobody sets; a setting that changes as time goes on is no fault that a machine's clock has.
                const LATE: &str = "FAKETIME=-3600s DONT_FAKE_MONOTONIC=1 LD_PRELOAD=$(echo \
                    /usr/lib/*/faketime/libfaketime.so.1) exec \"$@\"";
                const EARLY: &str = "FAKETIME=+3600s DONT_FAKE_MONOTONIC=1 LD_PRELOAD=$(echo \
                    /usr/lib/*/faketime/libfaketime.so.1) exec \"$@\"";
                let command = [LATE, "exec \"$@\"", EARLY][index % 3];
                vec!["sh", "-c", command, "skew"]
            }
            Self::Narrow => vec!["sh", "-c", "ulimit -v 2000000; exec \"$@\"", "narrow"],
        }
    }
}

/// How much is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) producers: u64,
    pub(crate) jobs: u64,
    /// Jobs a second.
    pub(crate) rate: u64,
    pub(crate) batch: u64,
    pub(crate) mix: Mix,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    pub(crate) crew: Crew,
    pub(crate) without: Option<&'static str>,
    /// What Redis itself may lose there.
    pub(crate) loss: Option<Loss>,
    pub(crate) strikes: usize,
    /// Whether it is nothing without a strike.
    pub(crate) must_strike: bool,
    /// How often it was looked whether each job is in one place.
    pub(crate) audits: usize,
    pub(crate) account: Account,
    /// The gates that did not hold; none: it passed.
    pub(crate) broken: Vec<Breach>,
    /// Where its ledgers are, when they are kept.
    pub(crate) kept: Option<PathBuf>,
    pub(crate) took: Duration,
}

/// A gate that did not hold.
#[derive(Debug)]
pub(crate) struct Breach {
    /// For people.
    pub(crate) what: String,
    /// Whether it shows no harm to a job: all came out right, but later than it may, or no fault hit where it is to hit.
    /// A machine that is busy with ten scenarios does that, too.
    pub(crate) may_be_chance: bool,
}

impl Breach {
    pub(crate) fn harm(what: impl Into<String>) -> Self {
        Self { what: what.into(), may_be_chance: false }
    }

    pub(crate) fn chance(what: impl Into<String>) -> Self {
        Self { what: what.into(), may_be_chance: true }
    }
}

impl Outcome {
    /// What came of the same with other chances.
    pub(crate) fn add(&mut self, other: Self) {
        self.strikes += other.strikes;
        self.audits += other.audits;
        self.account.add(other.account);
        self.broken.extend(other.broken);
        self.kept = self.kept.take().or(other.kept);
    }

    /// What it is called, for people.
    pub(crate) fn title(&self) -> String {
        title(self.name, self.without, self.crew)
    }

    /// Whether it came out as it should.
    pub(crate) fn is_right(&self) -> bool {
        match self.without {
            // Whatever comes of it, but not of nothing.
            _ if self.crew == Crew::Python => self.strikes > 0 || !self.must_strike,
            None => self.broken.is_empty(),
            Some(guard) => self.broken.iter().any(|broken| shows_absence(guard, &broken.what)),
        }
    }

    /// Whether it did not come out as it should, and a machine that is busy or a fault's place may be all the reason.
    pub(crate) fn may_be_chance(&self) -> bool {
        let is_harmless = self.broken.iter().all(|broken| broken.may_be_chance) || self.crew == Crew::Python;
        !self.is_right() && self.without.is_none() && is_harmless
    }

    /// What became of the gates, in a word or two.
    pub(crate) fn gates(&self) -> &'static str {
        match (self.broken.is_empty(), self.without) {
            (true, None) if self.account.near.has_lost() => "Redis's own loss",
            (true, None) => "held",
            (true, Some(_)) => "HELD WITHOUT GUARD",
            (false, None) if self.is_right() => "broken",
            (false, Some(_)) if self.is_right() => "broken, as they must",
            (false, None) => "BROKEN",
            (false, Some(_)) => "BROKEN, NOT BY THE GUARD",
        }
    }
}

/// What a scenario is called, for people.
fn title(name: &str, without: Option<&str>, crew: Crew) -> String {
    let crew = if crew == Crew::Python { "arq: " } else { "" };
    let without = without.map(|guard| format!(", no {guard} guard")).unwrap_or_default();
    format!("{crew}{name}{without}")
}

impl Scenario {
    /// What it is called, for people.
    pub(crate) fn title(&self) -> String {
        title(self.name, self.without, self.crew)
    }

    /// The same for the long form.
    pub(crate) fn longer(self) -> Self {
        if self.without.is_some() || self.crew == Crew::Python {
            return self; // these are to show something, not to find something
        }
        let may_crash = self.may_crash * 10;
        if self.load.mix == Mix::Hostile {
            // A worker dies each second, and its jobs wait out their leases: more come than three workers get done.
            // Two in five do harm: ten thousand of them.
            let drain = Duration::from_mins(20);
            return Self { load: Load { jobs: 25_000, ..self.load }, may_crash: 5_000, drain, ..self };
        }
        Self { load: Load { jobs: self.load.jobs * 10, ..self.load }, may_crash, ..self }
    }

    /// Runs it to its account; one that lacks a guard anew, with other chances, as long as none strikes where that shows.
    pub(crate) async fn settle(self, dice: Dice, keep: bool) -> Outcome {
        const TRIES: usize = 4;
        if let Some(victim) = self.victim {
            return crash::everywhere(&self, victim, &dice, keep).await;
        }
        let mut outcome = self.run(dice.clone(), keep).await;
        for number in 2..=TRIES {
            if outcome.is_right() || self.without.is_none() {
                break;
            }
            outcome = self.run(dice.apart(&number.to_string()), keep).await;
        }
        outcome
    }

    /// Runs it to its account.
    async fn run(&self, dice: Dice, keep: bool) -> Outcome {
        let began = Instant::now();
        let mut plant = Plant::start(self, dice).await;
        let strikes = self.strike(&mut plant).await;
        let mut outcome = self.close(plant, keep).await;
        if strikes == 0 && !self.faults.is_empty() {
            outcome.broken.push(Breach::chance("no fault struck: nothing was tried"));
        }
        (outcome.strikes, outcome.took) = (strikes, began.elapsed());
        outcome
    }

    /// Has the work come to its end, and takes account of it.
    pub(crate) async fn close(&self, mut plant: Plant, keep: bool) -> Outcome {
        let mut broken = Vec::new();
        broken.extend(plant.drained(self.drain).await.err().map(Breach::harm));
        broken.extend(plant.close().await.err().map(Breach::harm));
        plant.audit();
        let left = plant.tell(audit::leftovers).expect("the server answers, all faults are over");
        let ends = plant.tell(|connection| ends::read(connection, plant.queue()));
        let mut ends = ends.expect("the server answers, all faults are over");
        let events = ledger::read_all(plant.folder.path()).expect("the folder is ours");
        let (crashes, misplaced) = (std::mem::take(&mut plant.crashes), std::mem::take(&mut plant.misplaced));
        let (folder, audits) = (plant.folder, plant.audits);
        ends.stored = plant.witness.counts();
        let account = account(&events, &ends, self.load.mix.pill_tries(), self.loss());
        if crashes.len() > self.may_crash {
            broken.push(Breach::harm(format!("{} workers ended by themselves: {}", crashes.len(), crashes[0])));
        }
        // Producers are ours in all rows: what is broken of arq's is no verdict, but this is.
        assert!(self.crew != Crew::Python || plant.failures.is_empty(), "{:?}", plant.failures);
        broken.extend(std::mem::take(&mut plant.failures).into_iter().map(Breach::harm));
        broken.extend(self.gates(&account));
        // What is lost is lost by whole scripts: also of the rest each job is in one place.
        broken.extend(first_of("in two places, or in none", &misplaced));
        broken.extend(first_of("left behind", &left));
        let is_wrong = !broken.is_empty() && self.without.is_none() && self.crew != Crew::Python;
        let kept = (keep || is_wrong).then(|| folder.keep());
        Outcome {
            name: self.name,
            crew: self.crew,
            without: self.without,
            loss: self.loss(),
            strikes: 0,
            must_strike: !self.faults.is_empty(),
            audits,
            account,
            broken,
            kept,
            took: Duration::ZERO,
        }
    }

    /// What Redis may lose of what it has acknowledged: a replica becomes master which has not got all of it, or what is
    /// on the disk is all that is left.
    fn loss(&self) -> Option<Loss> {
        let restarts = self.faults.iter().any(|fault| matches!(fault, Fault::RestartServer | Fault::KeepServerDown));
        let before = match self.server {
            // What is on its way to the replica; a master that is replaced takes writes until the strike's end.
            Server::Sentinel | Server::StrictSentinel => Some(Duration::ZERO),
            // Redis holds writes back while the disk still syncs those of the second before, for two at the most.
            Server::EverySecond => restarts.then_some(Duration::from_secs(2)),
            // A snapshot begins within two seconds of the end of the one before, and must come to its own.
            Server::Snapshots => restarts.then_some(Duration::from_secs(4)),
            Server::Volatile => restarts.then_some(Duration::MAX),
            Server::Cluster => self.faults.contains(&Fault::KillMaster).then_some(Duration::ZERO), // the same
            Server::Durable => None,
        };
        let takes_jobs = self.surroundings != Surroundings::Confirmed;
        before.map(|before| Loss { before, by_restarts: restarts, takes_jobs })
    }

    /// Breaks things for as long as jobs come; how often.
    async fn strike(&self, plant: &mut Plant) -> usize {
        const AUDIT: Duration = Duration::from_millis(200);
        const AFTER: Duration = Duration::from_secs(2);
        let mut goes_on = false;
        // What hits a worker before its first job shows nothing; of few jobs one worker may take all for long.
        let longest = Instant::now() + Duration::from_secs(self.load.jobs / self.load.rate) / 4;
        let has_idle = |plant: &Plant| plant.at_work().contains(&None);
        while !self.faults.is_empty() && has_idle(plant) && Instant::now() < longest && !plant.has_produced() {
            plant.supervise();
            sleep(Duration::from_millis(20)).await;
        }
        let (mut strikes, mut next_audit, mut ongoing) = (0, Instant::now() + AUDIT, Vec::<Ongoing>::new());
        let pause = |plant: &mut Plant, strikes: usize, is_over: bool| {
            let usual = Duration::from_millis(plant.dice.within(self.pause.clone()));
            Instant::now() + self.quiet.filter(|_| strikes == 1 && is_over).unwrap_or(usual)
        };
        let mut next = pause(plant, 0, false);
        // Where producers are held up, too, faults would go on for as long as they are.
        let until = Instant::now() + Duration::from_secs(self.load.jobs / self.load.rate).mul_f64(1.5);
        loop {
            plant.supervise();
            for index in (0..ongoing.len()).rev() {
                if ongoing[index].is_over() {
                    ongoing.remove(index).mend(plant).await;
                    next = next.max(pause(plant, strikes, true));
                }
            }
            let is_over = plant.has_produced();
            let must_look = self.quiet.is_some() && strikes == 1 && Instant::now() < next;
            if is_over && must_look && ongoing.is_empty() {
                plant.go_on(next.saturating_duration_since(Instant::now()));
            } else if is_over && ongoing.is_empty() {
                if goes_on || strikes == 0 || !self.loss().is_some_and(|loss| loss.by_restarts) {
                    return strikes;
                }
                // Of what came before, Redis may lose all: what comes now must be there in the end.
                goes_on = true;
                plant.go_on(AFTER);
            }
            let has_room = ongoing.len() < self.at_once && !is_over && !goes_on && Instant::now() < until;
            if has_room && !self.faults.is_empty() && Instant::now() >= next {
                let fault = *plant.dice.pick(self.faults);
                if fault.fits(&ongoing) && !plant.spent.contains(&fault) {
                    match fault.begin(plant).await {
                        Begun::Missed => {}
                        Begun::Over => strikes += 1,
                        Begun::GoesOn(fault) => {
                            strikes += 1;
                            ongoing.push(fault);
                        }
                    }
                    next = pause(plant, strikes, ongoing.is_empty());
                }
            }
            if Instant::now() >= next_audit && ongoing.iter().all(Ongoing::leaves_server_alone) {
                let began = Instant::now();
                plant.audit();
                // It goes through all keys while the server does nothing else: a twentieth of the time, of a million, too.
                next_audit = Instant::now() + AUDIT.max(began.elapsed() * 20);
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Those that do not hold.
    pub(crate) fn gates(&self, account: &Account) -> Vec<Breach> {
        let mut broken = Vec::new();
        let mut gate = |what: &str, found: &[String]| broken.extend(first_of(what, found));
        // What Redis itself may have lost, near a strike, is in none of these.
        gate(LOST, &account.lost);
        gate(TWICE, &account.twice);
        gate(UNPROVOKED, &account.unprovoked);
        gate(BESIDE, &account.beside);
        gate(UNRUN, &account.unrun);
        gate(UNTRUE, &account.untrue);
        let ends = account.finished + account.dead + account.aborted + account.expired;
        let keeps_witness = !self
            .faults
            .iter()
            .any(|fault| matches!(fault, Fault::RestartServer | Fault::KeepServerDown | Fault::KillMaster));
        if self.crew != Crew::Python && self.loss().is_none() && keeps_witness && account.witnessed < ends * 9 / 10 {
            broken
                .push(Breach::chance(format!("Redis told of {} results, of {ends} that are there", account.witnessed)));
        }
        let may_lose_jobs = self.loss().is_some_and(|loss| loss.takes_jobs);
        if may_lose_jobs && !self.faults.is_empty() && account.near.jobs == account.acknowledged {
            broken.push(Breach::chance("Redis may have lost each job: none was acknowledged far from all strikes"));
        }
        if self.quiet.is_some() && account.watched == 0 {
            broken.push(Breach::chance("no trouble was followed by a look at who comes back"));
        }
        if self.crew == Crew::Calm && account.again > 0 {
            let what = format!("{} runs came after another one, though each stop waits for its jobs", account.again);
            broken.push(Breach::harm(what));
        }
        if self.crew == Crew::Calm && account.seen_through == 0 {
            broken.push(Breach::chance("no job ended in a worker that had been told to stop: nothing was tried"));
        }
        let hits_jobs = !self.faults.is_empty() && self.faults.iter().all(|fault| fault.hits_workers());
        let must_recover = hits_jobs && self.crew != Crew::Calm;
        if must_recover && account.recovery.is_empty() {
            broken.push(Breach::chance("no fault hit a job: nothing was tried"));
        }
        let slowest = account.slowest;
        if let Some(limit) = self.recovery.filter(|limit| slowest > *limit) {
            broken.push(Breach::chance(format!("a recovery took {slowest:.1?}, at most {limit:.1?} may it take")));
        }
        let unheeded = account.unheeded;
        if unheeded > NOTICE {
            let what = format!("a job ran beside itself for {unheeded:.1?}, at most {NOTICE:.1?} may it");
            broken.push(Breach::chance(what));
        }
        let latest = account.late.last().filter(|_| self.quiet.is_some()).copied();
        if let Some((latest, limit)) = latest.zip(self.recovery).filter(|(latest, limit)| latest > limit) {
            broken.push(Breach::chance(format!("a delayed job was {latest:.1?} late, at most {limit:.1?} may it be")));
        }
        if self.load.mix == Mix::Ending && (account.aborted == 0 || account.expired == 0) {
            broken.push(Breach::chance("no job was aborted, or none expired: that was not tried"));
        }
        if self.faults == [Fault::KillProducer] && account.acknowledged == account.asked {
            broken.push(Breach::chance("no producer died in the midst of a call"));
        }
        if self.faults == [Fault::FillMemory] && account.refused == 0 {
            broken.push(Breach::chance("no job was refused, though the memory was full"));
        }
        let may_notice =
            self.victim.is_some_and(Victim::loses_calls) || !self.faults.iter().all(|fault| fault.is_hidden());
        if !may_notice && account.acknowledged < account.asked {
            broken.push(Breach::harm(format!("{} of {} jobs were acknowledged", account.acknowledged, account.asked)));
        }
        if self.surroundings == Surroundings::Skew && self.crew != Crew::Python && account.skewed < 2 {
            broken
                .push(Breach::harm(format!("the clocks of {} workers were off, of 2 they should be", account.skewed)));
        }
        if account.acknowledged == 0 && self.victim.is_none() {
            broken.push(Breach::harm("no job was acknowledged: nothing was tried"));
        }
        broken
    }
}

const LOST: &str = "lost";
const TWICE: &str = "finished twice";
const UNPROVOKED: &str = "run again, though no fault hit it";
const BESIDE: &str = "run beside itself, though nothing kept its workers from renewing their leases";
const UNRUN: &str = "claimed, and not run, though no fault explains it";
const UNTRUE: &str = "untrue";
/// How that gate's words begin which waits for an empty queue.
pub(crate) const NOT_DRAINED: &str = "not drained";

/// Whether a broken gate is one that breaks because `guard` is missing.
fn shows_absence(guard: &str, broken: &str) -> bool {
    let gate = match guard {
        "lease" | "grace" => UNPROVOKED,
        "token" => TWICE,
        "attempts" => UNTRUE,
        "give-back" => NOT_DRAINED, // within less than the lease that nobody waits for
        "repeat" => UNRUN,
        _ => return false,
    };
    broken.starts_with(gate)
}

/// How much of something there is that should not be, and the first of it.
fn first_of(what: &str, found: &[String]) -> Option<Breach> {
    found.first().map(|first| Breach::harm(format!("{what}: {}, as {first}", found.len())))
}
