//! One TCP session from accept to close: choose a server, wait for a place, connect, relay.
//!
//! Stages, in order of life: `Header` (PROXY header of `accept-proxy`) · `Queue` · `Connect` ·
//! `Pause` (before a retry on the same server) · `Relay`. Then it is finished, in one function.
//!
//! While relaying each direction is a [`Half`] that is either reading or writing, so what it holds
//! is one buffer or one pipe. It starts by copying, earns a pipe by two full reads in a row, and
//! gives it up after three small splices (design: splicing pays from about 32 KB on). A half-close
//! is passed on once everything before it was delivered; the other direction goes on.

use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};

use super::connect::{self, Ends};
use super::listener;
use super::local::{Local, Owner, Timer};
use super::outcome::{Cause, StageReached, letters};
use crate::backend::{self, Ask, Choice, Queue, Ticket};
use crate::base::slots::Key;
use crate::base::tick::Tick;
use crate::base::wheel::TimerId;
use crate::config::{
    BackendId, Balance, BindId, FrontendId, LogFormat, ProxyProtocol, ServerId, Splice,
};
use crate::io::buf::Buf;
use crate::io::engine::Io;
use crate::io::kernel::Errno;
use crate::io::op::{Connect, Done, Op, SockKey, What};
use crate::io::pipe::Pipe;
use crate::observe::log::line::{NO_SERVER, Peer, TcpRecord};
use crate::proto::proxy_header::{self, ProxyError};

/// Full reads in a row that earn a pipe, and small splices in a row that lose it.
const EARN: u8 = 2;
const LOSE: u8 = 3;
/// A splice below this is small.
const SMALL_SPLICE: u32 = 8192;
/// What a direction may hold in a pipe at first; doubles while the receiver keeps up.
const PIPE_START: u32 = 65_536;
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
    splicing: bool,
    /// Full reads (copying) or small splices (splicing) in a row.
    streak: u8,
    /// The receiver blocked since the last fill.
    blocked: bool,
    /// End of stream was read; passed on when what came before is delivered.
    eof: bool,
    splice: Splice,
    pipe_limit: u32,
    bytes: u64,
    counted: u64,
    /// Read before the other side was connected.
    early: Option<Buf>,
}

impl Half {
    fn new(splice: Splice) -> Self {
        Self {
            flow: Flow::Idle,
            splicing: splice == Splice::Always,
            streak: 0,
            blocked: false,
            eof: false,
            splice,
            pipe_limit: PIPE_START,
            bytes: 0,
            counted: 0,
            early: None,
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
    accepted: Tick,
    /// When the queue was left, and when the server answered.
    dequeued: Option<Tick>,
    connected: Option<Tick>,
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
}

/// Memory of one relay slot, for tests and `show info`.
pub const RELAY_BYTES: usize = size_of::<Relay>();

// ---------------------------------------------------------------- opening

/// A connection of `bind` begins its session here; its places are taken already.
pub fn open(local: &mut Local, io: &mut dyn Io, bind: BindId, fd: RawFd, peer: Option<SocketAddr>) {
    let spec = local.config.bind(bind);
    let (frontend_id, accept_proxy) = (spec.frontend, spec.accept_proxy);
    let frontend = local.config.frontend(frontend_id);
    let (splice_up, splice_down) = splice_modes(local, frontend_id, frontend.default_backend);
    let now = local.now;
    let relay = Relay {
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
        accepted: now,
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
        ticket: None,
        queue_position: backend::Position::default(),
        timer: None,
        cause: None,
        logged: false,
        header: Vec::new(),
        sending_header: false,
        counted: false,
        broke: false,
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
    let wants_local = listener::needs_local(local, frontend_id);
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
        choose(local, io, key);
    } else {
        rearm(local, key);
    }
}

/// Out of slots: the limits computed at start make this impossible unless they were lowered by hand.
fn refuse(local: &mut Local, io: &mut dyn Io, bind: BindId, fd: RawFd) {
    io.drop_fd(fd);
    local.cells().connections.fetch_sub(1, AcqRel);
    local.give_room(bind);
}

fn splice_modes(
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

fn count_open(local: &Local, bind: BindId, frontend: FrontendId) {
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

// ---------------------------------------------------------------- choosing

/// Lets `use_backend` choose, once: whoever comes back from a queue or a failed connect keeps the backend.
fn switch(local: &mut Local, key: Key) {
    let relay = local.relays.get(key).expect("driven while alive");
    if relay.counted || local.config.switching(relay.frontend).is_empty() {
        return;
    }
    let frontend = relay.frontend;
    let backend = local.config.backend_for(frontend, &relay.ends());
    let (up, down) = splice_modes(local, frontend, backend);
    let relay = local.relays.get_mut(key).expect("driven while alive");
    relay.backend = backend;
    // Nothing has flowed on: as if they had begun so.
    for (half, splice) in [(&mut relay.up, up), (&mut relay.down, down)] {
        half.splice = splice;
        half.splicing = splice == Splice::Always;
    }
}

/// Chooses a server, or a queue, or ends the session.
fn choose(local: &mut Local, io: &mut dyn Io, key: Key) {
    switch(local, key);
    let relay = local.relays.get_mut(key).expect("driven while alive");
    let Some(backend_id) = relay.backend else {
        finish(local, io, key, Cause::Server, StageReached::Connect);
        return;
    };
    if !relay.counted {
        relay.counted = true;
        count_backend(local, backend_id);
    }
    let relay = local.relays.get_mut(key).expect("driven while alive");
    let backend = local.config.backend(backend_id);
    if backend.servers.is_empty() {
        let to = if backend.transparent {
            relay.local
        } else {
            backend.dispatch
        };
        match to {
            Some(to) => {
                relay.dequeued.get_or_insert(local.now);
                let spec = connect::to_address(&local.config, backend, to, relay.ends());
                attempt(local, io, key, &spec);
            }
            None => finish(local, io, key, Cause::Server, StageReached::Connect),
        }
        return;
    }
    let ask = Ask {
        client: relay.peer.map(|p| p.ip()),
        avoid: if relay.redispatch_now {
            relay.last_server
        } else {
            None
        },
    };
    relay.redispatch_now = false;
    local.views[backend_id.index()].refresh(&local.shared, local.now);
    match local.views[backend_id.index()].pick(&local.shared, &ask, local.now) {
        Choice::Server(server) => assigned(local, io, key, server),
        Choice::Wait(queue) => wait(local, key, queue),
        Choice::Full => {
            let view = &local.views[backend_id.index()];
            let relay = local.relays.get_mut(key).expect("driven while alive");
            relay.last_server = view.determined(&ask);
            finish(local, io, key, Cause::Server, StageReached::Queue);
        }
        Choice::Nobody => finish(local, io, key, Cause::Server, StageReached::Connect),
    }
}

fn count_backend(local: &Local, backend: BackendId) {
    let cell = &local.cells().backends[backend.index()];
    cell.sessions.inc();
    cell.current.inc();
    cell.session_rate.hit(local.now);
    cell.last_session_s.set(local.now.0 / 1000);
    let total = local.shared.sum(|s| &s.backends[backend.index()].current) as u32;
    let max = &local.shared.backend(backend).current_max;
    if total > max.load(Relaxed) {
        max.fetch_max(total, Relaxed);
    }
}

/// Takes a ticket and waits with a deadline.
fn wait(local: &mut Local, key: Key, queue: Queue) {
    let ticket = local.waits.join(&local.shared, queue, key);
    let relay = local.relays.get_mut(key).expect("driven while alive");
    if let Queue::Server(server) = queue {
        // It is that server's already: the log line names it whatever becomes of the wait.
        relay.last_server = Some(server);
    }
    relay.ticket = Some(ticket);
    relay.stage = Stage::Queue;
    relay.stage_since = local.now;
    rearm(local, key);
}

/// The wait ends, one way or the other: how many were admitted meanwhile.
pub fn note_position(relay: &mut Relay, shared: &crate::shared::Shared) {
    if let Some(ticket) = relay.ticket {
        let position = ticket.position(shared);
        relay.queue_position.server += position.server;
        relay.queue_position.backend += position.backend;
    }
}

/// A place came free for one that waited; its place and row are taken.
pub fn on_admitted(local: &mut Local, io: &mut dyn Io, key: Key, server: ServerId) {
    let relay = local
        .relays
        .get_mut(key)
        .expect("a waiting relay leaves the room before it ends");
    relay.ticket = None;
    assigned(local, io, key, server);
}

/// Place and row of `server` are taken: connect.
fn assigned(local: &mut Local, io: &mut dyn Io, key: Key, server: ServerId) {
    let relay = local.relays.get_mut(key).expect("driven while alive");
    relay.dequeued = Some(local.now);
    let cells = &local.shared.shards[local.shard];
    let backend = &cells.backends[local.config.server(server).backend.index()];
    match relay.last_server {
        Some(last) if last != server => {
            relay.redispatched = true;
            cells.servers[last.index()].redispatches.inc();
            backend.redispatches.inc();
        }
        Some(last) => {
            cells.servers[last.index()].retries.inc();
            backend.retries.inc();
        }
        None => {}
    }
    relay.server = Some(server);
    relay.last_server = Some(server);
    connect_server(local, io, key);
}

/// Counts a session of the server, as haproxy does with each attempt; that it was chosen was counted
/// where it was picked.
fn count_attempt(local: &Local, server: ServerId) {
    let cells = local.cells();
    let cell = &cells.servers[server.index()];
    cell.sessions.inc();
    cell.session_rate.hit(local.now);
    cell.last_session_s.set(local.now.0 / 1000);
}

// ---------------------------------------------------------------- connecting

fn connect_server(local: &mut Local, io: &mut dyn Io, key: Key) {
    let relay = local.relays.get(key).expect("driven while alive");
    let server = relay.server.expect("assigned before");
    count_attempt(local, server);
    match connect::to_server(&local.config, server, relay.ends()) {
        Some(spec) => attempt(local, io, key, &spec),
        None => connect_failed(local, io, key, Cause::Server, false),
    }
}

fn attempt(local: &mut Local, io: &mut dyn Io, key: Key, spec: &Connect) {
    let relay = local.relays.get_mut(key).expect("driven while alive");
    relay.stage = Stage::Connect;
    relay.stage_since = local.now;
    let cells = &local.shared.shards[local.shard];
    if let Some(server) = relay.server {
        cells.servers[server.index()].connects.inc();
    }
    if let Some(backend) = relay.backend {
        cells.backends[backend.index()].connects.inc();
    }
    match io.connect(spec, Owner::Relay(key).pack()) {
        Ok(sock) => {
            relay.server_sock = Some(sock);
            rearm(local, key);
        }
        Err(errno) if errno.exhausted() || errno.0 == libc::EADDRNOTAVAIL => {
            connect_failed(local, io, key, Cause::Resource, false);
        }
        Err(_) => connect_failed(local, io, key, Cause::Server, false),
    }
}

/// An attempt failed: pause and try again, go elsewhere, or give up.
fn connect_failed(local: &mut Local, io: &mut dyn Io, key: Key, cause: Cause, timed_out: bool) {
    let relay = local.relays.get_mut(key).expect("driven while alive");
    if let Some(sock) = relay.server_sock.take() {
        io.push(Op::Close {
            sock,
            reset: timed_out,
        });
    }
    let cells = &local.shared.shards[local.shard];
    let backend_id = relay.backend.expect("a server was connected to");
    let backend = local.config.backend(backend_id);
    if relay.retries >= backend.retries || cause == Cause::Resource {
        cells.backends[backend_id.index()].connect_errors.inc();
        if let Some(server) = relay.server {
            cells.servers[server.index()].connect_errors.inc();
        }
        finish(local, io, key, cause, StageReached::Connect);
        return;
    }
    relay.retries += 1;
    let interval = backend.redispatch.0;
    let view = &local.views[backend_id.index()];
    let due = may_redispatch(interval, relay.retries, backend.retries) && view.usable_count() > 1;
    if due || interval != 0 && view.has_alternatives(&local.shared) {
        // Seen on haproxy: a hash of the source names the same server again.
        relay.redispatch_now = backend.balance != Balance::Source;
        if let Some(server) = relay.server.take() {
            backend::release(&local.shared, local.shard, server);
        }
        choose(local, io, key);
        return;
    }
    cells.backends[backend_id.index()].retries.inc();
    if let Some(server) = relay.server {
        cells.servers[server.index()].retries.inc();
    }
    // A refusal comes fast: without a pause all retries would be spent within a millisecond.
    relay.stage = Stage::Pause;
    relay.stage_since = local.now;
    if timed_out {
        retry(local, io, key);
    } else {
        rearm(local, key);
    }
}

/// configuration.txt, `option redispatch`: positive N every N-th retry, negative -N the N-th from the last.
fn may_redispatch(interval: i32, retry: u32, retries: u32) -> bool {
    match interval {
        0 => false,
        n if n > 0 => retry.is_multiple_of(n.unsigned_abs()),
        n => retry + n.unsigned_abs() == retries + 1,
    }
}

/// The pause is over.
fn retry(local: &mut Local, io: &mut dyn Io, key: Key) {
    let relay = local.relays.get(key).expect("driven while alive");
    if relay.server.is_some() {
        connect_server(local, io, key)
    } else {
        choose(local, io, key)
    }
}

fn on_connected(local: &mut Local, io: &mut dyn Io, key: Key) {
    let now = local.now;
    let relay = local.relays.get_mut(key).expect("driven while alive");
    relay.stage = Stage::Relay;
    relay.connected = Some(now);
    (relay.server_rx, relay.server_tx) = (now, now);
    let sock = relay.server_sock.expect("it connected");
    count_times(local, key);
    log_asap(local, key);
    let relay = local.relays.get_mut(key).expect("driven while alive");
    // Both directions start. The header, if any, goes before what the client said.
    relay.down.flow = Flow::Reading;
    start_reading(&mut relay.down, io, sock);
    if let Some(version) = relay
        .server
        .and_then(|id| local.config.server(id).send_proxy)
    {
        let bytes = proxy_bytes(version, relay.ends());
        relay.sending_header = true;
        io.push(Op::Send {
            sock,
            buf: Buf::of(&bytes),
        });
    } else {
        pass_early(relay, io, sock);
    }
    rearm(local, key);
}

/// What the client sent before the server was connected goes out first.
fn pass_early(relay: &mut Relay, io: &mut dyn Io, sock: SockKey) {
    if let Some(buf) = relay.up.early.take() {
        relay.up.flow = Flow::Writing;
        io.push(Op::Send { sock, buf });
    } else if relay.up.eof {
        relay.up.flow = Flow::Done;
        io.push(Op::ShutdownWrite { sock });
    }
}

fn proxy_bytes(version: ProxyProtocol, ends: Ends) -> Vec<u8> {
    let addresses = proxy_header::Addresses::of(ends.client, ends.local);
    let mut out = Vec::new();
    match version {
        ProxyProtocol::V1 => proxy_header::encode_v1(addresses, &mut out),
        ProxyProtocol::V2 => {
            proxy_header::encode_v2(addresses, &[], proxy_header::Checksum::Without, &mut out)
                .expect("without TLVs a header is short");
        }
    }
    out
}

fn count_times(local: &Local, key: Key) {
    let relay = local.relays.get(key).expect("driven while alive");
    let cells = local.cells();
    let dequeued = relay.dequeued.unwrap_or(relay.accepted);
    let queue_ms = dequeued - relay.accepted;
    let connect_ms = local.now - dequeued;
    if let Some(backend) = relay.backend {
        let cell = &cells.backends[backend.index()];
        slide(&cell.queue_time, queue_ms);
        slide(&cell.connect_time, connect_ms);
        cell.queue_time_max.raise(queue_ms);
        cell.connect_time_max.raise(connect_ms);
    }
    if let Some(server) = relay.server {
        let cell = &cells.servers[server.index()];
        slide(&cell.queue_time, queue_ms);
        slide(&cell.connect_time, connect_ms);
        cell.queue_time_max.raise(queue_ms);
        cell.connect_time_max.raise(connect_ms);
    }
}

/// Sliding sum over the last 1,024 sessions (management.txt, `qtime` and its kin); the average is sum / 1024.
fn slide(sum: &crate::shared::Counter, value: u64) {
    let old = sum.get();
    sum.set(old - old / 1024 + value);
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

/// Waits for more to read.
fn start_reading(half: &mut Half, io: &mut dyn Io, sock: SockKey) {
    half.flow = Flow::Reading;
    if half.splicing {
        io.push(Op::Fill {
            sock,
            pipe: None,
            max: half.pipe_limit,
        });
    } else {
        io.push(Op::Recv { sock });
    }
}

fn on_received(local: &mut Local, io: &mut dyn Io, key: Key, dir: Dir, buf: Buf) {
    let now = local.now;
    let full = buf.len() == buf.capacity();
    let relay = local.relays.get_mut(key).expect("looked up by on_done");
    relay.read_at(dir, now);
    if relay.stage == Stage::Header {
        on_header_bytes(local, io, key, buf);
        return;
    }
    let half = relay.half(dir);
    half.bytes += buf.len() as u64;
    half.streak = if full {
        half.streak.saturating_add(1)
    } else {
        0
    };
    let flush = half.bytes - half.counted >= FLUSH_BYTES;
    if relay.holds_back(dir) {
        // Not connected yet: held, and nothing more is read until it is.
        relay.up.early = Some(buf);
        relay.up.flow = Flow::Idle;
        return;
    }
    let sink = relay.sink(dir).expect("connected");
    relay.half(dir).flow = Flow::Writing;
    relay.write_begins(dir, now);
    io.push(Op::Send { sock: sink, buf });
    if flush {
        flush_bytes(local, key);
    }
}

fn on_sent(local: &mut Local, io: &mut dyn Io, key: Key, dir: Dir, bytes: u32, left: u32) {
    let now = local.now;
    let independent = independent(local, key, dir);
    let relay = local.relays.get_mut(key).expect("looked up by on_done");
    if bytes > 0 {
        relay.wrote_at(dir, now, independent);
    }
    if left > 0 {
        // It blocks: from here on the receiver's clock runs.
        relay.half(dir).blocked = true;
        rearm(local, key);
        return;
    }
    if relay.sending_header && dir == Dir::Up {
        relay.sending_header = false;
        let sock = relay.server_sock.expect("the header was sent to it");
        let reading = relay.up.flow == Flow::Reading;
        pass_early(relay, io, sock);
        if !reading && relay.up.flow == Flow::Idle {
            start_reading(&mut relay.up, io, relay.client);
        }
        maybe_over(local, io, key);
        return;
    }
    let (source, sink) = (relay.source(dir), relay.sink(dir));
    let half = relay.half(dir);
    if half.eof {
        half.flow = Flow::Done;
        if let Some(sink) = sink {
            io.push(Op::ShutdownWrite { sock: sink });
        }
        maybe_over(local, io, key);
        return;
    }
    if half.splice == Splice::Earned && !half.splicing && half.streak >= EARN {
        half.splicing = true;
        half.streak = 0;
    }
    let was_blocked = std::mem::take(&mut half.blocked);
    start_reading(
        half,
        io,
        source.expect("both sides are there while relaying"),
    );
    if was_blocked {
        read_again(local, key, dir);
    }
}

/// A receiver that held its sender up took everything: the sender's clock runs again, from now on.
fn read_again(local: &mut Local, key: Key, dir: Dir) {
    let now = local.now;
    let relay = local.relays.get_mut(key).expect("looked up by the caller");
    relay.read_at(dir, now);
    rearm(local, key);
}

fn independent(local: &Local, key: Key, dir: Dir) -> bool {
    let relay = local.relays.get(key).expect("looked up by on_done");
    match dir {
        Dir::Up => relay
            .backend
            .is_some_and(|b| local.config.backend(b).independent_streams),
        Dir::Down => local.config.frontend(relay.frontend).independent_streams,
    }
}

fn on_filled(
    local: &mut Local,
    io: &mut dyn Io,
    key: Key,
    dir: Dir,
    pipe: Pipe,
    bytes: u32,
    eof: bool,
) {
    let now = local.now;
    let relay = local.relays.get_mut(key).expect("looked up by on_done");
    relay.read_at(dir, now);
    let sink = relay.sink(dir).expect("splicing starts after connecting");
    let half = relay.half(dir);
    half.bytes += u64::from(bytes);
    half.eof |= eof;
    half.streak = if bytes < SMALL_SPLICE {
        half.streak.saturating_add(1)
    } else {
        0
    };
    let flush = half.bytes - half.counted >= FLUSH_BYTES;
    if pipe.held > 0 {
        half.flow = Flow::Writing;
        half.blocked = false;
        relay.write_begins(dir, now);
        io.push(Op::Drain { sock: sink, pipe });
    } else {
        io.give_pipe(pipe);
        on_eof(local, io, key, dir);
        return;
    }
    if flush {
        flush_bytes(local, key);
    }
}

fn on_no_pipe(local: &mut Local, io: &mut dyn Io, key: Key, dir: Dir) {
    let relay = local.relays.get_mut(key).expect("looked up by on_done");
    let source = relay.source(dir).expect("it was read from");
    let half = relay.half(dir);
    half.splicing = false;
    // Not at once again: the next full reads earn the next try.
    half.streak = 0;
    start_reading(half, io, source);
}

fn on_drained(
    local: &mut Local,
    io: &mut dyn Io,
    key: Key,
    dir: Dir,
    pipe: Option<Pipe>,
    bytes: u32,
    blocked: bool,
) {
    let now = local.now;
    let independent = independent(local, key, dir);
    let relay = local.relays.get_mut(key).expect("looked up by on_done");
    if bytes > 0 {
        relay.wrote_at(dir, now, independent);
    }
    let (source, sink) = (relay.source(dir), relay.sink(dir));
    let half = relay.half(dir);
    half.blocked |= blocked;
    let Some(pipe) = pipe else {
        rearm(local, key);
        return;
    };
    if half.blocked {
        half.pipe_limit = (half.pipe_limit / 2).max(PIPE_START);
    } else {
        half.pipe_limit = (half.pipe_limit * 2).min(pipe.size.max(PIPE_START));
    }
    let was_blocked = std::mem::take(&mut half.blocked);
    if half.eof {
        io.give_pipe(pipe);
        half.flow = Flow::Done;
        if let Some(sink) = sink {
            io.push(Op::ShutdownWrite { sock: sink });
        }
        maybe_over(local, io, key);
        return;
    }
    let source = source.expect("it was read from");
    if half.splice == Splice::Earned && half.streak >= LOSE {
        half.splicing = false;
        half.streak = 0;
        half.pipe_limit = PIPE_START;
        io.give_pipe(pipe);
        start_reading(half, io, source);
    } else {
        half.flow = Flow::Reading;
        io.push(Op::Fill {
            sock: source,
            pipe: Some(pipe),
            max: half.pipe_limit,
        });
    }
    if was_blocked {
        read_again(local, key, dir);
    }
}

// ---------------------------------------------------------------- ends and errors

fn on_eof(local: &mut Local, io: &mut dyn Io, key: Key, dir: Dir) {
    let relay = local.relays.get_mut(key).expect("looked up by on_done");
    let stage = relay.stage;
    relay.half(dir).eof = true;
    if !relay.holds_back(dir) {
        relay.half(dir).flow = Flow::Done;
        if let Some(sink) = relay.sink(dir) {
            io.push(Op::ShutdownWrite { sock: sink });
        }
        maybe_over(local, io, key);
        return;
    }
    relay.half(dir).flow = Flow::Idle;
    match stage {
        Stage::Header => {
            let text = if relay.header.is_empty() {
                "Connection closed while waiting for PROXY protocol header"
            } else {
                ProxyError::Truncated.log_text()
            };
            header_failed(local, io, key, text);
        }
        Stage::Queue | Stage::Connect | Stage::Pause => {
            let backend = relay.backend.map(|b| local.config.backend(b));
            if backend.is_some_and(|b| b.abortonclose) {
                let reached = if stage == Stage::Queue {
                    StageReached::Queue
                } else {
                    StageReached::Connect
                };
                finish(local, io, key, Cause::Client, reached);
            }
        }
        Stage::Relay => {}
    }
}

fn on_recv_failed(local: &mut Local, io: &mut dyn Io, key: Key, dir: Dir) {
    let relay = local.relays.get_mut(key).expect("looked up by on_done");
    if relay.stage == Stage::Header {
        header_failed(
            local,
            io,
            key,
            "Connection error while waiting for PROXY protocol header",
        );
        return;
    }
    relay.broke = dir == Dir::Up;
    let side = if dir == Dir::Up {
        Cause::Client
    } else {
        Cause::Server
    };
    let cause = relay.cause.unwrap_or(side);
    // Seen on haproxy: a reset counts as one in the data stage, wherever the session stands.
    finish(local, io, key, cause, StageReached::Data);
}

/// The receiver of `dir` takes no more.
fn on_send_failed(local: &mut Local, io: &mut dyn Io, key: Key, dir: Dir) {
    let relay = local.relays.get_mut(key).expect("looked up by on_done");
    if dir == Dir::Down {
        relay.broke = true;
        finish(local, io, key, Cause::Client, StageReached::Data);
        return;
    }
    // The server hung up on us; what it said before may still wait to be read.
    relay.sending_header = false;
    relay.cause = Some(Cause::Server);
    relay.up.flow = Flow::Done;
    maybe_over(local, io, key);
}

/// Ends the session once both directions are through.
fn maybe_over(local: &mut Local, io: &mut dyn Io, key: Key) {
    let relay = local.relays.get(key).expect("looked up by the caller");
    if relay.up.flow == Flow::Done && relay.down.flow == Flow::Done {
        let (cause, reached) = match relay.cause {
            Some(cause) => (cause, StageReached::Data),
            None => (Cause::Normal, StageReached::End),
        };
        finish(local, io, key, cause, reached);
    } else {
        rearm(local, key);
    }
}

// ---------------------------------------------------------------- PROXY header

fn on_header_bytes(local: &mut Local, io: &mut dyn Io, key: Key, mut buf: Buf) {
    let relay = local.relays.get_mut(key).expect("looked up by on_done");
    let before = relay.header.len();
    relay.header.extend_from_slice(buf.bytes());
    match proxy_header::parse(&relay.header) {
        Ok(proxy_header::Parse::Partial) if relay.header.len() < HEADER_MAX => {
            io.give_buf(buf);
            io.push(Op::Recv { sock: relay.client });
        }
        Ok(proxy_header::Parse::Done(header, used)) => {
            if let Some(ends) = header.addresses {
                (relay.peer, relay.local) = (Some(ends.source), Some(ends.destination));
            }
            relay.header = Vec::new();
            buf.consume(used - before);
            relay.stage = Stage::Connect;
            relay.up.bytes += buf.len() as u64;
            if buf.is_empty() {
                io.give_buf(buf);
                io.push(Op::Recv { sock: relay.client });
            } else {
                relay.up.early = Some(buf);
                relay.up.flow = Flow::Idle;
            }
            choose(local, io, key);
        }
        Ok(proxy_header::Parse::Partial) => {
            io.give_buf(buf);
            header_failed(local, io, key, ProxyError::Truncated.log_text());
        }
        Err(error) => {
            io.give_buf(buf);
            header_failed(local, io, key, error.log_text());
        }
    }
}

/// The session never began: one line says why, in the place of the session's own.
fn header_failed(local: &mut Local, io: &mut dyn Io, key: Key, text: &str) {
    let relay = local.relays.get_mut(key).expect("driven while alive");
    relay.logged = true;
    let (peer, bind) = (relay.peer, relay.bind);
    let frontend = local.config.frontend(relay.frontend);
    // haproxy says it in place of the session's line, so only where there is one: with `option tcplog`,
    // and after at least a byte with `option dontlognull`.
    let wanted =
        frontend.log_format == LogFormat::Tcp && !(frontend.dontlognull && relay.header.is_empty());
    if wanted && !frontend.log.is_empty() {
        let spec = local.config.bind(bind);
        let from = peer.map_or(Peer::Unix { bind: spec.luid }, Peer::Ip);
        let number = spec.luid.to_string();
        let to = spec.name.as_deref().unwrap_or(&number);
        let at = local.shared.wall_us(local.now);
        local.logs.connection_error(frontend, from, to, at, text);
    }
    finish(local, io, key, Cause::Proxy, StageReached::Request);
}

// ---------------------------------------------------------------- time

/// When the session's next deadline is, and which one.
fn deadline(local: &Local, key: Key) -> (Tick, Cause, StageReached) {
    let relay = local.relays.get(key).expect("looked up by the caller");
    let frontend = local.config.frontend(relay.frontend);
    let backend = relay.backend.map(|b| local.config.backend(b));
    let client_ms = frontend.timeout_client_ms;
    match relay.stage {
        Stage::Header => (
            relay.accepted.after(client_ms),
            Cause::ClientTimeout,
            StageReached::Request,
        ),
        Stage::Queue => {
            let ms = backend.and_then(|b| b.timeout_queue_ms);
            (
                relay.stage_since.after(ms),
                Cause::ServerTimeout,
                StageReached::Queue,
            )
        }
        Stage::Connect => {
            let ms = backend.and_then(|b| b.timeout_connect_ms);
            (
                relay.stage_since.after(ms),
                Cause::ServerTimeout,
                StageReached::Connect,
            )
        }
        Stage::Pause => {
            let connect = backend
                .and_then(|b| b.timeout_connect_ms)
                .unwrap_or(RETRY_PAUSE_MS);
            let ms = connect.min(RETRY_PAUSE_MS);
            (
                relay.stage_since + u64::from(ms),
                Cause::Server,
                StageReached::Connect,
            )
        }
        Stage::Relay => {
            let tunnel = backend.and_then(|b| b.timeout_tunnel_ms);
            let plain = tunnel.or(client_ms);
            // After we sent FIN to a side its own fin timeout counts.
            let client = if relay.down.flow == Flow::Done {
                frontend.timeout_client_fin_ms.or(plain)
            } else {
                plain
            };
            let plain = tunnel.or_else(|| backend.and_then(|b| b.timeout_server_ms));
            let server = if relay.up.flow == Flow::Done {
                backend.and_then(|b| b.timeout_server_fin_ms).or(plain)
            } else {
                plain
            };
            let mut best = (Tick::NEVER, Cause::ClientTimeout, StageReached::Data);
            let mut consider = |active: bool, since: Tick, ms: Option<u32>, cause: Cause| {
                let at = since.after(ms);
                if active && at < best.0 {
                    best = (at, cause, StageReached::Data);
                }
            };
            consider(
                relay.up.flow == Flow::Reading,
                relay.client_rx,
                client,
                Cause::ClientTimeout,
            );
            consider(
                relay.down.flow == Flow::Writing,
                relay.client_tx,
                client,
                Cause::ClientTimeout,
            );
            consider(
                relay.down.flow == Flow::Reading,
                relay.server_rx,
                server,
                Cause::ServerTimeout,
            );
            consider(
                relay.up.flow == Flow::Writing,
                relay.server_tx,
                server,
                Cause::ServerTimeout,
            );
            if relay.down.eof && best.1 == Cause::ClientTimeout && relay.down.flow == Flow::Writing
            {
                best.2 = StageReached::Last;
            }
            best
        }
    }
}

/// Moves the timer forward if the deadline came nearer. A later deadline costs nothing until the
/// armed tick passes.
fn rearm(local: &mut Local, key: Key) {
    let (at, ..) = deadline(local, key);
    let relay = local.relays.get_mut(key).expect("looked up by the caller");
    match relay.timer {
        Some((_, armed)) if armed <= at => {}
        Some((id, _)) => {
            local.timers.cancel(id);
            relay.timer = Some((local.timers.arm(at, Timer::Relay(key)), at));
        }
        None if at == Tick::NEVER => {}
        None => relay.timer = Some((local.timers.arm(at, Timer::Relay(key)), at)),
    }
}

/// The armed tick passed.
pub fn on_timer(local: &mut Local, io: &mut dyn Io, key: Key) {
    let Some(relay) = local.relays.get_mut(key) else {
        return;
    };
    relay.timer = None;
    let (at, cause, reached) = deadline(local, key);
    if at > local.now {
        rearm(local, key);
        return;
    }
    let relay = local.relays.get(key).expect("looked up above");
    match relay.stage {
        Stage::Pause => retry(local, io, key),
        Stage::Connect => connect_failed(local, io, key, Cause::ServerTimeout, true),
        Stage::Header => header_failed(
            local,
            io,
            key,
            "Timeout while waiting for PROXY protocol header",
        ),
        Stage::Queue | Stage::Relay => finish(local, io, key, cause, reached),
    }
}

// ---------------------------------------------------------------- the end

/// Kills a session (stop, panic, operator).
pub fn kill(local: &mut Local, io: &mut dyn Io, key: Key, cause: Cause) {
    let Some(relay) = local.relays.get(key) else {
        return;
    };
    let reached = match relay.stage {
        Stage::Header => StageReached::Request,
        Stage::Queue => StageReached::Queue,
        Stage::Connect | Stage::Pause => StageReached::Connect,
        Stage::Relay => StageReached::Data,
    };
    finish(local, io, key, cause, reached);
}

/// Stage by name, for diagnostics.
pub fn stage_name(local: &Local, key: Key) -> &'static str {
    match local.relays.get(key).map(|r| r.stage) {
        None => "gone",
        Some(Stage::Header) => "header",
        Some(Stage::Queue) => "queue",
        Some(Stage::Connect) => "connect",
        Some(Stage::Pause) => "pause",
        Some(Stage::Relay) => "relay",
    }
}

/// The only way out: log, counters, places, sockets, slot.
fn finish(local: &mut Local, io: &mut dyn Io, key: Key, cause: Cause, reached: StageReached) {
    flush_bytes(local, key);
    let relay = local.relays.get_mut(key).expect("ended once");
    note_position(relay, &local.shared);
    if let Some(ticket) = relay.ticket.take() {
        relay.dequeued = Some(local.now);
        local.waits.leave(&local.shared, ticket);
        if cause == Cause::ServerTimeout {
            let cells = &local.shared.shards[local.shard];
            if let Some(backend) = relay.backend {
                cells.backends[backend.index()].connect_errors.inc();
            }
        }
    }
    if let Some((id, _)) = relay.timer.take() {
        local.timers.cancel(id);
    }
    count_end(local, key, cause, reached);
    let record_wanted = {
        let relay = local.relays.get(key).expect("ended once");
        !relay.logged
    };
    if record_wanted {
        log_session(local, key, letters(cause, reached), false);
    }
    let mut relay = local.relays.remove(key).expect("ended once");
    if let Some(buf) = relay.up.early.take() {
        io.give_buf(buf);
    }
    if let Some(server) = relay.server.take() {
        backend::release(&local.shared, local.shard, server);
    }
    io.push(Op::Close {
        sock: relay.client,
        reset: false,
    });
    if let Some(sock) = relay.server_sock {
        io.push(Op::Close {
            sock,
            reset: relay.broke,
        });
    }
    let cells = local.cells();
    cells.connections.fetch_sub(1, AcqRel);
    cells.listeners[relay.bind.index()].current.sub(1);
    if let (true, Some(backend)) = (relay.counted, relay.backend) {
        cells.backends[backend.index()].current.sub(1);
    }
    local.give_room(relay.bind);
}

fn count_end(local: &Local, key: Key, cause: Cause, reached: StageReached) {
    let relay = local.relays.get(key).expect("ended once");
    let cells = local.cells();
    let total_ms = local.now - relay.accepted;
    if let Some(backend) = relay.backend {
        let cell = &cells.backends[backend.index()];
        slide(&cell.total_time, total_ms);
        cell.total_time_max.raise(total_ms);
        match (cause, reached) {
            (
                Cause::Client | Cause::ClientTimeout,
                StageReached::Data
                | StageReached::Last
                | StageReached::Connect
                | StageReached::Queue,
            ) => {
                cell.client_aborts.inc();
            }
            (Cause::Server | Cause::ServerTimeout, StageReached::Data) => cell.server_aborts.inc(),
            (Cause::Server, StageReached::Queue) => cell.connect_errors.inc(),
            _ => {}
        }
        if relay.last_server.is_none() && cause == Cause::Server && reached == StageReached::Connect
        {
            cell.connect_errors.inc();
        }
    }
    if let Some(server) = relay.server {
        let cell = &cells.servers[server.index()];
        slide(&cell.total_time, total_ms);
        cell.total_time_max.raise(total_ms);
        match (cause, reached) {
            (Cause::Client | Cause::ClientTimeout, StageReached::Data | StageReached::Last) => {
                cell.client_aborts.inc()
            }
            (Cause::Server | Cause::ServerTimeout, StageReached::Data) => cell.server_aborts.inc(),
            _ => {}
        }
    }
    if reached == StageReached::Request && cause != Cause::Normal {
        cells.frontends[relay.frontend.index()].request_errors.inc();
        cells.listeners[relay.bind.index()].request_errors.inc();
    }
}

/// Brings the byte counters up to date.
fn flush_bytes(local: &mut Local, key: Key) {
    let relay = local.relays.get_mut(key).expect("driven while alive");
    let up = relay.up.bytes - relay.up.counted;
    let down = relay.down.bytes - relay.down.counted;
    relay.up.counted = relay.up.bytes;
    relay.down.counted = relay.down.bytes;
    let cells = &local.shared.shards[local.shard];
    let front = &cells.frontends[relay.frontend.index()];
    front.bytes_in.add(up);
    front.bytes_out.add(down);
    let bind = &cells.listeners[relay.bind.index()];
    bind.bytes_in.add(up);
    bind.bytes_out.add(down);
    if let Some(backend) = relay.backend {
        let cell = &cells.backends[backend.index()];
        cell.bytes_in.add(up);
        cell.bytes_out.add(down);
    }
    if let Some(server) = relay.last_server {
        let cell = &cells.servers[server.index()];
        cell.bytes_in.add(up);
        cell.bytes_out.add(down);
    }
}

/// `option logasap`: the line is written when the server is connected.
fn log_asap(local: &mut Local, key: Key) {
    let relay = local.relays.get(key).expect("driven while alive");
    if local.config.frontend(relay.frontend).logasap {
        log_session(local, key, *b"--", true);
        local
            .relays
            .get_mut(key)
            .expect("driven while alive")
            .logged = true;
    }
}

fn log_session(local: &mut Local, key: Key, termination: [u8; 2], asap: bool) {
    let relay = local.relays.get(key).expect("driven while alive");
    let frontend = local.config.frontend(relay.frontend);
    if frontend.log.is_empty() || frontend.log_format != LogFormat::Tcp {
        return;
    }
    if frontend.dontlognull && relay.up.bytes == 0 {
        return;
    }
    let shared = &local.shared;
    let ms = |from: Tick, to: Option<Tick>| to.map_or(-1, |to| (to - from) as i64);
    let backend_name = relay
        .backend
        .map_or(&frontend.name, |b| &local.config.backend(b).name);
    let server_name = match relay.last_server {
        Some(id) => local.config.server(id).name.as_str(),
        None => NO_SERVER,
    };
    let unix = Peer::Unix {
        bind: local.config.bind(relay.bind).luid,
    };
    // At the end of a session its backend and server are left already, its frontend is not (as haproxy counts).
    let left = u32::from(!asap);
    let record = TcpRecord {
        client: relay.peer.map_or(unix, Peer::Ip),
        accepted_us: shared.wall_us(relay.accepted),
        frontend: &frontend.name,
        backend: backend_name,
        server: server_name,
        queue_ms: ms(relay.accepted, relay.dequeued),
        connect_ms: relay
            .dequeued
            .map_or(-1, |since| ms(since, relay.connected)),
        total_ms: (local.now - relay.accepted) as i64,
        bytes: relay.down.bytes,
        asap,
        termination,
        process_connections: shared.process.connections.load(Relaxed),
        frontend_connections: shared.frontend(relay.frontend).connections.load(Relaxed),
        backend_connections: relay.backend.map_or(0, |b| {
            let all = shared.sum(|s| &s.backends[b.index()].current) as u32;
            all.saturating_sub(u32::from(relay.counted) * left)
        }),
        server_connections: relay.last_server.map_or(0, |id| {
            let own = left * u32::from(relay.server.is_some());
            shared.server_connections(id).saturating_sub(own)
        }),
        retries: relay.retries,
        redispatched: relay.redispatched,
        server_queue: relay.queue_position.server,
        backend_queue: relay.queue_position.backend,
    };
    if frontend.dontlog_normal && crate::observe::log::sink::normal(&record) {
        return;
    }
    let wall = shared.wall_us(local.now);
    local.logs.tcplog(
        &frontend.log,
        frontend.log_tag.as_deref(),
        frontend.log_separate_errors,
        wall,
        &record,
    );
}
