//! The side-by-side runner: contenders take turns on the same measurements, each run on a Redis of its own.

mod contest;
mod figures;
mod measure;
mod plot;
mod process;
mod report;
mod server;
mod targets;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use self::contest::{ALL, Contender, Home};
use self::figures::{Metric, Samples};
use self::measure::Measure;
use self::server::Server;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What matters most only, in shorter runs.
    pub is_quick: bool,
    /// How often each contender has its turn.
    pub rounds: usize,
    /// Contenders by name; all when empty.
    pub only: Vec<String>,
    /// Measures whose names hold one of these words; all when empty.
    pub measures: Vec<String>,
}

impl Options {
    /// `[--quick] [--rounds N] [--only NAME..] [--measure WORD..]`
    ///
    /// # Errors
    /// What is not understood.
    pub fn read(words: &[String]) -> Result<Self, String> {
        let mut options = Self { is_quick: false, rounds: 3, only: Vec::new(), measures: Vec::new() };
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
                "--rounds" => {
                    let number = words.next().and_then(|word| word.parse().ok()).filter(|rounds| *rounds > 0);
                    options.rounds = number.ok_or("--rounds wants a number of at least 1")?;
                }
                "--only" => options.only = list(&mut words),
                "--measure" => options.measures = list(&mut words),
                other => {
                    return Err(format!(
                        "{other} is no option; there are --quick, --rounds N, --only NAME.. and --measure WORD.."
                    ));
                }
            }
        }
        if let Some(stranger) = options.only.iter().find(|name| ALL.iter().all(|contender| contender.name != **name)) {
            let names: Vec<&str> = ALL.iter().map(|contender| contender.name).collect();
            return Err(format!("there is no contender {stranger}; there are {}", names.join(", ")));
        }
        Ok(options)
    }

    fn takes(&self, contender: &Contender) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == contender.name)
    }

    /// What the asked contenders need to be installed: words for `cargo xtask peers`.
    #[must_use]
    pub fn homes(&self) -> Vec<&'static str> {
        let is_asked = |home: Home| ALL.iter().any(|contender| contender.home == home && self.takes(contender));
        let homes = [(Home::Rust, "rust"), (Home::Python, "python"), (Home::Node, "node")];
        homes.into_iter().filter(|(home, _)| is_asked(*home)).map(|(_, word)| word).collect()
    }

    fn measures(&self) -> Vec<Measure> {
        let mut all = Measure::all(self.is_quick);
        if !self.measures.is_empty() {
            all.retain(|measure| self.measures.iter().any(|word| measure.to_string().contains(word.as_str())));
        }
        all
    }
}

/// All that one contender showed in one measure.
#[derive(Debug, Default)]
struct Shown {
    samples: BTreeMap<Metric, Samples>,
    /// Why there are none, or fewer.
    notes: Vec<String>,
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

/// Measures, and writes the report into `target/peers/`; returns where it is.
///
/// # Errors
/// What can't go on: no server, or nowhere to write.
pub fn run(options: &Options, root: &Path) -> Result<PathBuf, Broken> {
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
    let file = folder.join("report.md");
    let versions: Vec<(&str, String)> =
        here.iter().map(|(contender, version)| (contender.name, version.clone().unwrap_or_default())).collect();
    let missing: Vec<&str> = missing.iter().map(|(contender, _)| contender.name).collect();
    let mut table = Table::default();
    for measure in options.measures() {
        let mut row: Vec<(&Contender, Shown)> = Vec::new();
        for (contender, _) in &here {
            match measure.skips(contender) {
                Some(_) if !contender.is_tuned || contender.is_variant(measure) => {}
                Some(why) => row.push((contender, Shown { notes: vec![why], ..Shown::default() })),
                None => row.push((contender, Shown::default())),
            }
        }
        for round in 1..=options.rounds {
            for (contender, shown) in row.iter_mut().filter(|(_, shown)| shown.notes.is_empty()) {
                one(measure, contender, shown, root, options, round);
            }
        }
        table.rows.push((measure, row.into_iter().map(|(contender, shown)| (contender.name, shown)).collect()));
        // After each: a run is long, and may be stopped.
        let plots = plot::all(&table, &folder)?;
        let setting = report::Setting {
            redis: &redis,
            versions: &versions,
            missing: &missing,
            plots: &plots,
            rounds: options.rounds,
        };
        fs::write(&file, report::text(&setting, &table))?;
    }
    Ok(file)
}

fn one(measure: Measure, contender: &Contender, shown: &mut Shown, root: &Path, options: &Options, round: usize) {
    match measure.run(contender, root, if options.is_quick { 1 } else { 2 }) {
        Ok(figures) => {
            let main = measure.main();
            let said = figures.get(&main).map_or_else(|| "nothing".to_owned(), |value| main.show(*value));
            eprintln!("{measure}: {}, round {round}: {said} {}", contender.name, main.head());
            for (metric, value) in figures {
                shown.samples.entry(metric).or_default().0.push(value);
            }
        }
        Err(Broken { why, is_declined }) => {
            eprintln!("{measure}: {}, round {round}: {why}", contender.name);
            shown.notes.push(if is_declined { why } else { format!("failed: {why}") });
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
    fn options_are_read() {
        let options = read("--quick --only arq raw --rounds 5 --measure drain").expect("all known");
        assert_eq!((options.is_quick, options.rounds), (true, 5));
        assert_eq!(options.only, ["arq", "raw"]);
        assert_eq!(options.homes(), ["python"]);
        assert_eq!(options.measures().len(), 3);
        assert!(read("--rounds 0").is_err_and(|error| error.contains("at least 1")));
        assert!(read("--only celery").is_err_and(|error| error.contains("celery") && error.contains("arq")));
        assert!(read("--fast").is_err_and(|error| error.contains("--quick")));
    }
}
