//! Messages for programs, and what a look at this machine finds.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::*;

/// Status and report of a configuration with these options.
fn run(config: &str, words: &[&str]) -> (u8, Value) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Relaxed);
    let name = format!("ringway-check-{}-{number}.cfg", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, config).expect("a place for files");
    let file = path.to_str().expect("a plain path");
    let fixed = ["check", "-f", file, "--json"];
    let words = fixed.iter().chain(words).copied();
    let options = Options::try_parse_from(words).expect("a right command line");
    let outcome = check(&options);
    let _ = std::fs::remove_file(&path);
    let value = serde_json::from_str(&outcome.report).expect("it is JSON");
    (outcome.status, value)
}

fn finding<'v>(value: &'v Value, what: &str, object: &str) -> &'v Value {
    let list = value["probe"].as_array().expect("it was probed");
    let is = |one: &&Value| one["what"] == what && one["object"].as_str() == Some(object);
    let found = list.iter().find(is);
    found.unwrap_or_else(|| panic!("no {what} '{object}' in {value:#}"))
}

const TIMES: &str = "defaults\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n";

#[test]
fn messages_come_with_their_place_and_their_remedy() {
    let (status, value) = run("listen l\n bind :8080\n blance roundrobin\n", &[]);
    assert_eq!((status, &value["valid"]), (1, &false.into()));
    let list = value["diagnostics"].as_array().expect("a list");
    let first = list.iter().find(|d| d["severity"] == "alert").expect("one");
    assert_eq!((&first["line"], &first["column"]), (&3.into(), &2.into()));
    assert_eq!(first["keyword"], "blance");
    assert_eq!(first["section"], "listen l");
    assert!(
        first["message"]
            .as_str()
            .is_some_and(|m| m.contains("did you mean 'balance'"))
    );
    assert!(value["probe"].is_null(), "nobody asked for it");
}

#[test]
fn the_status_is_that_of_the_check_on_the_command_line() {
    assert_eq!(run(&format!("{TIMES}listen l\n bind :8080\n"), &[]).0, 0);
    assert_eq!(run(TIMES, &[]).0, 2);
    assert_eq!(run("nonsense\n", &[]).0, 1);
}

#[test]
fn a_port_that_is_held_is_found_with_its_holder() {
    let held = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = held.local_addr().expect("its address").to_string();
    let config = format!("{TIMES}listen l\n bind {at}\n server s {at}\n server t 127.0.0.1:1\n");
    let (status, value) = run(&config, &["--probe"]);
    assert_eq!(status, 1);
    let port = finding(&value, "port", &at);
    assert_eq!(port["severity"], "error");
    let pid = format!("pid {}", std::process::id());
    assert!(
        port["message"].as_str().is_some_and(|m| m.contains(&pid)),
        "{port}"
    );
    assert_eq!(finding(&value, "server", "l/s")["severity"], "ok");
    let refused = finding(&value, "server", "l/t");
    assert_eq!(refused["severity"], "warning");
    drop(held);
}

#[test]
fn a_missing_user_is_found_and_does_not_hide_the_rest() {
    let config = format!(
        "global\n user nobody-of-that-name\n chroot /nowhere/at/all\n stats socket /nowhere/admin.sock\n{TIMES}listen l\n bind unix@/nowhere/l.sock\n"
    );
    let (status, value) = run(&config, &["--probe"]);
    assert_eq!((status, &value["valid"]), (1, &false.into()));
    let user = finding(&value, "user", "nobody-of-that-name");
    assert_eq!(user["severity"], "error");
    assert!(
        user["remedy"]
            .as_str()
            .is_some_and(|r| r.contains("useradd"))
    );
    assert_eq!(
        finding(&value, "chroot", "/nowhere/at/all")["severity"],
        "error"
    );
    let socket = finding(&value, "stats socket", "/nowhere/admin.sock");
    assert_eq!(socket["severity"], "error");
    assert!(
        value["probe"]
            .as_array()
            .is_some_and(|l| l.iter().any(|f| f["what"] == "ulimit"))
    );
}

#[test]
fn a_plain_report_has_a_line_for_each_thing_looked_at() {
    let finding = Finding::new(Grade::Error, "port", ":80", "is held").remedy("stop it");
    assert_eq!(
        finding.line(),
        "error    port :80: is held\n          = help: stop it\n"
    );
}
