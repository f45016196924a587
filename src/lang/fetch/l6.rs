//! What can be told from bytes that nothing has parsed yet (configuration.txt 7.3.5).

use super::hello::{self, Hello};
use super::{Fetch as Any, Given, Making};
use crate::lang::expr::Needs;
use crate::lang::sample::Value;
use crate::lang::subject::{Bytes, Subject};

#[derive(Clone, Debug)]
pub(in crate::lang) struct Fetch {
    pub(super) side: Side,
    pub(super) what: What,
}

/// Whose bytes.
#[derive(Clone, Copy, Debug)]
pub(in crate::lang) enum Side {
    Request,
    Response,
    /// The response's while one is handled, else the request's.
    AtHand,
}

#[derive(Clone, Debug)]
pub(in crate::lang) enum What {
    Len,
    Payload {
        offset: usize,
        /// 0: all there is.
        len: usize,
    },
    /// A block whose length is written in the bytes.
    LengthValue {
        at: usize,
        width: usize,
        from: From,
    },
    RdpCookie(Box<[u8]>),
    RdpCookieCount(Box<[u8]>),
    ProtoHttp,
    WaitEnd,
    HelloType,
    HelloVersion,
    ServerName,
    Alpn,
    /// Whether the client names elliptic curves.
    Curves,
    /// 0 no session ticket extension, 1 an empty one, 2 one with a ticket.
    Ticket,
    Ciphers,
    /// Content of an extension behind a length of its own.
    List(u16),
}

/// Where the block of a length begins.
#[derive(Clone, Copy, Debug)]
pub(in crate::lang) enum From {
    BehindLength(i64),
    Offset(usize),
}

/// What the bytes so far say.
enum Found<'a> {
    Value(Value<'a>),
    /// There is none, and never will be.
    None,
    /// More bytes decide.
    Short,
}

impl Fetch {
    fn bytes<'a>(&self, subject: &'a dyn Subject) -> Option<Bytes<'a>> {
        match self.side {
            Side::Request => subject.request_bytes(),
            Side::Response => subject.response_bytes(),
            Side::AtHand => subject.response_bytes().or_else(|| subject.request_bytes()),
        }
    }

    pub(super) fn one<'a>(&self, subject: &'a dyn Subject) -> Option<Value<'a>> {
        match self.what {
            What::WaitEnd => return (!self.waits(subject)).then_some(Value::Bool(true)),
            What::ProtoHttp => {
                return subject.request().map(|_| Value::Bool(true));
            }
            _ => {}
        }
        match self.find(self.bytes(subject)?.bytes) {
            Found::Value(value) => Some(value),
            Found::None | Found::Short => None,
        }
    }

    /// Whether more bytes could change the answer.
    pub(super) fn waits(&self, subject: &dyn Subject) -> bool {
        let pending = subject.pending();
        let (bytes, needs) = match self.side {
            Side::Response => (subject.response_bytes(), Needs::RESPONSE_BYTES),
            _ => (self.bytes(subject), Needs::REQUEST_BYTES),
        };
        match self.what {
            What::ProtoHttp => {
                return subject.request().is_none() && pending.has(Needs::REQUEST_HEAD);
            }
            What::WaitEnd => {
                return bytes.is_some_and(|b| !b.complete) || pending.has(needs);
            }
            _ => {}
        }
        match bytes {
            Some(bytes) if bytes.complete => false,
            Some(bytes) => match self.what {
                What::Len | What::Payload { len: 0, .. } => true,
                _ => matches!(self.find(bytes.bytes), Found::Short),
            },
            None => pending.has(needs),
        }
    }

    fn find<'a>(&self, bytes: &'a [u8]) -> Found<'a> {
        let known = |value: Option<Value<'a>>| value.map_or(Found::None, Found::Value);
        match &self.what {
            What::Len => Found::Value(Value::Int(bytes.len() as i64)),
            What::Payload { offset, len: 0 } => match bytes.get(*offset..) {
                Some(rest) if !rest.is_empty() => Found::Value(Value::Bin(rest)),
                _ => Found::Short,
            },
            What::Payload { offset, len } => offset
                .checked_add(*len)
                .and_then(|end| bytes.get(*offset..end))
                .map_or(Found::Short, |block| Found::Value(Value::Bin(block))),
            What::LengthValue { at, width, from } => {
                let Some(length) = bytes.get(*at..*at + *width) else {
                    return Found::Short;
                };
                let length = length
                    .iter()
                    .fold(0usize, |sum, &b| sum << 8 | usize::from(b));
                let start = match from {
                    From::Offset(offset) => Some(*offset),
                    From::BehindLength(more) => {
                        usize::try_from(*at as i64 + *width as i64 + more).ok()
                    }
                };
                let Some(start) = start.filter(|_| length > 0) else {
                    return Found::None;
                };
                match start
                    .checked_add(length)
                    .and_then(|end| bytes.get(start..end))
                {
                    Some(block) => Found::Value(Value::Bin(block)),
                    None => Found::Short,
                }
            }
            What::RdpCookie(name) => match rdp_cookie(bytes, name) {
                Ok(value) => known(value.map(Value::Str)),
                Err(Short) => Found::Short,
            },
            What::RdpCookieCount(name) => match rdp_cookie(bytes, name) {
                Ok(value) => Found::Value(Value::Int(value.is_some().into())),
                Err(Short) => Found::Short,
            },
            What::ProtoHttp | What::WaitEnd => Found::None,
            _ => self.hello(bytes),
        }
    }

    fn hello<'a>(&self, bytes: &'a [u8]) -> Found<'a> {
        let parts = match hello::read(bytes) {
            Hello::Short => return Found::Short,
            Hello::No => return Found::None,
            Hello::Is(parts) => parts,
        };
        let value = match &self.what {
            What::HelloType => parts.whole.then(|| Value::Int(parts.kind.into())),
            What::HelloVersion => parts
                .whole
                .then(|| Value::Int(i64::from(parts.version.0) << 16 | i64::from(parts.version.1))),
            What::ServerName => parts.server_name().map(Value::Str),
            What::Alpn => parts.protocol().map(Value::Str),
            What::Curves => parts.extension(10).map(|_| Value::Bool(true)),
            What::Ticket => match parts.extension(35) {
                None if parts.kind == 1 && parts.whole => Some(Value::Int(0)),
                None => None,
                Some([]) => Some(Value::Int(1)),
                Some(_) => Some(Value::Int(2)),
            },
            What::Ciphers => parts.ciphers.map(Value::Bin),
            What::List(extension) => parts
                .extension(*extension)
                .and_then(|content| content.get(2..))
                .map(Value::Bin),
            _ => None,
        };
        match value {
            Some(value) => Found::Value(value),
            None if parts.whole => Found::None,
            None => Found::Short,
        }
    }
}

/// More bytes decide.
struct Short;

/// The cookie in the first packet of a remote desktop client ([MS-RDPBCGR] 2.2.1.1); an empty name means any.
fn rdp_cookie<'a>(bytes: &'a [u8], name: &[u8]) -> Result<Option<&'a [u8]>, Short> {
    const HEADERS: usize = 4 + 7;
    const WORD: &[u8] = b"Cookie:";
    if bytes.len() < HEADERS + WORD.len() {
        return Err(Short);
    }
    let (word, text) = bytes[HEADERS..].split_at(WORD.len());
    if bytes[0] != 3 || !word.eq_ignore_ascii_case(WORD) {
        return Ok(None);
    }
    let begun = text.trim_ascii_start();
    let common = begun.len().min(name.len());
    if !begun[..common].eq_ignore_ascii_case(&name[..common]) {
        return Ok(None);
    }
    let Some(end) = memchr::memmem::find(begun, b"\r\n") else {
        return Err(Short);
    };
    let pair = &begun[..end];
    let Some(equals) = pair.iter().position(|&b| b == b'=') else {
        return Ok(None);
    };
    let (found, value) = (&pair[..equals], &pair[equals + 1..]);
    let named = name.is_empty() || found.eq_ignore_ascii_case(name);
    Ok(named.then_some(value))
}

/// The RDP cookie `name` (any case) in what a client sent first; `None` also while bytes are missing.
pub fn rdp_cookie_of<'a>(bytes: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    rdp_cookie(bytes, name).ok().flatten()
}

// ---------------------------------------------------------------- readers of arguments

type Made = Result<Any, String>;

fn request(what: What) -> Made {
    made(Side::Request, what)
}
pub(super) fn made(side: Side, what: What) -> Made {
    Ok(Any::L6(Fetch { side, what }))
}
pub(super) fn plain(what: What) -> Made {
    request(what)
}
pub(super) fn rdp(given: &Making<'_>) -> Made {
    request(What::RdpCookie(given.text(0).into()))
}
pub(super) fn rdp_count(given: &Making<'_>) -> Made {
    request(What::RdpCookieCount(given.text(0).into()))
}
pub(super) fn payload(side: Side, given: &Making<'_>) -> Made {
    let number = |index: usize| given.int(index).unwrap_or(0);
    let (Ok(offset), Ok(len)) = (usize::try_from(number(0)), usize::try_from(number(1))) else {
        return Err("payload offset1 must not be negative".to_owned());
    };
    made(side, What::Payload { offset, len })
}
pub(super) fn payload_lv(side: Side, given: &Making<'_>) -> Made {
    let number = |index: usize| given.int(index).unwrap_or(0);
    let Ok(at) = usize::try_from(number(0)) else {
        return Err("payload offset1 must be positive".to_owned());
    };
    let Some(width) = usize::try_from(number(1))
        .ok()
        .filter(|w| (1..=8).contains(w))
    else {
        return Err("payload length must be > 0".to_owned());
    };
    let from = match given.args.get(2) {
        Some(Given::Str(text)) => {
            let relative = text.starts_with(b"+") || text.starts_with(b"-");
            let digits = text.strip_prefix(b"+").unwrap_or(text);
            let number = crate::lang::value::int(digits, -0x7fff_ffff..=0x7fff_ffff)
                .map_err(|_| "payload offset2 is not a number".to_owned())?;
            if relative {
                if at as i64 + width as i64 + number < 0 {
                    return Err("payload offset2 too negative".to_owned());
                }
                From::BehindLength(number)
            } else {
                From::Offset(number as usize)
            }
        }
        _ => From::BehindLength(0),
    };
    made(side, What::LengthValue { at, width, from })
}
