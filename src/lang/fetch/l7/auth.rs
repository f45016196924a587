//! Credentials in the Authorization header (RFC 7617, RFC 6750) and what user lists say about them.

use bumpalo::collections::Vec as ArenaVec;

use crate::lang::sample::{Arena, Value};
use crate::lang::subject::{Secret, Subject};

#[derive(Clone, Debug)]
pub(in crate::lang) enum Credential {
    /// `http_auth`: valid by that list.
    Valid(Option<u32>),
    /// `http_auth_group`: the user if valid by that list.
    Group(Option<u32>),
    User,
    Pass,
    Type,
    /// The token, of that header (lower case) or of Authorization.
    Bearer(Box<[u8]>),
}

/// Room for user and password once decoded; longer ones are nobody's.
const DECODED_MAX: usize = 8192;

impl Credential {
    pub(super) fn get<'a>(
        &'a self,
        subject: &'a dyn Subject,
        arena: &'a Arena,
    ) -> Option<Value<'a>> {
        match self {
            Self::Valid(list) => {
                let (user, password) = basic(subject, arena)?;
                verdict(subject, (*list)?, user, password).map(Value::Bool)
            }
            Self::Group(list) => {
                let (user, password) = basic(subject, arena)?;
                verdict(subject, (*list)?, user, password)?.then_some(Value::Str(user))
            }
            Self::User => basic(subject, arena).map(|(user, _)| Value::Str(user)),
            Self::Pass => basic(subject, arena).map(|(_, password)| Value::Str(password)),
            Self::Type => {
                let bearer = || bearer(subject, b"authorization").map(|_| &b"Bearer"[..]);
                let basic = basic(subject, arena).map(|_| &b"Basic"[..]);
                basic.or_else(bearer).map(Value::Str)
            }
            Self::Bearer(header) => {
                let name: &[u8] = if header.is_empty() {
                    b"authorization"
                } else {
                    header
                };
                bearer(subject, name).map(Value::Str)
            }
        }
    }

    /// Whether a password is still being verified.
    pub(super) fn waits(&self, subject: &dyn Subject) -> bool {
        let (Self::Valid(Some(list)) | Self::Group(Some(list))) = self else {
            return false;
        };
        let arena = Arena::new();
        basic(subject, &arena)
            .is_some_and(|(user, password)| verdict(subject, *list, user, password).is_none())
    }

    pub(super) fn name_userlist(&mut self, of: Option<u32>) {
        if let Self::Valid(list) | Self::Group(list) = self {
            *list = of;
        }
    }
}

/// Scheme and what follows it in a header.
fn authorization<'a>(subject: &'a dyn Subject, header: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let value = subject.request()?.first(header)?;
    let at = memchr::memchr(b' ', value)?;
    let rest = value[at..].trim_ascii_start();
    (at > 0).then_some((&value[..at], rest))
}

/// The token in a header.
fn bearer<'a>(subject: &'a dyn Subject, header: &'a [u8]) -> Option<&'a [u8]> {
    let (kind, token) = authorization(subject, header)?;
    (kind.eq_ignore_ascii_case(b"bearer") && !token.is_empty()).then_some(token)
}

/// User and password.
fn basic<'a>(subject: &'a dyn Subject, arena: &'a Arena) -> Option<(&'a [u8], &'a [u8])> {
    let (kind, text) = authorization(subject, b"authorization")?;
    if !kind.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let decoded = base64(text, arena)?;
    let colon = memchr::memchr(b':', decoded)?;
    Some((&decoded[..colon], &decoded[colon + 1..]))
}

/// Whether the list lets that user in; `None`: not known yet.
fn verdict(subject: &dyn Subject, list: u32, user: &[u8], password: &[u8]) -> Option<bool> {
    match subject.user(list, user).map(|user| user.secret) {
        None | Some(Secret::Nobody) => Some(false),
        Some(Secret::Plain(right)) => Some(right == password),
        Some(Secret::Hashed) => subject.password(list, user, password),
    }
}

/// Decodes the standard alphabet with its padding; `None` if it is anything else.
fn base64<'a>(text: &[u8], arena: &'a Arena) -> Option<&'a [u8]> {
    if !text.len().is_multiple_of(4) || text.len() > DECODED_MAX {
        return None;
    }
    let end = text.len()
        - text
            .iter()
            .rev()
            .take(2)
            .take_while(|&&b| b == b'=')
            .count();
    let mut out = ArenaVec::with_capacity_in(text.len() / 4 * 3, arena);
    for four in text[..end].chunks(4) {
        let mut bits = 0u32;
        for &b in four {
            bits = bits << 6
                | u32::from(match b {
                    b'A'..=b'Z' => b - b'A',
                    b'a'..=b'z' => b - b'a' + 26,
                    b'0'..=b'9' => b - b'0' + 52,
                    b'+' => 62,
                    b'/' => 63,
                    _ => return None,
                });
        }
        bits <<= 6 * (4 - four.len());
        out.extend_from_slice(&bits.to_be_bytes()[1..four.len()]);
    }
    Some(out.into_bump_slice())
}
