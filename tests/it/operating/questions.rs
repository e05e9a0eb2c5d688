//! What the table says of the metrics, and what alert rules and Grafana's dashboard ask for, is what workers export.

use std::collections::{BTreeMap, BTreeSet};

use sector7g_tasks::prelude::*;
use serde_json::Value;
use support::{RedisServer, inline_code};
use tokio::time::{Instant, sleep};

use super::deploy::{read, yaml};
use super::logs::{self, fail};
use super::{Observed, SOON, Scrape, client};

type Names = BTreeSet<String>;

/// Labels whose values the code knows; those of the others are names that users choose.
const FIXED: [&str; 3] = ["error_type", "outcome", "reason"];

/// Labels that Prometheus adds.
const OF_TARGETS: [&str; 2] = ["instance", "job"];

/// A metric, as exported or as documented.
#[derive(Debug, Default, PartialEq)]
struct Metric {
    kind: String,
    labels: Names,
    /// Of each fixed label.
    values: BTreeMap<String, Names>,
}

/// All metrics, by name.
#[derive(Debug, Default, PartialEq)]
struct Metrics(BTreeMap<String, Metric>);

impl Metrics {
    fn exported(scrapes: &[Scrape]) -> Self {
        let mut found = Self::default();
        for scrape in scrapes {
            for series in scrape.values.keys().filter(|series| series.starts_with("sector7g_")) {
                let (name, labels) = selector(series);
                let base = ["_bucket", "_sum", "_count"].into_iter().find_map(|part| name.strip_suffix(part));
                let base = base.filter(|base| scrape.metrics.contains_key(*base)).unwrap_or(name);
                let metric = found.0.entry(base.to_owned()).or_default();
                metric.kind.clone_from(&scrape.metrics[base].0);
                for (label, value) in labels.into_iter().filter(|(label, _)| *label != "le") {
                    metric.labels.insert(label.to_owned());
                    if FIXED.contains(&label) {
                        metric.values.entry(label.to_owned()).or_default().insert(value.to_owned());
                    }
                }
            }
        }
        found
    }

    /// What the table and the list below it say.
    fn documented() -> Self {
        let page = read("sector7g-tasks/src/docs/metrics.md");
        let codes = |text: &str| inline_code(text).into_iter().collect::<Names>();
        let listed = |label: &str| {
            let (_, rest) = page.split_once(&format!("\n- `{label}`")).unwrap_or_else(|| panic!("no list of {label}"));
            codes(rest.split("\n- ").next().unwrap())
        };
        let rows = page.lines().filter(|line| line.starts_with("| `sector7g_"));
        let row = |row: &str| {
            let cells: Vec<&str> = row.split(" | ").collect();
            let labels = codes(cells[2]);
            let values = labels.iter().filter(|label| FIXED.contains(&label.as_str())).map(|label| {
                let named = codes(cells[3]);
                (label.clone(), if named.is_empty() { listed(label) } else { named })
            });
            let metric = Metric { kind: cells[1].to_owned(), values: values.collect(), labels: labels.clone() };
            (codes(cells[0]).pop_first().unwrap(), metric)
        };
        Self(rows.map(row).collect())
    }

    /// The labels of a metric that is asked for by this name.
    fn labels(&self, name: &str, place: &str) -> Names {
        let base = ["_bucket", "_sum", "_count"].into_iter().find_map(|part| name.strip_suffix(part));
        let histogram = base.and_then(|base| self.0.get(base)).filter(|metric| metric.kind == "histogram");
        let plain = self.0.get(name).filter(|metric| metric.kind != "histogram");
        let metric = histogram.or(plain).unwrap_or_else(|| panic!("{place}: nobody exports {name}"));
        let of_buckets = name.ends_with("_bucket").then(|| "le".to_owned());
        metric.labels.iter().cloned().chain(of_buckets).collect()
    }

    /// That this is exported: a metric with such labels, of such values.
    fn select(&self, text: &str, place: &str) {
        let (name, matchers) = selector(text);
        let labels = self.labels(name, place);
        for (label, value) in matchers {
            assert!(labels.contains(label), "{place}: {name} has no label {label}: {labels:?}");
            let Some(values) = self.0.get(name).and_then(|metric| metric.values.get(label)) else { continue };
            for value in value.split('|') {
                assert!(values.contains(value), "{place}: {label} of {name} is never {value}: {values:?}");
            }
        }
    }

    /// That a question to Prometheus, which promtool has read, asks for what is exported; returns the labels of its answer.
    fn ask(&self, question: &str, place: &str) -> Names {
        for word in ["without", "ignoring", "group_left", "group_right"] {
            assert!(!question.contains(word), "{place}: `{word}` is not read here: {question}");
        }
        for selector in selectors(question) {
            self.select(selector, place);
        }
        for (at, by) in question.match_indices(" by (") {
            let (labels, rest) = in_parentheses(&question[at + by.len() - 1..]);
            assert!(rest.starts_with(" ("), "{place}: what is summed up stands behind its labels: {question}");
            self.have(selectors(in_parentheses(rest.trim_start()).0), &names(labels), place);
        }
        for (at, on) in question.match_indices(" on (") {
            let (labels, _) = in_parentheses(&question[at + on.len() - 1..]);
            self.have(selectors(question), &names(labels), place);
        }
        self.answer(question, place)
    }

    fn have(&self, selectors: Vec<&str>, labels: &Names, place: &str) {
        assert!(!selectors.is_empty(), "{place}: {labels:?} of nothing of ours");
        for selector in selectors {
            let (name, _) = self::selector(selector);
            let known = self.labels(name, place);
            assert!(labels.is_subset(&known), "{place}: {labels:?} of {name}, which has {known:?}");
        }
    }

    /// The labels of what a question begins with.
    fn answer(&self, question: &str, place: &str) -> Names {
        let question = question.trim_start();
        let word = question.split(|c: char| !is_name(c)).next().unwrap();
        let rest = &question[word.len()..];
        match word {
            "" => self.answer(in_parentheses(question).0, place),
            "histogram_quantile" => {
                let (_, buckets) = in_parentheses(rest).0.split_once(", ").unwrap();
                let mut labels = self.answer(buckets, place);
                assert!(labels.remove("le"), "{place}: buckets without their bounds: {question}");
                labels
            }
            name if name.starts_with("sector7g_") => self.labels(name, place),
            "max" | "min" | "sum" => {
                rest.strip_prefix(" by ").map(|rest| names(in_parentheses(rest).0)).unwrap_or_default()
            }
            other => panic!("{place}: `{other}` is not read here: {question}"),
        }
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn names(list: &str) -> Names {
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// What stands in the parentheses with which a text begins, and what stands behind them.
fn in_parentheses(text: &str) -> (&str, &str) {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            assert!(at > 0, "no parenthesis: {text}");
            return (&text[1..at], &text[at + 1..]);
        }
    }
    panic!("no end: {text}")
}

/// All of a text that asks for a metric of ours, as `sector7g_claims_total{outcome="failed"}`.
fn selectors(text: &str) -> Vec<&str> {
    let of_ours = text.match_indices("sector7g_").map(|(at, _)| &text[at..]);
    let whole = of_ours.map(|rest| {
        let name = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let end = if rest[name..].starts_with('{') { name + rest[name..].find('}').unwrap() + 1 } else { name };
        &rest[..end]
    });
    whole.collect()
}

/// A metric's name, and its labels with their values, whichever way these are compared.
fn selector(text: &str) -> (&str, Vec<(&str, &str)>) {
    let Some((name, labels)) = text.split_once('{') else { return (text, Vec::new()) };
    let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("no end: {text}"));
    let pairs = labels.split_inclusive("\",").flat_map(|list| list.split(", ")).filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| {
        let (label, value) = pair.split_once('"').unwrap_or_else(|| panic!("no value: {text}"));
        (label.trim_end_matches(['=', '~', '!']).trim(), value.trim_end_matches([',', '"']))
    });
    (name, pairs.collect())
}

/// The labels that a text for people takes from an answer, each between `open` and what is no name.
fn shown<'a>(text: &'a str, open: &str) -> Vec<&'a str> {
    let pieces = text.split(open).skip(1).map(str::trim_start);
    pieces.map(|piece| piece.split(|c| !is_name(c)).next().unwrap()).collect()
}

/// What two workers export that have done and suffered all that can be counted.
async fn export(documented: &Metrics) -> Metrics {
    let server = RedisServer::start();
    let (observed, port) = (Observed::start(&server, &[]).await, format!("FAILING_REDIS_PORT={}", server.port()));
    let failing = ["-u", "RUST_BACKTRACE", &port, logs::PROGRAM, "failing", "--listen", "0"];
    let failing = Observed::run(&server, &failing).await;
    // One that enqueues another.
    client(&server).await.enqueue(Job::untyped("block", "observed").arg(0).arg(1)).await.unwrap();
    fail(&server).await;
    let until = Instant::now() + SOON;
    loop {
        let exported = Metrics::exported(&[observed.scrape().await, failing.scrape().await]);
        if exported == *documented || Instant::now() > until {
            return exported;
        }
        sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn the_table_is_true_and_rules_and_dashboard_ask_for_what_there_is() {
    let documented = Metrics::documented();
    let exported = export(&documented).await;
    for name in documented.0.keys().chain(exported.0.keys()) {
        assert_eq!(exported.0.get(name), documented.0.get(name), "{name}: what is exported, and what is documented");
    }
    rules(&exported);
    rules_tests(&exported);
    dashboard(&exported);
    // By which KEDA scales.
    let deployment = read("deploy/kubernetes/plant.yaml");
    let asked: Vec<&str> = deployment.split('`').skip(1).step_by(2).filter(|code| code.contains("sector7g_")).collect();
    assert!(!asked.is_empty());
    for question in asked {
        exported.ask(question, "plant.yaml");
    }
}

fn rules(exported: &Metrics) {
    let file: Value = yaml("deploy/prometheus/alerts.yml");
    let rules = file["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
    let mut count = 0;
    for rule in rules {
        let place = rule["alert"].as_str().unwrap();
        let labels = exported.ask(rule["expr"].as_str().unwrap(), place);
        for text in rule["annotations"].as_object().unwrap().values().filter_map(Value::as_str) {
            for label in shown(text, "$labels.") {
                assert!(labels.contains(label), "{place}: it says {label}, and has {labels:?}");
            }
        }
        count += 1;
    }
    assert!(count > 8, "{count} rules");
}

fn rules_tests(exported: &Metrics) {
    let file: Value = yaml("deploy/prometheus/alerts.test.yml");
    let tests = file["tests"].as_array().unwrap().iter();
    let series = tests.flat_map(|test| test["input_series"].as_array().into_iter().flatten());
    let mut count = 0;
    for series in series.map(|series| series["series"].as_str().unwrap()) {
        let (name, labels) = selector(series);
        let ours = labels.into_iter().filter(|(label, _)| !OF_TARGETS.contains(label));
        let ours: Vec<String> = ours.map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let place = format!("alerts.test.yml, {series}");
        exported.select(&format!("{name}{{{}}}", ours.join(",")), &place);
        count += 1;
    }
    assert!(count > 20, "{count} series");
}

fn dashboard(exported: &Metrics) {
    let file: Value = serde_json::from_str(&read("deploy/grafana/sector7g.json")).unwrap();
    let mut count = 0;
    for panel in file["panels"].as_array().unwrap() {
        let place = panel["title"].as_str().unwrap();
        for target in panel["targets"].as_array().into_iter().flatten() {
            let labels = exported.ask(target["expr"].as_str().unwrap(), place);
            for label in shown(target["legendFormat"].as_str().unwrap(), "{{") {
                assert!(labels.contains(label), "{place}: its legend says {label}, and it has {labels:?}");
            }
            count += 1;
        }
    }
    assert!(count > 20, "{count} questions");
    let variables = file["templating"]["list"].as_array().unwrap().iter();
    let queries = variables.filter(|variable| variable["type"] == "query");
    for text in queries.flat_map(|variable| [&variable["definition"], &variable["query"]["query"]]) {
        let asked = text.as_str().and_then(|text| text.strip_prefix("label_values(")?.strip_suffix(')'));
        let (name, label) = asked.and_then(|asked| asked.split_once(", ")).unwrap_or_else(|| panic!("{text}"));
        exported.have(vec![name], &names(label), "the dashboard's variables");
    }
}
