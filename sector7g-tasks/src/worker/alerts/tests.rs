use std::time::Duration;

use proptest::prelude::*;

use super::gate::{Reading, Watch};
use super::window::{Ends, Window};
use super::{AlertEvent, AlertLevel, Alerts, Attempts, Measure};
use crate::clock::Timestamp;
use crate::worker::JobEndKind;

const MINUTE: Duration = Duration::from_mins(1);

fn at(second: u64) -> Timestamp {
    Timestamp::from_millis(0) + Duration::from_secs(second)
}

/// Depths, one a second, and what each crosses with a threshold of 100.
fn check_depths(steps: &[(u64, Option<(AlertEvent, AlertLevel)>)]) {
    let mut watch = Watch::new("homer".to_owned(), Alerts::new().depth(100));
    for (second, (depth, expected)) in (0..).zip(steps) {
        let alerts = watch.look(Reading { depth: *depth, ..Reading::default() }, at(second));
        let told: Vec<_> = alerts.iter().map(|alert| (alert.event, alert.level)).collect();
        assert_eq!(told, Vec::from_iter(*expected), "second {second}, {depth} jobs");
        for alert in &alerts {
            assert_eq!(alert.measure, Measure::Depth { jobs: *depth, threshold: 100 });
            assert_eq!((&*alert.queue, alert.at), ("homer", at(second)));
        }
    }
}

#[test]
fn each_crossing_is_told_once() {
    use AlertEvent::{Escalated, Raised, Recovered};
    use AlertLevel::{Error, Warn};
    check_depths(&[(99, None), (100, Some((Raised, Warn))), (150, None), (100, None), (80, None), (100, None)]);
    check_depths(&[(100, Some((Raised, Warn))), (79, Some((Recovered, Warn))), (0, None), (101, Some((Raised, Warn)))]);
    check_depths(&[
        (199, Some((Raised, Warn))),
        (200, Some((Escalated, Error))),
        (150, None),
        (200, None),
        (500, None),
    ]);
    check_depths(&[(u64::MAX, Some((Raised, Error))), (100, None), (0, Some((Recovered, Error)))]);
}

#[test]
fn a_recovery_tells_since_when() {
    let mut watch = Watch::new("homer".to_owned(), Alerts::new().oldest_due(MINUTE));
    let mut look = |second, waited| {
        let reading = Reading { oldest_due: Duration::from_secs(waited), ..Reading::default() };
        watch.look(reading, at(second)).pop()
    };
    assert_eq!(look(5, 59), None);
    let raised = look(10, 75).unwrap();
    assert_eq!(raised.to_string(), "alert: queue `homer`: the oldest due job has waited for 75s (threshold: 60s)");
    let escalated = look(60, 125).unwrap();
    assert!(escalated.to_string().starts_with("alert, worse than before: queue `homer`: "), "{escalated}");
    let recovered = look(100, 0).unwrap();
    assert_eq!((escalated.since, recovered.since), (at(10), at(10)));
    assert!(recovered.to_string().starts_with("recovered after 90s: queue `homer`: "), "{recovered}");
}

struct Failures(Watch, Ends, u64);

impl Failures {
    /// 30 % of the attempts of a minute.
    fn new() -> Self {
        Self(Watch::new("homer".to_owned(), Alerts::new().failure_rate(0.3).window(MINUTE)), Ends::default(), 0)
    }

    fn add(&mut self, failed: u64, attempts: u64) {
        self.1.failed += failed;
        self.1.attempts += attempts;
    }

    /// A look so many seconds later.
    fn look(&mut self, later: u64) -> Option<(AlertEvent, AlertLevel)> {
        self.2 += later;
        let alert = self.0.look(Reading { ends: self.1, ..Reading::default() }, at(self.2)).pop()?;
        Some((alert.event, alert.level))
    }
}

#[test]
fn few_attempts_say_nothing_of_a_rate() {
    let mut failures = Failures::new();
    assert_eq!(failures.look(0), None);
    failures.add(9, 9);
    assert_eq!(failures.look(1), None);
    failures.add(0, 21);
    assert_eq!(failures.look(1), Some((AlertEvent::Raised, AlertLevel::Warn)), "9 of 30");
    for _ in 0..11 {
        assert_eq!(failures.look(5), None, "it stays as it is");
    }
    assert_eq!(failures.look(10), Some((AlertEvent::Recovered, AlertLevel::Warn)), "none failed in the last minute");
}

#[test]
fn what_was_before_the_first_look_is_not_of_late() {
    let mut failures = Failures::new();
    failures.add(50, 50);
    assert_eq!(failures.look(0), None);
}

#[test]
fn all_that_fail_are_an_error_whatever_the_threshold() {
    let mut watch = Watch::new("homer".to_owned(), Alerts::new().failure_rate(1.0).window(MINUTE));
    assert_eq!(watch.look(Reading::default(), at(0)), []);
    let ends = Ends { failed: 10, attempts: 10 };
    let alerts = watch.look(Reading { ends, ..Reading::default() }, at(1));
    assert_eq!(alerts[0].level, AlertLevel::Error);
    let all_of_ten = Measure::FailureRate { failed: 10, attempts: 10, threshold: 1.0, window: MINUTE };
    assert_eq!(alerts[0].measure, all_of_ten);
}

#[test]
fn time_without_the_broker_does_not_pass() {
    let mut failures = Failures::new();
    failures.look(0);
    failures.add(5, 10);
    assert_eq!(failures.look(1), Some((AlertEvent::Raised, AlertLevel::Warn)));
    failures.0.pause();
    assert_eq!(failures.look(3_600), None, "an hour's outage is no recovery");
    failures.look(58);
    assert_eq!(failures.look(2), Some((AlertEvent::Recovered, AlertLevel::Warn)));
}

#[test]
fn what_counts_as_an_attempt() {
    let attempts = Attempts::default();
    let second = Duration::from_secs(1);
    for kind in [JobEndKind::Done, JobEndKind::Failed, JobEndKind::Retried(second)] {
        attempts.count(kind);
    }
    for kind in [JobEndKind::Aborted, JobEndKind::GivenBack(second)] {
        attempts.count(kind);
    }
    assert_eq!(attempts.so_far(), Ends { failed: 2, attempts: 3 });
}

#[test]
fn mistakes_are_named() {
    let check = |alerts: Alerts, expected: &[&str]| assert_eq!(alerts.mistakes(), expected);
    check(Alerts::new(), &["alerts has no threshold: set depth, oldest_due or failure_rate"]);
    check(Alerts::new().depth(0), &["alerts: depth is 0, which every queue reaches; it must be 1 or more"]);
    check(
        Alerts::new().depth(1).oldest_due(Duration::ZERO).window(Duration::ZERO),
        &[
            "alerts: oldest_due is 0ns; it must be from 1ms to 100 years",
            "alerts: window is 0ns; it must be from 1s to 100 years",
        ],
    );
    for (rate, shown) in [(0.0, "0"), (-0.0, "-0"), (1.01, "1.01"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
        let expected = format!("alerts: failure_rate is {shown}; it must be above 0, and 1 at most");
        check(Alerts::new().failure_rate(rate), &[&expected]);
    }
    check(Alerts::new().depth(u64::MAX).oldest_due(Duration::from_millis(1)).failure_rate(f64::MIN_POSITIVE), &[]);
    check(Alerts::new().failure_rate(1.0), &[]);
}

proptest! {
    /// Against the rule said anew: raised from the threshold on until below 80 % of it, worse from twice of it on.
    #[test]
    fn with_any_depths_each_crossing_is_told_once(depths in prop::collection::vec(0_u64..300, 0..100)) {
        let mut watch = Watch::new("homer".to_owned(), Alerts::new().depth(100));
        let (mut is_raised, mut is_worse) = (false, false);
        for (second, depth) in (0..).zip(depths) {
            let told = watch.look(Reading { depth, ..Reading::default() }, at(second));
            let expected = if !is_raised && depth >= 100 {
                is_worse = depth >= 200;
                is_raised = true;
                Some(AlertEvent::Raised)
            } else if is_raised && !is_worse && depth >= 200 {
                is_worse = true;
                Some(AlertEvent::Escalated)
            } else if is_raised && depth < 80 {
                is_raised = false;
                Some(AlertEvent::Recovered)
            } else {
                None
            };
            prop_assert_eq!(told.iter().map(|alert| alert.event).collect::<Vec<_>>(), Vec::from_iter(expected));
        }
    }

    /// Raised, perhaps escalated, recovered, and so on, whatever is read, of all three at once.
    #[test]
    fn nothing_is_raised_twice_without_a_recovery(
        looks in prop::collection::vec((0_u64..1_000, 0_u64..1_000, 0_u64..20, 0_u64..20, 0_u64..90, any::<bool>()), 0..200)
    ) {
        let alerts = Alerts::new().depth(300).oldest_due(MINUTE * 5).failure_rate(0.4).window(MINUTE);
        let mut watch = Watch::new("homer".to_owned(), alerts);
        let (mut ends, mut now) = (Ends::default(), 0);
        let mut levels = [None; 3];
        for (depth, waited, failed, fine, later, is_away) in looks {
            now += later;
            ends.failed += failed;
            ends.attempts += failed + fine;
            if is_away {
                watch.pause();
                continue;
            }
            for alert in watch.look(Reading { depth, oldest_due: Duration::from_secs(waited), ends }, at(now)) {
                let level = match alert.measure {
                    Measure::Depth { .. } => &mut levels[0],
                    Measure::OldestDue { .. } => &mut levels[1],
                    Measure::FailureRate { .. } => &mut levels[2],
                };
                match alert.event {
                    AlertEvent::Raised => prop_assert_eq!(*level, None),
                    AlertEvent::Escalated => prop_assert_eq!(*level, Some(AlertLevel::Warn)),
                    AlertEvent::Recovered => prop_assert_eq!(*level, Some(alert.level)),
                }
                let is_over = alert.event == AlertEvent::Recovered;
                prop_assert_eq!(alert.measure.is_well(), is_over);
                prop_assert_eq!(alert.measure.level().is_some(), !is_over);
                *level = (!is_over).then_some(alert.level);
            }
        }
    }

    /// To a step of it, and in bounded space.
    #[test]
    fn a_window_counts_what_was_of_late(looks in prop::collection::vec((0_u64..30, 0_u64..10), 1..300)) {
        let mut window = Window::new(MINUTE);
        let (mut so_far, mut now, mut ends) = (Ends::default(), 0, Vec::new());
        for (later, attempts) in looks {
            now += later;
            so_far.attempts += attempts;
            ends.push((now, attempts));
            let found = window.look(so_far, at(now)).attempts;
            // Whatever ended between two looks may lie at either end of that time.
            let of_late = |seconds: u64, skip: usize| -> u64 {
                ends[skip..].iter().filter(|(at, _)| now - at < seconds).map(|(_, attempts)| attempts).sum()
            };
            prop_assert!(found >= of_late(60, 1) && found <= of_late(60 + 1 + 30, 1), "{found} at {now}: {ends:?}");
            prop_assert!(window.size() <= 62, "{} looks", window.size());
        }
    }
}
