//! Servers: parameters, limits and queue, retries, timeouts, slow start.

use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::client::{ask_at, hold, read_piece, who};
use crate::support::logs::message;
use crate::support::server::{BlackHole, readable};
use crate::support::{
    Daemon, Launch, Server, USUAL, UdpLog, about, ask, closed_within, connect, port, until, within,
};

/// `body` as a `listen l` with a log; gives daemon, port and log.
fn logged(defaults: &str, body: &str) -> (Daemon, u16, UdpLog) {
    let (front, log) = (port(), UdpLog::new());
    let daemon = Daemon::start(&format!(
        "global\n log 127.0.0.1:{} local0\n{USUAL} log global\n option tcplog\n{defaults}listen l\n bind 127.0.0.1:{front}\n{body}",
        log.port
    ));
    (daemon, front, log)
}

/// Fields of a tcplog line after the backend/server: times, bytes, state, counts, queues.
fn fields(line: &str) -> Vec<&str> {
    message(line).split(' ').skip(4).collect()
}

/// Connections that wait for `l`, in its own queue or a server's.
fn queued(daemon: &Daemon) -> u64 {
    let rows = daemon.admin().stat();
    let waiting = rows.iter().filter(|row| row["pxname"] == "l");
    waiting
        .filter_map(|row| row["qcur"].parse::<u64>().ok())
        .sum()
}

// B01
#[test]
fn parameters_of_a_server_come_in_any_order() {
    let server = Server::named("A");
    let (_daemon, front, _log) = logged(
        "",
        &format!(
            " server s {} weight 3 check inter 500 maxconn 10 id 7 fall 2 rise 1\n",
            server.addr()
        ),
    );
    assert_eq!(who(front), "A");
    let checked =
        Launch::new("defaults\n mode tcp\nbackend b\n server s 127.0.0.1:1 wieght 3\n").check();
    assert_eq!(checked.code(), 1);
    assert!(
        checked.lines_with("cfg:4]")[0].contains("weight"),
        "{}",
        checked.text
    );
}

// B02
#[test]
fn default_server_applies_to_the_servers_after_it() {
    let (a, b) = (Server::named("A"), Server::named("B"));
    let (daemon, _, _log) = logged(
        "",
        &format!(
            " server before {} check\n default-server weight 7 inter 500\n server after {} check\n",
            a.addr(),
            b.addr()
        ),
    );
    assert_eq!(daemon.admin().count("l", "before", "weight"), 1);
    assert_eq!(daemon.admin().count("l", "after", "weight"), 7);
}

// B03
#[test]
fn an_id_is_shown_and_must_be_unique() {
    let server = Server::named("A");
    let (daemon, _, _log) = logged("", &format!(" server s {} id 1005\n", server.addr()));
    assert_eq!(daemon.admin().count("l", "s", "sid"), 1005);
    let twice =
        "defaults\n mode tcp\nbackend b\n server s 127.0.0.1:1 id 5\n server t 127.0.0.1:2 id 5\n";
    let checked = Launch::new(twice).check();
    assert_eq!(checked.code(), 1);
    assert_eq!(checked.lines_with("cfg:5]").len(), 1, "{}", checked.text);
}

// B04
#[test]
fn a_full_server_serves_the_waiting_in_order_of_arrival() {
    for threads in [1, 4] {
        let server = Server::named("A");
        let front = port();
        let daemon = Daemon::start(&format!(
            "global\n nbthread {threads}\n{USUAL} timeout queue 10s\nlisten l\n bind 127.0.0.1:{front}\n server s {} maxconn 1\n",
            server.addr()
        ));
        let (first, _) = hold(front);
        let mut waiting = Vec::new();
        for n in 0..10 {
            let mut client = connect(front);
            client.write_all(format!("{n}").as_bytes()).unwrap();
            waiting.push(client);
            until("it is queued", || queued(&daemon) == n + 1);
        }
        assert_eq!(daemon.admin().count("l", "s", "scur"), 1);
        drop(first);
        for n in 0..10 {
            let mut next = waiting.remove(0);
            assert_eq!(
                read_piece(&mut next).unwrap(),
                format!("A:{n}"),
                "{threads} threads"
            );
            assert!(
                waiting.iter().all(|c| !readable(c, 0)),
                "only one at a time"
            );
            drop(next);
        }
    }
}

// B05, L04
#[test]
fn a_queued_client_is_given_up_at_the_queue_timeout() {
    let server = Server::named("A");
    let (_daemon, front, log) = logged(
        " timeout queue 500\n",
        &format!(" server s {} maxconn 1\n", server.addr()),
    );
    let (_held, _) = hold(front);
    let start = Instant::now();
    assert_eq!(ask(front, "x").unwrap_or_default(), "");
    about(500, start.elapsed());
    let line = log.wait(" sQ ");
    assert!(
        line.contains(" l l/s ") || line.contains(" l l/<NOSRV> "),
        "{line}"
    );
}

// B05
#[test]
fn a_full_queue_sends_clients_to_another_server() {
    let (a, b) = (Server::named("A"), Server::named("B"));
    let (daemon, front, _log) = logged(
        " timeout queue 5s\n balance first\n",
        &format!(
            " server a {} maxconn 1 maxqueue 1\n server b {} maxconn 3 maxqueue 1\n",
            a.addr(),
            b.addr()
        ),
    );
    let held: Vec<_> = (0..4).map(|_| hold(front)).collect();
    assert_eq!(held.iter().filter(|(_, n)| n == "A").count(), 1);
    assert_eq!(held.iter().filter(|(_, n)| n == "B").count(), 3);
    let _queued: Vec<_> = (0..5)
        .map(|_| {
            let mut client = connect(front);
            client.write_all(b"x").unwrap();
            client
        })
        .collect();
    until("all five wait somewhere", || {
        let admin = daemon.admin();
        let q = |server| admin.count("l", server, "qcur");
        assert!(
            q("a") <= 1 && q("b") <= 1,
            "no queue is longer than its maxqueue"
        );
        q("a") + q("b") + q("BACKEND") >= 5
    });
}

// B06
#[test]
fn the_queue_timeout_is_the_connect_timeout_unless_set() {
    let server = Server::named("A");
    let (_daemon, front, _log) = logged(
        " timeout connect 600\n",
        &format!(" server s {} maxconn 1\n", server.addr()),
    );
    let (_held, _) = hold(front);
    let start = Instant::now();
    assert_eq!(ask(front, "x").unwrap_or_default(), "");
    about(600, start.elapsed());
}

// B07
#[test]
fn backups_serve_only_when_nobody_else_does() {
    let mut a = Server::named("A");
    let (b, c) = (Server::named("B"), Server::named("C"));
    for option in ["", " option allbackups\n"] {
        let (daemon, front, _log) = logged(
            option,
            &format!(
                " server a {} check inter 100 fall 1 rise 1\n server b {} backup\n server c {} backup\n",
                a.addr(),
                b.addr(),
                c.addr()
            ),
        );
        let four = || (0..4).map(|_| who(front)).collect::<String>();
        assert_eq!(four(), "AAAA");
        a.stop();
        daemon.admin().wait_status("l", "a", "DOWN");
        let got = four();
        assert!(got.contains('B') && !got.contains('A'), "{option}: {got}");
        assert_eq!(got.contains('C'), !option.is_empty(), "{option}: {got}");
        a.start();
        daemon.admin().wait_status("l", "a", "UP");
        assert_eq!(four(), "AAAA");
    }
}

// B09
#[test]
fn a_refused_connection_is_tried_again_with_pauses() {
    let dead = port();
    let (_daemon, front, log) = logged(
        " timeout connect 400\n retries 3\n",
        &format!(" server s 127.0.0.1:{dead}\n"),
    );
    let start = Instant::now();
    assert_eq!(ask(front, "x").unwrap_or_default(), "");
    about(1200, start.elapsed());
    let line = log.wait(" l l/s ");
    assert_eq!(fields(&line)[2], "SC", "{line}");
    assert!(fields(&line)[3].ends_with("/3"), "three retries: {line}");
}

// B10
#[test]
fn the_last_retry_goes_to_another_server() {
    let alive = Server::named("B");
    let dead = port();
    let (_daemon, front, log) = logged(
        " timeout connect 300\n retries 2\n option redispatch\n",
        &format!(" server a 127.0.0.1:{dead}\n server b {}\n", alive.addr()),
    );
    let got: String = (0..4).map(|_| who(front)).collect();
    assert_eq!(got, "BBBB");
    let lines = log.wait_n(" l l/b ", 4);
    assert!(
        lines
            .iter()
            .any(|line| fields(line)[3].ends_with("/+2") || fields(line)[3].ends_with("/+1")),
        "{lines:#?}"
    );
}

// B10
#[test]
fn redispatch_can_come_with_the_first_retry() {
    let alive = Server::named("B");
    let dead = port();
    let (_daemon, front, log) = logged(
        " timeout connect 800\n retries 3\n option redispatch 1\n",
        &format!(" server a 127.0.0.1:{dead}\n server b {}\n", alive.addr()),
    );
    let start = Instant::now();
    assert_eq!((0..2).map(|_| who(front)).collect::<String>(), "BB");
    assert!(
        start.elapsed() < Duration::from_millis(2400),
        "{:?}",
        start.elapsed()
    );
    assert!(
        log.wait_n(" l l/b ", 2)
            .iter()
            .any(|line| fields(line)[3].ends_with("/+1")),
        "{:#?}",
        log.all()
    );
}

// B12, L04
#[test]
fn a_server_that_does_not_answer_is_given_up_at_the_connect_timeout() {
    let hole = BlackHole::new();
    let (_daemon, front, log) = logged(
        " timeout connect 500\n retries 0\n",
        &format!(" server s 127.0.0.1:{}\n", hole.port),
    );
    let start = Instant::now();
    assert_eq!(ask(front, "x").unwrap_or_default(), "");
    about(500, start.elapsed());
    let line = log.wait(" l l/s ");
    assert_eq!(fields(&line)[2], "sC", "{line}");
}

// B13, L04
#[test]
fn a_silent_server_is_given_up_at_the_server_timeout() {
    let server = Server::silent();
    let (_daemon, front, log) = logged(
        " timeout server 600\n",
        &format!(" server s {}\n", server.addr()),
    );
    let mut client = connect(front);
    client.write_all(b"anybody?").unwrap();
    about(600, closed_within(Duration::from_secs(5), &mut client).1);
    drop(client);
    let line = log.wait(" l l/s ");
    assert_eq!(fields(&line)[2], "sD", "{line}");
}

// B14
#[test]
fn a_returning_server_gets_its_share_little_by_little() {
    let (a, mut b) = (Server::named("A"), Server::named("B"));
    let (daemon, front, _log) = logged(
        "",
        &format!(
            " default-server inter 100 fall 1 rise 1 weight 50\n server a {} check\n server b {} check slowstart 3s\n",
            a.addr(),
            b.addr()
        ),
    );
    let share = |n: usize| (0..n).filter(|_| who(front) == "B").count();
    assert_eq!(share(20), 10, "no slow start when the process starts");
    b.stop();
    daemon.admin().wait_status("l", "b", "DOWN");
    b.start();
    let admin = daemon.admin();
    let status = || admin.cell("l", "b", "status");
    assert!(
        within(Duration::from_secs(5), || status().starts_with("UP")),
        "{}",
        status()
    );
    let early = share(20);
    assert!(early <= 6, "{early} of 20 at once");
    let throttle = admin.cell("l", "b", "throttle");
    assert!(
        throttle.parse::<u32>().is_ok_and(|t| t < 100),
        "throttle {throttle:?}"
    );
    std::thread::sleep(Duration::from_millis(3500));
    let late = share(20);
    assert!(
        (9..=11).contains(&late),
        "{late} of 20 after the slow start"
    );
}

// B15
#[test]
fn dispatch_is_a_server_without_a_name() {
    let server = Server::named("A");
    let (front, log) = (port(), UdpLog::new());
    // With a `balance` line the address would be ignored, in haproxy as here.
    let config = USUAL.replace(" balance roundrobin\n", "");
    let _daemon = Daemon::start(&format!(
        "global\n log 127.0.0.1:{} local0\n{config} log global\n option tcplog\nlisten l\n bind 127.0.0.1:{front}\n dispatch {}\n",
        log.port,
        server.addr()
    ));
    assert_eq!(who(front), "A");
    log.wait(" l l/<NOSRV> ");
}

// B17
#[test]
fn keepalive_is_set_on_the_side_it_was_asked_for() {
    let server = Server::silent();
    for (option, client, srv) in [
        ("option tcpka", true, true),
        ("option clitcpka", true, false),
        ("option srvtcpka", false, true),
        ("", false, false),
    ] {
        let front = port();
        let _daemon = Daemon::start(&format!(
            "{USUAL} {option}\nlisten l\n bind 127.0.0.1:{front}\n server s {}\n",
            server.addr()
        ));
        let _held = connect(front);
        until("it is connected to the server", || {
            !timers(&format!("dport = :{}", server.port)).is_empty()
        });
        assert_eq!(
            timers(&format!("sport = :{front}")).contains("keepalive"),
            client,
            "{option}, client"
        );
        assert_eq!(
            timers(&format!("dport = :{}", server.port)).contains("keepalive"),
            srv,
            "{option}, server"
        );
    }
}

/// What `ss` says of established connections, timers included.
fn timers(filter: &str) -> String {
    let out = Command::new("ss")
        .args(["-tnoH", "state", "established", filter])
        .output()
        .expect("ss runs");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

// B19
#[test]
fn a_killed_server_leaves_and_returns_without_anybody() {
    let (a, mut b) = (Server::named("A"), Server::named("B"));
    let (daemon, front, log) = logged(
        "",
        &format!(
            " default-server inter 100 fall 2 rise 2\n server a {} check\n server b {} check\n",
            a.addr(),
            b.addr()
        ),
    );
    let four = || (0..4).map(|_| who(front)).collect::<String>();
    assert!(four().contains('B'));
    b.stop();
    log.wait("Server l/b is DOWN");
    daemon.admin().wait_status("l", "b", "DOWN");
    assert_eq!(four(), "AAAA");
    b.start();
    log.wait("Server l/b is UP");
    daemon.admin().wait_status("l", "b", "UP");
    assert!(four().contains('B'));
}

// issue: abortonclose
#[test]
fn a_client_that_leaves_the_queue_is_not_sent_on_with_abortonclose() {
    let server = Server::named("A");
    let (daemon, front, _log) = logged(
        " timeout queue 5s\n option abortonclose\n",
        &format!(" server s {} maxconn 1\n", server.addr()),
    );
    let (held, _) = hold(front);
    let waiting = connect(front);
    until("it is queued", || queued(&daemon) == 1);
    drop(waiting);
    until("it left the queue", || queued(&daemon) == 0);
    drop(held);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(server.seen.accepted(), 1);
}

// issue: source
#[test]
fn connections_to_a_server_leave_from_the_source_address() {
    let server = Server::new(|mut stream, _| {
        let peer = stream.peer_addr().unwrap().ip().to_string();
        let _ = read_piece(&mut stream);
        let _ = stream.write_all(peer.as_bytes());
    });
    let (_daemon, front, _log) = logged(
        " source 127.0.0.77\n",
        &format!(
            " server a {0}\n server b {0} source 127.0.0.78\n",
            server.addr()
        ),
    );
    let mut got = [0; 4].map(|_| ask(front, "x").unwrap());
    got.sort();
    // Each thread goes round on its own.
    assert_eq!(
        (&*got[0], &*got[3]),
        ("127.0.0.77", "127.0.0.78"),
        "{got:?}"
    );
}

// issue: track
#[test]
fn a_tracking_server_follows_the_tracked_one() {
    let (mut a, b) = (Server::named("A"), Server::named("B"));
    let (daemon, front, _log) = logged(
        "",
        &format!(
            " server follower {} track other/leader\n server rest {} backup\nbackend other\n server leader {} check inter 100 fall 1 rise 1\n",
            b.addr(),
            b.addr(),
            a.addr()
        ),
    );
    assert_eq!(who(front), "B");
    a.stop();
    daemon.admin().wait_status("l", "follower", "DOWN");
    a.start();
    daemon.admin().wait_status("l", "follower", "UP");
}

// B01
#[test]
fn a_server_without_an_address_is_where_the_client_connected_to() {
    let (front, back) = (port(), port());
    let _a = Server::named_at(([127, 0, 0, 1], back).into(), "A");
    let _b = Server::named_at(([127, 0, 0, 7], back).into(), "B");
    // Checks have no client: they go to this machine.
    for (unspecified, check) in [("0.0.0.0", "check inter 100"), ("[::]", "")] {
        let daemon = Daemon::start(&format!(
            "{USUAL}listen l\n bind 0.0.0.0:{front}\n server s {unspecified}:{back} {check}\n"
        ));
        until("it was checked", || {
            check.is_empty() || daemon.admin().cell("l", "s", "check_status") == "L4OK"
        });
        for (host, name) in [(1, "A"), (7, "B")] {
            let answer = ask_at(([127, 0, 0, host], front).into(), "x").unwrap();
            assert_eq!(answer, format!("{name}:x"), "{unspecified}");
        }
    }
}
