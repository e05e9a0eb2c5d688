use std::fmt::{self, Write as _};

use super::{Delta, Object, Time, Value, Zone};

/// As Python's `repr` shows it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Bool(value) => f.write_str(if *value { "True" } else { "False" }),
            Self::Int(value) => write!(f, "{value}"),
            Self::Big(value) => write!(f, "{value}"),
            Self::Float(value) => float(f, *value),
            Self::Text(text) => quoted(f, text),
            Self::Bytes(bytes) => quoted_bytes(f, bytes),
            Self::ByteArray(bytes) => {
                f.write_str("bytearray(")?;
                quoted_bytes(f, bytes)?;
                f.write_char(')')
            }
            Self::List(items) => listed(f, "[", items, "]"),
            Self::Tuple(items) => listed(f, "(", items, if items.len() == 1 { ",)" } else { ")" }),
            Self::Set(items) if items.is_empty() => f.write_str("set()"),
            Self::Set(items) => listed(f, "{", items, "}"),
            Self::FrozenSet(items) if items.is_empty() => f.write_str("frozenset()"),
            Self::FrozenSet(items) => listed(f, "frozenset({", items, "})"),
            Self::Dict(entries) => dict(f, entries),
            Self::DateTime(moment) => {
                let date = moment.date;
                write!(f, "datetime.datetime({}, {}, {}, ", date.year, date.month, date.day)?;
                time(f, moment.time, moment.zone.as_ref())
            }
            Self::Date(date) => write!(f, "datetime.date({}, {}, {})", date.year, date.month, date.day),
            Self::Time(value) => {
                f.write_str("datetime.time(")?;
                time(f, value.0, value.1.as_ref())
            }
            Self::Delta(value) => delta(f, *value),
            Self::Zone(value) => zone(f, value),
            Self::Decimal(text) => write!(f, "Decimal('{text}')"),
            Self::Uuid(bytes) => write!(f, "UUID('{}')", uuid::Uuid::from_bytes(**bytes)),
            Self::Object(value) => object(f, value),
            Self::Unread(what) => write!(f, "<{what}>"),
        }
    }
}

fn separated<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    mut show: impl FnMut(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    items.iter().enumerate().try_for_each(|(index, item)| {
        f.write_str(if index == 0 { "" } else { ", " })?;
        show(f, item)
    })
}

fn listed(f: &mut fmt::Formatter<'_>, open: &str, items: &[Value], close: &str) -> fmt::Result {
    f.write_str(open)?;
    separated(f, items, |f, item| write!(f, "{item}"))?;
    f.write_str(close)
}

fn dict(f: &mut fmt::Formatter<'_>, entries: &[(Value, Value)]) -> fmt::Result {
    f.write_char('{')?;
    separated(f, entries, |f, (key, value)| write!(f, "{key}: {value}"))?;
    f.write_char('}')
}

/// As it is made: `Reading(1, gauge='core')`, or `<module.Class>` for a class itself.
fn object(f: &mut fmt::Formatter<'_>, object: &Object) -> fmt::Result {
    if object.parts.is_empty() {
        return write!(f, "<{}>", object.class);
    }
    let name = object.class.rsplit('.').next().unwrap_or(&object.class);
    let mut is_first = true;
    write!(f, "{name}(")?;
    for (_, part) in &object.parts {
        let named = match part {
            Value::Dict(entries) if entries.iter().all(|(key, _)| key.as_text().is_some()) => &entries[..],
            _ => &[],
        };
        for (key, value) in named {
            write!(f, "{}{}={value}", separator(&mut is_first), key.as_text().unwrap_or_default())?;
        }
        let bare = part.items().unwrap_or(if named.is_empty() { std::slice::from_ref(part) } else { &[] });
        for value in bare {
            write!(f, "{}{value}", separator(&mut is_first))?;
        }
    }
    f.write_char(')')
}

fn separator(is_first: &mut bool) -> &'static str {
    if std::mem::take(is_first) { "" } else { ", " }
}

fn float(f: &mut fmt::Formatter<'_>, value: f64) -> fmt::Result {
    if !value.is_finite() {
        return f.write_str(match value {
            _ if value.is_nan() => "nan",
            _ if value > 0.0 => "inf",
            _ => "-inf",
        });
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        return write!(f, "{value:?}");
    }
    write!(f, "{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    f.write_char(quote)?;
    for character in text.chars() {
        match character {
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '\\' => f.write_str("\\\\")?,
            _ if character == quote => write!(f, "\\{character}")?,
            _ if character.is_control() => write!(f, "\\x{:02x}", u32::from(character))?,
            _ => f.write_char(character)?,
        }
    }
    f.write_char(quote)
}

fn quoted_bytes(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { b'"' } else { b'\'' };
    write!(f, "b{}", char::from(quote))?;
    for byte in bytes {
        match byte {
            b'\n' => f.write_str("\\n")?,
            b'\r' => f.write_str("\\r")?,
            b'\t' => f.write_str("\\t")?,
            b'\\' => f.write_str("\\\\")?,
            _ if *byte == quote => write!(f, "\\{}", char::from(quote))?,
            b' '..=b'~' => f.write_char(char::from(*byte))?,
            _ => write!(f, "\\x{byte:02x}")?,
        }
    }
    f.write_char(char::from(quote))
}

/// What of a time stands in parentheses, and the closing one.
fn time(f: &mut fmt::Formatter<'_>, time: Time, tzinfo: Option<&Zone>) -> fmt::Result {
    write!(f, "{}, {}", time.hour, time.minute)?;
    if time.second != 0 || time.micro != 0 {
        write!(f, ", {}", time.second)?;
    }
    if time.micro != 0 {
        write!(f, ", {}", time.micro)?;
    }
    if time.fold {
        f.write_str(", fold=1")?;
    }
    if let Some(tzinfo) = tzinfo {
        f.write_str(", tzinfo=")?;
        zone(f, tzinfo)?;
    }
    f.write_char(')')
}

fn zone(f: &mut fmt::Formatter<'_>, zone: &Zone) -> fmt::Result {
    let (offset, name) = match zone {
        _ if zone.is_utc() => return f.write_str("datetime.timezone.utc"),
        Zone::Named(name) => return write!(f, "zoneinfo.ZoneInfo(key='{name}')"),
        Zone::Fixed(offset, name) => (*offset, name),
    };
    f.write_str("datetime.timezone(")?;
    delta(f, offset)?;
    if let Some(name) = name {
        f.write_str(", ")?;
        quoted(f, name)?;
    }
    f.write_char(')')
}

fn delta(f: &mut fmt::Formatter<'_>, delta: Delta) -> fmt::Result {
    let parts = [("days", delta.days), ("seconds", delta.seconds), ("microseconds", delta.micros)];
    let given: Vec<_> = parts.into_iter().filter(|(_, value)| *value != 0).collect();
    f.write_str("datetime.timedelta(")?;
    if given.is_empty() {
        f.write_char('0')?;
    }
    separated(f, &given, |f, (name, value)| write!(f, "{name}={value}"))?;
    f.write_char(')')
}
