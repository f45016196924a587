//! An address that an operator put in place of the file's: written rarely and under the lock of changes, read
//! by every connection without waiting for anybody.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::*, fence};

use crate::config::{ServerAddress, ServerPort};

/// The words of an address and a number that is odd while they are written (a sequence lock of one writer).
#[derive(Debug, Default)]
pub struct Place {
    version: AtomicU32,
    high: AtomicU64,
    low: AtomicU64,
    /// The port's bits below, then [`MAPPED`] and [`V4`].
    rest: AtomicU64,
}

const MAPPED: u64 = 1 << 32;
const V4: u64 = 1 << 33;

impl Place {
    /// How often it was set; 0: never.
    pub fn moves(&self) -> u32 {
        self.version.load(Acquire) / 2
    }

    /// `None`: the file's counts.
    pub fn get(&self) -> Option<(IpAddr, ServerPort)> {
        loop {
            let before = self.version.load(Acquire);
            if before == 0 {
                return None;
            }
            let words = (
                self.high.load(Relaxed),
                self.low.load(Relaxed),
                self.rest.load(Relaxed),
            );
            fence(Acquire);
            if before.is_multiple_of(2) && self.version.load(Relaxed) == before {
                return Some(unpack(words));
            }
            std::hint::spin_loop();
        }
    }

    /// One writer at a time: the caller holds the lock of changes.
    pub fn set(&self, ip: IpAddr, port: ServerPort) {
        let (high, low, rest) = pack(ip, port);
        let before = self.version.load(Relaxed);
        self.version.store(before + 1, Relaxed);
        fence(Release);
        self.high.store(high, Relaxed);
        self.low.store(low, Relaxed);
        self.rest.store(rest, Relaxed);
        self.version.store(before.wrapping_add(2).max(2), Release);
    }

    /// The address in force: this one, or the file's.
    pub fn or<'a>(&self, written: &'a ServerAddress) -> Cow<'a, ServerAddress> {
        match self.get() {
            Some((ip, port)) => Cow::Owned(ServerAddress::Ip { ip, port }),
            None => Cow::Borrowed(written),
        }
    }
}

fn pack(ip: IpAddr, port: ServerPort) -> (u64, u64, u64) {
    let (bits, family) = match ip {
        IpAddr::V4(ip) => (ip.to_ipv6_mapped().to_bits(), V4),
        IpAddr::V6(ip) => (ip.to_bits(), 0),
    };
    let port = match port {
        ServerPort::Fixed(port) => u64::from(port),
        ServerPort::Mapped(by) => u64::from(by as u32) | MAPPED,
    };
    ((bits >> 64) as u64, bits as u64, port | family)
}

fn unpack((high, low, rest): (u64, u64, u64)) -> (IpAddr, ServerPort) {
    let wide = Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low));
    let ip = match wide.to_ipv4_mapped() {
        Some(ip) if rest & V4 != 0 => IpAddr::V4(ip),
        _ => IpAddr::V6(wide),
    };
    let port = if rest & MAPPED != 0 {
        ServerPort::Mapped(rest as u32 as i32)
    } else {
        ServerPort::Fixed(rest as u16)
    };
    (ip, port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_back_as_it_was_put() {
        let place = Place::default();
        assert_eq!((place.get(), place.moves()), (None, 0));
        for (ip, port) in [
            ("127.0.0.2", ServerPort::Fixed(80)),
            ("::1", ServerPort::Fixed(65535)),
            ("::ffff:1.2.3.4", ServerPort::Mapped(-1)),
            ("10.0.0.1", ServerPort::Mapped(1000)),
        ] {
            let ip = ip.parse().unwrap();
            place.set(ip, port);
            assert_eq!(place.get(), Some((ip, port)));
        }
        assert_eq!(place.moves(), 4);
    }

    #[test]
    fn readers_never_see_half_an_address() {
        let place = Place::default();
        let ip = |n: u64| IpAddr::V6(Ipv6Addr::from_bits(u128::from(n) << 64 | u128::from(n)));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        if let Some((IpAddr::V6(seen), port)) = place.get() {
                            let bits = seen.to_bits();
                            assert_eq!((bits >> 64) as u64, bits as u64);
                            assert_eq!(port, ServerPort::Fixed(bits as u16));
                        }
                    }
                });
            }
            for n in 1..20_000 {
                place.set(ip(n), ServerPort::Fixed(n as u16));
            }
        });
    }
}
