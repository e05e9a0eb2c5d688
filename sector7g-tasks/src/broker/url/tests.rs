use super::*;

#[test]
fn urls_that_are_understood() {
    let check = |url: &str, shown: &str| assert_eq!(Address::parse(url).unwrap().shown, shown, "{url}");
    check("redis://", "redis://"); // arq: this machine
    check("redis://plant", "redis://plant");
    check("REDISS://plant:6380/3", "REDISS://plant:6380/3");
    check("redis://plant/", "redis://plant/");
    check("redis://[::1]:6379/0", "redis://[::1]:6379/0");
    check("redis://[::1]", "redis://[::1]");
    check("redis://smithers:doughnut@plant:6379", "redis://***@plant:6379");
    check("unix:///run/redis.sock?db=2", "unix:///run/redis.sock?***");
}

#[cfg(all(feature = "sentinel", feature = "cluster"))]
#[test]
fn what_is_missing_in_a_url_is_the_default() {
    let check = |url: &str, urls: &[&str]| assert_eq!(Address::parse(url).unwrap().server_urls(), urls, "{url}");
    check("redis://", &["redis://127.0.0.1:6379/"]);
    check(
        "rediss://smithers:doughnut@plant/2?protocol=resp3",
        &["rediss://smithers:doughnut@plant:6379/2?protocol=resp3"],
    );
    check("redis://[::1]/1", &["redis://[::1]:6379/1"]);
    check(
        "redis+sentinel://:doughnut@a,b:26380/plant/3",
        &["redis://:doughnut@a:26379/3", "redis://:doughnut@b:26380/3"],
    );
    check("rediss+cluster://a:7000,b:7001", &["rediss://a:7000/", "rediss://b:7001/"]);
    assert_eq!(Address::parse("redis+sentinel://a/plant").unwrap().master, "plant");
    let sentinels = |url: &str| Address::parse(url).unwrap().sentinel_urls().to_vec();
    assert_eq!(
        sentinels("redis+sentinel://:doughnut@a,b:26380/plant/3"),
        ["redis://a:26379/", "redis://b:26380/"],
        "they have no database, and ask for no password"
    );
    assert_eq!(
        sentinels("rediss+sentinel://a/plant?sentinel_username=bart&sentinel_password=d%40o:h/%2F"),
        ["rediss://bart:d%40o%3Ah%2F%2F@a:26379/"]
    );
}

#[test]
fn urls_that_are_refused() {
    let check = |url: &str, expected: UrlError| assert_eq!(Address::parse(url).unwrap_err(), expected, "{url}");
    check("", UrlError::NoScheme);
    check("plant:6379", UrlError::NoScheme);
    check("dough nut@plant://", UrlError::NoScheme); // not a scheme, so perhaps a password
    check("nonsense://", UrlError::Scheme("nonsense".to_owned()));
    check("http://smithers:doughnut@plant", UrlError::Scheme("http".to_owned()));
    check("redis://plant:0", UrlError::Port("redis://plant:0".to_owned()));
    check("redis://plant:65536", UrlError::Port("redis://plant:65536".to_owned()));
    check("redis://:doughnut@plant:x", UrlError::Port("redis://***@plant:x".to_owned()));
    check("redis://plant/two", UrlError::Database("redis://plant/two".to_owned()));
    check("redis+sentinel://plant:26379", UrlError::NoMaster("redis+sentinel://plant:26379".to_owned()));
    check("redis+cluster://a,b:x", UrlError::Port("redis+cluster://a,b:x".to_owned()));
    check("redis+cluster://a/1", UrlError::Database("redis+cluster://a/1".to_owned()));
    let unknown = "it has a parameter other than `sentinel_username` and `sentinel_password`".to_owned();
    let url = "redis+sentinel://a/plant?password=doughnut";
    check(url, UrlError::Unusable("redis+sentinel://a/plant?***".to_owned(), unknown));
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
        let error = Address::parse(&url).map_or_else(|error| error.to_string(), |address| format!("{address:?}"));
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

proptest::proptest! {
    #![proptest_config(crate::cases::cases(500))]

    /// Whatever the text, it is an address or a short error, and neither shows what stands where a password does.
    #[test]
    fn no_text_panics_or_tells_a_secret(
        scheme in "(redis|rediss|unix|redis\\+sentinel|redis\\+cluster|nonsense|)",
        user in "[a-z:@/?#%\\[\\]é]{0,8}", rest in "[a-z0-9,.:/?#%@&=\\[\\]é]{0,30}", any in proptest::prelude::any::<String>(),
    ) {
        const SECRET: &str = "d0ughnut";
        for url in [format!("{scheme}://{user}:{SECRET}@{rest}"), format!("{scheme}://{rest}?password={SECRET}")] {
            let said = match Address::parse(&url) {
                Ok(address) => format!("{address:?} {}", address.shown),
                Err(error) => format!("{error} {error:?}"),
            };
            proptest::prop_assert!(!said.contains(SECRET), "{url}: {said}");
            proptest::prop_assert!(!redacted(&url).contains(SECRET), "{url}: {}", redacted(&url));
        }
        for url in [any.clone(), format!("{scheme}://{any}")] {
            if let Err(error) = Address::parse(&url) {
                proptest::prop_assert!(error.to_string().len() < 1_000 + url.len());
            }
            let _ = redacted(&url);
        }
    }
}
