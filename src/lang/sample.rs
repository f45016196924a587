//! Typed samples (configuration.txt 7.3): what fetches give, converters change and ACLs match.
//!
//! A [`Value`] borrows from what was asked or from an [`Arena`] that lives for one evaluation and is
//! reset afterwards, keeping its memory: evaluation allocates nothing in steady state.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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

    /// Whether a converter of input `to` may stand behind a sample of this type. Even so a cast may fail on a
    /// particular value, as an empty text does where a number is wanted.
    ///
    /// Found by asking haproxy for each pair: `converter 'x' cannot be applied.` otherwise.
    pub fn casts_to(self, to: Self) -> bool {
        use Kind::{Addr, Any, Bin, Bool, Int, Method, Str};
        matches!(
            (self, to),
            (Any, _)
                | (_, Any | Str)
                | (Bool, Bool | Int | Bin)
                | (Int, Bool | Int | Addr | Bin)
                | (Addr, Int | Addr | Bin)
                | (Str, Bool | Int | Addr | Bin | Method)
                | (Bin | Method, Bin | Method)
        )
    }
}

impl<'a> Value<'a> {
    /// The sample as another type, as haproxy casts between a fetch or converter and the next one. `None`: there is
    /// no sample then; see [`Kind::casts_to`] for what never works.
    pub fn cast(self, to: Kind, arena: &'a Arena) -> Option<Self> {
        if to == self.kind() {
            return Some(self);
        }
        match to {
            Kind::Any => Some(self),
            Kind::Bool if self.kind() == Kind::Addr => None,
            Kind::Bool => self.to_int().map(|n| Self::Bool(n != 0)),
            Kind::Int => self.to_int().map(Self::Int),
            Kind::Addr => self.to_addr().map(Self::Ip),
            Kind::Str => Some(Self::Str(self.text(arena))),
            Kind::Bin => Some(Self::Bin(self.binary(arena))),
            Kind::Method => match self {
                Self::Str(v) | Self::Bin(v) => Some(Self::Method(v)),
                _ => None,
            },
        }
    }

    /// The text form of any sample. Binary ends at its first NUL byte, and is not changed otherwise.
    pub fn text(self, arena: &'a Arena) -> &'a [u8] {
        match self {
            Self::Bool(v) => {
                if v {
                    b"1"
                } else {
                    b"0"
                }
            }
            Self::Int(v) => decimal(v, arena),
            Self::Ip(v) => address(v, arena),
            Self::Str(v) | Self::Method(v) => v,
            Self::Bin(v) => memchr::memchr(0, v).map_or(v, |end| &v[..end]),
        }
    }

    /// The bytes of any sample: numbers as eight bytes, addresses as four or sixteen, all in network order.
    pub fn binary(self, arena: &'a Arena) -> &'a [u8] {
        match self {
            Self::Bool(v) => arena.alloc_slice_copy(&i64::from(v).to_be_bytes()),
            Self::Int(v) => arena.alloc_slice_copy(&v.to_be_bytes()),
            Self::Ip(IpAddr::V4(v)) => arena.alloc_slice_copy(&v.octets()),
            Self::Ip(IpAddr::V6(v)) => arena.alloc_slice_copy(&v.octets()),
            Self::Str(v) | Self::Bin(v) | Self::Method(v) => v,
        }
    }

    fn to_int(self) -> Option<i64> {
        match self {
            Self::Bool(v) => Some(i64::from(v)),
            Self::Int(v) => Some(v),
            Self::Ip(IpAddr::V4(v)) => Some(i64::from(u32::from(v))),
            Self::Str(v) => (!v.is_empty()).then(|| leading_int(v)),
            Self::Ip(IpAddr::V6(_)) | Self::Bin(_) | Self::Method(_) => None,
        }
    }

    fn to_addr(self) -> Option<IpAddr> {
        match self {
            // The low half of the number, as it is written on the wire.
            Self::Int(v) => Some(Ipv4Addr::from(v as u32).into()),
            Self::Ip(v) => Some(v),
            Self::Str(v) => parse_addr(v),
            Self::Bool(_) | Self::Bin(_) | Self::Method(_) => None,
        }
    }
}

/// The number a text begins with: a sign and decimal digits, as far as they go; 0 where there are none. Saturates.
pub fn leading_int(text: &[u8]) -> i64 {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let mut n = 0_i64;
    for c in digits.iter().take_while(|c| c.is_ascii_digit()) {
        let digit = i64::from(c - b'0');
        let next = n.checked_mul(10);
        let next = next.and_then(|n| {
            if negative {
                n.checked_sub(digit)
            } else {
                n.checked_add(digit)
            }
        });
        match next {
            Some(next) => n = next,
            None => return if negative { i64::MIN } else { i64::MAX },
        }
    }
    n
}

/// An address in a text. What follows an IPv4 address, such as a port, does not count; an IPv6 address stands alone.
pub fn parse_addr(text: &[u8]) -> Option<IpAddr> {
    if let Some(v4) = parse_v4(text) {
        return Some(v4.into());
    }
    let text = std::str::from_utf8(text).ok()?;
    text.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}

/// Four decimal numbers up to 255 with any leading zeros; the last one is followed by neither a digit nor a dot.
fn parse_v4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0_u8; 4];
    let mut rest = text;
    for (i, octet) in octets.iter_mut().enumerate() {
        let len = rest.iter().take_while(|c| c.is_ascii_digit()).count();
        let digits = &rest[..len];
        if digits.is_empty() {
            return None;
        }
        *octet = u8::try_from(leading_int(digits)).ok()?;
        rest = &rest[len..];
        let dotted = rest.first() == Some(&b'.');
        if dotted != (i < 3) {
            return None;
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    Some(octets.into())
}

/// Decimal text of a number, in the arena.
pub fn decimal(n: i64, arena: &Arena) -> &[u8] {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut rest = n.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b"0123456789"[(rest % 10) as usize];
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if n < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    arena.alloc_slice_copy(&digits[at..])
}

/// As inet_ntop writes it: Rust's way, but for the addresses that hold an IPv4 address behind twelve zero bytes.
fn address(ip: IpAddr, arena: &Arena) -> &[u8] {
    match ip {
        IpAddr::V6(v6) if v6.segments()[..6] == [0; 6] && v6.segments()[6] != 0 => {
            let [.., a, b, c, d] = v6.octets();
            shown(arena, format_args!("::{a}.{b}.{c}.{d}"))
        }
        _ => shown(arena, format_args!("{ip}")),
    }
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

/// [`Value::cast`].
pub fn cast<'a>(value: Value<'a>, to: Kind, arena: &'a Arena) -> Option<Value<'a>> {
    value.cast(to, arena)
}

/// Text of anything that can be shown, in the arena.
pub fn shown<'a>(arena: &'a Arena, what: std::fmt::Arguments<'_>) -> &'a [u8] {
    use std::fmt::Write;
    let mut out = bumpalo::collections::String::with_capacity_in(40, arena);
    // Writing to a string cannot fail.
    let _: std::fmt::Result = out.write_fmt(what);
    out.into_bump_str().as_bytes()
}

#[cfg(test)]
mod tests;
