//! The text of a log line: `option tcplog` (configuration.txt 8.2.2) and the default line
//! (8.2.1), as haproxy writes them to the character. Nothing here allocates: bytes are appended
//! to the caller's buffer.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use crate::base::civil::push_number;
use crate::base::clock::LocalClock;
use crate::config::Mode;
use crate::lang::logformat::LogFormat;
use crate::lang::sample::Arena;
use crate::lang::subject::Subject;

/// Stands for the server's name when none was chosen.
pub const NO_SERVER: &str = "<NOSRV>";

/// Where a connection came from, or what it came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Ip(SocketAddr),
    /// A unix socket: the number of its bind in the frontend (`luid`), as haproxy names it.
    Unix {
        bind: u32,
    },
}

/// Everything a tcplog line tells of one session.
#[derive(Clone, Copy, Debug)]
pub struct TcpRecord<'a> {
    pub client: Peer,
    /// Wall-clock microseconds when the connection was accepted.
    pub accepted_us: u64,
    pub frontend: &'a str,
    /// The frontend's name where no backend was chosen.
    pub backend: &'a str,
    /// [`NO_SERVER`] where none was chosen.
    pub server: &'a str,
    /// Milliseconds from accept until the queue was left; -1: it never was.
    pub queue_ms: i64,
    /// Milliseconds to connect; -1: never connected.
    pub connect_ms: i64,
    /// Milliseconds from accept to the end (or to this line, if `asap`).
    pub total_ms: i64,
    /// Bytes from server to client.
    pub bytes: u64,
    /// Written before the end by `option logasap`: time and bytes get a `+`.
    pub asap: bool,
    /// Cause and stage, `--` for an ordinary end (configuration.txt 8.5).
    pub termination: [u8; 2],
    /// Connections of the process, frontend, backend and server when the line was written, this one included.
    pub process_connections: u32,
    pub frontend_connections: u32,
    pub backend_connections: u32,
    pub server_connections: u32,
    pub retries: u32,
    /// Went to another server than the first one chosen: the retries get a `+`.
    pub redispatched: bool,
    /// Streams before it in the server's and the backend's queue.
    pub server_queue: u32,
    pub backend_queue: u32,
}

/// Appends the line of `option tcplog`.
pub fn tcplog(out: &mut Vec<u8>, record: &TcpRecord<'_>, clock: &mut LocalClock) {
    push_peer(out, record.client);
    out.extend_from_slice(b" [");
    push_date(out, record.accepted_us, clock);
    out.extend_from_slice(b"] ");
    out.extend_from_slice(record.frontend.as_bytes());
    out.push(b' ');
    out.extend_from_slice(record.backend.as_bytes());
    out.push(b'/');
    out.extend_from_slice(record.server.as_bytes());
    out.push(b' ');
    push_ms(out, record.queue_ms);
    out.push(b'/');
    push_ms(out, record.connect_ms);
    out.push(b'/');
    push_plus(out, record.asap);
    push_ms(out, record.total_ms);
    out.push(b' ');
    push_plus(out, record.asap);
    push_number(out, record.bytes);
    out.push(b' ');
    out.extend_from_slice(&record.termination);
    out.push(b' ');
    for connections in [
        record.process_connections,
        record.frontend_connections,
        record.backend_connections,
        record.server_connections,
    ] {
        push_number(out, connections.into());
        out.push(b'/');
    }
    push_plus(out, record.redispatched);
    push_number(out, record.retries.into());
    out.push(b' ');
    push_number(out, record.server_queue.into());
    out.push(b'/');
    push_number(out, record.backend_queue.into());
}

/// Appends the line of a connection that failed before it became a session (configuration.txt 8.2.5).
pub fn connection_error(
    out: &mut Vec<u8>,
    from: Peer,
    wall_us: u64,
    frontend: &str,
    bind: &str,
    text: &str,
    clock: &mut LocalClock,
) {
    push_peer(out, from);
    out.extend_from_slice(b" [");
    push_date(out, wall_us, clock);
    out.extend_from_slice(b"] ");
    out.extend_from_slice(frontend.as_bytes());
    out.push(b'/');
    out.extend_from_slice(bind.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(text.as_bytes());
}

/// Appends the line of a proxy without log options, written when the connection is accepted.
pub fn connect(out: &mut Vec<u8>, from: Peer, to: Peer, frontend: &str, mode: Mode) {
    match (from, to) {
        (Peer::Ip(_), Peer::Ip(_)) => {
            out.extend_from_slice(b"Connect from ");
            push_peer(out, from);
            out.extend_from_slice(b" to ");
            push_peer(out, to);
        }
        (Peer::Unix { bind }, _) | (_, Peer::Unix { bind }) => {
            out.extend_from_slice(b"Connect to ");
            push_peer(out, Peer::Unix { bind });
        }
    }
    out.extend_from_slice(b" (");
    out.extend_from_slice(frontend.as_bytes());
    out.extend_from_slice(match mode {
        Mode::Tcp => b"/TCP)",
        Mode::Http => b"/HTTP)",
    });
}

/// Appends what `log-format-sd`, if any, and then `format` give; where the second begins. Nothing where `format` gives
/// nothing: haproxy sends no empty line.
pub fn stream(
    out: &mut Vec<u8>,
    format: &LogFormat,
    structured: Option<&LogFormat>,
    subject: &dyn Subject,
    arena: &Arena,
    clock: &mut LocalClock,
) -> usize {
    let from = out.len();
    if let Some(structured) = structured {
        structured.render_at(subject, arena, clock, out);
    }
    let message = out.len();
    format.render_at(subject, arena, clock, out);
    if out.len() == message {
        out.truncate(from);
        return from;
    }
    message
}

/// `20/Nov/2026:22:55:31.676`.
pub fn push_date(out: &mut Vec<u8>, wall_us: u64, clock: &mut LocalClock) {
    out.extend_from_slice(clock.clf(wall_us / 1_000_000));
    let ms = wall_us / 1_000 % 1_000;
    out.push(b'.');
    out.extend_from_slice(&[digit(ms / 100), digit(ms / 10), digit(ms)]);
}

/// `address:port` without brackets, IPv4-mapped addresses as they came (`::ffff:1.2.3.4:80`), or `unix:1`.
pub fn push_peer(out: &mut Vec<u8>, peer: Peer) {
    match peer {
        Peer::Ip(address) => {
            push_ip(out, address.ip());
            out.push(b':');
            push_number(out, address.port().into());
        }
        Peer::Unix { bind } => {
            out.extend_from_slice(b"unix:");
            push_number(out, bind.into());
        }
    }
}

fn push_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            push_number(out, a.into());
            for part in [b, c, d] {
                out.push(b'.');
                push_number(out, part.into());
            }
        }
        IpAddr::V6(ip) => write!(out, "{ip}").expect("a vector takes every byte"),
    }
}

fn push_ms(out: &mut Vec<u8>, ms: i64) {
    if ms < 0 {
        out.push(b'-');
    }
    push_number(out, ms.unsigned_abs());
}

fn push_plus(out: &mut Vec<u8>, wanted: bool) {
    if wanted {
        out.push(b'+');
    }
}

fn digit(n: u64) -> u8 {
    b"0123456789"[(n % 10) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    // Expected lines were received from haproxy 2.6.12 on a unix datagram socket: clients, ports
    // and times as they were then.

    fn peer(text: &str) -> Peer {
        Peer::Ip(text.parse().unwrap())
    }

    fn at(ms: u64) -> u64 {
        // 20/Nov/2026:22:55:31 UTC.
        1_795_215_331_000_000 + ms * 1000
    }

    fn record() -> TcpRecord<'static> {
        TcpRecord {
            client: peer("127.0.0.1:40724"),
            accepted_us: at(676),
            frontend: "fe",
            backend: "be",
            server: "s1",
            queue_ms: 1,
            connect_ms: 0,
            total_ms: 1,
            bytes: 5,
            asap: false,
            termination: *b"--",
            process_connections: 2,
            frontend_connections: 1,
            backend_connections: 1,
            server_connections: 1,
            retries: 0,
            redispatched: false,
            server_queue: 0,
            backend_queue: 0,
        }
    }

    fn text(record: &TcpRecord<'_>) -> String {
        let mut out = Vec::new();
        tcplog(&mut out, record, &mut LocalClock::utc());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_ordinary_session() {
        assert_eq!(
            text(&record()),
            "127.0.0.1:40724 [20/Nov/2026:22:55:31.676] fe be/s1 1/0/1 5 -- 2/1/1/1/0 0/0"
        );
    }

    #[test]
    fn logasap_marks_what_may_still_grow() {
        let line = TcpRecord {
            client: peer("127.0.0.1:52294"),
            accepted_us: at(677),
            frontend: "asap",
            total_ms: 0,
            bytes: 0,
            asap: true,
            process_connections: 1,
            ..record()
        };
        assert_eq!(
            text(&line),
            "127.0.0.1:52294 [20/Nov/2026:22:55:31.677] asap be/s1 1/0/+0 +0 -- 1/1/1/1/0 0/0"
        );
    }

    #[test]
    fn a_refused_server_after_redispatch() {
        let line = TcpRecord {
            client: peer("127.0.0.1:51560"),
            accepted_us: at(678),
            frontend: "refused",
            backend: "refused",
            server: "r1",
            connect_ms: -1,
            total_ms: 0,
            bytes: 0,
            termination: *b"SC",
            process_connections: 1,
            backend_connections: 0,
            server_connections: 0,
            retries: 2,
            redispatched: true,
            ..record()
        };
        assert_eq!(
            text(&line),
            "127.0.0.1:51560 [20/Nov/2026:22:55:31.678] refused refused/r1 1/-1/0 0 SC 1/1/0/0/+2 0/0"
        );
    }

    #[test]
    fn a_queue_that_timed_out_has_no_server() {
        let line = TcpRecord {
            client: peer("127.0.0.1:37564"),
            accepted_us: at(779),
            frontend: "q",
            backend: "q",
            server: NO_SERVER,
            queue_ms: 403,
            connect_ms: -1,
            total_ms: 402,
            bytes: 0,
            termination: *b"sQ",
            frontend_connections: 2,
            backend_connections: 1,
            server_connections: 0,
            backend_queue: 1,
            ..record()
        };
        assert_eq!(
            text(&line),
            "127.0.0.1:37564 [20/Nov/2026:22:55:31.779] q q/<NOSRV> 403/-1/402 0 sQ 2/2/1/0/0 0/1"
        );
    }

    #[test]
    fn a_unix_client_is_named_by_its_bind() {
        let line = TcpRecord {
            client: Peer::Unix { bind: 2 },
            accepted_us: at(678),
            total_ms: 0,
            bytes: 2,
            ..record()
        };
        assert_eq!(
            text(&line),
            "unix:2 [20/Nov/2026:22:55:31.678] fe be/s1 1/0/0 2 -- 2/1/1/1/0 0/0"
        );
    }

    #[test]
    fn ipv6_clients_have_no_brackets() {
        let line = TcpRecord {
            client: peer("[::1]:41316"),
            ..record()
        };
        assert!(text(&line).starts_with("::1:41316 ["));
        let line = TcpRecord {
            client: peer("[::ffff:127.0.0.1]:50428"),
            ..record()
        };
        assert!(text(&line).starts_with("::ffff:127.0.0.1:50428 ["));
    }

    #[test]
    fn the_default_line_tells_both_ends() {
        let line = |from, to| {
            let mut out = Vec::new();
            connect(&mut out, from, to, "conn", Mode::Tcp);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            line(peer("127.0.0.1:43804"), peer("127.0.0.1:27002")),
            "Connect from 127.0.0.1:43804 to 127.0.0.1:27002 (conn/TCP)"
        );
        assert_eq!(
            line(peer("[::1]:34248"), peer("[::1]:27014")),
            "Connect from ::1:34248 to ::1:27014 (conn/TCP)"
        );
        assert_eq!(
            line(Peer::Unix { bind: 2 }, Peer::Unix { bind: 2 }),
            "Connect to unix:2 (conn/TCP)"
        );
    }
}
