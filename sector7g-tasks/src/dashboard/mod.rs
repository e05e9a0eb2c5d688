//! Pages for a browser: queues, jobs, dead letters, workers, schedules, read through any [`Broker`].
//!
//! [`Dashboard::router`] is an axum router without a login: a service mounts it under any path, **behind its own
//! authentication**. [`Alone`] has a login and a listener of its own in mind, as `sector-7g dashboard` uses it.
//!
//! Links are relative, so it does not matter where the pages are mounted. They only read unless
//! [`Dashboard::allow_actions`] says otherwise. They need no script; with one, the overview follows by itself, and is
//! loaded anew only when other queues are there. Names, arguments and errors of jobs come from anywhere: they are shown
//! as text, whatever is in them, and arguments that a task hides are `***`, as are all those of a task that nobody knows.
//!
//! ```
//! use std::sync::Arc;
//!
//! use axum::Router;
//! use sector7g_tasks::broker::MemoryBroker;
//! use sector7g_tasks::dashboard::Dashboard;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let dashboard = Dashboard::new(Arc::new(MemoryBroker::new()));
//! let app: Router = Router::new().nest("/ops/jobs", dashboard.router()); // a layer with your login goes here
//! # drop(app);
//! # }
//! ```
//!
//! # What protects it
//!
//! - A strict `Content-Security-Policy`: only the pages' own style and script, no frames, no other site's form.
//! - Changes go by `POST` only, want a token that other sites can neither read nor send, and are refused when the
//!   browser says (`Sec-Fetch-Site`, `Origin`) that another site asks for them. A proxy in front has to keep `Host`.
//! - `Referrer-Policy` is `same-origin`: nothing goes to other sites, and our own forms keep the `Origin` that browsers
//!   leave out under `no-referrer`.
//! - Each page answers within 10 s and lists at most 50 jobs; at most 32 browsers follow the overview at once, and the
//!   broker is asked for it once in 2 s however many do.

mod actions;
mod alone;
mod draw;
mod guard;
mod job;
mod jobs;
mod pages;
mod params;
#[cfg(test)]
mod tests;
mod tries;
mod watch;

use std::fmt;
use std::hash::Hasher as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::OriginalUri;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use maud::Markup;

#[cfg(feature = "operate")]
pub(crate) use self::alone::serve;
pub use self::alone::{Alone, AloneError, Token};
use self::params::Params;
use self::watch::Watch;
use crate::broker::{Broker, BrokerError, QueueName};
use crate::clock::Timestamp;
use crate::error::Chain;
use crate::inspect::Thresholds;

/// How long a page waits for the broker.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most queues that one page tells of; each has a page of its own, whether it is told of or not.
const MOST_QUEUES: usize = 200;

/// Pages about the jobs of a broker.
#[derive(Clone)]
pub struct Dashboard {
    broker: Arc<dyn Broker>,
    actions: bool,
    show_unknown: bool,
    only: Option<Vec<QueueName>>,
    thresholds: Thresholds,
    /// Whether there is a login before it that can be ended.
    logout: bool,
}

impl fmt::Debug for Dashboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dashboard")
            .field("broker", &self.broker.location())
            .field("actions", &self.actions)
            .field("only", &self.only)
            .finish_non_exhaustive()
    }
}

impl Dashboard {
    /// Pages about all queues, that only read.
    pub fn new(broker: Arc<dyn Broker>) -> Self {
        let thresholds = Thresholds::default();
        Self { broker, actions: false, show_unknown: false, only: None, thresholds, logout: false }
    }

    /// Whether jobs can be retried, discarded, aborted and made due, and queues paused (no).
    #[must_use]
    pub fn allow_actions(mut self, allow: bool) -> Self {
        self.actions = allow;
        self
    }

    /// Whether the arguments of tasks that neither this program nor a living worker knows are shown (no).
    ///
    /// What a task marks as to be hidden is hidden in any case.
    #[must_use]
    pub fn show_unknown_arguments(mut self, show: bool) -> Self {
        self.show_unknown = show;
        self
    }

    /// Only these queues: no page tells of, or changes, another.
    ///
    /// Without this the pages list the queues that clients and workers of ours have used; one that only Python's have is
    /// not listed by itself, but has its page, too.
    #[must_use]
    pub fn only_queues(mut self, queues: impl IntoIterator<Item = QueueName>) -> Self {
        let mut queues: Vec<QueueName> = queues.into_iter().collect();
        queues.sort_unstable();
        queues.dedup();
        self.only = Some(queues);
        self
    }

    /// From where on the overview says that something is not well, and which queues it shows in any case.
    #[must_use]
    pub fn thresholds(mut self, thresholds: Thresholds) -> Self {
        self.thresholds = thresholds;
        self
    }

    /// The pages. There is no login: put your own before them.
    pub fn router(&self) -> Router {
        let site = Arc::new(Site { dashboard: self.clone(), watch: Watch::default() });
        let pages = Router::new()
            .route("/", get(home))
            .route("/overview", get(pages::overview))
            .route("/queue", get(jobs::queue))
            .route("/dead", get(jobs::dead))
            .route("/job", get(job::job))
            .route("/workers", get(pages::workers))
            .route("/schedules", get(pages::schedules))
            .route("/events", get(watch::events))
            .route("/act", post(actions::act))
            .route("/dashboard.css", get(async |headers: HeaderMap| asset(&headers, "text/css", CSS)))
            .route("/dashboard.js", get(async |headers: HeaderMap| asset(&headers, "text/javascript", JS)))
            .route("/dashboard.svg", get(async |headers: HeaderMap| asset(&headers, "image/svg+xml", ICON)))
            .fallback(no_page);
        guard::around(pages).with_state(site)
    }
}

const CSS: &str = include_str!("assets/dashboard.css");
const JS: &str = include_str!("assets/dashboard.js");
const ICON: &str = include_str!("assets/dashboard.svg");

/// What the pages share.
struct Site {
    dashboard: Dashboard,
    watch: Watch,
}

impl Site {
    fn broker(&self) -> &dyn Broker {
        &*self.dashboard.broker
    }

    /// A page about what is so now.
    fn page(&self, title: &str, here: &str, now: Timestamp, content: &Markup) -> Markup {
        let (location, logout) = (self.broker().location(), self.dashboard.logout);
        draw::page(title, here, Some(&draw::Seen { location: &location, at: now, logout }), content)
    }

    /// The queue that a request names.
    fn queue(&self, params: &Params) -> Result<QueueName, Fault> {
        let queue = params.queue()?.ok_or_else(|| Fault::bad("the address names no queue"))?;
        match &self.dashboard.only {
            Some(only) if !only.contains(&queue) => {
                Err(Fault::new(StatusCode::NOT_FOUND, format!("queue `{queue}` is not one of those shown here")))
            }
            _ => Ok(queue),
        }
    }

    /// The queues that are shown.
    async fn queues(&self) -> Result<Vec<QueueName>, BrokerError> {
        match &self.dashboard.only {
            Some(only) => Ok(only.clone()),
            None => self.broker().queues().await,
        }
    }
}

/// The overview's path relative to wherever this is mounted, with a slash at the end or without.
async fn home(OriginalUri(uri): OriginalUri) -> impl IntoResponse {
    let last = uri.path().rsplit('/').next().filter(|last| !last.is_empty());
    let place = last.map_or_else(|| "overview".to_owned(), |last| format!("./{last}/overview"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, place)])
}

async fn no_page(uri: Uri) -> Response {
    const TEXT: &str = "there is no such page";
    // A page's links hold beside the others only.
    let is_beside = uri.path().matches('/').count() == 1;
    if is_beside {
        Fault::new(StatusCode::NOT_FOUND, TEXT).into_response()
    } else {
        (StatusCode::NOT_FOUND, TEXT).into_response()
    }
}

fn asset(headers: &HeaderMap, kind: &'static str, text: &'static str) -> Response {
    // One of a kind for each content, which changes with the program only.
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(text.as_bytes());
    let tag = format!("\"{:016x}\"", hasher.finish());
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let fixed = [
        (header::ETAG, tag),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (header::CONTENT_TYPE, format!("{kind}; charset=utf-8")),
    ];
    if known { (StatusCode::NOT_MODIFIED, fixed).into_response() } else { (fixed, text).into_response() }
}

/// Why there is no page.
struct Fault {
    status: StatusCode,
    text: String,
}

impl Fault {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    fn bad(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }
}

impl From<BrokerError> for Fault {
    fn from(error: BrokerError) -> Self {
        let status = if error.is_transient() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::BAD_REQUEST };
        Self::new(status, Chain(&error).to_string())
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        (self.status, draw::fault(self.status, &self.text)).into_response()
    }
}
