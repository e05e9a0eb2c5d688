//! `deploy/systemd`: units that systemd takes, and what they start.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use support::RedisServer;

use super::super::Observed;
use super::{IN_THE_IMAGE, OPERATORS, ROOMS, WORKERS, asks_for_a_token, longest_stop, read, root};
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

/// What systemd itself says of a unit, on a machine that has our units and stand-ins for all that they name.
fn systemd_says(machine: &Path, unit: &str, command: &[&str]) -> (bool, String) {
    let mut analyzed = Command::new("systemd-analyze");
    let root = format!("--root={}", machine.display());
    let said = analyzed.args(command).args(["--no-pager", "--man=no", &root, unit]).output().unwrap();
    (said.status.success(), String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned())
}

fn machine() -> tempfile::TempDir {
    let machine = tempfile::tempdir().unwrap();
    let units = machine.path().join("etc/systemd/system");
    fs::create_dir_all(&units).unwrap();
    for entry in fs::read_dir(root().join("deploy/systemd")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), units.join(entry.file_name())).unwrap();
    }
    for target in ["basic", "multi-user", "network-online", "shutdown", "sysinit"] {
        fs::write(units.join(format!("{target}.target")), "[Unit]\nDescription=of every machine\n").unwrap();
    }
    for program in [IN_THE_IMAGE, OPERATORS, "/bin/sh"] {
        let program = machine.path().join(program.trim_start_matches('/'));
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::write(&program, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    machine
}

const UNITS: [(&str, &str); 2] = [
    ("sector7g-worker@.service", "sector7g-worker@homer.service"),
    ("sector7g-dashboard.service", "sector7g-dashboard.service"),
];

#[test]
fn systemd_takes_the_units_without_a_word() {
    let machine = machine();
    let there = fs::read_dir(root().join("deploy/systemd")).unwrap().count();
    assert_eq!(there, UNITS.len(), "each is looked at");
    for (file, unit) in UNITS {
        assert_eq!(systemd_says(machine.path(), unit, &["verify"]), (true, String::new()), "{unit}");
        let exposed = systemd_says(machine.path(), unit, &["security", "--offline=yes", "--threshold=40"]);
        assert!(exposed.0, "{unit} may do more than it needs: {}", exposed.1);
        // It would have told a mistake.
        let file = machine.path().join("etc/systemd/system").join(file);
        let mistaken = fs::read_to_string(&file).unwrap().replace("[Install]", "Restrat=always\n[Install]");
        fs::write(&file, mistaken).unwrap();
        let (_, said) = systemd_says(machine.path(), unit, &["verify"]);
        assert!(said.contains("Restrat"), "{unit}: {said}");
    }
}

/// A unit that would start and serve nobody, or everybody, does not, and says what its file lacks.
#[test]
fn units_want_what_their_files_are_to_say() {
    for (file, variable, code) in [
        ("sector7g-worker@.service", "REDIS_URL", "2"),
        ("sector7g-dashboard.service", "SECTOR7G_DASHBOARD_TOKEN", "64"),
    ] {
        let unit = read(&format!("deploy/systemd/{file}"));
        let service = settings(&unit, "Service");
        assert_eq!(service["RestartPreventExitStatus"], code, "{file}");
        // systemd takes `$$` for a dollar sign.
        let script = service["ExecStartPre"].strip_prefix("/bin/sh -c '").unwrap().strip_suffix('\'').unwrap();
        let script = script.replace("$$", "$");
        let run = |value: Option<&str>| {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", &script]).env_remove(variable);
            let output = shell.envs(value.map(|value| (variable, value))).output().unwrap();
            (output.status.code().unwrap().to_string(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        for lacking in [None, Some("")] {
            let (ended, said) = run(lacking);
            assert_eq!((&*ended, said.contains(variable)), (code, true), "{file}: {said}");
        }
        assert_eq!(run(Some("redis://localhost/0")), ("0".to_owned(), String::new()), "{file}");
    }
}

#[tokio::test]
async fn systemd_starts_a_dashboard_behind_a_token() {
    let unit = read("deploy/systemd/sector7g-dashboard.service");
    let service = settings(&unit, "Service");
    let started: Vec<&str> = service["ExecStart"].split(' ').collect();
    let [program, arguments @ .., listen] = &started[..] else { panic!("{started:?}") };
    assert_eq!((*program, *listen), (OPERATORS, "127.0.0.1:8090"), "its machine's users alone reach it: it has no TLS");
    asks_for_a_token(&RedisServer::start(), &[arguments, &["127.0.0.1:0"]].concat()).await;
    // The variables that the unit's first lines have in its file.
    let named = unit.lines().filter_map(|line| line.strip_prefix("#   ")?.split_once('='));
    let named: Vec<&str> = named.map(|(name, _)| name).collect();
    assert_eq!(named, ["REDIS_URL", "SECTOR7G_DASHBOARD_TOKEN", "SECTOR7G_EXPECT"]);
    assert_eq!(service["EnvironmentFile"], "/etc/sector7g/dashboard.env");
    assert_eq!(service["RestartPreventExitStatus"], "64", "with which a mistake in usage ends it");
    assert_eq!(settings(&unit, "Install")["WantedBy"], "multi-user.target");
}
