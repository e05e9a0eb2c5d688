use proptest::prelude::*;

use super::*;
use crate::cases::cases;

fn os(arguments: &[&str]) -> Vec<OsString> {
    arguments.iter().map(OsString::from).collect()
}

fn config_with(arguments: &[&str], env: &[(&str, &str)]) -> Result<Config, CliError> {
    let arguments = [&["plant"], arguments].concat();
    let value = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    Config::from_parts(&os(&arguments), value)
}

fn config(arguments: &[&str]) -> Config {
    config_with(arguments, &[]).unwrap()
}

const WORK: Mode = Mode::Work { until_eof: false };

#[test]
fn modes() {
    let check = |arguments: &[&str], expected: Mode| assert_eq!(config(arguments).mode, expected, "{arguments:?}");
    check(&[], WORK);
    check(&["homer", "lenny"], WORK);
    check(&["--burst"], WORK);
    check(&["--check", "homer"], Mode::Check);
    check(&["--watch", "src"], Mode::Watch("src".into()));
    check(&["homer", "--watch=src"], Mode::Watch("src".into()));
    check(&["-V"], Mode::Version);
    check(&["--version", "--check"], Mode::Version);
    check(&["--until-stdin-ends"], Mode::Work { until_eof: true });
}

#[test]
fn burst_is_the_programs_choice_unless_said() {
    let check = |arguments: &[&str], expected| assert_eq!(config(arguments).burst, expected, "{arguments:?}");
    check(&[], None);
    check(&["--burst"], Some(true));
    check(&["--no-burst"], Some(false));
    check(&["--burst", "--no-burst"], Some(false)); // the last one counts, as in arq
    check(&["--no-burst", "--burst"], Some(true));
}

#[test]
fn the_flag_goes_before_the_environment() {
    let check = |arguments: &[&str], env: &[(&str, &str)], expected: Option<&str>| {
        assert_eq!(config_with(arguments, env).unwrap().redis.as_deref(), expected, "{arguments:?} {env:?}");
    };
    check(&[], &[], None);
    check(&[], &[("REDIS_URL", "redis://a")], Some("redis://a"));
    check(&[], &[("REDIS_URL", "")], None);
    check(&["--redis", "redis://b"], &[("REDIS_URL", "redis://a")], Some("redis://b"));
    check(&["--redis", ""], &[("REDIS_URL", "redis://a")], Some("")); // refused later: an unset variable of a shell
}

#[test]
fn mistakes_in_usage() {
    let check = |arguments: &[&str], culprit: &str| {
        let error = config_with(arguments, &[]).unwrap_err();
        assert!(matches!(&error, CliError::Arguments(clap) if clap.exit_code() == 2), "{arguments:?}");
        assert!(error.to_string().contains(culprit), "{arguments:?}: {error}");
    };
    check(&["--brust"], "--brust");
    check(&["--watch"], "--watch");
    check(&["--check", "--watch", "src"], "--check");
    check(&["--log-format", "xml"], "xml");
    check(&["--redis"], "--redis");
    #[cfg(feature = "http")]
    for address in ["nowhere", "9465x", "70000", "127.0.0.1", "localhost:9465"] {
        check(&["--listen", address], "say a port, `9465`, or an address and a port, `0.0.0.0:9465`");
    }
}

#[cfg(feature = "http")]
#[test]
fn a_port_alone_is_one_of_this_machine() {
    let check = |text: &str, expected: &str| {
        assert_eq!(config(&["--listen", text]).listen.map(|address| address.to_string()).as_deref(), Some(expected));
    };
    check("9465", "127.0.0.1:9465");
    check("0.0.0.0:0", "0.0.0.0:0");
    check("[::1]:80", "[::1]:80");
    assert_eq!(config(&[]).listen, None);
}

#[test]
fn secrets_are_not_in_the_help() {
    let help = config_with(&["--help"], &[("REDIS_URL", "redis://:doughnut@host")]).unwrap_err().to_string();
    assert!(help.contains("REDIS_URL") && !help.contains("doughnut"), "{help}");
}

#[test]
fn log_filters() {
    assert!(config_with(&["-v"], &[("RUST_LOG", "warn,plant=trace")]).is_ok());
    assert!(config_with(&[], &[("RUST_LOG", "")]).is_ok());
    let error = config_with(&[], &[("RUST_LOG", "plant=loud")]).unwrap_err();
    assert!(matches!(error, CliError::LogFilter(_)), "{error}");
}

#[test]
fn what_a_watched_worker_is_started_with() {
    let check = |arguments: &[&str], expected: &[&str]| {
        assert_eq!(without_watch(&os(arguments)), os(expected), "{arguments:?}");
    };
    check(&["--watch", "src"], &[]);
    check(&["homer", "--watch", "src", "-v"], &["homer", "-v"]);
    check(&["--watch=src", "homer", "--log-format=json"], &["homer", "--log-format=json"]);
    check(&["--burst", "--watch", "src", "--no-burst"], &[]);
    check(&["--redis", "unix:///s", "--watch", "--"], &["--redis", "unix:///s"]);
    check(&["--watch", "src", "--", "--watch"], &["--", "--watch"]);
}

/// What `--max-away` makes of `text`.
fn max_away(text: &str) -> Result<Duration, String> {
    let config = config_with(&[&format!("--max-away={text}")], &[]);
    config.map(|config| config.max_away.expect("it was given")).map_err(|error| error.to_string())
}

#[test]
fn nothing_ago_is_no_span() {
    assert!(max_away("0d ago").unwrap_err().contains("a span is written as `90s`"));
    assert_eq!(max_away("0d"), Ok(Duration::ZERO));
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn a_span_that_is_shown_can_be_typed(ms in prop_oneof![0..100_000_u64, 0..100 * 365 * 86_400_000_u64]) {
        let shown = crate::inspect::span(Duration::from_millis(ms));
        let read = max_away(&shown).unwrap();
        prop_assert_eq!(crate::inspect::span(read), shown, "only what is not shown is missing");
        prop_assert!(read <= Duration::from_millis(ms));
        let (hours, rest) = (ms / 3_600_000, ms % 3_600_000);
        prop_assert_eq!(max_away(&format!("{hours}h{}m{}ms", rest / 60_000, rest % 60_000)), Ok(Duration::from_millis(ms)));
    }

    #[test]
    fn any_text_is_a_span_or_a_mistake_that_is_named(
        text in prop_oneof![
            "\\PC{0,30}",
            r"-?([0-9.]{0,6}(d|h|m|s|ms|min|y|mo|w|λ|٣|)[ ,]?){0,5}( ago)?",
            "[0-9]{1,400}(d|h|m|s|ms|w)",
            "-?P?[0-9]{0,12}[YMWD]?T?[0-9.]{0,22}[HMS]?",
        ],
    ) {
        match max_away(&text) {
            Ok(span) => {
                prop_assert!(std::time::Instant::now().checked_add(span).is_some(), "{text:?} is {span:?}, beyond all clocks");
                prop_assert!(!text.contains("ago") && text.contains(|c: char| c.is_ascii_digit()), "{text:?} is {span:?}");
            }
            Err(said) => {
                let is_named = said.contains(&format!("'{text}'")) || text.is_empty();
                prop_assert!(is_named && said.contains("--max-away"), "{:?}: {}", text, said);
                prop_assert!(said.contains("a span is written as `90s`") || text.is_empty(), "{:?}: {}", text, said);
            }
        }
    }

    #[test]
    fn what_is_no_span_is_none(
        number in "[1-9][0-9]{0,29}", // less than nothing is nothing
        unit in prop::sample::select(&["", "y", "mo", "fortnights", "λ", "٣", "%", " s s", "s-", "s -1m", "s ago"][..]),
    ) {
        let text = number + unit;
        prop_assert!(max_away(&text).is_err(), "{}", text);
        prop_assert!(max_away(&format!("-{text}s")).is_err(), "{}", text);
    }
}
