//! Where connections come from: one server, a master that sentinels know, or a cluster.

use std::time::Duration;

use deadpool_redis::{Connection, Manager, Pool, PoolError, Runtime};
use redis::aio::{ConnectionLike, MultiplexedConnection, PubSub};
#[cfg(feature = "cluster")]
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Pipeline, RedisError,
    RedisFuture, RedisResult, Value,
};

use super::copied::Copied;
use crate::broker::UrlError;
use crate::broker::url::Address;
#[cfg(any(feature = "sentinel", feature = "cluster"))]
use crate::broker::url::Scheme;

/// How long connecting may take. Mirrors: arq, `conn_timeout`.
const CONNECT: Duration = Duration::from_secs(1);

/// The most connections of one runtime: one for calls, the others while it is replaced.
const POOL_SIZE: usize = 4;

/// What connections are made from.
pub(super) struct Source {
    kind: Kind,
    config: AsyncConnectionConfig,
    response_timeout: Duration,
}

enum Kind {
    Server(ConnectionInfo),
    #[cfg(feature = "sentinel")]
    Sentinel(Sentinels),
    #[cfg(feature = "cluster")]
    Cluster(Nodes),
}

/// Some servers of a cluster, which tell of the others.
#[cfg(feature = "cluster")]
struct Nodes {
    places: Vec<ConnectionInfo>,
    /// Of the others their places alone are told.
    ca: Option<Vec<u8>>,
}

/// Who knows the master, and how it is to be talked to.
#[cfg(feature = "sentinel")]
struct Sentinels {
    places: Vec<ConnectionInfo>,
    master: String,
    /// Its user, password, database and encryption; its place is that of a sentinel.
    node: ConnectionInfo,
    ca: Option<Vec<u8>>,
}

/// A way to the jobs; clones share its connection.
#[derive(Clone)]
pub(super) enum Route {
    Server(MultiplexedConnection),
    #[cfg(feature = "cluster")]
    Cluster(ClusterConnection),
}

/// A route, and what it must not outlive.
pub(super) struct Opened {
    pub(super) route: Route,
    /// What replicas have of what came over it.
    pub(super) copied: Copied,
    /// Its place in the pool, so that the pool's bound counts it.
    _pooled: Option<Connection>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error(transparent)]
    Pool(PoolError),
    #[error(transparent)]
    Build(#[from] deadpool_redis::BuildError),
}

impl From<PoolError> for OpenError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => Self::Redis(error),
            other => Self::Pool(other),
        }
    }
}

impl Source {
    pub(super) fn new(address: &Address, ca: Option<&[u8]>, response_timeout: Duration) -> Result<Self, UrlError> {
        let unusable = |error: RedisError| UrlError::Unusable(address.shown.clone(), error.to_string());
        let urls = address.server_urls();
        let mut servers = Vec::with_capacity(urls.len());
        for url in urls {
            servers.push(connection_info(url, ca).map_err(unusable)?);
        }
        let kind = Kind::of(address, servers, ca).map_err(unusable)?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(response_timeout));
        Ok(Self { kind, config, response_timeout })
    }

    pub(super) fn response_timeout(&self) -> Duration {
        self.response_timeout
    }

    /// Whether queues lie on several servers, so that a call may be about one of them only.
    pub(super) fn is_cluster(&self) -> bool {
        match &self.kind {
            #[cfg(feature = "cluster")]
            Kind::Cluster(_) => true,
            _ => false,
        }
    }

    /// A connection for calls, from `pool` if there is one.
    pub(super) async fn open(&self, pool: Option<Pool>) -> Result<(Opened, Option<Pool>), OpenError> {
        #[cfg(feature = "cluster")]
        if let Kind::Cluster(nodes) = &self.kind {
            let connection = nodes.connection(self.response_timeout).await?;
            return Ok((Opened { route: Route::Cluster(connection), copied: Copied::default(), _pooled: None }, None));
        }
        let pool = match pool {
            Some(pool) => pool,
            None => self.pool(self.server().await?)?,
        };
        let pooled = pool.get().await?;
        let route = Route::Server((*pooled).clone());
        Ok((Opened { route, copied: Copied::default(), _pooled: Some(pooled) }, Some(pool)))
    }

    /// A connection of its own for calls that block on the server, without a limit to answers.
    pub(super) async fn open_blocking(&self, longest: Duration) -> Result<Route, OpenError> {
        #[cfg(feature = "cluster")]
        if let Kind::Cluster(nodes) = &self.kind {
            return Ok(Route::Cluster(nodes.connection(longest.saturating_mul(2)).await?));
        }
        let _ = longest; // only a cluster's connection can't do without
        let config = self.config.clone().set_response_timeout(None);
        let client = Client::open(self.server().await?)?;
        Ok(Route::Server(client.get_multiplexed_async_connection_with_config(&config).await?))
    }

    /// A connection that hears what the server publishes, and the number of its database.
    pub(super) async fn open_events(&self) -> Result<(PubSub, i64), OpenError> {
        let server = self.server().await?;
        let database = server.redis_settings().db();
        let listening = Client::open(server)?;
        let connecting = tokio::time::timeout(CONNECT, listening.get_async_pubsub()).await;
        Ok((connecting.map_err(|_| RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut)))??, database))
    }

    /// The server that takes writes now.
    async fn server(&self) -> Result<ConnectionInfo, OpenError> {
        match &self.kind {
            Kind::Server(info) => Ok(info.clone()),
            #[cfg(feature = "sentinel")]
            Kind::Sentinel(sentinels) => {
                let mut client = sentinels.client()?;
                Ok(client.async_get_client().await?.get_connection_info().clone())
            }
            #[cfg(feature = "cluster")]
            Kind::Cluster(nodes) => Ok(nodes.places[0].clone()),
        }
    }

    fn pool(&self, server: ConnectionInfo) -> Result<Pool, OpenError> {
        let manager = Manager::new_with_config(server, self.config.clone())?;
        let limit = Some(CONNECT.saturating_mul(2));
        let builder = Pool::builder(manager).max_size(POOL_SIZE).runtime(Runtime::Tokio1);
        Ok(builder.wait_timeout(limit).create_timeout(limit).recycle_timeout(limit).build()?)
    }
}

impl Kind {
    #[cfg_attr(
        not(feature = "sentinel"),
        expect(clippy::unnecessary_wraps, reason = "a sentinel's URL may be unusable")
    )]
    fn of(address: &Address, mut servers: Vec<ConnectionInfo>, ca: Option<&[u8]>) -> RedisResult<Self> {
        #[cfg(feature = "sentinel")]
        if address.scheme == Scheme::Sentinel {
            let places = address.sentinel_urls().iter().map(|url| connection_info(url, ca));
            return Ok(Self::Sentinel(Sentinels {
                places: places.collect::<RedisResult<_>>()?,
                master: address.master.clone(),
                node: servers.swap_remove(0),
                ca: ca.map(<[u8]>::to_vec),
            }));
        }
        #[cfg(feature = "cluster")]
        if address.scheme == Scheme::Cluster {
            return Ok(Self::Cluster(Nodes { places: servers, ca: ca.map(<[u8]>::to_vec) }));
        }
        let _ = (address, ca); // one of the others names one server
        Ok(Self::Server(servers.swap_remove(0)))
    }
}

#[cfg(feature = "sentinel")]
impl Sentinels {
    fn client(&self) -> RedisResult<redis::sentinel::SentinelClient> {
        use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
        let places = self.places.iter().map(|place| place.addr().clone());
        let mut builder = SentinelClientBuilder::new(places, &self.master, SentinelServerType::Master)?;
        let (asked, used) = (self.places[0].redis_settings(), self.node.redis_settings());
        builder = builder.set_client_to_redis_db(used.db());
        if let Some(user) = asked.username() {
            builder = builder.set_client_to_sentinel_username(user);
        }
        if let Some(password) = asked.password() {
            builder = builder.set_client_to_sentinel_password(password);
        }
        if let Some(user) = used.username() {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = used.password() {
            builder = builder.set_client_to_redis_password(password);
        }
        if matches!(self.node.addr(), ConnectionAddr::TcpTls { .. }) {
            builder = builder.set_client_to_redis_tls_mode(redis::TlsMode::Secure);
        }
        #[cfg(feature = "tls")]
        if let Some(ca) = &self.ca {
            let certificates = redis::TlsCertificates { client_tls: None, root_cert: Some(ca.clone()) };
            builder = builder.set_client_to_redis_certificates(certificates);
        }
        let _ = &self.ca; // without encryption there is none
        builder.build()
    }
}

#[cfg(feature = "cluster")]
impl Nodes {
    async fn connection(&self, response_timeout: Duration) -> RedisResult<ClusterConnection> {
        let builder = redis::cluster::ClusterClient::builder(self.places.clone());
        let builder = builder.connection_timeout(CONNECT).response_timeout(response_timeout);
        #[cfg(feature = "tls")]
        let builder = match &self.ca {
            Some(ca) => builder.certs(redis::TlsCertificates { client_tls: None, root_cert: Some(ca.clone()) }),
            None => builder,
        };
        let _ = &self.ca; // without encryption there is none
        builder.build()?.get_async_connection().await
    }
}

#[cfg(feature = "tls")]
fn connection_info(url: &str, ca: Option<&[u8]>) -> RedisResult<ConnectionInfo> {
    let info = url.into_connection_info()?;
    if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
        return Ok(info);
    }
    // Without a provider rustls panics at the first connection; one that the program has chosen stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Some(ca) = ca else { return Ok(info) };
    let certificates = redis::TlsCertificates { client_tls: None, root_cert: Some(ca.to_vec()) };
    Ok(Client::build_with_tls(info, certificates)?.get_connection_info().clone())
}

#[cfg(not(feature = "tls"))]
fn connection_info(url: &str, _ca: Option<&[u8]>) -> RedisResult<ConnectionInfo> {
    let info = url.into_connection_info()?;
    match info.addr() {
        ConnectionAddr::TcpTls { .. } => {
            let missing = "the program was built without the feature `tls` of sector7g-tasks";
            Err(RedisError::from((redis::ErrorKind::InvalidClientConfig, missing)))
        }
        _ => Ok(info),
    }
}

impl ConnectionLike for Route {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Server(connection) => connection.req_packed_command(command),
            #[cfg(feature = "cluster")]
            Self::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Server(connection) => connection.req_packed_commands(commands, offset, count),
            #[cfg(feature = "cluster")]
            Self::Cluster(connection) => connection.req_packed_commands(commands, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Server(connection) => connection.get_db(),
            #[cfg(feature = "cluster")]
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}
