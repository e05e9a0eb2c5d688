//! Any `Serialize` into `MessagePack` or pickle: what the two have in common.

use serde::ser;
use serde::{Serialize, Serializer};

use super::Problem;
use super::value::MAX_DEPTH;

/// Where values are written to.
pub(super) trait Sink {
    /// Whether keys other than text are written as text, as in JSON.
    const TEXT_KEYS: bool;
    /// What is remembered of a list or dict until its end.
    type Open;

    fn none(&mut self);
    fn bool(&mut self, value: bool);
    fn integer(&mut self, value: i128) -> Result<(), Problem>;
    fn unsigned(&mut self, value: u128) -> Result<(), Problem>;
    fn float(&mut self, value: f64);
    fn text(&mut self, value: &str) -> Result<(), Problem>;
    fn bytes(&mut self, value: &[u8]) -> Result<(), Problem>;
    /// Begins a list, tuple or dict, probably of so many items or entries.
    fn open(&mut self, kind: Kind, len: Option<usize>) -> Result<Self::Open, Problem>;
    /// Ends it after so many.
    fn close(&mut self, open: Self::Open, count: usize) -> Result<(), Problem>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    List,
    Tuple,
    Dict,
}

/// Writes `value` to `sink`.
pub(super) fn write<S: Sink, T: Serialize + ?Sized>(sink: &mut S, value: &T) -> Result<(), Problem> {
    value.serialize(Writer::new(sink))
}

pub(super) struct Writer<'a, S> {
    sink: &'a mut S,
    depth: usize,
    is_key: bool,
    /// What a sequence becomes; those within it become lists.
    sequence: Kind,
}

impl<'a, S: Sink> Writer<'a, S> {
    pub(super) fn new(sink: &'a mut S) -> Self {
        Self { sink, depth: 0, is_key: false, sequence: Kind::List }
    }

    /// The same, but a sequence becomes a tuple.
    pub(super) fn into_tuple(self) -> Self {
        Self { sequence: Kind::Tuple, ..self }
    }

    fn open(self, kind: Kind, len: Option<usize>) -> Result<Compound<'a, S>, Problem> {
        let depth = self.depth + 1;
        if depth > MAX_DEPTH {
            return Err(Problem(format!("it has more than {MAX_DEPTH} levels")));
        }
        let kind = match (self.is_key, kind) {
            (true, Kind::Dict) => return Err(Problem("a map can't be a key".to_owned())),
            (true, _) if S::TEXT_KEYS => return Err(Problem("a list can't be a key".to_owned())),
            (true, _) => Kind::Tuple, // Python's lists can't be keys
            (false, kind) => kind,
        };
        let open = self.sink.open(kind, len)?;
        Ok(Compound { sink: self.sink, open, count: 0, depth, is_key: self.is_key })
    }

    /// A dict with the variant's name as its one key, to be closed after what `kind` holds.
    fn variant(self, name: &str, kind: Kind, len: usize) -> Result<Variant<'a, S>, Problem> {
        let mut outer = self.open(Kind::Dict, Some(1))?;
        outer.key(name)?;
        let Compound { sink, open, depth, is_key, .. } = outer;
        let inner = Writer { sink, depth, is_key, sequence: kind }.open(kind, Some(len))?;
        Ok(Variant { outer: open, inner })
    }
}

/// A list, tuple or dict being written.
pub(super) struct Compound<'a, S: Sink> {
    sink: &'a mut S,
    open: S::Open,
    count: usize,
    depth: usize,
    is_key: bool,
}

/// One of them within the dict of an enum's variant.
pub(super) struct Variant<'a, S: Sink> {
    outer: S::Open,
    inner: Compound<'a, S>,
}

impl<S: Sink> Compound<'_, S> {
    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Problem> {
        value.serialize(Writer { sink: self.sink, depth: self.depth, is_key: self.is_key, sequence: Kind::List })
    }

    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Problem> {
        self.count += 1;
        self.value(value)
    }

    fn key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Problem> {
        self.count += 1;
        key.serialize(Writer { sink: self.sink, depth: self.depth, is_key: true, sequence: Kind::List })
    }

    fn close(self) -> Result<(), Problem> {
        self.sink.close(self.open, self.count)
    }
}

impl<S: Sink> Variant<'_, S> {
    fn close(self) -> Result<(), Problem> {
        let Compound { sink, open, count, .. } = self.inner;
        sink.close(open, count)?;
        sink.close(self.outer, 1)
    }
}

macro_rules! integers {
    ($($method:ident $type:ty)*) => {$(
        fn $method(self, value: $type) -> Result<(), Problem> {
            self.serialize_i128(value.into())
        }
    )*};
}

impl<'a, S: Sink> Serializer for Writer<'a, S> {
    type Ok = ();
    type Error = Problem;
    type SerializeSeq = Compound<'a, S>;
    type SerializeTuple = Compound<'a, S>;
    type SerializeTupleStruct = Compound<'a, S>;
    type SerializeTupleVariant = Variant<'a, S>;
    type SerializeMap = Compound<'a, S>;
    type SerializeStruct = Compound<'a, S>;
    type SerializeStructVariant = Variant<'a, S>;

    integers!(serialize_i8 i8 serialize_i16 i16 serialize_i32 i32 serialize_i64 i64
        serialize_u8 u8 serialize_u16 u16 serialize_u32 u32 serialize_u64 u64);

    fn serialize_i128(self, value: i128) -> Result<(), Problem> {
        if self.is_key && S::TEXT_KEYS { self.sink.text(&value.to_string()) } else { self.sink.integer(value) }
    }

    fn serialize_u128(self, value: u128) -> Result<(), Problem> {
        match i128::try_from(value) {
            Ok(value) => self.serialize_i128(value),
            Err(_) if self.is_key && S::TEXT_KEYS => self.sink.text(&value.to_string()),
            Err(_) => self.sink.unsigned(value),
        }
    }

    fn serialize_bool(self, value: bool) -> Result<(), Problem> {
        if self.is_key && S::TEXT_KEYS {
            return self.sink.text(if value { "true" } else { "false" });
        }
        self.sink.bool(value);
        Ok(())
    }

    fn serialize_f32(self, value: f32) -> Result<(), Problem> {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<(), Problem> {
        if self.is_key && S::TEXT_KEYS {
            return Err(Problem("a float can't be a key".to_owned()));
        }
        self.sink.float(value);
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), Problem> {
        self.sink.text(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), Problem> {
        self.sink.text(value)
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Problem> {
        self.sink.bytes(value)
    }

    fn serialize_none(self) -> Result<(), Problem> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Problem> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Problem> {
        if self.is_key && S::TEXT_KEYS {
            return Err(Problem("nothing can't be a key".to_owned()));
        }
        self.sink.none();
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Problem> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _name: &'static str, _index: u32, variant: &'static str) -> Result<(), Problem> {
        self.sink.text(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _name: &'static str, value: &T) -> Result<(), Problem> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Problem> {
        let mut outer = self.open(Kind::Dict, Some(1))?;
        outer.key(variant)?;
        outer.value(value)?;
        outer.close()
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Compound<'a, S>, Problem> {
        let kind = self.sequence;
        self.open(kind, len)
    }

    fn serialize_tuple(self, len: usize) -> Result<Compound<'a, S>, Problem> {
        self.open(Kind::Tuple, Some(len))
    }

    fn serialize_tuple_struct(self, _name: &'static str, len: usize) -> Result<Compound<'a, S>, Problem> {
        self.open(Kind::Tuple, Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Variant<'a, S>, Problem> {
        self.variant(variant, Kind::Tuple, len)
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Compound<'a, S>, Problem> {
        self.open(Kind::Dict, len)
    }

    fn serialize_struct(self, _name: &'static str, len: usize) -> Result<Compound<'a, S>, Problem> {
        self.open(Kind::Dict, Some(len))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Variant<'a, S>, Problem> {
        self.variant(variant, Kind::Dict, len)
    }
}

impl<S: Sink> ser::SerializeSeq for Compound<'_, S> {
    type Ok = ();
    type Error = Problem;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Problem> {
        self.item(value)
    }

    fn end(self) -> Result<(), Problem> {
        self.close()
    }
}

impl<S: Sink> ser::SerializeTuple for Compound<'_, S> {
    type Ok = ();
    type Error = Problem;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Problem> {
        self.item(value)
    }

    fn end(self) -> Result<(), Problem> {
        self.close()
    }
}

impl<S: Sink> ser::SerializeTupleStruct for Compound<'_, S> {
    type Ok = ();
    type Error = Problem;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Problem> {
        self.item(value)
    }

    fn end(self) -> Result<(), Problem> {
        self.close()
    }
}

impl<S: Sink> ser::SerializeMap for Compound<'_, S> {
    type Ok = ();
    type Error = Problem;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Problem> {
        self.key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Problem> {
        self.value(value)
    }

    fn end(self) -> Result<(), Problem> {
        self.close()
    }
}

impl<S: Sink> ser::SerializeStruct for Compound<'_, S> {
    type Ok = ();
    type Error = Problem;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Problem> {
        self.key(key)?;
        self.value(value)
    }

    fn end(self) -> Result<(), Problem> {
        self.close()
    }
}

impl<S: Sink> ser::SerializeTupleVariant for Variant<'_, S> {
    type Ok = ();
    type Error = Problem;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Problem> {
        self.inner.item(value)
    }

    fn end(self) -> Result<(), Problem> {
        self.close()
    }
}

impl<S: Sink> ser::SerializeStructVariant for Variant<'_, S> {
    type Ok = ();
    type Error = Problem;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Problem> {
        self.inner.key(key)?;
        self.inner.value(value)
    }

    fn end(self) -> Result<(), Problem> {
        self.close()
    }
}
