//! The `global` section: going into the background, limits, privileges, logs, the admin socket.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use crate::support::client::{hold, who};
use crate::support::logs::priority;
use crate::support::server::readable;
use crate::support::{
    Admin, Daemon, Launch, Server, TIMEOUTS, UdpLog, UnixLog, ask, connect, on_haproxy, port,
    until, within,
};

fn listen(front: u16, server: &Server) -> String {
    format!(
        "defaults\n{TIMEOUTS}listen l\n bind 127.0.0.1:{front}\n server s {}\n",
        server.addr()
    )
}

// G01, G02, R02
#[test]
fn a_daemon_returns_when_it_serves_and_leaves_its_pid() {
    let server = Server::named("A");
    let front = port();
    let launch = Launch::new(&format!(
        "global\n daemon\n pidfile @DIR@/pid\n{}",
        listen(front, &server)
    ));
    let pidfile = launch.dir().write("pid", "4242 stale\n");
    let daemon = launch.start_daemon(&pidfile);
    assert_eq!(ask(front, "x").unwrap(), "A:x");
    let text = std::fs::read_to_string(&pidfile).unwrap();
    assert_eq!(text, format!("{}\n", daemon.pid));
    assert_eq!(
        nix::unistd::getsid(Some(daemon.pid)).unwrap(),
        daemon.pid,
        "a session of its own"
    );
}

// G01
#[test]
fn a_daemon_that_cannot_bind_says_so_before_the_parent_returns() {
    let server = Server::named("A");
    let taken = Server::silent();
    let finished = Launch::new(&format!("global\n daemon\n{}", listen(taken.port, &server))).run();
    assert_eq!(finished.code(), 1, "{}", finished.text);
    assert!(
        finished.text.contains(&format!("127.0.0.1:{}", taken.port)),
        "{}",
        finished.text
    );
}

// G02
#[test]
fn the_pidfile_switch_overrides_the_keyword() {
    let server = Server::named("A");
    let front = port();
    let launch = Launch::new(&format!(
        "global\n daemon\n pidfile @DIR@/not-this\n{}",
        listen(front, &server)
    ));
    let pidfile = launch.dir().file("this");
    let daemon = launch.arg("-p").arg(&pidfile).start_daemon(&pidfile);
    assert_eq!(who(front), "A");
    assert!(!Path::new(&daemon.file("not-this")).exists());
}

// G03
#[test]
fn past_the_process_maxconn_clients_wait_and_nobody_is_refused() {
    let server = Server::named("A");
    let front = port();
    let limit = 50;
    let daemon = Daemon::start(&format!(
        "global\n maxconn {limit}\n stats socket @DIR@/admin\n{}",
        listen(front, &server)
    ));
    let mut held: Vec<_> = (0..limit).map(|_| hold(front).0).collect();
    let mut next = connect(front);
    std::io::Write::write_all(&mut next, b"late").unwrap();
    assert!(!readable(&next, 500), "the one too many is not served");
    assert_eq!(daemon.admin().info_number("CurrConns"), limit);
    held.pop();
    assert!(readable(&next, 5000), "a place became free");
    assert_eq!(
        crate::support::client::read_piece(&mut next).unwrap(),
        "A:late"
    );
}

// G03
#[test]
fn the_process_maxconn_is_exact_with_four_threads() {
    let server = Server::named("A");
    let front = port();
    let limit = 200;
    let daemon = Daemon::start(&format!(
        "global\n maxconn {limit}\n nbthread 4\n stats socket @DIR@/admin\n{}",
        listen(front, &server)
    ));
    let mut clients: Vec<_> = (0..limit + 8).map(|_| connect(front)).collect();
    for client in &mut clients {
        std::io::Write::write_all(client, b"x").unwrap();
    }
    let served = |clients: &[TcpStream]| clients.iter().filter(|c| readable(c, 0)).count();
    until("as many are served as may be", || served(&clients) >= limit);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(served(&clients), limit);
    assert_eq!(daemon.admin().info_number("CurrConns"), limit as u64);
    // Each one that leaves, on whichever thread, lets exactly one in.
    for _ in 0..8 {
        let first = clients.iter().position(|c| readable(c, 0)).unwrap();
        clients.remove(first);
        until("a place that became free is taken", || {
            served(&clients) >= limit.min(clients.len())
        });
    }
}

// G04
#[test]
fn the_limit_of_open_files_is_raised_to_what_maxconn_needs() {
    let server = Server::named("A");
    let front = port();
    let daemon = Launch::new(&format!(
        "global\n maxconn 4000\n stats socket @DIR@/admin\n{}",
        listen(front, &server)
    ))
    .under(&["prlimit", "--nofile=1024:20000"])
    .start();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.pid)).unwrap();
    let line = limits
        .lines()
        .find(|l| l.starts_with("Max open files"))
        .unwrap();
    let soft: u64 = line
        .split_ascii_whitespace()
        .nth(3)
        .unwrap()
        .parse()
        .unwrap();
    assert!(soft >= 8000, "two descriptors a connection: {line}");
    assert_eq!(daemon.admin().info_number("Maxconn"), 4000);
}

// G04
#[test]
fn too_few_open_files_lower_maxconn_with_a_warning_that_names_both() {
    let server = Server::named("A");
    let front = port();
    let config = |strict: &str| {
        format!(
            "global\n maxconn 30000\n stats socket @DIR@/admin\n {strict}\n{}",
            listen(front, &server)
        )
    };
    // Without privileges the hard limit stays what it is.
    let under = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "prlimit",
        "--nofile=1000:1000",
    ];
    let launch = Launch::new(&config("no strict-limits")).under(&under);
    open_to_all(&launch);
    let daemon = launch.start();
    assert_eq!(who(front), "A");
    let said = daemon.output();
    assert!(said.contains("1000"), "the limit there is: {said}");
    assert!(
        said.contains("6001") || said.contains("30000"),
        "what was asked: {said}"
    );
    drop(daemon);
    let launch = Launch::new(&config("strict-limits")).under(&under);
    open_to_all(&launch);
    let finished = launch.arg("-db").run();
    assert_eq!(finished.code(), 1, "{}", finished.text);
}

fn open_to_all(launch: &Launch) {
    std::fs::set_permissions(launch.dir().path(), PermissionsExt::from_mode(0o777)).unwrap();
    launch.dir().write("out", "");
    std::fs::set_permissions(launch.dir().file("out"), PermissionsExt::from_mode(0o666)).unwrap();
}

// G05, G06
#[test]
fn chroot_and_user_are_in_force_once_it_serves() {
    let server = Server::named("A");
    let front = port();
    let log_dir = crate::support::TempDir::new();
    let log = UnixLog::at(log_dir.file("log.sock"));
    let launch = Launch::new(&format!(
        "global\n chroot @DIR@/jail\n uid 65534\n gid 65534\n stats socket @DIR@/admin\n log {} local0\n{} log global\n option tcplog\n",
        log_dir.file("log.sock"),
        listen(front, &server)
    ));
    let jail = launch.dir().subdir("jail");
    if on_haproxy() {
        // It looks the socket up with every line, so inside the jail; Ringway before it locks itself in.
        std::fs::create_dir_all(format!("{jail}{}", log_dir.file(""))).unwrap();
        std::fs::rename(
            log_dir.file("log.sock"),
            format!("{jail}{}", log_dir.file("log.sock")),
        )
        .unwrap();
    }
    let daemon = launch.start();
    // The socket is bound before the privileges go; give them the moment to.
    until("it serves", || who(front) == "A");
    assert_eq!(
        std::fs::read_link(format!("/proc/{}/root", daemon.pid)).unwrap(),
        Path::new(&jail)
    );
    assert_eq!(daemon.proc_status("Uid"), "65534\t65534\t65534\t65534");
    assert_eq!(daemon.proc_status("Gid"), "65534\t65534\t65534\t65534");
    assert!(
        daemon
            .proc_status("Groups")
            .split_ascii_whitespace()
            .all(|g| g == "65534")
    );
    assert_eq!(
        u64::from_str_radix(&daemon.proc_status("CapEff"), 16).unwrap(),
        0
    );
    let line = log.wait(" l l/s ");
    assert!(line.starts_with("<134>"), "{line}");
    assert!(!daemon.admin().info()["Name"].is_empty());
}

// G06
#[test]
fn an_unknown_user_is_an_error_that_names_it() {
    let server = Server::named("A");
    for line in ["user nobody-of-that-name", "group nobody-of-that-name"] {
        let finished = Launch::new(&format!("global\n {line}\n{}", listen(port(), &server)))
            .arg("-db")
            .run();
        assert_eq!(finished.code(), 1, "{}", finished.text);
        assert!(
            finished.text.contains("nobody-of-that-name"),
            "{}",
            finished.text
        );
    }
}

// G07, L07
#[test]
fn a_target_gets_its_levels_only() {
    let (all, warnings) = (UdpLog::new(), UdpLog::new());
    let mut server = Server::named("A");
    let front = port();
    let _daemon = Daemon::start(&format!(
        "global\n log 127.0.0.1:{} local0 info\n log 127.0.0.1:{} local1 warning\n{} log global\n option tcplog\n \
         default-server inter 200 fall 1 check\n server t {}\n",
        all.port,
        warnings.port,
        listen(front, &Server::silent()).replace(" server s", " #"),
        server.addr()
    ));
    assert_eq!(who(front), "A");
    assert_eq!(priority(&all.wait(" l l/t ")).0, 16 * 8 + 6);
    server.stop();
    assert_eq!(priority(&all.wait("Server l/t is DOWN")).0, 16 * 8 + 1);
    assert_eq!(priority(&warnings.wait("Server l/t is DOWN")).0, 17 * 8 + 1);
    assert_eq!(
        priority(&warnings.wait("has no server available")).0,
        17 * 8
    );
    assert!(warnings.with(" l l/t ").is_empty(), "{:?}", warnings.all());
}

// G07
#[test]
fn a_minimum_level_makes_graver_lines_no_graver() {
    let log = UdpLog::new();
    let mut server = Server::named("A");
    let _daemon = Daemon::start(&format!(
        "global\n log 127.0.0.1:{} local0 debug warning\ndefaults\n{TIMEOUTS} log global\nlisten l\n bind 127.0.0.1:{}\n \
         server t {} check inter 200 fall 1\n",
        log.port,
        port(),
        server.addr()
    ));
    server.stop();
    assert_eq!(priority(&log.wait("Server l/t is DOWN")).0, 16 * 8 + 4);
}

// G08
#[test]
fn a_unix_log_socket_may_go_and_come_back() {
    let dir = crate::support::TempDir::new();
    let path = dir.file("log.sock");
    let server = Server::named("A");
    let front = port();
    let log = UnixLog::at(&path);
    let _daemon = Daemon::start(&format!(
        "global\n log {path} local0\n{} log global\n option tcplog\n",
        listen(front, &server)
    ));
    assert_eq!(who(front), "A");
    log.wait(" l l/s ");
    drop(log);
    for _ in 0..20 {
        assert_eq!(
            who(front),
            "A",
            "nobody reads the log, and everybody is served"
        );
    }
    let log = UnixLog::at(&path);
    assert!(within(Duration::from_secs(5), || who(front) == "A"
        && !log.with(" l l/s ").is_empty()));
}

// G09
#[test]
fn eight_levels_have_names() {
    let config = |level| {
        format!(
            "global\n log 127.0.0.1:514 local0 {level}\n{}",
            listen(port(), &Server::silent())
        )
    };
    for level in [
        "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
    ] {
        let checked = Launch::new(&config(level)).check();
        assert_eq!(checked.code(), 0, "{level}: {}", checked.text);
    }
    let checked = Launch::new(&config("warn")).check();
    assert_eq!(checked.code(), 1);
    assert_eq!(checked.lines_with("cfg:2]").len(), 1, "{}", checked.text);
}

// G10
#[test]
fn without_splice_the_bytes_are_the_same() {
    let server = Server::echo();
    let front = port();
    let daemon = Daemon::start(&format!(
        "global\n nosplice\n stats socket @DIR@/admin\n{}",
        listen(front, &server)
    ));
    let mut up = connect(front);
    let mut down = up.try_clone().unwrap();
    let pattern = crate::support::pattern::Pattern(3);
    let sender = std::thread::spawn(move || {
        pattern.send(&mut up, 16 << 20, || 65_536).unwrap();
        up.shutdown(std::net::Shutdown::Write).unwrap();
    });
    assert_eq!(pattern.receive(&mut down).unwrap(), 16 << 20);
    sender.join().unwrap();
    let info = daemon.admin().info();
    for name in [
        "TotalSplicdedBytesOut",
        "TotalSplicedBytesOut",
        "TotalBytesSpliced",
    ] {
        assert!(
            info.get(name).is_none_or(|value| value == "0"),
            "{name}: {info:#?}"
        );
    }
}

// G11, L14
#[test]
fn the_admin_socket_answers_over_unix_and_tcp() {
    let server = Server::named("A");
    let (front, command) = (port(), port());
    let daemon = Launch::new(&format!(
        "global\n stats socket @DIR@/admin mode 640 level admin\n stats socket ipv4@127.0.0.1:{command} level user\n{}",
        listen(front, &server)
    ))
    .ports(&[front, command])
    .start();
    let mode = std::fs::metadata(daemon.file("admin"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o640);
    for admin in [daemon.admin(), Admin::Tcp(command)] {
        assert_eq!(admin.info()["Pid"], daemon.pid.to_string());
        assert!(admin.run("show stat").starts_with("# pxname,svname,"));
        assert!(admin.run("help").contains("show stat"));
        let several = admin.run("show info;show stat");
        assert!(
            several.contains("Uptime_sec") && several.contains("# pxname"),
            "{several}"
        );
        assert!(
            admin.run("bogus").starts_with("Unknown command"),
            "{}",
            admin.run("bogus")
        );
    }
}

// G12
#[test]
fn quiet_says_nothing() {
    let server = Server::named("A");
    let front = port();
    for (keyword, switch) in [("quiet", None), ("#", Some("-q"))] {
        let config = format!(
            "global\n {keyword}\n daemon\n pidfile @DIR@/pid\nlisten l\n mode tcp\n balance roundrobin\n bind 127.0.0.1:{front}\n server s {}\n",
            server.addr()
        );
        let mut launch = Launch::new(&config).ports(&[front]);
        if let Some(switch) = switch {
            launch = launch.arg(switch);
        }
        let pidfile = launch.dir().file("pid");
        let daemon = launch.start_daemon(&pidfile);
        assert_eq!(daemon.output(), "");
        assert_eq!(who(front), "A");
    }
}

// G13
#[test]
fn one_process_serves_all_and_idle_sessions_are_small() {
    let server = Server::silent();
    let front = port();
    let daemon = Daemon::start(&format!(
        "global\n nbthread 2\n stats socket @DIR@/admin\n{}",
        listen(front, &server)
    ));
    let resident_kb = |daemon: &Daemon| -> u64 {
        daemon
            .proc_status("VmRSS")
            .trim_end_matches(" kB")
            .parse()
            .unwrap()
    };
    drop((0..50).map(|_| connect(front)).collect::<Vec<_>>());
    let before = resident_kb(&daemon);
    let held: Vec<_> = (0..1000).map(|_| connect(front)).collect();
    until("all are taken", || {
        daemon.admin().info_number("CurrConns") >= 1000
    });
    until("all reached the server", || server.seen.open() >= 1000);
    let grown = resident_kb(&daemon).saturating_sub(before);
    // haproxy itself needs 3.75 KB; double that is no longer small.
    assert!(grown < 8 * 1000, "1000 idle sessions cost {grown} KB");
    drop(held);
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", daemon.pid))
        .unwrap_or_default();
    assert_eq!(children, "", "no other process");
}
