//! Every job and result that stock arq was recorded to write, against what Python says they are.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value as Json;

use super::*;
use crate::codec::value::{Reader, Value};
use crate::job::FailureKind;

/// One stored value of a recording.
pub(super) struct Recorded {
    /// The recording's file, without `.json`.
    pub(super) file: String,
    pub(super) key: String,
    pub(super) bytes: Bytes,
    /// Python's `repr` of it, where the recording has it.
    repr: Option<String>,
}

/// The jobs and results of all recordings.
pub(super) fn recorded() -> Vec<Recorded> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/arq/vectors");
    let mut found = Vec::new();
    for folder in [root.clone(), root.join("exact")] {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let name = path.file_stem().unwrap().to_str().unwrap();
                let recording = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
                collect(name, &recording, &mut found);
            }
        }
    }
    found.sort_by(|a, b| (&a.file, &a.key).cmp(&(&b.file, &b.key)));
    found
}

fn collect(file: &str, part: &Json, found: &mut Vec<Recorded>) {
    match part {
        Json::Array(items) => items.iter().for_each(|item| collect(file, item, found)),
        Json::Object(map) => {
            if let Some(Json::String(key)) = map.get("key") {
                found.extend(stored_at(file, key, part));
            }
            for (name, value) in map {
                found.extend(stored_at(file, name, value));
                collect(file, value, found);
            }
        }
        _ => {}
    }
}

fn stored_at(file: &str, key: &str, entry: &Json) -> Option<Recorded> {
    let is_payload = key.starts_with("arq:job:") || key.starts_with("arq:result:");
    let text = entry.pointer("/value/b64").and_then(Json::as_str).filter(|_| is_payload)?;
    let repr = entry.get("decoded_repr").and_then(Json::as_str);
    let bytes = base64::decode(text).into();
    Some(Recorded { file: file.to_owned(), key: key.to_owned(), bytes, repr: repr.map(str::to_owned) })
}

/// Payloads that are in no codec. One that is in JSON among pickles is garbage to Python and none to us:
/// DIFFERENCE: the codec of each payload is told by its first bytes.
pub(super) fn is_garbage(recorded: &Recorded) -> bool {
    recorded.key.ends_with(":garbage") && recorded.key.starts_with("arq:job:")
}

/// Any payload as a value.
pub(super) fn value(bytes: &Bytes) -> Value {
    match Codec::detect(bytes).unwrap() {
        Codec::MsgPack => crate::codec::msgpack::value(bytes).unwrap(),
        Codec::Pickle => crate::codec::pickle::value(bytes.strip_suffix(b".").unwrap()).unwrap(),
        Codec::Json => {
            let text = ["-Infinity", "Infinity", "NaN"]
                .iter()
                .fold(std::str::from_utf8(bytes).unwrap().to_owned(), |text, word| text.replace(word, "null"));
            of_json(&serde_json::from_str(&text).unwrap())
        }
    }
}

fn of_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::None,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => Value::Int(value),
            (None, Some(_)) => Value::integer_of_digits(&number.to_string()).unwrap(),
            (None, None) => Value::Float(number.as_f64().unwrap()),
        },
        Json::String(text) => Value::text(text),
        Json::Array(items) => Value::List(Arc::new(items.iter().map(of_json).collect())),
        Json::Object(map) => {
            Value::Dict(Arc::new(map.iter().map(|(key, value)| (Value::text(key), of_json(value))).collect()))
        }
    }
}

#[test]
fn every_job_and_result_is_read() {
    let all = recorded();
    assert!(all.len() > 300, "{} were found", all.len());
    for recorded in &all {
        let Recorded { file, key, bytes, .. } = recorded;
        let whole = |error| format!("{file} {key}: {}", crate::error::Chain(&error));
        if key.starts_with("arq:result:") {
            let result = Codec::decode_result(bytes).map_err(whole).unwrap();
            assert!(result.attempt > 0 && result.finished_at >= result.started_at, "{file} {key}");
        } else if is_garbage(recorded) {
            assert!(Codec::decode_job(bytes).is_err(), "{file} {key}");
        } else {
            let (_, job) = Codec::decode_job(bytes).map_err(whole).unwrap();
            assert!(!job.task.is_empty() && job.enqueued_at > Timestamp::default(), "{file} {key}");
        }
    }
}

/// What is shown of values that have no equal in Rust.
/// DIFFERENCE: objects are shown as what they are made of, and what contains itself as that.
const SHOWN: [(&str, &str); 8] = [
    ("(1+2j)", "complex(1.0, 2.0)"),
    ("Ellipsis", "<builtins.Ellipsis>"),
    ("OrderedDict([('a', 1)])", "{'a': 1}"),
    ("<Colour.RED: 'red'>", "Colour('red')"),
    ("<class 'vector_types.Reading'>", "<vector_types.Reading>"),
    ("[1, [...]]", "[1, <a value that contains itself>]"),
    ("GaugeError('core', 11.5)", "GaugeError('core', 11.5, gauge='core', level=11.5)"),
    ("<Retry defer 0.00s>", "Retry(defer_score=None)"),
];

#[test]
fn values_are_what_python_says_they_are() {
    let mut compared = 0;
    for Recorded { file, key, bytes, repr } in recorded() {
        let Some(repr) = repr.filter(|repr| !repr.starts_with("cannot be decoded here")) else {
            continue;
        };
        // DIFFERENCE: JSON has no NaN; what Python writes in its place is read as null. Integers beyond 64 bits
        // are taken for floats by types that take anything; repeated they are as they were.
        if file == "value-json-nan-inf" || file == "value-json-big-ints" {
            continue;
        }
        let is_cut = repr.chars().count() == 1500;
        let told = SHOWN.iter().fold(repr, |told, (python, ours)| told.replace(python, ours));
        let mut shown = value(&bytes).to_string();
        if is_cut {
            shown = shown.chars().take(told.chars().count()).collect();
        }
        if Codec::detect(&bytes) == Some(Codec::Json) {
            assert_eq!(sorted(&shown), sorted(&told), "{file} {key}"); // a map of serde_json has no order
        } else {
            assert_eq!(shown, told, "{file} {key}");
        }
        compared += 1;
    }
    assert!(compared > 150, "{compared} were compared");
}

fn sorted(text: &str) -> Vec<char> {
    let mut characters: Vec<char> = text.chars().collect();
    characters.sort_unstable();
    characters
}

#[test]
fn arguments_are_what_they_were_enqueued_with() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/arq/vectors");
    for name in ["pickle", "msgpack"] {
        let text = fs::read(root.join(format!("payloads-{name}.json"))).unwrap();
        let recording: Json = serde_json::from_slice(&text).unwrap();
        let steps = recording["steps"].as_array().unwrap();
        for step in steps {
            let mut jobs = Vec::new();
            collect(name, &step["queued"], &mut jobs);
            for job in jobs {
                let Value::Dict(fields) = value(&job.bytes) else { panic!("{} is no dict", job.key) };
                let given = fields.iter().find(|(name, _)| name.as_text() == Some("a")).unwrap().1.items().unwrap();
                let told = step["python_args"].as_str().unwrap();
                let items = Value::Tuple(Arc::new(given.to_vec())).to_string();
                let (told, items) = (as_lists(told, name), as_lists(&items, name));
                let cut = if told.len() < 200 { items.len() } else { told.len() }; // long ones were cut
                assert_eq!(items[..cut], told, "{name} {}", job.key);
            }
        }
    }
}

/// In `MessagePack`, a tuple is a list.
fn as_lists(text: &str, codec: &str) -> String {
    let told = SHOWN.iter().fold(text.to_owned(), |told, (python, ours)| told.replace(python, ours));
    if codec == "pickle" { told } else { told.replace('(', "[").replace(",)", "]").replace(')', "]") }
}

#[test]
fn results_repeat_what_was_recorded() {
    for recorded in recorded() {
        if is_garbage(&recorded) || recorded.key.starts_with("arq:result:") {
            continue;
        }
        let (codec, job) = Codec::decode_job(&recorded.bytes).unwrap();
        let result = record(codec, Some(&job.arguments), Ok(&codec.encode(&()).unwrap()));
        let (_, repeated) = Codec::decode_job(&result).unwrap();
        let shown = |arguments: &Arguments| arguments.display(&[Param::new("it", ""); 400], usize::MAX);
        let (was, is) = (shown(&job.arguments), shown(&repeated.arguments));
        let has_objects =
            ["value-pickle-objects", "value-pickle-shared-and-recursive", "value-pickle-stdlib", "payloads-pickle"];
        if has_objects.contains(&&*recorded.file) && was != is {
            assert!(is.contains("not kept>'"), "{} {}: {is}", recorded.file, recorded.key);
        } else {
            assert_eq!(was, is, "{} {}", recorded.file, recorded.key);
        }
    }
}

/// How the recording `file` says its job failed.
#[track_caller]
fn failed(file: &str, key: &str, kind: FailureKind, error_type: Option<&str>, message: &str) {
    let all = recorded();
    let found: Vec<_> = all.iter().filter(|recorded| recorded.file == file && recorded.key == key).collect();
    assert!(!found.is_empty(), "{file} has no {key}");
    for recorded in found {
        let failure = stored(&recorded.bytes).value.unwrap_err();
        assert_eq!((failure.kind, failure.error_type.as_deref(), &*failure.message), (kind, error_type, message));
    }
}

#[test]
fn pythons_exceptions_are_failures() {
    use FailureKind::{Aborted, Error, Expired, MaxTries, Payload, Result, Timeout, UnknownTask};
    failed("end-valueerror-pickle", "arq:result:bad", Error, Some("ValueError"), "the core is hot");
    let own = Some("vector_types.GaugeError");
    failed("end-own-exception", "arq:result:bad", Error, own, "('core', 11.5)");
    // Python can't even load this one.
    let keyword = Some("vector_types.KeywordOnlyError");
    failed("end-unloadable-exception", "arq:result:bad", Error, keyword, "needs a code");
    failed("end-timeout", "arq:result:late", Timeout, Some("TimeoutError"), "TimeoutError");
    failed("abort-running", "arq:result:stop", Aborted, Some("asyncio.exceptions.CancelledError"), "aborted");
    let arq = Some("arq.worker.JobExecutionFailed");
    failed("end-expired", "arq:result:stale", Expired, arq, "job expired");
    failed("end-function-not-found", "arq:result:lost", UnknownTask, arq, "function 'elsewhere' not found");
    failed("end-max-tries", "arq:result:tired", MaxTries, arq, "max 2 retries exceeded");
    let unread = Some("arq.jobs.DeserializationError");
    failed("end-undecodable", "arq:result:garbage", Payload, unread, "unable to deserialize job");
    for codec in ["json", "msgpack", "pickle"] {
        let file = format!("end-unserialisable-{codec}");
        failed(&file, "arq:result:bad", Result, None, "unable to serialize result");
    }
}

#[test]
fn recorded_dates_bind_to_types() {
    let all = recorded();
    let dates = all.iter().find(|recorded| recorded.key == "arq:job:v-dates").unwrap();
    let Value::Dict(fields) = value(&dates.bytes) else { panic!("it is a dict") };
    let given = fields.iter().find(|(name, _)| name.as_text() == Some("a")).unwrap().1.items().unwrap();
    let text = |at: usize| <String as serde::Deserialize>::deserialize(Reader::new(&given[at])).unwrap();
    assert_eq!(text(0), "2026-11-24T01:02:03.456789");
    assert_eq!(text(1), "2026-11-24T00:00:00Z");
    assert_eq!(text(2), "2026-11-24T00:00:00+05:30");
    assert_eq!(text(3), "2026-01-31");
    assert_eq!(text(4), "23:59:59.000001");
    let span = <std::time::Duration as serde::Deserialize>::deserialize(Reader::new(&given[5])).unwrap();
    assert_eq!(span, std::time::Duration::from_micros(86_402_000_003));
    let seconds = <f64 as serde::Deserialize>::deserialize(Reader::new(&given[5])).unwrap();
    assert!((seconds - 86_402.000_003).abs() < 1e-9);
}

#[test]
fn every_truncation_of_a_recording_is_refused() {
    for recorded in recorded() {
        // Large ones at some places only.
        let step = (recorded.bytes.len() / 100).max(1);
        for len in (0..recorded.bytes.len()).step_by(step) {
            let cut = recorded.bytes.slice(..len);
            assert!(Codec::decode_job(&cut).is_err(), "{} {} at {len}", recorded.file, recorded.key);
            assert!(Codec::decode_result(&cut).is_err(), "{} {} at {len}", recorded.file, recorded.key);
        }
    }
}
