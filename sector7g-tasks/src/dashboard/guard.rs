//! What holds for each page: headers, bounds on time and size, and whether a change was asked for by a page of ours.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;
use tokio::time::timeout;

use super::{Fault, PATIENCE};

const COOKIE: &str = "sector7g_csrf";

/// The most bytes of a form: a page's 50 ids of 512 bytes fit, whatever is in them.
const MAX_FORM: usize = 128 * 1024;

const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // With `no-referrer`, browsers send `Origin: null` with our own forms; where there is no TLS, they don't send
    // `Sec-Fetch-Site` either. So this one, that tells other sites as little.
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];

/// What others may not guess. It can be compared in one way only, [`Secret::is`]: it has no `PartialEq`.
#[derive(Clone)]
pub(super) struct Secret(String);

impl Secret {
    pub(super) fn of(text: String) -> Self {
        Self(text)
    }

    /// 256 random bits.
    pub(super) fn random() -> Self {
        use std::fmt::Write as _;
        Self(rand::random::<[u8; 32]>().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        }))
    }

    /// Takes as long for a wrong one as for the right one.
    pub(super) fn is(&self, told: &str) -> bool {
        same(self.0.as_bytes(), told.as_bytes())
    }

    /// For whom it is meant.
    pub(super) fn shown(&self) -> &str {
        &self.0
    }
}

/// The comparison of all secrets: what it is given to compare with decides how, and tests give what counts.
fn same<T: ConstantTimeEq + ?Sized>(secret: &T, told: &T) -> bool {
    secret.ct_eq(told).into()
}

/// What a form has to repeat: the value of a cookie that other sites neither see nor send.
#[derive(Clone)]
pub(super) struct Csrf(Secret);

impl Csrf {
    pub(super) fn admits(&self, told: Option<&str>) -> bool {
        told.is_some_and(|told| self.0.is(told))
    }

    /// For the page that has the form.
    pub(super) fn shown(&self) -> &str {
        self.0.shown()
    }
}

/// Lets all requests to `pages` through what holds for each.
pub(super) fn around<S: Clone + Send + Sync + 'static>(pages: Router<S>) -> Router<S> {
    pages.layer(from_fn(guard)).layer(DefaultBodyLimit::max(MAX_FORM))
}

async fn guard(mut request: Request, next: Next) -> Response {
    let is_value = |value: &&str| value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    let known = cookie(request.headers(), COOKIE).filter(is_value).map(str::to_owned);
    let is_new = known.is_none();
    let csrf = known.map_or_else(Secret::random, Secret::of);
    let new_cookie = is_new.then(|| set_cookie(COOKIE, csrf.shown(), request.headers()));
    request.extensions_mut().insert(Csrf(csrf));
    let late = || {
        let text = "the broker did not answer in time; what was asked for may have been done all the same";
        Fault::new(StatusCode::SERVICE_UNAVAILABLE, text).into_response()
    };
    let mut response = timeout(PATIENCE, next.run(request)).await.unwrap_or_else(|_| late());
    armour(response.headers_mut());
    let is_page =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    response.headers_mut().extend(new_cookie.flatten().filter(|_| is_page).map(|value| (header::SET_COOKIE, value)));
    response
}

/// Adds what is missing of the headers that each answer has.
pub(super) fn armour(headers: &mut HeaderMap) {
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// A cookie that the browser forgets when it is closed, that no script reads and no other site sends.
pub(super) fn set_cookie(name: &str, value: &str, asked: &HeaderMap) -> Option<HeaderValue> {
    // Whoever lies about this harms only himself.
    let is_https = asked.get("x-forwarded-proto").is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"));
    let secure = if is_https { "; Secure" } else { "" };
    HeaderValue::from_str(&format!("{name}={value}; HttpOnly; SameSite=Strict{secure}")).ok()
}

/// Has a browser forget a cookie.
pub(super) fn end_cookie(name: &str, asked: &HeaderMap) -> Option<HeaderValue> {
    let value = set_cookie(name, "", asked)?;
    HeaderValue::from_str(&format!("{}; Max-Age=0", value.to_str().ok()?)).ok()
}

pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let texts = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    texts
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(known, value)| (known == name).then_some(value))
}

/// The host that a request names, with its port.
pub(super) fn host<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> &'a str {
    let told = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    told.or_else(|| uri.authority().map(axum::http::uri::Authority::as_str)).unwrap_or("") // HTTP/2 has the latter
}

/// Refuses a change that a browser says comes from elsewhere.
pub(super) fn is_ours(headers: &HeaderMap, uri: &Uri) -> Result<(), Fault> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let is_ours = match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => {
            let host = host(headers, uri);
            origin.split_once("://").is_some_and(|(_, place)| !host.is_empty() && place.eq_ignore_ascii_case(host))
        }
        (None, None) => true, // no browser of today; the token decides
    };
    if is_ours {
        Ok(())
    } else {
        Err(Fault::new(StatusCode::FORBIDDEN, "the request comes from another site; nothing was changed"))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use subtle::Choice;

    use super::*;

    /// What can be compared in constant time and in no other way.
    struct Counted(u8, Cell<u32>);

    impl ConstantTimeEq for Counted {
        fn ct_eq(&self, other: &Self) -> Choice {
            self.1.set(self.1.get() + 1);
            self.0.ct_eq(&other.0)
        }
    }

    #[test]
    fn secrets_are_compared_in_constant_time() {
        let (secret, right, wrong) =
            (Counted(7, Cell::default()), Counted(7, Cell::default()), Counted(8, Cell::default()));
        assert!(same(&secret, &right) && !same(&secret, &wrong));
        assert_eq!(secret.1.get(), 2, "each time by its crate");
        let secret = Secret::of("donuts".to_owned());
        for (told, is_it) in [("donuts", true), ("donutz", false), ("donut", false), ("donuts ", false), ("", false)] {
            assert_eq!(secret.is(told), is_it, "{told}");
        }
    }

    /// Does not compile once a secret has an `==`, which would end at the first difference.
    #[test]
    fn secrets_have_no_other_comparison() {
        trait OfEach<Which> {
            fn there() {}
        }
        impl<T> OfEach<()> for T {}
        impl<T: PartialEq> OfEach<u8> for T {}
        <Secret as OfEach<_>>::there();
        <Csrf as OfEach<_>>::there();
    }
}
