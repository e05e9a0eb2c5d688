//! A Redis of one measurement, or a cluster of three: alone, empty, without persistence.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::Connection;
use tempfile::TempDir;

use super::Broken;

/// How long it may take to answer.
const START: Duration = Duration::from_secs(10);

/// Someone else may take a port between its choice and its use.
const TRIES: usize = 5;

/// A running server; dropped, it is ended.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    port: u16,
    _folder: TempDir,
}

/// What a server says of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Info {
    /// CPU since its start, in seconds.
    pub(super) cpu: f64,
    /// Memory in use, in bytes.
    pub(super) memory: f64,
}

/// What a measurement runs on: one server, or the nodes of a cluster.
#[derive(Debug)]
pub(super) struct Site(Vec<Server>);

/// The nodes of a cluster.
const NODES: u16 = 3;

/// Of a cluster.
const SLOTS: u16 = 16_384;

impl Site {
    /// One server.
    ///
    /// # Errors
    /// [`Broken`] when it does not start.
    pub(super) fn one() -> Result<Self, Broken> {
        Ok(Self(vec![Server::start(false)?]))
    }

    /// A cluster of three masters, each with a third of the slots.
    ///
    /// # Errors
    /// [`Broken`] when it does not start.
    pub(super) fn cluster() -> Result<Self, Broken> {
        let nodes = (0..NODES).map(|_| Server::start(true)).collect::<Result<Vec<_>, _>>()?;
        for (index, node) in (0..).zip(&nodes) {
            let slots = |index: u16| SLOTS / NODES * index + if index == NODES { SLOTS % NODES } else { 0 };
            let mut connection = node.connect()?;
            redis::cmd("CLUSTER").arg("SET-CONFIG-EPOCH").arg(index + 1).exec(&mut connection)?;
            let mut command = redis::cmd("CLUSTER");
            command.arg("ADDSLOTS").arg((slots(index)..slots(index + 1)).collect::<Vec<_>>()).exec(&mut connection)?;
            redis::cmd("CLUSTER").arg("MEET").arg("127.0.0.1").arg(nodes[0].port).exec(&mut connection)?;
        }
        let deadline = Instant::now() + START;
        for node in &nodes {
            let mut connection = node.connect()?;
            loop {
                let info: String = redis::cmd("CLUSTER").arg("INFO").query(&mut connection)?;
                if info.contains("cluster_state:ok") && info.contains(&format!("cluster_known_nodes:{NODES}")) {
                    break;
                }
                if Instant::now() > deadline {
                    return Err(Broken::new(format!("the cluster did not come together within {START:?}")));
                }
                crate::side::rest(Duration::from_millis(50));
            }
        }
        Ok(Self(nodes))
    }

    /// Where it is.
    #[must_use]
    pub(super) fn url(&self) -> String {
        match &*self.0 {
            [one] => one.url(),
            nodes => {
                let places: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
                format!("redis+cluster://{}", places.join(","))
            }
        }
    }

    /// What its servers say of themselves now, together.
    ///
    /// # Errors
    /// [`Broken`] when one does not answer.
    pub(super) fn info(&self) -> Result<Info, Broken> {
        let mut sum = Info { cpu: 0.0, memory: 0.0 };
        for node in &self.0 {
            let info = node.info()?;
            sum = Info { cpu: sum.cpu + info.cpu, memory: sum.memory + info.memory };
        }
        Ok(sum)
    }
}

impl Server {
    /// Starts one on a free port of the loopback.
    ///
    /// # Errors
    /// [`Broken`] when it does not start.
    pub(super) fn start(is_node: bool) -> Result<Self, Broken> {
        let mut last = Broken::new("redis-server was not tried");
        for _ in 0..TRIES {
            match Self::try_start(is_node) {
                Ok(server) => return Ok(server),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn try_start(is_node: bool) -> Result<Self, Broken> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let folder = tempfile::tempdir()?;
        let program = std::env::var_os("SECTOR7G_REDIS_SERVER").unwrap_or_else(|| "redis-server".into());
        let mut command = Command::new(&program);
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"]).arg(port.to_string());
        command.args(["--cluster-enabled", if is_node { "yes" } else { "no" }]);
        command.arg("--dir").arg(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(|error| {
            let advice = "; `cargo xtask needs` installs redis-server, or set SECTOR7G_REDIS_SERVER to where it is";
            let advice = if error.kind() == std::io::ErrorKind::NotFound { advice } else { "" };
            Broken::new(format!("can't start {}: {error}{advice}", program.display()))
        })?;
        let mut server = Self { child, port, _folder: folder };
        let deadline = Instant::now() + START;
        while server.connect().is_err() {
            if server.child.try_wait()?.is_some() {
                return Err(Broken::new(format!("redis-server on port {port} ended at once")));
            }
            if Instant::now() > deadline {
                return Err(Broken::new(format!("redis-server on port {port} did not answer within {START:?}")));
            }
            crate::side::rest(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Where it is.
    #[must_use]
    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A connection to it.
    ///
    /// # Errors
    /// [`Broken`] when it does not answer.
    pub(super) fn connect(&self) -> Result<Connection, Broken> {
        Ok(redis::Client::open(self.url())?.get_connection()?)
    }

    /// What it says of itself now.
    ///
    /// # Errors
    /// [`Broken`] when it does not answer.
    pub(super) fn info(&self) -> Result<Info, Broken> {
        let text: String = redis::cmd("INFO").arg("everything").query(&mut self.connect()?)?;
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|value| value.trim().parse::<f64>().ok()).unwrap_or_default()
        };
        Ok(Info { cpu: number("used_cpu_user") + number("used_cpu_sys"), memory: number("used_memory") })
    }

    /// Its version.
    ///
    /// # Errors
    /// [`Broken`] when it does not answer.
    pub(super) fn version(&self) -> Result<String, Broken> {
        let text: String = redis::cmd("INFO").arg("server").query(&mut self.connect()?)?;
        let version = text.lines().find_map(|line| line.strip_prefix("redis_version:"));
        Ok(version.unwrap_or("unknown").trim().to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it has nothing to save
        let _ = self.child.wait();
    }
}
