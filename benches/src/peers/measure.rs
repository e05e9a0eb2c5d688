//! What is measured, and how one run of it goes.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::Broken;
use super::contest::{Contender, OURS, Queue};
use super::figures::{Figures, Metric, percentiles};
use super::process::{Line, Process};
use super::server::Site;
use crate::side::AHEAD;

/// How long a contender may say nothing before its run counts as failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Until a worker has connected and found nothing.
const SETTLE: Duration = Duration::from_secs(1);

/// Of a job's text, unless it is what is measured.
const PAYLOAD: usize = 32;

/// Payloads of one run together, at most.
const MOST_BYTES: usize = 128 * 1024 * 1024;

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
    /// Jobs are added one by one, each awaited.
    Single,
    /// Jobs are added in bulk while a worker runs them.
    Both,
    /// A job each 20 ms on an idle worker: how long from the call to the function's start.
    Idle,
    /// Deferred jobs on an idle worker: how long from the due time to the function's start.
    Deferred,
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
            Self::Single => f.write_str("enqueue, one await at a time"),
            Self::Both => f.write_str("producer and worker together"),
            Self::Idle => f.write_str("idle latency"),
            Self::Deferred => f.write_str("deferred jobs' lateness"),
        }
    }
}

impl Measure {
    /// All that are measured, or what matters most.
    #[must_use]
    pub(super) fn all(is_quick: bool) -> Vec<Self> {
        let mut all = vec![
            Self::Drain(DRAIN),
            Self::Drain(Drain { slots: 10, ..DRAIN }),
            Self::Drain(Drain { keeps: true, ..DRAIN }),
            Self::Single,
            Self::Both,
            Self::Idle,
            Self::Deferred,
            Self::Cluster { processes: 1 },
            Self::Cluster { processes: 2 },
        ];
        if is_quick {
            return all;
        }
        all.extend([1, 10].map(|slots| Self::Drain(Drain { slots, keeps: slots > 1, ..DRAIN })));
        all.extend([1_000, 10_000, 100_000, 1_000_000].map(|jobs| Self::Drain(Drain { backlog: Some(jobs), ..DRAIN })));
        all.extend([2, 4].map(|processes| Self::Drain(Drain { processes, ..DRAIN })));
        all.extend([100, 10_000, 500_000].map(|payload| Self::Drain(Drain { payload, ..DRAIN })));
        all
    }

    /// The figure that it is for.
    #[must_use]
    pub(super) fn main(&self) -> Metric {
        match self {
            Self::Drain(_) | Self::Cluster { .. } | Self::Both => Metric::Ran,
            Self::Single => Metric::Added,
            Self::Idle | Self::Deferred => Metric::P50,
        }
    }

    /// Why this contender is left out of it, if it is.
    #[must_use]
    pub(super) fn skips(&self, contender: &Contender) -> Option<String> {
        let is_of_clusters = contender.queue != Queue::Plain;
        match self {
            Self::Cluster { .. } if !is_of_clusters => Some("its queue can't lie on a cluster".to_owned()),
            Self::Cluster { .. } => None,
            _ if is_of_clusters => Some("measured on a cluster".to_owned()),
            Self::Drain(Drain { backlog: Some(jobs), .. }) if *jobs > contender.most => {
                Some(format!("stops for good at more than {} due jobs", contender.most))
            }
            Self::Drain(Drain { backlog: Some(jobs), .. }) if *jobs / contender.load > LONGEST_DRAIN => {
                Some(format!("{jobs} jobs would take it more than {LONGEST_DRAIN} s"))
            }
            Self::Drain(drain) if !contender.is_tuned && *drain != DRAIN => {
                Some("with its defaults it has slots of its own".to_owned())
            }
            Self::Single | Self::Both | Self::Deferred if !contender.is_tuned => {
                Some("measured with its tuned settings".to_owned())
            }
            Self::Idle if contender.is_tuned && contender.name != OURS => Some("measured with its defaults".to_owned()),
            _ => None,
        }
    }

    /// Runs it once, on a server of its own.
    ///
    /// # Errors
    /// [`Broken`].
    pub(super) fn run(&self, contender: &Contender, root: &Path, seconds: usize) -> Result<Figures, Broken> {
        let site = if matches!(self, Self::Cluster { .. }) { Site::cluster()? } else { Site::one()? };
        let stage = Stage { site: &site, contender, root };
        match self {
            Self::Cluster { processes } => stage.drain(&Drain { processes: *processes, ..DRAIN }, seconds),
            Self::Drain(drain) => stage.drain(drain, seconds),
            Self::Single => stage.enqueue(4_000 * seconds, PAYLOAD, "single"),
            Self::Both => stage.both(seconds),
            Self::Idle => stage.delays(50 * (seconds + 1), "paced"),
            Self::Deferred => stage.delays(50 * seconds, "deferred"),
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
    workers: f64,
    at_us: u64,
}

/// What came of some jobs' run.
struct Ran {
    seconds: f64,
    worker_cpu: f64,
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
    fn enqueue(&self, jobs: usize, payload: usize, how: &str) -> Result<Figures, Broken> {
        let mut producer = self.producer(jobs, payload, how)?;
        let before = self.site.info()?.cpu;
        producer.go()?;
        let added = rate(jobs, enqueued(&producer)?);
        let cost = (self.site.info()?.cpu - before) * 1e6 / rate(jobs, 1.0);
        Ok([(Metric::Added, added), (Metric::AddCpu, cost)].into())
    }

    fn drain(&self, drain: &Drain, seconds: usize) -> Result<Figures, Broken> {
        let Drain { slots, keeps, processes, payload, backlog } = *drain;
        let by_load = (self.contender.load * seconds / if slots == 1 { 5 } else { 1 }).min(self.contender.most);
        let jobs = backlog.unwrap_or_else(|| by_load.min(MOST_BYTES / payload).max(100));
        let before = self.site.info()?.memory;
        let added = self.enqueue(jobs, payload, "bulk")?;
        let queued = self.site.info()?.memory - before;
        let mut workers = (0..processes).map(|_| self.worker(slots, keeps, false)).collect::<Result<Vec<_>, _>>()?;
        let start = self.start(&workers)?;
        workers.iter_mut().try_for_each(Process::go)?;
        let ran = self.collect(&start, &workers, jobs, PATIENCE)?;
        let mut figures = ran.figures(jobs);
        figures.extend(added);
        figures.insert(Metric::Memory, queued / rate(jobs, 1.0));
        Ok(figures)
    }

    fn both(&self, seconds: usize) -> Result<Figures, Broken> {
        let jobs = (self.contender.load * seconds).min(self.contender.most);
        Ok(self.beside(jobs, "bulk", false)?.figures(jobs))
    }

    fn delays(&self, jobs: usize, how: &str) -> Result<Figures, Broken> {
        Ok(percentiles(&self.beside(jobs, how, true)?.delays))
    }

    /// Adds jobs beside a worker that has found nothing yet.
    fn beside(&self, jobs: usize, how: &str, tells_lateness: bool) -> Result<Ran, Broken> {
        let mut worker = [self.worker(100, false, tells_lateness)?];
        let mut producer = self.producer(jobs, PAYLOAD, how)?;
        worker[0].go()?;
        crate::side::rest(SETTLE);
        let start = self.start(&worker)?;
        producer.go()?;
        self.collect(&start, &worker, jobs, PATIENCE + AHEAD)
    }

    fn start(&self, workers: &[Process]) -> Result<Start, Broken> {
        Ok(Start { redis: self.site.info()?.cpu, workers: cpu(workers)?, at_us: crate::side::now_us() })
    }

    /// Waits until as many jobs have run.
    fn collect(&self, start: &Start, workers: &[Process], jobs: usize, patience: Duration) -> Result<Ran, Broken> {
        let mut ran = vec![0; workers.len()];
        let (mut last, mut delays, mut heard) = (0.0_f64, Vec::new(), Instant::now());
        while ran.iter().sum::<u64>() < jobs as u64 {
            let mut is_quiet = true;
            for (worker, ran) in workers.iter().zip(&mut ran) {
                while let Some(line) = worker.try_next()? {
                    is_quiet = false;
                    heard = Instant::now();
                    match line {
                        Line::Ran(count, at) => (*ran, last) = (count, last.max(at)),
                        Line::Late(late) => delays.extend(late),
                        _ => {}
                    }
                }
            }
            if is_quiet && heard.elapsed() > patience {
                let ran: u64 = ran.iter().sum();
                return Err(Broken::new(format!("it stopped after {ran} of {jobs} jobs")));
            }
            crate::side::rest(Duration::from_millis(2));
        }
        let (worker_cpu, redis_cpu) = (cpu(workers)? - start.workers, self.site.info()?.cpu - start.redis);
        #[expect(clippy::cast_precision_loss, reason = "microseconds since 1970 are below 2^52")]
        let seconds = last - start.at_us as f64 / 1e6;
        Ok(Ran { seconds, worker_cpu, redis_cpu, delays })
    }
}

impl Ran {
    fn figures(&self, jobs: usize) -> Figures {
        let per_job = |seconds: f64| seconds * 1e6 / rate(jobs, 1.0);
        let rates = [(Metric::Ran, rate(jobs, self.seconds))];
        let costs = [(Metric::WorkerCpu, per_job(self.worker_cpu)), (Metric::RedisCpu, per_job(self.redis_cpu))];
        rates.into_iter().chain(costs).collect()
    }
}

fn cpu(workers: &[Process]) -> Result<f64, Broken> {
    workers.iter().map(Process::cpu).sum()
}

fn enqueued(producer: &Process) -> Result<f64, Broken> {
    match producer.next(PATIENCE * 4)? {
        Line::Enqueued(seconds) => Ok(seconds),
        other => Err(Broken::new(format!("it says {other:?} instead of how long it took"))),
    }
}
