//! Codecs of health checks: what is sent, and what the answer means. Sans-IO; `backend::health` decides
//! what follows, `proxy::check` connects and keeps the time.
//!
//! Answers are fed as they arrive, whole from the first byte: `answer(bytes, ended)` is `None` while more
//! is needed. Names and texts are haproxy's (`option httpchk`, `option ssl-hello-chk`; compared with
//! 2.6.12). Longest answer looked at: [`ANSWER_MAX`].

/// Bytes of an answer after which it is invalid if it still says nothing.
pub const ANSWER_MAX: usize = 16_384;

/// How a check ended: haproxy's short name, and the text of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not checked yet.
    Ini,
    L4Ok,
    L4Tout,
    L4Con,
    L6Ok,
    L6Tout,
    L6Rsp,
    L7Ok,
    L7Tout,
    L7Rsp,
    L7Sts,
    /// The connection broke after it was made, or could not be tried (no port, no descriptor).
    SockErr,
}

impl Status {
    pub const ALL: [Self; 12] = [
        Self::Ini,
        Self::L4Ok,
        Self::L4Tout,
        Self::L4Con,
        Self::L6Ok,
        Self::L6Tout,
        Self::L6Rsp,
        Self::L7Ok,
        Self::L7Tout,
        Self::L7Rsp,
        Self::L7Sts,
        Self::SockErr,
    ];

    /// `check_status` of the statistics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ini => "INI",
            Self::L4Ok => "L4OK",
            Self::L4Tout => "L4TOUT",
            Self::L4Con => "L4CON",
            Self::L6Ok => "L6OK",
            Self::L6Tout => "L6TOUT",
            Self::L6Rsp => "L6RSP",
            Self::L7Ok => "L7OK",
            Self::L7Tout => "L7TOUT",
            Self::L7Rsp => "L7RSP",
            Self::L7Sts => "L7STS",
            Self::SockErr => "SOCKERR",
        }
    }

    /// `check_desc` of the statistics and `reason:` of log lines.
    pub fn text(self) -> &'static str {
        match self {
            Self::Ini => "Initializing",
            Self::L4Ok => "Layer4 check passed",
            Self::L4Tout => "Layer4 timeout",
            Self::L4Con => "Layer4 connection problem",
            Self::L6Ok => "Layer6 check passed",
            Self::L6Tout => "Layer6 timeout",
            Self::L6Rsp => "Layer6 invalid response",
            Self::L7Ok => "Layer7 check passed",
            Self::L7Tout => "Layer7 timeout",
            Self::L7Rsp => "Layer7 invalid response",
            Self::L7Sts => "Layer7 wrong status",
            Self::SockErr => "Socket error",
        }
    }

    /// The status of this short name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }

    pub fn passed(self) -> bool {
        matches!(self, Self::L4Ok | Self::L6Ok | Self::L7Ok)
    }
}

/// What an answer, or its absence, means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: Status,
    /// HTTP status, or 0.
    pub code: u16,
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

    /// The connection could not be made.
    pub fn connect_failed(errno: i32) -> Self {
        Self {
            status: Status::L4Con,
            code: 0,
            info: os_text(errno),
        }
    }

    /// The connection broke while the answer was awaited.
    pub fn broken(errno: i32) -> Self {
        Self {
            status: Status::SockErr,
            code: 0,
            info: os_text(errno),
        }
    }
}

/// What a probe says once it is connected, and how it reads the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialogue {
    /// Connected is all it asks.
    Connect,
    Http,
    SslHello,
}

impl Dialogue {
    /// What it means that the time is over while the answer is awaited.
    pub fn timeout(self) -> Answer {
        Answer::plain(match self {
            Self::Connect => Status::L4Tout,
            Self::Http => Status::L7Tout,
            Self::SslHello => Status::L6Tout,
        })
    }

    /// The meaning of all bytes so far; `ended` once the server sends no more. `None`: not clear yet.
    pub fn answer(self, bytes: &[u8], ended: bool) -> Option<Answer> {
        match self {
            Self::Connect => Some(Answer::plain(Status::L4Ok)),
            Self::Http => http_answer(bytes, ended),
            Self::SslHello => ssl_answer(bytes, ended),
        }
    }
}

/// The request of `option httpchk`. `host` only where the file names one; `connection: close` from
/// HTTP/1.1 on, as haproxy sends it.
pub fn http_request(method: &str, uri: &str, version: &str, host: Option<&str>) -> Vec<u8> {
    let mut request = format!("{method} {uri} {version}\r\n");
    if let Some(host) = host {
        request.push_str(&format!("host: {host}\r\n"));
    }
    if version == "HTTP/1.1" {
        request.push_str("connection: close\r\n");
    }
    request.push_str("\r\n");
    request.into_bytes()
}

/// 2xx and 3xx pass. The whole header section is awaited and has to be one: haproxy fails a status line
/// alone (L7RSP at the end of the stream, L7TOUT before it).
fn http_answer(bytes: &[u8], ended: bool) -> Option<Answer> {
    let invalid = || Some(Answer::plain(Status::L7Rsp));
    let start = bytes
        .iter()
        .position(|&b| b != b'\r' && b != b'\n')
        .unwrap_or(bytes.len());
    let bytes = &bytes[start..];
    let protocol = b"HTTP/";
    let seen = bytes.len().min(protocol.len());
    if bytes[..seen] != protocol[..seen] {
        return invalid();
    }
    let Some(head) = head(bytes) else {
        return if ended || bytes.len() > ANSWER_MAX {
            invalid()
        } else {
            None
        };
    };
    let mut lines = head
        .split(|&b| b == b'\n')
        .map(|l| l.strip_suffix(b"\r").unwrap_or(l));
    let Some((code, reason)) = lines.next().and_then(status_line) else {
        return invalid();
    };
    // Folded lines continue the header before them.
    if !lines.all(|l| l.first().is_some_and(|&b| b == b' ' || b == b'\t') || is_header(l)) {
        return invalid();
    }
    Some(if (200..400).contains(&code) {
        Answer {
            status: Status::L7Ok,
            code,
            info: String::new(),
        }
    } else {
        Answer {
            status: Status::L7Sts,
            code,
            info: shown(reason),
        }
    })
}

/// The header section up to its empty line, which is left out.
fn head(bytes: &[u8]) -> Option<&[u8]> {
    let mut line_start = 0;
    for (at, _) in bytes.iter().enumerate().filter(|(_, b)| **b == b'\n') {
        if matches!(&bytes[line_start..at], b"" | b"\r") {
            return Some(&bytes[..line_start.saturating_sub(1)]);
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
fn shown(text: &[u8]) -> String {
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
fn ssl_answer(bytes: &[u8], ended: bool) -> Option<Answer> {
    const ALERT: u8 = 0x15;
    const HANDSHAKE: u8 = 0x16;
    if bytes.len() < 5 && !ended {
        return None;
    }
    Some(match bytes.first() {
        Some(&(ALERT | HANDSHAKE)) => Answer::plain(Status::L6Ok),
        Some(_) => Answer::plain(Status::L6Rsp),
        None => Answer {
            info: "TCPCHK got an empty response at step 2".into(),
            ..Answer::plain(Status::L6Rsp)
        },
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

    fn http(text: &[u8], ended: bool) -> Option<(&'static str, u16, String)> {
        Dialogue::Http
            .answer(text, ended)
            .map(|a| (a.status.name(), a.code, a.info))
    }

    fn ended(text: &[u8]) -> (&'static str, u16, String) {
        http(text, true).unwrap()
    }

    /// Each line was put before haproxy 2.6.12.
    #[test]
    fn http_answers_mean_what_they_mean_to_haproxy() {
        let none = String::new;
        assert_eq!(ended(b"HTTP/1.0 200 OK\r\n\r\n"), ("L7OK", 200, none()));
        assert_eq!(ended(b"HTTP/1.0 200 OK\n\n"), ("L7OK", 200, none()));
        assert_eq!(ended(b"HTTP/1.0  200 OK\r\n\r\n"), ("L7OK", 200, none()));
        assert_eq!(ended(b"HTTP/2.0 200 OK\r\n\r\n"), ("L7OK", 200, none()));
        assert_eq!(ended(b"\r\nHTTP/1.0 200 OK\r\n\r\n"), ("L7OK", 200, none()));
        assert_eq!(ended(b"HTTP/1.1 399 x\r\n\r\n"), ("L7OK", 399, none()));
        assert_eq!(
            ended(b"HTTP/1.1 500 Oh no\r\nX: y\r\n\r\nbody"),
            ("L7STS", 500, "Oh no".into())
        );
        assert_eq!(ended(b"HTTP/1.1 404\r\n\r\n"), ("L7STS", 404, none()));
        assert_eq!(
            ended(b"HTTP/1.1 2000 OK\r\n\r\n"),
            ("L7STS", 2000, "OK".into())
        );
        assert_eq!(ended(b"HTTP/1.1 099 x\r\n\r\n"), ("L7STS", 99, "x".into()));
        let interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
        assert_eq!(ended(interim), ("L7STS", 100, "Continue".into()));
        assert_eq!(
            ended(b"HTTP/1.0 500 a\tb\x01\"c\r\n\r\n"),
            ("L7STS", 500, "a<09>b<01><22>c".into())
        );
        assert_eq!(
            ended(b"HTTP/1.0 500 caf\xc3\xa9\r\n\r\n"),
            ("L7STS", 500, "caf<C3><A9>".into())
        );
        let invalid: [&[u8]; 8] = [
            b"HTTP/1.0 200 OK\r\n",
            b"HTTP/1.0 200 OK",
            b"http/1.1 200 ok\r\n\r\n",
            b"ICY 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
            b"HTTP/1.0 20x OK\r\n\r\n",
            b"HTTP/1.1 20",
            b"",
        ];
        for text in invalid {
            assert_eq!(ended(text), ("L7RSP", 0, none()), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn an_http_answer_is_awaited_until_its_empty_line_unless_it_is_none() {
        assert_eq!(http(b"", false), None);
        assert_eq!(http(b"HTT", false), None);
        assert_eq!(http(b"HTTP/1.0 500 Err\r\n", false), None);
        assert_eq!(http(b"HTTP/1.0 200 OK\r\nServer: x\r\n", false), None);
        assert_eq!(http(b"SSH-2.0\r\n", false).unwrap().0, "L7RSP");
        let endless = [b"HTTP/1.0 200 OK\r\n".as_slice(), &b"a: b\r\n".repeat(4000)].concat();
        assert_eq!(http(&endless, false).unwrap().0, "L7RSP");
    }

    #[test]
    fn a_servers_words_are_cut_to_fit_a_line() {
        let long = [b"HTTP/1.0 503 ".as_slice(), &b"x".repeat(300), b"\r\n\r\n"].concat();
        assert_eq!(ended(&long).2.len(), INFO_MAX);
    }

    #[test]
    fn requests_are_haproxys() {
        let plain = http_request("OPTIONS", "/", "HTTP/1.0", None);
        assert_eq!(plain, b"OPTIONS / HTTP/1.0\r\n\r\n");
        let close = http_request("GET", "/foo", "HTTP/1.1", None);
        assert_eq!(close, b"GET /foo HTTP/1.1\r\nconnection: close\r\n\r\n");
        let named = http_request("GET", "/", "HTTP/1.1", Some("a.b"));
        assert_eq!(
            named,
            b"GET / HTTP/1.1\r\nhost: a.b\r\nconnection: close\r\n\r\n"
        );
    }

    #[test]
    fn a_tls_record_is_up_and_text_or_nothing_is_down() {
        let ssl = |bytes: &[u8], ended| {
            Dialogue::SslHello
                .answer(bytes, ended)
                .map(|a| a.status.name())
        };
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
