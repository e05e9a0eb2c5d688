//! A job with all that is known of it, and nothing that is to be hidden.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

use crate::broker::{Broker, BrokerError, JobId, JobRecord, JobState, KnownTask, QueueName, QueueStats, WorkerHealth};
use crate::clock::Timestamp;
use crate::codec::{Codec, Place, StoredResult};
use crate::error::Chain;
use crate::inventory;
use crate::job::Failure;

/// How many bytes of a job's arguments, and of its result, are shown at most.
const SHOWN: usize = 16 * 1024;

/// Which arguments may be shown: those that a linked task, or a living worker, says are not to be hidden. And who those
/// workers are.
///
/// What nobody tells may be secret, so it is `***`, as in logs.
#[derive(Clone, Debug, Default)]
pub struct Reveal {
    tasks: BTreeMap<String, KnownTask>,
    /// By their instances.
    workers: BTreeMap<String, JobWorker>,
    all_unknown: bool,
}

impl Reveal {
    /// What the living workers of `queue` tell of their tasks and of themselves.
    ///
    /// # Errors
    /// [`BrokerError`].
    ///
    /// # Cancel safety
    /// Cancel safe: it only reads.
    pub async fn of(broker: &dyn Broker, queue: &QueueName) -> Result<Self, BrokerError> {
        Ok(Self::told(&mut broker.stats(queue).await?))
    }

    /// The same, by what the broker said of the queue; it takes the tasks out of that.
    pub(crate) fn told(stats: &mut QueueStats) -> Self {
        let mut reveal = Self::default();
        for health in &stats.workers {
            reveal.workers.insert(health.instance.clone(), JobWorker::of(health));
        }
        for told in stats.workers.iter_mut().flat_map(|worker| std::mem::take(&mut worker.tasks)) {
            reveal.add(told);
        }
        reveal
    }

    /// Shows the arguments of tasks that nobody knows, too; those that are known to be hidden stay so.
    #[must_use]
    pub fn unknown_tasks(mut self) -> Self {
        self.all_unknown = true;
        self
    }

    /// During a deploy two versions of a task live: what either hides is hidden.
    fn add(&mut self, told: KnownTask) {
        match self.tasks.get_mut(&told.name) {
            None => drop(self.tasks.insert(told.name.clone(), told)),
            Some(known) => {
                let hides = |name: &str| told.parameters.iter().any(|other| other.name == name && other.redact);
                for (index, parameter) in known.parameters.iter_mut().enumerate() {
                    let in_its_place = told.parameters.get(index).is_some_and(|other| other.redact);
                    parameter.redact |= in_its_place || hides(&parameter.name);
                }
            }
        }
    }

    fn worker(&self, instance: String) -> JobWorker {
        let known = self.workers.get(&instance).filter(|_| !instance.is_empty()).cloned();
        known.unwrap_or_else(|| JobWorker { instance, ..JobWorker::default() })
    }

    fn shows(&self, task: &str, place: Place<'_>) -> bool {
        let mut linked = inventory::linked_tasks(task).peekable();
        if linked.peek().is_some() {
            return place.is_shown(linked.map(|def| def.params));
        }
        let Some(known) = self.tasks.get(task) else { return self.all_unknown };
        match place {
            Place::Nth(nth) => known.parameters.get(nth).is_some_and(|parameter| !parameter.redact),
            Place::Named(name) => known.parameters.iter().any(|parameter| parameter.name == name && !parameter.redact),
        }
    }
}

/// A worker that runs a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobWorker {
    /// Random for each start; empty for one of Python's, of which nothing else is known.
    pub instance: String,
    /// Its name; like the rest `None` once its health entry has run out.
    pub name: Option<String>,
    /// Its machine.
    pub host: Option<String>,
    /// Its process.
    pub pid: Option<u32>,
}

impl JobWorker {
    fn of(health: &WorkerHealth) -> Self {
        Self {
            instance: health.instance.clone(),
            name: Some(health.name.clone()),
            host: Some(health.host.clone()),
            pid: Some(health.pid),
        }
    }
}

impl Display for JobWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, &self.host, self.pid) {
            _ if self.instance.is_empty() => f.write_str("one of Python's"),
            (Some(name), Some(host), Some(pid)) => write!(f, "{name} of {host}, process {pid}"),
            _ => write!(f, "{}, not heard of lately", self.instance),
        }
    }
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Well, with this result as JSON; a text when it is longer than [16 KiB](JobView).
    Result(serde_json::Value),
    /// With this failure.
    Failure(Failure),
}

/// One job: at most 16 KiB of its arguments, and as much of its result, are told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobView {
    /// Its id.
    pub id: String,
    /// Its queue.
    pub queue: String,
    /// Where it stands.
    pub state: JobState,
    /// Its task; `None` when the stored job can't be read.
    pub task: Option<String>,
    /// The codec it is written in: `json`, `msgpack` or `pickle`.
    pub codec: Option<String>,
    /// Its arguments for people: `7, depth=null`, what is to be hidden as `***`.
    pub arguments: Option<String>,
    /// Why the stored job can't be read.
    pub unreadable: Option<String>,
    /// The bytes of the encoded job.
    pub size: Option<usize>,
    /// Attempts counted so far.
    pub attempt: u32,
    /// How many its producer allowed, if it said so.
    pub max_tries: Option<u32>,
    /// When it was enqueued, by its producer's clock.
    pub enqueued_at: Option<Timestamp>,
    /// When it was, is or will be due.
    pub due_at: Option<Timestamp>,
    /// When it died, of a dead letter.
    pub died_at: Option<Timestamp>,
    /// When its last attempt began: once it has ended, and while it runs on a worker of ours.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The worker that runs it.
    pub worker: Option<JobWorker>,
    /// The tick of the schedule that made it.
    pub tick: Option<Timestamp>,
    /// The trace that it belongs to, as 32 hex digits, while the encoded job is there.
    pub trace_id: Option<String>,
    /// How it ended, where that is kept.
    pub outcome: Option<Outcome>,
    /// Its failed attempts, oldest first, the last twenty.
    pub failures: Vec<Failure>,
    /// What it last reported of its progress, as JSON.
    pub progress: Option<serde_json::Value>,
    /// Whether an abort was asked for.
    pub abort_requested: bool,
}

impl JobView {
    /// All that is known of a job, `None` when nothing is.
    ///
    /// # Errors
    /// [`BrokerError`].
    ///
    /// # Cancel safety
    /// Cancel safe: it only reads.
    pub async fn find(
        broker: &dyn Broker,
        queue: &QueueName,
        id: &JobId,
        reveal: &Reveal,
    ) -> Result<Option<Self>, BrokerError> {
        Ok(broker.job(queue, id).await?.map(|record| Self::new(record, queue, reveal)))
    }

    /// What a record says.
    pub fn new(record: JobRecord, queue: &QueueName, reveal: &Reveal) -> Self {
        let decoded = record.payload.as_ref().map(Codec::decode_job);
        let unreadable =
            decoded.as_ref().and_then(|decoded| decoded.as_ref().err()).map(|error| Chain(error).to_string());
        let job = decoded.and_then(Result::ok);
        let ended: Option<StoredResult> = record.result.as_ref().and_then(|result| Codec::decode_result(result).ok());
        let arguments = job.as_ref().map(|(_, job)| {
            let shows = |place: Place<'_>| reveal.shows(&job.task, place);
            job.arguments.display_where(&shows, SHOWN)
        });
        let task = job.as_ref().map(|(_, job)| job.task.clone().into_owned());
        let is_dead = record.state == JobState::Dead;
        let progress = record.progress.as_ref().and_then(|bytes| serde_json::from_slice(bytes).ok());
        Self {
            id: record.id.as_str().to_owned(),
            queue: queue.as_str().to_owned(),
            state: record.state,
            task: task.or(ended.as_ref().map(|end| end.task.clone())),
            codec: job.as_ref().map(|(codec, _)| codec.name().to_owned()),
            arguments,
            unreadable,
            size: record.payload.as_ref().map(bytes::Bytes::len),
            attempt: ended.as_ref().map_or(record.attempt, |end| end.attempt),
            max_tries: job.as_ref().and_then(|(_, job)| job.extra.max_tries),
            enqueued_at: job.as_ref().map(|(_, job)| job.enqueued_at).or(ended.as_ref().map(|end| end.enqueued_at)),
            due_at: Some(record.due_at).filter(|_| !is_dead && record.state != JobState::Complete),
            died_at: Some(record.due_at).filter(|_| is_dead),
            started_at: ended.as_ref().map(|end| end.started_at).or(record.running_since),
            finished_at: ended.as_ref().map(|end| end.finished_at),
            worker: record.worker.map(|instance| reveal.worker(instance)),
            tick: job.as_ref().and_then(|(_, job)| job.extra.tick),
            trace_id: job.as_ref().and_then(|(_, job)| job.extra.trace.as_ref()).map(|trace| trace.parent.trace()),
            outcome: ended.map(|end| match end.value {
                Ok(value) => Outcome::Result(shown(&value.as_json())),
                Err(failure) => Outcome::Failure(failure),
            }),
            failures: record.failures,
            progress,
            abort_requested: record.abort_requested,
        }
    }
}

/// A result as JSON, or the start of its text.
fn shown(json: &str) -> serde_json::Value {
    if json.len() > SHOWN {
        return format!("{}…", &json[..json.floor_char_boundary(SHOWN)]).into();
    }
    serde_json::from_str(json).unwrap_or_else(|_| json.into())
}
