//! The end of a session: log line, counters, places, sockets, slot. [`finish`] is the only way out.

use super::*;
use crate::config::Config;
use crate::observe::log::sink;
use crate::proxy::trace::Event;
use crate::shared::{Lap, Shared};

/// Kills a session (stop, panic, operator).
pub fn kill(local: &mut Local, io: &mut dyn Io, key: Key, cause: Cause) {
    let Some(relay) = local.relays.get(key) else {
        return;
    };
    let reached = match relay.stage {
        // As haproxy: these say nothing of where.
        _ if matches!(cause, Cause::Down | Cause::Up) => StageReached::End,
        Stage::Header | Stage::Inspect => StageReached::Request,
        Stage::Queue => StageReached::Queue,
        Stage::Connect | Stage::Pause => StageReached::Connect,
        Stage::Relay => StageReached::Data,
    };
    finish(local, io, key, cause, reached);
}

/// The server it is connected to, or connects to.
pub fn server_of(local: &Local, key: Key) -> Option<ServerId> {
    local.relays.get(key).and_then(|relay| relay.server)
}

/// Notes which servers that are gone a session still names.
pub fn name_gone(local: &mut Local, gone: &[ServerId], held: &mut Vec<ServerId>) {
    for key in local.relays.keys() {
        let Some(relay) = local.relays.get(key) else {
            continue;
        };
        let queued = relay.ticket.and_then(|ticket| ticket.server());
        let named = [relay.server, relay.last_server, queued];
        held.extend(named.into_iter().flatten().filter(|id| gone.contains(id)));
    }
    held.sort_unstable();
    held.dedup();
}

/// Stage by name, for diagnostics.
pub fn stage_name(local: &Local, key: Key) -> &'static str {
    match local.relays.get(key).map(|r| r.stage) {
        None => "gone",
        Some(Stage::Header) => "header",
        Some(Stage::Inspect) => "inspect",
        Some(Stage::Queue) => "queue",
        Some(Stage::Connect) => "connect",
        Some(Stage::Pause) => "pause",
        Some(Stage::Relay) => "relay",
    }
}

/// The only way out: log, counters, places, sockets, slot.
pub(super) fn finish(
    local: &mut Local,
    io: &mut dyn Io,
    key: Key,
    cause: Cause,
    reached: StageReached,
) {
    flush_bytes(local, key);
    let relay = local.relays.get_mut(key).expect("ended once");
    note_position(relay, &local.shared);
    if let Some(ticket) = relay.ticket.take() {
        relay.dequeued = Some(local.moment);
        local.waits.leave(&local.shared, ticket);
        if cause == Cause::ServerTimeout {
            let cells = &local.shared.shards[local.shard];
            if let Some(backend) = relay.backend {
                cells.backends[backend.index()].connect_errors.inc();
            }
        }
    }
    if let Some((id, _)) = relay.timer.take() {
        local.timers.cancel(id);
    }
    count_end(local, key, cause, reached);
    if let Some(trace) = &local.trace {
        trace.push(Event::End {
            state: String::from_utf8_lossy(&letters(cause, reached)).into_owned(),
            status: 0,
        });
    }
    let record_wanted = {
        let relay = local.relays.get(key).expect("ended once");
        !relay.logged
    };
    if record_wanted {
        log_session(local, io, key, letters(cause, reached), false);
    }
    let mut relay = local.relays.remove(key).expect("ended once");
    if let Some(buf) = relay.up.early.take() {
        io.give_buf(buf);
    }
    if let Some(server) = relay.server.take() {
        if relay.trial {
            trial::give_back(&local.shared, server, local.now);
        }
        backend::release(&local.shared, local.shard, server);
    }
    io.push(Op::Close {
        sock: relay.client,
        reset: false,
    });
    if let Some(sock) = relay.server_sock {
        io.push(Op::Close {
            sock,
            reset: relay.broke,
        });
    }
    let cells = local.cells();
    cells.connections.fetch_sub(1, AcqRel);
    cells.listeners[relay.bind.index()].current.sub(1);
    if let (true, Some(backend)) = (relay.counted, relay.backend) {
        cells.backends[backend.index()].current.sub(1);
    }
    local.give_room(relay.bind);
}

pub(super) fn count_end(local: &Local, key: Key, cause: Cause, reached: StageReached) {
    let relay = local.relays.get(key).expect("ended once");
    let cells = local.cells();
    let total_ms = local.now.since(relay.accepted.tick());
    let total_us = local.moment.since_us(relay.accepted);
    cells.frontends[relay.frontend.index()]
        .latency
        .record(Lap::Total, total_us);
    if let Some(backend) = relay.backend {
        let cell = &cells.backends[backend.index()];
        slide(&cell.total_time, total_ms);
        cell.total_time_max.raise(total_ms);
        cell.latency.record(Lap::Total, total_us);
        match (cause, reached) {
            (
                Cause::Client | Cause::ClientTimeout,
                StageReached::Data
                | StageReached::Last
                | StageReached::Connect
                | StageReached::Queue,
            ) => {
                cell.client_aborts.inc();
            }
            (Cause::Server | Cause::ServerTimeout, StageReached::Data) => cell.server_aborts.inc(),
            (Cause::Server, StageReached::Queue) => cell.connect_errors.inc(),
            _ => {}
        }
        if relay.last_server.is_none() && cause == Cause::Server && reached == StageReached::Connect
        {
            cell.connect_errors.inc();
        }
    }
    if let Some(server) = relay.server {
        let cell = &cells.servers[server.index()];
        slide(&cell.total_time, total_ms);
        cell.total_time_max.raise(total_ms);
        cell.latency.record(Lap::Total, total_us);
        match (cause, reached) {
            (Cause::Client | Cause::ClientTimeout, StageReached::Data | StageReached::Last) => {
                cell.client_aborts.inc()
            }
            (Cause::Server | Cause::ServerTimeout, StageReached::Data) => cell.server_aborts.inc(),
            _ => {}
        }
    }
    if reached == StageReached::Request && cause != Cause::Normal {
        cells.frontends[relay.frontend.index()].request_errors.inc();
        cells.listeners[relay.bind.index()].request_errors.inc();
    }
}

/// Brings the byte counters up to date.
pub(super) fn flush_bytes(local: &mut Local, key: Key) {
    let relay = local.relays.get_mut(key).expect("driven while alive");
    let up = relay.up.bytes - relay.up.counted;
    let down = relay.down.bytes - relay.down.counted;
    relay.up.counted = relay.up.bytes;
    relay.down.counted = relay.down.bytes;
    let cells = &local.shared.shards[local.shard];
    let front = &cells.frontends[relay.frontend.index()];
    front.bytes_in.add(up);
    front.bytes_out.add(down);
    let bind = &cells.listeners[relay.bind.index()];
    bind.bytes_in.add(up);
    bind.bytes_out.add(down);
    if let Some(backend) = relay.backend {
        let cell = &cells.backends[backend.index()];
        cell.bytes_in.add(up);
        cell.bytes_out.add(down);
    }
    if let Some(server) = relay.last_server {
        let cell = &cells.servers[server.index()];
        cell.bytes_in.add(up);
        cell.bytes_out.add(down);
    }
}

/// `option logasap`: the line is written when the server is connected.
pub(super) fn log_asap(local: &mut Local, io: &mut dyn Io, key: Key) {
    let relay = local.relays.get(key).expect("driven while alive");
    if local.config.frontend(relay.frontend).logasap {
        log_session(local, io, key, *b"--", true);
        local
            .relays
            .get_mut(key)
            .expect("driven while alive")
            .logged = true;
    }
}

pub(super) fn log_session(
    local: &mut Local,
    io: &mut dyn Io,
    key: Key,
    termination: [u8; 2],
    asap: bool,
) {
    let relay = local.relays.get(key).expect("driven while alive");
    let frontend = local.config.frontend(relay.frontend);
    if frontend.log.is_empty() || frontend.log_format == LogFormat::Connect {
        return;
    }
    if frontend.dontlognull && relay.up.bytes == 0 {
        return;
    }
    let record = record(
        &local.shared,
        &local.config,
        relay,
        local.now,
        termination,
        asap,
    );
    if frontend.dontlog_normal && sink::normal(&record) {
        return;
    }
    if frontend.log_format == LogFormat::Custom {
        let http = &local.config.proxy(frontend.proxy).http;
        let format = http.log_format.clone().expect("resolved with the format");
        let level = sink::session_level(&record, frontend.log_separate_errors);
        line::write(local, io, key, &format, level, (termination, asap));
        return;
    }
    let wall = local.shared.wall_us(local.now);
    local.logs.tcplog(
        &frontend.log,
        frontend.log_tag.as_deref(),
        frontend.log_separate_errors,
        wall,
        &record,
    );
}

/// What a line tells of a session.
pub(super) fn record<'a>(
    shared: &'a Shared,
    config: &'a Config,
    relay: &'a Relay,
    now: Tick,
    termination: [u8; 2],
    asap: bool,
) -> TcpRecord<'a> {
    let frontend = config.frontend(relay.frontend);
    let ms =
        |from: Moment, to: Option<Moment>| to.map_or(-1, |to| to.tick().since(from.tick()) as i64);
    let backend_name = relay
        .backend
        .map_or(&frontend.name, |b| &config.backend(b).name);
    let server_name = match relay.last_server {
        Some(id) => config.server(id).name.as_str(),
        None => NO_SERVER,
    };
    let unix = Peer::Unix {
        bind: config.bind(relay.bind).luid,
    };
    // At the end of a session its backend and server are left already, its frontend is not (as haproxy counts).
    let left = u32::from(!asap);
    TcpRecord {
        client: relay.peer.map_or(unix, Peer::Ip),
        accepted_us: shared.wall_us(relay.accepted.tick()),
        frontend: &frontend.name,
        backend: backend_name,
        server: server_name,
        queue_ms: ms(relay.accepted, relay.dequeued),
        connect_ms: relay
            .dequeued
            .map_or(-1, |since| ms(since, relay.connected)),
        total_ms: now.since(relay.accepted.tick()) as i64,
        bytes: relay.down.bytes,
        asap,
        termination,
        process_connections: shared.process.connections.load(Relaxed),
        frontend_connections: shared.frontend(relay.frontend).connections.load(Relaxed),
        backend_connections: relay.backend.map_or(0, |b| {
            let all = shared.sum(|s| &s.backends[b.index()].current) as u32;
            all.saturating_sub(u32::from(relay.counted) * left)
        }),
        server_connections: relay.last_server.map_or(0, |id| {
            let own = left * u32::from(relay.server.is_some());
            shared.server_connections(id).saturating_sub(own)
        }),
        retries: relay.retries,
        redispatched: relay.redispatched,
        server_queue: relay.queue_position.server,
        backend_queue: relay.queue_position.backend,
    }
}
