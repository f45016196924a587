//! One client connection in HTTP mode, and the transactions on it, one after the other.
//!
//! A [`Session`] is the connection; a [`Txn`] is one request with its response and is lent only while
//! there is one, so that idle connections stay small. Stages in order of life: `Header` (PROXY header) ·
//! `Idle` · `Request` (its head comes in) · `Rules` (evaluated; may stop for a body, a pause, a password, in
//! a tarpit) · `Queue` · `Connect` · `Retry` · `Exchange` (request out, response in, each direction on its
//! own) · `Answer` (one of ours) · `Linger` (nothing more is said; what the client still sends is read and
//! dropped, so that it sees our last bytes before a reset).
//!
//! What holds resources (sockets, a server's place, a ticket) is in the session, what is only data in the
//! transaction: a panic loses the latter alone.
//!
//! Files, in order of life: `head` (request heads), `rules`, `route` (backend, server, queue, connect, retry),
//! `exchange` (bodies and responses), `answer` (our own), `time`, `ending`; `subject` is what expressions see.

mod answer;
mod ending;
mod exchange;
mod flow;
mod head;
mod idle;
mod respond;
mod route;
mod rules;
mod show;
mod subject;
mod time;
mod told;

use std::cell::{Cell, OnceCell, RefCell};
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::atomic::Ordering::AcqRel;

use super::gate::{self, Entered, Gate};
use super::local::{Local, Owner};
use super::outcome::{Cause, StageReached};
use super::passwords::Job;
use super::tcp::drop_payload;
use crate::backend::{Position, Ticket, trial};
use crate::base::slots::Key;
use crate::base::tick::{Moment, Tick};
use crate::base::wheel::TimerId;
use crate::config::{BackendId, BindId, FrontendId, ServerId, Splice};
use crate::io::buf::Buf;
use crate::io::engine::Io;
use crate::io::op::{Done, Op, SockKey, What};
use crate::lang::changes::Changes;
use crate::lang::rules::Cursor;
use crate::lang::sample::Owned;
use crate::lang::subject::VarId;
use crate::proto::h1::{Peer, RequestFraming, ResponseFraming};
use crate::proto::http::{Head, Version};
use flow::{Flow, Move};
pub use idle::{close_all, close_idle, name_gone, on_borrow, on_idle_done, on_lent, purge};
pub(in crate::proxy) use route::{by_default, by_name};
pub use route::{note_position, on_admitted};
pub use rules::on_verified;
pub use time::on_timer;

/// A session in its slot. The driver borrows it for one event; nothing else does.
pub type Place = Rc<RefCell<Session>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Header,
    Idle,
    Request,
    Rules,
    /// `wait-for-body`, `option http-buffer-request`.
    Body,
    Tarpit,
    /// `http-request pause`.
    Pause,
    /// A password is being verified.
    Password,
    Queue,
    /// Another shard was asked for an idle connection.
    Borrow,
    Connect,
    /// Before the next attempt on the same server.
    Retry,
    Exchange,
    Answer,
    Linger,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Idle => "idle",
            Self::Request => "request",
            Self::Rules => "rules",
            Self::Body => "body",
            Self::Tarpit => "tarpit",
            Self::Pause => "pause",
            Self::Password => "password",
            Self::Queue => "queue",
            Self::Borrow => "borrow",
            Self::Connect => "connect",
            Self::Retry => "retry",
            Self::Exchange => "exchange",
            Self::Answer => "answer",
            Self::Linger => "linger",
        }
    }
}

/// The connection to a server.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Link {
    /// Requests sent over it so far.
    pub(super) uses: u32,
    /// This request did not open it.
    pub(super) reused: bool,
    /// Bound to this client (`usesrc clientip` and the like): never shared.
    pub(super) private: bool,
    /// Which connections of the server are alike (source address).
    pub(super) identity: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    key: Key,
    bind: BindId,
    frontend: FrontendId,
    stage: Stage,
    client: SockKey,
    /// A receiving operation is pending on the client's socket, on the server's; a sending one.
    reading: bool,
    server_reading: bool,
    /// As the connection says, and as PROXY headers and rules left it.
    ends: (Option<SocketAddr>, Option<SocketAddr>),
    src: Option<SocketAddr>,
    dst: Option<SocketAddr>,
    accepted: Tick,
    /// When the present wait began.
    since: Tick,
    client_rx: Tick,
    client_tx: Tick,
    server_rx: Tick,
    server_tx: Tick,
    requests: u32,
    timer: Option<(TimerId, Tick)>,
    /// The client ended its side.
    eof: bool,
    /// A head, or PROXY header, that came in part.
    partial: Vec<u8>,
    /// Received and not looked at yet.
    carry: Option<Buf>,
    txn: Option<Box<Txn>>,
    vars: Vec<(VarId, Owned)>,
    received_proxy: bool,
    // resources
    backend: Option<BackendId>,
    /// The server whose row and place are taken.
    server: Option<ServerId>,
    /// `server` failed before, and this connection tries it; nothing is decided yet.
    trial: bool,
    server_sock: Option<SockKey>,
    link: Link,
    ticket: Option<Ticket>,
    /// A private server connection kept between requests, its server and link.
    kept: Option<(ServerId, SockKey, Link)>,
    last_server: Option<ServerId>,
    /// Chosen while the session was a TCP one.
    preset: Option<BackendId>,
    over: bool,
}

/// Deadlines that rules changed, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Overrides {
    pub(super) client: Option<u32>,
    pub(super) server: Option<u32>,
    pub(super) connect: Option<u32>,
    pub(super) queue: Option<u32>,
    pub(super) tarpit: Option<u32>,
    pub(super) tunnel: Option<u32>,
    pub(super) retries: Option<u32>,
    /// `disable-l7-retry`.
    pub(super) no_replay: bool,
}

/// What rules want of the sockets' packets: marks, type of service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Packets {
    pub(super) client_mark: Option<u32>,
    pub(super) client_tos: Option<u32>,
    pub(super) server_mark: Option<u32>,
    pub(super) server_tos: Option<u32>,
}

impl Packets {
    /// Which connections of a server are alike.
    fn identity(&self) -> u64 {
        let part = |wish: Option<u32>| wish.map_or(0, |n| u64::from(n) + 1);
        part(self.server_mark) << 16 ^ part(self.server_tos)
    }
}

/// Name and value of a header field.
type Field = (Box<[u8]>, Box<[u8]>);

/// One request with its response.
#[derive(Debug, Default)]
pub struct Txn {
    request: Head,
    response: Head,
    framing: RequestFraming,
    answer: ResponseFraming,
    /// The request line as it came: method, target and version with the ends of the first two.
    line: Vec<u8>,
    line_ends: (usize, usize),
    cursor: Cursor,
    up: Flow,
    down: Flow,
    /// Response head, or interim answers, received in part.
    partial: Vec<u8>,
    /// Bytes of the request kept for a retry after the response failed (`retry-on`).
    replay: Option<Vec<u8>>,
    /// A whole body at hand, for rules and hashes.
    body: Vec<u8>,
    body_whole: bool,
    /// Its number in the process.
    number: u64,
    // times
    idle_ms: u64,
    began: Moment,
    head_at: Option<Moment>,
    dequeued: Option<Moment>,
    connected: Option<Moment>,
    sent: Option<Tick>,
    responded: Option<Tick>,
    wait_until: Tick,
    // counts
    /// Anything came from the client at all.
    any: bool,
    /// Bytes of heads, as haproxy counts them: the request's, those the server sent; all of an answer of ours.
    head_in: u64,
    heads_back: u64,
    own_out: u64,
    /// What of the client's bytes in and out the counters have already.
    counted: [u64; 2],
    retries: u32,
    redispatched: bool,
    redispatch_now: bool,
    /// It tried a server that failed ([`Session::trial`]).
    tried: bool,
    queue_position: Position,
    // outcome
    status: u16,
    server_status: u16,
    last_server: Option<ServerId>,
    /// Of the server's connection, where somebody asks ([`Needs::SERVER_ENDS`]): where it comes from, where it goes.
    ///
    /// [`Needs::SERVER_ENDS`]: crate::lang::expr::Needs::SERVER_ENDS
    server_ends: (Option<SocketAddr>, Option<SocketAddr>),
    cause: Option<(Cause, StageReached)>,
    letters: [u8; 2],
    /// The client's connection goes on after this.
    keep: bool,
    /// The head of a response (ours or a server's) is on its way to the client.
    head_sent: bool,
    own: bool,
    logged: bool,
    bad: bool,
    /// Seen by `capture cookie`.
    cookies: [Option<Box<[u8]>>; 2],
    captures: [Vec<Option<Box<[u8]>>>; 2],
    vars: Vec<(VarId, Owned)>,
    /// What converters changed and [`Session::keep_changes`] has not carried out yet.
    changes: Changes,
    overrides: Overrides,
    socket: Packets,
    /// Fields of a 103 that is to be sent.
    hints: Vec<Field>,
    log_level: LogLevel,
    persist: rules::Persist,
    found: route::Found,
    /// Worked out when a rule asks for it first, or for its header; whether that began.
    unique_id: OnceCell<Box<[u8]>>,
    id_begun: Cell<bool>,
    last_rule: Option<crate::lang::source::Span>,
    held_reply: Option<answer::Prepared>,
    page: Option<Box<answer::PageTurn>>,
    strict: bool,
    /// The client speaks HTTP/1.0.
    old: bool,
    /// Answered by a service of ours, which has this name in place of a server's.
    applet: Option<&'static str>,
    asap: bool,
    /// Cause, stage and the two letters of the cookie.
    term: [u8; 4],
    /// A send to the client is under way, and what is to follow it.
    sending: bool,
    next: Option<Buf>,
    /// The source ended behind what is in the pipe.
    eof_behind: bool,
    /// 100 was sent by us.
    continued: bool,
    /// A response's body that rules look at, or wait for.
    held: Option<Box<respond::Held>>,
    /// What came of a body that rules wait for, as it came; how much of it they want.
    raw: Vec<u8>,
    body_wanted: u64,
    /// A password that a condition asked for and nobody knows yet.
    asked: RefCell<Option<Job>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LogLevel {
    #[default]
    Usual,
    Silent,
    Level(u8),
}

impl Txn {
    /// What was just evaluated asked for a password that is not verified yet: its result is void.
    fn asks_password(&self) -> bool {
        self.asked.borrow().is_some()
    }
    /// Whom a response is written for.
    fn client(&self) -> Peer {
        Peer::Client(if self.old {
            Version::Http10
        } else {
            Version::Http11
        })
    }

    /// Bytes from the client, from the server, and to the client.
    fn client_in(&self) -> u64 {
        self.head_in + self.up.payload
    }
    fn server_in(&self) -> u64 {
        self.heads_back + self.down.payload
    }
    fn client_out(&self) -> u64 {
        if self.own {
            self.own_out
        } else {
            self.server_in()
        }
    }

    /// Ready for another request, memory kept where it is worth it.
    pub(super) fn renew(&mut self) {
        let old = std::mem::take(self);
        let Self {
            mut request,
            mut response,
            mut line,
            mut captures,
            mut vars,
            ..
        } = old;
        request.clear();
        response.clear();
        line.clear();
        captures.iter_mut().for_each(Vec::clear);
        vars.clear();
        (self.request, self.response, self.line) = (request, response, line);
        (self.captures, self.vars) = (captures, vars);
        self.letters = *b"--";
    }
}

// ---------------------------------------------------------------- opening

/// A connection of `bind` begins its session here; its places are taken already.
pub fn open(local: &mut Local, io: &mut dyn Io, bind: BindId, fd: RawFd, entered: Entered) {
    let spec = local.config.bind(bind);
    let frontend = spec.frontend;
    let accept_proxy = spec.accept_proxy || entered.expect_proxy;
    let mut session = Session::new(local, bind, entered);
    if accept_proxy {
        session.stage = Stage::Header;
    }
    let place = Rc::new(RefCell::new(session));
    let Ok(key) = local.sessions.insert(Rc::clone(&place)) else {
        super::tcp::refuse(local, io, bind, fd);
        return;
    };
    let client = match io.adopt(fd, Owner::Http(key).pack()) {
        Ok(client) => client,
        Err(fd) => {
            local.sessions.remove(key);
            super::tcp::refuse(local, io, bind, fd);
            return;
        }
    };
    super::tcp::count_open(local, bind, frontend);
    let mut s = place.borrow_mut();
    (s.key, s.client) = (key, client);
    if local.needs_local[frontend.index()] {
        s.dst = io.local_address(client);
        s.ends.1 = s.dst;
    }
    s.log_connect(local, io);
    if !accept_proxy && !s.admitted(local, io) {
        drop(s);
        end_at_once(local, io, &place);
        return;
    }
    s.reading = true;
    io.push(Op::Recv { sock: client });
    s.rearm(local);
}

impl Session {
    /// A session that is nowhere yet, at its beginning.
    fn new(local: &Local, bind: BindId, entered: Entered) -> Self {
        let now = local.now;
        let nowhere = SockKey(Key {
            index: 0,
            generation: 0,
        });
        Self {
            key: nowhere.0,
            bind,
            frontend: local.config.bind(bind).frontend,
            stage: Stage::Idle,
            client: nowhere,
            reading: false,
            server_reading: false,
            ends: (entered.peer, None),
            src: entered.peer,
            dst: None,
            accepted: now,
            since: now,
            client_rx: now,
            client_tx: now,
            server_rx: now,
            server_tx: now,
            requests: 0,
            timer: None,
            eof: false,
            partial: Vec::new(),
            carry: None,
            txn: None,
            vars: entered.vars,
            received_proxy: false,
            backend: None,
            server: None,
            trial: false,
            server_sock: None,
            link: Link::default(),
            ticket: None,
            kept: None,
            last_server: None,
            preset: None,
            over: false,
        }
    }
}

/// A TCP session whose backend speaks HTTP becomes an HTTP one (configuration.txt 4.2, `mode`): its places, its
/// socket and what came stay with it. `reading`: a receive is under way.
pub fn upgrade(local: &mut Local, io: &mut dyn Io, from: Upgraded) {
    let mut session = Session::new(local, from.bind, from.entered);
    session.preset = Some(from.backend);
    (session.dst, session.ends.1) = (from.dst, from.dst);
    (session.accepted, session.since) = (from.accepted, from.accepted);
    session.client = from.client;
    (session.reading, session.eof) = (from.reading, from.eof);
    let place = Rc::new(RefCell::new(session));
    let Ok(key) = local.sessions.insert(Rc::clone(&place)) else {
        io.push(Op::Close {
            sock: from.client,
            reset: false,
        });
        local.cells().connections.fetch_sub(1, AcqRel);
        local.cells().listeners[from.bind.index()].current.sub(1);
        local.give_room(from.bind);
        return;
    };
    io.set_owner(from.client, Owner::Http(key).pack());
    let mut s = place.borrow_mut();
    s.key = key;
    s.run(local, io, |s, t, local, io| match from.early {
        Some(buf) => {
            t.any = true;
            s.take_request(t, local, io, buf);
        }
        None if s.eof => s.on_client_eof(t, local, io),
        None => s.read_client(io),
    });
}

/// What a TCP session hands over to [`upgrade`].
#[derive(Debug)]
pub struct Upgraded {
    pub bind: BindId,
    pub client: SockKey,
    pub backend: BackendId,
    pub entered: Entered,
    pub dst: Option<SocketAddr>,
    pub accepted: Tick,
    pub early: Option<Buf>,
    pub reading: bool,
    pub eof: bool,
}

/// A session that a rule refused before a byte was read.
fn end_at_once(local: &mut Local, io: &mut dyn Io, place: &Place) {
    let mut s = place.borrow_mut();
    s.run(local, io, |s, _, _, _| s.over = true);
}

// ---------------------------------------------------------------- completions

/// One completion for this session.
pub fn on_done(local: &mut Local, io: &mut dyn Io, key: Key, done: Done) {
    let Some(place) = local.sessions.get(key).map(Rc::clone) else {
        local.cells().activity.stale_completions.inc();
        drop_payload(io, done.what);
        return;
    };
    let mut s = place.borrow_mut();
    let from_client = done.sock == s.client;
    if !from_client && s.server_sock != Some(done.sock) {
        if s.kept_ended(io, done.sock) {
            drop_payload(io, done.what);
            return;
        }
        local.cells().activity.stale_completions.inc();
        drop_payload(io, done.what);
        return;
    }
    if local.panics_wanted > 0 {
        local.panics_wanted -= 1;
        drop_payload(io, done.what);
        panic!("injected by the test command");
    }
    s.run(local, io, |s, t, local, io| {
        s.on_what(t, local, io, from_client, done.what);
    });
}

impl Session {
    /// Runs one event with the transaction at hand, and puts things in order after it.
    fn run(
        &mut self,
        local: &mut Local,
        io: &mut dyn Io,
        act: impl FnOnce(&mut Self, &mut Txn, &mut Local, &mut dyn Io),
    ) {
        let mut t = self.txn.take().unwrap_or_else(|| {
            local.spare_txns.pop().unwrap_or_else(|| {
                let mut t = Box::<Txn>::default();
                t.renew();
                t
            })
        });
        act(self, &mut t, local, io);
        if self.over {
            self.close(&mut t, local, io);
            local.give_txn(t);
            local.sessions.remove(self.key);
            return;
        }
        if matches!(self.stage, Stage::Idle | Stage::Header | Stage::Linger) {
            local.give_txn(t);
        } else {
            self.txn = Some(t);
        }
        self.rearm(local);
    }

    fn on_what(
        &mut self,
        t: &mut Txn,
        local: &mut Local,
        io: &mut dyn Io,
        from_client: bool,
        what: What,
    ) {
        let now = local.now;
        match what {
            What::Received { buf } if from_client => {
                self.reading = false;
                self.client_rx = now;
                t.any = true;
                self.on_client_bytes(t, local, io, buf);
            }
            What::Received { buf } => {
                self.server_reading = false;
                self.server_rx = now;
                self.on_server_bytes(t, local, io, buf);
            }
            What::Eof if from_client => {
                self.reading = false;
                self.on_client_eof(t, local, io);
            }
            What::Eof => {
                self.server_reading = false;
                self.on_server_eof(t, local, io, false);
            }
            What::RecvFailed { .. } if from_client => {
                self.reading = false;
                self.on_client_broken(t, local, io);
            }
            What::RecvFailed { .. } => {
                self.server_reading = false;
                self.on_server_eof(t, local, io, true);
            }
            What::Sent { bytes, left } => self.on_sent(t, local, io, from_client, bytes, left),
            What::SendFailed { .. } if from_client => self.on_client_broken(t, local, io),
            What::SendFailed { .. } => self.on_server_refuses(t, local, io),
            What::Filled { pipe, bytes, eof } => {
                self.on_filled(t, local, io, from_client, pipe, bytes, eof);
            }
            What::NoPipe => self.on_no_pipe(t, local, io, from_client),
            What::Drained {
                pipe,
                bytes,
                blocked,
                ..
            } => self.on_drained(t, local, io, from_client, pipe, bytes, blocked),
            What::Connected => self.on_connected(t, local, io),
            What::ConnectFailed { errno } => self.on_connect_failed(t, local, io, errno),
            What::Accepted { .. } | What::Acceptable | What::AcceptEnded { .. } => {
                unreachable!("listeners have owners of their own")
            }
        }
    }

    /// `tcp-request session`: whether the session goes on.
    fn admitted(&mut self, local: &mut Local, io: &mut dyn Io) -> bool {
        let (bind, client, dst) = (self.bind, self.client, self.dst);
        let gate = gate::session(local, io, bind, client, &mut self.src, dst, &mut self.vars);
        gate == Gate::Pass
    }

    fn enter(&mut self, stage: Stage, now: Tick) {
        self.stage = stage;
        self.since = now;
    }

    /// Reads from the client unless that is under way already, or what came waits to be looked at.
    fn read_client(&mut self, io: &mut dyn Io) {
        if !self.reading && !self.eof && self.carry.is_none() {
            self.reading = true;
            io.push(Op::Recv { sock: self.client });
        }
    }
    fn read_server(&mut self, io: &mut dyn Io) {
        if let (false, Some(sock)) = (self.server_reading, self.server_sock) {
            self.server_reading = true;
            io.push(Op::Recv { sock });
        }
    }

    fn front<'l>(&self, local: &'l Local) -> &'l crate::config::http::Http {
        let config = &local.config;
        &config.proxy(config.frontend(self.frontend).proxy).http
    }
    fn back<'l>(&self, local: &'l Local) -> Option<&'l crate::config::http::Http> {
        let config = &local.config;
        let backend = config.backend(self.backend?);
        Some(&config.proxy(backend.proxy).http)
    }

    fn splice(&self, local: &Local) -> (Splice, Splice) {
        super::tcp::splice_modes(local, self.frontend, self.backend)
    }
}

/// Kills a session (stop, panic, operator).
pub fn kill(local: &mut Local, io: &mut dyn Io, key: Key, cause: Cause) {
    let Some(place) = local.sessions.get(key).map(Rc::clone) else {
        return;
    };
    let mut s = place.borrow_mut();
    s.run(local, io, |s, t, local, _| s.kill(t, local, cause));
}

/// The server that a stream of it is connected to, or connects to.
pub fn server_of(local: &Local, key: Key) -> Option<ServerId> {
    local
        .sessions
        .get(key)
        .and_then(|place| place.borrow().server)
}

/// Stage by name, for diagnostics.
pub fn stage_name(local: &Local, key: Key) -> &'static str {
    let place = local.sessions.get(key);
    place.map_or("gone", |place| {
        place.try_borrow().map_or("busy", |s| s.stage.name())
    })
}

pub use show::{ages, row};

/// The soft stop began: a connection between two requests has another deadline.
pub fn stop_if_idle(local: &mut Local, io: &mut dyn Io, key: Key) {
    let Some(place) = local.sessions.get(key).map(Rc::clone) else {
        return;
    };
    let mut s = place.borrow_mut();
    if s.stage == Stage::Idle && s.requests > 0 {
        s.run(local, io, |s, t, local, io| s.on_deadline(t, local, io));
    }
}

impl Session {
    /// Gives everything back and closes the sockets.
    fn close(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        self.leave_backend(t, local);
        if let Some((id, _)) = self.timer.take() {
            local.timers.cancel(id);
        }
        if let Some(buf) = self.carry.take() {
            io.give_buf(buf);
        }
        self.drop_server(io, false);
        if let Some((_, sock, _)) = self.kept.take() {
            io.push(Op::Close { sock, reset: false });
        }
        io.push(Op::Close {
            sock: self.client,
            reset: false,
        });
        let cells = local.cells();
        cells.connections.fetch_sub(1, AcqRel);
        cells.listeners[self.bind.index()].current.sub(1);
        local.give_room(self.bind);
    }

    fn drop_server(&mut self, io: &mut dyn Io, reset: bool) {
        if let Some(sock) = self.server_sock.take() {
            io.push(Op::Close { sock, reset });
        }
        self.server_reading = false;
        self.link = Link::default();
    }
}
