//! What it shows.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use axum::http::StatusCode;
use sector7g_tasks::dashboard::Dashboard;
use sector7g_tasks::inspect;
use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::prelude::*;
use sector7g_tasks::testing::Harness;
use serde_json::{Value, json};
use support::{Program, PythonClient, PythonWorker, RedisServer};

use super::super::redis::load::calls;
use super::{Mended, OPERATE, WORKER, broker, command, die, operate, rod, said, until};
use crate::dashboard::get;
use crate::traces::Traced;

#[test]
fn a_broker_that_is_not_there_is_down_and_one_that_is_not_named_a_mistake() {
    let check = |url: &str, words: &[&str], code, texts: &[&str]| {
        let said = said(command(&[&["--redis", url], words].concat())).expect(code, texts);
        assert!(!format!("{said:?}").contains("thrillhouse"), "{said:?}");
    };
    let nobody = "redis://milhouse:thrillhouse@127.0.0.1:1/0";
    check(
        nobody,
        &["health", "status"],
        2,
        &["down  redis://***@127.0.0.1:1", "is unavailable", "see that the server runs"],
    );
    check(nobody, &["health", "status", "--json"], 2, &[r#""status":"down""#, r#""kind":"unreachable""#]);
    check(nobody, &["queues"], 2, &["error: the broker at redis://***@127.0.0.1:1"]);
    check("milhouse:thrillhouse@127.0.0.1", &["queues"], 64, &["error: "]);
    said(command(&["queues"])).expect(64, &["error: no broker is named: give its URL with --redis, or in REDIS_URL"]);
    said(command(&["frob"])).expect(64, &["unrecognized subcommand 'frob'"]);
    said(command(&["--help"])).expect(0, &["Exit codes: 0 done, or healthy", "64 a mistake in usage"]);
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        said(command(&["completions", shell])).expect(0, &["sector-7g", "run-now"]);
    }
}

/// Bash completes the words of commands and their flags.
#[test]
fn bash_completes_it() {
    let check = |words: &[&str], expected: &str| {
        let (at, last) = (words.len() - 1, words[words.len() - 1]);
        let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let script = format!(
            "source <('{OPERATE}' completions bash)
            COMP_WORDS=({}) COMP_CWORD={at}
            fn=$(complete -p sector-7g | sed 's/.*-F \\([^ ]*\\).*/\\1/')
            $fn sector-7g '{last}' '{}'; echo \"${{COMPREPLY[*]}}\"",
            quoted.join(" "),
            words[at - 1]
        );
        let mut bash = std::process::Command::new("bash");
        bash.args(["-c", &script]);
        let said = said(bash);
        assert!(said.out.split_whitespace().any(|word| word == expected), "{words:?}: {said:?}");
    };
    check(&["sector-7g", "de"], "dead");
    check(&["sector-7g", "dead", ""], "retry");
    check(&["sector-7g", "dead", "retry", "--"], "--older-than");
}

#[tokio::test]
async fn what_is_not_there_is_said_so() {
    let server = RedisServer::start();
    operate(&server, "health status").expect(0, &["healthy  redis://127.0.0.1", "No queue holds a job"]);
    operate(&server, "queues").expect(0, &["No queue holds a job"]);
    operate(&server, "jobs list").expect(0, &["No jobs."]);
    operate(&server, "dead list").expect(0, &["No dead letters."]);
    operate(&server, "schedule list").expect(0, &["No worker that runs now has a schedule", "Python workers"]);
    assert_eq!(operate(&server, "jobs list --json").json(), json!({ "jobs": [], "next": null, "unlisted": 0 }));
    die(&server, "lenny", "prods", 1).await;
    let unknown = "nothing is known of queue `lemmy`";
    operate(&server, "jobs list --queue lemmy").expect(3, &[unknown, "known are: lenny"]);
    operate(&server, "pause lemmy").expect(3, &[unknown, "add --yes"]);
    operate(&server, "jobs show nobody").expect(3, &["there is no job `nobody` in any known queue"]);
    operate(&server, "jobs abort nobody -q lenny").expect(3, &["there is no job `nobody` in queue `lenny`"]);
    operate(&server, "dead show nobody").expect(3, &["there is no dead letter `nobody`"]);
    operate(&server, "dead discard nobody").expect(3, &["there is no dead letter `nobody`"]);
    operate(&server, "jobs list --limit 0").expect(64, &["from 1 to 1000"]);
    operate(&server, "jobs list --queue lenny --after nonsense").expect(1, &["is no mark of a page"]);
    operate(&server, "dead retry").expect(64, &["which dead letters? give their ids, or --all"]);
}

/// A worker in a process of its own is told with all that it says of itself, and with what it runs.
#[tokio::test]
async fn workers_and_what_they_run_are_told() {
    let server = RedisServer::start();
    let client = Client::new(broker(&server));
    let worker = Program::start(WORKER, &["mixed", "--redis", &server.url()]);
    let nap = client.enqueue(Job::untyped("sleep", "mixed").arg(60.0)).await.unwrap();
    until("it runs", async || nap.status().await.unwrap() == Some(JobState::InProgress)).await;
    until("it says so", async || client.stats("mixed").await.unwrap().workers.len() == 1).await;
    let report = operate(&server, "health status --detailed --json").expect(0, &[]).json();
    let (queue, runs) = (&report["queues"][0], &report["running_jobs"][0]);
    assert_eq!((&queue["name"], &queue["depth"], &queue["running"]), (&json!("mixed"), &json!(1), &json!(1)));
    let told = &queue["workers"][0];
    assert_eq!(
        (&told["name"], &told["pid"], &told["is_python"]),
        (&json!("mixed"), &json!(worker.pid()), &json!(false))
    );
    assert!(told["host"].is_string() && told["started_at"].is_i64() && told["max_jobs"].is_u64(), "{told}");
    assert_eq!(
        (&runs["id"], &runs["task"], &runs["arguments"]),
        (&json!(nap.id().as_str()), &json!("sleep"), &json!("60.0"))
    );
    for name in ["instance", "name", "host", "pid"] {
        assert_eq!(runs["worker"][name], told[name], "which of them runs it: {name}");
    }
    let (began, now) = (runs["started_at"].as_i64().unwrap(), report["at"].as_i64().unwrap());
    assert!((now - 60_000..=now).contains(&began), "since when: {runs}");
    let place = format!("mixed of {}, process {}", told["host"].as_str().unwrap(), worker.pid());
    let running = [nap.id().as_str(), " ago", &place, "sleep(60.0)"];
    operate(&server, "health status --detailed").expect(0, &[&["healthy", ", redis "], &running[..]].concat());
    operate(&server, "jobs list --running").expect(0, &running);
    operate(&server, &format!("jobs show {}", nap.id())).expect(0, &["in progress", "started", &place]);
    operate(&server, "health status --min-workers 2")
        .expect(1, &["degraded", "queue `mixed` has 1 of 2 workers: start one"]);
    operate(&server, "health status --max-depth 0").expect(1, &["queue `mixed` holds 1 jobs, more than 0"]);
}

#[derive(Worker)]
#[worker(queue = "counted", max_jobs = 5, max_tries = 2, health_check_interval = 4, job_completion_wait = 0)]
struct Counted;

#[task(queue = "counted", backoff = "fixed(1ms, jitter = 0)")]
async fn ends_so(ctx: &Context, how: String) -> Result<(), TaskError> {
    match &*how {
        "well" => Ok(()),
        "well at last" if ctx.attempt() > 1 => Ok(()),
        "for good" => Err(TaskError::permanent(how)),
        "never" => std::future::pending().await,
        _ => Err(how.into()),
    }
}

/// What a worker has done and does, and when it last heard from the broker, in numbers that are its own.
#[tokio::test]
async fn the_numbers_of_a_worker_are_told() {
    let server = RedisServer::start();
    let inventory = Inventory::empty().task::<ends_so>().worker::<Counted>();
    let fleet = Harness::on(broker(&server)).inventory(inventory).start();
    let client = Client::new(broker(&server));
    for how in ["well", "well", "well at last", "for good", "never"] {
        client.enqueue(ends_so::job(how.to_owned())).await.unwrap();
    }
    let look = |words: &str| operate(&server, &format!("health status --detailed --max-dead 1{words}")).expect(0, &[]);
    let told = || look(" --json").json();
    until("all but one have ended, and it says so", async || worker_of(&told())["failed"] == 1).await;
    let first = told();
    let numbers = ["done", "failed", "retried", "running", "max_jobs"].map(|name| worker_of(&first)[name].clone());
    assert_eq!(numbers, [3, 1, 1, 1, 5].map(Value::from), "{first}");
    until("it has heard again", async || worker_of(&told())["at"].as_i64() > worker_of(&first)["at"].as_i64()).await;

    // The table says the same, if no beat comes between.
    until("a table that stands between two reports of one beat", async || {
        let (before, table, after) = (told(), look("").out, told());
        let [from, to] = [&before, &after].map(|told| told["at"].as_i64().unwrap());
        let worker = worker_of(&before);
        if worker != worker_of(&after) {
            return false;
        }
        let ages = |moment: &str| -> HashSet<String> {
            let moment = worker[moment].as_i64().unwrap();
            let span = |now: i64| inspect::span(Duration::from_millis(u64::try_from(now - moment).unwrap_or_default()));
            (from..=to).map(|now| format!("{} ago", span(now))).collect()
        };
        let row = row(&table, "last beat");
        let value = |column: &str| row[column].as_str();
        for (column, number) in [("done", "3"), ("failed", "1"), ("retried", "1"), ("running", "1/5")] {
            assert_eq!(value(column), number, "{column}: {table}");
        }
        for (column, moment) in [("last beat", "at"), ("since", "started_at")] {
            assert!(ages(moment).contains(value(column)), "{column}: {table}\nnot of {:?}", ages(moment));
        }
        assert_eq!(value("pid"), std::process::id().to_string());
        assert_eq!((value("queue"), value("worker")), ("counted", "counted"));
        true
    })
    .await;
    fleet.stop().await.unwrap();
}

fn worker_of(told: &Value) -> Value {
    told["queues"][0]["workers"][0].clone()
}

/// The first row of the table that has this column: each cell by its column's name.
fn row(text: &str, column: &str) -> HashMap<String, String> {
    let mut lines = text.lines().skip_while(|line| !line.contains(column));
    let cells = |line: &str| -> Vec<String> {
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
    };
    let header = cells(lines.next().unwrap_or_else(|| panic!("no {column}: {text}")));
    let row = cells(lines.nth(1).unwrap()); // below a rule
    assert_eq!(header.len(), row.len(), "{text}");
    header.into_iter().zip(row).collect()
}

#[tokio::test]
async fn schedules_are_told_by_the_workers_that_have_them() {
    let server = RedisServer::start();
    let fleet = rod(&server, &Mended::default()).start();
    let client = Client::new(broker(&server));
    until("it lives", async || client.stats("rod").await.unwrap().workers.len() == 1).await;
    let told = operate(&server, "schedule list --json").expect(0, &[]).json();
    let expected = json!({
        "task": "counts_the_year", "queue": "rod", "expression": "0 4 1 1 *", "timezone": "Europe/Berlin",
        "next": told[0]["next"], "last": null, "workers": ["rod"],
    });
    assert_eq!(told, json!([expected]));
    let next = told[0]["next"].as_i64().unwrap() / 1000;
    assert_eq!(next % 3600, 0, "at three in the morning, UTC");
    assert_eq!(next % 86_400 / 3600, 3, "at three in the morning, UTC");
    operate(&server, "schedule list").expect(0, &["counts_the_year", "0 4 1 1 *", "Europe/Berlin", "Python workers"]);
    fleet.stop().await.unwrap();
}

#[tokio::test]
async fn the_trace_of_a_job_is_told() {
    let (server, traced) = (RedisServer::start(), Traced::start());
    let client = Client::new(broker(&server));
    client.enqueue(Job::untyped("stumbles", "rod").id("traced")).await.unwrap();
    let trace = traced.named("send rod")[0].span_context.trace_id().to_string();
    let shown = operate(&server, "jobs show traced -q rod").expect(0, &[&trace]);
    assert!(shown.out.lines().any(|line| line.starts_with("trace ") && line.ends_with(&trace)), "{shown:?}");
    let told = operate(&server, "jobs show traced -q rod --json").expect(0, &[]).json();
    assert_eq!(told["trace_id"], trace);
}

/// A queue of stock arq, its jobs pickled, is told like one of ours; of its arguments nobody says that they may be shown.
#[tokio::test]
async fn a_queue_of_python_is_told_like_ours() {
    let server = RedisServer::start();
    let python = PythonClient::start(&server.url(), &["--queue", "arq:queue:snakes"]);
    let words = ["enqueue", "echo", "--args", "[7, [\"core\"]]", "--kwargs", "{\"deep\": true}", "--id", "nap"];
    python.call(&[&words[..], &["--defer-by", "3600"]].concat()).await;
    operate(&server, "queues").expect(0, &["No queue"]); // its clients note it nowhere
    operate(&server, "queues -q snakes").expect(0, &["snakes"]);
    let listed = operate(&server, "jobs list -q snakes --json").expect(0, &[]).json();
    let job = &listed["jobs"][0];
    assert_eq!((&job["id"], &job["task"], &job["state"]), (&json!("nap"), &json!("echo"), &json!("deferred")));
    assert_eq!((&job["codec"], &job["arguments"]), (&json!("pickle"), &json!("***, ***, deep=***")));
    operate(&server, "jobs show nap -q snakes").expect(0, &["echo(***, ***, deep=***)", "pickle, ", "--show-args"]);
    operate(&server, "jobs show nap -q snakes --show-args").expect(0, &["echo(7, ['core'], deep=True)"]);
    let worker = PythonWorker::start(&server.url(), &["--queue", "arq:queue:snakes"]).await;
    let client = Client::new(broker(&server));
    until("it lives", async || client.stats("snakes").await.unwrap().workers.len() == 1).await;
    operate(&server, "health status -q snakes --detailed").expect(0, &["healthy", "arq (Python)"]);
    let paused = operate(&server, "pause snakes").expect(0, &["Python workers ignore it, and one serves this queue"]);
    assert!(paused.out.contains("`sector-7g resume snakes`"), "{paused:?}");
    operate(&server, "jobs run-now nap -q snakes").expect(0, &["is due now"]);
    until("Python has run it", async || operate(&server, "jobs show nap -q snakes").out.contains("complete")).await;
    let ended = operate(&server, "jobs show nap -q snakes --json").expect(0, &[]).json();
    assert_eq!(ended["outcome"]["result"]["args"], json!([7, ["core"]]), "{ended}");
    // While Python runs one, it is counted, shown and told like any other, but for what nobody knows of it.
    python.call(&["enqueue", "sleep", "--args", "[600]", "--id", "long"]).await;
    until("Python runs it", async || operate(&server, "jobs show long -q snakes").out.contains("in progress")).await;
    operate(&server, "jobs show long -q snakes").expect(0, &["one of Python's"]);
    operate(&server, "jobs list -q snakes").expect(0, &["long", "in progress"]);
    operate(&server, "jobs list --running -q snakes")
        .expect(0, &["No jobs.", "Python workers run 1: `sector-7g jobs list`"]);
    let running = operate(&server, "jobs list --running --json").expect(0, &[]).json();
    assert_eq!(running, json!({"jobs": [], "next": null, "unlisted": 1}));
    operate(&server, "health status -q snakes --detailed").expect(1, &["paused", "Python workers run 1"]);
    let router = Dashboard::new(broker(&server)).router();
    for (path, text) in [
        ("/queue?queue=snakes", "in progress"),
        ("/queue?queue=snakes&state=running", "Python workers run 1"),
        ("/job?queue=snakes&id=long", "<dt>Worker</dt><dd>one of Python's</dd>"),
    ] {
        get(&router, path).await.expect(StatusCode::OK, &[text]);
    }
    operate(&server, "jobs abort long -q snakes").expect(0, &["in progress", "is to be aborted"]);
    drop(worker);
}

/// With a million jobs it lists as quickly, and walks on by marks.
#[tokio::test]
async fn a_million_jobs_are_listed_by_the_page() {
    const FILL: &str = "for i = 1, ARGV[1] do
        local id = string.format('%032d', i)
        redis.call('SET', 'arq:job:' .. id, '{\"t\":null,\"f\":\"nothing\",\"a\":[],\"k\":{},\"et\":1}')
        redis.call('ZADD', KEYS[1], 1000 + i, id)
    end";
    let server = RedisServer::builder().line("lua-time-limit 60000").start();
    let mut costs = Vec::new();
    for (queue, size) in [("few", "100"), ("many", "1000000")] {
        server.cli(&["EVAL", FILL, "1", &format!("arq:queue:{queue}"), size]);
        let list = format!("jobs list --json --queue {queue}");
        operate(&server, &list).expect(0, &[]); // loads the scripts
        let before = calls(&server);
        let first = operate(&server, &list).expect(0, &[]).json();
        costs.push(calls(&server) - before);
        let after = first["next"]["after"].as_str().unwrap();
        let second = operate(&server, &format!("{list} --after {after}")).expect(0, &[]).json();
        let ids: HashSet<String> = [&first, &second]
            .into_iter()
            .flat_map(|page| page["jobs"].as_array().unwrap())
            .map(|job| job["id"].as_str().unwrap().to_owned())
            .collect();
        let expected: HashSet<String> = (1..=100).map(|number| format!("{number:032}")).collect();
        assert_eq!(ids, expected, "two pages of fifty, in order and apart");
    }
    assert_eq!(costs[0], costs[1], "as many calls");
    operate(&server, "health status -q many --min-workers 0").expect(1, &["holds 1000000 jobs, more than 10000"]);
}

/// Names, arguments and errors that others have chosen are text: nothing moves the cursor of who looks.
#[tokio::test]
async fn hostile_text_is_spelled_out() {
    let server = RedisServer::start();
    die(&server, "lenny", "\u{1b}[2J\u{202e}kcah\nline", 1).await;
    let litter = r#"redis.call('SET', 'arq:job:x\27[31m', '{"f":"a\\u001b]0;owned\\u0007","a":["\\u001b[8m"],"k":{},"et":1}')
        redis.call('ZADD', 'arq:queue:lenny', 1, 'x\27[31m')
        redis.call('SET', 'arq:job:torn', '{"f":') redis.call('ZADD', 'arq:queue:lenny', 2, 'torn')"#;
    server.cli(&["EVAL", litter, "0"]);
    let bad = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
    for words in [
        "queues",
        "jobs list --show-args",
        "jobs show torn",
        "dead list --show-args",
        "dead list --json",
        "jobs list --json --show-args",
        "health status --detailed",
    ] {
        let said = operate(&server, words);
        assert!(!said.out.contains(|c| c != '\u{202e}' && bad(c)), "{words}: {said:?}");
        assert!(words.contains("json") || !said.out.contains(bad), "{words}: {said:?}");
    }
    let listed = operate(&server, "jobs list --show-args").expect(0, &[r"a\u{1b}]0;owned\u{7}", r"x\u{1b}[31m"]);
    assert_eq!(listed.out.lines().count(), 4, "a line a job: {listed:#?}");
    operate(&server, "jobs show torn").expect(0, &["<unreadable>", "the job can't be read"]);
    operate(&server, "dead list").expect(0, &[r"\u{1b}[2J\u{202e}kcah\nline(***)", "error: it broke"]);
}

/// Tables are cut to the width there is; colours are for those who see them, and who reads no further is no error.
#[tokio::test]
async fn output_suits_who_reads_it() {
    let server = RedisServer::start();
    let ids = die(&server, "lenny", &"long".repeat(100), 40).await;
    let run = |words: &[&str], set: &[(&str, &str)]| {
        let mut command = command(words);
        command.env("REDIS_URL", server.url()).envs(set.iter().copied());
        said(command)
    };
    let wide = run(&["dead", "list"], &[]);
    assert!(wide.out.lines().any(|line| line.chars().count() > 400), "nothing is cut for a pipe");
    let narrow = run(&["dead", "list"], &[("COLUMNS", "80")]).expect(0, &[]);
    assert!(narrow.out.lines().all(|line| line.chars().count() <= 120), "long texts are cut: {}", narrow.out);
    assert_eq!(narrow.out.lines().count(), 42, "a line a letter: {}", narrow.out);
    assert!(ids.iter().all(|id| narrow.out.contains(&format!(" {id} "))), "ids are whole: {}", narrow.out);
    assert_eq!(narrow.out.matches("error: it broke").count(), 40, "{}", narrow.out);
    for command in ["queues", "dead list --json", "dead causes"] {
        let script = format!("'{OPERATE}' {command} --redis {} >/dev/full", server.url());
        let mut shell = std::process::Command::new("bash");
        said({
            shell.args(["-c", &script]);
            shell
        })
        .expect(1, &["the answer could not be written to standard output: No space left"]);
    }
    let status = ["health", "status"];
    assert!(!run(&status, &[]).out.contains('\u{1b}'), "a pipe has no colours");
    assert!(run(&status, &[("CLICOLOR_FORCE", "1")]).out.contains('\u{1b}'), "unless they are wanted");
    assert!(!run(&status, &[("NO_COLOR", "1")]).out.contains('\u{1b}'));
    let script = format!("'{OPERATE}' dead list --redis {} | true; echo ${{PIPESTATUS[0]}}", server.url());
    let mut shell = std::process::Command::new("bash");
    shell.args(["-c", &script]).stdin(std::process::Stdio::null());
    let piped = said(shell);
    assert_eq!((piped.out.trim(), piped.err.as_str()), ("0", ""), "{piped:?}");
}
