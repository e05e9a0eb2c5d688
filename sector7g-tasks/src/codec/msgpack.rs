//! `MessagePack`, as Python's `msgpack` writes and reads it.

use bytes::Bytes;
use rmp::{Marker, encode};
use serde::Serialize;

use super::arguments::Raw;
use super::record::{self, Fields, Names, Splice};
use super::value::{Budget, MAX_BYTES, MAX_DEPTH, TooMuch, Value};
use super::write::{Kind, Sink, write};
use super::{Arguments, Envelope, Form, JobOut, Problem, ResultRecord, StoredResult};
use crate::args::JobArgs;
use crate::job::Failure;

pub(super) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, Problem> {
    let mut out = Packer::default();
    write(&mut out, value)?;
    Ok(out.0.into())
}

pub(super) fn encode_job<A: JobArgs>(job: &JobOut<'_, A>) -> Result<Bytes, Problem> {
    let mut out = Packer::default();
    record::write_job(&mut out, job)?;
    Ok(out.0.into())
}

pub(super) fn encode_result(result: &ResultRecord<'_>) -> Result<Bytes, Problem> {
    let mut out = Packer::default();
    record::write_result(&mut out, result)?;
    Ok(out.0.into())
}

pub(super) fn decode_job(payload: &Bytes) -> Result<Envelope<'static>, Problem> {
    let mut raw = Raw::default();
    let fields = Unpacker::new(payload)?.fields(record::OF_JOB, |name, start, end| match name {
        "a" => raw.positional = payload.slice(start..end),
        "k" => raw.named = payload.slice(start..end),
        _ => {}
    })?;
    record::read_job(fields, Some(raw))
}

pub(super) fn decode_result(stored: &[u8]) -> Result<StoredResult, Problem> {
    record::read_result(Unpacker::new(stored)?.fields(record::OF_RESULT, |_, _, _| {})?)
}

pub(super) fn queue_of_result(stored: &[u8]) -> Option<String> {
    let fields = Unpacker::new(stored).ok()?.fields(record::QUEUE_OF_RESULT, |_, _, _| {});
    record::queue_of_result(&fields.ok()?)
}

/// Reads what [`encode`] wrote.
pub(super) fn value(bytes: &[u8]) -> Result<Value, Problem> {
    let mut unpacker = Unpacker::new(bytes)?;
    let value = unpacker.entry()?;
    unpacker.at_end()?;
    Ok(value)
}

#[derive(Default)]
struct Packer(Vec<u8>);

/// Writing to a `Vec` can't fail.
fn done<T, E>(_: Result<T, E>) {}

fn length(len: usize) -> Result<u32, Problem> {
    u32::try_from(len).map_err(|_| Problem("MessagePack has no room for more than 4 GiB in one value".to_owned()))
}

impl Packer {
    fn header(&mut self, kind: Kind, len: u32) {
        match kind {
            Kind::List | Kind::Tuple => done(encode::write_array_len(&mut self.0, len)),
            Kind::Dict => done(encode::write_map_len(&mut self.0, len)),
        }
    }
}

/// A list or dict whose header is to be mended when it turns out to have another length.
struct Open {
    kind: Kind,
    start: usize,
    after_header: usize,
    len: usize,
}

impl Sink for Packer {
    // `msgpack.unpackb` refuses a whole payload for one key of another kind (`strict_map_key`).
    const TEXT_KEYS: bool = true;
    type Open = Open;

    fn none(&mut self) {
        done(encode::write_nil(&mut self.0));
    }

    fn bool(&mut self, value: bool) {
        done(encode::write_bool(&mut self.0, value));
    }

    fn integer(&mut self, value: i128) -> Result<(), Problem> {
        match (u64::try_from(value), i64::try_from(value)) {
            (Ok(value), _) => done(encode::write_uint(&mut self.0, value)),
            (_, Ok(value)) => done(encode::write_sint(&mut self.0, value)),
            _ => return Err(Problem(format!("MessagePack has no room for the integer {value}: it is beyond 64 bits"))),
        }
        Ok(())
    }

    fn unsigned(&mut self, value: u128) -> Result<(), Problem> {
        Err(Problem(format!("MessagePack has no room for the integer {value}: it is beyond 64 bits")))
    }

    fn float(&mut self, value: f64) {
        done(encode::write_f64(&mut self.0, value));
    }

    fn text(&mut self, value: &str) -> Result<(), Problem> {
        length(value.len())?;
        done(encode::write_str(&mut self.0, value));
        Ok(())
    }

    fn bytes(&mut self, value: &[u8]) -> Result<(), Problem> {
        length(value.len())?;
        done(encode::write_bin(&mut self.0, value));
        Ok(())
    }

    fn open(&mut self, kind: Kind, len: Option<usize>) -> Result<Open, Problem> {
        let (start, len) = (self.0.len(), len.unwrap_or(0));
        self.header(kind, length(len)?);
        Ok(Open { kind, start, after_header: self.0.len(), len })
    }

    fn close(&mut self, open: Open, count: usize) -> Result<(), Problem> {
        if count == open.len {
            return Ok(());
        }
        let mut mended = Self::default();
        mended.header(open.kind, length(count)?);
        self.0.splice(open.start..open.after_header, mended.0);
        Ok(())
    }
}

impl Splice for Packer {
    fn positional(&mut self, arguments: &Arguments) -> Result<(), Problem> {
        match arguments.raw() {
            Some(raw) => self.0.extend_from_slice(&raw.positional),
            None => write(self, &arguments.to_json().0)?,
        }
        Ok(())
    }

    fn named(&mut self, arguments: &Arguments) -> Result<(), Problem> {
        match arguments.raw() {
            Some(raw) => self.0.extend_from_slice(&raw.named),
            None => write(self, &arguments.to_json().1)?,
        }
        Ok(())
    }

    fn value(&mut self, value: &Form) -> Result<(), Problem> {
        if let Form::MsgPack(bytes) = value {
            self.0.extend_from_slice(bytes);
            return Ok(());
        }
        write(self, &value.to_json())
    }

    fn failure(&mut self, failure: &Failure) -> Result<(), Problem> {
        self.text(&failure.message)
    }
}

/// Reads a payload, never further than it goes.
struct Unpacker<'a> {
    bytes: &'a [u8],
    at: usize,
    budget: Budget,
    /// How many values the lists and dicts that are open still claim: each takes a byte at least.
    claimed: usize,
}

/// Why a value was not read.
enum Unpacked {
    /// The payload is broken.
    Broken(Problem),
    /// It holds more than it may.
    TooMuch(TooMuch),
}

impl From<Problem> for Unpacked {
    fn from(problem: Problem) -> Self {
        Self::Broken(problem)
    }
}

impl From<TooMuch> for Unpacked {
    fn from(too_much: TooMuch) -> Self {
        Self::TooMuch(too_much)
    }
}

/// What a marker says of the value that it begins.
enum Head {
    Value(Value),
    Text(usize),
    Bytes(usize),
    List(usize),
    Dict(usize),
    Extension(usize),
}

impl<'a> Unpacker<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, Problem> {
        if bytes.len() > MAX_BYTES {
            return Err(Problem(format!("it has {} bytes, more than {MAX_BYTES}", bytes.len())));
        }
        Ok(Self { bytes, at: 0, budget: Budget::new(), claimed: 0 })
    }

    /// The entries of a payload, a dict with texts as keys, that have one of `names`. Tells `place` where each value lies.
    fn fields(mut self, names: Names, mut place: impl FnMut(&str, usize, usize)) -> Result<Fields, Problem> {
        let Head::Dict(len) = self.head()? else {
            return Err(Problem("it is no map".to_owned()));
        };
        let mut fields = Fields::default();
        for _ in 0..len {
            let left = std::mem::replace(&mut self.budget, Budget::small());
            let key = self.entry()?;
            self.budget = left;
            let start = self.at;
            match names.iter().find(|name| key.as_text() == Some(**name)) {
                Some(name) => {
                    self.budget.next_entry();
                    fields.add(name, self.entry()?);
                    place(name, start, self.at);
                }
                None => self.skip()?,
            }
        }
        self.at_end()?;
        Ok(fields)
    }

    fn at_end(&self) -> Result<(), Problem> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            more => Err(Problem(format!("{more} bytes follow its end"))),
        }
    }

    /// A value; in place of one that holds too much, that.
    fn entry(&mut self) -> Result<Value, Problem> {
        let start = self.at;
        self.claimed = 0;
        match self.value(0) {
            Ok(value) => Ok(value),
            Err(Unpacked::Broken(problem)) => Err(problem),
            Err(Unpacked::TooMuch(TooMuch(what))) => {
                self.at = start;
                self.skip()?;
                Ok(Value::Unread(what.into()))
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, Unpacked> {
        if depth > MAX_DEPTH {
            return Err(TooMuch("more than 128 levels").into());
        }
        let head = self.head()?;
        self.budget.take(match head {
            Head::Text(len) | Head::Bytes(len) => len,
            _ => 0,
        })?;
        Ok(match head {
            Head::Value(value) => value,
            Head::Text(len) => match std::str::from_utf8(self.take(len)?) {
                Ok(text) => Value::text(text),
                Err(_) => Value::Unread("a text that is not UTF-8".into()),
            },
            Head::Bytes(len) => Value::Bytes(self.take(len)?.into()),
            Head::List(len) => {
                let mut items = Vec::with_capacity(self.claim(len, 1)?);
                for _ in 0..len {
                    items.push(self.claimed_value(depth)?);
                }
                Value::List(items.into())
            }
            Head::Dict(len) => {
                let mut entries = Vec::with_capacity(self.claim(len, 2)?);
                for _ in 0..len {
                    entries.push((self.claimed_value(depth)?, self.claimed_value(depth)?));
                }
                Value::Dict(entries.into())
            }
            Head::Extension(len) => match self.take(len + 1)? {
                [kind, ..] => Value::Unread(extension(*kind).into()),
                [] => return Err(cut_off().into()),
            },
        })
    }

    /// For how many of `len` items, of so many values each, to make room. What is claimed, by all that is open, and has no
    /// bytes or budget left is refused before: so all room together is for no more values than there are of both.
    fn claim(&mut self, len: usize, values: usize) -> Result<usize, Unpacked> {
        self.claimed += len * values;
        if self.claimed > self.bytes.len() - self.at {
            return Err(cut_off().into());
        }
        self.budget.has(self.claimed)?;
        Ok(len)
    }

    fn claimed_value(&mut self, depth: usize) -> Result<Value, Unpacked> {
        self.claimed -= 1;
        self.value(depth + 1)
    }

    /// Passes over a value of any size and depth.
    fn skip(&mut self) -> Result<(), Problem> {
        let mut left = 1_usize;
        while left > 0 {
            left -= 1;
            match self.head()? {
                Head::Value(_) => {}
                Head::Text(len) | Head::Bytes(len) => drop(self.take(len)?),
                Head::Extension(len) => drop(self.take(len + 1)?),
                Head::List(len) => left += len,
                Head::Dict(len) => left += 2 * len,
            }
        }
        Ok(())
    }

    fn head(&mut self) -> Result<Head, Problem> {
        let [marker] = self.array()?;
        Ok(match Marker::from_u8(marker) {
            Marker::Null => Head::Value(Value::None),
            Marker::True => Head::Value(Value::Bool(true)),
            Marker::False => Head::Value(Value::Bool(false)),
            Marker::FixPos(value) => Head::Value(Value::Int(value.into())),
            Marker::FixNeg(value) => Head::Value(Value::Int(value.into())),
            Marker::U8 | Marker::U16 | Marker::U32 | Marker::U64 => self.unsigned(marker)?,
            Marker::I8 => Head::Value(Value::Int(i8::from_be_bytes(self.array()?).into())),
            Marker::I16 => Head::Value(Value::Int(i16::from_be_bytes(self.array()?).into())),
            Marker::I32 => Head::Value(Value::Int(i32::from_be_bytes(self.array()?).into())),
            Marker::I64 => Head::Value(Value::Int(i64::from_be_bytes(self.array()?))),
            Marker::F32 => Head::Value(Value::Float(f32::from_be_bytes(self.array()?).into())),
            Marker::F64 => Head::Value(Value::Float(f64::from_be_bytes(self.array()?))),
            Marker::FixStr(len) => Head::Text(len.into()),
            Marker::Str8 => Head::Text(self.length::<1>()?),
            Marker::Str16 => Head::Text(self.length::<2>()?),
            Marker::Str32 => Head::Text(self.length::<4>()?),
            Marker::Bin8 => Head::Bytes(self.length::<1>()?),
            Marker::Bin16 => Head::Bytes(self.length::<2>()?),
            Marker::Bin32 => Head::Bytes(self.length::<4>()?),
            Marker::FixArray(len) => Head::List(len.into()),
            Marker::Array16 => Head::List(self.length::<2>()?),
            Marker::Array32 => Head::List(self.length::<4>()?),
            Marker::FixMap(len) => Head::Dict(len.into()),
            Marker::Map16 => Head::Dict(self.length::<2>()?),
            Marker::Map32 => Head::Dict(self.length::<4>()?),
            Marker::FixExt1 => Head::Extension(1),
            Marker::FixExt2 => Head::Extension(2),
            Marker::FixExt4 => Head::Extension(4),
            Marker::FixExt8 => Head::Extension(8),
            Marker::FixExt16 => Head::Extension(16),
            Marker::Ext8 => Head::Extension(self.length::<1>()?),
            Marker::Ext16 => Head::Extension(self.length::<2>()?),
            Marker::Ext32 => Head::Extension(self.length::<4>()?),
            Marker::Reserved => return Err(Problem(format!("byte {} begins no value: 0xc1", self.at - 1))),
        })
    }

    fn unsigned(&mut self, marker: u8) -> Result<Head, Problem> {
        let width = 1 << (marker - Marker::U8.to_u8());
        let mut wide = [0; 8];
        wide[8 - width..].copy_from_slice(self.take(width)?);
        let mut le = [0; 9];
        le[..8].copy_from_slice(&u64::from_be_bytes(wide).to_le_bytes());
        Ok(Head::Value(Value::integer(&le)))
    }

    fn length<const N: usize>(&mut self) -> Result<usize, Problem> {
        let bytes = self.array::<N>()?;
        Ok(bytes.into_iter().fold(0, |len, byte| (len << 8) | usize::from(byte)))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        self.take(N)?.try_into().map_err(|_| cut_off())
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Problem> {
        let end = self.at.checked_add(len).ok_or_else(cut_off)?;
        let taken = self.bytes.get(self.at..end).ok_or_else(cut_off)?;
        self.at = end;
        Ok(taken)
    }
}

fn cut_off() -> Problem {
    Problem("it ends too soon".to_owned())
}

fn extension(kind: u8) -> String {
    format!("a MessagePack extension (type {}), which can't be read here", kind.cast_signed())
}
