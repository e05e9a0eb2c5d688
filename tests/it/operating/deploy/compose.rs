//! `compose.yaml`: what each service runs, mounts and listens on is there, and does what it counts on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sector7g_tasks::broker::{Broker, RedisBroker};
use serde::Deserialize;
use serde_json::Value;
use support::{Program, RedisServer, free_port};

use super::super::until;
use super::{Deployed, IN_THE_IMAGE, ROOMS, WORKERS, longest_stop, shows, works, yaml};

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
