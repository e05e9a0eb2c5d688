//! What the pages show, and what their forms change.

use sector7g_tasks::inventory::Inventory;
use sector7g_tasks::testing::Harness;
use support::PythonClient;
use tokio::sync::Semaphore;

use super::*;
use crate::operate::until;
use crate::traces::Traced;

#[task(queue = "rod")]
async fn shows_its_arguments(reactor: u8, #[arg(redact)] password: String) -> Result<String, std::io::Error> {
    Err(std::io::Error::other(format!("no coolant in reactor {reactor}, {} letters", password.len())))
}

#[task(queue = "rod", cron = "0 4 1 1 *", timezone = "Europe/Berlin")]
async fn counts_the_years() -> Vec<u32> {
    vec![2026, 2027]
}

/// Fails once; then it runs until it is let go.
#[task(queue = "rod", backoff = "fixed(1ms)")]
async fn takes_its_time(ctx: &Context, State(gate): State<Arc<Semaphore>>) -> Result<u32, String> {
    if ctx.attempt() == 1 {
        return Err("the valve sticks".to_owned());
    }
    gate.acquire().await.map_err(|error| error.to_string())?.forget();
    Ok(7)
}

#[derive(Worker)]
#[worker(queue = "rod", max_jobs = 5)]
struct Rods;

fn harness(broker: Arc<dyn Broker>) -> Harness {
    let inventory = Inventory::empty().task::<shows_its_arguments>().task::<counts_the_years>().worker::<Rods>();
    Harness::on(broker).inventory(inventory)
}

#[tokio::test]
async fn a_job_names_its_trace() {
    let traced = Traced::start();
    let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new());
    Client::new(Arc::clone(&broker)).enqueue(Job::untyped("stumbles", "rod").id("traced")).await.unwrap();
    let trace = traced.named("send rod")[0].span_context.trace_id().to_string();
    let router = Dashboard::new(broker).router();
    get(&router, "/job?queue=rod&id=traced").await.expect(StatusCode::OK, &[&trace]);
}

/// Whatever is hostile is text, what is to be hidden is hidden, and links are relative, on each page.
#[tokio::test]
async fn each_page_shows_all_as_text() {
    on_both(async |broker| {
        let id = die(&broker).await;
        let router = mounted(&broker);
        let home = get(&router, "/ops/jobs").await;
        assert_eq!((home.status, home.header("location")), (StatusCode::SEE_OTHER, "./jobs/overview"));
        let job = format!("/ops/jobs/job?queue=rod&id={id}");
        let hostile = "/ops/jobs/queue?queue=%3Cscript%3Ealert(1)%3C%2Fscript%3E";
        let paths = [
            "/ops/jobs/overview",
            "/ops/jobs/queue?queue=rod",
            "/ops/jobs/queue?queue=rod&state=dead",
            "/ops/jobs/dead",
            "/ops/jobs/dead?queue=rod",
            "/ops/jobs/workers",
            "/ops/jobs/schedules",
            "/ops/jobs/job?id=%3Cscript%3Ealert(1)%3C%2Fscript%3E",
            &job,
            hostile,
            "/ops/jobs/nothing",
        ];
        for path in paths {
            let page = get(&router, path).await;
            let is_there = !path.contains("alert") && !path.contains("nothing");
            assert_eq!(page.status == StatusCode::OK, is_there, "{path}: {}", page.text);
            for never in ["<script>alert", "<img", "\u{202e}", CANARY, "href=\"/", "src=\"/", "action=\"/"] {
                assert!(!page.text.contains(never), "«{never}» on {path}: {}", page.text);
            }
        }
        let texts = [
            "&lt;script&gt;alert(1)&lt;/script&gt;",
            "\\u{202e}gnp broke",
            "no coolant",
            "***",
            "Became a dead letter",
        ];
        get(&router, &job).await.expect(StatusCode::OK, &texts);
        let shown = Dashboard::new(Arc::clone(&broker)).show_unknown_arguments(true).router();
        get(&shown, &format!("/job?queue=rod&id={id}")).await.expect(StatusCode::OK, &[CANARY]);
    })
    .await;
}

#[tokio::test]
async fn a_hostile_queue_is_text_in_live_numbers_too() {
    let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new());
    enqueue(&broker, vec![Job::untyped("task", HOSTILE)]).await;
    let page = get(&Dashboard::new(broker).router(), "/overview").await;
    let page = page.expect(StatusCode::OK, &["\\u{202e}gnp", "data-shape=\""]);
    for never in ["<script>alert", "<img", "\u{202e}"] {
        assert!(!page.text.contains(never), "«{never}» in {}", page.text);
    }
}

/// A task's own word decides which of its arguments are shown; a result is shown as it is.
#[tokio::test]
async fn arguments_are_hidden_as_their_task_says() {
    on_both(async |broker| {
        let (fleet, client) = (harness(Arc::clone(&broker)).start(), Client::new(Arc::clone(&broker)));
        let failed = client.enqueue(shows_its_arguments::job(7, CANARY.to_owned())).await.unwrap();
        let done = client.enqueue(counts_the_years::job()).await.unwrap();
        assert!(failed.result().await.is_err() && done.result().await.is_ok());
        let router = Dashboard::new(Arc::clone(&broker)).show_unknown_arguments(true).router();
        let failed = format!("/job?queue=rod&id={}", failed.id());
        let texts = ["7, ***", "no coolant in reactor 7, 11 letters", "Attempt 1 failed", "std::io::error::Error"];
        let page = get(&router, &failed).await.expect(StatusCode::OK, &texts);
        assert!(!page.text.contains(CANARY), "{}", page.text);
        let texts = ["2026", "Ended well", "Attempt 1 started", "counts_the_years"];
        get(&router, &format!("/job?queue=rod&id={}", done.id())).await.expect(StatusCode::OK, &texts);
        get(&router, "/workers").await.expect(StatusCode::OK, &["rods", "rod"]);
        get(&router, "/schedules").await.expect(StatusCode::OK, &["counts_the_years", "Europe/Berlin", "0 4 1 1 *"]);
        fleet.stop().await.unwrap();
    })
    .await;
}

/// While a job runs, its page says since when and where, and how each attempt before it failed; that stays for as long
/// as its result.
#[tokio::test]
async fn a_job_tells_of_each_attempt() {
    on_both(async |broker| {
        let gate = Arc::new(Semaphore::new(0));
        let inventory = Inventory::empty().task::<takes_its_time>().worker::<Rods>();
        let held = Arc::clone(&gate);
        let setup = move |runner: Runner| runner.state(Arc::clone(&held));
        let harness = Harness::on(Arc::clone(&broker)).inventory(inventory).setup(setup);
        let (fleet, client) = (harness.start(), Client::new(Arc::clone(&broker)));
        let job = client.enqueue(takes_its_time::job()).await.unwrap();
        let record = async || broker.job(&name("rod"), job.id()).await.unwrap().unwrap();
        until("its second attempt runs", async || {
            let record = record().await;
            record.attempt == 2 && record.state == JobState::InProgress
        })
        .await;
        until("its worker is known", async || broker.stats(&name("rod")).await.unwrap().workers.len() == 1).await;
        let router = Dashboard::new(Arc::clone(&broker)).router();
        let path = format!("/job?queue=rod&id={}", job.id());
        let failed = record().await.failures[0].ran.clone().unwrap();
        let place = format!("{} of {}, process {}", failed.worker, failed.host, std::process::id());
        let (ran, runs) = (format!(", on worker {}", &place), format!("<dt>Worker</dt><dd>{place}</dd>"));
        assert_eq!(failed.worker, "rods");
        let attempts = ["Attempt 1 failed", "the valve sticks", "after ", &ran, "Attempt 2 started"];
        get(&router, &path).await.expect(StatusCode::OK, &[&attempts[..], &["in progress", &runs]].concat());
        let listed = ["<th class=\"number\" scope=\"col\">Since</th>", &format!("<td>{place}</td>"), " ago"];
        get(&router, "/queue?queue=rod&state=running").await.expect(StatusCode::OK, &listed);
        gate.add_permits(1);
        assert_eq!(job.result().await.unwrap(), 7);
        get(&router, &path).await.expect(StatusCode::OK, &[&attempts[..], &["Ended well"]].concat());
        fleet.stop().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn forms_change_what_they_say() {
    on_both(async |broker| {
        let id = die(&broker).await;
        let router = mounted(&broker);
        let visitor = Visitor::new(&router, "/ops/jobs/overview", "/ops/jobs/act").await;
        let told = |answer: Answer, place: &str| {
            assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, place), "{}", answer.text);
        };
        told(
            visitor.act(&format!("queue=rod&id={id}&act=retry&from=job")).await,
            &format!("job?queue=rod&id={id}&told=done"),
        );
        assert_eq!(dead(&broker).await, 0);
        told(visitor.act(&format!("queue=rod&id={id}&act=retry")).await, "dead?queue=rod&told=none");

        told(visitor.act("queue=rod&act=pause").await, "queue?queue=rod&told=done");
        get(&router, "/ops/jobs/queue?queue=rod").await.expect(StatusCode::OK, &["Paused", "Let it go on"]);
        told(visitor.act("queue=rod&act=resume").await, "queue?queue=rod&told=done");

        // What can't be undone is asked about first, without a script, and nothing is done before the answer.
        kill(&broker, "rod", "again").await;
        told(visitor.act_surely(&format!("queue=rod&id={id}&act=discard&from=job")).await, "dead?queue=rod&told=done");
        assert_eq!(dead(&broker).await, 0);

        let later = || Job::untyped("task", "rod").delay(Duration::from_secs(3600));
        let ids = enqueue(&broker, vec![later(), later()]).await;
        told(visitor.act(&format!("queue=rod&id={}&act=run-now", ids[0])).await, "dead?queue=rod&told=done");
        assert_eq!(broker.stats(&name("rod")).await.unwrap().queued, 1);
        let abort = visitor.act_surely(&format!("queue=rod&id={}&act=abort&from=job", ids[1])).await;
        told(abort, &format!("job?queue=rod&id={}&told=done", ids[1]));
        get(&router, &format!("/ops/jobs/job?queue=rod&id={}", ids[1])).await.expect(StatusCode::OK, &["asked for"]);
    })
    .await;
}

/// A page has fifty; each letter is on one of the pages, and all can be dealt with at once.
#[tokio::test]
async fn letters_are_paged_and_dealt_with_together() {
    on_both(async |broker| {
        let ids = enqueue(&broker, (0..1120).map(|nth| Job::untyped("task", "rod").arg(nth)).collect()).await;
        kill(&broker, "rod", "broke").await;
        let router = mounted(&broker);
        let visitor = Visitor::new(&router, "/ops/jobs/overview", "/ops/jobs/act").await;
        let (mut seen, mut pages) = (std::collections::BTreeSet::new(), 0);
        let mut path = "dead?queue=rod".to_owned();
        loop {
            let page = get(&router, &format!("/ops/jobs/{path}")).await.expect(StatusCode::OK, &["Retry all 1120"]);
            let shown: Vec<_> =
                page.text.split("name=\"id\" value=\"").skip(1).map(|rest| rest[..32].to_owned()).collect();
            assert!(!shown.is_empty() && shown.len() <= 50, "{}", shown.len());
            pages += 1;
            assert!(shown.into_iter().all(|id| seen.insert(id)), "one was shown twice");
            let Some(next) = page.text.split("rel=\"next\" href=\"").nth(1) else { break };
            path = next.split('"').next().unwrap().replace("&amp;", "&");
        }
        assert_eq!((pages, seen), (23, ids.into_iter().collect()));
        assert_eq!(visitor.act_surely("queue=rod&act=retry-all").await.header("location"), "dead?queue=rod&told=done");
        assert_eq!((dead(&broker).await, broker.stats(&name("rod")).await.unwrap().queued), (0, 1120));
        kill(&broker, "rod", "again").await;
        let asked = visitor.act("queue=rod&act=discard-all&id=chosen").await;
        let asked = asked.expect(StatusCode::OK, &["<dt>Dead letters</dt><dd>1120</dd>"]);
        assert!(!asked.text.contains("chosen"), "all are meant, so none is named: {}", asked.text);
        assert_eq!(
            visitor.act_surely("queue=rod&act=discard-all&id=chosen").await.header("location"),
            "dead?queue=rod&told=done"
        );
        assert_eq!(dead(&broker).await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_job_is_found_by_its_id_alone() {
    on_both(async |broker| {
        let ids = enqueue(&broker, vec![Job::untyped("task", "rod"), Job::untyped("task", "lenny")]).await;
        let router = Dashboard::new(Arc::clone(&broker)).router();
        get(&router, &format!("/job?id=+{}+", ids[1])).await.expect(StatusCode::OK, &["queue?queue=lenny"]);
        get(&router, "/job?id=nobody").await.expect(StatusCode::NOT_FOUND, &["`nobody` in any queue"]);
        get(&router, "/job").await.expect(StatusCode::BAD_REQUEST, &[]);
    })
    .await;
}

/// What is not among the queues it was given is neither shown nor changed.
#[tokio::test]
async fn it_keeps_to_the_queues_it_was_given() {
    let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new());
    let id = die(&broker).await;
    enqueue(&broker, vec![Job::untyped("task", "lenny")]).await;
    let router = Dashboard::new(Arc::clone(&broker)).allow_actions(true).only_queues([name("lenny")]).router();
    let page = get(&router, "/overview").await.expect(StatusCode::OK, &["lenny"]);
    assert!(!page.text.contains("rod"), "{}", page.text);
    let paths = ["/queue?queue=rod", "/dead?queue=rod", &format!("/job?queue=rod&id={id}"), &format!("/job?id={id}")];
    for path in paths {
        get(&router, path).await.expect(StatusCode::NOT_FOUND, &[]);
    }
    let visitor = Visitor::new(&router, "/overview", "/act").await;
    visitor.act(&format!("queue=rod&id={id}&act=retry")).await.expect(StatusCode::NOT_FOUND, &[]);
    assert_eq!(dead(&broker).await, 1);
}

/// A result is kept under its job's id alone, and is yet of one queue.
#[tokio::test]
async fn an_ended_job_is_shown_in_its_own_queue_alone() {
    on_both(async |broker| {
        enqueue(&broker, vec![Job::untyped("task", "lenny")]).await;
        let (fleet, client) = (harness(Arc::clone(&broker)).start(), Client::new(Arc::clone(&broker)));
        let failed = client.enqueue(shows_its_arguments::job(7, CANARY.to_owned())).await.unwrap();
        let done = client.enqueue(counts_the_years::job()).await.unwrap();
        assert!(failed.result().await.is_err() && done.result().await.is_ok());
        let (all, only) = (Dashboard::new(Arc::clone(&broker)), Dashboard::new(Arc::clone(&broker)));
        let (all, only) = (all.allow_actions(true).router(), only.only_queues([name("lenny")]).router());
        let path = format!("/job?id={}", failed.id());
        get(&all, &path).await.expect(StatusCode::OK, &["queue?queue=rod", "no coolant", "Retry", "Discard"]);
        let path = format!("/job?id={}", done.id());
        get(&all, &path).await.expect(StatusCode::OK, &["queue?queue=rod", "2026"]);
        for id in [failed.id(), done.id()] {
            get(&only, &format!("/job?id={id}")).await.expect(StatusCode::NOT_FOUND, &[]);
            get(&only, &format!("/job?queue=lenny&id={id}")).await.expect(StatusCode::NOT_FOUND, &[]);
        }
        fleet.stop().await.unwrap();
    })
    .await;
}

/// A result that names no queue, such as of a serializer that we don't have, is found in each: it is shown as of none, and
/// only where all queues are shown; a job that is known to be of a queue counts first.
#[tokio::test]
async fn a_result_that_names_no_queue_is_of_none() {
    let server = RedisServer::start();
    let broker = on_redis(&server);
    enqueue(&broker, vec![Job::untyped("task", "lenny"), Job::untyped("task", "rod").id("again")]).await;
    for record in ["who knows", r#"{"t":1,"f":"nap","a":[],"k":{},"s":true,"r":"thrillhouse","st":1,"ft":2}"#] {
        server.cli(&["SET", "arq:result:foreign", record]);
        server.cli(&["SET", "arq:result:again", record]);
        let all = Dashboard::new(Arc::clone(&broker)).router();
        for path in ["/job?id=foreign", "/job?queue=rod&id=foreign"] {
            let page = get(&all, path).await;
            let page = page.expect(StatusCode::OK, &["in a queue that its record does not name"]);
            assert!(!page.text.contains("queue?queue="), "{}", page.text);
        }
        get(&all, "/job?id=again").await.expect(StatusCode::OK, &["queue?queue=rod"]);
        let only = Dashboard::new(Arc::clone(&broker)).only_queues([name("lenny")]).router();
        for path in ["/job?id=foreign", "/job?queue=lenny&id=foreign"] {
            let page = get(&only, path).await.expect(StatusCode::NOT_FOUND, &[]);
            assert!(!page.text.contains(CANARY), "{}", page.text);
        }
    }
}

/// One that only Python's arq has used holds no key of ours.
#[tokio::test]
async fn a_queue_of_pythons_has_its_pages() {
    let server = RedisServer::start();
    let python = PythonClient::start(&server.url(), &["--queue", "arq:queue:snakes"]);
    let words = ["enqueue", "slither", "--args", "[\"thrillhouse\", 7]", "--id", "nap"];
    python.call(&[&words[..], &["--defer-by", "3600"]].concat()).await;
    let broker = on_redis(&server);
    let page = get(&Dashboard::new(Arc::clone(&broker)).router(), "/queue?queue=snakes").await;
    page.expect(StatusCode::OK, &["slither", "deferred", "***, ***"]);
    let only = Dashboard::new(Arc::clone(&broker)).only_queues([name("snakes")]).router();
    get(&only, "/overview").await.expect(StatusCode::OK, &["queue?queue=snakes"]);
    get(&only, "/job?id=nap").await.expect(StatusCode::OK, &["slither", "pickle", "***, ***"]);
    let pausing = Dashboard::new(Arc::clone(&broker)).allow_actions(true).router();
    let visitor = Visitor::new(&pausing, "/queue?queue=snakes", "/act").await;
    visitor.act("queue=snakes&id=nap&act=run-now").await;
    assert_eq!(broker.stats(&name("snakes")).await.unwrap().queued, 1);
}

#[tokio::test]
async fn a_broker_away_is_a_clear_page() {
    let server = RedisServer::start();
    let url = server.url().replace("redis://", &format!("redis://milhouse:{CANARY}@"));
    drop(server);
    let broker = RedisBroker::builder(url).connect_retries(0, Duration::ZERO).build().unwrap();
    let router = Dashboard::new(Arc::new(broker)).router();
    for path in ["/overview", "/queue?queue=rod", "/dead", "/job?id=x", "/workers", "/schedules"] {
        let page = get(&router, path).await;
        let page = page.expect(StatusCode::SERVICE_UNAVAILABLE, &["The broker can't be asked", "is unavailable"]);
        assert!(!page.text.contains(CANARY), "{}", page.text);
    }
}

/// One that takes a connection and never answers holds no page up for ever.
#[tokio::test]
async fn a_broker_that_hangs_is_a_clear_page() {
    let server = RedisServer::start();
    let router = Dashboard::new(on_redis(&server)).router();
    get(&router, "/overview").await.expect(StatusCode::OK, &[]);
    server.freeze();
    get(&router, "/schedules").await.expect(StatusCode::SERVICE_UNAVAILABLE, &["The broker can't be asked"]);
    server.thaw();
}
