//! One look at the broker for all who watch, and the numbers as they change.
//!
//! Nothing runs by itself: whoever wants to know looks, unless another has within [`FRESH`]. So the broker is asked at
//! one pace however many watch, and not at all when nobody does.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};

use super::params::encoded;
use super::{Dashboard, Fault, MOST_QUEUES, PATIENCE, Site, draw};
use crate::broker::BrokerError;
use crate::error::Chain;
use crate::inspect::rates::Rates;
use crate::inspect::text::plain;
use crate::inspect::{Health, Overview, QueueView, Reason, ReasonKind, Status, Thresholds, span};

/// How long a look holds, and the pace of what is sent.
const FRESH: Duration = Duration::from_secs(2);

/// How many looks a line shows: four minutes.
const KEPT: usize = 120;

/// How many reasons for concern are shown.
const MOST_REASONS: usize = 10;

/// How many may watch at once: half of what the listener of one that stands alone takes, so that pages are served still.
const MOST_WATCHERS: usize = 32;

pub(super) struct Watch {
    last: Mutex<Last>,
    watchers: Arc<Semaphore>,
}

#[derive(Default)]
struct Last {
    look: Option<(Instant, Arc<Look>)>,
    rates: Rates,
    done: VecDeque<u64>,
    failed: VecDeque<u64>,
    depths: BTreeMap<String, VecDeque<u64>>,
}

/// A fleet, and how it got there.
pub(super) struct Look {
    pub(super) overview: Overview,
    pub(super) status: Status,
    reasons: Vec<Reason>,
    reason_count: usize,
    /// Jobs that ended, and that failed for good, a minute, as long as it was watched.
    pub(super) done: Vec<u64>,
    pub(super) failed: Vec<u64>,
    /// The depths of each queue.
    pub(super) depths: BTreeMap<String, Vec<u64>>,
    /// Jobs that each queue's workers end a minute, where they have said so.
    ended: BTreeMap<String, u64>,
}

impl Default for Watch {
    fn default() -> Self {
        Self { last: Mutex::default(), watchers: Arc::new(Semaphore::new(MOST_WATCHERS)) }
    }
}

impl Watch {
    pub(super) async fn look(&self, site: &Site) -> Result<Arc<Look>, BrokerError> {
        let mut last = self.last.lock().await; // held while it looks: the others want the same answer
        if let Some((at, look)) = &last.look
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(look));
        }
        let Dashboard { only, thresholds, .. } = &site.dashboard;
        let overview = Overview::of_expected(site.broker(), only.as_deref(), &thresholds.expected).await?;
        let look = Arc::new(last.add(overview, thresholds));
        last.look = Some((Instant::now(), Arc::clone(&look)));
        Ok(look)
    }
}

impl Last {
    fn add(&mut self, overview: Overview, thresholds: &Thresholds) -> Look {
        self.rates.see(&overview);
        if let Some(rate) = self.rates.all() {
            push(&mut self.done, rate.done);
            push(&mut self.failed, rate.failed);
        }
        let shown = &overview.queues[..overview.queues.len().min(MOST_QUEUES)];
        self.depths.retain(|name, _| shown.iter().any(|queue| queue.name == *name));
        for queue in shown {
            push(self.depths.entry(queue.name.clone()).or_default(), queue.depth);
        }
        let ended = |queue: &QueueView| Some((queue.name.clone(), self.rates.of(queue)?.ended()));
        let ended = shown.iter().filter_map(ended).collect();
        let Health { status, mut reasons, overview } = thresholds.assess(overview);
        let reason_count = reasons.len();
        reasons.truncate(MOST_REASONS);
        Look {
            overview,
            status,
            reasons,
            reason_count,
            done: self.done.iter().copied().collect(),
            failed: self.failed.iter().copied().collect(),
            depths: self.depths.iter().map(|(name, line)| (name.clone(), line.iter().copied().collect())).collect(),
            ended,
        }
    }
}

fn push(line: &mut VecDeque<u64>, value: u64) {
    if line.len() == KEPT {
        line.pop_front();
    }
    line.push_back(value);
}

/// What the script puts into the page: texts and lines by their names.
#[derive(Default, Serialize)]
struct Changes {
    /// Stands for which queues there are: when others are, the page is to be loaded anew.
    shape: String,
    is_well: bool,
    concerns: Vec<Concern>,
    /// That there are more of them.
    more: Option<String>,
    texts: BTreeMap<String, String>,
    lines: BTreeMap<String, String>,
    /// Why there are none.
    trouble: Option<String>,
}

/// A reason for concern, as the overview shows it.
#[derive(Serialize)]
pub(super) struct Concern {
    pub(super) text: String,
    /// The page that has more, and what its link says.
    pub(super) place: Option<String>,
    pub(super) see: String,
}

impl Concern {
    fn of(reason: &Reason) -> Self {
        let (text, queue) = (plain(&reason.message), reason.queue.as_deref());
        let place = queue.map(|queue| match reason.kind {
            ReasonKind::Dead => format!("dead?queue={}", encoded(queue)),
            ReasonKind::Workers | ReasonKind::Silent => "workers".to_owned(),
            _ => format!("queue?queue={}", encoded(queue)),
        });
        Self { text, place, see: queue.map_or_else(String::new, |queue| format!("See {}", plain(queue))) }
    }
}

/// What the overview tells of each queue.
pub(super) const COLUMNS: [&str; 7] = ["Due", "Deferred", "Running", "Dead", "Oldest due", "Ended a minute", "Workers"];

impl Look {
    pub(super) fn shown(&self) -> &[QueueView] {
        &self.overview.queues[..self.overview.queues.len().min(MOST_QUEUES)]
    }

    pub(super) fn sum(&self, of: impl Fn(&QueueView) -> u64) -> u64 {
        self.overview.queues.iter().map(of).fold(0, u64::saturating_add)
    }

    pub(super) fn workers(&self) -> usize {
        let workers = self.overview.queues.iter().flat_map(|queue| &queue.workers);
        let keys =
            workers.map(|worker| if worker.is_python { worker.queues.join(" ") } else { worker.instance.clone() });
        keys.collect::<std::collections::BTreeSet<_>>().len()
    }

    /// The fleet's numbers: name for the script, name for people, text.
    pub(super) fn totals(&self) -> [(&'static str, &'static str, String); 7] {
        let rate = |line: &[u64]| line.last().map_or_else(|| "–".to_owned(), ToString::to_string);
        [
            ("due", "Due", self.sum(|queue| queue.queued).to_string()),
            ("deferred", "Deferred", self.sum(|queue| queue.deferred).to_string()),
            ("running", "Running", self.sum(|queue| queue.running).to_string()),
            ("dead", "Dead", self.sum(|queue| queue.dead).to_string()),
            ("workers", "Workers", self.workers().to_string()),
            ("done", "Done a minute", rate(&self.done)),
            ("failed", "Failed a minute", rate(&self.failed)),
        ]
    }

    pub(super) fn concerns(&self) -> Vec<Concern> {
        self.reasons.iter().map(Concern::of).collect()
    }

    /// That there are more than these, if so.
    pub(super) fn more(&self) -> Option<String> {
        let more = self.reason_count - self.reasons.len();
        (more > 0).then(|| format!("and {more} more"))
    }

    pub(super) fn shape(&self) -> String {
        let mut hasher = std::hash::DefaultHasher::new(); // without random keys: it has to be the same after a restart
        for queue in self.shown() {
            (&queue.name, queue.paused_since.is_some()).hash(&mut hasher);
        }
        self.overview.queues.len().hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }

    /// A queue's numbers in the order of [`COLUMNS`].
    pub(super) fn numbers(&self, queue: &QueueView) -> [String; COLUMNS.len()] {
        let oldest = queue.oldest_due_ms.map_or_else(|| "–".to_owned(), |ms| span(Duration::from_millis(ms)));
        let ended = self.ended.get(&queue.name).map_or_else(|| "–".to_owned(), ToString::to_string);
        let [due, deferred, running, dead] =
            [queue.queued, queue.deferred, queue.running, queue.dead].map(|size| size.to_string());
        [due, deferred, running, dead, oldest, ended, queue.workers.len().to_string()]
    }

    fn changes(&self) -> Changes {
        let (shape, is_well) = (self.shape(), self.status == Status::Healthy);
        let (concerns, more) = (self.concerns(), self.more());
        let mut changes = Changes { shape, is_well, concerns, more, ..Changes::default() };
        changes.texts.insert("at".to_owned(), draw::seconds(self.overview.at));
        changes.texts.extend(self.totals().map(|(id, _, text)| (id.to_owned(), text)));
        changes.lines.insert("done".to_owned(), draw::points(&self.done));
        changes.lines.insert("failed".to_owned(), draw::points(&self.failed));
        for (nth, queue) in self.shown().iter().enumerate() {
            let numbers = self.numbers(queue).into_iter().enumerate();
            changes.texts.extend(numbers.map(|(column, text)| (format!("{nth}:{column}"), text)));
            let line = self.depths.get(&queue.name).map_or_else(String::new, |line| draw::points(line));
            changes.lines.insert(format!("{nth}"), line);
        }
        changes
    }
}

/// The overview's numbers, whenever they are looked at, until the other side goes.
pub(super) async fn events(State(site): State<Arc<Site>>) -> Response {
    let Ok(permit) = Arc::clone(&site.watch.watchers).try_acquire_owned() else {
        let text = format!("{MOST_WATCHERS} pages are watching already; this one shows what was so when it was loaded");
        return Fault::new(StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    };
    let changes = stream::unfold((site, permit, false), async |(site, permit, again): (_, OwnedSemaphorePermit, _)| {
        if again {
            sleep(FRESH).await;
        }
        let event = Event::default().data(next(&site).await);
        Some((Ok::<_, Infallible>(event), (site, permit, true)))
    });
    Sse::new(changes).keep_alive(KeepAlive::default()).into_response()
}

async fn next(site: &Site) -> String {
    let trouble = |text: String| Changes { trouble: Some(plain(&text)), ..Changes::default() };
    let changes = match timeout(PATIENCE, site.watch.look(site)).await {
        Ok(Ok(look)) => look.changes(),
        Ok(Err(error)) => trouble(Chain(&error).to_string()),
        Err(_) => trouble("the broker does not answer in time".to_owned()),
    };
    serde_json::to_string(&changes).unwrap_or_default()
}
