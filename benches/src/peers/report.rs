//! The report, in Markdown.

use std::fmt::Write as _;
use std::fs;

use super::contest::OURS;
use super::figures::{Metric, Samples, ratio};
use super::targets::{Verdict, verdicts};
use super::{Shown, Table};

/// Where and with what it was measured.
pub(super) struct Setting<'a> {
    pub(super) redis: &'a str,
    pub(super) versions: &'a [(&'a str, String)],
    pub(super) missing: &'a [&'a str],
    pub(super) plots: &'a [String],
    pub(super) rounds: usize,
}

pub(super) fn text(setting: &Setting<'_>, table: &Table) -> String {
    let mut text = "# sector7g beside its peers\n\n".to_owned();
    let machine = machine();
    let Setting { redis, versions, missing, plots, rounds } = setting;
    let _ = writeln!(
        text,
        "{machine}; Redis {redis}, a server of its own for each run, without persistence. {rounds} rounds, in which the \
         contenders took turns: median, in brackets least and most. Jobs do nothing; each has an integer and, unless it \
         says otherwise, a text of 32 bytes. Figures of other machines, or of another run, don't compare; ratios within \
         this one do.\n"
    );
    for (name, version) in *versions {
        let _ = writeln!(text, "- {name}: {version}");
    }
    for name in *missing {
        let _ = writeln!(text, "- {name}: not installed");
    }
    text.push_str("\n## Targets\n\n| | wanted | seen | |\n| --- | --- | --- | --- |\n");
    for Verdict { what, wanted, seen, is_reached } in verdicts(table) {
        let word =
            is_reached.map_or("not measured", |is_reached| if is_reached { "reached" } else { "**not reached**" });
        let _ = writeln!(text, "| {what} | {wanted} | {seen} | {word} |");
    }
    text.push_str("\nThe dispatch overhead, a target of its own, is what `cargo xtask bench` measures.\n");
    faster(&mut text, table);
    for plot in *plots {
        let _ = writeln!(text, "\n![{plot}]({plot})");
    }
    for (measure, row) in &table.rows {
        let _ = writeln!(text, "\n## {}\n", capital(&measure.to_string()));
        section(&mut text, row);
    }
    text
}

/// Each line where somebody is faster than we are.
fn faster(text: &mut String, table: &Table) {
    text.push_str("\n## Where others are faster\n\n");
    let before = text.len();
    for (measure, row) in &table.rows {
        let metric = measure.main();
        let Some(ours) = table.samples(*measure, OURS, metric).and_then(Samples::median) else { continue };
        for (name, shown) in row.iter().filter(|(name, _)| !name.starts_with(OURS)) {
            let Some(theirs) = shown.samples.get(&metric).and_then(Samples::median) else { continue };
            if if metric.is_rate() { theirs > ours } else { theirs < ours } {
                let (theirs, ours) = (metric.show(theirs), metric.show(ours));
                let _ = writeln!(text, "- {measure}: {name}, {theirs} beside our {ours} {}", metric.head());
            }
        }
    }
    if text.len() == before {
        text.push_str("Nowhere in what was measured.\n");
    }
}

fn section(text: &mut String, row: &[(&'static str, Shown)]) {
    let mut metrics: Vec<Metric> = row.iter().flat_map(|(_, shown)| shown.samples.keys().copied()).collect();
    metrics.sort_unstable();
    metrics.dedup();
    let Some(first) = metrics.first().copied() else {
        text.push_str("Nobody could do it.\n");
        return;
    };
    let ours = row.iter().find(|(name, _)| *name == OURS).and_then(|(_, shown)| shown.samples.get(&first));
    let heads: Vec<&str> = metrics.iter().map(|metric| metric.head()).collect();
    let _ = writeln!(text, "| | {} | ours : this, {} | |", heads.join(" | "), first.head());
    let _ = writeln!(text, "| --- |{}", " --- |".repeat(metrics.len() + 2));
    for (name, shown) in row {
        let cell = |metric: &Metric| shown.samples.get(metric).map_or_else(|| "–".to_owned(), |of| of.show(*metric));
        let cells: Vec<String> = metrics.iter().map(cell).collect();
        let compared = ours.zip(shown.samples.get(&first)).and_then(|(ours, theirs)| ratio(ours, theirs));
        let compared = compared.filter(|_| *name != OURS).map_or_else(|| "–".to_owned(), |ratio| ratio.to_string());
        let _ = writeln!(text, "| {name} | {} | {compared} | {} |", cells.join(" | "), shown.notes.join("; "));
    }
}

fn capital(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Processor, cores and system, as far as the system says.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).ok()?;
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once([':', '='])?.1.trim().trim_matches('"').to_owned())
    };
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let system = field("/etc/os-release", "PRETTY_NAME").unwrap_or_else(|| std::env::consts::OS.to_owned());
    format!("{processor}, {cores} cores, {system}")
}
