//! What a job costs, in time and in instructions, beside a bare spawn with the same serde work.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::run::{Failed, Runner, Step};

/// How often a bare spawn's cost a dispatch may have, and how long it may take.
const MOST_TIMES: f64 = 3.0;
const MOST_NS: u64 = 2_000;

/// What runs at once, and whether results are kept.
const ROWS: [&str; 4] = ["10-dropped", "10-kept", "100-dropped", "100-kept"];

/// Jobs of a timed run: enough that a worker's start and stop don't show.
const TIMED_JOBS: u64 = 20_000;

/// Timed runs of each case, of which the fastest counts: a machine's other work only adds.
const TIMED_RUNS: usize = 7;

/// Jobs of two counted runs: the difference leaves out what is done once.
const COUNTED_JOBS: (u64, u64) = (1_000, 3_000);

/// What a job of one case costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) ns: u64,
    /// `None` without valgrind.
    pub(crate) instructions: Option<u64>,
}

pub(crate) fn bench(runner: &mut Runner) -> Result<(), Failed> {
    runner.run(&Step::cargo("build --profile bench --package sector7g-benches --bin probe"))?;
    let probe = Probe::new(runner);
    if !probe.has_valgrind {
        eprintln!("valgrind is not installed: times only (Debian: apt-get install valgrind)");
    }
    let rows = ROWS.iter().map(|row| Ok((*row, probe.costs(row)?))).collect::<Result<Vec<_>, Failed>>()?;
    eprintln!("\n{}", table(&rows));
    Ok(())
}

/// One line for each of `rows`: what runs, then the bare spawn's cost and the dispatch's.
pub(crate) fn table(rows: &[(&str, [Cost; 2])]) -> String {
    let mut lines = vec![
        "per job      bare, ns  dispatch, ns  ratio   bare, instr.  dispatch, instr.  ratio  goal".to_owned(),
        "-----------  --------  ------------  -----   ------------  ----------------  -----  -----------".to_owned(),
    ];
    let within = |ratio: f64| ratio <= MOST_TIMES;
    for (name, [bare, dispatch]) in rows {
        let times = ratio(dispatch.ns, bare.ns);
        let counted = bare.instructions.zip(dispatch.instructions);
        let by_count = counted.map(|(bare, dispatch)| ratio(dispatch, bare));
        let shown = |number: Option<String>| number.unwrap_or_else(|| "-".to_owned());
        let goals = [("instr.", by_count.is_none_or(within)), ("ratio", within(times)), ("ns", dispatch.ns < MOST_NS)];
        let missed: Vec<&str> = goals.iter().filter(|(_, reached)| !reached).map(|(what, _)| *what).collect();
        lines.push(format!(
            "{name:<11}  {:>8}  {:>12}  {times:>5.2}   {:>12}  {:>16}  {:>5}  {}",
            bare.ns,
            dispatch.ns,
            shown(counted.map(|(bare, _)| bare.to_string())),
            shown(counted.map(|(_, dispatch)| dispatch.to_string())),
            shown(by_count.map(|ratio| format!("{ratio:.2}"))),
            if missed.is_empty() { "reached".to_owned() } else { format!("missed: {}", missed.join(", ")) },
        ));
    }
    lines.push(format!(
        "goal: at most {MOST_TIMES} times the bare spawn, in instructions and in time, and under {MOST_NS} ns"
    ));
    lines.join("\n")
}

#[expect(clippy::cast_precision_loss, reason = "costs are far below 2^52")]
fn ratio(one: u64, other: u64) -> f64 {
    one as f64 / other.max(1) as f64
}

struct Probe {
    program: PathBuf,
    has_valgrind: bool,
}

impl Probe {
    fn new(runner: &Runner) -> Self {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
        let program = runner.root.join(target).join("release/probe"); // the profile `bench` builds there, too
        let mut valgrind = Command::new("valgrind");
        valgrind.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        Self { program, has_valgrind: valgrind.status().is_ok_and(|status| status.success()) }
    }

    fn costs(&self, row: &str) -> Result<[Cost; 2], Failed> {
        let cases = [format!("bare-{row}"), format!("dispatch-{row}")];
        let mut ns = [u64::MAX; 2];
        for _ in 0..TIMED_RUNS {
            // In turns, so that a slow spell of the machine meets both.
            for (case, best) in cases.iter().zip(&mut ns) {
                *best = (*best).min(self.time(case)?);
            }
        }
        let mut instructions = [None; 2];
        if self.has_valgrind {
            for (case, counted) in cases.iter().zip(&mut instructions) {
                *counted = Some(self.instructions(case)?);
            }
        }
        Ok([0, 1].map(|index| Cost { ns: ns[index], instructions: instructions[index] }))
    }

    fn time(&self, case: &str) -> Result<u64, Failed> {
        let mut command = Command::new(&self.program);
        let said = said(command.args([case, &TIMED_JOBS.to_string()]))?;
        number_after(&said, &format!("{case}: ")).ok_or_else(|| unreadable(&said))
    }

    /// Of what comes after the preparation, between few jobs and more.
    fn instructions(&self, case: &str) -> Result<u64, Failed> {
        let (few, more) = COUNTED_JOBS;
        let run = |jobs: u64| Ok(self.count(case, jobs, false)?.saturating_sub(self.count(case, jobs, true)?));
        Ok((run(more)?.saturating_sub(run(few)?)) / (more - few))
    }

    fn count(&self, case: &str, jobs: u64, only_prepare: bool) -> Result<u64, Failed> {
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
        command.arg(&self.program).args([case, &jobs.to_string()]);
        let said = said(command.args(only_prepare.then_some("prepare")))?;
        number_after(&said, "Collected : ").ok_or_else(|| unreadable(&said))
    }
}

fn said(command: &mut Command) -> Result<String, Failed> {
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output();
    let output = output.map_err(|error| {
        eprintln!("xtask: can't run {}: {error}", command.get_program().display());
        Failed { code: 127 }
    })?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(said) } else { Err(unreadable(&said)) }
}

fn unreadable(said: &str) -> Failed {
    eprintln!("xtask: no figure in what the probe said:\n{said}");
    Failed { code: 1 }
}

pub(crate) fn number_after(text: &str, mark: &str) -> Option<u64> {
    let (_, rest) = text.split_once(mark)?;
    rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}
