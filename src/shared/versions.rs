//! Later versions of a running configuration: servers that an operator adds and takes away.
//!
//! A version is a [`Shared`] of its own: a configuration whose lists share what did not change, and the cells of
//! all servers in it, which it shares with the versions before and after it. [`Shared::publish`] puts it where
//! everybody finds it; each shard takes it over between two messages ([`Shared::newer`]) and says so when its
//! mailbox is empty ([`ShardCells::follow`]), which is after whatever was sent to it before. So a server exists
//! for all or for nobody: an operator hears of it when the last shard follows, and until then it is in
//! maintenance.
//!
//! What is taken away leaves its place behind, which somebody may still speak of: a session in its last moments, a
//! message under way. A place is used again, and its memory given back, when two versions without the server
//! were taken over by all shards, and none of them holds a session that names it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};

use super::counters::ServerCounters;
use super::mailbox::Message;
use super::server_cell::ServerCell;
use super::state::{NO_TICKET, Shared};
use crate::base::tick::Tick;
use crate::config::added::Added;
use crate::config::guid::{Guid, Named};
use crate::config::{Config, ServerId};

/// A place whose server is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    pub id: ServerId,
    /// The first version without it.
    since: u64,
}

impl Shared {
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The version in force where it is later than this one. Costs a comparison where it is not.
    #[inline]
    pub fn newer(&self) -> Option<Arc<Self>> {
        if self.process.version.load(Acquire) == self.version {
            return None;
        }
        self.process.latest.load_full()
    }

    /// The version in force.
    pub fn latest(self: &Arc<Self>) -> Arc<Self> {
        self.newer().unwrap_or_else(|| Arc::clone(self))
    }

    /// Puts a version in force and tells all shards. For the control thread alone.
    pub fn publish(self) -> Arc<Self> {
        let next = Arc::new(self);
        let version = next.version;
        next.process.latest.store(Some(Arc::clone(&next)));
        next.process.version.store(version, Release);
        next.hint_all(|| Message::State);
        next
    }

    /// Have all shards taken it over, or a later one?
    pub fn is_followed(&self) -> bool {
        let behind = |shard: &&super::state::ShardShared| {
            shard.alive.load(Acquire) && shard.version.load(Acquire) < self.version
        };
        !self.shards.iter().any(|shard| behind(&shard))
    }

    /// The next version as it begins: as this one, and places that nobody speaks of any more are free.
    fn next(&self) -> Self {
        let mut config = Config::clone(&self.config);
        let mut next = Self {
            version: self.version + 1,
            config: Arc::default(),
            process: Arc::clone(&self.process),
            frontends: Arc::clone(&self.frontends),
            backends: self.backends.clone(),
            servers: self.servers.clone(),
            binds: Arc::clone(&self.binds),
            shards: self.shards.clone(),
            errors: Arc::clone(&self.errors),
            left: self.left.clone(),
            free: self.free.clone(),
        };
        let now_free = |left: &Left| !self.is_spoken_of(*left);
        for left in next.left.extract_if(.., |left| now_free(left)) {
            next.free.push(left.id);
        }
        next.drop_free(&mut config);
        next.config = Arc::new(config);
        next
    }

    fn is_spoken_of(&self, left: Left) -> bool {
        let held = |shard: &super::state::ShardShared| {
            let seen = shard.version.load(Acquire);
            let holds = shard
                .holds
                .lock()
                .map_or(true, |held| held.contains(&left.id));
            seen <= left.since || holds
        };
        let alive = self.shards.iter().filter(|s| s.alive.load(Acquire));
        let cell = self.server(left.id);
        self.server_connections(left.id) > 0
            || cell.queued.load(SeqCst) > 0
            || alive.into_iter().any(held)
    }

    /// Gives the memory of free places at the end back. Those between others wait for the next server.
    fn drop_free(&mut self, config: &mut Config) {
        self.free.sort_unstable_by_key(|id| id.0);
        let fixed = self.servers.fixed();
        let mut len = config.servers.len();
        while len > fixed && self.free.last().is_some_and(|id| id.index() + 1 == len) {
            self.free.pop();
            len -= 1;
        }
        config.servers.truncate(len);
        self.servers.truncate(len);
        for shard in &mut self.shards {
            shard.servers.truncate(len);
            shard.server_row.truncate(len);
            shard.server_tickets.truncate(len);
        }
    }

    /// A version with one server more, in maintenance and not checked before an operator says so, and its number.
    pub fn with_server(&self, added: Added, now: Tick) -> (Self, ServerId) {
        let Added { server, guid } = added;
        let mut next = self.next();
        let mut config = Config::clone(&next.config);
        let fixed = next.servers.fixed();
        let reused = next.free.iter().position(|id| id.index() >= fixed);
        let at = match reused {
            Some(at) => next.free.remove(at).index(),
            None => config.servers.len(),
        };
        let id = ServerId(u32::try_from(at).expect("servers are counted in 32 bits"));
        next.servers.put(at, ServerCell::added(&server, now));
        for shard in &mut next.shards {
            shard.servers.put(at, ServerCounters::default());
            shard.server_row.grow(at + 1, || AtomicU32::new(0));
            shard
                .server_tickets
                .grow(at + 1, || AtomicU64::new(NO_TICKET));
        }
        config.backends[server.backend.index()].servers.push(id);
        let of = Named::Server(id);
        config.guids.extend(guid.map(|text| Guid { text, of }));
        if at == config.servers.len() {
            config.servers.push(server);
        } else {
            config.servers.replace(at, Arc::new(server));
        }
        next.config = Arc::new(config);
        (next, id)
    }

    /// A version without a server.
    pub fn without_server(&self, id: ServerId) -> Self {
        let mut next = self.next();
        let mut config = Config::clone(&next.config);
        let backend = config.server(id).backend;
        // Whoever walks over all places finds nothing to do here.
        let server = &mut config.servers[id.index()];
        (server.check, server.agent, server.track) = (None, None, None);
        server.slowstart_ms = 0;
        config.backends[backend.index()]
            .servers
            .retain(|&other| other != id);
        config.guids.retain(|guid| guid.of != Named::Server(id));
        next.left.push(Left {
            id,
            since: next.version,
        });
        next.config = Arc::new(config);
        next
    }

    /// A version in which places are free that were not in this one; `None`: there are none.
    pub fn tidied(&self) -> Option<Self> {
        (!self.left.is_empty() && self.is_followed()).then(|| self.next())
    }

    /// Places that servers left and that may still be spoken of.
    pub fn left(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.left.iter().map(|left| left.id)
    }
}

impl super::state::ShardCells {
    /// The shard took a version over, and nothing waits for it that was sent before; `holds` are the places of gone
    /// servers that its sessions still name.
    pub fn follow(&self, version: u64, holds: Vec<ServerId>) {
        if let Ok(mut held) = self.holds.lock() {
            *held = holds;
        }
        self.version.store(version, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BackendId, Input, LoadInputs, added, load};

    fn start() -> Arc<Shared> {
        let text = b"listen l\n mode tcp\n bind 127.0.0.1:1\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n server s 127.0.0.1:1\n";
        let loaded = load(&LoadInputs {
            inputs: vec![Input::Text {
                name: "t.cfg".to_owned(),
                bytes: text.to_vec(),
            }],
            ..LoadInputs::default()
        });
        let shared = Shared::new(Arc::new(loaded.config.unwrap()), 2);
        for shard in &shared.shards {
            shard.alive.store(true, Release);
        }
        Arc::new(shared)
    }

    fn add(shared: &Arc<Shared>, name: &str) -> (Arc<Shared>, ServerId) {
        let words = [name, "127.0.0.1:2"];
        let added = added::server(&shared.config, BackendId(0), &words).expect("correct");
        let (next, id) = shared.with_server(added, Tick(1));
        (next.publish(), id)
    }

    /// All shards follow, and hold these.
    fn follow(shared: &Shared, held: &[ServerId]) {
        for shard in &shared.shards {
            shard.follow(shared.version(), held.to_vec());
        }
    }

    #[test]
    fn a_version_is_found_from_any_before_it_and_followed_when_all_shards_say_so() {
        let first = start();
        assert!(first.newer().is_none() && first.is_followed());
        let (second, id) = add(&first, "a");
        assert_eq!(first.latest().version(), second.version());
        assert!(!second.is_followed());
        follow(&second, &[]);
        assert!(second.is_followed());
        assert_eq!(second.config.server(id).name, "a");
        assert_eq!(first.config.servers.len(), 1, "the first one is as it was");
    }

    #[test]
    fn a_place_is_free_when_two_versions_without_its_server_were_followed_and_nobody_names_it() {
        let (shared, a) = add(&start(), "a");
        let (shared, _) = add(&shared, "b");
        let gone = shared.without_server(a).publish();
        let (next, c) = add(&gone, "c");
        assert_ne!(c, a, "not followed yet");
        follow(&next, &[a]);
        let (next, d) = add(&next, "d");
        assert_ne!(d, a, "a session names it");
        follow(&next, &[]);
        let (_, e) = add(&next, "e");
        assert_eq!(e, a);
    }

    #[test]
    fn servers_that_come_and_go_leave_nothing_behind() {
        let mut shared = start();
        for round in 0..5 {
            let mut ids = Vec::new();
            for n in 0..50 {
                let (next, id) = add(&shared, &format!("s{round}-{n}"));
                (shared, _) = (next, ids.push(id));
            }
            for id in ids {
                follow(&shared, &[]);
                shared = shared.without_server(id).publish();
            }
            while let Some(next) = {
                follow(&shared, &[]);
                shared.tidied()
            } {
                shared = next.publish();
            }
            assert_eq!(shared.config.servers.len(), 1);
            assert_eq!(shared.servers.len(), 1);
            assert_eq!(shared.shards[0].servers.len(), 1);
            assert_eq!((shared.left.len(), shared.free.len()), (0, 0));
        }
    }
}
