//! Arguments bind the way Python's call would, and what does not fit is a dead letter.

use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::prelude::*;
use sector7g_tasks::testing::Harness;
use serde_json::{Value, json};

type Maybe = Option<u32>;

#[task(queue = "binding")]
async fn inspect(
    reactor: u8,
    depth: Maybe,
    #[arg(default = "shift".to_owned())] by: String,
    #[arg(default)] tags: Vec<String>,
) -> Value {
    json!([reactor, depth, by, tags])
}

#[task(queue = "binding")]
async fn unlock(#[arg(redact)] code: u16) -> u16 {
    code
}

#[task(queue = "binding")]
async fn nothing() {}

fn harness() -> Harness {
    Harness::new().inventory(Inventory::empty().task::<inspect>().task::<unlock>().task::<nothing>())
}

async fn bound(job: Job<Untyped>) -> Value {
    harness().run(job).await.unwrap_or_else(|error| panic!("{error}"))
}

async fn refused(job: Job<Untyped>) -> String {
    let harness = harness();
    let error = harness.run(job).await.expect_err("it should not bind");
    let failure = error.failure().unwrap();
    assert_eq!(failure.kind, FailureKind::Arguments);
    assert_eq!(harness.dead_letters("binding").await.unwrap().len(), 1, "it is kept, not lost");
    failure.message.clone()
}

fn inspect_job() -> Job<Untyped> {
    Job::untyped("inspect", "binding")
}

#[tokio::test(start_paused = true)]
async fn by_position_by_name_and_by_default() {
    assert_eq!(bound(inspect_job().arg(7)).await, json!([7, null, "shift", []]));
    assert_eq!(bound(inspect_job().arg(7).arg(3)).await, json!([7, 3, "shift", []]));
    assert_eq!(bound(inspect_job().arg(7).named_arg("by", "carl")).await, json!([7, null, "carl", []]));
    let all = inspect_job().named_arg("tags", json!(["x"])).named_arg("reactor", 1).named_arg("depth", 2);
    assert_eq!(bound(all).await, json!([1, 2, "shift", ["x"]]));
    assert_eq!(bound(inspect_job().arg(7).arg(Value::Null)).await, json!([7, null, "shift", []]));
    assert_eq!(bound(Job::untyped("nothing", "binding")).await, Value::Null);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_named() {
    assert_eq!(refused(inspect_job()).await, "task `inspect`: argument `reactor` of type `u8` is missing");
    assert_eq!(
        refused(inspect_job().arg(300)).await,
        "task `inspect`: argument `reactor` should be of type `u8`: invalid value: integer `300`, expected u8"
    );
    assert_eq!(
        refused(inspect_job().arg(3).named_arg("by", 5)).await,
        "task `inspect`: argument `by` should be of type `String`: invalid type: integer `5`, expected a string"
    );
    assert_eq!(
        refused(inspect_job().arg(3).named_arg("colour", "red")).await,
        "task `inspect`: there is no argument `colour`, only: `reactor`, `depth`, `by`, `tags`"
    );
    assert_eq!(
        refused(inspect_job().arg(3).named_arg("reactor", 3)).await,
        "task `inspect`: argument `reactor` was given twice, by position and by name"
    );
    assert_eq!(
        refused(Job::untyped("nothing", "binding").arg(1)).await,
        "task `nothing`: 1 positional arguments were given, at most 0 are taken (none)"
    );
}

#[tokio::test(start_paused = true)]
async fn a_redacted_argument_is_shown_nowhere() {
    let message = refused(Job::untyped("unlock", "binding").arg("canary-4711")).await;
    assert!(!message.contains("canary"), "{message}");

    let (lines, _guard) = support::Lines::capture();
    let harness = harness();
    assert_eq!(harness.run(unlock::job(4711)).await.unwrap(), 4711);
    assert!(lines.with("unlock(***)").len() == 1, "{:?}", lines.all());
    let typed = unlock::job(4711);
    assert!(!format!("{typed:?}").contains("4711"));
}
