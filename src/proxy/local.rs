//! What the drivers of one shard share: configuration, cells, views, timers, slots.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use super::check::Probe;
use super::http;
use super::listener::{self, Listener};
use super::logs::ShardLogs;
use super::passwords::Passwords;
use super::tcp::Relay;
use super::trace::Trace;
use crate::backend::persist::Values;
use crate::backend::pool::Pool;
use crate::backend::{BackendView, WaitRoom};
use crate::base::clock::LocalClock;
use crate::base::slots::{Key, Slots};
use crate::base::tick::{Moment, Tick};
use crate::base::wheel::Wheel;
use crate::config::{BackendId, BindId, Config, Frontend, FrontendId};
use crate::io::op::SockKey;
use crate::lang::acl::{First, SwitchIndex};
use crate::lang::sample::{Arena, Owned};
use crate::lang::subject::{Subject, VarId};
use crate::observe::stats::Facts;
use crate::shared::{Message, ShardShared, Shared};

/// Whom a timer wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    Relay(Key),
    Http(Key),
    Listener(u32),
    Probe(u32),
    /// The once-a-second work of the shard.
    Second,
}

/// Who owns a socket, packed into the word the engine carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Relay(Key),
    /// A session in HTTP mode; a server connection waiting in the pool.
    Http(Key),
    Idle(Key),
    Listener(u32),
    /// Probe by index, and the attempt it was opened for.
    Probe(u32, u32),
}

const TAG: u32 = 56;
/// Transactions kept for the next requests.
const SPARE_TXNS: usize = 256;

impl Owner {
    pub fn pack(self) -> u64 {
        match self {
            Self::Relay(key) => 1 << TAG | key.pack(),
            Self::Http(key) => 4 << TAG | key.pack(),
            Self::Idle(key) => 5 << TAG | key.pack(),
            Self::Listener(index) => 2 << TAG | u64::from(index),
            Self::Probe(index, attempt) => {
                3 << TAG | u64::from(attempt & 0xff_ffff) << 32 | u64::from(index)
            }
        }
    }
    pub fn unpack(word: u64) -> Self {
        let low = word as u32;
        match word >> TAG {
            1 => Self::Relay(Key::unpack(word & ((1 << TAG) - 1))),
            4 => Self::Http(Key::unpack(word & ((1 << TAG) - 1))),
            5 => Self::Idle(Key::unpack(word & ((1 << TAG) - 1))),
            2 => Self::Listener(low),
            _ => Self::Probe(low, (word >> 32) as u32 & 0xff_ffff),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Local {
    pub shared: Arc<Shared>,
    pub config: Arc<Config>,
    pub shard: usize,
    /// Tick of this turn.
    pub now: Tick,
    /// The same to the microsecond: for times that are measured.
    pub moment: Moment,
    /// One per backend, by its id.
    pub views: Vec<BackendView>,
    pub waits: WaitRoom<Owner>,
    pub logs: ShardLogs,
    pub timers: Wheel<Timer>,
    pub relays: Slots<Relay>,
    pub sessions: Slots<http::Place>,
    /// Transactions to lend, their memory kept.
    pub spare_txns: Vec<Box<http::Txn>>,
    /// Idle server connections.
    pub pool: Pool<SockKey>,
    /// What one evaluation makes; reset after it.
    pub arena: Arena,
    /// Heads are written here first.
    pub scratch: Vec<u8>,
    /// Variables of the process (`set-var` in global), as this shard sees them.
    pub vars: Vec<(VarId, Owned)>,
    /// By frontend: which `use_backend` line holds first.
    pub switches: Vec<SwitchIndex>,
    /// Version of the patterns that they were made of.
    patterns_seen: u64,
    pub hostname: String,
    pub passwords: Passwords,
    /// By backend: the servers that values of its cookie name.
    pub cookies: Vec<Values>,
    /// For the statistics page: what never changes.
    pub facts: Arc<Facts>,
    /// For dates in log formats; lent out while one is rendered.
    pub clock: Option<LocalClock>,
    random: Cell<u64>,
    /// Streams begun here.
    streams: Cell<u64>,
    pub listeners: Vec<Listener>,
    /// By frontend: its sessions need the address the client connected to.
    pub needs_local: Box<[bool]>,
    pub probes: Vec<Probe>,
    /// Panics still to be injected by the test command.
    pub panics_wanted: u32,
    /// Some time went by between two turns: until here, what came meanwhile may not have been told in whole.
    pub lull_over: Tick,
    /// Told what drivers do, and why, where somebody asks (`ringway explain`); `None` in service.
    pub trace: Option<Box<Trace>>,
    /// When this shard saw the soft stop begin.
    pub stopping_since: Option<Tick>,
    /// Gave a place of the process or a frontend back while somebody waits for one.
    pub room_freed: bool,
}

impl Local {
    /// A turn begins.
    pub fn set_clock(&mut self, moment: Moment) {
        (self.now, self.moment) = (moment.tick(), moment);
    }

    pub fn new(
        shared: Arc<Shared>,
        shard: usize,
        logs: ShardLogs,
        now: Tick,
        seed: u64,
        relays: usize,
    ) -> Self {
        let config = Arc::clone(&shared.config);
        let views = (0..config.backends.len())
            .map(|i| BackendView::new(&shared, BackendId(i as u32), shard, seed ^ i as u64))
            .collect();
        Self {
            waits: WaitRoom::new(&shared, shard),
            views,
            shard,
            now,
            moment: now.into(),
            logs,
            timers: Wheel::new(now),
            relays: Slots::new(relays),
            sessions: Slots::new(relays),
            spare_txns: Vec::new(),
            pool: Pool::new(&shared, shard, relays),
            arena: Arena::new(),
            scratch: Vec::new(),
            vars: Vec::new(),
            hostname: nix::unistd::gethostname()
                .map_or_else(|_| String::new(), |n| n.to_string_lossy().into_owned()),
            clock: Some(LocalClock::new(crate::io::sys::localtime::offset_s)),
            cookies: (0..config.backends.len())
                .map(|i| Values::new(&config, BackendId(i as u32)))
                .collect(),
            passwords: Passwords::default(),
            switches: switches(&config),
            patterns_seen: config.lists.version(),
            facts: Arc::default(),
            random: Cell::new(seed | 1),
            streams: Cell::new(0),
            listeners: Vec::new(),
            needs_local: needs_local(&config),
            probes: Vec::new(),
            panics_wanted: 0,
            lull_over: now,
            trace: None,
            stopping_since: None,
            room_freed: false,
            config,
            shared,
        }
    }

    /// Takes a later version over: what is computed from the lists of servers is computed anew where they changed.
    pub fn take_version(&mut self, next: Arc<Shared>) {
        let before = std::mem::replace(&mut self.config, Arc::clone(&next.config));
        self.shared = next;
        let config = &self.config;
        let backends = 0..config.backends.len();
        let changed = backends.filter(|&at| !config.backends.same(&before.backends, at));
        let mut asks = false;
        for at in changed {
            let id = BackendId(at as u32);
            self.views[at].follow(&self.shared, self.now);
            self.cookies[at] = Values::new(config, id);
            asks |= listener::asks_addresses(config, config.backend(id));
        }
        self.pool.follow(&self.shared);
        if asks {
            self.needs_local = needs_local(config);
            let needs = |l: &Listener| listener::needs_peer(config, l.bind());
            let needs: Vec<bool> = self.listeners.iter().map(needs).collect();
            for (listener, needs) in self.listeners.iter_mut().zip(needs) {
                listener.set_needs_peer(needs);
            }
        }
    }

    /// Takes a transaction back, to be lent again. What it holds of buffers goes at once.
    pub fn give_txn(&mut self, mut txn: Box<http::Txn>) {
        txn.renew();
        if self.spare_txns.len() < SPARE_TXNS {
            self.spare_txns.push(txn);
        }
    }

    /// Takes back what an evaluation used.
    pub fn give_arena(&mut self, mut arena: Arena) {
        arena.reset();
        self.arena = arena;
    }

    /// The number of a new stream (`%rt`): unique in the process, counted from 0 where there is one shard.
    pub fn stream_number(&self) -> u64 {
        let before = self.streams.replace(self.streams.get() + 1);
        before * self.shared.shards.len() as u64 + self.shard as u64
    }

    /// A number nobody can guess from the last (xorshift64*), seeded at start.
    pub fn random(&self) -> u32 {
        let mut x = self.random.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.random.set(x);
        (x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    /// This shard's own cells.
    #[inline]
    pub fn cells(&self) -> &ShardShared {
        &self.shared.shards[self.shard]
    }

    /// Takes a place of the process, the frontend and the bind for one more connection, or none of them.
    pub fn take_room(&self, bind: BindId) -> bool {
        let process = &self.shared.process;
        if !raise(&process.connections, process.maxconn.load(Relaxed)) {
            return false;
        }
        let spec = self.config.bind(bind);
        let front = self.shared.frontend(spec.frontend);
        let limit = front.maxconn.load(Relaxed);
        let limit = if limit == 0 { u32::MAX } else { limit };
        if !raise(&front.connections, limit) {
            process.connections.fetch_sub(1, SeqCst);
            return false;
        }
        if spec.maxconn > 0 && !raise(&self.shared.binds[bind.index()], spec.maxconn) {
            front.connections.fetch_sub(1, SeqCst);
            process.connections.fetch_sub(1, SeqCst);
            return false;
        }
        true
    }

    /// [`Local::take_room`] past every limit, for what a listener that is left still holds.
    pub fn force_room(&self, bind: BindId) {
        let spec = self.config.bind(bind);
        let (process, front) = (&self.shared.process, self.shared.frontend(spec.frontend));
        process.connections.fetch_add(1, SeqCst);
        front.connections.fetch_add(1, SeqCst);
        if spec.maxconn > 0 {
            self.shared.binds[bind.index()].fetch_add(1, SeqCst);
        }
    }

    /// Notes how many connections are open now that one has come. Not when its place was taken: that
    /// happens before each accept, also before the one that finds nothing.
    pub fn note_peaks(&self, frontend: FrontendId) {
        let (process, front) = (&self.shared.process, self.shared.frontend(frontend));
        note(
            &process.connections,
            &process.connections_max,
            process.maxconn.load(Relaxed),
        );
        let limit = match front.maxconn.load(Relaxed) {
            0 => u32::MAX,
            limit => limit,
        };
        note(&front.connections, &front.connections_max, limit);
    }

    /// The first `use_backend` line of a frontend that holds.
    pub fn first_switch(&self, id: FrontendId, subject: &dyn Subject, arena: &Arena) -> First {
        match &self.trace {
            None => self.switches[id.index()].first(subject, arena),
            Some(trace) => {
                let rules = self.config.switching(id).iter();
                let rules = rules.map(|rule| (rule.when.as_ref(), rule.span));
                trace.first(rules, subject, arena, &self.config)
            }
        }
    }

    /// An operator may have changed patterns: what is indexed by them is indexed anew.
    pub fn follow_patterns(&mut self) {
        let version = self.config.lists.version();
        if std::mem::replace(&mut self.patterns_seen, version) != version {
            self.switches = switches(&self.config);
        }
    }

    /// Gives the places back. Waiters are told once, at the end of the turn.
    pub fn give_room(&mut self, bind: BindId) {
        let spec = self.config.bind(bind);
        if spec.maxconn > 0 {
            self.shared.binds[bind.index()].fetch_sub(1, SeqCst);
        }
        self.shared
            .frontend(spec.frontend)
            .connections
            .fetch_sub(1, SeqCst);
        self.shared.process.connections.fetch_sub(1, SeqCst);
        self.room_freed = true;
    }

    /// Tells all shards that left connections in a backlog, if there are any.
    pub fn announce_room(&mut self) {
        if std::mem::take(&mut self.room_freed)
            && self.shared.process.room_wanted.swap(false, SeqCst)
        {
            self.shared.hint_all(|| Message::Room);
        }
    }
}

fn needs_local(config: &Config) -> Box<[bool]> {
    (0..config.frontends.len())
        .map(|i| listener::needs_local(config, FrontendId(i as u32)))
        .collect()
}

fn switches(config: &Config) -> Vec<SwitchIndex> {
    let frontends = config.frontends.iter();
    frontends.map(|f| switch_index(config, f)).collect()
}

fn switch_index(config: &Config, frontend: &Frontend) -> SwitchIndex {
    let rules = &config.proxy(frontend.proxy).http.switching;
    SwitchIndex::new(rules.iter().map(|rule| rule.when.as_ref()))
}

fn note(gauge: &AtomicU32, peak: &AtomicU32, limit: u32) {
    let now = gauge.load(Relaxed).min(limit);
    if now > peak.load(Relaxed) {
        peak.fetch_max(now, Relaxed);
    }
}

fn raise(gauge: &AtomicU32, limit: u32) -> bool {
    gauge
        .fetch_update(SeqCst, SeqCst, |n| (n < limit).then_some(n + 1))
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_survives_packing() {
        let key = Key {
            index: 5,
            generation: 0xff_ffff,
        };
        for owner in [
            Owner::Relay(key),
            Owner::Listener(9),
            Owner::Probe(3, 0xab_cdef),
        ] {
            assert_eq!(Owner::unpack(owner.pack()), owner);
        }
    }
}
