//! The command line of worker programs, from outside: exit codes, messages, stops, `--watch`.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const FIXTURE: &str = env!("CARGO_BIN_EXE_fixture");
const TWINS: &str = env!("CARGO_BIN_EXE_fixture-twins");
const BAD_CRON: &str = env!("CARGO_BIN_EXE_fixture-bad-cron");

/// How long anything may take but a build.
const SOON: Duration = Duration::from_secs(20);

/// How long a build may take on a busy machine.
const BUILD: Duration = Duration::from_secs(90);

fn command(program: impl AsRef<Path>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program.as_ref());
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in ["REDIS_URL", "RUST_LOG", "NO_COLOR", "CLICOLOR_FORCE", "RUST_BACKTRACE"] {
        command.env_remove(name);
    }
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A program at work, killed with the test.
struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    reader: Option<JoinHandle<()>>,
    seen: Vec<String>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        let stdin = child.stdin.take();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        let reader = std::thread::spawn(move || {
            // Ends when the last process that holds the other end has ended: the program or a child of it.
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, stdin, lines, reader: Some(reader), seen: Vec::new() }
    }

    /// Waits for a line that contains `text`.
    fn expect(&mut self, text: &str, within: Duration) -> String {
        let until = Instant::now() + within;
        loop {
            let line = self.lines.recv_timeout(until.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|error| panic!("no «{text}» ({error}) in:\n{}", self.seen.join("\n")));
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Waits until neither the program nor any process that it started is left.
    fn expect_no_process(&mut self, within: Duration) {
        let until = Instant::now() + within;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => panic!("a process is left over after:\n{}", self.seen.join("\n")),
            }
        }
    }

    /// Waits for the program's end and that of its children. Returns its exit code and all that it has said.
    fn end(mut self, within: Duration) -> (Option<i32>, String) {
        self.expect_no_process(within);
        (self.child.wait().unwrap().code(), self.seen.join("\n"))
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

#[test]
fn each_mistake_is_one_message_and_exit_code_2() {
    let check = |program: &str, arguments: &[&str], expected: &[&str]| {
        let output = command(program, arguments).output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.starts_with("error: ") && said.matches("error: ").count() == 1, "{arguments:?}: {said}");
        for text in expected {
            assert!(said.contains(text), "{arguments:?}: «{text}» in {said}");
        }
        for text in ["panicked", "backtrace", "RUST_BACKTRACE", "doughnut"] {
            assert!(!said.contains(text), "{arguments:?}: «{text}» in {said}");
        }
    };
    check(FIXTURE, &["nobody"], &["`nobody`", "carl, charlie, grimey, homer, lenny"]);
    check(FIXTURE, &["lenny", "nobody", "--burst"], &["`nobody`"]);
    check(FIXTURE, &["nobody", "--check"], &["`nobody`"]);
    check(FIXTURE, &["nobody", "--watch", "."], &["`nobody`"]);
    check(FIXTURE, &["--redis", "nonsense://"], &["`nonsense://`", "redis://, unix://, redis+sentinel://"]);
    check(FIXTURE, &["--redis", "redis://:doughnut@plant/x"], &["`redis://***@plant/x`"]);
    check(FIXTURE, &["homer", "redis://:doughnut@plant"], &["`redis://***@plant`"]);
    check(FIXTURE, &["--redi=redis://:doughnut@plant"], &["--redis"]);
    check(FIXTURE, &["--brust"], &["'--brust'", "'--burst'"]);
    check(FIXTURE, &["--watch", "/no/such/directory"], &["`/no/such/directory`"]);
    check(FIXTURE, &["--watch", FIXTURE], &["not a directory"]);
    check(TWINS, &[], &["`count_donuts`", "twins.rs:13", "twins.rs:20"]);
    check(TWINS, &["--check"], &["`count_donuts`"]);
    check(BAD_CRON, &[], &["`read_gauges`", "bad_cron.rs:12", "61"]);
}

/// As compose files and units pass on what nobody has set.
#[test]
fn blank_variables_are_not_set() {
    for blank in ["", " "] {
        let mut command = command(FIXTURE, &["lenny", "--burst"]);
        for name in ["REDIS_URL", "RUST_LOG", "SECTOR7G_LISTEN", "SECTOR7G_MAX_BLOCKED", "SECTOR7G_MAX_AWAY"] {
            command.env(name, blank);
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
}

#[test]
fn mistakes_in_the_environment_are_mistakes_in_usage() {
    let check = |name: &str, value: &str, expected: &str| {
        let output = command(FIXTURE, &["lenny", "--burst"]).env(name, value).output().unwrap();
        let said = stderr(&output);
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
        assert!(said.contains(expected) && !said.contains("doughnut"), "{said}");
    };
    check("REDIS_URL", "nonsense://:doughnut@plant", "`nonsense://`");
    check("REDIS_URL", "rediss://:doughnut@plant:x", "`rediss://***@plant:x`");
    check("RUST_LOG", "plant=loud", "RUST_LOG");
}

#[test]
fn failures_are_one_message_and_exit_code_1() {
    let check = |command: &mut Command, expected: &str| {
        let output = command.output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(said.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{said}");
        assert!(said.lines().last().unwrap().contains(expected), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    };
    check(&mut command(FIXTURE, &["carl"]), "error: on_startup of worker `carl` failed: carl is ill");
    check(
        command(FIXTURE, &["lenny"]).env("FIXTURE_FRIDGE_IS_LOCKED", "1"),
        "error: the setup failed: the fridge is locked",
    );
    check(&mut command(FIXTURE, &["lenny", "--check"]), "error: health check failed: workers on the embedded broker");
}

#[test]
fn a_check_runs_no_setup() {
    let output = command(FIXTURE, &["lenny", "--check"]).env("FIXTURE_FRIDGE_IS_LOCKED", "1").output().unwrap();
    assert!(stderr(&output).contains("embedded broker") && !stderr(&output).contains("fridge"));
}

#[test]
fn the_version_names_program_and_library() {
    for flag in ["--version", "-V"] {
        let output = command(FIXTURE, &[flag]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && output.stderr.is_empty());
        assert!(said.starts_with("fixture 7.0.0 (sector7g-tasks ") && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn a_burst_ends_by_itself() {
    let output = command(FIXTURE, &["lenny", "--burst"]).output().unwrap();
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("count_donuts") && said.contains("◆ 1 jobs complete ◆ 0 failed"), "{said}");
    // `HH:MM:SS: message`, and no colours where there is no terminal.
    let time =
        |line: &str| line.split_once(": ").is_some_and(|(time, _)| time.len() == 8 && time.matches(':').count() == 2);
    assert!(said.lines().all(time) && !said.contains('\x1b'), "{said}");
}

#[test]
fn a_worker_by_name_says_that_its_broker_is_embedded() {
    let output = command(FIXTURE, &["lenny", "--burst"]).output().unwrap();
    let said = stderr(&output);
    assert!(
        said.lines().any(|line| line.contains("WARN") && line.contains("no other process can reach: lenny")),
        "{said}"
    );
}

#[test]
fn json_logs_are_one_object_a_line() {
    for (arguments, code) in
        [(["lenny", "--burst", "--log-format=json"], 0), (["nobody", "--burst", "--log-format=json"], 2)]
    {
        let output = command(FIXTURE, &arguments).output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{said}");
        for line in said.lines() {
            let object: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(
                object["message"].is_string() && object["level"].is_string() && object["timestamp"].is_string(),
                "{line}"
            );
        }
        assert!(code == 0 || said.lines().count() == 1, "{said}");
    }
}

#[test]
fn the_log_level_is_for_the_operator_to_choose() {
    let said = |arguments: &[&str], level: &str| {
        let output = command(FIXTURE, arguments).env("RUST_LOG", level).output().unwrap();
        assert!(output.status.success());
        stderr(&output)
    };
    assert_eq!(said(&["lenny", "--burst"], "off"), "");
    assert!(said(&["lenny", "--burst", "-v"], "off").contains("count_donuts"));
}

#[test]
fn a_signal_gives_back_what_runs_and_ends_well() {
    for signal in ["TERM", "INT"] {
        let mut homer = Running::start(command(FIXTURE, &["homer"]));
        homer.expect(":nap(", SOON);
        homer.signal(signal);
        homer.expect(":nap cancelled, will be run again", SOON);
        let (code, said) = homer.end(SOON);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains(&format!("SIG{signal}")) && said.contains("◆ 1 given back"), "{said}");
    }
}

#[test]
fn a_start_that_hangs_can_be_stopped() {
    let mut charlie = Running::start(command(FIXTURE, &["charlie"]));
    charlie.expect("broker: ", SOON);
    charlie.signal("TERM");
    let (code, said) = charlie.end(SOON);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_thread_that_ignores_the_stop_does_not_hold_the_program() {
    let mut grimey = Running::start(command(FIXTURE, &["grimey"]));
    grimey.expect(":audit(", SOON);
    grimey.signal("TERM");
    let (code, said) = grimey.end(SOON);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn the_end_of_standard_input_stops_only_who_was_told_so() {
    let mut watched = command(FIXTURE, &["homer", "--until-stdin-ends"]);
    watched.stdin(Stdio::piped());
    let mut watched = Running::start(watched);
    let mut homer = Running::start(command(FIXTURE, &["homer"])); // its standard input is at its end
    watched.expect(":nap(", SOON);
    drop(watched.stdin.take());
    let (code, said) = watched.end(SOON);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(":nap cancelled, will be run again"), "{said}");
    homer.expect(":nap(", SOON);
    assert!(homer.child.try_wait().unwrap().is_none());
}

#[test]
fn a_start_that_hangs_ends_with_standard_input() {
    let mut charlie = command(FIXTURE, &["charlie", "--until-stdin-ends"]);
    charlie.stdin(Stdio::piped());
    let mut charlie = Running::start(charlie);
    charlie.expect("broker: ", SOON);
    drop(charlie.stdin.take());
    let (code, said) = charlie.end(SOON);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_program_that_cargo_did_not_build_can_not_be_watched() {
    let directory = Scratch::new("installed");
    let program = directory.0.join("worker");
    fs::copy(FIXTURE, &program).unwrap();
    let output = command(&program, &["lenny", "--watch", "."]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--watch can't rebuild this program"), "{}", stderr(&output));
}

/// A directory of its own for a test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A package with one worker, which is built into this workspace's target directory, so that its
/// dependencies are there already.
struct Package {
    directory: Scratch,
    name: String,
}

impl Package {
    /// Builds generation 1.
    fn new(name: &str) -> Self {
        let package = Self { directory: Scratch::new(name), name: format!("cli-fixture-{name}") };
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let library = root.join("sector7g-tasks");
        let manifest = format!(
            "[package]\nname = '{}'\nedition = '2024'\n[workspace]\n[features]\ndonuts = []\n\
             [dependencies]\nsector7g-tasks = {{ path = '{}', features = ['cli'] }}\n",
            package.name,
            library.display()
        );
        fs::create_dir(package.directory.0.join("src")).unwrap();
        fs::write(package.directory.0.join("Cargo.toml"), manifest).unwrap();
        // The same versions, so that nothing is fetched.
        let _ = fs::copy(root.join("Cargo.lock"), package.directory.0.join("Cargo.lock"));
        package.write(1);
        let output = package.here(command(cargo(), &["build"])).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        package
    }

    /// Writes the worker's source. Its worker says on its start which generation it is, and has a job that does not end.
    fn write(&self, generation: u32) {
        let features = "if cfg!(feature = \"donuts\") { \" with donuts\" } else { \"\" }";
        self.write_source(&format!("eprintln!(\"generation {generation} is up{{}}\", {features});"));
    }

    fn write_source(&self, at_start: &str) {
        let source = format!(
            r#"
            use sector7g_tasks::prelude::*;

            #[derive(Worker)]
            #[worker(queue = "homer", job_completion_wait = 0, on_startup = arrive)]
            pub struct Homer;

            async fn arrive(worker: &WorkerContext) -> Result<(), TaskError> {{
                {at_start}
                worker.client().enqueue(nap::job()).await?;
                Ok(())
            }}

            #[task(queue = "homer")]
            async fn nap() {{
                std::future::pending().await
            }}

            fn main() -> std::process::ExitCode {{
                sector7g_tasks::cli::main()
            }}
            "#
        );
        fs::write(self.directory.0.join("src/main.rs"), source).unwrap();
    }

    /// In the package's directory, with this workspace's target directory and without the network.
    fn here(&self, mut command: Command) -> Command {
        let target = Path::new(FIXTURE).parent().unwrap().parent().unwrap();
        command.current_dir(&self.directory.0).env("CARGO_TARGET_DIR", target).env("CARGO_NET_OFFLINE", "true");
        command
    }

    /// Starts the worker with `--watch src`, up to its first job.
    fn watch(&self) -> Running {
        let program = Path::new(FIXTURE).with_file_name(&self.name);
        let mut parent = self.here(command(program, &["homer", "--watch", "src"]));
        parent.env("SECTOR7G_WATCH_CARGO_ARGS", "--features  donuts");
        let mut parent = Running::start(parent);
        parent.expect("generation 1 is up", SOON);
        parent.expect(":nap(", SOON);
        parent
    }
}

fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

#[test]
fn watch_rebuilds_and_restarts() {
    let package = Package::new("rebuild");
    let mut parent = package.watch();
    package.write(2);
    parent.expect("files changed (main.rs)", SOON);
    parent.expect(":nap cancelled, will be run again", BUILD);
    parent.expect("generation 2 is up with donuts", SOON);
    parent.expect(":nap(", SOON);

    package.write_source("let _ = dough;");
    parent.expect("cannot find value `dough`", BUILD); // the compiler's own words
    parent.expect("the worker goes on as it was", BUILD);

    package.write_source("std::process::exit(3);");
    parent.expect(":nap cancelled, will be run again", BUILD); // generation 2 was at work until now
    parent.expect("the worker ended by itself (exit status: 3)", SOON);
    package.write(4);
    parent.expect("generation 4 is up", BUILD);

    parent.signal("TERM");
    let (code, said) = parent.end(SOON);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.matches("generation 2 is up").count(), 1, "{said}");
}

#[test]
fn watch_leaves_no_process_when_it_is_stopped() {
    let package = Package::new("stopped");
    for signal in ["TERM", "INT"] {
        let mut parent = package.watch();
        parent.signal(signal);
        parent.expect(":nap cancelled, will be run again", SOON);
        let (code, said) = parent.end(SOON);
        assert_eq!(code, Some(0), "{said}");
    }
}

#[test]
fn watch_leaves_no_process_when_it_is_killed() {
    let package = Package::new("killed");
    let mut parent = package.watch();
    parent.signal("KILL");
    parent.expect(":nap cancelled, will be run again", SOON); // also then its worker ends in order
    let (code, _) = parent.end(SOON);
    assert_eq!(code, None, "killed by the signal");
}

#[test]
fn watch_leaves_no_build_when_it_is_stopped() {
    let package = Package::new("building");
    let mut parent = package.watch();
    // A build script that does not end by itself, and a line to it that breaks when it ends.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let script = format!(
        "fn main() {{ let _line = std::net::TcpStream::connect({address:?}); loop {{ std::thread::park(); }} }}"
    );
    fs::write(package.directory.0.join("build.rs"), script).unwrap();
    package.write(2);
    listener.set_nonblocking(true).unwrap();
    let began = Instant::now();
    let mut line = loop {
        if let Ok((line, _)) = listener.accept() {
            break line;
        }
        assert!(began.elapsed() < BUILD, "the build has not begun:\n{}", parent.seen.join("\n"));
        parent.seen.extend(parent.lines.recv_timeout(Duration::from_millis(50)));
    };
    parent.signal("TERM");
    parent.expect(":nap cancelled, will be run again", SOON);
    let (code, said) = parent.end(SOON);
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("generation 2"), "{said}");
    line.set_nonblocking(false).unwrap();
    line.set_read_timeout(Some(SOON)).unwrap();
    assert!(
        !matches!(line.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock),
        "the build script goes on"
    );
}

#[test]
fn watch_says_that_burst_has_no_effect() {
    let package = Package::new("burst");
    let program = Path::new(FIXTURE).with_file_name(&package.name);
    let mut parent = Running::start(package.here(command(program, &["homer", "--watch", "src", "--burst"])));
    parent.expect("--burst and --no-burst have no effect with --watch", SOON);
    parent.expect("generation 1 is up", SOON);
    parent.signal("TERM");
    assert_eq!(parent.end(SOON).0, Some(0));
}

/// Neither a list nor a main function is touched: the task's own lines are all.
#[test]
fn a_task_is_added_in_one_place() {
    let package = Package::new("added");
    let source = package.directory.0.join("src/main.rs");
    let before = fs::read_to_string(&source).unwrap();
    let task = r#"
        #[task(queue = "carl", cron = "@every 1s")]
        async fn look_around() -> String {
            "all is well".to_owned()
        }
    "#;
    fs::write(&source, before + task).unwrap();
    let output = package.here(command(cargo(), &["build"])).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));

    let program = Path::new(FIXTURE).with_file_name(&package.name);
    let mut carl = Running::start(package.here(command(program, &["carl"])));
    carl.expect("2 tasks: look_around, nap", SOON);
    carl.expect(":look_around()", SOON);
    carl.expect(":look_around ●", SOON);
    carl.signal("TERM");
    let (code, said) = carl.end(SOON);
    assert_eq!(code, Some(0), "{said}");
}
