//! One shard over a simulated kernel, one client, servers that take every connection: the drivers that serve, on a
//! stage where nothing is real. No descriptor is opened, nothing is sent, nothing is written.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};

use crate::backend::{change, state_file};
use crate::base::tick::Tick;
use crate::config::{BackendId, BindId, Config, ServerId};
use crate::io::engine::{Engine, Limits};
use crate::io::op::Target;
use crate::io::sim::{Answer, Net, SimKernel};
use crate::io::sys::localtime;
use crate::proto::h1::{self, Body};
use crate::proto::http::Head;
use crate::proto::proxy_header;
use crate::proxy::http;
use crate::proxy::logs::LogOutputs;
use crate::proxy::trace::{Event, Trace};
use crate::shard::Shard;
use crate::shared::Shared;
use crate::shared::server_cell::OpState;

/// The same world each time: what is left to chance falls the same way.
const SEED: u64 = 1;
/// A port of the simulated network; what the balancer sees of addresses is the request's.
const PORT: u16 = 1;
/// Rounds after which it is given up.
const ROUNDS_MAX: u32 = 200_000;
/// Longest simulated wait: rules may pause, a tarpit holds.
const WAIT_MAX_MS: u64 = 3_600_000;
/// Longest real wait, for a password's hash.
const PASSWORD_MAX: Duration = Duration::from_secs(60);

/// What is to be played.
#[derive(Debug)]
pub(super) struct Play {
    pub(super) bind: BindId,
    pub(super) src: SocketAddr,
    pub(super) dst: SocketAddr,
    /// What the client sends, after its PROXY header.
    pub(super) bytes: Vec<u8>,
    pub(super) http: bool,
    pub(super) down: Vec<ServerId>,
    /// The text of a state file.
    pub(super) state: Option<String>,
    /// What servers answer with.
    pub(super) answer: Vec<u8>,
}

/// A connection that came to a server.
#[derive(Debug)]
pub(super) struct Visit {
    fd: RawFd,
    pub(super) to: Target,
    pub(super) bytes: Vec<u8>,
    answered: bool,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) events: Vec<Event>,
    pub(super) visits: Vec<Visit>,
    /// What the client received.
    pub(super) received: Vec<u8>,
    pub(super) closed: bool,
    /// Simulated time from the connection to the end.
    pub(super) waited_ms: u64,
    /// It came to no end in the time there is.
    pub(super) stuck: bool,
    /// What the state file said that could not be taken over.
    pub(super) complaints: Vec<String>,
}

/// Takes out of a configuration whatever reaches beyond the process: logs, checks, agents.
pub(super) fn disarm(config: &mut Config) {
    config.global.log.clear();
    config.global.stats_sockets.clear();
    config.server_states.clear();
    for frontend in &mut config.frontends {
        frontend.log.clear();
    }
    for backend in &mut config.backends {
        backend.log.clear();
        backend.log_health_checks = false;
    }
    for server in &mut config.servers {
        server.check = None;
        server.agent = None;
    }
}

struct Stage {
    net: Rc<RefCell<Net>>,
    shard: Shard<SimKernel>,
    client: RawFd,
    unsent: Vec<u8>,
    http: bool,
    answer: Vec<u8>,
    course: Course,
}

/// Plays it with a disarmed configuration.
pub(super) fn play(config: Config, play: Play) -> Course {
    let config = Arc::new(config);
    let shared = Arc::new(Shared::new(Arc::clone(&config), 1));
    change::at_start(&shared);
    shared
        .process
        .maxconn
        .store(config.global.maxconn.unwrap_or(10_000).max(1), Relaxed);
    let net = Net::new(SEED, 1);
    net.borrow_mut().otherwise = Answer::Accept;
    let now = Tick(net.borrow().now);
    let epoch_us = localtime::wall_us().saturating_sub(now.0 * 1000);
    shared.process.epoch_us.store(epoch_us, Relaxed);
    let mut complaints = Vec::new();
    if let Some(text) = &play.state {
        let all: Vec<BackendId> = (0..config.backends.len() as u32).map(BackendId).collect();
        complaints = state_file::apply(&shared, &all, text, now);
    }
    for id in &play.down {
        change::restore(&shared, *id, OpState::Stopped, now);
    }
    let bell = net.borrow().bell(0);
    shared.shards[0]
        .bell
        .install(move || bell.store(true, SeqCst));
    let kernel = SimKernel::new(&net, 0, false);
    let limits = Limits {
        buffer: config.global.tune.bufsize as usize,
        pipes: 0,
        ..Limits::default()
    };
    let logs = LogOutputs::open(&config).shard(&shared, 0);
    let engine = Engine::new(kernel, limits, Vec::new());
    let mut shard = Shard::new(Arc::clone(&shared), 0, engine, logs, now, SEED);
    shard.local.trace = Some(Box::<Trace>::default());
    let fd = net.borrow_mut().listen(PORT);
    shard.add_listener_fd(play.bind, fd);
    shard.start();
    let client = net.borrow_mut().client_from(PORT, play.src, play.dst);
    let mut unsent = Vec::new();
    if config.bind(play.bind).accept_proxy {
        let ends = proxy_header::Addresses::of(Some(play.src), Some(play.dst));
        proxy_header::encode_v1(ends, &mut unsent);
    }
    unsent.extend(play.bytes);
    let stage = Stage {
        client: client.expect("the listener was just opened"),
        net,
        shard,
        unsent,
        http: play.http,
        answer: play.answer,
        course: Course {
            events: Vec::new(),
            visits: Vec::new(),
            received: Vec::new(),
            closed: false,
            waited_ms: 0,
            stuck: false,
            complaints,
        },
    };
    stage.run()
}

impl Stage {
    fn run(mut self) -> Course {
        let begun = self.net.borrow().now;
        let real = Instant::now();
        for round in 0.. {
            if round == ROUNDS_MAX {
                self.course.stuck = true;
                break;
            }
            let mut moved = self.client_sends();
            moved |= self.deliver();
            moved |= self.net.borrow().runnable(0);
            self.shard.turn();
            moved |= self.servers_act();
            moved |= self.client_reads();
            moved |= !self.net.borrow().busy_wires().is_empty();
            if moved {
                continue;
            }
            if self.is_over() {
                break;
            }
            if self.verifies() {
                if real.elapsed() > PASSWORD_MAX {
                    self.course.stuck = true;
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            let mut net = self.net.borrow_mut();
            let next = self.shard.local.timers.next().map_or(0, |tick| tick.0);
            net.now = next.max(net.now + 1);
            if net.now - begun > WAIT_MAX_MS {
                self.course.stuck = true;
                break;
            }
        }
        let trace = self.shard.local.trace.take();
        self.course.events = trace.map_or_else(Vec::new, |trace| trace.take());
        self.course.waited_ms = self.net.borrow().now - begun;
        self.course
    }

    fn trace_ended(&self) -> bool {
        self.shard.local.trace.as_ref().is_some_and(|t| t.ended())
    }

    /// Nothing of interest can come any more: the transaction ended, or a relay flows.
    fn is_over(&self) -> bool {
        let relays = !self.http && !self.course.visits.is_empty() && self.unsent.is_empty();
        self.course.closed || self.trace_ended() || relays
    }

    /// Whether a password's hash is worked out, which takes real time.
    fn verifies(&self) -> bool {
        let local = &self.shard.local;
        let mut keys = local.sessions.keys().into_iter();
        keys.any(|key| http::stage_name(local, key) == "password")
    }

    fn client_sends(&mut self) -> bool {
        if self.unsent.is_empty() || self.course.closed {
            return false;
        }
        match self
            .net
            .borrow_mut()
            .outside_send(self.client, &self.unsent)
        {
            Ok(n) => {
                self.unsent.drain(..n);
                n > 0
            }
            Err(errno) if errno.would_block() => false,
            Err(_) => {
                self.unsent.clear();
                false
            }
        }
    }

    fn deliver(&mut self) -> bool {
        let mut any = false;
        loop {
            let busy = self.net.borrow().busy_wires();
            if busy.is_empty() {
                return any;
            }
            any = true;
            for fd in busy {
                self.net.borrow_mut().deliver(fd);
            }
        }
    }

    fn client_reads(&mut self) -> bool {
        if self.course.closed {
            return false;
        }
        match self.net.borrow_mut().outside_recv(self.client, 65_536) {
            Ok(bytes) if !bytes.is_empty() => {
                self.course.received.extend(bytes);
                true
            }
            Err(errno) if errno.would_block() => false,
            _ => {
                self.course.closed = true;
                false
            }
        }
    }

    fn servers_act(&mut self) -> bool {
        let mut any = false;
        while let Some((fd, to)) = self.net.borrow_mut().take_reached() {
            any = true;
            self.course.visits.push(Visit {
                fd,
                to,
                bytes: Vec::new(),
                answered: false,
            });
        }
        for visit in &mut self.course.visits {
            let read = self.net.borrow_mut().outside_recv(visit.fd, 65_536);
            if let Ok(bytes) = read
                && !bytes.is_empty()
            {
                visit.bytes.extend(bytes);
                any = true;
            }
            if self.http && !visit.answered && visit.is_whole() {
                visit.answered = true;
                any = true;
                // What is sent is small: it is taken at once, or the session is gone.
                let _ = self.net.borrow_mut().outside_send(visit.fd, &self.answer);
            }
        }
        any
    }
}

impl Visit {
    /// The PROXY header that came first, and what follows it.
    pub(super) fn parts(&self) -> (Option<proxy_header::Header>, &[u8]) {
        match proxy_header::parse(&self.bytes) {
            Ok(proxy_header::Parse::Done(header, used)) => (Some(header), &self.bytes[used..]),
            _ => (None, &self.bytes),
        }
    }

    /// The head of the request and how long it is.
    pub(super) fn head(&self) -> Option<(Head, usize)> {
        let bytes = self.parts().1;
        let mut head = Head::default();
        let limits = generous();
        match h1::request_head(bytes, &limits, &mut head) {
            Ok(h1::Parse::Done { used }) => Some((head, used)),
            _ => None,
        }
    }

    fn is_whole(&self) -> bool {
        let Some((mut head, used)) = self.head() else {
            return false;
        };
        let body = &self.parts().1[used..];
        match h1::request_framing(&mut head, &generous()).map(|framing| framing.body) {
            Ok(Body::Length(length)) => body.len() as u64 >= length,
            Ok(Body::Chunked) => body.ends_with(b"0\r\n\r\n"),
            _ => true,
        }
    }
}

/// What the balancer sends is read whatever its size.
pub(super) fn generous() -> h1::Limits {
    h1::Limits {
        head_max: usize::MAX,
        fields_max: usize::MAX,
        unsafe_ok: true,
        ..h1::Limits::default()
    }
}
