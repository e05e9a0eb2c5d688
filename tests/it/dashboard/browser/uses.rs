//! What is done with the pages.

use sector7g_tasks::broker::{JobFilter, JobId};
use sector7g_tasks::dashboard::{Alone, Token};

use super::driver::until;
use super::*;

#[tokio::test]
async fn numbers_follow_by_themselves() {
    let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new());
    plant(&broker).await;
    let served = Served::start(mounted(&broker)).await;
    let browser = Browser::open().await;
    browser.go(&served.at("/ops/jobs/overview")).await;
    browser.run("window.isSame = true").await;
    let due = async || browser.run("return document.querySelector('[data-live=due]').textContent").await;
    assert_eq!(due().await, "16");
    browser.says("Live").await;
    let line = async || browser.run("return document.querySelector('tbody polyline').getAttribute('points')").await;
    let before = line().await;
    enqueue(&broker, (0..5).map(|_| Job::untyped("count_donuts", "homer")).collect()).await;
    lives(&broker, "homer", 1, 500).await;
    until("numbers follow", async || (due().await == "21").then_some(())).await;
    until("lines follow", async || (line().await != before).then_some(())).await;
    until("rates follow", async || {
        let done = browser.run("return document.querySelector('[data-live=done]').textContent").await;
        done.as_str().unwrap().parse::<u64>().ok().filter(|done| *done > 0)
    })
    .await;
    assert_eq!(browser.run("return window.isSame").await, true, "the page was not loaded anew");
    // Another queue is another page.
    enqueue(&broker, vec![Job::untyped("audit", "grimey")]).await;
    browser.says("grimey").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
}

/// Reasons for concern come, change and go in the page that is there, also under the hands of its reader.
#[tokio::test]
async fn concerns_come_and_go_by_themselves() {
    let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new());
    enqueue(&broker, vec![Job::untyped("nap", "homer").delay(Duration::from_secs(3600)), Job::untyped("nap", HOSTILE)])
        .await;
    lives(&broker, "homer", 1, 0).await;
    lives(&broker, HOSTILE, 2, 0).await;
    let served = Served::start(mounted(&broker)).await;
    let browser = Browser::open().await;
    browser.go(&served.at("/ops/jobs/overview")).await;
    browser.says("All is well.").await;
    browser.run("window.isSame = true; document.querySelector('nav a').focus()").await;
    kill(&broker, HOSTILE, "broke").await;
    browser.says("Not all is well").await;
    browser.says("has 1 dead letter:").await;
    let shown =
        async || browser.run("return [...document.querySelectorAll('.health')].filter((e) => !e.hidden).length").await;
    assert_eq!(shown().await, 1, "either this or that");
    assert_eq!(browser.run("return document.querySelectorAll('#unwell img, #unwell script').length").await, 0);
    // A link that has the focus keeps it while its neighbours change.
    browser.run("document.querySelector('#unwell a').focus()").await;
    enqueue(&broker, vec![Job::untyped("nap", HOSTILE)]).await;
    kill(&broker, HOSTILE, "broke").await;
    browser.says("has 2 dead letters").await;
    assert_eq!(browser.run("return document.activeElement.getAttribute('href').startsWith('dead?queue=')").await, true);
    broker.retry_dead(&name(HOSTILE), &ids_of(&broker, HOSTILE).await).await.unwrap();
    browser.says("All is well.").await;
    assert_eq!(browser.run("return window.isSame").await, true, "the page was not loaded anew");
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
}

/// The letters of a queue.
async fn ids_of(broker: &Arc<dyn Broker>, queue: &str) -> Vec<JobId> {
    let page = broker.jobs(&name(queue), JobFilter::Dead, None, MAX_BATCH).await.unwrap();
    page.jobs.into_iter().map(|job| job.id).collect()
}

/// What is not known any more is not shown as if it still held.
#[tokio::test]
async fn a_broker_that_goes_is_not_well() {
    let redis = RedisServer::start();
    let served = Served::start(mounted(&on_redis(&redis))).await;
    let browser = Browser::open().await;
    browser.go(&served.at("/ops/jobs/overview")).await;
    let shown = async |what: &str| browser.run(&format!("return !document.querySelector('{what}').hidden")).await;
    browser.says("Live").await;
    assert_eq!((shown(".health.good").await, shown("#doubt").await), (true.into(), false.into()));
    redis.freeze(); // noticed when the page has waited as long as it does
    until("it is in doubt", async || (shown("#doubt").await == true).then_some(())).await;
    assert_eq!(shown(".health.good").await, false);
    redis.thaw();
    until("it is well again", async || (shown(".health.good").await == true).then_some(())).await;
    assert_eq!(shown("#doubt").await, false);
    browser.close().await;
}

/// Everything can be read, and done, where no script runs.
#[tokio::test]
async fn no_script_is_needed() {
    let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new());
    let id = plant(&broker).await.remove(0);
    let served = Served::start(mounted(&broker)).await;
    let browser = Browser::open().await;
    browser.scripts(false).await;
    browser.go(&served.at("/ops/jobs/overview")).await;
    for expected in ["lenny", "Load the page again for newer numbers", "Not all is well", "memory"] {
        browser.says(expected).await;
    }
    browser.write("#find", &id).await;
    browser.click(".find button").await;
    browser.says("no coolant in reactor 7").await;
    browser.click("button[value=discard]").await;
    browser.says("Discard these dead letters?").await;
    assert_eq!(broker.stats(&name("lenny")).await.unwrap().dead, 2, "nothing is done before the answer");
    browser.click("button[value=discard]").await;
    browser.says("Done.").await;
    assert_eq!(broker.stats(&name("lenny")).await.unwrap().dead, 1);
    browser.close().await;
}

/// An operator's way: from the overview to a letter, which is put back.
#[tokio::test]
async fn a_dead_letter_is_retried() {
    let redis = RedisServer::start();
    let broker = on_redis(&redis);
    plant(&broker).await;
    let served = Served::start(mounted(&broker)).await;
    let browser = Browser::open().await;
    browser.go(&served.at("/ops/jobs")).await;
    browser.comes_to("/ops/jobs/overview").await;
    browser.click("nav a[href=dead]").await;
    browser.comes_to("/ops/jobs/dead").await;
    browser.click("tbody a[href='dead?queue=lenny']").await;
    browser.comes_to("/ops/jobs/dead?queue=lenny").await;
    browser.click("tbody tr:first-child input[type=checkbox]").await;
    browser.click("button[value=retry]").await;
    browser.comes_to("/ops/jobs/dead?queue=lenny&told=done").await;
    assert_eq!(broker.stats(&name("lenny")).await.unwrap().dead, 1);
    browser.click("button[value=retry-all]").await;
    browser.says("Retry all dead letters?").await;
    browser.click("button[value=retry-all]").await;
    browser.says("No dead letters here.").await;
    let stats = broker.stats(&name("lenny")).await.unwrap();
    assert_eq!((stats.dead, stats.queued), (0, 14));
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
}

/// Names, arguments, errors and results of someone who means harm run nothing and add nothing to any page.
#[tokio::test]
async fn hostile_texts_run_nothing() {
    const HOSTILES: [&str; 8] = [
        HOSTILE,
        "</script><script>alert(1)</script>",
        "</title></textarea></style><svg onload=alert(1)>",
        "\" autofocus onfocus=\"alert(1)",
        "' onmouseover='alert(1)",
        "javascript:alert(1)",
        "{{constructor.constructor('alert(1)')()}}${alert(1)}",
        "<iframe srcdoc=\"<script>parent.alert(1)</script>\"></iframe><a href=\"javascript:alert(1)\" autofocus>x</a>",
    ];
    let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new());
    let mut paths = vec!["overview".to_owned(), "dead".to_owned(), "workers".to_owned(), "schedules".to_owned()];
    for (nth, hostile) in (1..).zip(HOSTILES) {
        let job = Job::untyped(hostile, hostile).arg(hostile).named_arg(hostile, hostile).id(format!("{nth}{hostile}"));
        enqueue(&broker, vec![job]).await;
        kill(&broker, hostile, hostile).await;
        enqueue(&broker, vec![Job::untyped(hostile, hostile).arg(hostile)]).await;
        lives(&broker, hostile, nth, 1).await;
        let coded = percent_encoding::utf8_percent_encode(hostile, percent_encoding::NON_ALPHANUMERIC);
        paths.extend(
            ["queue?queue=", "dead?queue=", "job?id=", "queue?queue=rod&state=", "overview?"]
                .map(|path| format!("{path}{coded}")),
        );
        paths.push(format!("job?queue={coded}&id={nth}{coded}"));
        paths.push(format!("queue?queue={coded}&after={coded}"));
    }
    let dashboard = Dashboard::new(Arc::clone(&broker)).allow_actions(true).show_unknown_arguments(true);
    let served = Served::start(Router::new().nest("/ops/jobs", dashboard.router())).await;
    let browser = Browser::open().await;
    let added = "return [...document.querySelectorAll('script:not([src]), img, iframe, svg[onload], [onfocus], [onerror], [onload], \
                 [onmouseover], a[href^=javascript], style')].map((e) => e.outerHTML)";
    for path in &paths {
        browser.go(&served.at(&format!("/ops/jobs/{path}"))).await;
        assert!(!browser.is_asked().await, "{path} runs a script");
        assert_eq!(browser.run(added).await, serde_json::json!([]), "{path}");
        let refused: Vec<_> =
            browser.complaints().await.into_iter().filter(|said| !said.contains("the server responded with")).collect();
        assert!(refused.is_empty(), "{path}: {refused:?}");
    }
    browser.close().await;
}

/// The policy holds for itself, too: a page that had a hole would still run nothing of others.
#[tokio::test]
async fn the_policy_stops_what_gets_through() {
    let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new());
    let served = Served::start(mounted(&broker)).await;
    let browser = Browser::open().await;
    browser.go(&served.at("/ops/jobs/overview")).await;
    browser
        .run(
            "const s = document.createElement('script'); s.textContent = 'window.isRun = true'; document.body.append(s);
             document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.isRun = true\"><iframe src=\"/ops/jobs/dead\"></iframe>')",
        )
        .await;
    let complaints = until("the policy complains", async || {
        let said = browser.complaints().await.join("\n");
        said.contains("Content Security Policy").then_some(said)
    })
    .await;
    assert!(complaints.contains("script-src 'self'"), "{complaints}");
    assert_eq!(browser.run("return window.isRun ?? false").await, false);
    // Nor does a page of another site show one of ours.
    let other = axum::routing::get(axum::response::Html(format!(
        "<iframe src='{}' onload='document.title = \"loaded\"'></iframe>",
        served.at("/ops/jobs/overview")
    )));
    let other = Served::start(Router::new().route("/", other)).await;
    browser.go(&other.at("/")).await;
    until("the frame is refused", async || {
        let said = browser.complaints().await.join("\n");
        (said.contains("frame-ancestors") || said.contains("X-Frame-Options")).then_some(())
    })
    .await;
    browser.close().await;
}

/// A form of another site is refused by what the browser says of it, though the cookie is known to it.
#[tokio::test]
async fn another_sites_form_changes_nothing() {
    let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new());
    plant(&broker).await;
    let served = Served::start(mounted(&broker)).await;
    let browser = Browser::open().await;
    browser.go(&served.at("/ops/jobs/queue?queue=lenny")).await;
    let csrf = browser.run("return document.querySelector('[name=csrf]').value").await;
    let form = format!(
        "<form method=post action='{}'><input name=csrf value={csrf}><input name=queue value=lenny>\
         <button name=act value=pause>Win a donut</button></form>",
        served.at("/ops/jobs/act")
    );
    // Another port of the same host: the cookie goes with it, as its site is the same.
    let other = Served::start(Router::new().route("/", axum::routing::get(axum::response::Html(form)))).await;
    browser.go(&other.at("/")).await;
    browser.click("button").await;
    browser.says("comes from another site").await;
    assert!(broker.stats(&name("lenny")).await.unwrap().paused_since.is_none());
    // The same form on our own page is taken.
    browser.go(&served.at("/ops/jobs/queue?queue=lenny")).await;
    browser.click("button[value=pause]").await;
    browser.says("Paused").await;
    browser.close().await;
}

/// On a listener of its own, a browser logs in, sees what it had asked for, and logs out.
#[tokio::test]
async fn a_browser_logs_in_and_out() {
    const TOKEN: &str = "0123456789abcdef";
    let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new());
    plant(&broker).await;
    let address = "127.0.0.1:8090".parse().unwrap();
    let alone = Alone::new(Dashboard::new(broker), address).token(Token::new(TOKEN).unwrap());
    let served = Served::start(alone.router().unwrap()).await;
    let browser = Browser::open().await;
    browser.go(&served.at("/queue?queue=lenny")).await;
    browser.write("#token", TOKEN).await;
    browser.click("form.login button").await;
    browser.comes_to("/queue?queue=lenny").await;
    browser.says("Queue lenny").await;
    browser.click("footer a[href=logout]").await;
    browser.comes_to("/logout").await;
    browser.click("form[action=logout] button").await;
    browser.comes_to("/login").await;
    browser.go(&served.at("/overview")).await;
    browser.comes_to("/login?to=overview").await;
    // Chromium would have a field for a user's name, of which there is none.
    let complaints = browser.complaints().await.into_iter().filter(|said| !said.contains("Password forms should have"));
    assert_eq!(complaints.collect::<Vec<_>>(), Vec::<String>::new());
    browser.close().await;
}

/// Mounted behind a service's own login, all of it works, and nothing without.
#[tokio::test]
async fn it_works_behind_a_services_own_login() {
    async fn login(request: axum::extract::Request, next: axum::middleware::Next) -> axum::response::Response {
        use axum::response::IntoResponse as _;
        let is_known = request.headers().get("authorization").is_some_and(|told| told == "Basic aG9tZXI6ZG9udXRz");
        if is_known {
            return next.run(request).await;
        }
        (StatusCode::UNAUTHORIZED, [("www-authenticate", "Basic realm=\"operators\"")]).into_response()
    }
    let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new());
    plant(&broker).await;
    let served = Served::start(mounted(&broker).layer(axum::middleware::from_fn(login))).await;
    let browser = Browser::open().await;
    browser.go(&served.at("/ops/jobs/overview").replace("http://", "http://homer:donuts@")).await;
    browser.says("Live").await;
    browser.click("tbody a[href='queue?queue=lenny']").await;
    browser.says("Queue lenny").await;
    browser.click("button[value=pause]").await;
    browser.says("Paused").await;
    assert!(broker.stats(&name("lenny")).await.unwrap().paused_since.is_some());
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
    let stranger = Browser::open().await;
    stranger.go(&served.at("/ops/jobs/overview")).await;
    assert_eq!(stranger.run("return document.body.innerText").await, "");
    stranger.close().await;
}
