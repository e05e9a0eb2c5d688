//! A headless Chromium, driven by chromedriver: in the web's standard words, and its own where these lack one.

use std::time::{Duration, Instant};

use axum::http::Method;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use support::Program;
use url::Url;

const SOON: Duration = Duration::from_secs(30);

/// Ends with this value.
pub(super) struct Browser {
    client: Client,
    _driver: Program,
}

/// A command that only Chromium has.
#[derive(Debug)]
struct Command {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Command {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or(""), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}

impl Browser {
    pub(super) async fn open() -> Self {
        let driver = Program::start("chromedriver", &["--port=0"]);
        let port = until("chromedriver listens", async || {
            let said = driver.said();
            let port = said.split("started successfully on port ").nth(1)?.split('.').next()?.to_owned();
            Some(port)
        })
        .await;
        let options = json!({
            "goog:chromeOptions": {
                // Through a pipe, so that it ends with the driver, however that ends. Root has no sandbox to offer.
                "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--hide-scrollbars"],
            },
            "goog:loggingPrefs": { "browser": "ALL" },
            "unhandledPromptBehavior": "ignore",
        });
        let Value::Object(options) = options else { unreachable!("it is written as one") };
        let place = format!("http://127.0.0.1:{port}");
        let client = Client::with_capabilities_and_connector(&place, &options, HttpConnector::new()).await;
        let browser =
            Self { client: client.expect("chromium starts: `cargo xtask needs` installs it"), _driver: driver };
        browser.size(1280, 900).await;
        browser
    }

    /// Sends a command of Chromium's developer tools.
    pub(super) async fn tell(&self, command: &str, params: Value) -> Value {
        let body = json!({ "cmd": command, "params": params });
        self.client.issue_cmd(Command { path: "goog/cdp/execute", body }).await.unwrap()
    }

    pub(super) async fn size(&self, width: u32, height: u32) {
        let params = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.tell("Emulation.setDeviceMetricsOverride", params).await;
    }

    pub(super) async fn dark(&self, is_dark: bool) {
        let scheme = if is_dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.tell("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    pub(super) async fn scripts(&self, run: bool) {
        self.tell("Emulation.setScriptExecutionDisabled", json!({ "value": !run })).await;
    }

    pub(super) async fn go(&self, url: &str) {
        self.client.goto(url).await.unwrap();
    }

    async fn place(&self) -> String {
        self.client.current_url().await.unwrap().to_string()
    }

    /// What a script returns.
    pub(super) async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// Waits until a page is there whose address ends so.
    pub(super) async fn comes_to(&self, end: &str) {
        until(end, async || self.place().await.ends_with(end).then_some(())).await;
    }

    /// Waits until a page says so.
    pub(super) async fn says(&self, text: &str) {
        until(text, async || self.text().await.contains(text).then_some(())).await;
    }

    async fn text(&self) -> String {
        self.run("return document.body?.innerText ?? ''").await.as_str().unwrap().to_owned()
    }

    pub(super) async fn click(&self, css: &str) {
        let element = self.client.find(Locator::Css(css)).await;
        element.unwrap_or_else(|error| panic!("{css}: {error}")).click().await.unwrap();
    }

    pub(super) async fn write(&self, css: &str, text: &str) {
        self.client.find(Locator::Css(css)).await.unwrap().send_keys(text).await.unwrap();
    }

    /// Presses a key, wherever the focus is.
    pub(super) async fn press(&self, key: &str, code: u32) {
        for kind in ["keyDown", "keyUp"] {
            let params = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": if key == "Enter" { "\r" } else { "" } });
            self.tell("Input.dispatchKeyEvent", params).await;
        }
    }

    pub(super) async fn is_asked(&self) -> bool {
        self.client.get_alert_text().await.is_ok()
    }

    /// What the console says since it was asked last: errors of scripts, what the policy refused, what did not load.
    pub(super) async fn complaints(&self) -> Vec<String> {
        let log = self.client.issue_cmd(Command { path: "se/log", body: json!({ "type": "browser" }) }).await.unwrap();
        let entries = log.as_array().unwrap().iter();
        entries.map(|entry| format!("{} {}", entry["level"], entry["message"])).collect()
    }

    /// The nodes that a screen reader has to tell: role and name.
    pub(super) async fn told(&self) -> Vec<(String, String)> {
        let tree = self.tell("Accessibility.getFullAXTree", json!({})).await;
        let nodes = tree["nodes"].as_array().unwrap().iter().filter(|node| node["ignored"] != json!(true));
        let text = |node: &Value, key: &str| node[key]["value"].as_str().unwrap_or("").to_owned();
        nodes.map(|node| (text(node, "role"), text(node, "name"))).collect()
    }

    pub(super) async fn screenshot(&self) -> Vec<u8> {
        self.client.screenshot().await.unwrap()
    }

    pub(super) async fn close(self) {
        self.client.close().await.unwrap();
    }
}

/// Looks again and again until there is something.
pub(super) async fn until<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {SOON:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
