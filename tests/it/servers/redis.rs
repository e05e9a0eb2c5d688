use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::RedisServer;

use super::runs;

#[test]
fn two_servers_know_nothing_of_each_other() {
    let [one, other] = [RedisServer::start(), RedisServer::start()];
    one.cli(&["SET", "donut", "glazed"]);
    assert_eq!(one.cli(&["GET", "donut"]), "glazed");
    assert_eq!(other.cli(&["EXISTS", "donut"]), "0");
    assert_ne!(one.port(), other.port());
    assert_eq!(one.try_cli(&["LPOP", "donut"]).unwrap_err().split(' ').next(), Some("WRONGTYPE"));
}

#[test]
fn a_server_ends_when_its_process_is_killed() {
    let mut process = Command::new(env!("CARGO_BIN_EXE_fixture-server"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let (server, url) = line.trim().split_once(' ').unwrap();
    let server = server.parse().unwrap();
    let folder = Path::new(url.strip_prefix("unix://").unwrap()).parent().unwrap();
    assert!(runs(server) && folder.exists());
    process.kill().unwrap(); // SIGKILL: it has no say
    process.wait().unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while runs(server) || folder.exists() {
        assert!(Instant::now() < until, "the server or its folder outlives its process");
    }
}

#[test]
fn a_server_ends_with_the_value_and_with_a_panic() {
    let server = RedisServer::start();
    let pid = server.pid();
    assert!(runs(pid));
    drop(server);
    assert!(!runs(pid));

    let (sender, pid) = std::sync::mpsc::channel();
    let panicked = std::thread::spawn(move || {
        let server = RedisServer::start();
        sender.send(server.pid()).unwrap();
        panic!("as a failed assertion does");
    });
    panicked.join().unwrap_err();
    assert!(!runs(pid.recv().unwrap()));
}

#[test]
fn what_is_on_disk_outlives_a_kill() {
    let check = |server: RedisServer, expected: &str| {
        let mut server = server;
        let (url, pid) = (server.url(), server.pid());
        server.cli(&["SET", "reactor", "7"]);
        server.kill9();
        assert!(!runs(pid));
        assert!(server.try_cli(&["PING"]).is_err());
        server.restart();
        assert_eq!((server.url(), server.cli(&["GET", "reactor"])), (url, expected.to_owned()));
    };
    check(RedisServer::start(), "");
    check(RedisServer::builder().append_only().start(), "7");
}

#[test]
fn a_frozen_server_answers_when_it_thaws() {
    let server = RedisServer::start();
    server.freeze();
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| server.cli(&["PING"]));
        assert!(!answer.is_finished());
        server.thaw();
        assert_eq!(answer.join().unwrap(), "PONG");
    });
}

#[test]
fn a_frozen_server_is_not_left_behind() {
    let server = RedisServer::start();
    let pid = server.pid();
    server.freeze();
    drop(server);
    assert!(!runs(pid));
}

#[test]
fn options_reach_the_server() {
    let server = RedisServer::builder()
        .password("d0nut")
        .user("milhouse", "on >glasses ~arq:* +@all")
        .keyspace_events("Kz")
        .debug_command()
        .line("maxmemory-policy noeviction")
        .start();
    let refused = redis_cli(&["-p", &server.port().to_string(), "PING"]);
    assert!(refused.starts_with("NOAUTH"), "{refused}");
    assert_eq!(
        redis_cli(&["--no-auth-warning", "-u", &server.url().replace(":d0nut", "default:d0nut"), "PING"]),
        "PONG"
    );
    let milhouse = server.url().replace(":d0nut", "milhouse:glasses");
    let refused = redis_cli(&["--no-auth-warning", "-u", &milhouse, "GET", "secrets"]);
    assert!(refused.starts_with("NOPERM"), "{refused}");
    assert_eq!(server.cli(&["CONFIG", "GET", "notify-keyspace-events"]), "notify-keyspace-events\nzK");
    assert_eq!(server.cli(&["DEBUG", "SLEEP", "0"]), "OK");
}

#[test]
fn encrypted_connections_are_trusted_by_their_authority_alone() {
    let server = RedisServer::builder().tls().start();
    let ca = server.ca_file();
    let ping = |trust: &[&str]| redis_cli(&[trust, &["-u", &server.tls_url(), "PING"]].concat());
    assert_eq!(ping(&["--tls", "--cacert", ca.to_str().unwrap()]), "PONG");
    assert_ne!(ping(&["--tls"]), "PONG");
}

#[test]
fn a_monitor_sees_each_command_up_to_its_stop() {
    let server = RedisServer::start();
    let monitor = server.monitor();
    for donut in 0..100 {
        server.cli(&["LPUSH", "box", &donut.to_string()]);
    }
    server.cli(&["EVAL", "return redis.call('LLEN', KEYS[1])", "1", "box"]);
    let lines = monitor.stop();
    assert_eq!(lines.iter().filter(|line| line.contains(r#""LPUSH" "box""#)).count(), 100, "{lines:#?}");
    assert!(lines.last().unwrap().contains(r#"lua] "LLEN" "box""#), "{lines:#?}");

    let monitor = server.monitor();
    server.cli(&["EVAL", "return redis.call('LLEN', KEYS[1])", "1", "box"]);
    let lines = monitor.stop_from_clients();
    assert!(lines.len() == 1 && lines[0].contains("EVAL"), "{lines:#?}");

    let (mut server, monitor) = (server, RedisServer::start().monitor());
    assert_eq!(monitor.stop(), [""; 0], "its server is gone");
    let monitor = server.monitor();
    server.kill9();
    assert_eq!(monitor.stop(), [""; 0]);
}

fn redis_cli(arguments: &[&str]) -> String {
    let output = Command::new("redis-cli").args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}
