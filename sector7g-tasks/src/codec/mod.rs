#![doc = include_str!("../docs/codecs.md")]

#[cfg_attr(
    not(all(feature = "msgpack", feature = "pickle")),
    allow(dead_code, reason = "each codec uses a part of it")
)]
mod arguments;
mod encoded;
mod foreign;
mod json;
#[cfg(feature = "msgpack")]
mod msgpack;
#[cfg(feature = "pickle")]
mod pickle;
#[cfg(any(feature = "msgpack", feature = "pickle"))]
mod record;
#[cfg(test)]
mod tests;
mod trace;
#[cfg(any(feature = "msgpack", feature = "pickle"))]
#[cfg_attr(
    not(all(feature = "msgpack", feature = "pickle")),
    allow(dead_code, reason = "each codec uses a part of it")
)]
mod value;
#[cfg(any(feature = "msgpack", feature = "pickle"))]
mod write;

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use serde::{Deserialize, Serialize, de, ser};

pub use self::arguments::Arguments;
pub(crate) use self::arguments::{NamedValues, Place};
pub use self::encoded::Encoded;
use self::encoded::Form;
#[cfg(feature = "otel")]
pub(crate) use self::trace::LONGEST as LONGEST_TRACE_STATE;
pub(crate) use self::trace::Trace;
#[cfg(any(feature = "otel", test))]
pub(crate) use self::trace::TraceParent;
use crate::args::JobArgs;
use crate::clock::Timestamp;
use crate::error::BoxError;
use crate::job::Failure;

/// How jobs and results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// JSON, in arq's layout; what arq's users get with `json.dumps` and `json.loads`.
    #[default]
    Json,
    /// `MessagePack`; what arq's users get with `msgpack.packb` and `msgpack.unpackb`.
    #[cfg(feature = "msgpack")]
    MsgPack,
    /// Pickle, what arq uses unless told otherwise.
    ///
    /// Written in protocol 4. Read from protocols 0 to 5 by a machine that makes plain values and nothing
    /// else: no class is ever looked up, no function called.
    #[cfg(feature = "pickle")]
    Pickle,
}

/// Why bytes could not be made or read.
#[derive(Debug, thiserror::Error)]
#[error("{what} can't be {verb}")]
pub struct CodecError {
    what: &'static str,
    verb: &'static str,
    #[source]
    cause: BoxError,
}

impl CodecError {
    fn reading(what: &'static str, cause: impl Into<BoxError>) -> Self {
        Self { what, verb: "read", cause: cause.into() }
    }

    fn writing(what: &'static str, cause: impl Into<BoxError>) -> Self {
        Self { what, verb: "written", cause: cause.into() }
    }
}

/// What is wrong with a value or its bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Problem(pub(crate) String);

impl de::Error for Problem {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl ser::Error for Problem {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// A job to be written.
struct JobOut<'a, A> {
    task: &'a str,
    enqueued_at: Timestamp,
    extra: &'a Extra,
    args: &'a A,
}

/// What a failed job's result has for our own readers.
#[derive(Serialize)]
struct FailureOut<'a> {
    failure: &'a Failure,
}

#[derive(Deserialize)]
struct FailureIn {
    failure: Failure,
}

/// What results call the task of a job that could not be read.
const UNKNOWN_TASK: &str = "<unknown>";

/// What stands around a job's arguments.
#[derive(Clone, Debug)]
pub(crate) struct Envelope<'a> {
    pub(crate) task: Cow<'a, str>,
    /// The attempt to start from, when the producer gave one.
    pub(crate) job_try: Option<u32>,
    pub(crate) enqueued_at: Timestamp,
    pub(crate) extra: Extra,
    pub(crate) arguments: Arguments,
}

/// What we add to arq's fields; its readers skip it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Extra {
    /// Attempts allowed for this job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_tries: Option<u32>,
    /// The tick of a schedule that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tick: Option<Timestamp>,
    /// The trace that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace: Option<Box<Trace>>,
}

/// The same as it is read: a context that is none costs the job nothing, so it is read apart.
#[derive(Deserialize)]
struct ExtraIn<T> {
    max_tries: Option<u32>,
    tick: Option<Timestamp>,
    trace: Option<T>,
}

impl<T> Default for ExtraIn<T> {
    fn default() -> Self {
        Self { max_tries: None, tick: None, trace: None }
    }
}

impl<T> ExtraIn<T> {
    fn with(self, read: impl FnOnce(T) -> Option<Trace>) -> Extra {
        let Self { max_tries, tick, trace } = self;
        Extra { max_tries, tick, trace: trace.and_then(read).map(Box::new) }
    }
}

impl Extra {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What a result repeats of its job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JobRef<'a> {
    pub(crate) task: &'a str,
    pub(crate) enqueued_at: Timestamp,
    pub(crate) arguments: &'a Arguments,
}

/// A stored result, as written.
#[derive(Clone, Debug)]
pub(crate) struct ResultRecord<'a> {
    /// `None` when the job could not be read.
    pub(crate) job: Option<JobRef<'a>>,
    pub(crate) attempt: u32,
    pub(crate) value: Result<&'a Encoded, &'a Failure>,
    pub(crate) started_at: Timestamp,
    pub(crate) finished_at: Timestamp,
    pub(crate) queue: &'a str,
    pub(crate) id: &'a str,
}

/// A stored result, as read.
#[derive(Clone, Debug)]
pub(crate) struct StoredResult {
    pub(crate) task: String,
    pub(crate) attempt: u32,
    pub(crate) enqueued_at: Timestamp,
    pub(crate) started_at: Timestamp,
    pub(crate) finished_at: Timestamp,
    pub(crate) value: Result<Encoded, Failure>,
}

/// The codec that the last job of a queue came in, for results of jobs that leave none to go by.
#[derive(Debug, Default)]
pub(crate) struct LastCodec(AtomicU8);

impl LastCodec {
    const ALL: &[Codec] = &[
        Codec::Json,
        #[cfg(feature = "msgpack")]
        Codec::MsgPack,
        #[cfg(feature = "pickle")]
        Codec::Pickle,
    ];

    pub(crate) fn set(&self, codec: Codec) {
        let place = Self::ALL.iter().position(|known| *known == codec).and_then(|at| u8::try_from(at + 1).ok());
        let place = place.unwrap_or(0);
        if self.0.load(Ordering::Relaxed) != place {
            self.0.store(place, Ordering::Relaxed);
        }
    }

    pub(crate) fn get(&self) -> Option<Codec> {
        Self::ALL.get(usize::from(self.0.load(Ordering::Relaxed)).checked_sub(1)?).copied()
    }
}

impl Codec {
    /// `json`, `msgpack` or `pickle`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            #[cfg(feature = "msgpack")]
            Self::MsgPack => "msgpack",
            #[cfg(feature = "pickle")]
            Self::Pickle => "pickle",
        }
    }

    /// The codec of a payload, by its first bytes; `None` when it is in none that is known here.
    pub fn detect(payload: &[u8]) -> Option<Self> {
        match Looks::like(payload)? {
            Looks::Json => Some(Self::Json),
            #[cfg(feature = "msgpack")]
            Looks::MsgPack => Some(Self::MsgPack),
            #[cfg(feature = "pickle")]
            Looks::Pickle => Some(Self::Pickle),
            #[cfg(not(all(feature = "msgpack", feature = "pickle")))]
            _ => None,
        }
    }

    #[inline]
    fn of(what: &'static str, payload: &[u8]) -> Result<Self, CodecError> {
        Self::detect(payload).ok_or_else(|| unknown(what, payload))
    }

    pub(crate) fn encode<T: Serialize + ?Sized>(self, value: &T) -> Result<Encoded, CodecError> {
        let form = match self {
            Self::Json => json::encode(value).map(Form::Json),
            #[cfg(feature = "msgpack")]
            Self::MsgPack => msgpack::encode(value).map(Form::MsgPack),
            #[cfg(feature = "pickle")]
            Self::Pickle => pickle::encode(value).map(Form::Pickle),
        };
        form.map(Encoded).map_err(|problem| CodecError::writing("the value", problem))
    }

    #[inline]
    pub(crate) fn encode_job<A: JobArgs>(
        self,
        task: &str,
        enqueued_at: Timestamp,
        extra: &Extra,
        args: &A,
    ) -> Result<Bytes, CodecError> {
        let job = JobOut { task, enqueued_at, extra, args };
        let payload = match self {
            Self::Json => json::encode_job(&job),
            #[cfg(feature = "msgpack")]
            Self::MsgPack => msgpack::encode_job(&job),
            #[cfg(feature = "pickle")]
            Self::Pickle => pickle::encode_job(&job),
        };
        payload.map_err(|problem| CodecError::writing("the job", problem))
    }

    pub(crate) fn encode_result(self, record: &ResultRecord<'_>) -> Result<Bytes, CodecError> {
        let stored = match self {
            Self::Json => json::encode_result(record),
            #[cfg(feature = "msgpack")]
            Self::MsgPack => msgpack::encode_result(record),
            #[cfg(feature = "pickle")]
            Self::Pickle => pickle::encode_result(record),
        };
        stored.map_err(|problem| CodecError::writing("the result", problem))
    }

    /// Reads a stored job, and says in which codec it is.
    pub(crate) fn decode_job(payload: &Bytes) -> Result<(Self, Envelope<'_>), CodecError> {
        let codec = Self::of("the job", payload)?;
        let envelope = match codec {
            Self::Json => json::decode_job(payload),
            #[cfg(feature = "msgpack")]
            Self::MsgPack => msgpack::decode_job(payload),
            #[cfg(feature = "pickle")]
            Self::Pickle => pickle::decode_job(payload),
        };
        Ok((codec, envelope.map_err(|problem| CodecError::reading("the job", problem))?))
    }

    pub(crate) fn decode_result(record: &[u8]) -> Result<StoredResult, CodecError> {
        let result = match Self::of("the result", record)? {
            Self::Json => json::decode_result(record),
            #[cfg(feature = "msgpack")]
            Self::MsgPack => msgpack::decode_result(record),
            #[cfg(feature = "pickle")]
            Self::Pickle => pickle::decode_result(record),
        };
        result.map_err(|problem| CodecError::reading("the result", problem))
    }

    /// The queue that a stored result names, as its worker's broker calls it; `None` when it can't be read or names none.
    #[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "only there results of all queues are in one place"))]
    pub(crate) fn queue_of_result(record: &[u8]) -> Option<String> {
        match Self::detect(record)? {
            Self::Json => json::queue_of_result(record),
            #[cfg(feature = "msgpack")]
            Self::MsgPack => msgpack::queue_of_result(record),
            #[cfg(feature = "pickle")]
            Self::Pickle => pickle::queue_of_result(record),
        }
    }
}

/// What a payload's first bytes say, whether or not that codec was built in.
#[derive(Clone, Copy)]
enum Looks {
    Json,
    MsgPack,
    Pickle,
}

impl Looks {
    /// A payload is a dict with entries; a pickled one starts with its protocol, or, in the protocols 0 and 1,
    /// with the opcodes of a dict.
    #[inline]
    fn like(payload: &[u8]) -> Option<Self> {
        match payload {
            [0x80, 2..=5, ..] | [b'(', b'd', ..] | [b'}', ..] => Some(Self::Pickle),
            [0x81..=0x8f | 0xde | 0xdf, ..] => Some(Self::MsgPack),
            _ => {
                let first = payload.iter().find(|byte| !byte.is_ascii_whitespace())?;
                (*first == b'{').then_some(Self::Json)
            }
        }
    }
}

/// Why a payload has no codec.
#[cold]
fn unknown(what: &'static str, payload: &[u8]) -> CodecError {
    let without = |feature| format!("this program was built without the feature `{feature}`, which it needs");
    let problem = match Looks::like(payload) {
        Some(Looks::Pickle) => without("pickle"),
        Some(Looks::MsgPack) => without("msgpack"),
        _ => "it is in no codec that is known here: it starts neither like JSON nor like MessagePack nor like a pickle"
            .to_owned(),
    };
    CodecError::reading(what, Problem(problem))
}
