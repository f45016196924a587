//! Cookies of requests and of responses (RFC 6265).

use bumpalo::collections::Vec as ArenaVec;

use super::headers::parts;
use crate::lang::sample::{Arena, Value, leading_int};
use crate::proto::http::Head;

#[derive(Clone, Copy, Debug)]
pub(in crate::lang) enum CookieAs {
    Text,
    Number,
}

impl CookieAs {
    pub(super) fn of(self, value: &[u8]) -> Option<Value<'_>> {
        match self {
            Self::Text => Some(Value::Str(value)),
            Self::Number => Some(Value::Int(leading_int(value))),
        }
    }
}

/// Values of the cookies called `name`, or of all where it is empty.
pub(super) fn values<'a>(
    head: &'a Head,
    response: bool,
    name: &'a [u8],
) -> impl Iterator<Item = &'a [u8]> {
    pairs(head, response, name.len())
        .filter(move |(n, _)| name.is_empty() || *n == name)
        .map(|(_, value)| value)
}

/// Names of all cookies.
pub(super) fn names<'a>(
    head: &'a Head,
    response: bool,
    delimiter: u8,
    arena: &'a Arena,
) -> Value<'a> {
    let mut out = ArenaVec::new_in(arena);
    for (index, (name, _)) in pairs(head, response, 0).enumerate() {
        if index > 0 {
            out.push(delimiter);
        }
        out.extend_from_slice(name);
    }
    Value::Str(out.into_bump_slice())
}

/// All cookies. A list with no room for more than a name of `least` bytes and its sign is passed over, as haproxy does.
fn pairs(head: &Head, response: bool, least: usize) -> impl Iterator<Item = (&[u8], &[u8])> {
    let header: &[u8] = if response { b"set-cookie" } else { b"cookie" };
    head.values(header)
        .flat_map(|value| parts(value, false))
        .filter(move |list| list.len() > least + 1)
        .flat_map(move |list| Pairs {
            rest: Some(list),
            only_first: response && least > 0,
        })
}

/// `name=value` between semicolons. Of a Set-Cookie only the first is a cookie; where none is named, haproxy takes
/// its attributes for some as well.
struct Pairs<'a> {
    rest: Option<&'a [u8]>,
    only_first: bool,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.rest.take()?;
            let (pair, after) = cut(rest);
            if !self.only_first {
                self.rest = after;
            }
            if let Some(at) = memchr::memchr(b'=', pair) {
                let name = pair[..at].trim_ascii();
                if !name.starts_with(b"$") {
                    return Some((name, pair[at + 1..].trim_ascii()));
                }
            }
        }
    }
}

/// What stands before the first semicolon outside of quotes, and what follows it.
fn cut(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut quoted = false;
    for (at, &b) in text.iter().enumerate() {
        match b {
            b'"' => quoted = !quoted,
            b';' if !quoted => return (&text[..at], Some(&text[at + 1..])),
            _ => {}
        }
    }
    (text, None)
}
