//! What it lists of many: by task, state and age, a page at a time.

use std::time::{Duration, Instant};

use sector7g_tasks::prelude::*;
use serde_json::{Value, json};
use support::RedisServer;

use super::{OPERATE, broker, command, die, die_of, operate, said};

fn ids(listing: &Value) -> Vec<String> {
    listing["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

/// The line that says how to go on, as a shell reads it.
fn next(server: &RedisServer, out: &str) -> Option<super::Said> {
    let words = out.lines().find_map(|line| line.split_once("more: sector-7g ")).map(|(_, words)| words.to_owned())?;
    let mut shell = std::process::Command::new("bash");
    shell.args(["-c", &format!("'{OPERATE}' {words} --json")]).env("REDIS_URL", server.url());
    Some(said(shell).expect(0, &[]))
}

/// What is listed is what would be touched, by the same options.
#[tokio::test]
async fn a_list_of_dead_letters_is_a_preview() {
    let server = RedisServer::start();
    die(&server, "homer", "eat", 3).await;
    die(&server, "homer", "nap", 2).await;
    die(&server, "lenny", "nap", 1).await;
    // One of them died two hours ago.
    let old = "redis.call('ZINCRBY', KEYS[1], -7200000, redis.call('ZRANGE', KEYS[1], 0, 0)[1])";
    server.cli(&["EVAL", old, "1", "arq:queue:homer:s7:dead"]);
    let check = |options: &str, count: usize| {
        let listed = ids(&operate(&server, &format!("dead list --json {options}")).expect(0, &[]).json());
        assert_eq!(listed.len(), count, "{options}: {listed:?}");
        let asked = operate(&server, &format!("dead discard {options}"));
        match count {
            0 => drop(asked.expect(0, &["0 dead letters deleted"])),
            1 => drop(asked.expect(64, &["1 dead letter of"])),
            _ => drop(asked.expect(64, &[&format!("{count} dead letters of")])),
        }
        listed
    };
    check("--task nap", 3);
    check("--task nap --queue homer", 2);
    check("--task drink", 0);
    check("--older-than 1h", 1);
    check("--newer-than 1h", 5);
    check("--newer-than 1h --older-than 30m", 0);
    operate(&server, "dead list --task drink").expect(0, &["No such dead letters."]);
    let listed = check("--older-than 1h", 1);
    operate(&server, "dead discard --older-than 1h --yes").expect(0, &["1 dead letter deleted"]);
    operate(&server, &format!("dead show {}", listed[0])).expect(3, &["there is no dead letter"]);
    check("--older-than 1h", 0);
}

/// What they died of is counted, and those of one cause are retried, no more than so many a second.
#[tokio::test]
async fn letters_are_counted_and_retried_by_their_cause() {
    let server = RedisServer::start();
    die_of(&server, "homer", "eat", &["no coolant in reactor 7", "no coolant in reactor 12", "the valve sticks"]).await;
    die_of(&server, "lenny", "nap", &["no coolant in reactor 7"; 4]).await;
    operate(&server, "dead causes")
        .expect(0, &["letters", "error: no coolant in reactor #", "error: the valve sticks"]);
    let causes = operate(&server, "dead causes --json").expect(0, &[]).json();
    let told: Vec<_> = causes.as_array().unwrap().iter().map(|cause| (&cause["count"], &cause["queue"])).collect();
    let (homer, lenny) = (json!("homer"), json!("lenny"));
    assert_eq!(told, [(&json!(4), &lenny), (&json!(2), &homer), (&json!(1), &homer)], "most of all first");
    let example = causes[1]["example"].as_str().unwrap();
    operate(&server, &format!("dead show {example}")).expect(0, &["no coolant in reactor"]);
    operate(&server, "dead causes --task drink").expect(0, &["No such dead letters."]);

    let of_one = operate(&server, "dead list --json --error valve").expect(0, &[]).json();
    assert_eq!(ids(&of_one).len(), 1);
    let began = Instant::now();
    let slow = "dead retry --error coolant --per-second 10 --yes --json";
    let changed = operate(&server, slow).expect(0, &[]).json();
    assert_eq!(changed, json!({"changed": 6, "left": []}));
    assert!(began.elapsed() >= Duration::from_millis(500), "the sixth waits for five tenths of a second");
    let left = operate(&server, "dead causes --json").expect(0, &[]).json();
    assert_eq!((left.as_array().unwrap().len(), &left[0]["cause"]), (1, &json!("error: the valve sticks")));
    for unset in ["dead discard --error= --yes", "dead retry --error= --yes"] {
        operate(&server, unset).expect(64, &["it is a part of the failure's text"]);
    }
    operate(&server, "dead retry --all --per-second 0").expect(64, &["--per-second"]);
    operate(&server, "dead retry --all --error valve").expect(64, &["cannot be used with"]);
}

/// Those that are meant lie far apart, so that pages are read that hold more, fewer and none of them.
#[tokio::test]
async fn a_search_goes_on_where_it_ended() {
    const FILL: &str = "for i = 1, 1000 do
        local id = string.format('%04d', i)
        local task = (i % 300 == 0 or i > 500 and i <= 507) and 'ra\\'re' or 'common'
        redis.call('SET', 'arq:job:' .. id, '{\"t\":null,\"f\":\"' .. task .. '\",\"a\":[],\"k\":{},\"et\":1}')
        redis.call('ZADD', KEYS[1], 1000 + i, id)
    end";
    let server = RedisServer::start();
    server.cli(&["EVAL", FILL, "1", "arq:queue:homer"]);
    let mut expected: Vec<String> = (501..=507).chain([300, 600, 900]).map(|number| format!("{number:04}")).collect();
    expected.sort();
    let list = |more: &[&str]| {
        let mut asked =
            command(&[&["jobs", "list", "--task", "ra're", "--queue", "homer", "--limit", "3"], more].concat());
        asked.env("REDIS_URL", server.url());
        said(asked).expect(0, &[])
    };
    let (mut found, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = list(&[&["--json"], &*after.iter().flat_map(|mark| ["--after", mark]).collect::<Vec<_>>()].concat());
        let page = page.json();
        assert!(ids(&page).len() <= 3, "{page}");
        found.extend(ids(&page));
        let Some(mark) = page["next"]["after"].as_str() else { break };
        after = Some(mark.to_owned());
    }
    assert_eq!(found, expected, "each once, in order");
    // Where the broker was named on the command line, the line that reads on names it, too.
    let url = server.url();
    let named = said(command(&["jobs", "list", "--queue", "homer", "--limit", "3", "--redis", &url]))
        .expect(0, &[&format!(" --redis={url}")]);
    let mut shell = std::process::Command::new("bash");
    let words = named.out.lines().find_map(|line| line.split_once("more: sector-7g ")).unwrap().1;
    shell.args(["-c", &format!("'{OPERATE}' {words}")]).env_remove("REDIS_URL");
    said(shell).expect(0, &["0004", "0006"]);
    // But for a password.
    let with_password = url.replace("redis://", "redis://default:thrillhouse@");
    let told = said(command(&["jobs", "list", "--queue", "homer", "--limit", "3", "--redis", &with_password]));
    assert!(!told.out.contains("thrillhouse") && !told.err.contains("thrillhouse"), "{told:?}");
    let second = next(&server, &list(&[]).out).expect("there are more").json();
    assert_eq!(ids(&second), expected[3..6]);
}

#[tokio::test]
async fn jobs_are_listed_by_state_and_task() {
    let server = RedisServer::start();
    let client = Client::new(broker(&server));
    let job = |task: &'static str| Job::untyped(task, "homer");
    let due = client.enqueue(job("eat")).await.unwrap();
    let eats = client.enqueue(job("eat").delay(Duration::from_hours(1))).await.unwrap();
    let naps = client.enqueue(job("nap").delay(Duration::from_hours(1))).await.unwrap();
    let check = |options: &str, jobs: &[&JobId]| {
        let listed = ids(&operate(&server, &format!("jobs list --json {options}")).expect(0, &[]).json());
        assert_eq!(sorted(listed), sorted(jobs.iter().map(ToString::to_string).collect()), "{options}");
    };
    check("", &[due.id(), eats.id(), naps.id()]);
    check("--deferred", &[eats.id(), naps.id()]);
    check("--task eat", &[due.id(), eats.id()]);
    check("--task eat --deferred", &[eats.id()]);
    check("--task eat --running", &[]);
    operate(&server, "jobs list --running --deferred").expect(64, &["cannot be used with"]);
    operate(&server, "jobs list --task drink").expect(0, &["No such jobs."]);
}

/// Compose files pass on variables that nobody has given.
#[tokio::test]
async fn a_blank_environment_is_none() {
    const NAMES: [&str; 9] = [
        "SECTOR7G_EXPECT",
        "SECTOR7G_MAX_DEPTH",
        "SECTOR7G_MAX_AGE",
        "SECTOR7G_MAX_DEAD",
        "SECTOR7G_MIN_WORKERS",
        "SECTOR7G_MAX_SILENCE",
        "SECTOR7G_MAX_MEMORY",
        "SECTOR7G_ALLOW_PAUSED",
        "SECTOR7G_DASHBOARD_TOKEN",
    ];
    let server = RedisServer::start();
    for blank in ["", " "] {
        let with = |words: &[&str]| {
            let mut asked = command(words);
            asked.envs(NAMES.map(|name| (name, blank))).env("REDIS_URL", blank);
            said(asked)
        };
        with(&["--redis", &server.url(), "health", "status"]).expect(0, &["healthy"]);
        with(&["health", "status"]).expect(64, &["no broker is named"]);
        let beyond = ["--redis", &server.url(), "dashboard", "--listen", "0.0.0.0:0"];
        with(&beyond).expect(64, &["token"]);
    }
    let mut asked = command(&["health", "status"]);
    asked.env("REDIS_URL", server.url()).env("SECTOR7G_EXPECT", "homer");
    said(asked).expect(1, &["homer"]);
}
