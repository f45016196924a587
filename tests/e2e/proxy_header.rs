//! The PROXY header, taken from clients and sent to servers (proxy-protocol.txt, versions 1 and 2).

use std::io::{Read, Write};

use std::time::Duration;

use crate::support::client::{connect_from, read_piece};
use crate::support::{Daemon, Server, USUAL, closed_within, connect, port, talk, until};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn relay(bind: &str, server: &str) -> (Daemon, u16) {
    let front = port();
    let config = format!("{USUAL}listen l\n bind 127.0.0.1:{front} {bind}\n server s {server}\n");
    (Daemon::start(&config), front)
}

/// Sends back, in hexadecimal, the first bytes it reads.
fn mirror() -> Server {
    Server::new(|mut stream, _| {
        let mut buf = [0; 1024];
        if let Ok(n @ 1..) = stream.read(&mut buf) {
            let hex: String = buf[..n].iter().map(|b| format!("{b:02x}")).collect();
            let _ = stream.write_all(hex.as_bytes());
        }
    })
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

#[test]
fn version_1_names_the_clients_address_to_the_server() {
    let server = mirror();
    let (_daemon, front) = relay("", &format!("{} send-proxy", server.addr()));
    let mut client = connect_from("127.0.0.9", front).unwrap();
    let port = client.local_addr().unwrap().port();
    let got = unhex(&talk(&mut client, ""));
    assert_eq!(
        String::from_utf8_lossy(&got),
        format!("PROXY TCP4 127.0.0.9 127.0.0.1 {port} {front}\r\n")
    );
}

#[test]
fn version_2_names_the_clients_address_to_the_server() {
    let server = mirror();
    let (_daemon, front) = relay("", &format!("{} send-proxy-v2", server.addr()));
    let mut client = connect_from("127.0.0.9", front).unwrap();
    let port = client.local_addr().unwrap().port();
    let got = unhex(&talk(&mut client, ""));
    let mut expected = [SIGNATURE, &[0x21, 0x11, 0, 12, 127, 0, 0, 9, 127, 0, 0, 1]].concat();
    expected.extend(port.to_be_bytes());
    expected.extend(front.to_be_bytes());
    assert_eq!(got[..28], expected);
}

#[test]
fn checks_send_the_local_command() {
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = std::sync::Arc::clone(&seen);
    let server = Server::new(move |mut stream, _| {
        let mut buf = [0; 64];
        if let Ok(n @ 1..) = stream.read(&mut buf) {
            sink.lock().unwrap().push(buf[..n].to_vec());
        }
    });
    let (_daemon, _) = relay(
        "",
        &format!(
            "{} send-proxy-v2 check-send-proxy check inter 100",
            server.addr()
        ),
    );
    until("a check came", || !seen.lock().unwrap().is_empty());
    assert_eq!(seen.lock().unwrap()[0][12], 0x20, "version 2, LOCAL");
}

#[test]
fn an_announced_address_is_passed_on_as_the_clients() {
    let server = mirror();
    let (_daemon, front) = relay("accept-proxy", &format!("{} send-proxy", server.addr()));
    let v2: Vec<u8> = [
        SIGNATURE,
        &[
            0x21, 0x11, 0, 12, 192, 0, 2, 1, 192, 0, 2, 2, 0x12, 0x34, 0, 80,
        ],
    ]
    .concat();
    for header in [&b"PROXY TCP4 192.0.2.1 192.0.2.2 4660 80\r\n"[..], &v2] {
        let mut client = connect(front);
        client.write_all(header).unwrap();
        let got = unhex(&read_piece(&mut client).unwrap());
        assert_eq!(
            String::from_utf8_lossy(&got),
            "PROXY TCP4 192.0.2.1 192.0.2.2 4660 80\r\n"
        );
    }
}

#[test]
fn what_follows_the_header_in_one_segment_is_data() {
    let server = Server::named("A");
    let (_daemon, front) = relay("accept-proxy", &server.addr());
    let mut client = connect(front);
    client
        .write_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 4660 80\r\nhello")
        .unwrap();
    assert_eq!(read_piece(&mut client).unwrap(), "A:hello");
}

#[test]
fn what_is_no_header_is_closed_and_reaches_nobody() {
    let server = Server::named("A");
    let (_daemon, front) = relay("accept-proxy", &server.addr());
    for wrong in [
        "GET / HTTP/1.0\r\n\r\n",
        "PROXY TCP9 1.2.3.4 1.2.3.4 1 1\r\n",
        "PROXY TCP4 1.2.3.4\r\n",
    ] {
        let mut client = connect(front);
        client.write_all(wrong.as_bytes()).unwrap();
        closed_within(Duration::from_secs(5), &mut client);
    }
    assert_eq!(server.seen.accepted(), 0);
}
