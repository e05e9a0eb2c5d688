//! `deploy/systemd`: units that systemd takes, and what they start.

use std::collections::BTreeMap;
use std::time::Duration;

use support::RedisServer;

use super::super::Observed;
use super::{IN_THE_IMAGE, ROOMS, WORKERS, longest_stop, read};
use crate::plant::plant_program;

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
