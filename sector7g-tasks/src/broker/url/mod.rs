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
        "the broker's URL has the unknown scheme `{0}://`; allowed are redis://, unix://, redis+sentinel://, \
         redis+cluster://, and encrypted rediss://, rediss+sentinel://, rediss+cluster://"
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
    /// `redis+sentinel://host:port,host:port/master/database` and `rediss+sentinel://`.
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
    sentinels: Vec<String>,
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
        let of_hosts = |port: &str, secrets: &str, database: &str| -> Vec<String> {
            let hosts = hosts.split(',').map(|host| with_port(host, port));
            hosts.map(|host| format!("redis{tls}://{secrets}{host}/{database}")).collect()
        };
        let mut sentinels = Vec::new();
        let (scheme, master, database, urls): (_, _, _, Vec<String>) = match &*lower {
            "redis" | "rediss" => {
                let tail = if query.is_empty() { String::new() } else { format!("?{query}") };
                let host = with_port(hosts, "6379");
                (Scheme::Server, "", path, vec![format!("redis{tls}://{secrets}{host}/{path}{tail}")])
            }
            "unix" | "redis+unix" if place.trim_start_matches('/').is_empty() => return Err(UrlError::NoSocket(shown)),
            "unix" | "redis+unix" => (Scheme::Socket, "", "", vec![url.to_owned()]),
            "redis+sentinel" | "rediss+sentinel" => {
                let (master, database) = path.split_once('/').unwrap_or((path, ""));
                if master.is_empty() {
                    return Err(UrlError::NoMaster(shown));
                }
                sentinels = of_hosts("26379", &sentinel_secrets(query, &shown)?, "");
                (Scheme::Sentinel, master, database, of_hosts("26379", secrets, database))
            }
            "redis+cluster" | "rediss+cluster" => (Scheme::Cluster, "", path, of_hosts("6379", secrets, "")),
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
        Ok(Self { scheme, shown, master: master.to_owned(), urls, sentinels })
    }

    /// A URL for each server that is named; with sentinels, their places with user, password and database of the master.
    #[cfg(feature = "redis")]
    pub(crate) fn server_urls(&self) -> &[String] {
        &self.urls
    }

    /// A URL for each sentinel, with its own user and password.
    #[cfg(feature = "sentinel")]
    pub(crate) fn sentinel_urls(&self) -> &[String] {
        &self.sentinels
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

/// How the sentinels are to be asked: as `?sentinel_username=..&sentinel_password=..` say, which go-redis has, too.
/// Both as they stand before an `@`, which must be escaped: the last one ends the master's user and password.
fn sentinel_secrets(query: &str, shown: &str) -> Result<String, UrlError> {
    let (mut user, mut password) = (String::new(), String::new());
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let place = match parameter.split_once('=') {
            Some(("sentinel_username", _)) => &mut user,
            Some(("sentinel_password", _)) => &mut password,
            _ => {
                let known = "it has a parameter other than `sentinel_username` and `sentinel_password`";
                return Err(UrlError::Unusable(shown.to_owned(), known.to_owned()));
            }
        };
        let value = parameter.split_once('=').map_or("", |(_, value)| value);
        *place = value.replace(':', "%3A").replace('/', "%2F").replace('?', "%3F").replace('#', "%23");
    }
    Ok(if user.is_empty() && password.is_empty() { String::new() } else { format!("{user}:{password}@") })
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
