//! What `docs/redis.md` says to type is typed here, on a port of the test's own.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};

use support::{RedisServer, interpreter};

use crate::plant::plant_program;

const PAGE: &str = include_str!("../../../sector7g-tasks/src/docs/redis.md");
const URL: &str = "redis://127.0.0.1:6379";

/// The blocks of the page in that language, for the test's own server.
fn blocks(language: &str, server: &RedisServer) -> Vec<String> {
    let fence = format!("```{language}\n");
    let inside = PAGE.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap());
    inside.map(|block| block.replace(URL, server.url().trim_end_matches("/0"))).collect()
}

/// `cargo run --example plant -- ..`, without the compiling.
fn plant(command: &str) -> Command {
    let arguments = command.trim().strip_prefix("cargo run --example plant --").expect("the page runs the plant");
    let mut plant = Command::new(plant_program());
    plant.args(arguments.split_whitespace()).env_remove("REDIS_URL");
    plant
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A program that ends with the test, however that goes.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it has ended, as a rule
        let _ = self.0.wait();
    }
}

#[test]
fn a_task_moves_to_rust_as_the_page_says() {
    let server = RedisServer::start();
    let [_, work, check] = &*blocks("sh", &server) else { panic!("the page has three commands") };
    let [client] = &*blocks("python", &server) else { panic!("the page has one client") };
    let mut worker = Ended(plant(work).stderr(Stdio::piped()).spawn().unwrap());
    let lines = BufReader::new(worker.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    // Nobody reads its log from then on; it works all the same.
    assert!(lines.into_iter().any(|line| line.contains("broker: ")), "the worker starts");
    let client = Command::new(interpreter()).args(["-c", client]).output().unwrap();
    assert!(said(&client).starts_with("6 boxes, "), "{}", said(&client));
    assert!(said(&client).trim_end().ends_with("JobStatus.complete"), "{}", said(&client));
    let check = plant(check).output().unwrap();
    assert_eq!(check.status.code(), Some(0), "{}", said(&check));
    rustix::process::kill_process(rustix::process::Pid::from_child(&worker.0), rustix::process::Signal::TERM).unwrap();
    assert_eq!(worker.0.wait().unwrap().code(), Some(0), "it stops when it is told to");
}
