//! Reaching a server: choose one, wait for a place, connect, try again or elsewhere.

use std::sync::Arc;

use super::*;
use crate::backend::observe::Event;
use crate::config::http::{ServerName, SwitchTo, UseServer};
use crate::config::{Balance, Mode};
use crate::lang::acl::{Condition, First, Verdict};
use crate::lang::sample::{Arena, Value};
use crate::lang::subject::{Bytes, Fact, Subject, VarId};
use crate::proto::http::Head;
use crate::proxy::check;
use crate::proxy::gate;
use crate::proxy::http::{self, Upgraded, by_default, by_name};
use crate::proxy::place::Place;
use crate::proxy::trace::{Event as Told, NamedBy, ServerTold, Why};
use crate::shared::{Lap, Latency};

/// Lets `use_backend` choose, once: whoever comes back from a queue or a failed connect keeps the backend.
pub(super) fn switch(local: &mut Local, key: Key) {
    let relay = local.relays.get(key).expect("driven while alive");
    let frontend = relay.frontend;
    if relay.counted {
        return;
    }
    if local.config.switching(frontend).is_empty() {
        if let Some(trace) = &local.trace {
            let (id, why) = by_default(&local.config, frontend);
            trace.push(Told::Backend { id, why });
        }
        return;
    }
    let arena = std::mem::take(&mut local.arena);
    let (backend, why) = chosen(local, key, &arena);
    local.give_arena(arena);
    if let Some(trace) = &local.trace {
        trace.push(Told::Backend { id: backend, why });
    }
    let (up, down) = splice_modes(local, frontend, backend);
    let relay = local.relays.get_mut(key).expect("driven while alive");
    relay.backend = backend;
    // Nothing has flowed on: as if they had begun so.
    for (half, splice) in [(&mut relay.up, up), (&mut relay.down, down)] {
        half.pace = Pace::new(splice);
    }
}

/// What rules see of a session before its server is chosen.
struct View<'a> {
    place: Place<'a>,
    relay: &'a Relay,
}

impl Subject for View<'_> {
    fn src(&self) -> Option<SocketAddr> {
        self.relay.peer
    }
    fn dst(&self) -> Option<SocketAddr> {
        self.relay.local
    }
    fn request(&self) -> Option<&Head> {
        self.relay.held.as_ref()?.head.as_ref()
    }
    fn request_bytes(&self) -> Option<Bytes<'_>> {
        // What content rules waited for, or what came by itself: it decides as it is.
        Some(Bytes {
            bytes: self.relay.up.early.as_ref().map_or(&[], Buf::bytes),
            complete: true,
            announced: None,
        })
    }
    fn var(&self, id: VarId) -> Option<Value<'_>> {
        let mut vars = self.relay.held.as_ref()?.vars.iter();
        vars.find(|(known, _)| *known == id)
            .map(|(_, v)| v.borrow())
    }
    fn fact(&self, fact: Fact) -> Option<Value<'_>> {
        let local = self.place.local;
        match fact {
            Fact::NowUs => Some(Value::Int(local.shared.wall_us(local.now) as i64)),
            other => self.place.fact(other),
        }
    }
}

/// The backend that the first `use_backend` line that holds names, else the default one.
fn chosen(local: &Local, key: Key, arena: &Arena) -> (Option<BackendId>, Why) {
    let relay = local.relays.get(key).expect("driven while alive");
    let config = &local.config;
    let frontend = relay.frontend;
    let place = Place {
        local,
        bind: relay.bind,
        frontend,
        backend: None,
        server: None,
    };
    let view = View { place, relay };
    if let First::Holds(at) = local.first_switch(frontend, &view, arena) {
        let rule = &config.switching(frontend)[at];
        match &rule.to {
            SwitchTo::Backend(id) => return (Some(*id), Why::Rule(rule.span)),
            SwitchTo::Format(format) => {
                let mut name = Vec::new();
                format.render(&view, arena, &mut name);
                return by_name(config, frontend, rule.span, &name);
            }
        }
    }
    by_default(config, frontend)
}

/// The backend speaks HTTP: the session goes on as one of that kind.
fn become_http(local: &mut Local, io: &mut dyn Io, key: Key, backend: BackendId) {
    let mut relay = local.relays.remove(key).expect("driven while alive");
    if let Some((id, _)) = relay.timer.take() {
        local.timers.cancel(id);
    }
    let from = Upgraded {
        bind: relay.bind,
        client: relay.client,
        backend,
        entered: Entered {
            peer: relay.peer,
            vars: relay.held.take().map_or_else(Vec::new, |held| held.vars),
            expect_proxy: false,
        },
        dst: relay.local,
        accepted: relay.accepted.tick(),
        early: relay.up.early.take(),
        reading: relay.up.flow == Flow::Reading,
        eof: relay.up.eof,
    };
    http::upgrade(local, io, from);
}

/// Chooses a server, or a queue, or ends the session.
pub(super) fn choose(local: &mut Local, io: &mut dyn Io, key: Key) {
    switch(local, key);
    let relay = local.relays.get_mut(key).expect("driven while alive");
    let Some(backend_id) = relay.backend else {
        finish(local, io, key, Cause::Server, StageReached::Connect);
        return;
    };
    if !relay.counted && local.config.backend(backend_id).mode == Mode::Http {
        become_http(local, io, key, backend_id);
        return;
    }
    if !relay.counted {
        relay.counted = true;
        count_backend(local, backend_id);
        let own = local.config.backend(backend_id).proxy;
        let relay = local.relays.get(key).expect("driven while alive");
        let front = local.config.frontend(relay.frontend).proxy;
        if own != front && !gate::content(local, own, gate::List::Request).0.is_empty() {
            inspect::look_at(local, io, key, own);
            return;
        }
    }
    let relay = local.relays.get_mut(key).expect("driven while alive");
    let backend = local.config.backend(backend_id);
    if backend.servers.is_empty() {
        match backend.without_servers(relay.local) {
            Some(to) => {
                relay.dequeued.get_or_insert(local.moment);
                let spec = connect::to_address(&local.config, backend, to, relay.ends());
                attempt(local, io, key, &spec);
            }
            None => finish(local, io, key, Cause::Server, StageReached::Connect),
        }
        return;
    }
    let redispatched = std::mem::take(&mut relay.redispatch_now);
    let may_try = !relay.tried && relay.retries == 0;
    let avoid = relay.last_server.filter(|_| redispatched);
    let client = relay.peer.map(|p| p.ip());
    let (hash, named) = wishes(local, key, backend_id);
    let ask = Ask {
        client,
        key: hash,
        avoid,
    };
    let view = &mut local.views[backend_id.index()];
    view.refresh(&local.shared, local.now);
    let trial = if named.is_none() && may_try {
        view.take_trial(&local.shared, local.now)
    } else {
        None
    };
    let usable = local.trace.as_ref().map(|_| view.usable_now());
    let taken = match named {
        Some(server) => view.take_server(&local.shared, server, &ask, local.now),
        None => Taken {
            choice: match trial {
                Some(server) => Choice::Server(server),
                None => view.pick(&local.shared, &ask, local.now),
            },
            elsewhere: true,
        },
    };
    let relay = local.relays.get_mut(key).expect("driven while alive");
    relay.trial = trial.is_some();
    relay.tried |= relay.trial;
    relay.direct = !taken.elsewhere;
    let choice = taken.choice;
    if let (Some(trace), Some(usable)) = (&local.trace, usable) {
        let by_rule = local.config.proxy(local.config.backend(backend_id).proxy);
        let by = if by_rule.http.use_server.is_empty() {
            NamedBy::Cookie
        } else {
            NamedBy::UseServer
        };
        trace.push(Told::Server(ServerTold {
            backend: backend_id,
            named: named.map(|server| (server, by)),
            ask,
            usable,
            choice,
            elsewhere: named.is_some() && taken.elsewhere,
        }));
    }
    match choice {
        Choice::Server(server) => assigned(local, io, key, server),
        Choice::Wait(queue) => wait(local, key, queue),
        Choice::Full(server) => {
            let relay = local.relays.get_mut(key).expect("driven while alive");
            relay.last_server = Some(server);
            finish(local, io, key, Cause::Server, StageReached::Queue);
        }
        Choice::Nobody => finish(local, io, key, Cause::Server, StageReached::Connect),
    }
}

/// What the algorithm goes by where it hashes something of the session, and the server that a rule or a
/// cookie names (`use-server`, `persist rdp-cookie`).
fn wishes(local: &mut Local, key: Key, id: BackendId) -> (Option<u32>, Option<ServerId>) {
    let config = Arc::clone(&local.config);
    let back = config.backend(id);
    let http = &config.proxy(back.proxy).http;
    let named = !http.use_server.is_empty() || http.rdp_persist.is_some();
    if !named && !matches!(back.balance, Balance::Key(_)) {
        return (None, None);
    }
    let arena = std::mem::take(&mut local.arena);
    let relay = local.relays.get(key).expect("driven while alive");
    let view = View {
        place: Place {
            local,
            bind: relay.bind,
            frontend: relay.frontend,
            backend: Some(id),
            server: None,
        },
        relay,
    };
    let hash = backend::key::hash_key(&config, id, &view, &arena);
    let holds = |when: &Condition| {
        let verdict = match &local.trace {
            None => when.holds(&view, &arena),
            Some(trace) => {
                let verdict = trace.holds(when, &view, &arena, &config);
                trace.rule(None, verdict);
                verdict
            }
        };
        verdict == Verdict::Holds
    };
    let forced = http.force_persist.iter().any(holds);
    let ignored = !forced && http.ignore_persist.iter().any(holds);
    let serves = |server: &ServerId| {
        let up = backend::server::serves_queue(local.shared.server(*server));
        up || http.persist || forced
    };
    let by_rule = || {
        let rules = http.use_server.iter();
        let held = rules.filter(|rule| rule.when.as_ref().is_none_or(holds));
        let server = |rule: &UseServer| match &rule.to {
            ServerName::Server(server) => Some(*server),
            ServerName::Format(format) => {
                let mut name = Vec::new();
                format.render(&view, &arena, &mut name);
                let is = |s: &&ServerId| config.server(**s).name.as_bytes() == name;
                back.servers.iter().find(is).copied()
            }
        };
        held.filter_map(server).find(serves)
    };
    let by_cookie = || {
        let name = http.rdp_persist.as_ref().filter(|_| !ignored)?;
        let bytes = relay.up.early.as_ref()?.bytes();
        backend::key::rdp_server(&config, id, bytes, name).filter(serves)
    };
    // Who failed there goes where the algorithm says.
    let first = relay.retries == 0;
    let server = first.then(|| by_rule().or_else(by_cookie)).flatten();
    local.give_arena(arena);
    (hash, server)
}

pub(in crate::proxy) fn count_backend(local: &Local, backend: BackendId) {
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
pub(super) fn wait(local: &mut Local, key: Key, queue: Queue) {
    let ticket = local.waits.join(&local.shared, queue, Owner::Relay(key));
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
pub(super) fn assigned(local: &mut Local, io: &mut dyn Io, key: Key, server: ServerId) {
    let relay = local.relays.get_mut(key).expect("driven while alive");
    relay.dequeued = Some(local.moment);
    let last = relay.last_server.filter(|_| relay.retries > 0);
    if last.is_some_and(|last| count_again(local, last, server)) {
        let relay = local.relays.get_mut(key).expect("driven while alive");
        relay.redispatched = true;
    }
    let relay = local.relays.get_mut(key).expect("driven while alive");
    relay.server = Some(server);
    relay.last_server = Some(server);
    connect_server(local, io, key);
}

/// Counts another attempt after one on `last` failed: a retry, or a redispatch if it goes elsewhere. Whether it does.
pub(in crate::proxy) fn count_again(local: &Local, last: ServerId, server: ServerId) -> bool {
    let cells = local.cells();
    let backend = &cells.backends[local.config.server(server).backend.index()];
    let elsewhere = last != server;
    if elsewhere {
        cells.servers[last.index()].redispatches.inc();
        backend.redispatches.inc();
    } else {
        cells.servers[last.index()].retries.inc();
        backend.retries.inc();
    }
    elsewhere
}

/// Counts a session of the server, as haproxy does with each attempt; that it was chosen was counted
/// where it was picked.
pub(in crate::proxy) fn count_attempt(local: &Local, server: ServerId) {
    let cells = local.cells();
    let cell = &cells.servers[server.index()];
    cell.sessions.inc();
    cell.session_rate.hit(local.now);
    cell.last_session_s.set(local.now.0 / 1000);
}

pub(super) fn connect_server(local: &mut Local, io: &mut dyn Io, key: Key) {
    let relay = local.relays.get(key).expect("driven while alive");
    let server = relay.server.expect("assigned before");
    count_attempt(local, server);
    match connect::to_server(&local.shared, server, relay.ends()) {
        Some(spec) => attempt(local, io, key, &spec),
        None => connect_failed(local, io, key, Cause::Server, false),
    }
}

pub(super) fn attempt(local: &mut Local, io: &mut dyn Io, key: Key, spec: &Connect) {
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
pub(super) fn connect_failed(
    local: &mut Local,
    io: &mut dyn Io,
    key: Key,
    cause: Cause,
    timed_out: bool,
) {
    let relay = local.relays.get_mut(key).expect("driven while alive");
    if let Some(sock) = relay.server_sock.take() {
        io.push(Op::Close {
            sock,
            reset: timed_out,
        });
    }
    let tried = relay.server.filter(|_| cause != Cause::Resource);
    let peer = relay.peer;
    if let Some(server) = tried {
        check::observed(local, server, Event::ConnectFailed, peer);
    }
    if let Some(server) = tried
        && trial_failed(local, key, server)
    {
        choose(local, io, key);
        return;
    }
    let relay = local.relays.get_mut(key).expect("driven while alive");
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
    let other = view.has_other(relay.server);
    let due = may_redispatch(interval, relay.retries, backend.retries) && other;
    // Who was sent to one server by name goes on trying it, as in haproxy.
    let at_once = interval != 0 && !relay.direct;
    if due || at_once && view.has_alternatives(&local.shared) {
        relay.redispatch_now = backend.redispatch_avoids();
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

/// If this was the trial of a server that failed: it is over, and the session free to go elsewhere, with all its retries.
fn trial_failed(local: &mut Local, key: Key, server: ServerId) -> bool {
    let relay = local.relays.get_mut(key).expect("driven while alive");
    if !std::mem::take(&mut relay.trial) {
        return false;
    }
    relay.server = None;
    relay.redispatched = true;
    check::tried(local, server, Event::ConnectFailed);
    check::count_moved_on(local, server);
    backend::release(&local.shared, local.shard, server);
    true
}

/// configuration.txt, `option redispatch`: positive N every N-th retry, negative -N the N-th from the last.
pub(in crate::proxy) fn may_redispatch(interval: i32, retry: u32, retries: u32) -> bool {
    match interval {
        0 => false,
        n if n > 0 => retry.is_multiple_of(n.unsigned_abs()),
        n => retry + n.unsigned_abs() == retries + 1,
    }
}

/// The pause is over.
pub(super) fn retry(local: &mut Local, io: &mut dyn Io, key: Key) {
    let relay = local.relays.get(key).expect("driven while alive");
    if relay.server.is_some() {
        connect_server(local, io, key)
    } else {
        choose(local, io, key)
    }
}

pub(super) fn on_connected(local: &mut Local, io: &mut dyn Io, key: Key) {
    let now = local.now;
    let relay = local.relays.get_mut(key).expect("driven while alive");
    relay.stage = Stage::Relay;
    relay.connected = Some(local.moment);
    (relay.server_rx, relay.server_tx) = (now, now);
    let sock = relay.server_sock.expect("it connected");
    let server = relay.server;
    count_times(local, key);
    if let Some(server) = server {
        check::observed(local, server, Event::Connected, None);
        let relay = local.relays.get_mut(key).expect("driven while alive");
        if std::mem::take(&mut relay.trial) {
            check::tried(local, server, Event::Connected);
        }
    }
    log_asap(local, io, key);
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
pub(super) fn pass_early(relay: &mut Relay, io: &mut dyn Io, sock: SockKey) {
    if let Some(buf) = relay.up.early.take() {
        relay.up.flow = Flow::Writing;
        io.push(Op::Send { sock, buf });
    } else if relay.up.eof {
        relay.up.flow = Flow::Done;
        io.push(Op::ShutdownWrite { sock });
    }
}

pub(in crate::proxy) fn proxy_bytes(version: ProxyProtocol, ends: Ends) -> Vec<u8> {
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

pub(super) fn count_times(local: &Local, key: Key) {
    let relay = local.relays.get(key).expect("driven while alive");
    let place = (relay.frontend, relay.backend, relay.server);
    let dequeued = relay.dequeued.unwrap_or(relay.accepted);
    count_reached(local, place, relay.accepted, dequeued);
}

/// A server was reached: who came at `from` could be taken by it at `dequeued`, and is connected now.
pub(in crate::proxy) fn count_reached(
    local: &Local,
    (frontend, backend, server): (FrontendId, Option<BackendId>, Option<ServerId>),
    from: Moment,
    dequeued: Moment,
) {
    let queue_ms = dequeued.tick().since(from.tick());
    let connect_ms = local.now.since(dequeued.tick());
    let (queue_us, connect_us) = (dequeued.since_us(from), local.moment.since_us(dequeued));
    let measured = |latency: &Latency| {
        latency.record(Lap::Queue, queue_us);
        latency.record(Lap::Connect, connect_us);
    };
    let cells = local.cells();
    measured(&cells.frontends[frontend.index()].latency);
    if let Some(backend) = backend {
        let cell = &cells.backends[backend.index()];
        slide(&cell.queue_time, queue_ms);
        slide(&cell.connect_time, connect_ms);
        cell.queue_time_max.raise(queue_ms);
        cell.connect_time_max.raise(connect_ms);
        measured(&cell.latency);
    }
    if let Some(server) = server {
        let cell = &cells.servers[server.index()];
        slide(&cell.queue_time, queue_ms);
        slide(&cell.connect_time, connect_ms);
        cell.queue_time_max.raise(queue_ms);
        cell.connect_time_max.raise(connect_ms);
        measured(&cell.latency);
    }
}

/// Sliding sum over the last 1,024 sessions (management.txt, `qtime` and its kin); the average is sum / 1024.
pub(in crate::proxy) fn slide(sum: &crate::shared::Counter, value: u64) {
    let old = sum.get();
    sum.set(old - old / 1024 + value);
}
