//! Every recorded job and result, written anew in every codec, and compared by arq itself: `tests/arq/same_values.py`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde::ser::{SerializeMap as _, SerializeTuple as _};
use serde::{Serialize, Serializer};
use serde_json::{Value as Json, json};

use super::vectors::{Recorded, is_garbage, recorded, value};
use super::*;
use crate::args::JobArgs;
use crate::codec::value::Value;

#[path = "../../../../tests/support/interpreter.rs"]
#[allow(unreachable_pub, reason = "it is public where the tests' support offers it")]
mod interpreter;

/// A recorded value, given to a codec as types of Rust would be that know as much of it as the codec can hold.
#[derive(Clone, Copy)]
struct Given<'a>(&'a Value, Codec);

impl Given<'_> {
    fn list<S: Serializer>(self, items: &[Value], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(items.iter().map(|item| Given(item, self.1)))
    }

    fn dict<S: Serializer>(self, entries: &[(Value, Value)], serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(entries.len()))?;
        for (key, item) in entries {
            match self.1 {
                Codec::Pickle => map.serialize_key(&Given(key, self.1))?,
                _ => map.serialize_key(&as_text(key))?,
            }
            map.serialize_value(&Given(item, self.1))?;
        }
        map.end()
    }
}

/// A dict's key where only texts can be keys.
fn as_text(key: &Value) -> String {
    let dict = Value::Dict(vec![(key.clone(), Value::None)].into()).to_json();
    dict.as_object().unwrap().keys().next().unwrap().clone()
}

impl Serialize for Given<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(value, codec) = *self;
        match value {
            _ if codec == Codec::Json => value.to_json().serialize(serializer),
            Value::Bytes(bytes) | Value::ByteArray(bytes) => serializer.serialize_bytes(bytes),
            Value::Float(float) => serializer.serialize_f64(*float),
            Value::Big(big) if codec == Codec::Pickle => match (big.to_i128(), big.to_u128()) {
                (Some(number), _) => serializer.serialize_i128(number),
                (None, Some(number)) => serializer.serialize_u128(number),
                (None, None) => value.to_json().serialize(serializer),
            },
            Value::Tuple(items) => {
                let mut tuple = serializer.serialize_tuple(items.len())?;
                items.iter().try_for_each(|item| tuple.serialize_element(&Given(item, codec)))?;
                tuple.end()
            }
            Value::List(items) => self.list(items, serializer),
            Value::Dict(entries) => self.dict(entries, serializer),
            _ => value.to_json().serialize(serializer),
        }
    }
}

/// A recorded job's arguments: what is in `a`, and in `k`.
struct GivenArgs {
    positional: Value,
    named: Value,
    codec: Codec,
}

impl JobArgs for GivenArgs {
    fn positional<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Given(&self.positional, self.codec).list(self.positional.items().unwrap(), serializer)
    }

    fn named<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Given(&self.named, self.codec).serialize(serializer)
    }
}

/// An entry of a stored dict.
fn entry<'a>(fields: &'a [(Value, Value)], name: &str) -> &'a Value {
    let found = fields.iter().find(|(key, _)| key.as_text() == Some(name));
    &found.unwrap_or_else(|| panic!("there is no `{name}`")).1
}

/// The recorded job, or job and result, written in each codec.
fn written_anew(recorded: &Recorded) -> Vec<Json> {
    let Value::Dict(fields) = value(&recorded.bytes) else { panic!("it is a dict") };
    let (_, envelope) = Codec::decode_job(&recorded.bytes).unwrap(); // a result holds all of its job
    let job = JobRef { task: &envelope.task, enqueued_at: envelope.enqueued_at, arguments: &envelope.arguments };
    let written =
        |what, codec, bytes: Bytes| json!({"what": what, "codec": name(codec), "bytes": base64::encode(&bytes)});
    let mut all = Vec::new();
    for codec in ALL.iter().copied() {
        let given = |name| Given(entry(&fields, name), codec);
        if recorded.key.starts_with("arq:job:") {
            let copy = |name| entry(&fields, name).clone();
            let args = GivenArgs { positional: copy("a"), named: copy("k"), codec };
            let payload = codec.encode_job(&envelope.task, envelope.enqueued_at, &Extra::default(), &args).unwrap();
            all.push(written("job", codec, payload));
            let value = codec.encode(&given("a")).unwrap();
            all.push(written("result", codec, result(job, codec, &value)));
        } else {
            let was = Codec::decode_result(&recorded.bytes).unwrap();
            let value = was.value.as_ref().map(|_| codec.encode(&given("r")).unwrap());
            let text = |name| entry(&fields, name).as_text().unwrap().to_owned();
            let again = ResultRecord {
                job: Some(job),
                attempt: was.attempt,
                value: value.as_ref().map_err(|failure| *failure),
                started_at: was.started_at,
                finished_at: was.finished_at,
                queue: &text("q"),
                id: &text("id"),
            };
            all.push(written("result", codec, codec.encode_result(&again).unwrap()));
        }
    }
    all
}

/// What a worker stores when `job` returns `value`.
fn result(job: JobRef<'_>, codec: Codec, value: &Encoded) -> Bytes {
    let ended = ResultRecord {
        job: Some(job),
        attempt: 1,
        value: Ok(value),
        started_at: NOW,
        finished_at: NOW,
        queue: "lenny",
        id: "seven",
    };
    codec.encode_result(&ended).unwrap()
}

/// Recordings of pure rules, of refusals, and of jobs that had gone when Redis was looked at.
const NO_VALUES: [&str; 11] = [
    "cron-job-id",
    "cron-startup-not-unique",
    "cron-startup-unique",
    "fault-keep-forever",
    "pure-cron-next",
    "pure-dsn",
    "pure-log-arguments",
    "pure-milliseconds",
    "value-json-refused",
    "value-msgpack-refused",
    "value-pickle-refused",
];

fn name(codec: Codec) -> &'static str {
    match codec {
        Codec::Json => "json",
        Codec::MsgPack => "msgpack",
        Codec::Pickle => "pickle",
    }
}

#[test]
fn what_is_written_for_a_recorded_job_is_the_same_to_arq() {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/arq");
    let (garbage, all): (Vec<_>, Vec<_>) = recorded().into_iter().partition(is_garbage);
    let with_values: BTreeSet<&str> = all.iter().map(|recorded| &*recorded.file).collect();
    let on_disk = files(&scripts.join("vectors"));
    let without: Vec<&str> = on_disk.keys().map(String::as_str).filter(|file| !with_values.contains(file)).collect();
    assert_eq!(without, NO_VALUES, "each other file on the disk has values");
    assert_eq!(garbage.len() + all.len(), on_disk.values().sum::<usize>(), "each value on the disk is gone through");

    let given: Vec<Json> = all
        .iter()
        .map(|one| {
            let codec = name(Codec::detect(&one.bytes).unwrap());
            let (recorded, written) = (base64::encode(&one.bytes), written_anew(one));
            json!({"file": one.file, "key": one.key, "codec": codec, "recorded": recorded, "written": written})
        })
        .collect();
    let script = scripts.join("same_values.py");
    let answers = python::answer(Command::new(interpreter::interpreter()).arg("-B").arg(script), &json!(given));
    let answers: Vec<Json> = serde_json::from_str(&answers).unwrap();
    let differing: Vec<&str> = answers.iter().filter_map(Json::as_str).collect();
    assert!(differing.is_empty(), "{} differ:\n{}", differing.len(), differing.join("\n"));
    // In each codec a job is written as a job and in a result; a result as itself.
    let told = all.iter().map(|one| if one.key.starts_with("arq:job:") { 6 } else { 3 });
    assert_eq!(answers, told.map(Json::from).collect::<Vec<_>>());
}

/// The recordings in a folder and in `exact/` below it, without `.json`, and how many jobs and results their text has.
fn files(folder: &Path) -> BTreeMap<String, usize> {
    let mut files = BTreeMap::new();
    for folder in [folder, &folder.join("exact")] {
        let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        for path in paths.filter(|path| path.extension().is_some_and(|extension| extension == "json")) {
            let text = std::fs::read_to_string(&path).unwrap();
            let is_value = |line: &&str| {
                let line = line.trim_start();
                let key = line.strip_prefix("\"key\": ").or(line.strip_suffix(": {")).unwrap_or_default();
                key.starts_with("\"arq:job:") || key.starts_with("\"arq:result:")
            };
            let name = path.file_stem().unwrap().to_str().unwrap();
            files.insert(name.to_owned(), text.lines().filter(is_value).count());
        }
    }
    files
}
