//! A page's ```` ```console ```` blocks, typed into a shell and compared with what it says.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::watched::blink;

/// Within which a command must end, and say what is written.
const SOON: Duration = Duration::from_secs(40);

/// Stands before a command's exit code.
const MARK: char = '\u{1e}';

/// One fenced block of a page.
#[derive(Clone, Debug)]
pub struct Block {
    /// The heading (`## ..`) above it.
    pub section: String,
    /// What stands behind the fence's backticks, as `console`.
    pub language: String,
    /// Its lines.
    pub text: String,
    /// Its first line in the page, from 1.
    pub line: usize,
}

impl Block {
    /// All fenced blocks of a page in Markdown.
    #[must_use]
    pub fn all(page: &str) -> Vec<Self> {
        let (mut blocks, mut section, mut open): (Vec<Self>, String, Option<Self>) = (Vec::new(), String::new(), None);
        for (line, text) in (1..).zip(page.lines()) {
            match (&mut open, text.strip_prefix("```")) {
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some(block), None) => block.text.extend([text, "\n"]),
                (None, Some(language)) => {
                    let (section, language) = (section.clone(), language.to_owned());
                    open = Some(Self { section, language, text: String::new(), line: line + 1 });
                }
                (None, None) => {
                    if let Some(heading) = text.strip_prefix("## ") {
                        heading.clone_into(&mut section);
                    }
                }
            }
        }
        blocks
    }
}

/// The code within a page's sentences and tables, each on one line.
#[must_use]
pub fn inline_code(page: &str) -> Vec<String> {
    let mut is_open = false;
    let sentences = page.lines().filter(|line| {
        let is_fence = line.starts_with("```");
        is_open ^= is_fence;
        !is_open && !is_fence
    });
    let text = sentences.collect::<Vec<_>>().join("\n");
    // A tick without its other would turn all behind it inside out: no paragraph has one.
    let mut found = Vec::new();
    for part in text.split("\n\n") {
        let pieces: Vec<&str> = part.split('`').collect();
        assert!(pieces.len() % 2 == 1, "a tick has no other: {part}");
        found.extend(pieces.into_iter().skip(1).step_by(2).map(|code| code.replace('\n', " ").replace("\\|", "|")));
    }
    found
}

/// A command, and what it says, as a page has it.
#[derive(Debug)]
pub struct Script {
    /// What is typed.
    pub command: String,
    /// The lines that it says; `…` is any text, alone on a line any lines.
    pub says: Vec<String>,
    /// Where the page has it.
    pub line: usize,
}

impl Script {
    /// The commands of a block: each line that begins with `$ `, and what stands below it.
    #[must_use]
    pub fn of(block: &Block) -> Vec<Self> {
        let mut scripts: Vec<Self> = Vec::new();
        for (line, text) in (block.line..).zip(block.text.lines()) {
            if let Some(command) = text.strip_prefix("$ ") {
                scripts.push(Self { command: command.to_owned(), says: Vec::new(), line });
            } else {
                let script = scripts.last_mut().unwrap_or_else(|| panic!("line {line} belongs to no command: {text}"));
                script.says.push(text.to_owned());
            }
        }
        scripts
    }

    /// Whether it changes nothing, so that it may be asked again until it says what is written.
    fn only_looks(&self) -> bool {
        let looks = ["health", "queues", "jobs list", "jobs show", "dead list", "dead show", "schedule"];
        let looks = looks.map(|words| format!("sector-7g {words}"));
        let others = ["curl ", "grep ", "redis-cli info", "tail "].map(str::to_owned);
        looks.iter().chain(&others).any(|start| self.command.starts_with(start.as_str()))
            || self.command.ends_with(" --check")
    }

    fn is_said_by(&self, said: &[String]) -> bool {
        let expected: Vec<String> = self.says.iter().map(|line| squeezed(line)).collect();
        let said: Vec<String> = said.iter().map(|line| squeezed(line)).collect();
        lines_match(&expected, &said)
    }
}

/// A table's columns are as wide as their widest cell: not the page's matter.
fn squeezed(line: &str) -> String {
    let mut text = String::new();
    for letter in line.trim_end().chars() {
        if !(" ─".contains(letter) && text.ends_with(letter)) {
            text.push(letter);
        }
    }
    text
}

fn lines_match(expected: &[String], said: &[String]) -> bool {
    match expected.split_first() {
        None => said.is_empty(),
        Some((first, rest)) if first == "…" => (0..=said.len()).any(|skipped| lines_match(rest, &said[skipped..])),
        Some((first, rest)) => {
            said.first().is_some_and(|line| line_matches(first, line)) && lines_match(rest, &said[1..])
        }
    }
}

fn line_matches(expected: &str, said: &str) -> bool {
    let Some((start, rest)) = expected.split_once('…') else { return expected == said };
    let Some(left) = said.strip_prefix(start) else { return false };
    let starts = left.char_indices().map(|(at, _)| at).chain([left.len()]);
    starts.into_iter().any(|at| line_matches(rest, &left[at..]))
}

/// A shell in a folder; it and all that it has started end with this value, and with this process.
#[derive(Debug)]
pub struct Console {
    shell: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    /// What pages have, and what it is here: ports, mostly.
    names: Vec<(String, String)>,
}

impl Console {
    /// Opens a shell in `folder`, whose folder `bin` has the programs that come before others.
    #[must_use]
    pub fn open(folder: &Path, names: &[(String, String)]) -> Self {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("bash");
        shell.args(["--noprofile", "--norc"]).current_dir(folder).process_group(0);
        shell.env("PATH", format!("{}:{path}", folder.join("bin").display()));
        for name in ["REDIS_URL", "RUST_LOG", "RUST_BACKTRACE", "COLUMNS", "CLICOLOR_FORCE"] {
            shell.env_remove(name);
        }
        let shell = shell.env("NO_COLOR", "1").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut shell = shell.spawn().expect("bash starts");
        let mut stdin = shell.stdin.take().expect("it is piped");
        let output = BufReader::new(shell.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
        // When this process dies, its end of the pipe closes: the shell ends, and its programs with it.
        stdin.write_all(b"exec 2>&1; trap 'kill $(jobs -p) 2>/dev/null' EXIT\n").expect("the shell reads");
        Self { shell, stdin, lines, names: names.to_vec() }
    }

    /// Types a page's command, and again if it only looks, until it says what is written.
    pub fn run(&mut self, script: &Script) {
        let until = Instant::now() + SOON;
        loop {
            let said = self.say(&script.command, until);
            if script.is_said_by(&said) {
                return;
            }
            assert!(
                script.only_looks() && Instant::now() < until,
                "line {}, `{}` says:\n{}\nthe page has:\n{}",
                script.line,
                script.command,
                said.join("\n"),
                script.says.join("\n")
            );
            (0..200).for_each(|_| blink());
        }
    }

    /// What a command says.
    fn say(&mut self, command: &str, until: Instant) -> Vec<String> {
        let here = renamed(command, &self.names.iter().map(|(there, here)| (&**there, &**here)));
        let typed = format!("{here}\n{{ s7_code=$?; printf '\\036%s\\n' $s7_code; (exit $s7_code); }}\n");
        self.stdin.write_all(typed.as_bytes()).expect("the shell reads");
        let mut said = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("`{here}` does not end: {said:#?}"));
            // A line that has no end stands before the mark.
            let (line, is_last) = line.split_once(MARK).map_or((line.as_str(), false), |(line, _)| (line, true));
            if !is_last || !line.is_empty() {
                said.push(renamed(line, &self.names.iter().map(|(there, here)| (&**here, &**there))));
            }
            if is_last {
                return said;
            }
        }
    }
}

/// The text with other names, in one pass and the longest first: a free port as 16379 holds another's name, 6379.
fn renamed<'a>(text: &str, names: &(impl Iterator<Item = (&'a str, &'a str)> + Clone)) -> String {
    let (mut renamed, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(letter) = rest.chars().next() {
        let known = names.clone().filter(|(from, _)| !from.is_empty() && rest.starts_with(from));
        let (read, written) = known.max_by_key(|(from, _)| from.len()).unwrap_or_else(|| {
            let letter = &rest[..letter.len_utf8()];
            (letter, letter)
        });
        renamed.push_str(written);
        rest = &rest[read.len()..];
    }
    renamed
}

impl Drop for Console {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.shell.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: &str, said: &str, is_it: bool) {
        let block =
            Block { section: String::new(), language: String::new(), text: format!("$ it\n{expected}"), line: 1 };
        let said: Vec<String> = said.lines().map(str::to_owned).collect();
        assert_eq!(Script::of(&block)[0].is_said_by(&said), is_it, "{expected:?} {said:?}");
    }

    #[test]
    fn a_port_that_holds_anothers_name_is_renamed_once() {
        let names = [("8090", "16379"), ("6379", "18090"), ("946", "7"), ("9464", "19464"), ("/é", "/é/x")];
        let there = "redis :6379, pages :8090, metrics :9464, :946 in /é, é";
        let here = "redis :18090, pages :16379, metrics :19464, :7 in /é/x, é";
        assert_eq!(renamed(there, &names.iter().copied()), here);
        assert_eq!(renamed(here, &names.iter().map(|(there, here)| (*here, *there))), there);
    }

    #[test]
    fn code_is_found_within_sentences() {
        let page = "Say `a`, then `b\nc`.\n\n```console\n$ not `this`\n```\n| `d \\| e` | no |\n| `f` |\n";
        assert_eq!(inline_code(page), ["a", "b c", "d | e", "f"]);
    }

    #[test]
    fn dots_stand_for_what_differs() {
        check("", "", true);
        check("", "more", false);
        check("a  b", "a       b", true);
        check("… is … old", "it is 3s old", true);
        check("… is … old", "it is 3s young", false);
        check("one\n…\nlast", "one\ntwo\nthree\nlast", true);
        check("one\n…\nlast", "one\nlast", true);
        check("one\n…\nlast", "one\ntwo", false);
    }
}
