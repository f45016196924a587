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
