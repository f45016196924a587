//! Typed samples (configuration.txt 7.3): what fetches give, converters change and ACLs match.
//!
//! A [`Value`] borrows from what was asked or from an [`Arena`] that lives for one evaluation and is
//! reset afterwards, keeping its memory: evaluation allocates nothing in steady state.

use std::net::IpAddr;

/// Where converters put what they make.
pub type Arena = bumpalo::Bump;

/// One sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Bool(bool),
    Int(i64),
    Ip(IpAddr),
    /// Text; need not be UTF-8.
    Str(&'a [u8]),
    Bin(&'a [u8]),
    /// An HTTP method, which `-m str` compares exactly and ACLs compare by name.
    Method(&'a [u8]),
}

/// Types of samples, as haproxy names them in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Any,
    Bool,
    Int,
    Addr,
    Str,
    Bin,
    Method,
}

/// A sample that outlives its evaluation: in a variable or a capture.
#[derive(Clone, Debug, PartialEq)]
pub enum Owned {
    Bool(bool),
    Int(i64),
    Ip(IpAddr),
    Str(Box<[u8]>),
    Bin(Box<[u8]>),
    Method(Box<[u8]>),
}

impl Value<'_> {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Bool(_) => Kind::Bool,
            Self::Int(_) => Kind::Int,
            Self::Ip(_) => Kind::Addr,
            Self::Str(_) => Kind::Str,
            Self::Bin(_) => Kind::Bin,
            Self::Method(_) => Kind::Method,
        }
    }
    pub fn to_owned(self) -> Owned {
        match self {
            Self::Bool(v) => Owned::Bool(v),
            Self::Int(v) => Owned::Int(v),
            Self::Ip(v) => Owned::Ip(v),
            Self::Str(v) => Owned::Str(v.into()),
            Self::Bin(v) => Owned::Bin(v.into()),
            Self::Method(v) => Owned::Method(v.into()),
        }
    }
}

impl Owned {
    pub fn borrow(&self) -> Value<'_> {
        match self {
            Self::Bool(v) => Value::Bool(*v),
            Self::Int(v) => Value::Int(*v),
            Self::Ip(v) => Value::Ip(*v),
            Self::Str(v) => Value::Str(v),
            Self::Bin(v) => Value::Bin(v),
            Self::Method(v) => Value::Method(v),
        }
    }
    /// Bytes of memory it counts with against `tune.vars.*-max-size`.
    pub fn size(&self) -> usize {
        match self {
            Self::Str(v) | Self::Bin(v) | Self::Method(v) => v.len(),
            _ => 0,
        }
    }
}

impl Kind {
    /// Its name in haproxy's messages and lists.
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Bool => "bool",
            Self::Int => "sint",
            Self::Addr => "addr",
            Self::Str => "str",
            Self::Bin => "bin",
            Self::Method => "meth",
        }
    }

    /// Whether a sample of this type may be turned into one of type `to`; [`cast`] may still find that one
    /// value cannot be (a word that is no number).
    pub fn casts_to(self, to: Self) -> bool {
        use Kind::{Addr, Any, Bin, Bool, Int, Method, Str};
        match (self, to) {
            (Any, _) | (_, Any) | (Str, _) => true,
            (from, to) if from == to => true,
            (Bool, Int | Str | Bin) => true,
            (Int, Bool | Addr | Str | Bin) => true,
            (Addr, Int | Str | Bin) => true,
            (Bin, Str | Method) => true,
            (Method, Str | Bin) => true,
            _ => false,
        }
    }
}

/// The sample as one of type `to`, by haproxy's rules: numbers as decimal text, text as the number it begins with,
/// addresses as text, as a number (IPv4) or as their bytes. `None`: it has no such form.
pub fn cast<'a>(value: Value<'a>, to: Kind, arena: &'a Arena) -> Option<Value<'a>> {
    Some(match (value, to) {
        (value, Kind::Any) => value,
        (value, to) if value.kind() == to => value,
        (Value::Bool(v), Kind::Int) => Value::Int(v.into()),
        (Value::Bool(v), Kind::Str) => Value::Str(if v { b"1" } else { b"0" }),
        (Value::Bool(v), Kind::Bin) => {
            Value::Bin(arena.alloc_slice_copy(&i64::from(v).to_be_bytes()))
        }
        (Value::Int(v), Kind::Bool) => Value::Bool(v != 0),
        (Value::Int(v), Kind::Addr) => Value::Ip(IpAddr::V4((v as u32).into())),
        (Value::Int(v), Kind::Str) => Value::Str(decimal(v, arena)),
        (Value::Int(v), Kind::Bin) => Value::Bin(arena.alloc_slice_copy(&v.to_be_bytes())),
        (Value::Ip(v), Kind::Int) => Value::Int(v4(v)?.to_bits().into()),
        (Value::Ip(v), Kind::Str) => Value::Str(shown(arena, format_args!("{v}"))),
        (Value::Ip(IpAddr::V4(v)), Kind::Bin) => Value::Bin(arena.alloc_slice_copy(&v.octets())),
        (Value::Ip(IpAddr::V6(v)), Kind::Bin) => Value::Bin(arena.alloc_slice_copy(&v.octets())),
        (Value::Str(v), Kind::Bool) => Value::Bool(leading_int(v)? != 0),
        (Value::Str(v), Kind::Int) => Value::Int(leading_int(v)?),
        (Value::Str(v), Kind::Addr) => Value::Ip(str::from_utf8(v).ok()?.parse().ok()?),
        (Value::Str(v), Kind::Bin) => Value::Bin(v),
        (Value::Str(v) | Value::Bin(v), Kind::Method) => Value::Method(v),
        (Value::Bin(v) | Value::Method(v), Kind::Str) => Value::Str(v),
        (Value::Method(v), Kind::Bin) => Value::Bin(v),
        _ => return None,
    })
}

/// The IPv4 address, also of one mapped into IPv6.
fn v4(ip: IpAddr) -> Option<std::net::Ipv4Addr> {
    match ip.to_canonical() {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}

/// Text of anything that can be shown, in the arena.
pub fn shown<'a>(arena: &'a Arena, what: std::fmt::Arguments<'_>) -> &'a [u8] {
    use std::fmt::Write;
    let mut out = bumpalo::collections::String::new_in(arena);
    // Writing to a string cannot fail.
    let _: std::fmt::Result = out.write_fmt(what);
    out.into_bump_str().as_bytes()
}

/// Decimal text of a number, in the arena.
pub fn decimal(number: i64, arena: &Arena) -> &[u8] {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut left = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    if number < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    arena.alloc_slice_copy(&digits[at..])
}

/// The number at the start of a text; what follows it is passed over. `None`: it does not begin with one.
pub fn leading_int(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let end = digits
        .iter()
        .position(|b| !b.is_ascii_digit())
        .unwrap_or(digits.len());
    if end == 0 {
        return None;
    }
    let add = |sum: i64, digit: &u8| {
        let digit = i64::from(digit - b'0');
        let sum = sum.saturating_mul(10);
        if negative {
            sum.saturating_sub(digit)
        } else {
            sum.saturating_add(digit)
        }
    };
    Some(digits[..end].iter().fold(0, add))
}
