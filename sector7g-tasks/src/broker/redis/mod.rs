//! Jobs in Redis, in arq's wire format: Rust and Python workers and clients share queues.

mod aborts;
mod claims;
mod concerns;
mod copied;
mod ears;
mod events;
#[cfg(feature = "testing")]
mod guards;
mod inspect;
mod keys;
mod link;
mod listed;
mod path;
mod posts;
mod reply;
mod script;
mod source;
mod waits;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::time::{Instant, sleep};

use self::aborts::Seen;
use self::ears::Ears;
#[cfg(feature = "testing")]
pub use self::guards::Guard;
use self::keys::Keys;
use self::link::{Link, Replicas};
use self::path::DeadLetters;
use self::posts::Posts;
use self::reply::Reply;
use self::source::Source;
use super::url::{Address, redacted};
use super::{
    AbortMark, Aborts, Broker, BrokerError, Claim, Claimed, Enqueued, Extended, JobFilter, JobId, JobRecord, Lease,
    NewJob, Page, PageMark, QUEUES_AT_ONCE, QueueName, QueueStats, RequestId, ResultState, ServerInfo, UrlError,
    WorkerHealth, check_batch, check_lease,
};
use crate::clock::{Clock, Timestamp};
use crate::error::BoxError;

/// Keeps jobs in Redis, in the format of Python's arq 0.28. Clones share their connections.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use sector7g_tasks::broker::RedisBroker;
/// # use sector7g_tasks::Runner;
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = RedisBroker::connect("redis://127.0.0.1:6379").await?;
/// Runner::new().broker(Arc::new(broker)).run().await?;
/// # Ok(())
/// # }
/// ```
///
#[doc = include_str!("../../docs/redis.md")]
#[derive(Clone)]
pub struct RedisBroker {
    shared: Arc<Shared>,
}

struct Shared {
    link: Arc<Link>,
    /// What jobs are enqueued through: the same, unless that waits for replicas.
    producing: Arc<Link>,
    keys: Keys,
    dead_letters: DeadLetters,
    clock: Clock,
    ears: Ears,
    posts: Posts,
    aborts: Seen,
    /// When each queue was last noted as used.
    noted: Mutex<HashMap<QueueName, Instant>>,
    /// The queues of the workers of this process, to remove their entries from.
    workers: Mutex<HashMap<String, Vec<QueueName>>>,
    retries: u32,
    retry_delay: Duration,
}

/// Sets a [`RedisBroker`] up.
#[derive(Clone)]
#[must_use = "a builder does nothing until it is built"]
pub struct RedisBrokerBuilder {
    url: String,
    ca: Option<Vec<u8>>,
    keys: Keys,
    dead_letters: DeadLetters,
    response_timeout: Duration,
    replicas: Option<Replicas>,
    retries: u32,
    retry_delay: Duration,
}

impl fmt::Debug for RedisBrokerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBrokerBuilder").field("url", &redacted(&self.url)).finish_non_exhaustive()
    }
}

impl RedisBrokerBuilder {
    /// What stands before a queue's name in Redis (`arq:queue:` unless set). Empty: nothing, a queue's name is its key.
    pub fn queue_prefix(mut self, prefix: &str) -> Self {
        self.keys = Keys::with_prefix(prefix);
        self
    }

    /// How many dead letters each queue keeps (10,000 unless set). Beyond it, the oldest go first.
    pub fn max_dead_letters(mut self, letters: usize) -> Self {
        self.dead_letters.most = letters;
        self
    }

    /// How long dead letters are kept (7 days unless set).
    pub fn dead_letter_age(mut self, age: Duration) -> Self {
        self.dead_letters.age = age;
        self
    }

    /// How long an answer may take (5 s unless set) before a call fails as `Unavailable`.
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout;
        self
    }

    /// Has each enqueueing answered once so many replicas have its jobs (Redis's `WAIT`), or failed as `Unavailable` when
    /// they have not within `patience`, at most half of [`response_timeout`](Self::response_timeout). None unless set.
    ///
    /// A job that was answered is then on a replica that a failover may promote; the server's `min-replicas-to-write`
    /// does more, as it keeps a master without replicas from taking any. An enqueueing that fails so has happened on the
    /// master: the client repeats it, three times in all. It costs each call the way to the replica, and the user the
    /// right `+wait`. Not on a cluster, whose client can't tell which node has to wait.
    pub fn wait_for_replicas(mut self, replicas: u32, patience: Duration) -> Self {
        self.replicas = (replicas > 0).then_some(Replicas { count: replicas, patience });
        self
    }

    /// The certificate of the authority that signs the servers' own, PEM, in place of those the system trusts.
    /// Several may follow one another. Feature `tls`; for `rediss://` and its like.
    pub fn ca(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca = Some(pem.into());
        self
    }

    /// How often, and after what pause, [`connect`](Self::connect) tries again (5 times, 1 s). Mirrors: arq,
    /// `conn_retries` and `conn_retry_delay`.
    pub fn connect_retries(mut self, retries: u32, delay: Duration) -> Self {
        (self.retries, self.retry_delay) = (retries, delay);
        self
    }

    /// A broker that connects when it is first used.
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn build(self) -> Result<RedisBroker, UrlError> {
        let address = Address::parse(&self.url)?;
        let link = || {
            let source = Source::new(&address, self.ca.as_deref(), self.response_timeout)?;
            Ok::<_, UrlError>(Link::new(source, address.shown.clone()))
        };
        let shared = Arc::new(link()?);
        if self.replicas.is_some() && shared.is_cluster() {
            let reason = "`wait_for_replicas` is not for clusters; set `min-replicas-to-write` on their nodes";
            return Err(UrlError::Unusable(address.shown, reason.to_owned()));
        }
        let producing = match self.replicas {
            Some(replicas) => Arc::new(link()?.confirmed_by(replicas)),
            None => Arc::clone(&shared),
        };
        Ok(RedisBroker {
            shared: Arc::new(Shared {
                link: shared,
                producing,
                keys: self.keys,
                dead_letters: self.dead_letters,
                clock: Clock::of_another(),
                ears: Ears::default(),
                posts: Posts::default(),
                aborts: Seen::default(),
                noted: Mutex::default(),
                workers: Mutex::default(),
                retries: self.retries,
                retry_delay: self.retry_delay,
            }),
        })
    }

    /// A broker whose server has answered.
    ///
    /// # Errors
    /// The URL is none, or the server does not answer after all retries, each of which is logged.
    ///
    /// # Cancel safety
    /// Cancel safe: it only connects.
    pub async fn connect(self) -> Result<RedisBroker, ConnectError> {
        let broker = self.build()?;
        broker.ready().await?;
        Ok(broker)
    }
}

/// Why there is no connection to a Redis.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL can't be one.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The server does not answer, or refuses.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

impl RedisBroker {
    /// Sets up a broker on the Redis at `url`, with user, password and database:
    ///
    /// | URL | what | feature |
    /// | --- | --- | --- |
    /// | `redis://user:password@host:port/database` | a server | |
    /// | `unix:///path/to/socket?db=0` | a server on this machine | |
    /// | `rediss://…` | a server, encrypted | `tls` |
    /// | `redis+sentinel://host:port,host:port/master/database` | the master that these sentinels know; user and password are the master's, `?sentinel_username=..&sentinel_password=..` the sentinels' | `sentinel` |
    /// | `redis+cluster://host:port,host:port` | a cluster; queues need a hash tag, as in `{homer}` | `cluster` |
    /// | `rediss+sentinel://…`, `rediss+cluster://…` | the same, encrypted, sentinels included | `tls` besides |
    pub fn builder(url: impl Into<String>) -> RedisBrokerBuilder {
        RedisBrokerBuilder {
            url: url.into(),
            ca: None,
            keys: Keys::default(),
            dead_letters: DeadLetters { most: 10_000, age: Duration::from_hours(7 * 24) },
            response_timeout: Duration::from_secs(5),
            replicas: None,
            retries: 5,
            retry_delay: Duration::from_secs(1),
        }
    }

    /// A broker on the Redis at `url`, once it has answered; see [`RedisBrokerBuilder::connect`].
    ///
    /// # Errors
    /// [`ConnectError`].
    ///
    /// # Cancel safety
    /// Cancel safe: it only connects.
    pub async fn connect(url: impl Into<String>) -> Result<Self, ConnectError> {
        Self::builder(url).connect().await
    }

    /// Asks the server what time it is: the clock that decides what is due.
    async fn ask_time(&self) -> Result<(), BrokerError> {
        let mut reply = Reply::of("TIME", self.shared.link.command(&redis::cmd("TIME")).await?)?;
        let (seconds, micros) = (reply.int()?, reply.int()?);
        self.shared.clock.follow(Timestamp::from_millis(seconds.saturating_mul(1_000).saturating_add(micros / 1_000)));
        Ok(())
    }

    /// The key of a queue.
    fn key(&self, queue: &QueueName) -> Result<String, BrokerError> {
        if self.shared.link.is_cluster() && queue.hash_tag().is_none() {
            return Err(BrokerError::Refused(format!(
                "on a cluster all keys of a queue must lie in one slot: name queue `{queue}` with a hash tag, `{{{queue}}}`"
            )));
        }
        Ok(self.shared.keys.queue(queue))
    }

    /// The key of a queue that jobs of these ids can be in.
    fn key_for<'a>(&self, queue: &QueueName, ids: impl IntoIterator<Item = &'a JobId>) -> Result<String, BrokerError> {
        let key = self.key(queue)?;
        if self.shared.link.is_cluster()
            && let Some(id) = ids.into_iter().find(|id| id.hash_tag() != queue.hash_tag())
        {
            let tag = queue.hash_tag().unwrap_or_default();
            return Err(BrokerError::Refused(format!(
                "on a cluster a job must lie in its queue's slot: begin its id `{id}` with `{tag}:`"
            )));
        }
        Ok(key)
    }

    fn all_keys(&self, queues: &[QueueName]) -> Result<Vec<String>, BrokerError> {
        queues.iter().map(|queue| self.key(queue)).collect()
    }

    /// Adds those of the jobs that are of one queue.
    async fn add(
        &self,
        queue: &QueueName,
        jobs: &[NewJob],
        indices: Vec<usize>,
        request: RequestId,
    ) -> Result<impl Iterator<Item = (usize, Enqueued)> + use<>, BrokerError> {
        let batch: Vec<&NewJob> = indices.iter().map(|index| &jobs[*index]).collect();
        let key = self.key_for(queue, batch.iter().map(|job| &job.id))?;
        let added = path::enqueue(&self.shared.producing, &key, &batch, request).await?;
        Ok(indices.into_iter().zip(added))
    }
}

/// How often a server that is away was tried.
#[derive(Debug, thiserror::Error)]
#[error("given up after {tries} tries")]
struct GivenUp {
    tries: u32,
    #[source]
    cause: BoxError,
}

fn given_up(error: BrokerError, tries: u32) -> BrokerError {
    match error {
        BrokerError::Unavailable { location, cause } if tries > 1 => {
            BrokerError::Unavailable { location, cause: GivenUp { tries, cause }.into() }
        }
        error => error,
    }
}

/// Where `result` begins and ends with its looks: short for quick jobs, bounded for the server's sake.
const RESULT_LOOKS: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(200));

#[async_trait]
impl Broker for RedisBroker {
    async fn concerns(&self) -> Result<Vec<String>, BrokerError> {
        concerns::concerns(self).await
    }

    async fn server(&self) -> Result<Option<ServerInfo>, BrokerError> {
        concerns::server(&self.shared.link).await.map(Some)
    }

    async fn ready(&self) -> Result<(), BrokerError> {
        let mut tries = 1;
        loop {
            let Err(error) = self.ask_time().await else { return Ok(()) };
            let left = self.shared.retries.saturating_sub(tries - 1);
            if left == 0 || !error.is_transient() {
                return Err(given_up(error, tries));
            }
            tracing::warn!("{}, {left} retries remaining...", crate::error::Chain(&error));
            tries += 1;
            sleep(self.shared.retry_delay).await;
        }
    }

    async fn enqueue(&self, jobs: &[NewJob], request: RequestId) -> Result<Vec<Enqueued>, BrokerError> {
        check_batch("jobs", jobs.len())?;
        let mut answers = vec![Enqueued::Duplicate; jobs.len()];
        // Queues lie in different slots of a cluster: a call for each.
        let mut by_queue: Vec<(&QueueName, Vec<usize>)> = Vec::new();
        for (index, job) in jobs.iter().enumerate() {
            match by_queue.iter_mut().find(|(queue, _)| **queue == job.queue) {
                Some((_, indices)) => indices.push(index),
                None => by_queue.push((&job.queue, vec![index])),
            }
        }
        let queues: Vec<&QueueName> = by_queue.iter().map(|(queue, _)| *queue).collect();
        self.note(&queues).await;
        let replacing: Vec<JobId> = jobs.iter().filter(|job| job.replace_finished).map(|job| job.id.clone()).collect();
        if !replacing.is_empty() {
            aborts::forget(&self.shared.link, replacing).await?;
        }
        let mut adding = Vec::with_capacity(by_queue.len());
        for (queue, indices) in by_queue {
            adding.push(self.add(queue, jobs, indices, request));
        }
        let mut adding = stream::iter(adding).buffer_unordered(QUEUES_AT_ONCE);
        while let Some(added) = adding.next().await {
            for (index, answer) in added? {
                answers[index] = answer;
            }
        }
        Ok(answers)
    }

    async fn claim(&self, request: &Claim<'_>) -> Result<Claimed, BrokerError> {
        Box::pin(claims::claim(self, request)).await
    }

    async fn claim_when_due(
        &self,
        request: &Claim<'_>,
        poll_delay: Duration,
        timeout: Duration,
    ) -> Result<Claimed, BrokerError> {
        Box::pin(claims::claim_when_due(self, request, poll_delay, timeout)).await
    }

    async fn extend(&self, queue: &QueueName, leases: &[Lease], lease: Duration) -> Result<Vec<Extended>, BrokerError> {
        check_batch("leases", leases.len())?;
        check_lease(lease)?;
        let key = self.key_for(queue, leases.iter().map(|lease| &lease.id))?;
        path::extend(&self.shared.link, &key, leases, lease).await
    }

    async fn wait(&self, queues: &[QueueName], poll_delay: Duration, timeout: Duration) -> Result<(), BrokerError> {
        let Shared { link, ears, .. } = &*self.shared;
        waits::wait(link, ears, &self.all_keys(queues)?, poll_delay, timeout).await
    }

    async fn abort(&self, queue: &QueueName, id: &JobId) -> Result<bool, BrokerError> {
        let Shared { link, aborts, clock, .. } = &*self.shared;
        aborts::abort(link, aborts, &self.key_for(queue, [id])?, id, clock.now()).await
    }

    async fn aborts(
        &self,
        queues: &[QueueName],
        since: AbortMark,
        poll_delay: Duration,
        timeout: Duration,
    ) -> Result<Aborts, BrokerError> {
        let Shared { link, aborts, .. } = &*self.shared;
        aborts::watch(link, aborts, &self.all_keys(queues)?, since, poll_delay, timeout).await
    }

    async fn result(&self, queue: &QueueName, id: &JobId, timeout: Duration) -> Result<ResultState, BrokerError> {
        let key = self.key_for(queue, [id])?;
        let deadline = Instant::now() + timeout;
        let mut pause = RESULT_LOOKS.0;
        loop {
            let mut call = script::RESULT.key(&key);
            call.arg(id.as_str());
            let mut reply = Reply::of("result", self.shared.link.script(&call).await?)?;
            match (reply.bytes()?, reply.flag()?) {
                (Some(record), _) => return Ok(ResultState::Ready(record)),
                (None, false) => return Ok(ResultState::NotFound),
                (None, true) if Instant::now() >= deadline => return Ok(ResultState::Pending),
                (None, true) => {}
            }
            tokio::time::sleep_until((Instant::now() + pause).min(deadline)).await;
            pause = (pause * 3 / 2).min(RESULT_LOOKS.1);
        }
    }

    async fn set_progress(&self, queue: &QueueName, lease: &Lease, progress: Bytes) -> Result<bool, BrokerError> {
        let mut call = script::PROGRESS.key(&self.key_for(queue, [&lease.id])?);
        call.arg(lease.id.as_str()).arg(lease.token.to_string()).arg(&*progress);
        self.shared.link.script(&call).await
    }

    async fn job(&self, queue: &QueueName, id: &JobId) -> Result<Option<JobRecord>, BrokerError> {
        inspect::job(&self.shared.link, &self.key_for(queue, [id])?, id).await
    }

    async fn jobs(
        &self,
        queue: &QueueName,
        filter: JobFilter,
        after: Option<PageMark>,
        limit: usize,
    ) -> Result<Page, BrokerError> {
        check_batch("jobs in a page", limit)?;
        inspect::jobs(&self.shared.link, &self.key(queue)?, filter, after, limit).await
    }

    async fn make_due(&self, queue: &QueueName, id: &JobId) -> Result<bool, BrokerError> {
        let mut call = script::DUE.key(&self.key_for(queue, [id])?);
        call.arg(id.as_str());
        self.change(&call).await
    }

    async fn set_paused(&self, queue: &QueueName, paused: bool) -> Result<bool, BrokerError> {
        let mut call = script::PAUSE.key(&self.key(queue)?);
        call.arg(u8::from(paused));
        self.note(&[queue]).await;
        self.change(&call).await
    }

    async fn stats(&self, queue: &QueueName) -> Result<QueueStats, BrokerError> {
        inspect::stats(&self.shared.link, &self.key(queue)?, queue, self.shared.clock.now()).await
    }

    async fn queues(&self) -> Result<Vec<QueueName>, BrokerError> {
        let names = self.listed().await?;
        let asked = stream::iter(names).map(|name| async move { self.stats(&name).await.map(|stats| (name, stats)) });
        let known: Vec<(QueueName, QueueStats)> = asked.buffered(QUEUES_AT_ONCE).try_collect().await?;
        let has = |stats: &QueueStats| {
            stats.live() + stats.dead > 0 || stats.paused_since.is_some() || !stats.workers.is_empty()
        };
        let mut queues: Vec<_> = known.into_iter().filter(|(_, stats)| has(stats)).map(|(name, _)| name).collect();
        queues.sort_unstable();
        Ok(queues)
    }

    async fn retry_dead(&self, queue: &QueueName, ids: &[JobId]) -> Result<Vec<bool>, BrokerError> {
        self.change_dead("retry", queue, ids).await
    }

    async fn discard_dead(&self, queue: &QueueName, ids: &[JobId]) -> Result<Vec<bool>, BrokerError> {
        self.change_dead("discard", queue, ids).await
    }

    async fn set_health(&self, worker: &str, health: Option<&WorkerHealth>, ttl: Duration) -> Result<(), BrokerError> {
        let queues: Vec<QueueName> = {
            let mut workers = self.shared.workers.lock().unwrap_or_else(PoisonError::into_inner);
            match health {
                Some(health) => {
                    let queues: Vec<_> = health.queues.iter().filter_map(|name| QueueName::new(name).ok()).collect();
                    workers.insert(worker.to_owned(), queues.clone());
                    queues
                }
                None => workers.remove(worker).unwrap_or_default(),
            }
        };
        if health.is_some() {
            self.note(&queues.iter().collect::<Vec<_>>()).await;
        }
        // Side by side: one queue's server may not answer.
        let told = queues
            .iter()
            .map(async |queue| inspect::set_health(&self.shared.link, &self.key(queue)?, worker, health, ttl).await);
        join_all(told).await.into_iter().collect()
    }

    fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    fn location(&self) -> String {
        self.shared.link.location().to_owned()
    }

    fn shared_name(&self, queue: &QueueName) -> String {
        self.shared.keys.queue(queue)
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn is_spread(&self) -> bool {
        self.shared.link.is_cluster()
    }
}

impl RedisBroker {
    /// One change, not repeated: the second answer would deny what the first has done.
    async fn change(&self, call: &script::Call) -> Result<bool, BrokerError> {
        let answer: i64 = self.shared.link.script_once(call).await.map_err(|(error, _)| error)?;
        Ok(answer == 1)
    }

    async fn change_dead(&self, what: &str, queue: &QueueName, ids: &[JobId]) -> Result<Vec<bool>, BrokerError> {
        check_batch("dead letters", ids.len())?;
        let mut call = script::DEAD.key(&self.key_for(queue, ids)?);
        call.arg(what);
        for id in ids {
            call.arg(id.as_str());
        }
        // Not repeated: the second answer would deny what the first has done.
        let answer = self.shared.link.script_once(&call).await.map_err(|(error, _)| error)?;
        reply::flags("dead", answer)
    }
}

impl fmt::Debug for RedisBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBroker").field("location", &self.location()).finish_non_exhaustive()
    }
}
