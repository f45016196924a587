//! The cells of one process: gauges with limits, versions, tickets, and every shard's own part.

use super::errors::Errors;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering::*};
use std::sync::{Arc, Mutex, OnceLock};

use arc_swap::ArcSwapOption;
use crossbeam::utils::CachePadded;

use super::census::Census;
use super::counters::{
    ActivityCounters, BackendCounters, ClearedCounters, Counter, FrontendCounters,
    ListenerCounters, ServerCounters,
};
use super::latency::Window;
use super::mailbox::{Mailbox, Message};
use super::server_cell::ServerCell;
use super::table::Table;
use super::versions::Left;
use crate::base::tick::Tick;
use crate::config::{BackendId, Config, FrontendId, Mode, ServerId};

/// No ticket waits.
pub const NO_TICKET: u64 = u64::MAX;

/// Where the process stands between start and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    Running = 0,
    /// SIGTTOU: listening sockets closed to new connections, still bound.
    Paused = 1,
    /// SIGUSR1: no new connections, ends with the last session.
    SoftStop = 2,
    /// SIGTERM, SIGINT: ends now.
    Stop = 3,
}

/// Whether the sockets of a frontend take connections, as an operator wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Door {
    Open = 0,
    /// `disable frontend`: closed to new connections, still bound.
    Paused = 1,
    /// `shutdown frontend`: given up for the life of the process.
    Shut = 2,
}

/// Everything shared by the shards and the control thread of one worker.
#[derive(Debug)]
pub struct Shared {
    /// Counts up from 0; see `versions`.
    pub(super) version: u64,
    pub config: Arc<Config>,
    pub process: Arc<ProcessShared>,
    pub frontends: Arc<[FrontendShared]>,
    pub backends: Table<BackendShared>,
    pub servers: Table<ServerCell>,
    /// Connections now open through each bind; counted only where `maxconn` of the bind limits them.
    pub binds: Arc<[CachePadded<AtomicU32>]>,
    pub shards: Box<[ShardShared]>,
    /// Messages that were refused.
    pub errors: Arc<Errors>,
    /// Places of servers that are gone: not to be used yet, to be used again.
    pub(super) left: Vec<Left>,
    pub(super) free: Vec<ServerId>,
}

/// Gauges and limits of the whole process.
#[derive(Debug)]
pub struct ProcessShared {
    /// Number of the version in force, and that version where it is not the first.
    pub(super) version: AtomicU64,
    pub(super) latest: ArcSwapOption<Shared>,
    pub pid: AtomicU32,
    phase: AtomicU8,
    /// Connections now open (frontend side); the limit is exact.
    pub connections: CachePadded<AtomicU32>,
    pub connections_max: AtomicU32,
    /// Limit in force: `maxconn`, or what the fd limit allows.
    pub maxconn: AtomicU32,
    /// Set while some shard left connections in a backlog for want of room.
    pub room_wanted: AtomicBool,
    /// Wall-clock microseconds since the epoch at tick 0.
    pub epoch_us: AtomicU64,
    /// Sessions refused a log line because a sink was full, by sinks outside the shards.
    pub logs_dropped: AtomicU64,
    /// Limits computed at start, for `show info`.
    pub ulimit_n: AtomicU64,
    pub maxsock: AtomicU64,
    pub maxpipes: AtomicU64,
    /// Connections and sessions a second that may begin, 0 unlimited.
    pub connection_rate_limit: AtomicU32,
    pub session_rate_limit: AtomicU32,
    /// `maxconnrate` and `maxsessrate` over all shards, packed as [`FrontendShared::limited_rate`].
    pub limited_rate: AtomicU64,
    /// The listening sockets were given to another process: what is done to them here is done to it.
    pub handed_over: Mutex<Vec<i32>>,
    /// Shards with listening sockets still open; at 0 no connection can come any more.
    pub listening: AtomicU32,
    /// Panics that the test command wants injected into drivers.
    pub panics_wanted: AtomicU32,
    /// Shards that still run.
    pub shards_alive: AtomicU32,
    /// Which poller serves: 0 io_uring, 1 epoll.
    pub poller: AtomicU8,
    /// Times accepting stopped at the process' limit.
    pub maxconn_reached: AtomicU64,
    pub warnings: AtomicU64,
    pub connection_rate_max: AtomicU64,
    pub session_rate_max: AtomicU64,
    /// Bytes sent to clients in the last whole second.
    pub bytes_out_rate: AtomicU64,
    /// Hints that found a full mailbox.
    pub hints_lost: AtomicU64,
    /// How many connections there are and how old, counted when asked.
    pub census: Census,
    /// Held while a server changes between up, down, maintenance and drain: one change at a time.
    pub changing: Mutex<()>,
}

/// Shared part of a frontend.
#[derive(Debug)]
pub struct FrontendShared {
    /// Connections now open; limited by `maxconn`, exact.
    pub connections: CachePadded<AtomicU32>,
    pub connections_max: AtomicU32,
    pub maxconn: AtomicU32,
    door: AtomicU8,
    /// `rate-limit sessions` over all shards: second and count packed (second << 32 | count).
    pub limited_rate: AtomicU64,
    pub session_rate_max: AtomicU64,
    pub connection_rate_max: AtomicU64,
    pub request_rate_max: AtomicU64,
    /// Which of its times are recent.
    pub window: Window,
}

/// Shared part of a backend.
#[derive(Debug)]
pub struct BackendShared {
    /// Raised at every change of a server in it (state, weight, administration).
    pub version: CachePadded<AtomicU64>,
    /// Next ticket of the queue: order of arrival over all shards, backend and server queues together.
    pub next_ticket: CachePadded<AtomicU64>,
    /// Streams waiting in the backend's own queue (not for one server).
    pub queued: AtomicU32,
    pub queued_max: AtomicU32,
    /// Streams waiting here and in its servers' queues.
    pub queued_total: AtomicU32,
    /// Streams admitted from the backend's own queue.
    pub admitted: AtomicU64,
    /// Most sessions ever in the backend at once.
    pub current_max: AtomicU32,
    pub session_rate_max: AtomicU64,
    /// Tick (ms) since it has no usable server; 0: it has one.
    pub down_since_ms: AtomicU64,
    /// Tick (ms) of the last change between up and down, and ms down before.
    pub changed_ms: AtomicU64,
    pub down_ms: AtomicU64,
    pub downs: AtomicU64,
    /// Which of its times are recent.
    pub window: Window,
}

/// What one shard shows to the others. Written by it alone, the mailbox and wake flag aside.
#[derive(Debug, Clone)]
pub struct ShardShared {
    own: Arc<CachePadded<ShardCells>>,
    /// Open connections by server. Those of the start are one dense row (16 servers a cache line).
    pub server_row: Table<AtomicU32>,
    /// Oldest ticket waiting here by backend, in the backend's own queue; [`NO_TICKET`] if none.
    pub backend_tickets: Table<AtomicU64>,
    /// Oldest ticket waiting here by server, in the server's own queue.
    pub server_tickets: Table<AtomicU64>,
    pub backends: Table<BackendCounters>,
    pub servers: Table<ServerCounters>,
}

/// The part of [`ShardShared`] that is one for the life of the process.
#[derive(Debug)]
pub struct ShardCells {
    pub mailbox: Mailbox,
    /// The version it took over last, and the places of gone servers that its sessions name.
    pub(super) version: AtomicU64,
    pub(super) holds: Mutex<Vec<ServerId>>,
    /// Wakes its thread; put in place by the shard before it first sleeps.
    pub bell: Bell,
    /// True from before it goes to sleep until it wakes: a sender wakes it only then.
    pub asleep: AtomicBool,
    /// Connections it holds, and its loop load in thousandths over the last second.
    pub connections: AtomicU32,
    pub load_permille: AtomicU32,
    pub frontends: Box<[FrontendCounters]>,
    pub listeners: Box<[ListenerCounters]>,
    pub activity: ActivityCounters,
    pub cleared: ClearedCounters,
    pub alive: AtomicBool,
    /// It waits with epoll, by choice or for want of a ring.
    pub epoll: AtomicBool,
    /// Where its thread ran a second ago at most, -1 unknown.
    pub cpu: AtomicI32,
}

/// How a sleeping shard is woken: a function its thread leaves here (it writes to an eventfd, or
/// marks a simulated shard as runnable). Silent until then.
#[derive(Default)]
pub struct Bell(OnceLock<Box<dyn Fn() + Send + Sync>>);

impl Bell {
    /// Puts the function in place; the first one stays.
    pub fn install(&self, ring: impl Fn() + Send + Sync + 'static) {
        let _ = self.0.set(Box::new(ring));
    }
    pub fn ring(&self) {
        if let Some(ring) = self.0.get() {
            ring();
        }
    }
}

impl std::fmt::Debug for Bell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bell")
    }
}

fn many<T, C: FromIterator<T>>(n: usize, make: impl FnMut(usize) -> T) -> C {
    (0..n).map(make).collect()
}

impl ShardShared {
    fn new(config: &Config) -> Self {
        let (servers, backends) = (config.servers.len(), config.backends.len());
        // Rows of neighbours must not share a cache line: round up to whole lines of 16. Servers added later take
        // what is left over first.
        let row = servers.next_multiple_of(16) + 16;
        let own = ShardCells {
            mailbox: Mailbox::default(),
            version: AtomicU64::new(0),
            holds: Mutex::default(),
            bell: Bell::default(),
            asleep: AtomicBool::new(false),
            connections: AtomicU32::new(0),
            load_permille: AtomicU32::new(0),
            frontends: many(config.frontends.len(), |_| FrontendCounters::default()),
            listeners: many(config.binds.len(), |_| ListenerCounters::default()),
            activity: ActivityCounters::default(),
            cleared: ClearedCounters::default(),
            alive: AtomicBool::new(false),
            epoll: AtomicBool::new(false),
            cpu: AtomicI32::new(-1),
        };
        Self {
            own: Arc::new(CachePadded::new(own)),
            server_row: Table::new((0..row).map(|_| AtomicU32::new(0))),
            backend_tickets: Table::new((0..backends).map(|_| AtomicU64::new(NO_TICKET))),
            server_tickets: Table::new((0..servers).map(|_| AtomicU64::new(NO_TICKET))),
            backends: Table::new((0..backends).map(|_| BackendCounters::default())),
            servers: Table::new((0..servers).map(|_| ServerCounters::default())),
        }
    }
}

impl std::ops::Deref for ShardShared {
    type Target = ShardCells;
    #[inline]
    fn deref(&self) -> &ShardCells {
        &self.own
    }
}

impl ShardShared {
    /// `clear counters all`, for what this shard counts. From the shard itself.
    pub fn clear(&self, config: &Config) {
        for (counters, front) in self.frontends.iter().zip(&config.frontends) {
            let requests = match front.mode {
                Mode::Tcp => &counters.sessions,
                Mode::Http => &counters.requests,
            };
            self.cleared.sessions.add(counters.sessions.get());
            self.cleared.requests.add(requests.get());
            self.cleared.bytes_out.add(counters.bytes_out.get());
            counters.clear();
        }
        self.listeners.iter().for_each(ListenerCounters::clear);
        self.backends.iter().for_each(BackendCounters::clear);
        self.servers.iter().for_each(ServerCounters::clear);
    }
}

impl Shared {
    /// Cells for `config` served by `shards` shards, all idle.
    pub fn new(config: Arc<Config>, shards: usize) -> Self {
        let frontends = many(config.frontends.len(), |i| FrontendShared {
            connections: CachePadded::default(),
            connections_max: AtomicU32::new(0),
            maxconn: AtomicU32::new(config.frontends[i].maxconn),
            door: AtomicU8::new(Door::Open as u8),
            limited_rate: AtomicU64::new(0),
            session_rate_max: AtomicU64::new(0),
            connection_rate_max: AtomicU64::new(0),
            request_rate_max: AtomicU64::new(0),
            window: Window::default(),
        });
        let backends = Table::new(config.backends.iter().map(|_| BackendShared::new()));
        let servers = Table::new(config.servers.iter().map(ServerCell::new));
        let binds = many(config.binds.len(), |_| CachePadded::default());
        let shard_cells = many(shards, |_| ShardShared::new(&config));
        Self {
            version: 0,
            left: Vec::new(),
            free: Vec::new(),
            process: Arc::new(ProcessShared {
                version: AtomicU64::new(0),
                latest: ArcSwapOption::empty(),
                pid: AtomicU32::new(0),
                phase: AtomicU8::new(Phase::Running as u8),
                connections: CachePadded::default(),
                connections_max: AtomicU32::new(0),
                maxconn: AtomicU32::new(config.global.maxconn.unwrap_or(u32::MAX)),
                room_wanted: AtomicBool::new(false),
                handed_over: Mutex::default(),
                epoch_us: AtomicU64::new(0),
                logs_dropped: AtomicU64::new(0),
                ulimit_n: AtomicU64::new(0),
                maxsock: AtomicU64::new(0),
                maxpipes: AtomicU64::new(0),
                connection_rate_limit: AtomicU32::new(config.global.maxconnrate),
                session_rate_limit: AtomicU32::new(config.global.maxsessrate),
                limited_rate: AtomicU64::new(0),
                listening: AtomicU32::new(0),
                panics_wanted: AtomicU32::new(0),
                shards_alive: AtomicU32::new(0),
                poller: AtomicU8::new(0),
                maxconn_reached: AtomicU64::new(0),
                warnings: AtomicU64::new(0),
                connection_rate_max: AtomicU64::new(0),
                session_rate_max: AtomicU64::new(0),
                bytes_out_rate: AtomicU64::new(0),
                hints_lost: AtomicU64::new(0),
                census: Census::default(),
                changing: Mutex::new(()),
            }),
            errors: Arc::new(Errors::new(config.proxies.len())),
            config,
            frontends,
            backends,
            servers,
            binds,
            shards: shard_cells,
        }
    }

    /// Wall-clock microseconds since the epoch at `tick`.
    pub fn wall_us(&self, tick: Tick) -> u64 {
        self.process.epoch_us.load(Relaxed) + tick.0 * 1000
    }

    pub fn server(&self, id: ServerId) -> &ServerCell {
        &self.servers[id.index()]
    }
    pub fn backend(&self, id: BackendId) -> &BackendShared {
        &self.backends[id.index()]
    }
    pub fn frontend(&self, id: FrontendId) -> &FrontendShared {
        &self.frontends[id.index()]
    }

    /// Tells every shard that a server of this backend changed.
    pub fn bump(&self, backend: BackendId) {
        self.backends[backend.index()].version.fetch_add(1, AcqRel);
        self.hint_all(|| Message::State);
    }

    /// Leaves a message for `shard` and wakes it if it sleeps. A full mailbox gives the message back;
    /// losing a hint then costs nothing: its owner is awake and compares versions in its next turn.
    pub fn send(&self, shard: usize, message: Message) -> Result<(), Message> {
        let to = &self.shards[shard];
        to.mailbox.send(message)?;
        if to.asleep.swap(false, AcqRel) {
            to.bell.ring();
        }
        Ok(())
    }

    /// [`Shared::send`] for what may be lost.
    pub fn hint(&self, shard: usize, message: Message) {
        if self.send(shard, message).is_err() {
            self.process.hints_lost.fetch_add(1, Relaxed);
        }
    }

    /// The same hint for all shards.
    pub fn hint_all(&self, message: impl Fn() -> Message) {
        for shard in 0..self.shards.len() {
            self.hint(shard, message());
        }
    }

    /// Connections open to `server`, over all shards.
    pub fn server_connections(&self, id: ServerId) -> u32 {
        self.shards
            .iter()
            .map(|s| s.server_row[id.index()].load(Relaxed))
            .fold(0, u32::wrapping_add)
    }

    /// Sum of one counter over all shards.
    pub fn sum(&self, of: impl Fn(&ShardShared) -> &Counter) -> u64 {
        self.shards
            .iter()
            .map(|s| of(s).get())
            .fold(0, u64::wrapping_add)
    }

    pub fn phase(&self) -> Phase {
        self.process.phase()
    }
}

impl BackendShared {
    fn new() -> Self {
        Self {
            version: CachePadded::new(AtomicU64::new(1)),
            next_ticket: CachePadded::default(),
            queued: AtomicU32::new(0),
            queued_max: AtomicU32::new(0),
            queued_total: AtomicU32::new(0),
            admitted: AtomicU64::new(0),
            current_max: AtomicU32::new(0),
            session_rate_max: AtomicU64::new(0),
            down_since_ms: AtomicU64::new(0),
            changed_ms: AtomicU64::new(0),
            down_ms: AtomicU64::new(0),
            downs: AtomicU64::new(0),
            window: Window::default(),
        }
    }
}

impl FrontendShared {
    pub fn door(&self) -> Door {
        match self.door.load(Acquire) {
            0 => Door::Open,
            1 => Door::Paused,
            _ => Door::Shut,
        }
    }
    /// Shards follow at the next `Message::Doors`, within a second at most.
    pub fn set_door(&self, door: Door) {
        self.door.store(door as u8, Release);
    }
}

impl ProcessShared {
    pub fn phase(&self) -> Phase {
        match self.phase.load(Acquire) {
            0 => Phase::Running,
            1 => Phase::Paused,
            2 => Phase::SoftStop,
            _ => Phase::Stop,
        }
    }
    pub fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Release);
    }
}
