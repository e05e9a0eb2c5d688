use clap::CommandFactory as _;

use super::args::Args;
use super::show::{plain, table};

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
