//! Addresses: masks, and hosts with ports as a Host header has them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Eval;
use super::args::Args;
use crate::lang::expr::Fault;
use crate::lang::sample::Value;

#[derive(Clone, Debug)]
pub(super) enum Op {
    /// Masks for IPv4 and IPv6. Without the second one an IPv6 address gives nothing.
    Mask(u32, Option<u128>),
    HostOnly,
    PortOnly,
}

impl Op {
    pub(super) fn apply<'a>(&self, value: Value<'a>, eval: Eval<'a>) -> Option<Value<'a>> {
        match (self, value) {
            (Self::Mask(mask4, mask6), Value::Ip(ip)) => masked(ip, *mask4, *mask6).map(Value::Ip),
            (Self::HostOnly, Value::Str(text)) => {
                let host = eval.arena.alloc_slice_copy(host_port(text).0);
                host.make_ascii_lowercase();
                Some(Value::Str(host))
            }
            (Self::PortOnly, Value::Str(text)) => Some(Value::Int(port(host_port(text).1).into())),
            _ => None,
        }
    }
}

/// IPv4 addresses mapped into IPv6 are IPv4 addresses here.
fn masked(ip: IpAddr, mask4: u32, mask6: Option<u128>) -> Option<IpAddr> {
    let v4 = match ip {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(v6) => v6.to_ipv4_mapped(),
    };
    if let Some(v4) = v4 {
        return Some(Ipv4Addr::from(u32::from(v4) & mask4).into());
    }
    let IpAddr::V6(v6) = ip else {
        return None;
    };
    Some(Ipv6Addr::from(u128::from(v6) & mask6?).into())
}

/// What is before the last colon and after it, unless a bracket closes behind that colon.
fn host_port(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().rposition(|c| matches!(c, b':' | b']')) {
        Some(at) if text[at] == b':' => (&text[..at], &text[at + 1..]),
        _ => (text, &[]),
    }
}

/// As haproxy reads a port here: every byte counts as a digit, and nothing is checked.
fn port(text: &[u8]) -> u32 {
    text.iter().fold(0_u32, |port, &c| {
        port.wrapping_mul(10)
            .wrapping_add(u32::from(c).wrapping_sub(u32::from(b'0')))
    })
}

pub(super) fn ipmask(args: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    let mask4 = args.mask4(0).unwrap_or(u32::MAX);
    Ok(super::Op::Address(Op::Mask(mask4, args.mask6(1))))
}

pub(super) fn host_only(_: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    Ok(super::Op::Address(Op::HostOnly))
}

pub(super) fn port_only(_: &mut Args<'_, '_>) -> Result<super::Op, Fault> {
    Ok(super::Op::Address(Op::PortOnly))
}
