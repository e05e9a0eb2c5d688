//! Stock arq workers and clients: the programs in `tests/arq/`.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use crate::interpreter::interpreter;
use crate::program::Program;

/// Within which Python must start, answer or end; beyond what a command itself waits for, it takes half a second.
const SOON: Duration = Duration::from_mins(1);

/// A stock arq worker: a [`Program`] that knows when it is ready. When a test fails, it shows what it said.
///
/// `tests/arq/py_worker.py` lists its options and the functions it knows.
#[derive(Debug)]
pub struct PythonWorker(Program);

impl PythonWorker {
    /// Starts a worker on the server at `url`, with options as `["--queue", "arq:lenny", "--codec", "json"]`, and
    /// waits until it polls.
    pub async fn start(url: &str, options: &[&str]) -> Self {
        let mut worker = Self::spawn(url, options);
        worker.ready().await;
        worker
    }

    /// As [`Self::start`], without the wait: several can start together. See [`Self::ready`].
    #[must_use]
    pub fn spawn(url: &str, options: &[&str]) -> Self {
        let [interpreter, script] = [interpreter(), script("py_worker.py")].map(|path| path.display().to_string());
        Self(Program::start(&interpreter, &[&["-B", &script, "--redis", url], options].concat()))
    }

    /// Waits until it polls.
    pub async fn ready(&mut self) {
        let until = Instant::now() + SOON;
        while !self.said().contains("READY") {
            assert!(self.exit_code().is_none(), "the worker has ended");
            assert!(Instant::now() < until, "the worker is not ready after {SOON:?}");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Deref for PythonWorker {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.0
    }
}

impl DerefMut for PythonWorker {
    fn deref_mut(&mut self) -> &mut Program {
        &mut self.0
    }
}

/// A stock arq client: one Python process that takes commands as long as this lives.
///
/// `tests/arq/py_client.py` lists its commands. When a test fails, it shows what Python had to say.
#[derive(Debug)]
pub struct PythonClient {
    process: Mutex<Process>,
    files: Files,
}

#[derive(Debug)]
struct Process {
    stdin: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    /// How many commands it was sent.
    sent: u64,
    /// Ends with its standard input; killed when dropped.
    _child: Child,
}

impl PythonClient {
    /// A client of the server at `url`, with options as `["--queue", "arq:lenny", "--codec", "json"]`.
    ///
    /// It starts while the test goes on; the first command waits for it.
    #[must_use]
    pub fn start(url: &str, options: &[&str]) -> Self {
        let files = Files::new();
        let log = std::fs::File::create(files.log_file()).expect("the folder is ours");
        let mut child = tokio::process::Command::new(interpreter())
            .arg("-B")
            .arg(script("py_client.py"))
            .args(["--redis", url])
            .args(options)
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("Python starts");
        let stdin = child.stdin.take().expect("it is piped");
        let answers = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Self { process: Mutex::new(Process { stdin, answers, sent: 0, _child: child }), files }
    }

    /// What Python answers to a command, as `["enqueue", "add", "--args", "[1, 2]", "--wait", "5"]`.
    ///
    /// Commands take turns: for one during another's wait, start a second client.
    ///
    /// # Panics
    /// When the command raises. See [`Self::try_call`].
    pub async fn call(&self, words: &[&str]) -> Value {
        let answer = self.try_call(words).await;
        answer.unwrap_or_else(|raised| panic!("{} raised {raised}", words.join(" ")))
    }

    /// As [`Self::call`]; `Err` is `{"raised": class, "message": text}`.
    ///
    /// # Errors
    /// The exception that arq raised.
    pub async fn try_call(&self, words: &[&str]) -> Result<Value, Value> {
        let answer = timeout(SOON, async { self.process.lock().await.ask(words).await });
        let answer = answer.await.unwrap_or_else(|_| panic!("no answer within {SOON:?} to {words:?}"));
        if answer.get("raised").is_some() { Err(answer) } else { Ok(answer) }
    }

    /// What Python had to say beside its answers, as warnings.
    #[must_use]
    pub fn log(&self) -> String {
        self.files.log()
    }
}

impl Process {
    async fn ask(&mut self, words: &[&str]) -> Value {
        self.sent += 1;
        let line = format!("{}\n", json!([self.sent, words]));
        self.stdin.write_all(line.as_bytes()).await.expect("the client takes commands");
        loop {
            let line = self.answers.next_line().await.expect("the client answers in UTF-8");
            let line = line.unwrap_or_else(|| panic!("the client ended at {words:?}"));
            let (number, answer): (u64, Value) = serde_json::from_str(&line).expect("the client answers in JSON");
            if number == self.sent {
                return answer; // others are of commands whose callers went away
            }
        }
    }
}

/// What a Python process wrote. When a test fails, it is shown.
#[derive(Debug)]
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("s7-arq-").tempdir();
        Self(folder.expect("the system has temporary files"))
    }

    fn log_file(&self) -> PathBuf {
        self.0.path().join("log")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("a Python process of this test logged:\n{}", self.log());
        }
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("arq").join(name)
}
