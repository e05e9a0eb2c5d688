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

/// The most values in a payload's arguments or result, one that is shared counted as often as it is met: 1,048,576.
pub(super) const MAX_VALUES: usize = 1 << 20;

/// The most bytes of texts in an entry of a payload, counted likewise, and of the payload itself: 64 MiB.
pub(super) const MAX_BYTES: usize = 64 << 20;

/// A value, not yet of any Rust type. What a payload shares is shared here, too: a clone costs no more than its own place.
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
    List(Arc<Vec<Self>>),
    Tuple(Arc<Vec<Self>>),
    Set(Arc<Vec<Self>>),
    FrozenSet(Arc<Vec<Self>>),
    Dict(Arc<Vec<(Self, Self)>>),
    DateTime(Arc<DateTime>),
    Date(Date),
    Time(Arc<(Time, Option<Zone>)>),
    Delta(Delta),
    Zone(Arc<Zone>),
    /// `decimal.Decimal`, as its text.
    Decimal(Arc<str>),
    Uuid(Arc<[u8; 16]>),
    Object(Arc<Object>),
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
        self.shared_items().map(|items| items.as_slice())
    }

    /// The same, to be shared.
    pub(super) fn shared_items(&self) -> Option<&Arc<Vec<Self>>> {
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

/// For how many values each entry of a payload has room, whatever those before it took: what is no argument has fewer.
const ENTRY_VALUES: usize = 1_000;

/// What counts the values of a payload while they are made.
#[derive(Debug)]
pub(super) struct Budget {
    values: usize,
    bytes: usize,
}

/// A payload holds too much; the words continue "it holds …".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TooMuch(pub(super) &'static str);

const TOO_MANY: TooMuch = TooMuch("more than 1048576 values");

impl Budget {
    pub(super) const fn new() -> Self {
        Self { values: MAX_VALUES, bytes: MAX_BYTES }
    }

    /// For what is not kept beside others, such as a key.
    pub(super) const fn small() -> Self {
        Self { values: ENTRY_VALUES, bytes: MAX_BYTES }
    }

    /// For the next entry of a payload: all of them are held at once. Bytes are only those of the payload, met again.
    pub(super) fn next_entry(&mut self) {
        *self = Self { values: self.values.max(ENTRY_VALUES), bytes: MAX_BYTES };
    }

    /// Counts one value with so many bytes of its own.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), TooMuch> {
        self.take_all(1, bytes)
    }

    /// Counts so many values with so many bytes among them.
    pub(super) fn take_all(&mut self, values: usize, bytes: usize) -> Result<(), TooMuch> {
        self.values = self.values.checked_sub(values).ok_or(TOO_MANY)?;
        self.bytes = self.bytes.checked_sub(bytes).ok_or(TooMuch("more than 64 MiB"))?;
        Ok(())
    }

    /// Whether there is room for so many.
    pub(super) fn has(&self, values: usize) -> Result<(), TooMuch> {
        if values > self.values { Err(TOO_MANY) } else { Ok(()) }
    }

    /// How many values there may still be, and bytes of them.
    pub(super) const fn left(&self) -> (usize, usize) {
        (self.values, self.bytes)
    }
}
