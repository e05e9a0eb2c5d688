use std::fmt;
use std::sync::Arc;

/// `datetime.date`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Date {
    pub(crate) year: u16,
    pub(crate) month: u8,
    pub(crate) day: u8,
}

/// `datetime.time`, its zone aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time {
    pub(crate) hour: u8,
    pub(crate) minute: u8,
    pub(crate) second: u8,
    pub(crate) micro: u32,
    /// Whether it is the second of two equal ones, when clocks were put back.
    pub(crate) fold: bool,
}

/// `datetime.datetime`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DateTime {
    pub(crate) date: Date,
    pub(crate) time: Time,
    pub(crate) zone: Option<Zone>,
}

/// What a `tzinfo` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Zone {
    /// `datetime.timezone`, with its name if it has one of its own.
    Fixed(Delta, Option<Arc<str>>),
    /// `zoneinfo.ZoneInfo`.
    Named(Arc<str>),
}

/// `datetime.timedelta`: seconds (0 to 86399) and microseconds (0 to 999999) count forward from the days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Delta {
    pub(crate) days: i32,
    pub(crate) seconds: i32,
    pub(crate) micros: i32,
}

impl Date {
    /// From the four bytes that Python writes.
    pub(crate) fn read(bytes: [u8; 4]) -> Option<Self> {
        let [high, low, month, day] = bytes;
        let date = Self { year: u16::from_be_bytes([high, low]), month, day };
        date.civil().is_some_and(|_| date.year > 0).then_some(date)
    }

    pub(crate) fn bytes(self) -> [u8; 4] {
        let [high, low] = self.year.to_be_bytes();
        [high, low, self.month, self.day]
    }
}

impl Date {
    fn civil(self) -> Option<jiff::civil::Date> {
        let (year, month, day) = (i16::try_from(self.year), i8::try_from(self.month), i8::try_from(self.day));
        jiff::civil::Date::new(year.ok()?, month.ok()?, day.ok()?).ok()
    }
}

impl Time {
    /// From the six bytes that Python writes, without the bit that says which of two.
    pub(crate) fn read(bytes: [u8; 6], fold: bool) -> Option<Self> {
        let [hour, minute, second, high, middle, low] = bytes;
        let micro = u32::from_be_bytes([0, high, middle, low]);
        let is_possible = hour < 24 && minute < 60 && second < 60 && micro < 1_000_000;
        is_possible.then_some(Self { hour, minute, second, micro, fold })
    }

    pub(crate) fn bytes(self) -> [u8; 6] {
        let [_, high, middle, low] = self.micro.to_be_bytes();
        [self.hour, self.minute, self.second, high, middle, low]
    }
}

impl DateTime {
    /// The offset of its zone at that time, in seconds; `None` without a zone or with an unknown one.
    fn offset(&self) -> Option<i64> {
        let name = match self.zone.as_ref()? {
            Zone::Fixed(offset, _) => return Some(offset.whole_seconds()),
            Zone::Named(name) => name,
        };
        let zone = jiff::tz::TimeZone::get(name).ok()?;
        let Time { hour, minute, second, fold, .. } = self.time;
        let small = |part: u8| i8::try_from(part).unwrap_or(0);
        let civil = self.date.civil()?.at(small(hour), small(minute), small(second), 0);
        let ambiguous = zone.to_ambiguous_timestamp(civil);
        let moment = if fold { ambiguous.later() } else { ambiguous.earlier() }.ok()?;
        Some(zone.to_offset(moment).seconds().into())
    }
}

impl Zone {
    pub(crate) fn is_utc(&self) -> bool {
        matches!(self, Self::Fixed(offset, None) if *offset == Delta::default())
    }
}

impl Delta {
    fn whole_seconds(self) -> i64 {
        i64::from(self.days) * 86_400 + i64::from(self.seconds)
    }

    pub(crate) fn as_seconds(self) -> f64 {
        // Exact within 285 years, a microsecond off at most for longer ones.
        #[expect(clippy::cast_precision_loss, reason = "said above")]
        let whole = self.whole_seconds() as f64;
        whole + f64::from(self.micros) / 1e6
    }

    /// Seconds and nanoseconds, unless it is negative.
    pub(crate) fn forward(self) -> Option<(u64, u32)> {
        let nanos = u32::try_from(self.micros).ok()?.checked_mul(1_000)?;
        Some((u64::try_from(self.whole_seconds()).ok()?, nanos))
    }
}

/// RFC 3339, if the zone is not unknown.
impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}T{}", self.date, self.time)?;
        match (&self.zone, self.offset()) {
            (None, _) => Ok(()),
            (Some(_), Some(offset)) => write_offset(f, offset),
            (Some(zone), None) => write!(f, "[{zone}]"),
        }
    }
}

fn write_offset(f: &mut fmt::Formatter<'_>, seconds: i64) -> fmt::Result {
    if seconds == 0 {
        return f.write_str("Z");
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let left = seconds.unsigned_abs();
    write!(f, "{sign}{:02}:{:02}", left / 3_600, left / 60 % 60)?;
    if left.is_multiple_of(60) { Ok(()) } else { write!(f, ":{:02}", left % 60) }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}:{:02}", self.hour, self.minute, self.second)?;
        if self.micro == 0 { Ok(()) } else { write!(f, ".{:06}", self.micro) }
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(offset, _) => write_offset(f, offset.whole_seconds()),
            Self::Named(name) => f.write_str(name),
        }
    }
}

/// ISO 8601.
impl fmt::Display for Delta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = i128::from(self.whole_seconds()) * 1_000_000 + i128::from(self.micros);
        let sign = if micros < 0 { "-" } else { "" };
        let left = micros.unsigned_abs();
        write!(f, "{sign}PT{}", left / 1_000_000)?;
        if left % 1_000_000 != 0 {
            write!(f, ".{:06}", left % 1_000_000)?;
        }
        f.write_str("S")
    }
}
