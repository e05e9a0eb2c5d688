//! Servers that work together: a cluster, and a pair under a sentinel.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{RedisServer, redis_cli};
use crate::watched::pause;

/// Within which they must agree.
const AGREE: Duration = Duration::from_mins(1);

/// After how long a failover has been given up, and can be asked for again: Redis's five seconds at most, and one.
const GIVEN_UP: Duration = Duration::from_secs(6);

/// How many hash slots a cluster has.
const SLOTS: usize = 16_384;

/// A Redis Cluster of three masters, none with a replica, each with a third of the slots.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts the nodes and waits until all see all, some three seconds: Redis keeps a new node from serving for two.
    pub async fn start() -> Self {
        let cluster = Self { nodes: (0..3).map(|_| node()).collect() };
        for (index, node) in cluster.nodes.iter().enumerate() {
            let slot = |index: usize| SLOTS * index / cluster.nodes.len();
            let slots: Vec<String> = (slot(index)..slot(index + 1)).map(|slot| slot.to_string()).collect();
            node.cli(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]);
            // `ADDSLOTSRANGE` came with 7.0.
            node.cli(&["CLUSTER", "ADDSLOTS"].into_iter().chain(slots.iter().map(String::as_str)).collect::<Vec<_>>());
            cluster.nodes[0].cli(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string()]); // itself: no harm
        }
        until("the cluster serves", || cluster.nodes.iter().all(|node| cluster.is_whole_for(node))).await;
        cluster
    }

    fn is_whole_for(&self, node: &RedisServer) -> bool {
        let info = node.cli(&["CLUSTER", "INFO"]);
        let has = |line: &str| info.lines().any(|found| found.trim_end() == line);
        has("cluster_state:ok")
            && has(&format!("cluster_known_nodes:{}", self.nodes.len()))
            && has(&format!("cluster_slots_ok:{SLOTS}"))
    }

    /// The masters, by ascending slots.
    #[must_use]
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// The masters, to kill one or freeze one.
    pub fn nodes_mut(&mut self) -> &mut [RedisServer] {
        &mut self.nodes
    }

    /// `redis://127.0.0.1:PORT` of each node.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        let without_database = |url: String| url.trim_end_matches("/0").to_owned();
        self.nodes.iter().map(|node| without_database(node.url())).collect()
    }

    /// Starts a replica of the master that has the slot of `key`, the last of [`Self::nodes`], and waits until it is in
    /// step.
    pub async fn add_replica(&mut self, key: &str) {
        let replica = node();
        let owner = self.owner(key);
        let id = owner.cli(&["CLUSTER", "MYID"]);
        replica.cli(&["CLUSTER", "MEET", "127.0.0.1", &owner.port().to_string()]);
        until("the replica knows its master", || replica.cli(&["CLUSTER", "NODES"]).contains(&id)).await;
        until("the replica may follow", || replica.try_cli(&["CLUSTER", "REPLICATE", &id]).is_ok()).await;
        until("the replica is in step", || is_in_step(&replica, owner)).await;
        let own = replica.cli(&["CLUSTER", "MYID"]);
        let knows = |node: &RedisServer| node.cli(&["CLUSTER", "NODES"]).contains(&own);
        until("all know the replica", || self.nodes.iter().all(knows)).await;
        self.nodes.push(replica);
    }

    /// The master that has the slot of `key` now; waits for one while the nodes are at odds, as they are on a machine so
    /// busy that they take each other for dead.
    #[must_use]
    pub fn owner(&self, key: &str) -> &RedisServer {
        let end = Instant::now() + AGREE;
        loop {
            let answers = self.nodes.iter().map(|node| (node, node.try_cli(&["EXISTS", key])));
            let mut said = Vec::new();
            for (node, answer) in answers {
                match answer {
                    Ok(_) if is_master(node) => return node,
                    answer => said.push(format!("{}: {answer:?}", node.port())),
                }
            }
            assert!(Instant::now() < end, "not within {AGREE:?}: a master has the slot of {key}; {}", said.join(", "));
            pause(Duration::from_millis(50));
        }
    }

    /// Exchanges the master that has the slot of `key` and its replica, no write lost, and waits until it is so.
    pub async fn failover(&self, key: &str) {
        let old = self.owner(key).port();
        let replica = self.nodes.iter().find(|node| !is_master(node)).expect("it was started with a replica");
        let mut asked: Option<Instant> = None;
        until("the replica is master", || {
            let is_done = is_master(replica);
            if !is_done && asked.is_none_or(|at| at.elapsed() > GIVEN_UP) {
                let _ = replica.try_cli(&["CLUSTER", "FAILOVER"]);
                asked = Some(Instant::now());
            }
            is_done
        })
        .await;
        let former = self.nodes.iter().find(|node| node.port() == old).expect("it is one of ours");
        until("the old master follows", || is_in_step(former, replica)).await;
    }

    /// Kills the master that has the slot of `key` with `kill -9` and waits until its replica has taken its place and all that are
    /// left serve again, some seconds more than the nodes' timeout.
    pub async fn kill_master(&mut self, key: &str) {
        let old = self.owner(key).port();
        let replica = self.nodes.iter().find(|node| !is_master(node)).expect("it was started with a replica").port();
        self.nodes.iter_mut().find(|node| node.port() == old).expect("it is one of ours").kill9();
        let serves =
            |node: &RedisServer| node.try_cli(&["CLUSTER", "INFO"]).is_ok_and(|info| info.contains("cluster_state:ok"));
        until("the replica is master", || {
            let is_done = |node: &RedisServer| serves(node) && (node.port() != replica || is_master(node));
            self.nodes.iter().filter(|node| node.port() != old).all(is_done)
        })
        .await;
    }

    /// What `redis-cli -c` says to one command: it goes to the node that has the key.
    ///
    /// # Panics
    /// When the command fails.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let port = self.nodes[0].port().to_string();
        let said = redis_cli(&["-c".to_owned(), "-p".to_owned(), port], arguments);
        said.unwrap_or_else(|error| panic!("redis-cli -c {}: {error}", arguments.join(" ")))
    }
}

/// A master and its replica under one sentinel, by the name [`RedisSentinel::NAME`].
#[derive(Debug)]
pub struct RedisSentinel {
    servers: [RedisServer; 2],
    sentinel: RedisServer,
}

impl RedisSentinel {
    /// What the sentinel calls the master.
    pub const NAME: &str = "plant";

    /// Starts the three and waits until the sentinel knows the replica, and that in step with its master.
    pub async fn start() -> Self {
        let server = || RedisServer::builder().line("repl-diskless-sync-delay 0").line("repl-ping-replica-period 1");
        let master = server().start();
        let replica = server().line(format!("replicaof 127.0.0.1 {}", master.port())).start();
        until("the replica is in step", || is_in_step(&replica, &master)).await;
        let sentinel = RedisServer::builder()
            .sentinel()
            .line(format!("sentinel monitor {} 127.0.0.1 {} 1", Self::NAME, master.port()))
            .line(format!("sentinel down-after-milliseconds {} 500", Self::NAME))
            .line(format!("sentinel failover-timeout {} 3000", Self::NAME))
            .start();
        // It takes ten seconds to see a change otherwise; servers before 7.0 must.
        let _ = sentinel.try_cli(&["SENTINEL", "DEBUG", "INFO-PERIOD", "100", "PUBLISH-PERIOD", "100"]);
        let trio = Self { servers: [master, replica], sentinel };
        until("the sentinel knows the replica", || trio.knows_a_replica()).await;
        trio
    }

    /// The sentinel itself; its [`RedisServer::port`] is what clients are told.
    #[must_use]
    pub fn sentinel(&self) -> &RedisServer {
        &self.sentinel
    }

    /// The server that the sentinel calls master now.
    #[must_use]
    pub fn master(&self) -> &RedisServer {
        &self.servers[self.master_index()]
    }

    /// The server that the sentinel calls master now, to kill it or freeze it.
    pub fn master_mut(&mut self) -> &mut RedisServer {
        let index = self.master_index();
        &mut self.servers[index]
    }

    /// The other one.
    #[must_use]
    pub fn replica(&self) -> &RedisServer {
        &self.servers[1 - self.master_index()]
    }

    /// Has the sentinel exchange master and replica, no write lost, and waits until the new master takes writes and
    /// the old one, its connections cut, is its replica.
    pub async fn failover(&self) {
        // On a busy machine the sentinel may have exchanged them by itself meanwhile.
        until("the replica is in step", || is_in_step(self.replica(), self.master())).await;
        let (old, new) = (self.master(), self.replica());
        let mut asked: Option<Instant> = None;
        until("the replica is master", || {
            let is_named = self.master().port() == new.port();
            // It takes back what is not done within its `failover-timeout`, and on a busy machine that happens.
            if !is_named && asked.is_none_or(|at| at.elapsed() > GIVEN_UP) {
                let _ = self.sentinel.try_cli(&["SENTINEL", "FAILOVER", Self::NAME]);
                asked = Some(Instant::now());
            }
            is_named && is_master(new)
        })
        .await;
        until("the old master follows", || is_in_step(old, new)).await;
        until("the sentinel knows the replica", || self.knows_a_replica()).await;
    }

    /// Kills the master with `kill -9` and waits until the sentinel has made the replica master, some seconds.
    pub async fn kill_master(&mut self) {
        let new = self.replica().port();
        self.master_mut().kill9();
        until("the replica is master", || self.master().port() == new && is_master(self.master())).await;
    }

    /// Starts the server again that [`Self::kill_master`] has killed, and waits until it is the replica.
    pub async fn revive(&mut self) {
        let dead = 1 - self.master_index();
        self.servers[dead].restart();
        let mut asked: Option<Instant> = None;
        until("the old master follows", || {
            // On a busy machine the sentinel may change its mind meanwhile, and tell both something else.
            let index = self.master_index();
            let (old, new) = (&self.servers[1 - index], &self.servers[index]);
            let follows = is_in_step(old, new);
            if !follows && asked.is_none_or(|at| at.elapsed() > GIVEN_UP) {
                let _ = old.try_cli(&["REPLICAOF", "127.0.0.1", &new.port().to_string()]);
                asked = Some(Instant::now());
            }
            follows
        })
        .await;
    }

    fn master_index(&self) -> usize {
        let address = self.sentinel.cli(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", Self::NAME]);
        let port = address.lines().nth(1).unwrap_or_default();
        let index = self.servers.iter().position(|server| server.port().to_string() == port);
        index.unwrap_or_else(|| panic!("the sentinel names a stranger: {address}"))
    }

    /// And that it could become master.
    fn knows_a_replica(&self) -> bool {
        let replicas = self.sentinel.cli(&["SENTINEL", "REPLICAS", Self::NAME]);
        let fields: Vec<_> = replicas.lines().collect();
        let is = |field: &str, value: &str| fields.chunks(2).any(|pair| pair == [field, value]);
        is("flags", "slave") && is("master-link-status", "ok")
    }
}

/// A node of a cluster, which copies to its replica at once.
fn node() -> RedisServer {
    let lines = [
        "cluster-enabled yes",
        "cluster-node-timeout 5000",
        "repl-diskless-sync-delay 0",
        "repl-ping-replica-period 1",
    ];
    lines.into_iter().fold(RedisServer::builder(), super::RedisServerBuilder::line).start()
}

/// Whether `replica` has all that `master` was told until now.
fn is_in_step(replica: &RedisServer, master: &RedisServer) -> bool {
    // A server that is made a replica cuts its clients' connections.
    let info = |server: &RedisServer| server.try_cli(&["INFO", "replication"]).unwrap_or_default();
    let field = |server: &RedisServer, name: &str| {
        let info = info(server);
        info.lines().find_map(|line| line.strip_prefix(name)?.trim_end().parse::<u64>().ok())
    };
    let told = field(master, "master_repl_offset:");
    let is_linked = info(replica).contains("master_link_status:up");
    told.is_some() && is_linked && field(replica, "slave_repl_offset:") >= told
}

fn is_master(server: &RedisServer) -> bool {
    server.try_cli(&["ROLE"]).is_ok_and(|role| role.starts_with("master"))
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + AGREE;
    while !is_so() {
        assert!(Instant::now() < end, "not within {AGREE:?}: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
