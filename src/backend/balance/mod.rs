//! The algorithms, one file each. Each keeps the schedule of one shard and one backend.
//!
//! An algorithm is told who may be chosen ([`Algorithm::update`]) and then offers servers in its
//! order of preference; the caller's `take` says whether one has a place, and takes it. So a choice
//! and its place are one step, and a full server costs one comparison.

pub mod first;
pub mod leastconn;
pub mod random;
pub mod roundrobin;
pub mod source;
pub mod static_rr;

use std::net::IpAddr;

use crate::config::{Balance, HashMethod, ServerId};
use crate::shared::Shared;

/// A server that may be chosen now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: ServerId,
    /// `id` of the file: order of `first`, place on the ring of `source`.
    pub puid: u32,
    /// Weight in units (static algorithms): 1 to 256.
    pub weight: u32,
    /// Weight in sixteenths with the ramp of `slowstart` (dynamic algorithms): 1 to 4,096.
    pub scaled: u32,
}

/// The schedule of one backend in one shard.
#[derive(Debug)]
pub(crate) enum Algorithm {
    RoundRobin(roundrobin::RoundRobin),
    StaticRr(static_rr::StaticRr),
    LeastConn(leastconn::LeastConn),
    First(first::First),
    Random(random::Random),
    SourceMap(source::SourceMap),
    SourceRing(source::SourceRing),
}

impl Algorithm {
    pub(crate) fn new(
        balance: &Balance,
        hash: crate::config::HashType,
        shard: usize,
        seed: u64,
    ) -> Self {
        match balance {
            Balance::RoundRobin => Self::RoundRobin(roundrobin::RoundRobin::new(shard)),
            Balance::StaticRr => Self::StaticRr(static_rr::StaticRr::new(shard)),
            Balance::LeastConn => Self::LeastConn(leastconn::LeastConn::new(shard)),
            Balance::First => Self::First(first::First::default()),
            Balance::Random(draws) => Self::Random(random::Random::new(*draws, seed)),
            Balance::Source if hash.method == HashMethod::Consistent => {
                Self::SourceRing(source::SourceRing::new(hash.avalanche))
            }
            Balance::Source => Self::SourceMap(source::SourceMap::new(hash.avalanche)),
        }
    }

    /// Who may be chosen from now on, in order of the file.
    pub(crate) fn update(&mut self, entries: &[Entry]) {
        match self {
            Self::RoundRobin(a) => a.update(entries),
            Self::StaticRr(a) => a.update(entries),
            Self::LeastConn(a) => a.update(entries),
            Self::First(a) => a.update(entries),
            Self::Random(a) => a.update(entries),
            Self::SourceMap(a) => a.update(entries),
            Self::SourceRing(a) => a.update(entries),
        }
    }

    /// Offers servers until `take` accepts one.
    pub(crate) fn choose(
        &mut self,
        shared: &Shared,
        take: &mut dyn FnMut(ServerId) -> bool,
    ) -> Option<ServerId> {
        match self {
            Self::RoundRobin(a) => a.choose(take),
            Self::StaticRr(a) => a.choose(take),
            Self::LeastConn(a) => a.choose(shared, take),
            Self::First(a) => a.choose(take),
            Self::Random(a) => a.choose(shared, take),
            // Whoever waited in the backend's queue and comes here has no server determined any more.
            Self::SourceMap(a) => a.any(take),
            Self::SourceRing(a) => a.any(take),
        }
    }

    /// The one server that the client's address determines; `None` where the algorithm does not work
    /// that way or the address is unknown.
    pub(crate) fn determined(
        &self,
        client: Option<IpAddr>,
        avoid: Option<ServerId>,
    ) -> Option<ServerId> {
        match self {
            Self::SourceMap(a) => a.of(client?, avoid),
            Self::SourceRing(a) => a.of(client?, avoid),
            _ => None,
        }
    }

    /// The lightest full server whose own queue has `room`. Only `leastconn` queues there, and only where
    /// `maxqueue` is set: all other algorithms use the backend's queue (seen on haproxy 2.6).
    pub(crate) fn lightest_queue(&self, room: impl Fn(ServerId) -> bool) -> Option<ServerId> {
        match self {
            Self::LeastConn(a) => a.lightest(room),
            _ => None,
        }
    }

    /// Does it count with weights in sixteenths, so that a ramp changes them?
    pub(crate) fn is_dynamic(&self) -> bool {
        !matches!(self, Self::StaticRr(_) | Self::SourceMap(_))
    }
}

/// Load of a server: its connections over all shards and those that wait for it alone.
pub(crate) fn load(shared: &Shared, id: ServerId) -> u32 {
    shared.server_connections(id)
        + shared
            .server(id)
            .queued
            .load(std::sync::atomic::Ordering::Relaxed)
}

#[cfg(test)]
mod tests;
