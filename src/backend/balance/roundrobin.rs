//! `roundrobin`: smooth, weighted, dynamic. Each server stands on a line of positions and moves ahead
//! by total weight over own weight each time it is chosen, remainders carried; the line's own position
//! advances by one a choice. Who is due goes first; newcomers, heaviest first, fill the gaps where
//! nobody is due, so that the first round is spread as well as the others.
//!
//! The sequence with one shard is haproxy 2.6's, choice for choice (`vectors/`). Several shards
//! each run their own; shard *k* starts *k* choices ahead, so that first choices differ.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use super::Entry;
use crate::config::ServerId;

#[derive(Debug, Default)]
pub struct RoundRobin {
    standing: HashMap<ServerId, Standing>,
    /// Servers that have a position, first to come first.
    line: BTreeSet<Turn>,
    /// Servers that were never chosen, heaviest first, then in order of the file.
    newcomers: BTreeSet<(Reverse<u32>, u32)>,
    total: u64,
    position: u64,
    /// Breaks ties of equal turns by age.
    stamp: u64,
    /// Choices to make in advance, once servers are known.
    head_start: usize,
    /// Turns taken off the line by the choice under way; kept for its memory.
    passed: Vec<Turn>,
}

/// Order on the line: position, then what the remainder lacks to a whole weight, then age.
type Turn = (u64, i64, u64, ServerId);

#[derive(Debug, Clone, Copy)]
struct Standing {
    weight: u32,
    /// Remainders of the moves so far, below `weight`.
    carry: u64,
    turn: Option<Turn>,
}

impl RoundRobin {
    pub fn new(shard: usize) -> Self {
        Self {
            head_start: shard,
            ..Self::default()
        }
    }

    pub fn update(&mut self, entries: &[Entry]) {
        self.total = entries.iter().map(|e| u64::from(e.scaled)).sum();
        let mut kept = HashMap::with_capacity(entries.len());
        self.newcomers.clear();
        for e in entries {
            let mut standing = Standing {
                weight: e.scaled,
                carry: 0,
                turn: None,
            };
            if let Some(old) = self.standing.get(&e.id).filter(|old| old.turn.is_some()) {
                standing.turn = old.turn;
                standing.carry = old.carry;
                if old.weight != e.scaled {
                    self.restand(e.id, &mut standing);
                }
            } else {
                self.newcomers.insert((Reverse(e.scaled), e.id.0));
            }
            kept.insert(e.id, standing);
        }
        self.standing = kept;
        let standing = &self.standing;
        self.line.retain(|turn| standing.contains_key(&turn.3));
        for _ in 0..std::mem::take(&mut self.head_start) * usize::from(!entries.is_empty()) {
            self.choose(&mut |_| true);
        }
    }

    /// A new weight: the next turn comes within one round of the new weight, the carry starts anew.
    fn restand(&mut self, id: ServerId, standing: &mut Standing) {
        let Some(turn) = standing.turn else { return };
        self.line.remove(&turn);
        let latest = self.position + self.total / u64::from(standing.weight);
        standing.carry = 0;
        self.stamp += 1;
        let turn = (
            turn.0.clamp(self.position, latest),
            -i64::from(standing.weight),
            self.stamp,
            id,
        );
        standing.turn = Some(turn);
        self.line.insert(turn);
    }

    /// Offers whose turn it is. A server without a place has had its turn, as in haproxy, so that it
    /// does not come in bursts once it has room again.
    pub fn choose(&mut self, take: &mut dyn FnMut(ServerId) -> bool) -> Option<ServerId> {
        let mut passed = std::mem::take(&mut self.passed);
        let mut chosen = None;
        while let Some(id) = self.next() {
            let turn = self.advance(id);
            passed.push(turn);
            if take(id) {
                chosen = Some(id);
                break;
            }
        }
        self.line.extend(passed.drain(..));
        self.passed = passed;
        chosen
    }

    /// Takes the next server off the line.
    fn next(&mut self) -> Option<ServerId> {
        let due = self.line.first().copied();
        if let Some(turn) = due.filter(|turn| turn.0 <= self.position || self.newcomers.is_empty())
        {
            self.line.remove(&turn);
            return Some(turn.3);
        }
        self.newcomers.pop_first().map(|(_, id)| ServerId(id))
    }

    /// Its turn after the one it has now.
    fn advance(&mut self, id: ServerId) -> Turn {
        let (total, position) = (self.total, self.position);
        let standing = self
            .standing
            .get_mut(&id)
            .expect("only servers of the last update stand on the line");
        let weight = u64::from(standing.weight);
        let from = standing.turn.map_or(position, |turn| turn.0);
        standing.carry += total % weight;
        let mut next = from + total / weight;
        if standing.carry >= weight {
            standing.carry -= weight;
            next += 1;
        }
        self.stamp += 1;
        self.position += 1;
        let lacks =
            i64::try_from(standing.carry).expect("below a weight") - i64::from(standing.weight);
        let turn = (next, lacks, self.stamp, id);
        standing.turn = Some(turn);
        turn
    }
}
