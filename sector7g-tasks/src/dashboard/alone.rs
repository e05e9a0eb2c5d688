//! The dashboard on a listener of its own: on loopback, or behind a token.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::rejection::FormRejection;
use axum::extract::{ConnectInfo, Extension, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Form, Router};
use maud::html;
use tokio::time::Instant;

use super::guard::{Csrf, Secret, armour, around, cookie, end_cookie, host, is_ours, set_cookie};
use super::params::{Asked, Params, encoded};
use super::tries::{TRY_AGAIN, Tries};
use super::{Dashboard, Fault, draw};

/// The fewest bytes of a token.
const SHORTEST: usize = 16;

/// How long a login holds, and how many do: the oldest goes.
const LOGIN: Duration = Duration::from_hours(12);
const MOST_LOGINS: usize = 64;

/// What has to be told before any page is shown; `Debug` hides it.
#[derive(Clone)]
pub struct Token(Secret);

impl Token {
    /// A token of at least 16 bytes.
    ///
    /// # Errors
    /// [`AloneError::ShortToken`].
    pub fn new(text: impl Into<String>) -> Result<Self, AloneError> {
        let text = text.into();
        if text.len() < SHORTEST { Err(AloneError::ShortToken) } else { Ok(Self(Secret::of(text))) }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

/// Why a dashboard can't stand alone so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AloneError {
    /// Others could reach it, and nothing would ask who they are.
    #[error("a dashboard on {0} could be read by others: give it a token, or listen on 127.0.0.1")]
    Open(SocketAddr),
    /// A proxy would let others reach it, and nothing would ask who they are.
    #[error("a dashboard that is asked for as `{0}` could be read by others: give it a token, too")]
    OpenHost(String),
    /// The token can be guessed.
    #[error("the dashboard's token is too short: give at least {SHORTEST} bytes, such as from `openssl rand -hex 16`")]
    ShortToken,
}

/// A dashboard on a listener of its own, with a login where others can reach it.
///
/// On loopback a request has to come under a loopback name, or one that was [given](Self::host), so that no site that
/// points a name of its own there can read it. With a token, pages are shown after a login with it, which holds for 12
/// hours of one browser session, or until it logs out; after ten wrong tokens at once, one more can be told each 6 s from
/// the same address, which is known where the router is served with axum's `ConnectInfo<SocketAddr>`, as
/// `sector-7g dashboard` does. Behind a proxy all have the proxy's address: let it limit what each may ask of `/login`.
/// There is no TLS: beyond loopback, put a proxy that has it in front.
///
/// ```
/// # use std::sync::Arc;
/// # use sector7g_tasks::broker::MemoryBroker;
/// use sector7g_tasks::dashboard::{Alone, Dashboard, Token};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let dashboard = Dashboard::new(Arc::new(MemoryBroker::new()));
/// let router = Alone::new(dashboard, "0.0.0.0:8090".parse()?).token(Token::new("Mr. Burns' birthday")?).router()?;
/// # drop(router);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Alone {
    dashboard: Dashboard,
    address: SocketAddr,
    token: Option<Token>,
    hosts: Vec<String>,
}

impl Alone {
    /// Pages for a listener at `address`.
    pub fn new(dashboard: Dashboard, address: SocketAddr) -> Self {
        Self { dashboard, address, token: None, hosts: Vec::new() }
    }

    /// Asks for this before any page is shown.
    #[must_use]
    pub fn token(mut self, token: Token) -> Self {
        self.token = Some(token);
        self
    }

    /// A name, without a port, under which requests may come too: that of a proxy in front, which has to pass it on as
    /// `Host`. Beyond loopback any name is taken, unless one is given here.
    #[must_use]
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.hosts.push(name.into());
        self
    }

    /// The pages and their login, to be served at `/` of the listener.
    ///
    /// # Errors
    /// [`AloneError`] when others could read it without a token.
    pub fn router(&self) -> Result<Router, AloneError> {
        if self.token.is_none() {
            if !self.address.ip().is_loopback() {
                return Err(AloneError::Open(self.address));
            }
            if let Some(host) = self.hosts.first() {
                return Err(AloneError::OpenHost(host.clone()));
            }
        }
        let door = Arc::new(Door {
            alone: self.clone(),
            // Cookies are of all ports of a host.
            cookie: format!("sector7g_login_{}", self.address.port()),
            logins: Mutex::default(),
            tries: Mutex::default(),
        });
        let mut ways = Router::new().route("/login", get(ask).post(login));
        let mut dashboard = self.dashboard.clone();
        if self.token.is_some() {
            ways = ways.route("/logout", get(ask_to_leave).post(logout));
            dashboard.logout = true;
        }
        let pages = around(ways.with_state(Arc::clone(&door))).merge(dashboard.router());
        Ok(pages.layer(from_fn_with_state(door, watch)))
    }
}

struct Door {
    alone: Alone,
    cookie: String,
    /// What browsers that logged in show, and when they did: the oldest first.
    logins: Mutex<VecDeque<(Secret, Instant)>>,
    tries: Mutex<Tries>,
}

async fn watch(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let is_open = matches!(request.uri().path(), "/login" | "/dashboard.css" | "/dashboard.js" | "/dashboard.svg");
    let mut response = if !door.expects(host(request.headers(), request.uri())) {
        let text = "this dashboard is not served under that name: `--host` adds one";
        Fault::new(StatusCode::MISDIRECTED_REQUEST, text).into_response()
    } else if is_open || door.alone.token.is_none() || door.knows(request.headers()) {
        return next.run(request).await;
    } else {
        (StatusCode::SEE_OTHER, [(header::LOCATION, to_login(request.uri()))]).into_response()
    };
    armour(response.headers_mut());
    response
}

/// The login's address as seen from the one asked for, which it leads back to.
fn to_login(uri: &Uri) -> String {
    let up = "../".repeat(uri.path().matches('/').count().saturating_sub(1));
    let page = uri.path_and_query().map_or("", |asked| asked.as_str().trim_start_matches('/'));
    if is_page(page) { format!("{up}login?to={}", encoded(page)) } else { format!("{up}login") }
}

/// Whether this is one of the pages, by its relative address: a login leads nowhere else.
fn is_page(place: &str) -> bool {
    let name = place.split('?').next().unwrap_or("");
    let is_tame = place.len() <= 2048 && place.bytes().all(|byte| byte.is_ascii_graphic());
    is_tame && matches!(name, "overview" | "queue" | "dead" | "job" | "workers" | "schedules")
}

impl Door {
    /// Whether requests may come under this name.
    fn expects(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let is_given = self.alone.hosts.iter().any(|given| given.eq_ignore_ascii_case(name));
        let is_local = || {
            let address = name.trim_matches(['[', ']']).parse::<IpAddr>();
            name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|ip| ip.is_loopback())
        };
        let is_any = !self.alone.address.ip().is_loopback() && self.alone.hosts.is_empty();
        is_given || is_any || is_local()
    }

    /// Whether a browser has logged in of late.
    fn knows(&self, headers: &HeaderMap) -> bool {
        let Some(told) = cookie(headers, &self.cookie) else { return false };
        let logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        logins.iter().any(|(login, at)| login.is(told) && at.elapsed() < LOGIN)
    }

    fn let_in(&self) -> String {
        let login = Secret::random();
        let shown = login.shown().to_owned();
        let mut logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        if logins.len() == MOST_LOGINS {
            logins.pop_front();
        }
        logins.push_back((login, Instant::now()));
        shown
    }

    /// Forgets the login of a browser: who has copied its cookie has nothing.
    fn let_out(&self, headers: &HeaderMap) {
        let Some(told) = cookie(headers, &self.cookie) else { return };
        self.logins.lock().unwrap_or_else(PoisonError::into_inner).retain(|(login, _)| !login.is(told));
    }

    /// Whether the token is right; an error when nobody of that address may ask for now.
    fn admits(&self, told: &str, address: Option<IpAddr>) -> Result<bool, ()> {
        let now = Instant::now();
        // One is taken first, so that many at once are not more.
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        if !tries.take(address, now) {
            return Err(());
        }
        let is_right = self.alone.token.as_ref().is_some_and(|token| token.0.is(told));
        if is_right {
            tries.give_back(address, now);
        }
        Ok(is_right)
    }
}

async fn ask(asked: Asked) -> Result<Response, Fault> {
    let params = Params::of(asked)?;
    Ok(form(StatusCode::OK, None, params.text("to")))
}

fn form(status: StatusCode, trouble: Option<&str>, to: Option<&str>) -> Response {
    let action =
        to.filter(|to| is_page(to)).map_or_else(|| "login".to_owned(), |to| format!("login?to={}", encoded(to)));
    let content = html! {
        @if let Some(trouble) = trouble { p.note.bad role="alert" { (trouble) } }
        form.login method="post" action=(action) {
            label for="token" { "Token" }
            input #token type="password" name="token" autocomplete="current-password" required autofocus;
            button { "Log in" }
        }
        p.hint { "It is what the dashboard was started with." }
    };
    (status, draw::bare("Log in", &content)).into_response()
}

async fn login(
    State(door): State<Arc<Door>>,
    uri: Uri,
    headers: HeaderMap,
    from: Option<Extension<ConnectInfo<SocketAddr>>>,
    Query(asked): Query<Vec<(String, String)>>,
    sent: Result<Form<Vec<(String, String)>>, FormRejection>,
) -> Result<Response, Fault> {
    is_ours(&headers, &uri)?;
    let Form(told) = sent.map_err(|error| Fault::new(error.status(), "the form can't be read"))?;
    let (asked, told) = (Params(asked), Params(told));
    let to = asked.text("to").filter(|to| is_page(to));
    let address = from.map(|Extension(ConnectInfo(address))| address.ip());
    match door.admits(told.text("token").unwrap_or(""), address) {
        Ok(true) => {}
        Ok(false) => {
            let from = address.map_or_else(|| "an unknown address".to_owned(), |address| address.to_string());
            tracing::warn!(%from, "dashboard: a login with a wrong token was refused");
            return Ok(form(StatusCode::UNAUTHORIZED, Some("That is not the token."), to));
        }
        Err(()) => {
            let text = "Too many wrong tokens were told: wait a few seconds, then try again.";
            let mut response = form(StatusCode::TOO_MANY_REQUESTS, Some(text), to);
            response.headers_mut().insert(header::RETRY_AFTER, TRY_AGAIN.as_secs().into());
            return Ok(response);
        }
    }
    let mut response =
        (StatusCode::SEE_OTHER, [(header::LOCATION, to.unwrap_or("overview").to_owned())]).into_response();
    let cookie = set_cookie(&door.cookie, &door.let_in(), &headers);
    response.headers_mut().extend(cookie.map(|value| (header::SET_COOKIE, value)));
    Ok(response)
}

/// The page that asks whether it is meant, as a link alone must change nothing.
async fn ask_to_leave(Extension(csrf): Extension<Csrf>) -> Response {
    let content = html! {
        p { "This browser has to tell the token again to see more." }
        form.actions method="post" action="logout" {
            (draw::hidden(&csrf, &[]))
            button { "Log out" }
            a.button href="overview" { "Stay" }
        }
    };
    draw::bare("Log out?", &content).into_response()
}

async fn logout(
    State(door): State<Arc<Door>>,
    Extension(csrf): Extension<Csrf>,
    uri: Uri,
    headers: HeaderMap,
    sent: Result<Form<Vec<(String, String)>>, FormRejection>,
) -> Result<Response, Fault> {
    is_ours(&headers, &uri)?;
    let Form(told) = sent.map_err(|error| Fault::new(error.status(), "the form can't be read; you are logged in"))?;
    if !csrf.admits(Params(told).text("csrf")) {
        let text = "the form is not one of this page's, or too old: load it again, and repeat; you are logged in";
        return Err(Fault::new(StatusCode::FORBIDDEN, text));
    }
    door.let_out(&headers);
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, "login")]).into_response();
    response.headers_mut().extend(end_cookie(&door.cookie, &headers).map(|value| (header::SET_COOKIE, value)));
    Ok(response)
}

/// Serves until `stop`.
#[cfg(feature = "operate")]
pub(crate) async fn serve(
    listener: std::net::TcpListener,
    router: Router,
    stop: tokio_util::sync::CancellationToken,
) -> std::io::Result<()> {
    use crate::health::{Bounded, Peer, serve};
    let from = |ConnectInfo(Peer(address)): ConnectInfo<Peer>, mut request: Request| async move {
        request.extensions_mut().insert(ConnectInfo(address));
        request
    };
    serve(Bounded::new(listener)?, router.layer(axum::middleware::map_request(from)), stop).await;
    Ok(())
}
