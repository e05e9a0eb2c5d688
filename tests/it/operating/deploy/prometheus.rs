//! `deploy/prometheus` and `deploy/grafana`: Prometheus takes them, and they ask for what there is.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Output};

use serde::Deserialize;
use serde_json::{Value, json};
use support::promtool;

use super::{WORKERS, read, root, yaml};

fn checked(arguments: &[&str]) {
    let folder = root().join("deploy/prometheus");
    let Output { status, stdout, stderr } =
        Command::new(promtool()).args(arguments).current_dir(folder).output().unwrap();
    let said = [stdout, stderr].concat();
    assert!(status.success(), "promtool {arguments:?}: {}", String::from_utf8_lossy(&said));
}

#[test]
fn prometheus_takes_the_rules_and_they_do_as_their_tests_say() {
    checked(&["check", "config", "prometheus.yml"]);
    checked(&["test", "rules", "alerts.test.yml"]);
}

#[derive(Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    alert: String,
}

#[test]
fn each_alert_is_seen_to_fire() {
    let rules: Rules = yaml("deploy/prometheus/alerts.yml");
    let tests: Value = yaml("deploy/prometheus/alerts.test.yml");
    let cases = tests["tests"].as_array().unwrap().iter();
    let cases = cases.flat_map(|test| test["alert_rule_test"].as_array().into_iter().flatten());
    let fires = |case: &&Value| case["exp_alerts"].as_array().is_some_and(|alerts| !alerts.is_empty());
    let seen: BTreeSet<&str> = cases.filter(fires).filter_map(|case| case["alertname"].as_str()).collect();
    let alerts: BTreeSet<&str> = rules.groups.iter().flat_map(|group| &group.rules).map(|rule| &*rule.alert).collect();
    assert_eq!(seen, alerts);
}

/// A dashboard that Grafana can read: of each panel, its place and its questions.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dashboard {
    schema_version: u32,
    panels: Vec<Panel>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Panel {
    id: u32,
    r#type: String,
    title: String,
    grid_pos: Place,
    #[serde(default)]
    targets: Vec<Target>,
}

#[derive(Clone, Copy, Deserialize)]
struct Place {
    h: u32,
    w: u32,
    x: u32,
    y: u32,
}

#[derive(Deserialize)]
struct Target {
    expr: String,
}

#[test]
fn the_dashboards_questions_are_promql() {
    let dashboard: Dashboard = serde_json::from_str(&read("deploy/grafana/sector7g.json")).unwrap();
    assert!(dashboard.schema_version >= 39);
    let ids: BTreeSet<u32> = dashboard.panels.iter().map(|panel| panel.id).collect();
    assert_eq!(ids.len(), dashboard.panels.len(), "each panel has an id of its own");
    let mut covered = BTreeSet::new();
    for panel in &dashboard.panels {
        let Place { h, w, x, y } = panel.grid_pos;
        assert!(x + w <= 24, "{}", panel.title);
        let cells = (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y)));
        assert!(cells.into_iter().all(|cell| covered.insert(cell)), "{} lies on another", panel.title);
        assert_eq!(panel.targets.is_empty(), panel.r#type == "row", "{}", panel.title);
    }
    // As Grafana fills it in, each is a rule that promtool reads.
    let questions = dashboard.panels.iter().flat_map(|panel| &panel.targets);
    let rules: Vec<Value> = questions
        .enumerate()
        .map(|(nth, target)| {
            let expr = target.expr.replace("$__rate_interval", "1m").replace("$queue", ".*");
            assert!(!expr.contains('$'), "{expr}");
            json!({ "record": format!("question_{nth}"), "expr": expr })
        })
        .collect();
    let groups = json!({ "groups": [{ "name": "questions", "rules": rules }] });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("questions.yml");
    fs::write(&file, groups.to_string()).unwrap(); // JSON is YAML
    checked(&["check", "rules", file.to_str().unwrap()]);
}

#[test]
fn prometheus_looks_at_each_worker_of_compose() {
    let config: Value = yaml("deploy/prometheus/prometheus.yml");
    let found = &config["scrape_configs"][0]["dns_sd_configs"][0];
    assert_eq!((&found["type"], &found["port"]), (&Value::from("A"), &Value::from(9464)), "each replica by itself");
    let names: BTreeSet<&str> = found["names"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let wanted: Vec<String> = WORKERS.iter().map(|worker| format!("worker-{worker}")).collect();
    assert!(names.into_iter().eq(wanted.iter().map(String::as_str)));
}
