//! The listening side: routing to backends, limits, who is let in and who is logged.

use std::io::Write;
use std::time::Duration;

use crate::support::client::{End, connect_from, hold, who};
use crate::support::logs::message;
use crate::support::net::{Namespace, ask_in};
use crate::support::server::readable;
use crate::support::{
    Daemon, Launch, Server, USUAL, UdpLog, about, ask, closed_within, connect, on_haproxy, port,
    refused, talk, until,
};

// F03, F04
#[test]
fn each_frontend_reaches_its_backend_and_is_counted_apart() {
    let (a, b) = (Server::named("A"), Server::named("B"));
    let [one, two, three] = [port(), port(), port()];
    let daemon = Daemon::start(&format!(
        "{USUAL}frontend one\n bind 127.0.0.1:{one}\n default_backend first\nfrontend two\n bind 127.0.0.1:{two}\n \
         default_backend second\nfrontend three\n bind 127.0.0.1:{three}\n default_backend first\n\
         backend first\n server a {}\nbackend second\n server b {}\n",
        a.addr(),
        b.addr()
    ));
    assert_eq!(
        [who(one), who(two), who(three), who(three)],
        ["A", "B", "A", "A"]
    );
    let admin = daemon.admin();
    let total = |proxy, server| admin.count(proxy, server, "stot");
    assert_eq!(
        [
            total("one", "FRONTEND"),
            total("two", "FRONTEND"),
            total("three", "FRONTEND")
        ],
        [1, 1, 2]
    );
    assert_eq!(
        [total("first", "BACKEND"), total("second", "BACKEND")],
        [3, 1]
    );
    assert_eq!([total("first", "a"), total("second", "b")], [3, 1]);
}

// F03
#[test]
fn an_unknown_backend_is_an_error_that_names_it() {
    let checked = Launch::new(&format!(
        "{USUAL}frontend f\n bind 127.0.0.1:{}\n default_backend databse\nbackend database\n server s 127.0.0.1:1\n",
        port()
    ))
    .check();
    assert_eq!(checked.code(), 1);
    assert!(checked.text.contains("databse"), "{}", checked.text);
    if !on_haproxy() {
        assert!(
            checked.text.contains("database"),
            "the near name: {}",
            checked.text
        );
    }
}

// F08
#[test]
fn a_frontends_maxconn_holds_back_that_frontend_only() {
    let server = Server::named("A");
    let (narrow, wide) = (port(), port());
    let daemon = Daemon::start(&format!(
        "{USUAL}frontend narrow\n maxconn 5\n bind 127.0.0.1:{narrow}\n default_backend b\n\
         frontend wide\n bind 127.0.0.1:{wide}\n default_backend b\nbackend b\n server s {}\n",
        server.addr()
    ));
    let mut held: Vec<_> = (0..5).map(|_| hold(narrow).0).collect();
    let mut sixth = connect(narrow);
    sixth.write_all(b"y").unwrap();
    assert!(!readable(&sixth, 400), "the sixth waits");
    assert_eq!(who(wide), "A", "the other frontend goes on");
    assert_eq!(daemon.admin().count("narrow", "FRONTEND", "scur"), 5);
    held.pop();
    assert!(readable(&sixth, 5000), "a place became free");
}

// F09
#[test]
fn a_disabled_section_listens_nowhere_and_checks_nobody() {
    let server = Server::named("A");
    let (on, off) = (port(), port());
    let daemon = Launch::new(&format!(
        "{USUAL}listen on\n bind 127.0.0.1:{on}\n server s {0}\nlisten off\n disabled\n bind 127.0.0.1:{off}\n \
         server s {0} check inter 100\n",
        server.addr()
    ))
    .ports(&[on])
    .start();
    assert_eq!(who(on), "A");
    assert!(refused(off));
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(server.seen.accepted(), 1, "no probe came");
    drop(daemon);
}

// F10, L04
#[test]
fn a_client_that_says_nothing_is_closed_at_its_timeout() {
    let (server, log) = (Server::silent(), UdpLog::new());
    let front = port();
    let _daemon = Daemon::start(&format!(
        "global\n log 127.0.0.1:{} local0\n{USUAL} timeout client 700\n log global\n option tcplog\nlisten l\n \
         bind 127.0.0.1:{front}\n server s {}\n",
        log.port,
        server.addr()
    ));
    let (end, took) = closed_within(Duration::from_secs(5), &mut connect(front));
    assert_eq!(end, End::Closed);
    about(700, took);
    let line = log.wait(" l l/s ");
    assert!(message(&line).contains(" cD "), "{line}");
}

// F10
#[test]
fn data_from_the_server_keeps_a_quiet_client() {
    let server = Server::new(|mut stream, _| {
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(150));
            if stream.write_all(b"tick").is_err() {
                return;
            }
        }
    });
    let front = port();
    let _daemon = Daemon::start(&format!(
        "{USUAL} timeout client 500\n timeout server 500\nlisten l\n bind 127.0.0.1:{front}\n server s {}\n",
        server.addr()
    ));
    let (_, took) = closed_within(Duration::from_secs(5), &mut connect(front));
    assert!(
        took >= Duration::from_millis(1400),
        "cut after {took:?} though data flowed"
    );
}

// B16
#[test]
fn independent_streams_do_not_keep_a_silent_server() {
    let server = Server::silent();
    let front = port();
    let _daemon = Daemon::start(&format!(
        "{USUAL} timeout client 5s\n timeout server 600\n option independent-streams\nlisten l\n bind 127.0.0.1:{front}\n \
         server s {}\n",
        server.addr()
    ));
    let mut client = connect(front);
    let start = std::time::Instant::now();
    while !readable(&client, 100) {
        assert!(
            start.elapsed() < Duration::from_secs(4),
            "writing kept the connection"
        );
        client.write_all(b"x").unwrap();
    }
    about(600, start.elapsed());
}

// F12
#[test]
fn probes_from_the_monitor_net_are_closed_unlogged_and_uncounted() {
    if on_haproxy() {
        return; // gone from 2.x
    }
    let (server, log) = (Server::named("A"), UdpLog::new());
    let front = port();
    let daemon = Daemon::start(&format!(
        "global\n log 127.0.0.1:{} local0\n{USUAL} log global\n option tcplog\nlisten l\n monitor-net 127.0.0.252/31\n \
         bind 127.0.0.1:{front}\n server s {}\n",
        log.port,
        server.addr()
    ));
    for source in ["127.0.0.252", "127.0.0.253"] {
        let mut probe = connect_from(source, front).unwrap();
        let (_, took) = closed_within(Duration::from_secs(2), &mut probe);
        assert!(took < Duration::from_millis(900), "{took:?}");
    }
    assert_eq!(server.seen.accepted(), 0);
    let mut other = connect_from("127.0.0.251", front).unwrap();
    assert_eq!(talk(&mut other, "x"), "A:x");
    drop(other);
    log.wait(" l l/s ");
    assert_eq!(log.all().len(), 1, "{:#?}", log.all());
    assert_eq!(daemon.admin().count("l", "FRONTEND", "stot"), 1);
}

// F13
#[test]
fn connections_without_a_byte_are_not_logged_when_so_wished() {
    let (server, log) = (Server::named("A"), UdpLog::new());
    let front = port();
    let daemon = Daemon::start(&format!(
        "global\n log 127.0.0.1:{} local0\n{USUAL} log global\n option tcplog\n option dontlognull\nlisten l\n \
         bind 127.0.0.1:{front}\n server s {}\n",
        log.port,
        server.addr()
    ));
    for _ in 0..5 {
        drop(connect(front));
    }
    until("the empty ones were counted", || {
        daemon.admin().count("l", "FRONTEND", "stot") == 5
    });
    assert_eq!(who(front), "A");
    log.wait(" l l/s ");
    assert_eq!(log.all().len(), 1, "{:#?}", log.all());
}

// F15
#[test]
fn an_address_of_another_host_can_be_bound_with_transparent() {
    let ns = Namespace::new();
    ns.sysctl("net.ipv4.ip_nonlocal_bind", "0");
    let front = port();
    let config = |extra| {
        format!("{USUAL}listen l\n bind 10.77.0.1:{front} {extra}\n server s 127.0.0.1:{front}\n")
    };
    let refused = Launch::new(&config("")).in_net(&ns).try_start(&["-db"]);
    let Err(refused) = refused else {
        panic!("bound an address that is not there")
    };
    assert_eq!(refused.code(), 1);
    assert!(
        refused.text.contains(&format!("10.77.0.1:{front}")),
        "{}",
        refused.text
    );

    let daemon = Launch::new(&config("transparent")).in_net(&ns).start();
    drop(daemon);

    ns.sysctl("net.ipv4.ip_nonlocal_bind", "1");
    let _server = ns.inside(|| Server::named_at(([127, 0, 0, 1], front).into(), "A"));
    let _daemon = Launch::new(&config("")).in_net(&ns).start();
    // The address arrives with the failover; what listens already serves it.
    ns.address("lo", "10.77.0.1/32");
    assert_eq!(
        ask_in(&ns, &format!("10.77.0.1:{front}"), "x").unwrap(),
        "A:x"
    );
}

// F06, F07
#[test]
fn the_first_rule_that_holds_chooses_the_backend() {
    let (a, b, c) = (Server::named("A"), Server::named("B"), Server::named("C"));
    let front = port();
    let launch = Launch::new(&format!(
        "{USUAL}frontend f\n bind 127.0.0.1:{front}\n acl two src 127.0.0.2\n acl two src 127.0.1.0/24\n \
         acl listed src -f @DIR@/list\n use_backend a if two\n use_backend b unless !listed\n default_backend c\n\
         backend a\n server a {}\nbackend b\n server b {}\nbackend c\n server c {}\n",
        a.addr(),
        b.addr(),
        c.addr()
    ));
    launch
        .dir()
        .write("list", "# a comment\n127.0.0.2\n127.0.0.3\n");
    let _daemon = launch.start();
    for (source, name) in [
        ("127.0.0.2", "A"),
        ("127.0.1.9", "A"),
        ("127.0.0.3", "B"),
        ("127.0.0.4", "C"),
    ] {
        let mut client = connect_from(source, front).unwrap();
        assert_eq!(talk(&mut client, "x"), format!("{name}:x"), "from {source}");
    }
}

// issue: rate-limit sessions
#[test]
fn a_rate_limit_delays_and_refuses_nobody() {
    let server = Server::named("A");
    let front = port();
    let _daemon = Daemon::start(&format!(
        "{USUAL}frontend f\n rate-limit sessions 10\n bind 127.0.0.1:{front}\n default_backend b\nbackend b\n server s {}\n",
        server.addr()
    ));
    let start = std::time::Instant::now();
    let mut clients: Vec<_> = (0..30).map(|_| connect(front)).collect();
    for client in &mut clients {
        assert_eq!(talk(client, "x"), "A:x");
    }
    assert!(
        start.elapsed() > Duration::from_millis(1500),
        "30 sessions at 10 a second took {:?}",
        start.elapsed()
    );
}

// issue: fd@
#[test]
fn an_inherited_listening_socket_is_served() {
    let server = Server::named("A");
    let front = port();
    let _daemon = Launch::new(&format!(
        "{USUAL}listen l\n bind fd@9\n server s {}\n",
        server.addr()
    ))
    .inheriting(front)
    .start();
    until("it serves", || {
        matches!(ask(front, "x").as_deref(), Ok("A:x"))
    });
}
