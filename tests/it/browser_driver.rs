//! Headless Chromium, driven over WebDriver, with what the protocol itself lacks: the console's log, the size of a
//! phone, a picture.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use fantoccini::{Client, ClientBuilder, Locator, elements::Element};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long something may take to appear.
const PATIENCE: Duration = Duration::from_mins(1);

/// A browser with an empty profile. It ends when it is dropped.
pub struct Browser {
    /// For what WebDriver can do.
    pub client: Client,
    driver: Child,
    port: u16,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Starts it, as a desktop of 1440 × 900 pixels with light colours.
    pub async fn start() -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts; packaging/prerequisites installs it");
        let port = port(driver.stdout.take().expect("standard output is a pipe"));
        let profile = tempfile::Builder::new().prefix("aegis-browser-").tempdir().expect("a directory for the profile");
        let capabilities = json!({
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
                "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
                format!("--user-data-dir={}", profile.path().display()),
            ] },
        });
        let Value::Object(capabilities) = capabilities else { unreachable!("it was written as an object") };
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("Chromium starts");
        let session = client.session_id().await.expect("the session can be asked").expect("there is a session");
        let browser = Self { client, driver, port, session, _profile: profile };
        browser.resize(1440, 900);
        browser.prefer("light");
        browser
    }

    /// Opens a page.
    pub async fn open(&self, url: &str) {
        self.client.goto(url).await.unwrap_or_else(|error| panic!("{url} does not open: {error}"));
    }

    /// Waits until there is such an element.
    pub async fn find(&self, css: &str) -> Element {
        match self.client.wait().at_most(PATIENCE).for_element(Locator::Css(css)).await {
            Ok(element) => element,
            Err(error) => panic!("no {css} appeared ({error}) on:\n{}", self.text("body").await),
        }
    }

    /// Waits until the element's text contains `text`.
    pub async fn see(&self, css: &str, text: &str) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let shown = self.text(css).await;
            if shown.contains(text) {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{css} never said {text:?}, but {shown:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The text that the element shows now; empty when there is none.
    pub async fn text(&self, css: &str) -> String {
        let script = "return document.querySelector(arguments[0])?.innerText ?? ''";
        self.run(script, vec![json!(css)]).await.as_str().unwrap_or_default().to_owned()
    }

    /// Clicks it as a person does.
    pub async fn click(&self, css: &str) {
        self.find(css).await.click().await.unwrap_or_else(|error| panic!("{css} cannot be clicked: {error}"));
    }

    /// Types into it. `\u{E007}` is Enter.
    pub async fn type_into(&self, css: &str, text: &str) {
        self.find(css)
            .await
            .send_keys(text)
            .await
            .unwrap_or_else(|error| panic!("{css} cannot be typed into: {error}"));
    }

    /// Runs a script in the page.
    pub async fn run(&self, script: &str, arguments: Vec<Value>) -> Value {
        self.client.execute(script, arguments).await.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// Shows the page on a screen of this size.
    pub fn resize(&self, width: u32, height: u32) {
        let screen = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", &screen);
    }

    /// What the machine says about colours: `light` or `dark`.
    pub fn prefer(&self, scheme: &str) {
        // Nothing moves meanwhile: in the middle of a change nothing has its own contrast.
        let features = [("prefers-color-scheme", scheme), ("prefers-reduced-motion", "reduce")];
        let features = json!({ "features": features.map(|(name, value)| json!({ "name": name, "value": value })) });
        self.devtools("Emulation.setEmulatedMedia", &features);
    }

    /// Sends no more than so many bytes a second from now on.
    pub fn upload_slowly(&self, bytes: u32) {
        let line = json!({ "offline": false, "latency": 20, "downloadThroughput": -1, "uploadThroughput": bytes });
        self.devtools("Network.enable", &json!({}));
        self.devtools("Network.emulateNetworkConditions", &line);
    }

    /// A picture of what is on the screen, as PNG.
    pub fn picture(&self, path: &Path) {
        let shot = self.devtools("Page.captureScreenshot", &json!({ "format": "png" }));
        let png = STANDARD.decode(shot["data"].as_str().expect("the picture's data")).expect("base64");
        std::fs::write(path, png).expect("the picture is written");
    }

    /// Everything that was written to the console's log since the last time: errors, violations of the policy.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.ask("POST", &format!("/session/{}/se/log", self.session), &json!({ "type": "browser" }));
        let lines = log.as_array().map_or(&[][..], Vec::as_slice);
        lines
            .iter()
            .filter(|line| line["level"] == "SEVERE" || line["level"] == "WARNING")
            .filter_map(|line| line["message"].as_str().map(str::to_owned))
            // A resize right after a navigation cuts its transition short, which Chromium reports as an error.
            .filter(|line| !line.contains("Transition was aborted") && !line.contains("Transition was skipped"))
            .collect()
    }

    /// What on the page would shut somebody out, as axe-core finds it: contrast, names, order, roles.
    pub async fn barriers(&self) -> Vec<String> {
        let axe = concat!(env!("AEGIS_PACK"), "/tests/axe.min.js");
        let axe = std::fs::read_to_string(axe).expect("axe-core is there; packaging/fetch --tests brings it");
        // Past the transition to the page and the change of colours, during which nothing has its own contrast.
        tokio::time::sleep(Duration::from_millis(250)).await;
        let found = self
            .run(
                &format!("{axe}; return axe.run().then((found) => found.violations.map((v) => v.id + ': ' + v.nodes.map((n) => n.html).join(' ')))"),
                vec![],
            )
            .await;
        found.as_array().expect("axe-core answers with a list").iter().map(Value::to_string).collect()
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters });
        self.ask("POST", &format!("/session/{}/goog/cdp/execute", self.session), &body)
    }

    /// A command that fantoccini does not know.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut answer = self.send(method, path, body).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(answer["value"]["error"].is_null(), "{path}: {}", answer["value"]);
        answer["value"].take()
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> std::io::Result<Value> {
        let body = body.to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        // It keeps the connection open whatever it is asked, so the length decides.
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            match line.trim().to_ascii_lowercase().split_once(':') {
                Some(("content-length", value)) => length = value.trim().parse().map_err(std::io::Error::other)?,
                None if line.trim().is_empty() => break,
                _ => {}
            }
        }
        let mut json = vec![0; length];
        reader.read_exact(&mut json)?;
        Ok(serde_json::from_slice(&json)?)
    }
}

impl Drop for Browser {
    /// The browser is ended through its driver; killing the driver alone would leave it.
    fn drop(&mut self) {
        let ended = self.send("DELETE", &format!("/session/{}", self.session), &json!({}));
        self.driver.kill().expect("chromedriver is told to end");
        self.driver.wait().expect("chromedriver ends");
        assert!(ended.is_ok() || std::thread::panicking(), "the browser did not end: {ended:?}");
    }
}

/// chromedriver says which port it has chosen.
fn port(output: impl Read) -> u16 {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        if let Some((_, rest)) = line.split_once("started successfully on port ") {
            return rest.trim_end_matches('.').parse().expect("a port");
        }
    }
    panic!("chromedriver ended without saying its port");
}
