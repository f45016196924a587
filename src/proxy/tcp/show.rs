//! A session in a row of `show sess`, and how old it is.

use super::{Relay, Stage};
use crate::base::slots::Key;
use crate::base::tick::Tick;
use crate::config::ServerId;
use crate::io::engine::Io;
use crate::proxy::local::Local;
use crate::shared::survey::{Row, SessionId, Side};

/// When the client was accepted, and with which server it is since. `None`: it is gone.
pub fn ages(local: &Local, key: Key) -> Option<(Tick, Option<(ServerId, Tick)>)> {
    let relay: &Relay = local.relays.get(key)?;
    let with = relay.server.map(|server| (server, relay.accepted.tick()));
    Some((relay.accepted.tick(), with))
}

/// `None`: it is gone.
pub fn row(local: &Local, io: &mut dyn Io, key: Key) -> Option<Row> {
    let relay: &Relay = local.relays.get(key)?;
    let side = match relay.stage {
        Stage::Header | Stage::Inspect => Side::None,
        Stage::Queue => Side::Queued,
        Stage::Connect => Side::Connecting,
        Stage::Pause => Side::Pause,
        Stage::Relay if relay.server_sock.is_none() => Side::Closed,
        Stage::Relay => Side::Established,
    };
    let id = SessionId {
        shard: local.shard,
        http: false,
        key,
    };
    let server_ends = match relay.server_sock {
        Some(sock) => (io.local_address(sock), io.peer_address(sock)),
        None => (None, None),
    };
    Some(Row {
        id: id.pack(),
        number: relay.number,
        stage: super::stage_name(local, key),
        bind: relay.bind,
        frontend: relay.frontend,
        backend: relay.backend,
        server: relay.server,
        client: relay.peer.or_else(|| io.peer_address(relay.client)),
        local: relay.local.or_else(|| io.local_address(relay.client)),
        server_ends,
        began: relay.accepted.tick(),
        age_ms: local.now.since(relay.accepted.tick()),
        left_ms: relay.timer.map(|(_, at)| at.since(local.now)),
        side,
        client_fd: io.descriptor(relay.client),
        server_fd: relay.server_sock.map_or(-1, |sock| io.descriptor(sock)),
        retries: relay.retries,
        bytes_in: relay.up.bytes,
        bytes_out: relay.down.bytes,
    })
}
