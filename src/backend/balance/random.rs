//! `random(n)`: *n* draws by weight, the least loaded of them wins. When all drawn are full, any
//! server with a place will do, so that none stays idle while somebody waits. `hash-balance-factor` makes
//! those lose that hold more than their share.

use super::keyed::Bound;
use super::{Entry, load};
use crate::config::ServerId;
use crate::shared::Shared;

#[derive(Debug)]
pub struct Random {
    entries: Vec<Entry>,
    /// Running sums of the weights; the last is the total.
    upto: Vec<u64>,
    draws: u32,
    /// `hash-balance-factor` in percent; 0: no bound.
    factor: u32,
    state: u64,
}

impl Random {
    pub fn new(draws: u32, factor: u32, seed: u64) -> Self {
        Self {
            entries: Vec::new(),
            upto: Vec::new(),
            draws: draws.max(1),
            factor,
            state: seed,
        }
    }

    pub fn update(&mut self, entries: &[Entry]) {
        self.entries = entries.to_vec();
        let mut sum = 0;
        self.upto.clear();
        self.upto.extend(entries.iter().map(|e| {
            sum += u64::from(e.scaled);
            sum
        }));
    }

    pub fn choose(
        &mut self,
        shared: &Shared,
        take: &mut dyn FnMut(ServerId) -> bool,
    ) -> Option<ServerId> {
        let total = *self.upto.last()?;
        let bound = Bound::new(shared, &self.entries, self.factor);
        let light = |entries: &[Entry], id| bound.is_none_or(|b| b.admits(shared, entries, id));
        let mut best: Option<(Entry, u32)> = None;
        for _ in 0..self.draws {
            let ball = self.next() % total;
            let e = self.entries[self.upto.partition_point(|&upto| upto <= ball)];
            let l = load(shared, e.id);
            let lighter = |b: &(Entry, u32)| {
                u64::from(l) * u64::from(b.0.scaled) < u64::from(b.1) * u64::from(e.scaled)
            };
            if best.as_ref().is_none_or(lighter) {
                best = Some((e, l));
            }
        }
        if let Some((e, _)) = best.filter(|(e, _)| light(&self.entries, e.id) && take(e.id)) {
            return Some(e.id);
        }
        let start =
            usize::try_from(self.next() % self.entries.len() as u64).expect("below a length");
        let (head, tail) = self.entries.split_at(start);
        let all = || tail.iter().chain(head).map(|e| e.id);
        let fair = all().find(|&id| light(&self.entries, id) && take(id));
        // Rather too much for one than nothing for all.
        fair.or_else(|| all().filter(|_| bound.is_some()).find(|&id| take(id)))
    }

    /// splitmix64: one multiply-xorshift chain per number, good enough to draw servers.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
