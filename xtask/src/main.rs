//! The workspace's chores: `cargo xtask <command>`. `cargo xtask help` lists them.

mod bench;
mod features;
mod needs;
mod python;
mod run;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::process::ExitCode;

use run::{Failed, Runner, Step};

const HELP: &str = "\
usage: cargo xtask <command>

  needs  installs what the tests need (as root on Debian; else says what to install)
  test   the same, then runs all tests
  bench  what dispatching a job costs beside a bare spawn, in ns and (with valgrind) in instructions
  ci     what .ci/run runs: format, lints, test, documentation, each feature by itself
  help   this text

Each stops at the first failure, with the exit code of what failed.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let command: fn(&mut Runner) -> Result<(), Failed> = match arguments[..] {
        ["needs"] => needs::install,
        ["test"] => test,
        ["bench"] => bench::bench,
        ["ci"] => ci,
        ["help" | "--help" | "-h"] => {
            eprintln!("{HELP}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("xtask: unknown command {:?}\n\n{HELP}", arguments.join(" "));
            return ExitCode::from(2);
        }
    };
    let mut runner = Runner::new(root());
    let outcome = command(&mut runner);
    eprint!("{runner}");
    match outcome {
        Ok(()) => {
            eprintln!("all passed");
            ExitCode::SUCCESS
        }
        Err(Failed { code }) => {
            eprintln!("FAILED, exit code {code}");
            ExitCode::from(code)
        }
    }
}

fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

fn test(runner: &mut Runner) -> Result<(), Failed> {
    needs::install(runner)?;
    if runner.has_nextest() {
        runner.run(&Step::cargo("nextest run --workspace --all-features"))?;
    } else {
        eprintln!("cargo-nextest is not installed; cargo's own test runner does, with less to say about slow tests");
        runner.run(&Step::cargo("test --workspace --all-features --lib --bins --tests"))?;
    }
    runner.run(&Step::cargo("test --workspace --all-features --doc")) // nextest knows no doctests
}

fn ci(runner: &mut Runner) -> Result<(), Failed> {
    runner.run(&Step::cargo("fmt --all --check"))?;
    runner.run(&Step::cargo("clippy --workspace --all-targets --all-features -- -D warnings"))?;
    runner.run(&Step::cargo(
        "clippy --package sector7g-tasks --package sector7g-macros --all-targets --no-default-features -- -D warnings",
    ))?;
    test(runner)?;
    runner.run(&Step::cargo("doc --workspace --all-features --no-deps").env("RUSTDOCFLAGS", "-D warnings"))?;
    for feature in features::of(runner, "sector7g-tasks/Cargo.toml")? {
        let check = format!("check --package sector7g-tasks --no-default-features --features {feature}");
        runner.run(&Step::cargo(&check))?;
    }
    Ok(())
}
