use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use crate::codec::arguments::Repr;
use crate::codec::encoded::Form;
use crate::codec::record::Splice;
use crate::codec::value::{Date, DateTime, Delta, Time, Value, Zone};
use crate::codec::write::{Kind, Sink, Writer, write};
use crate::codec::{Arguments, Problem};
use crate::job::{Failure, FailureKind};

/// Writes opcodes of protocol 4 without frames; without memo, too, but for what values that were read share, in a whole
/// pickle. So each part may stand anywhere.
pub(super) struct Pickler(Vec<u8>, Memo);

/// Where what is shared was written first: its places in the memo.
#[derive(Default)]
struct Memo(HashMap<Known, u32>);

/// What is written once.
#[derive(PartialEq, Eq, Hash)]
enum Known {
    /// A value, by where it lies and what it is: a list, and a set made of it, lie in one place. Texts and bytes, which lie
    /// within others, too, need not say what they are.
    Value(usize, Option<Discriminant<Value>>),
    Global(&'static str, &'static str),
    /// What is told in place of a value that is not kept.
    Told(String),
}

/// So many places of the memo are told by one byte.
const NEAR: usize = 256;

impl Pickler {
    /// For a value that will stand in a pickle.
    pub(super) fn part() -> Self {
        Self(Vec::new(), Memo::default())
    }

    /// For a pickle.
    pub(super) fn whole() -> Self {
        Self(vec![0x80, 4], Memo::default())
    }

    pub(super) fn into_part(self) -> Bytes {
        self.0.into()
    }

    pub(super) fn into_whole(mut self) -> Bytes {
        self.0.push(b'.');
        self.0.into()
    }

    /// An opcode with as many bytes as the shortest length that fits says.
    fn counted(&mut self, [short, middle, long]: [u8; 3], bytes: &[u8]) {
        let len = bytes.len();
        if let Ok(len) = u8::try_from(len) {
            self.0.extend([short, len]);
        } else if let Ok(len) = u32::try_from(len) {
            self.0.push(middle);
            self.0.extend(len.to_le_bytes());
        } else {
            self.0.push(long);
            self.0.extend((len as u64).to_le_bytes());
        }
        self.0.extend_from_slice(bytes);
    }

    fn str(&mut self, text: &str) {
        self.counted([0x8c, b'X', 0x8d], text.as_bytes());
    }

    fn blob(&mut self, bytes: &[u8]) {
        self.counted([b'C', b'B', 0x8e], bytes);
    }

    fn int(&mut self, value: i64) {
        if let Ok(value) = u8::try_from(value) {
            self.0.extend([b'K', value]);
        } else if let Ok(value) = u16::try_from(value) {
            self.0.push(b'M');
            self.0.extend(value.to_le_bytes());
        } else if let Ok(value) = i32::try_from(value) {
            self.0.push(b'J');
            self.0.extend(value.to_le_bytes());
        } else {
            self.long(&value.to_le_bytes());
        }
    }

    /// An integer by its two's complement.
    fn long(&mut self, le: &[u8]) {
        let Ok(len) = u8::try_from(le.len()) else {
            self.0.push(0x8b);
            self.0.extend(u32::try_from(le.len()).unwrap_or(u32::MAX).to_le_bytes()); // 64 MiB at most
            self.0.extend_from_slice(le);
            return;
        };
        self.0.extend([0x8a, len]);
        self.0.extend_from_slice(le);
    }

    fn global(&mut self, module: &str, name: &str) {
        self.str(module);
        self.str(name);
        self.0.push(0x93);
    }
}

impl Sink for Pickler {
    const TEXT_KEYS: bool = false;
    type Open = Kind;

    fn none(&mut self) {
        self.0.push(b'N');
    }

    fn bool(&mut self, value: bool) {
        self.0.push(if value { 0x88 } else { 0x89 });
    }

    fn integer(&mut self, value: i128) -> Result<(), Problem> {
        match i64::try_from(value) {
            Ok(value) => self.int(value),
            Err(_) => self.long(&value.to_le_bytes()),
        }
        Ok(())
    }

    fn unsigned(&mut self, value: u128) -> Result<(), Problem> {
        let mut le = [0; 17];
        le[..16].copy_from_slice(&value.to_le_bytes());
        self.long(&le);
        Ok(())
    }

    fn float(&mut self, value: f64) {
        self.0.push(b'G');
        self.0.extend(value.to_be_bytes());
    }

    fn text(&mut self, value: &str) -> Result<(), Problem> {
        self.str(value);
        Ok(())
    }

    fn bytes(&mut self, value: &[u8]) -> Result<(), Problem> {
        self.blob(value);
        Ok(())
    }

    fn open(&mut self, kind: Kind, _len: Option<usize>) -> Result<Kind, Problem> {
        self.0.extend_from_slice(match kind {
            Kind::List => b"](",
            Kind::Tuple => b"(",
            Kind::Dict => b"}(",
        });
        Ok(kind)
    }

    fn close(&mut self, kind: Kind, _count: usize) -> Result<(), Problem> {
        self.0.push(match kind {
            Kind::List => b'e',
            Kind::Tuple => b't',
            Kind::Dict => b'u',
        });
        Ok(())
    }
}

impl Splice for Pickler {
    fn positional(&mut self, arguments: &Arguments) -> Result<(), Problem> {
        match &arguments.0 {
            Repr::Tree(tree) => self.tree(&tree.positional),
            Repr::Json { .. } => arguments.to_json().0.serialize(Writer::new(self).into_tuple()),
        }
    }

    fn named(&mut self, arguments: &Arguments) -> Result<(), Problem> {
        match &arguments.0 {
            Repr::Tree(tree) => self.tree(&tree.named),
            Repr::Json { .. } => write(self, &arguments.to_json().1),
        }
    }

    fn value(&mut self, value: &Form) -> Result<(), Problem> {
        if let Form::Pickle(part) = value {
            self.0.extend_from_slice(part);
            return Ok(());
        }
        if let Form::Read(value) = value {
            return self.tree(value);
        }
        write(self, &value.to_json())
    }

    /// An exception that can be loaded wherever arq is installed.
    fn failure(&mut self, failure: &Failure) -> Result<(), Problem> {
        let (module, name) = exception(failure.kind);
        self.global(module, name);
        if failure.kind == FailureKind::Aborted {
            self.0.push(b')');
        } else {
            self.str(&told(failure));
            self.0.push(0x85);
        }
        self.0.push(b'R');
        Ok(())
    }
}

fn exception(kind: FailureKind) -> (&'static str, &'static str) {
    match kind {
        // What makes Python's `Job.abort()` return True.
        FailureKind::Aborted => ("asyncio.exceptions", "CancelledError"),
        FailureKind::Timeout => ("builtins", "TimeoutError"),
        FailureKind::Expired | FailureKind::UnknownTask | FailureKind::MaxTries => ("arq.worker", "JobExecutionFailed"),
        FailureKind::Payload => ("arq.jobs", "DeserializationError"),
        FailureKind::Arguments => ("builtins", "TypeError"),
        _ => ("builtins", "RuntimeError"),
    }
}

/// arq's own failures in its own words; a task's error with its type and its causes.
fn told(failure: &Failure) -> String {
    let Failure { kind, message, error_type, causes, .. } = failure;
    if matches!(kind, FailureKind::Expired | FailureKind::UnknownTask | FailureKind::MaxTries) {
        return message.clone();
    }
    let parts = error_type.iter().chain([message]).chain(causes);
    parts.map(String::as_str).collect::<Vec<_>>().join(": ")
}

// Values that were read, as they were. All of this is for whole pickles only, which have a memo.
impl Pickler {
    fn tree(&mut self, value: &Value) -> Result<(), Problem> {
        let kind = Some(discriminant(value));
        match value {
            Value::None => self.none(),
            Value::Bool(value) => self.bool(*value),
            Value::Int(value) => self.int(*value),
            Value::Big(value) => self.once(value.shared(), kind, |this| {
                this.long(value.bytes());
                Ok(())
            })?,
            Value::Float(value) => self.float(*value),
            Value::Text(text) => self.shared_text(text)?,
            Value::Bytes(bytes) => self.shared_bytes(bytes)?,
            Value::ByteArray(bytes) => self.once(bytes, kind, |this| {
                this.known_global("builtins", "bytearray")?;
                this.shared_bytes(bytes)?;
                this.call(1);
                Ok(())
            })?,
            Value::List(items) => self.container(items, kind, |this| this.items(b"](", items, false, b'e'))?,
            Value::Tuple(items) => self.container(items, kind, |this| this.items(b"(", items, false, b't'))?,
            Value::Set(items) => self.container(items, kind, |this| this.items(b"\x8f(", items, true, 0x90))?,
            Value::FrozenSet(items) => self.container(items, kind, |this| this.items(b"(", items, true, 0x91))?,
            Value::Dict(entries) => self.container(entries, kind, |this| this.dict(entries))?,
            Value::DateTime(moment) => self.once(moment, kind, |this| this.date_time(moment))?,
            Value::Date(date) => {
                self.known_global("datetime", "date")?;
                self.blob(&date.bytes());
                self.call(1);
            }
            Value::Time(time) => self.once(time, kind, |this| this.time(time.0, time.1.as_ref()))?,
            Value::Delta(delta) => self.delta(*delta)?,
            Value::Zone(zone) => self.once(zone, kind, |this| this.zone(zone))?,
            Value::Decimal(text) => self.once(text, kind, |this| {
                this.known_global("decimal", "Decimal")?;
                this.shared_text(text)?;
                this.call(1);
                Ok(())
            })?,
            Value::Uuid(bytes) => self.once(bytes, kind, |this| this.uuid(**bytes))?,
            Value::Object(object) => self.told(&format!("<{} object, not kept>", object.class))?,
            Value::Unread(what) => self.told(&format!("<{what}, not kept>"))?,
        }
        Ok(())
    }

    /// Writes what is shared once, and then where it was.
    fn once<T: ?Sized>(
        &mut self,
        shared: &Arc<T>,
        kind: Option<Discriminant<Value>>,
        write: impl FnOnce(&mut Self) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        if Arc::strong_count(shared) == 1 {
            return write(self);
        }
        self.known(Known::Value(Arc::as_ptr(shared).addr(), kind), write)
    }

    fn known(&mut self, what: Known, write: impl FnOnce(&mut Self) -> Result<(), Problem>) -> Result<(), Problem> {
        if let Some(index) = self.1.0.get(&what) {
            match u8::try_from(*index) {
                Ok(near) => self.0.extend([b'h', near]),
                Err(_) => {
                    self.0.push(b'j');
                    self.0.extend(index.to_le_bytes());
                }
            }
            return Ok(());
        }
        write(self)?;
        let index = u32::try_from(self.1.0.len()).map_err(|_| Problem("it shares too much".to_owned()))?;
        self.1.0.insert(what, index);
        self.0.push(0x94);
        Ok(())
    }

    /// An empty one is shorter than a far place in the memo.
    fn container<T>(
        &mut self,
        items: &Arc<Vec<T>>,
        kind: Option<Discriminant<Value>>,
        write: impl FnOnce(&mut Self) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        if items.is_empty() && self.1.0.len() >= NEAR {
            return write(self);
        }
        self.once(items, kind, write)
    }

    /// A short one is as short as a far place in the memo.
    fn shared_text(&mut self, text: &Arc<str>) -> Result<(), Problem> {
        if text.len() < 8 {
            self.str(text);
            return Ok(());
        }
        self.once(text, None, |this| {
            this.str(text);
            Ok(())
        })
    }

    fn shared_bytes(&mut self, bytes: &Arc<[u8]>) -> Result<(), Problem> {
        if bytes.len() < 8 {
            self.blob(bytes);
            return Ok(());
        }
        self.once(bytes, None, |this| {
            this.blob(bytes);
            Ok(())
        })
    }

    fn told(&mut self, text: &str) -> Result<(), Problem> {
        self.known(Known::Told(text.to_owned()), |this| {
            this.str(text);
            Ok(())
        })
    }

    fn known_global(&mut self, module: &'static str, name: &'static str) -> Result<(), Problem> {
        self.known(Known::Global(module, name), |this| {
            this.global(module, name);
            Ok(())
        })
    }

    /// Calls what lies below so many arguments, one to three.
    fn call(&mut self, args: u8) {
        self.0.extend([0x84 + args, b'R']);
    }

    fn items(&mut self, open: &[u8], items: &[Value], are_keys: bool, close: u8) -> Result<(), Problem> {
        let empty = match close {
            b'e' => Some(b']'),
            b't' => Some(b')'),
            0x90 => Some(0x8f),
            _ => None,
        };
        if let (true, Some(empty)) = (items.is_empty(), empty) {
            self.0.push(empty);
            return Ok(());
        }
        self.0.extend_from_slice(open);
        items.iter().try_for_each(|item| if are_keys { self.key(item) } else { self.tree(item) })?;
        self.0.push(close);
        Ok(())
    }

    fn dict(&mut self, entries: &[(Value, Value)]) -> Result<(), Problem> {
        self.0.push(b'}');
        if entries.is_empty() {
            return Ok(());
        }
        self.0.push(b'(');
        entries.iter().try_for_each(|(key, value)| {
            self.key(key)?;
            self.tree(value)
        })?;
        self.0.push(b'u');
        Ok(())
    }

    /// One that Python can't have as a key would make all of the payload unreadable there. No honest pickle has one: it is
    /// not worth the work to show it.
    fn key(&mut self, key: &Value) -> Result<(), Problem> {
        if can_be_key(key) { self.tree(key) } else { self.told("<what can't be a key, not kept>") }
    }

    fn date_time(&mut self, moment: &DateTime) -> Result<(), Problem> {
        self.known_global("datetime", "datetime")?;
        let Date { year, month, day } = moment.date;
        let [high, low] = year.to_be_bytes();
        let fold = if moment.time.fold { 0x80 } else { 0 };
        let date = [high, low, month | fold, day];
        self.blob(&[&date[..], &moment.time.bytes()].concat());
        self.with_zone(moment.zone.as_ref())
    }

    fn time(&mut self, time: Time, zone: Option<&Zone>) -> Result<(), Problem> {
        self.known_global("datetime", "time")?;
        let mut bytes = time.bytes();
        bytes[0] |= if time.fold { 0x80 } else { 0 };
        self.blob(&bytes);
        self.with_zone(zone)
    }

    fn with_zone(&mut self, zone: Option<&Zone>) -> Result<(), Problem> {
        if let Some(zone) = zone {
            self.zone(zone)?;
        }
        self.call(if zone.is_some() { 2 } else { 1 });
        Ok(())
    }

    fn delta(&mut self, delta: Delta) -> Result<(), Problem> {
        self.known_global("datetime", "timedelta")?;
        for part in [delta.days, delta.seconds, delta.micros] {
            self.int(part.into());
        }
        self.call(3);
        Ok(())
    }

    fn zone(&mut self, zone: &Zone) -> Result<(), Problem> {
        match zone {
            Zone::Fixed(offset, name) => {
                self.known_global("datetime", "timezone")?;
                self.delta(*offset)?;
                if let Some(name) = name {
                    self.shared_text(name)?;
                }
                self.call(if name.is_some() { 2 } else { 1 });
            }
            Zone::Named(name) => {
                self.known_global("zoneinfo", "ZoneInfo._unpickle")?;
                self.shared_text(name)?;
                self.0.push(0x88);
                self.call(2);
            }
        }
        Ok(())
    }

    fn uuid(&mut self, bytes: [u8; 16]) -> Result<(), Problem> {
        self.known_global("uuid", "UUID")?;
        self.0.extend(*b")\x81}");
        self.str("int");
        self.unsigned(u128::from_be_bytes(bytes))?;
        self.0.extend(*b"sb");
        Ok(())
    }
}

/// Whether Python's `hash` takes it.
fn can_be_key(value: &Value) -> bool {
    match value {
        Value::List(_) | Value::Dict(_) | Value::Set(_) | Value::ByteArray(_) => false,
        Value::Tuple(items) | Value::FrozenSet(items) => items.iter().all(can_be_key),
        _ => true,
    }
}
