//! Commands that check servers (`option external-check`).

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::support::{Daemon, Launch, TempDir, USUAL, UdpLog, port, until, within};

/// A script of this name.
fn script(dir: &TempDir, name: &str, text: &str) -> String {
    let path = dir.write(name, &format!("#!/bin/sh\n{text}\n"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn config(global: &str, lines: &str) -> String {
    format!("{USUAL} option external-check\n").replacen("global\n", &format!("global\n{global}"), 1)
        + lines
}

const ALLOWED: &str = " external-check\n insecure-fork-wanted\n";

#[test]
fn a_command_says_how_its_server_is() {
    let dir = TempDir::new();
    let (switch, log) = (dir.file("up"), UdpLog::new());
    let look = script(&dir, "look", &format!("test -e {switch} || exit 7"));
    std::fs::write(&switch, "").unwrap();
    let daemon = Daemon::start(&config(
        &format!("{ALLOWED} log 127.0.0.1:{} local0\n", log.port),
        &format!(
            " log global\n option log-health-checks\nlisten l\n bind 127.0.0.1:{}\n external-check command {look}\n \
             external-check path /usr/bin:/bin\n server s 127.0.0.1:1 check inter 300 fall 1 rise 1\n",
            port()
        ),
    ));
    let admin = daemon.admin();
    until("it passed", || {
        admin.cell("l", "s", "check_status") == "PROCOK"
    });
    assert_eq!(admin.cell("l", "s", "check_desc"), "External check passed");
    assert_eq!(admin.cell("l", "s", "check_code"), "0");
    std::fs::remove_file(&switch).unwrap();
    log.wait("Health check for server l/s failed, reason: External check error, code: 7, check duration: ");
    admin.wait_status("l", "s", "DOWN");
    std::fs::write(&switch, "").unwrap();
    admin.wait_status("l", "s", "UP");
}

#[test]
fn a_command_gets_haproxys_words_and_no_other_environment_unless_it_is_preserved() {
    let dir = TempDir::new();
    for (preserve, word) in [(false, ""), (true, " preserve-env")] {
        let (told, front) = (dir.file(&format!("told{preserve}")), port());
        let tell = script(
            &dir,
            "tell",
            &format!(
                "{{ echo \"$@\"; env; ls /proc/self/fd | wc -l; }} > {told}.part && mv {told}.part {told}"
            ),
        );
        let _daemon = Launch::new(&config(
            &format!(" external-check{word}\n insecure-fork-wanted\n"),
            &format!(
                "listen l\n bind 127.0.0.1:{front}\n external-check command {tell}\n external-check path /usr/bin:/bin\n \
                 server s 127.0.0.2:81 check inter 500 maxconn 50 id 7\n"
            ),
        ))
        .env("OUTSIDE", "seen")
        .start();
        until("the command ran", || std::fs::exists(&told).unwrap());
        let text = std::fs::read_to_string(&told).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], format!("127.0.0.1 {front} 127.0.0.2 81"));
        for wanted in [
            "HAPROXY_PROXY_NAME=l",
            "HAPROXY_PROXY_ADDR=127.0.0.1",
            &format!("HAPROXY_PROXY_PORT={front}"),
            "HAPROXY_SERVER_NAME=s",
            "HAPROXY_SERVER_ID=7",
            "HAPROXY_SERVER_ADDR=127.0.0.2",
            "HAPROXY_SERVER_PORT=81",
            "HAPROXY_SERVER_MAXCONN=50",
            "HAPROXY_SERVER_CURCONN=0",
            "HAPROXY_SERVER_SSL=0",
            "HAPROXY_SERVER_PROTO=tcp",
            "PATH=/usr/bin:/bin",
        ] {
            assert!(lines.contains(&wanted), "{wanted} in {text}");
        }
        assert_eq!(lines.contains(&"OUTSIDE=seen"), preserve, "{text}");
    }
}

#[test]
fn a_command_that_takes_too_long_is_killed_with_all_it_started() {
    let dir = TempDir::new();
    let pids = dir.file("pids");
    let slow = script(
        &dir,
        "slow",
        &format!("sleep 60 & echo $$ $! >> {pids}\nwait"),
    );
    let daemon = Daemon::start(&config(
        ALLOWED,
        &format!(
            "listen l\n bind 127.0.0.1:{}\n external-check command {slow}\n external-check path /usr/bin:/bin\n \
             server s 127.0.0.1:1 check inter 500 fall 1\n server t 127.0.0.1:1 check inter 60s\n",
            port()
        ),
    ));
    let admin = daemon.admin();
    admin.wait_status("l", "s", "DOWN");
    assert!(admin.cell("l", "s", "check_status").ends_with("PROCTOUT"));
    let first: Vec<String> = std::fs::read_to_string(&pids)
        .unwrap()
        .split_ascii_whitespace()
        .take(2)
        .map(str::to_owned)
        .collect();
    let gone = |pid: &str| {
        // Whoever inherits the second one reaps it in time.
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .map_or(true, |stat| stat.contains(") Z "))
    };
    assert!(within(Duration::from_secs(5), || first
        .iter()
        .all(|pid| gone(pid))));
    let own = &first[0];
    assert!(
        within(Duration::from_secs(5), || !std::fs::exists(format!(
            "/proc/{own}"
        ))
        .unwrap()),
        "reaped"
    );
    // One of them still runs when the process ends, and ends with it.
    let start = Instant::now();
    drop(daemon);
    assert!(start.elapsed() < Duration::from_secs(10));
    let text = std::fs::read_to_string(&pids).unwrap();
    let all: Vec<&str> = text.split_ascii_whitespace().collect();
    assert!(within(Duration::from_secs(5), || all
        .iter()
        .all(|pid| gone(pid))));
}

#[test]
fn without_permission_to_start_processes_every_check_fails_and_says_why() {
    let daemon = Daemon::start(&config(
        " external-check\n",
        &format!(
            "listen l\n bind 127.0.0.1:{}\n external-check command /bin/true\n server s 127.0.0.1:1 check inter 200 fall 1\n",
            port()
        ),
    ));
    let admin = daemon.admin();
    admin.wait_status("l", "s", "DOWN");
    assert!(admin.cell("l", "s", "check_status").ends_with("SOCKERR"));
    assert_eq!(
        admin.cell("l", "s", "last_chk"),
        "'insecure-fork-wanted' is not set"
    );
}
