//! `ringway explain`, `diff` and `check`: what they say is what runs.

use std::net::UdpSocket;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::http::{Origin, get};
use crate::support::{Daemon, TempDir, balancer, on_haproxy, port, sized};

fn run(words: &[&str]) -> Output {
    let output = Command::new(balancer()).args(words).output();
    output.expect("the program starts")
}

fn explained(config: &str, words: &[&str]) -> Value {
    let fixed = ["explain", "-f", config, "--json"];
    let words: Vec<&str> = fixed.iter().chain(words).copied().collect();
    let output = run(&words);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{words:?}: {output:?}");
    serde_json::from_str(&text).unwrap_or_else(|why| panic!("{words:?}: {why}: {text}"))
}

// issue: seen from inside
#[test]
fn what_is_explained_is_what_a_running_balancer_does() {
    if on_haproxy() {
        return;
    }
    let names = ["u1", "u2", "c1", "c2", "d1"];
    let origins: Vec<Origin> = names.iter().map(|name| Origin::named(name)).collect();
    let at = |name: &str| {
        let index = names.iter().position(|n| *n == name).expect("a name");
        format!("server {name} {}", origins[index].addr())
    };
    let port = port();
    let config = format!(
        "defaults\n mode http\n timeout connect 2s\n timeout client 20s\n timeout server 20s\n option forwardfor\n\
         frontend f\n bind 127.0.0.1:{port}\n acl old path_beg /old/ /older/\n acl app req.hdr(x-app) -m found\n\
         \x20http-request deny deny_status 429 if {{ path_end .env }}\n\
         \x20http-request redirect prefix http://elsewhere code 301 if {{ path_beg /gone }} !app\n\
         \x20http-request set-header X-Old yes if old\n http-request replace-path /old/(.*) /new/\\1 if old\n\
         \x20http-request set-var(txn.kind) str(app) if app\n http-request del-header X-Secret\n\
         \x20use_backend cookies if app\n use_backend %[path,field(2,/)] if {{ path_beg /uri/ }}\n default_backend d\n\
         backend uri\n balance uri\n {}\n {}\n\
         backend cookies\n cookie SRV insert indirect\n http-request set-header X-Kind %[var(txn.kind)]\n\
         \x20use-server c2 if {{ path /two }}\n http-response set-header X-Via cookies\n {} cookie one\n {} cookie two\n\
         backend d\n http-request auth if {{ path /auth }}\n {}\n",
        at("u1"),
        at("u2"),
        at("c1"),
        at("c2"),
        at("d1")
    );
    let dir = TempDir::new();
    let file = dir.write("cfg", &config);
    let _daemon = Daemon::start(&config);
    let paths = [
        "/",
        "/old/a",
        "/older/b",
        "/gone/x",
        "/.env",
        "/uri/1",
        "/uri/2",
        "/uri/3?q=1",
        "/two",
        "/auth",
        "/new",
    ];
    let fields = [
        &[][..],
        &["X-Secret: 1"],
        &["X-App: a", "Cookie: SRV=one; k=v"],
        &["X-App: b", "Cookie: SRV=two"],
    ];
    let mut compared = 0;
    for (n, path) in paths.iter().enumerate() {
        for (m, fields) in fields.iter().enumerate() {
            // Each path with some fields, each fields with some paths; all of them on request.
            if (n + m) % sized(2, 1) != 0 {
                continue;
            }
            compared += 1;
            let asked = format!("GET {path}");
            let mut words = vec![asked.as_str(), "-H", "Host: h", "--src", "127.0.0.1"];
            words.extend(fields.iter().flat_map(|field| ["-H", field]));
            let told = explained(&file, &words);
            let lines: String = fields.iter().map(|f| format!("{f}\r\n")).collect();
            origins.iter().for_each(|origin| drop(origin.drain()));
            let answer = get(port, path, &lines);
            let place = format!("{path} {fields:?}: {told:#}");
            assert_eq!(told["status"], answer.status(), "{place}");
            let came: Vec<_> = origins.iter().map(Origin::drain).collect();
            let server = came.iter().position(|asked| !asked.is_empty());
            let name = server.map(|at| names[at]);
            assert_eq!(told["server"]["name"].as_str(), name, "{place}");
            let Some(server) = server else { continue };
            let request = &came[server][0];
            let sent = &told["sent"][0]["request"];
            assert_eq!(sent["uri"], request.target(), "{place}");
            let headers: Vec<(String, String)> =
                serde_json::from_value(sent["headers"].clone()).expect("pairs");
            assert_eq!(headers, request.fields, "{place}");
            let received = &told["received"][0]["headers"];
            let via = received.as_array().into_iter().flatten();
            let via = via.into_iter().find(|field| field[0] == "x-via");
            let via = via.and_then(|field| field[1].as_str());
            assert_eq!(via, answer.get("x-via"), "{place}");
        }
    }
    assert!(compared >= 20, "{compared} requests were compared");
}

// issue: seen from inside
#[test]
fn explaining_leaves_nothing_and_tells_nobody() {
    if on_haproxy() {
        return;
    }
    let log = UdpSocket::bind("127.0.0.1:0").unwrap();
    log.set_nonblocking(true).unwrap();
    let dir = TempDir::new();
    let admin = dir.file("admin");
    let config = format!(
        "global\n log {} local0\n stats socket {admin}\n pidfile {}\n\
         defaults\n mode http\n log global\n option httplog\n timeout connect 2s\n timeout client 2s\n timeout server 2s\n\
         frontend f\n bind 127.0.0.1:1\n bind unix@{}\n default_backend b\n\
         backend b\n server s 127.0.0.1:1 check\n",
        log.local_addr().unwrap(),
        dir.file("pid"),
        dir.file("front")
    );
    let file = dir.write("cfg", &config);
    assert_eq!(explained(&file, &["GET /"])["result"], "server");
    let mut left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    left.clear();
    assert!(log.recv(&mut [0; 2000]).is_err(), "a line was sent");
}

// issue: seen from inside
#[test]
fn a_difference_is_told_by_the_exit_status_as_of_diff() {
    if on_haproxy() {
        return;
    }
    let dir = TempDir::new();
    let times = " timeout connect 1s\n timeout client 1s\n timeout server 1s\n";
    let one = dir.write(
        "one",
        &format!("listen l\n bind :1\n{times} server s 127.0.0.1:1\n"),
    );
    let same = dir.write(
        "same",
        &format!("# the same\ndefaults\n{times}listen l\n bind *:1\n server s 127.0.0.1:1\n"),
    );
    let other = dir.write(
        "other",
        &format!("listen l\n bind :2\n{times} server s 127.0.0.1:1\n"),
    );
    let bad = dir.write("bad", "listen l\n bnid :1\n");
    let code = |a: &str, b: &str| run(&["diff", a, b]).status.code();
    assert_eq!(code(&one, &same), Some(0));
    assert_eq!(code(&one, &other), Some(1));
    assert_eq!(code(&one, &bad), Some(2));
    let text = String::from_utf8(run(&["diff", &one, &other]).stdout).unwrap();
    assert!(
        text.contains("- bind 0.0.0.0:1") && text.contains("+ bind 0.0.0.0:2"),
        "{text}"
    );
}

// issue: seen from inside
#[test]
fn a_check_for_programs_is_json_and_its_status_that_of_the_plain_one() {
    if on_haproxy() {
        return;
    }
    let dir = TempDir::new();
    let good = dir.write(
        "good",
        "listen l\n bind unix@/tmp/x\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n server s 127.0.0.1:1\n",
    );
    let bad = dir.write("bad", "listen l\n bnid :1\n");
    for (file, words, status) in [
        (&good, &["--json"][..], 0),
        (&good, &["--json", "--probe"], 0),
        (&bad, &["--json"], 1),
    ] {
        let words: Vec<&str> = ["check", "-f", file].iter().chain(words).copied().collect();
        let output = run(&words);
        assert_eq!(output.status.code(), Some(status), "{words:?}: {output:?}");
        let path = dir.file("report");
        std::fs::write(&path, &output.stdout).unwrap();
        let tool = Command::new("python3")
            .args(["-m", "json.tool", &path])
            .output();
        assert!(tool.unwrap().status.success(), "{output:?}");
    }
}
