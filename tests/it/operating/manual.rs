//! OPERATIONS.md is typed in, section by section, into a shell of its own beside a plant of its own.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Block, Console, Script, amtool, free_port, inline_code, interpreter, promtool};

use super::OPERATE;
use super::deploy::{profiles, read, root, services};
use crate::plant::plant_program;

/// Ports that the page has: Redis's, the dashboard's, and those of the workers' metrics.
const PORTS: [u16; 9] = [6379, 8090, 9464, 9465, 9466, 9467, 9468, 9469, 9470];

/// The section that the others stand on.
const START: &str = "Start";

/// Those that begin with an empty plant, each in a test below.
const DAYS: [&str; 6] = [
    START,
    "Stop, roll, scale",
    "A failure, from the alert to the mend",
    "Redis is full",
    "Moving from arq",
    "An alert comes in",
];

fn page() -> Vec<Block> {
    Block::all(&read("OPERATIONS.md"))
}

/// A folder with the repository's files and the programs that the page calls by name.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("s7-operator-").tempdir().unwrap();
    let bin = folder.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let programs: [(&str, PathBuf); 5] = [
        ("amtool", amtool()),
        ("plant", plant_program()),
        ("sector-7g", OPERATE.into()),
        ("promtool", promtool()),
        ("python", interpreter()),
    ];
    for (name, program) in programs {
        // Called by its own path: Python looks there for what belongs to it.
        let script = format!("#!/bin/sh\nexec '{}' \"$@\"\n", program.display());
        fs::write(bin.join(name), script).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(bin.join(name), mode).unwrap();
    }
    for (name, choice) in [("redis-server", "SECTOR7G_REDIS_SERVER"), ("redis-cli", "SECTOR7G_REDIS_CLI")] {
        if let Some(program) = std::env::var_os(choice) {
            symlink(program, bin.join(name)).unwrap();
        }
    }
    symlink(root().join("deploy"), folder.path().join("deploy")).unwrap();
    folder
}

fn console(folder: &Path) -> Console {
    let ports = PORTS.map(|port| (port.to_string(), free_port().to_string()));
    Console::open(folder, &ports)
}

/// Types in what a section says, after what it stands on.
fn work_through(section: &str) {
    let folder = folder();
    let mut console = console(folder.path());
    let blocks = page();
    let sections: BTreeSet<&str> = [START, section].into();
    let mut typed = 0;
    for block in blocks.iter().filter(|block| sections.contains(&*block.section)) {
        match &*block.language {
            "console" => {
                for script in Script::of(block) {
                    console.run(&script);
                    typed += 1;
                }
            }
            "python" => write(folder.path(), block),
            _ => {}
        }
    }
    assert!(typed > 3, "{section}: {typed} commands");
}

/// A program of the page, whose first line is its name: `# enqueue.py`.
fn write(folder: &Path, block: &Block) {
    let name = block.text.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap();
    fs::write(folder.join(name), &block.text).unwrap();
}

#[test]
fn the_plant_is_started() {
    work_through(DAYS[0]);
}

#[test]
fn workers_are_stopped_rolled_and_scaled() {
    work_through(DAYS[1]);
}

#[test]
fn a_failure_is_seen_and_mended() {
    work_through(DAYS[2]);
}

#[test]
fn a_full_server_is_seen_and_mended() {
    work_through(DAYS[3]);
}

#[test]
fn a_queue_moves_from_python() {
    work_through(DAYS[4]);
}

#[test]
fn alerts_find_their_way() {
    work_through(DAYS[5]);
}

/// What is not typed in is looked at: `docker compose` here, and nothing else is left out.
#[test]
fn every_command_is_typed_in_or_looked_at() {
    for block in page() {
        match &*block.language {
            "console" => {
                assert!(DAYS.contains(&&*block.section), "line {}: a section that no test types in", block.line);
            }
            "console docker" => Script::of(&block).iter().for_each(look_at),
            "python" => {}
            other => panic!("line {}: what is `{other}`?", block.line),
        }
    }
}

/// The section that names what is neither typed in nor looked at.
const NOT_TYPED: &str = "Not typed in";

/// What begins a command within a sentence, if more follows; alone it is a name.
const PROGRAMS: [&str; 16] = [
    "amtool",
    "cargo",
    "curl",
    "docker compose",
    "grep",
    "journalctl",
    "kill",
    "kubectl",
    "openssl",
    "plant",
    "promtool",
    "python",
    "redis-cli",
    "redis-server",
    "sector-7g",
    "systemctl",
];

/// The commands within the page's sentences, and those of its rows that say why they are not typed in.
fn commands_in_sentences() -> (BTreeSet<String>, BTreeSet<String>) {
    let is_command = |code: &String| {
        let starts = |name: &str| code.strip_prefix(name).is_some_and(|rest| rest.starts_with(' '));
        PROGRAMS.into_iter().any(starts)
    };
    let page = read("OPERATIONS.md");
    let (said, excused) = page.split_once(&format!("## {NOT_TYPED}\n")).expect("the page ends with what is not typed");
    let of = |text| inline_code(text).into_iter().filter(is_command).collect();
    (of(said), of(excused))
}

#[test]
fn a_command_that_is_not_typed_in_has_its_reason() {
    let (said, excused) = commands_in_sentences();
    let stale: Vec<_> = excused.difference(&said).collect();
    assert!(stale.is_empty(), "the page has these no more: {stale:?}");
    assert!(said.len() > excused.len() + 5, "what is said is found: {said:?}");
    let rows = read("OPERATIONS.md");
    let (_, rows) = rows.split_once(NOT_TYPED).unwrap();
    let rows = rows.lines().filter(|line| line.starts_with("| `"));
    assert_eq!(rows.filter(|row| row.split('|').nth(2).is_some_and(|why| why.len() > 15)).count(), excused.len());
}

/// Each ends well beside the plant that has been started.
#[test]
fn commands_within_sentences_work() {
    let folder = folder();
    let mut console = console(folder.path());
    let blocks = page();
    let start = blocks.iter().filter(|block| block.section == START && block.language == "console");
    start.flat_map(Script::of).for_each(|script| console.run(&script));
    let (said, excused) = commands_in_sentences();
    for command in said.difference(&excused) {
        let script = |command: String, says: &str| Script { command, says: vec![says.to_owned()], line: 0 };
        if command.starts_with("docker ") {
            look_at(&script(command.clone(), ""));
        } else {
            console.run(&script(format!("timeout 20 {command} >said.log 2>&1 </dev/null; echo $?"), "0"));
        }
    }
}

/// What this page has `docker compose` do, with the options that it takes there.
const DOCKER: [(&str, &[&str]); 11] = [
    ("build", &[]),
    ("up", &["--build", "--detach", "--scale", "--no-deps"]),
    ("down", &[]),
    ("ps", &[]),
    ("logs", &["--follow", "--since"]),
    ("stats", &["--no-stream"]),
    ("restart", &[]),
    ("stop", &[]),
    ("start", &[]),
    ("exec", &[]),
    ("run", &["--rm"]),
];

fn look_at(script: &Script) {
    let Script { command, line, .. } = script;
    let first = command.split(" | ").next().unwrap();
    let words: Vec<&str> = first.split_whitespace().collect();
    let ["docker", "compose", words @ ..] = &words[..] else { panic!("line {line}: {command}") };
    let words = if let ["--profile", profile, rest @ ..] = words {
        assert!(
            *profile == "\"*\"" || profiles().contains(*profile),
            "line {line}: {profile} is no profile of compose.yaml"
        );
        rest
    } else {
        words
    };
    let (verb, rest) = words.split_first().unwrap();
    let (_, options) = DOCKER.iter().find(|(known, _)| known == verb).unwrap_or_else(|| panic!("line {line}: {verb}"));
    let services = services();
    let mut rest = rest.iter().copied();
    while let Some(word) = rest.next() {
        if word.starts_with("--") {
            assert!(options.contains(&word), "line {line}: {word}");
            if word == "--scale" {
                let (service, count) = rest.next().unwrap().split_once('=').unwrap();
                assert!(services.contains(service) && count.parse::<u8>().is_ok(), "line {line}");
            } else if word == "--since" {
                rest.next().unwrap();
            }
            continue;
        }
        assert!(services.contains(word), "line {line}: {word} is no service of compose.yaml");
        match *verb {
            "run" => return takes(OPERATE.as_ref(), rest.collect(), *line),
            "exec" => match (word, rest.next()) {
                ("redis", Some("redis-cli")) => return,
                ("alertmanager", Some("amtool")) => return takes(&amtool(), rest.collect(), *line),
                other => panic!("line {line}: {other:?}"),
            },
            _ => {}
        }
    }
}

/// The program reads these words before it says its help.
fn takes(program: &Path, words: Vec<&str>, line: usize) {
    let output = Command::new(program).args(words).arg("--help").output().unwrap();
    assert!(output.status.success(), "line {line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Each alert that may come has its row, and each row its alert.
#[test]
fn each_alert_has_an_answer() {
    let rules = read("deploy/prometheus/alerts.yml");
    let alerts: BTreeSet<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let page = read("OPERATIONS.md");
    let rows: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .filter(|name| name.starts_with("Sector7g"))
        .collect();
    assert_eq!(rows, alerts);
}
