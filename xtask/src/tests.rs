use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use crate::bench::{self, Cost};
use crate::needs::{self, Need, Plan};
use crate::run::{self, Runner, Step};
use crate::{features, root};

const PRESENT: Need = Need { program: "sh", debian_package: "dash", why: "scripts" };
const ABSENT: Need =
    Need { program: "no-such-program", debian_package: "no-such-package", why: "the tests of nothing" };

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
    let passwd = Need { program: "passwd", debian_package: "base-passwd", why: "nothing" };
    assert_eq!(needs::missing(&[passwd], &["/etc".into()]).len(), 1);
    let bin = Need { program: "bin", debian_package: "base-files", why: "nothing" };
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
    assert_eq!(outcomes, ["true: ok", "false: exit code 1", "no-such-program: exit code 127", "in all"]);
}

#[test]
fn a_signal_is_128_and_its_number_as_in_a_shell() {
    assert_eq!(run::exit_code(ExitStatus::from_raw(9)), 137);
    assert_eq!(run::exit_code(ExitStatus::from_raw(101 << 8)), 101);
}

#[test]
fn a_row_says_whether_its_goal_is_reached() {
    let cost = |ns, instructions| Cost { ns, instructions };
    let row = |bare, dispatch| bench::table(&[("10-kept", [bare, dispatch])]).lines().nth(2).unwrap().to_owned();
    assert!(row(cost(600, Some(1_000)), cost(1_800, Some(3_000))).ends_with(" 3.00  reached"));
    assert!(row(cost(600, Some(1_000)), cost(1_800, Some(3_100))).ends_with(" 3.10  missed: instr."));
    assert!(row(cost(900, Some(1_000)), cost(2_000, Some(2_000))).ends_with(" 2.00  missed: ns"));
    assert!(row(cost(500, None), cost(1_600, None)).ends_with("    -  missed: ratio"));
}

#[test]
fn figures_are_found_in_what_programs_say() {
    assert_eq!(bench::number_after("==1== Collected : 123456\n==1==", "Collected : "), Some(123_456));
    assert_eq!(bench::number_after("bare-10: 812 ns a job", "bare-10: "), Some(812));
    assert_eq!(bench::number_after("usage", "Collected : "), None);
}
