//! What each answer carries, and which changes are refused.

use sector7g_tasks::testing::chaos::{Call, ChaosBroker, Fault};
use support::Lines;

use super::*;

#[tokio::test]
async fn each_answer_is_armoured() {
    let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new());
    let router = mounted(&broker);
    let csp = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
               form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    let pages = ["overview", "dead", "workers", "job?id=x", "nothing", "no/such/place", "act", "queue?queue=%00"];
    let assets = ["dashboard.css", "dashboard.js", "dashboard.svg"];
    for path in pages.iter().chain(&assets) {
        let answer = get(&router, &format!("/ops/jobs/{path}")).await;
        let expected = [
            ("content-security-policy", csp),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ];
        for (name, value) in expected {
            assert_eq!(answer.header(name), value, "{name} of {path}");
        }
        let cached = if assets.contains(path) { "no-cache" } else { "no-store" };
        assert_eq!(answer.header("cache-control"), cached, "{path}");
    }
    let css = get(&router, "/ops/jobs/dashboard.css").await;
    let again = Request::get("/ops/jobs/dashboard.css").header("if-none-match", css.header("etag"));
    assert_eq!(ask(&router, again.body(Body::empty()).unwrap()).await.status, StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn cookies_are_of_the_session_and_of_this_site() {
    let router = Dashboard::new(Arc::new(MemoryBroker::new())).router();
    let plain = get(&router, "/overview").await;
    let cookie = plain.header("set-cookie");
    assert!(cookie.ends_with("; HttpOnly; SameSite=Strict"), "{cookie}");
    assert_ne!(cookie, get(&router, "/overview").await.header("set-cookie"), "it can't be guessed");
    let request = Request::get("/overview").header("x-forwarded-proto", "https").body(Body::empty()).unwrap();
    let cookie = ask(&router, request).await.header("set-cookie").to_owned();
    assert!(cookie.ends_with("; HttpOnly; SameSite=Strict; Secure"), "{cookie}");
    let known = Request::get("/overview").header("cookie", plain.cookie()).body(Body::empty()).unwrap();
    assert_eq!(ask(&router, known).await.header("set-cookie"), "", "it is kept");
}

#[tokio::test]
async fn a_change_is_taken_from_a_page_of_ours_only() {
    on_both(async |broker| {
        let id = die(&broker).await;
        let router = mounted(&broker);
        let Visitor { cookie, .. } = Visitor::new(&router, "/ops/jobs/overview", "/ops/jobs/act").await;
        let csrf = cookie.split_once('=').unwrap().1;
        let form = format!("csrf={csrf}&queue=rod&id={id}&act=retry");
        let act = "/ops/jobs/act";
        let sent = async |extra: &[(&str, &str)], form: &str| {
            let headers = [&[("cookie", &*cookie)], extra].concat();
            post(&router, act, &headers, form.to_owned()).await
        };
        let refused = [
            // Without the token, or with another's.
            sent(&[], &form.replace(csrf, "")).await,
            sent(&[], &form.replace(csrf, &"0".repeat(64))).await,
            sent(&[], &form.replace(&format!("csrf={csrf}&"), "")).await,
            post(&router, act, &[], form.clone()).await,
            post(&router, act, &[("cookie", "sector7g_csrf=")], form.replace(csrf, "")).await,
            post(&router, act, &[("cookie", "sector7g_csrf=x")], form.replace(csrf, "x")).await,
            // With it, but sent by another site's page.
            sent(&[("origin", "https://evil.example")], &form).await,
            sent(&[("origin", "null")], &form).await,
            sent(&[("origin", "http://localhost.evil.example")], &form).await,
            sent(&[("origin", "http://localhost:8081")], &form).await,
            sent(&[("sec-fetch-site", "cross-site")], &form).await,
            sent(&[("sec-fetch-site", "same-site"), ("origin", "http://localhost")], &form).await,
            sent(&[("sec-fetch-site", "none")], &form).await,
        ];
        for (nth, answer) in refused.into_iter().enumerate() {
            assert_eq!((nth, answer.status, dead(&broker).await), (nth, StatusCode::FORBIDDEN, 1), "{}", answer.text);
        }
        assert_eq!(get(&router, &format!("{act}?{form}")).await.status, StatusCode::METHOD_NOT_ALLOWED);
        for kind in ["text/plain", "application/json", "multipart/form-data; boundary=x"] {
            let request = Request::post(act).header("host", "localhost").header("cookie", &*cookie);
            let request = request.header("content-type", kind).body(Body::from(form.clone())).unwrap();
            assert_eq!(ask(&router, request).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
        }
        sent(&[], &format!("{form}&x={}", "x".repeat(128 << 10))).await.expect(StatusCode::PAYLOAD_TOO_LARGE, &[]);
        assert_eq!(dead(&broker).await, 1);

        let only_reads = Dashboard::new(Arc::clone(&broker)).router();
        post(&only_reads, "/act", &[("cookie", &*cookie)], form.clone())
            .await
            .expect(StatusCode::FORBIDDEN, &["only reads"]);
        for path in ["/dead?queue=rod", "/queue?queue=rod", &format!("/job?queue=rod&id={id}")] {
            let page = get(&only_reads, path).await.expect(StatusCode::OK, &[]);
            assert!(!page.text.contains("method=\"post\""), "{path}: {}", page.text);
        }
        assert_eq!(dead(&broker).await, 1);
        assert_eq!(sent(&[("sec-fetch-site", "same-origin")], &form).await.status, StatusCode::SEE_OTHER);
        assert_eq!(dead(&broker).await, 0);
    })
    .await;
}

/// Whoever looks for who deleted letters finds it, though the page failed.
#[tokio::test(start_paused = true)]
async fn what_ends_early_is_logged_all_the_same() {
    let check = async |fault: Fault, status: StatusCode, why: &str| {
        let (lines, _guard) = Lines::capture();
        let inner: Arc<dyn Broker> = Arc::new(MemoryBroker::new());
        die(&inner).await;
        let chaos = Arc::new(ChaosBroker::new(inner));
        let broker: Arc<dyn Broker> = chaos.clone();
        let router = mounted(&broker);
        let visitor = Visitor::new(&router, "/ops/jobs/overview", "/ops/jobs/act").await;
        chaos.fail_next(Call::DiscardDead, 1, fault);
        visitor.act("queue=rod&act=discard-all&sure=yes").await.expect(status, &[]);
        assert_eq!(lines.with("INFO dashboard: asked for by hand").len(), 1, "{:?}", lines.all());
        let early = format!("WARN dashboard: a change by hand ended early: {why}");
        assert_eq!(lines.with(&early).len(), 1, "{:?}", lines.all());
        assert_eq!(lines.with("dashboard: changed by hand").len(), 0, "{:?}", lines.all());
    };
    check(Fault::After, StatusCode::SERVICE_UNAVAILABLE, "").await;
    check(Fault::Delay(Duration::from_mins(1)), StatusCode::SERVICE_UNAVAILABLE, "the page took too long").await;
}

#[tokio::test]
async fn what_makes_no_sense_changes_nothing() {
    let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new());
    let id = die(&broker).await;
    let router = mounted(&broker);
    let visitor = Visitor::new(&router, "/ops/jobs/overview", "/ops/jobs/act").await;
    let forms = [
        "queue=rod&act=frob".to_owned(),
        format!("queue=rod&id={id}"),
        format!("id={id}&act=retry"),
        "queue=rod&act=retry".to_owned(),
        "queue=rod&id=&act=retry".to_owned(),
        format!("queue=rod&id={id}&id=b&act=abort"),
        format!("queue=rod&act=discard{}", "&id=x".repeat(1001)),
        "queue=%00&act=pause".to_owned(),
    ];
    for form in forms {
        visitor.act(&form).await.expect(StatusCode::BAD_REQUEST, &[]);
    }
    assert_eq!(dead(&broker).await, 1);
}
