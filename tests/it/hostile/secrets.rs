//! Canaries: passwords and redacted arguments go through all that can fail, and stand in nothing that is said.

use std::fmt::Write as _;
use std::io;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sector7g_tasks::broker::{JobFilter, RedisBroker};
use sector7g_tasks::codec::Codec;
use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::prelude::*;
use sector7g_tasks::testing::{Harness, TestContext};
use support::RedisServer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt;

/// What must not be said. Digits, too, as a number may be secret.
const CANARY: &str = "canary7391628";
const NUMBER: u64 = 7_391_628;
/// What may: that it is found shows that the search would find the others.
const PARROT: &str = "parrot";

fn check(said: &str) {
    let hits: Vec<&str> = said.lines().filter(|line| line.contains(&NUMBER.to_string())).collect();
    assert!(hits.is_empty(), "{hits:#?}");
}

/// All that any thread logs, of every level, with its fields and spans, as text and as JSON.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    fn listen() -> Self {
        let said = Self::default();
        let json = tracing_subscriber::fmt::layer().json().with_span_events(FmtSpan::FULL).with_writer(said.clone());
        let text = tracing_subscriber::fmt::layer().with_span_events(FmtSpan::FULL).with_writer(said.clone());
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(json).with(text))
            .expect("one subscriber a process");
        let panics = said.clone();
        std::panic::set_hook(Box::new(move |panic| {
            let _ = io::Write::write_all(&mut panics.clone(), format!("{panic}\n").as_bytes());
        }));
        said
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Said {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[task(queue = "secrets", timeout = "100ms", max_tries = 2, backoff = "fixed(1ms)")]
async fn logs_in(
    ctx: &Context,
    how: String,
    #[arg(redact)] password: String,
    #[arg(redact)] pin: u64,
) -> Result<String, String> {
    tracing::info!("{ctx:?}");
    match how.as_str() {
        "fails" => Err("wrong password".to_owned()),
        "panics" => panic!("{} letters", password.len()),
        "hangs" => std::future::pending().await,
        "talks" => Ok("x".repeat(200)),
        _ => Ok(format!("{} letters, {} digits", password.len(), pin.to_string().len())),
    }
}

#[derive(Worker)]
#[worker(queue = "secrets", max_payload_size = 1_000, max_result_size = 100, unknown_task_grace = "100ms")]
struct Secrets;

/// A job of the task with these arguments, whether or not they fit.
fn job(how: &str) -> Job<Untyped> {
    let job = Job::untyped("logs_in", "secrets").arg(format!("{how} {PARROT}").trim_end_matches(PARROT).trim());
    match how {
        "ill-typed" => job.arg(NUMBER).arg(CANARY),
        "ill-typed by name" => job.named_arg("password", serde_json::json!([CANARY])).named_arg("pin", CANARY),
        "nested" => job.arg(serde_json::json!({ CANARY: NUMBER })).arg(serde_json::json!([NUMBER, CANARY])),
        "by name" => job.named_arg("pin", NUMBER).named_arg("password", CANARY),
        "negative" => job.arg(CANARY).arg(-7_391_628),
        "float" => job.arg(CANARY).arg(7_391_628.5),
        "too long" => job.arg(CANARY.repeat(100)).arg(NUMBER),
        _ => job.arg(CANARY).arg(NUMBER),
    }
}

#[tokio::test]
async fn a_redacted_argument_is_said_nowhere() {
    let said = Said::listen();
    let server = RedisServer::start();
    let brokers: [Arc<dyn Broker>; 2] =
        [Arc::new(MemoryBroker::new()), Arc::new(RedisBroker::builder(server.url()).build().unwrap())];
    for broker in brokers {
        let harness = Harness::on(broker).inventory(Inventory::empty().task::<logs_in>().worker::<Secrets>());
        let fleet = harness.start();
        let mut shown = String::new();
        for codec in [Codec::Json, Codec::MsgPack, Codec::Pickle] {
            let client = harness.client().codec(codec);
            let hows = [
                PARROT,
                "fails",
                "panics",
                "hangs",
                "talks",
                "ill-typed",
                "ill-typed by name",
                "nested",
                "by name",
                "negative",
                "float",
                "too long",
            ];
            for how in hows {
                let job = client.enqueue(job(how)).await.unwrap();
                let _ = write!(shown, "{job:?} {:?}", job.info().await.unwrap());
                match job.result().await {
                    Ok(value) => drop(write!(shown, "{value:?}")),
                    Err(error) => drop(write!(shown, "{error} {error:?} {:?}", error.failure())),
                }
                if let Some(info) = job.info().await.unwrap() {
                    let _ = writeln!(shown, "{info} {info:?}");
                }
            }
            let deferred = client.enqueue(job("fails").delay(Duration::from_secs(60))).await.unwrap();
            let page = client.jobs("secrets", JobFilter::Live, None, 10).await.unwrap();
            let _ = writeln!(shown, "{page} {page:?}");
            assert!(deferred.abort().await.unwrap());
            let _ = deferred.result().await.unwrap_err();
            let dead = client.dead_letters("secrets", None, 100).await.unwrap();
            assert!(dead.jobs.len() >= 7, "{} dead letters", dead.jobs.len());
            let _ = writeln!(shown, "{dead} {dead:?}");
            let too_large = client.clone().max_payload(10).enqueue(job("fails")).await.unwrap_err();
            let _ = writeln!(shown, "{too_large} {too_large:?}");
        }
        fleet.stop().await.unwrap();
        check(&shown);
        assert!(shown.contains("***"), "{shown}");
    }
    let said = said.text();
    assert!(said.contains("retrying job") && said.contains("panicked") && said.contains(PARROT), "{said}");
    check(&said);
}

/// With a broker that has a password: what a program says in each of its ways to run and to fail.
#[test]
fn a_password_is_said_nowhere() {
    const PROGRAM: &str = env!("CARGO_BIN_EXE_fixture");
    let user = format!("on >{CANARY} ~* &* +@all");
    let few = format!("on >{CANARY} ~arq:* resetchannels -@all +ping +time +info");
    let server = RedisServer::builder().password(CANARY).user("milhouse", &user).user("ralph", &few).start();
    let port = server.port();
    let urls = [
        format!("redis://:{CANARY}@127.0.0.1:{port}/0"),
        format!("redis://milhouse:{CANARY}@127.0.0.1:{port}/0"),
        format!("redis://ralph:{CANARY}@127.0.0.1:{port}/0"),
        format!("redis://milhouse:wrong-{CANARY}@127.0.0.1:{port}/0"),
        format!("redis://{CANARY}:{CANARY}@127.0.0.1:{port}/99"),
        format!("redis://milhouse:{CANARY}@127.0.0.1:1/0"),
        format!("rediss://milhouse:{CANARY}@127.0.0.1:{port}/0"),
        format!("redis+sentinel://milhouse:{CANARY}@127.0.0.1:{port}/plant"),
        format!("redis+cluster://milhouse:{CANARY}@127.0.0.1:{port}"),
        format!("redis://milhouse:{CANARY}@127.0.0.1:port/0"),
        format!("nonsense://milhouse:{CANARY}@127.0.0.1:{port}"),
        format!("redis://milhouse:{CANARY}@"),
        format!("unix:///nowhere?pass={CANARY}"),
    ];
    let (mut ended_well, mut told, mut running) = (0, 0, Vec::new());
    for url in &urls {
        for arguments in
            [&["lenny", "--burst", "-v"][..], &["lenny", "--check"], &["lenny", "--burst", "--log-format=json"]]
        {
            let mut command = Command::new(PROGRAM);
            command.args(arguments).args(["--redis", url]).env("RUST_LOG", "trace").env("RUST_BACKTRACE", "1");
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
            running.push((url, arguments, command.spawn().unwrap()));
        }
    }
    for (url, arguments, program) in running {
        let Output { status, stdout, stderr } = program.wait_with_output().unwrap();
        ended_well += u32::from(status.success());
        let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
        told += u32::from(said.contains("***"));
        assert!(!said.is_empty(), "{arguments:?} says something of {}", url.replace(CANARY, "***"));
        check(&said);
    }
    assert!(ended_well >= 4, "two users work: {ended_well} runs ended well");
    assert!(told >= 20, "{told} runs told an address");
}

/// A task called as a function, with a context for tests, says no more.
#[tokio::test]
async fn a_broker_and_a_context_show_no_secret() {
    let url = format!("redis://milhouse:{CANARY}@127.0.0.1:1/0");
    let builder = RedisBroker::builder(&url);
    let mut shown = format!("{builder:?}");
    let broker = builder.connect_retries(0, Duration::ZERO).build().unwrap();
    let client = Client::new(Arc::new(broker.clone()));
    let _ = write!(shown, "{broker:?} {client:?} {}", broker.location());
    let refused = client.enqueue(logs_in::job(PARROT.to_owned(), CANARY.to_owned(), NUMBER)).await.unwrap_err();
    let _ = write!(shown, "{refused} {refused:?}");
    let context = TestContext::new();
    let _ = write!(shown, "{context:?}");
    check(&shown);
    assert!(shown.contains("***@127.0.0.1:1"), "{shown}");
}
