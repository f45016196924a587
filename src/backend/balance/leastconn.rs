//! `leastconn`: the fewest connections for its weight, over all shards; equals take turns.
//!
//! Load is what the rows of all shards say now, plus streams that wait for the server alone, over the
//! weight. Up to [`EXACT_MAX`] servers every pick reads all of them. Above that a pick takes the
//! [`CANDIDATES`] best of an order kept from earlier readings and reads those anew; one line of the
//! rows (16 servers) is read anew besides, so that no reading is older than a sixteenth of the servers
//! in picks. No shard knows its own closings sooner than the others' (Seastar #3514: the shard that
//! does wins all new connections).

use std::collections::{BTreeSet, HashMap};

use super::{Entry, load};
use crate::config::ServerId;
use crate::shared::Shared;

/// Servers up to which every pick reads every row.
pub const EXACT_MAX: usize = 64;
/// Servers read anew by a pick above that.
pub const CANDIDATES: usize = 8;
/// Servers of one cache line of a row.
const LINE: usize = 16;

#[derive(Debug, Default)]
pub struct LeastConn {
    servers: Vec<Standing>,
    /// Above `EXACT_MAX` servers: all of them, lightest first.
    order: BTreeSet<Rank>,
    /// Next server whose line is read anew.
    sweep: usize,
    /// Rises with every choice; the server chosen longest ago is first among equals.
    stamp: u64,
    head_start: usize,
}

/// Load over weight (times 2^32, rounded down), time of the last choice, index.
type Rank = (u64, u64, usize);

#[derive(Debug, Clone, Copy)]
struct Standing {
    entry: Entry,
    load: u32,
    stamp: u64,
}

impl Standing {
    fn rank(&self, index: usize) -> Rank {
        (
            (u64::from(self.load) << 32) / u64::from(self.entry.scaled),
            self.stamp,
            index,
        )
    }

    /// Compares without rounding: lighter, or as light and chosen longer ago.
    fn before(&self, other: &Self) -> bool {
        let mine = u64::from(self.load) * u64::from(other.entry.scaled);
        let theirs = u64::from(other.load) * u64::from(self.entry.scaled);
        (mine, self.stamp) < (theirs, other.stamp)
    }
}

impl LeastConn {
    pub fn new(shard: usize) -> Self {
        Self {
            head_start: shard,
            ..Self::default()
        }
    }

    pub fn update(&mut self, entries: &[Entry]) {
        let old: HashMap<ServerId, Standing> =
            self.servers.iter().map(|s| (s.entry.id, *s)).collect();
        let count = entries.len().max(1);
        let fresh = |i: usize| Standing {
            entry: entries[i],
            load: 0,
            // Shards begin with different servers.
            stamp: ((i + count - self.head_start % count) % count) as u64,
        };
        self.servers = (0..entries.len())
            .map(|i| {
                let known = old.get(&entries[i].id);
                known.map_or_else(
                    || fresh(i),
                    |&s| Standing {
                        entry: entries[i],
                        ..s
                    },
                )
            })
            .collect();
        self.stamp = self.stamp.max(entries.len() as u64);
        self.order.clear();
        if entries.len() > EXACT_MAX {
            self.order
                .extend(self.servers.iter().enumerate().map(|(i, s)| s.rank(i)));
        }
    }

    pub fn choose(
        &mut self,
        shared: &Shared,
        take: &mut dyn FnMut(ServerId) -> bool,
    ) -> Option<ServerId> {
        let chosen = if self.servers.len() <= EXACT_MAX {
            self.lightest_of_all(shared, take)
        } else {
            self.sweep_line(shared);
            self.lightest_of_candidates(shared, take)
        }?;
        self.stamp += 1;
        let stamp = self.stamp;
        self.change(chosen, |s| {
            s.load += 1;
            s.stamp = stamp;
        });
        Some(self.servers[chosen].entry.id)
    }

    /// The lightest by what was read last, among those that `may` be taken.
    pub fn lightest(&self, may: impl Fn(ServerId) -> bool) -> Option<ServerId> {
        let allowed = self.servers.iter().filter(|s| may(s.entry.id));
        let lightest = allowed.reduce(|a, b| if b.before(a) { b } else { a });
        lightest.map(|s| s.entry.id)
    }

    fn lightest_of_all(
        &mut self,
        shared: &Shared,
        take: &mut dyn FnMut(ServerId) -> bool,
    ) -> Option<usize> {
        for s in &mut self.servers {
            s.load = load(shared, s.entry.id);
        }
        // Most often the lightest has a place and the others need no sorting.
        let mut refused = 0u64;
        for _ in 0..self.servers.len() {
            let mut best: Option<usize> = None;
            for (i, s) in self
                .servers
                .iter()
                .enumerate()
                .filter(|(i, _)| refused & (1 << i) == 0)
            {
                if best.is_none_or(|b| s.before(&self.servers[b])) {
                    best = Some(i);
                }
            }
            let best = best?;
            if take(self.servers[best].entry.id) {
                return Some(best);
            }
            refused |= 1 << best;
        }
        None
    }

    fn lightest_of_candidates(
        &mut self,
        shared: &Shared,
        take: &mut dyn FnMut(ServerId) -> bool,
    ) -> Option<usize> {
        let mut candidates: Vec<usize> = self.order.iter().take(CANDIDATES).map(|r| r.2).collect();
        for &i in &candidates {
            self.read(shared, i);
        }
        candidates.sort_by_key(|&i| self.servers[i].rank(i));
        if let Some(&i) = candidates.iter().find(|&&i| take(self.servers[i].entry.id)) {
            return Some(i);
        }
        // All candidates are full: whoever has a place, lightest first.
        self.order
            .iter()
            .map(|r| r.2)
            .find(|&i| !candidates.contains(&i) && take(self.servers[i].entry.id))
    }

    fn sweep_line(&mut self, shared: &Shared) {
        for _ in 0..LINE {
            self.sweep = (self.sweep + 1) % self.servers.len();
            self.read(shared, self.sweep);
        }
    }

    fn read(&mut self, shared: &Shared, index: usize) {
        let now = load(shared, self.servers[index].entry.id);
        if now != self.servers[index].load {
            self.change(index, |s| s.load = now);
        }
    }

    fn change(&mut self, index: usize, how: impl FnOnce(&mut Standing)) {
        let ordered = self.order.remove(&self.servers[index].rank(index));
        how(&mut self.servers[index]);
        if ordered {
            self.order.insert(self.servers[index].rank(index));
        }
    }
}
