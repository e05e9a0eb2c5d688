//! A service that shows its jobs to its operators: the dashboard under a path, behind the service's own login.
//!
//! ```text
//! PORT=7007 OPS_PASSWORD=donuts cargo run --example dashboard
//! xdg-open http://homer:donuts@localhost:7007/ops/jobs
//! ```
//!
//! Client, workers and pages live in one program; with a [`RedisBroker`] in the embedded one's place, the pages show
//! the whole fleet. Without `PORT` it takes a free one and says which. Ctrl-C or SIGTERM ends it.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use sector7g_tasks::broker::MemoryBroker;
use sector7g_tasks::dashboard::Dashboard;
use sector7g_tasks::prelude::*;
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Takes the temperature of one reactor; the third one's thermometer is broken.
#[task(queue = "lenny", max_tries = 2, backoff = "fixed(1s)")]
async fn inspect_reactor(ctx: &Context, reactor: u8, #[arg(redact)] badge: String) -> Result<f64, std::io::Error> {
    tracing::debug!(attempt = ctx.attempt(), badge = badge.len(), "looking at reactor {reactor}");
    tokio::time::sleep(Duration::from_millis(150 + u64::from(reactor) * 40)).await;
    if reactor == 3 {
        return Err(std::io::Error::other("the thermometer of reactor 3 shows nothing"));
    }
    Ok(280.0 + f64::from(reactor) / 10.0)
}

/// The next round of inspections, of more reactors in some than in others.
#[task(queue = "inanimate_rod", cron = "*/3 * * * * *")]
async fn begin_round(ctx: &Context) -> Result<u8, TaskError> {
    static ROUND: AtomicU8 = AtomicU8::new(1);
    let reactors = ROUND.fetch_add(3, Ordering::Relaxed) % 14 + 1;
    for reactor in 1..=reactors {
        ctx.client().enqueue(inspect_reactor::job(reactor, "7-G".to_owned())).await?;
    }
    Ok(reactors)
}

#[derive(Worker)]
#[worker(queue = "lenny", max_jobs = 2, health_check_interval = 2)]
struct Lenny;

#[derive(Worker)]
#[worker(queue = "inanimate_rod", max_jobs = 1, health_check_interval = 2)]
struct InanimateRod;

/// What the service's operators have to say of themselves.
#[derive(Clone)]
struct Login {
    expected: Arc<str>,
}

impl Login {
    fn new(name: &str, password: &str) -> Self {
        let coded = base64::prelude::BASE64_STANDARD.encode(format!("{name}:{password}"));
        Self { expected: format!("Basic {coded}").into() }
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        let told = headers.get(header::AUTHORIZATION).map_or(&[][..], |told| told.as_bytes());
        told.ct_eq(self.expected.as_bytes()).into()
    }
}

/// The service's own login: whatever it has for its other pages does for these.
async fn operators_only(Shared(login): Shared<Login>, request: Request, next: Next) -> Response {
    if login.admits(request.headers()) {
        return next.run(request).await;
    }
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Basic realm=\"operators\"")]).into_response()
}

fn app(broker: Arc<dyn Broker>, login: Login) -> Router {
    let dashboard = Dashboard::new(broker).allow_actions(true).router();
    let pages = Router::new().nest("/ops/jobs", dashboard).layer(from_fn_with_state(login, operators_only));
    Router::new().route("/", get(async || "Welcome to Springfield's nuclear power plant.\n")).merge(pages)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let password = std::env::var("OPS_PASSWORD").map_err(|_| "OPS_PASSWORD has to say what operators log in with")?;
    let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new());
    let port = std::env::var("PORT").map_or(Ok(0), |port| port.parse::<u16>())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    eprintln!("the dashboard is at http://{}/ops/jobs, for homer", listener.local_addr()?);

    let stop = CancellationToken::new();
    let app = app(Arc::clone(&broker), Login::new("homer", &password));
    let server = async {
        tokio::select! {
            served = axum::serve(listener, app) => served, // cancel safe: pages only
            () = stop.cancelled() => Ok(()), // cancel safe: only waits; who watches would never end by himself
        }
    };
    let worker = async {
        let report = Runner::new().broker(broker).run().await;
        stop.cancel();
        report
    };
    let (server, report) = tokio::join!(server, worker);
    server?;
    eprintln!("stopped; {} jobs done", report?.done());
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn the_pages_are_for_operators() {
        let app = app(Arc::new(MemoryBroker::new()), Login::new("homer", "donuts"));
        let status = async |path: &str, login: &str| {
            let coded = base64::prelude::BASE64_STANDARD.encode(login);
            let request = Request::get(path).header("authorization", format!("Basic {coded}"));
            app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap().status()
        };
        assert_eq!(status("/", "").await, StatusCode::OK);
        for path in ["/ops/jobs", "/ops/jobs/overview", "/ops/jobs/events", "/ops/jobs/dashboard.css", "/ops/jobs/x"] {
            assert_eq!(status(path, "homer:beer").await, StatusCode::UNAUTHORIZED, "{path}");
        }
        assert_eq!(status("/ops/jobs/overview", "homer:donuts").await, StatusCode::OK);
    }
}
