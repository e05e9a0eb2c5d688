//! What every contender does alike: its command line, the lines it prints, its count of what has run.
//!
//! ```text
//! CONTENDER version
//! CONTENDER enqueue --url URL --settings defaults|tuned --jobs N --payload BYTES --how bulk|single|paced|deferred
//! CONTENDER work    --url URL --settings defaults|tuned --slots N --results kept|dropped --lateness yes|no
//! ```
//!
//! It says `{"ready":true}`, begins when it reads a line, and ends when its standard input does. `enqueue` says
//! `{"enqueued":N,"seconds":S}`; `work` says `{"ran":N,"since":F,"at":T}` while that grows, F and T being when the first and the
//! last one started, in seconds since 1970, and with lateness `{"late_us":[..]}`: of each job, when it started less the moment that its
//! number is, in µs. Ours is told `--queue tagged|parted`, too, on a cluster. What it has no means for it says with `{"cannot":"why"}`.
//!
//! The Rust libraries beside us, which are outside the workspace, include this very file.

use std::io::{BufRead, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often a worker tells how many jobs have run.
const TELL_EVERY: Duration = Duration::from_millis(10);

/// What jobs of one call of a bulk enqueue are at most.
pub const BULK: usize = 1_000;

/// What their texts are at most: some clients wait half a second for an answer, and no longer.
const BULK_BYTES: usize = 16 * 1024 * 1024;

/// Between two jobs of a paced enqueue, and between the due times of two deferred jobs.
pub const PACE: Duration = Duration::from_millis(20);

/// From the call to the due time of the first deferred job.
pub const AHEAD: Duration = Duration::from_millis(500);

/// What a contender is asked to do.
#[derive(Clone, Debug)]
pub enum Ask {
    /// To say which version of what it is.
    Version,
    /// To add jobs.
    Enqueue(Enqueue),
    /// To run jobs until standard input ends.
    Work(Work),
}

/// How to add jobs.
#[derive(Clone, Debug)]
pub struct Enqueue {
    /// The server.
    pub url: String,
    /// Or as the library comes.
    pub is_tuned: bool,
    /// How many.
    pub jobs: usize,
    /// Of a job's text, bytes.
    pub payload: usize,
    /// In which way.
    pub how: How,
}

/// A way of adding jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// As many in a call as the library takes, at most [`BULK`].
    Bulk,
    /// One after the other, each awaited.
    Single,
    /// One each [`PACE`]; its number is when it was, in µs since 1970.
    Paced,
    /// At once, each due [`PACE`] after the one before; its number is when, in µs since 1970.
    Deferred,
}

/// How to run jobs.
#[derive(Clone, Debug)]
pub struct Work {
    /// The server.
    pub url: String,
    /// Or as the library comes: then `slots` are what it has by itself.
    pub is_tuned: bool,
    /// How many at once.
    pub slots: usize,
    /// Whether results are kept, for an hour.
    pub keeps: bool,
}

/// What a contender can't do, and why; or what went wrong.
#[derive(Debug)]
pub struct Cannot(pub String);

impl<E: std::error::Error> From<E> for Cannot {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            text = format!("{text}: {inner}");
            cause = inner.source();
        }
        Self(text)
    }
}

impl Ask {
    /// From the command line.
    ///
    /// # Errors
    /// What is missing or not understood.
    pub fn read() -> Result<Self, Cannot> {
        let words: Vec<String> = std::env::args().skip(1).collect();
        let value = |name: &str| {
            let at = words.iter().position(|word| word == name);
            at.and_then(|at| words.get(at + 1)).ok_or_else(|| Cannot(format!("{name} is missing")))
        };
        let number = |name: &str| {
            let text = value(name)?;
            text.parse::<usize>().map_err(|_| Cannot(format!("{name} {text} is no number")))
        };
        let choice = |name: &str, yes: &str, no: &str| match value(name)?.as_str() {
            said if said == yes => Ok(true),
            said if said == no => Ok(false),
            said => Err(Cannot(format!("{name} is {yes} or {no}, not {said}"))),
        };
        match words.first().map(String::as_str) {
            Some("version") => Ok(Self::Version),
            Some("enqueue") => Ok(Self::Enqueue(Enqueue {
                url: value("--url")?.clone(),
                is_tuned: choice("--settings", "tuned", "defaults")?,
                jobs: number("--jobs")?,
                payload: number("--payload")?,
                how: match value("--how")?.as_str() {
                    "bulk" => How::Bulk,
                    "single" => How::Single,
                    "paced" => How::Paced,
                    "deferred" => How::Deferred,
                    other => return Err(Cannot(format!("--how {other}: it is bulk, single, paced or deferred"))),
                },
            })),
            Some("work") => {
                TALLY.tells_lateness.store(choice("--lateness", "yes", "no")?, Ordering::Relaxed);
                Ok(Self::Work(Work {
                    url: value("--url")?.clone(),
                    is_tuned: choice("--settings", "tuned", "defaults")?,
                    slots: number("--slots")?,
                    keeps: choice("--results", "kept", "dropped")?,
                }))
            }
            _ => Err(Cannot("the first word is version, enqueue or work".to_owned())),
        }
    }
}

impl Enqueue {
    /// The text of each job.
    #[must_use]
    pub fn text(&self) -> String {
        "the quick brown fox, 32 bytes up".chars().cycle().take(self.payload).collect()
    }

    /// The jobs of each call of a bulk enqueue.
    pub fn batches(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let (jobs, batch) = (self.jobs, (BULK_BYTES / self.payload.max(1)).clamp(1, BULK));
        (0..jobs).step_by(batch).map(move |from| from..jobs.min(from + batch))
    }
}

/// Lets a thread that is no runtime's rest.
#[expect(clippy::disallowed_methods, reason = "neither the runner nor the thread that tells is a runtime's")]
pub fn rest(span: Duration) {
    std::thread::sleep(span);
}

/// Microseconds since 1970.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "times are compared between processes, by the system's clock")]
pub fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

struct Tally {
    ran: AtomicU64,
    first_us: AtomicU64,
    last_us: AtomicU64,
    tells_lateness: AtomicBool,
    late_us: Mutex<Vec<i64>>,
}

static TALLY: Tally = Tally {
    ran: AtomicU64::new(0),
    first_us: AtomicU64::new(0),
    last_us: AtomicU64::new(0),
    tells_lateness: AtomicBool::new(false),
    late_us: Mutex::new(Vec::new()),
};

/// What every contender's job does.
pub fn ran(number: u64) {
    let now = now_us();
    if TALLY.tells_lateness.load(Ordering::Relaxed) {
        let late = i64::try_from(now).unwrap_or_default() - i64::try_from(number).unwrap_or_default();
        TALLY.late_us.lock().unwrap_or_else(PoisonError::into_inner).push(late);
    }
    if TALLY.ran.load(Ordering::Relaxed) == 0 {
        let _ = TALLY.first_us.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed); // another one was first
    }
    TALLY.last_us.store(now, Ordering::Relaxed);
    TALLY.ran.fetch_add(1, Ordering::Release);
}

/// Prints a line.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody reads any more: then nobody wants to know.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Says that it is ready, and waits for the word to begin.
pub fn wait_for_go() {
    say("{\"ready\":true}");
    let _ = std::io::stdin().lock().read_line(&mut String::new()); // an end is a word, too
}

/// Says how long adding all jobs took.
pub fn say_enqueued(jobs: usize, began: Instant) {
    say(&format!("{{\"enqueued\":{jobs},\"seconds\":{}}}", began.elapsed().as_secs_f64()));
}

/// Says why it does not do what it was asked.
pub fn say_cannot(Cannot(why): &Cannot) {
    say(&serde_json::json!({ "cannot": why }).to_string());
}

/// Seconds, of microseconds, to the last of them.
fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

/// Tells from a thread of its own what has run; `stop` is called when standard input has ended.
pub fn tell(stop: impl FnOnce() + Send + 'static) {
    std::thread::spawn(|| {
        let mut told = 0;
        loop {
            rest(TELL_EVERY);
            let ran = TALLY.ran.load(Ordering::Acquire);
            if ran == told {
                continue;
            }
            told = ran;
            let late = std::mem::take(&mut *TALLY.late_us.lock().unwrap_or_else(PoisonError::into_inner));
            if !late.is_empty() {
                say(&format!("{{\"late_us\":{late:?}}}"));
            }
            let [since, last] = [&TALLY.first_us, &TALLY.last_us].map(|us| seconds(us.load(Ordering::Relaxed)));
            say(&format!("{{\"ran\":{ran},\"since\":{since},\"at\":{last}}}"));
        }
    });
    std::thread::spawn(|| {
        let mut line = String::new();
        while std::io::stdin().lock().read_line(&mut line).is_ok_and(|read| read > 0) {}
        stop();
    });
}
