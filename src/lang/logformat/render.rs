//! Writing a format: spaces, quotes, escapes and placeholders (configuration.txt 8.2.6, 8.6). What an alias shows is
//! worked out first, as a [`Shown`]; then it is written as the flags and the purpose ask.

use std::net::{IpAddr, SocketAddr};

use super::encode;
use super::{Alias, Cast, Flags, Item, LogFormat, Part, Purpose, Source};
use crate::base::civil::{push_number, two};
use crate::base::clock::{LocalClock, clf_text, local};
use crate::lang::sample::{Arena, Value, leading_int};
use crate::lang::subject::{Fact, LogCount, Subject};

/// Stands for a request line that could not be read.
const BAD_REQUEST: &[u8] = b"<BADREQ>";
/// Stands for the server where none was chosen.
const NO_SERVER: &[u8] = b"<NOSRV>";
/// Stands for the address of a unix socket.
const UNIX: &[u8] = b"unix";
/// Bytes of a request line that are shown (haproxy's `tune.http.logurilen` less the end of its string).
const REQUEST_LINE_MAX: usize = 1023;

/// What an alias shows.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shown<'a> {
    /// `-` where it must be something, `""` in quotes.
    Missing,
    Text {
        bytes: &'a [u8],
        /// Written as `#22` where that cannot stand in a log.
        encode: Encode,
        /// Not `-` though it be empty.
        may_be_empty: bool,
    },
    /// Never quoted.
    Date(&'a [u8]),
    Number {
        number: i64,
        /// It may still grow: a plus sign stands before it.
        plus: bool,
        /// Least digits in decimal, and under `X`; 0: `X` does nothing.
        digits: (u8, u8),
    },
    Ip(IpAddr),
    Captures {
        request: bool,
        list: bool,
    },
    /// The sample of an expression, and that there is none.
    Sample(Value<'a>),
    NoSample,
}

/// Which bytes are written as `#` and two hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encode {
    None,
    /// Controls, bytes above 126, `"` and `#`.
    Line,
    /// Of captured headers: `{`, `|` and `}` too.
    Header,
}

impl Encode {
    pub(super) fn hits(self, byte: u8) -> bool {
        let always = !(32..127).contains(&byte) || byte == b'"' || byte == b'#';
        match self {
            Self::None => false,
            Self::Line => always,
            Self::Header => always || b"{|}".contains(&byte),
        }
    }
}

/// [`LogFormat::render`] and [`LogFormat::render_at`].
pub(super) fn format<'a>(
    format: &'a LogFormat,
    subject: &'a dyn Subject,
    arena: &'a Arena,
    clock: Option<&mut LocalClock>,
    out: &mut Vec<u8>,
) {
    let mut writer = Writer {
        subject,
        arena,
        clock,
        purpose: format.purpose,
        out,
        spaced: true,
    };
    if format.whole.has(Flags::JSON) || format.whole.has(Flags::CBOR) {
        writer.map(format);
        return;
    }
    for item in &format.items {
        match item {
            Item::Text(text) => {
                writer.out.extend_from_slice(text);
                writer.spaced = false;
            }
            Item::Space if writer.spaced => {}
            Item::Space => {
                writer.out.push(b' ');
                writer.spaced = true;
            }
            Item::Part(part) => writer.part(part),
        }
    }
}

struct Writer<'a, 'o> {
    subject: &'a dyn Subject,
    arena: &'a Arena,
    clock: Option<&'o mut LocalClock>,
    purpose: Purpose,
    out: &'o mut Vec<u8>,
    /// What was written last is a space, or nothing was written.
    spaced: bool,
}

impl<'a> Writer<'a, '_> {
    fn part(&mut self, part: &'a Part) {
        let before = self.out.len();
        let shown = self.shown(part);
        if part.flags.has(Flags::JSON) {
            encode::json(self.out, self.subject, self.arena, shown, part.cast);
        } else if part.flags.has(Flags::CBOR) {
            self.cbor(part.flags, |writer| {
                encode::cbor(
                    writer.out,
                    writer.subject,
                    writer.arena,
                    shown,
                    part.cast,
                    part.flags.has(Flags::BIN),
                );
            });
        } else {
            self.plain(shown, part.flags);
        }
        let captures = matches!(shown, Shown::Captures { .. });
        if !captures || self.out.len() > before {
            self.spaced = false;
        }
    }

    /// Named parts as one JSON object or CBOR map.
    fn map(&mut self, format: &'a LogFormat) {
        let named = || {
            format
                .values()
                .filter_map(|p| Some((p.name.as_deref()?, p)))
        };
        if format.whole.has(Flags::JSON) {
            self.out.push(b'{');
            for (nth, (name, part)) in named().enumerate() {
                if nth > 0 {
                    self.out.extend_from_slice(b", ");
                }
                encode::json_string(self.out, name.as_bytes());
                self.out.extend_from_slice(b": ");
                let shown = self.shown(part);
                encode::json(self.out, self.subject, self.arena, shown, part.cast);
            }
            self.out.push(b'}');
            return;
        }
        let binary = format.whole.has(Flags::BIN);
        self.cbor(format.whole, |writer| {
            writer.out.push(encode::CBOR_MAP);
            for (name, part) in named() {
                encode::cbor_text(writer.out, name.as_bytes());
                let shown = writer.shown(part);
                let (out, subject) = (&mut *writer.out, writer.subject);
                encode::cbor(out, subject, writer.arena, shown, part.cast, binary);
            }
            writer.out.push(encode::CBOR_BREAK);
        });
    }

    /// What `write` appends, in hexadecimal unless `flags` ask for bytes.
    fn cbor(&mut self, flags: Flags, write: impl FnOnce(&mut Self)) {
        let from = self.out.len();
        write(self);
        if !flags.has(Flags::BIN) {
            let raw = self.arena.alloc_slice_copy(&self.out[from..]);
            self.out.truncate(from);
            raw.iter().for_each(|&byte| push_hex(self.out, byte));
        }
    }

    fn shown(&mut self, part: &'a Part) -> Shown<'a> {
        match &part.source {
            Source::Alias(alias) => self.alias(*alias),
            Source::Expr(expr) => expr
                .eval(self.subject, self.arena)
                .map_or(Shown::NoSample, Shown::Sample),
        }
    }

    // ------------------------------------------------------------ plain text

    fn plain(&mut self, shown: Shown<'a>, flags: Flags) {
        match shown {
            Shown::Missing => self.text(b"", Encode::None, flags, false),
            Shown::Text {
                bytes,
                encode,
                may_be_empty,
            } => self.text(bytes, encode, flags, may_be_empty),
            Shown::Date(text) => self.out.extend_from_slice(text),
            Shown::Number {
                number,
                plus,
                digits: (decimal, hex),
            } => {
                if plus {
                    self.out.push(b'+');
                }
                if hex > 0 && flags.has(Flags::HEX) {
                    push_hex_number(self.out, number.unsigned_abs(), hex);
                } else {
                    push_padded(self.out, number, decimal);
                }
            }
            Shown::Ip(ip) if flags.has(Flags::HEX) => match ip {
                IpAddr::V4(ip) => ip.octets().iter().for_each(|&b| push_hex(self.out, b)),
                IpAddr::V6(ip) => ip.octets().iter().for_each(|&b| push_hex(self.out, b)),
            },
            Shown::Ip(ip) => {
                let text = Value::Ip(ip).text(self.arena);
                self.text(text, Encode::None, flags, false);
            }
            Shown::Captures { request, list } => self.captures(request, list, flags),
            Shown::Sample(value) => self.sample(value, flags),
            Shown::NoSample => self.sample(Value::Str(b""), flags),
        }
    }

    fn text(&mut self, bytes: &[u8], encode: Encode, flags: Flags, may_be_empty: bool) {
        let quoted = flags.has(Flags::QUOTE);
        if bytes.is_empty() && !quoted && !may_be_empty && self.purpose == Purpose::Log {
            self.out.push(b'-');
            return;
        }
        self.quote(quoted);
        push_text(self.out, bytes, encode, flags.has(Flags::ESCAPE));
        self.quote(quoted);
    }

    fn quote(&mut self, quoted: bool) {
        if quoted {
            self.out.push(b'"');
        }
    }

    fn sample(&mut self, value: Value<'a>, flags: Flags) {
        let text = match value {
            Value::Bin(bytes) if flags.has(Flags::BIN) => bytes,
            other => other.text(self.arena),
        };
        match self.purpose {
            Purpose::Log | Purpose::Value => self.text(text, Encode::None, flags, false),
            Purpose::Message | Purpose::Id => {
                push_message(self.out, text, flags.has(Flags::ESCAPE));
            }
        }
    }

    /// `{a|b}`, or `a b` as a list: captures declared by the frontend, nothing where there are none.
    fn captures(&mut self, request: bool, list: bool, flags: Flags) {
        let count = capture_count(self.subject, request);
        if count == 0 {
            return;
        }
        let escape = flags.has(Flags::ESCAPE);
        if !list {
            self.quote(flags.has(Flags::QUOTE));
            self.out.push(b'{');
        }
        for index in 0..count {
            if index > 0 {
                self.out.push(if list { b' ' } else { b'|' });
            }
            let value = capture(self.subject, request, index);
            if !list {
                push_text(self.out, value, Encode::Header, escape);
            } else if value.is_empty() && !flags.has(Flags::QUOTE) {
                self.out.push(b'-');
            } else {
                self.text(value, Encode::Header, flags, true);
            }
        }
        if !list {
            self.out.push(b'}');
            self.quote(flags.has(Flags::QUOTE));
        }
    }

    // ------------------------------------------------------------ aliases

    fn alias(&mut self, alias: Alias) -> Shown<'a> {
        use Alias as A;
        let subject = self.subject;
        match alias {
            A::ClientIp => self.client(subject.src(), ip),
            A::ClientPort => self.client(subject.src(), port),
            A::FrontIp => self.client(subject.dst(), ip),
            A::FrontPort => self.client(subject.dst(), port),
            A::BackIp => subject.server_ends().0.map_or(Shown::Missing, ip),
            A::BackPort => subject.server_ends().0.map_or(Shown::Missing, port),
            A::ServerIp => subject.server_ends().1.map_or(Shown::Missing, ip),
            A::ServerPort => subject.server_ends().1.map_or(Shown::Missing, port),
            A::Date => self.date(Fact::AcceptDateUs, DateForm::Millis),
            A::DateGmt => self.date(Fact::AcceptDateUs, DateForm::Gmt),
            A::DateLocal => self.date(Fact::AcceptDateUs, DateForm::Local),
            A::RequestDate => self.date(Fact::RequestDateUs, DateForm::Millis),
            A::RequestDateGmt => self.date(Fact::RequestDateUs, DateForm::Gmt),
            A::RequestDateLocal => self.date(Fact::RequestDateUs, DateForm::Local),
            A::Seconds => hex_number(self.int(Fact::AcceptDateUs, 0) / 1_000_000),
            A::Millis => Shown::Number {
                number: self.int(Fact::AcceptDateUs, 0) / 1_000 % 1_000,
                plus: false,
                digits: (3, 2),
            },
            A::Frontend | A::FrontendTransport => self.fact_text(Fact::FrontName),
            A::Backend => match self.bytes(Fact::BackName) {
                Some(name) => text(name),
                None => self.fact_text(Fact::FrontName),
            },
            A::Server => {
                let name = self.bytes(Fact::Applet);
                let name = name.or_else(|| self.bytes(Fact::ServerName));
                text(name.unwrap_or(NO_SERVER))
            }
            A::ProcessConns => self.count(LogCount::Process),
            A::FrontConns => self.count(LogCount::Frontend),
            A::BackConns => self.count(LogCount::Backend),
            A::ServerConns => self.count(LogCount::Server),
            A::Retries => Shown::Number {
                number: self.int(Fact::Retries, 0),
                plus: self.yes(Fact::Redispatched),
                digits: (0, 0),
            },
            A::ServerQueue => number(self.int(Fact::ServerQueuePos, 0)),
            A::BackQueue => number(self.int(Fact::BackendQueuePos, 0)),
            A::BytesOut => self.growing(Fact::ServerIn, 0),
            A::BytesIn => number(self.int(Fact::ClientIn, 0)),
            A::Status => number(self.int(Fact::Status, -1)),
            A::RequestCookie => self.fact_text(Fact::RequestCookie),
            A::ResponseCookie => self.fact_text(Fact::ResponseCookie),
            A::RequestHeaders => captures(true, false),
            A::ResponseHeaders => captures(false, false),
            A::RequestHeaderList => captures(true, true),
            A::ResponseHeaderList => captures(false, true),
            A::Request | A::Method | A::Path | A::PathOnly | A::Query | A::Uri | A::Version => {
                self.request(alias)
            }
            A::UniqueId => self.fact_text(Fact::UniqueId),
            A::Hostname => self.fact_text(Fact::Hostname),
            A::Pid => hex_number(self.int(Fact::Pid, 0)),
            A::RequestCounter => hex_number(self.int(Fact::StreamId, 0)),
            A::LogCounter => hex_number(self.int(Fact::LogCounter, 0)),
            A::State => self.state(2),
            A::StateCookie => self.state(4),
            A::RequestTime => number(self.int(Fact::RequestHeadMs, -1)),
            A::QueueTime => number(self.int(Fact::QueueMs, -1)),
            A::ConnectTime => number(self.int(Fact::ConnectMs, -1)),
            A::ResponseTime => number(self.int(Fact::ResponseHeadMs, -1)),
            A::ActiveTime => self.growing(Fact::ActiveMs, -1),
            A::DataTime => number(self.int(Fact::ResponseDataMs, -1)),
            A::HandshakeTime => number(self.int(Fact::HandshakeMs, 0)),
            A::IdleTime => number(self.int(Fact::IdleMs, 0)),
            A::TotalRequestTime => match self.int(Fact::RequestHeadMs, -1) {
                head if head < 0 => number(-1),
                head => {
                    let before = self.int(Fact::HandshakeMs, 0).max(0);
                    number(before + self.int(Fact::IdleMs, 0).max(0) + head)
                }
            },
            A::TotalTime => self.growing(Fact::TotalMs, -1),
            A::UserTime => self.growing(Fact::UserMs, -1),
            A::TlsCiphers | A::TlsVersion => Shown::Missing,
            A::Origin => self.fact_text(Fact::LogOrigin),
        }
    }

    fn int(&self, fact: Fact, otherwise: i64) -> i64 {
        match self.subject.fact(fact) {
            Some(Value::Int(n)) => n,
            _ => otherwise,
        }
    }
    fn yes(&self, fact: Fact) -> bool {
        matches!(self.subject.fact(fact), Some(Value::Bool(true)))
    }
    fn bytes(&self, fact: Fact) -> Option<&'a [u8]> {
        match self.subject.fact(fact)? {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }
    fn fact_text(&self, fact: Fact) -> Shown<'a> {
        self.bytes(fact).map_or(Shown::Missing, text)
    }
    fn count(&self, which: LogCount) -> Shown<'a> {
        number(self.subject.log_count(which).into())
    }
    /// A number that is not final yet under `option logasap`.
    fn growing(&self, fact: Fact, otherwise: i64) -> Shown<'a> {
        Shown::Number {
            number: self.int(fact, otherwise),
            plus: self.yes(Fact::LogAsap),
            digits: (0, 0),
        }
    }
    /// Half of an end of the client's connection; without an address it is a unix socket, known by its bind.
    fn client(&self, end: Option<SocketAddr>, half: fn(SocketAddr) -> Shown<'a>) -> Shown<'a> {
        match (end, self.subject.fact(Fact::BindId)) {
            (Some(end), _) => half(end),
            (None, Some(Value::Int(bind))) => match half(([0, 0, 0, 0], 0).into()) {
                Shown::Ip(_) => text(UNIX),
                _ => hex_number(bind),
            },
            (None, _) => Shown::Missing,
        }
    }

    fn state(&self, letters: usize) -> Shown<'a> {
        let given = self.bytes(Fact::TermState).unwrap_or(b"----");
        if given.len() >= letters {
            return Shown::Date(&given[..letters]);
        }
        let padded = self.arena.alloc_slice_fill_copy(letters, b'-');
        padded[..given.len()].copy_from_slice(given);
        Shown::Date(padded)
    }

    fn request(&self, alias: Alias) -> Shown<'a> {
        let line = |bytes| Shown::Text {
            bytes,
            encode: Encode::Line,
            may_be_empty: true,
        };
        let Some((method, uri, version)) = self.subject.original_request() else {
            return line(BAD_REQUEST);
        };
        // What is shown is the line up to a limit, and the parts are those of the line that is left.
        let room = REQUEST_LINE_MAX.saturating_sub(method.len() + 1);
        let cut = &uri[..uri.len().min(room)];
        let path = cut.split(|&b| b == b'?').next().unwrap_or_default();
        line(match alias {
            Alias::Method => method,
            Alias::Uri => cut,
            Alias::Path => path,
            Alias::PathOnly => path_only(path),
            Alias::Query => &cut[path.len()..],
            Alias::Version => match room.checked_sub(uri.len() + 1) {
                None | Some(0) => b"HTTP/0.9",
                Some(left) => &version[..version.len().min(left)],
            },
            _ => {
                let mut all = bumpalo::collections::Vec::with_capacity_in(
                    method.len() + uri.len() + version.len() + 2,
                    self.arena,
                );
                for (part, space) in [(method, true), (uri, true), (version, false)] {
                    all.extend_from_slice(part);
                    if space {
                        all.push(b' ');
                    }
                }
                all.truncate(REQUEST_LINE_MAX);
                all.into_bump_slice()
            }
        })
    }

    fn date(&mut self, fact: Fact, form: DateForm) -> Shown<'a> {
        let at_us = u64::try_from(self.int(fact, 0)).unwrap_or(0);
        let second = at_us / 1_000_000;
        let mut out = bumpalo::collections::Vec::with_capacity_in(26, self.arena);
        let offset_s = match form {
            DateForm::Gmt => 0,
            _ => self.offset_s(second),
        };
        match (&mut self.clock, form) {
            (Some(clock), DateForm::Millis | DateForm::Local) => {
                out.extend_from_slice(clock.clf(second));
            }
            _ => out.extend_from_slice(&clf_text(&local(second, offset_s))),
        }
        if form == DateForm::Millis {
            let ms = u32::try_from(at_us / 1_000 % 1_000).unwrap_or(0);
            out.push(b'.');
            out.push(b"0123456789"[(ms / 100) as usize]);
            out.extend_from_slice(&two(ms % 100));
        } else {
            out.extend_from_slice(if offset_s < 0 { b" -" } else { b" +" });
            let minutes = offset_s.unsigned_abs() / 60;
            out.extend_from_slice(&two(minutes / 60));
            out.extend_from_slice(&two(minutes % 60));
        }
        Shown::Date(out.into_bump_slice())
    }

    fn offset_s(&mut self, second: u64) -> i32 {
        if let Some(clock) = &mut self.clock {
            return clock.offset_s(second);
        }
        i32::try_from(self.int(Fact::LocalOffsetS(second), 0)).unwrap_or(0)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum DateForm {
    /// `21/Nov/2026:01:47:04.719`, local.
    Millis,
    /// `21/Nov/2026:01:47:04 +0000`.
    Gmt,
    Local,
}

fn number<'a>(number: i64) -> Shown<'a> {
    Shown::Number {
        number,
        plus: false,
        digits: (0, 0),
    }
}
/// A number that `X` shows with four hexadecimal digits at least.
fn hex_number<'a>(number: i64) -> Shown<'a> {
    Shown::Number {
        number,
        plus: false,
        digits: (0, 4),
    }
}
fn text(bytes: &[u8]) -> Shown<'_> {
    Shown::Text {
        bytes,
        encode: Encode::None,
        may_be_empty: false,
    }
}
fn ip<'a>(end: SocketAddr) -> Shown<'a> {
    Shown::Ip(end.ip())
}
fn port<'a>(end: SocketAddr) -> Shown<'a> {
    hex_number(end.port().into())
}
fn captures<'a>(request: bool, list: bool) -> Shown<'a> {
    Shown::Captures { request, list }
}

/// The path of a target without scheme and authority; nothing of `*` and of an authority alone.
fn path_only(target: &[u8]) -> &[u8] {
    let after = match memchr::memmem::find(target, b"://") {
        Some(at) if target[0] != b'/' => &target[at + 3..],
        _ => target,
    };
    let at = memchr::memchr(b'/', after).unwrap_or(after.len());
    &after[at..]
}

pub(super) fn capture_count(subject: &dyn Subject, request: bool) -> usize {
    let (of_request, of_response) = subject.captures();
    if request { of_request } else { of_response }
}
pub(super) fn capture(subject: &dyn Subject, request: bool, index: usize) -> &[u8] {
    let value = if request {
        subject.request_capture(index)
    } else {
        subject.response_capture(index)
    };
    value.unwrap_or_default()
}

/// The number a cast to an integer gives.
pub(super) fn as_int(shown: Shown<'_>, cast: Option<Cast>) -> Option<i64> {
    let number = match shown {
        Shown::Number { number, .. } => number,
        Shown::Sample(Value::Int(n)) => n,
        Shown::Sample(Value::Bool(b)) if cast == Some(Cast::Sint) => b.into(),
        Shown::Text { bytes, .. } | Shown::Date(bytes) if cast == Some(Cast::Sint) => {
            leading_int(bytes)
        }
        Shown::Sample(Value::Str(bytes)) if cast == Some(Cast::Sint) => leading_int(bytes),
        _ => return None,
    };
    (cast.is_none() || cast == Some(Cast::Sint)).then_some(number)
}

// ---------------------------------------------------------------- bytes

const HEX: &[u8; 16] = b"0123456789ABCDEF";

fn push_hex(out: &mut Vec<u8>, byte: u8) {
    out.push(HEX[usize::from(byte >> 4)]);
    out.push(HEX[usize::from(byte & 15)]);
}

fn push_hex_number(out: &mut Vec<u8>, number: u64, digits: u8) {
    let used = (64 - number.leading_zeros()).div_ceil(4);
    for place in (0..used.max(digits.into())).rev() {
        out.push(HEX[(number >> (4 * place) & 15) as usize]);
    }
}

fn push_padded(out: &mut Vec<u8>, number: i64, digits: u8) {
    if number < 0 {
        out.push(b'-');
    }
    let number = number.unsigned_abs();
    let used = number.checked_ilog10().map_or(1, |log| log + 1);
    for _ in used..digits.into() {
        out.push(b'0');
    }
    push_number(out, number);
}

/// `"`, `\` and `]`, which RFC 5424 6.3.3 has escaped in its parameters.
fn escaped(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | b']')
}

fn push_text(out: &mut Vec<u8>, bytes: &[u8], encode: Encode, escape: bool) {
    if encode == Encode::None && !escape {
        out.extend_from_slice(bytes);
        return;
    }
    for &byte in bytes {
        if encode.hits(byte) {
            out.push(b'#');
            push_hex(out, byte);
            continue;
        }
        if escape && escaped(byte) {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

/// As [`push_text`] without escapes, into any list of bytes.
pub(super) fn push_encoded(out: &mut impl Extend<u8>, bytes: &[u8], encode: Encode) {
    for &byte in bytes {
        if encode.hits(byte) {
            out.extend([
                b'#',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]);
        } else {
            out.extend([byte]);
        }
    }
}

/// A sample in a message: no control but the tab goes out, so that no value can end a line of the head.
fn push_message(out: &mut Vec<u8>, bytes: &[u8], escape: bool) {
    for &byte in bytes {
        if byte.is_ascii_control() && byte != b'\t' {
            out.push(b'%');
            push_hex(out, byte);
            continue;
        }
        if escape && escaped(byte) {
            out.push(b'\\');
        }
        out.push(byte);
    }
}
