mod frame;

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::arguments::Repr;
use super::{
    Arguments, Encoded, Envelope, Extra, ExtraIn, FailureIn, FailureOut, Form, JobOut, JobRef, Problem, ResultRecord,
    StoredResult, UNKNOWN_TASK, foreign, trace,
};
use crate::args::JobArgs;
use crate::clock::Timestamp;

#[derive(Serialize)]
#[serde(bound = "")]
struct Job<'a, A: JobArgs> {
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
    #[serde(borrow, default)]
    s7: ExtraIn<&'a RawValue>,
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

pub(super) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<String, Problem> {
    serde_json::to_string(value).map_err(problem)
}

pub(super) fn encode_job<A: JobArgs>(job: &JobOut<'_, A>) -> Result<Bytes, Problem> {
    let JobOut { task, enqueued_at, extra, args } = *job;
    let job = Job { t: None, f: task, a: Positional(args), k: Named(args), et: enqueued_at, s7: extra };
    serde_json::to_vec(&job).map(Bytes::from).map_err(problem)
}

pub(super) fn decode_job(payload: &Bytes) -> Result<Envelope<'_>, Problem> {
    frame::decode_job(payload).map_or_else(|| decode_any_job(payload), Ok)
}

/// Any job, however it is written; of what is none, it says why.
#[cold]
fn decode_any_job(payload: &Bytes) -> Result<Envelope<'_>, Problem> {
    match serde_json::from_slice(payload) {
        Ok(job) => Ok(envelope(payload, job)),
        Err(error) => decode_infinite(payload, &error),
    }
}

#[cold]
fn decode_infinite(payload: &[u8], error: &serde_json::Error) -> Result<Envelope<'static>, Problem> {
    let finite = Bytes::from(without_infinite(payload).ok_or_else(|| Problem(error.to_string()))?);
    let Envelope { task, job_try, enqueued_at, extra, arguments } = envelope(&finite, read(&finite)?);
    Ok(Envelope { task: task.into_owned().into(), job_try, enqueued_at, extra, arguments })
}

fn envelope<'a>(payload: &Bytes, job: JobIn<'a>) -> Envelope<'a> {
    let place = |raw: &RawValue| {
        let start = raw.get().as_ptr() as usize - payload.as_ptr() as usize;
        start..start + raw.get().len()
    };
    let arguments = Arguments(Repr::Json { payload: payload.clone(), positional: place(job.a), named: place(job.k) });
    Envelope { task: job.f, job_try: job.t, enqueued_at: job.et, extra: job.s7.with(trace::of_json), arguments }
}

/// Room for a record's field names, numbers and times.
const RECORD_FRAME: usize = 144;

/// Field by field: arguments and value are JSON already, and are not to be read again.
pub(super) fn encode_result(record: &ResultRecord<'_>) -> Result<Bytes, Problem> {
    let nothing = Arguments::none();
    let unread = JobRef { task: UNKNOWN_TASK, enqueued_at: Timestamp::default(), arguments: &nothing };
    let job = record.job.unwrap_or(unread);
    let (positional, named) = parts(job.arguments)?;
    let value = record.value.ok().map(|value| text(&value.0)).transpose()?;
    let size = value.as_ref().map_or(0, |value| value.len());
    let texts = job.task.len() + record.queue.len() + record.id.len();
    let mut out = Fields(Vec::with_capacity(RECORD_FRAME + positional.len() + named.len() + size + texts));
    out.field("{\"t\":", &record.attempt)?;
    out.field(",\"f\":", job.task)?;
    out.written(",\"a\":", &positional);
    out.written(",\"k\":", &named);
    out.field(",\"et\":", &job.enqueued_at)?;
    match (record.value, &value) {
        (Err(failure), _) => out.field(",\"s\":false,\"r\":", &failure.message)?,
        (Ok(_), value) => {
            let value = value.as_ref().map_or(&b"null"[..], |value| value.as_bytes());
            out.written(",\"s\":true,\"r\":", value);
        }
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
    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), Problem> {
        self.0.extend_from_slice(name.as_bytes());
        serde_json::to_writer(&mut self.0, value).map_err(problem)
    }

    /// The same for a value that is JSON.
    fn written(&mut self, name: &str, json: &[u8]) {
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(json);
    }
}

pub(super) fn decode_result(record: &[u8]) -> Result<StoredResult, Problem> {
    stored_result(record).or_else(|problem| stored_result(&without_infinite(record).ok_or(problem)?))
}

pub(super) fn queue_of_result(record: &[u8]) -> Option<String> {
    let named = |record: &[u8]| read(record).ok().map(|QueueIn { q }| q);
    named(record).or_else(|| named(&without_infinite(record)?))
}

/// A result's queue alone.
#[derive(Deserialize)]
struct QueueIn {
    q: String,
}

fn stored_result(record: &[u8]) -> Result<StoredResult, Problem> {
    let result: ResultIn<'_> = read(record)?;
    let value = match (result.s, result.s7) {
        (true, _) => Ok(Encoded(Form::Json(result.r.get().to_owned()))),
        (false, Some(ours)) => Err(ours.failure),
        (false, None) => {
            let stored = serde_json::from_str(result.r.get()).unwrap_or_else(|_| result.r.get().into());
            Err(foreign::of_json(&stored).failure(result.t, result.ft))
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

/// With `null` for each `NaN`, `Infinity` and `-Infinity`, which Python's `json.dumps` writes and JSON has
/// not; `None` when there is none of them.
fn without_infinite(text: &[u8]) -> Option<Vec<u8>> {
    const WORDS: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];
    let (mut finite, mut rest, mut in_text) = (Vec::with_capacity(text.len()), text, false);
    while let [first, after @ ..] = rest {
        let word = WORDS.iter().find(|word| !in_text && rest.starts_with(word));
        if let Some(word) = word {
            finite.extend_from_slice(b"null");
            rest = &rest[word.len()..];
            continue;
        }
        // In a text, what follows a backslash is no end of it.
        let taken = if in_text && *first == b'\\' { after.len().min(1) + 1 } else { 1 };
        in_text ^= *first == b'"';
        finite.extend_from_slice(&rest[..taken]);
        rest = &rest[taken..];
    }
    (finite != text).then_some(finite)
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Problem> {
    // At once for all of it: else each string in it is looked at by itself.
    let text = std::str::from_utf8(bytes).map_err(|error| Problem(error.to_string()))?;
    serde_json::from_str(text).map_err(|error| Problem(error.to_string()))
}

/// What is wrong with one value, without the « at line 1 column 9»: that is a place in text that nobody sees.
#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
pub(super) fn problem(error: serde_json::Error) -> Problem {
    let message = error.to_string();
    Problem(message.rfind(" at line ").map_or(&*message, |end| &message[..end]).to_owned())
}

/// Positional and named arguments, as JSON.
type Parts<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// The arguments as they stand in their payload; those of another codec anew.
#[cfg_attr(
    not(any(feature = "msgpack", feature = "pickle")),
    expect(clippy::unnecessary_wraps, reason = "only values of other codecs may fail")
)]
fn parts(arguments: &Arguments) -> Result<Parts<'_>, Problem> {
    match &arguments.0 {
        Repr::Json { payload, positional, named } => {
            Ok((Cow::Borrowed(&payload[positional.clone()]), Cow::Borrowed(&payload[named.clone()])))
        }
        #[cfg(any(feature = "msgpack", feature = "pickle"))]
        Repr::Tree(_) => {
            let (positional, named) = arguments.to_json();
            let bytes = |value| serde_json::to_vec(value).map(Cow::Owned).map_err(problem);
            Ok((bytes(&positional)?, bytes(&named)?))
        }
    }
}

#[cfg_attr(
    not(any(feature = "msgpack", feature = "pickle")),
    expect(clippy::unnecessary_wraps, reason = "only values of other codecs may fail")
)]
fn text(value: &Form) -> Result<Cow<'_, str>, Problem> {
    match value {
        Form::Json(text) => Ok(Cow::Borrowed(text)),
        #[cfg(any(feature = "msgpack", feature = "pickle"))]
        other => encode(&other.to_json()).map(Cow::Owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Failure, FailureKind};

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
        let value = Encoded(Form::Json(encode(&[1, 2]).expect("JSON")));
        assert_eq!(written(Ok(&value)), format!(r#"{job},"s":true,"r":[1,2],{rest}}}"#));
        let failure = Failure::new(FailureKind::Error, "a \"b\"", 2, Timestamp::from_millis(9));
        let ours = r#""s7":{"failure":{"kind":"error","message":"a \"b\"","attempt":2,"at":9}}"#;
        assert_eq!(written(Err(&failure)), format!(r#"{job},"s":false,"r":"a \"b\"",{rest},{ours}}}"#));
    }
}
