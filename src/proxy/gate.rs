//! Rules that look at connections and at bytes: `tcp-request connection` before a session, `session` at its
//! beginning, `content` and `tcp-response content` where a session is a TCP one (configuration.txt 4.2). In HTTP mode
//! content rules are evaluated with the request, see `http::rules`.

use std::net::SocketAddr;
use std::os::fd::RawFd;

use super::local::Local;
use super::place::Place;
use super::trace::{self, Effect};
use crate::base::tick::Tick;
use crate::config::{BindId, ProxyId};
use crate::io::engine::Io;
use crate::io::op::SockKey;
use crate::lang::acl::Verdict;
use crate::lang::expr::Needs;
use crate::lang::rules::{Action, Number, Rule};
use crate::lang::sample::{Arena, Kind, Owned, Value};
use crate::lang::subject::{Bytes, Fact, LogCount, Subject, VarId};
use crate::proto::h1::{self, Limits, Parse};
use crate::proto::http::Head;

/// Most bytes looked at before the verdict falls (a buffer, less what haproxy keeps free).
const BYTES_MAX: usize = 15_360;

/// What a connection brings into its session.
#[derive(Debug, Default)]
pub struct Entered {
    pub peer: Option<SocketAddr>,
    pub vars: Vec<(VarId, Owned)>,
    /// A rule wants a PROXY header.
    pub expect_proxy: bool,
}

/// What rules learned and wished on the way; most sessions never need one.
#[derive(Debug, Default)]
pub struct Held {
    pub vars: Vec<(VarId, Owned)>,
    pub captures: [Vec<Option<Box<[u8]>>>; 2],
    /// 8 is silence.
    pub log_level: Option<u8>,
    /// What came and waits for the verdict.
    pub bytes: Vec<u8>,
    /// The request that the bytes begin with, if they are HTTP; set once its head is whole.
    pub head: Option<Head>,
    /// They begin with something else.
    pub no_http: bool,
    /// Nothing more will come, or is waited for.
    pub complete: bool,
    /// The next rule, and until when it may wait.
    pub rule: usize,
    pub until: Option<Tick>,
}

/// The lists of rules of a TCP session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    Request,
    Response,
}

/// How a list ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    Pass,
    /// More bytes, or the end of the delay, decide.
    Wait,
    Reject,
    Silent,
}

struct View<'a> {
    place: Place<'a>,
    ends: (Option<SocketAddr>, Option<SocketAddr>),
    held: &'a Held,
    list: Option<List>,
}

impl Subject for View<'_> {
    fn src(&self) -> Option<SocketAddr> {
        self.ends.0
    }
    fn dst(&self) -> Option<SocketAddr> {
        self.ends.1
    }
    fn request(&self) -> Option<&Head> {
        self.held.head.as_ref()
    }
    fn pending(&self) -> Needs {
        let open = !self.held.complete;
        match self.list {
            Some(List::Request) if open && self.held.head.is_none() && !self.held.no_http => {
                Needs::REQUEST_BYTES.with(Needs::REQUEST_HEAD)
            }
            Some(List::Request) if open => Needs::REQUEST_BYTES,
            Some(List::Response) if open => Needs::RESPONSE_BYTES,
            _ => Needs::default(),
        }
    }
    fn request_bytes(&self) -> Option<Bytes<'_>> {
        (self.list == Some(List::Request)).then_some(Bytes {
            bytes: &self.held.bytes,
            complete: self.held.complete,
            announced: None,
        })
    }
    fn response_bytes(&self) -> Option<Bytes<'_>> {
        (self.list == Some(List::Response)).then_some(Bytes {
            bytes: &self.held.bytes,
            complete: self.held.complete,
            announced: None,
        })
    }
    fn fact(&self, fact: Fact) -> Option<Value<'_>> {
        let local = self.place.local;
        match fact {
            Fact::NowUs => Some(Value::Int(local.shared.wall_us(local.now) as i64)),
            other => self.place.fact(other),
        }
    }
    fn var(&self, id: VarId) -> Option<Value<'_>> {
        let mut vars = self.held.vars.iter();
        vars.find(|(known, _)| *known == id)
            .map(|(_, v)| v.borrow())
    }
    fn request_capture(&self, index: usize) -> Option<&[u8]> {
        self.held.captures[0].get(index)?.as_deref()
    }
    fn response_capture(&self, index: usize) -> Option<&[u8]> {
        self.held.captures[1].get(index)?.as_deref()
    }
    fn log_count(&self, which: LogCount) -> u32 {
        self.place.log_count(which, false, false)
    }
}

/// Where packets of the session go out.
#[derive(Clone, Copy, Debug)]
pub enum Packets {
    Fd(RawFd),
    Sock(SockKey),
}

/// Where rules are evaluated: of whom they speak, whose bytes they see, whose packets they mark.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'a> {
    pub(super) place: Place<'a>,
    pub(super) ends: (Option<SocketAddr>, Option<SocketAddr>),
    pub(super) list: Option<List>,
    pub(super) packets: Packets,
}

/// Evaluates `rules` from where `held` stands. A rule whose bytes are still to come stops it.
pub(super) fn evaluate(
    scene: Scene<'_>,
    rules: &[Rule],
    held: &mut Held,
    entered: &mut Entered,
    io: &mut dyn Io,
    arena: &Arena,
) -> Gate {
    let Scene {
        place,
        ends,
        list,
        packets: to,
    } = scene;
    if let (Some(trace), 0, false) = (&place.local.trace, held.rule, rules.is_empty()) {
        let config = &place.local.config;
        let own = config.frontend(place.frontend).proxy;
        let proxy = place.backend.map_or(own, |id| config.backend(id).proxy);
        trace.push(trace::Event::Proxy(proxy));
    }
    while let Some(rule) = rules.get(held.rule) {
        let view = View {
            place,
            ends,
            held,
            list,
        };
        let verdict = match &rule.when {
            None => Verdict::Holds,
            Some(when) => match &place.local.trace {
                None => when.holds(&view, arena),
                Some(trace) => trace.holds(when, &view, arena, &place.local.config),
            },
        };
        if let Some(trace) = &place.local.trace {
            trace.rule(Some(rule.span), verdict);
            if verdict == Verdict::Holds {
                trace.did(Vec::new(), final_word(&rule.action));
            }
        }
        match verdict {
            Verdict::Later if !held.complete => return Gate::Wait,
            Verdict::Later | Verdict::Fails => {
                held.rule += 1;
                continue;
            }
            Verdict::Holds => {}
        }
        let before = place
            .local
            .trace
            .as_ref()
            .map(|_| (held.vars.clone(), entered.peer));
        let number = |n: &Number| n.now(&view, arena).and_then(|n| u32::try_from(n).ok());
        let mut capture = None;
        let mut set = None;
        match &rule.action {
            Action::Allow => return Gate::Pass,
            Action::Reject | Action::Close | Action::Deny(_) => return Gate::Reject,
            Action::SilentDrop => return Gate::Silent,
            Action::ExpectProxy => entered.expect_proxy = true,
            Action::SetVar(id, when, expr) => {
                if let Some(value) = expr.eval(&view, arena)
                    && when.holds(view.var(*id), value)
                {
                    set = Some((*id, Some(value.to_owned())));
                }
            }
            Action::SetVarFmt(id, when, format) => {
                let mut text = Vec::new();
                format.render(&view, arena, &mut text);
                if when.holds(view.var(*id), Value::Str(&text)) {
                    set = Some((*id, Some(Owned::Str(text.into()))));
                }
            }
            Action::UnsetVar(id) => set = Some((*id, None)),
            Action::CaptureRequest(expr, slot, len) | Action::CaptureResponse(expr, slot, len) => {
                let side = usize::from(matches!(rule.action, Action::CaptureResponse(..)));
                let text = expr.eval(&view, arena).map(|v| v.text(arena));
                capture = text.map(|text| {
                    let text = &text[..text.len().min(*len as usize)];
                    (side, *slot as usize, Box::<[u8]>::from(text))
                });
            }
            Action::SetClientMark(n) => {
                if let Some(mark) = number(n) {
                    match to {
                        Packets::Fd(fd) => io.mark_fd(fd, mark),
                        Packets::Sock(sock) => io.set_mark(sock, mark),
                    }
                }
            }
            Action::SetClientTos(n) => {
                if let (Some(tos), Packets::Sock(sock)) = (number(n), to) {
                    io.set_tos(sock, tos as u8);
                }
            }
            Action::SetSrc(expr) => {
                let ip = expr
                    .eval(&view, arena)
                    .and_then(|v| v.cast(Kind::Addr, arena));
                if let Some(Value::Ip(ip)) = ip {
                    // As in haproxy the port stays what it was.
                    let port = entered.peer.or(ends.0).map_or(0, |e| e.port());
                    entered.peer = Some(SocketAddr::new(ip, port));
                }
            }
            Action::SetSrcPort(expr) => {
                let port = expr
                    .eval(&view, arena)
                    .and_then(|v| v.cast(Kind::Int, arena));
                if let (Some(Value::Int(port)), Some(peer)) = (port, entered.peer.or(ends.0))
                    && let Ok(port) = u16::try_from(port)
                {
                    entered.peer = Some(SocketAddr::new(peer.ip(), port));
                }
            }
            Action::SetLogLevel(level) => held.log_level = Some(level.unwrap_or(8)),
            _ => {}
        }
        if let Some((side, slot, text)) = capture {
            let slots = &mut held.captures[side];
            if slots.len() <= slot {
                slots.resize(slot + 1, None);
            }
            slots[slot] = Some(text);
        }
        if let Some((id, value)) = set {
            held.vars.retain(|(known, _)| *known != id);
            held.vars.extend(value.map(|value| (id, value)));
        }
        if let (Some(trace), Some((vars, peer))) = (&place.local.trace, before) {
            let mut effects = trace::variables(&place.local.config, &vars, &held.vars);
            let peer = Effect::of("source", "", peer, entered.peer, ToString::to_string);
            effects.extend(peer);
            trace.did(effects, None);
        }
        held.rule += 1;
    }
    Gate::Pass
}

/// What a final action means, for a trace.
fn final_word(action: &Action) -> Option<&'static str> {
    match action {
        Action::Allow => Some("allow"),
        Action::Reject | Action::Close | Action::Deny(_) => Some("reject"),
        Action::SilentDrop => Some("silent-drop"),
        _ => None,
    }
}

/// `tcp-request connection`: whether the connection becomes a session. `None`: it does not, and is closed.
pub fn connection(
    local: &mut Local,
    io: &mut dyn Io,
    bind: BindId,
    fd: RawFd,
    peer: Option<SocketAddr>,
) -> Option<Entered> {
    let mut entered = Entered {
        peer,
        ..Entered::default()
    };
    let frontend = local.config.bind(bind).frontend;
    let proxy = local.config.frontend(frontend).proxy;
    if local.config.proxy(proxy).http.tcp_connection.is_empty() {
        return Some(entered);
    }
    let arena = std::mem::take(&mut local.arena);
    let mut held = Held {
        complete: true,
        ..Held::default()
    };
    let place = Place {
        local,
        bind,
        frontend,
        backend: None,
        server: None,
    };
    let ends = (peer, io.local_of_fd(fd));
    let rules = &local.config.proxy(proxy).http.tcp_connection;
    let scene = Scene {
        place,
        ends,
        list: None,
        packets: Packets::Fd(fd),
    };
    let gate = evaluate(scene, rules, &mut held, &mut entered, io, &arena);
    local.give_arena(arena);
    if gate == Gate::Pass {
        entered.vars = held.vars;
        return Some(entered);
    }
    let cells = local.cells();
    let front = &cells.frontends[frontend.index()];
    front.connections.inc();
    front.connection_rate.hit(local.now);
    front.denied_connections.inc();
    cells.listeners[bind.index()].denied_connections.inc();
    if gate == Gate::Silent {
        io.silence_fd(fd);
    }
    super::tcp::refuse(local, io, bind, fd);
    None
}

/// `tcp-request session`: whether the session goes on, its addresses being those of the PROXY header by now.
pub(super) fn session(
    local: &mut Local,
    io: &mut dyn Io,
    bind: BindId,
    sock: SockKey,
    src: &mut Option<SocketAddr>,
    dst: Option<SocketAddr>,
    vars: &mut Vec<(VarId, Owned)>,
) -> Gate {
    let frontend = local.config.bind(bind).frontend;
    let proxy = local.config.frontend(frontend).proxy;
    if local.config.proxy(proxy).http.tcp_session.is_empty() {
        return Gate::Pass;
    }
    let arena = std::mem::take(&mut local.arena);
    let mut held = Held {
        complete: true,
        vars: std::mem::take(vars),
        ..Held::default()
    };
    let mut entered = Entered {
        peer: *src,
        ..Entered::default()
    };
    let place = Place {
        local,
        bind,
        frontend,
        backend: None,
        server: None,
    };
    let ends = (*src, dst.or_else(|| io.local_address(sock)));
    let rules = &local.config.proxy(proxy).http.tcp_session;
    let scene = Scene {
        place,
        ends,
        list: None,
        packets: Packets::Sock(sock),
    };
    let gate = evaluate(scene, rules, &mut held, &mut entered, io, &arena);
    local.give_arena(arena);
    (*vars, *src) = (held.vars, entered.peer);
    if gate != Gate::Pass {
        let cells = local.cells();
        cells.frontends[frontend.index()].denied_sessions.inc();
        cells.listeners[bind.index()].denied_sessions.inc();
    }
    if gate == Gate::Silent {
        io.silence(sock);
    }
    gate
}

/// The content rules of `proxy` for one direction, and how long they may wait for bytes.
pub(super) fn content(local: &Local, proxy: ProxyId, list: List) -> (&[Rule], Option<u32>) {
    let http = &local.config.proxy(proxy).http;
    match list {
        List::Request => (&http.tcp_request, http.tcp_request_delay_ms),
        List::Response => (&http.tcp_response, http.tcp_response_delay_ms),
    }
}

impl Held {
    /// Takes bytes that came; more than a buffer is not waited for.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if self.head.is_none() && !self.no_http {
            let mut head = Head::default();
            match h1::request_head(&self.bytes, &Limits::default(), &mut head) {
                Ok(Parse::Done { .. }) => self.head = Some(head),
                Ok(Parse::Partial) => {}
                Err(_) => self.no_http = true,
            }
        }
        self.complete |= self.bytes.len() >= BYTES_MAX;
    }
    /// Begins a list: `ms` to wait at most.
    pub(super) fn begin(&mut self, now: Tick, ms: Option<u32>) {
        self.rule = 0;
        self.until = ms.filter(|ms| *ms > 0).map(|ms| now + u64::from(ms));
        self.complete = self.until.is_none();
    }
}
