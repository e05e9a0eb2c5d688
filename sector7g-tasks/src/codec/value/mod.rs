//! Values as Python has them, read from `MessagePack` or pickle: one tree for both.

mod number;
mod read;
mod show;
mod time;

use std::sync::Arc;

pub(super) use self::number::BigInt;
pub(super) use self::read::Reader;
pub(super) use self::time::{Date, DateTime, Delta, Time, Zone};
use super::Problem;

/// The most levels of lists, dicts and objects within each other.
pub(super) const MAX_DEPTH: usize = 128;

/// The most values in a payload, one that is shared counted as often as it is met: 1,048,576.
pub(super) const MAX_VALUES: usize = 1 << 20;

/// The most bytes of texts in a payload, counted likewise, and of the payload itself: 64 MiB.
pub(super) const MAX_BYTES: usize = 64 << 20;

/// A value, not yet of any Rust type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// Beyond 64 bits.
    Big(BigInt),
    Float(f64),
    Text(Arc<str>),
    Bytes(Arc<[u8]>),
    ByteArray(Arc<[u8]>),
    List(Vec<Self>),
    Tuple(Vec<Self>),
    Set(Vec<Self>),
    FrozenSet(Vec<Self>),
    Dict(Vec<(Self, Self)>),
    DateTime(Box<DateTime>),
    Date(Date),
    Time(Box<(Time, Option<Zone>)>),
    Delta(Delta),
    Zone(Box<Zone>),
    /// `decimal.Decimal`, as its text.
    Decimal(Arc<str>),
    Uuid(Box<[u8; 16]>),
    Object(Box<Object>),
    /// What is there and can't be held, in words that continue "it holds …".
    Unread(Arc<str>),
}

/// An object of a class that is unknown here: told, never made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Object {
    /// `module.Class`.
    pub(super) class: Arc<str>,
    /// What it would be made of: `args`, `kwargs`, `state`, `items`, `entries`. None for the class itself.
    pub(super) parts: Vec<(&'static str, Value)>,
}

impl Object {
    pub(super) fn part(&self, name: &str) -> Option<&Value> {
        self.parts.iter().find(|(part, _)| *part == name).map(|(_, value)| value)
    }
}

impl Value {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The values of a list, tuple or set.
    pub(super) fn items(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) | Self::Tuple(items) | Self::Set(items) | Self::FrozenSet(items) => Some(items),
            _ => None,
        }
    }

    /// As JSON, for people and for [`Untyped`](crate::job::Untyped) results.
    pub(super) fn to_json(&self) -> serde_json::Value {
        serde::Deserialize::deserialize(Reader::showing(self)).unwrap_or_else(|problem: Problem| problem.0.into())
    }
}

/// What counts the values of a payload while they are made.
#[derive(Debug)]
pub(super) struct Budget {
    values: usize,
    bytes: usize,
}

/// A payload holds too much; the words continue "it holds …".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TooMuch(pub(super) &'static str);

impl Budget {
    pub(super) const fn new() -> Self {
        Self { values: MAX_VALUES, bytes: MAX_BYTES }
    }

    /// Counts one value with so many bytes of its own.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), TooMuch> {
        self.values = self.values.checked_sub(1).ok_or(TooMuch("more than 1048576 values"))?;
        self.bytes = self.bytes.checked_sub(bytes).ok_or(TooMuch("more than 64 MiB"))?;
        Ok(())
    }
}
