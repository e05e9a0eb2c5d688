//! The programs that the tests use: found, installed, or asked for.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::run::{Failed, Runner, Step};

/// A program that some test starts, beside cargo.
#[derive(Debug)]
pub(crate) struct Need {
    /// Its name, as found in `PATH`.
    pub(crate) program: &'static str,
    /// The Debian package that has it.
    pub(crate) debian_package: &'static str,
    /// The tests that start it.
    pub(crate) why: &'static str,
}

/// Add a line for each program that a test starts, in the commit that adds the test.
pub(crate) const NEEDS: &[Need] = &[Need {
    program: "python3",
    debian_package: "python3",
    why: "sector7g-tasks/src/codec/tests/python.rs, where Python reads what we pickle",
}];

/// What to do about missing programs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Nothing is missing.
    Nothing,
    /// Install these packages, now.
    Install { packages: String },
    /// Tell the user this, and stop.
    Ask { text: String },
}

/// Makes sure that all of `needs` are there.
pub(crate) fn install(runner: &mut Runner, needs: &[Need]) -> Result<(), Failed> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    match plan(&missing(needs, &folders), is_debian(), is_root()) {
        Plan::Nothing if needs.is_empty() => eprintln!("the tests need no program beside cargo: nothing to install"),
        Plan::Nothing => eprintln!("all programs that the tests need are there: nothing to install"),
        Plan::Ask { text } => return Err(refuse(&text)),
        Plan::Install { packages } => {
            runner.run(&apt(&["update"]))?;
            runner.run(&apt(&["install --yes --no-install-recommends", &packages]))?;
            if let Plan::Ask { text } = plan(&missing(needs, &folders), true, false) {
                return Err(refuse(&text)); // the packages did not bring the programs
            }
        }
    }
    Ok(())
}

pub(crate) fn plan(missing: &[&Need], is_debian: bool, is_root: bool) -> Plan {
    if missing.is_empty() {
        return Plan::Nothing;
    }
    let packages = missing.iter().map(|need| need.debian_package).collect::<Vec<_>>().join(" ");
    if is_debian && is_root {
        return Plan::Install { packages };
    }
    let mut lines: Vec<String> =
        missing.iter().map(|need| format!("missing: {}, for {}", need.program, need.why)).collect();
    lines.push(if is_debian {
        format!("install with: sudo apt-get update && sudo apt-get install --yes --no-install-recommends {packages}")
    } else {
        format!("install what your system calls these Debian packages: {packages}")
    });
    Plan::Ask { text: lines.join("\n") }
}

pub(crate) fn missing<'a>(needs: &'a [Need], folders: &[PathBuf]) -> Vec<&'a Need> {
    needs.iter().filter(|need| !folders.iter().any(|folder| is_program(&folder.join(need.program)))).collect()
}

fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

fn apt(arguments: &[&str]) -> Step {
    Step::new("apt-get", &arguments.join(" ")).env("DEBIAN_FRONTEND", "noninteractive")
}

fn is_debian() -> bool {
    Path::new("/etc/debian_version").exists() // of its descendants, too
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn refuse(text: &str) -> Failed {
    eprintln!("{text}");
    Failed { code: 1 }
}
