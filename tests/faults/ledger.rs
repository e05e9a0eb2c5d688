//! What happened, told by those who saw it: a line an event, in a file of each process's own.
//!
//! A line is handed to the system by one call before its writer goes on, so a `kill -9` loses none. A power cut might;
//! nothing here makes one. Times are the machine's monotonic clock, the same for all processes, which no one can set.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// A moment of the machine's monotonic clock, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    pub(crate) const START: Self = Self(0);
    pub(crate) const NEVER: Self = Self(u64::MAX);

    pub(crate) fn now() -> Self {
        let time = clock_gettime(ClockId::Monotonic);
        let part = |number: i64| u64::try_from(number).unwrap_or_default(); // neither part is ever negative
        Self(part(time.tv_sec) * 1_000_000 + part(time.tv_nsec) / 1_000)
    }

    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    pub(crate) fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }

    pub(crate) fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// What a line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A producer is about to enqueue a job.
    Asked,
    /// It was told that the job is there.
    Answered,
    /// It was told that the job is not there.
    Refused,
    /// It was told neither, and does not ask again.
    Unknown,
    /// It is about to ask for a job's abort.
    Aborting,
    /// It was told that the job is to be aborted.
    AbortTaken,
    /// A worker has begun, and says by how many seconds its wall clock is off.
    Clock,
    /// It hears signals, and is about to ask for jobs.
    Up,
    /// A task has begun to run.
    Start,
    /// It has come to its own end.
    End,
    /// It was dropped before that.
    Cut,
    /// The conductor has killed a process, which is gone.
    Killed,
    /// It has frozen a process.
    Frozen,
    /// It lets it go on.
    Thawed,
    /// It has cut a process off from the server.
    Parted,
    /// It lets it through again.
    Rejoined,
    /// It has asked a process to stop.
    Told,
    /// A process has ended by itself, or because it was told to.
    Gone,
    /// A fault of the server or of the way to it begins that can't cost a job its lease; in place of a process it has a
    /// number of its own.
    Hitch,
    /// One that can.
    Trouble,
    /// It is over.
    Mended,
    /// A sentinel has made a replica master: because it was asked to, its master died, or seemed to.
    Switched,
}

const WORDS: [(What, &str); 22] = [
    (What::Asked, "asked"),
    (What::Answered, "answered"),
    (What::Refused, "refused"),
    (What::Unknown, "unknown"),
    (What::Aborting, "aborting"),
    (What::AbortTaken, "abort-taken"),
    (What::Clock, "clock"),
    (What::Up, "up"),
    (What::Start, "start"),
    (What::End, "end"),
    (What::Cut, "cut"),
    (What::Killed, "killed"),
    (What::Frozen, "frozen"),
    (What::Thawed, "thawed"),
    (What::Parted, "parted"),
    (What::Rejoined, "rejoined"),
    (What::Told, "told"),
    (What::Gone, "gone"),
    (What::Hitch, "hitch"),
    (What::Trouble, "trouble"),
    (What::Mended, "mended"),
    (What::Switched, "switched"),
];

impl What {
    fn word(self) -> &'static str {
        WORDS.iter().find(|(what, _)| *what == self).map_or("?", |(_, word)| word)
    }
}

/// One line, read back.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) at: Moment,
    pub(crate) what: What,
    /// Whom it is about: the process that runs the job, or that was killed; or the number of a fault.
    pub(crate) pid: i32,
    /// The job, or empty.
    pub(crate) job: String,
    /// Which attempt; of what a producer asks for, after how many milliseconds it is due; of a clock, seconds.
    pub(crate) attempt: u32,
    /// That of the claim; 0 where Python runs it.
    pub(crate) fence: u32,
}

impl Event {
    /// `None` for what is no line: the last one of a process that was killed in the midst of it.
    pub(crate) fn read(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let at = Moment(words.next()?.parse().ok()?);
        let word = words.next()?;
        let (what, _) = *WORDS.iter().find(|(_, known)| *known == word)?;
        let pid = words.next()?.parse().ok()?;
        let job = words.next()?.to_owned();
        let mut number = || words.next().and_then(|word| word.parse().ok());
        Some(Self { at, what, pid, job, attempt: number()?, fence: number()? })
    }
}

/// One process's file.
#[derive(Debug)]
pub(crate) struct Ledger(File);

impl Ledger {
    pub(crate) fn open(folder: &Path, name: &str) -> io::Result<Self> {
        let file = folder.join(format!("{name}-{}.ledger", std::process::id()));
        File::options().create(true).append(true).open(file).map(Self)
    }

    /// Several jobs, each with its delay, in one line each, all in one call.
    pub(crate) fn jobs<'a>(&self, what: What, jobs: impl IntoIterator<Item = (&'a str, u32)>) {
        let mut lines = String::new();
        for (job, delay) in jobs {
            line(&mut lines, what, own_pid(), job, delay, 0);
        }
        self.append(&lines);
    }

    pub(crate) fn run(&self, what: What, job: &str, attempt: u32, fence: u32) {
        let mut text = String::new();
        line(&mut text, what, own_pid(), job, attempt, fence);
        self.append(&text);
    }

    /// How far off this process finds its clock, beside that of the kernel, which no library stands before.
    pub(crate) fn clock(&self) {
        let kernel = clock_gettime(ClockId::Realtime).tv_sec;
        let own = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs().cast_signed());
        self.run(What::Clock, "-", u32::try_from(own.abs_diff(kernel)).unwrap_or(u32::MAX), 0);
    }

    /// About a process, or a fault by its number.
    pub(crate) fn note(&self, what: What, pid: i32) {
        let mut text = String::new();
        line(&mut text, what, pid, "-", 0, 0);
        self.append(&text);
    }

    fn append(&self, lines: &str) {
        (&self.0).write_all(lines.as_bytes()).expect("a full disk is not among the faults");
    }
}

fn line(text: &mut String, what: What, pid: i32, job: &str, attempt: u32, fence: u32) {
    let Moment(now) = Moment::now();
    let _ = writeln!(text, "{now} {} {pid} {job} {attempt} {fence}", what.word());
}

fn own_pid() -> i32 {
    i32::try_from(std::process::id()).expect("process ids are small")
}

/// All that the ledgers of a folder tell, in order.
pub(crate) fn read_all(folder: &Path) -> io::Result<Vec<Event>> {
    let mut events = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "ledger") {
            events.extend(std::fs::read_to_string(path)?.lines().filter_map(Event::read));
        }
    }
    events.sort_by_key(|event| event.at);
    Ok(events)
}
