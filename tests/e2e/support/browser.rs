//! Chromium without a window, driven by its DevTools protocol: one page, real clicks, what it says of itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::component::Component;
use super::http::Wire;
use super::{PATIENCE, TempDir, connect, until, within};

/// A browser with one page; ended on drop.
pub(crate) struct Browser {
    _chromium: Component,
    _dir: TempDir,
    socket: BufReader<TcpStream>,
    calls: u64,
    problems: Vec<String>,
}

impl Browser {
    pub(crate) fn start() -> Self {
        let dir = TempDir::new();
        let profile = dir.subdir("profile");
        let mut command = Command::new("chromium");
        command.args(["--headless", "--no-sandbox", "--disable-gpu"]);
        command.args(["--disable-dev-shm-usage", "--no-first-run"]);
        // Nothing but the page's own traffic, and that without a proxy.
        command.args(["--disable-background-networking", "--no-proxy-server"]);
        let profile_arg = format!("--user-data-dir={profile}");
        command.args(["--remote-debugging-port=0", &profile_arg, "about:blank"]);
        let chromium = Component::start(&dir, "browser.out", &mut command);
        let told = || std::fs::read_to_string(format!("{profile}/DevToolsActivePort")).ok();
        // A browser starts slowly where much else runs.
        within(4 * PATIENCE, || {
            told().is_some_and(|text| text.lines().count() > 1)
        });
        let text = told().expect("Chromium tells its port");
        let port = text.lines().next().unwrap().parse().unwrap();
        let (socket, address) = page_of(port);
        let mut browser = Self {
            _chromium: chromium,
            _dir: dir,
            socket: BufReader::new(socket),
            calls: 0,
            problems: Vec::new(),
        };
        browser.greet(port, &address);
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser
    }

    /// Becomes a WebSocket (RFC 6455, section 4).
    fn greet(&mut self, port: u16, path: &str) {
        let hello = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        self.socket.get_mut().write_all(hello.as_bytes()).unwrap();
        let mut line = String::new();
        while line.trim_end() != "" || line.is_empty() {
            line.clear();
            assert!(self.socket.read_line(&mut line).unwrap() > 0, "no answer");
        }
    }

    fn send(&mut self, text: &str) {
        // A text in one frame, masked with zeros: it stays as it is.
        let mut frame = vec![0x81];
        match text.len() {
            n @ 0..126 => frame.push(0x80 | n as u8),
            n @ 126..0x1_0000 => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&(n as u16).to_be_bytes());
            }
            n => {
                frame.push(0x80 | 127);
                frame.extend_from_slice(&(n as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(text.as_bytes());
        self.socket.get_mut().write_all(&frame).unwrap();
    }

    /// One whole message.
    fn receive(&mut self) -> Value {
        let mut all = Vec::new();
        loop {
            let mut head = [0; 2];
            self.socket.read_exact(&mut head).unwrap();
            let length = match head[1] & 0x7f {
                126 => {
                    let mut n = [0; 2];
                    self.socket.read_exact(&mut n).unwrap();
                    u64::from(u16::from_be_bytes(n))
                }
                127 => {
                    let mut n = [0; 8];
                    self.socket.read_exact(&mut n).unwrap();
                    u64::from_be_bytes(n)
                }
                n => u64::from(n),
            };
            let taken = self.socket.by_ref().take(length);
            assert_eq!({ taken }.read_to_end(&mut all).unwrap() as u64, length);
            if head[0] & 0x80 != 0 {
                return serde_json::from_slice(&all).unwrap();
            }
        }
    }

    /// Calls a method and gives its result; what the page complained of meanwhile is kept.
    pub(crate) fn call(&mut self, method: &str, params: &Value) -> Value {
        self.calls += 1;
        let id = self.calls;
        self.send(&json!({"id": id, "method": method, "params": params}).to_string());
        loop {
            let message = self.receive();
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            let told = match message["method"].as_str() {
                Some("Runtime.exceptionThrown") => true,
                Some("Log.entryAdded") => message["params"]["entry"]["source"] != "network",
                _ => false,
            };
            if told {
                self.problems.push(message["params"].to_string());
            }
        }
    }

    /// Exceptions of scripts, and what a policy forbade.
    pub(crate) fn problems(&self) -> &[String] {
        &self.problems
    }

    pub(crate) fn open(&mut self, url: &str) {
        let opened = self.call("Page.navigate", &json!({"url": url}));
        assert!(opened["errorText"].is_null(), "{url}: {opened}");
    }

    /// The value of an expression in the page.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        self.call("Runtime.evaluate", &params)["result"]["value"].clone()
    }

    pub(crate) fn text(&mut self, expression: &str) -> String {
        match self.value(expression) {
            Value::String(text) => text,
            other => other.to_string(),
        }
    }

    /// Waits until an expression is true in the page.
    #[track_caller]
    pub(crate) fn wait(&mut self, expression: &str) {
        let holds = within(3 * PATIENCE, || {
            std::thread::sleep(Duration::from_millis(50));
            self.value(expression) == true
        });
        let body = || "document.body && document.body.innerText";
        assert!(
            holds,
            "never true: {expression}\n{:?}\n{}",
            self.problems.clone(),
            self.text(body())
        );
    }

    /// Presses the mouse's button on the element, where it is.
    pub(crate) fn click(&mut self, selector: &str) {
        let place = self.value(&format!(
            "(() => {{ const e = document.querySelector({}); e.scrollIntoView({{block: 'center'}}); \
             const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }})()",
            json!(selector)
        ));
        assert!(place.is_array(), "no {selector}");
        for kind in ["mousePressed", "mouseReleased"] {
            let params = json!({"type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", &params);
        }
    }

    /// Size of the window, in pixels of the page.
    pub(crate) fn resize(&mut self, width: u32, height: u32) {
        let params = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.call("Emulation.setDeviceMetricsOverride", &params);
    }

    /// `light` or `dark`, as the user's system prefers.
    pub(crate) fn prefer(&mut self, scheme: &str) {
        let params = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", &params);
    }

    /// Length of a picture of the window as PNG, in bytes of Base64; an even surface is a short one.
    pub(crate) fn picture(&mut self) -> usize {
        let picture = self.call("Page.captureScreenshot", &json!({"format": "png"}));
        picture["data"].as_str().unwrap_or_default().len()
    }
}

/// A connection to the browser's page, and the path of its protocol.
fn page_of(port: u16) -> (TcpStream, String) {
    let mut path = None;
    until("a page in the browser", || {
        let mut wire = Wire::to(port);
        let host = format!("Host: 127.0.0.1:{port}");
        wire.send(format!("GET /json/list HTTP/1.1\r\n{host}\r\n\r\n"));
        let body = wire.last_answer("GET").body;
        let list: Value = serde_json::from_str(&body).unwrap_or_default();
        let pages = list.as_array().into_iter().flatten();
        let address = pages
            .filter(|target| target["type"] == "page")
            .find_map(|target| target["webSocketDebuggerUrl"].as_str());
        path = address.and_then(|a| Some(a[a.find("/devtools")?..].to_owned()));
        path.is_some()
    });
    let socket = connect(port);
    socket.set_read_timeout(Some(3 * PATIENCE)).unwrap();
    (socket, path.expect("found just now"))
}
