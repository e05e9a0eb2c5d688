use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::arguments::Repr;
use super::{
    Arguments, Encoded, Envelope, Extra, FailureIn, FailureOut, Form, JobOut, JobRef, Problem, ResultRecord,
    StoredResult, UNKNOWN_TASK, foreign,
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
    Success(Cow<'a, RawValue>),
    Failure(&'a str),
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

pub(super) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Box<RawValue>, Problem> {
    serde_json::value::to_raw_value(value).map_err(problem)
}

pub(super) fn encode_job<A: JobArgs>(job: &JobOut<'_, A>) -> Result<Bytes, Problem> {
    let JobOut { task, enqueued_at, extra, args } = *job;
    let job = Job { t: None, f: task, a: Positional(args), k: Named(args), et: enqueued_at, s7: extra };
    serde_json::to_vec(&job).map(Bytes::from).map_err(problem)
}

#[inline]
pub(super) fn decode_job(payload: &Bytes) -> Result<Envelope<'_>, Problem> {
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

#[inline]
fn envelope<'a>(payload: &Bytes, job: JobIn<'a>) -> Envelope<'a> {
    let place = |raw: &RawValue| {
        let start = raw.get().as_ptr() as usize - payload.as_ptr() as usize;
        start..start + raw.get().len()
    };
    let arguments = Arguments(Repr::Json { payload: payload.clone(), positional: place(job.a), named: place(job.k) });
    Envelope { task: job.f, job_try: job.t, enqueued_at: job.et, extra: job.s7, arguments }
}

pub(super) fn encode_result(record: &ResultRecord<'_>) -> Result<Bytes, Problem> {
    let nothing = Arguments::none();
    let unread = JobRef { task: UNKNOWN_TASK, enqueued_at: Timestamp::default(), arguments: &nothing };
    let job = record.job.unwrap_or(unread);
    let (positional, named) = parts(job.arguments)?;
    let (s, r, s7) = match record.value {
        Ok(value) => (true, ValueOut::Success(text(&value.0)?), None),
        Err(failure) => (false, ValueOut::Failure(&failure.message), Some(FailureOut { failure })),
    };
    let out = ResultOut {
        t: record.attempt,
        f: job.task,
        a: &positional,
        k: &named,
        et: job.enqueued_at,
        s,
        r,
        st: record.started_at,
        ft: record.finished_at,
        q: record.queue,
        id: record.id,
        s7,
    };
    serde_json::to_vec(&out).map(Bytes::from).map_err(problem)
}

pub(super) fn decode_result(record: &[u8]) -> Result<StoredResult, Problem> {
    stored_result(record).or_else(|problem| stored_result(&without_infinite(record).ok_or(problem)?))
}

fn stored_result(record: &[u8]) -> Result<StoredResult, Problem> {
    let result: ResultIn<'_> = read(record)?;
    let value = match (result.s, result.s7) {
        (true, _) => Ok(Encoded(Form::Json(result.r.to_owned()))),
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
    serde_json::from_slice(bytes).map_err(|error| Problem(error.to_string()))
}

/// What is wrong with one value, without the « at line 1 column 9»: that is a place in text that nobody sees.
#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
pub(super) fn problem(error: serde_json::Error) -> Problem {
    let message = error.to_string();
    Problem(message.rfind(" at line ").map_or(&*message, |end| &message[..end]).to_owned())
}

/// The arguments as they stand in their payload; those of another codec anew.
fn parts(arguments: &Arguments) -> Result<(Cow<'_, RawValue>, Cow<'_, RawValue>), Problem> {
    match &arguments.0 {
        Repr::Json { payload, positional, named } => {
            Ok((Cow::Borrowed(read(&payload[positional.clone()])?), Cow::Borrowed(read(&payload[named.clone()])?)))
        }
        #[cfg(any(feature = "msgpack", feature = "pickle"))]
        Repr::Tree(_) => {
            let (positional, named) = arguments.to_json();
            Ok((Cow::Owned(encode(&positional)?), Cow::Owned(encode(&named)?)))
        }
    }
}

#[cfg_attr(
    not(any(feature = "msgpack", feature = "pickle")),
    expect(clippy::unnecessary_wraps, reason = "only values of other codecs may fail")
)]
fn text(value: &Form) -> Result<Cow<'_, RawValue>, Problem> {
    match value {
        Form::Json(text) => Ok(Cow::Borrowed(text)),
        #[cfg(any(feature = "msgpack", feature = "pickle"))]
        other => encode(&other.to_json()).map(Cow::Owned),
    }
}
