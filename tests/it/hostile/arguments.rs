//! Arguments of any number, order, name and type, from any producer, for a function of several parameters: they bind as
//! Python's call would, or are one job's failure that says which one does not fit.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;
use sector7g_tasks::broker::{Due, NewJob, QueueName, RequestId};
use sector7g_tasks::codec::Codec;
use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::job::MAX_FAILURE_TEXT;
use sector7g_tasks::prelude::*;
use sector7g_tasks::testing::Harness;
use serde_json::{Value, json};
use tokio::runtime::Builder;

type Maybe = Option<u32>;

#[task(queue = "arguments")]
async fn inspect(
    reactor: u8,
    depth: Maybe,
    #[arg(default = "shift".to_owned())] by: String,
    #[arg(default)] tags: Vec<Value>,
    #[arg(redact)] code: Option<i64>,
) -> Value {
    json!([reactor, depth, by, tags, code])
}

const NAMES: [&str; 5] = ["reactor", "depth", "by", "tags", "code"];

/// What Python's call would make of it: the values, or a part of what must be said; of several unknown names, about one
/// of them.
fn expected(positional: &[Value], named: &BTreeMap<String, Value>) -> Result<Value, Vec<String>> {
    let fits = |nth: usize, value: &Value| match nth {
        0 => value.as_u64().is_some_and(|number| u8::try_from(number).is_ok()),
        1 => value.is_null() || value.as_u64().is_some_and(|number| u32::try_from(number).is_ok()),
        2 => value.is_string(),
        3 => value.is_array(),
        _ => value.is_null() || value.is_i64(),
    };
    let misfit = |nth: usize| vec![format!("argument `{}` should be of type", NAMES[nth])];
    if let Some(nth) = (0..positional.len().min(NAMES.len())).find(|nth| !fits(*nth, &positional[*nth])) {
        return Err(misfit(nth));
    }
    if positional.len() > NAMES.len() {
        return Err(vec![format!("{} positional arguments were given, at most 5 are taken", positional.len())]);
    }
    let mut values = Vec::new();
    for (nth, name) in NAMES.into_iter().enumerate() {
        let value = match (positional.get(nth), named.get(name)) {
            (Some(_), Some(_)) => {
                return Err(vec![format!("argument `{name}` was given twice, by position and by name")]);
            }
            (None, Some(value)) if !fits(nth, value) => return Err(misfit(nth)),
            (Some(value), None) | (None, Some(value)) => value.clone(),
            (None, None) if nth == 0 => return Err(vec!["argument `reactor` of type `u8` is missing".to_owned()]),
            (None, None) => [json!(0), Value::Null, json!("shift"), json!([]), Value::Null][nth].clone(),
        };
        values.push(value);
    }
    let unknown = named.keys().filter(|name| !NAMES.contains(&&***name));
    let problems: Vec<String> =
        unknown.map(|name| format!("there is no argument `{}`", name.chars().take(80).collect::<String>())).collect();
    if problems.is_empty() { Ok(Value::Array(values)) } else { Err(problems) }
}

/// A harness, and what became of each payload on it.
fn run(payloads: Vec<Vec<u8>>) -> Vec<Result<Value, Failure>> {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let harness = Harness::new().inventory(Inventory::empty().task::<inspect>());
        let queue = QueueName::new("arguments").unwrap();
        let mut ids = Vec::new();
        for (n, payload) in payloads.into_iter().enumerate() {
            let job = NewJob {
                queue: queue.clone(),
                id: JobId::new(format!("job-{n}")).unwrap(),
                is_new_id: false,
                payload: payload.into(),
                due: Due::Now,
                expires_in: None,
                replace_finished: false,
            };
            ids.push(job.id.clone());
            harness.broker().enqueue(&[job], RequestId::unique()).await.unwrap();
        }
        harness.drain().await.unwrap();
        let mut ends = Vec::new();
        for id in ids {
            let handle = harness.client().job::<Untyped>("arguments", id.as_str()).unwrap();
            ends.push(handle.result().await.map_err(|error| error.failure().expect("it has an end").clone()));
        }
        let dead = harness.dead_letters("arguments").await.unwrap().len();
        assert_eq!(dead, ends.iter().filter(|end| end.is_err()).count(), "what does not fit is kept");
        ends
    })
}

/// A job's bytes, in JSON; the named ones in any order, and twice over where they come twice.
fn payload(positional: &[Value], named: &[(String, Value)]) -> Vec<u8> {
    let named: Vec<String> = named.iter().map(|(name, value)| format!("{}:{value}", json!(name))).collect();
    let head = format!(r#"{{"f":"inspect","a":{},"k":{{"#, json!(positional));
    [head, named.join(","), r#"},"et":1}"#.to_owned()].concat().into_bytes()
}

/// The same in every codec, by our own client.
fn encoded(codec: Codec, positional: &[Value], named: &[(String, Value)]) -> Vec<u8> {
    let mut job = Job::untyped("inspect", "arguments");
    for value in positional {
        job = job.arg(value.clone());
    }
    for (name, value) in named {
        job = job.named_arg(name.clone(), value.clone());
    }
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let harness = Harness::new();
        let enqueued = harness.client().codec(codec).enqueue(job).await.unwrap();
        let queue = QueueName::new("arguments").unwrap();
        let record = harness.broker().job(&queue, enqueued.id()).await.unwrap().unwrap();
        record.payload.expect("it waits").to_vec()
    })
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => (0..300_i64).prop_map(Value::from),
        2 => Just(Value::Null),
        2 => ".{0,12}".prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => (-1e9..1e9).prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{0,3}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Values that mostly fit their parameter: else the first misfit would hide all other rules.
fn fitting(nth: usize) -> BoxedStrategy<Value> {
    let fits = match nth {
        0 => (0..256_u32).prop_map(Value::from).boxed(),
        1 => prop_oneof![Just(Value::Null), any::<u32>().prop_map(Value::from)].boxed(),
        2 => ".{0,12}".prop_map(Value::from).boxed(),
        3 => prop::collection::vec(value(), 0..4).prop_map(Value::from).boxed(),
        _ => prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from)].boxed(),
    };
    prop_oneof![8 => fits, 1 => value()].boxed()
}

fn positional() -> impl Strategy<Value = Vec<Value>> {
    (0..=7_usize).prop_flat_map(|count| (0..count).map(fitting).collect::<Vec<_>>())
}

fn named() -> impl Strategy<Value = Vec<(String, Value)>> {
    let known = select((0..NAMES.len()).collect::<Vec<_>>())
        .prop_flat_map(|nth| fitting(nth).prop_map(move |value| (NAMES[nth].to_owned(), value)));
    let odd = prop_oneof![".{0,6}", "reactor.?", Just("x".repeat(200)), Just("self".to_owned())];
    prop::collection::vec(prop_oneof![12 => known, 1 => (odd, value())], 0..5)
}

/// One end beside what Python would have made of it.
fn check(end: &Result<Value, Failure>, expected: &Result<Value, Vec<String>>) -> Result<(), TestCaseError> {
    match (end, expected) {
        (Ok(value), Ok(expected)) => prop_assert_eq!(value, expected),
        (Err(failure), Err(problems)) => {
            prop_assert_eq!(failure.kind, FailureKind::Arguments);
            let is_told = problems.iter().any(|problem| failure.message.contains(problem.as_str()));
            prop_assert!(is_told, "{} is none of {problems:?}", failure.message);
            prop_assert!(failure.message.len() <= MAX_FAILURE_TEXT + 4);
        }
        _ => prop_assert!(false, "{end:?}, and not {expected:?}"),
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_arguments_bind_as_pythons_call_would(
        calls in prop::collection::vec((positional(), named()), 1..6),
    ) {
        let ends = run(calls.iter().map(|(positional, named)| payload(positional, named)).collect());
        for (end, (positional, named)) in ends.iter().zip(&calls) {
            // Of two of one name, the last: as Python reads a dict.
            check(end, &expected(positional, &named.iter().cloned().collect()))?;
        }
    }
}

#[test]
fn every_codec_binds_alike() {
    let calls = (positional(), named()).prop_filter("no name comes twice", |(_, named)| {
        named.iter().map(|(name, _)| name).collect::<std::collections::BTreeSet<_>>().len() == named.len()
    });
    proptest!(ProptestConfig::with_cases(64), |((positional, named) in calls)| {
        let codecs = [Codec::Json, Codec::MsgPack, Codec::Pickle];
        let ends = run(codecs.map(|codec| encoded(codec, &positional, &named)).to_vec());
        for end in &ends {
            check(end, &expected(&positional, &named.iter().cloned().collect()))?;
        }
    });
}

/// As deep as hostile bytes are, whatever the parameter, by position and by name: a failure of one job, told in few words.
#[test]
fn arguments_of_any_depth_fail_one_job_each() {
    let nests = |depth: usize| {
        let (list, map) = ("[".repeat(depth) + &"]".repeat(depth), "{\"a\":".repeat(depth) + "1" + &"}".repeat(depth));
        [list, map, "[".repeat(depth)]
    };
    let mut payloads = vec![br#"{"f":"inspect","a":[7],"k":{"tags":[[[1]]]},"et":1}"#.to_vec()];
    for nest in [200, 50_000].into_iter().flat_map(nests) {
        for nth in 0..NAMES.len() {
            let before = ["1,", "null,", "\"x\",", "[],"][..nth].concat();
            payloads.push(format!(r#"{{"f":"inspect","a":[{before}{nest}],"k":{{}},"et":1}}"#).into_bytes());
            let name = NAMES[nth];
            payloads
                .push(format!(r#"{{"f":"inspect","a":[],"k":{{"reactor":1,"{name}":{nest}}},"et":1}}"#).into_bytes());
        }
    }
    let ends = run(payloads);
    assert_eq!(ends[0], Ok(json!([7, null, "shift", [[[1]]], null])));
    for (n, end) in ends.iter().enumerate().skip(1) {
        let failure = end.as_ref().expect_err("it is too deep, or no value");
        assert!(matches!(failure.kind, FailureKind::Arguments | FailureKind::Payload), "{n}: {failure}");
        assert!(failure.message.len() < 1_000, "{} bytes are said of {n}", failure.message.len());
    }
}
