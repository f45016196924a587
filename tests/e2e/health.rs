//! Checks: what counts as healthy, how soon a change is seen, and how many probes a server gets.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use crate::support::client::{connect_from, hold, read_piece, who};
use crate::support::component::{Component, certificate};
use crate::support::net::Network;
use crate::support::server::BlackHole;
use crate::support::{Daemon, LATE, Launch, Server, TempDir, USUAL, UdpLog, port, talk, until};

fn checking(defaults: &str, lines: &str) -> (Daemon, UdpLog) {
    let log = UdpLog::new();
    let daemon = Daemon::start(&format!(
        "global\n log 127.0.0.1:{} local0\n{USUAL} log global\n{defaults}listen l\n bind 127.0.0.1:{}\n{lines}",
        log.port,
        port()
    ));
    (daemon, log)
}

/// Waits until `l/s` passed a check. A plain connect check of haproxy ends before the server could
/// accept it, so servers do not see those; they see the ones that ask for a page.
fn checked_well(daemon: &Daemon) {
    until("it was checked", || {
        daemon.admin().cell("l", "s", "check_status") == "L4OK"
    });
}

// H01
#[test]
fn a_closed_port_is_down_after_fall_and_up_after_rise() {
    let mut server = Server::named("A");
    let (daemon, log) = checking(
        "",
        &format!(
            " server s {} check inter 200 fall 3 rise 2\n",
            server.addr()
        ),
    );
    checked_well(&daemon);
    let start = Instant::now();
    server.stop();
    let line = log.wait("Server l/s is DOWN");
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(350) && took <= Duration::from_millis(800) + LATE,
        "{took:?}"
    );
    assert!(line.contains("Layer4 connection problem"), "{line}");
    server.start();
    let start = Instant::now();
    log.wait("Server l/s is UP");
    assert!(
        start.elapsed() >= Duration::from_millis(150),
        "up after two good checks"
    );
}

// H02
#[test]
fn the_first_failed_check_after_start_is_enough() {
    let (daemon, log) = checking(
        "",
        &format!(" server s 127.0.0.1:{} check inter 300 fall 5\n", port()),
    );
    let start = Instant::now();
    log.wait("Server l/s is DOWN");
    assert!(start.elapsed() < Duration::from_millis(600) + LATE);
    daemon.admin().wait_status("l", "s", "DOWN");
    log.wait("has no server available");
}

/// A health page whose status can be set.
fn page(status: &Arc<AtomicU16>, heads: &Arc<Mutex<Vec<String>>>) -> Server {
    let (status, heads) = (Arc::clone(status), Arc::clone(heads));
    Server::http(move |method, target| {
        heads.lock().unwrap().push(format!("{method} {target}"));
        (status.load(Ordering::Acquire), "page".to_owned())
    })
}

// H03, H08
#[test]
fn httpchk_takes_2xx_and_3xx_for_healthy() {
    for (option, request) in [
        ("option httpchk", "OPTIONS /"),
        ("option httpchk /alive", "OPTIONS /alive"),
        ("option httpchk HEAD /running", "HEAD /running"),
        ("option httpchk HEAD /running HTTP/1.0", "HEAD /running"),
    ] {
        let (status, heads) = (Arc::new(AtomicU16::new(200)), Arc::default());
        let server = page(&status, &heads);
        let (daemon, _log) = checking(
            &format!(" {option}\n"),
            &format!(
                " server s {} check inter 100 fall 1 rise 1\n",
                server.addr()
            ),
        );
        let admin = daemon.admin();
        for (code, state) in [(404, "DOWN"), (301, "UP"), (500, "DOWN"), (204, "UP")] {
            status.store(code, Ordering::Release);
            admin.wait_status("l", "s", state);
            until("the code is shown", || {
                admin.count("l", "s", "check_code") == u64::from(code)
            });
            let kind = if state == "UP" { "L7OK" } else { "L7STS" };
            assert_eq!(
                admin.cell("l", "s", "check_status"),
                kind,
                "{option}, {code}"
            );
        }
        assert_eq!(heads.lock().unwrap()[0], request, "{option}");
    }
}

// H04
#[test]
fn a_check_may_go_to_another_port_and_address() {
    let (service, health) = (Server::silent(), Server::silent());
    let (daemon, _log) = checking(
        " option httpchk\n",
        &format!(
            " server s {} check port {} inter 100\n",
            service.addr(),
            health.port
        ),
    );
    until("probes arrive there", || health.seen.accepted() >= 3);
    assert_eq!(service.seen.accepted(), 0);
    drop(daemon);
    let elsewhere = Server::at(([127, 0, 0, 5], port()).into(), |mut s, _| {
        let _ = s.read(&mut [0]);
    });
    let (_daemon, _log) = checking(
        " option httpchk\n",
        &format!(
            " server s {} check addr 127.0.0.5 port {} inter 100\n",
            service.addr(),
            elsewhere.port
        ),
    );
    until("probes arrive there", || elsewhere.seen.accepted() >= 3);
    assert_eq!(service.seen.accepted(), 0);
}

/// A TLS server of today (OpenSSL 3, TLS 1.2 and up).
struct TlsServer {
    port: u16,
    child: Child,
    _dir: TempDir,
}

impl TlsServer {
    fn new() -> Self {
        let (dir, port) = (TempDir::new(), port());
        let (key, cert) = certificate(&dir, "test");
        let child = Command::new("openssl")
            .args([
                "s_server",
                "-quiet",
                "-accept",
                &format!("127.0.0.1:{port}"),
                "-key",
                &key,
                "-cert",
                &cert,
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl runs");
        until("the TLS server listens", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Self {
            port,
            child,
            _dir: dir,
        }
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// H05
#[test]
fn ssl_hello_chk_tells_todays_tls_servers_from_others() {
    let tls = TlsServer::new();
    let text = Server::new(|mut stream, _| {
        let _ = read_piece(&mut stream);
        let _ = stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n");
    });
    let silent = Server::silent();
    let (daemon, _log) = checking(
        " option ssl-hello-chk\n",
        &format!(
            " default-server inter 400 fall 1 rise 1\n server tls 127.0.0.1:{} check\n server text {} check\n server silent {} check\n",
            tls.port,
            text.addr(),
            silent.addr()
        ),
    );
    let admin = daemon.admin();
    admin.wait_status("l", "text", "DOWN");
    admin.wait_status("l", "silent", "DOWN");
    until("the TLS server was checked", || {
        admin.cell("l", "tls", "check_status").starts_with("L6")
    });
    assert_eq!(admin.cell("l", "tls", "check_status"), "L6OK");
    admin.wait_status("l", "tls", "UP");
}

// H07
#[test]
fn a_check_without_an_answer_ends_with_inter_or_its_own_timeout() {
    let silent = Server::silent();
    for (option, expected, kind) in [("", 500, "L7TOUT"), (" timeout check 200\n", 200, "L7TOUT")] {
        let (daemon, log) = checking(
            &format!(" option httpchk\n{option}"),
            &format!(" server s {} check inter 500 fall 1\n", silent.addr()),
        );
        let line = log.wait("Server l/s is DOWN");
        let ms: u64 = line
            .split("check duration: ")
            .nth(1)
            .and_then(|r| r.split("ms").next())
            .unwrap()
            .parse()
            .unwrap();
        assert!((expected - 20..expected + 400).contains(&ms), "{line}");
        assert_eq!(daemon.admin().cell("l", "s", "check_status"), kind);
    }
}

// H10, issue point 5
#[test]
fn a_server_gets_the_same_probes_whatever_the_threads() {
    for threads in [1, 4, 16] {
        let server = Server::http(|_, _| (200, String::new()));
        let daemon = Daemon::start(&format!(
            "global\n nbthread {threads}\n{USUAL} option httpchk\nlisten l\n bind 127.0.0.1:{}\n server s {} check inter 200\n",
            port(),
            server.addr()
        ));
        until("checks began", || server.seen.accepted() >= 1);
        let before = server.seen.accepted();
        std::thread::sleep(Duration::from_secs(4));
        let probes = server.seen.accepted() - before;
        assert!(
            (17..=21).contains(&probes),
            "{probes} probes in 4 s with {threads} threads"
        );
        drop(daemon);
    }
}

// H09
#[test]
fn checks_leave_from_the_native_address() {
    let mut net = Network::new(&["10.81.0.10/24", "10.81.0.100/24"]);
    let node = net.node(&["10.81.0.1/24"]);
    let from = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&from);
    let port = port();
    let _server = net.at(node).inside(|| {
        Server::at(([10, 81, 0, 1], port).into(), move |stream, _| {
            sink.lock()
                .unwrap()
                .push(stream.peer_addr().unwrap().ip().to_string());
        })
    });
    let _daemon = Launch::new(&format!(
        "{USUAL} option httpchk\nlisten l\n bind 10.81.0.100:{port}\n server s 10.81.0.1:{port} check inter 200\n"
    ))
    .in_net(&net.balancer)
    .start();
    until("three probes", || from.lock().unwrap().len() >= 3);
    assert!(
        from.lock().unwrap().iter().all(|a| a == "10.81.0.10"),
        "{:?}",
        from.lock().unwrap()
    );
}

// issue: fastinter, downinter
#[test]
fn probes_come_faster_in_between_and_slower_while_down() {
    let mut server = Server::silent();
    let (daemon, log) = checking(
        "",
        &format!(
            " server s {} check inter 1000 fastinter 100 downinter 2000 fall 3 rise 3\n",
            server.addr()
        ),
    );
    checked_well(&daemon);
    let start = Instant::now();
    server.stop();
    log.wait("Server l/s is DOWN");
    // One interval at most until the first failure, then two at the fast pace.
    assert!(
        start.elapsed() < Duration::from_millis(1300) + LATE,
        "{:?}",
        start.elapsed()
    );
    server.start();
    let start = Instant::now();
    log.wait("Server l/s is UP");
    assert!(
        start.elapsed() < Duration::from_millis(2300) + LATE,
        "{:?}",
        start.elapsed()
    );
}

// H06
#[test]
fn a_redis_server_is_up_until_it_wants_a_password() {
    let (dir, port) = (TempDir::new(), port());
    let mut redis = Command::new("redis-server");
    redis.args(["--port", &port.to_string(), "--save", "", "--dir"]);
    redis.arg(dir.path());
    let _redis = Component::start(&dir, "redis", &mut redis);
    until("redis listens", || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    let (daemon, log) = checking(
        " option redis-check\n",
        &format!(" server s 127.0.0.1:{port} check inter 200 fall 1 rise 1\n"),
    );
    let admin = daemon.admin();
    until("it was checked", || {
        admin.cell("l", "s", "check_status") == "L7OK"
    });
    assert_eq!(admin.cell("l", "s", "last_chk"), "Redis server is ok");
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let _ = talk(&mut client, "CONFIG SET requirepass secret\r\n");
    let line = log.wait("Server l/s is DOWN");
    assert!(
        line.contains("Layer7 wrong status, code: 0, info: \"-NOAUTH"),
        "{line}"
    );
    let _ = talk(&mut client, "AUTH secret\r\n");
    let _ = talk(&mut client, "CONFIG SET requirepass \"\"\r\n");
    log.wait("Server l/s is UP");
}

/// A page that says 200, at a port of its own: checks are good whatever becomes of the service.
fn healthy() -> Server {
    Server::http(|_, _| (200, String::new()))
}

/// A connection from `source`, and whether anybody answered.
fn try_from(source: &str, front: u16) -> bool {
    let mut stream = connect_from(source, front).unwrap();
    let _ = stream.write_all(b"x");
    read_piece(&mut stream).is_ok_and(|said| !said.is_empty())
}

// H13
#[test]
fn errors_of_the_traffic_take_a_server_out_before_its_checks() {
    let (checked, front) = (healthy(), port());
    let closed = port();
    let daemon = Daemon::start(&format!(
        "global\n nbthread 4\n{USUAL} retries 0\n option httpchk\nlisten l\n bind 127.0.0.1:{front}\n \
         server s 127.0.0.1:{closed} check port {} inter 60s fastinter 300 observe layer4 error-limit 16 on-error mark-down\n",
        checked.port
    ));
    let admin = daemon.admin();
    until("it was checked", || checked.seen.accepted() == 1);
    for _ in 0..15 {
        assert!(!try_from("127.0.0.1", front));
    }
    assert!(admin.cell("l", "s", "status").starts_with("UP"));
    assert!(!try_from("127.0.0.1", front));
    admin.wait_status("l", "s", "DOWN");
    assert_eq!(admin.cell("l", "s", "check_status"), "HANA");
    assert_eq!(admin.count("l", "s", "hanafail"), 1);
    assert!(
        admin
            .cell("l", "s", "last_chk")
            .contains("Detected 16 consecutive errors")
    );
    // Its checks are good, and come fast.
    admin.wait_status("l", "s", "UP");
}

// H14
#[test]
fn errors_have_to_come_from_so_many_clients() {
    let (checked, front) = (healthy(), port());
    let closed = port();
    let daemon = Daemon::start(&format!(
        "{USUAL} retries 0\n option httpchk\nlisten l\n bind 127.0.0.1:{front}\n \
         server s 127.0.0.1:{closed} check port {} inter 60s observe layer4 error-limit 5 error-clients 5 on-error mark-down\n",
        checked.port
    ));
    let admin = daemon.admin();
    until("it was checked", || checked.seen.accepted() == 1);
    for _ in 0..100 {
        assert!(!try_from("127.0.0.1", front));
    }
    assert!(admin.cell("l", "s", "status").starts_with("UP"));
    for last in 2..=5 {
        assert!(!try_from(&format!("127.0.0.{last}"), front));
    }
    admin.wait_status("l", "s", "DOWN");
}

// issue: init-state
#[test]
fn a_server_begins_as_init_state_says() {
    let closed = port();
    let server = healthy();
    let log = UdpLog::new();
    let daemon = Daemon::start(&format!(
        "global\n log 127.0.0.1:{} local0\n{USUAL} log global\n option httpchk\nlisten l\n bind 127.0.0.1:{}\n \
         default-server inter 1s fall 3 rise 3\n \
         server fu 127.0.0.1:{closed} check init-state fully-up\n server u 127.0.0.1:{closed} check init-state up\n \
         server d {} check init-state down\n server fd {} check init-state fully-down\n",
        log.port,
        port(),
        server.addr(),
        server.addr()
    ));

    let admin = daemon.admin();
    assert_eq!(admin.cell("l", "fd", "status"), "DOWN");
    log.wait("Server l/u is DOWN");
    assert!(admin.cell("l", "fu", "status").starts_with("UP"));
    log.wait("Server l/d is UP");
    admin.wait_status("l", "d", "UP");
    log.wait("Server l/fu is DOWN");
    log.wait("Server l/fd is UP");
}

// H15
#[test]
fn a_client_whose_server_does_not_answer_is_reassigned_to_one_that_does() {
    let (hole, live, front) = (BlackHole::new(), Server::named("L"), port());
    let daemon = Daemon::start(&format!(
        "{USUAL} timeout connect 300\n retries 3\n option redispatch 1\nlisten l\n bind 127.0.0.1:{front}\n balance roundrobin\n \
         server hole 127.0.0.1:{}\n server live {}\n",
        hole.port,
        live.addr()
    ));
    for _ in 0..4 {
        assert_eq!(who(front), "L");
    }
    assert!(daemon.admin().count("l", "hole", "wredis") >= 2);
}

// H18, R18
#[test]
fn a_drained_server_keeps_its_sessions_and_gets_no_new_ones_until_it_is_ready() {
    let (first, second, front) = (Server::named("A"), Server::named("B"), port());
    let daemon = Daemon::start(&format!(
        "{USUAL}listen l\n bind 127.0.0.1:{front}\n server a {}\n server b {}\n server spare {} disabled\n",
        first.addr(),
        second.addr(),
        first.addr()
    ));
    let admin = daemon.admin();
    assert_eq!(admin.cell("l", "spare", "status"), "MAINT");
    let (held, own) = std::iter::repeat_with(|| hold(front))
        .find(|(_, name)| name == "A")
        .unwrap();
    assert_eq!(own, "A");
    admin.run("set server l/a state drain");
    until("it is drained", || {
        admin.cell("l", "a", "status") == "DRAIN"
    });
    for _ in 0..6 {
        assert_eq!(who(front), "B");
    }
    // Those that were found on the way have left; the held one goes on.
    let held = held;
    until("only the held one is left", || {
        admin.count("l", "a", "scur") == 1
    });
    drop(held);
    until("nobody is left", || admin.count("l", "a", "scur") == 0);
    admin.run("set server l/a state ready");
    until("it takes part again", || who(front) == "A");
    admin.run("enable server l/spare");
    until("the spare one does, too", || {
        who(front);
        admin.count("l", "spare", "stot") > 0
    });
}

// H11, H19, H20
#[test]
fn a_service_that_is_missing_on_a_host_downs_that_backend_alone_and_the_result_is_shown() {
    let (web, closed) = (healthy(), port());
    let daemon = Daemon::start(&format!(
        "{USUAL} option httpchk GET /alive\n default-server inter 200 fall 1 rise 1\n\
         frontend one\n bind 127.0.0.1:{}\n default_backend web\n\
         frontend two\n bind 127.0.0.1:{}\n default_backend web\n\
         backend web\n server s 127.0.0.1:{} check\nbackend other\n server s 127.0.0.1:{closed} check\n",
        port(),
        port(),
        web.port
    ));
    let admin = daemon.admin();
    admin.wait_status("other", "s", "DOWN");
    until("it was checked", || {
        admin.cell("web", "s", "check_status") == "L7OK"
    });
    let row = admin.row("web", "s");
    assert_eq!((&*row["status"], &*row["check_code"]), ("UP", "200"));
    assert!(
        row["check_duration"].parse::<u64>().unwrap() < 1000,
        "{row:?}"
    );
    assert!(row["lastchg"].parse::<u64>().unwrap() < 60, "{row:?}");
    assert_eq!(admin.cell("other", "BACKEND", "status"), "DOWN");
    assert_eq!(admin.cell("web", "BACKEND", "status"), "UP");
}
