use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Display, Write as _};
use std::ops::Range;
#[cfg(any(feature = "msgpack", feature = "pickle"))]
use std::sync::Arc;

use bytes::Bytes;
use serde::de::{DeserializeOwned, DeserializeSeed};
use serde_json::value::RawValue;

#[cfg(any(feature = "msgpack", feature = "pickle"))]
use super::value::{Reader, Value};
use super::{Codec, CodecError, Problem, json};
use crate::args::Param;

/// A job's stored arguments, not yet bound to parameters.
#[derive(Clone, Debug)]
pub struct Arguments(pub(super) Repr);

#[derive(Clone, Debug)]
pub(super) enum Repr {
    /// Two places in a JSON payload, known to hold JSON values.
    Json { payload: Bytes, positional: Range<usize>, named: Range<usize> },
    #[cfg(any(feature = "msgpack", feature = "pickle"))]
    Tree(Arc<Tree>),
}

/// Arguments that are read already.
#[cfg(any(feature = "msgpack", feature = "pickle"))]
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) positional: Value,
    pub(super) named: Value,
    /// As they were written, where that may be repeated as it is.
    pub(super) raw: Option<Raw>,
}

/// Arguments as they stand in a payload.
#[cfg(any(feature = "msgpack", feature = "pickle"))]
#[derive(Clone, Debug, Default)]
pub(super) struct Raw {
    pub(super) positional: Bytes,
    pub(super) named: Bytes,
}

/// Values by name, not yet read.
pub(crate) type NamedValues<'a> = Vec<(Cow<'a, str>, NamedValue<'a>)>;

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NamedValue<'a> {
    Json(&'a RawValue),
    #[cfg(any(feature = "msgpack", feature = "pickle"))]
    Read(&'a Value),
}

impl NamedValue<'_> {
    pub(crate) fn read<T: DeserializeOwned>(self) -> Result<T, Problem> {
        match self {
            Self::Json(text) => serde_json::from_str(text.get()).map_err(json::problem),
            #[cfg(any(feature = "msgpack", feature = "pickle"))]
            Self::Read(value) => T::deserialize(Reader::new(value)),
        }
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
    pub(crate) fn positional<'a, S: DeserializeSeed<'a>>(&'a self, seed: S) -> Result<S::Value, Problem> {
        match &self.0 {
            Repr::Json { payload, positional, .. } => {
                let mut reader = serde_json::Deserializer::from_slice(&payload[positional.clone()]);
                seed.deserialize(&mut reader).map_err(json::problem)
            }
            #[cfg(any(feature = "msgpack", feature = "pickle"))]
            Repr::Tree(tree) => seed.deserialize(Reader::new(&tree.positional)),
        }
    }

    /// The named ones; of two of one name, the last.
    pub(crate) fn named(&self) -> Result<NamedValues<'_>, Problem> {
        match &self.0 {
            Repr::Json { payload, named, .. } => json_named(&payload[named.clone()]),
            #[cfg(any(feature = "msgpack", feature = "pickle"))]
            Repr::Tree(tree) => tree.named(),
        }
    }

    /// The arguments for people: `7, depth=null`, redacted ones as `***`, at most `limit` bytes. Those that
    /// are not JSON are shown as Python shows them.
    pub(crate) fn display(&self, params: &[Param], limit: usize) -> String {
        self.display_where(&|place| place.is_shown([params]), limit)
    }

    /// The same, with `may_show` to say which of them may be shown.
    pub(crate) fn display_where(&self, may_show: &dyn Fn(Place<'_>) -> bool, limit: usize) -> String {
        let mut shown = Shown { clip: Clip::new(limit), may_show };
        // An error says that the text is long enough.
        let _ = match &self.0 {
            Repr::Json { payload, positional, named } => {
                show_json(&mut shown, &payload[positional.clone()], &payload[named.clone()])
            }
            #[cfg(any(feature = "msgpack", feature = "pickle"))]
            Repr::Tree(tree) => tree.show(&mut shown),
        };
        shown.clip.text
    }

    /// As they stand in their payload, where that may be repeated.
    #[cfg(feature = "msgpack")]
    pub(super) fn raw(&self) -> Option<&Raw> {
        match &self.0 {
            Repr::Json { .. } => None,
            Repr::Tree(tree) => tree.raw.as_ref(),
        }
    }

    /// Both as JSON, positional ones first, to repeat them in another codec than theirs.
    #[cfg(any(feature = "msgpack", feature = "pickle"))]
    pub(super) fn to_json(&self) -> (serde_json::Value, serde_json::Value) {
        match &self.0 {
            Repr::Json { payload, positional, named } => {
                (lenient(&payload[positional.clone()]), lenient(&payload[named.clone()]))
            }
            Repr::Tree(tree) => (tree.positional.to_json(), tree.named.to_json()),
        }
    }
}

fn json_named(text: &[u8]) -> Result<NamedValues<'_>, Problem> {
    if text == b"{}" {
        return Ok(Vec::new()); // nearly always, and then without an allocation
    }
    let map: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(text).map_err(json::problem)?;
    Ok(map.into_iter().map(|(name, value)| (name, NamedValue::Json(value))).collect())
}

fn show_json(shown: &mut Shown<'_>, positional: &[u8], named: &[u8]) -> fmt::Result {
    let values: Vec<&RawValue> = lenient(positional);
    values.iter().try_for_each(|value| shown.positional(value))?;
    let named: BTreeMap<Cow<'_, str>, &RawValue> = lenient(named);
    named.iter().try_for_each(|(name, value)| shown.named(name, value))
}

fn lenient<'a, T: serde::Deserialize<'a> + Default>(text: &'a [u8]) -> T {
    serde_json::from_slice(text).unwrap_or_default()
}

#[cfg(any(feature = "msgpack", feature = "pickle"))]
impl Tree {
    fn named(&self) -> Result<NamedValues<'_>, Problem> {
        let Value::Dict(entries) = &self.named else {
            return Err(Problem(format!("the named ones are no dict but {}", clipped(&self.named))));
        };
        let by_name = entries.iter().map(|(key, value)| match key.as_text() {
            Some(name) => Ok((name, value)),
            None => Err(Problem(format!("an argument's name is no text but {}", clipped(key)))),
        });
        let map: BTreeMap<&str, &Value> = by_name.collect::<Result<_, _>>()?;
        Ok(map.into_iter().map(|(name, value)| (Cow::Borrowed(name), NamedValue::Read(value))).collect())
    }

    fn show(&self, shown: &mut Shown<'_>) -> fmt::Result {
        let values = self.positional.items().unwrap_or_default();
        values.iter().try_for_each(|value| shown.positional(value))?;
        let named = self.named().unwrap_or_default();
        named.iter().try_for_each(|(name, value)| match value {
            NamedValue::Json(value) => shown.named(name, value),
            NamedValue::Read(value) => shown.named(name, value),
        })
    }
}

/// A value for an error's text.
#[cfg(any(feature = "msgpack", feature = "pickle"))]
fn clipped(value: &Value) -> String {
    let mut clip = Clip::new(80);
    let _ = write!(clip, "{value}"); // an error says that it is long enough
    clip.text
}

/// Arguments on their way into a text.
struct Shown<'a> {
    clip: Clip,
    may_show: &'a dyn Fn(Place<'_>) -> bool,
}

/// Where an argument stands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    /// Among the positional ones, from 0.
    Nth(usize),
    Named(&'a str),
}

impl Place<'_> {
    /// Whether what stands there may be shown, by the parameters of each task that it may be for: one knows it, and none hides it.
    /// What no parameter is known for may be secret, too.
    pub(crate) fn is_shown<'a>(self, tasks: impl IntoIterator<Item = &'a [Param]>) -> bool {
        let mut is_known = false;
        let is_hidden = tasks.into_iter().any(|params| {
            let param = match self {
                Self::Nth(nth) => params.get(nth),
                Self::Named(name) => params.iter().find(|param| param.name == name),
            };
            is_known |= param.is_some();
            param.is_some_and(|param| param.redact)
        });
        is_known && !is_hidden
    }
}

impl Shown<'_> {
    fn positional(&mut self, value: &dyn Display) -> fmt::Result {
        let place = Place::Nth(self.clip.count);
        self.next()?;
        self.value(place, value)
    }

    fn named(&mut self, name: &str, value: &dyn Display) -> fmt::Result {
        self.next()?;
        write!(self.clip, "{name}=")?;
        self.value(Place::Named(name), value)
    }

    fn next(&mut self) -> fmt::Result {
        self.clip.count += 1;
        self.clip.write_str(if self.clip.count == 1 { "" } else { ", " })
    }

    fn value(&mut self, place: Place<'_>, value: &dyn Display) -> fmt::Result {
        if (self.may_show)(place) { write!(self.clip, "{value}") } else { self.clip.write_str("***") }
    }
}

/// A text that takes no more than `limit` bytes, and then an ellipsis.
pub(super) struct Clip {
    pub(super) text: String,
    limit: usize,
    /// How many values it shows.
    count: usize,
}

impl Clip {
    pub(super) fn new(limit: usize) -> Self {
        Self { text: String::new(), limit, count: 0 }
    }
}

impl fmt::Write for Clip {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.limit - self.text.len().min(self.limit);
        if text.len() <= room {
            self.text.push_str(text);
            return Ok(());
        }
        self.text.push_str(&text[..text.floor_char_boundary(room)]);
        self.text.push('…');
        Err(fmt::Error)
    }
}
