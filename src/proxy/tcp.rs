//! One TCP session from accept to close: choose a server, wait for a place, connect, relay.
//!
//! Stages, in order of life: `Header` (PROXY header of `accept-proxy`) · `Queue` · `Connect` ·
//! `Pause` (before a retry on the same server) · `Relay`. Then it is finished, in one function.
//!
//! While relaying each direction is a [`Half`] that is either reading or writing, so what it holds
//! is one buffer or one pipe; its `Pace` decides which. A half-close is passed on once everything
//! before it was delivered; the other direction goes on.
//!
//! The type and its opening are here; then, in order of life: `header`, `reach` (choose, wait, connect),
//! `half` (relay), `time` (deadlines), `ending`.

mod ending;
mod half;
mod header;
mod inspect;
mod line;
mod reach;
mod show;
mod time;

use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};

use super::connect::{self, Ends};
use super::gate::{Entered, Held};
use super::local::{Local, Owner, Timer};
use super::outcome::{Cause, StageReached, letters};
use super::pace::Pace;
use crate::backend::{self, Ask, Choice, Queue, Taken, Ticket, trial};
use crate::base::slots::Key;
use crate::base::tick::{Moment, Tick};
use crate::base::wheel::TimerId;
use crate::config::{
    BackendId, BindId, FrontendId, LogFormat, ProxyId, ProxyProtocol, ServerId, Splice,
};
use crate::io::buf::Buf;
use crate::io::engine::Io;
use crate::io::kernel::Errno;
use crate::io::op::{Connect, Done, Op, SockKey, What};
use crate::io::pipe::Pipe;
use crate::observe::log::line::{NO_SERVER, Peer, TcpRecord};
use crate::proto::proxy_header::{self, ProxyError};
use ending::*;
pub use ending::{kill, name_gone, server_of, stage_name};
use half::*;
use header::*;
use reach::*;
pub(super) use reach::{
    count_again, count_attempt, count_backend, count_reached, may_redispatch, proxy_bytes, slide,
};
pub use reach::{note_position, on_admitted};
pub use show::{ages, row};
pub use time::on_timer;
use time::*;

/// Longest pause before a retry on the same server.
const RETRY_PAUSE_MS: u32 = 1000;
/// Counters of a long stream are brought up to date after this many bytes.
const FLUSH_BYTES: u64 = 1 << 20;
/// Longest PROXY header we wait for.
const HEADER_MAX: usize = proxy_header::V2_MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Waits for the PROXY header.
    Header,
    /// Content rules hold the client's first bytes.
    Inspect,
    Queue,
    Connect,
    /// Before the next attempt on the same server.
    Pause,
    Relay,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// Not started, or nothing may move yet.
    Idle,
    Reading,
    Writing,
    /// End of stream passed on, or given up.
    Done,
}

/// One direction.
#[derive(Debug)]
struct Half {
    flow: Flow,
    /// End of stream was read; passed on when what came before is delivered.
    eof: bool,
    pace: Pace,
    bytes: u64,
    counted: u64,
    /// Read before the other side was connected.
    early: Option<Buf>,
    /// A receive goes on while `early` is held: content rules passed it at the end of their delay.
    holds: bool,
}

impl Half {
    fn new(splice: Splice) -> Self {
        Self {
            flow: Flow::Idle,
            eof: false,
            pace: Pace::new(splice),
            bytes: 0,
            counted: 0,
            early: None,
            holds: false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dir {
    /// Client to server.
    Up,
    Down,
}

/// One session.
#[derive(Debug)]
pub struct Relay {
    /// Its number in the process.
    number: u64,
    stage: Stage,
    bind: BindId,
    frontend: FrontendId,
    backend: Option<BackendId>,
    /// The server whose row and place are taken now.
    server: Option<ServerId>,
    /// For the log: the last server tried.
    last_server: Option<ServerId>,
    client: SockKey,
    server_sock: Option<SockKey>,
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
    up: Half,
    down: Half,
    accepted: Moment,
    /// When the queue was left, and when the server answered.
    dequeued: Option<Moment>,
    connected: Option<Moment>,
    stage_since: Tick,
    client_rx: Tick,
    client_tx: Tick,
    server_rx: Tick,
    server_tx: Tick,
    /// Those on the same server: what the log and the counters call retries.
    retries: u32,
    redispatched: bool,
    /// Next attempt goes elsewhere.
    redispatch_now: bool,
    /// A rule or a cookie named the server.
    direct: bool,
    /// It tries a server that failed, and nothing is decided yet; it did so.
    trial: bool,
    tried: bool,
    ticket: Option<Ticket>,
    queue_position: backend::Position,
    timer: Option<(TimerId, Tick)>,
    /// A cause fixed before the end is reached (the server broke, the rest still goes to the client).
    cause: Option<Cause>,
    logged: bool,
    /// PROXY header received so far.
    header: Vec<u8>,
    sending_header: bool,
    /// Counted as a session of its backend.
    counted: bool,
    /// The client broke the connection: the server sees the same (as haproxy does; not the other way round).
    broke: bool,
    /// What rules learned; whose content rules look at the client's bytes; since when at the server's, and that they
    /// passed them.
    held: Option<Box<Held>>,
    inspected: Option<ProxyId>,
    answer_since: Option<Tick>,
    response_passed: bool,
}

// ---------------------------------------------------------------- opening

/// A connection of `bind` begins its session here; its places are taken already.
pub fn open(local: &mut Local, io: &mut dyn Io, bind: BindId, fd: RawFd, entered: Entered) {
    let spec = local.config.bind(bind);
    let frontend_id = spec.frontend;
    let accept_proxy = spec.accept_proxy || entered.expect_proxy;
    let peer = entered.peer;
    let frontend = local.config.frontend(frontend_id);
    let (splice_up, splice_down) = splice_modes(local, frontend_id, frontend.default_backend);
    let now = local.now;
    let relay = Relay {
        number: local.stream_number(),
        stage: if accept_proxy {
            Stage::Header
        } else {
            Stage::Connect
        },
        bind,
        frontend: frontend_id,
        backend: frontend.default_backend,
        server: None,
        last_server: None,
        client: SockKey(Key {
            index: 0,
            generation: 0,
        }),
        server_sock: None,
        peer,
        local: None,
        up: Half::new(splice_up),
        down: Half::new(splice_down),
        accepted: local.moment,
        dequeued: None,
        connected: None,
        stage_since: now,
        client_rx: now,
        client_tx: now,
        server_rx: now,
        server_tx: now,
        retries: 0,
        redispatched: false,
        redispatch_now: false,
        direct: false,
        trial: false,
        tried: false,
        ticket: None,
        queue_position: backend::Position::default(),
        timer: None,
        cause: None,
        logged: false,
        header: Vec::new(),
        sending_header: false,
        counted: false,
        broke: false,
        held: (!entered.vars.is_empty()).then(|| {
            Box::new(Held {
                vars: entered.vars,
                ..Held::default()
            })
        }),
        inspected: None,
        answer_since: None,
        response_passed: false,
    };
    let Ok(key) = local.relays.insert(relay) else {
        refuse(local, io, bind, fd);
        return;
    };
    let client = match io.adopt(fd, Owner::Relay(key).pack()) {
        Ok(client) => client,
        Err(fd) => {
            local.relays.remove(key);
            refuse(local, io, bind, fd);
            return;
        }
    };
    count_open(local, bind, frontend_id);
    let wants_local = local.needs_local[frontend_id.index()];
    let relay = local.relays.get_mut(key).expect("just inserted");
    relay.client = client;
    if wants_local {
        relay.local = io.local_address(client);
    }
    log_connect(local, io, key);
    let relay = local.relays.get_mut(key).expect("just inserted");
    // Reading starts at once: what came early is held and an abort is seen while waiting.
    relay.up.flow = Flow::Reading;
    io.push(Op::Recv { sock: client });
    if !accept_proxy {
        inspect::begin(local, io, key);
    } else {
        rearm(local, key);
    }
}

/// Out of slots: the limits computed at start make this impossible unless they were lowered by hand.
pub(super) fn refuse(local: &mut Local, io: &mut dyn Io, bind: BindId, fd: RawFd) {
    io.drop_fd(fd);
    local.cells().connections.fetch_sub(1, AcqRel);
    local.give_room(bind);
}

pub(super) fn splice_modes(
    local: &Local,
    frontend: FrontendId,
    backend: Option<BackendId>,
) -> (Splice, Splice) {
    if local.config.global.nosplice {
        return (Splice::Never, Splice::Never);
    }
    let front = local.config.frontend(frontend);
    let Some(back) = backend.map(|b| local.config.backend(b)) else {
        return (Splice::Never, Splice::Never);
    };
    (
        stricter(front.splice_request, back.splice_request),
        stricter(front.splice_response, back.splice_response),
    )
}

/// `never` on either side wins, then `always`.
fn stricter(a: Splice, b: Splice) -> Splice {
    match (a, b) {
        (Splice::Never, _) | (_, Splice::Never) => Splice::Never,
        (Splice::Always, _) | (_, Splice::Always) => Splice::Always,
        _ => Splice::Earned,
    }
}

pub(super) fn count_open(local: &Local, bind: BindId, frontend: FrontendId) {
    let cells = local.cells();
    let front = &cells.frontends[frontend.index()];
    front.connections.inc();
    front.sessions.inc();
    front.connection_rate.hit(local.now);
    front.session_rate.hit(local.now);
    local.note_peaks(frontend);
    let listener = &cells.listeners[bind.index()];
    listener.sessions.inc();
    listener.current.inc();
    listener.current_max.raise(listener.current.get());
}

/// The default log line is written when the connection comes in.
fn log_connect(local: &mut Local, io: &mut dyn Io, key: Key) {
    let relay = local.relays.get(key).expect("called by open");
    let frontend = local.config.frontend(relay.frontend);
    if frontend.log.is_empty() || frontend.log_format != LogFormat::Connect {
        return;
    }
    let to = relay.local.or_else(|| io.local_address(relay.client));
    let unix = Peer::Unix {
        bind: local.config.bind(relay.bind).luid,
    };
    let from = relay.peer.map_or(unix, Peer::Ip);
    let to = to.map_or(unix, Peer::Ip);
    let wall = local.shared.wall_us(local.now);
    let name = &local.config.proxy(frontend.proxy).name;
    local.logs.connect(
        &frontend.log,
        frontend.log_tag.as_deref(),
        wall,
        (from, to),
        name,
        frontend.mode,
    );
}

// ---------------------------------------------------------------- completions

/// One completion for this session.
pub fn on_done(local: &mut Local, io: &mut dyn Io, key: Key, done: Done) {
    let Some(relay) = local.relays.get(key) else {
        // The session ended in this very turn; what it lent comes back.
        local.cells().activity.stale_completions.inc();
        drop_payload(io, done.what);
        return;
    };
    let from_client = done.sock == relay.client;
    if !from_client && relay.server_sock != Some(done.sock) {
        local.cells().activity.stale_completions.inc();
        drop_payload(io, done.what);
        return;
    }
    if local.panics_wanted > 0 {
        local.panics_wanted -= 1;
        drop_payload(io, done.what);
        panic!("injected by the test command");
    }
    // Who read is the sender of a direction; who wrote is its receiver.
    let (reader, writer) = if from_client {
        (Dir::Up, Dir::Down)
    } else {
        (Dir::Down, Dir::Up)
    };
    match done.what {
        What::Received { buf } => on_received(local, io, key, reader, buf),
        What::Eof => on_eof(local, io, key, reader),
        What::RecvFailed { .. } => on_recv_failed(local, io, key, reader),
        What::Sent { bytes, left } => on_sent(local, io, key, writer, bytes, left),
        What::SendFailed { .. } => on_send_failed(local, io, key, writer),
        What::Filled { pipe, bytes, eof } => on_filled(local, io, key, reader, pipe, bytes, eof),
        What::NoPipe => on_no_pipe(local, io, key, reader),
        What::Drained {
            pipe,
            bytes,
            blocked,
            ..
        } => on_drained(local, io, key, writer, pipe, bytes, blocked),
        What::Connected => on_connected(local, io, key),
        What::ConnectFailed { errno } => on_connect_failed(local, io, key, errno),
        What::Accepted { .. } | What::Acceptable | What::AcceptEnded { .. } => {
            unreachable!("listeners have owners of their own")
        }
    }
}

/// Takes back what a completion carries that nobody waits for.
pub fn drop_payload(io: &mut dyn Io, what: What) {
    match what {
        What::Received { buf } => io.give_buf(buf),
        What::Filled { pipe, .. }
        | What::Drained {
            pipe: Some(pipe), ..
        } => io.give_pipe(pipe),
        What::Accepted { fd } => io.drop_fd(fd),
        _ => {}
    }
}

fn on_connect_failed(local: &mut Local, io: &mut dyn Io, key: Key, errno: Errno) {
    let cause = if errno.0 == libc::ETIMEDOUT {
        Cause::ServerTimeout
    } else {
        Cause::Server
    };
    connect_failed(local, io, key, cause, errno.0 == libc::ETIMEDOUT);
}

impl Relay {
    fn half(&mut self, dir: Dir) -> &mut Half {
        match dir {
            Dir::Up => &mut self.up,
            Dir::Down => &mut self.down,
        }
    }
    fn source(&self, dir: Dir) -> Option<SockKey> {
        match dir {
            Dir::Up => Some(self.client),
            Dir::Down => self.server_sock,
        }
    }
    fn sink(&self, dir: Dir) -> Option<SockKey> {
        match dir {
            Dir::Up => self.server_sock,
            Dir::Down => Some(self.client),
        }
    }
    fn ends(&self) -> Ends {
        Ends {
            client: self.peer,
            local: self.local,
        }
    }
    /// What the client says waits: for the server, or for the PROXY header before it. (A server may speak first.)
    fn holds_back(&self, dir: Dir) -> bool {
        dir == Dir::Up && (self.stage != Stage::Relay || self.sending_header)
    }
    /// The reading side of `dir` was active.
    fn read_at(&mut self, dir: Dir, now: Tick) {
        match dir {
            Dir::Up => self.client_rx = now,
            Dir::Down => self.server_rx = now,
        }
    }
    /// The writing side of `dir` was active; unless streams are independent, writing counts as life.
    fn wrote_at(&mut self, dir: Dir, now: Tick, independent: bool) {
        match dir {
            Dir::Up => {
                self.server_tx = now;
                if !independent {
                    self.server_rx = now;
                }
            }
            Dir::Down => {
                self.client_tx = now;
                if !independent {
                    self.client_rx = now;
                }
            }
        }
    }
    fn write_begins(&mut self, dir: Dir, now: Tick) {
        match dir {
            Dir::Up => self.server_tx = now,
            Dir::Down => self.client_tx = now,
        }
    }
}
