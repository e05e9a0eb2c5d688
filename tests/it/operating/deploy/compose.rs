//! `compose.yaml`: what each service runs, mounts and listens on is there, and does what it counts on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::time::Duration;

use sector7g_tasks::broker::{Broker, RedisBroker};
use serde::Deserialize;
use serde_json::Value;
use support::{Program, RedisServer, amtool, free_port, promtool};
use tempfile::TempDir;

use super::super::{OPERATE, until};
use super::{
    Deployed, IN_THE_IMAGE, METRICS, OPERATORS, PAGES, ROOMS, WORKERS, longest_stop, root, shows, works, yaml,
};
use crate::plant::plant_program;

#[derive(Deserialize)]
struct Compose {
    services: BTreeMap<String, Service>,
    networks: BTreeMap<String, Value>,
    volumes: BTreeMap<String, Value>,
    secrets: BTreeMap<String, Value>,
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
    #[serde(default)]
    networks: Vec<String>,
    #[serde(default)]
    secrets: Vec<String>,
    #[serde(default)]
    depends_on: BTreeMap<String, Value>,
    build: Option<String>,
    pull_policy: Option<String>,
}

impl Service {
    /// The repository's files that it sees: where they are here, and there.
    fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        let mounts = self.volumes.iter().filter_map(|volume| volume.strip_prefix("./"));
        mounts.map(|mount| mount.strip_suffix(":ro").expect("it only reads").split_once(':').unwrap())
    }

    /// The files that it sees, at their places below a folder.
    fn as_it_sees(&self) -> TempDir {
        let seen = tempfile::tempdir().unwrap();
        for (here, there) in self.files() {
            let file = seen.path().join(there.trim_start_matches('/'));
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::copy(root().join(here), file).unwrap();
        }
        seen
    }
}

/// A text of compose.yaml with its variables filled in: the password, and what the others have when nobody sets them.
fn filled(text: &str) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, variable)) = rest.split_once("${") {
        let (variable, after) = variable.split_once('}').unwrap();
        let (name, otherwise) = variable.split_once(':').expect("it says what is when it is not set");
        let value = if name == "REDIS_PASSWORD" { "donuts" } else { otherwise.strip_prefix('-').unwrap() };
        filled.extend([before, value]);
        rest = after;
    }
    filled + rest
}

/// compose.yaml's server, on a free port.
struct Redis {
    program: Program,
    port: String,
    _folder: TempDir,
}

impl Redis {
    async fn start(service: &Service) -> Self {
        let [program, arguments @ ..] = &service.command[..] else { panic!("{:?}", service.command) };
        assert_eq!(program, "redis-server");
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port().to_string());
        let ours = ["--port", &port, "--bind", "127.0.0.1", "--dir", folder.path().to_str().unwrap()];
        let arguments: Vec<String> = arguments.iter().map(|word| filled(word)).chain(ours.map(str::to_owned)).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let server = std::env::var("SECTOR7G_REDIS_SERVER").unwrap_or_else(|_| program.clone());
        let program = Program::start(&server, &arguments);
        until("Redis listens", || program.said().contains("Ready to accept connections").then_some(())).await;
        Self { program, port, _folder: folder }
    }
}

/// The names of compose.yaml's services.
pub(in super::super) fn services() -> BTreeSet<String> {
    yaml::<Compose>("compose.yaml").services.into_keys().collect()
}

/// The names of its profiles.
pub(in super::super) fn profiles() -> BTreeSet<String> {
    yaml::<Compose>("compose.yaml").services.into_values().flat_map(|service| service.profiles).collect()
}

#[derive(Deserialize)]
struct HealthCheck {
    test: Vec<String>,
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
        assert!(service.depends_on.contains_key("redis"), "{worker} starts when Redis is there");
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

/// What the comments of compose.yaml promise of its server, the server itself says.
#[tokio::test]
async fn composes_redis_is_as_it_has_to_be() {
    let service = yaml::<Compose>("compose.yaml").services.remove("redis").unwrap();
    let redis = Redis::start(&service).await;
    let broker = RedisBroker::connect(format!("redis://:donuts@127.0.0.1:{}/0", redis.port)).await.unwrap();
    assert_eq!(broker.concerns().await.unwrap(), [""; 0]);
}

/// Healthy while it answers: not when it says no, and not when it is gone.
#[tokio::test]
async fn composes_redis_is_asked_for_its_health() {
    let service = yaml::<Compose>("compose.yaml").services.remove("redis").unwrap();
    let mut redis = Redis::start(&service).await;
    let test = service.healthcheck.unwrap().test;
    let [kind, program, words @ ..] = &test[..] else { panic!("{test:?}") };
    assert_eq!((&**kind, &**program), ("CMD", "redis-cli"));
    let client = std::env::var("SECTOR7G_REDIS_CLI").unwrap_or_else(|_| program.clone());
    let password = filled(&service.environment["REDISCLI_AUTH"]);
    let is_healthy = |port: &str, password: &str| {
        let mut asked = Command::new(&client);
        let asked = asked.args(["-p", port]).args(words).env("REDISCLI_AUTH", password);
        asked.output().unwrap().status.success()
    };
    assert!(is_healthy(&redis.port, &password));
    assert!(!is_healthy(&redis.port, "apples"), "an answer that is an error is not health");
    redis.program.terminate().await;
    assert!(!is_healthy(&redis.port, &password));
}

/// `operator` finds the server by its URL and password, and misses the queues that nobody serves.
#[tokio::test]
async fn composes_operator_tells_how_the_fleet_fares() {
    let mut services = yaml::<Compose>("compose.yaml").services;
    let (service, redis) = (services.remove("operator").unwrap(), services.remove("redis").unwrap());
    assert_eq!((&*service.restart, &service.profiles[..]), ("no", &["operator".to_owned()][..]));
    assert!(service.depends_on.is_empty(), "it says that Redis is gone, and does not wait for it");
    assert_eq!(service.entrypoint, [OPERATORS]);
    let redis = Redis::start(&redis).await;
    let here = format!("127.0.0.1:{}", redis.port);
    let url = filled(&service.environment["REDIS_URL"]);
    assert!(url.contains("@redis:6379/"), "{url}");
    let url = url.replace("redis:6379", &here);
    let asks = |words: &[String]| {
        let environment = service.environment.iter().filter(|(name, _)| *name != "REDIS_URL");
        let environment = environment.map(|(name, value)| (name, filled(value)));
        let asked = Command::new(OPERATE).args(words).envs(environment).env("REDIS_URL", &url).output().unwrap();
        (asked.status.code().unwrap(), String::from_utf8_lossy(&asked.stdout).into_owned())
    };
    let (code, said) = asks(&service.command);
    assert_eq!(code, 1, "{said}");
    let missed = |said: &str| -> Vec<String> {
        let reasons = said.lines().filter(|line| line.trim_start().starts_with('!'));
        reasons.filter_map(|line| Some(line.split('`').nth(1)?.to_owned())).collect()
    };
    assert_eq!(missed(&said), WORKERS.map(|worker| worker.replace('-', "_")), "{said}");
    let plant = plant_program();
    let _homer = Program::start(plant.to_str().unwrap(), &["homer", "--redis", &url]);
    let is_served = || {
        let (_, said) = asks(&service.command);
        (!missed(&said).contains(&"homer".to_owned())).then_some(said)
    };
    let said = until("homer is served", is_served).await;
    assert_eq!(missed(&said).len(), WORKERS.len() - 1, "{said}");
    assert_eq!(asks(&["dead", "list"].map(str::to_owned)).0, 0, "what the file's comment says of it");
}

/// On which port a service is listened to: ours say it, of the others it is what their images do unless told otherwise.
fn port(name: &str, service: &Service) -> Option<u16> {
    match (name, &*service.image) {
        (_, "sector7g-plant") => {
            let listens = service.command.iter().find(|word| [METRICS, PAGES].contains(&word.as_str()))?;
            Some(listens.rsplit_once(':').unwrap().1.parse().unwrap())
        }
        ("redis", _) => Some(6379),
        ("prometheus", _) => Some(9090),
        ("alertmanager", _) => Some(9093),
        _ => panic!("what is {name}?"),
    }
}

#[test]
fn what_composes_services_name_is_there() {
    let compose: Compose = yaml("compose.yaml");
    let (mut mounted, mut told) = (BTreeSet::new(), BTreeSet::new());
    let mut published = BTreeSet::new();
    for (name, service) in &compose.services {
        assert_eq!(service.networks, ["plant"], "{name} reaches the others");
        assert!(service.networks.iter().all(|network| compose.networks.contains_key(network)), "{name}");
        for volume in service.volumes.iter().filter(|volume| !volume.starts_with("./")) {
            let (volume, place) = volume.split_once(':').unwrap();
            assert!(compose.volumes.contains_key(volume) && place.starts_with('/'), "{name}: {volume}");
            mounted.insert(volume);
        }
        for (here, there) in service.files() {
            assert!(root().join(here).is_file() && there.starts_with('/'), "{name}: {here}");
        }
        for secret in &service.secrets {
            assert!(compose.secrets.contains_key(secret), "{name}: {secret}");
            told.insert(secret);
        }
        for needed in service.depends_on.keys() {
            assert!(compose.services[needed].healthcheck.is_some(), "{name} waits for the health of {needed}");
        }
        for published_port in &service.ports {
            let parts: Vec<&str> = published_port.split(':').collect();
            let ["127.0.0.1", outside, inside] = parts[..] else { panic!("{name}: {published_port}") };
            assert_eq!(Some(inside.parse().unwrap()), port(name, service), "{name} listens there");
            assert!(published.insert(outside.to_owned()), "{name}: {outside} is taken");
        }
        let is_ours = service.image == "sector7g-plant";
        let builds = service.build.as_deref() == Some(".");
        assert_eq!(builds, name == "worker-inanimate-rod", "one builds the image for all: {name}");
        let policy = service.pull_policy.as_deref();
        assert_eq!(policy, is_ours.then_some(if builds { "missing" } else { "never" }), "{name}");
        let tag = service.image.split_once(':').map(|(_, tag)| tag);
        assert!(is_ours || tag.is_some_and(|tag| tag != "latest"), "{name} has a version: {}", service.image);
        assert!(service.deploy["resources"]["limits"]["memory"].is_string(), "{name} has a limit");
        let is_always = name == "redis" || name.starts_with("worker-");
        assert_eq!(service.profiles.is_empty(), is_always, "{name}");
    }
    assert!(mounted.into_iter().eq(compose.volumes.keys()), "each volume is somebody's");
    assert!(told.into_iter().eq(compose.secrets.keys()), "each secret is somebody's");
}

/// As the container sees the files, at the places where its image looks for them.
#[test]
fn composes_prometheus_takes_its_files_and_finds_whom_it_names() {
    let compose: Compose = yaml("compose.yaml");
    let service = &compose.services["prometheus"];
    assert!(service.command.is_empty() && service.entrypoint.is_empty(), "its image's own, which have these places");
    assert!(service.volumes.contains(&"prometheus:/prometheus".to_owned()), "its data outlive it");
    let seen = service.as_it_sees();
    let checked = Command::new(promtool())
        .args(["check", "config"])
        .arg(seen.path().join("etc/prometheus/prometheus.yml"))
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let config: Value = yaml("deploy/prometheus/prometheus.yml");
    let scraped = &config["scrape_configs"][0]["dns_sd_configs"][0];
    for name in scraped["names"].as_array().unwrap() {
        let name = name.as_str().unwrap();
        assert_eq!(port(name, &compose.services[name]).map(Value::from), Some(scraped["port"].clone()), "{name}");
    }
    let told = &config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"];
    for target in told.as_array().unwrap() {
        let (name, at) = target.as_str().unwrap().split_once(':').unwrap();
        assert_eq!(at.parse().ok(), port(name, &compose.services[name]), "{name}");
    }
    let tells = &compose.services["alertmanager"].profiles;
    assert!(tells.iter().all(|profile| service.profiles.contains(profile)), "who is told of alerts has them");
}

#[test]
fn composes_alertmanager_takes_its_file_and_finds_its_secret() {
    let service = yaml::<Compose>("compose.yaml").services.remove("alertmanager").unwrap();
    assert!(service.command.is_empty() && service.entrypoint.is_empty(), "its image's own, which have these places");
    assert!(service.volumes.contains(&"alertmanager:/alertmanager".to_owned()), "silences outlive it");
    let seen = service.as_it_sees();
    let file = seen.path().join("etc/alertmanager/alertmanager.yml");
    let checked = Command::new(amtool()).arg("check-config").arg(file).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let config: Value = yaml("deploy/prometheus/alertmanager.yml");
    let [secret] = &service.secrets[..] else { panic!("{:?}", service.secrets) };
    assert_eq!(config["global"]["smtp_auth_password_file"], format!("/run/secrets/{secret}"));
}
