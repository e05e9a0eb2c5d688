//! Running commands: shown before, timed, summed up after.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A command failed, and has said why; the program is to end with its exit code.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) code: u8,
}

/// A command to run in the workspace's root, with nothing on its standard input.
#[derive(Debug)]
pub(crate) struct Step {
    program: String,
    arguments: Vec<String>,
    env: Vec<(&'static str, &'static str)>,
}

impl Step {
    /// `arguments` are separated by spaces; none has one in it. See [`Self::argument`].
    pub(crate) fn new(program: &str, arguments: &str) -> Self {
        let arguments = arguments.split_whitespace().map(str::to_owned).collect();
        Self { program: program.to_owned(), arguments, env: Vec::new() }
    }

    /// One more argument, whatever is in it.
    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    pub(crate) fn cargo(arguments: &str) -> Self {
        Self::new("cargo", arguments)
    }

    pub(crate) fn env(mut self, name: &'static str, value: &'static str) -> Self {
        self.env.push((name, value));
        self
    }

    fn command(&self, root: &Path) -> Command {
        // Within `cargo xtask` the variable names the very cargo that was called.
        let cargo = || std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let program = if self.program == "cargo" { cargo() } else { (&self.program).into() };
        let mut command = Command::new(program);
        command.args(&self.arguments).envs(self.env.iter().copied()).current_dir(root).stdin(Stdio::null());
        command
    }
}

/// As one would type it into a shell.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.env {
            write!(f, "{name}='{value}' ")?;
        }
        f.write_str(&self.program)?;
        self.arguments.iter().try_for_each(|argument| {
            let is_plain =
                !argument.is_empty() && !argument.contains(|c: char| c.is_whitespace() || ";'*$".contains(c));
            if is_plain { write!(f, " {argument}") } else { write!(f, " '{argument}'") }
        })
    }
}

/// Runs steps in the workspace's root and remembers how long they took; displays as that summary.
#[derive(Debug)]
pub(crate) struct Runner {
    pub(crate) root: PathBuf,
    done: Vec<Done>,
}

/// How long a step takes that the summary names.
const TOLD: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Done {
    step: String,
    took: Duration,
    code: u8,
}

impl Runner {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), done: Vec::new() }
    }

    /// Runs `step` to its end, its output shown as it comes.
    pub(crate) fn run(&mut self, step: &Step) -> Result<(), Failed> {
        eprintln!("\n$ {step}");
        let started = Instant::now();
        let code = match step.command(&self.root).status() {
            Ok(status) => exit_code(status),
            Err(error) => {
                eprintln!("xtask: can't run {}: {error}", step.program);
                127 // what shells say of a command that they don't find
            }
        };
        self.done.push(Done { step: step.to_string(), took: started.elapsed(), code });
        if code == 0 { Ok(()) } else { Err(Failed { code }) }
    }

    /// Runs `steps` to their end, all of them once more when one fails: networks have bad moments.
    pub(crate) fn run_again_on_failure(&mut self, steps: &[Step]) -> Result<(), Failed> {
        let first = steps.iter().try_for_each(|step| self.run(step));
        first.or_else(|_| {
            eprintln!("xtask: once more");
            steps.iter().try_for_each(|step| self.run(step))
        })
    }

    /// What `step` says on its standard output, without the line's end, if it succeeds. Nothing is shown.
    pub(crate) fn ask(&self, step: &Step) -> Option<String> {
        let output = step.command(&self.root).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    pub(crate) fn has_nextest(&self) -> bool {
        self.ask(&Step::cargo("nextest --version")).is_some()
    }
}

impl fmt::Display for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        // What was nothing to wait for is left out: some show only a log's end, and that is to have more than this.
        let is_told = |done: &&Done| done.code != 0 || done.took >= TOLD;
        for Done { step, took, code } in self.done.iter().filter(is_told) {
            let outcome = if *code == 0 { "ok".to_owned() } else { format!("exit code {code}") };
            writeln!(f, "{:>8.1} s  {step}: {outcome}", took.as_secs_f64())?;
        }
        let total: Duration = self.done.iter().map(|done| done.took).sum();
        writeln!(f, "{:>8.1} s  in all", total.as_secs_f64())
    }
}

pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
