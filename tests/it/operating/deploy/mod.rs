//! `Dockerfile`, `compose.yaml` and `deploy/`: what they name is there, and does what they count on.

mod compose;
mod image;
mod kubernetes;
mod prometheus;
mod units;

use std::fs;
use std::path::Path;
use std::time::Duration;

use sector7g_tasks::prelude::*;
use sector7g_tasks::runner::STOP_MARGIN;
use serde::Deserialize;
use support::{Program, RedisServer};

pub(super) use self::compose::{profiles, services};
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

/// Starts the dashboard as it is deployed: who has not told the token sees the login alone, and without one it ends.
async fn shows(server: &RedisServer, program: &str, arguments: &[String]) {
    assert_eq!((program, arguments), (OPERATORS, &["dashboard", "--listen", PAGES].map(str::to_owned)[..]));
    let redis = format!("REDIS_URL={}", server.url());
    let mut open =
        Program::start("/usr/bin/env", &[&redis, "SECTOR7G_DASHBOARD_TOKEN=", OPERATE, "dashboard", "--listen", PAGES]);
    assert_eq!(open.end().await, 64, "{}", open.said());
    assert!(open.said().contains("token"), "{}", open.said());
    asks_for_a_token(server, &["dashboard", "--listen", "127.0.0.1:0"]).await;
}

/// Starts the dashboard with a token: who has not told it sees the login alone.
async fn asks_for_a_token(server: &RedisServer, arguments: &[&str]) {
    let redis = format!("REDIS_URL={}", server.url());
    let token = "SECTOR7G_DASHBOARD_TOKEN=donuts-donuts-donuts";
    let program = Program::start("/usr/bin/env", &[&[&*redis, token, OPERATE], arguments].concat());
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

/// What the plant's worker may take to stop: for its jobs, and beyond.
fn longest_stop(worker: &str) -> Duration {
    let file = format!("examples/plant/{}.rs", worker.replace('-', "_"));
    assert!(!read(&file).contains("job_completion_wait"), "{file} has the default");
    Duration::from_secs(5) + STOP_MARGIN
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
