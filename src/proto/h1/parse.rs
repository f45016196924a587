//! Start lines and fields.

use std::ops::Range;

use memchr::{memchr, memchr3};

use super::chunk::bare_lf;
use super::{H1Error, H1ErrorKind as Kind, Limits, Parse};
use crate::proto::http::{Head, Version};

/// Why parsing ended before its end.
enum Stop {
    /// The bytes are a beginning.
    More,
    Bad(Kind, usize),
}

fn bad<T>(kind: Kind, at: usize) -> Result<T, Stop> {
    Err(Stop::Bad(kind, at))
}

/// What a byte may be part of.
const TOKEN: u8 = 1;
const TARGET: u8 = 2;
const HOST: u8 = 4;

static CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        if b.is_ascii_alphanumeric() || in_set(b"!#$%&'*+-.^_`|~", b) {
            table[byte] |= TOKEN;
        }
        if b > b' ' && b < 0x7f && b != b'#' {
            table[byte] |= TARGET;
        }
        // RFC 3986 3.2.2 and a port; haproxy refuses the comma too.
        if b.is_ascii_alphanumeric() || in_set(b"-._~%!$&'()*+;=:[]", b) {
            table[byte] |= HOST;
        }
        byte += 1;
    }
    table
};

const fn in_set(set: &[u8], byte: u8) -> bool {
    let mut i = 0;
    while i < set.len() {
        if set[i] == byte {
            return true;
        }
        i += 1;
    }
    false
}

/// Whether `byte` may be in a token (RFC 9110 5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    CLASS[byte as usize] & TOKEN != 0
}

/// First byte at or after `from` that is not of `class`.
fn skip(bytes: &[u8], from: usize, class: u8) -> Result<usize, Stop> {
    match bytes[from..]
        .iter()
        .position(|b| CLASS[*b as usize] & class == 0)
    {
        Some(n) => Ok(from + n),
        None => Err(Stop::More),
    }
}

fn byte(bytes: &[u8], at: usize) -> Result<u8, Stop> {
    bytes.get(at).copied().ok_or(Stop::More)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// First byte at or after `from` that is no blank: words of a start line may be so apart (RFC 9112 3 and 4).
fn blanks(bytes: &[u8], from: usize) -> Result<usize, Stop> {
    match bytes[from..].iter().position(|b| !is_blank(*b)) {
        Some(n) => Ok(from + n),
        None => Err(Stop::More),
    }
}

/// Passes over blank lines before a message (RFC 9112 2.2).
fn blank_lines(bytes: &[u8]) -> Result<usize, Stop> {
    let mut at = 0;
    while matches!(byte(bytes, at)?, b'\r' | b'\n') {
        at = line_end(bytes, at)?;
    }
    Ok(at)
}

/// What follows the line end at `at`, where a CR or LF stands.
fn line_end(bytes: &[u8], at: usize) -> Result<usize, Stop> {
    if bytes[at] == b'\n' {
        return Ok(at + 1);
    }
    match byte(bytes, at + 1)? {
        b'\n' => Ok(at + 2),
        _ => bad(Kind::BareCr, at + 1),
    }
}

/// Parses the head of a request at the start of `bytes`.
pub fn request_head(bytes: &[u8], limits: &Limits, head: &mut Head) -> Result<Parse, H1Error> {
    finish(bytes, limits, head, request)
}

/// Parses the head of a response at the start of `bytes`.
pub fn response_head(bytes: &[u8], limits: &Limits, head: &mut Head) -> Result<Parse, H1Error> {
    finish(bytes, limits, head, response)
}

type Parser = fn(&[u8], &Limits, &mut Head) -> Result<usize, Stop>;

/// Runs `parser` over what may be a head; `head` is empty unless it is whole.
#[inline]
fn finish(
    bytes: &[u8],
    limits: &Limits,
    head: &mut Head,
    parser: Parser,
) -> Result<Parse, H1Error> {
    head.clear();
    let seen = &bytes[..bytes.len().min(limits.head_max)];
    let stop = match parser(seen, limits, head) {
        Ok(used) => return Ok(Parse::Done { used }),
        Err(stop) => stop,
    };
    head.clear();
    match stop {
        Stop::Bad(kind, at) => Err(H1Error { kind, at }),
        Stop::More if bytes.len() < limits.head_max => Ok(Parse::Partial),
        Stop::More => {
            let start = seen
                .iter()
                .position(|b| !matches!(b, b'\r' | b'\n'))
                .unwrap_or(seen.len());
            let kind = match memchr(b'\n', &seen[start..]) {
                Some(_) => Kind::HeadTooLarge,
                None => Kind::TargetTooLong,
            };
            Err(H1Error {
                kind,
                at: limits.head_max,
            })
        }
    }
}

fn request(bytes: &[u8], limits: &Limits, head: &mut Head) -> Result<usize, Stop> {
    let start = blank_lines(bytes)?;
    let mut at = skip(bytes, start, TOKEN)?;
    let method = start..at;
    if method.is_empty() || !is_blank(bytes[at]) {
        return bad(Kind::Method, at);
    }
    if bytes[method.clone()] == *b"PRI" {
        return bad(Kind::Http2Preface, start);
    }
    let start = blanks(bytes, at)?;
    at = start;
    at = loop {
        at = skip(bytes, at, TARGET)?;
        match bytes[at] {
            b' ' | b'\t' | b'\r' | b'\n' => break at,
            b'#' | 0x80.. if limits.unsafe_ok => at += 1,
            _ => return bad(Kind::TargetByte, at),
        }
    };
    let target = start..at;
    at = blanks(bytes, at)?;
    if matches!(bytes[at], b'\r' | b'\n') {
        if !limits.unsafe_ok || target.is_empty() || bytes[method.clone()] != *b"GET" {
            return bad(Kind::Http09, at);
        }
        // A whole request: there are no fields.
        let used = line_end(bytes, at)?;
        head.version = Version::Http10;
        head.place_request(method, target);
        head.load(&bytes[..used], false);
        check_target(head, limits)?;
        return Ok(used);
    }
    at = version(bytes, at, limits, head)?;
    if !matches!(bytes[at], b'\r' | b'\n') {
        return bad(Kind::Version, at);
    }
    at = line_end(bytes, at)?;
    head.place_request(method, target);
    let (used, folded) = fields(bytes, at, limits, head)?;
    head.load(&bytes[..used], folded);
    check_target(head, limits)?;
    Ok(used)
}

fn response(bytes: &[u8], limits: &Limits, head: &mut Head) -> Result<usize, Stop> {
    let mut at = blank_lines(bytes)?;
    at = version(bytes, at, limits, head)?;
    if !is_blank(bytes[at]) {
        return bad(Kind::Version, at);
    }
    at = blanks(bytes, at)?;
    let start = at;
    let mut status = 0u16;
    while byte(bytes, at)?.is_ascii_digit() {
        if at - start == if limits.unsafe_ok { 4 } else { 3 } {
            return bad(Kind::StatusDigits, at);
        }
        status = status * 10 + u16::from(bytes[at] - b'0');
        at += 1;
    }
    if status == 0 || !matches!(bytes[at], b' ' | b'\t' | b'\r' | b'\n') {
        return bad(Kind::Status, at);
    }
    at = blanks(bytes, at)?;
    let reason = at;
    let Some(end) = memchr3(b'\r', b'\n', 0, &bytes[at..]) else {
        return Err(Stop::More);
    };
    at += end;
    if bytes[at] == 0 {
        return bad(Kind::Reason, at);
    }
    head.place_response(status, reason..at);
    at = line_end(bytes, at)?;
    let (used, folded) = fields(bytes, at, limits, head)?;
    head.load(&bytes[..used], folded);
    Ok(used)
}

/// Reads the version at `at`; where it ends. What follows is the caller's to judge.
fn version(bytes: &[u8], at: usize, limits: &Limits, head: &mut Head) -> Result<usize, Stop> {
    // The common case in one comparison.
    if let Some(text) = bytes.get(at..at + 9)
        && text.starts_with(b"HTTP/1.")
        && matches!(text[8], b'\r' | b'\n' | b' ')
        && text[7].is_ascii_digit()
    {
        head.version = match text[7] {
            b'0' => Version::Http10,
            _ => Version::Http11,
        };
        return Ok(at + 8);
    }
    let mut end = at;
    while matches!(byte(bytes, end)?, b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'/') {
        end += 1;
    }
    let numbers = bytes[at..end].strip_prefix(b"HTTP/").unwrap_or_default();
    let digits = |text: &[u8]| text.iter().all(|b| b.is_ascii_digit() || *b == b'.');
    head.version = match numbers {
        [major @ b'0'..=b'9', b'.', minor @ b'0'..=b'9'] => {
            match (*major, *minor) >= (b'1', b'1') {
                true => Version::Http11,
                false => Version::Http10,
            }
        }
        [_, ..] if limits.unsafe_ok && digits(numbers) => Version::Http10,
        _ if matches!(bytes[end], b'\r' | b'\n' | b' ' | b'\t') => return bad(Kind::Version, at),
        _ => return bad(Kind::Version, end),
    };
    Ok(end)
}

/// Reads fields up to and with the empty line; where that ends, and whether a value is folded.
fn fields(
    bytes: &[u8],
    mut at: usize,
    limits: &Limits,
    head: &mut Head,
) -> Result<(usize, bool), Stop> {
    let mut folded = false;
    loop {
        if matches!(byte(bytes, at)?, b'\r' | b'\n') {
            return Ok((line_end(bytes, at)?, folded));
        }
        let (name, keep) = name(bytes, at, limits)?;
        if head.len() + 1 >= limits.fields_max {
            return bad(Kind::TooManyFields, at);
        }
        let value = value(bytes, name.end + 1, &mut folded)?;
        at = value.next;
        if keep {
            head.place_field(name, value.start..value.end);
        }
    }
}

/// What [`trailer_fields`] found.
pub(super) enum Fields {
    Partial,
    Done { used: usize },
}

/// Reads the trailers of a chunked body into the fields of `trailers`, up to and with the empty line. A LF alone ends
/// no line here.
pub(super) fn trailer_fields(
    bytes: &[u8],
    limits: &Limits,
    trailers: &mut Head,
) -> Result<Fields, H1Error> {
    trailers.clear();
    let seen = &bytes[..bytes.len().min(limits.head_max)];
    let parsed = fields(seen, 0, limits, trailers);
    let end = match &parsed {
        Ok((used, _)) => *used,
        Err(Stop::Bad(_, at)) => *at,
        Err(Stop::More) => seen.len(),
    };
    let (kind, at) = match (bare_lf(&seen[..end]), parsed) {
        (Some(at), _) => (Kind::BareLf, at),
        (None, Ok((used, folded))) => {
            trailers.load(&seen[..used], folded);
            return Ok(Fields::Done { used });
        }
        (None, Err(Stop::Bad(kind, at))) => (kind, at),
        (None, Err(Stop::More)) if bytes.len() < limits.head_max => {
            trailers.clear();
            return Ok(Fields::Partial);
        }
        (None, Err(Stop::More)) => (Kind::TrailersTooLarge, limits.head_max),
    };
    trailers.clear();
    Err(H1Error { kind, at })
}

/// Reads a name up to its colon; false: it is bad but the unsafe option lets the field be dropped.
fn name(bytes: &[u8], start: usize, limits: &Limits) -> Result<(Range<usize>, bool), Stop> {
    let mut at = start;
    let mut keep = true;
    loop {
        at = skip(bytes, at, TOKEN)?;
        match bytes[at] {
            b':' if at == start => return bad(Kind::EmptyName, at),
            b':' => return Ok((start..at, keep)),
            b'\r' | b'\n' => return bad(Kind::NoColon, at),
            _ if limits.unsafe_ok => keep = false,
            _ => return bad(Kind::NameByte, at),
        }
        at += 1;
    }
}

struct Value {
    start: usize,
    end: usize,
    /// First byte of the next line.
    next: usize,
}

/// First CR, LF or NUL at or after `from`. Most values are short: they are searched eight bytes at a time before the
/// search for long ones begins.
fn value_end(bytes: &[u8], from: usize) -> Result<usize, Stop> {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    let mut at = from;
    while at - from < 48
        && let Some(eight) = bytes[at..].first_chunk()
    {
        let word = u64::from_le_bytes(*eight);
        // The high bit of each byte below a space, and of some above the first of these.
        let low = word.wrapping_sub(EACH * 0x20) & !word & (EACH * 0x80);
        if low == 0 {
            at += 8;
            continue;
        }
        at += (low.trailing_zeros() / 8) as usize;
        if matches!(bytes[at], b'\r' | b'\n' | 0) {
            return Ok(at);
        }
        at += 1;
    }
    match memchr3(b'\r', b'\n', 0, &bytes[at..]) {
        Some(n) => Ok(at + n),
        None => Err(Stop::More),
    }
}

/// Reads a value from behind its colon, with the lines that continue it (RFC 9112 5.2).
fn value(bytes: &[u8], mut start: usize, folded: &mut bool) -> Result<Value, Stop> {
    let mut at = start;
    loop {
        at = value_end(bytes, at)?;
        if bytes[at] == 0 {
            return bad(Kind::Nul, at);
        }
        let next = line_end(bytes, at)?;
        if is_blank(byte(bytes, next)?) {
            *folded = true;
            at = next;
            continue;
        }
        let mut end = at;
        let outer = |b: u8| is_blank(b) || matches!(b, b'\r' | b'\n');
        while start < end && outer(bytes[start]) {
            start += 1;
        }
        while start < end && outer(bytes[end - 1]) {
            end -= 1;
        }
        return Ok(Value { start, end, next });
    }
}

/// The parts of an absolute target.
struct Absolute {
    /// Without user information.
    authority: Range<usize>,
    /// Port that may be left out.
    default_port: Option<&'static [u8]>,
    /// First byte behind the authority.
    rest: usize,
}

/// Takes `scheme://authority` apart (RFC 3986 3).
fn absolute(target: &[u8]) -> Option<Absolute> {
    let colon = memchr(b':', target)?;
    let scheme = &target[..colon];
    if !scheme.first()?.is_ascii_alphabetic()
        || !scheme
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
        || !target[colon..].starts_with(b"://")
    {
        return None;
    }
    let start = colon + 3;
    let rest = start
        + target[start..]
            .iter()
            .position(|b| matches!(b, b'/' | b'?' | b'#'))
            .unwrap_or(target.len() - start);
    let user = memchr::memrchr(b'@', &target[start..rest]).map_or(start, |n| start + n + 1);
    let default_port = if scheme.eq_ignore_ascii_case(b"http") {
        Some(&b"80"[..])
    } else if scheme.eq_ignore_ascii_case(b"https") {
        Some(&b"443"[..])
    } else {
        None
    };
    Some(Absolute {
        authority: user..rest,
        default_port,
        rest,
    })
}

/// Host and port, which is `None` without colon.
fn split_port(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memrchr(b':', authority) {
        // Not a colon inside of an IPv6 address.
        Some(colon) if memchr(b']', &authority[colon..]).is_none() => {
            (&authority[..colon], Some(&authority[colon + 1..]))
        }
        _ => (authority, None),
    }
}

/// Whether Host says the same as the authority of the target, a port that is `default` left out of either or both.
fn same_authority(authority: &[u8], host: &[u8], default: Option<&[u8]>) -> bool {
    let plain = |text| match split_port(text) {
        (host, Some(port)) if port.is_empty() || default == Some(port) => (host, None),
        other => other,
    };
    let (a, b) = (plain(authority), plain(host));
    a.0.eq_ignore_ascii_case(b.0) && a.1 == b.1
}

/// Form of the target and agreement with Host (RFC 9112 3.2). Default ports are taken out of both.
fn check_target(head: &mut Head, limits: &Limits) -> Result<(), Stop> {
    let host = check_host(head, limits)?;
    let target = head.target();
    let connect = super::is(head, b"CONNECT");
    if target.first() == Some(&b'/') && !connect {
        return Ok(());
    }
    let at = head.target_at();
    if target == b"*" && super::is(head, b"OPTIONS") {
        return Ok(());
    }
    let parts = match connect {
        true => connect_target(target, limits).map_err(|(kind, n)| Stop::Bad(kind, at + n))?,
        false => absolute(target).ok_or(Stop::Bad(Kind::TargetForm, at))?,
    };
    let authority = &target[parts.authority.clone()];
    let (name, port) = split_port(authority);
    if name.is_empty() {
        return bad(Kind::EmptyAuthority, at + parts.authority.start);
    }
    if let Some(n) = bad_host_byte(authority, limits).or_else(|| bad_brackets(name)) {
        return bad(Kind::HostByte, at + parts.authority.start + n);
    }
    if target.get(parts.rest).is_some_and(|b| *b != b'/') && !limits.unsafe_ok {
        return bad(Kind::TargetForm, at + parts.rest);
    }
    // The port is said though it need not be.
    let said = port.is_some_and(|p| p.is_empty() || parts.default_port == Some(p));
    let mut new_host = None;
    if let Some(index) = host {
        let value = head.field(index).1;
        if same_authority(authority, value, parts.default_port) {
            let (name, port) = split_port(value);
            if said && port.is_some_and(|p| p.is_empty() || parts.default_port == Some(p)) {
                new_host = Some((index, name.to_vec()));
            }
        } else if !limits.unsafe_ok {
            return bad(Kind::HostNotTarget, head.value_at(index));
        }
    }
    let cut = port.filter(|_| said && !connect).map_or(0, |p| p.len() + 1);
    let no_path = !connect && parts.rest == target.len();
    if cut > 0 || no_path {
        let mut new = Vec::with_capacity(target.len() + 1);
        new.extend_from_slice(&target[..parts.rest - cut]);
        new.extend_from_slice(if no_path { b"/" } else { &target[parts.rest..] });
        head.set_target(&new);
    }
    if let Some((index, name)) = new_host {
        head.set_value(index, &name);
    }
    Ok(())
}

/// Takes the target of CONNECT apart: host and port (RFC 9112 3.2.3). Both usual ports may be left out of Host.
fn connect_target(target: &[u8], limits: &Limits) -> Result<Absolute, (Kind, usize)> {
    if target == b"*" || memchr(b'/', target).is_some() {
        return Err((Kind::TargetForm, 0));
    }
    let start = memchr::memrchr(b'@', target).map_or(0, |n| n + 1);
    let (_, port) = split_port(&target[start..]);
    let default_port = match port {
        Some(b"80") => Some(&b"80"[..]),
        Some(b"443") => Some(&b"443"[..]),
        Some(port) if !port.is_empty() && port.iter().all(u8::is_ascii_digit) => None,
        _ if limits.unsafe_ok => None,
        _ => return Err((Kind::ConnectPort, start)),
    };
    Ok(Absolute {
        authority: start..target.len(),
        default_port,
        rest: target.len(),
    })
}

/// Where a byte is that no host may have; the unsafe option lets most pass, as in haproxy 3.4.
fn bad_host_byte(host: &[u8], limits: &Limits) -> Option<usize> {
    let bad = |b: &u8| match limits.unsafe_ok {
        false => CLASS[*b as usize] & HOST == 0,
        true => *b <= b' ' || *b == 0x7f || b",/@".contains(b),
    };
    host.iter().position(bad)
}

/// Where an address has no brackets, half of them, or they are inside of a name (RFC 3986 3.2.2).
fn bad_brackets(name: &[u8]) -> Option<usize> {
    let inner = match name {
        [b'[', inner @ .., b']'] => inner,
        [b'[', ..] => return Some(0),
        _ => return name.iter().position(|b| b":[]".contains(b)),
    };
    let bad = inner.iter().position(|b| b"[]".contains(b));
    bad.map(|n| n + 1)
}

/// Checks every Host field, keeps one of equal ones; its index.
fn check_host(head: &mut Head, limits: &Limits) -> Result<Option<usize>, Stop> {
    let mut found = None;
    let mut index = 0;
    while index < head.len() {
        let (name, value) = head.field(index);
        if name != b"host" {
            index += 1;
            continue;
        }
        if let Some(n) = bad_host_byte(value, limits) {
            return bad(Kind::HostByte, head.value_at(index) + n);
        }
        match found {
            None => found = Some(index),
            Some(first) if head.field(first).1.eq_ignore_ascii_case(value) => {
                head.remove(index);
                continue;
            }
            Some(_) => return bad(Kind::HostsDiffer, head.value_at(index)),
        }
        index += 1;
    }
    Ok(found)
}
