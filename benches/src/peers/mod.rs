//! The side-by-side runner: contenders take turns on the same measurements, each run on a Redis of its own.

mod contest;
mod dispatch;
mod figures;
mod measure;
mod plot;
mod process;
mod report;
mod server;
mod targets;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;
use std::{fmt, fs};

use self::contest::{ALL, Contender, Home, QUICK};
use self::figures::{Metric, Samples};
use self::measure::Measure;
use self::server::Server;

/// What the table of targets stands between in PERFORMANCE.md.
const TARGETS_BEGIN: &str = "<!-- targets: written by `cargo xtask peers --publish` -->";
const TARGETS_END: &str = "<!-- end of targets -->";

/// The report's file.
const REPORT: &str = "report.md";

/// Why something could not be measured.
#[derive(Debug)]
pub struct Broken {
    why: String,
    /// The contender has no means for it; nothing went wrong.
    is_declined: bool,
}

impl Broken {
    fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), is_declined: false }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl<E: std::error::Error> From<E> for Broken {
    fn from(error: E) -> Self {
        Self::new(error.to_string())
    }
}

/// What the runner is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Shorter runs; the slower peers only where a target asks for them.
    pub is_quick: bool,
    /// Whether the report goes into the repository, too, with its plots, and its targets into PERFORMANCE.md.
    pub publishes: bool,
    /// How often each contender has its turn.
    pub rounds: usize,
    /// Contenders by name; all when empty.
    pub only: Vec<String>,
    /// Measures by name or key, or by a word in it; all when empty.
    pub measures: Vec<String>,
}

impl Options {
    /// `[--quick] [--publish] [--rounds N] [--only NAME..] [--measure WORD..]`
    ///
    /// # Errors
    /// What is not understood.
    pub fn read(words: &[String]) -> Result<Self, String> {
        let mut options = Self { rounds: 3, ..Self::default() };
        let mut words = words.iter().peekable();
        let list = |words: &mut std::iter::Peekable<std::slice::Iter<'_, String>>| {
            let mut list = Vec::new();
            while let Some(word) = words.next_if(|word| !word.starts_with("--")) {
                list.push(word.clone());
            }
            list
        };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--quick" => options.is_quick = true,
                "--publish" => options.publishes = true,
                "--rounds" => {
                    let number = words.next().and_then(|word| word.parse().ok()).filter(|rounds| *rounds > 0);
                    options.rounds = number.ok_or("--rounds wants a number of at least 1")?;
                }
                "--only" => options.only = list(&mut words),
                "--measure" => options.measures = list(&mut words),
                other => {
                    return Err(format!(
                        "{other} is no option; there are --quick, --publish, --rounds N, --only NAME.. and --measure WORD.."
                    ));
                }
            }
        }
        if options.publishes && !(options.only.is_empty() && options.measures.is_empty()) {
            return Err("--publish is for whole reports: no --only and no --measure with it".to_owned());
        }
        if let Some(stranger) = options.only.iter().find(|name| ALL.iter().all(|contender| contender.name != **name)) {
            let names: Vec<&str> = ALL.iter().map(|contender| contender.name).collect();
            return Err(format!("there is no contender {stranger}; there are {}", names.join(", ")));
        }
        if let Some(stranger) = options.measures.iter().find(|word| Measure::named(word).is_empty()) {
            let names: Vec<String> = Measure::all().iter().map(Measure::to_string).collect();
            return Err(format!("no measure is called {stranger}; there are\n{}", names.join("\n")));
        }
        Ok(options)
    }

    fn takes(&self, contender: &Contender) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == contender.name)
    }

    /// As it would be typed.
    fn command(&self) -> String {
        let quoted = |word: &String| if word.contains(' ') { format!(" \"{word}\"") } else { format!(" {word}") };
        let list = |name: &str, words: &[String]| match words {
            [] => String::new(),
            words => format!(" {name}{}", words.iter().map(quoted).collect::<String>()),
        };
        let quick = if self.is_quick { " --quick" } else { "" };
        let (only, measures) = (list("--only", &self.only), list("--measure", &self.measures));
        format!("cargo xtask peers{quick} --rounds {}{only}{measures}", self.rounds)
    }

    /// What the asked contenders need to be installed: words for `cargo xtask peers`.
    #[must_use]
    pub fn homes(&self) -> Vec<&'static str> {
        let is_asked = |home: Home| ALL.iter().any(|contender| contender.home == home && self.takes(contender));
        let homes = [(Home::Rust, "rust"), (Home::Python, "python"), (Home::Node, "node")];
        homes.into_iter().filter(|(home, _)| is_asked(*home)).map(|(_, word)| word).collect()
    }

    fn measures(&self) -> Vec<Measure> {
        let named: Vec<Measure> = self.measures.iter().flat_map(|word| Measure::named(word)).collect();
        let mut all = Measure::all();
        all.retain(|measure| named.is_empty() || named.contains(measure));
        all
    }

    /// Whether a quick run leaves this one out; who is asked for by name takes part.
    fn leaves_out(&self, contender: &Contender, measure: Measure) -> bool {
        self.is_quick && self.only.is_empty() && measure.is_narrow() && !QUICK.contains(&contender.name)
    }
}

/// All that one contender showed in one measure.
#[derive(Debug, Default)]
struct Shown {
    samples: BTreeMap<Metric, Samples>,
    /// Why it takes no part.
    declined: Option<String>,
    /// How many rounds it took part in, and why those of them failed that did.
    tried: usize,
    failed: Vec<String>,
}

impl Shown {
    fn declined(why: String) -> Self {
        Self { declined: Some(why), ..Self::default() }
    }

    /// What never works is not tried to the end: each try may take half a minute.
    fn is_over(&self) -> bool {
        self.declined.is_some() || self.samples.is_empty() && self.failed.len() > 1
    }

    /// Why there are no figures, or fewer.
    fn note(&self) -> String {
        let failed =
            self.failed.last().map(|why| format!("{} of {} rounds failed: {why}", self.failed.len(), self.tried));
        self.declined.iter().chain(&failed).cloned().collect::<Vec<_>>().join("; ")
    }
}

/// All figures, by measure and contender.
#[derive(Debug, Default)]
struct Table {
    rows: Vec<(Measure, Vec<(&'static str, Shown)>)>,
}

impl Table {
    fn samples(&self, measure: Measure, name: &str, metric: Metric) -> Option<&Samples> {
        let (_, row) = self.rows.iter().find(|(known, _)| *known == measure)?;
        row.iter().find(|(known, _)| *known == name)?.1.samples.get(&metric)
    }
}

/// Measures, and writes the report into `target/peers/`, at the end into `docs/performance/`, and its targets into `PERFORMANCE.md`, if it is to be published;
/// returns where it is.
///
/// # Errors
/// What can't go on: no server, or nowhere to write.
pub fn run(options: &Options, root: &Path) -> Result<PathBuf, Broken> {
    let document = root.join("PERFORMANCE.md");
    if options.publishes {
        around_targets(&document)?; // an hour is long for a mark that is missing
    }
    let began = Instant::now();
    let redis = Server::start(false)?.version()?;
    let (here, missing): (Vec<_>, Vec<_>) = ALL
        .iter()
        .filter(|contender| options.takes(contender))
        .map(|contender| (contender, contender.version(root)))
        .partition(|(_, version)| version.is_some());
    for (contender, _) in &missing {
        eprintln!("{} is not installed and takes no part", contender.name);
    }
    let folder = contest::target(root).join("peers");
    fs::create_dir_all(&folder)?;
    let file = folder.join(REPORT);
    let versions: Vec<(&str, String)> =
        here.iter().map(|(contender, version)| (contender.name, version.clone().unwrap_or_default())).collect();
    let missing: Vec<&str> = missing.iter().map(|(contender, _)| contender.name).collect();
    let (mut table, mut plots) = (Table::default(), Vec::new());
    for beside in options.measures().chunk_by(Measure::is_beside) {
        let start = table.rows.len();
        table.rows.extend(beside.iter().map(|measure| (*measure, row(*measure, options, &here))));
        for round in 1..=options.rounds {
            for (measure, row) in &mut table.rows[start..] {
                // Each round begins with another one: who comes first may find a cooler machine.
                let first = (round - 1) % row.len().max(1);
                let (before, from) = row.split_at_mut(first);
                for (name, shown) in from.iter_mut().chain(before).filter(|(_, shown)| !shown.is_over()) {
                    if let Some((contender, _)) = here.iter().find(|(contender, _)| contender.name == *name) {
                        one(*measure, contender, shown, root, options, round);
                    }
                }
            }
        }
        // After each: a run is long, and may be stopped.
        plots = plot::all(&table, &folder)?;
        let setting = report::Setting {
            redis: &redis,
            versions: &versions,
            missing: &missing,
            plots: &plots,
            options,
            took: began.elapsed(),
        };
        fs::write(&file, report::text(&setting, &table))?;
    }
    if options.publishes {
        put_targets(&document, &targets::shown(&table))?;
        return publish(&folder, &plots, &root.join("docs/performance"));
    }
    Ok(file)
}

/// A document's text before and behind its table of targets.
fn around_targets(document: &Path) -> Result<(String, String), Broken> {
    let text = fs::read_to_string(document)?;
    let parts =
        text.split_once(TARGETS_BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(TARGETS_END)?.1)));
    let (before, after) = parts.ok_or_else(|| {
        let document = document.display();
        Broken::new(format!("{document} has no lines {TARGETS_BEGIN} and {TARGETS_END}, between which the targets go"))
    })?;
    Ok((before.to_owned(), after.to_owned()))
}

/// Puts the table of targets between its marks in a document, in place of an older report's.
fn put_targets(document: &Path, table: &str) -> Result<(), Broken> {
    let (before, after) = around_targets(document)?;
    Ok(fs::write(document, format!("{before}{TARGETS_BEGIN}\n\n{table}\n{TARGETS_END}{after}"))?)
}

/// Copies the report and its plots; plots of an older one go, or they would pass for this one's.
fn publish(from: &Path, plots: &[String], to: &Path) -> Result<PathBuf, Broken> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(to)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "svg") {
            fs::remove_file(file)?;
        }
    }
    for name in plots.iter().map(String::as_str).chain([REPORT]) {
        fs::copy(from.join(name), to.join(name))?;
    }
    Ok(to.join(REPORT))
}

/// Who takes part, and who says why not.
fn row(measure: Measure, options: &Options, here: &[(&Contender, Option<String>)]) -> Vec<(&'static str, Shown)> {
    let parts = here.iter().filter(|(contender, _)| !options.leaves_out(contender, measure));
    let shown = parts.filter_map(|(contender, _)| match measure.skips(contender) {
        Some(_) if contender.is_silent(measure) => None,
        Some(why) => Some((contender.name, Shown::declined(why))),
        None => Some((contender.name, Shown::default())),
    });
    shown.collect()
}

fn one(measure: Measure, contender: &Contender, shown: &mut Shown, root: &Path, options: &Options, round: usize) {
    shown.tried += 1;
    match measure.run(contender, root, if options.is_quick { 1 } else { 2 }) {
        Ok(figures) => {
            let main = measure.plotted()[0];
            let said = figures.get(&main).map_or_else(|| "nothing".to_owned(), |value| main.show(*value));
            eprintln!("{measure}: {}, round {round}: {said} {}", contender.name, main.head());
            for (metric, value) in figures {
                shown.samples.entry(metric).or_default().insert(round, value);
            }
        }
        Err(Broken { why, is_declined }) => {
            eprintln!("{measure}: {}, round {round}: {why}", contender.name);
            if is_declined {
                shown.declined = Some(why);
            } else {
                shown.failed.push(why);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options, String> {
        Options::read(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_whole_name_is_one_measure_and_a_word_all_that_have_it() {
        let check = |words: &[&str], expected: &[&str]| {
            let measures = words.iter().map(|word| (*word).to_owned()).collect();
            let options = Options { rounds: 3, measures, ..Options::default() };
            assert_eq!(options.measures().iter().map(Measure::key).collect::<Vec<_>>(), expected, "{words:?}");
        };
        let (one, two) = ("drain-100-slots", "drain-100-slots-2-processes");
        check(&["drain, 100 slots"], &[one]);
        check(&["Drain, 100 slots, 2 processes", one], &[one, two]);
        check(
            &["4 processes", "nodes, 400 slots, 2 processes"],
            &["drain-100-slots-4-processes", "on-a-cluster-of-three-nodes-400-slots-2-processes"],
        );
        check(&["drain-100-slots-backlog-of-10000"], &["drain-100-slots-backlog-of-10000"]);
        check(&["idle"], &["idle-latency-defaults"]);
    }

    #[test]
    fn the_targets_of_a_document_are_those_of_the_last_report() {
        let folder = tempfile::tempdir().expect("a folder");
        let document = folder.path().join("PERFORMANCE.md");
        fs::write(&document, format!("before\n{TARGETS_BEGIN}\nold\n{TARGETS_END}\nafter\n"))
            .expect("it can be written");
        for table in ["| one |\n", "| two |\n"] {
            put_targets(&document, table).expect("it has the marks");
            let text = fs::read_to_string(&document).expect("it is there");
            assert_eq!(text, format!("before\n{TARGETS_BEGIN}\n\n{table}\n{TARGETS_END}\nafter\n"));
        }
        around_targets(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../PERFORMANCE.md")))
            .expect("ours has them, too");
        fs::write(&document, "no marks").expect("it can be written");
        assert!(put_targets(&document, "").is_err_and(|error| error.why.contains("PERFORMANCE.md has no lines")));
    }

    #[test]
    fn what_is_published_is_one_report() {
        let (from, to) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        for name in [REPORT, "new.svg", "of-another-run.svg"] {
            fs::write(from.path().join(name), name).expect("it can be written");
        }
        fs::write(to.path().join("old.svg"), "").expect("it can be written");
        let told = publish(from.path(), &["new.svg".to_owned()], to.path()).expect("it can be copied");
        assert_eq!(told, to.path().join(REPORT));
        let files = fs::read_dir(to.path()).expect("it is there").flatten().map(|entry| entry.file_name());
        assert_eq!(files.collect::<std::collections::BTreeSet<_>>(), ["new.svg".into(), REPORT.into()].into());
    }

    #[test]
    fn keys_tell_measures_apart() {
        let keys: std::collections::BTreeSet<String> = Measure::all().iter().map(Measure::key).collect();
        assert_eq!(keys.len(), Measure::all().len());
    }

    #[test]
    fn a_row_says_how_many_rounds_failed() {
        let mut shown = Shown { tried: 2, ..Shown::default() };
        assert_eq!((&*shown.note(), shown.is_over()), ("", false));
        shown.failed = vec!["it stood still".to_owned(); 2];
        assert_eq!((&*shown.note(), shown.is_over()), ("2 of 2 rounds failed: it stood still", true));
        shown.samples.entry(Metric::Ran).or_default().insert(3, 1.0);
        shown.tried = 3;
        assert_eq!((&*shown.note(), shown.is_over()), ("2 of 3 rounds failed: it stood still", false));
        assert_eq!(Shown::declined("no bulk".to_owned()).note(), "no bulk");
    }

    #[test]
    fn options_are_read() {
        let options = read("--quick --only arq raw --rounds 5 --measure drain").expect("all known");
        assert_eq!((options.is_quick, options.rounds), (true, 5));
        assert_eq!(options.only, ["arq", "raw"]);
        assert_eq!(options.homes(), ["python"]);
        assert!(options.measures().len() > 3);
        assert_eq!(options.command(), "cargo xtask peers --quick --rounds 5 --only arq raw --measure drain");
        assert!(read("--publish --quick").is_ok_and(|options| options.publishes));
        assert!(read("--publish --only arq").is_err_and(|error| error.contains("whole reports")));
        assert!(read("--rounds 0").is_err_and(|error| error.contains("at least 1")));
        assert!(read("--only celery").is_err_and(|error| error.contains("celery") && error.contains("arq")));
        assert!(read("--measure teleport").is_err_and(|error| error.contains("\nidle latency")));
        assert!(read("--fast").is_err_and(|error| error.contains("--quick")));
    }
}
