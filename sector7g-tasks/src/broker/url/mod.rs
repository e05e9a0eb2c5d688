//! What a broker's URL may be, and how it is shown.

/// What is wrong with a broker's URL. Shows nothing of it that may be secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Nothing before a `://`.
    #[error("the broker's URL has no scheme: write redis://, rediss:// or unix:// before it")]
    NoScheme,
    /// Another scheme than those of Redis.
    #[error("the broker's URL has the unknown scheme `{0}://`; allowed are redis://, rediss:// and unix://")]
    Scheme(String),
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

/// Looks whether `url` can name a Redis, and returns it as messages may show it.
pub(crate) fn check_url(url: &str) -> Result<String, UrlError> {
    let (scheme, rest) = split_scheme(url).ok_or(UrlError::NoScheme)?;
    let shown = redacted(url);
    let rest = after_secrets(rest);
    let (rest, _) = rest.split_once(['?', '#']).unwrap_or((rest, ""));
    match &*scheme.to_ascii_lowercase() {
        "redis" | "rediss" => check_address(rest, &shown)?,
        "unix" if rest.trim_start_matches('/').is_empty() => return Err(UrlError::NoSocket(shown)),
        "unix" => {}
        _ => return Err(UrlError::Scheme(scheme.to_owned())),
    }
    Ok(shown)
}

/// `host`, `host:port` or `host:port/database`; the host may be missing, as in arq, or an IPv6 address in brackets.
fn check_address(address: &str, shown: &str) -> Result<(), UrlError> {
    let (host, database) = address.split_once('/').unwrap_or((address, ""));
    let after_v6 = host.rsplit_once(']').map_or(host, |(_, port)| port);
    let port = after_v6.rsplit_once(':').map_or("", |(_, port)| port);
    let is_number = |text: &str, max: u32| text.is_empty() || text.parse::<u32>().is_ok_and(|number| number <= max);
    if !is_number(port, u16::MAX.into()) || port == "0" {
        return Err(UrlError::Port(shown.to_owned()));
    }
    let database = database.trim_end_matches('/');
    if is_number(database, u32::MAX) { Ok(()) } else { Err(UrlError::Database(shown.to_owned())) }
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
