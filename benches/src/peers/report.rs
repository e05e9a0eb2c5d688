//! The report, in Markdown.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::Duration;

use super::contest::{OURS, QUICK, RAW};
use super::figures::{Metric, ratio};
use super::plot;
use super::process;
use super::{Options, Shown, Table, targets};

/// Where and with what it was measured.
pub(super) struct Setting<'a> {
    pub(super) redis: &'a str,
    pub(super) versions: &'a [(&'a str, String)],
    pub(super) missing: &'a [&'a str],
    pub(super) plots: &'a [String],
    pub(super) options: &'a Options,
    pub(super) took: Duration,
}

pub(super) fn text(setting: &Setting<'_>, table: &Table) -> String {
    let mut text = "# sector7g beside its peers\n\n".to_owned();
    let machine = machine();
    let Setting { redis, versions, missing, plots, options, took } = setting;
    let (rounds, command) = (options.rounds, options.command());
    let (minutes, seconds) = (took.as_secs() / 60, took.as_secs() % 60);
    let _ = writeln!(
        text,
        "{machine}; Redis {redis}, a server of its own for each run, without persistence. {rounds} rounds, in which the \
         contenders took turns: median, in brackets least and most. Jobs do nothing; each has an integer and, unless it \
         says otherwise, a text of 32 bytes. Figures of other machines, or of another run, don't compare; ratios within \
         this one do. Jobs run a second are from the start of the first one to that of the last, in whichever process, CPU is from the \
         word to begin; short runs are done several times, each on a server of its own, for their median. A bare task is one of tokio's that reads \
         and writes the same JSON. `{command}` measured this in {minutes} min {seconds} s.\n"
    );
    if options.is_quick && options.only.is_empty() {
        let _ = writeln!(
            text,
            "Most runs last about a second; one slot, backlogs, processes, payloads and 7,900 jobs together are of {} only.\n",
            QUICK.join(", ")
        );
    }
    for (name, version) in *versions {
        let _ = writeln!(text, "- {name}: {version}");
    }
    for name in *missing {
        let _ = writeln!(text, "- {name}: not installed");
    }
    let _ = write!(text, "\n## Targets\n\n{}", targets::shown(table));
    text.push_str("\n## Where a peer is ahead\n\n");
    text.push_str(&better(table, |name| name != RAW));
    text.push_str("\n## Where the ceiling is ahead\n\nPlain commands (`raw`): no leases, no retries, no queue that anybody could use.\n\n");
    text.push_str(&better(table, |name| name == RAW));
    for (measure, row) in &table.rows {
        let title = capital(&measure.to_string());
        let _ = writeln!(text, "\n## {title}\n");
        for metric in measure.plotted() {
            let file = plot::file(*measure, *metric);
            if plots.contains(&file) {
                let _ = writeln!(text, "![{title}, {}]({file})\n", metric.head());
            }
        }
        section(&mut text, measure.ours(), row);
    }
    text
}

/// Each figure that is better than ours, of everybody that `is_asked` takes.
fn better(table: &Table, is_asked: impl Fn(&str) -> bool) -> String {
    let mut lines = String::new();
    for (measure, row) in &table.rows {
        let Some((_, ours)) = row.iter().find(|(name, _)| *name == measure.ours()) else { continue };
        for (name, theirs) in row.iter().filter(|(name, _)| !name.starts_with(OURS) && is_asked(name)) {
            for (metric, their) in &theirs.samples {
                let Some(our) = ours.samples.get(metric) else {
                    let _ =
                        writeln!(lines, "| {measure} | {name} | {} | {} | – | – |", metric.head(), their.show(*metric));
                    continue;
                };
                let is_better = match (their.median(), our.median()) {
                    (Some(their), Some(our)) if metric.is_rate() => their > our,
                    (Some(their), Some(our)) => their < our,
                    _ => false,
                };
                if is_better {
                    let ratio = ratio(our, their).map_or_else(|| "too few runs".to_owned(), |ratio| ratio.to_string());
                    let (head, their, our) = (metric.head(), their.show(*metric), our.show(*metric));
                    let _ = writeln!(lines, "| {measure} | {name} | {head} | {their} | {our} | {ratio} |");
                }
            }
        }
    }
    if lines.is_empty() {
        return "Nowhere in what was measured.\n".to_owned();
    }
    format!("| | who | what | theirs | ours | ours : theirs |\n| --- | --- | --- | --- | --- | --- |\n{lines}")
}

fn section(text: &mut String, our_name: &str, row: &[(&'static str, Shown)]) {
    let mut metrics: Vec<Metric> = row.iter().flat_map(|(_, shown)| shown.samples.keys().copied()).collect();
    metrics.sort_unstable();
    metrics.dedup();
    let Some(first) = metrics.first().copied() else {
        text.push_str("Nobody could do it.\n");
        return;
    };
    let ours = row.iter().find(|(name, _)| *name == our_name).and_then(|(_, shown)| shown.samples.get(&first));
    let heads: Vec<&str> = metrics.iter().map(|metric| metric.head()).collect();
    let _ = writeln!(text, "| | {} | ours : this, {} | |", heads.join(" | "), first.head());
    let _ = writeln!(text, "| --- |{}", " --- |".repeat(metrics.len() + 2));
    for (name, shown) in row {
        let cell = |metric: &Metric| shown.samples.get(metric).map_or_else(|| "–".to_owned(), |of| of.show(*metric));
        let cells: Vec<String> = metrics.iter().map(cell).collect();
        let compared = ours.zip(shown.samples.get(&first)).and_then(|(ours, theirs)| ratio(ours, theirs));
        let compared = compared.filter(|_| *name != our_name).map_or_else(|| "–".to_owned(), |ratio| ratio.to_string());
        let _ = writeln!(text, "| {name} | {} | {compared} | {} |", cells.join(" | "), shown.note());
    }
}

fn capital(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Processor, cores, system, compiler and commit, as far as they are to be known.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).ok()?;
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once([':', '='])?.1.trim().trim_matches('"').to_owned())
    };
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let system = field("/etc/os-release", "PRETTY_NAME").unwrap_or_else(|| std::env::consts::OS.to_owned());
    let compiler = process::said(Command::new("rustc").arg("--version"));
    let commit = process::said(Command::new("git").args(["describe", "--always", "--dirty", "--exclude=*"]));
    let known = [compiler, commit.map(|commit| format!("sector7g at {commit}"))].into_iter().flatten();
    [processor, format!("{cores} cores"), system].into_iter().chain(known).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::measure::{DRAIN, Measure};
    use super::*;

    #[test]
    fn every_figure_that_is_better_is_named_and_the_ceiling_apart() {
        let shown = |figures: &[(Metric, f64)]| Shown {
            samples: figures.iter().map(|(metric, value)| (*metric, [*value; 3].into_iter().collect())).collect(),
            ..Shown::default()
        };
        let ours = shown(&[(Metric::Ran, 50.0), (Metric::Added, 40.0), (Metric::Memory, 300.0)]);
        let arq = shown(&[(Metric::Ran, 5.0), (Metric::Added, 80.0), (Metric::Memory, 200.0)]);
        let raw = shown(&[(Metric::Ran, 100.0), (Metric::P99, 1.0)]);
        let table = Table { rows: vec![(Measure::Drain(DRAIN), vec![(OURS, ours), ("arq", arq), (RAW, raw)])] };
        let of_peers = better(&table, |name| name != RAW);
        assert_eq!(of_peers.lines().count(), 4, "{of_peers}");
        assert!(of_peers.contains("| arq | enqueued/s | 80 (80–80) | 40 (40–40) | 0.50 (0.50–0.50) |"), "{of_peers}");
        assert!(of_peers.contains("| arq | Redis, bytes/job | 200 (200–200) | 300 (300–300) | 1.50 (1.50–1.50) |"));
        let of_raw = better(&table, |name| name == RAW);
        assert_eq!(of_raw.lines().count(), 4, "one that we have no figure for is no defeat to hide: {of_raw}");
    }
}
