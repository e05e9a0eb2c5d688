//! The workspace's chores: `cargo xtask <command>`. `cargo xtask help` lists them.

mod features;
mod needs;
mod peers;
mod python;
mod run;
#[cfg(test)]
mod tests;
mod unpacked;

use std::path::Path;
use std::process::ExitCode;

use run::{Failed, Runner, Step};

const HELP: &str = "\
usage: cargo xtask <command>

  needs  installs what the tests need (as root on Debian; else says what to install)
  test   the same, then runs all tests
  faults breaks workers, servers and the way between them, and accounts for every job: `faults --help`
  bench  what dispatching a job costs beside a bare spawn, in ns and (with valgrind) in instructions,
         and each step of it by itself; then what jobs cost the Redis server, in instructions
  peers  sector7g beside other libraries on Redis, side by side, into target/peers/report.md:
         `peers [--quick] [--publish] [--rounds N] [--only NAME..] [--measure WORD..]`; --publish puts
         the report into docs/performance, too, and its targets into PERFORMANCE.md
  ci     what .ci/run runs: format, lints, test, documentation, each feature by itself
  help   this text

Each stops at the first failure, with the exit code of what failed.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut runner = Runner::new(root());
    let outcome = match &arguments[..] {
        ["needs"] => needs::install(&mut runner),
        ["test"] => test(&mut runner),
        ["faults", options @ ..] => needs::install(&mut runner).and_then(|()| faults(&mut runner, options)),
        ["bench"] => runner.run(&Step::cargo("bench --package sector7g-benches --bench costs")),
        ["peers", options @ ..] => peers::peers(&mut runner, options),
        ["ci"] => ci(&mut runner),
        ["help" | "--help" | "-h"] => {
            eprintln!("{HELP}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("xtask: unknown command {:?}\n\n{HELP}", arguments.join(" "));
            return ExitCode::from(2);
        }
    };
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

/// Built with the features that the tests have, it is built once for both.
fn faults(runner: &mut Runner, options: &[&str]) -> Result<(), Failed> {
    runner.run(&Step::cargo("build --workspace --all-features --bin faults"))?;
    let own = std::env::current_exe().unwrap_or_default(); // beside this program, wherever cargo was told to build
    let program = own.with_file_name("faults").to_string_lossy().into_owned();
    let step = options.iter().fold(Step::new(&program, ""), |step, option| step.argument(option));
    runner.run(&step)
}

fn ci(runner: &mut Runner) -> Result<(), Failed> {
    runner.run(&Step::cargo("fmt --all --check"))?;
    runner.run(&Step::cargo("clippy --workspace --all-targets --all-features -- -D warnings"))?;
    runner.run(&Step::cargo(
        "clippy --package sector7g-tasks --package sector7g-macros --all-targets --no-default-features -- -D warnings",
    ))?;
    test(runner)?;
    faults(runner, &[])?;
    runner.run(&Step::cargo("doc --workspace --all-features --no-deps").env("RUSTDOCFLAGS", "-D warnings"))?;
    for feature in features::of(runner, "sector7g-tasks/Cargo.toml")? {
        let check = format!("check --package sector7g-tasks --no-default-features --features {feature}");
        runner.run(&Step::cargo(&check))?;
    }
    Ok(())
}
