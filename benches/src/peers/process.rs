//! A contender's process: told when to begin, read as it talks, its CPU counted.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::Value;

use super::Broken;

/// Ticks of `/proc/<pid>/stat` a second; Linux has the same on all machines that Rust's std runs on.
const TICKS: f64 = 100.0;

/// How long it may take to end once it is told.
const END: Duration = Duration::from_secs(10);

/// A contender at work; dropped, it is ended.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

/// A line of a contender's.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Line {
    /// It waits for the word.
    Ready,
    /// All jobs are added, after so many seconds.
    Enqueued(f64),
    /// What has run until now.
    Ran(Tally),
    /// How late jobs began, in ms.
    Late(Vec<f64>),
    /// It can't, and why.
    Cannot(String),
}

/// How many jobs of a process have started, and when the first and the last of them did, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tally {
    pub(super) ran: u64,
    pub(super) since: f64,
    pub(super) at: f64,
}

impl Process {
    /// Starts `command`, and waits until it is ready.
    ///
    /// # Errors
    /// [`Broken`]; also when it says that it can't.
    pub(super) fn start(command: &mut Command, patience: Duration) -> Result<Self, Broken> {
        let shown = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Broken::new(format!("can't start {shown}: {error}")))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in output.into_iter().flat_map(|output| BufReader::new(output).lines()).map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        let process = Self { child, input, lines };
        match process.next(patience)? {
            Line::Ready => Ok(process),
            other => Err(Broken::new(format!("{shown} says {other:?} before it is ready"))),
        }
    }

    /// Gives the word to begin.
    ///
    /// # Errors
    /// [`Broken`] when it has ended.
    pub(super) fn go(&mut self) -> Result<(), Broken> {
        let input = self.input.as_mut().ok_or_else(|| Broken::new("it was told to end"))?;
        input.write_all(b"go\n")?;
        Ok(input.flush()?)
    }

    /// Its next line; what is none of ours is passed over.
    ///
    /// # Errors
    /// [`Broken`] when none comes, or it says that it can't.
    pub(super) fn next(&self, patience: Duration) -> Result<Line, Broken> {
        loop {
            let line = match self.lines.recv_timeout(patience) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => return Err(Broken::new(format!("it said nothing for {patience:?}"))),
                Err(RecvTimeoutError::Disconnected) => return Err(Broken::new("it ended before it was done")),
            };
            match read(&line) {
                Some(Line::Cannot(why)) => return Err(Broken { why, is_declined: true }),
                Some(line) => return Ok(line),
                None => {}
            }
        }
    }

    /// A line, if one has come.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub(super) fn try_next(&self) -> Result<Option<Line>, Broken> {
        match self.lines.try_recv() {
            Ok(line) => match read(&line) {
                Some(Line::Cannot(why)) => Err(Broken { why, is_declined: true }),
                line => Ok(line),
            },
            Err(std::sync::mpsc::TryRecvError::Empty) => Ok(None),
            Err(std::sync::mpsc::TryRecvError::Disconnected) => Err(Broken::new("it ended before it was done")),
        }
    }

    /// CPU since its start, in seconds: of the threads that it has, to the nanosecond, or of all that it has had, in ticks of
    /// 10 ms, where that is more. `None` where the kernel tells ticks only.
    ///
    /// # Errors
    /// [`Broken`] when it has ended.
    pub(super) fn cpu(&self) -> Result<Option<f64>, Broken> {
        let folder = format!("/proc/{}", self.child.id());
        let stat = fs::read_to_string(format!("{folder}/stat"))?;
        let of_all = ticks(&stat).ok_or_else(|| Broken::new(format!("no CPU time in {stat}")))? / TICKS;
        let threads = fs::read_dir(format!("{folder}/task"))?.flatten();
        // A thread may end meanwhile.
        let stats = threads.filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok());
        let of_threads: f64 = stats.filter_map(|stat| nanoseconds(&stat)).sum::<f64>() / 1e9;
        Ok((of_threads > 0.0).then(|| of_all.max(of_threads)))
    }
}

/// What a program says, when it ends well and says anything.
pub(super) fn said(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !said.is_empty()).then_some(said)
}

impl Drop for Process {
    fn drop(&mut self) {
        self.input = None; // the word to end
        let deadline = std::time::Instant::now() + END;
        while matches!(self.child.try_wait(), Ok(None)) {
            if std::time::Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            crate::side::rest(Duration::from_millis(5));
        }
    }
}

/// User's and system's time of a process: the 14th and 15th field; the 2nd, a name in brackets, may hold anything.
fn ticks(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<f64>().ok();
    Some(next()? + next()?)
}

/// A thread's time on a core, of its `schedstat`.
fn nanoseconds(stat: &str) -> Option<f64> {
    stat.split_whitespace().next()?.parse().ok()
}

fn read(line: &str) -> Option<Line> {
    let value: Value = serde_json::from_str(line).ok()?;
    let number = |name: &str| value.get(name).and_then(Value::as_f64);
    if value.get("ready").is_some() {
        return Some(Line::Ready);
    }
    if let Some(why) = value.get("cannot").and_then(Value::as_str) {
        return Some(Line::Cannot(why.to_owned()));
    }
    if let Some(late) = value.get("late_us").and_then(Value::as_array) {
        return Some(Line::Late(late.iter().filter_map(Value::as_f64).map(|us| us / 1_000.0).collect()));
    }
    if let (Some(ran), Some(since), Some(at)) =
        (value.get("ran").and_then(Value::as_u64), number("since"), number("at"))
    {
        return Some(Line::Ran(Tally { ran, since, at }));
    }
    number("enqueued").and_then(|_| number("seconds")).map(Line::Enqueued)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_others_passed_over() {
        let check = |line: &str, expected: Option<Line>| assert_eq!(read(line), expected, "{line}");
        check(r#"{"ready":true}"#, Some(Line::Ready));
        check(r#"{"enqueued":10,"seconds":0.5}"#, Some(Line::Enqueued(0.5)));
        let tally = Tally { ran: 7, since: 1_700_000_000.25, at: 1_700_000_001.5 };
        check(r#"{"ran":7,"since":1700000000.25,"at":1700000001.5}"#, Some(Line::Ran(tally)));
        check(r#"{"late_us":[1500,-20]}"#, Some(Line::Late(vec![1.5, -0.02])));
        check(r#"{"cannot":"no bulk"}"#, Some(Line::Cannot("no bulk".to_owned())));
        check("a warning of somebody's", None);
        check(r#"{"ran":7,"at":1700000001.5}"#, None);
    }

    #[test]
    fn cpu_is_read_behind_any_name() {
        let stat = "12 (a) b (c) R 1 1 1 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 3 0 99 1 1";
        assert_eq!(ticks(stat), Some(200.0));
        assert_eq!(ticks("12 (a"), None);
        assert_eq!(nanoseconds("1500 20 3\n"), Some(1_500.0));
        assert_eq!(nanoseconds(""), None);
    }
}
