//! Header fields: whole values, or the parts between their commas.

use std::net::IpAddr;

use bumpalo::collections::Vec as ArenaVec;

use super::super::Making;
use crate::lang::sample::{Arena, Value, leading_int, parse_addr};
use crate::proto::http::Head;

/// Which values of a message's fields.
#[derive(Clone, Debug)]
pub(in crate::lang) struct Header {
    /// Lower case; empty: every field.
    name: Box<[u8]>,
    /// 1 the first, -1 the last; 0: all of them in ACLs, else the last.
    occurrence: i64,
    /// Commas do not split.
    full: bool,
    /// No parentheses at all: no value outside of ACLs, as in haproxy.
    nothing_said: bool,
}

/// What a value is turned into; one that cannot be is passed over.
#[derive(Clone, Copy, Debug)]
pub(in crate::lang) enum HeaderAs {
    Text,
    Number,
    Address,
}

/// Occurrences counted from the end, at most.
const BACKWARDS_MAX: i64 = 10;

impl Header {
    pub(super) fn read(given: &Making<'_>, full: bool) -> Result<Self, String> {
        let occurrence = given.int(1).unwrap_or(0);
        let name = given.text(0);
        if occurrence < -BACKWARDS_MAX {
            return Err(format!("header occurrence must be >= -{BACKWARDS_MAX}"));
        }
        Ok(Self {
            name: name.to_ascii_lowercase().into(),
            occurrence,
            full,
            nothing_said: !given.parentheses,
        })
    }

    pub(super) fn values<'a>(&'a self, head: &'a Head) -> impl Iterator<Item = &'a [u8]> {
        head.fields()
            .filter(|(name, _)| self.name.is_empty() || *name == &*self.name)
            .flat_map(|(_, value)| parts(value, self.full))
    }

    /// Whether it gives all values in ACLs.
    pub(super) fn iterates(&self) -> bool {
        self.occurrence == 0 && !self.nothing_said
    }

    /// The one value meant outside of ACLs.
    pub(super) fn one<'a>(&'a self, head: &'a Head) -> Option<&'a [u8]> {
        match self.occurrence {
            0 if self.nothing_said => None,
            0 | -1 => self.values(head).last(),
            n if n > 0 => self.values(head).nth(n as usize - 1),
            n => {
                let before = self.values(head).count().checked_sub(-n as usize)?;
                self.values(head).nth(before)
            }
        }
    }
}

/// The parts of a value between commas that no quotes enclose, trimmed; all of it if `full`.
pub(super) fn parts(value: &[u8], full: bool) -> impl Iterator<Item = &[u8]> {
    Parts {
        rest: Some(value),
        full,
    }
}

struct Parts<'a> {
    rest: Option<&'a [u8]>,
    full: bool,
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a [u8];
    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.take()?;
        if self.full {
            return Some(rest);
        }
        let end = part_end(rest);
        if end < rest.len() {
            self.rest = Some(&rest[end + 1..]);
        }
        Some(trim(&rest[..end]))
    }
}

fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Offset of the comma that ends the first part, or the length.
fn part_end(value: &[u8]) -> usize {
    let mut at = 0;
    let mut quoted = false;
    while let Some(&b) = value.get(at) {
        match b {
            b'"' => quoted = !quoted,
            b'\\' if quoted => at += 1,
            b',' if !quoted => return at,
            _ if !quoted => match memchr::memchr2(b',', b'"', &value[at..]) {
                Some(more) => {
                    at += more;
                    continue;
                }
                None => return value.len(),
            },
            _ => {}
        }
        at += 1;
    }
    value.len()
}

impl HeaderAs {
    pub(super) fn of(self, value: &[u8]) -> Option<Value<'_>> {
        match self {
            Self::Text => Some(Value::Str(value)),
            Self::Number => Some(Value::Int(leading_int(value))),
            Self::Address => address(value).map(Value::Ip),
        }
    }
}

/// An address alone, or an IPv4 address with a port. Brackets and quotes make it none, as in haproxy.
fn address(value: &[u8]) -> Option<IpAddr> {
    let colon = memchr::memchr(b':', value).unwrap_or(value.len());
    let (host, port) = value.split_at(colon);
    if !host.iter().all(|b| b.is_ascii_digit() || *b == b'.') {
        return str::from_utf8(value).ok()?.parse().ok().map(IpAddr::V6);
    }
    match parse_addr(host) {
        Some(ip) if port.is_empty() || is_port(port) => Some(ip),
        _ => str::from_utf8(value).ok()?.parse().ok().map(IpAddr::V6),
    }
}

/// A colon and a number of at most 16 bits.
fn is_port(text: &[u8]) -> bool {
    let digits = str::from_utf8(&text[1..]).unwrap_or("");
    digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok()
}

/// Names of all fields.
pub(super) fn names<'a>(head: &Head, delimiter: u8, arena: &'a Arena) -> Value<'a> {
    let mut out = ArenaVec::new_in(arena);
    for (index, (name, _)) in head.fields().enumerate() {
        if index > 0 {
            out.push(delimiter);
        }
        out.extend_from_slice(name);
    }
    Value::Str(out.into_bump_slice())
}

/// The fields as HTTP/1 writes them, with the empty line.
pub(super) fn text<'a>(head: &Head, arena: &'a Arena) -> Value<'a> {
    let mut out = ArenaVec::with_capacity_in(head.wire_len(), arena);
    for (name, value) in head.fields() {
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    Value::Str(out.into_bump_slice())
}

/// Names and values, each behind its length; an empty name and value end the list.
pub(super) fn binary<'a>(head: &Head, arena: &'a Arena) -> Value<'a> {
    let mut out = ArenaVec::with_capacity_in(head.wire_len(), arena);
    for (name, value) in head.fields() {
        for text in [name, value] {
            varint(&mut out, text.len() as u64);
            out.extend_from_slice(text);
        }
    }
    out.extend_from_slice(&[0, 0]);
    Value::Bin(out.into_bump_slice())
}

/// A number as SPOE writes it (SPOE.txt 3.1): below 240 one byte, then 4 bits and 7 by 7.
fn varint(out: &mut ArenaVec<'_, u8>, mut number: u64) {
    if number < 240 {
        out.push(number as u8);
        return;
    }
    out.push(number as u8 | 240);
    number = (number - 240) >> 4;
    while number >= 128 {
        out.push(number as u8 | 128);
        number = (number - 128) >> 7;
    }
    out.push(number as u8);
}
