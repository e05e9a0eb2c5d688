use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::Bytes;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::{Arguments, CodecError, Encoded, Envelope, Extra, JobRef, NamedValues, Repr, ResultRecord, StoredResult};
use crate::args::{JobArgs, Param};
use crate::clock::Timestamp;
use crate::job::{Failure, FailureKind};

#[derive(Serialize)]
#[serde(bound = "")]
struct JobOut<'a, A: JobArgs> {
    t: Option<u32>,
    f: &'a str,
    a: Positional<'a, A>,
    k: Named<'a, A>,
    et: Timestamp,
    #[serde(skip_serializing_if = "Extra::is_empty")]
    s7: &'a Extra,
}

struct Positional<'a, A>(&'a A);

impl<A: JobArgs> Serialize for Positional<'_, A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.positional(serializer)
    }
}

struct Named<'a, A>(&'a A);

impl<A: JobArgs> Serialize for Named<'_, A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.named(serializer)
    }
}

#[derive(Deserialize)]
struct JobIn<'a> {
    #[serde(default)]
    t: Option<u32>,
    #[serde(borrow)]
    f: Cow<'a, str>,
    #[serde(borrow)]
    a: &'a RawValue,
    #[serde(borrow)]
    k: &'a RawValue,
    et: Timestamp,
    #[serde(default)]
    s7: Extra,
}

#[derive(Serialize)]
struct ResultOut<'a> {
    t: u32,
    f: &'a str,
    a: &'a RawValue,
    k: &'a RawValue,
    et: Timestamp,
    s: bool,
    r: ValueOut<'a>,
    st: Timestamp,
    ft: Timestamp,
    q: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    s7: Option<FailureOut<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ValueOut<'a> {
    Success(&'a RawValue),
    Failure(&'a str),
}

#[derive(Serialize)]
struct FailureOut<'a> {
    failure: &'a Failure,
}

#[derive(Deserialize)]
struct ResultIn<'a> {
    #[serde(default)]
    t: u32,
    f: String,
    et: Timestamp,
    s: bool,
    #[serde(borrow)]
    r: &'a RawValue,
    st: Timestamp,
    ft: Timestamp,
    #[serde(default)]
    s7: Option<FailureIn>,
}

#[derive(Deserialize)]
struct FailureIn {
    failure: Failure,
}

pub(super) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Encoded, CodecError> {
    let text = serde_json::value::to_raw_value(value).map_err(|error| CodecError::writing("the value", error))?;
    Ok(Encoded { text })
}

pub(super) fn encode_job<A: JobArgs>(
    task: &str,
    enqueued_at: Timestamp,
    extra: &Extra,
    args: &A,
) -> Result<Bytes, CodecError> {
    let job = JobOut { t: None, f: task, a: Positional(args), k: Named(args), et: enqueued_at, s7: extra };
    let text = serde_json::to_vec(&job).map_err(|error| CodecError::writing("the job", error))?;
    Ok(text.into())
}

pub(super) fn decode_job(payload: &Bytes) -> Result<Envelope<'_>, CodecError> {
    let job: JobIn<'_> = read("the job", payload)?;
    let place = |raw: &RawValue| {
        let start = raw.get().as_ptr() as usize - payload.as_ptr() as usize;
        start..start + raw.get().len()
    };
    let arguments = Arguments(Repr::Json { payload: payload.clone(), positional: place(job.a), named: place(job.k) });
    Ok(Envelope { task: job.f, job_try: job.t, enqueued_at: job.et, extra: job.s7, arguments })
}

pub(super) fn encode_result(record: &ResultRecord<'_>) -> Result<Bytes, CodecError> {
    let nothing = Arguments::none();
    let unread = JobRef { task: "<unknown>", enqueued_at: Timestamp::default(), arguments: &nothing };
    let job = record.job.unwrap_or(unread);
    let (positional, named) = raw_parts(job.arguments)?;
    let (s, r, s7) = match record.value {
        Ok(value) => (true, ValueOut::Success(&value.text), None),
        Err(failure) => (false, ValueOut::Failure(&failure.message), Some(FailureOut { failure })),
    };
    let out = ResultOut {
        t: record.attempt,
        f: job.task,
        a: positional,
        k: named,
        et: job.enqueued_at,
        s,
        r,
        st: record.started_at,
        ft: record.finished_at,
        q: record.queue,
        id: record.id,
        s7,
    };
    let text = serde_json::to_vec(&out).map_err(|error| CodecError::writing("the result", error))?;
    Ok(text.into())
}

pub(super) fn decode_result(record: &[u8]) -> Result<StoredResult, CodecError> {
    let result: ResultIn<'_> = read("the result", record)?;
    let value = match (result.s, result.s7) {
        (true, _) => Ok(Encoded { text: result.r.to_owned() }),
        (false, Some(ours)) => Err(ours.failure),
        // A failure that a Python worker stored: whatever it put into `r`, as text.
        (false, None) => {
            let message = serde_json::from_str(result.r.get()).unwrap_or_else(|_| result.r.get().to_owned());
            Err(Failure::new(FailureKind::Error, message, result.t, result.ft))
        }
    };
    Ok(StoredResult {
        task: result.f,
        attempt: result.t,
        enqueued_at: result.et,
        started_at: result.st,
        finished_at: result.ft,
        value,
    })
}

fn read<'a, T: Deserialize<'a>>(what: &'static str, bytes: &'a [u8]) -> Result<T, CodecError> {
    serde_json::from_slice(bytes).map_err(|error| CodecError::reading(what, error))
}

fn raw_parts(arguments: &Arguments) -> Result<(&RawValue, &RawValue), CodecError> {
    let Repr::Json { payload, positional, named } = &arguments.0;
    Ok((read("the job", &payload[positional.clone()])?, read("the job", &payload[named.clone()])?))
}

pub(super) fn named(text: &[u8]) -> Result<NamedValues, serde_json::Error> {
    if text == b"{}" {
        return Ok(Vec::new()); // nearly always, and then without an allocation
    }
    let map: std::collections::BTreeMap<Box<str>, Box<RawValue>> = serde_json::from_slice(text)?;
    Ok(map.into_iter().collect())
}

pub(super) fn display(arguments: &Arguments, params: &[Param], limit: usize) -> String {
    let Repr::Json { payload, positional, named } = &arguments.0;
    let values: Vec<&RawValue> = lenient(&payload[positional.clone()]);
    let named: std::collections::BTreeMap<Cow<'_, str>, &RawValue> = lenient(&payload[named.clone()]);
    let hidden = |param: Option<&Param>| param.is_none_or(|param| param.redact);
    let mut text = String::new();
    for (index, value) in values.iter().enumerate() {
        let value = if hidden(params.get(index)) { "***" } else { value.get() };
        let _ = write!(text, "{}{value}", if index == 0 { "" } else { ", " }); // writing to a String can't fail
    }
    for (name, value) in &named {
        let param = params.iter().find(|param| param.name == name);
        let value = if hidden(param) { "***" } else { value.get() };
        let _ = write!(text, "{}{name}={value}", if text.is_empty() { "" } else { ", " });
    }
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
        text.push('…');
    }
    text
}

fn lenient<'a, T: Deserialize<'a> + Default>(text: &'a [u8]) -> T {
    serde_json::from_slice(text).unwrap_or_default()
}
