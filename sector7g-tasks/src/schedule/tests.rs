use std::collections::HashSet;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp as Instant, ToSpan, Zoned};
use proptest::prelude::*;

use super::{Schedule, ScheduleError};
use crate::clock::Timestamp;

fn millis(instant: Instant) -> Timestamp {
    Timestamp::from_millis(instant.as_millisecond())
}

fn instant(tick: Timestamp) -> Instant {
    Instant::from_millisecond(tick.as_millis()).unwrap()
}

/// The ticks of `rule` from `from` to `until`, both included, on the wall clock of `zone`.
fn check(zone: &str, (from, until): (&str, &str), rule: &str, expected: &str) {
    let schedule = Schedule::parse(rule, Some(zone)).unwrap();
    let zone = TimeZone::get(zone).unwrap();
    let at = |wall: &str| millis(wall.parse::<DateTime>().unwrap().to_zoned(zone.clone()).unwrap().timestamp());
    let before = Timestamp::from_millis(at(from).as_millis() - 1);
    let ticks = schedule.ticks_between(before, at(until), 1_000);
    let shown = ticks.into_iter().map(|tick| instant(tick).to_zoned(zone.clone()).strftime("%H:%M %Z").to_string());
    assert_eq!(shown.collect::<Vec<_>>().join(", "), expected, "{rule} from {from}");
}

// The tables of the module's documentation, and the rules at their edges. On each day the clock
// goes from 02:00 to 03:00 or back, but for New York in autumn, where it goes from 02:00 to 01:00.

#[test]
fn spring_in_warsaw() {
    let night = ("2025-03-30T00:00", "2025-03-30T04:00");
    for (rule, expected) in [
        ("0 0 * * *", "00:00 CET"),
        ("45 1 * * *", "01:45 CET"),
        ("0 2 * * *", "03:00 CEST"),
        ("30 2 * * *", "03:00 CEST"),
        ("59 59 2 * * *", "03:00 CEST"),
        ("0 3 * * *", "03:00 CEST"),
        ("0,30 2 * * *", "03:00 CEST"),
        ("0 2,3 * * *", "03:00 CEST"),
        ("30 2,3 * * *", "03:00 CEST, 03:30 CEST"),
        ("0 */2 * * *", "00:00 CET, 03:00 CEST, 04:00 CEST"),
        ("*/15 2 * * *", "03:00 CEST"),
        ("*/30 1-3 * * *", "01:00 CET, 01:30 CET, 03:00 CEST, 03:30 CEST"),
        ("30 2 30 3 *", "03:00 CEST"),
        ("30 2 * * SUN", "03:00 CEST"),
        ("30 2 * * MON", ""),
        ("@hourly", "00:00 CET, 01:00 CET, 03:00 CEST, 04:00 CEST"),
        ("30 * * * *", "00:30 CET, 01:30 CET, 03:30 CEST"),
        ("30 0-23 * * *", "00:30 CET, 01:30 CET, 03:30 CEST"),
        ("*/30 * * * *", "00:00 CET, 00:30 CET, 01:00 CET, 01:30 CET, 03:00 CEST, 03:30 CEST, 04:00 CEST"),
        ("@every 1h", "00:00 CET, 01:00 CET, 03:00 CEST, 04:00 CEST"),
    ] {
        check("Europe/Warsaw", night, rule, expected);
    }
}

#[test]
fn autumn_in_warsaw() {
    let night = ("2025-10-26T01:00", "2025-10-26T03:00");
    for (rule, expected) in [
        ("45 1 * * *", "01:45 CEST"),
        ("0 2 * * *", "02:00 CEST"),
        ("30 2 * * *", "02:30 CEST"),
        ("59 59 2 * * *", "02:59 CEST"),
        ("0 3 * * *", "03:00 CET"),
        ("0,30 2 * * *", "02:00 CEST, 02:30 CEST"),
        ("30 2,14 * * *", "02:30 CEST"),
        ("0 */2 * * *", "02:00 CEST"),
        ("*/30 2 * * *", "02:00 CEST, 02:30 CEST, 02:00 CET, 02:30 CET"),
        ("*/30 30 2 * * *", "02:30 CEST, 02:30 CEST, 02:30 CET, 02:30 CET"),
        ("@hourly", "01:00 CEST, 02:00 CEST, 02:00 CET, 03:00 CET"),
        ("30 * * * *", "01:30 CEST, 02:30 CEST, 02:30 CET"),
        ("@every 1h", "01:00 CEST, 02:00 CEST, 02:00 CET, 03:00 CET"),
    ] {
        check("Europe/Warsaw", night, rule, expected);
    }
}

#[test]
fn spring_in_new_york() {
    let night = ("2025-03-09T01:00", "2025-03-09T04:00");
    for (rule, expected) in [
        ("30 2 * * *", "03:00 EDT"),
        ("0,30 2 * * *", "03:00 EDT"),
        ("0 1-4 * * *", "01:00 EST, 03:00 EDT, 04:00 EDT"),
        ("*/20 2 * * *", "03:00 EDT"),
        ("30 * * * *", "01:30 EST, 03:30 EDT"),
    ] {
        check("America/New_York", night, rule, expected);
    }
}

#[test]
fn autumn_in_new_york() {
    let night = ("2025-11-02T00:00", "2025-11-02T02:00");
    for (rule, expected) in [
        ("0 0 * * *", "00:00 EDT"),
        ("30 1 * * *", "01:30 EDT"),
        ("30 1,13 * * *", "01:30 EDT"),
        ("0 2 * * *", "02:00 EST"),
        ("*/30 1 * * *", "01:00 EDT, 01:30 EDT, 01:00 EST, 01:30 EST"),
        ("@hourly", "00:00 EDT, 01:00 EDT, 01:00 EST, 02:00 EST"),
    ] {
        check("America/New_York", night, rule, expected);
    }
}

#[test]
fn half_an_hour_in_lord_howe() {
    let spring = ("2025-10-05T01:00", "2025-10-05T03:30"); // 02:00 becomes 02:30
    for (rule, expected) in [
        ("0 2 * * *", "02:30 +11"),
        ("15 2 * * *", "02:30 +11"),
        ("30 2 * * *", "02:30 +11"),
        ("45 2 * * *", "02:45 +11"),
        ("*/15 2 * * *", "02:30 +11, 02:45 +11"),
        ("@hourly", "01:00 +1030, 03:00 +11"),
        ("15 * * * *", "01:15 +1030, 03:15 +11"),
        ("45 * * * *", "01:45 +1030, 02:45 +11"),
        ("*/30 * * * *", "01:00 +1030, 01:30 +1030, 02:30 +11, 03:00 +11, 03:30 +11"),
    ] {
        check("Australia/Lord_Howe", spring, rule, expected);
    }
    let autumn = ("2025-04-06T01:00", "2025-04-06T03:00"); // 02:00 becomes 01:30
    for (rule, expected) in [
        ("15 1 * * *", "01:15 +11"),
        ("45 1 * * *", "01:45 +11"),
        ("0 2 * * *", "02:00 +1030"),
        ("0,30,45 1 * * *", "01:00 +11, 01:30 +11, 01:45 +11"),
        ("*/15 1 * * *", "01:00 +11, 01:15 +11, 01:30 +11, 01:45 +11, 01:30 +1030, 01:45 +1030"),
        ("@hourly", "01:00 +11, 02:00 +1030, 03:00 +1030"),
        ("45 * * * *", "01:45 +11, 01:45 +1030, 02:45 +1030"),
    ] {
        check("Australia/Lord_Howe", autumn, rule, expected);
    }
}

#[test]
fn unusual_changes() {
    for (zone, window, rule, expected) in [
        // At midnight, as in Cuba: 00:00 becomes 01:00, and 01:00 becomes 00:00.
        ("America/Havana", ("2025-03-08T23:00", "2025-03-09T02:00"), "@daily", "01:00 CDT"),
        ("America/Havana", ("2025-11-02T00:00", "2025-11-02T02:00"), "@daily", "00:00 CDT"),
        ("America/Havana", ("2025-11-02T00:00", "2025-11-02T02:00"), "0 */6 * * *", "00:00 CDT"),
        // Before midnight: the last hour of the last day of October twice.
        ("Africa/Cairo", ("2030-10-31T22:00", "2030-11-01T02:00"), "0 * L * *", "22:00 EEST, 23:00 EEST, 23:00 EET"),
        ("Africa/Cairo", ("2030-10-31T22:00", "2030-11-01T02:00"), "0 23 L * *", "23:00 EEST"),
        // Up to midnight: Saturday 23:00 becomes Sunday 00:00, which no rule for Saturdays matches.
        ("America/Nuuk", ("2025-03-29T22:00", "2025-03-30T02:00"), "30 23 * * SAT", "00:00 -01"),
        // Three hours: 00:01 becomes 03:01, on an Antarctic base.
        ("Antarctica/Casey", ("2020-10-04T00:00", "2020-10-04T04:00"), "30 0,1 * * *", "03:01 +11"),
        // A day: Samoa crossed the date line, and had no 30 December 2011.
        ("Pacific/Apia", ("2011-12-29T12:00", "2011-12-31T12:00"), "30 10 * * *", "00:00 +14, 10:30 +14"),
    ] {
        check(zone, window, rule, expected);
    }
}

/// Why the search through a time zone is ours: were these mended in croner, it could be croner's.
#[test]
fn croner_alone() {
    let ticks = |rule: &str, zone: &str, date: Date| {
        let start = date.at(0, 0, 0, 0).to_zoned(TimeZone::get(zone).unwrap()).unwrap();
        let ticks = rule.parse::<croner::Cron>().unwrap().iter_after(start).take_while(|tick| tick.date() == date);
        ticks.map(|tick: Zoned| tick.strftime("%H:%M %Z").to_string()).collect::<Vec<_>>().join(", ")
    };
    let (spring, autumn) = (jiff::civil::date(2025, 3, 30), jiff::civil::date(2025, 10, 26));
    assert_eq!(ticks("30 2 * * *", "Europe/Warsaw", spring), "03:00 CEST");
    assert_eq!(ticks("30 2 * * *", "Europe/Warsaw", autumn), "02:30 CEST");
    // FIXME upstream: a day is skipped, a time runs twice, a gap of a day ends the schedule.
    assert_eq!(ticks("0,30 2 * * *", "Europe/Warsaw", spring), "");
    assert_eq!(ticks("30 2,14 * * *", "Europe/Warsaw", autumn), "02:30 CEST, 02:30 CET, 14:30 CET");
    let samoa = jiff::civil::date(2011, 12, 29).at(12, 0, 0, 0).to_zoned(TimeZone::get("Pacific/Apia").unwrap());
    assert!("30 10 * * *".parse::<croner::Cron>().unwrap().find_next_occurrence(&samoa.unwrap(), false).is_err());
}

#[test]
fn expressions_mean_what_they_say() {
    // Each from Wednesday, 2025-01-01T00:00:00Z.
    for (rule, expected) in [
        ("* * * * *", "2025-01-01T00:01:00Z"),
        ("* * * * * *", "2025-01-01T00:00:01Z"),
        ("15 30 2 * * *", "2025-01-01T02:30:15Z"),
        ("  0   9\t*  * MON-FRI ", "2025-01-01T09:00:00Z"),
        ("0 9 * * mon", "2025-01-06T09:00:00Z"),
        ("0 9 * * 7", "2025-01-05T09:00:00Z"),
        ("0 9 * * SAT-SUN", "2025-01-04T09:00:00Z"),
        ("0 9 ? * 5L", "2025-01-31T09:00:00Z"),
        ("0 9 ? * FRI#2", "2025-01-10T09:00:00Z"),
        ("0 9 L * *", "2025-01-31T09:00:00Z"),
        ("0 9 L FEB ?", "2025-02-28T09:00:00Z"),
        ("0 9 15W 2 *", "2025-02-14T09:00:00Z"),
        ("0 9 LW may *", "2025-05-30T09:00:00Z"),
        ("0 9 13 * FRI", "2025-01-03T09:00:00Z"),
        ("0 9 13 * +FRI", "2025-06-13T09:00:00Z"),
        ("0 9 1-7 2 +MON", "2025-02-03T09:00:00Z"),
        ("10-40/15 5 * * *", "2025-01-01T05:10:00Z"),
        ("0 0 29 2 *", "2028-02-29T00:00:00Z"),
        ("0 0 29 2 +SUN", "2032-02-29T00:00:00Z"),
        ("@yearly", "2026-01-01T00:00:00Z"),
        ("@annually", "2026-01-01T00:00:00Z"),
        ("@monthly", "2025-02-01T00:00:00Z"),
        ("@weekly", "2025-01-05T00:00:00Z"),
        ("@daily", "2025-01-02T00:00:00Z"),
        ("@midnight", "2025-01-02T00:00:00Z"),
        ("@hourly", "2025-01-01T01:00:00Z"),
        ("@every 1s", "2025-01-01T00:00:01Z"),
        ("@every 1500ms", "2025-01-01T00:00:01.5Z"),
        ("@every 90s", "2025-01-01T00:01:30Z"),
        ("@every 5m", "2025-01-01T00:05:00Z"),
        ("@every  1h30m", "2025-01-01T01:30:00Z"),
        ("@every 1d", "2025-01-02T00:00:00Z"),
        ("@every 7d", "2025-01-02T00:00:00Z"), // a Thursday, as was 1970-01-01
        ("@every 1d2h3m4s5ms", "2025-01-01T17:59:24.54Z"),
        ("CRON_TZ=Europe/Berlin 30 2 * * *", "2025-01-01T01:30:00Z"),
        ("TZ=asia/kolkata @daily", "2025-01-01T18:30:00Z"),
        ("CRON_TZ=UTC @every 5m", "2025-01-01T00:05:00Z"),
    ] {
        let start = "2025-01-01T00:00:00Z".parse().unwrap();
        let next = Schedule::parse(rule, None).unwrap().next_after(millis(start)).unwrap();
        assert_eq!(instant(next).to_string(), expected, "{rule}");
    }
}

#[test]
fn ticks_are_strictly_later() {
    for (rule, after, expected) in [
        ("30 2 * * *", "2025-01-01T02:29:59.999Z", "2025-01-01T02:30:00Z"),
        ("30 2 * * *", "2025-01-01T02:30:00Z", "2025-01-02T02:30:00Z"),
        ("30 2 * * *", "2025-01-01T02:30:00.001Z", "2025-01-02T02:30:00Z"),
        ("* * * * * *", "1969-12-31T23:59:58.500Z", "1969-12-31T23:59:59Z"),
        ("@every 5m", "2025-01-01T00:04:59.999Z", "2025-01-01T00:05:00Z"),
        ("@every 5m", "2025-01-01T00:05:00Z", "2025-01-01T00:10:00Z"),
        ("@every 5m", "1969-12-31T23:57:00Z", "1970-01-01T00:00:00Z"),
        ("0 0 29 2 *", "2096-02-29T00:00:00Z", "2104-02-29T00:00:00Z"),
        ("0 0 29 2 +MON", "2096-03-01T00:00:00Z", "2112-02-29T00:00:00Z"),
        ("CRON_TZ=Europe/Warsaw 30 2 29 2 *", "2096-02-29T02:00:00Z", "2104-02-29T01:30:00Z"),
        // From within a fold, and from the end of a gap.
        ("CRON_TZ=Europe/Warsaw 30 2 * * *", "2025-10-26T01:10:00Z", "2025-10-27T01:30:00Z"),
        ("CRON_TZ=Europe/Warsaw 30 2 * * *", "2025-03-30T01:00:00Z", "2025-03-31T00:30:00Z"),
        // From winter to a time that autumn has twice.
        ("CRON_TZ=Europe/Warsaw 30 2 26 10 *", "2025-01-01T00:00:00Z", "2025-10-26T00:30:00Z"),
        ("CRON_TZ=Europe/Warsaw */30 2 * * *", "2025-10-26T00:45:00Z", "2025-10-26T01:00:00Z"),
    ] {
        let next = Schedule::parse(rule, None).unwrap().next_after(millis(after.parse().unwrap())).unwrap();
        assert_eq!(instant(next).to_string(), expected, "{rule} after {after}");
    }
}

#[test]
fn the_end_of_time_has_no_ticks_and_no_panic() {
    for rule in ["* * * * * *", "@yearly", "0 0 29 2 *", "CRON_TZ=Europe/Warsaw 30 2 * * *", "@every 1s"] {
        let schedule = Schedule::parse(rule, None).unwrap();
        assert_eq!(schedule.next_after(Timestamp::from_millis(i64::MAX)), None, "{rule}");
        assert_eq!(schedule.ticks_between(Timestamp::from_millis(i64::MAX), Timestamp::from_millis(i64::MAX), 9), []);
        let _ = schedule.next_after(Timestamp::from_millis(i64::MIN));
    }
    let last = "5000-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(Schedule::parse("@yearly", None).unwrap().next_after(millis(last)), None);
}

#[test]
fn ticks_between_is_bounded_and_takes_the_end_in() {
    let schedule = Schedule::parse("@every 1s", None).unwrap();
    let ticks = |after, until, limit| {
        let ticks = schedule.ticks_between(Timestamp::from_millis(after), Timestamp::from_millis(until), limit);
        ticks.into_iter().map(Timestamp::as_millis).collect::<Vec<_>>()
    };
    assert_eq!(ticks(1_000, 3_000, 10), [2_000, 3_000]);
    assert_eq!(ticks(999, 2_999, 10), [1_000, 2_000]);
    assert_eq!(ticks(0, i64::MAX, 3), [1_000, 2_000, 3_000]);
    assert_eq!(ticks(0, i64::MAX, 0), Vec::<i64>::new());
    assert_eq!(ticks(5_000, 4_000, 10), Vec::<i64>::new());
}

fn check_error(expression: &str, timezone: Option<&str>, expected: &str) {
    let error = Schedule::parse(expression, timezone).unwrap_err().to_string();
    assert!(error.contains(expected), "{expression:?}:\n  {error}\nlacks\n  {expected}");
    assert!(error.contains("allowed") || error.contains("never runs") || error.contains("keep one"), "{error}");
}

#[test]
fn errors_name_the_field_and_what_is_allowed() {
    let second_minute = "allowed: 0-59, `*`, ranges `1-5`, steps `*/15` and `10-40/5`, lists `0,30`";
    for (expression, expected) in [
        ("61 * * * *", r#"schedule "61 * * * *" has the minute "61": 61 is not from 0 to 59"#),
        ("61 * * * *", second_minute),
        ("60 * * * * *", r#"the second "60": 60 is not from 0 to 59"#),
        ("* 24 * * *", r#"the hour "24": 24 is not from 0 to 23; allowed: 0-23"#),
        ("* * 0 * *", r#"the day of month "0": 0 is not from 1 to 31"#),
        ("* * 32W * *", r#"the day of month "32W": 32 is not from 1 to 31"#),
        ("* * * 13 *", r#"the month "13": 13 is not from 1 to 12; allowed: 1-12, JAN-DEC"#),
        ("* * * JANUARY *", r#"the month "JANUARY": "JANUARY" is no value of it"#),
        ("* * * * 8", r#"the day of week "8": 8 is not from 0 to 7"#),
        ("* * * * FRI#6", r#"the day of week "FRI#6": "FRI#6" is no value of it"#),
        ("* * * * L", r#"the day of week "L": "L" is no value of it"#),
        ("MON * * * *", r#"the minute "MON": "MON" is no value of it"#),
        ("0 0 1JAN * *", r#"the day of month "1JAN""#),
        ("0 0 * MON *", r#"the month "MON": "MON" is no value of it"#),
        ("1,,2 * * * *", r#"the minute "1,,2": a value is missing"#),
        ("+1 * * * *", r#"the minute "+1": "+1" is no value of it"#),
        ("1- * * * *", r#"the minute "1-": a value is missing"#),
        ("-1 * * * *", r#"the minute "-1": a value is missing"#),
        ("1-2-3 * * * *", r#"the minute "1-2-3": invalid range syntax"#),
        ("* 17-9 * * *", r#"the hour "17-9": range out of bounds"#),
        ("* * * * FRI-MON", r#"the day of week "FRI-MON": range out of bounds"#),
        ("0/5 * * * *", r#"the minute "0/5": invalid step syntax: single number steps like "0/5" are not allowed"#),
        ("*/0 * * * *", r#"the minute "*/0": the step "0" is not from 1 to 59"#),
        ("*/90 * * * *", r#"the minute "*/90": the step "90" is not from 1 to 59"#),
        ("*/ * * * *", r#"the minute "*/": the step "" is not from 1 to 59"#),
        ("*/5/5 * * * *", r#"the minute "*/5/5": the step "5/5""#),
        ("99999999999999999999 * * * *", r#"the minute "99999999999999999999": "99999999999999999999" is no value"#),
        ("* * * * ŚRO", r#"the day of week "ŚRO": "ŚRO" is no value of it"#),
        ("* * * * fr\u{131}", "is no value of it"), // upper case: FRI
        ("", r#"the schedule "" has 0 field(s); allowed: five (minute, hour, day of month, month, day of week)"#),
        ("* * * *", "has 4 field(s)"),
        (
            "0 0 0 1 1 * 2030",
            "has 7 field(s); allowed: five (minute, hour, day of month, month, day of week), six (second first)",
        ),
        ("@reboot", r#"the schedule "@reboot" is no known name; allowed: `@yearly`, `@annually`, `@monthly`"#),
        ("@daily 5", "is no known name"),
        ("\u{7}\u{1b}[2J", r"\u{1b}"),
    ] {
        check_error(expression, None, expected);
    }
}

#[test]
fn errors_of_every_show_its_spans() {
    for (expression, expected) in [
        ("@every", r#"the schedule "@every" has no span; allowed: 1s to 366d, as `90s`, `5m`, `1h30m`, `1d`"#),
        ("@every 5", r#"the span "5", not whole numbers of d, h, m, s, ms in this order"#),
        ("@every m", r#"the span "m" with the amount """#),
        ("@every 1.5h", r#"the span "1.5h", not whole"#),
        ("@every -5m", r#"the span "-5m", not whole"#),
        ("@every 30m1h", "in this order"),
        ("@every 5m5m", "in this order"),
        ("@every 5 m", "not whole numbers"),
        ("@every 1w", "not whole numbers"),
        ("@every 0s", r#"the span "0s" of 0 ms"#),
        ("@every 999ms", r#"the span "999ms" of 999 ms"#),
        ("@every 367d", "the span \"367d\" of 31708800000 ms"),
        ("@every 99999999999999999999s", "with the amount"),
        ("@every 9223372036854775807d", "with the amount"),
        ("@every 106751991167d9223372036854775807ms", "with the amount"),
        ("@everyday", "not whole numbers"),
    ] {
        check_error(expression, None, expected);
    }
}

#[test]
fn errors_of_time_zones() {
    for (expression, timezone, expected) in [
        (
            "* * * * *",
            Some("Mars/Olympus"),
            r#"schedule "* * * * *" is to run in the unknown time zone "Mars/Olympus""#,
        ),
        ("* * * * *", Some(""), r#"time zone """#),
        ("* * * * *", Some("Etc/Unknown"), r#"time zone "Etc/Unknown""#),
        ("* * * * *", Some("../../etc/passwd"), "unknown time zone"),
        ("* * * * *", Some("/etc/localtime"), "unknown time zone"),
        ("@every 5m", Some("Nowhere"), "unknown time zone"),
        ("CRON_TZ=Nowhere * * * * *", None, r#"unknown time zone "Nowhere"; allowed: `UTC` or an IANA name"#),
        ("TZ= * * * * *", None, r#"time zone """#),
        ("CRON_TZ=UTC", None, "has 0 field(s)"),
        (
            "CRON_TZ=Europe/Berlin * * * * *",
            Some("Europe/Warsaw"),
            r#"names the time zone "Europe/Berlin", but "Europe/Warsaw" was given with it; keep one"#,
        ),
        ("TZ=UTC * * * * *", Some("Europe/Warsaw"), r#"names the time zone "UTC""#),
    ] {
        check_error(expression, timezone, expected);
    }
    assert!(Schedule::parse("TZ=Europe/Berlin * * * * *", Some("europe/berlin")).is_ok());
}

#[test]
fn a_default_zone_yields_to_every_other() {
    let zone = |expression, timezone, default| {
        Schedule::parse_with_default(expression, timezone, default).map(|schedule| schedule.timezone().to_owned())
    };
    assert_eq!(zone("@daily", None, None).unwrap(), "UTC");
    assert_eq!(zone("@daily", None, Some("asia/tokyo")).unwrap(), "Asia/Tokyo");
    assert_eq!(zone("@daily", Some("Asia/Tokyo"), Some("Europe/Rome")).unwrap(), "Asia/Tokyo");
    assert_eq!(zone("TZ=Asia/Tokyo @daily", None, Some("Europe/Rome")).unwrap(), "Asia/Tokyo");
    assert_eq!(zone("@every 5m", None, Some("Europe/Rome")).unwrap(), "UTC");
    assert!(matches!(zone("@daily", None, Some("Nowhere")), Err(ScheduleError::UnknownTimeZone { .. })));
}

#[test]
fn schedules_that_never_run_are_refused() {
    for expression in
        ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "0 0 1-7 * +MON#2", "* * * 30 2 +MON", "TZ=Europe/Warsaw 0 0 30 2 *"]
    {
        check_error(expression, None, "never runs: no day matches its day of month, month and day of week");
    }
}

#[test]
fn huge_input_is_refused_at_once() {
    for unit in ["*", "1,", "* ", "@every ", "1m", "CRON_TZ=", "\u{10ffff}", "\0"] {
        check_error(&unit.repeat(1 << 20), None, "bytes; at most 256 are allowed");
    }
    check_error("* * * * *", Some(&"A".repeat(1 << 20)), "unknown time zone");
    let longest = format!("{} 0 * * *", "0".repeat(247));
    assert_eq!(longest.len(), 256 - 1);
    assert!(matches!(Schedule::parse(&longest, None), Err(ScheduleError::Field { .. }) | Ok(_)));
}

#[test]
fn displays_as_an_expression_that_parses_to_the_same() {
    for (expression, timezone, expected) in [
        (" 30  2 * * mon ", None, "30 2 * * mon"),
        ("30 2 * * *", Some("europe/warsaw"), "CRON_TZ=Europe/Warsaw 30 2 * * *"),
        ("TZ=Europe/Warsaw @daily", None, "CRON_TZ=Europe/Warsaw @daily"),
        ("TZ=UTC @daily", None, "@daily"),
        ("@every  1h30m", Some("Europe/Warsaw"), "@every 1h30m"),
    ] {
        let shown = Schedule::parse(expression, timezone).unwrap().to_string();
        assert_eq!(shown, expected);
        assert_eq!(Schedule::parse(&shown, None).unwrap().to_string(), expected);
    }
}

const ZONES: [&str; 10] = [
    "UTC",
    "Europe/Warsaw",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "Africa/Cairo",
    "America/Santiago",
    "America/Nuuk",
    "Antarctica/Troll",
    "Pacific/Apia",
];

fn fields() -> impl Strategy<Value = String> {
    let minute = prop_oneof!["[1-5]?[0-9]", "[0-9],[1-5][0-9]", "[1-2][0-9]-5[0-9]/7", r"\*/([1-9]|[1-5][0-9])", r"\*"];
    let hour = prop_oneof!["[0-9]|1[0-9]|2[0-3]", "[0-4],[5-9],23", "[0-2]-[3-9]", r"\*/[1-6]", r"\*"];
    let day = prop_oneof![4 => r"\*", 1 => "[1-9]|1[0-9]|2[0-9]|3[01]|L|LW|1[0-9]W"];
    let month = prop_oneof![8 => r"\*", 1 => "[1-9]|10|11|12|MAR|oct"];
    let weekday = prop_oneof![4 => r"\*", 1 => "SUN|SAT-SUN|[0-7]|[0-6]L|[0-6]#[1-4]"];
    (minute, hour, day, month, weekday)
        .prop_map(|(minute, hour, day, month, weekday)| format!("{minute} {hour} {day} {month} {weekday}"))
}

/// A moment up to a day and a half before a change of the zone's offset, where it has any.
fn near_a_change() -> impl Strategy<Value = (TimeZone, Instant)> {
    let before = prop_oneof![0..7_200_i64, 0..129_600_i64];
    (prop::sample::select(&ZONES), 631_152_000..2_208_988_800_i64, before).prop_map(|(zone, from, before)| {
        let zone = TimeZone::get(zone).unwrap();
        let from = Instant::from_second(from).unwrap();
        let change = zone.following(from).next().map_or(from, |transition| transition.timestamp());
        (zone, change - SignedDuration::from_secs(before))
    })
}

/// All ticks of a rule with five fields in the three days from `start`, minute by minute.
fn by_brute_force(rule: &str, zone: &TimeZone, start: Instant) -> Vec<Instant> {
    let cron: croner::Cron = rule.parse().unwrap();
    let matches = |wall: DateTime| cron.is_time_matching(&wall).unwrap();
    let [minutes, hours] = [0, 1].map(|field| rule.split(' ').nth(field).unwrap());
    let names_hours = hours != "*" && hours != "*/1";
    let once = names_hours && !minutes.contains('*');
    let (mut ticks, mut seen) = (Vec::new(), HashSet::new());
    // From three days before, to know what a fold repeats.
    let first = Instant::from_second(start.as_second().div_euclid(60) * 60).unwrap() - SignedDuration::from_hours(72);
    let mut expected = zone.to_datetime(first);
    for minute in (0..6 * 24 * 60).map(|minutes| first + SignedDuration::from_mins(minutes)) {
        let wall = zone.to_datetime(minute);
        let gap = expected.duration_until(wall).as_mins();
        let mut swallowed = (0..gap).map(|minutes| expected + SignedDuration::from_mins(minutes));
        let made_up = names_hours && swallowed.any(matches);
        let new = seen.insert(wall) || !once;
        if made_up || (matches(wall) && new) {
            ticks.push(minute);
        }
        expected = wall + 1.minute();
    }
    ticks.retain(|tick| *tick > start);
    ticks
}

proptest! {
    #![proptest_config(crate::cases::cases(128))]

    #[test]
    fn agrees_with_brute_force_around_changes(rule in fields(), (zone, start) in near_a_change()) {
        let schedule = match Schedule::parse(&rule, zone.iana_name()) {
            Ok(schedule) => schedule,
            Err(error) => return Err(TestCaseError::reject(error.to_string())),
        };
        let expected = by_brute_force(&rule, &zone, start);
        let end = start + SignedDuration::from_hours(71);
        let ticks: Vec<_> = schedule.ticks_between(millis(start), millis(end), 10_000).into_iter().map(instant).collect();
        let expected: Vec<_> = expected.into_iter().filter(|tick| *tick <= end).collect();
        prop_assert_eq!(ticks, expected, "{} after {} in {:?}", rule, start, zone.iana_name());
    }

    #[test]
    fn a_daily_rule_runs_once_on_every_day(
        // Not those whose gap ends on the next day.
        zone in prop::sample::select(&ZONES[..7]), year in 1995..2037_i16, (h, m, s) in (0..24, 0..60, 0..60),
    ) {
        let schedule = Schedule::parse(&format!("{s} {m} {h} * * *"), Some(zone)).unwrap();
        let zone = TimeZone::get(zone).unwrap();
        let first = Date::new(year, 1, 1).unwrap();
        let start = millis(first.to_zoned(zone.clone()).unwrap().timestamp() - SignedDuration::from_secs(1));
        let days = i32::from(first.days_in_year());
        let ticks = schedule.ticks_between(start, start + std::time::Duration::from_hours(400 * 24), days.unsigned_abs() as usize);
        let dates: Vec<_> = ticks.into_iter().map(|tick| instant(tick).to_zoned(zone.clone()).date()).collect();
        prop_assert_eq!(dates, (0..days).map(|day| first + day.days()).collect::<Vec<_>>());
    }

    #[test]
    fn ticks_do_not_depend_on_where_one_starts(rule in fields(), (zone, start) in near_a_change(), later_s in 0..200_000_i64) {
        let Ok(schedule) = Schedule::parse(&rule, zone.iana_name()) else { return Ok(()) };
        let (start, middle) = (millis(start), millis(start + SignedDuration::from_secs(later_s)));
        let end = start + std::time::Duration::from_hours(72);
        let whole = schedule.ticks_between(start, end, 10_000);
        prop_assert!(whole.windows(2).all(|pair| pair[0] < pair[1]), "out of order: {:?}", whole);
        prop_assert!(whole.iter().all(|tick| *tick > start));
        let parts = [schedule.ticks_between(start, middle, 10_000), schedule.ticks_between(middle, end, 10_000)].concat();
        prop_assert_eq!(whole, parts);
    }

    #[test]
    fn next_after_grows(rule in fields(), zone in prop::sample::select(&ZONES), after in any::<i64>()) {
        let Ok(schedule) = Schedule::parse(&rule, Some(zone)) else { return Ok(()) };
        for after in [after, after % 32_503_680_000_000] {
            let after = Timestamp::from_millis(after);
            prop_assert!(schedule.next_after(after).is_none_or(|tick| tick > after));
        }
    }

    #[test]
    fn every_ticks_at_multiples(period_s in 1..1_000_000_i64, after in any::<i64>()) {
        let schedule = Schedule::parse(&format!("@every {period_s}s"), None).unwrap();
        if let Some(tick) = schedule.next_after(Timestamp::from_millis(after)) {
            prop_assert_eq!(tick.as_millis() % (period_s * 1_000), 0);
            prop_assert!((1..=period_s * 1_000).contains(&(tick.as_millis() - after)));
        }
    }
}

proptest! {
    #![proptest_config(crate::cases::cases(2_000))]

    #[test]
    fn no_text_panics_and_every_error_is_short_and_printable(
        text in prop_oneof![
            any::<String>(),
            r"[0-9*/,\-LW#?+@ A-Fa-z=_]{0,40}",
            r"(CRON_TZ=|TZ=)?(UTC|Europe/Rome|[A-Z/]{0,9})? ?(@every [0-9dhms]{0,12}|@[a-z]{0,8}|[0-9*/,\-LW#?+ ]{0,20})",
            r"([0-9*/,\-LW#?]{1,4} ){4,5}[0-9*/,\-LW#?+A-Z]{1,5}",
        ],
        timezone in prop::option::of(prop_oneof![any::<String>(), prop::sample::select(&ZONES).prop_map(str::to_owned)]),
    ) {
        match Schedule::parse(&text, timezone.as_deref()) {
            Ok(schedule) => {
                let next = schedule.next_after(Timestamp::from_millis(0));
                prop_assert!(next.is_some(), "{} has no tick", schedule);
                let again = Schedule::parse(&schedule.to_string(), None);
                prop_assert_eq!(again.map(|again| again.next_after(Timestamp::from_millis(0))), Ok(next));
            }
            Err(error) => {
                let message = error.to_string();
                prop_assert!(message.len() < 4_096, "{} bytes", message.len());
                prop_assert!(!message.contains(char::is_control), "{:?}", message);
            }
        }
    }
}
