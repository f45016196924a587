//! HTTP exchanges that go wrong, or nearly: what is kept of a body, whose connection is whose, who is told what.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::http::{Message, Origin, Wire, ok};
use crate::support::{Daemon, Server, UdpLog, port, within};

const HTTP: &str = "global\n nbthread 1\n stats socket @DIR@/admin mode 600 level admin\ndefaults\n mode http\n \
    balance roundrobin\n timeout connect 2s\n timeout client 20s\n timeout server 20s\n";

fn listen(lines: &str) -> (Daemon, u16) {
    let port = port();
    let config = format!("{HTTP}listen l\n bind 127.0.0.1:{port}\n{lines}");
    (Daemon::start(&config), port)
}

fn pause(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

/// Rules waited for a part of a body; the rest of it comes while the request is in a queue.
#[test]
fn a_body_of_which_rules_waited_for_a_part_comes_whole() {
    let origin = Origin::new(|asked: &Message| {
        if asked.target() == "/slow" {
            pause(1200);
        }
        ok("", &asked.body)
    });
    let (_daemon, port) = listen(&format!(
        " http-request wait-for-body time 5s at-least 3\n server s {} maxconn 1\n",
        origin.addr()
    ));
    let mut first = Wire::to(port);
    first.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
    pause(100);
    let mut client = Wire::to(port);
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabcde");
    pause(500);
    client.send("fghij");
    assert_eq!(client.last_answer("POST").body, "abcdefghij");
    assert_eq!(first.last_answer("GET").status(), 200);
}

/// A rule lets a response wait for longer than client and server may be silent.
#[test]
fn a_pause_is_held_against_nobody() {
    let server = Server::new(|stream, _| {
        let mut wire = Wire::new(stream);
        let Some(asked) = wire.request() else { return };
        if asked.target() == "/switch" {
            wire.send("HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n");
            let said = wire.take(5);
            wire.send(said);
            return;
        }
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcde");
        pause(1600);
        wire.send("fghij");
    });
    let (_daemon, port) = listen(&format!(
        " timeout client 700ms\n timeout server 700ms\n http-response pause 1200ms\n server s {}\n",
        server.addr()
    ));
    let mut wire = Wire::to(port);
    wire.send("GET /late HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let answer = wire.last_answer("GET");
    assert_eq!((answer.body.as_str(), answer.whole), ("abcdefghij", true));
    let mut wire = Wire::to(port);
    wire.send("GET /switch HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n");
    pause(1500);
    wire.send("hello");
    let all = wire.all();
    assert!(
        all.starts_with("HTTP/1.1 101") && all.ends_with("\r\n\r\nhello"),
        "{all}"
    );
}

/// The header says once and for all whose the connection is.
#[test]
fn a_connection_with_a_proxy_header_serves_one_client() {
    let server = Server::new(|stream, _| {
        let mut wire = Wire::new(stream);
        let mut client = String::new();
        while let Some(request) = wire.request() {
            if request.word(0) == "PROXY" {
                request.word(4).clone_into(&mut client);
            }
            wire.send(ok("", &client));
        }
    });
    let (_daemon, port) = listen(&format!(
        " http-reuse always\n server s {} send-proxy\n",
        server.addr()
    ));
    let mut clients: Vec<_> = (0..3).map(|_| Wire::to(port)).collect();
    for _ in 0..2 {
        for client in &mut clients {
            client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
            let own = client.stream.local_addr().unwrap().port();
            assert_eq!(client.last_answer("GET").body, own.to_string());
        }
    }
    assert_eq!(server.seen.accepted(), 3, "each keeps its own");
}

/// Bytes behind a response that has no body end the connection, whoever sent them; buffers are not lost by it.
#[test]
fn a_body_where_none_belongs_is_no_answer_to_the_next_request() {
    let server = Server::new(|stream, _| {
        let mut wire = Wire::new(stream);
        while let Some(request) = wire.request() {
            let body = "x".repeat(9000);
            let size = body.len();
            if request.method() == "HEAD" {
                wire.send(format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n{body}"
                ));
            } else {
                wire.send(ok("", "whole"));
            }
        }
    });
    let (daemon, port) = listen(&format!(
        " http-reuse always\n server s {}\n",
        server.addr()
    ));
    let _ = &daemon;
    let mut client = Wire::to(port);
    for _ in 0..100 {
        client.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(client.last_answer("HEAD").status(), 200);
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(client.last_answer("GET").body, "whole");
    }
}

/// Its line is that of `option tcplog`, as the frontend asks.
#[test]
fn a_tcp_session_that_became_http_leaves_its_line() {
    let origin = Origin::named("x");
    let log = UdpLog::new();
    let port = port();
    let config = format!(
        "{HTTP}frontend f\n mode tcp\n bind 127.0.0.1:{port}\n log 127.0.0.1:{} local0\n option tcplog\n default_backend b\n\
         backend b\n server s {}\n",
        log.port,
        origin.addr()
    );
    let _daemon = Daemon::start(&config);
    let mut client = Wire::to(port);
    client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_eq!(client.last_answer("GET").status(), 200);
    let line = log.wait(" f ");
    assert!(line.contains(" f b/s "), "{line}");
}

/// The id that a rule uses is the one of the header and of the line.
#[test]
fn a_unique_id_is_there_for_the_first_rule_that_asks() {
    let origin = Origin::new(|asked: &Message| {
        let ids = [asked.all("x-early"), asked.all("x-uid")].concat();
        ok("", &ids.join(" "))
    });
    let (_daemon, port) = listen(&format!(
        " unique-id-format %ci-%cp-%rt-%[unique-id]\n unique-id-header X-Uid\n \
         http-request set-header X-Early %[unique-id]\n server s {}\n",
        origin.addr()
    ));
    let mut client = Wire::to(port);
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        let body = client.last_answer("GET").body;
        let (early, late) = body.split_once(' ').expect("two");
        assert!(early.starts_with("127.0.0.1-"), "{body}");
        assert_eq!(early, late);
    }
}

/// What haproxy 2.6 counts, where.
#[test]
fn denials_timeouts_and_retries_are_counted_where_haproxy_counts_them() {
    let server = Server::new(|stream, _| {
        let mut wire = Wire::new(stream);
        while let Some(request) = wire.request() {
            if request.target() == "/empty" {
                return;
            }
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok");
            pause(900);
        }
    });
    let (port, at) = (port(), server.addr());
    let config = format!(
        "{HTTP}defaults\n mode http\n timeout connect 2s\n timeout client 20s\n timeout server 300\n retries 1\n\
         frontend f\n bind 127.0.0.1:{port}\n use_backend denies if {{ path /denies }}\n \
         use_backend rejects if {{ path /rejects }}\n default_backend b\n\
         backend denies\n http-request deny\n server s {at}\n\
         backend rejects\n tcp-request content reject\n server s {at}\n\
         backend b\n retry-on empty-response\n server s {at}\n"
    );
    let daemon = Daemon::start(&config);
    for target in ["/denies", "/rejects", "/hang", "/empty"] {
        let mut client = Wire::to(port);
        client.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        client.answer("GET");
    }
    let count = |proxy, row, column| daemon.admin().count(proxy, row, column);
    assert_eq!(count("f", "FRONTEND", "dreq"), 2);
    assert_eq!(count("denies", "BACKEND", "dreq"), 1);
    assert_eq!(count("rejects", "BACKEND", "dreq"), 0);
    assert_eq!(count("b", "s", "srv_abrt"), 1);
    // The body that stayed away, and the connection that ended without an answer.
    assert_eq!(count("b", "s", "eresp"), 2);
    assert!(count("b", "s", "wretr") >= 1);
}

/// A server speaks on an idle connection just as a request is about to take it: the two are seen in one turn.
#[test]
fn bytes_nobody_asked_for_are_no_answer_to_the_next_request() {
    for reuse in ["never", "always"] {
        let (speak, spoke) = <(Arc<AtomicBool>, Arc<AtomicBool>)>::default();
        let server = Server::new({
            let (speak, spoke) = (Arc::clone(&speak), Arc::clone(&spoke));
            move |stream, _| {
                let mut wire = Wire::new(stream);
                let mut first = !speak.load(Ordering::Acquire);
                while wire.request().is_some() {
                    wire.send(ok("", "asked"));
                    while std::mem::take(&mut first) {
                        while !speak.load(Ordering::Acquire) {
                            pause(5);
                        }
                        wire.send(ok("", "unasked"));
                        spoke.store(true, Ordering::Release);
                    }
                }
            }
        });
        let (daemon, port) = listen(&format!(
            " http-reuse {reuse}\n server s {}\n",
            server.addr()
        ));
        let mut client = Wire::to(port);
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(client.last_answer("GET").body, "asked");
        pause(50);
        daemon.halt();
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        pause(20);
        speak.store(true, Ordering::Release);
        // Later than the request it would be an answer like any other.
        within(Duration::from_secs(5), || spoke.load(Ordering::Acquire));
        daemon.signal(Signal::SIGCONT);
        assert_eq!(client.last_answer("GET").body, "asked", "{reuse}");
    }
}
