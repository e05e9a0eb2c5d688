//! What a job costs, in time and in instructions, beside a bare spawn with the same serde work: three tables.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often a bare spawn's cost a dispatch may have, and how much longer than it one may take.
const MOST_TIMES: f64 = 3.0;
const MOST_NS_BEYOND: u64 = 1_000;

/// What runs at once, and whether results are kept.
const ROWS: [&str; 4] = ["10-dropped", "10-kept", "100-dropped", "100-kept"];

/// The steps of a job's life by themselves, in their order, then two of them in one call as a worker makes it.
const LAYERS: [&str; 15] = [
    "encode",
    "claim-10",
    "claim-100",
    "decode",
    "bind",
    "middleware",
    "call",
    "encode-value",
    "encode-record",
    "finish-10-dropped",
    "finish-100-dropped",
    "finish-100-kept",
    "finish-and-claim-10-dropped",
    "finish-and-claim-100-dropped",
    "finish-and-claim-100-kept",
];

/// Jobs of a timed run: enough that a worker's start and stop don't show.
const TIMED_JOBS: u64 = 20_000;

/// Timed runs of each case, of which the fastest counts: a machine's other work only adds.
const TIMED_RUNS: usize = 7;

/// Jobs of two counted runs: the difference leaves out what is done once.
const COUNTED_JOBS: (u64, u64) = (1_000, 3_000);

/// What a job costs the server, each with the deed that it is and the one that it is more than.
const ON_SERVER: [(&str, &str, Option<&str>); 7] = [
    ("enqueued by itself", "add-1", None),
    ("enqueued in calls of 1,000", "add-1000", None),
    ("worked off one by one", "work-1-dropped", Some("add-1000")),
    ("in batches of 10", "work-10-dropped", Some("add-1000")),
    ("in batches of 10, results kept", "work-10-kept", Some("add-1000")),
    ("in batches of 100", "work-100-dropped", Some("add-1000")),
    ("in batches of 100, results kept", "work-100-kept", Some("add-1000")),
];

/// What a job of one case costs.
#[derive(Clone, Copy, Debug)]
struct Cost {
    ns: u64,
    /// `None` without valgrind.
    instructions: Option<u64>,
}

/// Runs the program `probe` as often as it takes, tells what is missing, and returns the tables.
///
/// # Errors
/// What went wrong, for people.
pub fn tables(probe: &Path) -> Result<String, String> {
    let probe = Probe { program: probe, has_valgrind: has_program("valgrind") };
    if !probe.has_valgrind {
        eprintln!("valgrind is not installed: times only (Debian: apt-get install valgrind)");
    }
    let rows = ROWS.map(|row| Ok((row, probe.costs(&[format!("bare-{row}"), format!("dispatch-{row}")])?)));
    let rows = rows.into_iter().collect::<Result<Vec<_>, String>>()?;
    let layers = probe.costs(&LAYERS.map(str::to_owned))?;
    let of_server = if probe.has_valgrind && has_program("redis-server") {
        probe.server_table()?
    } else {
        "what the server does for a job is counted with valgrind and redis-server: `cargo xtask needs`".to_owned()
    };
    Ok(format!("{}\n\n{}\n\n{of_server}", table(&rows), layers_table(&layers)))
}

fn has_program(name: &str) -> bool {
    let mut command = Command::new(name);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// One line for each of `rows`: what runs, then the bare spawn's cost and the dispatch's.
fn table(rows: &[(&str, [Cost; 2])]) -> String {
    let mut lines = vec![
        "per job      bare, ns  dispatch, ns  beyond, ns  ratio   bare, instr.  dispatch, instr.  ratio  goal"
            .to_owned(),
        "-----------  --------  ------------  ----------  -----   ------------  ----------------  -----  -----------"
            .to_owned(),
    ];
    let within = |ratio: f64| ratio <= MOST_TIMES;
    for (name, [bare, dispatch]) in rows {
        let times = ratio(dispatch.ns, bare.ns);
        let counted = bare.instructions.zip(dispatch.instructions);
        let by_count = counted.map(|(bare, dispatch)| ratio(dispatch, bare));
        let shown = |number: Option<String>| number.unwrap_or_else(|| "-".to_owned());
        let beyond = dispatch.ns.saturating_sub(bare.ns);
        let goals =
            [("instr.", by_count.is_none_or(within)), ("ratio", within(times)), ("ns", beyond < MOST_NS_BEYOND)];
        let missed: Vec<&str> = goals.iter().filter(|(_, reached)| !reached).map(|(what, _)| *what).collect();
        lines.push(format!(
            "{name:<11}  {:>8}  {:>12}  {beyond:>10}  {times:>5.2}   {:>12}  {:>16}  {:>5}  {}",
            bare.ns,
            dispatch.ns,
            shown(counted.map(|(bare, _)| bare.to_string())),
            shown(counted.map(|(_, dispatch)| dispatch.to_string())),
            shown(by_count.map(|ratio| format!("{ratio:.2}"))),
            if missed.is_empty() { "reached".to_owned() } else { format!("missed: {}", missed.join(", ")) },
        ));
    }
    lines.push(format!(
        "goal: at most {MOST_TIMES} times the bare spawn, in instructions and in time, and under {MOST_NS_BEYOND} ns beyond it"
    ));
    lines.join("\n")
}

fn layers_table(costs: &[Cost]) -> String {
    let mut lines = vec![
        "per job                             ns  instructions".to_owned(),
        "----------------------------  --------  ------------".to_owned(),
    ];
    for (name, Cost { ns, instructions }) in LAYERS.iter().zip(costs) {
        let instructions = instructions.map_or_else(|| "-".to_owned(), |count| count.to_string());
        lines.push(format!("{name:<28}  {ns:>8}  {instructions:>12}"));
    }
    lines.join("\n")
}

#[expect(clippy::cast_precision_loss, reason = "costs are far below 2^52")]
fn ratio(one: u64, other: u64) -> f64 {
    one as f64 / other.max(1) as f64
}

struct Probe<'a> {
    program: &'a Path,
    has_valgrind: bool,
}

impl Probe<'_> {
    /// Instructions of a Redis server for a job, by what is done with it.
    fn server_table(&self) -> Result<String, String> {
        let mut lines = vec![
            "per job, on the server           instructions".to_owned(),
            "-------------------------------  ------------".to_owned(),
        ];
        for (what, deed, before) in ON_SERVER {
            let before = before.map_or(Ok(0), |before| self.on_server(before))?;
            let instructions = self.on_server(deed)?.saturating_sub(before);
            lines.push(format!("{what:<31}  {instructions:>12}"));
        }
        Ok(lines.join("\n"))
    }

    /// Between few jobs and more, so that starting and the scripts' loading are in none of it.
    fn on_server(&self, deed: &str) -> Result<u64, String> {
        let (few, more) = COUNTED_JOBS;
        Ok(self.count_on_server(deed, more)?.saturating_sub(self.count_on_server(deed, few)?) / (more - few))
    }

    fn count_on_server(&self, deed: &str, jobs: u64) -> Result<u64, String> {
        let (server, url) = counted_server()?;
        let mut command = Command::new(self.program);
        let done = said(command.args([deed, &jobs.to_string(), &url]));
        let mut server = Stopped(server); // also where the deed failed, and nobody has had it end
        done?;
        let output = server.output()?;
        number_after(&output, "Collected : ").ok_or_else(|| unreadable(&output))
    }

    fn costs<const CASES: usize>(&self, cases: &[String; CASES]) -> Result<[Cost; CASES], String> {
        let mut costs = [Cost { ns: u64::MAX, instructions: None }; CASES];
        for _ in 0..TIMED_RUNS {
            // In turns, so that a slow spell of the machine meets all.
            for (case, cost) in cases.iter().zip(&mut costs) {
                cost.ns = cost.ns.min(self.time(case)?);
            }
        }
        if self.has_valgrind {
            for (case, cost) in cases.iter().zip(&mut costs) {
                cost.instructions = Some(self.instructions(case)?);
            }
        }
        Ok(costs)
    }

    fn time(&self, case: &str) -> Result<u64, String> {
        let mut command = Command::new(self.program);
        let said = said(command.args([case, &TIMED_JOBS.to_string()]))?;
        number_after(&said, &format!("{case}: ")).ok_or_else(|| unreadable(&said))
    }

    /// Of what comes after the preparation, between few jobs and more.
    fn instructions(&self, case: &str) -> Result<u64, String> {
        let (few, more) = COUNTED_JOBS;
        let run =
            |jobs: u64| Ok::<_, String>(self.count(case, jobs, false)?.saturating_sub(self.count(case, jobs, true)?));
        Ok((run(more)?.saturating_sub(run(few)?)) / (more - few))
    }

    fn count(&self, case: &str, jobs: u64, only_prepare: bool) -> Result<u64, String> {
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
        command.arg(self.program).args([case, &jobs.to_string()]);
        let said = said(command.args(only_prepare.then_some("prepare")))?;
        number_after(&said, "Collected : ").ok_or_else(|| unreadable(&said))
    }
}

/// A Redis server under valgrind, on a free port of loopback, that answers.
#[expect(clippy::disallowed_methods, reason = "no runtime is here that it could block")]
fn counted_server() -> Result<(Child, String), String> {
    const LIMIT: Duration = Duration::from_mins(1);
    let failed = |error: std::io::Error| format!("no server to count: {error}");
    let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|free| free.local_addr()).map_err(failed)?.port();
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "redis-server", "--bind", "127.0.0.1"]);
    command.args(["--port", &port.to_string(), "--save", "", "--hz", "1"]); // its clockwork is no job's
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    let until = Instant::now() + LIMIT;
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        if Instant::now() > until {
            drop(Stopped(child));
            return Err(failed(std::io::ErrorKind::TimedOut.into()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok((child, format!("redis://127.0.0.1:{port}")))
}

/// A process that does not outlive this.
struct Stopped(Child);

impl Stopped {
    /// What it says until its end, on its standard error.
    fn output(&mut self) -> Result<String, String> {
        let mut text = String::new();
        let read = self.0.stderr.take().map(|mut error| std::io::Read::read_to_string(&mut error, &mut text));
        match read {
            Some(Ok(_)) => Ok(text),
            _ => Err(unreadable("nothing")),
        }
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.kill(); // does nothing to one that has ended
        let _ = self.0.wait();
    }
}

fn said(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output();
    let output = output.map_err(|error| format!("can't run {}: {error}", command.get_program().display()))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(said) } else { Err(unreadable(&said)) }
}

fn unreadable(said: &str) -> String {
    format!("no figure in what was said:\n{said}")
}

fn number_after(text: &str, mark: &str) -> Option<u64> {
    let (_, rest) = text.split_once(mark)?;
    rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_whether_its_goal_is_reached() {
        let cost = |ns, instructions| Cost { ns, instructions };
        let row = |bare, dispatch| table(&[("10-kept", [bare, dispatch])]).lines().nth(2).unwrap().to_owned();
        assert!(row(cost(450, Some(1_000)), cost(1_350, Some(3_000))).ends_with(" 3.00  reached"));
        assert!(row(cost(450, Some(1_000)), cost(1_350, Some(3_100))).ends_with(" 3.10  missed: instr."));
        assert!(row(cost(1_000, Some(1_000)), cost(2_000, Some(2_000))).ends_with(" 2.00  missed: ns"));
        assert!(row(cost(400, None), cost(1_300, None)).ends_with("    -  missed: ratio"));
    }

    #[test]
    fn figures_are_found_in_what_programs_say() {
        assert_eq!(number_after("==1== Collected : 123456\n==1==", "Collected : "), Some(123_456));
        assert_eq!(number_after("bare-10: 812 ns a job", "bare-10: "), Some(812));
        assert_eq!(number_after("usage", "Collected : "), None);
    }
}
