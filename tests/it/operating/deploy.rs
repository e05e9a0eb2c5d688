//! `Dockerfile`, `compose.yaml` and `deploy/`: what they name is there, and does what they count on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use sector7g_tasks::broker::RedisBroker;
use sector7g_tasks::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};
use support::{Program, RedisServer, free_port, promtool};

use super::{OPERATE, Observed, SOON, client, until};
use crate::plant::plant_program;

const WORKERS: [&str; 6] = ["carl", "charlie", "grimey", "homer", "inanimate-rod", "lenny"];

/// Where the image has the plant.
const IN_THE_IMAGE: &str = "/usr/local/bin/plant";

/// Where it has the operator's command.
const OPERATORS: &str = "/usr/local/bin/sector-7g";

/// What names the folder where a worker finds what others have written.
const ROOMS: &str = "PLANT_ROOMS";

/// Where a worker's metrics are, as all of these files have it.
const METRICS: &str = "0.0.0.0:9464";

/// Where the dashboard is.
const PAGES: &str = "0.0.0.0:8090";

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

pub(super) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(super) fn yaml<T: for<'de> Deserialize<'de>>(path: &str) -> T {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

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

#[derive(Deserialize)]
struct Compose {
    services: BTreeMap<String, Service>,
}

#[derive(Deserialize)]
struct Service {
    image: String,
    #[serde(default)]
    entrypoint: Vec<String>,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    ports: Vec<String>,
    #[serde(default)]
    profiles: Vec<String>,
    restart: String,
    stop_grace_period: Option<String>,
    healthcheck: Option<HealthCheck>,
    deploy: Value,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    volumes: Vec<String>,
}

/// The names of compose.yaml's services.
pub(super) fn services() -> BTreeSet<String> {
    yaml::<Compose>("compose.yaml").services.into_keys().collect()
}

/// The names of its profiles.
pub(super) fn profiles() -> BTreeSet<String> {
    yaml::<Compose>("compose.yaml").services.into_values().flat_map(|service| service.profiles).collect()
}

#[derive(Deserialize)]
struct HealthCheck {
    test: Vec<String>,
}

/// How each worker of the plant is started and asked for its health, by a file that says so.
struct Deployed {
    arguments: Vec<String>,
    check: Vec<String>,
}

/// Starts a worker as it is deployed, sees it ready, healthy and counting, and then gone.
async fn works(server: &RedisServer, worker: &str, Deployed { arguments, check }: Deployed) {
    let url = server.url();
    let plant = plant_program();
    let plant = plant.to_str().unwrap();
    assert!(arguments.iter().any(|argument| argument == METRICS), "{worker}: {arguments:?}");
    let arguments: Vec<&str> =
        arguments.iter().map(|argument| if argument == METRICS { "127.0.0.1:0" } else { argument }).collect();
    let checking = || {
        let arguments: Vec<&str> = check.iter().map(String::as_str).chain(["--redis", &url]).collect();
        Program::start(plant, &arguments)
    };
    let mut running = Observed::run(server, &[&[plant], &arguments[..]].concat()).await;
    running.expect("/ready", 200, "ok").await;
    running.expect("/live", 200, "ok").await;
    running.expect("/metrics", 200, "sector7g_queue_workers").await;
    let mut healthy = checking();
    assert_eq!(healthy.end().await, 0, "{worker}: {}", healthy.said());
    assert_eq!(running.program.terminate().await, 0, "{}", running.program.said());
    let mut gone = checking();
    assert_eq!(gone.end().await, 1, "{worker}: {}", gone.said());
}

#[tokio::test]
async fn compose_has_the_plants_workers_and_each_starts_and_is_healthy() {
    let compose: Compose = yaml("compose.yaml");
    let workers = compose.services.into_iter().filter_map(|(name, service)| {
        let worker = name.strip_prefix("worker-")?.to_owned();
        Some((worker, service))
    });
    let workers: Vec<_> = workers.collect();
    assert!(workers.iter().map(|(worker, _)| worker).eq(WORKERS), "one service a worker");
    let server = RedisServer::start();
    for (worker, service) in workers {
        assert_eq!((&*service.image, &*service.restart), ("sector7g-plant", "unless-stopped"), "{worker}");
        let grace = service.stop_grace_period.unwrap();
        let grace = grace.strip_suffix('s').unwrap().parse().unwrap();
        assert!(Duration::from_secs(grace) > longest_stop(&worker), "{worker} has {grace} s to stop");
        let limits = &service.deploy["resources"]["limits"];
        assert!(limits["memory"].is_string(), "{worker} has a limit of its memory: {limits}");
        let cpus = limits["cpus"].as_str().and_then(|cpus| cpus.parse::<f64>().ok());
        assert!(cpus.is_some_and(|cpus| cpus > 0.0), "{worker} has a limit of its CPUs: {limits}");
        let mount = format!("rooms:{}", service.environment[ROOMS]);
        assert!(service.volumes.contains(&mount), "{worker} has the others' rooms: {:?}", service.volumes);
        let test = service.healthcheck.unwrap().test;
        let [kind, program, check @ ..] = &test[..] else { panic!("{worker}: {test:?}") };
        assert_eq!((&**kind, &**program), ("CMD", IN_THE_IMAGE), "{worker}");
        let deployed = Deployed { arguments: service.command, check: check.to_vec() };
        works(&server, &worker, deployed).await;
    }
}

/// Starts the dashboard as it is deployed: who has not told the token sees the login alone, and without one it ends.
async fn shows(server: &RedisServer, program: &str, arguments: &[String]) {
    assert_eq!((program, arguments), (OPERATORS, &["dashboard", "--listen", PAGES].map(str::to_owned)[..]));
    let redis = format!("REDIS_URL={}", server.url());
    let mut open =
        Program::start("/usr/bin/env", &[&redis, "SECTOR7G_DASHBOARD_TOKEN=", OPERATE, "dashboard", "--listen", PAGES]);
    assert_eq!(open.end().await, 64, "{}", open.said());
    assert!(open.said().contains("token"), "{}", open.said());
    let token = "SECTOR7G_DASHBOARD_TOKEN=donuts-donuts-donuts";
    let program = Program::start("/usr/bin/env", &[&redis, token, OPERATE, "dashboard", "--listen", "127.0.0.1:0"]);
    let port = until("it listens", || {
        let said = program.said();
        let (_, rest) = said.split_once("The dashboard is at http://127.0.0.1:")?;
        rest.split_once("/ (it only reads)").map(|(port, _)| port.to_owned())
    });
    let mut running = Observed { port: port.await.parse().unwrap(), program };
    running.expect("/login", 200, "token").await;
    running.expect("/overview", 303, "").await;
    assert_eq!(running.program.terminate().await, 0, "{}", running.program.said());
}

#[tokio::test]
async fn compose_has_a_dashboard_behind_a_token() {
    let service = yaml::<Compose>("compose.yaml").services.remove("dashboard").unwrap();
    let [program] = &service.entrypoint[..] else { panic!("{:?}", service.entrypoint) };
    shows(&RedisServer::start(), program, &service.command).await;
    assert_eq!(service.ports, ["127.0.0.1:8090:8090"], "its host's users alone reach it: it has no TLS");
    assert_eq!(service.profiles, ["dashboard"], "it comes when it is asked for");
    // By `:?` compose would want a token for whatever service it starts.
    assert_eq!(service.environment["SECTOR7G_DASHBOARD_TOKEN"], "${SECTOR7G_DASHBOARD_TOKEN:-}");
    let expected: Vec<&str> = service.environment["SECTOR7G_EXPECT"].split(',').collect();
    assert_eq!(expected, WORKERS.map(|worker| worker.replace('-', "_")), "the queues of the plant's workers");
    assert!(service.environment.contains_key("REDIS_URL"));
}

/// What the plant's worker may take to stop: for its jobs, and for those that ignore that they are cancelled.
fn longest_stop(worker: &str) -> Duration {
    let file = format!("examples/plant/{}.rs", worker.replace('-', "_"));
    assert!(!read(&file).contains("job_completion_wait"), "{file} has the default");
    Duration::from_secs(5 + 2)
}

/// Its arguments are those with which the test above starts the workers of compose.yaml.
#[test]
fn kubernetes_has_each_worker_with_its_probes_and_the_shared_rooms() {
    let list: Value = yaml("deploy/kubernetes/plant.yaml");
    let items = list["items"].as_array().unwrap();
    let of_kind = |kind: &'static str| items.iter().filter(move |item| item["kind"] == kind);
    let claims: Vec<&Value> = of_kind("PersistentVolumeClaim").collect();
    let [claim] = claims[..] else { panic!("one claim, which all share: {claims:?}") };
    assert_eq!((&claim["apiVersion"], &claim["spec"]["accessModes"]), (&"v1".into(), &json!(["ReadWriteMany"])));
    let mut found = BTreeSet::new();
    let is_worker = |item: &&Value| item["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("worker-"));
    for deployment in of_kind("Deployment").filter(is_worker) {
        assert_eq!(deployment["apiVersion"], "apps/v1");
        let name = deployment["metadata"]["name"].as_str().unwrap();
        let (spec, pod) = (&deployment["spec"], &deployment["spec"]["template"]["spec"]);
        for labels in [
            &deployment["metadata"]["labels"],
            &spec["selector"]["matchLabels"],
            &spec["template"]["metadata"]["labels"],
        ] {
            assert_eq!(labels["app.kubernetes.io/name"], name);
        }
        let worker = name.strip_prefix("worker-").unwrap();
        assert!(pod["terminationGracePeriodSeconds"].as_u64() > Some(longest_stop(worker).as_secs()), "{name}");
        let container = &pod["containers"][0];
        assert_eq!(container["args"], json!([worker, "--listen", METRICS]));
        assert_eq!(container["ports"][0]["containerPort"], 9464);
        assert_eq!(spec["template"]["metadata"]["annotations"]["prometheus.io/port"], "9464");
        for (probe, path) in [("livenessProbe", "/live"), ("readinessProbe", "/ready"), ("startupProbe", "/ready")] {
            assert_eq!(container[probe]["httpGet"], json!({ "path": path, "port": "http" }), "{name}");
        }
        assert_eq!(container["env"][0]["name"], "REDIS_URL");
        let variables = container["env"].as_array().unwrap().iter();
        let rooms = variables.filter(|variable| variable["name"] == ROOMS).map(|variable| &variable["value"]);
        let mounts = container["volumeMounts"].as_array().unwrap().iter();
        let mounted = mounts.filter(|mount| mount["name"] == "rooms").map(|mount| &mount["mountPath"]);
        assert!(rooms.eq(mounted), "{name} finds its rooms in the volume: {container}");
        let rooms = pod["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == "rooms").unwrap();
        assert_eq!(rooms["persistentVolumeClaim"]["claimName"], claim["metadata"]["name"], "{name}");
        let user = &pod["securityContext"];
        assert_eq!(user["fsGroup"], user["runAsUser"], "{name} may write there");
        found.insert(worker.to_owned());
    }
    assert!(found.iter().eq(WORKERS), "{found:?}");
    assert_eq!(items.len(), 1 + WORKERS.len() + 2, "nothing else is there that this test and the next do not look at");
}

#[tokio::test]
async fn kubernetes_has_a_dashboard_whose_token_is_a_secret() {
    let list: Value = yaml("deploy/kubernetes/plant.yaml");
    let named = |kind: &str| {
        let mut items = list["items"].as_array().unwrap().iter();
        items.find(|item| item["kind"] == kind && item["metadata"]["name"] == "dashboard").unwrap()
    };
    let (deployment, service) = (&named("Deployment")["spec"], &named("Service")["spec"]);
    let labels = &deployment["template"]["metadata"]["labels"];
    for (name, value) in service["selector"].as_object().unwrap() {
        assert_eq!(&labels[name], value, "the service finds the pods");
        assert_eq!(&deployment["selector"]["matchLabels"][name], value);
    }
    let container = &deployment["template"]["spec"]["containers"][0];
    let words = |field: &str| -> Vec<String> { serde_json::from_value(container[field].clone()).unwrap() };
    shows(&RedisServer::start(), &words("command").join(" "), &words("args")).await;
    assert_eq!(container["ports"], json!([{ "name": "http", "containerPort": 8090 }]));
    assert_eq!(service["ports"], json!([{ "name": "http", "port": 8090, "targetPort": "http" }]));
    for probe in ["livenessProbe", "readinessProbe"] {
        assert_eq!(container[probe]["httpGet"], json!({ "path": "/login", "port": "http" }), "needs no login");
    }
    let secrets = container["env"].as_array().unwrap().iter().filter(|variable| variable["name"] != "SECTOR7G_EXPECT");
    let secrets = secrets.map(|variable| (&variable["name"], &variable["valueFrom"]["secretKeyRef"]["name"]));
    let wanted = [("REDIS_URL", "sector7g-redis"), ("SECTOR7G_DASHBOARD_TOKEN", "sector7g-dashboard")];
    let wanted = wanted.map(|(name, secret)| (Value::from(name), Value::from(secret)));
    assert!(secrets.eq(wanted.iter().map(|(name, secret)| (name, secret))), "{container}");
}

/// What the comments of compose.yaml promise of its server, the server itself says.
#[tokio::test]
async fn composes_redis_is_as_it_has_to_be() {
    let redis = yaml::<Compose>("compose.yaml").services.remove("redis").unwrap();
    let [program, arguments @ ..] = &redis.command[..] else { panic!("{:?}", redis.command) };
    assert_eq!(program, "redis-server");
    let arguments = arguments.iter().map(|word| if word.starts_with("${REDIS_PASSWORD:") { "donuts" } else { word });
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port().to_string());
    let ours = ["--port", &port, "--bind", "127.0.0.1", "--dir", folder.path().to_str().unwrap()];
    let arguments: Vec<&str> = arguments.chain(ours).collect();
    let server = std::env::var("SECTOR7G_REDIS_SERVER").unwrap_or_else(|_| program.clone());
    let server = Program::start(&server, &arguments);
    until("Redis listens", || server.said().contains("Ready to accept connections").then_some(())).await;
    let broker = RedisBroker::connect(format!("redis://:donuts@127.0.0.1:{port}/0")).await.unwrap();
    assert_eq!(broker.concerns().await.unwrap(), [""; 0]);
}

/// Why they share a folder: Carl checks what Lenny has filed, whose processes have nothing else in common.
#[tokio::test]
async fn carl_reads_what_lenny_files() {
    let (server, folder) = (RedisServer::start(), tempfile::tempdir().unwrap());
    let (plant, rooms) = (plant_program(), format!("{ROOMS}={}", folder.path().display()));
    let worker =
        |name| Program::start("/usr/bin/env", &[&rooms, plant.to_str().unwrap(), name, "--redis", &server.url()]);
    let _workers = ["lenny", "carl"].map(worker);
    let client = client(&server).await;
    let report = Job::untyped("file_report", "lenny").arg("coolant").arg(7);
    let filed = client.enqueue(report.id("filed")).await.unwrap().result_within(SOON).await.unwrap();
    let checked = client.job::<Untyped>("carl", "verify-filed").unwrap().result_within(SOON).await.unwrap();
    assert_eq!(checked["name"], filed["name"]);
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

/// `key=value` of a unit's section.
fn settings<'a>(unit: &'a str, section: &str) -> BTreeMap<&'a str, &'a str> {
    let lines = unit.lines().skip_while(|line| *line != format!("[{section}]")).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('[')).filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).collect()
}

#[test]
fn systemd_starts_a_worker_that_tells_it_when_it_is_ready() {
    let unit = read("deploy/systemd/sector7g-worker@.service");
    let service = settings(&unit, "Service");
    assert_eq!(service["ExecStart"], format!("{IN_THE_IMAGE} %i"));
    assert_eq!(service["Type"], "notify", "as `operating::systemd` tests it");
    let seconds = |name: &str| service[name].strip_suffix('s').unwrap().parse().map(Duration::from_secs).unwrap();
    for worker in WORKERS {
        assert!(seconds("TimeoutStopSec") > longest_stop(worker), "{worker}");
    }
    let state = format!("/var/lib/{}", service["StateDirectory"]);
    let rooms = service["Environment"].split(' ').find_map(|pair| pair.strip_prefix(ROOMS)?.strip_prefix('='));
    assert_eq!(rooms, Some(&*state), "where all workers may write");
    let of_all = |name: &str| !service[name].contains('%');
    assert!(of_all("StateDirectory") && of_all("User"), "one folder of one user, whichever worker it is");
    assert!(seconds("WatchdogSec") >= Duration::from_secs(10));
    assert_eq!(settings(&unit, "Install")["WantedBy"], "multi-user.target");
}

#[tokio::test]
async fn a_worker_that_is_started_as_by_systemd_serves_its_metrics() {
    let unit = read("deploy/systemd/sector7g-worker@.service");
    let files: Vec<&str> = unit.lines().filter_map(|line| line.strip_prefix("EnvironmentFile=")).collect();
    let wanted = ["/etc/sector7g/worker.env", "-/etc/sector7g/%i.env"];
    assert_eq!(files, wanted, "a worker's own file comes last, so that it counts, and need not be there");
    // What the unit's first lines put in the worker's own file, on a free port.
    let own = unit.lines().find_map(|line| line.strip_prefix("#   ")?.split_once(":9464")).unwrap().0;
    let own = format!("{own}:0");
    let (server, plant, rooms) = (RedisServer::start(), plant_program(), tempfile::tempdir().unwrap());
    let rooms = format!("{ROOMS}={}", rooms.path().display());
    let service = settings(&unit, "Service");
    let started = service["ExecStart"].replace("%i", "homer").replace(IN_THE_IMAGE, plant.to_str().unwrap());
    let environment = service["Environment"].split(' ').chain([&*rooms, &*own]);
    let command: Vec<&str> = environment.chain(started.split(' ')).collect();
    let mut running = Observed::run(&server, &command).await;
    running.expect("/ready", 200, "ok").await;
    running.expect("/live", 200, "ok").await;
    running.expect("/metrics", 200, "sector7g_queue_workers").await;
    assert_eq!(running.program.terminate().await, 0, "{}", running.program.said());
}

/// What cargo knows of the workspace.
#[derive(Deserialize)]
struct Workspace {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    targets: Vec<Built>,
    features: BTreeMap<String, Vec<String>>,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    features: Vec<String>,
}

#[derive(Deserialize)]
struct Built {
    name: String,
    kind: Vec<String>,
}

#[test]
fn the_image_is_built_of_programs_that_there_are() {
    let known = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    let workspace: Workspace = serde_json::from_slice(&known.stdout).unwrap();
    let file = read("Dockerfile");
    let builds: Vec<Vec<&str>> = file
        .lines()
        .filter_map(|line| line.split_once("cargo build "))
        .map(|(_, rest)| rest.split_whitespace().take_while(|word| *word != "\\").collect())
        .collect();
    assert_eq!(builds.len(), 2);
    for words in builds {
        let after = |flag: &str| words.iter().position(|word| *word == flag).map(|at| words[at + 1]);
        let package = workspace.packages.iter().find(|package| Some(&*package.name) == after("--package")).unwrap();
        let (kind, name) = after("--example").map_or(("bin", after("--bin")), |name| ("example", Some(name)));
        let is_it = |built: &Built| Some(&*built.name) == name && built.kind == [kind];
        assert!(package.targets.iter().any(is_it), "{words:?}");
        let asked: Vec<&str> = after("--features").into_iter().flat_map(|features| features.split(',')).collect();
        assert!(asked.iter().all(|feature| package.features.contains_key(*feature)), "{words:?}");
        let library = package.dependencies.iter().filter(|dependency| dependency.name == "sector7g-tasks");
        let has = |feature: &&str| {
            let mut of_library = library.clone().flat_map(|dependency| &dependency.features);
            asked.contains(feature) || of_library.any(|known| known == feature)
        };
        let missing: Vec<&str> = ["tls", "sentinel", "cluster"].into_iter().filter(|feature| !has(feature)).collect();
        assert_eq!(missing, [""; 0], "it reaches any Redis: {words:?}");
        let built: PathBuf =
            ["target/release", if kind == "bin" { "" } else { "examples" }, name.unwrap()].iter().collect();
        assert!(file.contains(built.to_str().unwrap()), "the image takes {}", built.display());
    }
    assert!(file.contains(&format!("ENTRYPOINT [\"{IN_THE_IMAGE}\"]")));
    assert!(file.lines().any(|line| line.starts_with("FROM ") && line.ends_with(":nonroot")), "it runs as nobody");
}
