//! Heads written from their parts.

use super::framing::{decimal, elements, without};
use crate::proto::http::{Head, Version};
use crate::proto::page;

/// Whom a head is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A client, and the version its request had.
    Client(Version),
    Server,
}

/// Appends the request in `head`, its empty line included.
pub fn write_request(out: &mut Vec<u8>, head: &Head) {
    out.reserve(head.wire_len());
    out.extend_from_slice(head.method());
    out.push(b' ');
    out.extend_from_slice(head.target());
    out.push(b' ');
    out.extend_from_slice(head.version.text().as_bytes());
    write_fields(out, head);
}

/// Appends the response in `head`, its empty line included. A reason that is missing is the standard one.
pub fn write_response(out: &mut Vec<u8>, head: &Head) {
    out.reserve(head.wire_len() + 32);
    out.extend_from_slice(head.version.text().as_bytes());
    out.push(b' ');
    let mut buffer = [0; 20];
    let status = decimal(u64::from(head.status), &mut buffer);
    out.extend_from_slice(&b"000"[status.len().min(3)..]);
    out.extend_from_slice(status);
    out.push(b' ');
    let reason = match head.reason() {
        b"" => page::reason(head.status).as_bytes(),
        reason => reason,
    };
    out.extend_from_slice(reason);
    write_fields(out, head);
}

fn write_fields(out: &mut Vec<u8>, head: &Head) {
    out.extend_from_slice(b"\r\n");
    for (name, value) in head.fields() {
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Makes the connection options of `head` those of this hop: `keep` says whether the connection to `to` is to serve
/// more after this message. An interim response is only [stripped](strip_connection), and so should be
/// the one to CONNECT that starts a tunnel.
///
/// As haproxy 2.6 does: `close` is said in HTTP/1.1 only and `keep-alive` in HTTP/1.0 only, since the other is
/// understood, but a 1.0 client is told `keep-alive` by a 1.1 response too. With an upgrade nothing is said.
pub fn set_connection(head: &mut Head, to: Peer, keep: bool) {
    if strip_connection(head, to) || head.status / 100 == 1 {
        return;
    }
    match (head.version, keep) {
        (Version::Http10, true) => head.push(b"connection", b"keep-alive"),
        (Version::Http11, false) => head.push(b"connection", b"close"),
        (Version::Http11, true) if to == Peer::Client(Version::Http10) => {
            head.push(b"connection", b"keep-alive");
        }
        _ => {}
    }
}

/// Takes what was said to us out of Connection: `close` and `keep-alive`. Other options and the fields they name stay,
/// as in haproxy. Of a request's TE only `trailers` is left. Whether `upgrade` is among the options.
pub fn strip_connection(head: &mut Head, to: Peer) -> bool {
    let mut upgrade = false;
    let mut trailers = false;
    let mut ours_there = false;
    let mut index = 0;
    while index < head.len() {
        let (name, value) = head.field(index);
        match name {
            b"connection" => {
                for (_, option) in elements(value) {
                    ours_there |= ours(option);
                    upgrade |= option.eq_ignore_ascii_case(b"upgrade");
                }
            }
            b"te" if to == Peer::Server => {
                let wanted = elements(value).any(|(_, t)| t.eq_ignore_ascii_case(b"trailers"));
                if trailers || !wanted {
                    head.remove(index);
                    continue;
                }
                trailers = true;
                if value != b"trailers" {
                    head.set_value(index, b"trailers");
                }
            }
            _ => {}
        }
        index += 1;
    }
    if ours_there {
        without(head, b"connection", ours);
    }
    upgrade
}

/// Options that are about this hop; an empty list is none.
fn ours(option: &[u8]) -> bool {
    option.is_empty()
        || option.eq_ignore_ascii_case(b"close")
        || option.eq_ignore_ascii_case(b"keep-alive")
}
