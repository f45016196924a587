//! `static-rr`: a fixed round of as many choices as the sum of weights. Weights that move at run time
//! do not change it; servers that come and go make a new one. The same map serves `source`.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashSet};

use super::Entry;
use crate::config::ServerId;

#[derive(Debug, Default)]
pub struct StaticRr {
    map: Vec<ServerId>,
    at: usize,
}

impl StaticRr {
    pub fn new(shard: usize) -> Self {
        Self {
            map: Vec::new(),
            at: shard,
        }
    }

    pub fn update(&mut self, entries: &[Entry]) {
        self.map = round_of(entries);
    }

    pub fn choose(&mut self, take: &mut dyn FnMut(ServerId) -> bool) -> Option<ServerId> {
        let slots = self.map.len();
        let mut refused = HashSet::new();
        for i in 0..slots {
            let at = (self.at + i) % slots;
            let id = self.map[at];
            if refused.contains(&id) {
                continue;
            }
            if take(id) {
                self.at = at + 1;
                return Some(id);
            }
            refused.insert(id);
        }
        None
    }
}

/// One round: each server as often as its weight says, spread evenly, in haproxy's order.
///
/// At step *t* a server is owed the whole part of *t* times its share, less what it had; who is owed
/// most goes, the first of the file among equals. Weights are divided by their common divisor first,
/// which leaves the sequence as it is and the map small.
pub fn round_of(entries: &[Entry]) -> Vec<ServerId> {
    let divisor = entries.iter().fold(0, |d, e| gcd(d, e.weight)).max(1);
    let weights: Vec<u64> = entries
        .iter()
        .map(|e| u64::from(e.weight / divisor))
        .collect();
    let total: u64 = weights.iter().sum();
    // What each is owed, most first; and when it will be owed one more.
    let mut owed: BTreeSet<(Reverse<i64>, usize)> =
        (0..entries.len()).map(|i| (Reverse(0), i)).collect();
    let mut debt = vec![0i64; entries.len()];
    let mut due: BinaryHeap<Reverse<(u64, usize, u64)>> = weights
        .iter()
        .enumerate()
        .map(|(i, &w)| Reverse((total.div_ceil(w), i, 1)))
        .collect();
    let mut round = Vec::with_capacity(usize::try_from(total).unwrap_or(0));
    for step in 1..=total {
        while let Some(&Reverse((when, i, count))) = due.peek().filter(|e| e.0.0 <= step) {
            due.pop();
            due.push(Reverse((
                (total * (count + 1)).div_ceil(weights[i]),
                i,
                count + 1,
            )));
            debug_assert!(when <= step);
            move_to(&mut owed, &mut debt, i, 1);
        }
        let Some(&(_, i)) = owed.first() else { break };
        move_to(&mut owed, &mut debt, i, -1);
        round.push(entries[i].id);
    }
    round
}

fn move_to(owed: &mut BTreeSet<(Reverse<i64>, usize)>, debt: &mut [i64], i: usize, by: i64) {
    owed.remove(&(Reverse(debt[i]), i));
    debt[i] += by;
    owed.insert((Reverse(debt[i]), i));
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
