//! `source`: the client's address determines the server, by a map (`hash-type map-based`) or on a ring
//! (`hash-type consistent`).
//!
//! The key is the address folded to 32 bits (the exclusive or of its words in network order), as it
//! stands or after `avalanche`. The hash *function* has no part in it: haproxy 2.6 chooses alike under
//! all of them (`vectors/`), because it has no text to hash.

use std::net::IpAddr;

use super::Entry;
use super::static_rr::round_of;
use crate::base::hash::avalanche;
use crate::config::ServerId;

/// Address to 32 bits, before and after avalanche.
fn key(client: IpAddr, mix: bool) -> u32 {
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
#[derive(Debug)]
pub struct SourceMap {
    map: Vec<ServerId>,
    avalanche: bool,
    at: usize,
}

impl SourceMap {
    pub fn new(avalanche: bool) -> Self {
        Self {
            map: Vec::new(),
            avalanche,
            at: 0,
        }
    }

    pub fn update(&mut self, entries: &[Entry]) {
        self.map = round_of(entries);
    }

    /// The client's server. With `avoid` the next one of the round that is another; there haproxy 2.6
    /// tries the same server until the retries are used up, which helps nobody.
    pub fn of(&self, client: IpAddr, avoid: Option<ServerId>) -> Option<ServerId> {
        let slots = self.map.len();
        if slots == 0 {
            return None;
        }
        let at = key(client, self.avalanche) as usize % slots;
        let other = (0..slots)
            .map(|i| self.map[(at + i) % slots])
            .find(|&id| Some(id) != avoid);
        Some(other.unwrap_or(self.map[at]))
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
pub struct SourceRing {
    /// Sorted by place: place, number of the point within its server, server as index of `servers`.
    points: Vec<(u32, u32, u32)>,
    /// Every server seen: points laid, points that count now.
    servers: Vec<(Entry, u32, u32)>,
    avalanche: bool,
    at: usize,
}

impl SourceRing {
    pub fn new(avalanche: bool) -> Self {
        Self {
            points: Vec::new(),
            servers: Vec::new(),
            avalanche,
            at: 0,
        }
    }

    pub fn update(&mut self, entries: &[Entry]) {
        let mut grew = false;
        for server in &mut self.servers {
            server.2 = 0;
        }
        for e in entries {
            let index = self
                .servers
                .iter()
                .position(|s| s.0.id == e.id)
                .unwrap_or_else(|| {
                    self.servers.push((*e, 0, 0));
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

    fn counts(&self, at: usize, avoid: Option<ServerId>) -> bool {
        let (_, n, server) = self.points[at];
        let (e, _, counted) = &self.servers[server as usize];
        n < *counted && Some(e.id) != avoid
    }

    pub fn of(&self, client: IpAddr, avoid: Option<ServerId>) -> Option<ServerId> {
        let key = key(client, self.avalanche);
        self.nearest(key, avoid).or_else(|| self.nearest(key, None))
    }

    fn nearest(&self, key: u32, avoid: Option<ServerId>) -> Option<ServerId> {
        let len = self.points.len();
        let start = self.points.partition_point(|p| p.0 < key);
        let above = (0..len)
            .map(|i| (start + i) % len)
            .find(|&at| self.counts(at, avoid))?;
        let below = (1..=len)
            .map(|i| (start + len - i) % len)
            .find(|&at| self.counts(at, avoid))?;
        let (down, up) = (
            key.wrapping_sub(self.points[below].0),
            self.points[above].0.wrapping_sub(key),
        );
        let at = if down <= up { below } else { above };
        Some(self.servers[self.points[at].2 as usize].0.id)
    }

    /// Any server with a place, in turn.
    pub fn any(&mut self, take: &mut dyn FnMut(ServerId) -> bool) -> Option<ServerId> {
        let n = self.servers.len();
        let here = |i: usize| (self.at + i) % n;
        let found = (0..n)
            .map(here)
            .find(|&at| self.servers[at].2 > 0 && take(self.servers[at].0.id))?;
        self.at = found + 1;
        Some(self.servers[found].0.id)
    }
}
