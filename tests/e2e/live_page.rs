//! The live view of the statistics page, and the page's form under a real click: in Chromium, under load, with a
//! server that fails. What drains tells how far it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::browser::Browser;
use crate::support::http::{Message, Origin, Wire, get, ok};
use crate::support::{Daemon, PATIENCE, Server, USUAL, port, until};

/// Text that would be an element where it was taken for markup.
const EVIL: &str = "<img src=x onerror=document.title='taken'>";

/// A client that asks again and again until it is dropped.
struct Load {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    fn on(port: u16) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&ends);
        let thread = std::thread::spawn(move || {
            while !until.load(Relaxed) {
                let _ = crate::support::ask(port, "GET / HTTP/1.0\r\n\r\n");
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        Self {
            ends,
            thread: Some(thread),
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.ends.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn config(port: u16, good: &str, failing: &str) -> String {
    format!(
        "{USUAL} mode http\n timeout http-request 5s\nfrontend web\n bind 127.0.0.1:{port}\n stats uri /stats\n \
         stats admin if {{ src 127.0.0.1 }}\n default_backend app\nbackend app\n option httpchk GET /check\n \
         server good {good} check inter 200ms\n server bad {failing} check inter 200ms fall 1\n"
    )
}

/// A server of both kinds of answer: its checks are refused with a reason that is markup, in HTML at least.
fn failing() -> Origin {
    Origin::new(|_: &Message| format!("HTTP/1.1 500 {EVIL}\r\nContent-Length: 0\r\n\r\n"))
}

// L08
#[test]
fn the_live_view_draws_and_goes_on_when_the_balancer_is_back() {
    let (good, bad, port) = (Origin::named("hello"), failing(), port());
    let text = config(port, &good.addr(), &bad.addr());
    let daemon = Daemon::start(&text);
    daemon.admin().wait_status("app", "bad", "DOWN");
    let load = Load::on(port);
    let mut browser = Browser::start();
    browser.resize(1920, 1080);
    browser.prefer("light");
    browser.open(&format!("http://127.0.0.1:{port}/stats;live"));
    browser.wait("document.getElementById('state').className == 'live'");
    // It draws: there are points in every graph, and numbers beside them.
    browser
        .wait("[...document.querySelectorAll('#focus canvas')].every(c => c.dataset.points > 2)");
    browser.wait("[...document.querySelectorAll('#wall canvas')].every(c => c.dataset.points > 2)");
    browser.wait("/requests [1-9]/.test(document.querySelector('#focus .keys').textContent)");
    let even = browser.picture();
    assert!(even > 20_000, "a picture of {even} bytes shows nothing");
    // The failing server is told by word and shape, and its reason as text.
    let chip = "[...document.querySelectorAll('.chips .down')].map(c => c.textContent).join()";
    assert_eq!(browser.text(chip), "▼ bad DOWN");
    browser.wait(&format!(
        "document.getElementById('news').textContent.includes({})",
        serde_json::json!(EVIL)
    ));
    assert_eq!(browser.value("document.images.length"), 0);
    // A server is chosen by a click on it.
    browser.click(".chips .down");
    browser.wait("document.querySelector('#focus h2 span').textContent == 'app / bad'");
    assert_eq!(
        browser.text("decodeURIComponent(location.hash)"),
        "#app/bad"
    );
    // Light and dark, as the system has it, and by the switch.
    let shade = "getComputedStyle(document.body).backgroundColor";
    let light = browser.text(shade);
    browser.prefer("dark");
    browser.wait(&format!("{shade} != '{light}'"));
    browser.click("#theme");
    browser.wait(&format!("{shade} == '{light}'"));
    // A phone needs no sidewise scrolling.
    browser.resize(390, 844);
    browser.wait("document.documentElement.scrollWidth <= 390");
    // Nobody answers: it says so, and keeps what it has.
    daemon.signal(Signal::SIGTERM);
    drop((load, daemon));
    browser.wait("document.getElementById('state').textContent.includes('not reachable since')");
    assert!(browser.value("filled").as_u64() > Some(3));
    browser.value("draw()");
    assert_eq!(
        browser.value("last(series.get('web/FRONTEND'), 'rate') > 0"),
        true
    );
    // Another process with other counters: no second of it is a spike.
    let daemon = Daemon::start(&text);
    let load = Load::on(port);
    browser.wait("document.getElementById('state').className == 'live'");
    browser.wait("marks.length == 1 && last(series.get('web/FRONTEND'), 'rate') > 0");
    let rates = "[...series.get('web/FRONTEND').rings.rate].filter(v => v == v)";
    let (most, least) = (
        browser.value(&format!("Math.max(...{rates})")),
        browser.value(&format!("Math.min(...{rates})")),
    );
    assert!(
        most.as_f64() < Some(500.0) && least.as_f64() >= Some(0.0),
        "{least} to {most}"
    );
    assert_eq!(browser.problems(), [""; 0]);
    drop((load, daemon));
}

#[test]
fn a_click_on_the_page_puts_a_server_into_maintenance_and_the_live_view_shows_it() {
    let (good, bad, port) = (Origin::named("hello"), Origin::named("too"), port());
    let daemon = Daemon::start(&config(port, &good.addr(), &bad.addr()));
    daemon.admin().wait_status("app", "good", "UP");
    let mut browser = Browser::start();
    browser.resize(1200, 900);
    browser.open(&format!("http://127.0.0.1:{port}/stats"));
    browser.wait("document.querySelector('input[name=s]') != null");
    let told = "document.body.innerText.includes('Action processed successfully')";
    for (action, status) in [("maint", "MAINT"), ("ready", "UP"), ("drain", "DRAIN")] {
        browser.click("input[name=s][value=good]");
        assert_eq!(
            browser.value("document.querySelector('input[value=good]').checked"),
            true
        );
        browser.value(&format!(
            "document.querySelector('select').value = '{action}'"
        ));
        browser.click("input[type=submit]");
        browser.wait(told);
        daemon.admin().wait_status("app", "good", status);
        browser.open(&format!("http://127.0.0.1:{port}/stats"));
        browser.wait(&format!("document.readyState == 'complete' && !{told}"));
    }
    browser.click("nav.opt a[href='/stats;live']");
    browser.wait("document.querySelector('.chips .drain') != null");
    let chip = "document.querySelector('.chips .drain').textContent";
    assert_eq!(browser.text(chip), "◆ good DRAIN: no connection left");
    browser.click("header nav a");
    browser.wait("location.pathname == '/stats'");
    assert_eq!(browser.problems(), [""; 0]);
}

#[test]
fn the_live_view_asks_for_the_password_of_the_page_and_shows_its_scope() {
    let port = port();
    let _daemon = Daemon::start(&format!(
        "{USUAL} mode http\nlisten web\n bind 127.0.0.1:{port}\n stats uri /s\n stats auth a:b\n stats scope .\n \
         stats refresh 5s\nlisten secret\n bind 127.0.0.1:{}\n",
        crate::support::port()
    ));
    for part in [";live", ";live.js", ";live.css", ";live-data"] {
        let target = format!("/s{part}");
        assert_eq!(get(port, &target, "").status(), 401, "{part}");
        let seen = get(port, &target, "Authorization: Basic YTpi\r\n");
        assert_eq!(seen.status(), 200, "{part}");
        assert!(!seen.body.contains("secret"), "{part}");
        let policy = seen.get("content-security-policy").unwrap_or_default();
        assert!(
            policy.starts_with("default-src 'none';"),
            "{part}: {policy}"
        );
        assert_eq!(seen.get("refresh"), None, "{part}");
    }
    let open = get(port, "/s;live-data", "Authorization: Basic YTpi\r\n");
    assert!(open.body.contains("\nweb,FRONTEND,"), "{}", open.body);
}

/// Two requests with a server that is drained, one of them 1.2 s older than the other.
#[test]
fn what_drains_tells_how_many_connections_are_left_and_how_old_the_oldest_is() {
    let slow = Origin::new(|asked: &Message| {
        if asked.target() == "/slow" {
            std::thread::sleep(3 * PATIENCE);
        }
        ok("", "done")
    });
    let tcp = Server::echo();
    let (web, raw) = (port(), port());
    let daemon = Daemon::start(&format!(
        "{USUAL} mode http\nlisten web\n bind 127.0.0.1:{web}\n stats uri /stats\n server s {}\n\
         listen raw\n mode tcp\n bind 127.0.0.1:{raw}\n server t {}\n",
        slow.addr(),
        tcp.addr()
    ));
    let admin = daemon.admin();
    let told = |name: &str| {
        let text = admin.run("show drain");
        let line = text.lines().find(|line| line.starts_with(name));
        line.map(str::to_owned)
    };
    assert_eq!(told("web/s"), None, "it is not left");
    let mut held = crate::support::connect(raw);
    crate::support::talk(&mut held, "x");
    let mut waiting: Vec<Wire> = (0..2).map(|_| Wire::to(web)).collect();
    waiting[0].send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
    std::thread::sleep(Duration::from_millis(1200));
    waiting[1].send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
    until("both are with the server", || {
        admin.count("web", "s", "scur") == 2
    });
    admin.run("set server web/s state drain");
    admin.run("set server raw/t state maint");
    let line = told("web/s").expect("it drains");
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!(words[..3], ["web/s", "DRAIN", "2"]);
    assert!((1..10).contains(&words[3].parse().unwrap()), "{line}");
    let other = told("raw/t").expect("it is in maintenance");
    assert!(other.starts_with("raw/t MAINT 1 "), "{other}");
    let process = told("process").expect("always told");
    assert!(process.starts_with("process RUNNING 3 "), "{process}");
    // The page tells the same, and the live view.
    until("the page tells it", || {
        get(web, "/stats", "")
            .body
            .contains("<small>2 left, oldest ")
    });
    let data = get(web, "/stats;live-data", "").body;
    let line = serde_json::from_str::<serde_json::Value>(data.lines().next().unwrap()).unwrap();
    let leaving = line["leaving"].as_array().unwrap();
    let of = |name: &str| leaving.iter().find(|l| l["sv"] == name).unwrap();
    assert_eq!((&of("s")["left"], &of("t")["left"]), (&2.into(), &1.into()));
    assert!(of("s")["oldest"].as_i64() >= Some(1200), "{line}");
    // A process that stops is left, too.
    daemon.signal(Signal::SIGUSR1);
    until("the process stops", || {
        told("process").is_some_and(|line| line.starts_with("process STOPPING 3 "))
    });
}
