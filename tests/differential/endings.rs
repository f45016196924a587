//! The ways a connection ends, and the line each leaves.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Side, same};
use crate::support::client::{closed_within, hold, read_piece, reset};
use crate::support::server::BlackHole;
use crate::support::{Server, ask, connect, port, talk};

const LOGGED: &str = " option tcplog\n";

/// `server s` alone.
fn to(server: &Server) -> String {
    format!(" server s {}\n", server.addr())
}

#[test]
fn a_normal_connection() {
    same(|side| {
        let server = Server::named("A");
        let daemon = side.start(LOGGED, &to(&server));
        for (n, text) in ["x", "some more bytes", "xyz"].into_iter().enumerate() {
            ask(side.front, text).unwrap();
            side.settled(n + 1);
        }
        side.lines(&daemon, 3, &[])
    });
}

#[test]
fn the_default_line() {
    same(|side| {
        let server = Server::named("A");
        let daemon = side.start("", &to(&server));
        ask(side.front, "x").unwrap();
        side.lines(&daemon, 1, &[])
    });
}

#[test]
fn a_silent_client() {
    same(|side| {
        let server = Server::named("A");
        let daemon = side.start(" option tcplog\n timeout client 300\n", &to(&server));
        let mut client = connect(side.front);
        closed_within(Duration::from_secs(5), &mut client);
        let (mut client, _) = hold(side.front);
        closed_within(Duration::from_secs(5), &mut client);
        drop(client);
        side.lines(&daemon, 2, &[])
    });
}

#[test]
fn a_silent_server() {
    same(|side| {
        let server = Server::silent();
        let daemon = side.start(" option tcplog\n timeout server 300\n", &to(&server));
        let mut client = connect(side.front);
        client.write_all(b"anybody?").unwrap();
        closed_within(Duration::from_secs(5), &mut client);
        drop(client);
        side.lines(&daemon, 1, &[])
    });
}

#[test]
fn a_server_that_falls_silent_after_an_answer() {
    same(|side| {
        let server = Server::new(|mut stream, _| {
            let _ = read_piece(&mut stream);
            let _ = stream.write_all(b"once");
            let _ = stream.read(&mut [0; 16]);
        });
        let daemon = side.start(" option tcplog\n timeout server 300\n", &to(&server));
        let mut client = connect(side.front);
        assert_eq!(talk(&mut client, "x"), "once");
        closed_within(Duration::from_secs(5), &mut client);
        drop(client);
        side.lines(&daemon, 1, &[])
    });
}

#[test]
fn a_server_that_refuses() {
    same(|side| {
        let daemon = side.start(
            " option tcplog\n retries 1\n timeout connect 200\n",
            &format!(" server s 127.0.0.1:{}\n", port()),
        );
        let _ = ask(side.front, "x");
        side.lines(&daemon, 1, &[])
    });
}

#[test]
fn a_server_that_does_not_answer() {
    same(|side| {
        let hole = BlackHole::new();
        let daemon = side.start(
            " option tcplog\n retries 1\n timeout connect 200\n",
            &format!(" server s 127.0.0.1:{}\n", hole.port),
        );
        let _ = ask(side.front, "x");
        side.lines(&daemon, 1, &[])
    });
}

#[test]
fn a_client_that_waits_too_long_in_the_queue() {
    same(|side| {
        let server = Server::named("A");
        let daemon = side.start(
            " option tcplog\n timeout queue 200\n",
            &format!(" server s {} maxconn 1\n", server.addr()),
        );
        let (held, _) = hold(side.front);
        let _ = ask(side.front, "x");
        drop(held);
        side.lines(&daemon, 2, &[])
    });
}

#[test]
fn queues_that_are_full() {
    same(|side| {
        let (a, b) = (Server::named("A"), Server::named("B"));
        let daemon = side.start(
            " option tcplog\n timeout queue 300\n",
            &format!(
                " server a {} maxconn 1 maxqueue 1\n server b {} maxconn 1 maxqueue 1\n",
                a.addr(),
                b.addr()
            ),
        );
        let held = [hold(side.front).0, hold(side.front).0];
        let _ = ask(side.front, "x");
        side.settled(1);
        for (n, client) in held.into_iter().enumerate() {
            drop(client);
            side.settled(n + 2);
        }
        let mut lines = side.lines(&daemon, 3, &[]);
        lines.sort();
        lines
    });
}

#[test]
fn a_client_that_resets_while_the_server_is_being_reached() {
    same(|side| {
        let hole = BlackHole::new();
        let daemon = side.start(
            " option tcplog\n retries 0\n timeout connect 1500\n",
            &format!(" server s 127.0.0.1:{}\n", hole.port),
        );
        let client = connect(side.front);
        std::thread::sleep(Duration::from_millis(150));
        reset(client);
        side.lines(&daemon, 1, &[])
    });
}

#[test]
fn a_client_that_closes_while_the_server_is_being_reached() {
    same(|side| {
        let hole = BlackHole::new();
        let daemon = side.start(
            " option tcplog\n retries 0\n timeout connect 600\n option abortonclose\n",
            &format!(" server s 127.0.0.1:{}\n", hole.port),
        );
        let client = connect(side.front);
        std::thread::sleep(Duration::from_millis(150));
        drop(client);
        side.lines(&daemon, 1, &[])
    });
}

#[test]
fn a_client_that_leaves_the_queue() {
    same(|side| {
        let server = Server::named("A");
        let daemon = side.start(
            " option tcplog\n timeout queue 3s\n option abortonclose\n",
            &format!(" server s {} maxconn 1\n", server.addr()),
        );
        let (held, _) = hold(side.front);
        let waiting = connect(side.front);
        std::thread::sleep(Duration::from_millis(150));
        reset(waiting);
        std::thread::sleep(Duration::from_millis(150));
        drop(held);
        side.lines(&daemon, 2, &[])
    });
}

#[test]
fn a_server_that_resets() {
    same(|side| {
        let server = Server::resetting();
        let daemon = side.start(LOGGED, &to(&server));
        let mut client = connect(side.front);
        client.write_all(b"x").unwrap();
        closed_within(Duration::from_secs(5), &mut client);
        drop(client);
        side.lines(&daemon, 1, &[])
    });
}

#[test]
fn a_client_that_resets_in_the_middle() {
    same(|side| {
        let server = Server::named("A");
        let daemon = side.start(LOGGED, &to(&server));
        let (client, _) = hold(side.front);
        reset(client);
        side.lines(&daemon, 1, &[])
    });
}

#[test]
fn half_closed_by_the_client() {
    same(|side| {
        let server = Server::answers_after_end();
        let daemon = side.start(LOGGED, &to(&server));
        assert_eq!(ask(side.front, "question").unwrap(), "got 8:question");
        side.lines(&daemon, 1, &[])
    });
}

#[test]
fn closed_by_the_server_first() {
    same(|side| {
        let server = Server::new(|mut stream, _| {
            let _ = stream.write_all(b"bye");
        });
        let daemon = side.start(LOGGED, &to(&server));
        let mut client = connect(side.front);
        let mut all = String::new();
        client.read_to_string(&mut all).unwrap();
        drop(client);
        side.lines(&daemon, 1, &[])
    });
}

#[test]
fn half_closed_and_then_silent() {
    same(|side| {
        // The server stays whatever the client does.
        let stubborn = Server::new(|mut stream, _| {
            let _ = stream.write_all(b"x");
            std::thread::sleep(Duration::from_millis(1500));
        });
        let daemon = side.start(
            " option tcplog\n timeout client-fin 300\n timeout server 700\n timeout client 700\n",
            &to(&stubborn),
        );
        let mut client = connect(side.front);
        // Before the server is known to be reached it would be another ending.
        client.read_exact(&mut [0]).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        closed_within(Duration::from_secs(5), &mut client);
        drop(client);
        side.lines(&daemon, 1, &[])
    });
}

#[test]
fn no_server_at_all() {
    same(|side| {
        let daemon = side.start(LOGGED, "");
        let _ = ask(side.front, "x");
        side.lines(&daemon, 1, &[])
    });
}

#[test]
fn every_server_down() {
    same(|side| {
        let daemon = side.start(
            LOGGED,
            &format!(" server s 127.0.0.1:{} check inter 100 fall 1\n", port()),
        );
        side.log.wait("has no server available");
        let _ = ask(side.front, "x");
        // The words for a refused connection changed in 3.x.
        let lines = side.lines(&daemon, 3, &[]);
        let new = "ECONNREFUSED returned by OS (Connection refused)";
        lines
            .into_iter()
            .map(|line| line.replace(new, "Connection refused"))
            .collect()
    });
}

#[test]
fn a_server_that_goes_and_comes_back() {
    same(|side| {
        let (mut a, b) = (Server::named("A"), Server::named("B"));
        let daemon = side.start(
            LOGGED,
            &format!(
                " server a {} check inter 100 fall 2 rise 2\n server b {}\n",
                a.addr(),
                b.addr()
            ),
        );
        std::thread::sleep(Duration::from_millis(400));
        a.stop();
        side.log.wait("Server l/a is DOWN");
        a.start();
        side.log.wait("Server l/a is UP");
        let new = "ECONNREFUSED returned by OS (Connection refused)";
        side.lines(&daemon, 2, &[])
            .into_iter()
            .map(|line| line.replace(new, "Connection refused"))
            .collect()
    });
}

#[test]
fn sent_to_another_server_in_the_end() {
    same(|side| {
        let alive = Server::named("B");
        let daemon = side.start(
            " option tcplog\n retries 2\n option redispatch\n timeout connect 200\n",
            &format!(
                " server a 127.0.0.1:{}\n server b {}\n",
                port(),
                alive.addr()
            ),
        );
        for n in 1..=2 {
            ask(side.front, "x").unwrap();
            side.settled(n);
        }
        side.lines(&daemon, 2, &[])
    });
}

#[test]
fn without_a_byte_and_dontlognull() {
    same(|side| {
        let server = Server::named("A");
        let daemon = side.start(" option tcplog\n option dontlognull\n", &to(&server));
        for _ in 0..3 {
            drop(connect(side.front));
        }
        ask(side.front, "").unwrap();
        std::thread::sleep(Duration::from_millis(300));
        ask(side.front, "x").unwrap();
        side.lines(&daemon, 1, &[])
    });
}

#[test]
fn told_while_it_runs() {
    same(|side| {
        let server = Server::named("A");
        let daemon = side.start(" option tcplog\n option logasap\n", &to(&server));
        let (held, _) = hold(side.front);
        let lines = side.lines(&daemon, 1, &[]);
        drop(held);
        lines
    });
}

#[test]
fn errors_apart() {
    same(|side| {
        let server = Server::named("A");
        let daemon = side.start(
            " option tcplog\n option log-separate-errors\n timeout client 300\n",
            &to(&server),
        );
        ask(side.front, "x").unwrap();
        closed_within(Duration::from_secs(5), &mut connect(side.front));
        side.lines(&daemon, 2, &[])
    });
}

#[test]
fn no_proxy_header_where_one_was_due() {
    same(|side| {
        let server = Server::named("A");
        let body = format!(" bind 127.0.0.1:{} accept-proxy\n{}", port(), to(&server));
        let daemon = side.start(LOGGED, &body);
        let second = body
            .split(':')
            .nth(1)
            .unwrap()
            .split(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        for wrong in [
            "GET / HTTP/1.0\r\n\r\n",
            "PROXY TCP9 1.2.3.4 1.2.3.4 1 1\r\n",
        ] {
            let mut client = connect(second);
            client.write_all(wrong.as_bytes()).unwrap();
            closed_within(Duration::from_secs(5), &mut client);
        }
        drop(connect(second));
        side.lines(&daemon, 3, &[(second, "SECOND")])
    });
}

#[test]
fn a_soft_stop() {
    same(|side| {
        let server = Server::named("A");
        let mut daemon = side.start(LOGGED, &to(&server));
        ask(side.front, "x").unwrap();
        side.log.wait(" l l/s ");
        daemon.signal(Signal::SIGUSR1);
        assert!(daemon.ended_within(Duration::from_secs(5)).is_some());
        side.lines(&daemon, 2, &[])
    });
}

#[test]
fn a_pause() {
    same(|side| {
        let server = Server::named("A");
        let daemon = side.start(LOGGED, &to(&server));
        daemon.signal(Signal::SIGTTOU);
        side.log.wait("Paus");
        daemon.signal(Signal::SIGTTIN);
        side.log.wait("Resumed");
        side.lines(&daemon, 2, &[])
    });
}

#[test]
fn a_dump_of_the_servers() {
    same(|side| {
        let (a, b) = (Server::named("A"), Server::named("B"));
        let daemon = side.start(
            LOGGED,
            &format!(" server a {}\n server b {} backup\n", a.addr(), b.addr()),
        );
        ask(side.front, "x").unwrap();
        side.log.wait(" l l/a ");
        daemon.signal(Signal::SIGHUP);
        side.lines(&daemon, 4, &[])
    });
}

/// Lines of four clients, of which some meet a server that refuses.
fn past_a_dead_server(side: &Side, balance: &str, redispatch: &str) -> Vec<String> {
    let (b, c) = (Server::named("B"), Server::named("C"));
    let daemon = side.start(
        &format!(
            " option tcplog\n retries 3\n {redispatch}\n timeout connect 150\n balance {balance}\n"
        ),
        &format!(
            " server a 127.0.0.1:{}\n server b {}\n server c {}\n",
            port(),
            b.addr(),
            c.addr()
        ),
    );
    for n in 1..=4 {
        let _ = ask(side.front, "x");
        side.settled(n);
    }
    side.lines(&daemon, 4, &[])
}

#[test]
fn the_first_retry_already_goes_elsewhere_where_there_is_a_choice() {
    for balance in ["roundrobin", "static-rr", "leastconn", "first"] {
        for redispatch in [
            "option redispatch",
            "option redispatch 2",
            "option redispatch -1",
        ] {
            same(|side| past_a_dead_server(side, balance, redispatch));
        }
    }
}

#[test]
fn a_server_that_the_client_determines_is_kept_to() {
    for redispatch in [
        "option redispatch",
        "option redispatch 1",
        "option redispatch 2",
    ] {
        same(|side| {
            let (b, c) = (Server::named("B"), Server::named("C"));
            // 127.0.0.1 goes to the third of three.
            let daemon = side.start(
                &format!(" option tcplog\n retries 3\n {redispatch}\n timeout connect 150\n balance source\n"),
                &format!(" server b {}\n server c {}\n server a 127.0.0.1:{}\n", b.addr(), c.addr(), port()),
            );
            let _ = ask(side.front, "x");
            side.lines(&daemon, 1, &[])
        });
    }
}

#[test]
fn without_redispatch_all_retries_meet_the_same_server() {
    same(|side| past_a_dead_server(side, "roundrobin", "no option redispatch"));
}

#[test]
fn no_proxy_header_in_time_nor_in_whole() {
    for option in ["", " option dontlognull\n", " option log-separate-errors\n"] {
        same(|side| {
            let server = Server::named("A");
            let second = port();
            let daemon = side.start(
                &format!(" option tcplog\n timeout client 300\n{option}"),
                &format!(
                    " bind 127.0.0.1:{second} accept-proxy name named\n{}",
                    to(&server)
                ),
            );
            let mut silent = connect(second);
            closed_within(Duration::from_secs(5), &mut silent);
            let broken = connect(second);
            std::thread::sleep(Duration::from_millis(50));
            reset(broken);
            std::thread::sleep(Duration::from_millis(100));
            let mut wrong = connect(second);
            wrong.write_all(b"PROXY TCP4 1.2\r\n").unwrap();
            closed_within(Duration::from_secs(5), &mut wrong);
            side.lines(&daemon, 3, &[(second, "SECOND")])
        });
    }
}
