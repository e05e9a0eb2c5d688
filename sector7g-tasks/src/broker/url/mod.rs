//! What a broker's URL may be, and how it is shown.

#![cfg_attr(not(feature = "sentinel"), allow(dead_code, reason = "some of it only some features need"))]

/// What is wrong with a broker's URL. Shows nothing of it that may be secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Nothing before a `://`.
    #[error("the broker's URL has no scheme: write redis://, rediss:// or unix:// before it")]
    NoScheme,
    /// Another scheme than those of Redis.
    #[error(
        "the broker's URL has the unknown scheme `{0}://`; allowed are redis://, rediss:// and unix://, \
         redis+sentinel:// and redis+cluster://"
    )]
    Scheme(String),
    /// Sentinels, but not whom to ask them for.
    #[error("the broker's URL `{0}` names no master: write redis+sentinel://host:port,host:port/master")]
    NoMaster(String),
    /// A port that is none.
    #[error("the port of the broker's URL `{0}` is not a number from 1 to 65535")]
    Port(String),
    /// A database that is none.
    #[error("the database of the broker's URL `{0}` is not a number")]
    Database(String),
    /// A socket without a path.
    #[error("the broker's URL `{0}` names no socket: write unix:///path/to/redis.sock")]
    NoSocket(String),
    /// The program can't speak to it.
    #[error("the broker's URL `{0}` can't be used: {1}")]
    Unusable(String, String),
}

/// What kind of Redis a URL names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// `redis://` and `rediss://`.
    Server,
    /// `unix://`.
    Socket,
    /// `redis+sentinel://host:port,host:port/master/database`.
    Sentinel,
    /// `redis+cluster://host:port,host:port` and `rediss+cluster://`.
    Cluster,
}

/// A broker's URL, taken apart. It holds secrets, and shows none.
pub(crate) struct Address {
    pub(crate) scheme: Scheme,
    /// As messages may show it.
    pub(crate) shown: String,
    /// What the sentinels call the master.
    pub(crate) master: String,
    urls: Vec<String>,
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self, UrlError> {
        let (name, rest) = split_scheme(url).ok_or(UrlError::NoScheme)?;
        let shown = redacted(url);
        let address = after_secrets(rest);
        let secrets = &rest[..rest.len() - address.len()];
        let (place, query) = address.split_once(['?', '#']).unwrap_or((address, ""));
        let (hosts, path) = place.split_once('/').unwrap_or((place, ""));
        let lower = name.to_ascii_lowercase();
        let tls = if lower.starts_with("rediss") { "s" } else { "" };
        let of_hosts = |port: &str, database: &str| {
            let hosts = hosts.split(',').map(|host| with_port(host, port));
            hosts.map(|host| format!("redis{tls}://{secrets}{host}/{database}")).collect()
        };
        let (scheme, master, database, urls): (_, _, _, Vec<String>) = match &*lower {
            "redis" | "rediss" => {
                let tail = if query.is_empty() { String::new() } else { format!("?{query}") };
                let host = with_port(hosts, "6379");
                (Scheme::Server, "", path, vec![format!("redis{tls}://{secrets}{host}/{path}{tail}")])
            }
            "unix" | "redis+unix" if place.trim_start_matches('/').is_empty() => return Err(UrlError::NoSocket(shown)),
            "unix" | "redis+unix" => (Scheme::Socket, "", "", vec![url.to_owned()]),
            "redis+sentinel" => {
                let (master, database) = path.split_once('/').unwrap_or((path, ""));
                if master.is_empty() {
                    return Err(UrlError::NoMaster(shown));
                }
                (Scheme::Sentinel, master, database, of_hosts("26379", database))
            }
            "redis+cluster" | "rediss+cluster" => (Scheme::Cluster, "", path, of_hosts("6379", "")),
            _ => return Err(UrlError::Scheme(name.to_owned())),
        };
        if scheme != Scheme::Socket {
            hosts.split(',').try_for_each(|host| check_port(host, &shown))?;
        }
        let database = database.trim_end_matches('/');
        if !is_number(database, u32::MAX) || (scheme == Scheme::Cluster && !database.is_empty()) {
            return Err(UrlError::Database(shown));
        }
        if let Some(feature) = scheme.missing_feature() {
            let missing = format!("this program was built without the feature `{feature}` of sector7g-tasks");
            return Err(UrlError::Unusable(shown, missing));
        }
        Ok(Self { scheme, shown, master: master.to_owned(), urls })
    }

    /// A URL for each server that is named.
    #[cfg(feature = "redis")]
    pub(crate) fn server_urls(&self) -> &[String] {
        &self.urls
    }
}

impl Scheme {
    fn missing_feature(self) -> Option<&'static str> {
        match self {
            _ if !cfg!(feature = "redis") => Some("redis"),
            Self::Sentinel if !cfg!(feature = "sentinel") => Some("sentinel"),
            Self::Cluster if !cfg!(feature = "cluster") => Some("cluster"),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Address").field("shown", &self.shown).finish_non_exhaustive()
    }
}

/// The port is the default one, and the host this machine, where they are missing, as in arq.
fn with_port(host: &str, default: &str) -> String {
    let (name, port) = split_port(host);
    let name = if name.is_empty() { "127.0.0.1" } else { name };
    format!("{name}:{}", if port.is_empty() { default } else { port })
}

/// An IPv6 address stands in brackets.
fn split_port(host: &str) -> (&str, &str) {
    let start = host.rfind(']').map_or(0, |end| end + 1);
    match host[start..].rfind(':') {
        Some(colon) => (&host[..start + colon], &host[start + colon + 1..]),
        None => (host, ""),
    }
}

fn check_port(host: &str, shown: &str) -> Result<(), UrlError> {
    let (_, port) = split_port(host);
    if is_number(port, u16::MAX.into()) && port != "0" { Ok(()) } else { Err(UrlError::Port(shown.to_owned())) }
}

fn is_number(text: &str, most: u32) -> bool {
    text.is_empty() || text.parse::<u32>().is_ok_and(|number| number <= most)
}

/// The scheme, if it is one: else it may be part of a password.
fn split_scheme(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let is_name = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    (scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && is_name(scheme)).then_some((scheme, rest))
}

/// What follows user and password. The last `@` ends them, as a password may hold any character unescaped.
fn after_secrets(rest: &str) -> &str {
    rest.rsplit_once('@').map_or(rest, |(_, address)| address)
}

/// A URL as messages may show it: without user, password and the values after a `?`; other text as it is.
pub(crate) fn redacted(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let scheme = split_scheme(text).map_or("***", |_| scheme);
    let secret = if rest.contains('@') { "***@" } else { "" };
    match after_secrets(rest).split_once(['?', '#']) {
        Some((address, _)) => format!("{scheme}://{secret}{address}?***"),
        None => format!("{scheme}://{secret}{}", after_secrets(rest)),
    }
}

#[cfg(test)]
mod tests;
