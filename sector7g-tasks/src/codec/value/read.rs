use serde::de::value::SeqDeserializer;
use serde::de::{
    self, DeserializeSeed, EnumAccess, Error as _, IntoDeserializer, MapAccess, Unexpected, VariantAccess,
};
use serde::{Deserializer, forward_to_deserialize_any};

use super::{Delta, Object, Value};
use crate::codec::Problem;

/// Reads a value into a type, the way `serde_json` reads JSON.
///
/// Besides: dates and times are texts (RFC 3339); a timedelta is a [`Duration`](std::time::Duration) or
/// seconds; bytes are bytes or a sequence of numbers; numbers may be keys.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'de> {
    value: &'de Value,
    /// Whether a type that takes anything is shown what can't be read, or gets an error.
    shows: bool,
}

impl<'de> Reader<'de> {
    /// What can't be read is an error.
    pub(crate) fn new(value: &'de Value) -> Self {
        Self { value, shows: false }
    }

    /// A type that takes anything, such as `serde_json::Value`, is shown objects as what they are made of.
    pub(crate) fn showing(value: &'de Value) -> Self {
        Self { value, shows: true }
    }

    fn with(self, value: &'de Value) -> Self {
        Self { value, ..self }
    }

    fn seq(self, items: &'de [Value]) -> impl de::SeqAccess<'de, Error = Problem> {
        SeqDeserializer::new(items.iter().map(move |item| self.with(item)))
    }

    fn entries(self, entries: &'de [(Value, Value)]) -> Entries<'de> {
        Entries { reader: self, left: entries.iter(), value: None }
    }

    /// The error for a value that no type can be read from.
    fn unreadable(self) -> Option<Problem> {
        match self.value {
            Value::Object(object) if object.parts.is_empty() => {
                Some(Problem(format!("it is Python's `{}` itself, which can't be read here", object.class)))
            }
            Value::Object(object) => {
                Some(Problem(format!("it is an object of Python's class `{}`, which can't be read here", object.class)))
            }
            Value::Unread(what) => Some(Problem(format!("it holds {what}"))),
            _ => None,
        }
    }

    /// Integers of any size.
    fn number<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.value {
            Value::Big(big) => match (big.to_i128(), big.to_u128()) {
                (_, Some(number)) => match u64::try_from(number) {
                    Ok(number) => visitor.visit_u64(number),
                    Err(_) => visitor.visit_u128(number),
                },
                (Some(number), None) => visitor.visit_i128(number),
                (None, None) => {
                    let what = format!("an integer of {} bits", big.bits());
                    Err(Problem::invalid_value(Unexpected::Other(&what), &visitor))
                }
            },
            _ => self.typed(visitor),
        }
    }

    fn float<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.value {
            Value::Big(big) => match big.to_i128() {
                #[expect(clippy::cast_precision_loss, reason = "a float was asked for")]
                Some(number) => visitor.visit_f64(number as f64),
                None => self.number(visitor),
            },
            Value::Decimal(text) => match text.parse::<f64>() {
                Ok(number) => visitor.visit_f64(number),
                Err(_) => visitor.visit_str(text),
            },
            _ => self.typed(visitor),
        }
    }
}

impl<'de> IntoDeserializer<'de, Problem> for Reader<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! forward {
    ($to:ident: $($method:ident)*) => {$(
        fn $method<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
            self.$to(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Problem;

    fn deserialize_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.value {
            Value::None => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Int(value) => match u64::try_from(*value) {
                Ok(value) => visitor.visit_u64(value),
                Err(_) => visitor.visit_i64(*value),
            },
            Value::Big(big) => match big.to_u128().map(u64::try_from) {
                Some(Ok(value)) => visitor.visit_u64(value),
                _ => visitor.visit_string(big.to_string()),
            },
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(text) | Value::Decimal(text) => visitor.visit_borrowed_str(text),
            Value::Bytes(bytes) | Value::ByteArray(bytes) => visitor.visit_seq(numbers(bytes)),
            Value::List(items) | Value::Tuple(items) | Value::Set(items) | Value::FrozenSet(items) => {
                visitor.visit_seq(self.seq(items))
            }
            Value::Dict(entries) => visitor.visit_map(self.entries(entries)),
            Value::DateTime(moment) => visitor.visit_string(moment.to_string()),
            Value::Date(date) => visitor.visit_string(date.to_string()),
            Value::Time(time) => visitor.visit_string(clock_text(time)),
            Value::Delta(delta) => visitor.visit_f64(delta.as_seconds()),
            Value::Zone(zone) => visitor.visit_string(zone.to_string()),
            Value::Uuid(bytes) => visitor.visit_string(uuid::Uuid::from_bytes(**bytes).to_string()),
            Value::Object(_) | Value::Unread(_) => self.untold(visitor),
        }
    }

    forward!(number: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128);
    forward!(float: deserialize_f32 deserialize_f64);
    forward!(text: deserialize_char deserialize_str deserialize_string deserialize_identifier);
    forward!(typed: deserialize_bool deserialize_unit deserialize_map);
    forward!(bytes: deserialize_bytes deserialize_byte_buf);
    forward!(typed: deserialize_seq);

    fn deserialize_option<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.value {
            Value::None => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit_struct<V: de::Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.typed(visitor)
    }

    fn deserialize_newtype_struct<V: de::Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple<V: de::Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Problem> {
        self.typed(visitor)
    }

    fn deserialize_tuple_struct<V: de::Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.typed(visitor)
    }

    fn deserialize_struct<V: de::Visitor<'de>>(
        self,
        name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        match self.value {
            // What std's Duration asks for.
            Value::Delta(delta) if name == "Duration" => duration(*delta, visitor),
            _ => self.typed(visitor),
        }
    }

    fn deserialize_enum<V: de::Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        match self.value {
            Value::Text(text) => visitor.visit_enum(text.as_ref().into_deserializer()),
            Value::Dict(entries) => match entries.as_slice() {
                [(name, value)] => visitor.visit_enum(Variant { name: self.with(name), value: self.with(value) }),
                _ => Err(Problem::invalid_value(Unexpected::Map, &"a map with one key")),
            },
            _ => self.typed(visitor),
        }
    }

    fn deserialize_ignored_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_unit()
    }
}

impl<'de> Reader<'de> {
    /// For a type that knows what it wants, which is never an object.
    fn typed<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.unreadable() {
            Some(problem) => Err(problem),
            None => self.deserialize_any(visitor),
        }
    }

    fn text<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.value {
            // Numbers too large are told as text to types that take anything; to no one else.
            Value::Big(_) => Err(Problem::invalid_type(Unexpected::Other("integer"), &visitor)),
            Value::Bytes(bytes) | Value::ByteArray(bytes) => {
                Err(Problem::invalid_type(Unexpected::Bytes(bytes), &visitor))
            }
            Value::Delta(delta) => visitor.visit_string(delta.to_string()),
            _ => self.typed(visitor),
        }
    }

    fn bytes<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.value {
            Value::Bytes(bytes) | Value::ByteArray(bytes) => visitor.visit_borrowed_bytes(bytes),
            Value::Uuid(bytes) => visitor.visit_borrowed_bytes(&**bytes),
            _ => self.typed(visitor),
        }
    }

    /// For a type that takes anything.
    fn untold<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match (self.value, self.unreadable()) {
            (Value::Object(object), _) if self.shows => visitor.visit_map(Parts { reader: self, object, at: 0 }),
            (Value::Unread(what), _) if self.shows => visitor.visit_string(format!("<{what}>")),
            (_, Some(problem)) => Err(problem),
            (_, None) => Err(Problem::custom("it can't be read")),
        }
    }
}

fn numbers(bytes: &[u8]) -> impl de::SeqAccess<'_, Error = Problem> {
    SeqDeserializer::new(bytes.iter().copied())
}

fn clock_text((time, zone): &(super::Time, Option<super::Zone>)) -> String {
    zone.as_ref().map_or_else(|| time.to_string(), |zone| format!("{time}{zone}"))
}

fn duration<'de, V: de::Visitor<'de>>(delta: Delta, visitor: V) -> Result<V::Value, Problem> {
    let (seconds, nanos) = delta.forward().ok_or_else(|| {
        Problem::invalid_value(Unexpected::Other("a negative timedelta"), &"a span of time that is not negative")
    })?;
    visitor.visit_seq(SeqDeserializer::new([seconds, nanos.into()].into_iter()))
}

/// The entries of a dict; a key may be asked for as text, or as a number that it is the text of.
struct Entries<'de> {
    reader: Reader<'de>,
    left: std::slice::Iter<'de, (Value, Value)>,
    value: Option<&'de Value>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Problem> {
        let Some((key, value)) = self.left.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        seed.deserialize(Key(self.reader.with(key))).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Problem> {
        let value = self.value.take().ok_or_else(|| Problem::custom("a value was asked for before its key"))?;
        seed.deserialize(self.reader.with(value))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left.len())
    }
}

/// What an object is made of, as a dict: `class` first.
struct Parts<'de> {
    reader: Reader<'de>,
    object: &'de Object,
    at: usize,
}

impl<'de> MapAccess<'de> for Parts<'de> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Problem> {
        let key = match self.at.checked_sub(1) {
            None => "class",
            Some(index) => match self.object.parts.get(index) {
                Some((name, _)) => *name,
                None => return Ok(None),
            },
        };
        self.at += 1;
        seed.deserialize(key.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Problem> {
        match self.at.checked_sub(2).and_then(|index| self.object.parts.get(index)) {
            Some((_, value)) => seed.deserialize(self.reader.with(value)),
            None => seed.deserialize(self.object.class.as_ref().into_deserializer()),
        }
    }
}

/// A key of a dict.
struct Key<'de>(Reader<'de>);

impl<'de> Key<'de> {
    fn text<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.0.value {
            Value::Text(text) => visitor.visit_borrowed_str(text),
            // As Python's `json.dumps` writes them.
            Value::None => visitor.visit_str("null"),
            Value::Bool(value) => visitor.visit_str(if *value { "true" } else { "false" }),
            Value::Int(value) => visitor.visit_string(value.to_string()),
            Value::Big(value) => visitor.visit_string(value.to_string()),
            value @ (Value::Float(_) | Value::Tuple(_) | Value::FrozenSet(_) | Value::Bytes(_)) => {
                visitor.visit_string(value.to_string())
            }
            _ => self.0.text(visitor),
        }
    }

    fn number<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.0.value {
            Value::Text(text) => match text.parse::<i128>() {
                Ok(number) => match u64::try_from(number) {
                    Ok(number) => visitor.visit_u64(number),
                    Err(_) => match i64::try_from(number) {
                        Ok(number) => visitor.visit_i64(number),
                        Err(_) => visitor.visit_i128(number),
                    },
                },
                Err(_) => visitor.visit_str(text),
            },
            _ => self.0.number(visitor),
        }
    }

    fn bool<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.0.value {
            Value::Text(text) if &**text == "true" => visitor.visit_bool(true),
            Value::Text(text) if &**text == "false" => visitor.visit_bool(false),
            _ => self.0.typed(visitor),
        }
    }

    fn itself<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.0.typed(visitor)
    }
}

impl<'de> Deserializer<'de> for Key<'de> {
    type Error = Problem;

    forward!(text: deserialize_any deserialize_char deserialize_str deserialize_string deserialize_identifier);
    forward!(number: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128);
    forward!(bool: deserialize_bool);
    forward!(itself: deserialize_f32 deserialize_f64 deserialize_seq deserialize_map deserialize_unit
        deserialize_bytes deserialize_byte_buf);

    fn deserialize_option<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.0.value {
            Value::None => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: de::Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: de::Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_tuple<V: de::Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Problem> {
        self.0.deserialize_tuple(len, visitor)
    }

    fn deserialize_ignored_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { unit_struct tuple_struct struct }
}

/// An enum's variant with content: a dict of one entry.
struct Variant<'de> {
    name: Reader<'de>,
    value: Reader<'de>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = Problem;
    type Variant = Content<'de>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Content<'de>), Problem> {
        Ok((seed.deserialize(Key(self.name))?, Content(self.value)))
    }
}

struct Content<'de>(Reader<'de>);

impl<'de> VariantAccess<'de> for Content<'de> {
    type Error = Problem;

    fn unit_variant(self) -> Result<(), Problem> {
        de::Deserialize::deserialize(self.0)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Problem> {
        seed.deserialize(self.0)
    }

    fn tuple_variant<V: de::Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Problem> {
        self.0.deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: de::Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.0.deserialize_struct("", fields, visitor)
    }
}
