//! The lines of a job's life, worded like arq's, so that `grep "ERROR\|failed"` finds failures.

use std::fmt;
use std::time::Duration;

use super::settings::{JobEnd, JobEndKind};
use crate::broker::JobId;
use crate::clock::Timestamp;
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

pub(crate) fn end(id: &JobId, task: &str, end: &JobEnd) {
    let (name, spent) = (Named(id, task), Seconds(end.run_time));
    let failure = end.failure.as_ref().map(ToString::to_string).unwrap_or_default();
    match end.kind {
        JobEndKind::Done => tracing::info!("{spent} ← {name} ●"),
        JobEndKind::Failed => tracing::error!("{spent} ! {name} failed, {failure}"),
        JobEndKind::Retried(delay) => {
            tracing::warn!("{spent} ↻ {name} retrying job in {:.2}s, {failure}", delay.as_secs_f64());
        }
        JobEndKind::GivenBack(delay) if delay.is_zero() => {
            tracing::info!("{spent} ↻ {name} cancelled, will be run again");
        }
        JobEndKind::GivenBack(delay) => tracing::info!("{spent} ↻ {name} snoozed for {:.2}s", delay.as_secs_f64()),
        JobEndKind::Aborted => tracing::info!("{spent} ⊘ {name} aborted"),
    }
}
