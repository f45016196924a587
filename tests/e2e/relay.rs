//! Bytes from one side to the other, and how each side learns of the other's end.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use crate::support::client::hold;
use crate::support::pattern::{Dice, Pattern};
use crate::support::{
    Daemon, Server, USUAL, about, ask, closed_within, connect, on_haproxy, port, sized, talk,
};

/// One listener before one server.
fn relay_to(server: &Server) -> (Daemon, u16) {
    let front = port();
    let config = format!(
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n\
         listen l\n bind 127.0.0.1:{front}\n server s {}\n",
        server.addr()
    );
    (Daemon::start(&config), front)
}

// F01, C02
#[test]
fn every_byte_arrives_in_both_directions() {
    let server = Server::echo();
    let (_daemon, front) = relay_to(&server);
    let size = sized(32 << 20, 1 << 30);
    let mut up = connect(front);
    let mut down = up.try_clone().unwrap();
    let sent = std::thread::spawn(move || {
        let mut dice = Dice(1);
        Pattern(7)
            .send(&mut up, size, || dice.between(1, 200_000) as usize)
            .unwrap();
        up.shutdown(Shutdown::Write).unwrap();
    });
    assert_eq!(Pattern(7).receive(&mut down).unwrap(), size);
    sent.join().unwrap();
}

// F01
#[test]
fn the_end_of_one_direction_leaves_the_other_open() {
    let server = Server::answers_after_end();
    let (_daemon, front) = relay_to(&server);
    for n in 0..100 {
        let text = "x".repeat(n * 37);
        assert_eq!(
            ask(front, &text).unwrap(),
            format!("got {}:{text}", text.len()),
            "connection {n}"
        );
    }
}

// F01
#[test]
fn a_server_may_end_first_and_still_hear_the_client() {
    let heard = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = std::sync::Arc::clone(&heard);
    let server = Server::new(move |mut stream, _| {
        stream.write_all(b"bye").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        sink.lock().unwrap().extend(all);
    });
    let (_daemon, front) = relay_to(&server);
    let mut client = connect(front);
    let mut said = String::new();
    client.read_to_string(&mut said).unwrap();
    assert_eq!(said, "bye");
    client.write_all(b"after your end").unwrap();
    drop(client);
    crate::support::until("the server heard the client", || {
        heard.lock().unwrap().as_slice() == b"after your end"
    });
}

// V14
#[test]
fn a_server_that_speaks_first_needs_no_byte_from_the_client() {
    let server = Server::greeting("220 mail.example ESMTP\r\n");
    let (_daemon, front) = relay_to(&server);
    let mut client = connect(front);
    assert_eq!(
        crate::support::client::read_piece(&mut client).unwrap(),
        "220 mail.example ESMTP\r\n"
    );
    assert_eq!(talk(&mut client, "QUIT\r\n"), "QUIT\r\n");
}

// Q03, G10: bytes that stream never enter user space
#[test]
fn a_stream_is_spliced_and_small_messages_are_copied() {
    let server = Server::echo();
    let front = port();
    let daemon = Daemon::start(&format!(
        "{USUAL}listen l\n bind 127.0.0.1:{front}\n server s {}\n",
        server.addr()
    ));
    let mut small = connect(front);
    for _ in 0..100 {
        assert_eq!(talk(&mut small, "ping"), "ping");
    }
    if on_haproxy() {
        return; // splices only where it is told to
    }
    let admin = daemon.admin();
    assert_eq!(admin.info_number("TotalBytesSpliced"), 0);
    let size = 64 << 20;
    let mut up = connect(front);
    let mut down = up.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        Pattern(2).send(&mut up, size, || 256 * 1024).unwrap();
        up.shutdown(Shutdown::Write).unwrap();
    });
    assert_eq!(Pattern(2).receive(&mut down).unwrap(), size);
    sender.join().unwrap();
    let spliced = admin.info_number("TotalBytesSpliced");
    assert!(
        spliced > size,
        "{spliced} of {} bytes went through pipes",
        2 * size
    );
    assert_eq!(talk(&mut small, "ping"), "ping");
}

// issue: timeout tunnel
#[test]
fn the_tunnel_timeout_rules_once_both_sides_have_spoken() {
    let server = Server::named("A");
    let front = port();
    let _daemon = Daemon::start(&format!(
        "{USUAL} timeout client 400\n timeout server 400\n timeout tunnel 1500\nlisten l\n bind 127.0.0.1:{front}\n server s {}\n",
        server.addr()
    ));
    let (mut client, _) = hold(front);
    let (_, took) = closed_within(Duration::from_secs(5), &mut client);
    about(1500, took);
}

// issue: addresses in all of haproxy's forms
#[test]
fn unix_and_abstract_sockets_serve_on_both_sides() {
    let server = Server::named("A");
    let front = port();
    let daemon = Daemon::start(&format!(
        "{USUAL}listen outer\n bind 127.0.0.1:{front}\n server s unix@@DIR@/middle\n\
         listen middle\n bind unix@@DIR@/middle\n server s abns@ringway-e2e-{front}\n\
         listen inner\n bind abns@ringway-e2e-{front}\n server s {}\n",
        server.addr()
    ));
    assert_eq!(ask(front, "x").unwrap(), "A:x");
    let admin = daemon.admin();
    for proxy in ["outer", "middle", "inner"] {
        assert_eq!(admin.count(proxy, "FRONTEND", "stot"), 1, "{proxy}");
    }
}

// issue: interface
#[test]
fn a_listener_may_be_tied_to_an_interface() {
    let server = Server::named("A");
    let front = port();
    let _daemon = Daemon::start(&format!(
        "{USUAL}listen l\n bind 127.0.0.1:{front} interface lo\n server s {}\n",
        server.addr()
    ));
    assert_eq!(ask(front, "x").unwrap(), "A:x");
}
