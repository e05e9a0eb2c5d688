//! The options of a server.

use std::fmt::Write as _;
use std::fs;

use tempfile::TempDir;

use super::tls::{self, Certificate};
use super::{RedisServer, SENTINEL, SUPPORT};
use crate::ports;

/// How often to try other ports when those that were free have been taken meanwhile.
const TRIES: usize = 20;

/// Whom the server lets in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    pub(crate) password: Option<String>,
    users: Vec<String>,
}

impl Access {
    /// Whether tests must say who they are.
    pub(crate) fn is_restricted(&self) -> bool {
        self.password.is_some() || !self.users.is_empty()
    }
}

/// What a [`RedisServer`] is to be like.
#[derive(Debug, Default)]
pub struct RedisServerBuilder {
    lines: Vec<String>,
    access: Access,
    tls: Option<Certificate>,
    sentinel: bool,
}

impl RedisServerBuilder {
    /// A line of `redis.conf`, after all others.
    #[must_use]
    pub fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// Keeps what it is told over [`RedisServer::kill9`] and [`RedisServer::restart`]: each command is on disk before
    /// its answer.
    #[must_use]
    pub fn append_only(self) -> Self {
        self.line("appendonly yes").line("appendfsync always")
    }

    /// Publishes changes of keys: `notify-keyspace-events`, as `"KEA"` or `"Kz"`.
    #[must_use]
    pub fn keyspace_events(self, classes: &str) -> Self {
        self.line(format!("notify-keyspace-events {classes}"))
    }

    /// Allows `DEBUG`, as `DEBUG SLEEP 1` (servers from 7.0 refuse it otherwise).
    #[must_use]
    pub fn debug_command(self) -> Self {
        self.line("enable-debug-command local")
    }

    /// Asks for `password`.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.access.password = Some(password.into());
        self
    }

    /// A user of an ACL, as in `ACL SETUSER`: `user("milhouse", "on >secret ~arq:* +@all")`.
    ///
    /// `user("default", "off")` makes all clients say who they are.
    #[must_use]
    pub fn user(mut self, name: &str, rules: &str) -> Self {
        self.access.users.push(format!("user {name} {rules}"));
        self
    }

    /// Takes encrypted connections, too, on a port of their own: [`RedisServer::tls_url`]. The certificate is for
    /// `localhost` and 127.0.0.1, signed by the authority of [`RedisServer::ca_file`].
    #[must_use]
    pub fn tls(self) -> Self {
        self.tls_with(Certificate::Right)
    }

    /// As [`Self::tls`], with a certificate that should be refused.
    #[must_use]
    pub fn tls_with(mut self, certificate: Certificate) -> Self {
        self.tls = Some(certificate);
        self
    }

    /// Starts `redis-server --sentinel` instead.
    #[must_use]
    pub(crate) fn sentinel(mut self) -> Self {
        self.sentinel = true;
        self
    }

    /// Starts a sentinel instead, with these options, that watches `master` by the name [`RedisSentinel::NAME`]; over an
    /// encrypted connection, if `master` takes those.
    ///
    /// [`RedisSentinel::NAME`]: super::RedisSentinel::NAME
    #[must_use]
    pub fn start_sentinel_of(mut self, master: &RedisServer) -> RedisServer {
        let name = super::RedisSentinel::NAME;
        let port = master.tls_port.unwrap_or(master.port);
        if master.tls_port.is_some() {
            let ca = master.ca_file().display().to_string();
            self = self.line("tls-replication yes").line(format!("tls-ca-cert-file {ca}"));
        }
        self = self.line(format!("sentinel monitor {name} 127.0.0.1 {port} 1"));
        if master.access.is_restricted() {
            self = self.line(format!("sentinel auth-user {name} {SUPPORT}"));
            self = self.line(format!("sentinel auth-pass {name} {SUPPORT}"));
        }
        self.sentinel().start()
    }

    /// Starts the server and waits until it answers, some ten milliseconds.
    #[must_use]
    pub fn start(self) -> RedisServer {
        for _ in 0..TRIES {
            match self.try_start() {
                Ok(server) => return server,
                Err(log) if log.contains("Address already in use") => {}
                Err(log) => panic!("redis-server did not start (see `cargo xtask needs`):\n{log}"),
            }
        }
        panic!("no free port in {TRIES} tries");
    }

    fn try_start(&self) -> Result<RedisServer, String> {
        let folder = tempfile::Builder::new().prefix("s7-redis-").tempdir().expect("the system has temporary files");
        let port = ports::free();
        let tls_port = self.tls.map(|_| ports::free());
        if let Some(certificate) = self.tls {
            tls::write(folder.path(), certificate);
        }
        if self.sentinel {
            fs::write(folder.path().join(SENTINEL), "").expect("the folder is ours");
        }
        fs::write(folder.path().join("redis.conf"), self.configuration(&folder, port, tls_port))
            .expect("the folder is ours");
        RedisServer::try_start(folder, port, tls_port, self.access.clone())
    }

    fn configuration(&self, folder: &TempDir, port: u16, tls_port: Option<u16>) -> String {
        let folder = folder.path().display();
        let mut text = format!(
            "bind 127.0.0.1\nport {port}\nunixsocket {folder}/redis.sock\ndir {folder}\nprotected-mode no\n\
             daemonize no\n"
        );
        if !self.sentinel {
            text += "save \"\"\nappendonly no\n";
        }
        if let Some(port) = tls_port {
            let _ = write!(text, "tls-port {port}\ntls-auth-clients no\n{}", tls::configuration());
        }
        if let Some(password) = &self.access.password {
            let _ = writeln!(text, "requirepass {password}");
        }
        if self.access.is_restricted() {
            let _ = writeln!(text, "user {SUPPORT} on nopass ~* &* +@all");
        }
        for line in self.access.users.iter().chain(&self.lines) {
            let _ = writeln!(text, "{line}");
        }
        text
    }
}
