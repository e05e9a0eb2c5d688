//! Bytes to a job and back.
//!
//! The codec of a payload is told by its first bytes, so that a queue can change its codec while
//! jobs wait, and a result goes back in the codec its job came in.

mod json;

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use serde::de::DeserializeSeed;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::args::{JobArgs, Param};
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

/// A value written in a codec.
#[derive(Clone, Debug)]
pub struct Encoded {
    pub(crate) text: Box<RawValue>,
}

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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Extra {
    /// Attempts allowed for this job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_tries: Option<u32>,
    /// The tick of a schedule that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tick: Option<Timestamp>,
}

impl Extra {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Values by name, not yet read.
pub(crate) type NamedValues = Vec<(Box<str>, Box<RawValue>)>;

/// A job's stored arguments, not yet bound to parameters.
#[derive(Clone, Debug)]
pub struct Arguments(Repr);

#[derive(Clone, Debug)]
enum Repr {
    /// Two places in a JSON payload, known to hold JSON values.
    Json { payload: Bytes, positional: Range<usize>, named: Range<usize> },
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

impl Codec {
    /// The codec of a payload, by its first bytes; `None` when it is in none that is known here.
    pub fn detect(payload: &[u8]) -> Option<Self> {
        let first = payload.iter().find(|byte| !byte.is_ascii_whitespace())?;
        (*first == b'{').then_some(Self::Json)
    }

    fn of(what: &'static str, payload: &[u8]) -> Result<Self, CodecError> {
        Self::detect(payload)
            .ok_or_else(|| CodecError::reading(what, "it is in no codec that is known here (JSON starts with `{`)"))
    }

    pub(crate) fn encode<T: Serialize + ?Sized>(self, value: &T) -> Result<Encoded, CodecError> {
        match self {
            Self::Json => json::encode(value),
        }
    }

    pub(crate) fn encode_job<A: JobArgs>(
        self,
        task: &str,
        enqueued_at: Timestamp,
        extra: &Extra,
        args: &A,
    ) -> Result<Bytes, CodecError> {
        match self {
            Self::Json => json::encode_job(task, enqueued_at, extra, args),
        }
    }

    pub(crate) fn encode_result(self, record: &ResultRecord<'_>) -> Result<Bytes, CodecError> {
        match self {
            Self::Json => json::encode_result(record),
        }
    }

    /// Reads a stored job, and says in which codec it is.
    pub(crate) fn decode_job(payload: &Bytes) -> Result<(Self, Envelope<'_>), CodecError> {
        let codec = Self::of("the job", payload)?;
        let envelope = match codec {
            Self::Json => json::decode_job(payload)?,
        };
        Ok((codec, envelope))
    }

    pub(crate) fn decode_result(record: &[u8]) -> Result<StoredResult, CodecError> {
        match Self::of("the result", record)? {
            Self::Json => json::decode_result(record),
        }
    }
}

impl Encoded {
    pub(crate) fn decode<T: serde::de::DeserializeOwned>(&self) -> Result<T, CodecError> {
        serde_json::from_str(self.text.get()).map_err(|error| CodecError::reading("the result", error))
    }

    /// Its size in bytes.
    pub fn len(&self) -> usize {
        self.text.get().len()
    }

    /// Whether it has no bytes; no codec writes such a value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value as JSON text, for people.
    pub fn as_json(&self) -> &str {
        self.text.get()
    }
}

impl Arguments {
    /// No arguments at all.
    pub(crate) fn none() -> Self {
        Self(Repr::Json { payload: Bytes::from_static(b"[]{}"), positional: 0..2, named: 2..4 })
    }

    /// Those of a stored job, for benchmarks: a worker reads more than them.
    #[doc(hidden)]
    pub fn of_job(payload: &Bytes) -> Result<Self, CodecError> {
        Codec::decode_job(payload).map(|(_, envelope)| envelope.arguments)
    }

    /// Reads the positional ones with `seed`.
    pub(crate) fn positional<'a, S: DeserializeSeed<'a>>(&'a self, seed: S) -> Result<S::Value, serde_json::Error> {
        let Repr::Json { payload, positional, .. } = &self.0;
        let mut reader = serde_json::Deserializer::from_slice(&payload[positional.clone()]);
        seed.deserialize(&mut reader)
    }

    /// The named ones; of two of one name, the last.
    pub(crate) fn named(&self) -> Result<NamedValues, serde_json::Error> {
        let Repr::Json { payload, named, .. } = &self.0;
        json::named(&payload[named.clone()])
    }

    /// The arguments for people: `7, depth=null`, redacted ones as `***`, at most `limit` bytes.
    pub(crate) fn display(&self, params: &[Param], limit: usize) -> String {
        json::display(self, params, limit)
    }
}
