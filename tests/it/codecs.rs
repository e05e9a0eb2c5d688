//! Jobs in every codec, through a worker and back.

use std::collections::HashMap;
use std::time::Duration;

use sector7g_tasks::broker::{Due, NewJob, QueueName, RequestId};
use sector7g_tasks::codec::Codec;
use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::prelude::*;
use sector7g_tasks::testing::Harness;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const ALL: [Codec; 3] = [Codec::Json, Codec::MsgPack, Codec::Pickle];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Inspection {
    reactor: u8,
    values: HashMap<i64, f64>,
    note: Option<String>,
}

#[task(queue = "codecs")]
async fn inspect(inspection: Inspection, #[arg(default = 3)] depth: u32) -> (Inspection, u32) {
    (inspection, depth)
}

#[task(queue = "codecs")]
async fn fails(message: String) -> Result<(), std::io::Error> {
    Err(std::io::Error::other(message))
}

#[task(queue = "codecs")]
fn huge() -> String {
    "x".repeat(70_000)
}

#[task(queue = "codecs")]
async fn wide() -> u128 {
    u128::MAX
}

#[task(queue = "codecs")]
async fn echo(first: Value, second: Duration, #[arg(default)] third: Vec<u8>) -> (Value, Duration, Vec<u8>) {
    (first, second, third)
}

#[task(queue = "codecs")]
async fn reports(ctx: &Context) -> Result<u32, TaskError> {
    ctx.progress(&json!({"percent": 50})).await?;
    tokio::time::sleep(Duration::from_secs(60)).await;
    Ok(1)
}

#[derive(Worker)]
#[worker(queue = "codecs", max_result_size = 65_536)]
struct Codecs;

fn inventory() -> Inventory {
    let tasks = Inventory::empty().task::<inspect>().task::<fails>().task::<huge>().task::<wide>();
    tasks.task::<echo>().task::<reports>().worker::<Codecs>()
}

fn harness() -> Harness {
    Harness::new().inventory(inventory())
}

/// Enqueues bytes as they are, and drains the queue.
async fn run_raw(harness: &Harness, id: &str, payload: &'static [u8]) -> JobHandle<Untyped> {
    let job = NewJob {
        queue: QueueName::new("codecs").unwrap(),
        id: JobId::new(id).unwrap(),
        is_new_id: false,
        payload: payload.into(),
        due: Due::Now,
        expires_in: None,
        replace_finished: false,
    };
    harness.broker().enqueue(&[job], RequestId::unique()).await.unwrap();
    harness.drain().await.unwrap();
    harness.client().job("codecs", id).unwrap()
}

/// The codec of the stored result.
async fn result_codec(harness: &Harness, id: &JobId) -> Option<Codec> {
    let record = harness.broker().job(&QueueName::new("codecs").unwrap(), id).await.unwrap().unwrap();
    Codec::detect(&record.result.expect("a result is kept"))
}

#[tokio::test(start_paused = true)]
async fn a_result_goes_back_in_the_codec_of_its_job() {
    let harness = harness();
    let inspection =
        Inspection { reactor: 7, values: HashMap::from([(-1, 1.5), (2, 0.25)]), note: Some("λ".to_owned()) };
    for codec in ALL {
        let client = harness.client().codec(codec);
        let done = client.enqueue(inspect::job(inspection.clone(), 4)).await.unwrap();
        let failed = client.enqueue(fails::job("too hot".to_owned())).await.unwrap();
        let ill_typed = client.enqueue(Job::untyped("inspect", "codecs").arg("no reactor")).await.unwrap();
        harness.drain().await.unwrap();
        assert_eq!(done.result().await.unwrap(), (inspection.clone(), 4), "{codec:?}");
        let error = failed.result().await.unwrap_err();
        assert_eq!(&*error.failure().unwrap().message, "too hot");
        let error = ill_typed.result().await.unwrap_err();
        assert_eq!(
            error.failure().unwrap().message,
            "task `inspect`: argument `inspection` should be of type `Inspection`: invalid type: string \"no reactor\", expected struct Inspection",
        );
        for id in [done.id(), failed.id(), ill_typed.id()] {
            assert_eq!(result_codec(&harness, id).await, Some(codec));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_result_is_one_jobs_failure_in_every_codec() {
    let harness = harness();
    for codec in ALL {
        let client = harness.client().codec(codec);
        let too_large = client.enqueue(huge::job()).await.unwrap();
        let too_wide = client.enqueue(wide::job()).await.unwrap();
        harness.drain().await.unwrap();
        let error = too_large.result().await.unwrap_err();
        assert_eq!(error.failure().unwrap().kind, FailureKind::Result, "{codec:?}");
        assert!(error.failure().unwrap().message.contains("more than max_result_size (65536)"));
        match codec {
            Codec::MsgPack => {
                let failure = too_wide.result().await.unwrap_err().failure().unwrap().clone();
                assert_eq!(failure.kind, FailureKind::Result);
                assert!(failure.to_string().contains("beyond 64 bits"), "{failure}");
            }
            _ => assert_eq!(too_wide.result().await.unwrap(), u128::MAX),
        }
        assert_eq!(result_codec(&harness, too_wide.id()).await, Some(codec));
    }
}

#[tokio::test(start_paused = true)]
async fn progress_is_read_whatever_the_codec() {
    let harness = harness();
    let fleet = harness.start();
    for codec in ALL {
        let job = harness.client().codec(codec).enqueue(reports::job()).await.unwrap();
        harness.advance(Duration::from_secs(1)).await;
        assert_eq!(job.progress().await.unwrap(), Some(json!({"percent": 50})), "{codec:?}");
        assert_eq!(job.result().await.unwrap(), 1);
    }
    fleet.stop().await.unwrap();
}

/// `(datetime(2026, 11, 24, 1, 2, 3, tzinfo=utc), timedelta(seconds=90))`, `third=b"\x00\xff"`.
const DATES: &[u8] = b"\x80\x04}(\x8c\x01tN\x8c\x01f\x8c\x04echo\x8c\x01a\
    \x8c\x08datetime\x8c\x08datetime\x93C\x0a\x07\xea\x0b\x18\x01\x02\x03\0\0\0\
    \x8c\x08datetime\x8c\x08timezone\x93\x8c\x08datetime\x8c\x09timedelta\x93\x94K\0K\0K\0\x87R\x85R\x86R\
    h\0K\0KZK\0\x87R\x86\x8c\x01k}\x8c\x05thirdC\x02\0\xffs\x8c\x02et\x8a\x06\x67\xd7\x4c\x0b\xa2\x01u.";

#[tokio::test(start_paused = true)]
async fn pythons_types_bind_to_rusts() {
    let harness = harness();
    let job = run_raw(&harness, "dates", DATES).await;
    let told = json!(["2026-11-24T01:02:03Z", {"secs": 90, "nanos": 0}, [0, 255]]);
    assert_eq!(job.result().await.unwrap(), told);
    let info = job.info().await.unwrap().unwrap();
    assert_eq!(info.outcome.unwrap().unwrap().as_json(), told.to_string());
}

#[tokio::test(start_paused = true)]
async fn an_object_of_an_unknown_class_is_one_clear_error() {
    let harness = harness();
    let payload = b"\x80\x04}(\x8c\x01f\x8c\x05fails\x8c\x01acplant.valves\nValve\n)\x81}\x8c\x04sizeK\x07sb\x85\x8c\x01k}\x8c\x02etK\x01u.";
    let job = run_raw(&harness, "object", payload).await;
    let failure = job.result().await.unwrap_err().failure().unwrap().clone();
    assert_eq!(failure.kind, FailureKind::Arguments);
    assert_eq!(
        failure.message,
        "task `fails`: argument `message` should be of type `String`: it is an object of Python's class `plant.valves.Valve`, which can't be read here"
    );
    assert_eq!(harness.dead_letters("codecs").await.unwrap().len(), 1);
}

/// It may be another worker's, who knows that class.
#[tokio::test(start_paused = true)]
async fn an_unknown_task_with_an_object_is_left_for_others() {
    let harness = harness();
    let fleet = harness.start();
    let payload =
        b"\x80\x04}(\x8c\x01f\x8c\x06theirs\x8c\x01acplant.valves\nValve\n)\x81\x85\x8c\x01k}\x8c\x02etK\x01u.";
    let job = NewJob {
        queue: QueueName::new("codecs").unwrap(),
        id: JobId::new("theirs").unwrap(),
        is_new_id: false,
        payload: payload[..].into(),
        due: Due::Now,
        expires_in: None,
        replace_finished: false,
    };
    harness.broker().enqueue(&[job], RequestId::unique()).await.unwrap();
    harness.advance(Duration::from_secs(10)).await;
    let job: JobHandle<Untyped> = harness.client().job("codecs", "theirs").unwrap();
    let info = job.info().await.unwrap().unwrap();
    assert_eq!((info.task.as_deref(), info.attempt, info.failures.len()), (Some("theirs"), 0, 0));
    assert!(matches!(info.state, JobState::Deferred | JobState::Queued), "{:?}", info.state);
    fleet.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_job_ends_in_the_codec_that_it_looks_to_be_in() {
    let harness = harness();
    let payloads: [(&[u8], Codec); 4] = [
        (b"\x80\x04}(\x8c\x01f\xffu.", Codec::Pickle),
        (b"\x81\xa1f\xc1", Codec::MsgPack),
        (b"{\"f\": ", Codec::Json),
        (b"\x01\x02garbage", Codec::Json),
    ];
    for (index, (payload, codec)) in payloads.into_iter().enumerate() {
        let job = run_raw(&harness, &format!("unreadable-{index}"), payload).await;
        let error = job.result().await.unwrap_err();
        assert_eq!(error.failure().unwrap().kind, FailureKind::Payload);
        assert_eq!(result_codec(&harness, job.id()).await, Some(codec));
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_no_codec_of_its_own_takes_the_runners() {
    let harness = harness().setup(|runner| runner.codec(Codec::Pickle));
    let job = run_raw(&harness, "garbage", b"\x01\x02garbage").await;
    assert_eq!(result_codec(&harness, job.id()).await, Some(Codec::Pickle));
    assert_eq!(expired_codec(&harness).await, Some(Codec::Pickle));
}

/// A stock arq client pickles, and reads nothing else.
#[tokio::test(start_paused = true)]
async fn a_job_that_expired_ends_in_the_codec_of_its_queue() {
    let harness = harness();
    let fleet = harness.start();
    let before = harness.client().codec(Codec::Pickle).enqueue(fails::job(String::new())).await.unwrap();
    before.result().await.unwrap_err();
    assert_eq!(expired_codec(&harness).await, Some(Codec::Pickle));
    fleet.stop().await.unwrap();
}

async fn expired_codec(harness: &Harness) -> Option<Codec> {
    let late = wide::job().delay(Duration::from_secs(2)).expires(Duration::from_secs(1));
    let late = harness.client().enqueue(late).await.unwrap();
    harness.advance(Duration::from_secs(3)).await;
    harness.drain().await.unwrap();
    assert_eq!(late.result().await.unwrap_err().failure().unwrap().kind, FailureKind::Expired);
    result_codec(harness, late.id()).await
}
