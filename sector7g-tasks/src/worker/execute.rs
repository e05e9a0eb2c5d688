use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tracing::Instrument;

use super::engine::Engine;
use super::log;
use super::meters::NotStored;
use super::outcome::{Rules, aborted, arguments_error, unknown_delay};
use super::panics::{Panicked, catch, catch_all};
use super::running::Held;
use super::settings::{EndHook, HookFuture, JobEnd, JobEndKind};
use super::supervise::{Ending, Supervised, Timed};
use crate::broker::{ClaimedJob, Finish, GiveBack, KeptResult, Outcome};
use crate::clock::Timestamp;
use crate::codec::{Codec, Envelope, JobRef, ResultRecord};
use crate::context::{Context, JobRun};
use crate::error::{TaskError, Verdict};
use crate::job::{Failure, FailureKind};
use crate::middleware::Next;
use crate::retry::RetryPolicy;
use crate::task::{Keep, RunFuture, RunResult, TaskDef};
use crate::trace;

/// The longest that an end hook may take: a slot is held meanwhile.
pub(super) const HOOK_TIMEOUT: Duration = Duration::from_secs(30);

/// See [`Engine::hold`]. Mirrors: arq's in-progress key, which outlives a schedule's job by a minute.
const HOLD_MARGIN: Duration = Duration::from_mins(1);

/// A claimed job on its way into execution.
pub(super) struct Taken {
    pub(super) engine: Arc<Engine>,
    pub(super) key: u64,
    pub(super) held: Arc<Held>,
    pub(super) has_ended: bool,
}

impl Drop for Taken {
    fn drop(&mut self) {
        if !self.has_ended {
            // Only a stop that goes on without a job drops it: its lease runs out, the job is due again.
            self.engine.running.remove([self.key]);
            if !self.engine.cut.is_cancelled() {
                log::broken(&self.engine, &self.held, "cut off: it starts again when its lease ends");
            }
        }
    }
}

/// A job whose attempt is over.
pub(super) struct Ended {
    pub(super) key: u64,
    pub(super) queue: usize,
    /// What to tell the broker; `None` when the lease was lost.
    pub(super) finish: Option<Finish>,
    pub(super) after: After,
    /// Set when a thread still runs the task's code: it holds the job's slot until it returns.
    pub(super) thread: Option<Arc<Held>>,
}

/// What `after_job_end` is given, once the broker has taken the finish; `None` without such a hook.
pub(super) type After = Option<(Context, Arc<JobEnd>)>;

/// Why a claimed job is not run.
enum NotRun {
    /// It ends here: expired, unreadable, aborted, out of tries.
    Failed(Failure, Option<Box<Seen>>),
    /// It may be another worker's.
    Unknown(Duration, String),
}

/// What could be read of a job that is not run.
struct Seen {
    task: String,
    codec: Codec,
    enqueued_at: Timestamp,
    arguments: crate::codec::Arguments,
    def: Option<&'static TaskDef>,
    tick: Option<Timestamp>,
}

/// Takes one claimed job to an outcome, whatever users' code does.
///
/// Task, hooks and middleware are guarded one by one inside, so that each failure is told as what
/// it is. This is for what is left: an error's `Display` that panics, a drop.
///
/// Who runs it keeps room for all that it awaits, for one job after the other: what is awaited rarely is boxed there.
pub(super) async fn execute_guarded(mut taken: Taken) -> Ended {
    let executed = catch_all(execute(&taken)).await;
    let ended = executed.unwrap_or_else(|panic| taken.ended(Some(taken.broken(&panic)), None));
    taken.has_ended = true;
    ended
}

async fn execute(taken: &Taken) -> Ended {
    let engine = &*taken.engine;
    let (ctx, task) = match engine.prepare(taken) {
        Ok(prepared) => prepared,
        Err(not_run) => {
            let outcome = engine.without_run(taken, not_run);
            return taken.ended(Some(outcome), None);
        }
    };
    let span = trace::job_span(&ctx);
    engine.attempt(taken, &ctx, task).instrument(span).await
}

impl Taken {
    fn ended(&self, outcome: Option<Outcome>, after: After) -> Ended {
        let held = &self.held;
        let finish = outcome.map(|outcome| Finish { lease: held.job.lease.clone(), outcome });
        let thread = held.control.is_on_pool().then(|| Arc::clone(held));
        Ended { key: self.key, queue: held.queue, finish, after, thread }
    }

    /// For a job that panicked where only what is ours should run.
    fn broken(&self, panic: &Panicked) -> Outcome {
        let problem = format!("outside of its run, it {panic}");
        let failure = Failure::new(FailureKind::Panic, problem, self.held.attempt(), self.engine.clock().now());
        log::broken(&self.engine, &self.held, &failure);
        let end = JobEnd::new(JobEndKind::Failed, Some(failure.clone()), Duration::ZERO);
        if self.held.is_counted.load(Ordering::Relaxed) {
            self.engine.meters.not_stored(self.held.queue, NotStored::Broken, 1);
        } else {
            self.engine.meters.ended_without_run(self.held.queue, self.held.task(), &end);
        }
        Outcome::End { result: None, dead: Some(failure.into()), hold_id: Duration::ZERO }
    }
}

impl Engine {
    /// Decode, look up, bind: all that comes before the task's own code.
    fn prepare(&self, taken: &Taken) -> Result<(Context, RunFuture), NotRun> {
        let Held { queue, job, control, .. } = &*taken.held;
        let now = || self.clock().now();
        let fail = |kind, message: String| Failure::new(kind, message, job.attempt, now());
        let Some(payload) = &job.payload else {
            return Err(NotRun::Failed(fail(FailureKind::Expired, "job expired".to_owned()), None));
        };
        let limit = self.settings.max_payload_size;
        if payload.len() > limit {
            return Err(NotRun::Failed(fail(FailureKind::Payload, too_large(payload.len(), limit)), None));
        }
        let (codec, mut envelope) = Codec::decode_job(payload).map_err(|error| {
            let problem = crate::error::Chain(&error).to_string();
            NotRun::Failed(fail(FailureKind::Payload, problem), None)
        })?;
        self.last_codecs[*queue].set(codec);
        if envelope.extra.tick.is_none() {
            envelope.extra.tick = self.tick_of(&envelope.task, job);
        }
        let seen = |def| Some(Box::new(Seen::of(&envelope, codec, def)));
        if job.abort_requested {
            return Err(NotRun::Failed(aborted(job.attempt, now()), seen(None)));
        }
        let Some(def) = self.tasks.get(&*envelope.task).copied() else {
            let now = now();
            return Err(match unknown_delay(job.unknown_since, now, self.settings.unknown_task_grace) {
                Some(delay) => NotRun::Unknown(delay, envelope.task.clone().into_owned()),
                None => NotRun::Failed(not_found(&envelope.task, job.attempt, now), seen(None)),
            });
        };
        // arq: a producer's `_job_try` is where counting starts.
        let attempt = job.attempt.max(envelope.job_try.unwrap_or(0));
        let max_tries = envelope.extra.max_tries.or(def.max_tries).unwrap_or(self.settings.max_tries);
        if attempt > max_tries {
            let problem = format!("max {max_tries} retries exceeded");
            return Err(NotRun::Failed(fail(FailureKind::MaxTries, problem), seen(Some(def))));
        }
        let run = JobRun {
            def,
            held: Arc::clone(&taken.held),
            attempt,
            max_tries,
            enqueued_at: envelope.enqueued_at,
            extra: envelope.extra,
            codec,
            arguments: envelope.arguments,
            worker: self.context.clone(),
        };
        let _ = control.task.set((def, attempt)); // set once: this is the only attempt of this control
        let ctx = Context(Arc::new(run));
        let unfit = |error: TaskError| {
            NotRun::Failed(Failure::of(&error, attempt, now()), Some(Box::new(Seen::of_run(&ctx.0))))
        };
        let bound = catch(|| (def.run)(ctx.clone()));
        match bound {
            Ok(Ok(task)) => Ok((ctx, task)),
            Ok(Err(error)) => Err(unfit(arguments_error(def.name, &error))),
            Err(panic) => {
                let problem = format!("task `{}`: reading its arguments {panic}", def.name);
                Err(unfit(TaskError::because(Verdict::Arguments, problem)))
            }
        }
    }

    /// The tick that a job of one of our schedules is for, when a Python worker has enqueued it: its id tells.
    fn tick_of(&self, task: &str, job: &ClaimedJob) -> Option<Timestamp> {
        let (rest, tick) = job.lease.id.as_str().rsplit_once(':')?;
        let name = rest.strip_suffix(task)?;
        let is_tick = (name.is_empty() || name.ends_with("}:")) && self.has_schedule(task);
        is_tick.then(|| tick.parse().ok().map(Timestamp::from_millis)).flatten()
    }

    fn has_schedule(&self, task: &str) -> bool {
        let is_own = self.tasks.get(task).is_some_and(|def| def.cron.is_some());
        is_own || self.settings.cron.iter().any(|entry| entry.task.name == task)
    }

    /// Runs one attempt and says what becomes of the job.
    async fn attempt(&self, taken: &Taken, ctx: &Context, task: RunFuture) -> Ended {
        let began = Instant::now();
        let started = (began, self.clock().at(began));
        log::start(&ctx.0, started.1);
        let held = &ctx.0.held;
        self.meters.started(held.queue, ctx.0.def, || started.1.since(held.job.due_at));
        let (ended, hook) = {
            let mut ending = self.supervise(ctx, task, began).await;
            if ctx.0.held.control.is_on_pool() {
                ending = Box::pin(self.outlived(&ctx.0, ending)).await;
            }
            self.conclude(taken, ctx, &ending, started)
        };
        if let Some(hook) = hook {
            hook.await;
        }
        ended
    }

    /// Waits for the thread of a plain function that goes on after its run has ended, where the job is to
    /// run again: reported before, it would run twice at once. The lease is renewed meanwhile. A final
    /// outcome does not wait, as the thread may never return; nor does an abort, or a lost lease.
    ///
    /// If it does not return in time for a stop, the stop goes on without it and the lease runs out by itself.
    async fn outlived(&self, run: &JobRun, ending: Ending) -> Ending {
        self.running.add_stray(run.def.name, Arc::clone(&run.held));
        if !Self::rules(run).is_repeated(&ending) {
            return ending;
        }
        run.held.control.off_pool_or_ended().await.map_or(ending, Ending::Cancelled)
    }

    /// What becomes of a job whose attempt has ended so, and what is to be awaited before that is reported.
    fn conclude<'a>(
        &'a self,
        taken: &Taken,
        ctx: &Context,
        ending: &Ending,
        started: (Instant, Timestamp),
    ) -> (Ended, Option<BoxFuture<'a, ()>>) {
        let ended = Instant::now();
        let finished_at = self.clock().at(ended);
        let Some(end) = self.end(&ctx.0, ending, ended - started.0, finished_at) else {
            return (taken.ended(None, None), None);
        };
        let outcome = self.outcome(ctx, ending, &end, (started.1, finished_at));
        let (on_job_end, after_job_end) = (self.settings.on_job_end, self.settings.after_job_end);
        let told = (on_job_end.is_some() || after_job_end.is_some()).then(|| Arc::new(end));
        let after = after_job_end.and(told.clone()).map(|end| (ctx.clone(), end));
        let hook = on_job_end.zip(told).map(|(hook, end)| self.call_on_job_end(hook, ctx.clone(), end).boxed());
        (taken.ended(Some(outcome), after), hook)
    }

    /// A worker that is out of time stores the outcome without the hook.
    async fn call_on_job_end(&self, hook: EndHook, ctx: Context, end: Arc<JobEnd>) {
        let _ = self.cut.run_until_cancelled(guard_hook(&JobHook("on_job_end", ctx.clone()), || hook(ctx, end))).await;
    }

    /// Decides, logs and counts how an attempt ended; `None` when the job is no longer ours.
    fn end(&self, run: &JobRun, ending: &Ending, run_time: Duration, now: Timestamp) -> Option<JobEnd> {
        // Only an error's backoff is left to chance.
        let chance = if matches!(ending, Ending::Returned(Err(_))) { rand::random() } else { 0.0 };
        let Some((kind, mut failure)) = Self::rules(run).decide(ending, now, chance) else {
            self.running.tally.lease_lost.fetch_add(1, Ordering::Relaxed);
            self.meters.lost(run.held.queue, run.def, run_time);
            trace::lost();
            log::lost(self, &run.held, "lease lost: it was cancelled here, and another worker may have it");
            return None;
        };
        if let Some(failure) = &mut failure {
            failure.ran = Some(Box::new(self.ran(now - run_time)));
        }
        let end = JobEnd::new(kind, failure, run_time);
        log::end(run.held.id(), run.def.name, run.attempt, &end);
        self.tally(run.held.queue, kind);
        self.meters.ended(run.held.queue, run.def, &end);
        trace::ended(&end);
        run.held.is_counted.store(true, Ordering::Relaxed);
        Some(end)
    }

    fn outcome(&self, ctx: &Context, ending: &Ending, end: &JobEnd, times: (Timestamp, Timestamp)) -> Outcome {
        let run = &*ctx.0;
        let value = match ending {
            Ending::Returned(Ok(value)) => Some(value),
            _ => None,
        };
        let job = JobRef { task: run.def.name, enqueued_at: run.enqueued_at, arguments: &run.arguments };
        let record = |value| ResultRecord {
            job: Some(job),
            attempt: run.attempt,
            value,
            started_at: times.0,
            finished_at: times.1,
            queue: &self.shared_names[run.held.queue],
            id: run.held.id().as_str(),
        };
        let terms = Terms {
            codec: run.codec,
            keep: self.keep(Some(run.def), run.extra.tick),
            hold_id: self.hold(run.extra.tick),
            dead_letter: run.def.dead_letter,
        };
        match (&end.failure, value) {
            (Some(failure), _) => terms.outcome(end.kind, &record(Err(failure)), Some(failure)),
            (None, Some(value)) => terms.outcome(end.kind, &record(Ok(value)), None),
            (None, None) => Outcome::GiveBack { delay: Duration::ZERO, why: GiveBack::Stop },
        }
    }

    async fn supervise(&self, ctx: &Context, task: RunFuture, began: Instant) -> Ending {
        let held = &*ctx.0.held;
        let timeout = ctx.0.def.timeout.unwrap_or(self.settings.job_timeout);
        if self.settings.on_job_start.is_none() && self.layers.is_empty() {
            return Supervised::new(Timed::new(task, held, timeout).since(began), held, &self.running).await;
        }
        let layered: Pin<Box<dyn Future<Output = RunResult> + Send + '_>> = Box::pin(async move {
            if let Some(hook) = self.settings.on_job_start {
                let started = tokio::time::timeout(HOOK_TIMEOUT, hook(ctx.clone())).await;
                started.unwrap_or_else(|_| Err(too_long("on_job_start", HOOK_TIMEOUT)))?;
            }
            let (began, limit) = (Instant::now(), timeout.saturating_add(HOOK_TIMEOUT));
            let mut run =
                pin!(Next::new(&self.layers, Box::pin(Timed::new(task, Arc::clone(&ctx.0.held), timeout))).run(ctx));
            loop {
                let deadline = held.control.deadline(began, limit);
                match tokio::time::timeout_at(deadline, run.as_mut()).await {
                    Ok(result) => return result,
                    Err(_) if Instant::now() < held.control.deadline(began, limit) => {} // it got its thread since, or waits on
                    Err(_) => return Err(too_long("the middleware", limit)),
                }
            }
        });
        Supervised::new(layered, held, &self.running).await
    }

    fn rules(run: &JobRun) -> Rules {
        let repeats = run.def.max_tries.is_some() || run.extra.max_tries.is_some();
        let policy = run.def.backoff.or(repeats.then_some(RetryPolicy::DEFAULT));
        Rules { policy, attempt: run.attempt, max_tries: run.max_tries }
    }

    fn keep(&self, def: Option<&TaskDef>, tick: Option<Timestamp>) -> Keep {
        let own = def.and_then(|def| def.keep_result);
        // arq: results of a schedule's jobs are not kept unless asked for.
        own.unwrap_or(if tick.is_some() { Keep::For(Duration::ZERO) } else { self.settings.keep_result })
    }

    /// For as long as a starting scheduler makes up for missed ticks, an ended one must not look
    /// missed: twice that and a minute, for the way of its request and for clocks that differ.
    fn hold(&self, tick: Option<Timestamp>) -> Duration {
        tick.map_or(Duration::ZERO, |_| self.settings.misfire_window.saturating_mul(2).saturating_add(HOLD_MARGIN))
    }

    fn tally(&self, queue: usize, kind: JobEndKind) {
        if let Some(attempts) = self.attempts.get(queue) {
            attempts.count(kind);
        }
        let tally = &self.running.tally;
        let count: &AtomicU64 = match kind {
            JobEndKind::Done => &tally.done,
            JobEndKind::Failed => &tally.failed,
            JobEndKind::Retried(_) => &tally.retried,
            JobEndKind::GivenBack(_) => &tally.given_back,
            JobEndKind::Aborted => &tally.aborted,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn without_run(&self, taken: &Taken, not_run: NotRun) -> Outcome {
        let id = taken.held.id();
        let (failure, seen) = match not_run {
            NotRun::Unknown(delay, task) => {
                tracing::warn!(
                    "job {id}: task `{}` is not known here; left for other workers, looked at again in {delay:?}",
                    log::Shown(&task)
                );
                let kind = JobEndKind::GivenBack(delay);
                self.tally(taken.held.queue, kind);
                self.meters.ended_without_run(taken.held.queue, None, &JobEnd::new(kind, None, Duration::ZERO));
                return Outcome::GiveBack { delay, why: GiveBack::UnknownTask };
            }
            NotRun::Failed(failure, seen) => (failure, seen),
        };
        let kind = if failure.kind == FailureKind::Aborted { JobEndKind::Aborted } else { JobEndKind::Failed };
        let task = seen.as_ref().map_or(log::UNKNOWN, |seen| &*seen.task);
        let end = JobEnd::new(kind, Some(failure.clone()), Duration::ZERO);
        log::span(self, &taken.held).in_scope(|| log::end(id, task, failure.attempt, &end));
        self.tally(taken.held.queue, kind);
        taken.held.is_counted.store(true, Ordering::Relaxed);
        let known = seen.as_ref().and_then(|seen| self.tasks.get(&*seen.task).copied());
        self.meters.ended_without_run(taken.held.queue, known, &end);
        let record = ResultRecord {
            job: seen.as_ref().map(|seen| JobRef {
                task: &seen.task,
                enqueued_at: seen.enqueued_at,
                arguments: &seen.arguments,
            }),
            attempt: failure.attempt,
            value: Err(&failure),
            started_at: failure.at,
            finished_at: failure.at,
            queue: &self.shared_names[taken.held.queue],
            id: id.as_str(),
        };
        let def = seen.as_ref().and_then(|seen| seen.def);
        let tick = seen.as_ref().and_then(|seen| seen.tick);
        let terms = Terms {
            codec: seen.as_ref().map_or_else(|| self.codec_for(taken), |seen| seen.codec),
            keep: self.keep(def, tick),
            hold_id: self.hold(tick),
            // An expired job has no payload left that could be run again.
            dead_letter: def.is_none_or(|def| def.dead_letter) && failure.kind != FailureKind::Expired,
        };
        terms.outcome(kind, &record, Some(&failure))
    }
}

impl Engine {
    /// The codec for the result of a job that could not be read: whoever enqueued it should read that.
    fn codec_for(&self, taken: &Taken) -> Codec {
        let looks = taken.held.job.payload.as_ref().and_then(|payload| Codec::detect(payload));
        let like_others = || self.last_codecs[taken.held.queue].get();
        looks.or_else(like_others).unwrap_or(self.context.0.client.codec)
    }
}

impl Seen {
    fn of(envelope: &Envelope<'_>, codec: Codec, def: Option<&'static TaskDef>) -> Self {
        Self {
            task: envelope.task.clone().into_owned(),
            codec,
            enqueued_at: envelope.enqueued_at,
            arguments: envelope.arguments.clone(),
            def,
            tick: envelope.extra.tick,
        }
    }

    fn of_run(run: &JobRun) -> Self {
        Self {
            task: run.def.name.to_owned(),
            codec: run.codec,
            enqueued_at: run.enqueued_at,
            arguments: run.arguments.clone(),
            def: Some(run.def),
            tick: run.extra.tick,
        }
    }
}

/// What task and worker say about an ended job.
struct Terms {
    codec: Codec,
    keep: Keep,
    hold_id: Duration,
    dead_letter: bool,
}

impl Terms {
    fn outcome(&self, kind: JobEndKind, record: &ResultRecord<'_>, failure: Option<&Failure>) -> Outcome {
        let dead = match kind {
            JobEndKind::Failed if self.dead_letter => failure.cloned(),
            JobEndKind::Retried(delay) => {
                let failure = failure
                    .cloned()
                    .unwrap_or_else(|| Failure::new(FailureKind::Error, "failed", record.attempt, record.finished_at));
                return Outcome::Retry { delay, failure: failure.into() };
            }
            JobEndKind::GivenBack(delay) => {
                let why = if failure.is_some() { GiveBack::Snooze } else { GiveBack::Stop };
                return Outcome::GiveBack { delay, why };
            }
            _ => None,
        };
        Outcome::End { result: self.kept(record), dead: dead.map(Box::new), hold_id: self.hold_id }
    }

    fn kept(&self, record: &ResultRecord<'_>) -> Option<KeptResult> {
        let keep = match self.keep {
            Keep::For(Duration::ZERO) => return None,
            Keep::For(span) => Some(span),
            Keep::Forever => None,
        };
        match self.codec.encode_result(record) {
            Ok(record) => Some(KeptResult { record, keep }),
            Err(error) => {
                let task = record.job.map_or(log::UNKNOWN, |job| job.task);
                let (attempt, error) = (record.attempt, crate::error::Chain(&error));
                tracing::error!(
                    "{}:{} has a result that can't be stored, try={attempt}, {error}",
                    record.id,
                    log::Shown(task)
                );
                None
            }
        }
    }
}

/// arq's own words, and what to do in the causes.
fn not_found(task: &str, attempt: u32, now: Timestamp) -> Failure {
    let mut failure =
        Failure::new(FailureKind::UnknownTask, format!("function '{}' not found", log::Shown(task)), attempt, now);
    let advice = "no worker of this queue knew it; a worker knows the tasks of the crates that its code names: `use that_crate as _;`";
    failure.causes.push(advice.to_owned());
    failure
}

fn too_large(size: usize, limit: usize) -> String {
    format!(
        "the job has {size} bytes, more than max_payload_size ({limit}), and was not read; pass a reference to where its data is, or raise the limit and retry it"
    )
}

fn too_long(what: &str, limit: Duration) -> TaskError {
    TaskError::because(Verdict::Timeout, format!("{what} ran longer than {limit:?}"))
}

/// A hook that is called for a job.
pub(super) struct JobHook(pub(super) &'static str, pub(super) Context);

impl fmt::Display for JobHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(hook, ctx) = self;
        write!(f, "{hook} of {}:{}, try={},", ctx.job_id(), ctx.task(), ctx.attempt())
    }
}

/// Awaits a hook: whatever it does, the job's outcome stands.
pub(super) async fn guard_hook(name: &(dyn fmt::Display + Send + Sync), hook: impl FnOnce() -> HookFuture) {
    // Called inside, so that a hook which panics before it returns its future is caught as well.
    let guarded = catch_all(async { hook().await });
    match tokio::time::timeout(HOOK_TIMEOUT, guarded).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => tracing::error!("hook {name} failed: {error}"),
        Ok(Err(panic)) => tracing::error!("hook {name} {panic}"),
        Err(_) => tracing::error!("hook {name} was dropped: it ran longer than {HOOK_TIMEOUT:?}"),
    }
}
