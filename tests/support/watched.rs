//! Child processes that never outlive the test.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, kill_process};

pub use rustix::process::Signal;

/// Runs `"$@"` until it ends, or until there is a line on standard input: then it is killed. When standard input
/// closes without one, our process has died, however it did, so that the folder goes, too. Says the process id first;
/// exits with the program's code.
const WATCHDOG: &str = r#"
exec 3<&0 </dev/null
"$@" 3<&- >>"$WATCHED_FOLDER/output" &
watched=$!
trap 'kill -9 $watched' HUP INT TERM
echo $watched
{
    read -r _ <&3 || { kill -STOP $watched; rm -rf "$WATCHED_FOLDER"; }
    kill -9 $watched
} >/dev/null 2>&1 &
exec 3<&-
wait $watched
code=$?
kill -9 $! 2>/dev/null
exit $code
"#;

/// A program that is killed when this is dropped, and when this process dies, even by `kill -9`.
#[derive(Debug)]
pub(crate) struct Watched {
    shell: Child,
    /// A line, or its end, kills the program.
    lifeline: Option<ChildStdin>,
    pid: Pid,
}

impl Watched {
    /// Starts `program`. What it says is appended to the files `output` and `log` of `folder`, which is removed when
    /// this process dies without the time to do so.
    pub(crate) fn start(program: &OsStr, arguments: &[impl AsRef<OsStr>], folder: &Path) -> io::Result<Self> {
        let errors = File::options().create(true).append(true).open(folder.join("log"))?;
        let mut shell = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(program)
            .args(arguments)
            .env("WATCHED_FOLDER", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()?;
        let lifeline = shell.stdin.take();
        let mut line = String::new();
        BufReader::new(shell.stdout.take().expect("it is piped")).read_line(&mut line)?;
        let pid = line.trim().parse().ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other(format!("the watchdog said {line:?}, no process id")))?;
        Ok(Self { shell, lifeline, pid })
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap_or_else(|error| panic!("can't signal {}: {error}", self.pid()));
    }

    /// Stops the program, and returns when none of its threads runs any more: the signal alone reaches them one by one.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.is_frozen() {
            assert!(Instant::now() < deadline, "{} does not stop", self.pid());
            blink();
        }
    }

    fn is_frozen(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid())).expect("it lives");
        threads.flatten().all(|thread| {
            let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default(); // it may have ended
            stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with('T'))
        })
    }

    /// The program's exit code, once it has ended; 128 and its number for a signal.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        let status = self.shell.try_wait().expect("it is our child")?;
        Some(status.code().unwrap_or(-1))
    }

    /// Kills the program and waits for its end.
    pub(crate) fn kill(&mut self) {
        self.cut();
        self.shell.wait().expect("it is our child");
    }

    fn cut(&mut self) {
        if let Some(mut lifeline) = self.lifeline.take() {
            let _ = lifeline.write_all(b"\n"); // it may have ended by itself
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.cut();
        let _ = self.shell.wait();
    }
}

/// A program by its name, or the one that the environment variable `choice` names instead.
pub(crate) fn program(name: &str, choice: &str) -> PathBuf {
    std::env::var_os(choice).map_or_else(|| PathBuf::from(name), PathBuf::from)
}

/// Blocks for the moment between two looks at something that another process does.
pub(crate) fn blink() {
    pause(Duration::from_millis(1));
}

/// Blocks between two looks at something that takes other processes a while.
#[expect(clippy::disallowed_methods, reason = "no runtime need be there")]
pub(crate) fn pause(span: Duration) {
    std::thread::sleep(span);
}
