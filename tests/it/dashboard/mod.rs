//! The dashboard, on both brokers: what it shows, changes and refuses, as requests and in a real browser.

mod alone;
mod browser;
mod crowd;
mod fuzz;
mod guards;
mod pages;
mod watching;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use sector7g_tasks::broker::{
    Claim, Finish, LeaseToken, MAX_BATCH, MemoryBroker, NewJob, Outcome, QueueName, RedisBroker, RequestId,
};
use sector7g_tasks::dashboard::Dashboard;
use sector7g_tasks::job::{Failure, FailureKind};
use sector7g_tasks::prelude::*;
use support::RedisServer;
use tower::ServiceExt as _;

/// A name and a text of someone who means harm: markup, a script, a reversal of the direction of writing.
const HOSTILE: &str = "<script>alert(1)</script>\"><img src=x onerror=alert(2)>' onload='alert(3)\u{202e}gnp";

/// What no page may ever show.
const CANARY: &str = "thrillhouse";

pub(super) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The cookie that it sets, as a browser sends it back.
    fn cookie(&self) -> String {
        self.header("set-cookie").split(';').next().unwrap().to_owned()
    }

    pub(super) fn expect(self, status: StatusCode, texts: &[&str]) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        for text in texts {
            assert!(self.text.contains(text), "«{text}» in {}", self.text);
        }
        self
    }
}

async fn ask(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, 8 << 20).await.unwrap();
    Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
}

pub(super) async fn get(router: &Router, path: &str) -> Answer {
    ask(router, Request::get(path).header("host", "localhost").body(Body::empty()).unwrap()).await
}

/// A form, sent with these headers.
async fn post(router: &Router, path: &str, headers: &[(&str, &str)], form: impl Into<Body>) -> Answer {
    let mut request = Request::post(path).header("content-type", "application/x-www-form-urlencoded");
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "localhost");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    ask(router, request.body(form.into()).unwrap()).await
}

/// What a browser has that loaded a page.
struct Visitor<'a> {
    router: &'a Router,
    act: &'static str,
    cookie: String,
}

impl<'a> Visitor<'a> {
    async fn new(router: &'a Router, page: &str, act: &'static str) -> Self {
        let cookie = get(router, page).await.cookie();
        assert!(cookie.starts_with("sector7g_csrf="), "{cookie}");
        Self { router, act, cookie }
    }

    fn csrf(&self) -> &str {
        self.cookie.split_once('=').unwrap().1
    }

    /// Sends the form of a page, with its token.
    async fn act(&self, form: &str) -> Answer {
        let headers = [("cookie", &*self.cookie), ("origin", "http://localhost")];
        post(self.router, self.act, &headers, format!("csrf={}&{form}", self.csrf())).await
    }

    /// The same, and the answer to the question whether it is meant.
    async fn act_surely(&self, form: &str) -> Answer {
        self.act(form).await.expect(StatusCode::OK, &["name=\"sure\" value=\"yes\""]);
        self.act(&format!("{form}&sure=yes")).await
    }
}

fn name(queue: &str) -> QueueName {
    QueueName::new(queue).unwrap()
}

fn token() -> LeaseToken {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    LeaseToken { worker: NEXT.fetch_add(1, Ordering::Relaxed), call: 1 }
}

/// Stores jobs; their ids.
async fn enqueue(broker: &Arc<dyn Broker>, jobs: Vec<Job<Untyped>>) -> Vec<String> {
    let client = Client::new(Arc::clone(broker));
    let jobs: Vec<NewJob> = jobs.iter().map(|job| client.encode(job).unwrap()).collect();
    for batch in jobs.chunks(MAX_BATCH) {
        broker.enqueue(batch, RequestId::unique()).await.unwrap();
    }
    jobs.iter().map(|job| job.id.to_string()).collect()
}

/// Lets all due jobs of a queue die.
async fn kill(broker: &Arc<dyn Broker>, queue: &str, message: &str) {
    let queue = name(queue);
    let claim = async |finished: &[Finish], max| {
        let lease = Duration::from_secs(20);
        broker.claim(&Claim { queue: &queue, finished, max, lease, token: token() }).await.unwrap().jobs
    };
    let mut claimed = claim(&[], MAX_BATCH).await;
    while !claimed.is_empty() {
        let finished: Vec<Finish> = claimed
            .into_iter()
            .map(|job| {
                let dead = Failure {
                    kind: FailureKind::Error,
                    message: message.to_owned(),
                    error_type: Some(HOSTILE.to_owned()),
                    causes: vec!["no coolant".to_owned(), HOSTILE.to_owned()],
                    attempt: 1,
                    at: broker.clock().now(),
                    ran: None,
                };
                let outcome = Outcome::End { result: None, dead: Some(Box::new(dead)), hold_id: Duration::ZERO };
                Finish { lease: job.lease, outcome }
            })
            .collect();
        claimed = claim(&finished, MAX_BATCH).await;
    }
}

/// A dead letter of queue `rod` whose task, arguments and errors are hostile; its id.
async fn die(broker: &Arc<dyn Broker>) -> String {
    let id = enqueue(broker, vec![Job::untyped(HOSTILE, "rod").arg(CANARY).arg(HOSTILE)]).await.remove(0);
    kill(broker, "rod", &format!("{HOSTILE} broke")).await;
    id
}

async fn dead(broker: &Arc<dyn Broker>) -> u64 {
    broker.stats(&name("rod")).await.unwrap().dead
}

fn on_redis(server: &RedisServer) -> Arc<dyn Broker> {
    Arc::new(RedisBroker::builder(server.url()).build().unwrap())
}

/// Runs a check of one broker on each.
async fn on_both(check: impl AsyncFn(Arc<dyn Broker>)) {
    check(Arc::new(MemoryBroker::new())).await;
    let server = RedisServer::start();
    check(on_redis(&server)).await;
}

/// Pages that may change things, mounted somewhere.
fn mounted(broker: &Arc<dyn Broker>) -> Router {
    Router::new().nest("/ops/jobs", Dashboard::new(Arc::clone(broker)).allow_actions(true).router())
}
