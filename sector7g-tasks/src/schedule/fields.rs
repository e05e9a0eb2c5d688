//! The text of a cron expression: which field holds what, and which one is wrong.

use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Year};

use super::ScheduleError;

/// What a field of an expression may hold.
struct Field {
    name: &'static str,
    min: u16,
    max: u16,
    /// Names of values, in any case of letters.
    names: &'static [&'static str],
    is_day: IsDay,
    allowed: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum IsDay {
    No,
    OfMonth,
    OfWeek,
}

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

const FIELDS: [Field; 6] = [
    Field {
        name: "second",
        min: 0,
        max: 59,
        names: &[],
        is_day: IsDay::No,
        allowed: "0-59, `*`, ranges `1-5`, steps `*/15` and `10-40/5`, lists `0,30`",
    },
    Field {
        name: "minute",
        min: 0,
        max: 59,
        names: &[],
        is_day: IsDay::No,
        allowed: "0-59, `*`, ranges `1-5`, steps `*/15` and `10-40/5`, lists `0,30`",
    },
    Field {
        name: "hour",
        min: 0,
        max: 23,
        names: &[],
        is_day: IsDay::No,
        allowed: "0-23, `*`, ranges `9-17`, steps `*/6` and `8-18/2`, lists `6,18`",
    },
    Field {
        name: "day of month",
        min: 1,
        max: 31,
        names: &[],
        is_day: IsDay::OfMonth,
        allowed: "1-31, `*`, `?`, ranges `1-7`, steps `*/2`, lists `1,15`, `L` (the last), `15W` (the weekday next to the \
                  15th), `LW` (the last weekday)",
    },
    Field {
        name: "month",
        min: 1,
        max: 12,
        names: &MONTHS,
        is_day: IsDay::No,
        allowed: "1-12, JAN-DEC, `*`, ranges `JUN-AUG`, steps `*/3`, lists `1,7`",
    },
    Field {
        name: "day of week",
        min: 0,
        max: 7,
        names: &WEEKDAYS,
        is_day: IsDay::OfWeek,
        allowed: "0-7 (0 and 7 are Sunday), SUN-SAT, `*`, `?`, ranges `MON-FRI`, lists `1,3`, `5L` (the last Friday), `5#2` \
                  (the second Friday), `+MON` (day of month and day of week, not either)",
    },
];

/// Parses the five or six fields in `text`, the part of `expression` that holds them.
pub(super) fn parse(expression: &str, text: &str) -> Result<Cron, ScheduleError> {
    let parts: Vec<&str> = text.split(' ').filter(|part| !part.is_empty()).collect();
    let fields = match parts.len() {
        5 => &FIELDS[1..],
        6 => &FIELDS[..],
        found => return Err(ScheduleError::FieldCount { expression: expression.to_owned(), found }),
    };
    let wrong = |field: &Field, text: &str, reason| ScheduleError::Field {
        expression: expression.to_owned(),
        field: field.name,
        text: text.to_owned(),
        reason,
        allowed: field.allowed,
    };
    for (field, part) in fields.iter().zip(&parts) {
        check(field, part).map_err(|reason| wrong(field, part, reason))?;
    }
    parser().parse(text).map_err(|error| {
        let culprit =
            fields.iter().zip(&parts).enumerate().find(|(at, (_, part))| is_wrong_alone(*at, part, fields.len()));
        let (field, part) = culprit.map_or((&fields[0], &text), |(_, (field, part))| (field, part));
        wrong(field, part, reason(error))
    })
}

fn parser() -> CronParser {
    CronParser::builder().year(Year::Disallowed).build()
}

/// Whether `part` is wrong by itself, as the field number `at` of `count`.
fn is_wrong_alone(at: usize, part: &str, count: usize) -> bool {
    let mut parts = vec!["*"; count];
    parts[at] = part;
    parser().parse(&parts.join(" ")).is_err()
}

/// What croner says, as a part of a sentence.
fn reason(error: CronError) -> String {
    let message = match error {
        CronError::ComponentError(message)
        | CronError::InvalidPattern(message)
        | CronError::IllegalCharacters(message) => message,
        other => other.to_string(),
    };
    let mut chars = message.trim_end_matches('.').chars();
    chars.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(chars).collect()
}

/// Refuses what croner would take for something else: it replaces names anywhere in the text
/// (`1JAN` is 11, `MON` a minute), skips empty items, and takes `*/90` of the minutes for `0`.
fn check(field: &Field, text: &str) -> Result<(), String> {
    let text = if field.is_day == IsDay::OfWeek { text.strip_prefix('+').unwrap_or(text) } else { text };
    for item in text.split(',') {
        let (range, step) = item.split_once('/').map_or((item, None), |(range, step)| (range, Some(step)));
        if let Some(step) = step {
            check_step(field, step)?;
        }
        for value in range.split('-') {
            check_value(field, value)?;
        }
    }
    Ok(())
}

fn check_step(field: &Field, step: &str) -> Result<(), String> {
    match number(step) {
        Some(step) if (1..=field.max).contains(&step) => Ok(()),
        _ => Err(format!("the step {step:?} is not from 1 to {}", field.max)),
    }
}

fn check_value(field: &Field, value: &str) -> Result<(), String> {
    let upper = value.to_ascii_uppercase();
    let special = match field.is_day {
        IsDay::No => upper == "*",
        IsDay::OfMonth => matches!(&*upper, "*" | "?" | "L" | "LW"),
        IsDay::OfWeek => matches!(&*upper, "*" | "?"),
    };
    if special {
        return Ok(());
    }
    let plain = match field.is_day {
        IsDay::No => &*upper,
        IsDay::OfMonth => upper.strip_suffix('W').unwrap_or(&upper),
        IsDay::OfWeek => without_occurrence(&upper),
    };
    if field.names.contains(&plain) {
        return Ok(());
    }
    match number(plain) {
        Some(number) if (field.min..=field.max).contains(&number) => Ok(()),
        Some(number) => Err(format!("{number} is not from {} to {}", field.min, field.max)),
        None if value.is_empty() => Err("a value is missing".to_owned()),
        None => Err(format!("{value:?} is no value of it")),
    }
}

/// `FRI` of `FRIL`, `FRI#L` and `FRI#2`.
fn without_occurrence(value: &str) -> &str {
    if let Some((day, which)) = value.split_once('#')
        && matches!(which, "1" | "2" | "3" | "4" | "5" | "L")
    {
        return day;
    }
    value.strip_suffix('L').unwrap_or(value)
}

fn number(text: &str) -> Option<u16> {
    // `parse` would take a sign, too.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
