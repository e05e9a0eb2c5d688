//! What the jobs are stored in.

use support::{RedisCluster, RedisSentinel, RedisServer};

use crate::worker::HASTY;

/// What a scenario asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    /// Keeps nothing when it is killed.
    Volatile,
    /// Keeps a snapshot of each second in which something changed.
    Snapshots,
    /// Keeps all that it has answered: `appendfsync always`.
    Durable,
    /// `appendfsync everysec`, as most do.
    EverySecond,
    /// A master and its replica, under a sentinel. The replica may lack what its master has answered.
    Sentinel,
    /// The same with `min-replicas-to-write 1`: a master whose replica has gone takes no job.
    StrictSentinel,
    /// A cluster whose node for the queue has a replica.
    Cluster,
}

/// What runs.
#[derive(Debug)]
pub(crate) enum Ground {
    One(RedisServer),
    Sentinel(Box<RedisSentinel>),
    Cluster(RedisCluster),
}

impl Server {
    pub(crate) async fn start(self) -> Ground {
        let builder = RedisServer::builder().keyspace_events("K$").debug_command();
        match self {
            Self::Volatile => Ground::One(builder.start()),
            Self::Snapshots => Ground::One(builder.line("save 1 1").start()),
            Self::Durable => Ground::One(builder.append_only().start()),
            Self::EverySecond => Ground::One(builder.line("appendonly yes").line("appendfsync everysec").start()),
            Self::Sentinel => Ground::Sentinel(Box::new(sentinel().await)),
            Self::StrictSentinel => {
                let trio = sentinel().await;
                for server in [trio.master(), trio.replica()] {
                    server.cli(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
                }
                Ground::Sentinel(Box::new(trio))
            }
            Self::Cluster => {
                let mut cluster = RedisCluster::start().await;
                cluster.add_replica(HASTY).await;
                cluster.nodes().iter().for_each(tell_of_results);
                Ground::Cluster(cluster)
            }
        }
    }
}

async fn sentinel() -> RedisSentinel {
    let trio = RedisSentinel::start().await;
    [trio.master(), trio.replica()].into_iter().for_each(tell_of_results);
    trio
}

/// As the other servers are told when they start: without it the witness hears nothing.
fn tell_of_results(server: &RedisServer) {
    server.cli(&["CONFIG", "SET", "notify-keyspace-events", "K$"]);
}

impl Ground {
    /// What clients are told.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::One(server) => server.url(),
            Self::Sentinel(trio) => {
                format!("redis+sentinel://127.0.0.1:{}/{}/0", trio.sentinel().port(), RedisSentinel::NAME)
            }
            Self::Cluster(cluster) => {
                let hosts: Vec<_> = cluster.nodes().iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
                format!("redis+cluster://{}", hosts.join(","))
            }
        }
    }

    /// The server that has the jobs now.
    pub(crate) fn holder(&self) -> &RedisServer {
        match self {
            Self::One(server) => server,
            Self::Sentinel(trio) => trio.master(),
            Self::Cluster(cluster) => cluster.owner(HASTY),
        }
    }

    /// A server that is alone.
    pub(crate) fn one(&mut self) -> &mut RedisServer {
        match self {
            Self::One(server) => server,
            _ => unreachable!("the scenario's fault is one of a server that is alone"),
        }
    }
}
