//! The Forwarded header (RFC 7239): its parts, and the names and ports of nodes.
//!
//! One element of the header: `hdr()` splits a list at its commas already.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::args::Args;
use crate::lang::expr::Fault;
use crate::lang::sample::Value;

#[derive(Clone, Debug)]
pub(super) enum Op {
    IsValid,
    Field(&'static str),
    NodeName,
    NodePort,
}

const FIELDS: [&str; 4] = ["by", "for", "host", "proto"];

impl Op {
    pub(super) fn apply<'a>(&self, text: &'a [u8]) -> Option<Value<'a>> {
        match self {
            Self::IsValid => Some(Value::Bool(parameters(text).is_some())),
            Self::Field(name) => {
                let all = parameters(text)?;
                let at = FIELDS.iter().position(|field| field == name)?;
                all[at].map(Value::Str)
            }
            Self::NodeName => match node(text)?.0 {
                Name::V4(ip) => Some(Value::Ip(ip.into())),
                Name::V6(ip) => Some(Value::Ip(ip.into())),
                Name::Word(word) => Some(Value::Str(word)),
            },
            Self::NodePort => match node(text)?.1? {
                port @ [b'_', ..] => Some(Value::Str(port)),
                digits => Some(Value::Int(crate::lang::sample::leading_int(digits))),
            },
        }
    }
}

/// Values of [`FIELDS`], without quotes. `None`: not as the RFC has it.
fn parameters(text: &[u8]) -> Option<[Option<&[u8]>; 4]> {
    let mut values = [None; 4];
    let mut rest = text;
    loop {
        rest = rest.trim_ascii_start();
        let equals = memchr::memchr(b'=', rest)?;
        let name = &rest[..equals];
        let at = FIELDS
            .iter()
            .position(|field| field.as_bytes().eq_ignore_ascii_case(name))?;
        let (value, after) = value(&rest[equals + 1..])?;
        let well = match FIELDS[at] {
            "proto" => value.eq_ignore_ascii_case(b"http") || value.eq_ignore_ascii_case(b"https"),
            "host" => is_host(value),
            _ => node(value).is_some(),
        };
        if !well || values[at].replace(value).is_some() {
            return None;
        }
        match after.trim_ascii_start() {
            [] => return Some(values),
            [b';', after @ ..] => rest = after,
            _ => return None,
        }
    }
}

/// A token, or a text in quotes (without escapes: nothing that is valid here needs one), and what follows.
fn value(text: &[u8]) -> Option<(&[u8], &[u8])> {
    if let Some(quoted) = text.strip_prefix(b"\"") {
        let end = memchr::memchr(b'"', quoted)?;
        return Some((&quoted[..end], &quoted[end + 1..]));
    }
    let is_token = |c: &u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(c);
    let end = text.iter().take_while(|c| is_token(c)).count();
    (end > 0).then(|| text.split_at(end))
}

fn is_host(text: &[u8]) -> bool {
    let within = |c: &u8| c.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(c);
    !text.is_empty() && text.iter().all(within)
}

enum Name<'t> {
    V4(Ipv4Addr),
    V6(Ipv6Addr),
    /// `unknown`, or one that hides who it is.
    Word(&'t [u8]),
}

/// The name of a node and its port.
fn node(text: &[u8]) -> Option<(Name<'_>, Option<&[u8]>)> {
    let (name, rest) = if let Some(inside) = text.strip_prefix(b"[") {
        let end = memchr::memchr(b']', inside)?;
        let ip = std::str::from_utf8(&inside[..end]).ok()?.parse().ok()?;
        (Name::V6(ip), &inside[end + 1..])
    } else {
        let end = memchr::memchr(b':', text).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let ip = std::str::from_utf8(name).ok().and_then(|n| n.parse().ok());
        let name = match ip {
            Some(ip) => Name::V4(ip),
            None if name.eq_ignore_ascii_case(b"unknown") || is_hidden(name) => Name::Word(name),
            None => return None,
        };
        (name, rest)
    };
    let Some((_, port)) = rest.split_first().filter(|(c, _)| **c == b':') else {
        return rest.is_empty().then_some((name, None));
    };
    let digits = (1..=5).contains(&port.len()) && port.iter().all(u8::is_ascii_digit);
    (digits || is_hidden(port)).then_some((name, Some(port)))
}

/// An identifier that says nothing of the node: an underscore and more.
fn is_hidden(text: &[u8]) -> bool {
    let within = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    text.len() > 1 && text[0] == b'_' && text.iter().all(within)
}

pub(super) fn is_valid(_: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    Ok(super::Op::Forwarded(Op::IsValid))
}

pub(super) fn field(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    let name = args.lossy(0);
    match FIELDS.into_iter().find(|field| *field == name) {
        Some(field) => Ok(super::Op::Forwarded(Op::Field(field))),
        None => Err(args
            .wrong(0, format!("invalid rfc7239 field '{name}'"))
            .help(format!("one of: {}", FIELDS.join(", ")))),
    }
}

pub(super) fn node_name(_: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    Ok(super::Op::Forwarded(Op::NodeName))
}

pub(super) fn node_port(_: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    Ok(super::Op::Forwarded(Op::NodePort))
}
