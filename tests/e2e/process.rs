//! Signals, pid files, replacing one process by the next.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::client::{hold, who};
use crate::support::daemon::listens;
use crate::support::{
    Daemon, Launch, Server, USUAL, UdpLog, balancer, closed_within, connect, on_haproxy, port,
    refused, talk, until,
};

fn serving(server: &Server) -> (Daemon, u16) {
    let front = port();
    (Daemon::start(&config(front, server)), front)
}

fn config(front: u16, server: &Server) -> String {
    format!(
        "{USUAL}listen l\n bind 127.0.0.1:{front}\n server s {}\n",
        server.addr()
    )
}

// R07, issue point 8
#[test]
fn sigusr1_refuses_the_new_and_ends_after_the_last_session() {
    let server = Server::named("A");
    let (mut daemon, front) = serving(&server);
    let (mut held, _) = hold(front);
    daemon.signal(Signal::SIGUSR1);
    until("new ones are refused", || refused(front));
    std::thread::sleep(Duration::from_millis(300));
    assert!(daemon.alive(), "a session is left");
    assert_eq!(talk(&mut held, "more"), "more");
    drop(held);
    let status = daemon
        .ended_within(Duration::from_secs(5))
        .expect("it ends after the last session");
    assert_eq!(status.code(), Some(0));
}

// R07
#[test]
fn a_frontend_with_grace_serves_on_after_sigusr1() {
    let server = Server::named("A");
    let (front, plain, log) = (port(), port(), UdpLog::new());
    let mut daemon = Daemon::start(&format!(
        "global\n log 127.0.0.1:{} local0\n{USUAL} log global\n\
         listen l\n grace 2s\n bind 127.0.0.1:{front}\n server s {} check inter 100\n\
         listen other\n bind 127.0.0.1:{plain}\n server s {}\n",
        log.port,
        server.addr(),
        server.addr()
    ));
    let start = Instant::now();
    daemon.signal(Signal::SIGUSR1);
    until("the other refuses new ones", || refused(plain));
    log.wait("Proxy other stopped");
    log.wait("Proxy l stops in 2000 ms.");
    assert_eq!(who(front), "A");
    std::thread::sleep(Duration::from_millis(1500).saturating_sub(start.elapsed()));
    assert_eq!(who(front), "A", "all through its grace");
    until("it refuses new ones", || refused(front));
    assert!(start.elapsed() >= Duration::from_millis(1960));
    log.wait("Proxy l stopped");
    let status = daemon.ended_within(Duration::from_secs(5));
    assert_eq!(status.expect("it ends").code(), Some(0));
}

// R08
#[test]
fn sigterm_ends_now() {
    let server = Server::named("A");
    let (mut daemon, front) = serving(&server);
    let (mut held, _) = hold(front);
    let start = Instant::now();
    daemon.signal(Signal::SIGTERM);
    let status = daemon
        .ended_within(Duration::from_secs(5))
        .expect("it ends");
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(status.signal(), Some(15), "the shell sees 143: {status:?}");
    closed_within(Duration::from_secs(2), &mut held);
    // The kernel frees the sockets of a ring a moment after its process ended.
    until("the port is closed", || refused(front));
}

// R08
#[test]
fn sigint_ends_now_too() {
    let server = Server::named("A");
    let (mut daemon, front) = serving(&server);
    daemon.signal(Signal::SIGINT);
    assert!(daemon.ended_within(Duration::from_secs(5)).is_some());
    // The kernel frees the sockets of a ring a moment after its process ended.
    until("the port is closed", || refused(front));
}

// R05, R06
#[test]
fn sigttou_refuses_the_new_and_sigttin_lets_them_in_again() {
    let server = Server::named("A");
    let (front, log) = (port(), UdpLog::new());
    // Without privileges and in a jail: whatever it needs to come back, it must have kept.
    let launch = Launch::new(&format!(
        "global\n log 127.0.0.1:{} local0\n chroot @DIR@/jail\n uid 65534\n gid 65534\n{}",
        log.port,
        config(front, &server).replace("listen l\n", "listen l\n log global\n")
    ));
    launch.dir().subdir("jail");
    let daemon = launch.start();
    let (mut held, _) = hold(front);
    for _ in 0..3 {
        daemon.signal(Signal::SIGTTOU);
        until("new ones are refused", || refused(front));
        assert_eq!(talk(&mut held, "still here"), "still here");
        daemon.signal(Signal::SIGTTIN);
        until("new ones are served", || who(front) == "A");
    }
    assert_eq!(talk(&mut held, "and here"), "and here");
    assert_eq!(log.wait_n("Paus", 3).len(), 3, "{:#?}", log.all());
}

// R04
#[test]
fn st_cuts_the_old_process_once_the_new_one_serves() {
    let server = Server::named("A");
    let (mut old, front) = serving(&server);
    let (mut held, _) = hold(front);
    let new = Launch::new(&config(front, &server))
        .arg("-st")
        .arg(&old.pid.to_string())
        .start();
    closed_within(Duration::from_secs(5), &mut held);
    assert!(old.ended_within(Duration::from_secs(5)).is_some());
    until("the new one serves", || who(front) == "A");
    assert!(listens(new.pid, front));
}

// R03 without listener passing
#[test]
fn sf_lets_the_old_process_finish_its_sessions() {
    let server = Server::named("A");
    let (mut old, front) = serving(&server);
    let (mut held, _) = hold(front);
    let _new = Launch::new(&config(front, &server))
        .arg("-sf")
        .arg(&old.pid.to_string())
        .start();
    until("the old one listens no more", || !listens(old.pid, front));
    assert_eq!(talk(&mut held, "old"), "old");
    until("the new one serves", || who(front) == "A");
    assert!(old.alive());
    drop(held);
    let status = old
        .ended_within(Duration::from_secs(5))
        .expect("it ends after its last session");
    assert_eq!(status.code(), Some(0));
}

// R03
#[test]
fn an_empty_list_of_old_pids_is_accepted() {
    let server = Server::named("A");
    let front = port();
    let _new = Launch::new(&config(front, &server)).arg("-sf").start();
    assert_eq!(who(front), "A");
}

// R10
#[test]
fn under_the_name_haproxy_it_is_found_as_haproxy() {
    let server = Server::named("A");
    let front = port();
    let launch = Launch::new(&config(front, &server));
    let link = launch.dir().file("haproxy");
    std::os::unix::fs::symlink(balancer(), &link).unwrap();
    let launch = Launch::of(link.into(), &config(front, &server));
    let daemon = launch.start();
    let comm = std::fs::read_to_string(format!("/proc/{}/comm", daemon.pid)).unwrap();
    assert_eq!(comm.trim_end(), "haproxy");
}

// R15
#[test]
fn two_instances_with_their_own_pidfiles_stand_side_by_side() {
    let server = Server::named("A");
    let [one, two] = [port(), port()];
    let config = |front| {
        format!(
            "global\n daemon\n quiet\n pidfile @DIR@/pid\nlisten 127.0.0.1:{front}\n mode tcp\n dispatch {}\n \
             contimeout 1000\n clitimeout 10000\n srvtimeout 10000\n",
            server.addr()
        )
    };
    let config = |front| {
        if !on_haproxy() {
            return config(front);
        }
        config(front)
            .replace(
                &format!("listen 127.0.0.1:{front}"),
                &format!("listen l\n bind 127.0.0.1:{front}"),
            )
            .replace("contimeout", "timeout connect")
            .replace("clitimeout", "timeout client")
            .replace("srvtimeout", "timeout server")
    };
    let start = |front| {
        let launch = Launch::new(&config(front));
        let pidfile = launch.dir().file("pid");
        launch.start_daemon(&pidfile)
    };
    let (mut first, second) = (start(one), start(two));
    assert_ne!(first.pid, second.pid);
    assert_eq!((who(one), who(two)), ("A".to_owned(), "A".to_owned()));
    first.signal(Signal::SIGTERM);
    assert!(first.ended_within(Duration::from_secs(5)).is_some());
    // The kernel frees the sockets of a ring a moment after its process ended.
    until("the port is closed", || refused(one));
    assert_eq!(who(two), "A");
}

// R19
#[test]
fn in_the_foreground_the_started_process_is_the_one_that_serves() {
    let server = Server::named("A");
    let front = port();
    // `daemon` in the file, `-db` on the line: a supervisor's choice wins.
    let mut daemon = Launch::new(&format!("global\n daemon\n{}", config(front, &server))).start();
    assert!(listens(daemon.pid, front));
    assert_eq!(daemon.admin().info()["Pid"], daemon.pid.to_string());
    daemon.signal(Signal::SIGUSR1);
    assert_eq!(
        daemon.ended_within(Duration::from_secs(5)).unwrap().code(),
        Some(0)
    );
    let broken = Launch::new("nonsense\n").arg("-db").run();
    assert_eq!(broken.code(), 1);
    assert!(!broken.text.is_empty());
}

// process flags
#[test]
fn the_version_says_which_haproxy_it_stands_for() {
    let finished = Launch::new("").arg("-v").run_bare();
    assert_eq!(finished.code(), 0);
    assert!(
        finished.text.starts_with("HAProxy version "),
        "{}",
        finished.text
    );
    let long = Launch::new("").arg("-vv").run_bare();
    assert_eq!(long.code(), 0);
    assert!(long.text.len() > finished.text.len());
}

// process flags
#[test]
fn an_unknown_switch_is_an_error() {
    let finished = Launch::new("").arg("--no-such-switch").run_bare();
    assert_eq!(finished.code(), 1, "{}", finished.text);
}

// process flags: -m -n
#[test]
fn the_switch_n_lowers_the_process_maxconn() {
    let server = Server::named("A");
    let front = port();
    let daemon = Launch::new(&config(front, &server))
        .arg("-n")
        .arg("33")
        .start();
    assert_eq!(daemon.admin().info_number("Maxconn"), 33);
    drop(daemon);
    let _ = connect;
}
