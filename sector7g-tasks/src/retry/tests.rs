use std::time::Duration;

use proptest::prelude::*;

use super::{DEFAULT_MAX, RetryPolicy};

const DAY: f64 = 86_400.0;

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// The delays after the attempts 1 to 5, without jitter.
fn check(policy: RetryPolicy, expected: [f64; 5]) {
    let policy = policy.jitter(0.0);
    let delays = [1, 2, 3, 4, 5].map(|attempt| policy.delay(attempt, 0.5));
    assert_eq!(delays, expected.map(seconds), "{policy:?}");
}

#[test]
fn delays_grow_as_their_policy_says() {
    check(RetryPolicy::fixed(seconds(10.0)), [10.0, 10.0, 10.0, 10.0, 10.0]);
    check(RetryPolicy::linear(seconds(0.5)), [0.5, 1.0, 1.5, 2.0, 2.5]);
    check(RetryPolicy::exponential(seconds(1.0)), [1.0, 2.0, 4.0, 8.0, 16.0]);
    check(RetryPolicy::exponential(seconds(1.0)).factor(3.0), [1.0, 3.0, 9.0, 27.0, 81.0]);
    check(RetryPolicy::exponential(seconds(2.0)).factor(1.0), [2.0, 2.0, 2.0, 2.0, 2.0]);
    check(RetryPolicy::DEFAULT, [1.0, 2.0, 4.0, 8.0, 16.0]);
}

#[test]
fn delays_stop_at_the_cap() {
    check(RetryPolicy::fixed(seconds(10.0)).max(seconds(4.0)), [4.0, 4.0, 4.0, 4.0, 4.0]);
    check(RetryPolicy::linear(seconds(10.0)).max(seconds(25.0)), [10.0, 20.0, 25.0, 25.0, 25.0]);
    check(RetryPolicy::exponential(seconds(1.0)).max(seconds(5.0)), [1.0, 2.0, 4.0, 5.0, 5.0]);
    check(RetryPolicy::exponential(seconds(2.0 * DAY)), [DAY, DAY, DAY, DAY, DAY]);
    // A fixed delay can't run away, so nothing caps it unasked.
    check(RetryPolicy::fixed(seconds(2.0 * DAY)), [2.0 * DAY; 5]);
}

#[test]
fn odd_factors_are_no_growth_and_never_a_nan() {
    let policy = RetryPolicy::exponential(seconds(1.0));
    for factor in [f64::NAN, f64::NEG_INFINITY, -2.0, 0.0, 0.5, f64::MIN_POSITIVE] {
        check(policy.factor(factor), [1.0, 1.0, 1.0, 1.0, 1.0]);
    }
    check(policy.factor(f64::INFINITY), [1.0, DAY, DAY, DAY, DAY]);
    check(RetryPolicy::exponential(Duration::ZERO).factor(f64::INFINITY), [0.0; 5]);
    // Other policies have no factor to set.
    check(RetryPolicy::linear(seconds(1.0)).factor(9.0), [1.0, 2.0, 3.0, 4.0, 5.0]);
}

#[test]
fn odd_jitter_counts_as_the_nearest_sound_one() {
    let policy = RetryPolicy::fixed(seconds(10.0));
    for (policy, expected) in [
        (policy, [8.0, 10.0, 12.0]),
        (policy.jitter(f64::NAN), [8.0, 10.0, 12.0]),
        (policy.jitter(-1.0), [10.0, 10.0, 10.0]),
        (policy.jitter(7.0), [0.0, 10.0, 20.0]),
    ] {
        let delays = [0.0, 0.5, 1.0].map(|chance| policy.delay(1, chance));
        assert_eq!(delays, expected.map(seconds), "{policy:?}");
    }
}

#[test]
fn odd_chance_stays_within_the_jitter() {
    let policy = RetryPolicy::fixed(seconds(10.0)).jitter(0.5);
    for (chance, expected) in [(f64::NAN, 10.0), (-3.0, 5.0), (42.0, 15.0), (f64::INFINITY, 15.0)] {
        assert_eq!(policy.delay(1, chance), seconds(expected), "chance {chance}");
    }
}

#[test]
fn huge_attempts_and_delays_do_not_overflow() {
    let policies = [RetryPolicy::fixed, RetryPolicy::linear, RetryPolicy::exponential];
    for (policy, first) in policies.iter().flat_map(|policy| [(policy, Duration::ZERO), (policy, Duration::MAX)]) {
        for attempt in [0, 1, 2, 64, 1_024, 1_100, u32::MAX] {
            let policy = policy(first).max(Duration::MAX).jitter(1.0);
            let delay = policy.delay(attempt, 1.0);
            assert_eq!(delay.is_zero(), first.is_zero(), "attempt {attempt} of {policy:?}");
        }
    }
    let capped = RetryPolicy::exponential(seconds(1.0)).jitter(0.0);
    assert_eq!(capped.delay(u32::MAX, 0.5), DEFAULT_MAX);
}

#[test]
fn attempt_zero_counts_as_the_first() {
    let policy = RetryPolicy::exponential(seconds(3.0));
    assert_eq!(policy.delay(0, 0.25), policy.delay(1, 0.25));
}

#[test]
fn capped_delays_are_spread_and_not_all_the_cap() {
    let policy = RetryPolicy::exponential(seconds(1.0)).max(seconds(60.0)).jitter(0.5);
    let delays: Vec<f64> = (0..1_000).map(|step| policy.delay(30, f64::from(step) / 1_000.0).as_secs_f64()).collect();
    assert!(delays.windows(2).all(|pair| pair[0] < pair[1]), "two chances gave one delay");
    let mean = delays.iter().sum::<f64>() / 1_000.0;
    assert!((mean - 40.0).abs() < 0.1, "mean {mean}, not 60 / (1 + 0.5)");
    assert!((delays[0] - 20.0).abs() < 0.1 && delays[999] > 59.9, "from {} to {}", delays[0], delays[999]);
}

prop_compose! {
    fn policies()(
        kind in 0..3,
        first_ms in 0..10_000_000_u64,
        max_ms in 0..100_000_000_u64,
        factor in prop_oneof![1.0..20.0, any::<f64>()],
        jitter in prop_oneof![0.0..=1.0, any::<f64>()],
    ) -> (RetryPolicy, Duration) {
        let first = Duration::from_millis(first_ms);
        let max = Duration::from_millis(max_ms);
        let policy = match kind {
            0 => RetryPolicy::fixed(first),
            1 => RetryPolicy::linear(first),
            _ => RetryPolicy::exponential(first).factor(factor),
        };
        (policy.max(max).jitter(jitter), max)
    }
}

proptest! {
    #[test]
    fn no_delay_is_over_the_cap((policy, max) in policies(), attempt: u32, chance: f64) {
        prop_assert!(policy.delay(attempt, chance) <= max);
    }

    #[test]
    fn delays_never_shrink_with_the_attempt((policy, _) in policies(), attempt in 1..2_000_u32, chance in 0.0..1.0) {
        prop_assert!(policy.delay(attempt, chance) <= policy.delay(attempt + 1, chance));
    }

    #[test]
    fn the_mean_over_all_chances_is_the_delay_without_jitter(
        first_ms in 1_000..100_000_u64, jitter in 0.0..=1.0, attempt in 1..10_u32,
    ) {
        let policy = RetryPolicy::linear(Duration::from_millis(first_ms)).max(Duration::MAX).jitter(jitter);
        let sum: f64 = (0..=100).map(|percent| policy.delay(attempt, f64::from(percent) / 100.0).as_secs_f64()).sum();
        let plain = policy.jitter(0.0).delay(attempt, 0.5).as_secs_f64();
        prop_assert!((sum / 101.0 - plain).abs() < plain * 1e-6, "mean {}, plain {plain}", sum / 101.0);
    }
}
