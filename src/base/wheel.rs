//! Timer wheel: six levels of 64 slots, one millisecond each at the lowest. Insert and cancel are O(1).
//!
//! A timer fires at its tick or in the first `advance` after it, never before. Far deadlines move
//! down a level as their time comes near. Holds one node per armed timer and allocates only to grow.

use super::tick::Tick;

const LEVELS: usize = 6;
const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
const NIL: u32 = u32::MAX;

/// Names an armed timer; forget it once it fired or was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerId(u32);

#[derive(Debug, Clone, Copy)]
struct Node<K> {
    at: u64,
    key: K,
    next: u32,
    prev: u32,
    /// Level * SLOTS + slot while armed, NIL while free.
    home: u32,
}

/// Deadlines with a key each.
#[derive(Debug)]
pub struct Wheel<K> {
    nodes: Vec<Node<K>>,
    free: u32,
    heads: [u32; LEVELS * SLOTS],
    occupied: [u64; LEVELS],
    now: u64,
    armed: usize,
}

impl<K: Copy> Wheel<K> {
    pub fn new(now: Tick) -> Self {
        Self {
            nodes: Vec::new(),
            free: NIL,
            heads: [NIL; LEVELS * SLOTS],
            occupied: [0; LEVELS],
            now: now.0,
            armed: 0,
        }
    }

    /// Armed timers.
    pub fn len(&self) -> usize {
        self.armed
    }
    pub fn is_empty(&self) -> bool {
        self.armed == 0
    }

    /// Arms a timer for `at`; a past tick fires at the next [`Wheel::advance`].
    pub fn arm(&mut self, at: Tick, key: K) -> TimerId {
        let index = if self.free == NIL {
            self.nodes.push(Node {
                at: 0,
                key,
                next: NIL,
                prev: NIL,
                home: NIL,
            });
            (self.nodes.len() - 1) as u32
        } else {
            let index = self.free;
            self.free = self.nodes[index as usize].next;
            index
        };
        self.nodes[index as usize] = Node {
            at: at.0,
            key,
            next: NIL,
            prev: NIL,
            home: NIL,
        };
        self.link(index);
        self.armed += 1;
        TimerId(index)
    }

    /// Takes the timer back; it will not fire.
    pub fn cancel(&mut self, id: TimerId) {
        debug_assert!(
            self.nodes[id.0 as usize].home != NIL,
            "a timer was cancelled twice"
        );
        self.unlink(id.0);
        self.release(id.0);
    }

    fn release(&mut self, index: u32) {
        self.nodes[index as usize].next = self.free;
        self.nodes[index as usize].home = NIL;
        self.free = index;
        self.armed -= 1;
    }

    fn link(&mut self, index: u32) {
        let at = self.nodes[index as usize].at.max(self.now + 1);
        let distance = at ^ self.now;
        let level = ((63 - distance.leading_zeros()) / BITS).min(LEVELS as u32 - 1) as usize;
        let shift = BITS * level as u32;
        // Beyond the last level: the farthest slot; it is linked anew when its time comes.
        let top = self.now.saturating_add((SLOTS as u64 - 1) << shift);
        let slot = ((at.min(top) >> shift) & (SLOTS as u64 - 1)) as usize;
        let home = level * SLOTS + slot;
        let head = self.heads[home];
        {
            let node = &mut self.nodes[index as usize];
            node.home = home as u32;
            node.prev = NIL;
            node.next = head;
        }
        if head != NIL {
            self.nodes[head as usize].prev = index;
        }
        self.heads[home] = index;
        self.occupied[level] |= 1 << slot;
    }

    fn unlink(&mut self, index: u32) {
        let Node {
            next, prev, home, ..
        } = self.nodes[index as usize];
        if prev == NIL {
            self.heads[home as usize] = next;
            if next == NIL {
                self.occupied[home as usize / SLOTS] &= !(1 << (home as usize % SLOTS));
            }
        } else {
            self.nodes[prev as usize].next = next;
        }
        if next != NIL {
            self.nodes[next as usize].prev = prev;
        }
    }

    /// Earliest tick at which [`Wheel::advance`] may have work; exact at the lowest level, early above it.
    pub fn next(&self) -> Option<Tick> {
        for level in 0..LEVELS {
            let shift = BITS * level as u32;
            let here = (self.now >> shift) & (SLOTS as u64 - 1);
            let ahead = self.occupied[level].rotate_right(here as u32 + u32::from(level == 0));
            if ahead != 0 {
                let steps = u64::from(ahead.trailing_zeros()) + u64::from(level == 0);
                let at = ((self.now >> shift) + steps) << shift;
                return Some(Tick(at.max(self.now + 1)));
            }
        }
        None
    }

    /// Moves to `now` and pushes the keys of all timers due, earliest slots first.
    pub fn advance(&mut self, now: Tick, due: &mut Vec<K>) {
        while let Some(next) = self.next() {
            if next > now {
                break;
            }
            self.step(next.0, due);
        }
        self.now = self.now.max(now.0);
    }

    fn step(&mut self, to: u64, due: &mut Vec<K>) {
        let from = self.now;
        self.now = to;
        // From the top: what a higher level's slot holds for this very tick comes down first.
        for level in (0..LEVELS).rev() {
            let shift = BITS * level as u32;
            if level > 0 && to >> shift == from >> shift && from != 0 {
                continue;
            }
            let slot = ((to >> shift) & (SLOTS as u64 - 1)) as usize;
            self.empty_slot(level, slot, due);
        }
    }

    fn empty_slot(&mut self, level: usize, slot: usize, due: &mut Vec<K>) {
        let mut index = std::mem::replace(&mut self.heads[level * SLOTS + slot], NIL);
        self.occupied[level] &= !(1 << slot);
        while index != NIL {
            let Node { next, at, key, .. } = self.nodes[index as usize];
            if at <= self.now {
                due.push(key);
                self.release(index);
            } else {
                self.link(index);
            }
            index = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lcg(state: &mut u64) -> u64 {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        *state >> 33
    }

    #[test]
    fn every_timer_fires_once_and_never_early_whatever_the_steps() {
        for seed in 0..200u64 {
            let mut random = seed;
            let start = lcg(&mut random) % 1_000_000;
            let mut wheel = Wheel::new(Tick(start));
            let mut live = Vec::new();
            let mut now = start;
            let mut next_key = 0u64;
            let mut due = Vec::new();
            for _ in 0..300 {
                for _ in 0..lcg(&mut random) % 4 {
                    let range =
                        [10, 100, 5_000, 400_000, 90_000_000][(lcg(&mut random) % 5) as usize];
                    let at = now + lcg(&mut random) % range;
                    live.push((next_key, at, wheel.arm(Tick(at), next_key)));
                    next_key += 1;
                }
                if !live.is_empty() && lcg(&mut random).is_multiple_of(3) {
                    let (_, _, id) = live.swap_remove((lcg(&mut random) as usize) % live.len());
                    wheel.cancel(id);
                }
                if let Some(next) = wheel.next() {
                    let earliest = live.iter().map(|l| l.1.max(now + 1)).min().unwrap();
                    assert!(
                        next.0 <= earliest,
                        "seed {seed}: would sleep past a deadline"
                    );
                }
                now +=
                    lcg(&mut random) % [2, 50, 3_000, 1_000_000][(lcg(&mut random) % 4) as usize];
                due.clear();
                wheel.advance(Tick(now), &mut due);
                for key in &due {
                    let place = live.iter().position(|l| l.0 == *key).expect("fired once");
                    assert!(live[place].1 <= now, "seed {seed}: fired early");
                    live.swap_remove(place);
                }
                // A timer armed for the present tick fires with the next advance that moves on.
                assert!(
                    live.iter().all(|l| l.1 >= now),
                    "seed {seed}: missed {live:?} at {now}"
                );
            }
            assert_eq!(wheel.len(), live.len());
        }
    }
}
