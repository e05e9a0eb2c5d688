//! arq, which some tests stand beside: in a virtual environment below the target folder.

use std::fs;
use std::path::{Path, PathBuf};

use crate::needs::{self, Need, refuse};
use crate::run::{Failed, Runner, Step};

/// What the environment holds, from the workspace's root.
const REQUIREMENTS: &str = "tests/arq/requirements.txt";

/// The copy of the requirements that a finished environment has.
const STAMP: &str = "requirements.txt";

/// Debian's own; the first of `PATH` can be one that its user has built without this or that.
const DEBIAN_PYTHON: &str = "/usr/bin/python3";

const PYTHON: Need = Need {
    program: "python3",
    version: "--version",
    debian_package: "python3-venv",
    why: "the tests beside arq, which need Python 3.9 or later with its modules venv and ensurepip",
};

/// Fails where a virtual environment can't be made.
const CAN_MAKE: &str = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))";

const VERSIONS: &str = "\
import platform, importlib.metadata as m
print(', '.join(['Python ' + platform.python_version()] + [p + ' ' + m.version(p) for p in ('arq', 'redis', 'msgpack')]))
import arq, msgpack";

/// Python, if there is no environment yet and no interpreter that can make one.
pub(crate) fn missing(runner: &Runner) -> Option<&'static Need> {
    let there = is_ready(runner) || interpreters(|program| can_make(runner, program)).next().is_some();
    (!there).then_some(&PYTHON)
}

/// Makes the environment, unless it is there and holds what is required.
pub(crate) fn environment(runner: &mut Runner) -> Result<(), Failed> {
    if is_ready(runner) { Ok(()) } else { make_and_fill(runner, &folder(), REQUIREMENTS) }
}

/// Makes another environment, in `folder`, that holds what `requirements` (a path from the root) lists.
pub(crate) fn fill_from(runner: &mut Runner, folder: &Path, requirements: &str) -> Result<(), Failed> {
    let is_there = is_current(folder, &runner.root.join(requirements));
    if is_there { Ok(()) } else { make_and_fill(runner, folder, requirements) }
}

fn make_and_fill(runner: &mut Runner, folder: &Path, requirements: &str) -> Result<(), Failed> {
    let candidates: Vec<_> = interpreters(|program| can_make(runner, program)).collect();
    if !candidates.iter().any(|program| runner.run(&make(program, folder)).is_ok()) {
        needs::get(runner, &[&PYTHON])?;
        runner.run(&make(DEBIAN_PYTHON, folder))?;
    }
    fill(runner, folder, requirements)
}

/// What to show of the environment.
pub(crate) fn versions(runner: &Runner) -> Option<String> {
    let said = runner.ask(&Step::new(&program(), "-c").argument(VERSIONS))?;
    Some(format!("{}: {said}", folder().display()))
}

/// The interpreters worth a try, best first: those of which `can_make` is true.
pub(crate) fn interpreters(can_make: impl Fn(&str) -> bool) -> impl Iterator<Item = &'static str> {
    ["python3", DEBIAN_PYTHON].into_iter().filter(move |program| can_make(program))
}

/// Whether the environment in `folder` was made from `requirements`, to the end.
pub(crate) fn is_current(folder: &Path, requirements: &Path) -> bool {
    let stamp = fs::read(folder.join(STAMP));
    stamp.is_ok_and(|stamp| fs::read(requirements).is_ok_and(|wanted| wanted == stamp))
}

fn is_ready(runner: &Runner) -> bool {
    // It may have outlived the interpreter that it was made with.
    is_current(&folder(), &runner.root.join(REQUIREMENTS)) && versions(runner).is_some()
}

fn can_make(runner: &Runner, program: &str) -> bool {
    runner.ask(&Step::new(program, "-c").argument(CAN_MAKE)).is_some()
}

fn make(program: &str, folder: &Path) -> Step {
    Step::new(program, "-m venv --clear").argument(&folder.to_string_lossy())
}

fn fill(runner: &mut Runner, folder: &Path, requirements: &str) -> Result<(), Failed> {
    let python = folder.join("bin/python");
    let pip = Step::new(&python.to_string_lossy(), "-m pip install --disable-pip-version-check --no-input --quiet");
    let pip = pip.argument("--requirement").argument(requirements);
    if let Err(failed) = runner.run_again_on_failure(&[pip]) {
        eprintln!("xtask: can't install what {requirements} lists; pip says why above");
        return Err(failed);
    }
    let stamped = fs::copy(runner.root.join(requirements), folder.join(STAMP));
    stamped.map(drop).map_err(|error| refuse(&format!("xtask: can't write into {}: {error}", folder.display())))
}

fn program() -> String {
    folder().join("bin/python").to_string_lossy().into_owned()
}

fn folder() -> PathBuf {
    needs::folder("arq-venv")
}
