//! From a request that passed its rules to a server that has it: backend, cookie, server, queue, connection,
//! and again where that failed.

use std::hash::{Hash as _, Hasher as _};

use super::rules::Persist;
use super::subject::View;
use super::*;
use crate::backend::observe::Event;
use crate::backend::persist::{self, Asked, Reading};
use crate::backend::retry::{self, Attempt, Failure};
use crate::backend::{self, Ask, Choice, Queue};
use crate::config::http::{HashKey, ServerName, SwitchTo};
use crate::config::{Config, ProxyProtocol};
use crate::io::kernel::Errno;
use crate::io::op::{self, Connect};
use crate::lang::acl::{First, Verdict};
use crate::lang::expr::Needs;
use crate::lang::rules::uri::Target;
use crate::lang::sample::Arena;
use crate::lang::source::Span;
use crate::proxy::check;
use crate::proxy::connect::{self, Ends};
use crate::proxy::tcp;
use crate::proxy::trace::{Event as Told, ServerTold, Why};
use crate::shared::Shared;

/// Longest pause before a retry on the same server.
pub(super) const RETRY_PAUSE_MS: u32 = 1000;

/// What the request's cookie said, and what is to become of it in the response.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    pub(super) server: Option<ServerId>,
    /// A cookie or a rule named the server it is at, or waits for.
    pub(super) direct: bool,
    pub(super) asked: Asked,
}

impl Txn {
    /// Another server than the one the cookie named serves the request.
    fn break_persistence(&mut self) {
        self.found.direct = false;
        self.found.asked.redispatched();
        if self.letters[0] == b'V' {
            self.letters[0] = self.found.asked.found.letter() as u8;
        }
    }
}

impl Session {
    /// Chooses the backend. `false`: there is none, or a password is to be verified first.
    pub(super) fn route(&mut self, t: &mut Txn, local: &mut Local) -> bool {
        let arena = std::mem::take(&mut local.arena);
        let (backend, why) = match self.preset {
            Some(backend) => (Some(backend), Why::Before),
            None => self.switch(t, local, &arena),
        };
        local.give_arena(arena);
        if t.asks_password() {
            return false;
        }
        if let Some(trace) = &local.trace {
            trace.push(Told::Backend { id: backend, why });
        }
        self.backend = backend;
        if let Some(id) = backend {
            tcp::count_backend(local, id);
        }
        backend.is_some()
    }

    /// No rule names a backend, and there is no default one.
    pub(super) fn no_backend(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        t.cause = Some((Cause::Server, StageReached::Connect));
        // As haproxy logs it: no stage was timed.
        t.head_at = None;
        self.answer_page(t, local, io, 503);
    }

    fn switch(&self, t: &Txn, local: &Local, arena: &Arena) -> (Option<BackendId>, Why) {
        let config = &local.config;
        let rules = &self.front(local).switching;
        let view = View {
            local,
            s: self,
            t,
            ended: false,
        };
        let chosen = match local.first_switch(self.frontend, &view, arena) {
            First::Holds(at) => Some(at),
            First::None => None,
            First::Later(_) if t.asks_password() => return (None, Why::Nothing),
            // Nothing more will come that could decide it: it does not hold, one of those behind it may.
            First::Later(at) => (at + 1..rules.len()).find(|&at| {
                let verdict = self.holds(t, local, arena, rules[at].when.as_ref());
                if let Some(trace) = &local.trace {
                    trace.rule(Some(rules[at].span), verdict);
                }
                verdict == Verdict::Holds
            }),
        };
        // Asked for, but not needed to decide.
        t.asked.take();
        if let Some(rule) = chosen.map(|at| &rules[at]) {
            match &rule.to {
                SwitchTo::Backend(id) => return (Some(*id), Why::Rule(rule.span)),
                SwitchTo::Format(format) => {
                    let mut name = Vec::new();
                    format.render(&view, arena, &mut name);
                    return by_name(config, self.frontend, rule.span, &name);
                }
            }
        }
        by_default(config, self.frontend)
    }

    /// The request's rules are through: find its server.
    pub(super) fn dispatch(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        let http = self.back(local).expect("routed before");
        // The parameter may be in the body: haproxy 2.6 waits for that without `check_post` too.
        let searched = matches!(http.hash_key, Some(HashKey::UrlParam { .. }))
            && t.request.method() == b"POST";
        if (http.buffer_request || searched) && !t.body_whole && !t.up.ended {
            let ms = self.front(local).timeout_http_request_ms;
            t.cursor.list = u16::MAX;
            self.wait_body(t, local, io, ms.unwrap_or(u32::MAX), 0);
            if self.stage != Stage::Rules {
                return;
            }
        }
        let arena = std::mem::take(&mut local.arena);
        t.persist = self.persist_rules(t, local, &arena);
        self.name_server(t, local, &arena);
        if t.asks_password() {
            local.give_arena(arena);
            t.cursor.list = u16::MAX;
            self.wait_password(t, local);
            return;
        }
        let before = self.before(t, local, false);
        self.read_cookie(t, local, self.backend.expect("routed before"));
        self.tell_option(t, local, before, "the cookie");
        let before = self.before(t, local, false);
        self.finish_request(t, local, &arena);
        self.tell_option(t, local, before, "options such as forwardfor");
        local.give_arena(arena);
        self.choose(t, local, io);
    }

    fn persist_rules(&self, t: &Txn, local: &Local, arena: &Arena) -> Persist {
        let http = self.back(local).expect("routed before");
        let any = |list: &[crate::lang::acl::Condition]| {
            list.iter()
                .any(|c| self.asked(t, local, arena, c) == Verdict::Holds)
        };
        if any(&http.force_persist) {
            Persist::Force
        } else if any(&http.ignore_persist) {
            Persist::Ignore
        } else {
            Persist::Usual
        }
    }

    /// `use-server` rules.
    fn name_server(&self, t: &mut Txn, local: &Local, arena: &Arena) {
        let id = self.backend.expect("routed before");
        let http = self.back(local).expect("routed before");
        let stays = |server: ServerId, persist: Persist| {
            persist == Persist::Force
                || http.persist
                || backend::server::serves_queue(local.shared.server(server))
        };
        t.found.server = None;
        for rule in &http.use_server {
            let verdict = self.holds(t, local, arena, rule.when.as_ref());
            if let Some(trace) = &local.trace {
                trace.rule(Some(rule.span), verdict);
            }
            if verdict != Verdict::Holds {
                continue;
            }
            let server = match &rule.to {
                ServerName::Server(server) => Some(*server),
                ServerName::Format(format) => {
                    let mut name = Vec::new();
                    let view = View {
                        local,
                        s: self,
                        t,
                        ended: false,
                    };
                    format.render(&view, arena, &mut name);
                    let servers = &local.config.backend(id).servers;
                    let named = |s: &&ServerId| local.config.server(**s).name.as_bytes() == name;
                    servers.iter().find(named).copied()
                }
            };
            if let Some(server) = server
                && stays(server, t.persist)
            {
                t.found.server = Some(server);
                break;
            }
        }
    }

    /// Who the request's cookie says it was, which a rule that stops it does not hide from the log.
    pub(super) fn note_cookie(&self, t: &mut Txn, local: &Local) {
        let own = local.config.frontend(self.frontend).proxy;
        if let Some(id) = self.backend.or_else(|| local.config.proxy(own).backend) {
            self.read_cookie(t, local, id);
            t.last_server = t.found.server;
        }
    }

    fn read_cookie(&self, t: &mut Txn, local: &Local, id: BackendId) {
        let config = &local.config;
        let http = &config.proxy(config.backend(id).proxy).http;
        let Some(cookie) = &http.cookie else {
            return;
        };
        let reading = Reading {
            cookie,
            values: &local.cookies[id.index()],
            shared: &local.shared,
            persist: http.persist || t.persist == Persist::Force,
            ignored: t.persist == Persist::Ignore,
            chosen: t.found.server,
            now_s: (local.shared.wall_us(local.now) / 1_000_000) as u32,
        };
        let mut scratch = Vec::new();
        t.found.asked = persist::read_request(&mut t.request, &reading, &mut scratch);
        t.found.server = t.found.asked.server;
        if let Some(trace) = &local.trace {
            trace.push(Told::Cookie {
                name: String::from_utf8_lossy(&cookie.name).into_owned(),
                found: t.found.asked.found,
                server: t.found.server,
            });
        }
        if persist::is_tracked(cookie) {
            t.letters = [t.found.asked.found.letter() as u8, b'N'];
        }
    }

    /// What the request gets on its way out: forwarding headers, unique id, name of the server later.
    fn finish_request(&self, t: &mut Txn, local: &Local, arena: &Arena) {
        let front = self.front(local);
        let back = self.back(local).expect("routed before");
        let view = View {
            local,
            s: self,
            t,
            ended: false,
        };
        if view.unique_id().is_some()
            && let (Some(name), Some(id)) = (&front.unique_id_header, t.unique_id.get())
        {
            t.request.push(name, id);
        }
        let other = (!std::ptr::eq(front, back)).then_some(back);
        backend::forward::add_addresses(&mut t.request, front, other, self.src, self.dst);
        if let Some(what) = &back.forwarded {
            let mut out = Vec::new();
            let view = View {
                local,
                s: self,
                t,
                ended: false,
            };
            backend::forward::forwarded(what, false, &view, arena, &mut out);
            if !out.is_empty() {
                t.request.push(b"forwarded", &out);
            }
        }
    }

    /// Chooses a server, or a queue, or ends the request.
    pub(super) fn choose(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        let id = self.backend.expect("routed before");
        let backend = local.config.backend(id);
        if backend.servers.is_empty() {
            match backend.without_servers(self.dst) {
                Some(to) => {
                    t.dequeued.get_or_insert(local.moment);
                    let spec = connect::to_address(&local.config, backend, to, self.connect_ends());
                    self.attempt(t, local, io, &spec);
                }
                None => self.nobody(t, local, io),
            }
            return;
        }
        let again = !t.redispatch_now;
        let by_rule_or_cookie = t.found.server.is_some();
        let prefers = self.back(local).is_some_and(|http| http.prefer_last_server);
        if t.found.server.is_none() && again && prefers {
            t.found.server = self.last_server.filter(|&last| {
                let kept = self.kept.is_some_and(|(of, ..)| of == last);
                let own = local.config.server(last).backend == id;
                let idle = kept || local.pool.idle(last) > 0;
                own && idle && backend::server::is_usable(local.shared.server(last))
            });
        }
        let ask = self.ask(t, local);
        let view = &mut local.views[id.index()];
        view.refresh(&local.shared, local.now);
        t.redispatch_now = false;
        let may_try = t.found.server.is_none() && !t.tried && t.retries == 0;
        if may_try && let Some(server) = view.take_trial(&local.shared, local.now) {
            (self.trial, t.tried) = (true, true);
            if let Some(trace) = &local.trace {
                let name = &local.config.server(server).name;
                trace.note(format!("server '{name}' is down: this request tries it"));
            }
            self.assigned(t, local, io, server);
            return;
        }
        let usable = local.trace.as_ref().map(|_| view.usable_now());
        let named = t.found.server.take();
        let mut elsewhere = false;
        let choice = match named {
            Some(server) => {
                let taken = view.take_server(&local.shared, server, &ask, local.now);
                t.found.direct = true;
                elsewhere = taken.elsewhere;
                if elsewhere {
                    t.break_persistence();
                }
                taken.choice
            }
            None => view.pick(&local.shared, &ask, local.now),
        };
        if let (Some(trace), Some(usable)) = (&local.trace, usable) {
            trace.push(Told::Server(ServerTold {
                backend: id,
                named: named.map(|server| (server, self.named_by(t, !by_rule_or_cookie))),
                ask,
                usable,
                choice,
                elsewhere,
            }));
        }
        match choice {
            Choice::Server(server) => self.assigned(t, local, io, server),
            Choice::Wait(queue) => self.wait(t, local, queue),
            Choice::Full(server) => {
                t.last_server = Some(server);
                t.cause = Some((Cause::Server, StageReached::Queue));
                local.cells().backends[id.index()].connect_errors.inc();
                self.answer_page(t, local, io, 503);
            }
            Choice::Nobody => self.nobody(t, local, io),
        }
    }

    fn ask(&self, t: &mut Txn, local: &mut Local) -> Ask {
        let id = self.backend.expect("routed before");
        let avoid = if t.redispatch_now {
            t.last_server
        } else {
            None
        };
        let arena = std::mem::take(&mut local.arena);
        let key = {
            let view = View {
                local,
                s: self,
                t,
                ended: false,
            };
            backend::key::hash_key(&local.config, id, &view, &arena)
        };
        local.give_arena(arena);
        Ask {
            client: self.src.map(|p| p.ip()),
            avoid,
            key,
        }
    }

    /// No server can be had.
    fn nobody(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        let id = self.backend.expect("routed before");
        local.cells().backends[id.index()].connect_errors.inc();
        t.cause = Some((Cause::Server, StageReached::Connect));
        self.answer_page(t, local, io, 503);
    }

    fn wait(&mut self, t: &mut Txn, local: &mut Local, queue: Queue) {
        let ticket = local
            .waits
            .join(&local.shared, queue, Owner::Http(self.key));
        if let Queue::Server(server) = queue {
            t.last_server = Some(server);
        }
        self.ticket = Some(ticket);
        self.enter(Stage::Queue, local.now);
    }

    /// Gives ticket, place and backend back.
    pub(super) fn leave_backend(&mut self, t: &mut Txn, local: &mut Local) {
        if let Some(ticket) = self.ticket.take() {
            self.add_position(t, &local.shared, ticket);
            local.waits.leave(&local.shared, ticket);
        }
        self.give_up_server(local);
        if let Some(backend) = self.backend.take() {
            local.cells().backends[backend.index()].current.sub(1);
        }
    }

    /// Gives the server's place back.
    fn give_up_server(&mut self, local: &Local) {
        let Some(server) = self.server.take() else {
            return;
        };
        if std::mem::take(&mut self.trial) {
            trial::give_back(&local.shared, server, local.now);
        }
        backend::release(&local.shared, local.shard, server);
    }

    pub(super) fn add_position(&self, t: &mut Txn, shared: &Shared, ticket: Ticket) {
        let position = ticket.position(shared);
        t.queue_position.server += position.server;
        t.queue_position.backend += position.backend;
    }

    /// Place and row of `server` are taken: reach it.
    fn assigned(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io, server: ServerId) {
        t.dequeued = Some(local.moment);
        if let Some(last) = t.last_server.filter(|_| t.retries > 0) {
            t.redispatched |= tcp::count_again(local, last, server);
        }
        self.server = Some(server);
        t.last_server = Some(server);
        if self.redirect_to_server(t, local, io, server) {
            return;
        }
        self.reach(t, local, io);
    }

    /// `redir` of a server: GET and HEAD are sent there by a 302 instead.
    fn redirect_to_server(
        &mut self,
        t: &mut Txn,
        local: &mut Local,
        io: &mut dyn Io,
        server: ServerId,
    ) -> bool {
        let Some(prefix) = &local.config.server(server).redir else {
            return false;
        };
        if !matches!(t.request.method(), b"GET" | b"HEAD") {
            return false;
        }
        let location = [
            prefix,
            Target::of(t.request.target()).path_query.unwrap_or(b"/"),
        ]
        .concat();
        tcp::count_attempt(local, server);
        t.cause = Some((Cause::Local, StageReached::Connect));
        let answer = self.prepare_location(302, &location);
        self.answer(t, local, io, answer);
        true
    }

    /// Whether the server is told once a connection whose it is (`send-proxy`).
    fn is_told_client(&self, local: &Local) -> bool {
        let server = self.server.map(|id| local.config.server(id));
        server.is_some_and(|server| server.send_proxy.is_some())
    }

    /// Which connections of the server may take each other's place.
    pub(super) fn identity(&self, t: &Txn, local: &Local) -> u64 {
        let moves = self
            .server
            .map_or(0, |id| local.shared.server(id).place.moves());
        // An idle connection to where the server was before is of no use.
        let packets = t.socket.identity() ^ u64::from(moves).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        if !self.is_told_client(local) {
            return packets;
        }
        // Rules may have changed either end since the connection was made.
        let mut hasher = std::hash::DefaultHasher::new();
        (packets, self.src, self.dst).hash(&mut hasher);
        hasher.finish()
    }

    fn connect_ends(&self) -> Ends {
        Ends {
            client: self.src,
            local: self.dst,
        }
    }

    /// A new connection in place of one that had ended already.
    pub(super) fn reconnect(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        let server = self.server.expect("it had a connection");
        match connect::to_server(&local.shared, server, self.connect_ends()) {
            Some(spec) => self.attempt(t, local, io, &spec),
            None => self.connect_failed(t, local, io, Cause::Server, false),
        }
    }

    /// An idle connection to the server, or a new one.
    fn reach(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        let server = self.server.expect("assigned before");
        tcp::count_attempt(local, server);
        // Whether it lives shows by a new connection.
        if !self.trial && (self.take_idle(t, local, io, server) || self.borrow(t, local, server)) {
            return;
        }
        match connect::to_server(&local.shared, server, self.connect_ends()) {
            Some(spec) => self.attempt(t, local, io, &spec),
            None => self.connect_failed(t, local, io, Cause::Server, false),
        }
    }

    /// Notes both ends of a connection that was there already, if anything asks for them.
    pub(super) fn note_ends(&self, t: &mut Txn, local: &Local, io: &mut dyn Io, server: ServerId) {
        if local.config.asked.has(Needs::SERVER_ENDS) {
            let spec = connect::to_server(&local.shared, server, self.connect_ends());
            let from = self.server_sock.and_then(|sock| io.local_address(sock));
            t.server_ends = (from, spec.as_ref().and_then(target));
        }
    }

    fn attempt(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io, spec: &Connect) {
        self.enter(Stage::Connect, local.now);
        let cells = local.cells();
        if let Some(server) = self.server {
            cells.servers[server.index()].connects.inc();
        }
        if let Some(backend) = self.backend {
            cells.backends[backend.index()].connects.inc();
        }
        self.link = Link {
            private: spec.transparent || self.is_told_client(local),
            identity: self.identity(t, local),
            ..Link::default()
        };
        t.server_ends = (None, target(spec));
        let mut spec = spec.clone();
        spec.mark = t.socket.server_mark;
        spec.tos = t.socket.server_tos.map(|tos| tos as u8);
        match io.connect(&spec, Owner::Http(self.key).pack()) {
            Ok(sock) => self.server_sock = Some(sock),
            Err(errno) if errno.exhausted() || errno.0 == libc::EADDRNOTAVAIL => {
                self.connect_failed(t, local, io, Cause::Resource, false);
            }
            Err(_) => self.connect_failed(t, local, io, Cause::Server, false),
        }
    }

    pub(super) fn on_connect_failed(
        &mut self,
        t: &mut Txn,
        local: &mut Local,
        io: &mut dyn Io,
        errno: Errno,
    ) {
        let timed_out = errno.0 == libc::ETIMEDOUT;
        let cause = if timed_out {
            Cause::ServerTimeout
        } else {
            Cause::Server
        };
        self.connect_failed(t, local, io, cause, timed_out);
    }

    /// An attempt failed: pause and try again, go elsewhere, or give up.
    pub(super) fn connect_failed(
        &mut self,
        t: &mut Txn,
        local: &mut Local,
        io: &mut dyn Io,
        cause: Cause,
        timed_out: bool,
    ) {
        self.drop_server(io, timed_out);
        if cause != Cause::Resource {
            let trial = self.trial;
            self.observed(local, Event::ConnectFailed);
            if trial && let Some(server) = self.server {
                // Nobody suffers from a trial: the client has all its retries left.
                check::count_moved_on(local, server);
                t.redispatched = true;
                self.give_up_server(local);
                self.choose(t, local, io);
                return;
            }
        }
        let id = self.backend.expect("a server was connected to");
        let backend = local.config.backend(id);
        let retries = t.overrides.retries.unwrap_or(backend.retries);
        let may = self.may_retry(t, local, Failure::Connect);
        if !may || cause == Cause::Resource {
            let cells = local.cells();
            cells.backends[id.index()].connect_errors.inc();
            if let Some(server) = self.server {
                cells.servers[server.index()].connect_errors.inc();
            }
            t.cause = Some((cause, StageReached::Connect));
            self.answer_page(t, local, io, 503);
            return;
        }
        t.retries += 1;
        if self.go_elsewhere(t, local, retries) {
            self.choose(t, local, io);
            return;
        }
        self.count_retry(local);
        self.enter(Stage::Retry, local.now);
        if timed_out {
            self.retry(t, local, io);
        }
    }

    /// The server did this, for whoever watches its traffic.
    pub(super) fn observed(&mut self, local: &mut Local, event: Event) {
        if let Some(server) = self.server {
            check::observed(local, server, event, self.src);
            if self.trial {
                self.trial = !check::tried(local, server, event);
            }
        }
    }

    /// The same server is tried once more.
    fn count_retry(&self, local: &Local) {
        let cells = local.cells();
        if let Some(backend) = self.backend {
            cells.backends[backend.index()].retries.inc();
        }
        if let Some(server) = self.server {
            cells.servers[server.index()].retries.inc();
        }
    }

    /// Whether the next attempt may leave the server; if so its place is given back.
    fn go_elsewhere(&mut self, t: &mut Txn, local: &mut Local, retries: u32) -> bool {
        let id = self.backend.expect("a server was connected to");
        let backend = local.config.backend(id);
        let interval = backend.redispatch.0;
        let view = &local.views[id.index()];
        let other = view.has_other(self.server);
        let due = tcp::may_redispatch(interval, t.retries, retries) && other;
        // Who was sent to one server by name goes on trying it, as in haproxy.
        let at_once = interval != 0 && !t.found.direct;
        if !(due || at_once && view.has_alternatives(&local.shared)) {
            return false;
        }
        t.redispatch_now = backend.redispatch_avoids();
        t.break_persistence();
        self.give_up_server(local);
        true
    }

    /// The pause is over.
    pub(super) fn retry(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        if self.server.is_some() {
            self.reach(t, local, io);
        } else {
            self.choose(t, local, io);
        }
    }

    fn attempt_of(&self, t: &Txn, local: &Local) -> Attempt {
        let of_backend = self
            .backend
            .map_or(0, |id| local.config.backend(id).retries);
        Attempt {
            retries: t.retries,
            most: t.overrides.retries.unwrap_or(of_backend),
            replayable: t.replay.is_some(),
            disabled: t.overrides.no_replay,
        }
    }

    fn may_retry(&self, t: &Txn, local: &Local, failure: Failure) -> bool {
        let attempt = self.attempt_of(t, local);
        self.back(local)
            .is_some_and(|back| retry::may_retry(&back.retry_on, failure, attempt))
    }

    /// A request that reached a server and got no good answer is sent again, if `retry-on` allows it.
    pub(super) fn try_again(
        &mut self,
        t: &mut Txn,
        local: &mut Local,
        io: &mut dyn Io,
        failure: Failure,
    ) -> bool {
        if t.head_sent || !self.may_retry(t, local, failure) {
            return false;
        }
        let retries = self.attempt_of(t, local).most;
        t.retries += 1;
        self.drop_server(io, false);
        self.rewind(t, io);
        if self.go_elsewhere(t, local, retries) {
            self.choose(t, local, io);
        } else {
            self.count_retry(local);
            self.reach(t, local, io);
        }
        true
    }

    pub(super) fn on_connected(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        let now = local.now;
        t.connected = Some(local.moment);
        if local.config.asked.has(Needs::SERVER_ENDS) {
            t.server_ends.0 = self.server_sock.and_then(|sock| io.local_address(sock));
        }
        (self.server_rx, self.server_tx) = (now, now);
        self.count_reached(t, local);
        self.observed(local, Event::Connected);
        let header = self
            .server
            .and_then(|id| local.config.server(id).send_proxy)
            .map(|version: ProxyProtocol| tcp::proxy_bytes(version, self.connect_ends()));
        self.send_request(t, local, io, header.as_deref().unwrap_or(b""));
    }

    pub(super) fn count_reached(&self, t: &Txn, local: &Local) {
        let place = (self.frontend, self.backend, self.server);
        let dequeued = t.dequeued.unwrap_or(local.moment);
        let from = t.head_at.unwrap_or(dequeued);
        tcp::count_reached(local, place, from, dequeued);
    }
}

/// The backend whose name a `use_backend` line worked out. One that no backend has leaves the request to the default
/// one.
pub(in crate::proxy) fn by_name(
    config: &Config,
    frontend: FrontendId,
    span: Span,
    name: &[u8],
) -> (Option<BackendId>, Why) {
    let named = |b: &crate::config::Backend| b.name.as_bytes() == name;
    let text = || String::from_utf8_lossy(name).into_owned();
    match config.backends.iter().position(named) {
        Some(at) => (Some(BackendId(at as u32)), Why::Named(span, text())),
        None => (
            config.frontend(frontend).default_backend,
            Why::NoSuchName(span, text()),
        ),
    }
}

pub(in crate::proxy) fn by_default(
    config: &Config,
    frontend: FrontendId,
) -> (Option<BackendId>, Why) {
    match config.frontend(frontend).default_backend {
        Some(id) => (Some(id), Why::Default),
        None => (None, Why::Nothing),
    }
}

fn target(spec: &Connect) -> Option<SocketAddr> {
    match spec.to {
        op::Target::Ip(to) => Some(to),
        _ => None,
    }
}

/// The wait ends, one way or the other: how many were admitted meanwhile.
pub fn note_position(place: &Place, shared: &Shared) {
    let mut s = place.borrow_mut();
    if let (Some(ticket), Some(mut t)) = (s.ticket, s.txn.take()) {
        s.add_position(&mut t, shared, ticket);
        s.txn = Some(t);
    }
}

/// A place came free for one that waited; its place and row are taken.
pub fn on_admitted(local: &mut Local, io: &mut dyn Io, key: Key, server: ServerId) {
    let place = local.sessions.get(key).map(Rc::clone);
    let place = place.expect("a waiting session leaves the room before it ends");
    let mut s = place.borrow_mut();
    s.ticket = None;
    s.run(local, io, |s, t, local, io| {
        s.assigned(t, local, io, server);
    });
}
