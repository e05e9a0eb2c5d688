use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use super::machine::{self, Call, Heap, Id, Node};
use crate::codec::arguments::Clip;
use crate::codec::value::{Budget, Date, DateTime, Delta, MAX_DEPTH, Object, Time, TooMuch, Value, Zone};

/// The longest name of a class: a few bytes can ask for a long one often.
const NAME: usize = 200;

/// Makes values of what the machine left, and takes that away. What is shared is made once, and counted each time it is
/// met: whoever reads it meets it as often.
pub(super) struct Builder<'a> {
    heap: &'a mut Heap,
    budget: Budget,
    /// In how many others the value being made lies.
    depth: usize,
    /// The most that have been, within the value being made.
    deepest: usize,
    /// How many values are still to be made of what is open: room is there for all of them.
    claimed: usize,
    /// The bytes of texts that Python's older protocols encode, by where the texts lie.
    encoded: HashMap<usize, Option<Arc<[u8]>>>,
    circle: Arc<str>,
    no_name: Arc<str>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(heap: &'a mut Heap) -> Self {
        Self {
            heap,
            budget: Budget::new(),
            depth: 0,
            deepest: 0,
            claimed: 0,
            encoded: HashMap::new(),
            circle: "a value that contains itself".into(),
            no_name: "of no name".into(),
        }
    }

    /// A value; in place of one that holds too much, that.
    pub(super) fn entry(&mut self, id: Id) -> Value {
        self.budget.next_entry();
        (self.depth, self.deepest, self.claimed) = (0, 0, 0);
        self.value(id).unwrap_or_else(|TooMuch(what)| Value::Unread(what.into()))
    }

    fn value(&mut self, id: Id) -> Result<Value, TooMuch> {
        match self.heap.node(id) {
            Node::Leaf(value) => {
                self.budget.take(own_bytes(value))?;
                Ok(value.clone())
            }
            Node::Made(made) => {
                self.budget.take_all(made.values as usize, made.bytes as usize)?;
                let (value, levels) = (made.value.clone(), usize::from(made.levels));
                self.reach(self.depth + levels)?;
                Ok(value)
            }
            Node::Taken => {
                self.budget.take(0)?;
                Ok(Value::Unread(Arc::clone(&self.circle)))
            }
            Node::TooMuch(too_much) => Err(too_much.clone()),
            _ => self.make(id),
        }
    }

    /// Makes a value for the first time, which may lie within itself.
    fn make(&mut self, id: Id) -> Result<Value, TooMuch> {
        let ((values, bytes), deepest) = (self.budget.left(), std::mem::take(&mut self.deepest));
        let node = self.heap.take(id);
        let made = self.value_of(node);
        let after = match &made {
            Ok(value) if self.heap.is_shared(id) => {
                let (values_left, bytes_left) = self.budget.left();
                let levels = self.deepest.saturating_sub(self.depth);
                Node::Made(Box::new(machine::Made {
                    value: value.clone(),
                    values: small(values - values_left),
                    bytes: small(bytes - bytes_left),
                    levels: u8::try_from(levels).unwrap_or(u8::MAX), // never the default: MAX_DEPTH is less
                }))
            }
            Ok(_) => Node::Taken,
            Err(too_much) => Node::TooMuch(too_much.clone()),
        };
        self.heap.put(id, after);
        self.deepest = self.deepest.max(deepest);
        made
    }

    fn value_of(&mut self, node: Node) -> Result<Value, TooMuch> {
        self.budget.take(0)?;
        if let Node::Global(names) = node {
            let (module, name) = *names;
            self.budget.take_all(0, module.len() + name.len())?;
            let class = named(format_args!("{module}.{name}"));
            return Ok(Value::Object(Arc::new(Object { class, parts: Vec::new() })));
        }
        self.reach(self.depth)?;
        self.depth += 1;
        let value = match node {
            Node::List(ids) => self.values(&ids).map(Value::List),
            Node::Tuple(ids) => self.values(&ids).map(Value::Tuple),
            Node::Set(ids) => self.values(&ids).map(Value::Set),
            Node::FrozenSet(ids) => self.values(&ids).map(Value::FrozenSet),
            Node::Dict(ids) => self.entries(&ids).map(Value::Dict),
            Node::Call(call) => self.call(&call),
            Node::Leaf(value) => Ok(value),
            Node::Global(_) | Node::Taken | Node::Made(_) | Node::TooMuch(_) => Ok(Value::None), // never taken as such
        };
        self.depth -= 1;
        value
    }

    fn reach(&mut self, level: usize) -> Result<(), TooMuch> {
        self.deepest = self.deepest.max(level);
        if level > MAX_DEPTH { Err(TooMuch("more than 128 levels")) } else { Ok(()) }
    }

    fn values(&mut self, ids: &[Id]) -> Result<Arc<Vec<Value>>, TooMuch> {
        let mut values = Vec::with_capacity(self.claim(ids.len(), 1)?);
        for id in ids {
            values.push(self.claimed_value(*id)?);
        }
        Ok(values.into())
    }

    fn entries(&mut self, ids: &[(Id, Id)]) -> Result<Arc<Vec<(Value, Value)>>, TooMuch> {
        let mut entries = Vec::with_capacity(self.claim(ids.len(), 2)?);
        for (key, value) in ids {
            entries.push((self.claimed_value(*key)?, self.claimed_value(*value)?));
        }
        Ok(entries.into())
    }

    /// For how many of `len` items, of so many values each, to make room: for all that is open together, no more than the
    /// budget has left.
    fn claim(&mut self, len: usize, values: usize) -> Result<usize, TooMuch> {
        self.claimed += len * values;
        self.budget.has(self.claimed)?;
        Ok(len)
    }

    fn claimed_value(&mut self, id: Id) -> Result<Value, TooMuch> {
        self.claimed -= 1;
        self.value(id)
    }

    fn call(&mut self, call: &Call) -> Result<Value, TooMuch> {
        let callable = self.value(call.callable)?;
        let mut made = Made {
            class: self.class_of(&callable),
            args: self.value(call.args)?,
            kwargs: call.kwargs.map(|id| self.value(id)).transpose()?,
            state: call.state.map(|id| self.value(id)).transpose()?,
            items: self.values(&call.items)?,
            entries: self.entries(&call.entries)?,
        };
        made.reconstruct();
        if let Some(value) = made.plain(self) {
            return Ok(value);
        }
        Ok(Value::Object(Arc::new(made.into_object())))
    }

    /// The name of what is called: a global, or a method of one, as the older protocols tell it.
    fn class_of(&self, callable: &Value) -> Arc<str> {
        let Value::Object(object) = callable else {
            return Arc::clone(&self.no_name);
        };
        match object.part("args").and_then(Value::items) {
            Some([Value::Object(class), Value::Text(name)]) if &*object.class == "builtins.getattr" => {
                named(format_args!("{}.{name}", class.class))
            }
            _ => Arc::clone(&object.class),
        }
    }

    /// Bytes that the older protocols write as a text: each character is one.
    fn latin1(&mut self, text: &Arc<str>) -> Option<Arc<[u8]>> {
        let encode = || text.chars().map(|character| u8::try_from(u32::from(character)).ok()).collect();
        // The text stays where it is: its node holds it.
        self.encoded.entry(Arc::as_ptr(text).addr()).or_insert_with(encode).clone()
    }
}

/// Of what the budget counts, which has room for no more.
fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A class's name, cut when it is too long.
fn named(name: fmt::Arguments<'_>) -> Arc<str> {
    let mut clip = Clip::new(NAME);
    let _ = clip.write_fmt(name); // an error says that it is long enough
    clip.text.into()
}

fn own_bytes(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) | Value::ByteArray(bytes) => bytes.len(),
        Value::Big(big) => big.bytes().len(),
        _ => 0,
    }
}

/// What an object would be made of.
struct Made {
    class: Arc<str>,
    args: Value,
    kwargs: Option<Value>,
    state: Option<Value>,
    items: Arc<Vec<Value>>,
    entries: Arc<Vec<(Value, Value)>>,
}

impl Made {
    /// The value, if it is of a plain type.
    fn plain(&mut self, builder: &mut Builder<'_>) -> Option<Value> {
        if self.kwargs.is_some() || !self.items.is_empty() {
            return None;
        }
        let args = self.args.items()?;
        match (&*self.class, args, &self.state) {
            ("collections.OrderedDict", [], None) => Some(Value::Dict(std::mem::take(&mut self.entries))),
            _ if !self.entries.is_empty() => None,
            ("uuid.UUID", [], Some(state)) => uuid(state),
            (class, args, None) => plain(builder, class, args).or_else(|| self.with_unknown_zone()),
            _ => None,
        }
    }

    /// A time in a zone that is unknown here is an object, which tells that zone's class.
    fn with_unknown_zone(&mut self) -> Option<Value> {
        let Some([_, Value::Object(zone)]) = self.args.items() else {
            return None;
        };
        if matches!(&*self.class, "datetime.datetime" | "datetime.time") {
            self.class = named(format_args!("{} with a tzinfo of {}", self.class, zone.class));
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
            self.args = Value::Tuple(Arc::default());
        }
    }

    fn into_object(self) -> Object {
        let mut parts = Vec::with_capacity(1 + usize::from(self.kwargs.is_some()) + usize::from(self.state.is_some()));
        parts.push(("args", self.args));
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
fn plain(builder: &mut Builder<'_>, class: &str, args: &[Value]) -> Option<Value> {
    match (class, args) {
        ("builtins.set", [items]) => Some(Value::Set(Arc::clone(items.shared_items()?))),
        ("builtins.frozenset", [items]) => Some(Value::FrozenSet(Arc::clone(items.shared_items()?))),
        ("builtins.set", []) => Some(Value::Set(Arc::default())),
        ("builtins.frozenset", []) => Some(Value::FrozenSet(Arc::default())),
        ("builtins.bytes", []) => Some(Value::Bytes([].into())),
        ("builtins.bytearray", []) => Some(Value::ByteArray([].into())),
        ("builtins.bytearray", [Value::Bytes(bytes)]) => Some(Value::ByteArray(Arc::clone(bytes))),
        ("builtins.bytearray", [Value::Text(text), Value::Text(_)]) => match builder.latin1(text)? {
            // Python keeps one text of each letter, for arrays that are not the same.
            letter if letter.len() == 1 => Some(Value::ByteArray((*letter).into())),
            bytes => Some(Value::ByteArray(bytes)),
        },
        ("_codecs.encode", [Value::Text(text), Value::Text(_)]) => builder.latin1(text).map(Value::Bytes),
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

fn date_time(bytes: &[u8], zone: &[Value]) -> Option<Value> {
    let [date @ .., hour, minute, second, high, middle, low] = bytes else {
        return None;
    };
    let mut date: [u8; 4] = date.try_into().ok()?;
    let fold = date[2] & 0x80 != 0;
    date[2] &= 0x7f;
    let time = Time::read([*hour, *minute, *second, *high, *middle, *low], fold)?;
    let moment = DateTime { date: Date::read(date)?, time, zone: zone_of(zone).ok()? };
    Some(Value::DateTime(Arc::new(moment)))
}

fn time(bytes: &[u8], zone: &[Value]) -> Option<Value> {
    let mut bytes: [u8; 6] = bytes.try_into().ok()?;
    let fold = bytes[0] & 0x80 != 0;
    bytes[0] &= 0x7f;
    Some(Value::Time(Arc::new((Time::read(bytes, fold)?, zone_of(zone).ok()?))))
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
    is_possible.then(|| Value::Zone(Arc::new(Zone::Fixed(offset, name))))
}

fn named_zone(name: &Arc<str>) -> Option<Value> {
    jiff::tz::TimeZone::get(name).ok().map(|_| Value::Zone(Arc::new(Zone::Named(Arc::clone(name)))))
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
    Some(Value::Uuid(Arc::new(number.to_be_bytes())))
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
