//! Recurring rules: when a task's next tick is due, in which time zone, and what the clock changes do to it.
//!
//! A [`Schedule`] is pure: it reads no clock and knows no broker. The same text gives the same
//! ticks in every process, so a tick's time can name the job that it makes.
//!
//! # Expressions
//!
//! | text | meaning |
//! |---|---|
//! | `30 2 * * *` | five fields: minute, hour, day of month, month, day of week |
//! | `15 30 2 * * *` | six fields: the same with the second first |
//! | `@yearly` `@monthly` `@weekly` `@daily` `@hourly` | at the start of each (weeks start on Sunday) |
//! | `@every 90s`, `@every 1h30m` | each so much real time: units `d` `h` `m` `s` `ms`, from 1 s to 366 d |
//! | `CRON_TZ=Europe/Berlin 30 2 * * *` | a rule that names its own time zone; `TZ=` is the same |
//!
//! A field is `*`, a value, a range `1-5`, a step `*/15` or `10-40/5`, or a list of these with
//! commas. Months and days of the week have names (`JAN`, `MON`), in any case of letters. The day
//! of month also takes `L` (the last), `15W` (the weekday next to the 15th), `LW` (the last
//! weekday) and `?`; the day of week `5L` (the last Friday), `5#2` (the second Friday), 7 for
//! Sunday and `?`. Where both days are given, either makes a match, as in Vixie cron; with a `+`
//! before the day of week, both must: `0 9 1-7 * +MON` is the first Monday.
//!
//! Fields are read on the wall clock of the schedule's time zone, UTC unless it names another.
//!
//! # When the clocks change
//!
//! In spring a part of the day never happens (the gap), in autumn a part happens twice (the fold).
//! What a rule does then follows from its shape. The times below are those of Europe/Warsaw, where
//! 02:00 to 03:00 is the gap and the fold.
//!
//! | rule | for example | in the gap | in the fold |
//! |---|---|---|---|
//! | times of day: hours and minutes are named | `30 2 * * *`, `0,30 2 * * *`, `0 */6 * * *` | what falls into it runs once, at its end: 03:00 | runs once, at the first occurrence |
//! | repeated in named hours: the minute or second has a `*` | `*/15 2 * * *` | what falls into it runs once, at its end: 03:00 | goes on in real time: both passes |
//! | repeated in every hour: the hour is `*` | `*/15 * * * *`, `@hourly` | goes on in real time: 01:45, 03:00, 03:15 | goes on in real time: both passes |
//! | `@every` | `@every 15m` | knows no wall clock: nothing changes | nothing changes |
//!
//! So a daily job runs once on every day, and a job of every quarter of an hour runs every quarter
//! of an hour. Three details:
//!
//! * Several times in one gap make one tick, and so does one that meets an ordinary tick at the
//!   gap's end: `0 2,3 * * *` runs once at 03:00 on that day.
//! * Where a zone shifts by half an hour (`Australia/Lord_Howe`), the hour of a change is half an hour
//!   shorter or longer, so the ticks of an hourly rule are 30 or 90 minutes apart there.
//! * A gap across midnight ends on the next day, and so moves a tick to that day.
//!
//! # Together with Python's arq
//!
//! A tick's job has arq's id, `<task>:<ms>`. So a Python worker's cron and a task's schedule enqueue
//! each tick once between them if the cron has the task's name, the same times in the same zone
//! (arq's is the machine's unless told, ours UTC), and whole seconds; arq's own default is a tick at
//! microsecond 123456: `cron(sweep, name="sweep", second=0, microsecond=0)` for `cron = "* * * * *"`.
//!
//! # `@every`
//!
//! `@every` counts from the Unix epoch, not from a worker's start: `@every 5m` ticks at :00, :05,
//! :10, in all workers alike; `@every 7d` on Thursdays at 00:00 UTC.

mod cron;
mod every;
mod fields;
#[cfg(test)]
mod tests;

use std::fmt;

use jiff::tz::TimeZone;

use self::cron::Cron;
use self::every::Every;
use crate::clock::Timestamp;

/// The most bytes that an expression may have.
const MAX_LENGTH: usize = 256;

/// The most characters that an error repeats of a text which is too long to be right.
const MAX_SHOWN: usize = 64;

/// The short names, each with what it stands for.
const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * SUN"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// A recurring rule, parsed and known to have ticks.
///
/// Displays as an expression that parses to the same schedule; a time zone other than UTC comes
/// first, as `CRON_TZ=`. See the [module](self) for the expressions and for what happens when the
/// clocks change.
///
/// Mirrors: arq's `cron`, which has sets of values in place of expressions, and the machine's zone.
///
/// ```
/// use sector7g_tasks::schedule::Schedule;
///
/// let nightly = Schedule::parse("30 2 * * MON-FRI", Some("Europe/Warsaw"))?;
/// assert_eq!(nightly.to_string(), "CRON_TZ=Europe/Warsaw 30 2 * * MON-FRI");
///
/// let error = Schedule::parse("0 25 * * *", None).unwrap_err();
/// assert!(error.to_string().contains(r#"hour "25": 25 is not from 0 to 23"#));
/// # Ok::<(), sector7g_tasks::schedule::ScheduleError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The expression without its time zone, with single spaces.
    text: String,
    rule: Rule,
}

#[derive(Clone, Debug)]
enum Rule {
    Every(Every),
    // Boxed: it is some kilobytes of bit sets.
    Cron(Box<Cron>),
}

impl Schedule {
    /// Parses `expression`, to be read in `timezone`, an IANA name such as `Europe/Berlin`.
    ///
    /// Without `timezone` the zone is the one that the expression itself names, else UTC.
    ///
    /// # Errors
    /// [`ScheduleError`]: the text is no schedule, or one without any tick (30 February); the zone
    /// is not known, or the expression names another one.
    pub fn parse(expression: &str, timezone: Option<&str>) -> Result<Self, ScheduleError> {
        Self::parse_with_default(expression, timezone, None)
    }

    /// Like [`Schedule::parse`], with `default` in place of UTC: the zone of a rule that names none.
    ///
    /// # Errors
    /// Those of [`Schedule::parse`]; `default` is never in conflict with the expression.
    pub fn parse_with_default(
        expression: &str,
        timezone: Option<&str>,
        default: Option<&str>,
    ) -> Result<Self, ScheduleError> {
        if expression.len() > MAX_LENGTH {
            return Err(ScheduleError::TooLong { start: shown(expression), length: expression.len() });
        }
        let (inside, body) = split_zone(expression.trim());
        let zone = choose_zone(expression, inside, timezone, default)?;
        let text = body.split_whitespace().collect::<Vec<_>>().join(" ");
        let rule = parse_rule(expression, &text, zone)?;
        Ok(Self { text, rule })
    }

    /// The first tick later than `after`.
    ///
    /// `None` only past the year 4999, where rules end.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.rule {
            Rule::Every(every) => every.next_after(after),
            Rule::Cron(cron) => cron.next_after(after),
        }
    }

    /// The ticks later than `after` and up to `until`, that one included, in order.
    ///
    /// No more than `limit`, the earliest; so ask again from the last one when there are as many.
    pub fn ticks_between(&self, after: Timestamp, until: Timestamp, limit: usize) -> Vec<Timestamp> {
        let ticks = std::iter::successors(self.next_after(after), |tick| self.next_after(*tick));
        ticks.take_while(|tick| *tick <= until).take(limit).collect()
    }

    /// The rule as it was written, without its time zone.
    pub fn expression(&self) -> &str {
        &self.text
    }

    /// The IANA name of the time zone whose wall clock the rule follows; `UTC` for `@every`.
    pub fn timezone(&self) -> &str {
        match &self.rule {
            Rule::Every(_) => "UTC",
            Rule::Cron(cron) => cron.timezone(),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.timezone() {
            "UTC" => f.write_str(&self.text),
            zone => write!(f, "CRON_TZ={zone} {}", self.text),
        }
    }
}

/// The zone that an expression names itself, and the rest of it.
fn split_zone(expression: &str) -> (Option<&str>, &str) {
    let named = expression.strip_prefix("CRON_TZ=").or_else(|| expression.strip_prefix("TZ="));
    match named {
        None => (None, expression),
        Some(rest) => {
            let (zone, body) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            (Some(zone), body)
        }
    }
}

fn choose_zone(
    expression: &str,
    inside: Option<&str>,
    given: Option<&str>,
    default: Option<&str>,
) -> Result<TimeZone, ScheduleError> {
    let find = |name: Option<&str>| name.map(|name| find_zone(expression, name)).transpose();
    match (find(inside)?, find(given)?) {
        (Some(inside), Some(given)) if inside.iana_name() != given.iana_name() => {
            Err(ScheduleError::TimeZoneConflict {
                expression: expression.to_owned(),
                inside: zone_name(&inside).to_owned(),
                given: zone_name(&given).to_owned(),
            })
        }
        (Some(zone), _) | (None, Some(zone)) => Ok(zone),
        (None, None) => Ok(find(default)?.unwrap_or(TimeZone::UTC)),
    }
}

fn find_zone(expression: &str, name: &str) -> Result<TimeZone, ScheduleError> {
    // `Etc/Unknown` is a name, but of no zone.
    TimeZone::get(name)
        .ok()
        .filter(|zone| !zone.is_unknown())
        .ok_or_else(|| ScheduleError::UnknownTimeZone { expression: expression.to_owned(), timezone: shown(name) })
}

fn zone_name(zone: &TimeZone) -> &str {
    zone.iana_name().unwrap_or("UTC") // zones come from `find_zone`, by name, or are UTC
}

fn parse_rule(expression: &str, text: &str, zone: TimeZone) -> Result<Rule, ScheduleError> {
    if let Some(span) = text.strip_prefix("@every") {
        let wrong = |reason| ScheduleError::Every { expression: expression.to_owned(), reason };
        return every::parse(span.trim_start()).map(Rule::Every).map_err(wrong);
    }
    let fields = NICKNAMES.iter().find(|(name, _)| *name == text).map_or(text, |(_, fields)| *fields);
    if fields.starts_with('@') {
        return Err(ScheduleError::UnknownName { expression: expression.to_owned() });
    }
    let pattern = fields::parse(expression, fields)?;
    let cron = Cron::new(pattern, zone).ok_or_else(|| ScheduleError::NoTicks { expression: expression.to_owned() })?;
    Ok(Rule::Cron(Box::new(cron)))
}

/// The start of a text of any length.
fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN).collect()
}

/// Why a text is no schedule. Each names the text and says what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// The text is longer than any schedule.
    #[error("the schedule that starts with {start:?} has {length} bytes; at most {MAX_LENGTH} are allowed")]
    TooLong {
        /// Its first characters.
        start: String,
        /// Its length, in bytes.
        length: usize,
    },
    /// There are not five or six fields.
    #[error(
        "the schedule {expression:?} has {found} field(s); allowed: five (minute, hour, day of month, month, day of week), \
         six (second first), {}, `@every 5m`",
        nicknames()
    )]
    FieldCount {
        /// The schedule.
        expression: String,
        /// How many there are.
        found: usize,
    },
    /// A field is wrong.
    #[error("the schedule {expression:?} has the {field} {text:?}: {reason}; allowed: {allowed}")]
    Field {
        /// The schedule.
        expression: String,
        /// The field's name, such as `hour`.
        field: &'static str,
        /// What it holds.
        text: String,
        /// What is wrong with it.
        reason: String,
        /// What it may hold.
        allowed: &'static str,
    },
    /// A word after `@` that means nothing.
    #[error("the schedule {expression:?} is no known name; allowed: {}, `@every 5m`", nicknames())]
    UnknownName {
        /// The schedule.
        expression: String,
    },
    /// The span of an `@every` is wrong.
    #[error("the schedule {expression:?} {reason}; allowed: 1s to 366d, as `90s`, `5m`, `1h30m`, `1d`")]
    Every {
        /// The schedule.
        expression: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No time zone has this name.
    #[error(
        "the schedule {expression:?} is to run in the unknown time zone {timezone:?}; \
         allowed: `UTC` or an IANA name such as `Europe/Berlin`"
    )]
    UnknownTimeZone {
        /// The schedule.
        expression: String,
        /// The name.
        timezone: String,
    },
    /// The expression names one time zone, and its user gave another.
    #[error("the schedule {expression:?} names the time zone {inside:?}, but {given:?} was given with it; keep one")]
    TimeZoneConflict {
        /// The schedule.
        expression: String,
        /// The zone in the expression.
        inside: String,
        /// The zone beside it.
        given: String,
    },
    /// No day ever matches.
    #[error("the schedule {expression:?} never runs: no day matches its day of month, month and day of week")]
    NoTicks {
        /// The schedule.
        expression: String,
    },
}

fn nicknames() -> String {
    NICKNAMES.map(|(name, _)| format!("`{name}`")).join(", ")
}
