//! Probes of servers. Each server's probe runs in exactly one shard, through the same engine as the
//! traffic, so that a server sees one probe an interval however many shards there are. What is said is decided by
//! `backend::sequence`, what a result means by `backend::health`; codecs are in `proto::check`.
//!
//! Stages: idle until the timer · connecting, sending, listening as the sequence goes · idle.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Acquire;
use std::sync::{Arc, PoisonError};

use super::connect::{self, Ends};
use super::external;
use super::local::{Local, Owner, Timer};
use super::place::Place;
use super::tcp::drop_payload;
use crate::backend::agent;
use crate::backend::change::Change;
use crate::backend::health::{self, CheckResult};
use crate::backend::observe::{self, Event};
use crate::backend::sequence::{Next, Run, Scene};
use crate::backend::server;
use crate::backend::trial;
use crate::base::tick::Tick;
use crate::base::wheel::TimerId;
use crate::config::checks::{self, External, Sequence};
use crate::config::{Agent, BindId, CheckKind, FrontendId, ProxyProtocol, ServerAddress, ServerId};
use crate::io::buf::Buf;
use crate::io::engine::Io;
use crate::io::kernel::Errno;
use crate::io::op::{Connect, Done, Op, SockKey, Target, What};
use crate::lang::sample::Value;
use crate::lang::subject::{Fact, LogCount, Subject, VarId};
use crate::proto::check::{Answer, Status};
use crate::proto::proxy_header::{self, Addresses, Checksum};
use crate::shared::server_cell::OpState;
use crate::shared::{CommandEnd, Message, Phase};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Idle,
    Connecting,
    /// A PROXY header goes out before we listen.
    Heading,
    Sending,
    Listening,
    /// A command runs, which has its own time.
    Command,
}

/// The probe of one server, or of its agent.
#[derive(Debug)]
pub struct Probe {
    server: ServerId,
    /// Its server is gone: the place is free for another.
    over: bool,
    agent: bool,
    /// Which `agent_send` of the server the sequence was made for.
    sends: u32,
    sequence: Arc<Sequence>,
    run: Run,
    stage: Stage,
    sock: Option<SockKey>,
    /// The connection in hand ends by FIN.
    linger: bool,
    /// A PROXY header that is still to be sent.
    header: Vec<u8>,
    /// Which header the connection in hand opens with.
    send_proxy: Option<ProxyProtocol>,
    /// Tells late completions of an earlier attempt from those of this one.
    attempt: u32,
    started: Tick,
    timer: Option<TimerId>,
    /// When the next check begins, while none runs.
    due: Option<Tick>,
    random: u32,
}

/// Arms the probes of this shard's servers, the first ones spread over their intervals.
pub fn start(local: &mut Local) {
    let shards = local.shared.shards.len();
    let config = Arc::clone(&local.config);
    let firsts = health::first_checks(&config);
    let shard = local.shard;
    let mine = config
        .servers
        .iter()
        .enumerate()
        .filter(|(i, _)| i % shards == shard)
        .filter(|(_, s)| !config.backend(s.backend).disabled);
    for (i, server) in mine {
        let id = ServerId(i as u32);
        if server.check.is_some() {
            let sequence = config.backend(server.backend).check.sequence();
            add(local, id, false, sequence, firsts[i]);
        }
        if let Some(agent) = &server.agent {
            // Here and there in the interval, apart from the checks.
            let inter = u64::from(agent.inter_ms);
            let first = (inter * (2 * (i as u64 % 8) + 1) / 16).max(1);
            let sequence = Agent::sequence(&agent.send);
            add(local, id, true, sequence.into(), first);
        }
    }
}

fn add(local: &mut Local, server: ServerId, agent: bool, sequence: Arc<Sequence>, first: u64) {
    let free = local.probes.iter().position(|probe| probe.over);
    let at = free.unwrap_or(local.probes.len());
    let index = at as u32;
    let first = local.now + first;
    let timer = Some(local.timers.arm(first, Timer::Probe(index)));
    let probe = Probe {
        over: false,
        server,
        agent,
        sequence,
        sends: 0,
        run: Run::default(),
        stage: Stage::Idle,
        sock: None,
        linger: false,
        header: Vec::new(),
        send_proxy: None,
        // Completions that an earlier probe in this place asked for are stale.
        attempt: free.map_or(0, |at| local.probes[at].attempt),
        started: local.now,
        timer,
        due: Some(first),
        random: server.0 ^ 0x9e37_79b9,
    };
    match free {
        Some(at) => local.probes[at] = probe,
        None => local.probes.push(probe),
    }
}

/// A later version of the configuration: probes of servers that are gone end, those of new ones begin.
pub fn follow(local: &mut Local, io: &mut dyn Io, gone: &[ServerId]) {
    for index in 0..local.probes.len() {
        let probe = &local.probes[index];
        if probe.over || !gone.contains(&probe.server) {
            continue;
        }
        close(local, io, index as u32);
        let probe = &mut local.probes[index];
        (probe.over, probe.due) = (true, None);
        (probe.stage, probe.run) = (Stage::Idle, Run::default());
        if let Some(timer) = probe.timer.take() {
            local.timers.cancel(timer);
        }
    }
    let shards = local.shared.shards.len();
    let config = Arc::clone(&local.config);
    let probed: HashSet<ServerId> = local
        .probes
        .iter()
        .filter(|probe| !probe.over)
        .map(|probe| probe.server)
        .collect();
    let (mine, fixed) = (local.shard, local.shared.servers.fixed());
    for at in (fixed..config.servers.len()).filter(|at| at % shards == mine) {
        let (id, server) = (ServerId(at as u32), &config.servers[at]);
        if probed.contains(&id) || gone.contains(&id) {
            continue;
        }
        if server.check.is_some() {
            let sequence = config.backend(server.backend).check.sequence();
            add(local, id, false, sequence, 1);
        }
        if let Some(agent) = &server.agent {
            let sequence = Agent::sequence(&agent.send);
            add(local, id, true, sequence.into(), 1);
        }
    }
}

/// How long the probe in hand may take.
fn times(local: &Local, index: u32) -> health::CheckTimes {
    let probe = &local.probes[index as usize];
    let server = local.config.server(probe.server);
    let inter = if probe.agent {
        server.agent.as_ref().map(|agent| agent.inter_ms)
    } else {
        server.check.as_ref().map(|check| check.inter_ms)
    };
    let inter = inter.expect("a server that is checked");
    health::times(&local.config, probe.server, inter)
}

/// Time to begin, or time is over.
pub fn on_timer(local: &mut Local, io: &mut dyn Io, index: u32) {
    let probe = &mut local.probes[index as usize];
    probe.timer = None;
    if probe.stage == Stage::Idle {
        begin(local, io, index);
    } else {
        let answer = probe.run.timeout(&probe.sequence);
        conclude(local, io, index, answer);
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
    let wanted = if probe.agent {
        agent::agent(&local.shared, id).is_some()
    } else {
        health::wants_check(&local.shared, id)
    };
    if over || !wanted {
        rest(local, index);
        return;
    }
    local.cells().activity.checks.inc();
    let times = times(local, index);
    let server = local.config.server(id);
    if let CheckKind::External(command) = &local.config.backend(server.backend).check
        && !local.probes[index as usize].agent
    {
        let command = Arc::clone(command);
        run_command(local, io, index, &command, times.connect_ms);
        return;
    }
    rearm(local, index, times.connect_ms);
    follow_operator(local, index);
    local.probes[index as usize].run = Run::default();
    step(local, io, index);
}

/// Has the command run that checks the server.
fn run_command(
    local: &mut Local,
    io: &mut dyn Io,
    index: u32,
    command: &Arc<External>,
    limit_ms: u32,
) {
    let probe = &mut local.probes[index as usize];
    probe.stage = Stage::Command;
    let (id, attempt) = (probe.server, probe.attempt);
    let why = if !command.allowed {
        "'insecure-fork-wanted' is not set"
    } else if !external::run(local, id, command, attempt, limit_ms) {
        "too many commands wait"
    } else {
        return;
    };
    let answer = Answer {
        info: why.to_owned(),
        ..Answer::plain(Status::SockErr)
    };
    conclude(local, io, index, answer);
}

/// A command ended.
pub fn on_command(
    local: &mut Local,
    io: &mut dyn Io,
    (server, attempt): (ServerId, u32),
    end: CommandEnd,
) {
    let mut probes = local.probes.iter();
    let Some(index) = probes.position(|p| p.server == server && !p.agent) else {
        return;
    };
    let probe = &local.probes[index];
    if probe.stage != Stage::Command || probe.attempt != attempt {
        return;
    }
    let (status, code) = match end {
        CommandEnd::Exited(0) => (Status::ProcOk, 0),
        CommandEnd::Exited(code) => (Status::ProcErr, code),
        CommandEnd::TimedOut => (Status::ProcTout, 0),
        // As a child that could not become the command.
        CommandEnd::NotStarted(_) => (Status::ProcErr, 255),
    };
    let info = match end {
        CommandEnd::NotStarted(errno) => Errno(errno).to_string(),
        _ => String::new(),
    };
    conclude(local, io, index as u32, Answer { status, code, info });
}

/// What the agent is sent may have changed (`set server … agent-send`).
fn follow_operator(local: &mut Local, index: u32) {
    let probe = &mut local.probes[index as usize];
    let cell = local.shared.server(probe.server);
    let sends = cell.agent_sends.load(Acquire);
    if !probe.agent || probe.sends == sends {
        return;
    }
    probe.sends = sends;
    let send = cell
        .agent_send
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if let Some(text) = &*send {
        probe.sequence = Agent::sequence(text).into();
    }
}

/// Time from now on until the answer is that there is none.
fn rearm(local: &mut Local, index: u32, ms: u32) {
    let probe = &mut local.probes[index as usize];
    if let Some(timer) = probe.timer.take() {
        local.timers.cancel(timer);
    }
    let timer = local
        .timers
        .arm(local.now + u64::from(ms), Timer::Probe(index));
    local.probes[index as usize].timer = Some(timer);
}

/// Goes on with the dialogue as far as it goes without waiting.
fn step(local: &mut Local, io: &mut dyn Io, index: u32) {
    let next = ask(local, io, index);
    let probe = &mut local.probes[index as usize];
    match (next, probe.sock) {
        (Next::Connect(connect, port), _) => open(local, io, index, &connect, port),
        (Next::Send(bytes), Some(sock)) => {
            let mut all = std::mem::take(&mut probe.header);
            all.extend(bytes);
            if all.is_empty() {
                probe.run.sent();
                return step(local, io, index);
            }
            probe.stage = Stage::Sending;
            let buf = Buf::of(&all);
            io.push(Op::Send { sock, buf });
        }
        (Next::Receive, Some(sock)) if probe.header.is_empty() => {
            probe.stage = Stage::Listening;
            io.push(Op::Recv { sock });
        }
        (Next::Receive, Some(sock)) => {
            probe.stage = Stage::Heading;
            let buf = Buf::of(&std::mem::take(&mut probe.header));
            io.push(Op::Send { sock, buf });
        }
        (Next::Done(answer), sock) => {
            let header = std::mem::take(&mut probe.header);
            if let (Some(sock), false) = (sock, header.is_empty()) {
                let buf = Buf::of(&header);
                io.push(Op::Send { sock, buf });
            }
            conclude(local, io, index, answer);
        }
        // A sequence that speaks has a connection before it: the configuration sees to that.
        (Next::Send(_) | Next::Receive, None) => {
            conclude(local, io, index, Answer::plain(Status::SockErr));
        }
    }
}

/// What the sequence wants next.
fn ask(local: &mut Local, io: &mut dyn Io, index: u32) -> Next {
    let probe = &mut local.probes[index as usize];
    let (sequence, id, sock) = (Arc::clone(&probe.sequence), probe.server, probe.sock);
    let mut run = std::mem::take(&mut probe.run);
    let arena = std::mem::take(&mut local.arena);
    let ends = sock.map_or((None, None), |sock| {
        (io.local_address(sock), io.peer_address(sock))
    });
    let view = View {
        place: Place {
            local,
            // Facts of the client's side are none of a probe's: see [`View::fact`].
            bind: BindId(0),
            frontend: FrontendId(0),
            backend: Some(local.config.server(id).backend),
            server: Some(id),
        },
        ends,
    };
    let scene = Scene {
        outer: &view,
        arena: &arena,
        state: &|| server::told_state(&local.shared, id, local.now, &local.hostname),
        seed: local.now.0 ^ u64::from(id.0) << 32,
        up: local.shared.server(id).op() != OpState::Stopped,
    };
    let next = run.next(&sequence, &scene);
    local.give_arena(arena);
    local.probes[index as usize].run = run;
    next
}

/// What expressions of a probe learn of its place.
struct View<'a> {
    place: Place<'a>,
    ends: (Option<SocketAddr>, Option<SocketAddr>),
}

impl Subject for View<'_> {
    fn server_ends(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        self.ends
    }
    fn fact(&self, fact: Fact) -> Option<Value<'_>> {
        let local = self.place.local;
        match fact {
            Fact::NowUs => Some(Value::Int(local.shared.wall_us(local.now) as i64)),
            Fact::LogCounter
            | Fact::BindId
            | Fact::BindName
            | Fact::BindConn
            | Fact::FrontId
            | Fact::FrontName
            | Fact::FrontDefaultBackend
            | Fact::FrontConn(None)
            | Fact::FrontReqRate(None)
            | Fact::FrontSessRate(None)
            | Fact::FrontClientTimeout
            | Fact::FrontTarpitTimeout => None,
            other => self.place.fact(other),
        }
    }
    fn var(&self, id: VarId) -> Option<Value<'_>> {
        let mut vars = self.place.local.vars.iter();
        vars.find(|(known, _)| *known == id)
            .map(|(_, v)| v.borrow())
    }
    fn backend_named(&self, name: &[u8]) -> Option<u32> {
        self.place.backend_named(name)
    }
    fn frontend_named(&self, name: &[u8]) -> Option<u32> {
        self.place.frontend_named(name)
    }
    fn server_named(&self, backend: Option<&[u8]>, name: &[u8]) -> Option<u32> {
        self.place.server_named(backend, name)
    }
    fn log_count(&self, which: LogCount) -> u32 {
        match which {
            LogCount::Frontend => 0,
            other => self.place.log_count(other, false, false),
        }
    }
}

/// Opens a connection in place of the one before.
fn open(
    local: &mut Local,
    io: &mut dyn Io,
    index: u32,
    connect: &checks::Connect,
    port: Option<u16>,
) {
    let again = local.probes[index as usize].sock.is_some();
    close(local, io, index);
    let id = local.probes[index as usize].server;
    let times = times(local, index);
    if again && times.answer_ms.is_some() {
        rearm(local, index, times.connect_ms);
    }
    let of_server = local
        .config
        .server(id)
        .check
        .as_ref()
        .and_then(|c| c.send_proxy);
    let to = match &local.config.server(id).agent {
        Some(agent) if local.probes[index as usize].agent => {
            Some(server::agent_place(&local.shared, id, agent))
        }
        _ => None,
    };
    let spec = target(local, id, connect, port, to);
    let probe = &mut local.probes[index as usize];
    probe.linger = connect.linger;
    probe.send_proxy = of_server.filter(|_| connect.as_server);
    if connect.send_proxy {
        probe.send_proxy = Some(ProxyProtocol::V1);
    }
    let Some(spec) = spec else {
        conclude(local, io, index, Answer::plain(Status::SockErr));
        return;
    };
    let attempt = probe.attempt;
    match io.connect(&spec, Owner::Probe(index, attempt).pack()) {
        Ok(sock) => {
            let probe = &mut local.probes[index as usize];
            probe.stage = Stage::Connecting;
            probe.sock = Some(sock);
        }
        Err(errno) => broken(local, io, index, errno.0),
    }
}

/// With RST unless `linger` says otherwise: thousands of probes must not leave TIME_WAIT behind, and servers log
/// nothing for it.
fn close(local: &mut Local, io: &mut dyn Io, index: u32) {
    let probe = &mut local.probes[index as usize];
    if let Some(sock) = probe.sock.take() {
        let reset = !probe.linger;
        io.push(Op::Close { sock, reset });
    }
}

/// Where the probe goes: the server's address unless the step, or `addr` and `port`, say otherwise. Source and
/// interface are the server's; a probe never borrows a client's address.
fn target(
    local: &Local,
    id: ServerId,
    step: &checks::Connect,
    port: Option<u16>,
    agent: Option<(Option<IpAddr>, u16)>,
) -> Option<Connect> {
    let server = local.config.server(id);
    let backend = local.config.backend(server.backend);
    let (addr, port) = {
        let probed = match (agent, &server.check) {
            (Some(agent), _) => agent,
            (None, check) => server::probed(&local.shared, id, check.as_ref()?),
        };
        (step.addr.or(probed.0), port.unwrap_or(probed.1))
    };
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
    let of_check = server.check.as_ref().is_some_and(|c| c.via_socks4);
    let by_way = step.via_socks4 || step.as_server && of_check;
    if let Some(proxy) = server.socks4.filter(|_| by_way) {
        connect::through_socks4(&mut spec, proxy)?;
    }
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
        What::Received { buf } => {
            probe.run.received(buf.bytes());
            io.give_buf(buf);
            step(local, io, index);
        }
        What::Eof => {
            probe.run.ended();
            step(local, io, index);
        }
        What::ConnectFailed { errno } | What::RecvFailed { errno } | What::SendFailed { errno } => {
            broken(local, io, index, errno.0)
        }
        What::Sent { left: 0, .. } => {
            if probe.stage == Stage::Sending {
                probe.run.sent();
            }
            step(local, io, index);
        }
        What::Sent { .. } => {}
        other => unreachable!("a probe never asked for this: {other:?}"),
    }
}

fn on_connected(local: &mut Local, io: &mut dyn Io, index: u32, sock: SockKey) {
    let probe = &mut local.probes[index as usize];
    probe.header = header(probe.send_proxy, io, sock);
    probe.run.connected();
    let times = times(local, index);
    if let Some(answer_ms) = times.answer_ms {
        rearm(local, index, answer_ms);
    }
    step(local, io, index);
}

/// The PROXY header a connection opens with. Seen on haproxy: version 1 has no LOCAL and carries the probe's own
/// ends, version 2 says LOCAL.
fn header(wanted: Option<ProxyProtocol>, io: &mut dyn Io, sock: SockKey) -> Vec<u8> {
    let mut out = Vec::new();
    match wanted {
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
    out
}

/// The connection could not be made, or it broke.
fn broken(local: &mut Local, io: &mut dyn Io, index: u32, errno: i32) {
    let probe = &mut local.probes[index as usize];
    match probe.run.broken(&probe.sequence, errno) {
        Some(answer) => conclude(local, io, index, answer),
        None => step(local, io, index),
    }
}

/// Closes, decides, tells, and waits for the next time.
fn conclude(local: &mut Local, io: &mut dyn Io, index: u32, answer: Answer) {
    let now = local.now;
    close(local, io, index);
    let probe = &mut local.probes[index as usize];
    probe.run = Run::default();
    probe.header = Vec::new();
    probe.stage = Stage::Idle;
    let took = now - probe.started;
    let (server, of_agent) = (probe.server, probe.agent);
    let change = if of_agent {
        agent::on_answer(&local.shared, server, answer, took, now)
    } else {
        let result = CheckResult::new(answer, took);
        health::on_result(&local.shared, server, &result, now)
    };
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
    let agent = local.config.server(probe.server).agent.as_ref();
    let inter = match agent.filter(|_| probe.agent) {
        Some(agent) => health::spread(&local.config, agent.inter_ms, probe.random),
        None => health::next_inter(&local.shared, probe.server, probe.random),
    };
    let at = (probe.started + inter).max(local.now + 1);
    probe.timer = Some(local.timers.arm(at, Timer::Probe(index)));
    probe.due = Some(at);
}

/// Too many errors were seen in the traffic of a server of ours: its next check comes after `fastinter`, if it was not
/// due before.
pub fn hasten(local: &mut Local, server: ServerId) {
    let Some(index) = local
        .probes
        .iter()
        .position(|p| p.server == server && !p.agent && !p.over)
    else {
        return;
    };
    let Some(check) = &local.config.server(server).check else {
        return;
    };
    let fast = check.fastinter_ms.unwrap_or(check.inter_ms);
    let at = local.now + u64::from(fast);
    let probe = &local.probes[index];
    if probe.stage == Stage::Idle && probe.due.is_none_or(|due| at < due) {
        rearm(local, index as u32, fast);
        local.probes[index].due = Some(at);
    }
}

/// Tells the shard that checks `server` of errors in its traffic, and logs what follows from them.
pub(super) fn observed(
    local: &mut Local,
    server: ServerId,
    event: Event,
    client: Option<SocketAddr>,
) {
    if local.config.server(server).watch.observe.is_none() {
        return;
    }
    let client = client.map(|c| c.ip());
    let now = local.now;
    let Some(change) = observe::on_event(&local.shared, server, event, client, now) else {
        return;
    };
    let owner = server.index() % local.shared.shards.len();
    // A hint: without it the check comes when it was due.
    local.shared.hint(owner, Message::Hasten(server));
    tell(local, &change);
}

/// Takes in what a connection met that tries a server which failed, and logs what follows. Whether that decides it.
pub(super) fn tried(local: &mut Local, server: ServerId, event: Event) -> bool {
    let change = trial::decide(&local.shared, server, event, local.now);
    if let Some(change) = &change {
        tell(local, change);
    }
    change.is_some()
}

/// Counts that a client of such a connection goes elsewhere.
pub(super) fn count_moved_on(local: &Local, server: ServerId) {
    let cells = local.cells();
    cells.servers[server.index()].redispatches.inc();
    let backend = local.config.server(server).backend;
    cells.backends[backend.index()].redispatches.inc();
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
