//! Algorithms under which a key determines the server: `source` and those that hash a part of the
//! request. By a map (`hash-type map-based`) or on a ring (`hash-type consistent`).
//!
//! A key is 32 bits, avalanche included. Of `source` it is the client's address folded (the exclusive or
//! of its words in network order); the hash *function* has no part in it: haproxy 2.6 chooses alike under
//! all of them (`vectors/`), because it has no text to hash. All others are what
//! [`hash_key`](crate::backend::key::hash_key) says.

use std::net::IpAddr;

use super::static_rr::round_of;
use super::{Entry, load};
use crate::base::hash::avalanche;
use crate::config::ServerId;
use crate::shared::Shared;

/// Address to 32 bits, before or after avalanche.
pub fn of_address(client: IpAddr, mix: bool) -> u32 {
    let folded = match client {
        IpAddr::V4(ip) => ip.to_bits(),
        IpAddr::V6(ip) => ip
            .octets()
            .chunks_exact(4)
            .fold(0, |h, w| h ^ u32::from_be_bytes([w[0], w[1], w[2], w[3]])),
    };
    if mix { avalanche(folded) } else { folded }
}

/// Map-based: key modulo the sum of weights. Smooth; most clients move when servers come and go.
#[derive(Debug, Default)]
pub struct KeyMap {
    map: Vec<ServerId>,
    at: usize,
}

impl KeyMap {
    pub fn update(&mut self, entries: &[Entry]) {
        self.map = round_of(entries);
    }

    /// The key's server. Where that one does not suit, the next one of the round that does: haproxy 2.6
    /// tries the same server until the retries are used up, which helps nobody.
    pub fn of(&self, key: u32, suits: &dyn Fn(ServerId) -> bool) -> Option<ServerId> {
        let slots = self.map.len();
        if slots == 0 {
            return None;
        }
        let at = key as usize % slots;
        (0..slots)
            .map(|i| self.map[(at + i) % slots])
            .find(|&id| suits(id))
    }

    /// Any server with a place, in turn.
    pub fn any(&mut self, take: &mut dyn FnMut(ServerId) -> bool) -> Option<ServerId> {
        let slots = self.map.len();
        let found = (0..slots)
            .map(|i| (self.at + i) % slots)
            .find(|&at| take(self.map[at]))?;
        self.at = found + 1;
        Some(self.map[found])
    }
}

/// Points of a server's `id` on the ring: consecutive ids stand this far apart before mixing.
const POINTS_PER_ID: u32 = 4096;

/// Consistent: 16 points a unit of weight on a ring of 32 bits; the point nearest to the key wins, the
/// lower one at equal distance. Only the clients of a server that comes or goes move.
///
/// Points are laid for every server seen so far and skipped while their server is away or light, so a
/// change of state or weight costs nothing but the list of weights.
#[derive(Debug)]
pub struct KeyRing {
    /// Sorted by place: place, number of the point within its server, server as index of `servers`.
    points: Vec<(u32, u32, u32)>,
    /// Every server seen: points laid, points that count now.
    servers: Vec<(ServerId, u32, u32)>,
    /// Who may be chosen now, in order of the file.
    entries: Vec<Entry>,
    /// `hash-balance-factor` in percent; 0: no bound.
    factor: u32,
    at: usize,
}

impl KeyRing {
    pub fn new(factor: u32) -> Self {
        Self {
            points: Vec::new(),
            servers: Vec::new(),
            entries: Vec::new(),
            factor,
            at: 0,
        }
    }

    pub fn update(&mut self, entries: &[Entry]) {
        self.entries = entries.to_vec();
        let mut grew = false;
        for server in &mut self.servers {
            server.2 = 0;
        }
        for e in entries {
            let index = self
                .servers
                .iter()
                .position(|s| s.0 == e.id)
                .unwrap_or_else(|| {
                    self.servers.push((e.id, 0, 0));
                    self.servers.len() - 1
                });
            let (_, laid, counted) = &mut self.servers[index];
            *counted = e.scaled;
            let wanted = e.scaled.max(e.weight * 16);
            if wanted > *laid {
                let server = u32::try_from(index).expect("servers are counted in 32 bits");
                let first = e.puid.wrapping_mul(POINTS_PER_ID);
                let lay = |n: u32| (avalanche(first.wrapping_add(n)), n, server);
                self.points.extend((*laid..wanted).map(lay));
                *laid = wanted;
                grew = true;
            }
        }
        if grew {
            self.points.sort_unstable();
        }
    }

    fn server_at(&self, at: usize) -> Option<ServerId> {
        let (_, n, server) = self.points[at];
        let (id, _, counted) = self.servers[server as usize];
        (n < counted).then_some(id)
    }

    /// The key's server: the one of the nearest point, or of the next point upwards whose server suits and
    /// is not above its share of the load.
    pub fn of(
        &self,
        shared: &Shared,
        key: u32,
        suits: &dyn Fn(ServerId) -> bool,
    ) -> Option<ServerId> {
        let len = self.points.len();
        let start = self.points.partition_point(|p| p.0 < key);
        let above = (0..len)
            .map(|i| (start + i) % len)
            .find(|&at| self.server_at(at).is_some())?;
        let below = (1..=len)
            .map(|i| (start + len - i) % len)
            .find(|&at| self.server_at(at).is_some())?;
        let (down, up) = (
            key.wrapping_sub(self.points[below].0),
            self.points[above].0.wrapping_sub(key),
        );
        let nearest = if down <= up { below } else { above };
        let bound = Bound::new(shared, &self.entries, self.factor);
        let light = |id| bound.is_none_or(|b| b.admits(shared, &self.entries, id));
        let mut refused: Vec<ServerId> = Vec::new();
        for at in (0..len).map(|i| (nearest + i) % len) {
            let Some(id) = self.server_at(at).filter(|id| !refused.contains(id)) else {
                continue;
            };
            if suits(id) && light(id) {
                return Some(id);
            }
            refused.push(id);
        }
        None
    }

    /// The servers of the points one after the other, those without a place passed over.
    pub fn any(&mut self, take: &mut dyn FnMut(ServerId) -> bool) -> Option<ServerId> {
        let len = self.points.len();
        let mut refused: Vec<ServerId> = Vec::new();
        for at in (0..len).map(|i| (self.at + i) % len) {
            let Some(id) = self.server_at(at).filter(|id| !refused.contains(id)) else {
                continue;
            };
            if take(id) {
                self.at = at + 1;
                return Some(id);
            }
            refused.push(id);
        }
        None
    }
}

/// `hash-balance-factor`: places for all servers together, in percent of the streams there will be with the
/// next one, dealt out by weight, at least one each. Fractions go to the servers that stand later in the file, as in
/// haproxy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    places: u64,
    weights: u64,
}

impl Bound {
    pub(super) fn new(shared: &Shared, entries: &[Entry], factor: u32) -> Option<Self> {
        let held = || entries.iter().map(|e| u64::from(load(shared, e.id)));
        (factor > 0).then(|| Self {
            places: ((held().sum::<u64>() + 1) * u64::from(factor)).div_ceil(100),
            weights: entries.iter().map(|e| u64::from(e.scaled)).sum(),
        })
    }
    pub(super) fn admits(self, shared: &Shared, entries: &[Entry], id: ServerId) -> bool {
        let Some(at) = entries.iter().position(|e| e.id == id) else {
            return false;
        };
        let before: u64 = entries[..at].iter().map(|e| u64::from(e.scaled)).sum();
        let upto = before + u64::from(entries[at].scaled);
        let share = |weights: u64| weights * self.places / self.weights.max(1);
        u64::from(load(shared, id)) < (share(upto) - share(before)).max(1)
    }
}
