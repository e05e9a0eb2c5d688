//! How many cases the property tests try.

use proptest::test_runner::Config;

/// `cases`, or as many times more as `PROPTEST_CASES` is more than proptest's own 256.
pub(crate) fn cases(cases: u32) -> Config {
    let default = Config::default();
    let all = u64::from(default.cases) * u64::from(cases) / 256;
    Config { cases: u32::try_from(all).unwrap_or(u32::MAX).max(1), ..default }
}

/// The same for tests without a file for their failures: what fails in them is told whole.
#[cfg(feature = "testing")]
pub(crate) fn unkept(count: u32) -> Config {
    Config { failure_persistence: None, ..cases(count) }
}
