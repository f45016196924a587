//! Starting and failing to start: what is told, and what is left undisturbed.

use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::client::{hold, who};
use crate::support::daemon::listens;
use crate::support::{
    Daemon, Launch, Server, USUAL, UdpLog, balancer, closed_within, on_haproxy, port, talk, until,
};

fn listen(front: u16, server: &Server) -> String {
    format!(
        "{USUAL}listen l\n bind 127.0.0.1:{front}\n server s {}\n",
        server.addr()
    )
}

// issue: bad input
#[test]
fn every_address_that_cannot_be_had_is_told_with_its_remedy() {
    let (taken, server) = (Server::silent(), Server::named("A"));
    let (busy, free) = (taken.port, port());
    let finished = Launch::new(&format!(
        "{USUAL}frontend f\n bind 127.0.0.1:{busy}\n bind 127.0.0.1:{free}\n bind 203.0.113.7:{free}\n default_backend b\nbackend b\n server s {}\n",
        server.addr()
    ))
    .run();
    assert_eq!(finished.code(), 1, "{}", finished.text);
    if on_haproxy() {
        return;
    }
    let told = finished.lines_with("for frontend f: protocol tcpv4: cannot bind socket");
    assert_eq!(told.len(), 2, "{}", finished.text);
    assert!(told[0].contains(&format!("(Address already in use) for [127.0.0.1:{busy}].")));
    assert!(told[1].contains("(Cannot assign requested address) for [203.0.113.7:"));
    for remedy in ["ss -ltnp", "transparent", "ip_nonlocal_bind"] {
        assert!(
            finished.text.contains(remedy),
            "{remedy}: {}",
            finished.text
        );
    }
}

// issue: a running instance is not disturbed
#[test]
fn a_start_that_fails_leaves_the_running_process_as_it_was() {
    let (taken, server) = (Server::silent(), Server::named("A"));
    let front = port();
    let launch = Launch::new(&format!(
        "global\n daemon\n pidfile @DIR@/pid\n{}",
        listen(front, &server)
    ));
    let pidfile = launch.dir().file("pid");
    let mut old = launch.start_daemon(&pidfile);
    let admin = old.file("admin");
    let inode = std::fs::metadata(&admin).unwrap().ino();
    let finished = Launch::new(&format!(
        "global\n daemon\n stats socket {admin}\n{}listen m\n bind 127.0.0.1:{}\n server s {}\n",
        listen(front, &server).replace(
            "stats socket @DIR@/admin mode 600 level admin",
            "maxconn 100"
        ),
        taken.port,
        server.addr()
    ))
    .arg("-p")
    .arg(&pidfile)
    .arg("-st")
    .arg(&old.pid.to_string())
    .run();
    assert_eq!(finished.code(), 1, "{}", finished.text);
    assert!(old.alive());
    assert_eq!(
        std::fs::read_to_string(&pidfile).unwrap(),
        format!("{}\n", old.pid)
    );
    if on_haproxy() {
        // It had put its own socket there already.
        return;
    }
    assert_eq!(
        std::fs::metadata(&admin).unwrap().ino(),
        inode,
        "its admin socket is in its place"
    );
    until("it serves as before", || who(front) == "A");
    assert_eq!(old.admin().info()["Pid"], old.pid.to_string());
}

// issue: unix listeners
#[test]
fn a_unix_listener_takes_the_place_of_a_stale_one_with_mode_and_owner() {
    let server = Server::named("A");
    let launch = Launch::new(&format!(
        "{USUAL}listen l\n bind @DIR@/front mode 640 uid 65534 gid 65534\n bind 127.0.0.1:{}\n server s {}\n",
        port(),
        server.addr()
    ));
    let path = launch.dir().file("front");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let _daemon = launch.start();
    until("it is served", || {
        let Ok(mut stream) = UnixStream::connect(&path) else {
            return false;
        };
        std::io::Write::write_all(&mut stream, b"x").is_ok()
            && stream.read(&mut [0; 16]).is_ok_and(|n| n > 0)
    });
    let meta = std::fs::metadata(&path).unwrap();
    assert_eq!(
        (meta.permissions().mode() & 0o777, meta.uid(), meta.gid()),
        (0o640, 65534, 65534)
    );
    let dir = std::path::Path::new(&path).parent().unwrap();
    let left: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(".tmp"))
        .collect();
    assert_eq!(left, Vec::<String>::new(), "nothing is left beside it");
}

// R03: a port that cannot be shared
#[test]
fn an_old_process_that_shares_no_port_is_asked_to_let_go_of_it() {
    let server = Server::named("A");
    let front = port();
    let mut old = Launch::new(&listen(front, &server)).arg("-dR").start();
    let (mut held, _) = hold(front);
    let new = Launch::new(&listen(front, &server))
        .arg("-dR")
        .arg("-sf")
        .arg(&old.pid.to_string())
        .start();
    until("the new one listens", || listens(new.pid, front));
    until("the new one serves", || who(front) == "A");
    assert_eq!(talk(&mut held, "old"), "old");
    drop(held);
    assert_eq!(
        old.ended_within(Duration::from_secs(5)).unwrap().code(),
        Some(0)
    );
}

// R07
#[test]
fn hard_stop_after_ends_what_a_soft_stop_waits_for() {
    let server = Server::named("A");
    let (front, log) = (port(), UdpLog::new());
    let mut daemon = Daemon::start(&format!(
        "global\n hard-stop-after 1s\n log 127.0.0.1:{} local0\n{}",
        log.port,
        listen(front, &server).replace("listen l\n", "listen l\n log global\n")
    ));
    let (mut held, _) = hold(front);
    let start = Instant::now();
    daemon.signal(Signal::SIGUSR1);
    closed_within(Duration::from_secs(5), &mut held);
    let status = daemon
        .ended_within(Duration::from_secs(5))
        .expect("it ends");
    assert_eq!(status.code(), Some(0));
    let took = start.elapsed();
    assert!(
        (Duration::from_millis(950)..Duration::from_secs(3)).contains(&took),
        "{took:?}"
    );
    assert_eq!(
        log.wait_n("soft-stop running for too long, performing a hard-stop.", 1)
            .len(),
        1
    );
    assert_eq!(
        log.wait_n(
            "Proxy l hard-stopped (1 remaining conns will be closed).",
            1
        )
        .len(),
        1
    );
}

// process: SIGHUP
#[test]
fn sighup_logs_the_state_of_every_server() {
    let server = Server::named("A");
    let (front, log) = (port(), UdpLog::new());
    let daemon = Daemon::start(&format!(
        "global\n log 127.0.0.1:{} local0\n{}",
        log.port,
        listen(front, &server).replace("listen l\n", "listen l\n log global\n")
    ));
    let (_held, _) = hold(front);
    daemon.signal(Signal::SIGHUP);
    for line in [
        "SIGHUP received, dumping servers states for proxy l.",
        "SIGHUP: Server l/s is UP. Conn: 1 act, 0 pend, 1 tot.",
        "SIGHUP: Proxy l has 1 active servers and 0 backup servers available. Conn: act(FE+BE): 1+1, 0 pend (0 unass), tot(FE+BE): 1+1.",
    ] {
        assert_eq!(log.wait_n(line, 1).len(), 1, "{line}: {:#?}", log.all());
    }
}

// G06
#[test]
fn nothing_is_left_of_root() {
    let server = Server::named("A");
    let front = port();
    let launch = Launch::new(&format!(
        "global\n uid 65534\n gid 65534\n{}",
        listen(front, &server)
    ));
    launch.dir().subdir("open");
    // The directory of the test is its owner's alone; the admin socket is bound before.
    let daemon = launch.start();
    assert_eq!(who(front), "A");
    for name in ["CapPrm", "CapEff"] {
        assert_eq!(
            u64::from_str_radix(daemon.proc_status(name).trim(), 16),
            Ok(0),
            "{name}"
        );
    }
    assert_eq!(daemon.proc_status("NoNewPrivs").trim(), "1");
    assert_eq!(daemon.proc_status("Groups").trim(), "");
}

// G05, G06: bad input
#[test]
fn privileges_that_cannot_be_changed_end_the_start_before_anything_listens() {
    let server = Server::named("A");
    let nobody = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    for (global, under, told) in [
        ("chroot @DIR@/none", &[][..], "Cannot chroot("),
        ("chroot /", &nobody, "Cannot chroot(/)."),
        ("gid 1", &nobody, "Cannot set gid 1."),
        ("uid 1", &nobody, "Cannot set uid 1."),
    ] {
        let front = port();
        let config = format!(
            "global\n {global}\n{}",
            listen(front, &server).replace(" stats socket @DIR@/admin mode 600 level admin", "")
        );
        let launch = Launch::new(&config).under(under);
        let dir = launch.dir();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let finished = launch.run();
        assert_eq!(finished.code(), 1, "{}", finished.text);
        assert_eq!(finished.lines_with(told).len(), 1, "{}", finished.text);
    }
}

// G01
#[test]
fn a_daemon_has_left_directory_and_terminal() {
    if on_haproxy() {
        return; // 2.6 stays in the directory it was started in.
    }
    let server = Server::named("A");
    let launch = Launch::new(&format!("global\n daemon\n{}", listen(port(), &server)));
    let pidfile = launch.dir().file("pid");
    let daemon = launch.arg("-p").arg(&pidfile).start_daemon(&pidfile);
    let link = |name: &str| std::fs::read_link(format!("/proc/{}/{name}", daemon.pid)).unwrap();
    assert_eq!(link("cwd"), std::path::Path::new("/"));
    for fd in ["fd/0", "fd/1", "fd/2"] {
        assert_eq!(link(fd), std::path::Path::new("/dev/null"), "{fd}");
    }
}

// process flags: -m
#[test]
fn the_switch_m_bounds_the_address_space() {
    let server = Server::named("A");
    let front = port();
    let daemon = Launch::new(&listen(front, &server))
        .arg("-m")
        .arg("4096")
        .start();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.pid)).unwrap();
    let line = limits
        .lines()
        .find(|l| l.starts_with("Max address space"))
        .unwrap();
    assert!(line.contains(&(4096u64 << 20).to_string()), "{line}");
    assert_eq!(who(front), "A");
}

// process flags
#[test]
fn a_switch_that_is_not_supported_yet_says_so_by_name() {
    if on_haproxy() {
        return;
    }
    let finished = Launch::new("").arg("-dL").run_bare();
    assert_eq!(finished.code(), 1);
    let text = "option '-dL' is not supported yet";
    assert_eq!(finished.lines_with(text).len(), 1, "{}", finished.text);
}

// issue: README, ringway demo
#[test]
fn the_demo_balances_counts_and_cleans_up() {
    if on_haproxy() {
        return;
    }
    let output = Command::new(balancer())
        .args(["demo", "--seconds", "2"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.into_raw(), 0, "{text}");
    let last = text
        .lines()
        .rfind(|l| l.contains("BACKEND"))
        .expect("a line of counters");
    let sessions: u64 = last
        .split("BACKEND UP ")
        .nth(1)
        .unwrap()
        .split(['/', ';'])
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    assert!(sessions >= 3, "{last}");
    let config = text
        .split("Its configuration: ")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap();
    assert!(!std::path::Path::new(config).exists(), "{config}");
}

// C15
#[test]
fn with_dr_a_server_whose_name_is_unknown_starts_in_maintenance() {
    let config = format!(
        "{USUAL}listen l\n bind 127.0.0.1:{}\n server s no-such-host.invalid:80\n",
        port()
    );
    let refused = Launch::new(&config).check();
    assert_eq!(refused.code(), 1, "{}", refused.text);
    let daemon = Launch::new(&config).arg("-dr").start();
    daemon.admin().wait_status("l", "s", "MAINT (resolution)");
}
