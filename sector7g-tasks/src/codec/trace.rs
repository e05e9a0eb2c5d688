//! The W3C Trace Context that a job carries.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

/// The longest text that is looked at: what the recommendation wants to be passed on of a `tracestate`.
pub(crate) const LONGEST: usize = 512;

/// What a job says of the trace that it belongs to.
///
/// Reading never fails: what other producers, or nobody, could have meant is no context.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Trace {
    #[serde(rename = "traceparent")]
    pub(crate) parent: TraceParent,
    /// What tracing systems add, in their own words.
    #[serde(rename = "tracestate", skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<Box<str>>,
}

/// A trace, a span in it, and whether it is recorded: a `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceParent {
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
    pub(crate) flags: u8,
}

impl TraceParent {
    /// Reads `00-<trace id>-<span id>-<flags>`; a later version may have more behind that.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() > LONGEST || !text.is_ascii() {
            return None;
        }
        let (head, rest) = text.split_at_checked(55)?;
        let mut parts = head.split('-');
        let mut part = |digits: usize| {
            let is_hex = |part: &&str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            parts.next().filter(|part| part.len() == digits).filter(is_hex)
        };
        let (version, trace_id, span_id, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        let is_known = version == "00" && rest.is_empty();
        let is_later = version != "00" && version != "ff" && (rest.is_empty() || rest.starts_with('-'));
        let parent = Self {
            trace_id: u128::from_str_radix(trace_id, 16).ok()?,
            span_id: u64::from_str_radix(span_id, 16).ok()?,
            flags: u8::from_str_radix(flags, 16).ok()?,
        };
        ((is_known || is_later) && parent.trace_id != 0 && parent.span_id != 0).then_some(parent)
    }
}

impl TraceParent {
    /// The trace, as people and tracing systems write it.
    pub(crate) fn trace(&self) -> String {
        format!("{:032x}", self.trace_id)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

impl Serialize for TraceParent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The context that stands in a tree; whatever else stands there is none.
#[cfg(any(feature = "msgpack", feature = "pickle"))]
pub(super) struct Loose(pub(super) Option<Trace>);

#[cfg(any(feature = "msgpack", feature = "pickle"))]
impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Found::deserialize(deserializer).ok().and_then(Found::trace)))
    }
}

/// The context that stands in JSON text, which was looked through already.
pub(super) fn of_json(text: &RawValue) -> Option<Trace> {
    serde_json::from_str::<Found>(text.get()).ok()?.trace()
}

/// A value of which only short texts, or the two fields of a context, are wanted.
enum Found {
    Other,
    Text(Box<str>),
    Fields { parent: Option<Box<str>>, state: Option<Box<str>> },
}

/// Takes any value, whatever it is.
#[derive(Clone, Copy)]
struct Taker;

impl<'de> Deserialize<'de> for Found {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Taker)
    }
}

/// Values that are passed over.
macro_rules! pass_over {
    ($($visit:ident: $type:ty),*) => {$(
        fn $visit<E>(self, _: $type) -> Result<Found, E> {
            Ok(Found::Other)
        }
    )*};
}

impl<'de> Visitor<'de> for Taker {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a trace context, or anything else")
    }

    pass_over! { visit_bool: bool, visit_i64: i64, visit_i128: i128, visit_u64: u64, visit_u128: u128, visit_f64: f64, visit_bytes: &[u8] }

    fn visit_str<E>(self, text: &str) -> Result<Found, E> {
        Ok(if text.len() > LONGEST { Found::Other } else { Found::Text(text.into()) })
    }

    fn visit_none<E>(self) -> Result<Found, E> {
        Ok(Found::Other)
    }

    fn visit_unit<E>(self) -> Result<Found, E> {
        Ok(Found::Other)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Found, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Found::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Found, A::Error> {
        let (mut parent, mut state) = (None, None);
        while let Some(key) = entries.next_key::<Found>()? {
            match key.text().as_deref() {
                Some("traceparent") => parent = entries.next_value::<Found>()?.text(),
                Some("tracestate") => state = entries.next_value::<Found>()?.text(),
                _ => drop(entries.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Found::Fields { parent, state })
    }
}

impl Found {
    fn trace(self) -> Option<Trace> {
        let Self::Fields { parent, state } = self else { return None };
        Some(Trace { parent: TraceParent::parse(&parent?)?, state })
    }

    fn text(self) -> Option<Box<str>> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}
