use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool_redis::Pool;
use redis::aio::PubSub;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind, Value};
use tokio::runtime::{Handle, Id};

use super::script::Call;
use super::source::{OpenError, Opened, Route, Source};
use crate::broker::BrokerError;

/// The most runtimes of one process that have connections at a time; of more, the one that came first loses its own.
const MOST_LANES: usize = 16;

/// The connections to one server, or to those of one cluster.
///
/// A connection's driver lives on the runtime that made it, so each runtime has its own: heartbeats
/// come from a thread whose runtime no task can block, and must not go through one that a task can.
pub(super) struct Link {
    source: Source,
    location: String,
    lanes: Mutex<Vec<Lane>>,
    replicas: Option<Replicas>,
}

/// Who else must have what a script wrote before its caller is answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replicas {
    pub(super) count: u32,
    pub(super) patience: Duration,
}

/// The connections of one runtime.
struct Lane {
    runtime: Id,
    pool: Option<Pool>,
    /// Shared: commands of all callers go through it in pipelines.
    current: Option<Arc<Opened>>,
}

/// A call's error, and whether a new connection may mend it.
pub(super) type Failed = (BrokerError, bool);

impl Link {
    pub(super) fn new(source: Source, location: String) -> Self {
        Self { source, location, lanes: Mutex::default(), replicas: None }
    }

    /// Has each script's writes confirmed. For a link of its own: what waits for replicas holds up what comes behind it.
    pub(super) fn confirmed_by(self, replicas: Replicas) -> Self {
        Self { replicas: Some(replicas), ..self }
    }

    pub(super) fn location(&self) -> &str {
        &self.location
    }

    /// See [`Source::is_cluster`].
    pub(super) fn is_cluster(&self) -> bool {
        self.source.is_cluster()
    }

    /// Longer than any answer may take.
    pub(super) fn patience(&self) -> Duration {
        self.source.response_timeout()
    }

    fn lanes(&self) -> MutexGuard<'_, Vec<Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner) // no code panics while it holds the lock
    }

    /// The present runtime's connection, made if there is none.
    async fn connection(&self) -> Result<Arc<Opened>, BrokerError> {
        let runtime = Handle::current().id();
        let pool = {
            let lanes = self.lanes();
            match lanes.iter().find(|lane| lane.runtime == runtime) {
                Some(Lane { current: Some(current), .. }) => return Ok(Arc::clone(current)),
                Some(lane) => lane.pool.clone(),
                None => None,
            }
        };
        let (opened, pool) = self.source.open(pool).await.map_err(|error| self.not_opened(error))?;
        Ok(self.keep(runtime, Arc::new(opened), pool))
    }

    /// Two callers may have come at once: the first one's connection serves both.
    fn keep(&self, runtime: Id, opened: Arc<Opened>, pool: Option<Pool>) -> Arc<Opened> {
        let mut lanes = self.lanes();
        if let Some(lane) = lanes.iter_mut().find(|lane| lane.runtime == runtime) {
            lane.pool = lane.pool.take().or(pool);
            return Arc::clone(lane.current.get_or_insert(opened));
        }
        if lanes.len() >= MOST_LANES {
            lanes.remove(0);
        }
        lanes.push(Lane { runtime, pool, current: Some(Arc::clone(&opened)) });
        opened
    }

    /// Forgets a connection that failed, and those that wait in its pool: they are as old, and may lead to a server
    /// that is no master any more.
    fn forget(&self, failed: &Arc<Opened>) {
        for lane in self.lanes().iter_mut() {
            if lane.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, failed)) {
                (lane.current, lane.pool) = (None, None);
            }
        }
    }

    /// Runs a script that may be repeated: once more if its connection turns out to be dead.
    pub(super) async fn script<T: FromRedisValue>(&self, call: &Call) -> Result<T, BrokerError> {
        match self.script_once(call).await {
            Err((_, true)) => self.script_once(call).await.map_err(|(error, _)| error),
            answer => answer.map_err(|(error, _)| error),
        }
    }

    /// Runs a script.
    pub(super) async fn script_once<T: FromRedisValue>(&self, call: &Call) -> Result<T, Failed> {
        let connection = self.connection().await.map_err(|error| (error, false))?;
        let mut route = connection.route.clone();
        let answer = match call.short().query_async(&mut route).await {
            Err(error) if is_not_loaded(&error) => call.whole().query_async(&mut route).await,
            answer => answer,
        };
        let answer = answer.map_err(|error| self.failed(&connection, &error))?;
        self.confirm(&connection).await?;
        self.read(answer)
    }

    /// Waits until the replicas have what this connection has written, which the server knows of each connection.
    async fn confirm(&self, connection: &Arc<Opened>) -> Result<(), Failed> {
        let Some(Replicas { count, patience }) = self.replicas else { return Ok(()) };
        let patience = patience.min(self.patience() / 2); // or no answer would come in time
        let millis = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX).max(1); // 0 would be for ever
        let confirmed = connection.copied.count(count, async || {
            let mut command = redis::cmd("WAIT");
            command.arg(count).arg(millis);
            let answer = command.query_async(&mut connection.route.clone()).await;
            self.read(answer.map_err(|error| self.not_confirmed(connection, &error))?)
        });
        let confirmed = confirmed.await?;
        if confirmed < count {
            let cause = format!("{confirmed} of {count} replicas have confirmed it within {patience:?}");
            return Err((self.unavailable(cause), false));
        }
        Ok(())
    }

    /// A master that was demoted has taken the write and answers WAIT with a plain `ERR`, or `UNBLOCKED`.
    fn not_confirmed(&self, connection: &Arc<Opened>, error: &RedisError) -> Failed {
        let is_demoted = error.detail().is_some_and(|detail| detail.starts_with("WAIT cannot be used with"));
        if is_demoted || code_of(error).as_deref() == Some("UNBLOCKED") {
            self.forget(connection);
            return (self.unavailable(error.to_string()), true);
        }
        self.failed(connection, error)
    }

    /// Runs a command that may be repeated: once more if its connection turns out to be dead.
    pub(super) async fn command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, BrokerError> {
        match self.command_once(command).await {
            Err((_, true)) => self.command_once(command).await.map_err(|(error, _)| error),
            answer => answer.map_err(|(error, _)| error),
        }
    }

    async fn command_once<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Failed> {
        let connection = self.connection().await.map_err(|error| (error, false))?;
        let mut route = connection.route.clone();
        let answer = command.query_async(&mut route).await.map_err(|error| self.failed(&connection, &error))?;
        self.read(answer)
    }

    /// What a whole answer says: one of another kind than we asked for does not get better by asking again.
    fn read<T: FromRedisValue>(&self, answer: Value) -> Result<T, Failed> {
        let misread = |error| BrokerError::Refused(format!("{} answers what we can't read: {error}", self.location));
        T::from_redis_value(answer).map_err(|error| (misread(error), false))
    }

    fn failed(&self, connection: &Arc<Opened>, error: &RedisError) -> Failed {
        let is_dead =
            error.is_connection_dropped() || error.is_io_error() || is_cut_short(error) || is_elsewhere(error);
        if is_dead {
            self.forget(connection);
        }
        let is_mended = is_dead && !error.is_timeout();
        (self.error(error), is_mended)
    }

    /// A connection for calls that block on the server for up to `longest`.
    pub(super) async fn blocking(&self, longest: Duration) -> Result<Route, BrokerError> {
        self.source.open_blocking(longest).await.map_err(|error| self.not_opened(error))
    }

    /// See [`Source::open_events`].
    pub(super) async fn events(&self) -> Result<(PubSub, i64), BrokerError> {
        self.source.open_events().await.map_err(|error| self.not_opened(error))
    }

    fn not_opened(&self, error: OpenError) -> BrokerError {
        let error = match error {
            OpenError::Redis(error) => self.error(&error),
            other => self.unavailable(other.to_string()),
        };
        match error {
            BrokerError::Unavailable { location, cause } => {
                let cause = cause.to_string();
                let advice = advice(self.location.starts_with("rediss"), &cause);
                let cause = advice.map_or(cause.clone(), |advice| format!("{cause}; {advice}"));
                BrokerError::Unavailable { location, cause: cause.into() }
            }
            error => error,
        }
    }

    pub(super) fn unavailable(&self, cause: String) -> BrokerError {
        BrokerError::Unavailable { location: self.location.clone(), cause: cause.into() }
    }

    /// What a server's or a connection's error means for the caller.
    pub(super) fn error(&self, error: &RedisError) -> BrokerError {
        let code = code_of(error);
        if code.as_deref() == Some("OOM") {
            let detail = "its memory is used up (`maxmemory`); add workers or memory".to_owned();
            return BrokerError::Full { location: self.location.clone(), detail };
        }
        let text = error.to_string();
        if is_cut_short(error) || is_elsewhere(error) || code.as_deref().is_some_and(|code| PASSING.contains(&code)) {
            return self.unavailable(text);
        }
        // In a script: Redis 7.0 does not say which command it was, later ones and Valkey do.
        let in_script = ["executing the script can't run this command", "ACL failure in script"];
        if in_script.iter().any(|words| text.contains(words)) || code.as_deref() == Some("NOPERM") {
            let advice = "the documentation of RedisBroker lists those that it needs";
            return BrokerError::Refused(format!("the user at {} lacks rights ({advice}): {text}", self.location));
        }
        match error.kind() {
            ErrorKind::AuthenticationFailed => {
                BrokerError::Refused(format!("{} does not let this user in: {text}", self.location))
            }
            ErrorKind::Server(ServerErrorKind::CrossSlot | ServerErrorKind::ResponseError)
            | ErrorKind::Extension
            | ErrorKind::InvalidClientConfig
            | ErrorKind::UnexpectedReturnType => BrokerError::Refused(text),
            _ => self.unavailable(text),
        }
    }
}

/// What to do where encryption is the reason why there is no connection, or may be: neither end says so, where the other
/// one does not expect it. Only by its words is such an error known, in those of clusters and sentinels, too.
fn advice(is_encrypted: bool, problem: &str) -> Option<&'static str> {
    let problem = problem.to_ascii_lowercase();
    let is_one_of = |words: &[&str]| words.iter().any(|word| problem.contains(word));
    match is_encrypted {
        _ if is_one_of(&["unknownissuer"]) => {
            Some("name the authority that signed it, with `RedisBrokerBuilder::ca` or in `SSL_CERT_FILE`")
        }
        _ if is_one_of(&["not valid for name"]) => {
            Some("say the host as its certificate does, or have one made for this name")
        }
        _ if is_one_of(&["certificate expired", "certificate not valid yet"]) => {
            Some("renew the server's certificate, or set this machine's clock")
        }
        // A plain port waits for the end of what it takes for a command, or says in plain text what is wrong with it.
        true if is_one_of(&["timed out", "corrupt message"]) => {
            Some("`rediss://` and its like need a port that takes encrypted connections (`tls-port`)")
        }
        false if is_one_of(&["reset by peer", "broken pipe", "terminated", "end of file"]) => {
            Some("if that port takes encrypted connections alone, say `rediss` in place of `redis`")
        }
        _ => None,
    }
}

/// Codes of a server that may take the same call later.
const PASSING: [&str; 5] = ["BUSY", "MISCONF", "NOREPLICAS", "UNBLOCKED", "UNKILLABLE"];

/// Whether the script that was called was not there, though it had been loaded: nothing has run.
pub(super) fn is_not_loaded(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Whether a connection broke in the midst of an answer: what it was asked may have happened.
fn is_cut_short(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Parse
}

/// Whether the server has become one that can't be written to: a pool never notices by itself.
fn is_elsewhere(error: &RedisError) -> bool {
    let code = code_of(error);
    code.is_some_and(|code| ["READONLY", "MASTERDOWN", "LOADING", "CLUSTERDOWN"].contains(&&*code))
}

/// The code of a server's error. Redis 6.2 wraps that of a command in a script: `ERR Error running script (call to
/// f_..): @user_script:12: -OOM command not allowed`.
fn code_of(error: &RedisError) -> Option<Cow<'static, str>> {
    let code = error.code()?;
    let detail = error.detail().unwrap_or_default();
    let wrapped = detail.split_once("unning script").and_then(|(_, rest)| rest.split_once(": -"));
    let inner = wrapped.and_then(|(_, inner)| inner.split_whitespace().next());
    Some(inner.unwrap_or(code).to_owned().into())
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("location", &self.location).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_inside_scripts_are_what_they_are_outside() {
        let said = |code: &'static str, detail: &str| {
            let error: RedisError = redis::make_extension_error(code.to_owned(), Some(detail.to_owned()));
            code_of(&error).expect("a code").into_owned()
        };
        let wrapped =
            "Error running script (call to f_0a1b): @user_script:12: @user_script: 12: -OOM command not allowed";
        assert_eq!(said("ERR", wrapped), "OOM");
        assert_eq!(said("OOM", "command not allowed when used memory > 'maxmemory'."), "OOM");
        assert_eq!(said("ERR", "unknown command: -OOM"), "ERR");
    }

    /// What becomes of a call that a server refuses with these words.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Fate {
        /// It may be made again, on this connection.
        Later,
        /// On a new one, at once: this one may lead to a server that is no master any more.
        Elsewhere,
        /// It fails each time.
        Never,
    }

    #[test]
    fn each_word_of_a_server_says_whether_to_ask_again() {
        let broker = super::super::RedisBroker::builder("redis://127.0.0.1").build().unwrap();
        let fate = |words: &str| {
            let answer = redis::parse_redis_value(format!("-{words}\r\n").as_bytes()).expect("it is well formed");
            let error = answer.extract_error().expect_err("it is one");
            match (broker.shared.link.error(&error), is_elsewhere(&error)) {
                (BrokerError::Unavailable { .. }, false) => Fate::Later,
                (BrokerError::Unavailable { .. }, true) => Fate::Elsewhere,
                (BrokerError::Refused(_), false) => Fate::Never,
                other => panic!("{words}: {other:?}"),
            }
        };
        for (words, expected) in [
            ("LOADING Redis is loading the dataset in memory", Fate::Elsewhere),
            ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", Fate::Elsewhere),
            ("CLUSTERDOWN The cluster is down", Fate::Elsewhere),
            ("CLUSTERDOWN Hash slot not served", Fate::Elsewhere),
            ("READONLY You can't write against a read only replica.", Fate::Elsewhere),
            ("ERR Error running script (call to f_0a1b): @user_script:1: -READONLY You can't write.", Fate::Elsewhere),
            ("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.", Fate::Later),
            ("UNKILLABLE Sorry the script already executed write commands against the dataset.", Fate::Later),
            ("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist.", Fate::Later),
            ("NOREPLICAS Not enough good replicas to write.", Fate::Later),
            ("UNBLOCKED force unblock from blocking operation, instance state changed", Fate::Later),
            ("TRYAGAIN Multiple keys request during rehashing of slot", Fate::Later),
            ("MOVED 3999 127.0.0.1:6381", Fate::Later),
            ("ASK 3999 127.0.0.1:6381", Fate::Later),
            ("NOAUTH Authentication required.", Fate::Never),
            ("NOPERM this user has no permissions to run the 'evalsha' command", Fate::Never),
            ("CROSSSLOT Keys in request don't hash to the same slot", Fate::Never),
            ("WRONGTYPE Operation against a key holding the wrong kind of value", Fate::Never),
            ("ERR unknown command", Fate::Never),
        ] {
            assert_eq!(fate(words), expected, "{words}");
        }
    }
}
