//! Clients of others: curl, ab, wrk, Python's http.client, a WebSocket from a script and from a browser.

use std::process::Command;
use std::time::Duration;

use crate::support::client::connect_to;
use crate::support::component::{Component, run};
use crate::support::http::{Message, Origin, ok};
use crate::support::{Daemon, PATIENCE, TempDir, port, until, within};

/// A balancer before `server`, and its port.
fn before(server: &str) -> (Daemon, u16) {
    let port = port();
    let daemon = Daemon::start(&format!(
        "defaults\n mode http\n balance roundrobin\n timeout connect 2s\n timeout client 10s\n timeout server 10s\n \
         timeout http-request 5s\nfrontend f\n bind 127.0.0.1:{port}\n option forwardfor\n default_backend b\nbackend b\n server s {server}\n"
    ));
    (daemon, port)
}

/// A server of files: `/file` has 10 bytes, `/big` 1 MB; other requests are told how long their body was.
fn origin() -> Origin {
    Origin::new(|asked: &Message| {
        let path = asked.target().split('?').next().unwrap_or_default();
        let body = match path {
            "/file" => "0123456789".to_owned(),
            "/big" => "b".repeat(1_000_000),
            _ => format!("got {}", asked.body.len()),
        };
        match asked.method() {
            "HEAD" => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()),
            _ => ok("", &body),
        }
    })
}

fn nginx(dir: &TempDir) -> (Component, u16) {
    let (home, port) = (dir.subdir("nginx"), port());
    let numbers: String = (0..1000).map(|n| format!("{n:04}\n")).collect();
    std::fs::write(format!("{home}/numbers"), numbers).unwrap();
    let file = dir.write(
        "nginx.conf",
        &format!(
            "user root;\npid {home}/pid;\nerror_log {home}/error.log;\nworker_processes 1;\nevents {{}}\nhttp {{\n access_log off;\n \
             client_body_temp_path {home}/t1;\n proxy_temp_path {home}/t2;\n fastcgi_temp_path {home}/t3;\n \
             uwsgi_temp_path {home}/t4;\n scgi_temp_path {home}/t5;\n server {{ listen 127.0.0.1:{port}; root {home}; }}\n}}\n"
        ),
    );
    let mut command = Command::new("nginx");
    command.args([
        "-c",
        &file,
        "-p",
        &home,
        "-g",
        "daemon off; master_process off;",
    ]);
    let nginx = Component::start(dir, "nginx.out", &mut command);
    let addr = ([127, 0, 0, 1], port).into();
    until("nginx listens", || connect_to(addr).is_ok());
    (nginx, port)
}

fn curl(dir: &TempDir, words: &[&str]) -> String {
    run(
        dir,
        Command::new("curl")
            .args(["-sS", "--max-time", "15"])
            .args(words),
    )
}

fn script(name: &str) -> String {
    format!("{}/tests/e2e/clients/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn curl_keeps_its_connection_and_speaks_the_old_version() {
    let (dir, origin) = (TempDir::new(), origin());
    let (_daemon, port) = before(&origin.addr());
    let url = format!("http://127.0.0.1:{port}/file");
    let said = curl(
        &dir,
        &["-w", " %{http_code} %{num_connects}\n", &url, &url, &url],
    );
    assert_eq!(
        said,
        "0123456789 200 1\n0123456789 200 0\n0123456789 200 0\n"
    );
    let said = curl(&dir, &["-0", "-i", &url]);
    assert!(
        said.starts_with("HTTP/1.") && said.ends_with("\r\n\r\n0123456789"),
        "{said}"
    );
    assert_eq!(origin.last().word(2), "HTTP/1.0");
    let said = curl(&dir, &["-I", &url]);
    assert!(
        said.contains("200 OK") && said.to_ascii_lowercase().contains("content-length: 10"),
        "{said}"
    );
}

#[test]
fn curl_uploads_with_expect_and_in_chunks() {
    let (dir, origin) = (TempDir::new(), origin());
    let (_daemon, port) = before(&origin.addr());
    let url = format!("http://127.0.0.1:{port}/upload");
    let file = dir.write("body", &"u".repeat(1_500_000));
    let data = format!("@{file}");
    let began = std::time::Instant::now();
    let said = curl(
        &dir,
        &[
            "-v",
            "-H",
            "Expect: 100-continue",
            "--expect100-timeout",
            "8",
            "--data-binary",
            &data,
            &url,
        ],
    );
    assert!(
        said.contains("100 Continue") && said.contains("got 1500000"),
        "{said}"
    );
    assert!(
        began.elapsed() < Duration::from_secs(7),
        "it did not wait in vain"
    );
    let said = curl(
        &dir,
        &[
            "-H",
            "Transfer-Encoding: chunked",
            "-H",
            "Expect:",
            "-T",
            &file,
            &url,
        ],
    );
    assert_eq!(said, "got 1500000");
    assert_eq!(origin.last().method(), "PUT");
}

#[test]
fn curl_gets_ranges_and_unchanged_files_of_nginx() {
    let dir = TempDir::new();
    let (_nginx, server) = nginx(&dir);
    let (_daemon, port) = before(&format!("127.0.0.1:{server}"));
    let url = format!("http://127.0.0.1:{port}/numbers");
    assert_eq!(curl(&dir, &["-r", "500-509", &url]), "0100\n0101\n");
    let several = curl(&dir, &["-i", "-r", "0-4,10-14", &url]);
    assert!(
        several.contains("206 Partial") && several.contains("0000\n") && several.contains("0002\n"),
        "{several}"
    );
    let head = curl(&dir, &["-I", &url]);
    let tag = head.lines().find_map(|line| {
        line.strip_prefix("etag: ")
            .or_else(|| line.strip_prefix("ETag: "))
    });
    let unless = format!("If-None-Match: {}", tag.expect("an entity tag").trim());
    let again = curl(
        &dir,
        &["-o", "/dev/null", "-w", "%{http_code}", "-H", &unless, &url],
    );
    assert_eq!(again, "304");
    // Compressed by neither, whole at any speed.
    assert_eq!(curl(&dir, &["--limit-rate", "20k", &url]).len(), 5000);
}

#[test]
fn ab_runs_with_and_without_keep_alive() {
    let dir = TempDir::new();
    let (_nginx, server) = nginx(&dir);
    let (_daemon, port) = before(&format!("127.0.0.1:{server}"));
    let url = format!("http://127.0.0.1:{port}/numbers");
    for options in [&["-k"][..], &[]] {
        let said = run(
            &dir,
            Command::new("ab")
                .args(["-q", "-n", "2000", "-c", "20"])
                .args(options)
                .arg(&url),
        );
        let line = |name: &str| {
            let line = said.lines().find(|line| line.starts_with(name));
            line.and_then(|l| l.split_ascii_whitespace().last())
                .unwrap_or_default()
                .to_owned()
        };
        assert_eq!(line("Complete requests:"), "2000", "{said}");
        assert_eq!(line("Failed requests:"), "0", "{said}");
        assert!(!said.contains("Non-2xx"), "{said}");
        if !options.is_empty() {
            assert_eq!(line("Keep-Alive requests:"), "2000", "{said}");
        }
    }
}

#[test]
fn wrk_finds_nothing_to_complain_of() {
    let dir = TempDir::new();
    let (_nginx, server) = nginx(&dir);
    let (_daemon, port) = before(&format!("127.0.0.1:{server}"));
    let url = format!("http://127.0.0.1:{port}/numbers");
    let mut wrk = Command::new("wrk");
    let said = run(&dir, wrk.args(["-t1", "-c20", "-d2s", &url]));
    // It names what went wrong only where something did.
    assert!(
        !said.contains("Socket errors") && !said.contains("Non-2xx"),
        "{said}"
    );
    let count = said.lines().find_map(|l| l.split_once(" requests in"));
    let count: u32 = count.map_or(0, |(n, _)| n.trim().parse().unwrap_or(0));
    assert!(count >= 20, "{said}");
}

#[test]
fn pythons_client_does_all_on_one_connection() {
    let (dir, origin) = (TempDir::new(), origin());
    let (_daemon, port) = before(&origin.addr());
    let said = run(
        &dir,
        Command::new("python3").args([&script("http_client.py"), &port.to_string()]),
    );
    assert_eq!(said, "well\n");
}

/// A server that sends back what it gets by WebSocket, and its port.
fn websocket_echo(dir: &TempDir) -> (Component, u16) {
    let (script, port) = (script("websocket.py"), port());
    let mut command = Command::new("python3");
    let args = [&script, "server", &port.to_string()];
    let echo = Component::start(dir, "echo.out", command.args(args));
    let addr = ([127, 0, 0, 1], port).into();
    until("it listens", || connect_to(addr).is_ok());
    (echo, port)
}

#[test]
fn a_websocket_echoes_through_it() {
    let dir = TempDir::new();
    let (_echo, server) = websocket_echo(&dir);
    let (_daemon, port) = before(&format!("127.0.0.1:{server}"));
    let said = run(
        &dir,
        Command::new("python3").args([&script("websocket.py"), "client", &port.to_string(), "200"]),
    );
    assert_eq!(said, "200 echoed\n");
}

#[test]
fn a_page_in_a_browser_talks_by_websocket_through_it() {
    let (dir, port) = (TempDir::new(), port());
    let (_echo, server) = websocket_echo(&dir);
    let page = std::fs::read_to_string(script("websocket.html")).unwrap();
    let pages = Origin::new(move |asked: &Message| match asked.target() {
        "/page" => ok("Content-Type: text/html\r\n", &page),
        "/report" => ok("", ""),
        _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
    });
    let _daemon = Daemon::start(&format!(
        "defaults\n mode http\n timeout connect 2s\n timeout client 10s\n timeout server 10s\n timeout tunnel 1m\n\
         frontend f\n bind 127.0.0.1:{port}\n option forwardfor\n use_backend chat if {{ hdr(Upgrade) -i websocket }}\n \
         default_backend pages\n\
         backend pages\n server p {}\nbackend chat\n server c 127.0.0.1:{server}\n",
        pages.addr()
    ));
    let profile = format!("--user-data-dir={}", dir.subdir("profile"));
    let url = format!("http://127.0.0.1:{port}/page");
    let mut command = Command::new("chromium");
    command.args(["--headless", "--no-sandbox", "--disable-gpu"]);
    command.args(["--disable-dev-shm-usage", "--no-first-run"]);
    // Nothing but the page's own traffic, and that without a proxy.
    command.args(["--disable-background-networking", "--no-proxy-server"]);
    command.args(["--remote-debugging-port=0", &profile, &url]);
    let mut browser = Component::start(&dir, "browser.out", &mut command);
    let report = || {
        let asked = pages.asked();
        asked.into_iter().find(|m| m.target() == "/report")
    };
    // A browser starts slowly where much else runs.
    let came = within(3 * PATIENCE, || report().is_some());
    assert!(came, "no report came from the page");
    browser.stop();
    let report = report().expect("seen just now");
    assert_eq!(report.body, "60 echoed, code 1000, clean true");
    assert_eq!(report.get("X-Forwarded-For"), Some("127.0.0.1"));
}
