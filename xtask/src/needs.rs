//! The programs that the tests use: found, installed, or asked for.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::run::{Failed, Runner, Step};
use crate::{python, unpacked};

/// A program that some test starts, beside cargo.
#[derive(Debug)]
pub(crate) struct Need {
    /// Its name, as found in `PATH`.
    pub(crate) program: &'static str,
    /// The argument with which it says its version.
    pub(crate) version: &'static str,
    /// The Debian package that has it.
    pub(crate) debian_package: &'static str,
    /// The tests that start it.
    pub(crate) why: &'static str,
}

/// Add a line for each program that a test starts, in the commit that adds the test.
pub(crate) const NEEDS: &[Need] = &[
    Need {
        program: "redis-server",
        version: "--version",
        debian_package: "redis-server",
        why: "all tests on Redis, each with its own",
    },
    Need {
        program: "redis-cli",
        version: "--version",
        debian_package: "redis-tools",
        why: "looking into the Redis of a test",
    },
    Need {
        program: "openssl",
        version: "version",
        debian_package: "openssl",
        why: "the certificates of encrypted connections",
    },
    Need {
        program: "python3",
        version: "--version",
        debian_package: "python3",
        why: "reading what we pickle; arq has a Python of its own",
    },
    Need {
        program: "curl",
        version: "--version",
        debian_package: "curl",
        why: "what OPERATIONS.md has operators type",
    },
    Need { program: "bash", version: "--version", debian_package: "bash", why: "the shell that it is typed into" },
    Need {
        program: "faketime",
        version: "--version",
        debian_package: "faketime",
        why: "workers whose clocks are an hour off",
    },
    Need { program: "chromium", version: "--version", debian_package: "chromium", why: "the dashboard's pages" },
    Need {
        program: "chromedriver",
        version: "--version",
        debian_package: "chromium-driver",
        why: "what the tests do with these pages",
    },
    Need {
        program: "systemd-analyze",
        version: "--version",
        debian_package: "systemd",
        why: "the units of deploy/systemd",
    },
    Need { program: "readelf", version: "--version", debian_package: "binutils", why: "what the image has to hold" },
];

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

/// Makes sure that all programs and Python's packages are there, and says which.
pub(crate) fn install(runner: &mut Runner) -> Result<(), Failed> {
    let mut missing = missing(NEEDS, &folders());
    missing.extend(python::missing(runner));
    get(runner, &missing)?;
    python::environment(runner)?;
    unpacked::get(runner)?;
    eprintln!("\nthe tests use:");
    for version in versions(runner) {
        eprintln!("  {version}");
    }
    Ok(())
}

/// Makes sure that one of the programs is there.
pub(crate) fn install_only(runner: &mut Runner, program: &str) -> Result<(), Failed> {
    let missing = missing(NEEDS, &folders());
    get(runner, &missing.into_iter().filter(|need| need.program == program).collect::<Vec<_>>())
}

/// Installs the packages of `missing`, or says what to install.
pub(crate) fn get(runner: &mut Runner, missing: &[&Need]) -> Result<(), Failed> {
    match plan(missing, is_debian(), is_root()) {
        Plan::Nothing => Ok(()),
        Plan::Ask { text } => Err(refuse(&text)),
        Plan::Install { packages } => {
            let install = format!("install --quiet --yes --no-install-recommends {packages}");
            if let Err(failed) = runner.run_again_on_failure(&[apt("update --quiet"), apt(&install)]) {
                eprintln!("xtask: can't install {packages}; once you have, by whatever means, try again");
                return Err(failed);
            }
            let missing = missing.iter().filter(|need| !is_there(need.program, &folders()));
            match plan(&missing.copied().collect::<Vec<_>>(), true, false) {
                Plan::Ask { text } => Err(refuse(&text)), // the packages did not bring the programs
                _ => Ok(()),
            }
        }
    }
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
    needs.iter().filter(|need| !is_there(need.program, folders)).collect()
}

fn is_there(program: &str, folders: &[PathBuf]) -> bool {
    folders.iter().any(|folder| is_program(&folder.join(program)))
}

fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

fn folders() -> Vec<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect()
}

fn versions(runner: &Runner) -> Vec<String> {
    let programs = NEEDS.iter().map(|need| {
        let said = runner.ask(&Step::new(need.program, need.version)).unwrap_or_default();
        format!("{}: {}", need.program, said.lines().next().unwrap_or("it does not say its version"))
    });
    programs.chain(python::versions(runner)).chain(unpacked::versions(runner)).collect()
}

fn apt(arguments: &str) -> Step {
    // Waits for another apt to end, for up to two minutes.
    Step::new("apt-get", &format!("-o DPkg::Lock::Timeout=120 {arguments}")).env("DEBIAN_FRONTEND", "noninteractive")
}

/// A folder of that name beside that of this very program, wherever cargo was told to build. The tests, built beside
/// it, look there.
pub(crate) fn folder(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let profile = own.ancestors().find(|folder| folder.ends_with("debug") || folder.ends_with("release"));
    profile.and_then(Path::parent).unwrap_or(Path::new("target")).join(name)
}

pub(crate) fn is_debian() -> bool {
    Path::new("/etc/debian_version").exists() // of its descendants, too
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

pub(crate) fn refuse(text: &str) -> Failed {
    eprintln!("{text}");
    Failed { code: 1 }
}
