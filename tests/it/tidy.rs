//! Rules about the code itself: who may name whom, how long a file may be, what is left open.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace").to_owned()
}

/// The Rust files below `folder`, without what cargo built.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root()).unwrap().to_owned(), text));
            }
        }
    }
    assert!(!found.is_empty(), "{folder} holds no Rust file");
    found
}

fn all() -> Vec<(PathBuf, String)> {
    ["sector7g-tasks", "sector7g-macros", "examples", "tests", "benches", "xtask"]
        .into_iter()
        .flat_map(sources)
        .collect()
}

/// The lines of code, comments aside, of files whose path starts with one of `within`.
fn lines_within(within: &[&str]) -> Vec<(String, String)> {
    let files = sources("sector7g-tasks/src").into_iter();
    let inside = files
        .filter(|(path, _)| within.iter().any(|start| path.starts_with(Path::new("sector7g-tasks/src").join(start))));
    inside
        .filter(|(path, _)| !path.ends_with("tests.rs"))
        .flat_map(|(path, text)| {
            let lines: Vec<_> = text
                .lines()
                .enumerate()
                .map(|(index, line)| (format!("{}:{}", path.display(), index + 1), line.to_owned()))
                .collect();
            lines
        })
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .collect()
}

fn assert_never(within: &[&str], words: &[&str], why: &str) {
    let lines = lines_within(within);
    assert!(!lines.is_empty(), "{within:?} holds no code");
    let hits: Vec<_> = lines.iter().filter(|(_, line)| words.iter().any(|word| line.contains(word))).collect();
    assert!(hits.is_empty(), "{why}: {hits:#?}");
}

#[test]
fn the_pure_parts_know_no_broker_no_runtime_and_no_clock() {
    let pure = ["task.rs", "job.rs", "args.rs", "codec", "retry", "schedule"];
    let words = ["crate::broker", "tokio::", "Clock", "Instant::now", "SystemTime::now"];
    assert_never(&pure, &words, "now is an argument there, and storing is the broker's affair");
}

#[test]
fn the_engine_knows_the_trait_only() {
    assert_never(
        &["worker", "client", "middleware", "context.rs"],
        &["MemoryBroker", "redis"],
        "an engine runs on any broker",
    );
}

#[test]
fn nothing_stands_on_the_command_line() {
    let others = [
        "args.rs",
        "broker",
        "client",
        "codec",
        "context.rs",
        "inventory.rs",
        "job.rs",
        "runner.rs",
        "task.rs",
        "worker",
    ];
    assert_never(&others, &["crate::cli::"], "the command line stands on the runner, not the reverse");
}

#[test]
fn files_stay_short_and_nothing_is_left_open() {
    for (path, text) in all() {
        let lines = text.lines().count();
        assert!(lines <= 600, "{} has {lines} lines: two nouns in one file?", path.display());
        if path.components().any(|part| part.as_os_str() == "ui") || path.ends_with("tidy.rs") {
            continue;
        }
        for word in ["todo!(", "unimplemented!(", "dbg!(", "#[ignore"] {
            assert!(!text.contains(word), "{} has {word}", path.display());
        }
    }
}

/// How many rows each part of the catalogue has.
const CATALOGUE: [(char, u32); 6] = [('L', 11), ('D', 9), ('S', 9), ('P', 5), ('T', 6), ('O', 8)];

/// What Redis keeps and loses by, row by row.
const WAYS_TO_KEEP: [&str; 7] = [
    "no persistence",
    "RDB only",
    "AOF `everysec`",
    "AOF `always`",
    "a replica",
    "a replica, and `WAIT`",
    "`min-replicas-to-write 1`",
];

/// Each row of RELIABILITY.md's catalogue names a test or a scenario, or says why there is none; those that it names are
/// there.
#[test]
fn what_the_catalogue_names_is_there() {
    let text = std::fs::read_to_string(root().join("RELIABILITY.md")).unwrap();
    let catalogue = text.split("## The catalogue").nth(1).expect("it has one");
    let code: String = all().into_iter().filter(|(path, _)| !path.ends_with("tidy.rs")).map(|(_, text)| text).collect();
    let is_test = |name: &str| name.len() > 12 && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let names = |text: &str| {
        let quoted: Vec<String> = text.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        quoted.into_iter().filter(|name| name.starts_with("faults: ") || is_test(name)).collect::<Vec<_>>()
    };
    for name in names(catalogue) {
        let line = match name.strip_prefix("faults: ") {
            Some(scenario) => format!("\"{scenario}\""),
            None => format!("fn {name}("),
        };
        assert!(code.contains(&line), "RELIABILITY.md names {name}, which is not there");
    }
    let numbered = CATALOGUE.iter().flat_map(|(part, rows)| (1..=*rows).map(move |row| format!("{part}{row} ")));
    let ways = WAYS_TO_KEEP.iter().map(|way| format!("{way} |"));
    for row in numbered.chain(ways) {
        let lines: Vec<&str> = catalogue.lines().filter(|line| line.starts_with(&format!("| {row}"))).collect();
        let [line] = lines[..] else { panic!("RELIABILITY.md has {} rows «{row}»", lines.len()) };
        let says_why = line.contains("| no test: ");
        assert!(says_why || !names(line).is_empty(), "neither a test nor a reason why there is none: {line}");
    }
}
