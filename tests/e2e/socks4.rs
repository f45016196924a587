//! Servers behind a SOCKS4 proxy (`socks4`, `check-via-socks4`).

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};

use crate::support::client::who;
use crate::support::{Daemon, Server, USUAL, http, port, until};

/// What became of each request, and its bytes.
type Asked = Arc<Mutex<Vec<Vec<u8>>>>;

/// A proxy that answers with this code and, where that is 90, goes on to where it was asked to. The first bytes of the
/// server come in one piece with its answer where the server speaks first.
fn proxy(code: u8) -> (Server, Asked) {
    let asked = Asked::default();
    let sink = Arc::clone(&asked);
    let talk = move |mut client: TcpStream| {
        let mut request = Vec::new();
        while request.len() < 9 || request.last() != Some(&0) {
            let mut byte = [0];
            if client.read(&mut byte).unwrap_or(0) == 0 {
                return;
            }
            request.push(byte[0]);
        }
        sink.lock().unwrap().push(request.clone());
        let mut answer = [0, code, 0, 0, 0, 0, 0, 0].to_vec();
        if code != 90 {
            let _ = client.write_all(&answer);
            return;
        }
        let to = u16::from_be_bytes([request[2], request[3]]);
        let Ok(mut server) = TcpStream::connect(("127.0.0.1", to)) else {
            return;
        };
        let _ = server.set_read_timeout(Some(std::time::Duration::from_millis(50)));
        let mut first = [0; 64];
        let n = server.read(&mut first).unwrap_or(0);
        let _ = server.set_read_timeout(None);
        answer.extend(&first[..n]);
        let _ = client.write_all(&answer);
        let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let up = std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
        let _ = std::io::copy(&mut server, &mut client);
        let _ = client.shutdown(Shutdown::Both);
        let _ = up.join();
    };
    (Server::new(move |stream, _| talk(stream)), asked)
}

fn request(port: u16) -> Vec<u8> {
    [
        &[4, 1][..],
        &port.to_be_bytes(),
        &[127, 0, 0, 1],
        b"HAProxy\0",
    ]
    .concat()
}

#[test]
fn traffic_goes_by_the_proxy_and_checks_only_if_they_are_told_to() {
    let ((relay, asked), web) = (proxy(90), Server::http(|_, path| (200, path.to_owned())));
    let (front, socks, addr) = (port(), relay.addr(), web.addr());
    let daemon = Daemon::start(&format!(
        "{USUAL} mode http\n option httpchk GET /check\nlisten direct\n bind 127.0.0.1:{front}\n \
         server s {addr} check inter 100 socks4 {socks}\n"
    ));
    until("it is checked", || web.seen.accepted() >= 2);
    assert_eq!(asked.lock().unwrap().len(), 0);
    assert_eq!(http::get(front, "/a", "").body, "/a");
    assert_eq!(*asked.lock().unwrap(), [request(web.port)]);
    drop(daemon);
    asked.lock().unwrap().clear();
    let _daemon = Daemon::start(&format!(
        "{USUAL} option httpchk GET /check\nlisten by\n bind 127.0.0.1:{}\n \
         server s {addr} check inter 100 socks4 {socks} check-via-socks4\n",
        port()
    ));
    until("checks go by the proxy", || {
        asked.lock().unwrap().len() >= 2
    });
}

#[test]
fn a_server_that_speaks_first_loses_no_byte_behind_the_proxys_answer() {
    let ((relay, _), mail) = (proxy(90), Server::greeting("220 mail"));
    let front = port();
    let _daemon = Daemon::start(&format!(
        "{USUAL}listen l\n bind 127.0.0.1:{front}\n server s {} socks4 {}\n",
        mail.addr(),
        relay.addr()
    ));
    let mut client = crate::support::connect(front);
    let mut said = [0; 8];
    client.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"220 mail");
}

#[test]
fn what_the_proxy_denies_is_a_failed_connection() {
    let ((relay, asked), server, live) = (proxy(91), Server::named("S"), Server::named("L"));
    let front = port();
    let daemon = Daemon::start(&format!(
        "{USUAL} retries 2\n option redispatch\nlisten l\n bind 127.0.0.1:{front}\n server l {live}\n \
         server s {addr} socks4 {socks}\nbackend checked\n server s {addr} check inter 100 socks4 {socks} check-via-socks4\n",
        addr = server.addr(),
        socks = relay.addr(),
        live = live.addr(),
    ));
    let admin = daemon.admin();
    admin.wait_status("checked", "s", "DOWN");
    let row = admin.row("checked", "s");
    assert_eq!(row["check_status"].trim_start_matches("* "), "SOCKERR");
    assert_eq!(row["last_chk"], "SOCKS4 Proxy deny the request");
    for _ in 0..4 {
        assert_eq!(who(front), "L");
    }
    assert!(!asked.lock().unwrap().is_empty());
    assert_eq!(server.seen.accepted(), 0);
}
