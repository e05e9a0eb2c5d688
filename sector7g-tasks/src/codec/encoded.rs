use std::borrow::Cow;

#[cfg(any(feature = "msgpack", feature = "pickle"))]
use bytes::Bytes;
use serde::de::DeserializeOwned;

#[cfg(any(feature = "msgpack", feature = "pickle"))]
use super::value::{Reader, Value};
use super::{CodecError, Problem, json};

/// A value written in a codec.
#[derive(Clone, Debug)]
pub struct Encoded(pub(super) Form);

#[derive(Clone, Debug)]
pub(super) enum Form {
    /// JSON text.
    Json(String),
    /// As it stands in a payload.
    #[cfg(feature = "msgpack")]
    MsgPack(Bytes),
    /// What pushes it, without the memo: it may stand anywhere in a payload.
    #[cfg(feature = "pickle")]
    Pickle(Bytes),
    /// Out of a stored result.
    #[cfg(any(feature = "msgpack", feature = "pickle"))]
    Read(Value),
}

impl Encoded {
    pub(crate) fn decode<T: DeserializeOwned>(&self) -> Result<T, CodecError> {
        self.0.read().map_err(|problem| CodecError::reading("the result", problem))
    }

    /// Its size in bytes; for one that comes out of a stored result, that of its JSON text.
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Json(text) => text.len(),
            #[cfg(feature = "msgpack")]
            Form::MsgPack(bytes) => bytes.len(),
            #[cfg(feature = "pickle")]
            Form::Pickle(bytes) => bytes.len(),
            #[cfg(any(feature = "msgpack", feature = "pickle"))]
            Form::Read(value) => value.to_json().to_string().len(),
        }
    }

    /// Whether it has no bytes; no codec writes such a value.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The value as JSON text, for people.
    ///
    /// What JSON has not becomes what it has: see [the table](crate::codec#how-pythons-values-are-read).
    pub fn as_json(&self) -> Cow<'_, str> {
        match &self.0 {
            Form::Json(text) => Cow::Borrowed(text),
            #[cfg(any(feature = "msgpack", feature = "pickle"))]
            other => Cow::Owned(other.to_json().to_string()),
        }
    }
}

impl Form {
    fn read<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        match self {
            Self::Json(text) => serde_json::from_str(text).map_err(json::problem),
            #[cfg(feature = "msgpack")]
            Self::MsgPack(bytes) => T::deserialize(Reader::showing(&super::msgpack::value(bytes)?)),
            #[cfg(feature = "pickle")]
            Self::Pickle(bytes) => T::deserialize(Reader::showing(&super::pickle::value(bytes)?)),
            #[cfg(any(feature = "msgpack", feature = "pickle"))]
            Self::Read(value) => T::deserialize(Reader::showing(value)),
        }
    }

    #[cfg(any(feature = "msgpack", feature = "pickle"))]
    pub(super) fn to_json(&self) -> serde_json::Value {
        self.read().unwrap_or_else(|Problem(problem)| problem.into())
    }
}
