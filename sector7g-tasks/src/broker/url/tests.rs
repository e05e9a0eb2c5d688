use super::*;

#[test]
fn urls_that_are_understood() {
    let check = |url: &str, shown: &str| assert_eq!(check_url(url), Ok(shown.to_owned()), "{url}");
    check("redis://", "redis://"); // arq: this machine
    check("redis://plant", "redis://plant");
    check("REDISS://plant:6380/3", "REDISS://plant:6380/3");
    check("redis://plant/", "redis://plant/");
    check("redis://[::1]:6379/0", "redis://[::1]:6379/0");
    check("redis://[::1]", "redis://[::1]");
    check("redis://smithers:doughnut@plant:6379", "redis://***@plant:6379");
    check("unix:///run/redis.sock?db=2", "unix:///run/redis.sock?***");
}

#[test]
fn urls_that_are_refused() {
    let check = |url: &str, expected: UrlError| assert_eq!(check_url(url), Err(expected), "{url}");
    check("", UrlError::NoScheme);
    check("plant:6379", UrlError::NoScheme);
    check("dough nut@plant://", UrlError::NoScheme); // not a scheme, so perhaps a password
    check("nonsense://", UrlError::Scheme("nonsense".to_owned()));
    check("http://smithers:doughnut@plant", UrlError::Scheme("http".to_owned()));
    check("redis://plant:0", UrlError::Port("redis://plant:0".to_owned()));
    check("redis://plant:65536", UrlError::Port("redis://plant:65536".to_owned()));
    check("redis://:doughnut@plant:x", UrlError::Port("redis://***@plant:x".to_owned()));
    check("redis://plant/two", UrlError::Database("redis://plant/two".to_owned()));
    check("unix://", UrlError::NoSocket("unix://".to_owned()));
    check("unix://?db=1", UrlError::NoSocket("unix://?***".to_owned()));
}

#[test]
fn no_message_shows_a_password() {
    let secret = "dough/n?u#t@x";
    for url in [
        format!("redis://:{secret}@plant:6379"),
        format!("redis://smithers:{secret}@plant"),
        format!("redis://:{secret}@plant:port"),
        format!("redis://:{secret}@plant/nine"),
        format!("redis://plant?password={secret}"),
        format!("unix://:{secret}@"),
        format!("nonsense://:{secret}@plant"),
        format!(":{secret}@plant"),
        format!("redis:{secret}@plant"),
        format!("{secret}://plant"),
    ] {
        let error = check_url(&url).map_or_else(|error| error.to_string(), |shown| shown);
        let shown = redacted(&url);
        for part in ["dough", "n?u", "u#t"] {
            assert!(!error.contains(part), "{url}: {error}");
            assert!(!url.contains("://") || !shown.contains(part), "{url}: {shown}");
        }
    }
}

#[test]
fn the_name_of_a_worker_is_shown_as_it_is() {
    assert_eq!(redacted("homer"), "homer");
    assert_eq!(redacted("h@mer?"), "h@mer?");
}
