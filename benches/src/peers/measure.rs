//! What is measured, and how one run of it goes.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::Broken;
use super::contest::{APALIS_MOST, Contender, OUR_DEFAULTS, OURS, Queue, RAW};
use super::dispatch;
use super::figures::{Figures, Metric, medians, percentiles};
use super::process::{Line, Process, Tally};
use super::server::Site;
use crate::side::{AHEAD, PACE};

/// How long a contender may say nothing before its run counts as failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest that jobs may take to run once they are told to: several times what the slowest is known to need.
const LONGEST: Duration = Duration::from_mins(2);

/// The same of jobs whose delay is measured, after the last of them is due: some start a few of them every so many
/// seconds, which may go on for minutes.
const LONGEST_DELAY: Duration = Duration::from_secs(35);

/// Until a worker has connected and found nothing.
const SETTLE: Duration = Duration::from_secs(1);

/// Of a job's text, unless it is what is measured.
const PAYLOAD: usize = 32;

/// Payloads of one run together, at most.
const MOST_BYTES: usize = 512 * 1024 * 1024;

/// What a bulk enqueue adds: the same for all, as a longer backlog costs less memory a job.
const MANY: usize = 50_000;

/// How often jobs that take less than a run's time are run, at most.
const MOST_TIMES: usize = 5;

/// A run that would take longer is left out.
const LONGEST_DRAIN: usize = 40;

/// One thing to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// A backlog is added in bulk, then worked off.
    Drain(Drain),
    /// The same on a cluster of three nodes, by so many processes of 400 slots.
    Cluster {
        /// Processes.
        processes: usize,
    },
    /// Jobs are added in as large calls as the library takes; no worker runs.
    Bulk,
    /// Jobs are added one by one, each awaited.
    Single,
    /// Jobs are added in bulk while a worker runs them.
    Both {
        /// Jobs; by default as many as take the contender about a second.
        jobs: Option<usize>,
    },
    /// A job each 20 ms on an idle worker, all as they come: how long from the call to the function's start.
    Idle,
    /// Deferred jobs on an idle worker: how long from the due time to the function's start.
    Deferred,
    /// A worker without Redis beside the function itself; only ours.
    Dispatch {
        /// Jobs at once.
        at_once: usize,
        /// Whether results are stored.
        keeps: bool,
    },
}

/// A backlog to be worked off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Drain {
    /// Jobs at once in one process.
    pub(super) slots: usize,
    /// Whether results are stored.
    pub(super) keeps: bool,
    /// Processes.
    pub(super) processes: usize,
    /// Bytes of a job's text.
    pub(super) payload: usize,
    /// Jobs; by default as many as take the contender about a second.
    pub(super) backlog: Option<usize>,
}

/// With 100 slots and no results, in one process.
pub(super) const DRAIN: Drain = Drain { slots: 100, keeps: false, processes: 1, payload: PAYLOAD, backlog: None };

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drain(Drain { slots, keeps, processes, payload, backlog }) => {
                write!(f, "drain, {slots} {}", if *slots == 1 { "slot" } else { "slots" })?;
                f.write_str(if *keeps { ", results kept" } else { "" })?;
                if *processes > 1 {
                    write!(f, ", {processes} processes")?;
                }
                if *payload != PAYLOAD {
                    write!(f, ", payload of {payload} bytes")?;
                }
                backlog.map_or(Ok(()), |jobs| write!(f, ", backlog of {jobs}"))
            }
            Self::Cluster { processes: 1 } => f.write_str("on a cluster of three nodes, 400 slots"),
            Self::Cluster { processes } => {
                write!(f, "on a cluster of three nodes, 400 slots, {processes} processes")
            }
            Self::Bulk => write!(f, "bulk enqueue of {MANY} jobs"),
            Self::Single => f.write_str("enqueue, one await at a time"),
            Self::Both { jobs: None } => f.write_str("producer and worker together"),
            Self::Both { jobs: Some(jobs) } => write!(f, "producer and worker together, {jobs} jobs"),
            Self::Idle => f.write_str("idle latency, defaults"),
            Self::Deferred => f.write_str("deferred jobs' lateness"),
            Self::Dispatch { at_once, keeps } => {
                write!(f, "dispatch without Redis, {at_once} at once")?;
                f.write_str(if *keeps { ", results kept" } else { "" })
            }
        }
    }
}

impl Measure {
    /// All that are measured; what is compared across measures stands together.
    #[must_use]
    pub(super) fn all() -> Vec<Self> {
        let drain = |drain: Drain| Self::Drain(drain);
        let of_processes = |processes, slots, keeps| drain(Drain { slots, keeps, processes, ..DRAIN });
        let mut all = vec![of_processes(1, 100, false), of_processes(2, 100, false), of_processes(4, 100, false)];
        all.extend([1, 2].map(|processes| of_processes(processes, 100, true)));
        all.extend([1, 2].map(|processes| of_processes(processes, 10, false)));
        all.extend([of_processes(1, 10, true), of_processes(1, 1, false), of_processes(1, 1, true)]);
        all.extend([Self::Bulk, Self::Single, Self::Both { jobs: None }, Self::Both { jobs: Some(APALIS_MOST) }]);
        all.extend([Self::Idle, Self::Deferred]);
        let backlogs = [1_000, APALIS_MOST, 10_000, 100_000, 1_000_000];
        all.extend(backlogs.map(|jobs| drain(Drain { backlog: Some(jobs), ..DRAIN })));
        all.extend([100, 10_000, 500_000].map(|payload| drain(Drain { payload, ..DRAIN })));
        all.extend([1, 2].map(|processes| Self::Cluster { processes }));
        for at_once in [100, 10] {
            all.extend([false, true].map(|keeps| Self::Dispatch { at_once, keeps }));
        }
        all
    }

    /// Those that a word names: by its whole name or key only that one, else each that has the word in it.
    #[must_use]
    pub(super) fn named(word: &str) -> Vec<Self> {
        let (all, word) = (Self::all(), word.to_lowercase());
        let is_whole = |measure: &&Self| measure.to_string().to_lowercase() == word || measure.key() == word;
        if let Some(one) = all.iter().find(is_whole) {
            return vec![*one];
        }
        let has_word =
            |measure: &Self| measure.to_string().to_lowercase().contains(&word) || measure.key().contains(&word);
        all.into_iter().filter(has_word).collect()
    }

    /// Its name as a file's, without spaces.
    #[must_use]
    pub(super) fn key(&self) -> String {
        let words = self.to_string().to_lowercase().replace(|letter: char| !letter.is_ascii_alphanumeric(), " ");
        words.split_whitespace().collect::<Vec<_>>().join("-")
    }

    /// Whether figures of the two are compared: then they take turns, too, as a machine is not the same for long.
    #[must_use]
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Drain(one), Self::Drain(other)) => {
                let is_alike = one.slots == other.slots && one.payload == PAYLOAD && other.payload == PAYLOAD;
                is_alike && one.backlog.is_some() == other.backlog.is_some()
            }
            (Self::Cluster { .. }, Self::Cluster { .. }) => true,
            _ => false,
        }
    }

    /// Whether a quick run leaves the slower peers out of it: no target asks for them there.
    #[must_use]
    pub(super) fn is_narrow(&self) -> bool {
        let broad = [DRAIN, Drain { keeps: true, ..DRAIN }, Drain { slots: 10, ..DRAIN }].map(Self::Drain);
        match self {
            Self::Drain(_) => !broad.contains(self),
            Self::Both { jobs } => jobs.is_some(),
            _ => false,
        }
    }

    /// The figures that it is for, the first of them before all.
    #[must_use]
    pub(super) fn plotted(&self) -> &'static [Metric] {
        match self {
            Self::Drain(_) | Self::Cluster { .. } | Self::Both { .. } => &[Metric::Ran],
            Self::Bulk | Self::Single => &[Metric::Added],
            Self::Idle | Self::Deferred => &[Metric::P50, Metric::P99],
            Self::Dispatch { .. } => &[Metric::Beyond],
        }
    }

    /// Which of ours the others are compared with.
    #[must_use]
    pub(super) fn ours(&self) -> &'static str {
        if *self == Self::Idle { OUR_DEFAULTS } else { OURS }
    }

    /// Why this contender is left out of it, if it is.
    #[must_use]
    pub(super) fn skips(&self, contender: &Contender) -> Option<String> {
        let is_of_clusters = contender.queue != Queue::Plain;
        match self {
            Self::Dispatch { .. } if contender.name != OURS => Some("measured without Redis".to_owned()),
            Self::Cluster { .. } if !is_of_clusters => Some("its queue can't lie on a cluster".to_owned()),
            Self::Cluster { .. } | Self::Dispatch { .. } => None,
            _ if is_of_clusters => Some("measured on a cluster".to_owned()),
            Self::Drain(Drain { processes: 2.., .. }) if contender.name == RAW => {
                Some("each process would take the same jobs".to_owned())
            }
            Self::Drain(Drain { backlog: Some(jobs), .. }) | Self::Both { jobs: Some(jobs) }
                if *jobs > contender.most =>
            {
                Some(format!("stops for good at more than {} due jobs", contender.most))
            }
            Self::Drain(Drain { backlog: Some(jobs), .. }) if *jobs / contender.load > LONGEST_DRAIN => {
                Some(format!("{jobs} jobs would take it more than {LONGEST_DRAIN} s"))
            }
            Self::Drain(drain) if !contender.is_tuned && *drain != DRAIN => {
                Some("with its defaults it has slots of its own".to_owned())
            }
            Self::Bulk | Self::Single | Self::Both { .. } | Self::Deferred if !contender.is_tuned => {
                Some("measured with its tuned settings".to_owned())
            }
            Self::Idle if contender.is_tuned => Some("measured with its defaults".to_owned()),
            _ => None,
        }
    }

    /// How many jobs make a run of its time for this contender.
    fn load(&self, contender: &Contender, seconds: usize) -> usize {
        let is_of_one = matches!(self, Self::Drain(Drain { slots: 1, .. }));
        contender.load * seconds / if is_of_one { 5 } else { 1 }
    }

    /// How many jobs are run at a time.
    fn jobs(&self, contender: &Contender, seconds: usize) -> usize {
        let load = self.load(contender, seconds).min(contender.most);
        match self {
            Self::Drain(Drain { payload, backlog, .. }) => backlog.unwrap_or(load.min(MOST_BYTES / payload).max(100)),
            Self::Both { jobs } => jobs.unwrap_or(load),
            Self::Cluster { .. } => load,
            Self::Bulk => MANY,
            Self::Single => 4_000 * seconds,
            // A percentile of few is one job's luck: 10 and 3 seconds of them.
            Self::Idle => 500 * seconds,
            Self::Deferred => 150 * seconds,
            Self::Dispatch { .. } => 0, // its probe knows
        }
    }

    /// How often they are run for one figure: what lasts some milliseconds says little.
    fn times(&self, contender: &Contender, seconds: usize) -> usize {
        match self {
            Self::Drain(Drain { payload: PAYLOAD, .. }) | Self::Both { .. } => {
                (self.load(contender, seconds) / self.jobs(contender, seconds).max(1)).clamp(1, MOST_TIMES)
            }
            _ => 1,
        }
    }

    /// Runs it, on a server of its own, a short one several times: then the figures are the medians. More than half of these must go well.
    ///
    /// # Errors
    /// [`Broken`].
    pub(super) fn run(&self, contender: &Contender, root: &Path, seconds: usize) -> Result<Figures, Broken> {
        let times = self.times(contender, seconds);
        let (mut runs, mut failed) = (Vec::new(), 0);
        for _ in 0..times {
            match self.once(contender, root, seconds) {
                Ok(figures) => runs.push(figures),
                Err(broken) if broken.is_declined || 2 * (failed + 1) >= times => return Err(broken),
                Err(Broken { why, .. }) => {
                    eprintln!("{self}: {}, one of {times} short runs: {why}", contender.name);
                    failed += 1;
                }
            }
        }
        Ok(medians(&runs))
    }

    fn once(&self, contender: &Contender, root: &Path, seconds: usize) -> Result<Figures, Broken> {
        if let Self::Dispatch { at_once, keeps } = *self {
            return dispatch::run(root, at_once, keeps);
        }
        let site = if matches!(self, Self::Cluster { .. }) { Site::cluster()? } else { Site::one()? };
        let stage = Stage { site: &site, contender, root };
        let jobs = self.jobs(contender, seconds);
        match self {
            Self::Cluster { processes } => stage.drain(&Drain { processes: *processes, ..DRAIN }, jobs),
            Self::Drain(drain) => stage.drain(drain, jobs),
            Self::Bulk => stage.bulk(jobs),
            Self::Single => stage.add(jobs, PAYLOAD, "single"),
            Self::Both { .. } => Ok(stage.beside(jobs, "bulk", None)?.figures(jobs)),
            Self::Idle => stage.delays(jobs, "paced"),
            Self::Deferred => stage.delays(jobs, "deferred"),
            Self::Dispatch { .. } => Err(Broken::new("it is measured without Redis")),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52 jobs")]
fn rate(jobs: usize, seconds: f64) -> f64 {
    jobs as f64 / seconds.max(1e-9)
}

/// Where one run happens.
struct Stage<'a> {
    site: &'a Site,
    contender: &'a Contender,
    root: &'a Path,
}

/// How things were when jobs began to run.
struct Start {
    redis: f64,
    workers: Option<f64>,
}

/// What came of some jobs' run.
struct Ran {
    seconds: f64,
    worker_cpu: Option<f64>,
    redis_cpu: f64,
    delays: Vec<f64>,
}

impl Stage<'_> {
    fn command(&self, what: &str, options: &[(&str, &str)]) -> std::process::Command {
        let mut command = self.contender.command(self.root);
        let settings = if self.contender.is_tuned { "tuned" } else { "defaults" };
        command.args([what, "--url", &self.site.url(), "--settings", settings]);
        if self.contender.queue != Queue::Plain {
            command.args(["--queue", self.contender.queue.word()]); // the others know no such option
        }
        for (name, value) in options {
            command.args([name, value]);
        }
        command
    }

    fn producer(&self, jobs: usize, payload: usize, how: &str) -> Result<Process, Broken> {
        let (jobs, payload) = (jobs.to_string(), payload.to_string());
        let options = [("--jobs", &*jobs), ("--payload", &*payload), ("--how", how)];
        Process::start(&mut self.command("enqueue", &options), PATIENCE)
    }

    fn worker(&self, slots: usize, keeps: bool, tells_lateness: bool) -> Result<Process, Broken> {
        let slots = slots.to_string();
        let results = if keeps { "kept" } else { "dropped" };
        let lateness = if tells_lateness { "yes" } else { "no" };
        let options = [("--slots", &*slots), ("--results", results), ("--lateness", lateness)];
        Process::start(&mut self.command("work", &options), PATIENCE)
    }

    /// Adds jobs: how many a second, and what Redis spent on it.
    fn add(&self, jobs: usize, payload: usize, how: &str) -> Result<Figures, Broken> {
        let mut producer = self.producer(jobs, payload, how)?;
        let before = self.site.info()?.cpu;
        producer.go()?;
        let added = rate(jobs, enqueued(&producer)?);
        Ok([(Metric::Added, added), (Metric::AddCpu, per_job(self.site.info()?.cpu - before, jobs))].into())
    }

    fn drain(&self, drain: &Drain, jobs: usize) -> Result<Figures, Broken> {
        let Drain { slots, keeps, processes, payload, .. } = *drain;
        let added = self.add(jobs, payload, "bulk")?;
        let mut workers = (0..processes).map(|_| self.worker(slots, keeps, false)).collect::<Result<Vec<_>, _>>()?;
        let start = self.start(&workers)?;
        workers.iter_mut().try_for_each(Process::go)?;
        let mut figures = self.collect(&start, &workers, jobs, LONGEST)?.figures(jobs);
        figures.extend(added);
        Ok(figures)
    }

    fn bulk(&self, jobs: usize) -> Result<Figures, Broken> {
        let before = self.site.info()?.memory;
        let mut figures = self.add(jobs, PAYLOAD, "bulk")?;
        figures.insert(Metric::Memory, (self.site.info()?.memory - before) / rate(jobs, 1.0));
        Ok(figures)
    }

    fn delays(&self, jobs: usize, how: &str) -> Result<Figures, Broken> {
        let last_due = AHEAD + PACE * u32::try_from(jobs).unwrap_or(u32::MAX);
        Ok(percentiles(&self.beside(jobs, how, Some(last_due + LONGEST_DELAY))?.delays))
    }

    /// Adds jobs beside a worker that has found nothing yet; within `longest` where delays are measured.
    fn beside(&self, jobs: usize, how: &str, longest: Option<Duration>) -> Result<Ran, Broken> {
        let (tells_lateness, longest) = (longest.is_some(), longest.unwrap_or(LONGEST));
        let mut worker = [self.worker(100, false, tells_lateness)?];
        let mut producer = self.producer(jobs, PAYLOAD, how)?;
        worker[0].go()?;
        crate::side::rest(SETTLE);
        let start = self.start(&worker)?;
        producer.go()?;
        self.collect(&start, &worker, jobs, longest)
    }

    fn start(&self, workers: &[Process]) -> Result<Start, Broken> {
        Ok(Start { redis: self.site.info()?.cpu, workers: cpu(workers)? })
    }

    /// Waits until as many jobs have run.
    fn collect(&self, start: &Start, workers: &[Process], jobs: usize, longest: Duration) -> Result<Ran, Broken> {
        let mut tallies: Vec<Option<Tally>> = vec![None; workers.len()];
        let (mut delays, mut heard) = (Vec::new(), Instant::now());
        let began = heard;
        loop {
            let sum = tallies.iter().flatten().map(|tally| tally.ran).sum::<u64>();
            if sum >= jobs as u64 {
                break;
            }
            if began.elapsed() > longest {
                return Err(Broken::new(format!("{sum} of {jobs} jobs had run after {} s", longest.as_secs())));
            }
            let mut is_quiet = true;
            for (worker, tally) in workers.iter().zip(&mut tallies) {
                while let Some(line) = worker.try_next()? {
                    is_quiet = false;
                    heard = Instant::now();
                    match line {
                        Line::Ran(now) => *tally = Some(now),
                        Line::Late(late) => delays.extend(late),
                        _ => {}
                    }
                }
            }
            if is_quiet && heard.elapsed() > PATIENCE {
                return Err(Broken::new(format!("it stood still for {PATIENCE:?} after {sum} of {jobs} jobs")));
            }
            crate::side::rest(Duration::from_millis(2));
        }
        let worker_cpu = cpu(workers)?.zip(start.workers).map(|(now, before)| now - before);
        let redis_cpu = self.site.info()?.cpu - start.redis;
        Ok(Ran { seconds: span(&tallies), worker_cpu, redis_cpu, delays })
    }
}

/// From the start of the first job to that of the last one, in whichever process, in seconds: some connect only once they are told to
/// begin, and others before.
fn span(tallies: &[Option<Tally>]) -> f64 {
    let tallies = || tallies.iter().flatten();
    let first = tallies().map(|tally| tally.since).fold(f64::INFINITY, f64::min);
    let last = tallies().map(|tally| tally.at).fold(0.0, f64::max);
    last - first
}

impl Ran {
    fn figures(&self, jobs: usize) -> Figures {
        let worker = self.worker_cpu.map(|seconds| (Metric::WorkerCpu, per_job(seconds, jobs)));
        let others = [(Metric::Ran, rate(jobs, self.seconds)), (Metric::RedisCpu, per_job(self.redis_cpu, jobs))];
        others.into_iter().chain(worker).collect()
    }
}

/// Microseconds.
fn per_job(seconds: f64, jobs: usize) -> f64 {
    seconds * 1e6 / rate(jobs, 1.0)
}

/// Of all of them, unless one is not to be known.
fn cpu(workers: &[Process]) -> Result<Option<f64>, Broken> {
    workers.iter().map(Process::cpu).sum()
}

fn enqueued(producer: &Process) -> Result<f64, Broken> {
    match producer.next(PATIENCE * 4)? {
        Line::Enqueued(seconds) => Ok(seconds),
        other => Err(Broken::new(format!("it says {other:?} instead of how long it took"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::contest::ALL;
    use super::*;

    #[test]
    fn a_span_is_from_the_first_start_of_any_process_to_the_last() {
        let tally = |since, at| Some(Tally { ran: 1, since, at });
        assert!((span(&[tally(2.0, 5.0), None, tally(1.5, 3.0)]) - 3.5).abs() < 1e-9);
    }

    #[test]
    fn what_is_short_is_run_several_times() {
        let times = |measure: Measure, name: &str| {
            let contender = ALL.iter().find(|contender| contender.name == name).expect("somebody who takes part");
            (measure.jobs(contender, 1), measure.times(contender, 1))
        };
        assert_eq!(times(Measure::Drain(DRAIN), OURS), (120_000, 1));
        assert_eq!(times(Measure::Drain(DRAIN), "apalis"), (APALIS_MOST, 5), "it can't be given more at a time");
        let backlog = |jobs| Measure::Drain(Drain { backlog: Some(jobs), ..DRAIN });
        assert_eq!(times(backlog(APALIS_MOST), OURS), (APALIS_MOST, 5));
        assert_eq!(times(backlog(1_000_000), OURS), (1_000_000, 1));
        assert_eq!(times(Measure::Both { jobs: Some(APALIS_MOST) }, OURS), (APALIS_MOST, 5));
        let (jobs, times) = times(Measure::Drain(Drain { payload: 500_000, ..DRAIN }), OURS);
        assert!(jobs > 1_000 && times == 1, "{jobs} jobs of half a megabyte are enough bytes");
    }

    #[test]
    fn figures_are_of_processors_that_tell_them() {
        let ran = |worker_cpu| Ran { seconds: 2.0, worker_cpu, redis_cpu: 0.001, delays: Vec::new() };
        let shown = |figures: Figures| figures.iter().map(|(metric, value)| metric.show(*value)).collect::<Vec<_>>();
        assert_eq!(shown(ran(Some(0.004)).figures(100)), ["50", "40.0", "10.0"]);
        assert_eq!(shown(ran(None).figures(100)), ["50", "10.0"]);
    }
}
