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
