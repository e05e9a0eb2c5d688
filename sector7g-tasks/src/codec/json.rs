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

/// Room for a record's field names, numbers and times.
const RECORD_FRAME: usize = 192;

/// Field by field: arguments and value are JSON already, and are not to be read again.
pub(super) fn encode_result(record: &ResultRecord<'_>) -> Result<Bytes, CodecError> {
    let nothing = Arguments::none();
    let unread = JobRef { task: "<unknown>", enqueued_at: Timestamp::default(), arguments: &nothing };
    let job = record.job.unwrap_or(unread);
    let (positional, named) = raw_parts(job.arguments);
    let value = record.value.map_or(0, Encoded::len);
    let texts = job.task.len() + record.queue.len() + record.id.len();
    let mut out = Fields(Vec::with_capacity(RECORD_FRAME + positional.len() + named.len() + value + texts));
    out.field("{\"t\":", &record.attempt)?;
    out.field(",\"f\":", job.task)?;
    out.written(",\"a\":", positional);
    out.written(",\"k\":", named);
    out.field(",\"et\":", &job.enqueued_at)?;
    match record.value {
        Ok(value) => out.written(",\"s\":true,\"r\":", value.text.get().as_bytes()),
        Err(failure) => out.field(",\"s\":false,\"r\":", &failure.message)?,
    }
    out.field(",\"st\":", &record.started_at)?;
    out.field(",\"ft\":", &record.finished_at)?;
    out.field(",\"q\":", record.queue)?;
    out.field(",\"id\":", record.id)?;
    if let Err(failure) = record.value {
        out.field(",\"s7\":", &FailureOut { failure })?;
    }
    out.0.push(b'}');
    Ok(out.0.into())
}

/// An object being written.
struct Fields(Vec<u8>);

impl Fields {
    /// `name` with all that stands around it.
    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), CodecError> {
        self.0.extend_from_slice(name.as_bytes());
        serde_json::to_writer(&mut self.0, value).map_err(|error| CodecError::writing("the result", error))
    }

    /// The same for a value that is JSON.
    fn written(&mut self, name: &str, json: &[u8]) {
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(json);
    }
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
    // At once for all of it: else each string in it is looked at by itself.
    let text = std::str::from_utf8(bytes).map_err(|error| CodecError::reading(what, error))?;
    serde_json::from_str(text).map_err(|error| CodecError::reading(what, error))
}

fn raw_parts(arguments: &Arguments) -> (&[u8], &[u8]) {
    let Repr::Json { payload, positional, named } = &arguments.0;
    (&payload[positional.clone()], &payload[named.clone()])
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

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: Result<&Encoded, &Failure>) -> String {
        let payload = br#"{"t":null,"f":"eat","a":[1, "\u00e9"],"k":{"a b":2},"et":7}"#;
        let payload = Bytes::from_static(payload);
        let job = decode_job(&payload).expect("a job");
        let record = ResultRecord {
            job: Some(JobRef { task: &job.task, enqueued_at: job.enqueued_at, arguments: &job.arguments }),
            attempt: 2,
            value,
            started_at: Timestamp::from_millis(8),
            finished_at: Timestamp::from_millis(9),
            queue: "a \"b\"",
            id: "i",
        };
        let bytes = encode_result(&record).expect("a record");
        assert!(decode_result(&bytes).is_ok());
        String::from_utf8(bytes.to_vec()).expect("text")
    }

    #[test]
    fn a_result_has_arqs_fields_in_arqs_order() {
        let job = r#"{"t":2,"f":"eat","a":[1, "\u00e9"],"k":{"a b":2},"et":7"#;
        let rest = r#""st":8,"ft":9,"q":"a \"b\"","id":"i""#;
        let value = encode(&[1, 2]).expect("JSON");
        assert_eq!(written(Ok(&value)), format!(r#"{job},"s":true,"r":[1,2],{rest}}}"#));
        let failure = Failure::new(FailureKind::Error, "a \"b\"", 2, Timestamp::from_millis(9));
        let ours = r#""s7":{"failure":{"kind":"error","message":"a \"b\"","attempt":2,"at":9}}"#;
        assert_eq!(written(Err(&failure)), format!(r#"{job},"s":false,"r":"a \"b\"",{rest},{ours}}}"#));
    }
}
