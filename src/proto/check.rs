//! Codecs of health checks: what is sent, and what the answer means. Sans-IO; `backend::sequence` goes through the
//! steps, `backend::health` decides what follows, `proxy::check` connects and keeps the time.
//!
//! Answers are given as they arrive, whole from the first byte, and read again with more behind them until they say
//! something. Names and texts are haproxy's (compared with 2.6.12). Longest answer looked at: [`ANSWER_MAX`].

pub mod agent;
pub mod services;

use super::h1::{ChunkDecoder, Limits, Step};
use super::http::{Head, Version};

/// Bytes of an answer after which it is invalid if it still says nothing.
pub const ANSWER_MAX: usize = 16_384;

/// How a check ended: haproxy's short name, and the text of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not checked yet.
    Ini,
    /// Too many errors of the traffic (`observe`).
    Hana,
    /// An agent spoke, and said nothing of up or down.
    Checked,
    L4Ok,
    L4Tout,
    L4Con,
    L6Ok,
    L6Tout,
    L6Rsp,
    L7Ok,
    /// Passed on a condition: known connections live on, no new ones come.
    L7Okc,
    L7Tout,
    L7Rsp,
    L7Sts,
    /// The connection broke after it was made, or could not be tried (no port, no descriptor).
    SockErr,
    /// A command passed it, failed it, or took too long (`option external-check`).
    ProcOk,
    ProcErr,
    ProcTout,
}

impl Status {
    pub const ALL: [Self; 18] = [
        Self::Ini,
        Self::Hana,
        Self::Checked,
        Self::L4Ok,
        Self::L4Tout,
        Self::L4Con,
        Self::L6Ok,
        Self::L6Tout,
        Self::L6Rsp,
        Self::L7Ok,
        Self::L7Okc,
        Self::L7Tout,
        Self::L7Rsp,
        Self::L7Sts,
        Self::SockErr,
        Self::ProcOk,
        Self::ProcErr,
        Self::ProcTout,
    ];

    /// `check_status` of the statistics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ini => "INI",
            Self::Hana => "HANA",
            Self::Checked => "CHECKED",
            Self::L4Ok => "L4OK",
            Self::L4Tout => "L4TOUT",
            Self::L4Con => "L4CON",
            Self::L6Ok => "L6OK",
            Self::L6Tout => "L6TOUT",
            Self::L6Rsp => "L6RSP",
            Self::L7Ok => "L7OK",
            Self::L7Okc => "L7OKC",
            Self::L7Tout => "L7TOUT",
            Self::L7Rsp => "L7RSP",
            Self::L7Sts => "L7STS",
            Self::SockErr => "SOCKERR",
            Self::ProcOk => "PROCOK",
            Self::ProcErr => "PROCERR",
            Self::ProcTout => "PROCTOUT",
        }
    }

    /// `check_desc` of the statistics and `reason:` of log lines.
    pub fn text(self) -> &'static str {
        match self {
            Self::Ini => "Initializing",
            Self::Hana => "Health analyze",
            Self::Checked => "No status change",
            Self::L4Ok => "Layer4 check passed",
            Self::L4Tout => "Layer4 timeout",
            Self::L4Con => "Layer4 connection problem",
            Self::L6Ok => "Layer6 check passed",
            Self::L6Tout => "Layer6 timeout",
            Self::L6Rsp => "Layer6 invalid response",
            Self::L7Ok => "Layer7 check passed",
            Self::L7Okc => "Layer7 check conditionally passed",
            Self::L7Tout => "Layer7 timeout",
            Self::L7Rsp => "Layer7 invalid response",
            Self::L7Sts => "Layer7 wrong status",
            Self::SockErr => "Socket error",
            Self::ProcOk => "External check passed",
            Self::ProcErr => "External check error",
            Self::ProcTout => "External check timeout",
        }
    }

    /// The status of this short name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }

    pub fn passed(self) -> bool {
        matches!(
            self,
            Self::L4Ok | Self::L6Ok | Self::L7Ok | Self::L7Okc | Self::ProcOk
        )
    }

    /// Comes with a code that is shown, 0 though it may be.
    pub fn has_code(self) -> bool {
        matches!(
            self,
            Self::L7Ok | Self::L7Okc | Self::L7Sts | Self::ProcOk | Self::ProcErr | Self::ProcTout
        )
    }
}

/// What an answer, or its absence, means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: Status,
    /// HTTP status, what a command ended with (-1: a signal), or 0.
    pub code: i32,
    /// `info:` of log lines, `last_chk` of the statistics; empty: nothing to say.
    pub info: String,
}

impl Answer {
    pub fn plain(status: Status) -> Self {
        Self {
            status,
            code: 0,
            info: String::new(),
        }
    }
}

/// Reads the head of an answer as far as `bytes` go, and how many bytes it took; blank lines may come first. `None`:
/// it is not whole yet. `last`: nothing more will come. Lax where haproxy's checks are: any number may be the status.
///
/// # Errors
/// It is no head of HTTP, or ends early.
pub fn http_head(bytes: &[u8], last: bool) -> Option<Result<(Head, usize), NoHttp>> {
    let start = bytes
        .iter()
        .position(|&b| b != b'\r' && b != b'\n')
        .unwrap_or(bytes.len());
    let text = &bytes[start..];
    let protocol = b"HTTP/";
    let seen = text.len().min(protocol.len());
    if text[..seen] != protocol[..seen] {
        return Some(Err(NoHttp));
    }
    let Some((lines, used)) = head(text) else {
        return last.then_some(Err(NoHttp));
    };
    Some(
        read_head(lines)
            .map(|head| (head, start + used))
            .ok_or(NoHttp),
    )
}

/// What came is no answer of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoHttp;

fn read_head(text: &[u8]) -> Option<Head> {
    let mut lines = text
        .split(|&b| b == b'\n')
        .map(|l| l.strip_suffix(b"\r").unwrap_or(l));
    let first = lines.next()?;
    let (code, reason) = status_line(first)?;
    let mut out = Head::default();
    if first.get(5..8)? < b"1.1".as_slice() {
        out.version = Version::Http10;
    }
    out.set_status(code, reason);
    for line in lines {
        if line.first().is_some_and(|&b| b == b' ' || b == b'\t') {
            // A folded line continues the field before it.
            let last = out.len().checked_sub(1)?;
            let value = [out.field(last).1, b" ", line.trim_ascii()].concat();
            out.set_value(last, &value);
        } else if is_header(line) {
            let colon = line.iter().position(|&b| b == b':')?;
            out.push(&line[..colon], line[colon + 1..].trim_ascii());
        } else {
            return None;
        }
    }
    Some(out)
}

/// Takes the body out of the bytes behind a head; whether that is all of it. `to_head`: the request was HEAD.
pub fn http_body(head: &Head, to_head: bool, bytes: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    if to_head || head.status < 200 || matches!(head.status, 204 | 304) {
        return true;
    }
    let chunked = head
        .values(b"transfer-encoding")
        .any(|v| v.to_ascii_lowercase().ends_with(b"chunked"));
    if chunked {
        return dechunked(bytes, out);
    }
    let length = head.first(b"content-length");
    let length = length.and_then(|l| std::str::from_utf8(l).ok()?.parse::<usize>().ok());
    let most = length.unwrap_or(usize::MAX).min(bytes.len());
    out.extend_from_slice(&bytes[..most]);
    length.is_some_and(|length| bytes.len() >= length)
}

/// Chunks as one; a mistake in them ends the body.
fn dechunked(mut bytes: &[u8], out: &mut Vec<u8>) -> bool {
    let mut decoder = ChunkDecoder::new(&Limits::default());
    while !decoder.is_done() {
        let used = match decoder.decode(bytes) {
            Err(_) => return true,
            Ok(Step::Partial) => return false,
            Ok(Step::Data { used }) => {
                out.extend_from_slice(&bytes[..used]);
                used
            }
            Ok(Step::Chunk { used, .. } | Step::ChunkEnd { used } | Step::End { used, .. }) => used,
        };
        bytes = &bytes[used..];
    }
    true
}

/// The lines of the header section up to its empty line, which is left out, and the bytes of all of it.
fn head(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let mut line_start = 0;
    for (at, _) in bytes.iter().enumerate().filter(|(_, b)| **b == b'\n') {
        if matches!(&bytes[line_start..at], b"" | b"\r") {
            return Some((&bytes[..line_start.saturating_sub(1)], at + 1));
        }
        line_start = at + 1;
    }
    None
}

/// `HTTP/d.d SP+ digits [SP+ reason]`.
fn status_line(line: &[u8]) -> Option<(u16, &[u8])> {
    let version = line.get(5..8)?;
    if !(version[0].is_ascii_digit() && version[1] == b'.' && version[2].is_ascii_digit()) {
        return None;
    }
    let rest = line
        .get(8..)
        .filter(|r| r.first() == Some(&b' '))?
        .trim_ascii_start();
    let digits = rest
        .iter()
        .position(|b| !b.is_ascii_digit())
        .unwrap_or(rest.len());
    let code = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    let reason = &rest[digits..];
    (reason.is_empty() || reason[0] == b' ').then(|| (code, reason.trim_ascii()))
}

fn is_header(line: &[u8]) -> bool {
    let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    let colon = line.iter().position(|&b| b == b':');
    colon.is_some_and(|at| at > 0 && line[..at].iter().all(token))
}

/// Longest text a server may put into our log lines.
const INFO_MAX: usize = 127;

/// A server's own words, fit for a log line: what is not printable ASCII, and quotes, as `<XX>`.
pub fn shown(text: &[u8]) -> String {
    let mut out = String::new();
    for &b in text {
        let piece = match b {
            b'"' | 0..=0x1f | 0x7f.. => format!("<{b:02X}>"),
            _ => char::from(b).to_string(),
        };
        if out.len() + piece.len() > INFO_MAX {
            break;
        }
        out.push_str(&piece);
    }
    out
}

/// A ClientHello for TLS 1.2 and 1.3 that today's servers answer (haproxy's own, SSLv3 with export
/// ciphers, meets an alert at best). `seed` fills what ought to be random; the connection ends before
/// any key is made of it. RFC 8446 4.1.2.
pub fn ssl_hello(seed: u64) -> Vec<u8> {
    let random: Vec<u8> = (0..8u64)
        .flat_map(|i| {
            seed.wrapping_add(i)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .to_be_bytes()
        })
        .collect();
    let ciphers: [u16; 13] = [
        0x1301, 0x1302, 0x1303, // TLS 1.3: AES-128-GCM, AES-256-GCM, ChaCha20
        0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, // ECDHE with AEAD
        0xc013, 0xc014, 0x009c, 0x002f, // older servers
    ];
    let groups: [u16; 3] = [0x001d, 0x0017, 0x0018]; // x25519, secp256r1, secp384r1
    let signatures: [u16; 8] = [
        0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0201,
    ];
    let extensions = [
        extension(0x000a, &sized16(&words(&groups))),
        extension(0x000b, &[1, 0]), // uncompressed points
        extension(0x000d, &sized16(&words(&signatures))),
        extension(0x0017, &[]),  // extended master secret
        extension(0xff01, &[0]), // renegotiation info
        extension(0x002b, &[4, 0x03, 0x04, 0x03, 0x03]), // versions 1.3, 1.2
        extension(0x002d, &[1, 1]), // key exchange with (EC)DHE
        extension(
            0x0033,
            &sized16(&[&[0x00, 0x1d][..], &sized16(&random[32..64])].concat()),
        ),
    ];
    let body = [
        &[0x03, 0x03][..],
        &random[..32],
        &[0], // no session to resume
        &sized16(&words(&ciphers)),
        &[1, 0], // no compression
        &sized16(&extensions.concat()),
    ]
    .concat();
    let length = u32::try_from(body.len())
        .expect("some hundred bytes")
        .to_be_bytes();
    let handshake = [&[0x01][..], &length[1..], &body].concat();
    [&[0x16, 0x03, 0x01][..], &sized16(&handshake)].concat()
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &sized16(body)].concat()
}

/// `body` after its length in two bytes.
fn sized16(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("some hundred bytes");
    [&length.to_be_bytes()[..], body].concat()
}

fn words(list: &[u16]) -> Vec<u8> {
    list.iter().flat_map(|w| w.to_be_bytes()).collect()
}

/// A handshake or alert record is a TLS server; anything else is not. Five bytes make a record's header.
pub fn ssl_answer(bytes: &[u8], ended: bool) -> Option<Answer> {
    const ALERT: u8 = 0x15;
    const HANDSHAKE: u8 = 0x16;
    if bytes.len() < 5 && !ended {
        return None;
    }
    Some(match bytes.first() {
        Some(&(ALERT | HANDSHAKE)) => Answer::plain(Status::L6Ok),
        Some(_) => Answer::plain(Status::L6Rsp),
        None => Answer::plain(Status::L6Rsp),
    })
}

/// haproxy 3.4's words for an error of the system: `ECONNREFUSED returned by OS (Connection refused)`.
pub fn os_text(errno: i32) -> String {
    let errno = nix::errno::Errno::from_raw(errno);
    format!("{errno:?} returned by OS ({})", errno.desc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tls_record_is_up_and_text_or_nothing_is_down() {
        let ssl = |bytes: &[u8], ended| ssl_answer(bytes, ended).map(|a| a.status.name());
        assert_eq!(ssl(b"\x16\x03\x03\x00\x7a", false), Some("L6OK"));
        assert_eq!(ssl(b"\x15\x03\x01\x00\x02\x02\x28", false), Some("L6OK"));
        assert_eq!(ssl(b"\x15\x03\x01", true), Some("L6OK"));
        assert_eq!(ssl(b"\x15\x03\x01", false), None);
        assert_eq!(ssl(b"\x17\x03\x01\x00\x05hello", false), Some("L6RSP"));
        assert_eq!(ssl(b"SSH-2.0", false), Some("L6RSP"));
        assert_eq!(ssl(b"S", false), None);
        assert_eq!(ssl(b"", true), Some("L6RSP"));
    }

    #[test]
    fn the_hello_is_one_record_whose_lengths_add_up() {
        let hello = ssl_hello(1);
        let at16 = |i: usize| usize::from(u16::from_be_bytes([hello[i], hello[i + 1]]));
        assert_eq!(hello[0], 0x16);
        assert_eq!(at16(3) + 5, hello.len());
        assert_eq!(hello[5], 0x01);
        assert_eq!(at16(7) + 9, hello.len());
        let ciphers = 9 + 2 + 32 + 1;
        let extensions = ciphers + 2 + at16(ciphers) + 2;
        assert_eq!(extensions + 2 + at16(extensions), hello.len());
        assert_ne!(ssl_hello(2), hello);
    }

    #[test]
    fn errors_of_the_system_are_told_as_3_4_tells_them() {
        assert_eq!(
            os_text(libc::ECONNREFUSED),
            "ECONNREFUSED returned by OS (Connection refused)"
        );
    }
}
