//! Constants, and what the process, its proxies and its servers know of themselves (configuration.txt 7.3.2).

use super::{Fetch as Any, Making, Named, Scale};
use crate::lang::expr::is_var_name;
use crate::lang::sample::{Arena, Owned, Value, shown};
use crate::lang::subject::{Fact, ProxyRef, Scope, ServerRef, Subject};

#[derive(Clone, Debug)]
pub(in crate::lang) enum Fetch {
    Const(Owned),
    /// `date`: offset and scale; seconds or parts of them since the epoch.
    Date(i64, Scale),
    /// Microseconds within the second.
    DateUs,
    /// `rand`: one of as many numbers; 0: all 32 bits.
    Rand(u32),
    Uuid,
    /// `connslots`: free places in a backend's servers and their queues.
    ConnSlots(ProxyRef),
    ErrText(Fact),
    /// `%Tq`: handshake, idle time and request head; -1 where no head came.
    RequestTotal,
}

impl Fetch {
    pub(super) fn one<'a>(
        &'a self,
        subject: &'a dyn Subject,
        arena: &'a Arena,
    ) -> Option<Value<'a>> {
        Some(match self {
            Self::Const(value) => value.borrow(),
            Self::Date(offset, scale) => {
                let now = int(subject, Fact::NowUs)?;
                Value::Int(match scale {
                    Scale::Second => now / 1_000_000 + offset,
                    Scale::Millisecond => now / 1000 + offset,
                    Scale::Microsecond => now + offset,
                })
            }
            Self::DateUs => Value::Int(int(subject, Fact::NowUs)? % 1_000_000),
            Self::Rand(range) => {
                let number = int(subject, Fact::Random)? & 0xffff_ffff;
                Value::Int(match range {
                    0 => number,
                    range => (number * i64::from(*range)) >> 32,
                })
            }
            Self::Uuid => Value::Str(uuid(subject, arena)?),
            Self::ConnSlots(proxy) => subject.fact(Fact::BackSlots(*proxy))?,
            Self::RequestTotal => {
                let parts = [Fact::HandshakeMs, Fact::IdleMs, Fact::RequestHeadMs];
                let parts = parts.map(|fact| int(subject, fact).unwrap_or(-1));
                let known = |part: &i64| *part >= 0;
                Value::Int(if known(&parts[2]) {
                    parts.into_iter().filter(known).sum()
                } else {
                    -1
                })
            }
            Self::ErrText(fact) => match int(subject, *fact)? {
                0 => Value::Str(b"Success"),
                _ => return None,
            },
        })
    }
    pub(super) fn name_proxy(&mut self, proxy: ProxyRef) {
        if let Self::ConnSlots(of) = self {
            *of = proxy;
        }
    }
}

fn int(subject: &dyn Subject, fact: Fact) -> Option<i64> {
    match subject.fact(fact)? {
        Value::Int(number) => Some(number),
        _ => None,
    }
}

/// Version 4: random but for the six bits that say so (RFC 9562).
fn uuid<'a>(subject: &dyn Subject, arena: &'a Arena) -> Option<&'a [u8]> {
    let mut bits = 0u128;
    for _ in 0..4 {
        bits = bits << 32 | (int(subject, Fact::Random)? & 0xffff_ffff) as u128;
    }
    bits = bits & !(0xf << 76) | 0x4 << 76;
    bits = bits & !(0x3 << 62) | 0x2 << 62;
    Some(shown(
        arena,
        format_args!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            bits >> 96,
            bits >> 80 & 0xffff,
            bits >> 64 & 0xffff,
            bits >> 48 & 0xffff,
            bits & 0xffff_ffff_ffff
        ),
    ))
}

/// Puts the proxy that an argument names into a fact about one.
pub(super) fn name_proxy(fact: &mut Fact, proxy: ProxyRef) {
    use Fact::*;
    match fact {
        FrontConn(of) | FrontReqRate(of) | FrontSessRate(of) | BackConn(of) | BackConnFree(of)
        | BackSessRate(of) | BackQueue(of) | BackAvgQueue(of) | BackServers(of) | BackSlots(of) => {
            *of = proxy;
        }
        _ => {}
    }
}

/// Puts the server that an argument names into a fact about one.
pub(super) fn name_server(fact: &mut Fact, server: ServerRef) {
    use Fact::*;
    match fact {
        ServerConn(of)
        | ServerConnFree(of)
        | ServerIsUp(of)
        | ServerQueue(of)
        | ServerSessRate(of)
        | ServerWeight(of)
        | ServerInitialWeight(of)
        | ServerUserWeight(of) => *of = server,
        _ => {}
    }
}

// ---------------------------------------------------------------- readers of arguments

type Made = Result<Any, String>;

fn constant(value: Owned) -> Made {
    Ok(Any::Internal(Fetch::Const(value)))
}
pub(super) fn always_true(_: &mut Making<'_>) -> Made {
    constant(Owned::Bool(true))
}
pub(super) fn always_false(_: &mut Making<'_>) -> Made {
    constant(Owned::Bool(false))
}
pub(super) fn one(_: &mut Making<'_>) -> Made {
    constant(Owned::Int(1))
}
pub(super) fn bool(made: &mut Making<'_>) -> Made {
    let text = made.text(0);
    if text.eq_ignore_ascii_case(b"true") || text == b"1" {
        constant(Owned::Bool(true))
    } else if text.eq_ignore_ascii_case(b"false") || text == b"0" {
        constant(Owned::Bool(false))
    } else {
        Err("Expects 'true', 'false', '0' or '1'".to_owned())
    }
}
pub(super) fn int_const(made: &mut Making<'_>) -> Made {
    constant(Owned::Int(made.int(0).unwrap_or(0)))
}
pub(super) fn str_const(made: &mut Making<'_>) -> Made {
    constant(Owned::Str(made.text(0).into()))
}
pub(super) fn ip_const(made: &mut Making<'_>) -> Made {
    match made.args.first() {
        Some(super::Given::Ip(ip)) => constant(Owned::Ip(*ip)),
        _ => Err("expects an address".to_owned()),
    }
}
pub(super) fn meth_const(made: &mut Making<'_>) -> Made {
    constant(Owned::Method(made.text(0).into()))
}
pub(super) fn bin_const(made: &mut Making<'_>) -> Made {
    constant(Owned::Bin(unhex(made.text(0))?.into()))
}
pub(super) fn env(made: &mut Making<'_>) -> Made {
    let name = made.string(0);
    // A variable that is not set gives nothing, not an empty text.
    Ok(match (made.env)(&name) {
        Some(value) => Any::Internal(Fetch::Const(Owned::Str(value.into_bytes().into()))),
        None => Any::Absent,
    })
}

/// Bytes of an even number of hexadecimal digits.
///
/// # Errors
/// haproxy's words about them.
pub fn unhex(text: &[u8]) -> Result<Vec<u8>, String> {
    let digit = |b: u8| {
        char::from(b)
            .to_digit(16)
            .ok_or_else(|| format!("an hex digit is expected (found '{}')", char::from(b)))
    };
    if !text.len().is_multiple_of(2) {
        return Err("an even number of hex digit is expected".to_owned());
    }
    text.chunks_exact(2)
        .map(|pair| Ok((digit(pair[0])? << 4 | digit(pair[1])?) as u8))
        .collect()
}

fn scale(unit: &[u8]) -> Result<Scale, String> {
    match unit {
        b"" | b"s" => Ok(Scale::Second),
        b"ms" => Ok(Scale::Millisecond),
        b"us" => Ok(Scale::Microsecond),
        other => Err(format!(
            "expects 's', 'ms' or 'us', got '{}'",
            String::from_utf8_lossy(other)
        )),
    }
}
pub(super) fn date(made: &mut Making<'_>) -> Made {
    let offset = made.int(0).unwrap_or(0);
    Ok(Any::Internal(Fetch::Date(offset, scale(made.text(1))?)))
}
pub(super) fn date_us(_: &mut Making<'_>) -> Made {
    Ok(Any::Internal(Fetch::DateUs))
}
pub(super) fn accept_date(made: &mut Making<'_>) -> Made {
    Ok(Any::FactUs(Fact::AcceptDateUs, scale(made.text(0))?))
}
pub(super) fn request_date(made: &mut Making<'_>) -> Made {
    Ok(Any::FactUs(Fact::RequestDateUs, scale(made.text(0))?))
}
/// `fc_rtt` and its kin: milliseconds unless microseconds are asked for.
pub(super) fn rtt(made: &Making<'_>, fact: Fact) -> Made {
    match made.text(0) {
        b"" | b"ms" => Ok(Any::FactUs(fact, Scale::Millisecond)),
        b"us" => Ok(Any::FactUs(fact, Scale::Microsecond)),
        other => Err(format!(
            "expects 'us' or 'ms', got '{}'",
            String::from_utf8_lossy(other)
        )),
    }
}
pub(super) fn rand(made: &mut Making<'_>) -> Made {
    let range = u32::try_from(made.int(0).unwrap_or(0)).unwrap_or(0);
    Ok(Any::Internal(Fetch::Rand(range)))
}
pub(super) fn uuid_version(made: &mut Making<'_>) -> Made {
    match made.int(0).unwrap_or(4) {
        4 => Ok(Any::Internal(Fetch::Uuid)),
        other => Err(format!("Unsupported UUID version: '{other}'")),
    }
}
pub(super) fn connslots(made: &mut Making<'_>) -> Made {
    refer_proxy(made, super::Reference::Backend, super::Side::Back);
    Ok(Any::Internal(Fetch::ConnSlots(None)))
}
pub(super) fn request_total(_: &mut Making<'_>) -> Made {
    Ok(Any::Internal(Fetch::RequestTotal))
}
pub(super) fn err_text(fact: Fact) -> Made {
    Ok(Any::Internal(Fetch::ErrText(fact)))
}

/// Keeps the name in the first argument, where there is one, to be settled.
pub(super) fn refer(made: &mut Making<'_>, kind: fn(String) -> super::Reference) {
    let name = made.string(0);
    if !name.is_empty() {
        made.refs.push(kind(name));
    }
}
/// The same for a proxy; without a name it is the one at hand.
fn refer_proxy(made: &mut Making<'_>, kind: fn(String) -> super::Reference, side: super::Side) {
    refer(made, kind);
    if made.refs.is_empty() {
        made.refs.push(super::Reference::Here(side));
    }
}
pub(super) fn of_frontend(made: &mut Making<'_>, fact: Fact) -> Made {
    refer_proxy(made, super::Reference::Frontend, super::Side::Front);
    Ok(Any::Fact(fact))
}
pub(super) fn of_backend(made: &mut Making<'_>, fact: Fact) -> Made {
    refer_proxy(made, super::Reference::Backend, super::Side::Back);
    Ok(Any::Fact(fact))
}
pub(super) fn of_server(made: &mut Making<'_>, fact: Fact) -> Made {
    refer(made, super::Reference::Server);
    Ok(Any::Fact(fact))
}

/// `var(<scope>.<name>[,<default>])`.
pub(super) fn var(made: &mut Making<'_>) -> Made {
    let name = made.string(0);
    let id = var_id(&name, made.vars)?;
    Ok(match made.args.get(1) {
        Some(super::Given::Str(default)) => Any::VarOr(id, default.clone().into()),
        _ => Any::Var(id),
    })
}

/// Reads the name of a variable, scope and all.
pub(in crate::lang) fn var_id(
    name: &str,
    vars: &mut crate::lang::expr::VarNames,
) -> Result<crate::lang::subject::VarId, String> {
    if name.is_empty() {
        return Err("Empty variable name cannot be accepted".to_owned());
    }
    let scope = name.split_once('.').and_then(|(scope, rest)| {
        let scope = match scope {
            "proc" => Scope::Proc,
            "sess" => Scope::Sess,
            "txn" => Scope::Txn,
            "req" => Scope::Req,
            "res" => Scope::Res,
            "check" => Scope::Check,
            _ => return None,
        };
        (!rest.is_empty()).then_some((scope, rest))
    });
    let Some((scope, rest)) = scope else {
        return Err(format!(
            "invalid variable name '{name}'. A variable name must be start by its scope. The scope can be 'proc', 'sess', 'txn', 'req', 'res' or 'check'"
        ));
    };
    if let Some(at) = rest.find(|c: char| !is_var_name(c)) {
        return Err(format!("invalid syntax at char '{}'", &rest[at..]));
    }
    Ok(vars.id(scope, rest))
}

/// `acl(name[,…])`.
pub(super) fn acl(made: &mut Making<'_>) -> Made {
    let named = (0..made.args.len()).map(|index| {
        let text = made.string(index);
        let name = text.trim_start_matches('!');
        Named {
            name: name.to_owned(),
            negated: (text.len() - name.len()) % 2 == 1,
            tests: Vec::new(),
        }
    });
    Ok(Any::Acl(named.collect()))
}
