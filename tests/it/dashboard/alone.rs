//! The dashboard on a listener of its own: who may see it.

use std::net::SocketAddr;

use sector7g_tasks::dashboard::{Alone, AloneError, Token};
use support::Program;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

const TOKEN: &str = "0123456789abcdef";

fn dashboard() -> Dashboard {
    Dashboard::new(Arc::new(MemoryBroker::new()))
}

fn at(address: &str) -> Alone {
    Alone::new(dashboard(), address.parse().unwrap())
}

fn guarded() -> Router {
    at("0.0.0.0:8090").token(Token::new(TOKEN).unwrap()).router().unwrap()
}

async fn under(router: &Router, host: &str) -> StatusCode {
    ask(router, Request::get("/overview").header("host", host).body(Body::empty()).unwrap()).await.status
}

#[tokio::test]
async fn others_need_a_token() {
    for address in ["0.0.0.0:8090", "[::]:8090", "192.0.2.7:8090"] {
        assert!(matches!(at(address).router(), Err(AloneError::Open(_))), "{address}");
    }
    assert!(matches!(at("127.0.0.1:8090").host("ops.example").router(), Err(AloneError::OpenHost(_))));
    assert!(matches!(Token::new("0123456789abcde"), Err(AloneError::ShortToken)));
    assert!(!format!("{:?}", at("[::]:1").token(Token::new(TOKEN).unwrap())).contains(TOKEN));
}

/// A name that a hostile site points at loopback is not one that is served.
#[tokio::test]
async fn on_loopback_other_names_are_refused() {
    let local = at("127.0.0.1:8090").router().unwrap();
    for host in ["localhost", "localhost:8090", "LOCALHOST:1", "127.0.0.1:8090", "[::1]:8090", "127.9.9.9"] {
        assert_eq!(under(&local, host).await, StatusCode::OK, "{host}");
    }
    let others = ["evil.example", "127.0.0.1.evil.example:8090", "localhost.evil.example", "", "192.0.2.7", "::"];
    for host in others {
        assert_eq!(under(&local, host).await, StatusCode::MISDIRECTED_REQUEST, "{host}");
    }
    let none = Request::get("/overview").body(Body::empty()).unwrap();
    assert_eq!(ask(&local, none).await.status, StatusCode::MISDIRECTED_REQUEST);

    let token = Token::new(TOKEN).unwrap();
    let behind = at("127.0.0.1:8090").token(token.clone()).host("ops.example").router().unwrap();
    assert_eq!(under(&behind, "OPS.example").await, StatusCode::SEE_OTHER);
    assert_eq!(under(&behind, "evil.example").await, StatusCode::MISDIRECTED_REQUEST);
    let named = at("0.0.0.0:8090").token(token).host("ops.example").router().unwrap();
    assert_eq!(under(&named, "evil.example").await, StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn nothing_is_shown_before_the_login() {
    let router = guarded();
    for path in
        ["/", "/overview", "/queue?queue=rod", "/dead", "/job?id=x", "/workers", "/schedules", "/events", "/act", "/x"]
    {
        let asked = get(&router, path).await;
        assert_eq!(asked.status, StatusCode::SEE_OTHER, "{path}");
        assert!(asked.header("location").starts_with("login") && asked.text.is_empty(), "{path}");
        assert!(asked.header("content-security-policy").starts_with("default-src 'none'"), "{path}");
    }
    assert_eq!(get(&router, "/no/such/place").await.header("location"), "../../login");
    let acted = post(&router, "/act", &[], "queue=rod&act=pause").await;
    assert_eq!((acted.status, acted.header("location")), (StatusCode::SEE_OTHER, "login"));
    let form = get(&router, "/login").await.expect(StatusCode::OK, &["type=\"password\"", "<label for=\"token\">"]);
    for name in ["content-security-policy", "x-frame-options", "x-content-type-options"] {
        assert!(!form.header(name).is_empty(), "{name}");
    }
    let open = get(&router, "/dashboard.css").await;
    assert_eq!(open.status, StatusCode::OK);
}

#[tokio::test]
async fn the_token_opens_what_was_asked_for() {
    let router = guarded();
    let login = async |token: &str, headers: &[(&str, &str)], path: &str| {
        post(&router, path, headers, format!("token={token}")).await
    };
    for wrong in ["0123456789abcdeX", "0123456789abcde", "0123456789abcdef0", ""] {
        let answer = login(wrong, &[], "/login").await.expect(StatusCode::UNAUTHORIZED, &["not the token"]);
        assert!(!answer.header("set-cookie").contains("login"), "{wrong}");
    }
    login(TOKEN, &[("origin", "https://evil.example")], "/login").await.expect(StatusCode::FORBIDDEN, &[]);
    let long = login(&"x".repeat(128 << 10), &[], "/login").await;
    assert_eq!(long.status, StatusCode::PAYLOAD_TOO_LARGE);

    let asked = get(&router, "/queue?queue=rod&state=dead").await;
    let place = asked.header("location").to_owned();
    assert_eq!(place, "login?to=queue%3Fqueue%3Drod%26state%3Ddead");
    let right = login(TOKEN, &[("x-forwarded-proto", "https")], &format!("/{place}")).await;
    assert_eq!((right.status, right.header("location")), (StatusCode::SEE_OTHER, "queue?queue=rod&state=dead"));
    let cookie = right.header("set-cookie");
    assert!(
        cookie.starts_with("sector7g_login_8090=") && cookie.ends_with("; HttpOnly; SameSite=Strict; Secure"),
        "{cookie}"
    );
    assert!(!cookie.contains(TOKEN));
    for elsewhere in
        ["%2F%2Fevil.example", "https%3A%2F%2Fevil.example", "overview%0d%0ax:y", "queue%2F..%2F..%2Fx", "login"]
    {
        let answer = login(TOKEN, &[], &format!("/login?to={elsewhere}")).await;
        assert_eq!(answer.header("location"), "overview", "{elsewhere}");
    }
    let with = async |cookie: &str| {
        let request = Request::get("/overview").header("host", "localhost").header("cookie", cookie);
        ask(&router, request.body(Body::empty()).unwrap()).await.status
    };
    assert_eq!(with(&right.cookie()).await, StatusCode::OK);
    assert_eq!(with(&format!("a=b; {}; c=d", right.cookie())).await, StatusCode::OK);
    for wrong in ["sector7g_login_8090=", &format!("sector7g_login_8090={TOKEN}"), &right.cookie()[..40]] {
        assert_eq!(with(wrong).await, StatusCode::SEE_OTHER, "{wrong}");
    }
}

/// Tokens can't be tried without end; who has the right one waits for a few seconds at most.
#[tokio::test(start_paused = true)]
async fn tokens_cant_be_tried_without_end() {
    let router = guarded();
    let login = async |token: &str| post(&router, "/login", &[], format!("token={token}")).await;
    for _ in 0..30 {
        assert_eq!(login(TOKEN).await.status, StatusCode::SEE_OTHER, "right ones are not counted");
    }
    for _ in 0..10 {
        assert_eq!(login("wrong").await.status, StatusCode::UNAUTHORIZED);
    }
    let refused = login(TOKEN).await;
    assert_eq!((refused.status, refused.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, "6"));
    tokio::time::advance(Duration::from_secs(7)).await;
    assert_eq!(login("wrong").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(login("wrong").await.status, StatusCode::TOO_MANY_REQUESTS);
    tokio::time::advance(Duration::from_secs(7)).await;
    assert_eq!(login(TOKEN).await.status, StatusCode::SEE_OTHER);
}

/// Where addresses are known, one who guesses keeps no other out.
#[tokio::test(start_paused = true)]
async fn who_guesses_locks_out_nobody_else() {
    let router = guarded();
    let login = async |address: &str, token: &str| {
        let request = Request::post("/login").header("host", "localhost");
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let mut request = request.body(Body::from(format!("token={token}"))).unwrap();
        request.extensions_mut().insert(axum::extract::ConnectInfo::<SocketAddr>(address.parse().unwrap()));
        ask(&router, request).await.status
    };
    for nth in 0..12 {
        let expected = if nth < 10 { StatusCode::UNAUTHORIZED } else { StatusCode::TOO_MANY_REQUESTS };
        assert_eq!(login(&format!("192.0.2.7:{}", 4000 + nth), "wrong").await, expected, "whatever its port: {nth}");
    }
    assert_eq!(login("192.0.2.7:1", TOKEN).await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(login("192.0.2.8:1", TOKEN).await, StatusCode::SEE_OTHER);
    assert_eq!(login("[2001:db8::1]:1", "wrong").await, StatusCode::UNAUTHORIZED);
}

/// After a logout the login is none, also for who has copied its cookie; a form of ours has to ask for it.
#[tokio::test]
async fn who_logs_out_is_out() {
    let router = guarded();
    let login = async || post(&router, "/login", &[], format!("token={TOKEN}")).await.cookie();
    let (mine, others) = (login().await, login().await);
    let with = async |path: &str, cookie: &str| {
        let request = Request::get(path).header("host", "localhost").header("cookie", cookie);
        ask(&router, request.body(Body::empty()).unwrap()).await
    };
    let page = with("/overview", &mine).await.expect(StatusCode::OK, &["href=\"logout\""]);
    let both = format!("{mine}; {}", page.cookie());
    let csrf = page.cookie().split_once('=').unwrap().1.to_owned();
    with("/logout", &both).await.expect(StatusCode::OK, &["method=\"post\" action=\"logout\"", &csrf]);
    assert_eq!(get(&router, "/logout").await.header("location"), "login", "who is not in is asked for the token");

    let leave = async |headers: &[(&str, &str)], form: &str| {
        post(&router, "/logout", &[&[("cookie", &*both)], headers].concat(), form.to_owned()).await
    };
    let form = format!("csrf={csrf}");
    leave(&[], "").await.expect(StatusCode::FORBIDDEN, &["you are logged in"]);
    leave(&[], &format!("csrf={}", "0".repeat(64))).await.expect(StatusCode::FORBIDDEN, &[]);
    leave(&[("origin", "https://evil.example")], &form).await.expect(StatusCode::FORBIDDEN, &[]);
    assert_eq!(with("/overview", &mine).await.status, StatusCode::OK);

    let left = leave(&[("origin", "http://localhost"), ("x-forwarded-proto", "https")], &form).await;
    assert_eq!((left.status, left.header("location")), (StatusCode::SEE_OTHER, "login"));
    assert_eq!(left.header("set-cookie"), "sector7g_login_8090=; HttpOnly; SameSite=Strict; Secure; Max-Age=0");
    assert_eq!(with("/overview", &mine).await.status, StatusCode::SEE_OTHER);
    assert_eq!(with("/overview", &others).await.status, StatusCode::OK, "others stay");

    let open = at("127.0.0.1:8090").router().unwrap();
    let page = get(&open, "/overview").await.expect(StatusCode::OK, &[]);
    assert!(!page.text.contains("logout"), "without a token there is nothing to log out of");
    assert_eq!(get(&open, "/logout").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn a_login_ends() {
    let router = guarded();
    let cookie = post(&router, "/login", &[], format!("token={TOKEN}")).await.cookie();
    let with = async || {
        let request = Request::get("/workers").header("host", "localhost").header("cookie", &*cookie);
        ask(&router, request.body(Body::empty()).unwrap()).await.status
    };
    tokio::time::advance(Duration::from_secs(12 * 3600 - 5)).await;
    assert_eq!(with().await, StatusCode::OK);
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(with().await, StatusCode::SEE_OTHER);
}

/// What a server at `address` answers.
async fn fetch(address: &str, path: &str) -> String {
    send(address, &format!("GET {path}"), "", "").await
}

/// What it answers to a form, sent as from its own page.
async fn submit(address: &str, path: &str, cookies: &str, form: &str) -> String {
    let headers = format!(
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\nOrigin: http://{address}\r\nCookie: {cookies}\r\n",
        form.len()
    );
    send(address, &format!("POST {path}"), &headers, form).await
}

async fn send(address: &str, what: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{what} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// The cookie that an answer sets.
fn cookie(answer: &str) -> &str {
    answer.split("set-cookie: ").nth(1).and_then(|rest| rest.split(';').next()).unwrap_or_else(|| panic!("{answer}"))
}

/// The command: it says where it is, serves there, refuses what would be open, keeps its token to itself, and ends.
#[tokio::test]
async fn the_operators_command_serves_it() {
    const OPERATE: &str = env!("CARGO_BIN_EXE_fixture-sector-7g");
    let server = RedisServer::start();
    let id = die(&on_redis(&server)).await;
    let url = server.url();
    let start = |words: &[&str]| Program::start(OPERATE, &[&["--redis", &url, "dashboard"], words].concat());
    let address = async |program: &Program| {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            let said = program.said();
            if let Some(rest) = said.split("http://").nth(1) {
                return rest.split('/').next().unwrap().to_owned();
            }
            assert!(tokio::time::Instant::now() < deadline, "it says no address: {said}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let mut reads = start(&["--listen", "127.0.0.1:0"]);
    let place = address(&reads).await;
    let page = fetch(&place, "/dead?queue=rod").await;
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("no coolant") && !page.contains("Retry all"), "{page}");
    assert!(reads.said().contains("it only reads"), "{}", reads.said());
    assert_eq!(reads.terminate().await, 0);

    let mut acts = start(&["--listen", "0.0.0.0:0", "--token", TOKEN, "--allow-actions"]);
    let place = address(&acts).await.replace("0.0.0.0", "127.0.0.1");
    let page = fetch(&place, "/dead?queue=rod").await;
    assert!(page.starts_with("HTTP/1.1 303") && page.contains("location: login?to=dead"), "{page}");
    assert!(acts.said().contains("actions are allowed") && !acts.said().contains(TOKEN), "{}", acts.said());
    assert!(submit(&place, "/login", "", "token=wrong").await.starts_with("HTTP/1.1 401"));
    let login = submit(&place, "/login", "", &format!("token={TOKEN}")).await;
    let page = send(&place, "GET /dead?queue=rod", &format!("Cookie: {}\r\n", cookie(&login)), "").await;
    let (login, csrf) = (cookie(&login), cookie(&page));
    let others: String = (1..30).map(|nth| format!("&id=gone-{nth}")).collect::<Vec<_>>().concat();
    let form = format!("queue=rod&act=retry&id={id}{others}&csrf={}", csrf.split_once('=').unwrap().1);
    let acted = submit(&place, "/act", &format!("{login}; {csrf}"), &form).await;
    assert!(acted.starts_with("HTTP/1.1 303") && acted.contains("told=some"), "{acted}");
    let said = acts.said();
    let line =
        |text: &str| said.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("«{text}» in {said}"));
    let wrong = line("a login with a wrong token");
    assert!(wrong.contains("WARN") && wrong.contains("from=127.0.0.1"), "{said}");
    let asked = line("dashboard: asked for by hand");
    for part in ["queue=rod", "act=\"retry\"", &id, "gone-1\"", "gone-29\""] {
        assert!(asked.contains(part), "«{part}» in {asked}");
    }
    assert!(line("dashboard: changed by hand").contains("changed=1 left=29"), "{said}");
    assert_eq!(acts.terminate().await, 0);

    for (words, why) in [
        (&["--listen", "0.0.0.0:0"][..], "could be read by others"),
        (&["--host", "ops.example"], "could be read by others"),
        (&["--token", "short"], "too short"),
        (&["--listen", "nowhere"], "invalid"),
    ] {
        let mut refused = start(words);
        assert_eq!(refused.end().await, 64, "{words:?}: {}", refused.said());
        assert!(refused.said().contains(why), "{words:?}: {}", refused.said());
    }
}
