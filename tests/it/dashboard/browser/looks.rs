//! What is on the pages: to the eye, in both colour schemes and on small screens, and to a screen reader.

use super::*;

/// Text that stands out too little from what is behind it: WCAG's 4.5 to 1, 3 to 1 where it is large.
const FAINT: &str = r#"
const channels = (text) => text.match(/[\d.]+/g).map(Number);
const luminance = ([r, g, b]) => [r, g, b].map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, nth) => sum + c * [0.2126, 0.7152, 0.0722][nth], 0);
const behind = (e) => {
    for (; e; e = e.parentElement) {
        const colour = channels(getComputedStyle(e).backgroundColor);
        if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), faint = [];
for (let node; (node = walker.nextNode());) {
    const e = node.parentElement, style = getComputedStyle(e), size = parseFloat(style.fontSize);
    if (!node.data.trim() || !e.checkVisibility() || e.closest(".unseen, script, noscript")) continue;
    const [a, b] = [luminance(channels(style.color)), luminance(behind(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < (size >= 24 || (size >= 18.6 && style.fontWeight >= 700) ? 3 : 4.5)) faint.push(`${ratio.toFixed(2)} ${node.data.trim()}`);
}
return faint;
"#;

fn paths(id: &str) -> Vec<String> {
    let paths =
        ["overview", "queue?queue=lenny", "dead", "dead?queue=lenny", "workers", "schedules", "nothing", "job?id=x"];
    paths.iter().map(|path| (*path).to_owned()).chain([format!("job?queue=lenny&id={id}")]).collect()
}

/// A folder to look at, when one is named: `SECTOR7G_SCREENSHOTS=/some/where`.
async fn keep(browser: &Browser, name: &str) {
    if let Some(folder) = std::env::var_os("SECTOR7G_SCREENSHOTS") {
        std::fs::write(std::path::Path::new(&folder).join(format!("{name}.png")), browser.screenshot().await).unwrap();
    }
}

#[tokio::test]
async fn each_page_is_whole_in_light_and_dark_wide_and_narrow() {
    let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new());
    let id = plant(&broker).await.remove(0);
    let served = Served::start(mounted(&broker)).await;
    let browser = Browser::open().await;
    for (nth, path) in paths(&id).iter().enumerate() {
        for (width, dark) in [(1280, false), (1280, true), (390, false), (390, true)] {
            browser.size(width, 900).await;
            browser.dark(dark).await;
            browser.go(&served.at(&format!("/ops/jobs/{path}"))).await;
            let scheme = if dark { "dark" } else { "light" };
            let title = path.split('?').next().unwrap();
            keep(&browser, &format!("{nth}-{title}-{width}-{scheme}")).await;
            let back = browser.run("return getComputedStyle(document.body).backgroundColor").await;
            let is_dark = back.as_str().unwrap().split(|c: char| !c.is_ascii_digit()).any(|n| n.len() == 2);
            assert_eq!(is_dark, dark, "{path} has {back} behind it");
            assert_eq!(browser.run(FAINT).await, serde_json::json!([]), "{path}, {width} wide, {scheme}");
            let wider = browser.run("return document.documentElement.scrollWidth - innerWidth").await;
            assert!(wider.as_i64().unwrap() <= 0, "{path} is {wider} too wide for {width}");
            let refused: Vec<_> =
                browser.complaints().await.into_iter().filter(|said| !said.contains("404 (Not Found)")).collect();
            assert!(refused.is_empty(), "{path}: {refused:?}");
        }
    }
    browser.close().await;
}

/// Landmarks, one heading of the first level, and a name for all that can be used.
#[tokio::test]
async fn a_screen_reader_finds_its_way() {
    let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new());
    let id = plant(&broker).await.remove(0);
    let served = Served::start(mounted(&broker)).await;
    let browser = Browser::open().await;
    for path in paths(&id) {
        browser.go(&served.at(&format!("/ops/jobs/{path}"))).await;
        let told = browser.told().await;
        let count = |role: &str| told.iter().filter(|(known, _)| known == role).count();
        let is_page = !path.starts_with("nothing") && path != "job?id=x";
        for (role, expected) in [("banner", 1), ("main", 1), ("search", 1), ("contentinfo", usize::from(is_page))] {
            assert_eq!(count(role), expected, "{role} on {path}: {told:?}");
        }
        assert!(count("navigation") >= 1, "{path}");
        let headings = browser.run("return document.querySelectorAll('h1').length").await;
        assert_eq!(headings, 1, "{path}");
        let nameless: Vec<_> = told
            .iter()
            .filter(|(role, name)| {
                let is_used =
                    ["link", "button", "checkbox", "textbox", "searchbox", "DisclosureTriangle", "navigation"];
                is_used.contains(&role.as_str()) && name.trim().is_empty()
            })
            .collect();
        assert!(nameless.is_empty(), "{path}: {nameless:?} of {told:?}");
        let ids = browser.run("return [...document.querySelectorAll('[id]')].map((e) => e.id)").await;
        let ids: Vec<_> = ids.as_array().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(ids.len(), ids.iter().collect::<std::collections::BTreeSet<_>>().len(), "{path}: {ids:?}");
    }
    browser.close().await;
}

/// All that can be used is reached with Tab, in its order, and shows that it is.
#[tokio::test]
async fn the_keyboard_reaches_all() {
    let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new());
    let id = plant(&broker).await.remove(0);
    let served = Served::start(mounted(&broker)).await;
    let browser = Browser::open().await;
    for path in ["overview", "dead?queue=lenny", &format!("job?queue=lenny&id={id}")] {
        browser.go(&served.at(&format!("/ops/jobs/{path}"))).await;
        let all = "a[href], button, input:not([type=hidden]), summary, [tabindex='0']";
        let count = browser.run(&format!("return document.querySelectorAll(\"{all}\").length")).await.as_u64().unwrap();
        assert!(count >= 8, "{count} on {path}");
        for nth in 0..count {
            browser.press("Tab", 9).await;
            let focus = browser
                .run(&format!(
                    "const e = document.activeElement, s = getComputedStyle(e), box = e.getBoundingClientRect();
                    return [[...document.querySelectorAll(\"{all}\")].indexOf(e), s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2,
                            box.width > 0 && box.height > 0 && box.right > 0 && box.bottom > 0, e.outerHTML]"
                ))
                .await;
            assert_eq!((&focus[0], &focus[1], &focus[2]), (&nth.into(), &true.into(), &true.into()), "{path}: {focus}");
        }
    }
    // Enter on the first of it leads past what is the same everywhere.
    browser.go(&served.at("/ops/jobs/overview")).await;
    browser.press("Tab", 9).await;
    browser.press("Enter", 13).await;
    assert_eq!(browser.run("return document.activeElement.id").await, "main");
    browser.close().await;
}
