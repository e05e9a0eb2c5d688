//! What a worker costs beyond the function itself, without Redis: by the probe, whose cases `cargo xtask bench` measures.

use std::path::Path;
use std::process::{Command, Stdio};

use super::Broken;
use super::contest;
use super::figures::{Figures, Metric};

/// Jobs of one run: enough that a worker's start and stop don't show.
const JOBS: usize = 20_000;

/// Runs of each case in a round, of which the fastest counts: a machine's other work only adds.
const RUNS: usize = 7;

/// Both cases in turns, so that a slow spell of the machine meets both.
pub(super) fn run(root: &Path, at_once: usize, keeps: bool) -> Result<Figures, Broken> {
    let program = contest::target(root).join("release/probe");
    let results = if keeps { "kept" } else { "dropped" };
    let cases = ["dispatch", "bare"].map(|what| format!("{what}-{at_once}-{results}"));
    let mut least = [f64::INFINITY; 2];
    for _ in 0..RUNS {
        for (case, least) in cases.iter().zip(&mut least) {
            *least = least.min(ns(&program, case)?);
        }
    }
    let [dispatch, bare] = least;
    Ok([(Metric::Beyond, dispatch - bare), (Metric::Dispatch, dispatch), (Metric::Bare, bare)].into())
}

fn ns(program: &Path, case: &str) -> Result<f64, Broken> {
    let mut command = Command::new(program);
    command.args([case, &JOBS.to_string()]).stdin(Stdio::null());
    let output =
        command.output().map_err(|error| Broken::new(format!("can't start {}: {error}", program.display())))?;
    let said = String::from_utf8_lossy(&output.stderr);
    read(&said, case).ok_or_else(|| Broken::new(format!("no figure in what the probe said: {}", said.trim())))
}

/// The probe says `dispatch-100-dropped: 1900 ns a job`.
fn read(said: &str, case: &str) -> Option<f64> {
    said.lines().find_map(|line| line.strip_prefix(case)?.strip_prefix(": ")?.strip_suffix(" ns a job")?.parse().ok())
}

#[test]
fn a_figure_is_of_its_case() {
    assert_eq!(read("dispatch-10-kept: 1900 ns a job\n", "dispatch-10-kept"), Some(1_900.0));
    assert_eq!(read("dispatch-10-kept: 1900 ns a job\n", "dispatch-10"), None);
    assert_eq!(read("usage: probe", "dispatch-10"), None);
}
