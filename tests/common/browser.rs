//! A headless Chromium, driven over its DevTools protocol: one page, what is in it, what it complained about.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use super::{DEADLINE, Site, eventually};

/// A browser with a profile of its own, at one page.
pub struct Browser {
    process: Child,
    socket: WebSocket<TcpStream>,
    asked: u64,
    /// Requests that it made, and what it complained about: scripts refused, exceptions.
    pub requests: Vec<String>,
    pub complaints: Vec<String>,
}

impl Browser {
    /// Starts it and opens `url`.
    #[track_caller]
    pub fn open(site: &Site, url: &str) -> Self {
        let profile = site.file("profile");
        let process = Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu"])
            .args(["--disable-quic", "--no-first-run", "--disable-sync"])
            .args(["--disable-background-networking"])
            .args(["--disable-component-update", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromium starts: scripts/test installs it");
        let page = eventually("chromium listens", || page_of(&profile));
        let at = page.strip_prefix("ws://").expect("a WebSocket");
        let at = at.split('/').next().expect("an address");
        let stream = TcpStream::connect(at).expect("connected");
        stream.set_read_timeout(Some(DEADLINE)).expect("time-out");
        let (socket, _) = tungstenite::client(page, stream).expect("a WebSocket");
        let mut this = Self {
            process,
            socket,
            asked: 0,
            requests: Vec::new(),
            complaints: Vec::new(),
        };
        for domain in ["Log", "Runtime", "Network", "Page"] {
            this.call(&format!("{domain}.enable"), json!({}));
        }
        this.call("Page.navigate", json!({ "url": url }));
        this
    }

    /// The window is so large, the colours are dark or light.
    #[track_caller]
    pub fn looks(&mut self, (width, height): (u32, u32), dark: bool) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", size);
        let scheme = if dark { "dark" } else { "light" };
        let scheme = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", scheme);
    }

    /// What an expression is there.
    #[track_caller]
    pub fn value(&mut self, expression: &str) -> Value {
        let given = json!({ "expression": expression, "returnByValue": true });
        let mut answer = self.call("Runtime.evaluate", given);
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {answer}"
        );
        answer["result"]["value"].take()
    }

    /// Waits until it is true there.
    #[track_caller]
    pub fn until(&mut self, expression: &str) {
        eventually(expression, || {
            (self.value(expression) == true).then_some(())
        });
    }

    #[track_caller]
    fn call(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let ask = json!({ "id": self.asked, "method": method, "params": params });
        let ask = Message::text(ask.to_string());
        self.socket.send(ask).expect("sent");
        loop {
            let message = self.socket.read().expect("an answer");
            let text = message.to_text().unwrap_or_default();
            let mut said: Value = serde_json::from_str(text).unwrap_or_default();
            if said["id"] == self.asked {
                return said["result"].take();
            }
            match said["method"].as_str().unwrap_or_default() {
                "Network.requestWillBeSent" => {
                    let url = said["params"]["request"]["url"].as_str();
                    self.requests.push(url.unwrap_or_default().to_owned());
                }
                "Log.entryAdded" | "Runtime.exceptionThrown" => {
                    self.complaints.push(said["params"].to_string());
                }
                _ => {}
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where the browser with this profile can be told what to do with its page.
fn page_of(profile: &Path) -> Option<String> {
    let port = fs::read_to_string(profile.join("DevToolsActivePort")).ok()?;
    let url = format!("http://127.0.0.1:{}/json", port.lines().next()?);
    let output = Command::new("curl")
        .args(["--silent", &url])
        .output()
        .ok()?;
    let targets: Value = serde_json::from_slice(&output.stdout).ok()?;
    let mut targets = targets.as_array()?.iter();
    let page = targets.find(|target| target["type"] == "page")?;
    page["webSocketDebuggerUrl"].as_str().map(str::to_owned)
}
