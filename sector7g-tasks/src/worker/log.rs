//! The lines of a job's life, worded like arq's, so that `grep "ERROR\|failed"` finds failures: each says `<id>:<task>`,
//! `try=<attempt>` and why.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::engine::Engine;
use super::running::Held;
use super::settings::{JobEnd, JobEndKind};
use crate::broker::JobId;
use crate::clock::Timestamp;
use crate::codec::Codec;
use crate::context::JobRun;

/// How many bytes of a job's arguments a line shows.
const SHOWN_ARGUMENTS: usize = 80;

/// A start this late is worth saying. Mirrors: arq.
const LATE: Duration = Duration::from_millis(1_200);

struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:6.2}s", self.0.as_secs_f64())
    }
}

/// `<id>:<task>`, as arq's lines have it.
struct Named<'a>(&'a JobId, &'a str);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0, Shown(self.1))
    }
}

/// A name from outside: escaped and cut.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 80;
        self.0.chars().take(LONGEST).try_for_each(|letter| match letter {
            '\'' | '"' => write!(f, "{letter}"),
            other => write!(f, "{}", other.escape_debug()),
        })?;
        f.write_str(if self.0.chars().nth(LONGEST).is_some() { "…" } else { "" })
    }
}

/// Is written only if a subscriber wants the line: reading arguments costs more than running a small task.
struct Start<'a>(&'a JobRun, Duration);

impl fmt::Display for Start<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(run, waited) = self;
        let arguments = run.arguments.display(run.def.params, SHOWN_ARGUMENTS);
        write!(f, "{} → {}({arguments})", Seconds(*waited), Named(run.held.id(), run.def.name))?;
        if run.attempt > 1 {
            write!(f, " try={}", run.attempt)?;
        }
        if *waited > LATE {
            write!(f, " delayed={:.2}s", waited.as_secs_f64())?;
        }
        Ok(())
    }
}

pub(crate) fn start(run: &JobRun, now: Timestamp) {
    tracing::info!("{}", Start(run, now.since(run.held.job.due_at)));
}

/// How an attempt ended, or a job that never got to one. The caller is in the job's span.
pub(crate) fn end(id: &JobId, task: &str, attempt: u32, end: &JobEnd) {
    let (name, spent) = (Named(id, task), Seconds(end.run_time));
    let failure = end.failure.as_ref().map(ToString::to_string).unwrap_or_default();
    match end.kind {
        JobEndKind::Done => tracing::info!("{spent} ← {name} ●"),
        JobEndKind::Failed => tracing::error!("{spent} ! {name} failed, try={attempt}, {failure}"),
        JobEndKind::Retried(delay) => {
            let delay = delay.as_secs_f64();
            tracing::warn!("{spent} ↻ {name} failed, try={attempt}, retrying job in {delay:.2}s, {failure}");
        }
        JobEndKind::GivenBack(delay) if delay.is_zero() => {
            tracing::info!("{spent} ↻ {name} cancelled, will be run again");
        }
        JobEndKind::GivenBack(delay) => tracing::info!("{spent} ↻ {name} snoozed for {:.2}s", delay.as_secs_f64()),
        JobEndKind::Aborted => tracing::info!("{spent} ⊘ {name} aborted, try={attempt}"),
    }
}

/// An attempt that went wrong through no fault of its task, and that another one follows.
pub(crate) fn lost(engine: &Engine, held: &Held, why: impl fmt::Display) {
    span(engine, held).in_scope(|| tracing::warn!("⊘ {} failed, try={}, {why}", Name(held), held.attempt()));
}

/// The same, where somebody should see to it.
pub(crate) fn broken(engine: &Engine, held: &Held, why: impl fmt::Display) {
    span(engine, held).in_scope(|| tracing::error!("! {} failed, try={}, {why}", Name(held), held.attempt()));
}

/// The span of a job that is not being run.
pub(crate) fn span(engine: &Engine, held: &Held) -> tracing::Span {
    let (queue, task) = (&engine.context.0.queues[held.queue], task_of(held));
    tracing::info_span!("job", job_id = %held.id(), %task, %queue, job_try = held.attempt())
}

struct Name<'a>(&'a Held);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Named(self.0.id(), &task_of(self.0)).fmt(f)
    }
}

/// Its task's name, which is read again where it was not looked up: that costs nobody anything any more.
fn task_of(held: &Held) -> Cow<'_, str> {
    let read = || {
        let (_, envelope) = Codec::decode_job(held.job.payload.as_ref()?).ok()?;
        Some(envelope.task.into_owned().into())
    };
    held.task().map(|task| task.name.into()).or_else(read).unwrap_or(UNKNOWN.into())
}

/// What the task of a job is called that can't be read.
pub(crate) const UNKNOWN: &str = "<unknown>";
