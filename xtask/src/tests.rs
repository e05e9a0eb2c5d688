use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use crate::needs::{self, Need, Plan};
use crate::run::{self, Runner, Step};
use crate::{features, python, root};

const PRESENT: Need = need("sh", "dash", "scripts");
const ABSENT: Need = need("no-such-program", "no-such-package", "the tests of nothing");

const fn need(program: &'static str, debian_package: &'static str, why: &'static str) -> Need {
    Need { program, version: "--version", debian_package, why }
}

#[test]
fn features_are_the_keys_of_their_table() {
    let manifest = "\
[package]
name = \"it\"

[features]
default = [\"cron\"]
## Cron schedules; a = b.
cron = [
    \"dep:croner\",
    \"dep:other=x\",
]
full-set=[]

[dependencies]
croner = \"4\"
";
    assert_eq!(features::parse(manifest), ["default", "cron", "full-set"]);
    assert_eq!(features::parse("[package]\nname = \"it\"\n"), [""; 0]);
}

#[test]
fn the_features_of_the_library_are_found() {
    let features = features::of(&Runner::new(root()), "sector7g-tasks/Cargo.toml").unwrap();
    assert!(features.iter().any(|feature| feature == "default"), "{features:?}");
    assert_eq!(features::of(&Runner::new(root()), "nowhere/Cargo.toml").unwrap_err().code, 1);
}

#[test]
fn a_program_is_missing_unless_path_has_it() {
    let folders = [PathBuf::from("/nowhere"), PathBuf::from("/bin")];
    let names = |needs: &[Need]| needs::missing(needs, &folders).iter().map(|need| need.program).collect::<Vec<_>>();
    assert_eq!(names(&[PRESENT, ABSENT]), ["no-such-program"]);
    assert_eq!(names(&[]), [""; 0]);
    // A file that can't be run, and a folder, are no programs.
    let passwd = need("passwd", "base-passwd", "nothing");
    assert_eq!(needs::missing(&[passwd], &["/etc".into()]).len(), 1);
    let bin = need("bin", "base-files", "nothing");
    assert_eq!(needs::missing(&[bin], &["/usr".into()]).len(), 1);
}

#[test]
fn missing_programs_are_installed_or_asked_for() {
    let ask = |text: &str| Plan::Ask { text: text.to_owned() };
    for (missing, is_debian, is_root, expected) in [
        (&[][..], true, true, Plan::Nothing),
        (&[], false, false, Plan::Nothing),
        (&[&PRESENT, &ABSENT], true, true, Plan::Install { packages: "dash no-such-package".to_owned() }),
        (
            &[&ABSENT],
            true,
            false,
            ask("missing: no-such-program, for the tests of nothing\n\
                 install with: sudo apt-get update && sudo apt-get install --yes --no-install-recommends no-such-package"),
        ),
        (
            &[&ABSENT],
            false,
            true,
            ask("missing: no-such-program, for the tests of nothing\n\
                 install what your system calls these Debian packages: no-such-package"),
        ),
    ] {
        assert_eq!(needs::plan(missing, is_debian, is_root), expected);
    }
}

#[test]
fn steps_show_as_they_would_be_typed() {
    let step = Step::cargo("doc  --no-deps").env("RUSTDOCFLAGS", "-D warnings");
    assert_eq!(step.to_string(), "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps");
    assert_eq!(Step::new("ls", "-l").argument("a folder").to_string(), "ls -l 'a folder'");
}

#[test]
fn what_fails_is_tried_once_more() {
    let folder = Folder::new("once");
    let steps = |last: &str| ["echo once >> first", last].map(|script| Step::new("sh", "-c").argument(script));
    let mut runner = Runner::new(&folder.0);
    runner.run_again_on_failure(&steps("test -e mark || { touch mark; exit 3; }")).unwrap();
    let first = std::fs::read_to_string(folder.0.join("first")).unwrap();
    assert_eq!(first.lines().count(), 2, "each step again: {runner}");
    assert_eq!(runner.run_again_on_failure(&steps("exit 4")).unwrap_err().code, 4);
    assert_eq!(runner.to_string().matches("exit code 4").count(), 2, "{runner}");
}

#[test]
fn an_answer_is_what_a_program_says_if_it_succeeds() {
    let runner = Runner::new(Path::new("/"));
    assert_eq!(runner.ask(&Step::new("echo", "").argument("glazed  donuts")).as_deref(), Some("glazed  donuts"));
    assert_eq!(runner.ask(&Step::new("false", "")), None);
    assert_eq!(runner.ask(&Step::new("no-such-program", "")), None);
}

#[test]
fn an_environment_is_current_while_its_copy_of_the_requirements_is() {
    let folder = Folder::new("stamp");
    let (environment, requirements) = (folder.0.join("environment"), folder.0.join("wanted.txt"));
    let current = || python::is_current(&environment, &requirements);
    std::fs::create_dir(&environment).unwrap();
    std::fs::write(&requirements, "arq==0.28.0\n").unwrap();
    assert!(!current(), "it is new, or was not finished");
    std::fs::copy(&requirements, environment.join("requirements.txt")).unwrap();
    assert!(current());
    std::fs::write(&requirements, "arq==0.28.1\n").unwrap();
    assert!(!current());
    std::fs::remove_file(&requirements).unwrap();
    assert!(!current());
}

#[test]
fn the_first_python_that_can_make_an_environment_is_tried_first() {
    let check = |able: &[&str], expected: &[&str]| {
        assert_eq!(python::interpreters(|program| able.contains(&program)).collect::<Vec<_>>(), expected);
    };
    check(&["python3", "/usr/bin/python3"], &["python3", "/usr/bin/python3"]);
    check(&["/usr/bin/python3"], &["/usr/bin/python3"]);
    check(&[], &[]);
}

/// A folder of one test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("xtask-{}-{name}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn failures_give_the_exit_code_and_show_in_the_summary() {
    let mut runner = Runner::new(Path::new("/"));
    runner.run(&Step::new("true", "")).unwrap();
    assert_eq!(runner.run(&Step::new("false", "")).unwrap_err().code, 1);
    assert_eq!(runner.run(&Step::new("no-such-program", "")).unwrap_err().code, 127);
    let summary = runner.to_string();
    let outcomes: Vec<_> =
        summary.lines().filter_map(|line| line.split_once(" s  ")).map(|(_, outcome)| outcome).collect();
    assert_eq!(
        outcomes,
        ["false: exit code 1", "no-such-program: exit code 127", "in all"],
        "what went well at once is not told"
    );
}

#[test]
fn a_signal_is_128_and_its_number_as_in_a_shell() {
    assert_eq!(run::exit_code(ExitStatus::from_raw(9)), 137);
    assert_eq!(run::exit_code(ExitStatus::from_raw(101 << 8)), 101);
}
