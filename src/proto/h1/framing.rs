//! How long a message is, and what becomes of its connection (RFC 9112 6 and 9).

use super::{H1Error, H1ErrorKind as Kind, Limits, is};
use crate::proto::http::{Head, Version};

/// Where a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Body {
    /// With its head.
    #[default]
    None,
    /// After this many bytes, at least 1.
    Length(u64),
    /// With the last chunk and its trailers.
    Chunked,
    /// When the connection ends; responses only.
    UntilClose,
    /// Nowhere: both sides speak another protocol from now on (101, or 2xx to CONNECT); responses only.
    Tunnel,
}

/// What the head of a request says beside its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RequestFraming {
    pub body: Body,
    /// The client's side may serve another request after this one.
    pub keep_alive: bool,
    /// The client waits for 100 before it sends the body (RFC 9110 10.1.1).
    pub expect_continue: bool,
    /// Upgrade is asked for, and named in Connection: 101 may follow.
    pub upgrade: bool,
    /// An upgrade to WebSocket without a key: the unsafe option let it through, the driver makes a key.
    pub websocket_key_missing: bool,
    /// CONNECT: 2xx makes a tunnel; bytes behind the head belong to that and wait for it.
    pub connect: bool,
    /// HEAD: no body in the answer.
    pub head: bool,
    /// Chunks in HTTP/1.0, or a body with CONNECT: some may think that the message ends elsewhere. The connection to the
    /// server is not kept either.
    pub insecure: bool,
}

/// What must be known of a request to understand its answer: as it was sent to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ResponseTo {
    pub head: bool,
    pub connect: bool,
    pub upgrade: bool,
}

impl RequestFraming {
    pub fn answer(&self) -> ResponseTo {
        ResponseTo {
            head: self.head,
            connect: self.connect,
            upgrade: self.upgrade,
        }
    }
}

/// What the head of a response says beside its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ResponseFraming {
    pub body: Body,
    /// 1xx but 101: another head follows for the same request.
    pub interim: bool,
    /// The server's side may serve another request after this one.
    pub keep_alive: bool,
    /// Chunks in HTTP/1.0: the client's connection is not kept either.
    pub insecure: bool,
}

/// Makes the fields of `head` say how its body is framed, whatever rules made of them: a peer that believed other
/// fields would take a part of the body for the next message, or wait for more. Nothing is done behind a body that
/// ends with the connection or is none of HTTP; the sender closes.
pub fn hold_framing(head: &mut Head, body: Body) {
    const LENGTH: &[u8] = b"content-length";
    const CODING: &[u8] = b"transfer-encoding";
    match body {
        Body::Tunnel => {}
        Body::UntilClose => {
            head.delete(LENGTH);
        }
        Body::Chunked => {
            head.delete(LENGTH);
            let last = head.values(CODING).next_back();
            let chunked = last.and_then(|v| elements(v).last());
            if !chunked.is_some_and(|(_, c)| c.trim_ascii().eq_ignore_ascii_case(b"chunked")) {
                head.set(CODING, b"chunked");
            }
        }
        Body::None | Body::Length(_) => {
            head.delete(CODING);
            let length = if let Body::Length(n) = body { n } else { 0 };
            let mut digits = [0; 20];
            let text = decimal(length, &mut digits);
            let mut given = head.values(LENGTH);
            let right = given.next() == Some(text) && given.next().is_none();
            drop(given);
            // A request without a body needs no length.
            let silent = length == 0 && head.status == 0 && head.first(LENGTH).is_none();
            if !right && !silent {
                head.set(LENGTH, text);
            }
        }
    }
}

/// What Connection and Proxy-Connection ask for, over all of their fields.
#[derive(Clone, Copy, Debug, Default)]
struct Options {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
}

/// The elements of a list (RFC 9110 5.6.1), empty ones too, with their offsets.
pub(super) fn elements(list: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut next = 0;
    list.split(|b| *b == b',').map(move |part| {
        let at = next;
        next += part.len() + 1;
        let lead = part.iter().take_while(|b| blank(**b)).count();
        let tail = part.iter().rev().take_while(|b| blank(**b)).count();
        // All blanks: none of it.
        let end = (part.len() - tail).max(lead);
        (at + lead, &part[lead..end])
    })
}

fn blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// What framing is told by, gathered in one pass over the fields.
#[derive(Debug, Default)]
struct Seen {
    options: Options,
    length: Option<u64>,
    chunked: bool,
    /// Transfer-Encoding is there, and where it first is.
    coded: Option<usize>,
    /// A coding other than chunked, and where.
    other_coding: Option<usize>,
    upgrade: bool,
    websocket: bool,
    websocket_key: bool,
    expect: bool,
}

fn err<T>(kind: Kind, at: usize) -> Result<T, H1Error> {
    Err(H1Error { kind, at })
}

/// Reads one Content-Length field, whose elements must all be one number (RFC 9112 6.3).
fn content_length(value: &[u8], at: usize, length: &mut Option<u64>) -> Result<(), H1Error> {
    for (offset, text) in elements(value) {
        let at = at + offset;
        if let Some(n) = text.iter().position(|b| !b.is_ascii_digit()) {
            return err(Kind::ContentLength, at + n);
        }
        let number = std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
            .filter(|_| !text.is_empty());
        let Some(number) = number.filter(|n| *n <= 1 << 63) else {
            return err(Kind::ContentLength, at);
        };
        if length.is_some_and(|before| before != number) {
            return err(Kind::ContentLengthsDiffer, at);
        }
        *length = Some(number);
    }
    Ok(())
}

/// Reads the fields that tell about framing, removes repeated lengths, writes the one left plainly.
fn look(head: &mut Head) -> Result<Seen, H1Error> {
    let mut seen = Seen::default();
    let mut index = 0;
    let mut length_at = None;
    while index < head.len() {
        let (name, value) = head.field(index);
        let at = head.value_at(index);
        match name {
            b"content-length" => {
                content_length(value, at, &mut seen.length)?;
                if length_at.is_some() {
                    head.remove(index);
                    continue;
                }
                length_at = Some(index);
            }
            b"transfer-encoding" => {
                seen.coded = seen.coded.or(Some(at));
                for (offset, coding) in elements(value) {
                    if seen.chunked {
                        return err(Kind::TransferEncoding, at + offset);
                    }
                    if coding.eq_ignore_ascii_case(b"chunked") {
                        seen.chunked = true;
                    } else if coding.is_empty() && !value.contains(&b',') {
                        return err(Kind::TransferEncoding, at);
                    } else {
                        seen.other_coding = seen.other_coding.or(Some(at + offset));
                    }
                }
            }
            b"connection" => {
                for (_, option) in elements(value) {
                    seen.options.close |= option.eq_ignore_ascii_case(b"close");
                    seen.options.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                    seen.options.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
                }
            }
            b"upgrade" => {
                for (_, protocol) in elements(value) {
                    seen.upgrade = true;
                    seen.websocket |= protocol.eq_ignore_ascii_case(b"websocket");
                }
            }
            b"sec-websocket-key" | b"sec-websocket-accept" => {
                seen.websocket_key |= !value.is_empty();
            }
            b"expect" => seen.expect |= value.eq_ignore_ascii_case(b"100-continue"),
            _ => {}
        }
        index += 1;
    }
    if let Some(at) = seen.other_coding.or(seen.coded).filter(|_| !seen.chunked) {
        return err(Kind::TransferEncoding, at);
    }
    if let (Some(index), Some(length)) = (length_at, seen.length) {
        let mut buffer = [0; 20];
        let plain = decimal(length, &mut buffer);
        if head.field(index).1 != plain {
            head.set_value(index, plain);
        }
    }
    Ok(seen)
}

/// `number` in digits, at the end of `buffer`.
pub(super) fn decimal(mut number: u64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &buffer[at..];
        }
    }
}

/// One plain `transfer-encoding: chunked`, and no length beside it.
fn plain_chunked(head: &mut Head) {
    let mut first = true;
    head.retain(|name, _| match name {
        b"transfer-encoding" => std::mem::take(&mut first),
        b"content-length" => false,
        _ => true,
    });
    let index = head
        .fields()
        .position(|(name, _)| name == b"transfer-encoding");
    if let Some(index) = index
        && head.field(index).1 != b"chunked"
    {
        head.set_value(index, b"chunked");
    }
}

/// Takes the elements that `out` picks out of the lists called `name`, and lists that are empty then; whether one is left.
pub(super) fn without(head: &mut Head, name: &[u8], out: impl Fn(&[u8]) -> bool) -> bool {
    let mut left = false;
    let mut index = 0;
    while index < head.len() {
        let (field, value) = head.field(index);
        if field == name {
            if elements(value).any(|(_, e)| out(e)) {
                let rest: Vec<&[u8]> = elements(value)
                    .map(|(_, e)| e)
                    .filter(|e| !out(e) && !e.is_empty())
                    .collect();
                if rest.is_empty() {
                    head.remove(index);
                    continue;
                }
                let rest = rest.join(&b", "[..]);
                head.set_value(index, &rest);
            }
            left = true;
        }
        index += 1;
    }
    left
}

/// Takes h2 and h2c, which cannot be upgraded to through a proxy, out of Upgrade (RFC 9113 3.1), and the option `upgrade`
/// with the last of it; whether any is left.
fn without_h2(head: &mut Head) -> bool {
    let left = without(head, b"upgrade", |p| {
        p.eq_ignore_ascii_case(b"h2") || p.eq_ignore_ascii_case(b"h2c")
    });
    if !left {
        without(head, b"connection", |o| o.eq_ignore_ascii_case(b"upgrade"));
    }
    left
}

/// How long the request in `head` is. Framing fields are made plain: one length in plain digits, or one `chunked`.
///
/// To be asked before the head is edited: offsets of errors are those of the head as it came.
pub fn request_framing(head: &mut Head, limits: &Limits) -> Result<RequestFraming, H1Error> {
    let mut seen = look(head)?;
    let old = head.version == Version::Http10;
    let coded = seen.coded.unwrap_or(0);
    if let Some(at) = seen.other_coding {
        return err(Kind::TransferCoding, at);
    }
    if seen.chunked && seen.length.is_some() && old {
        return err(Kind::TransferEncoding, coded);
    }
    let connect = is(head, b"CONNECT");
    let mut framing = RequestFraming {
        connect,
        head: is(head, b"HEAD"),
        insecure: match connect {
            true => seen.chunked || seen.length.is_some_and(|l| l > 0),
            false => seen.chunked && old,
        },
        ..RequestFraming::default()
    };
    if connect {
        // RFC 9110 9.3.6: a body has no meaning here; what follows is for the tunnel.
        if seen.chunked || seen.length.is_some() {
            head.retain(|n, _| n != b"transfer-encoding" && n != b"content-length");
        }
    } else if seen.chunked {
        plain_chunked(head);
        framing.body = Body::Chunked;
    } else if let Some(length) = seen.length.filter(|l| *l > 0) {
        framing.body = Body::Length(length);
    }
    let bare = [&b"GET"[..], b"HEAD", b"DELETE"].contains(&head.method());
    if old && bare && framing.body != Body::None && !limits.payload_any_method {
        let length = head
            .fields()
            .position(|(n, _)| matches!(n, b"content-length" | b"transfer-encoding"));
        return err(
            Kind::PayloadForbidden,
            length.map_or(0, |i| head.value_at(i)),
        );
    }
    if seen.upgrade {
        seen.upgrade = without_h2(head);
    }
    framing.upgrade = seen.upgrade && seen.options.upgrade;
    if framing.upgrade && seen.websocket && !seen.websocket_key {
        if !limits.unsafe_ok {
            return err(Kind::WebSocketKey, head.target_at());
        }
        framing.websocket_key_missing = true;
    }
    let both = seen.chunked && seen.length.is_some() && !limits.keep_insecure_te;
    framing.keep_alive = keeps(seen.options, head.version) && !framing.insecure && !both;
    framing.expect_continue = seen.expect && !old && framing.body != Body::None;
    Ok(framing)
}

/// Whether a connection persists (RFC 9112 9.3).
fn keeps(options: Options, version: Version) -> bool {
    !options.close && (version == Version::Http11 || options.keep_alive)
}

/// How long the response in `head` is, being the answer to `to`; framing fields are made plain as for requests.
pub fn response_framing(
    head: &mut Head,
    to: ResponseTo,
    limits: &Limits,
) -> Result<ResponseFraming, H1Error> {
    let seen = look(head)?;
    let mut framing = ResponseFraming {
        keep_alive: keeps(seen.options, head.version),
        insecure: seen.chunked && head.version == Version::Http10,
        ..ResponseFraming::default()
    };
    if let Some(at) = seen.other_coding {
        return err(Kind::TransferCoding, at);
    }
    match head.status {
        101 => {
            if !to.upgrade || !seen.options.upgrade {
                return err(Kind::UnwantedUpgrade, 0);
            }
            if seen.websocket && !seen.websocket_key {
                return err(Kind::WebSocketKey, 0);
            }
            head.retain(|n, _| n != b"transfer-encoding" && n != b"content-length");
            framing.body = Body::Tunnel;
            framing.keep_alive = false;
        }
        100..200 => {
            framing.interim = true;
            head.retain(|n, _| n != b"transfer-encoding" && n != b"content-length");
        }
        200..300 if to.connect => {
            head.retain(|n, _| n != b"transfer-encoding" && n != b"content-length");
            framing.body = Body::Tunnel;
            framing.keep_alive = false;
        }
        204 => {
            head.retain(|n, _| n != b"transfer-encoding" && n != b"content-length");
        }
        304 => {}
        _ if to.head => {}
        _ if seen.chunked => framing.body = Body::Chunked,
        _ => {
            framing.body = match seen.length {
                Some(0) => Body::None,
                Some(length) => Body::Length(length),
                None => {
                    framing.keep_alive = false;
                    Body::UntilClose
                }
            };
        }
    }
    if seen.chunked && !framing.interim && framing.body != Body::Tunnel && head.status != 204 {
        plain_chunked(head);
        framing.keep_alive &=
            !framing.insecure && (seen.length.is_none() || limits.keep_insecure_te);
    }
    if seen.upgrade {
        without_h2(head);
    }
    Ok(framing)
}
