use std::collections::BTreeSet;
use std::time::Duration;

use clap::{Args as _, CommandFactory as _, FromArgMatches as _};

use super::args::{Args, ThresholdArgs};
use super::show::{plain, table};
use crate::broker::QueueName;
use crate::inspect::Thresholds;

#[test]
fn the_command_line_is_sound() {
    Args::command().debug_assert();
}

#[test]
fn spans_are_read_as_they_are_written() {
    let check = |span: &str, is_right: bool| {
        let arguments = ["sector-7g", "health", "status", "--max-age", span];
        assert_eq!(Args::command().try_get_matches_from(arguments).is_ok(), is_right, "{span}");
    };
    for span in ["90s", "5m", "1h30m", "7d", "0s"] {
        check(span, true);
    }
    for span in ["", "5", "five", "-5m", "99999999999999d"] {
        check(span, false);
    }
}

#[test]
fn each_threshold_is_that_of_its_option() {
    let command = ThresholdArgs::augment_args(clap::Command::new("judge"));
    for argument in command.get_arguments() {
        let name = argument.get_long().expect("each has a long name").replace('-', "_").to_uppercase();
        assert_eq!(argument.get_env().and_then(|name| name.to_str()), Some(&*format!("SECTOR7G_{name}")));
    }
    let line = "judge --expect homer --expect lenny --max-depth 1 --max-age 2s --max-dead 3 --min-workers 4 \
                --max-silence 5s --max-memory 6 --allow-paused";
    let matches = command.try_get_matches_from(line.split_whitespace()).expect("all known");
    let expected = ["homer", "lenny"].map(|name| QueueName::new(name).expect("a valid name")).to_vec();
    let read = ThresholdArgs::from_arg_matches(&matches).expect("all read").read();
    let told = Thresholds {
        max_depth: 1,
        max_age: Duration::from_secs(2),
        max_dead: 3,
        min_workers: 4,
        max_silence: Duration::from_secs(5),
        max_memory: 6,
        allow_paused: true,
        expected,
    };
    assert_eq!(read, told);
}

#[test]
fn nothing_that_others_wrote_moves_the_cursor_or_turns_text() {
    let check = |text: &str, expected: &str| assert_eq!(plain(text), expected);
    check("homer 7 ünïcödé", "homer 7 ünïcödé");
    check("\u{1b}[2J\u{7}\r\n\t", r"\u{1b}[2J\u{7}\r\n\t");
    check("\u{9b}31m", r"\u{9b}31m");
    check("a\u{202e}b\u{2066}c\u{200b}d\u{feff}", r"a\u{202e}b\u{2066}c\u{200b}d\u{feff}");
}

#[test]
fn a_table_has_a_line_for_each_row() {
    let shown =
        table(&["name", ">size"], [vec!["a\nb".to_owned(), "7".to_owned()], vec![String::new(), "10".to_owned()]]);
    assert_eq!(shown.lines().count(), 4, "{shown}");
    assert!(shown.contains(r"a\nb"), "{shown}");
}

/// Each command of the documentation is one.
#[test]
fn what_is_documented_is_understood() {
    let commands = include_str!("../docs/operate.md").lines().filter(|line| line.starts_with("sector-7g "));
    let mut count = 0;
    for line in commands {
        let command = line.split(" #").next().unwrap_or(line).split(" |").next().unwrap_or(line);
        let words = command.split_whitespace().map(|word| word.trim_matches('\''));
        Args::command().try_get_matches_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
        count += 1;
    }
    assert!(count > 15, "{count}");
}

/// The table of `--json` has each command that prints any, and no other.
#[test]
fn each_commands_json_is_documented() {
    fn add_to(found: &mut BTreeSet<String>, command: &clap::Command, path: &str) {
        for inner in command.get_subcommands() {
            let path = format!("{path} {}", inner.get_name());
            if inner.has_subcommands() {
                add_to(found, inner, &path);
            } else {
                found.insert(path.trim_start().to_owned());
            }
        }
    }
    let mut commands = BTreeSet::new();
    add_to(&mut commands, &Args::command(), "");
    // One prints a script, the other draws.
    for without in ["completions", "top"] {
        assert!(commands.remove(without), "{without}");
    }
    let page = include_str!("../docs/operate.md");
    let (_, section) = page.split_once("\n# JSON\n").expect("it has the section");
    let (section, _) = section.split_once("\n# ").expect("others follow");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let documented: BTreeSet<String> =
        rows.flat_map(|cell| cell.split(", ")).map(|name| name.trim_matches('`').to_owned()).collect();
    assert_eq!(documented, commands);
}
