use std::sync::Arc;

use super::machine::{Call, Heap, Id, Node};
use crate::codec::value::{Budget, Date, DateTime, Delta, MAX_DEPTH, Object, Time, TooMuch, Value, Zone};

/// Makes values of what the machine left: trees, so what is shared is made, and counted, each time it is met.
pub(super) struct Builder<'a> {
    heap: &'a Heap,
    budget: Budget,
    /// What the value being made lies in.
    path: Vec<Id>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(heap: &'a Heap) -> Self {
        Self { heap, budget: Budget::new(), path: Vec::new() }
    }

    /// A value; in place of one that holds too much, that.
    pub(super) fn entry(mut self, id: Id) -> Value {
        self.value(id).unwrap_or_else(|TooMuch(what)| Value::Unread(what.into()))
    }

    fn value(&mut self, id: Id) -> Result<Value, TooMuch> {
        let heap = self.heap;
        match heap.node(id) {
            Node::Leaf(value) => {
                self.budget.take(own_bytes(value))?;
                Ok(value.clone())
            }
            Node::Global(module, name) => {
                self.budget.take(module.len() + name.len())?;
                let class = format!("{module}.{name}").into();
                Ok(Value::Object(Box::new(Object { class, parts: Vec::new() })))
            }
            Node::List(ids) => self.within(id, |this| this.values(ids).map(Value::List)),
            Node::Tuple(ids) => self.within(id, |this| this.values(ids).map(Value::Tuple)),
            Node::Set(ids) => self.within(id, |this| this.values(ids).map(Value::Set)),
            Node::FrozenSet(ids) => self.within(id, |this| this.values(ids).map(Value::FrozenSet)),
            Node::Dict(ids) => self.within(id, |this| this.entries(ids).map(Value::Dict)),
            Node::Call(call) => self.within(id, |this| this.call(call)),
        }
    }

    /// Makes what lies within `id`, which may lie within itself.
    fn within(&mut self, id: Id, make: impl FnOnce(&mut Self) -> Result<Value, TooMuch>) -> Result<Value, TooMuch> {
        self.budget.take(0)?;
        if self.path.contains(&id) {
            return Ok(Value::Unread("a value that contains itself".into()));
        }
        if self.path.len() > MAX_DEPTH {
            return Err(TooMuch("more than 128 levels"));
        }
        self.path.push(id);
        let value = make(self);
        self.path.pop();
        value
    }

    fn values(&mut self, ids: &[Id]) -> Result<Vec<Value>, TooMuch> {
        ids.iter().map(|id| self.value(*id)).collect()
    }

    fn entries(&mut self, ids: &[(Id, Id)]) -> Result<Vec<(Value, Value)>, TooMuch> {
        ids.iter().map(|(key, value)| Ok((self.value(*key)?, self.value(*value)?))).collect()
    }

    fn call(&mut self, call: &Call) -> Result<Value, TooMuch> {
        let callable = self.value(call.callable)?;
        let mut made = Made {
            class: class_of(&callable),
            args: self.value(call.args)?,
            kwargs: call.kwargs.map(|id| self.value(id)).transpose()?,
            state: call.state.map(|id| self.value(id)).transpose()?,
            items: self.values(&call.items)?,
            entries: self.entries(&call.entries)?,
        };
        made.reconstruct();
        if let Some(value) = made.plain() {
            return Ok(value);
        }
        Ok(Value::Object(Box::new(made.into_object())))
    }
}

fn own_bytes(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) | Value::ByteArray(bytes) => bytes.len(),
        Value::Big(big) => big.bytes().len(),
        _ => 0,
    }
}

/// The name of what is called: a global, or a method of one, as the older protocols tell it.
fn class_of(callable: &Value) -> Arc<str> {
    let Value::Object(object) = callable else {
        return "of no name".into();
    };
    match object.part("args").and_then(Value::items) {
        Some([Value::Object(class), Value::Text(name)]) if &*object.class == "builtins.getattr" => {
            format!("{}.{name}", class.class).into()
        }
        _ => Arc::clone(&object.class),
    }
}

/// What an object would be made of.
struct Made {
    class: Arc<str>,
    args: Value,
    kwargs: Option<Value>,
    state: Option<Value>,
    items: Vec<Value>,
    entries: Vec<(Value, Value)>,
}

impl Made {
    /// The value, if it is of a plain type.
    fn plain(&mut self) -> Option<Value> {
        if self.kwargs.is_some() || !self.items.is_empty() {
            return None;
        }
        let args = self.args.items()?;
        match (&*self.class, args, &self.state) {
            ("collections.OrderedDict", [], None) => Some(Value::Dict(std::mem::take(&mut self.entries))),
            _ if !self.entries.is_empty() => None,
            ("uuid.UUID", [], Some(state)) => uuid(state),
            (class, args, None) => plain(class, args).or_else(|| self.with_unknown_zone()),
            _ => None,
        }
    }

    /// A time in a zone that is unknown here is an object, which tells that zone's class.
    fn with_unknown_zone(&mut self) -> Option<Value> {
        let Some([_, Value::Object(zone)]) = self.args.items() else {
            return None;
        };
        if matches!(&*self.class, "datetime.datetime" | "datetime.time") {
            self.class = format!("{} with a tzinfo of {}", self.class, zone.class).into();
        }
        None
    }

    /// Protocols 0 and 1 tell an object as a call with its class as argument.
    fn reconstruct(&mut self) {
        let Some([Value::Object(class), ..]) = self.args.items() else {
            return;
        };
        if &*self.class == "copyreg._reconstructor" {
            self.class = Arc::clone(&class.class);
            self.args = Value::Tuple(Vec::new());
        }
    }

    fn into_object(self) -> Object {
        let mut parts = vec![("args", self.args)];
        parts.extend(self.kwargs.map(|kwargs| ("kwargs", kwargs)));
        parts.extend(self.state.map(|state| ("state", state)));
        if !self.items.is_empty() {
            parts.push(("items", Value::List(self.items)));
        }
        if !self.entries.is_empty() {
            parts.push(("entries", Value::Dict(self.entries)));
        }
        Object { class: self.class, parts }
    }
}

/// What calls of known globals make.
fn plain(class: &str, args: &[Value]) -> Option<Value> {
    match (class, args) {
        ("builtins.set", [items]) => Some(Value::Set(items.items()?.to_vec())),
        ("builtins.frozenset", [items]) => Some(Value::FrozenSet(items.items()?.to_vec())),
        ("builtins.set", []) => Some(Value::Set(Vec::new())),
        ("builtins.frozenset", []) => Some(Value::FrozenSet(Vec::new())),
        ("builtins.bytes", []) => Some(Value::Bytes([].into())),
        ("builtins.bytearray", []) => Some(Value::ByteArray([].into())),
        ("builtins.bytearray", [Value::Bytes(bytes)]) => Some(Value::ByteArray(Arc::clone(bytes))),
        ("builtins.bytearray", [Value::Text(text), Value::Text(_)]) => latin1(text).map(Value::ByteArray),
        ("_codecs.encode", [Value::Text(text), Value::Text(_)]) => latin1(text).map(Value::Bytes),
        ("datetime.date", [Value::Bytes(bytes)]) => Date::read((**bytes).try_into().ok()?).map(Value::Date),
        ("datetime.datetime", [Value::Bytes(bytes), zone @ ..]) => date_time(bytes, zone),
        ("datetime.time", [Value::Bytes(bytes), zone @ ..]) => time(bytes, zone),
        ("datetime.timedelta", [Value::Int(days), Value::Int(seconds), Value::Int(micros)]) => {
            delta(*days, *seconds, *micros).map(Value::Delta)
        }
        ("datetime.timezone", [Value::Delta(offset), name @ ..]) => fixed_zone(*offset, name),
        ("zoneinfo.ZoneInfo._unpickle", [Value::Text(name), _]) => named_zone(name),
        ("decimal.Decimal", [Value::Text(text)]) => is_decimal(text).then(|| Value::Decimal(Arc::clone(text))),
        _ => None,
    }
}

/// Bytes that the older protocols write as a text: each character is one.
fn latin1(text: &str) -> Option<Arc<[u8]>> {
    text.chars().map(|character| u8::try_from(u32::from(character)).ok()).collect()
}

fn date_time(bytes: &[u8], zone: &[Value]) -> Option<Value> {
    let [date @ .., hour, minute, second, high, middle, low] = bytes else {
        return None;
    };
    let mut date: [u8; 4] = date.try_into().ok()?;
    let fold = date[2] & 0x80 != 0;
    date[2] &= 0x7f;
    let time = Time::read([*hour, *minute, *second, *high, *middle, *low], fold)?;
    let moment = DateTime { date: Date::read(date)?, time, zone: zone_of(zone).ok()? };
    Some(Value::DateTime(Box::new(moment)))
}

fn time(bytes: &[u8], zone: &[Value]) -> Option<Value> {
    let mut bytes: [u8; 6] = bytes.try_into().ok()?;
    let fold = bytes[0] & 0x80 != 0;
    bytes[0] &= 0x7f;
    Some(Value::Time(Box::new((Time::read(bytes, fold)?, zone_of(zone).ok()?))))
}

/// What follows the bytes of a time; `Err` when it is no zone that is known here.
fn zone_of(args: &[Value]) -> Result<Option<Zone>, ()> {
    match args {
        [] | [Value::None] => Ok(None),
        [Value::Zone(zone)] => Ok(Some(Zone::clone(zone))),
        _ => Err(()),
    }
}

/// As Python keeps it: only the days may be negative.
fn delta(days: i64, seconds: i64, micros: i64) -> Option<Delta> {
    let is_possible = days.abs() <= 999_999_999 && (0..86_400).contains(&seconds) && (0..1_000_000).contains(&micros);
    let small = |part: i64| i32::try_from(part).ok();
    is_possible.then_some(Delta { days: small(days)?, seconds: small(seconds)?, micros: small(micros)? })
}

/// Less than a day from UTC, or Python would not take it back.
fn fixed_zone(offset: Delta, name: &[Value]) -> Option<Value> {
    let is_possible = matches!(offset.days, -1 | 0) && offset != (Delta { days: -1, seconds: 0, micros: 0 });
    let name = match name {
        [] => None,
        [Value::Text(name)] => Some(Arc::clone(name)),
        _ => return None,
    };
    is_possible.then(|| Value::Zone(Box::new(Zone::Fixed(offset, name))))
}

fn named_zone(name: &Arc<str>) -> Option<Value> {
    jiff::tz::TimeZone::get(name).ok().map(|_| Value::Zone(Box::new(Zone::Named(Arc::clone(name)))))
}

fn uuid(state: &Value) -> Option<Value> {
    let Value::Dict(entries) = state else {
        return None;
    };
    let number = match entries.as_slice() {
        [(Value::Text(name), Value::Int(number))] if &**name == "int" => u128::try_from(*number).ok()?,
        [(Value::Text(name), Value::Big(number))] if &**name == "int" => number.to_u128()?,
        _ => return None,
    };
    Some(Value::Uuid(Box::new(number.to_be_bytes())))
}

/// Whether `decimal.Decimal` takes it: other texts make it raise.
fn is_decimal(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(payload) = unsigned.strip_prefix("NaN").or(unsigned.strip_prefix("sNaN")) {
        return digits(payload);
    }
    let (number, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    let is_number = digits(whole) && digits(fraction) && whole.len() + fraction.len() > 0;
    unsigned == "Infinity" || (is_number && digits(exponent) && (1..=9).contains(&exponent.len()))
}
