//! The plant as it is started by hand: one shift, wherever its jobs are.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Program, RedisServer};

const QUEUES: [&str; 6] = ["inanimate_rod", "homer", "lenny", "carl", "charlie", "grimey"];

pub(crate) fn plant_program() -> PathBuf {
    example_program("plant")
}

fn is_of_a_package(variable: &OsStr) -> bool {
    variable.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
}

/// An example, built as the other tests are, so that nothing is compiled twice.
pub(crate) fn example_program(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let arguments = ["build", "--quiet", "--workspace", "--all-features", "--example", name];
    let mut cargo = Command::new(env!("CARGO"));
    // What cargo has set for this test: build scripts that look at it would run anew, and all that stands on them.
    let of_this_test = std::env::vars_os().map(|(name, _)| name).filter(|name| is_of_a_package(name));
    of_this_test.for_each(|name| _ = cargo.env_remove(name));
    let built = cargo.args(arguments).current_dir(root).status().unwrap();
    assert!(built.success(), "the example {name} can be built");
    let own = std::env::current_exe().unwrap();
    let folder = own.ancestors().find(|folder| folder.ends_with("deps")).unwrap().parent().unwrap();
    folder.join("examples").join(name)
}

/// Holds a shift, which itself compares what was done with what was asked for. Returns what it said.
async fn shift(arguments: &[&str]) -> String {
    let mut plant = Program::start(plant_program().to_str().unwrap(), arguments);
    let (code, said) = (plant.end().await, plant.said());
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(" s, all as it should be."), "{said}");
    let rows: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    let table = rows.iter().skip_while(|row| row.first() != Some(&"queue")).skip(3);
    let lines: Vec<_> = table.take_while(|row| row.len() > 1).collect();
    assert!(lines.iter().map(|line| line[0]).eq(QUEUES.into_iter().chain(["all"])), "{said}");
    assert!(lines.iter().all(|line| line[1].parse::<u32>().unwrap() > 30), "each queue has done its work: {said}");
    for (id, task, attempts) in [
        ("wrong-code", "vent_gas", "1"),
        ("misread-panel", "read_gauges", "1"),
        ("poison-file", "review_personnel_file", "3"),
    ] {
        assert!(rows.iter().any(|row| row.starts_with(&[id, task, attempts])), "a dead letter: {said}");
    }
    assert_eq!(lines[6][4], "3", "no more than these: {said}");
    said
}

#[tokio::test]
async fn a_shift_without_a_server() {
    shift(&[]).await;
}

#[tokio::test]
async fn a_shift_on_redis() {
    let server = RedisServer::start();
    shift(&["--redis", &server.url()]).await;
    for queue in QUEUES {
        assert_eq!(server.cli(&["ZCARD", &format!("arq:queue:{queue}")]), "0", "its jobs were there, and are done");
    }
    assert!(server.cli(&["EXISTS", "arq:queue:homer:s7:dead", "arq:result:wrong-code"]) == "2", "it was held there");
}
