//! The choice of a server by one shard, place included.
//!
//! A server with a limit has its places in one atomic of the process; whoever raises it holds the
//! place. New streams never overtake waiting ones: while anyone waits for what they would take, they
//! are told to wait as well. [`WaitRoom`](super::queue::WaitRoom) then admits in order of arrival.

use std::net::IpAddr;
use std::sync::atomic::Ordering::*;

use super::balance::{Algorithm, Entry, keyed};
use super::queue::Queue;
use super::server;
use super::trial;
use crate::base::tick::Tick;
use crate::config::{Affinity, BackendId, Balance, ServerId};
use crate::shared::Shared;

/// What one shard knows of one backend: who may be chosen, and the algorithm's own schedule.
#[derive(Debug)]
pub struct BackendView {
    pub(crate) backend: BackendId,
    shard: usize,
    /// Version of the backend this view was made from; 0: none yet.
    seen: u64,
    /// When a ramp of `slowstart` takes its next step.
    next_step: Tick,
    /// Who may be chosen now, in order of the file: the active servers, else backup ones.
    entries: Vec<Entry>,
    /// Some server's limit follows the load of the backend.
    follows_load: bool,
    algorithm: Algorithm,
    /// Servers that connections of clients try while they are down ([`trial`]).
    tried: Vec<ServerId>,
}

/// Who asks for a server.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ask {
    /// Address of the client where it has one, for `source`.
    pub client: Option<IpAddr>,
    /// What the algorithms that hash a part of the request go by ([`super::key::hash_key`]). Without one
    /// servers take turns.
    pub key: Option<u32>,
    /// Not this one if another is usable (redispatch).
    pub avoid: Option<ServerId>,
}

/// What became of an [`Ask`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Connect there; its place and row count are taken, [`super::release`] gives both back.
    Server(ServerId),
    /// No place now: take a ticket and wait.
    Wait(Queue),
    /// This server is the one to go to ([`BackendView::determined`], [`BackendView::take_server`]), is full,
    /// and `maxqueue` streams wait for it already: the session ends with `SQ`, as in haproxy, whatever
    /// room others have.
    Full(ServerId),
    /// No usable server.
    Nobody,
}

/// What became of a stream that was to go to one server ([`BackendView::take_server`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    pub choice: Choice,
    /// The algorithm chose instead: persistence is broken
    /// ([`Asked::redispatched`](super::persist::Asked::redispatched)).
    pub elsewhere: bool,
}

/// Those of `servers` that connections of clients try while they are down.
fn tried(shared: &Shared, servers: &[ServerId]) -> Vec<ServerId> {
    let ids = servers.iter().copied();
    ids.filter(|&id| shared.config.server(id).watch.on_down.is_some())
        .collect()
}

impl BackendView {
    /// A view of `backend` for `shard`; `seed` feeds `random`.
    pub fn new(shared: &Shared, backend: BackendId, shard: usize, seed: u64) -> Self {
        let config = shared.config.backend(backend);
        let follows = |id: &ServerId| shared.config.server(*id).minconn > 0;
        let mut view = Self {
            backend,
            shard,
            seen: 0,
            next_step: Tick::NEVER,
            entries: Vec::new(),
            follows_load: config.servers.iter().any(follows),
            algorithm: Algorithm::new(config, shard, seed),
            tried: tried(shared, &config.servers),
        };
        view.refresh(shared, Tick(0));
        view
    }

    /// The backend has other servers in this version of the configuration.
    pub fn follow(&mut self, shared: &Shared, now: Tick) {
        let servers = &shared.config.backend(self.backend).servers;
        let follows = |id: &ServerId| shared.config.server(*id).minconn > 0;
        self.follows_load = servers.iter().any(follows);
        self.tried = tried(shared, servers);
        self.seen = 0;
        // At once: what is gone from the version must not be asked about.
        self.refresh(shared, now);
    }

    /// Takes over changes of servers. Costs two comparisons when there are none.
    pub fn refresh(&mut self, shared: &Shared, now: Tick) {
        // Read before the servers: a change while they are read raises it again.
        let version = shared.backend(self.backend).version.load(Acquire);
        if version == self.seen && now < self.next_step {
            return;
        }
        self.seen = version;
        self.next_step = self.ramps(shared, now);
        let entries = self.usable(shared, now);
        if entries != self.entries {
            self.algorithm.update(&entries);
            self.entries = entries;
        }
    }

    /// When does the next step of a ramp come?
    fn ramps(&self, shared: &Shared, now: Tick) -> Tick {
        let servers = &shared.config.backend(self.backend).servers;
        let ramps = servers
            .iter()
            .filter_map(|&id| server::warming(shared, id, now));
        // Weights take 16 steps, limits 100: the finer one, in whole milliseconds.
        ramps
            .map(|(_, ramp)| now + (ramp / 100).max(1))
            .min()
            .unwrap_or(Tick::NEVER)
    }

    /// Active servers that are usable, else the first backup one, or all with `option allbackups`.
    fn usable(&self, shared: &Shared, now: Tick) -> Vec<Entry> {
        let config = shared.config.backend(self.backend);
        let dynamic = self.algorithm.is_dynamic();
        let entry = |id: ServerId| Entry {
            id,
            puid: shared.config.server(id).puid,
            weight: shared.server(id).weight(),
            // Steps of a ramp must not disturb those who do not look at them.
            scaled: if dynamic {
                server::scaled_weight(shared, id, now)
            } else {
                0
            },
        };
        let of = |backup: bool| {
            let ids = config.servers.iter().copied();
            ids.filter(move |&id| {
                shared.config.server(id).backup == backup && server::is_usable(shared.server(id))
            })
        };
        let active: Vec<Entry> = of(false).map(entry).collect();
        if !active.is_empty() {
            return active;
        }
        of(true)
            .take(if config.allbackups { usize::MAX } else { 1 })
            .map(entry)
            .collect()
    }

    /// Chooses a server for a new stream, and takes its place.
    pub fn pick(&mut self, shared: &Shared, ask: &Ask, now: Tick) -> Choice {
        if self.entries.is_empty() {
            return Choice::Nobody;
        }
        let in_backend = self.in_backend(shared);
        if let Some(id) = self.determined(shared, ask, now) {
            return self.pick_determined(shared, id, in_backend, now);
        }
        let waiting = shared.backend(self.backend).queued.load(SeqCst);
        if waiting > 0 {
            return Choice::Wait(Queue::Backend(self.backend));
        }
        let take = |id: ServerId| {
            shared.server(id).queued.load(SeqCst) == 0 && take(shared, id, in_backend, now)
        };
        if let Some(id) = self.choose(shared, ask.avoid, take) {
            self.count_chosen(shared, id);
            return Choice::Server(id);
        }
        let room = |id: ServerId| {
            let queued = shared.server(id).queued.load(SeqCst);
            Some(id) != ask.avoid && queued < shared.config.server(id).maxqueue
        };
        match self.algorithm.lightest_queue(room) {
            Some(id) => {
                self.count_chosen(shared, id);
                Choice::Wait(Queue::Server(id))
            }
            None => Choice::Wait(Queue::Backend(self.backend)),
        }
    }

    /// A server that failed and is to be tried with this connection ([`trial`]); its place is taken. For connections
    /// that the algorithm would send anywhere, before [`Self::pick`].
    pub fn take_trial(&mut self, shared: &Shared, now: Tick) -> Option<ServerId> {
        let active = |e: &Entry| !shared.config.server(e.id).backup;
        let suits =
            |id: ServerId| !shared.config.server(id).backup || !self.entries.iter().any(active);
        let mut due = self.tried.iter().copied();
        let id = due.find(|&id| suits(id) && trial::claim(shared, id, now))?;
        if !take(shared, id, self.in_backend(shared), now) {
            trial::give_back(shared, id, now);
            return None;
        }
        server::count_up(shared, self.shard, id);
        self.count_chosen(shared, id);
        Some(id)
    }

    fn pick_determined(&self, shared: &Shared, id: ServerId, in_backend: u64, now: Tick) -> Choice {
        let queued = shared.server(id).queued.load(SeqCst);
        let behind = server::is_limited(shared, id)
            && (queued > 0 || shared.backend(self.backend).queued.load(SeqCst) > 0);
        if !behind && take(shared, id, in_backend, now) {
            server::count_up(shared, self.shard, id);
            self.count_chosen(shared, id);
            return Choice::Server(id);
        }
        let most = shared.config.server(id).maxqueue;
        if most > 0 && queued >= most {
            Choice::Full(id)
        } else {
            self.count_chosen(shared, id);
            Choice::Wait(Queue::Server(id))
        }
    }

    /// Takes a place on this very server: a cookie, `use-server` or the like named it, and with `option
    /// persist` it may be down.
    ///
    /// It is waited for where it is full. Where its queue is full too, `option redispatch` lets the
    /// algorithm choose another one by `ask`, else the session ends with `SQ` ([`Choice::Full`]), whatever
    /// room others have. Not counted in `lbtot`, as in haproxy.
    pub fn take_server(&mut self, shared: &Shared, id: ServerId, ask: &Ask, now: Tick) -> Taken {
        let in_backend = self.in_backend(shared);
        let queued = shared.server(id).queued.load(SeqCst);
        // Those who wait for any server wait for this one only if the algorithm may give it to them.
        let before_us = || {
            queued > 0
                || self.may_choose(id) && shared.backend(self.backend).queued.load(SeqCst) > 0
        };
        let behind = server::is_limited(shared, id) && before_us();
        let own = |choice| Taken {
            choice,
            elsewhere: false,
        };
        if !behind && take(shared, id, in_backend, now) {
            server::count_up(shared, self.shard, id);
            return own(Choice::Server(id));
        }
        let most = shared.config.server(id).maxqueue;
        if most == 0 || queued < most {
            return own(Choice::Wait(Queue::Server(id)));
        }
        if shared.config.backend(self.backend).redispatch.0 == 0 {
            return own(Choice::Full(id));
        }
        Taken {
            choice: self.pick(shared, ask, now),
            elsewhere: true,
        }
    }

    /// Whether a stream that failed on one server may be sent to another without a pause: as in
    /// haproxy, where there are several active ones and none is determined by the client.
    pub fn has_alternatives(&self, shared: &Shared) -> bool {
        let config = &shared.config;
        let active = |e: &&Entry| !config.server(e.id).backup;
        !config.backend(self.backend).balance.is_keyed()
            && self.entries.iter().filter(active).nth(1).is_some()
    }

    /// The server that a key determines: the client's address under `balance source`, else
    /// [`Ask::key`]. One to be avoided, or full where `hash-preserve-affinity` lets go of it, gives way to
    /// the next one that suits.
    pub fn determined(&self, shared: &Shared, ask: &Ask, now: Tick) -> Option<ServerId> {
        let config = shared.config.backend(self.backend);
        let key = match config.balance {
            Balance::Source => keyed::of_address(ask.client?, config.hash_type.avalanche),
            Balance::Key(_) => ask.key?,
            _ => return None,
        };
        let other = |id: ServerId| Some(id) != ask.avoid;
        let serves = |id: ServerId| {
            let cell = shared.server(id);
            match config.hash_affinity {
                Affinity::Always => true,
                Affinity::Maxconn => has_place(shared, id, self.in_backend(shared), now),
                Affinity::Maxqueue => {
                    let most = shared.config.server(id).maxqueue;
                    most == 0 || cell.queued.load(SeqCst) < most
                }
            }
        };
        let choose =
            |suits: &dyn Fn(ServerId) -> bool| self.algorithm.determined(shared, key, suits);
        choose(&|id| other(id) && serves(id))
            .or_else(|| choose(&other))
            .or_else(|| choose(&|_| true))
    }

    /// Chooses for a stream that waited in the backend's queue. `may` says which servers it may have.
    pub(crate) fn pick_waiting(
        &mut self,
        shared: &Shared,
        now: Tick,
        may: impl Fn(ServerId) -> bool,
    ) -> Option<ServerId> {
        let in_backend = self.in_backend(shared);
        self.choose(shared, None, |id| {
            may(id) && take(shared, id, in_backend, now)
        })
    }

    fn choose(
        &mut self,
        shared: &Shared,
        avoid: Option<ServerId>,
        take: impl Fn(ServerId) -> bool,
    ) -> Option<ServerId> {
        let mut chosen = self
            .algorithm
            .choose(shared, &mut |id| Some(id) != avoid && take(id));
        if chosen.is_none()
            && let Some(last) = avoid
        {
            chosen = self
                .algorithm
                .choose(shared, &mut |id| id == last && take(id));
        }
        server::count_up(shared, self.shard, chosen?);
        chosen
    }

    /// `lbtot`: a server was determined for a stream. One that comes from the backend's queue is not
    /// counted, as in haproxy.
    fn count_chosen(&self, shared: &Shared, id: ServerId) {
        let own = &shared.shards[self.shard];
        own.servers[id.index()].chosen.inc();
        own.backends[self.backend.index()].chosen.inc();
    }

    /// Takes a place on this very server for a stream that waited in its queue.
    pub(crate) fn take_own(&self, shared: &Shared, id: ServerId, now: Tick) -> bool {
        let took = take(shared, id, self.in_backend(shared), now);
        if took {
            server::count_up(shared, self.shard, id);
        }
        took
    }

    /// Who may be chosen now, with the weight.
    pub fn usable_now(&self) -> Vec<(ServerId, u32)> {
        self.entries.iter().map(|e| (e.id, e.weight)).collect()
    }

    /// May the algorithm choose it now?
    pub(crate) fn may_choose(&self, id: ServerId) -> bool {
        self.entries.binary_search_by_key(&id, |e| e.id).is_ok()
    }

    /// Servers that the algorithm may choose and that have a place now.
    pub(crate) fn with_place<'a>(
        &'a self,
        shared: &'a Shared,
        now: Tick,
    ) -> impl Iterator<Item = ServerId> + 'a {
        let in_backend = self.in_backend(shared);
        self.entries
            .iter()
            .map(|e| e.id)
            .filter(move |&id| has_place(shared, id, in_backend, now))
    }

    /// Has this server a place now?
    pub(crate) fn place_on(&self, shared: &Shared, id: ServerId, now: Tick) -> bool {
        has_place(shared, id, self.in_backend(shared), now)
    }

    /// Sessions in the backend, where a limit depends on them.
    fn in_backend(&self, shared: &Shared) -> u64 {
        if self.follows_load {
            server::sessions_in(shared, self.backend)
        } else {
            0
        }
    }

    /// May another server than this one be chosen now?
    pub fn has_other(&self, than: Option<ServerId>) -> bool {
        self.entries.iter().any(|e| Some(e.id) != than)
    }

    /// When limits or weights of servers coming back take their next step.
    pub fn next_step(&self) -> Tick {
        self.next_step
    }
}

fn take(shared: &Shared, id: ServerId, in_backend: u64, now: Tick) -> bool {
    match server::limit(shared, id, in_backend, now) {
        Some(limit) => shared.server(id).take_place(limit),
        None => true,
    }
}

fn has_place(shared: &Shared, id: ServerId, in_backend: u64, now: Tick) -> bool {
    let taken = || shared.server(id).places.load(SeqCst);
    server::limit(shared, id, in_backend, now).is_none_or(|limit| taken() < limit)
}
