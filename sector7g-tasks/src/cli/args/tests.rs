use super::*;

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
