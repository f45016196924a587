//! Options of HTTP that haproxy 2.6 does not have, beyond what `differential::pages` compares with it.

use std::io::{Read, Write};

use crate::support::client::read_piece;
use crate::support::{Daemon, Server, USUAL, connect, port};

/// A server that sends back what it got up to `end`, in a chunk and with a trailer.
fn mirror(end: &'static str) -> Server {
    Server::new(move |mut stream, _| {
        let mut got = String::new();
        while !got.ends_with(end) {
            match read_piece(&mut stream) {
                Ok(piece) if !piece.is_empty() => got += &piece,
                _ => return,
            }
        }
        let length = got.len();
        let text = format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{got}\r\n0\r\nZ: 2\r\n\r\n"
        );
        let _ = stream.write_all(text.as_bytes());
    })
}

fn through(lines: &str, end: &'static str, request: &str) -> String {
    let (server, port) = (mirror(end), port());
    let _daemon = Daemon::start(&format!(
        "{USUAL} mode http\nlisten l\n bind 127.0.0.1:{port}\n{lines} server s {}\n",
        server.addr()
    ));
    let mut stream = connect(port);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn trailers_are_forwarded_unless_the_side_drops_them() {
    const POST: &str = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
                        3\r\nabc\r\n0\r\nY: 1\r\n\r\n";
    for (lines, end, request, response) in [
        ("", "y: 1\r\n\r\n", true, true),
        (
            " option http-drop-request-trailers\n",
            "0\r\n\r\n",
            false,
            true,
        ),
        (
            " option http-drop-response-trailers\n",
            "y: 1\r\n\r\n",
            true,
            false,
        ),
    ] {
        let answer = through(lines, end, POST);
        assert_eq!(answer.contains("y: 1"), request, "{lines}: {answer}");
        assert_eq!(
            answer.ends_with("z: 2\r\n\r\n"),
            response,
            "{lines}: {answer}"
        );
    }
}

#[test]
fn forwarded_tells_the_server_what_it_is_asked_for() {
    const GET: &str = "GET / HTTP/1.1\r\nHost: www.example:80\r\nForwarded: for=9.9.9.9\r\nConnection: close\r\n\r\n";
    for (line, header) in [
        ("option forwarded", "proto=http;for=127.0.0.1"),
        (
            "option forwarded host by for",
            "host=\"www.example:80\";by=127.0.0.1;for=127.0.0.1",
        ),
        (
            "option forwarded for-expr str(node) host-expr str(a)",
            "host=\"a\";for=_node",
        ),
        (
            "option forwarded proto for-expr str(node) for_port-expr int(7)",
            "proto=http;for=\"_node:7\"",
        ),
    ] {
        let answer = through(&format!(" {line}\n"), "\r\n\r\n", GET);
        let seen = answer.contains(&format!("\r\nforwarded: {header}\r\n"));
        assert!(
            seen && answer.contains("forwarded: for=9.9.9.9\r\n"),
            "{line}: {answer}"
        );
    }
}
