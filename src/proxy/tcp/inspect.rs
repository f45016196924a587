//! Content rules of a TCP session: the client's first bytes are held until `tcp-request content` rules passed them
//! or `inspect-delay` is over; the server's first ones by `tcp-response content`.

use super::*;
use crate::proxy::gate::{self, Entered, Gate, List, Packets, Scene};
use crate::proxy::place::Place;

/// The session begins: its rules, then those about its first bytes, then a server.
pub(super) fn begin(local: &mut Local, io: &mut dyn Io, key: Key) {
    let relay = local.relays.get_mut(key).expect("driven while alive");
    let (bind, client, dst) = (relay.bind, relay.client, relay.local);
    let mut src = relay.peer;
    let mut vars = relay
        .held
        .as_mut()
        .map_or_else(Vec::new, |h| std::mem::take(&mut h.vars));
    let gate = gate::session(local, io, bind, client, &mut src, dst, &mut vars);
    let relay = local.relays.get_mut(key).expect("driven while alive");
    relay.peer = src;
    if !vars.is_empty() {
        relay.held.get_or_insert_default().vars = vars;
    }
    if gate != Gate::Pass {
        finish(local, io, key, Cause::Proxy, StageReached::Request);
        return;
    }
    let proxy = local
        .config
        .frontend(local.config.bind(bind).frontend)
        .proxy;
    if gate::content(local, proxy, List::Request).0.is_empty() {
        choose(local, io, key);
        return;
    }
    look_at(local, io, key, proxy);
}

/// Starts on the request rules of `proxy` with the bytes that are there.
pub(super) fn look_at(local: &mut Local, io: &mut dyn Io, key: Key, proxy: ProxyId) {
    let now = local.now;
    let (_, delay) = gate::content(local, proxy, List::Request);
    let relay = local.relays.get_mut(key).expect("driven while alive");
    let early = relay.up.early.take();
    let ended = relay.up.eof;
    let held = relay.held.get_or_insert_default();
    held.begin(now, delay);
    held.complete |= ended;
    if let Some(buf) = early {
        held.take(buf.bytes());
        io.give_buf(buf);
    }
    relay.inspected = Some(proxy);
    relay.stage = Stage::Inspect;
    relay.stage_since = now;
    go_on(local, io, key);
}

/// More bytes of the client.
pub(super) fn on_bytes(local: &mut Local, io: &mut dyn Io, key: Key, buf: Buf) {
    let relay = local.relays.get_mut(key).expect("looked up by on_done");
    let held = relay.held.get_or_insert_default();
    held.take(buf.bytes());
    relay.up.flow = Flow::Idle;
    io.give_buf(buf);
    go_on(local, io, key);
}

/// No more bytes will come, or be waited for.
pub(super) fn on_complete(local: &mut Local, io: &mut dyn Io, key: Key) {
    let relay = local.relays.get_mut(key).expect("driven while alive");
    relay.held.get_or_insert_default().complete = true;
    go_on(local, io, key);
}

fn go_on(local: &mut Local, io: &mut dyn Io, key: Key) {
    match evaluate(local, io, key, List::Request) {
        Gate::Wait => {
            let relay = local.relays.get_mut(key).expect("driven while alive");
            if relay.up.flow != Flow::Reading && !relay.up.eof {
                relay.up.flow = Flow::Reading;
                io.push(Op::Recv { sock: relay.client });
            }
            rearm(local, key);
        }
        Gate::Pass => {
            let relay = local.relays.get_mut(key).expect("driven while alive");
            let held = relay.held.get_or_insert_default();
            let bytes = std::mem::take(&mut held.bytes);
            if !bytes.is_empty() {
                relay.up.early = Some(Buf::of(&bytes));
                if relay.up.flow == Flow::Reading {
                    relay.up.holds = true;
                }
            } else if relay.up.flow != Flow::Reading && !relay.up.eof {
                relay.up.flow = Flow::Reading;
                io.push(Op::Recv { sock: relay.client });
            }
            relay.stage = Stage::Connect;
            choose(local, io, key);
        }
        gate => refuse_content(local, io, key, gate),
    }
}

fn refuse_content(local: &mut Local, io: &mut dyn Io, key: Key, gate: Gate) {
    let relay = local.relays.get(key).expect("driven while alive");
    let cells = local.cells();
    // As in haproxy the backend does not count what its own content rules deny.
    cells.frontends[relay.frontend.index()]
        .denied_requests
        .inc();
    cells.listeners[relay.bind.index()].denied_requests.inc();
    if gate == Gate::Silent {
        io.silence(relay.client);
    }
    finish(local, io, key, Cause::Proxy, StageReached::Request);
}

/// Whether the server's bytes are held for `tcp-response content` rules.
pub(super) fn holds_down(local: &Local, key: Key) -> bool {
    let relay = local.relays.get(key).expect("driven while alive");
    let Some(backend) = relay.backend.filter(|_| !relay.response_passed) else {
        return false;
    };
    let proxy = local.config.backend(backend).proxy;
    !gate::content(local, proxy, List::Response).0.is_empty()
}

/// Bytes of the server, or its end (`None`), before its rules passed it. `true`: it goes on with what is in `early`.
pub(super) fn on_answer(local: &mut Local, io: &mut dyn Io, key: Key, buf: Option<Buf>) -> bool {
    let now = local.now;
    let relay = local.relays.get_mut(key).expect("driven while alive");
    let backend = relay.backend.expect("a server answers");
    let proxy = local.config.backend(backend).proxy;
    let (_, delay) = gate::content(local, proxy, List::Response);
    let relay = local.relays.get_mut(key).expect("driven while alive");
    let held = relay.held.get_or_insert_default();
    if relay.answer_since.is_none() {
        relay.answer_since = Some(now);
        held.begin(now, delay);
        held.no_http = true;
    }
    match buf {
        Some(buf) => {
            held.take(buf.bytes());
            io.give_buf(buf);
        }
        None => held.complete = true,
    }
    match evaluate(local, io, key, List::Response) {
        Gate::Wait => {
            let relay = local.relays.get_mut(key).expect("driven while alive");
            if let Some(sock) = relay.server_sock {
                relay.down.flow = Flow::Reading;
                io.push(Op::Recv { sock });
            }
            rearm(local, key);
            false
        }
        Gate::Pass => {
            let relay = local.relays.get_mut(key).expect("driven while alive");
            relay.response_passed = true;
            true
        }
        gate => {
            let relay = local.relays.get(key).expect("driven while alive");
            let cells = local.cells();
            cells.backends[backend.index()].denied_responses.inc();
            cells.frontends[relay.frontend.index()]
                .denied_responses
                .inc();
            if let Some(server) = relay.server {
                cells.servers[server.index()].denied_responses.inc();
            }
            cells.listeners[relay.bind.index()].denied_responses.inc();
            if gate == Gate::Silent {
                io.silence(relay.client);
            }
            finish(local, io, key, Cause::Proxy, StageReached::Data);
            false
        }
    }
}

fn evaluate(local: &mut Local, io: &mut dyn Io, key: Key, list: List) -> Gate {
    let relay = local.relays.get_mut(key).expect("driven while alive");
    let mut held = relay.held.take().unwrap_or_default();
    let relay = local.relays.get(key).expect("driven while alive");
    let mut entered = Entered {
        peer: relay.peer,
        ..Entered::default()
    };
    let backend = relay.backend.filter(|_| relay.counted);
    let proxy = match list {
        List::Request => relay.inspected.expect("set with the stage"),
        List::Response => {
            local
                .config
                .backend(relay.backend.expect("a server answers"))
                .proxy
        }
    };
    let (bind, frontend, client) = (relay.bind, relay.frontend, relay.client);
    let ends = (relay.peer, relay.local.or_else(|| io.local_address(client)));
    let server = relay.last_server;
    let arena = std::mem::take(&mut local.arena);
    let place = Place {
        local,
        bind,
        frontend,
        backend,
        server,
    };
    let (rules, _) = gate::content(local, proxy, list);
    let scene = Scene {
        place,
        ends,
        list: Some(list),
        packets: Packets::Sock(client),
    };
    let gate = gate::evaluate(scene, rules, &mut held, &mut entered, io, &arena);
    local.give_arena(arena);
    let relay = local.relays.get_mut(key).expect("driven while alive");
    relay.held = Some(held);
    relay.peer = entered.peer;
    gate
}
