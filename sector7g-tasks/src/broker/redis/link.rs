use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool_redis::{Connection, Manager, Pool, PoolError, Runtime};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, FromRedisValue, IntoConnectionInfo,
    RedisError, ScriptInvocation, ServerErrorKind,
};
use tokio::runtime::{Handle, Id};

use crate::broker::BrokerError;

/// How long connecting may take. Mirrors: arq, `conn_timeout`.
const CONNECT: Duration = Duration::from_secs(1);

/// The most runtimes of one process that have connections at a time; of more, the one that came first loses its own.
const MOST_LANES: usize = 16;

/// The most connections of one runtime: one for calls, the others while it is replaced.
const POOL_SIZE: usize = 4;

/// The connections to one server.
///
/// A connection's driver lives on the runtime that made it, so each runtime has its own: heartbeats
/// come from a thread whose runtime no task can block, and must not go through one that a task can.
pub(super) struct Link {
    client: Client,
    config: AsyncConnectionConfig,
    response_timeout: Duration,
    location: String,
    lanes: Mutex<Vec<Lane>>,
}

/// The connections of one runtime.
struct Lane {
    runtime: Id,
    pool: Pool,
    /// Taken from the pool for good, and shared: commands of all callers go through it in pipelines.
    current: Option<Arc<Connection>>,
}

impl Link {
    pub(super) fn new(url: &str, response_timeout: Duration) -> Result<Self, RedisError> {
        let info: ConnectionInfo = url.into_connection_info()?;
        let location = location_of(&info);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(response_timeout));
        Ok(Self { client: Client::open(info)?, config, response_timeout, location, lanes: Mutex::default() })
    }

    pub(super) fn location(&self) -> &str {
        &self.location
    }

    fn lanes(&self) -> MutexGuard<'_, Vec<Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner) // no code panics while it holds the lock
    }

    /// The pool of the present runtime, and its connection if it has one.
    fn lane(&self) -> Result<(Pool, Option<Arc<Connection>>), BrokerError> {
        let runtime = Handle::current().id();
        let mut lanes = self.lanes();
        if let Some(lane) = lanes.iter().find(|lane| lane.runtime == runtime) {
            return Ok((lane.pool.clone(), lane.current.clone()));
        }
        let pool = self.pool()?;
        if lanes.len() >= MOST_LANES {
            lanes.remove(0);
        }
        lanes.push(Lane { runtime, pool: pool.clone(), current: None });
        Ok((pool, None))
    }

    fn pool(&self) -> Result<Pool, BrokerError> {
        let manager = Manager::new_with_config(self.client.get_connection_info().clone(), self.config.clone())
            .map_err(|error| self.error(error))?;
        let limit = Some(CONNECT.saturating_mul(2));
        Pool::builder(manager)
            .max_size(POOL_SIZE)
            .wait_timeout(limit)
            .create_timeout(limit)
            .recycle_timeout(limit)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| self.unavailable(error))
    }

    /// The present runtime's connection, made if there is none.
    async fn connection(&self) -> Result<Arc<Connection>, BrokerError> {
        let (pool, current) = self.lane()?;
        if let Some(current) = current {
            return Ok(current);
        }
        let fresh = pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => self.error(error),
            error => self.unavailable(error),
        })?;
        let fresh = Arc::new(fresh);
        let runtime = Handle::current().id();
        let mut lanes = self.lanes();
        if let Some(lane) = lanes.iter_mut().find(|lane| lane.runtime == runtime) {
            // Two callers may have come at once: the first one's connection serves both.
            return Ok(Arc::clone(lane.current.get_or_insert(fresh)));
        }
        Ok(fresh)
    }

    /// Forgets a connection that failed, and those that wait in its pool: they are as old.
    fn forget(&self, failed: &Arc<Connection>) {
        for lane in self.lanes().iter_mut() {
            if lane.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, failed)) {
                lane.current = None;
                lane.pool.retain(|_, _| false);
            }
        }
    }

    /// Runs a script that may be repeated: once more if its connection turns out to be dead.
    pub(super) async fn script<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, BrokerError> {
        match self.script_once(call).await {
            Err((_, true)) => self.script_once(call).await.map_err(|(error, _)| error),
            answer => answer.map_err(|(error, _)| error),
        }
    }

    /// Runs a script; an error comes with whether a new connection may mend it.
    pub(super) async fn script_once<T: FromRedisValue>(
        &self,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, (BrokerError, bool)> {
        let connection = self.connection().await.map_err(|error| (error, false))?;
        let mut handle: MultiplexedConnection = (**connection).clone();
        call.invoke_async(&mut handle).await.map_err(|error| self.failed(&connection, error))
    }

    /// Runs a command that may be repeated: once more if its connection turns out to be dead.
    pub(super) async fn command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, BrokerError> {
        match self.command_once(command).await {
            Err((_, true)) => self.command_once(command).await.map_err(|(error, _)| error),
            answer => answer.map_err(|(error, _)| error),
        }
    }

    async fn command_once<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, (BrokerError, bool)> {
        let connection = self.connection().await.map_err(|error| (error, false))?;
        let mut handle: MultiplexedConnection = (**connection).clone();
        command.query_async(&mut handle).await.map_err(|error| self.failed(&connection, error))
    }

    fn failed(&self, connection: &Arc<Connection>, error: RedisError) -> (BrokerError, bool) {
        let is_dead = error.is_connection_dropped() || error.is_io_error() || is_elsewhere(&error);
        if is_dead {
            self.forget(connection);
        }
        let is_mended = is_dead && !error.is_timeout();
        (self.error(error), is_mended)
    }

    /// A connection for calls that block on the server, of their own and without a limit to answers.
    pub(super) async fn blocking(&self) -> Result<MultiplexedConnection, BrokerError> {
        let config = self.config.clone().set_response_timeout(None);
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        connecting.await.map_err(|error| self.error(error))
    }

    /// Longer than any answer may take.
    pub(super) fn patience(&self) -> Duration {
        self.response_timeout
    }

    pub(super) fn unavailable(&self, cause: impl std::error::Error + Send + Sync + 'static) -> BrokerError {
        BrokerError::Unavailable { location: self.location.clone(), cause: Box::new(cause) }
    }

    /// What a server's or a connection's error means for the caller.
    pub(super) fn error(&self, error: RedisError) -> BrokerError {
        if error.code() == Some("OOM") {
            let detail = "its memory is used up (`maxmemory`); add workers or memory".to_owned();
            return BrokerError::Full { location: self.location.clone(), detail };
        }
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::NoPerm) => {
                BrokerError::Refused(format!("the user at {} lacks rights: {error}", self.location))
            }
            ErrorKind::Server(ServerErrorKind::CrossSlot) => BrokerError::Refused(format!(
                "{error}: on a cluster, name the queue with a hash tag, `{{name}}`, and begin its jobs' ids with `{{name}}:`"
            )),
            ErrorKind::Server(ServerErrorKind::ResponseError) | ErrorKind::Extension
                if !matches!(error.code(), Some("BUSY" | "MISCONF" | "NOREPLICAS" | "UNBLOCKED")) =>
            {
                BrokerError::Refused(error.to_string())
            }
            ErrorKind::InvalidClientConfig | ErrorKind::UnexpectedReturnType | ErrorKind::Parse => {
                BrokerError::Refused(error.to_string())
            }
            _ => self.unavailable(error),
        }
    }
}

/// Whether the server has become one that can't be written to: a pool never notices by itself.
fn is_elsewhere(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Server(
            ServerErrorKind::ReadOnly
                | ServerErrorKind::MasterDown
                | ServerErrorKind::BusyLoading
                | ServerErrorKind::ClusterDown
        )
    )
}

/// The address without user and password.
fn location_of(info: &ConnectionInfo) -> String {
    let db = info.redis_settings().db();
    match info.addr() {
        ConnectionAddr::TcpTls { host, port, .. } => format!("rediss://{host}:{port}/{db}"),
        ConnectionAddr::Unix(path) => format!("unix://{}?db={db}", path.display()),
        other => format!("redis://{other}/{db}"),
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("location", &self.location).finish_non_exhaustive()
    }
}
