//! `@every`: ticks at a fixed distance in real time, counted from the Unix epoch.

use crate::clock::Timestamp;

/// The units of a span, in milliseconds, in the order in which a span names them.
const UNITS: [(&str, i64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The shortest and the longest period, in milliseconds.
const LIMITS: std::ops::RangeInclusive<i64> = 1_000..=366 * 86_400_000;

/// A tick each `period_ms` milliseconds: at all multiples of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Every {
    period_ms: i64,
}

impl Every {
    pub(super) fn next_after(self, after: Timestamp) -> Option<Timestamp> {
        let tick = after.as_millis().div_euclid(self.period_ms).checked_add(1)?;
        tick.checked_mul(self.period_ms).map(Timestamp::from_millis)
    }
}

/// Reads a span such as `1h30m`; an error is the reason, to follow the expression in a sentence.
pub(super) fn parse(span: &str) -> Result<Every, String> {
    if span.is_empty() {
        return Err("has no span".to_owned());
    }
    let mut units = UNITS.iter();
    let mut period_ms: i64 = 0;
    let mut rest = span;
    while !rest.is_empty() {
        let (digits, unit);
        (digits, rest) = split_where(rest, |c| !c.is_ascii_digit());
        (unit, rest) = split_where(rest, |c| c.is_ascii_digit());
        // `find` goes on from the unit before, so units come in order and once.
        let Some((_, scale)) = units.find(|(name, _)| *name == unit) else {
            return Err(format!("has the span {span:?}, not whole numbers of d, h, m, s, ms in this order"));
        };
        let part = digits.parse::<i64>().ok().and_then(|number| number.checked_mul(*scale));
        period_ms = part
            .and_then(|part| period_ms.checked_add(part))
            .ok_or_else(|| format!("has the span {span:?} with the amount {digits:?}"))?;
    }
    if !LIMITS.contains(&period_ms) {
        return Err(format!("has the span {span:?} of {period_ms} ms"));
    }
    Ok(Every { period_ms })
}

fn split_where(text: &str, ends: fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}
