//! A cron pattern on the wall clock of a time zone, laid onto real time.
//!
//! croner finds matches on a wall clock that never changes. Its own search through a time zone is
//! not used: it takes only a single time of day for fixed, so `0,30 2 * * *` loses a day in spring
//! and runs twice in autumn; it gives up on gaps over two hours, and drops a tick whose gap ends on
//! a day that the pattern does not name (tests.rs, `croner_alone`).

use croner::{CronPattern, Weekday};
use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{SignedDuration, Timestamp as Instant};

use super::zone_name;
use crate::clock::Timestamp;

/// More than any two offsets of a zone differ by.
const MAX_SHIFT: SignedDuration = SignedDuration::from_hours(48);

/// A pattern with its time zone.
#[derive(Clone, Debug)]
pub(super) struct Cron {
    pattern: croner::Cron,
    zone: TimeZone,
    /// Some hours only: what a gap swallows is made up for at its end.
    names_hours: bool,
    /// In minutes or seconds that are named: what a fold repeats is not repeated.
    runs_once: bool,
}

/// A time over which the zone keeps one offset.
struct Stretch {
    offset: Offset,
    /// The first instant with another offset, if there is one.
    end: Option<Instant>,
}

impl Cron {
    /// `None` when the pattern matches no day at all.
    pub(super) fn new(pattern: croner::Cron, zone: TimeZone) -> Option<Self> {
        let CronPattern { hours, minutes, seconds, .. } = &pattern.pattern;
        let names_hours = hours.values().len() < 24;
        let runs_once = names_hours && !minutes.from_wildcard && !seconds.from_wildcard;
        matches_some_day(&pattern.pattern).then_some(Self { pattern, zone, names_hours, runs_once })
    }

    pub(super) fn timezone(&self) -> &str {
        zone_name(&self.zone)
    }

    pub(super) fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let after = Instant::from_millisecond(after.as_millis()).ok()?;
        let tick = self.search(after)?;
        Some(Timestamp::from_millis(tick.as_millisecond()))
    }

    /// Goes from stretch to stretch; in each one, real time and wall clock run alike.
    fn search(&self, after: Instant) -> Option<Instant> {
        let (mut from, mut inclusive) = (after, false);
        loop {
            let stretch = self.stretch_at(from);
            let tick = self.first_in(&stretch, from, inclusive)?;
            let Some(end) = stretch.end.filter(|end| *end <= tick) else { return Some(tick) };
            if self.names_hours && self.is_swallowed_before(end, stretch.offset) {
                return Some(end);
            }
            // No match lies between `from` and `tick` on the wall clock, so a rule for 29 February
            // may skip its eight years of stretches; but not what a fold at `end` may show again.
            let repeats_nothing = end.duration_since(from) > MAX_SHIFT;
            from = if repeats_nothing { end.max(tick.checked_sub(MAX_SHIFT).ok()?) } else { end };
            inclusive = true;
        }
    }

    fn stretch_at(&self, instant: Instant) -> Stretch {
        let end = self.zone.following(instant).next().map(|transition| transition.timestamp());
        Stretch { offset: self.zone.to_offset(instant), end }
    }

    /// The first tick from `from` on, or a time past the stretch's end when it has none.
    fn first_in(&self, stretch: &Stretch, from: Instant, inclusive: bool) -> Option<Instant> {
        let mut wall = self.first_match(stretch.offset.to_datetime(from), inclusive)?;
        loop {
            let tick = stretch.offset.to_timestamp(wall).ok()?;
            let is_past = stretch.end.is_some_and(|end| end <= tick);
            if is_past || !self.runs_once || !self.is_second_pass(wall, stretch.offset) {
                return Some(tick);
            }
            wall = self.first_match(wall, false)?;
        }
    }

    /// The first match on the wall clock; an `inclusive` search may find `from` itself.
    fn first_match(&self, from: DateTime, inclusive: bool) -> Option<DateTime> {
        self.pattern.find_next_occurrence(&from, inclusive).ok()
    }

    /// Whether a fold shows `wall` twice, and the time under `offset` is the later one.
    fn is_second_pass(&self, wall: DateTime, offset: Offset) -> bool {
        let ambiguous = self.zone.to_ambiguous_timestamp(wall).offset();
        matches!(ambiguous, AmbiguousOffset::Fold { after, .. } if after == offset)
    }

    /// Whether the clock, going forward at `end` from the offset `before`, leaves out a match.
    fn is_swallowed_before(&self, end: Instant, before: Offset) -> bool {
        let resumes = self.zone.to_offset(end).to_datetime(end);
        self.first_match(before.to_datetime(end), true).is_some_and(|swallowed| swallowed < resumes)
    }
}

/// Looks at the 400 years after which the calendar repeats, weekdays included.
fn matches_some_day(pattern: &CronPattern) -> bool {
    let months: Vec<i8> = pattern.months.values().into_iter().filter_map(|month| month.try_into().ok()).collect();
    (2000..2400).any(|year| {
        months.iter().any(|month| {
            let mut days = (1..=31).filter_map(|day| Date::new(year, *month, day).ok());
            days.any(|date| matches_day(pattern, date))
        })
    })
}

fn matches_day(pattern: &CronPattern, date: Date) -> bool {
    let weekday = Weekday::from_days_from_sunday(date.weekday().to_sunday_zero_offset().unsigned_abs().into());
    let (month, day) = (date.month().unsigned_abs().into(), date.day().unsigned_abs().into());
    pattern.day_match(date.year().into(), month, day, weekday).unwrap_or(false)
}
