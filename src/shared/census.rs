//! How many connections there are and how old the oldest is, by server and in all: counted when somebody asks, for
//! those who wait for a server or a process to be left.
//!
//! The asker starts a round, each shard walks its own sessions so many places a turn, and the last one that is
//! through leaves what all of them found. Nobody waits: who asks reads what the round before found, or looks again.
//! Traffic pays nothing for it.

use std::collections::HashMap;
use std::sync::atomic::Ordering::AcqRel;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::mailbox::Message;
use super::state::Shared;
use super::survey::Cursor;
use crate::base::tick::Tick;
use crate::config::ServerId;

/// A round is begun this many milliseconds after the last one, at the earliest.
const FRESH_MS: u64 = 400;
/// After this long a round whose message was lost is given up.
const LOST_MS: u64 = 5000;
/// What was found is told for so long.
const STALE_MS: u64 = 10_000;

/// Connections of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub number: u32,
    /// When the oldest began.
    pub oldest: Option<Tick>,
}

impl Count {
    pub fn add(&mut self, began: Tick) {
        self.number += 1;
        self.oldest = Some(self.oldest.map_or(began, |known| known.min(began)));
    }

    fn join(&mut self, other: Self) {
        self.number += other.number;
        if let Some(began) = other.oldest {
            self.oldest = Some(self.oldest.map_or(began, |known| known.min(began)));
        }
    }
}

/// What a round, or one shard in it, found.
#[derive(Debug, Default)]
pub struct Found {
    /// When the round began.
    pub at: Tick,
    /// Connections of clients, since they were accepted.
    pub clients: Count,
    /// Streams that have a connection to the server, since their request began (TCP: since the client came).
    pub servers: HashMap<ServerId, Count>,
}

impl Found {
    fn join(&mut self, other: Self) {
        self.clients.join(other.clients);
        for (server, count) in other.servers {
            self.servers.entry(server).or_default().join(count);
        }
    }
}

/// One count over all shards.
#[derive(Debug)]
struct Round {
    found: Mutex<Found>,
    /// Shards that are not through.
    missing: AtomicU32,
}

/// A shard's part of a round, on its way through the shard's places.
#[derive(Debug)]
pub struct Walk {
    round: Arc<Round>,
    pub from: Cursor,
    pub found: Found,
}

/// The last round, and the one under way.
#[derive(Debug, Default)]
pub struct Census {
    /// When the last round began, in milliseconds, and whether it is through: `ms << 1 | through`.
    begun: AtomicU64,
    last: Mutex<Option<Arc<Found>>>,
}

impl Census {
    /// What the last round found, if that is not long ago.
    pub fn last(&self, now: Tick) -> Option<Arc<Found>> {
        let last = self.last.lock().ok()?;
        last.clone().filter(|found| now.since(found.at) < STALE_MS)
    }
}

impl Shared {
    /// Begins a round, unless there is one under way or just done. Its result is in [`Census::last`] some turns later.
    pub fn count_connections(&self, now: Tick) {
        let census = &self.process.census;
        let before = census.begun.load(Ordering::Acquire);
        let (age, through) = (now.since(Tick(before >> 1)), before & 1 == 1);
        let due = before == 0 || age >= if through { FRESH_MS } else { LOST_MS };
        let mine = |word| {
            let swapped = census
                .begun
                .compare_exchange(before, word, AcqRel, Ordering::Relaxed);
            swapped.is_ok()
        };
        if !due || !mine(now.0.max(1) << 1) {
            return;
        }
        let alive = |shard: &usize| self.shards[*shard].alive.load(Ordering::Acquire);
        let shards: Vec<usize> = (0..self.shards.len()).filter(alive).collect();
        let round = Arc::new(Round {
            found: Mutex::new(Found {
                at: now,
                ..Found::default()
            }),
            missing: AtomicU32::new(u32::try_from(shards.len()).unwrap_or(u32::MAX)),
        });
        for shard in shards {
            let walk = Walk {
                round: Arc::clone(&round),
                from: Cursor::default(),
                found: Found::default(),
            };
            self.hint(shard, Message::Census(Box::new(walk)));
        }
    }

    /// A shard is through with its part.
    pub fn counted(&self, walk: Walk) {
        let Ok(mut all) = walk.round.found.lock() else {
            return;
        };
        all.join(walk.found);
        if walk.round.missing.fetch_sub(1, AcqRel) > 1 {
            return;
        }
        let census = &self.process.census;
        let found = std::mem::take(&mut *all);
        let at = found.at;
        if let Ok(mut last) = census.last.lock() {
            *last = Some(Arc::new(found));
        }
        // A round that was given up may come through after the next has begun: that one goes on.
        let under_way = at.0.max(1) << 1;
        let _ = census
            .begun
            .compare_exchange(under_way, under_way | 1, AcqRel, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Input, LoadInputs, load};

    fn shared() -> Shared {
        let text = b"listen l\n mode tcp\n bind 127.0.0.1:1\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n";
        let loaded = load(&LoadInputs {
            inputs: vec![Input::Text {
                name: "t.cfg".to_owned(),
                bytes: text.to_vec(),
            }],
            ..LoadInputs::default()
        });
        let shared = Shared::new(Arc::new(loaded.config.unwrap()), 2);
        for shard in &shared.shards {
            shard.alive.store(true, Ordering::Release);
        }
        shared
    }

    fn walks(shared: &Shared) -> Vec<Walk> {
        let taken = shared.shards.iter().filter_map(|s| s.mailbox.take());
        taken
            .map(|message| match message {
                Message::Census(walk) => *walk,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn what_all_shards_found_is_told_when_the_last_is_through() {
        let (shared, now) = (shared(), Tick(9000));
        shared.count_connections(now);
        let mut parts = walks(&shared);
        assert_eq!(parts.len(), 2);
        for (walk, began) in parts.iter_mut().zip([Tick(7000), Tick(3000)]) {
            walk.found.clients.add(began);
            walk.found
                .servers
                .entry(ServerId(4))
                .or_default()
                .add(began);
        }
        shared.counted(parts.pop().unwrap());
        assert!(shared.process.census.last(now).is_none());
        shared.counted(parts.pop().unwrap());
        let found = shared.process.census.last(now).unwrap();
        let both = Count {
            number: 2,
            oldest: Some(Tick(3000)),
        };
        assert_eq!((found.clients, found.servers[&ServerId(4)]), (both, both));
        assert!(shared.process.census.last(now + STALE_MS).is_none());
    }

    #[test]
    fn one_round_at_a_time_and_not_too_often() {
        let shared = shared();
        shared.count_connections(Tick(9000));
        let parts = walks(&shared);
        shared.count_connections(Tick(9000 + FRESH_MS));
        assert!(walks(&shared).is_empty(), "one is under way");
        parts.into_iter().for_each(|walk| shared.counted(walk));
        shared.count_connections(Tick(9000 + FRESH_MS - 1));
        assert!(walks(&shared).is_empty(), "the last one is fresh");
        shared.count_connections(Tick(9000 + FRESH_MS));
        assert_eq!(walks(&shared).len(), 2);
        // Its messages were lost.
        shared.count_connections(Tick(9000 + FRESH_MS + LOST_MS));
        assert_eq!(walks(&shared).len(), 2);
    }
}
