//! Probes of servers. Each server's probe runs in exactly one shard, through the same engine as the
//! traffic, so that a server sees one probe an interval however many shards there are. What a result
//! means is decided in `backend::health`; codecs are in `proto::check`.
//!
//! Stages: idle until the timer · `Connecting` · `Talking` (request sent, answer awaited) · idle.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Acquire;

use super::connect::{self, Ends};
use super::local::{Local, Owner, Timer};
use super::tcp::drop_payload;
use crate::backend::change::Change;
use crate::backend::health::{self, CheckResult, Health};
use crate::backend::server;
use crate::base::tick::Tick;
use crate::base::wheel::TimerId;
use crate::config::{CheckKind, ProxyProtocol, ServerAddress, ServerId};
use crate::io::buf::Buf;
use crate::io::engine::Io;
use crate::io::op::{Connect, Done, Op, SockKey, Target, What};
use crate::proto::check::{ANSWER_MAX, Answer, Dialogue, Status, http_request, ssl_hello};
use crate::proto::proxy_header::{self, Addresses, Checksum};
use crate::shared::Phase;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Idle,
    Connecting,
    Talking,
}

/// The probe of one server.
#[derive(Debug)]
pub struct Probe {
    server: ServerId,
    dialogue: Dialogue,
    stage: Stage,
    sock: Option<SockKey>,
    /// Tells late completions of an earlier attempt from those of this one.
    attempt: u32,
    started: Tick,
    timer: Option<TimerId>,
    answer: Vec<u8>,
    health: Health,
    random: u32,
}

/// Arms the probes of this shard's servers, the first ones spread over their intervals.
pub fn start(local: &mut Local) {
    let shards = local.shared.shards.len();
    let config = std::sync::Arc::clone(&local.config);
    let firsts = health::first_checks(&config);
    let mine = config
        .servers
        .iter()
        .enumerate()
        .filter(|(i, s)| i % shards == local.shard && s.check.is_some())
        .filter(|(_, s)| !config.backend(s.backend).disabled);
    for (i, server) in mine {
        let server_id = ServerId(i as u32);
        let dialogue = match config.backend(server.backend).check {
            CheckKind::TcpConnect => Dialogue::Connect,
            CheckKind::Http { .. } => Dialogue::Http,
            CheckKind::SslHello => Dialogue::SslHello,
        };
        let index = local.probes.len() as u32;
        let first = local.now + firsts[i];
        let timer = Some(local.timers.arm(first, Timer::Probe(index)));
        local.probes.push(Probe {
            server: server_id,
            dialogue,
            stage: Stage::Idle,
            sock: None,
            attempt: 0,
            started: local.now,
            timer,
            answer: Vec::new(),
            health: Health::default(),
            random: i as u32 ^ 0x9e37_79b9,
        });
    }
}

/// Time to begin, or time is over.
pub fn on_timer(local: &mut Local, io: &mut dyn Io, index: u32) {
    let probe = &mut local.probes[index as usize];
    probe.timer = None;
    match probe.stage {
        Stage::Idle => begin(local, io, index),
        Stage::Connecting => conclude(local, io, index, Answer::plain(Status::L4Tout)),
        Stage::Talking => {
            let answer = probe.dialogue.timeout();
            conclude(local, io, index, answer);
        }
    }
}

fn begin(local: &mut Local, io: &mut dyn Io, index: u32) {
    let now = local.now;
    let probe = &mut local.probes[index as usize];
    probe.started = now;
    probe.attempt = (probe.attempt + 1) & 0xff_ffff;
    let id = probe.server;
    let process = &local.shared.process;
    // Where no connection can come any more, nobody needs to know how the servers are.
    let over = local.shared.phase() == Phase::SoftStop && process.listening.load(Acquire) == 0;
    if over || !health::wants_check(&local.shared, id) {
        rest(local, index);
        return;
    }
    let attempt = probe.attempt;
    local.cells().activity.checks.inc();
    let Some(spec) = target(local, id) else {
        conclude(local, io, index, Answer::plain(Status::SockErr));
        return;
    };
    match io.connect(&spec, Owner::Probe(index, attempt).pack()) {
        Ok(sock) => {
            let times = health::times(&local.config, id).expect("a checked server");
            let timer = local
                .timers
                .arm(now + u64::from(times.connect_ms), Timer::Probe(index));
            let probe = &mut local.probes[index as usize];
            probe.stage = Stage::Connecting;
            probe.sock = Some(sock);
            probe.timer = Some(timer);
        }
        Err(errno) => conclude(local, io, index, Answer::connect_failed(errno.0)),
    }
}

/// Where the probe goes: the server's address unless `addr` and `port` say otherwise. Source and
/// interface are the server's; a probe never borrows a client's address.
fn target(local: &Local, id: ServerId) -> Option<Connect> {
    let server = local.config.server(id);
    let backend = local.config.backend(server.backend);
    let check = server.check.as_ref()?;
    let (addr, port) = server::probed(&local.shared, id, check);
    let own = local.shared.server(id).place.or(&server.address);
    let to = match &*own {
        ServerAddress::Ip { ip, .. } => Target::Ip(SocketAddr::new(addr.unwrap_or(*ip), port)),
        ServerAddress::Unresolved { .. } => Target::Ip(SocketAddr::new(addr?, port)),
        ServerAddress::Unix(_) | ServerAddress::Abns(_) if port == 0 && addr.is_none() => {
            return connect::to_server(&local.shared, id, Ends::default());
        }
        ServerAddress::Unix(_) | ServerAddress::Abns(_) => Target::Ip(SocketAddr::new(addr?, port)),
    };
    let mut spec = Connect::plain(to);
    if let Some(source) = server.source.as_ref().or(backend.source.as_ref()) {
        connect::from_source(&mut spec, source, Ends::default());
        spec.transparent = false;
    }
    Some(spec)
}

/// A completion of the probe's socket.
pub fn on_done(local: &mut Local, io: &mut dyn Io, index: u32, attempt: u32, done: Done) {
    let probe = &mut local.probes[index as usize];
    if probe.attempt != attempt || probe.sock != Some(done.sock) {
        local.cells().activity.stale_completions.inc();
        drop_payload(io, done.what);
        return;
    }
    match done.what {
        What::Connected => on_connected(local, io, index, done.sock),
        What::ConnectFailed { errno } => {
            conclude(local, io, index, Answer::connect_failed(errno.0))
        }
        What::Received { buf } => on_received(local, io, index, done.sock, buf),
        What::Eof => on_ended(local, io, index, 0),
        What::RecvFailed { errno } | What::SendFailed { errno } => {
            on_ended(local, io, index, errno.0)
        }
        What::Sent { .. } => {}
        other => unreachable!("a probe never asked for this: {other:?}"),
    }
}

fn on_connected(local: &mut Local, io: &mut dyn Io, index: u32, sock: SockKey) {
    let probe = &local.probes[index as usize];
    let id = probe.server;
    let bytes = request(local, io, id, sock);
    let probe = &mut local.probes[index as usize];
    if !bytes.is_empty() {
        io.push(Op::Send {
            sock,
            buf: Buf::of(&bytes),
        });
    }
    if probe.dialogue == Dialogue::Connect {
        conclude(local, io, index, Answer::plain(Status::L4Ok));
        return;
    }
    probe.stage = Stage::Talking;
    io.push(Op::Recv { sock });
    let times = health::times(&local.config, id).expect("a checked server");
    if let Some(answer_ms) = times.answer_ms {
        let at = local.now + u64::from(answer_ms);
        if let Some(timer) = local.probes[index as usize].timer.take() {
            local.timers.cancel(timer);
        }
        local.probes[index as usize].timer = Some(local.timers.arm(at, Timer::Probe(index)));
    }
}

/// What is said to the server: a PROXY header if it wants one, then the request.
fn request(local: &Local, io: &mut dyn Io, id: ServerId, sock: SockKey) -> Vec<u8> {
    let server = local.config.server(id);
    let mut out = Vec::new();
    match server.check.as_ref().and_then(|c| c.send_proxy) {
        // Seen on haproxy: version 1 has no LOCAL and carries the probe's own ends, version 2 says LOCAL.
        Some(ProxyProtocol::V1) => {
            let ends = io.local_address(sock).zip(io.peer_address(sock));
            let ends = ends.map(|(source, destination)| Addresses {
                source,
                destination,
            });
            proxy_header::encode_v1(ends, &mut out);
        }
        Some(ProxyProtocol::V2) => {
            proxy_header::encode_v2(None, &[], Checksum::Without, &mut out)
                .expect("without extensions it fits");
        }
        None => {}
    }
    match &local.config.backend(server.backend).check {
        CheckKind::TcpConnect => {}
        CheckKind::Http {
            method,
            uri,
            version,
            host,
        } => {
            out.extend(http_request(method, uri, version, host.as_deref()));
        }
        CheckKind::SslHello => out.extend(ssl_hello(local.now.0 ^ u64::from(id.0) << 32)),
    }
    out
}

fn on_received(local: &mut Local, io: &mut dyn Io, index: u32, sock: SockKey, buf: Buf) {
    let probe = &mut local.probes[index as usize];
    let room = ANSWER_MAX.saturating_sub(probe.answer.len());
    probe
        .answer
        .extend_from_slice(&buf.bytes()[..buf.len().min(room)]);
    let full = probe.answer.len() >= ANSWER_MAX;
    io.give_buf(buf);
    match probe.dialogue.answer(&probe.answer, full) {
        Some(answer) => conclude(local, io, index, answer),
        None if full => conclude(local, io, index, Answer::plain(Status::L7Rsp)),
        None => io.push(Op::Recv { sock }),
    }
}

/// The server sends no more.
fn on_ended(local: &mut Local, io: &mut dyn Io, index: u32, errno: i32) {
    let probe = &local.probes[index as usize];
    let answer = if errno != 0 && probe.answer.is_empty() {
        Answer::broken(errno)
    } else {
        probe
            .dialogue
            .answer(&probe.answer, true)
            .unwrap_or_else(|| Answer::broken(libc::ECONNRESET))
    };
    conclude(local, io, index, answer);
}

/// Closes, decides, tells, and waits for the next time.
fn conclude(local: &mut Local, io: &mut dyn Io, index: u32, answer: Answer) {
    let now = local.now;
    let probe = &mut local.probes[index as usize];
    if let Some(sock) = probe.sock.take() {
        // With RST: thousands of probes must not leave TIME_WAIT behind, and servers log nothing for it.
        io.push(Op::Close { sock, reset: true });
    }
    probe.answer = Vec::new();
    probe.stage = Stage::Idle;
    let result = CheckResult::new(answer, now - probe.started);
    let change = probe
        .health
        .on_result(&local.shared, probe.server, result, now);
    rest(local, index);
    if let Some(change) = change {
        tell(local, &change);
    }
}

/// Sleeps until the next check is due, counted from the beginning of this one.
fn rest(local: &mut Local, index: u32) {
    let probe = &mut local.probes[index as usize];
    if let Some(timer) = probe.timer.take() {
        local.timers.cancel(timer);
    }
    probe.random = probe
        .random
        .wrapping_mul(1_664_525)
        .wrapping_add(1_013_904_223);
    let inter = health::next_inter(&local.shared, probe.server, probe.random);
    let at = (probe.started + inter).max(local.now + 1);
    probe.timer = Some(local.timers.arm(at, Timer::Probe(index)));
}

/// The shard ends: probes under way are dropped without a verdict.
pub fn stop(local: &mut Local, io: &mut dyn Io) {
    for probe in &mut local.probes {
        if let Some(sock) = probe.sock.take() {
            io.push(Op::Close { sock, reset: true });
        }
    }
}

/// Lines of a change go to the log targets of their backend and to the console.
pub fn tell(local: &mut Local, change: &Change) {
    let wall = local.shared.wall_us(local.now);
    for line in &change.lines {
        let backend = local.config.backend(line.backend);
        local.logs.push(
            &backend.log,
            line.level,
            backend.log_tag.as_deref(),
            wall,
            line.text.as_bytes(),
        );
        let (label, text) = line.on_stderr(&local.config);
        local.logs.console(label, &text);
    }
}
