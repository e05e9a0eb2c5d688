//! What a client can do before and after enqueueing.

use std::time::Duration;

use sector7g_tasks::broker::MAX_BATCH;
use sector7g_tasks::client::EnqueueError;
use sector7g_tasks::context::MAX_PROGRESS;
use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::prelude::*;
use sector7g_tasks::testing::Harness;
use serde_json::json;

#[task(queue = "clients")]
async fn echo(text: String) -> String {
    text
}

#[task(queue = "clients", keep_result = 0)]
async fn forgets(number: u32) -> Result<u32, String> {
    if number == 0 { Err("nothing to do".to_owned()) } else { Ok(number) }
}

/// Reports a text of so many letters, two quotes around it, and returns what came of it.
#[task(queue = "clients")]
async fn reports(ctx: &Context, letters: usize) -> String {
    match ctx.progress(&"x".repeat(letters)).await {
        Ok(()) => "stored".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// Implemented elsewhere: enqueued here by its declaration.
#[task(queue = "elsewhere", name = "echo")]
async fn echo_elsewhere(text: String) -> String;

fn harness() -> Harness {
    Harness::new().inventory(Inventory::empty().task::<echo>().task::<forgets>().task::<reports>())
}

fn text(text: &str) -> Job<echo> {
    echo::job(text.to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_taken_id_is_no_second_job_and_the_caller_can_tell() {
    let harness = harness();
    let client = harness.client();
    let first = client.enqueue(text("one").id("same")).await.unwrap();
    let second = client.enqueue(text("two").id("same")).await.unwrap();
    assert!(first.is_new() && !second.is_new());
    assert_eq!(harness.drain().await.unwrap().done(), 1);
    assert_eq!(second.result().await.unwrap(), "one", "the handle follows the job that has the id");
    let third = client.enqueue(text("three").id("same")).await.unwrap();
    assert!(!third.is_new(), "an id is taken while its result is kept");
    let fourth = client.enqueue(text("four").id("same").replace_finished()).await.unwrap();
    assert!(fourth.is_new());
    harness.drain().await.unwrap();
    assert_eq!(fourth.result().await.unwrap(), "four");
    harness.advance(Duration::from_secs(3601)).await;
    assert_eq!(fourth.status().await.unwrap(), None, "keep_result is over");
    assert!(client.enqueue(text("five").id("same")).await.unwrap().is_new());
}

#[tokio::test(start_paused = true)]
async fn delays_and_moments_are_kept_to_the_millisecond() {
    let harness = harness();
    let client = harness.client();
    let fleet = harness.start();
    let began = harness.now();
    let delayed = client.enqueue(text("a").delay(Duration::from_millis(1_234))).await.unwrap();
    let moment = client.enqueue(text("b").at(began + Duration::from_secs(90))).await.unwrap();
    assert_eq!(delayed.status().await.unwrap(), Some(JobState::Deferred));
    delayed.result().await.unwrap();
    assert_eq!(harness.now().since(began), Duration::from_millis(1_234));
    moment.result().await.unwrap();
    assert_eq!(harness.now().since(began), Duration::from_secs(90));
    fleet.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_result_may_be_waited_for_a_while() {
    let harness = harness();
    let handle = harness.client().enqueue(text("late").delay(Duration::from_secs(60))).await.unwrap();
    let fleet = harness.start();
    let error = handle.result_within(Duration::from_secs(59)).await.unwrap_err();
    assert!(matches!(error, ResultError::Timeout { .. }), "{error}");
    assert_eq!(handle.result_within(Duration::from_secs(2)).await.unwrap(), "late");
    fleet.stop().await.unwrap();
    let nobody = harness.client().job::<echo>("clients", "nobody").unwrap();
    assert!(matches!(nobody.result().await.unwrap_err(), ResultError::NotFound { .. }));
}

#[tokio::test(start_paused = true)]
async fn what_keeps_no_result_still_tells_why_it_died() {
    let harness = harness();
    let error = harness.run(forgets::job(0)).await.unwrap_err();
    assert_eq!(error.failure().unwrap().message, "nothing to do");
    let gone = harness.run(forgets::job(1)).await.unwrap_err();
    assert!(gone.to_string().contains("keep_result"), "{gone}");
}

#[tokio::test(start_paused = true)]
async fn thousands_go_in_order_and_in_few_calls() {
    let harness = harness();
    let client = harness.client();
    let count = 2 * MAX_BATCH + 500;
    let handles = client.enqueue_all((0..count).map(|number| text(&number.to_string()))).await.unwrap();
    assert_eq!(harness.drain().await.unwrap().done(), count as u64);
    for (number, handle) in handles.iter().enumerate() {
        assert_eq!(handle.result().await.unwrap(), number.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_enqueued_is_said_before_anything_is_sent() {
    let harness = harness();
    let client = harness.client();
    let error = client.enqueue(text(&"x".repeat(2_000_000))).await.unwrap_err();
    assert!(matches!(error, EnqueueError::TooLarge { size: 2_000_000.., limit: 1_048_576, .. }), "{error}");
    let error = client.enqueue(text("x").id("two\nlines")).await.unwrap_err();
    assert!(matches!(error, EnqueueError::Name { .. }), "{error}");
    let error = client.enqueue_all([text("fine"), text("bad").queue("")]).await.unwrap_err();
    assert!(matches!(error, EnqueueError::Name { .. }), "{error}");
    assert_eq!(client.stats("clients").await.unwrap().live(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_declared_task_and_a_named_one_travel_alike() {
    let harness = harness();
    let client = harness.client();
    let declared = client.enqueue(echo_elsewhere::job("declared".to_owned()).queue("clients")).await.unwrap();
    let named = client.enqueue(Job::untyped("echo", "clients").named_arg("text", "named")).await.unwrap();
    harness.drain().await.unwrap();
    assert_eq!(declared.result().await.unwrap(), "declared");
    assert_eq!(named.result().await.unwrap(), json!("named"));
}

#[tokio::test(start_paused = true)]
async fn info_tells_the_whole_life() {
    let harness = harness();
    let client = harness.client();
    let handle = client.enqueue(text("hello").id("greeting").delay(Duration::from_secs(5))).await.unwrap();
    let waiting = handle.info().await.unwrap().unwrap();
    assert_eq!((waiting.task.as_deref(), waiting.arguments.as_deref()), (Some("echo"), Some("\"hello\"")));
    assert_eq!((waiting.state, waiting.attempt), (JobState::Deferred, 0));
    harness.drain().await.unwrap();
    let ended = handle.info().await.unwrap().unwrap();
    assert_eq!((ended.state, ended.attempt, ended.task.as_deref()), (JobState::Complete, 1, Some("echo")));
    assert_eq!(ended.enqueued_at, waiting.enqueued_at);
    assert_eq!(ended.outcome.unwrap().unwrap().as_json(), "\"hello\"");
}

#[tokio::test(start_paused = true)]
async fn enqueued_jobs_can_be_asserted() {
    let harness = harness();
    harness.client().enqueue(text("later").delay(Duration::from_secs(9))).await.unwrap();
    let waiting = harness.assert_enqueued::<echo>(("later".to_owned(),)).await;
    assert_eq!(waiting.due_at.since(harness.now()), Duration::from_secs(9));
    assert!(harness.enqueued::<forgets>().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn progress_has_a_bound() {
    let harness = harness();
    assert_eq!(harness.run(reports::job(MAX_PROGRESS - 2)).await.unwrap(), "stored");
    let refused = harness.run(reports::job(MAX_PROGRESS - 1).id("chatty")).await.unwrap();
    let expected = "the broker refused the request: the progress of job chatty has 65537 bytes, more than MAX_PROGRESS (65536); \
                    store it elsewhere and report its place";
    assert_eq!(refused, expected);
}
