//! The algorithms, one file each. Each keeps the schedule of one shard and one backend.
//!
//! An algorithm is told who may be chosen ([`Algorithm::update`]) and then offers servers in its
//! order of preference; the caller's `take` says whether one has a place, and takes it. So a choice
//! and its place are one step, and a full server costs one comparison.

pub mod first;
pub mod keyed;
pub mod leastconn;
pub mod random;
pub mod roundrobin;
pub mod static_rr;

use crate::config::{Backend, Balance, HashMethod, ServerId};
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
    Map(keyed::KeyMap),
    Ring(keyed::KeyRing),
}

impl Algorithm {
    pub(crate) fn new(backend: &Backend, shard: usize, seed: u64) -> Self {
        match &backend.balance {
            Balance::RoundRobin => Self::RoundRobin(roundrobin::RoundRobin::new(shard)),
            Balance::StaticRr => Self::StaticRr(static_rr::StaticRr::new(shard)),
            Balance::LeastConn => Self::LeastConn(leastconn::LeastConn::new(shard)),
            Balance::First => Self::First(first::First::default()),
            Balance::Random(draws) => {
                let factor = backend.hash_balance_factor;
                Self::Random(random::Random::new(*draws, factor, seed))
            }
            Balance::Source | Balance::Key(_) => match backend.hash_type.method {
                HashMethod::MapBased => Self::Map(keyed::KeyMap::default()),
                HashMethod::Consistent => {
                    Self::Ring(keyed::KeyRing::new(backend.hash_balance_factor))
                }
            },
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
            Self::Map(a) => a.update(entries),
            Self::Ring(a) => a.update(entries),
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
            Self::Map(a) => a.any(take),
            Self::Ring(a) => a.any(take),
        }
    }

    /// The one server that `key` determines, or the next one that suits; `None` where the algorithm does
    /// not work that way or none suits.
    pub(crate) fn determined(
        &self,
        shared: &Shared,
        key: u32,
        suits: &dyn Fn(ServerId) -> bool,
    ) -> Option<ServerId> {
        match self {
            Self::Map(a) => a.of(key, suits),
            Self::Ring(a) => a.of(shared, key, suits),
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
        !matches!(self, Self::StaticRr(_) | Self::Map(_))
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
