//! Requests of any kind: none panics, hangs, or is answered at length. Arbitrary bytes in addresses, forms, cookies,
//! names of hosts, and marks of pages.

use std::sync::LazyLock;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use sector7g_tasks::dashboard::{Alone, Token};
use tokio::runtime::Runtime;

use super::*;

/// No answer to one request is longer.
const LONGEST: usize = 256 << 10;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// Pages about one dead letter, one deferred job and a hostile queue.
static PAGES: LazyLock<Router> = LazyLock::new(|| {
    RUNTIME.block_on(async {
        let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new());
        die(&broker).await;
        enqueue(&broker, vec![Job::untyped("task", "rod").delay(Duration::from_secs(999)), Job::untyped("t", HOSTILE)])
            .await;
        Dashboard::new(broker).allow_actions(true).router()
    })
});

static ALONE: LazyLock<Router> = LazyLock::new(|| {
    let token = Token::new("0123456789abcdef").unwrap();
    let alone = Alone::new(Dashboard::new(Arc::new(MemoryBroker::new())), "127.0.0.1:8090".parse().unwrap());
    alone.token(token).host("ops.example").router().unwrap()
});

static CSRF: LazyLock<String> = LazyLock::new(|| RUNTIME.block_on(get(&PAGES, "/overview")).cookie());

/// Texts that are likely to get somewhere, and any others.
fn value() -> impl Strategy<Value = String> {
    let known = ["rod", HOSTILE, "", "live", "running", "dead", "done", "0", "-1", "1:", "9".repeat(400).leak()];
    prop_oneof![
        prop::sample::select(known.to_vec()).prop_map(str::to_owned),
        ".{0,40}",
        "\\PC{0,600}",
        "[0-9:.,-]{0,30}"
    ]
}

fn pairs(names: &'static [&'static str]) -> impl Strategy<Value = String> {
    let name = prop_oneof![4 => prop::sample::select(names.to_vec()).prop_map(str::to_owned), 1 => ".{0,9}"];
    prop::collection::vec((name, value()), 0..6).prop_map(|pairs| {
        let coded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        pairs.iter().map(|(name, value)| format!("{}={}", coded(name), coded(value))).collect::<Vec<_>>().join("&")
    })
}

fn check(answer: &Answer) -> Result<(), TestCaseError> {
    prop_assert!(answer.status != StatusCode::INTERNAL_SERVER_ERROR, "{}", answer.text);
    prop_assert!(answer.text.len() < LONGEST, "{} bytes", answer.text.len());
    for never in ["<script>alert", "<img", CANARY] {
        prop_assert!(!answer.text.contains(never), "«{never}» in {}", answer.text);
    }
    // What a form sends back has to be as it was.
    let parts = answer.text.split("value=\"").enumerate();
    let parts =
        parts.map(|(nth, part)| if nth == 0 { part } else { part.split_once('"').map_or("", |(_, rest)| rest) });
    let shown = parts.collect::<Vec<_>>().concat();
    prop_assert!(!shown.contains('\u{202e}'), "it is turned: {shown}");
    let place = answer.header("location");
    prop_assert!(!place.starts_with('/') && !place.contains("://") && place.is_ascii(), "{place}");
    Ok(())
}

const PAGE: &str = "(overview|queue|dead|job|workers|schedules|login|logout|x/y|)";

proptest! {
    #[test]
    fn any_query(page in PAGE, query in pairs(&["queue", "state", "after", "id", "told", "to"])) {
        check(&RUNTIME.block_on(get(&PAGES, &format!("/{page}?{query}"))))?;
        check(&RUNTIME.block_on(get(&ALONE, &format!("/{page}?{query}"))))?;
    }

    #[test]
    fn any_raw_address(page in PAGE, query in "([!$&-;=?-Z_a-z~]|%[0-9a-fA-F]{2}|%|&|=){0,200}") {
        check(&RUNTIME.block_on(get(&PAGES, &format!("/{page}?{query}"))))?;
    }

    #[test]
    fn any_form(form in pairs(&["queue", "id", "act", "sure", "from", "csrf"]), act in "(pause|resume|abort|run-now|retry|x)") {
        let csrf = CSRF.split_once('=').unwrap().1;
        let form = format!("csrf={csrf}&{form}&act={act}");
        check(&RUNTIME.block_on(post(&PAGES, "/act", &[("cookie", &CSRF)], form)))?;
    }

    #[test]
    fn any_bytes_as_a_form(body in prop::collection::vec(any::<u8>(), 0..2000)) {
        for (router, path) in [(&*PAGES, "/act"), (&*ALONE, "/login")] {
            let answer = RUNTIME.block_on(post(router, path, &[("cookie", &CSRF)], body.clone()));
            check(&answer)?;
            prop_assert!(answer.status.is_client_error(), "{}", answer.status);
        }
    }

    #[test]
    fn any_headers(cookie in "[ -~]{0,200}", host in "[ -~]{0,80}", origin in "[ -~]{0,80}", site in "[ -~]{0,20}") {
        let headers = [("cookie", &*cookie), ("host", &host), ("origin", &origin), ("sec-fetch-site", &site)];
        for (router, path) in [(&*PAGES, "/act"), (&*ALONE, "/login")] {
            let answer = RUNTIME.block_on(post(router, path, &headers, "act=pause&queue=rod&token=x"));
            check(&answer)?;
            prop_assert!(answer.status.is_client_error(), "{}", answer.status);
        }
    }
}

/// Marks of pages go to the broker as they came: Redis's too takes any.
#[test]
fn any_mark_on_redis() {
    let server = RedisServer::start();
    let router = RUNTIME.block_on(async {
        let broker = on_redis(&server);
        die(&broker).await;
        enqueue(&broker, vec![Job::untyped("task", "rod")]).await;
        Dashboard::new(broker).router()
    });
    let places =
        prop::sample::select(vec!["dead?queue=rod", "queue?queue=rod&state=live", "queue?queue=rod&state=running"]);
    proptest!(ProptestConfig::with_cases(64), |(place in places, mark in value())| {
        let mark = utf8_percent_encode(&mark, NON_ALPHANUMERIC).to_string();
        let answer = RUNTIME.block_on(get(&router, &format!("/{place}&after={mark}")));
        check(&answer)?;
        prop_assert!(matches!(answer.status, StatusCode::OK | StatusCode::BAD_REQUEST), "{}: {}", answer.status, answer.text);
    });
}
