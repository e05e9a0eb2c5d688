//! Programs of ours, in processes of their own.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::watched::{Signal, Watched};

/// Within which a program must end once it is asked to.
const SOON: Duration = Duration::from_mins(1);

/// A program that is killed with this value, and when this process dies. When a test fails, it shows what it said.
#[derive(Debug)]
pub struct Program {
    watched: Watched,
    folder: TempDir,
}

impl Program {
    /// Starts the program at `path`.
    #[must_use]
    pub fn start(path: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("s7-program-").tempdir().expect("the system has temporary files");
        let watched = Watched::start(Path::new(path).as_os_str(), arguments, folder.path());
        Self { watched: watched.expect("the program starts"), folder }
    }

    /// Freezes it with SIGSTOP.
    pub fn freeze(&self) {
        self.watched.freeze();
    }

    /// Lets it go on after [`Self::freeze`].
    pub fn thaw(&self) {
        self.watched.signal(Signal::CONT);
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.watched.pid()
    }

    /// Kills it with `kill -9` and waits for its end.
    pub fn kill9(&mut self) {
        self.watched.kill();
    }

    /// Asks it to stop (SIGTERM) and waits for its end. Returns its exit code.
    pub async fn terminate(&mut self) -> i32 {
        self.ask_to_stop();
        self.end().await
    }

    /// Asks it to stop (SIGTERM), if it still runs. See [`Self::exit_code`].
    pub fn ask_to_stop(&mut self) {
        if self.exit_code().is_none() {
            self.watched.signal(Signal::TERM);
        }
    }

    /// Its exit code once it has ended; 128 and its number for a signal.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.watched.exit_code()
    }

    /// Waits for its end. Returns its exit code; 128 and its number for a signal.
    pub async fn end(&mut self) -> i32 {
        let until = Instant::now() + SOON;
        loop {
            if let Some(code) = self.watched.exit_code() {
                return code;
            }
            assert!(Instant::now() < until, "the program still runs after {SOON:?}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// What it has said so far: standard output, then standard error.
    #[must_use]
    pub fn said(&self) -> String {
        let file = |name| std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        file("output") + &file("log")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("a program of this test said:\n{}", self.said());
        }
    }
}
