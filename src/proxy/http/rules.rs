//! Evaluation of rules: a cursor over the lists that apply one after the other, which can stop and go on.
//!
//! For a request: the frontend's `tcp-request content`, `http-request`, statistics page and `redirect` rules,
//! the choice of the backend, then the same lists of the backend, unless it is the same proxy (`listen`).
//! For a response: `tcp-response content` and `http-response` of the backend, then of the frontend.

use super::answer::Prepared;
use super::subject::View;
use super::*;
use crate::backend::forward;
use crate::config::http::Http;
use crate::lang::acl::{Condition, Verdict};
use crate::lang::changes::Change;
use crate::lang::rules::{Action, Number, Rule, RuleError, Service, Timeout};
use crate::lang::sample::{Arena, Kind, Value};
use crate::lang::subject::{Scope, Subject};
use crate::proxy::passwords::{self, PasswordId};
use crate::proxy::trace::Event;

/// Time after which a rule asks again whose password found no room among those being verified.
const PASSWORD_PAUSE_MS: u64 = 50;

/// What `force-persist` and `ignore-persist` said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Persist {
    #[default]
    Usual,
    Force,
    Ignore,
}

/// The lists of a request in order.
pub(super) mod list {
    pub(super) const FRONT_TCP: u16 = 0;
    /// `monitor-uri`, before all of them, waits for a password.
    pub(in crate::proxy::http) const MONITOR: u16 = u16::MAX - 1;
    pub(super) const FRONT_HTTP: u16 = 1;
    pub(super) const FRONT_STATS: u16 = 2;
    pub(super) const FRONT_REDIRECT: u16 = 3;
    pub(super) const ROUTE: u16 = 4;
    pub(super) const BACK_TCP: u16 = 5;
    pub(super) const BACK_HTTP: u16 = 6;
    pub(super) const BACK_STATS: u16 = 7;
    pub(super) const BACK_REDIRECT: u16 = 8;
    pub(super) const DONE: u16 = 9;
}

/// How the evaluation of a list ended.
pub(super) enum Step {
    /// Through, or ended early by a final rule that lets the message pass.
    Next,
    Wait(Wait),
    Stop(Stop),
}

/// What to wait for before going on at the cursor.
pub(super) enum Wait {
    Body { ms: u32, at_least: u64 },
    Pause(u32),
    Password,
}

/// What a final rule does instead of passing the message on.
pub(super) enum Stop {
    Deny(Prepared),
    Tarpit(Prepared),
    /// `return`, `redirect`: no error.
    Answer(Prepared),
    /// 401 or 407.
    Auth(Prepared),
    Reject,
    Silent,
    Stats,
    Metrics,
}

impl Session {
    /// Goes on with the request's rules where the cursor stands.
    pub(super) fn evaluate(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        while t.cursor.list < list::DONE {
            if t.cursor.list == list::ROUTE {
                let routed = self.route(t, local);
                if t.asks_password() {
                    if self.wait_password(t, local) {
                        return;
                    }
                    continue;
                }
                if !routed {
                    self.no_backend(t, local, io);
                    return;
                }
                let same = self.same_proxy(local);
                t.cursor.list = if same { list::DONE } else { list::BACK_TCP };
                t.cursor.rule = 0;
                continue;
            }
            let arena = std::mem::take(&mut local.arena);
            let step = self.request_list(t, local, &arena);
            local.give_arena(arena);
            self.tell_socket(t, io);
            self.send_hints(t, io);
            match step {
                Step::Next => {
                    t.cursor.list += 1;
                    t.cursor.rule = 0;
                }
                Step::Wait(wait) => {
                    self.wait_for(t, local, io, &wait);
                    if self.stage != Stage::Rules {
                        return;
                    }
                }
                Step::Stop(stop) => {
                    self.stop(t, local, io, stop);
                    return;
                }
            }
        }
        self.dispatch(t, local, io);
    }

    /// One list of the request's.
    fn request_list(&mut self, t: &mut Txn, local: &Local, arena: &Arena) -> Step {
        let front = t.cursor.list < list::ROUTE;
        let http = if front {
            self.front(local)
        } else {
            self.back(local).expect("routed before")
        };
        match t.cursor.list {
            list::FRONT_TCP | list::BACK_TCP => {
                self.tell_proxy(t, local, front);
                self.rules(t, local, arena, &http.tcp_request, false)
            }
            list::FRONT_HTTP | list::BACK_HTTP => {
                let step = self.rules(t, local, arena, &http.request, false);
                let passes = |t: &mut Txn| forward::restrict_names(&mut t.request, http);
                match step {
                    Step::Next if !passes(t) => Step::Stop(Stop::Deny(self.page(t, local, 403))),
                    step => step,
                }
            }
            list::FRONT_STATS | list::BACK_STATS => self.stats_rules(t, local, arena, http),
            list::FRONT_REDIRECT | list::BACK_REDIRECT => self.redirects(t, local, arena, http),
            other => unreachable!("list {other} is none of rules"),
        }
    }

    fn redirects(&self, t: &mut Txn, local: &Local, arena: &Arena, http: &Http) -> Step {
        while let Some((redirect, when, span)) = http.redirects.get(t.cursor.rule as usize) {
            let verdict = self.holds(t, local, arena, when.as_ref());
            if let Some(trace) = &local.trace {
                trace.rule(Some(*span), verdict);
            }
            let answer = (verdict == Verdict::Holds)
                .then(|| self.prepare_redirect(t, local, arena, redirect))
                .flatten();
            if t.asks_password() {
                return Step::Wait(Wait::Password);
            }
            if let Some(answer) = answer {
                let stop = Stop::Answer(answer);
                if let Some(trace) = &local.trace {
                    trace.did(Vec::new(), Some(stop.told()));
                }
                return Step::Stop(stop);
            }
            t.cursor.rule += 1;
        }
        Step::Next
    }

    /// The statistics page, if the request asks for it and its rules let it through.
    fn stats_rules(&mut self, t: &mut Txn, local: &Local, arena: &Arena, http: &Http) -> Step {
        let Some(stats) = &http.stats else {
            return Step::Next;
        };
        // Requests of other methods go on to the server, as in haproxy.
        let asks = matches!(t.request.method(), b"GET" | b"HEAD" | b"POST");
        if !asks || stats.matches(t.request.target()).is_none() {
            return Step::Next;
        }
        match self.rules(t, local, arena, &stats.rules, false) {
            Step::Next => {
                if let Some(trace) = &local.trace {
                    trace.push(Event::Answered(Stop::Stats.told()));
                }
                Step::Stop(Stop::Stats)
            }
            other => other,
        }
    }

    /// Whether a condition holds now; no condition holds always.
    pub(super) fn holds(
        &self,
        t: &Txn,
        local: &Local,
        arena: &Arena,
        when: Option<&Condition>,
    ) -> Verdict {
        let view = View {
            local,
            s: self,
            t,
            ended: false,
        };
        match (when, &local.trace) {
            (None, _) => Verdict::Holds,
            (Some(when), None) => when.holds(&view, arena),
            (Some(when), Some(trace)) => trace.holds(when, &view, arena, &local.config),
        }
    }

    /// A list of rules from the cursor on; of a response nobody waits for a password: one that is not known counts as
    /// wrong there.
    fn rules(
        &mut self,
        t: &mut Txn,
        local: &Local,
        arena: &Arena,
        rules: &[Rule],
        response: bool,
    ) -> Step {
        while let Some(rule) = rules.get(t.cursor.rule as usize) {
            let before = self.before(t, local, response);
            let verdict = self.holds(t, local, arena, rule.when.as_ref());
            self.keep_changes(t);
            if let Some(trace) = &local.trace {
                trace.rule(Some(rule.span), verdict);
            }
            if !response && verdict == Verdict::Later && t.asks_password() {
                return Step::Wait(Wait::Password);
            }
            // Asked for, but not needed to decide.
            t.asked.take();
            if verdict != Verdict::Holds {
                t.cursor.rule += 1;
                continue;
            }
            let done = self.act(t, local, arena, rule, response);
            if !response && t.asks_password() {
                // What it did, it does again, then for good.
                return Step::Wait(Wait::Password);
            }
            self.keep_changes(t);
            self.tell(t, local, before, done.told());
            t.cursor.rule += 1;
            match done {
                Done::On => {}
                Done::Wait(wait) => return Step::Wait(wait),
                Done::Pass => {
                    t.last_rule = Some(rule.span);
                    return Step::Next;
                }
                Done::Stop(stop) => {
                    t.last_rule = Some(rule.span);
                    return Step::Stop(stop);
                }
            }
        }
        Step::Next
    }

    /// Backend, if it is another proxy, and frontend: in this order their rules treat a response.
    fn answering<'l>(&self, local: &'l Local) -> [Option<&'l Http>; 2] {
        let front = self.front(local);
        let back = self.back(local).filter(|back| !std::ptr::eq(*back, front));
        [back, Some(front)]
    }

    /// The lists of a server's response from the cursor on.
    pub(super) fn response_rules(&mut self, t: &mut Txn, local: &Local, arena: &Arena) -> Step {
        let lists = self.answering(local).into_iter().flatten();
        let lists = lists.flat_map(|http| [&http.tcp_response, &http.response]);
        for rules in lists.skip(usize::from(t.cursor.list)) {
            match self.rules(t, local, arena, rules, true) {
                Step::Next => {
                    t.cursor.list += 1;
                    t.cursor.rule = 0;
                }
                other => return other,
            }
        }
        Step::Next
    }

    /// `http-after-response`, for answers of our own as well. They never wait.
    pub(super) fn after_rules(
        &mut self,
        t: &mut Txn,
        local: &Local,
        arena: &Arena,
    ) -> Option<Stop> {
        for http in self.answering(local).into_iter().flatten() {
            t.cursor.rule = 0;
            if let Step::Stop(stop) = self.rules(t, local, arena, &http.after_response, true) {
                return Some(stop);
            }
        }
        None
    }

    /// Takes one action.
    fn act(
        &mut self,
        t: &mut Txn,
        local: &Local,
        arena: &Arena,
        rule: &Rule,
        response: bool,
    ) -> Done {
        macro_rules! view {
            () => {
                View {
                    local,
                    s: self,
                    t,
                    ended: false,
                }
            };
        }
        match &rule.action {
            Action::Allow => return Done::Pass,
            Action::Deny(reply) => {
                return Done::Stop(Stop::Deny(self.prepare(t, local, arena, reply)));
            }
            Action::Tarpit(reply) => {
                return Done::Stop(Stop::Tarpit(self.prepare(t, local, arena, reply)));
            }
            Action::Return(reply) => {
                return Done::Stop(Stop::Answer(self.prepare(t, local, arena, reply)));
            }
            Action::UseService(Service::PrometheusExporter) => {
                return Done::Stop(Stop::Metrics);
            }
            Action::Redirect(redirect) => {
                return match self.prepare_redirect(t, local, arena, redirect) {
                    Some(answer) => Done::Stop(Stop::Answer(answer)),
                    None => Done::On,
                };
            }
            Action::Auth(realm) => {
                return Done::Stop(Stop::Auth(self.challenge(
                    t,
                    local,
                    arena,
                    realm.as_deref().unwrap_or(b""),
                )));
            }
            Action::Reject | Action::Close => return Done::Stop(Stop::Reject),
            Action::SilentDrop => return Done::Stop(Stop::Silent),
            Action::SetLogLevel(level) => {
                t.log_level = level.map_or(LogLevel::Silent, LogLevel::Level);
            }
            Action::SetTimeout(which, number) => {
                if let Some(ms) = number_of(&view!(), arena, number) {
                    let ms = u32::try_from(ms).ok();
                    let slot = match which {
                        Timeout::Client => &mut t.overrides.client,
                        Timeout::Server => &mut t.overrides.server,
                        Timeout::Connect => &mut t.overrides.connect,
                        Timeout::Queue => &mut t.overrides.queue,
                        Timeout::Tarpit => &mut t.overrides.tarpit,
                        Timeout::Tunnel => &mut t.overrides.tunnel,
                    };
                    *slot = ms;
                }
            }
            Action::SetRetries(number) => {
                let n = number_of(&view!(), arena, number);
                t.overrides.retries = n.and_then(|n| u32::try_from(n.clamp(0, 100)).ok());
            }
            Action::SetVar(id, wanted, expr) => {
                let view = view!();
                let value = expr.eval(&view, arena);
                // An expression without a result leaves the variable as it was.
                let value = value.filter(|new| wanted.holds(view.var(*id), *new));
                if let Some(value) = value.map(Value::to_owned) {
                    self.keep_changes(t);
                    self.set_var(t, *id, Some(value));
                }
            }
            Action::SetVarFmt(id, wanted, format) => {
                let mut out = Vec::new();
                let view = view!();
                format.render(&view, arena, &mut out);
                if wanted.holds(view.var(*id), Value::Str(&out)) {
                    self.keep_changes(t);
                    self.set_var(t, *id, Some(Owned::Str(out.into())));
                }
            }
            Action::UnsetVar(id) => self.set_var(t, *id, None),
            Action::CaptureRequest(expr, slot, len) | Action::CaptureResponse(expr, slot, len) => {
                let side = usize::from(matches!(rule.action, Action::CaptureResponse(..)));
                let cut = |text: &[u8]| text[..text.len().min(*len as usize)].into();
                let view = view!();
                let text: Option<Box<[u8]>> = expr.eval(&view, arena).map(|v| cut(v.text(arena)));
                if let Some(text) = text {
                    let slots = &mut t.captures[side];
                    if slots.len() <= *slot as usize {
                        slots.resize(*slot as usize + 1, None);
                    }
                    slots[*slot as usize] = Some(text);
                }
            }
            Action::SetSrc(expr) | Action::SetDst(expr) => {
                let view = view!();
                let found = expr.eval(&view, arena);
                if let Some(Value::Ip(ip)) = found.and_then(|v| v.cast(Kind::Addr, arena)) {
                    let end = if matches!(rule.action, Action::SetSrc(_)) {
                        &mut self.src
                    } else {
                        &mut self.dst
                    };
                    // As in haproxy the port stays what it was.
                    *end = Some(SocketAddr::new(ip, end.map_or(0, |e| e.port())));
                }
            }
            Action::SetSrcPort(expr) | Action::SetDstPort(expr) => {
                let port = expr.eval(&view!(), arena).and_then(|v| int(v, arena));
                if let Some(port) = port.and_then(|p| u16::try_from(p).ok()) {
                    let end = if matches!(rule.action, Action::SetSrcPort(_)) {
                        &mut self.src
                    } else {
                        &mut self.dst
                    };
                    let ip = end.map_or(std::net::Ipv4Addr::UNSPECIFIED.into(), |e| e.ip());
                    *end = Some(SocketAddr::new(ip, port));
                }
            }
            Action::StrictMode(on) => t.strict = *on,
            Action::WaitForBody(ms, at_least) => {
                return Done::Wait(Wait::Body {
                    ms: *ms,
                    at_least: *at_least,
                });
            }
            Action::Pause(number) => {
                let ms = number_of(&view!(), arena, number);
                if let Some(ms) = ms.and_then(|ms| u32::try_from(ms).ok()) {
                    return Done::Wait(Wait::Pause(ms));
                }
            }
            Action::SetClientMark(n) => t.socket.client_mark = wish(&view!(), arena, n),
            Action::SetServerMark(n) => t.socket.server_mark = wish(&view!(), arena, n),
            Action::SetClientTos(n) => t.socket.client_tos = wish(&view!(), arena, n),
            Action::SetServerTos(n) => t.socket.server_tos = wish(&view!(), arena, n),
            Action::EarlyHint(name, format) => {
                let mut value = Vec::new();
                format.render(&view!(), arena, &mut value);
                // A line break would begin another field.
                let one_line = !value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0));
                if !t.old && one_line {
                    t.hints.push((name.clone(), value.into()));
                }
            }
            Action::DisableRetry => t.overrides.no_replay = true,
            // There is no scheduler of streams here that a nice value could tell anything.
            Action::SetNice(_) => {}
            Action::SwitchHttp | Action::ExpectProxy => {
                unreachable!("rules of connections and of TCP mode")
            }
            action => return self.edit(t, local, arena, action, response),
        }
        Done::On
    }

    /// An action that changes the message.
    fn edit(
        &self,
        t: &mut Txn,
        local: &Local,
        arena: &Arena,
        action: &Action,
        response: bool,
    ) -> Done {
        let effect = {
            let view = View {
                local,
                s: self,
                t,
                ended: false,
            };
            action.work_out(&view, arena)
        };
        if !response && t.asks_password() {
            return Done::On;
        }
        let head = if response {
            &mut t.response
        } else {
            &mut t.request
        };
        let room = local.config.global.tune.bufsize as usize;
        match effect.carry_out_within(head, room) {
            Ok(()) => Done::On,
            Err(RuleError::BadEscape) => Done::Stop(Stop::Deny(self.page(t, local, 400))),
            Err(_) if !t.strict => Done::On,
            // haproxy 2.6 says 500 for rewrites of responses too.
            Err(_) => Done::Stop(Stop::Deny(self.page(t, local, 500))),
        }
    }

    /// Carries out what converters changed while expressions were evaluated.
    pub(super) fn keep_changes(&mut self, t: &mut Txn) {
        for change in t.changes.take() {
            let (side, index, text) = match change {
                Change::Var(id, value) => {
                    self.set_var(t, id, value);
                    continue;
                }
                Change::RequestCapture(index, text) => (0, index, text),
                Change::ResponseCapture(index, text) => (1, index, text),
            };
            let slots = &mut t.captures[side];
            if slots.len() <= index {
                slots.resize(index + 1, None);
            }
            slots[index] = Some(text);
        }
    }

    pub(super) fn set_var(&mut self, t: &mut Txn, id: VarId, value: Option<Owned>) {
        let list = if id.scope == Scope::Sess {
            &mut self.vars
        } else {
            &mut t.vars
        };
        let at = list.iter().position(|(known, _)| *known == id);
        match (at, value) {
            (Some(at), Some(value)) => list[at].1 = value,
            (None, Some(value)) => list.push((id, value)),
            (Some(at), None) => {
                list.swap_remove(at);
            }
            (None, None) => {}
        }
    }

    /// Whether frontend and backend are one `listen` section.
    pub(super) fn same_proxy(&self, local: &Local) -> bool {
        let config = &local.config;
        let front = config.frontend(self.frontend).proxy;
        self.backend
            .is_some_and(|b| config.backend(b).proxy == front)
    }

    /// A rule waits for something.
    fn wait_for(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io, wait: &Wait) {
        match *wait {
            Wait::Body { ms, at_least } => self.wait_body(t, local, io, ms, at_least),
            Wait::Pause(ms) => {
                t.wait_until = local.now + u64::from(ms);
                self.enter(Stage::Pause, local.now);
            }
            Wait::Password => {
                self.wait_password(t, local);
            }
        }
    }

    /// Has the password verified that was asked for; until then the request stands where its cursor is. `false`: none
    /// was.
    pub(super) fn wait_password(&mut self, t: &mut Txn, local: &mut Local) -> bool {
        let Some(job) = t.asked.take() else {
            return false;
        };
        if passwords::verify(&local.shared, job) {
            self.enter(Stage::Password, local.now);
        } else {
            // Taken for wrong, the right word would be remembered so.
            t.wait_until = local.now + PASSWORD_PAUSE_MS;
            self.enter(Stage::Pause, local.now);
        }
        true
    }

    /// A final rule stopped the request.
    fn stop(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io, stop: Stop) {
        let in_back = t.cursor.list > list::ROUTE;
        match stop {
            Stop::Metrics => {
                self.count_intercepted(local);
                self.answer_metrics(t, local, io);
            }
            Stop::Deny(answer) => {
                self.count_denied(t, local);
                self.note_cookie(t, local);
                t.cause = Some((Cause::Proxy, StageReached::Request));
                self.answer(t, local, io, answer);
            }
            Stop::Auth(answer) => {
                t.cause = Some((Cause::Local, StageReached::Request));
                self.answer(t, local, io, answer);
            }
            Stop::Tarpit(answer) => {
                // As in haproxy's line: all of it counts as time in a queue.
                t.head_at = None;
                self.count_denied(t, local);
                self.note_cookie(t, local);
                t.cause = Some((Cause::Proxy, StageReached::Tarpit));
                let http = self.back(local).unwrap_or_else(|| self.front(local));
                let connect = self
                    .backend
                    .and_then(|b| local.config.backend(b).timeout_connect_ms);
                let ms = t.overrides.tarpit.or(http.timeout_tarpit_ms).or(connect);
                t.held_reply = Some(answer);
                t.wait_until = local.now.after(ms.or(Some(0)));
                self.enter(Stage::Tarpit, local.now);
            }
            Stop::Answer(answer) => {
                self.count_intercepted(local);
                t.cause = Some((Cause::Local, StageReached::Request));
                self.answer(t, local, io, answer);
            }
            Stop::Stats => self.answer_stats(t, local, io, in_back),
            Stop::Reject | Stop::Silent => {
                if matches!(stop, Stop::Silent) {
                    io.silence(self.client);
                }
                t.head_at = None;
                self.count_denied(t, local);
                self.end(t, local, Cause::Proxy, StageReached::Request);
                self.over = true;
            }
        }
    }

    /// As in haproxy: the frontend counts what its backends deny as well, and alone what their content rules do.
    fn count_denied(&self, t: &Txn, local: &Local) {
        let cells = local.cells();
        cells.frontends[self.frontend.index()].denied_requests.inc();
        cells.listeners[self.bind.index()].denied_requests.inc();
        if let Some(backend) = self.backend.filter(|_| t.cursor.list > list::BACK_TCP) {
            cells.backends[backend.index()].denied_requests.inc();
        }
    }

    pub(super) fn count_intercepted(&self, local: &Local) {
        local.cells().frontends[self.frontend.index()]
            .intercepted
            .inc();
    }
}

impl Session {
    /// Marks that rules set on the client's connection.
    fn tell_socket(&self, t: &mut Txn, io: &mut dyn Io) {
        if let Some(mark) = t.socket.client_mark.take() {
            io.set_mark(self.client, mark);
        }
        if let Some(tos) = t.socket.client_tos.take() {
            io.set_tos(self.client, tos as u8);
        }
    }

    /// 103 with the fields that `early-hint` rules gave (RFC 8297), unless something is on its way already.
    fn send_hints(&self, t: &mut Txn, io: &mut dyn Io) {
        if t.hints.is_empty() || t.sending {
            return;
        }
        let mut out = b"HTTP/1.1 103 Early Hints\r\n".to_vec();
        for (name, value) in t.hints.drain(..) {
            out.extend_from_slice(&name);
            out.extend_from_slice(b": ");
            out.extend_from_slice(&value);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        t.sending = true;
        io.push(Op::Send {
            sock: self.client,
            buf: Buf::of(&out),
        });
    }
}

/// How an action ended.
pub(super) enum Done {
    On,
    Pass,
    Wait(Wait),
    Stop(Stop),
}

fn wish(view: &View<'_>, arena: &Arena, number: &Number) -> Option<u32> {
    u32::try_from(number_of(view, arena, number)?).ok()
}

fn number_of(view: &View<'_>, arena: &Arena, number: &Number) -> Option<i64> {
    match number {
        Number::Fixed(n) => Some(*n),
        Number::Of(expr) => int(expr.eval(view, arena)?, arena),
    }
}

/// A sample as a number, if it is one or reads as one.
fn int<'a>(value: Value<'a>, arena: &'a Arena) -> Option<i64> {
    match value.cast(Kind::Int, arena)? {
        Value::Int(n) => Some(n),
        _ => None,
    }
}

/// A password of the session was verified: on with the rule that asked for it.
pub fn on_verified(local: &mut Local, io: &mut dyn Io, key: Key, id: PasswordId, right: bool) {
    local.passwords.learn(id, right);
    let Some(place) = local.sessions.get(key).map(Rc::clone) else {
        return;
    };
    let mut s = place.borrow_mut();
    if s.stage == Stage::Password {
        s.run(local, io, |s, t, local, io| s.resume(t, local, io));
    }
}
