//! Code around a run: middleware, hooks, the watchdog.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::prelude::*;
use sector7g_tasks::testing::Harness;
use support::Lines;

#[derive(Clone, Debug, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn add(&self, note: impl Into<String>) {
        self.0.lock().unwrap().push(note.into());
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

#[task(queue = "around", max_tries = 2, backoff = "fixed(1s)", timeout = 10)]
async fn work(State(notes): State<Notes>, how: String) -> Result<String, String> {
    notes.add("task");
    match how.as_str() {
        "fails" => Err("broken".to_owned()),
        "hangs" => std::future::pending().await,
        "panics" => panic!("at once"),
        _ => Ok(how),
    }
}

#[derive(Debug)]
struct Layer(&'static str, Notes);

#[async_trait]
impl Middleware for Layer {
    async fn run(&self, ctx: &Context, next: Next<'_>) -> RunResult {
        self.1.add(format!("{} in", self.0));
        let result = next.run(ctx).await;
        self.1.add(format!("{} out: {}", self.0, result.as_ref().err().map_or("fine".to_owned(), ToString::to_string)));
        result
    }
}

/// Answers in the task's place, or breaks in one of the ways that code around a run can.
#[derive(Debug)]
struct Odd(&'static str);

#[async_trait]
impl Middleware for Odd {
    async fn run(&self, ctx: &Context, next: Next<'_>) -> RunResult {
        match self.0 {
            "answers" => ctx.encode("from the cache"),
            "panics" => panic!("in the middleware"),
            "hangs" => std::future::pending().await,
            _ => next.run(ctx).await,
        }
    }
}

fn harness(notes: &Notes, setup: impl Fn(Runner) -> Runner + Send + Sync + 'static) -> Harness {
    let notes = notes.clone();
    Harness::new().inventory(Inventory::empty().task::<work>()).setup(move |runner| setup(runner.state(notes.clone())))
}

fn job(how: &str) -> Job<work> {
    work::job(how.to_owned())
}

#[tokio::test(start_paused = true)]
async fn the_first_layer_sees_the_job_first_and_errors_of_all_kinds() {
    for (how, error) in [
        ("works", "fine"),
        ("fails", "broken"),
        ("hangs", "ran longer than its timeout of 10s"),
        ("panics", "panicked: at once"),
    ] {
        let notes = Notes::default();
        let (outer, inner) = (notes.clone(), notes.clone());
        let harness = harness(&notes, move |runner| {
            runner.middleware(Layer("outer", outer.clone())).middleware(Layer("inner", inner.clone()))
        });
        let _ = harness.run(job(how).max_tries(1)).await;
        let out = |layer: &str| format!("{layer} out: {error}");
        assert_eq!(notes.all(), ["outer in", "inner in", "task", &out("inner"), &out("outer")]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_middleware_may_answer_or_break_and_the_worker_lives_on() {
    for (how, expected) in [
        ("answers", Ok("from the cache")),
        ("panics", Err("panicked: in the middleware")),
        ("hangs", Err("the middleware ran longer than 40s")),
    ] {
        let notes = Notes::default();
        let harness = harness(&notes, move |runner| runner.middleware(Odd(how)));
        let result = harness.run(job("works").max_tries(1)).await;
        match expected {
            Ok(value) => assert_eq!(result.unwrap(), value),
            Err(message) => assert_eq!(result.unwrap_err().failure().unwrap().message, message),
        }
        assert!(notes.all().is_empty(), "the task itself never ran");
    }
}

fn note(ctx: &WorkerContext, note: &str) {
    if let Some(notes) = ctx.state::<Notes>() {
        notes.add(note);
    }
}

async fn warm_up(ctx: &WorkerContext) {
    note(ctx, "startup");
}

async fn close(ctx: &WorkerContext) -> Result<(), String> {
    note(ctx, "shutdown");
    Err("a hook's error is logged, no more".to_owned())
}

async fn job_start(ctx: &Context) {
    note(ctx.worker(), &format!("start {}", ctx.attempt()));
}

async fn job_end(ctx: &Context, end: &JobEnd) {
    note(ctx.worker(), &format!("end {:?}", end.kind));
    assert!(ctx.attempt() < 9, "never");
}

async fn after_end(ctx: &Context, end: &JobEnd) -> Result<(), String> {
    let stored = ctx.client().job::<work>("hooked", ctx.job_id().as_str()).map_err(|error| error.to_string())?;
    let state = stored.status().await.map_err(|error| error.to_string())?;
    note(ctx.worker(), &format!("after {:?}, {state:?}", end.kind));
    panic!("a hook's panic is logged, no more")
}

#[derive(Worker)]
#[worker(
    queue = "hooked",
    on_startup = warm_up,
    on_shutdown = close,
    on_job_start = job_start,
    on_job_end = job_end,
    after_job_end = after_end
)]
struct Hooked;

#[tokio::test(start_paused = true)]
async fn hooks_run_at_their_times_and_can_break_nothing() {
    let (lines, _guard) = Lines::capture();
    let notes = Notes::default();
    let state = notes.clone();
    let harness = Harness::new()
        .inventory(Inventory::empty().task::<work>().worker::<Hooked>())
        .setup(move |runner| runner.state(state.clone()));
    let error = harness.run(job("fails").queue("hooked")).await.unwrap_err();
    assert_eq!(error.failure().unwrap().message, "broken");
    assert_eq!(
        notes.all(),
        [
            "startup",
            "start 1",
            "task",
            "end Retried(1s)".replace("1s", &retried_delay(&notes)).as_str(),
            &format!("after Retried({}), Some(Deferred)", retried_delay(&notes)),
            "start 2",
            "task",
            "end Failed",
            "after Failed, Some(Dead)",
            "shutdown"
        ]
    );
    assert_eq!(lines.with("panicked: a hook's panic is logged, no more").len(), 2);
    assert_eq!(lines.with("hook on_shutdown failed: a hook's error is logged, no more").len(), 1);
}

/// The jittered delay, as the hooks saw it.
fn retried_delay(notes: &Notes) -> String {
    let end = notes.all().into_iter().find(|note| note.starts_with("end Retried(")).unwrap();
    end.trim_start_matches("end Retried(").trim_end_matches(')').to_owned()
}

async fn no_database(_: &WorkerContext) -> Result<(), String> {
    Err("no database".to_owned())
}

#[derive(Worker)]
#[worker(queue = "around", on_startup = no_database)]
struct Unstartable;

#[tokio::test(start_paused = true)]
async fn a_failed_startup_ends_the_runner_before_any_job() {
    let notes = Notes::default();
    let harness = harness(&notes, |runner| runner).inventory(Inventory::empty().task::<work>().worker::<Unstartable>());
    let handle = harness.client().enqueue(job("works")).await.unwrap();
    let error = harness.drain().await.unwrap_err();
    assert_eq!(error.to_string(), "on_startup of worker `unstartable` failed: no database");
    assert_eq!(handle.status().await.unwrap(), Some(JobState::Queued));
}

#[task(queue = "blockers")]
#[expect(clippy::disallowed_methods, reason = "to block the thread is what it is for")]
async fn blocks_the_runtime() -> bool {
    std::thread::sleep(Duration::from_millis(1_500));
    true
}

#[task(queue = "blockers", timeout = 1)]
#[expect(clippy::disallowed_methods, reason = "to ignore its end is what it is for")]
fn ignores_its_end() {
    std::thread::sleep(Duration::from_secs(7));
}

#[derive(Worker)]
#[worker(queue = "blockers", lease = 0.3)]
struct Blockers;

/// The lease is a fifth of the blockade: without heartbeats from elsewhere it would be lost.
#[tokio::test]
async fn the_watchdog_names_who_blocks_and_heartbeats_go_on() {
    let lines = Lines::capture_everywhere();
    let harness = Harness::on(Arc::new(MemoryBroker::new()))
        .inventory(Inventory::empty().task::<blocks_the_runtime>().task::<ignores_its_end>().worker::<Blockers>());
    let (client, fleet) = (harness.client(), harness.start());
    let stray = client.enqueue(ignores_its_end::job().id("watched-stray")).await.unwrap();
    assert_eq!(stray.result().await.unwrap_err().failure().unwrap().kind, FailureKind::Timeout);
    let job = client.enqueue(blocks_the_runtime::job().id("watched-blocker")).await.unwrap();
    assert!(job.result().await.unwrap());
    let blocked = lines.with("task `blocks_the_runtime`");
    assert_eq!(blocked.len(), 1, "{:?}", lines.all());
    assert!(
        blocked[0].starts_with("WARN") && blocked[0].contains("has blocked a thread of the runtime"),
        "{blocked:?}"
    );
    // Of its own jobs: where tests share a process, it hears them all.
    let lost: Vec<String> = lines.with("watched-").into_iter().filter(|line| line.contains("lease")).collect();
    assert!(lost.is_empty(), "no lease was lost: {lost:?}");
    while lines.with("task `ignores_its_end`").is_empty() {
        tokio::task::yield_now().await;
    }
    let named = &lines.with("task `ignores_its_end`")[0];
    assert!(named.contains("ignores its cancellation") && named.contains("ask ctx.is_cancelled()"), "{named}");
    assert_eq!(fleet.stop().await.unwrap().workers[0].lease_lost, 0);
}
