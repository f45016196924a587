//! A listening socket of this shard: accepts while there is room, places what it accepted.
//!
//! Far from every limit the kernel accepts by itself (multishot); one enter can then deliver a whole
//! backlog and goes on past a limit lowered meanwhile, so near a limit (or with `rate-limit
//! sessions`) connections are accepted one by one, each against a place taken first. Nobody is
//! refused: what finds no place stays in the backlog, and whoever closes a connection on any shard
//! tells those that wait. At EMFILE accepting pauses; it never spins.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};

use super::local::{Local, Owner, Timer};
use super::{gate, http, tcp};
use crate::base::tick::Tick;
use crate::base::wheel::TimerId;
use crate::config::http::{HashKey, Http, Switch, SwitchTo};
use crate::config::{
    Backend, BackendId, BindId, Config, FrontendId, Mode, Proxy, ServerAddress, ServerPort,
};
use crate::io::engine::Io;
use crate::io::kernel::{AcceptMode, Errno};
use crate::io::op::{Op, SockKey};
use crate::lang::acl::Condition;
use crate::lang::expr::Needs;
use crate::shared::{Door, Message, Phase};

/// Pause after the kernel ran out of descriptors or memory.
const EXHAUSTED_PAUSE_MS: u64 = 100;
/// Connections another shard must hold less, beyond an eighth, before one is handed over to it.
const PLACEMENT_SLACK: u32 = 8;

/// Time for handshakes under way to finish before a listener is left.
const LEAVE_AFTER_MS: u64 = 50;

/// How far a listener is with its soft stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    No,
    /// Serves until the tick (`grace` of its frontend).
    Graced(Tick),
    /// New handshakes are kept away, or left to the process that follows; those under way finish until the tick. No multishot accept is
    /// armed any more: what it delivered after the close would be cut off.
    Refusing(Tick),
    Gone,
}

/// One listening socket.
#[derive(Debug)]
pub struct Listener {
    pub bind: BindId,
    pub frontend: FrontendId,
    pub sock: SockKey,
    /// The only socket of its bind: its connections go to the shard with the fewest.
    pub shared_out: bool,
    backlog: u32,
    /// Someone needs the client's address at accept: logs, source hash, PROXY header, monitor-net.
    needs_peer: bool,
    /// Sessions per second of the frontend, 0 unlimited.
    frontend_rate: u32,
    open: bool,
    /// A polled listener was reported and not yet emptied.
    acceptable: bool,
    /// Waits for room, for a descriptor, or for the next second of a limited rate.
    starved: bool,
    paused: bool,
    leaving: Leaving,
    /// Accepted by the kernel past a limit: served first, as soon as there is room.
    parked: VecDeque<RawFd>,
    /// The one timer of this listener.
    timer: Option<(TimerId, Tick)>,
}

impl Listener {
    /// A listener on `sock`; [`start`] opens it.
    pub fn new(local: &Local, bind: BindId, sock: SockKey, shared_out: bool) -> Self {
        let config = &local.config;
        let spec = config.bind(bind);
        let frontend = config.frontend(spec.frontend);
        Self {
            bind,
            frontend: spec.frontend,
            sock,
            shared_out,
            backlog: spec.backlog.max(1),
            needs_peer: needs_peer(config, bind),
            frontend_rate: frontend.rate_limit_sessions,
            open: false,
            acceptable: false,
            starved: false,
            paused: false,
            leaving: Leaving::No,
            parked: VecDeque::new(),
            timer: None,
        }
    }

    pub fn bind(&self) -> BindId {
        self.bind
    }
    /// A later version of the configuration may ask for more.
    pub fn set_needs_peer(&mut self, needs: bool) {
        self.needs_peer = needs;
    }
    /// The soft stop closed it.
    pub fn has_left(&self) -> bool {
        self.leaving == Leaving::Gone
    }
}

/// Does anything that a connection of this bind meets ask who the client is?
pub fn needs_peer(config: &Config, bind: BindId) -> bool {
    let id = config.bind(bind).frontend;
    let frontend = config.frontend(id);
    let mut backends = config.backends_of(id).map(|b| config.backend(b));
    !frontend.log.is_empty()
        || frontend.mode == Mode::Http
        || frontend.monitor_net.is_some()
        || config.switching(id).iter().any(|rule| {
            let asks = |when: &Condition| when.needs().has(Needs::CLIENT_ADDRESS);
            rule.when.as_ref().is_some_and(asks)
        })
        || backends.any(|b| {
            b.balance.is_keyed()
                || b.source.as_ref().is_some_and(|s| s.usesrc.is_some())
                || asks_addresses(config, b)
        })
}

/// Does a server of it ask for the client's addresses?
pub fn asks_addresses(config: &Config, backend: &Backend) -> bool {
    backend.servers.iter().any(|id| {
        let server = config.server(*id);
        server.send_proxy.is_some()
            || server.watch.observe.is_some_and(|o| o.clients > 1)
            || server.source.as_ref().is_some_and(|s| s.usesrc.is_some())
    })
}

/// Does a rule of this frontend, or a server it may lead to, need the address the client connected to?
/// Looks at every server: asked once at start, see [`Local::needs_local`].
pub fn needs_local(config: &Config, frontend: FrontendId) -> bool {
    let by_rule = config.switching(frontend).iter().any(|rule| {
        let asks = |when: &Condition| when.needs().has(Needs::LOCAL_ADDRESS);
        rule.when.as_ref().is_some_and(asks)
    });
    let by_backend = |id: BackendId| {
        let backend = config.backend(id);
        let key = &config.proxies[backend.proxy.index()].http.hash_key;
        let hashed =
            |key: &HashKey| matches!(key, HashKey::Expr(e) if e.needs().has(Needs::LOCAL_ADDRESS));
        backend.transparent
            || key.as_ref().is_some_and(hashed)
            || backend.servers.iter().any(|id| {
                let server = config.server(*id);
                server.send_proxy.is_some()
                    || match server.address {
                        ServerAddress::Ip { ip, port } => {
                            ip.is_unspecified() || matches!(port, ServerPort::Mapped(_))
                        }
                        _ => false,
                    }
            })
    };
    let own = &config.proxies[config.frontend(frontend).proxy.index()];
    let by_name = |switch: &Switch| matches!(switch.to, SwitchTo::Format(_));
    let by_header = |proxy: &Proxy| proxy.mode == Mode::Http && proxy.http.names_local();
    let of_any = own.http.switching.iter().any(by_name) && config.proxies.iter().any(by_header);
    let of_backend = |id| by_header(&config.proxies[config.backend(id).proxy.index()]);
    by_rule
        || by_header(own)
        || in_lines(&own.http)
        || of_any
        || config
            .backends_of(frontend)
            .any(|id| by_backend(id) || of_backend(id))
}

/// Whether a line of the log, or an identifier, shows the address the client connected to.
fn in_lines(http: &Http) -> bool {
    let shared = [
        &http.log_format,
        &http.error_log_format,
        &http.log_format_sd,
    ];
    let formats = shared.into_iter().flatten().map(|format| &**format);
    formats
        .chain(&http.unique_id_format)
        .any(|format| format.needs().has(Needs::LOCAL_ADDRESS))
}

/// How the listener should be watched now.
fn mode(local: &Local, io: &dyn Io, listener: &Listener) -> AcceptMode {
    let limited = listener.frontend_rate > 0
        || process_rate(local) > 0
        || local.config.bind(listener.bind).maxconn > 0
        || matches!(listener.leaving, Leaving::Refusing(_));
    if !io.has_multishot_accept() || limited {
        return AcceptMode::Poll;
    }
    let shards = local.shared.shards.len() as u32;
    // Every listening socket of every shard may deliver one backlog past the last look.
    let binds = local.config.binds.len() as u32;
    let reserve = listener
        .backlog
        .min(4096)
        .saturating_mul(shards)
        .saturating_mul(binds);
    let process = &local.shared.process;
    let far = |used: u32, limit: u32| limit.saturating_sub(used) > reserve;
    let front = local.shared.frontend(listener.frontend);
    let front_limit = front.maxconn.load(Relaxed);
    if far(
        process.connections.load(Relaxed),
        process.maxconn.load(Relaxed),
    ) && (front_limit == 0 || far(front.connections.load(Relaxed), front_limit))
    {
        AcceptMode::Multishot
    } else {
        AcceptMode::Poll
    }
}

/// Opens the listener for connections.
pub fn start(local: &mut Local, io: &mut dyn Io, index: u32) {
    let wanted = mode(local, io, &local.listeners[index as usize]);
    let listener = &mut local.listeners[index as usize];
    listener.open = true;
    listener.paused = false;
    io.listen(listener.sock, Some(wanted));
}

/// The kernel accepted by itself.
pub fn on_accepted(local: &mut Local, io: &mut dyn Io, index: u32, fd: RawFd) {
    local.cells().activity.accepted.inc();
    let listener = &local.listeners[index as usize];
    let (bind, needs_peer) = (listener.bind, listener.needs_peer);
    if !listener.parked.is_empty() || !local.take_room(bind) {
        local.listeners[index as usize].parked.push_back(fd);
        starve(local, io, index);
        return;
    }
    let peer = if needs_peer { io.peer_of_fd(fd) } else { None };
    place(local, io, index, fd, peer);
    if mode(local, io, &local.listeners[index as usize]) == AcceptMode::Poll {
        // Near a limit: from here on one by one.
        io.listen(local.listeners[index as usize].sock, Some(AcceptMode::Poll));
    }
}

/// A multishot accept ended by itself.
pub fn on_accept_ended(local: &mut Local, io: &mut dyn Io, index: u32, errno: Errno) {
    if !local.listeners[index as usize].open {
        return;
    }
    if errno.exhausted() || errno.0 == libc::EINVAL {
        // EINVAL: another owner of the socket shut it down (a pause). Nothing to spin on.
        pause_exhausted(local, io, index);
    } else {
        // Cancelled by a change of mode elsewhere, or a transient error: watch and see.
        io.listen(local.listeners[index as usize].sock, Some(AcceptMode::Poll));
    }
}

/// A polled listener has connections.
pub fn on_acceptable(local: &mut Local, io: &mut dyn Io, index: u32) {
    local.listeners[index as usize].acceptable = true;
    accept_some(local, io, index);
}

/// A connection begins its session, in the mode of its frontend.
fn open(local: &mut Local, io: &mut dyn Io, bind: BindId, fd: RawFd, peer: Option<SocketAddr>) {
    let frontend = local.config.bind(bind).frontend;
    let Some(entered) = gate::connection(local, io, bind, fd, peer) else {
        return;
    };
    match local.config.frontend(frontend).mode {
        Mode::Tcp => tcp::open(local, io, bind, fd, entered),
        Mode::Http => http::open(local, io, bind, fd, entered),
    }
}

/// A look at `at`, unless one comes sooner: every wait is armed here, so that a listener has one timer.
fn arm(local: &mut Local, index: u32, at: Tick) {
    let listener = &mut local.listeners[index as usize];
    match listener.timer {
        Some((_, armed)) if armed <= at => return,
        Some((id, _)) => local.timers.cancel(id),
        None => {}
    }
    listener.timer = Some((local.timers.arm(at, Timer::Listener(index)), at));
}

/// The pause is over, or the next turn of a busy listener has come.
pub fn on_timer(local: &mut Local, io: &mut dyn Io, index: u32) {
    local.listeners[index as usize].timer = None;
    leave_in_time(local, io, index);
    retry(local, io, index);
}

/// Room may have come back.
pub fn retry(local: &mut Local, io: &mut dyn Io, index: u32) {
    let listener = &mut local.listeners[index as usize];
    if !listener.starved && !listener.acceptable {
        return;
    }
    listener.starved = false;
    while let Some(fd) = local.listeners[index as usize].parked.pop_front() {
        if !local.take_room(local.listeners[index as usize].bind) {
            local.listeners[index as usize].parked.push_front(fd);
            starve(local, io, index);
            return;
        }
        let peer = if local.listeners[index as usize].needs_peer {
            io.peer_of_fd(fd)
        } else {
            None
        };
        place(local, io, index, fd, peer);
    }
    accept_some(local, io, index);
}

/// Accepts up to `tune.maxaccept` connections of a polled listener, a place taken for each first.
fn accept_some(local: &mut Local, io: &mut dyn Io, index: u32) {
    let listener = &local.listeners[index as usize];
    if !listener.open || listener.starved {
        return;
    }
    let (sock, bind) = (listener.sock, listener.bind);
    for _ in 0..local.config.global.tune.maxaccept.max(1) {
        if !rate_allows(local, index) {
            starve_until(local, io, index, 1000 - local.now.0 % 1000);
            return;
        }
        if !local.take_room(bind) {
            starve(local, io, index);
            return;
        }
        match io.accept_now(sock) {
            Ok((fd, peer)) => {
                local.cells().activity.accepted.inc();
                count_rate(local, index);
                place(local, io, index, fd, peer);
            }
            Err(errno) => {
                local.give_room(bind);
                if !errno.would_block() {
                    // Out of descriptors, or an error that took one connection with it: more may wait, and
                    // their edge has been.
                    pause_exhausted(local, io, index);
                    return;
                }
                // Emptied; the next edge tells. Far from the limits again, the kernel may accept by itself.
                local.listeners[index as usize].acceptable = false;
                let wanted = mode(local, io, &local.listeners[index as usize]);
                io.listen(sock, Some(wanted));
                return;
            }
        }
    }
    // More may wait: go on in the next turn.
    arm(local, index, local.now);
}

/// The lower of two limits of which 0 is none. (A TCP session begins with its connection, so that
/// `maxconnrate` and `maxsessrate` limit the same here.)
fn lower(a: u32, b: u32) -> u32 {
    match (a, b) {
        (0, other) | (other, 0) => other,
        (a, b) => a.min(b),
    }
}

/// Connections that the process may begin in a second, 0 unlimited.
fn process_rate(local: &Local) -> u32 {
    let process = &local.shared.process;
    lower(
        process.connection_rate_limit.load(Relaxed),
        process.session_rate_limit.load(Relaxed),
    )
}

/// `rate-limit sessions`, `maxconnrate`, `maxsessrate`: one packed word each over all shards, second and count.
fn rate_allows(local: &Local, index: u32) -> bool {
    let listener = &local.listeners[index as usize];
    let second = local.now.0 / 1000;
    let allows = |cell: &AtomicU64, limit: u32| {
        let word = cell.load(Acquire);
        limit == 0 || word >> 32 != second || (word & 0xffff_ffff) < u64::from(limit)
    };
    let front = &local.shared.frontend(listener.frontend).limited_rate;
    allows(front, listener.frontend_rate)
        && allows(&local.shared.process.limited_rate, process_rate(local))
}

fn count_rate(local: &Local, index: u32) {
    let listener = &local.listeners[index as usize];
    let second = local.now.0 / 1000;
    let count = |cell: &AtomicU64| {
        let _ = cell.fetch_update(AcqRel, Acquire, |word| {
            Some(if word >> 32 == second {
                word + 1
            } else {
                second << 32 | 1
            })
        });
    };
    if listener.frontend_rate > 0 {
        count(&local.shared.frontend(listener.frontend).limited_rate);
    }
    if process_rate(local) > 0 {
        count(&local.shared.process.limited_rate);
    }
}

/// Waits until somebody closes a connection; looks once more after saying so, lest a close slips between.
fn starve(local: &mut Local, io: &mut dyn Io, index: u32) {
    let listener = &mut local.listeners[index as usize];
    listener.starved = true;
    listener.acceptable = true;
    let (sock, bind) = (listener.sock, listener.bind);
    io.listen(sock, Some(AcceptMode::Poll));
    local.shared.process.maxconn_reached.fetch_add(1, Relaxed);
    local.shared.process.room_wanted.store(true, SeqCst);
    if local.take_room(bind) {
        local.give_room(bind);
        arm(local, index, local.now);
    }
}

fn starve_until(local: &mut Local, io: &mut dyn Io, index: u32, ms: u64) {
    let listener = &mut local.listeners[index as usize];
    listener.starved = true;
    listener.acceptable = true;
    io.listen(listener.sock, Some(AcceptMode::Poll));
    let at = local.now + ms;
    arm(local, index, at);
}

fn pause_exhausted(local: &mut Local, io: &mut dyn Io, index: u32) {
    local.cells().activity.accept_paused.inc();
    starve_until(local, io, index, EXHAUSTED_PAUSE_MS);
}

/// An accepted connection, its places taken, finds its shard.
fn place(local: &mut Local, io: &mut dyn Io, index: u32, fd: RawFd, peer: Option<SocketAddr>) {
    let listener = &local.listeners[index as usize];
    let (bind, frontend) = (listener.bind, listener.frontend);
    if is_monitor(local, frontend, peer) {
        if let Some(trace) = &local.trace {
            trace.note("'monitor-net' holds the client's address: closed at once");
        }
        io.drop_fd(fd);
        local.give_room(bind);
        return;
    }
    let to = lightest(local, listener.shared_out);
    if to != local.shard {
        let target = &local.shared.shards[to];
        target.connections.fetch_add(1, AcqRel);
        match local.shared.send(to, Message::Placed { fd, bind, peer }) {
            Ok(()) => {
                local.cells().activity.placed_out.inc();
                return;
            }
            Err(_) => {
                // Its mailbox is full: the connection stays here.
                target.connections.fetch_sub(1, AcqRel);
                local.cells().activity.mailbox_full.inc();
            }
        }
    }
    local.cells().connections.fetch_add(1, AcqRel);
    open(local, io, bind, fd, peer);
}

/// A connection another shard accepted; it is counted here already.
pub fn on_placed(
    local: &mut Local,
    io: &mut dyn Io,
    bind: BindId,
    fd: RawFd,
    peer: Option<SocketAddr>,
) {
    local.cells().activity.placed_in.inc();
    open(local, io, bind, fd, peer);
}

/// A probe that is closed at once. In HTTP mode its session answers the request.
fn is_monitor(local: &Local, frontend: FrontendId, peer: Option<SocketAddr>) -> bool {
    let frontend = local.config.frontend(frontend);
    match (frontend.monitor_net, peer) {
        (Some(net), Some(peer)) => frontend.mode == Mode::Tcp && net.contains(&peer.ip()),
        _ => false,
    }
}

/// The shard for a new connection: this one unless another is clearly lighter. For sockets that
/// cannot be sharded simply the one with the fewest connections.
fn lightest(local: &Local, shared_out: bool) -> usize {
    let shards = &local.shared.shards;
    if shards.len() == 1 {
        return local.shard;
    }
    let connections = |i: usize| shards[i].connections.load(Acquire);
    let alive = |i: &usize| shards[*i].alive.load(Acquire);
    let mine = connections(local.shard);
    let least = (0..shards.len())
        .filter(alive)
        .min_by_key(|&i| (connections(i), i != local.shard));
    let Some(least) = least else {
        return local.shard;
    };
    if shared_out {
        return least;
    }
    if connections(least)
        .saturating_add(connections(least) / 8)
        .saturating_add(PLACEMENT_SLACK)
        < mine
    {
        return least;
    }
    // Equal in number, unequal in work: hand over while this loop is full and another has time.
    let load = |i: usize| shards[i].load_permille.load(Relaxed);
    if load(local.shard) > 900 {
        let idle = (0..shards.len())
            .filter(alive)
            .min_by_key(|&i| load(i))
            .unwrap_or(local.shard);
        if load(idle) < 600 {
            return idle;
        }
    }
    local.shard
}

/// SIGTTOU: takes no more connections, stays bound.
pub fn pause(local: &mut Local, io: &mut dyn Io, index: u32) {
    let listener = &mut local.listeners[index as usize];
    if !listener.open {
        return;
    }
    let sock = listener.sock;
    drain_backlog(local, io, index);
    local.listeners[index as usize].open = false;
    local.listeners[index as usize].paused = true;
    io.pause_listener(sock);
}

/// SIGTTIN: takes connections again, unless an operator closed its frontend.
pub fn resume(local: &mut Local, io: &mut dyn Io, index: u32) {
    let listener = &local.listeners[index as usize];
    let door = local.shared.frontend(listener.frontend).door();
    if !listener.paused || door != Door::Open || listener.leaving != Leaving::No {
        return;
    }
    if io.resume_listener(listener.sock, listener.backlog).is_ok() {
        start(local, io, index);
    }
}

/// `disable`, `enable` and `shutdown frontend`: does what the frontend's door asks for and was not done yet.
pub fn follow_door(local: &mut Local, io: &mut dyn Io, index: u32) {
    let listener = &local.listeners[index as usize];
    match local.shared.frontend(listener.frontend).door() {
        Door::Open if listener.paused && local.shared.phase() == Phase::Running => {
            resume(local, io, index);
        }
        Door::Open => {}
        Door::Paused => pause(local, io, index),
        Door::Shut if listener.leaving == Leaving::No => {
            refuse_new(local, io, index);
            arm(local, index, local.now + LEAVE_AFTER_MS);
        }
        Door::Shut => {}
    }
}

/// Soft stop: a listener whose frontend has `grace` serves that long, every other one begins to leave.
pub fn stop(local: &mut Local, io: &mut dyn Io, index: u32) {
    let listener = &mut local.listeners[index as usize];
    if matches!(listener.leaving, Leaving::Refusing(_) | Leaving::Gone) {
        return;
    }
    let grace_ms = local.config.frontend(listener.frontend).grace_ms;
    match grace_ms {
        Some(ms) if ms > 0 && listener.open => {
            listener.leaving = Leaving::Graced(local.now + u64::from(ms));
        }
        _ => refuse_new(local, io, index),
    }
}

/// Soft stop: takes the step that is due.
pub fn leave_in_time(local: &mut Local, io: &mut dyn Io, index: u32) {
    match local.listeners[index as usize].leaving {
        Leaving::Graced(until) if local.now >= until => refuse_new(local, io, index),
        Leaving::Refusing(until) if local.now >= until => leave(local, io, index),
        _ => {}
    }
}

/// First step of leaving: handshakes under way finish, new ones do not begin.
fn refuse_new(local: &mut Local, io: &mut dyn Io, index: u32) {
    let listener = &mut local.listeners[index as usize];
    listener.leaving = Leaving::Refusing(local.now + LEAVE_AFTER_MS);
    let fd = io.descriptor(listener.sock);
    let handed = local.shared.process.handed_over.lock();
    if handed.is_ok_and(|handed| handed.contains(&fd)) {
        // The process that follows accepts on the same socket: what was done to it would be done to that one.
        io.listen(listener.sock, None);
    } else if listener.open {
        io.listen(listener.sock, Some(AcceptMode::Poll));
        io.refuse_handshakes(listener.sock);
    }
}

/// Last step of leaving: what waits in the backlog is accepted, then the socket closes.
fn leave(local: &mut Local, io: &mut dyn Io, index: u32) {
    if local.listeners[index as usize].open {
        drain_backlog(local, io, index);
    }
    let listener = &mut local.listeners[index as usize];
    listener.open = false;
    listener.leaving = Leaving::Gone;
    io.push(Op::Close {
        sock: listener.sock,
        reset: false,
    });
}

/// Accepts everything that completed its handshake; limits are passed over, nobody is cut off.
fn drain_backlog(local: &mut Local, io: &mut dyn Io, index: u32) {
    let listener = &mut local.listeners[index as usize];
    let (sock, bind) = (listener.sock, listener.bind);
    let parked: Vec<_> = listener.parked.drain(..).map(|fd| (fd, None)).collect();
    let bound = listener.backlog.saturating_add(1);
    io.listen(sock, None);
    let waiting: Vec<_> = (0..bound).map_while(|_| io.accept_now(sock).ok()).collect();
    for (fd, peer) in parked.into_iter().chain(waiting) {
        local.force_room(bind);
        let peer = peer.or_else(|| io.peer_of_fd(fd));
        place(local, io, index, fd, peer);
    }
}

/// The word the engine carries for this listener.
pub fn owner(index: u32) -> u64 {
    Owner::Listener(index).pack()
}
