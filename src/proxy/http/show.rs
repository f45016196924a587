//! A session in a row of `show sess`: only while it has a request, as haproxy lists streams; and how old it is.

use super::{Session, Stage};
use crate::base::slots::Key;
use crate::base::tick::Tick;
use crate::config::ServerId;
use crate::io::engine::Io;
use crate::proxy::local::Local;
use crate::shared::survey::{Row, SessionId, Side};

/// When the client was accepted; with a server, which, and since when the request is there. `None`: it is gone.
pub fn ages(local: &Local, key: Key) -> Option<(Tick, Option<(ServerId, Tick)>)> {
    let place = local.sessions.get(key)?;
    let s: &Session = &*place.try_borrow().ok()?;
    let began = s.txn.as_ref().map_or(s.accepted, |txn| txn.began.tick());
    Some((s.accepted, s.server.map(|server| (server, began))))
}

/// `None`: it is gone, or between two requests.
pub fn row(local: &Local, io: &mut dyn Io, key: Key) -> Option<Row> {
    let place = local.sessions.get(key)?;
    let s: &Session = &*place.try_borrow().ok()?;
    let txn = s.txn.as_ref()?;
    let side = match s.stage {
        Stage::Header | Stage::Idle | Stage::Linger => return None,
        Stage::Request if !txn.any => return None,
        Stage::Queue => Side::Queued,
        Stage::Connect | Stage::Borrow => Side::Connecting,
        Stage::Retry => Side::Pause,
        Stage::Exchange | Stage::Answer if s.server_sock.is_some() => Side::Established,
        Stage::Exchange => Side::Closed,
        _ => Side::None,
    };
    let id = SessionId {
        shard: local.shard,
        http: true,
        key,
    };
    let server_ends = match s.server_sock {
        Some(sock) => (io.local_address(sock), io.peer_address(sock)),
        None => (None, None),
    };
    Some(Row {
        id: id.pack(),
        number: txn.number,
        stage: s.stage.name(),
        bind: s.bind,
        frontend: s.frontend,
        backend: s.backend,
        server: s.server,
        client: s.src.or_else(|| io.peer_address(s.client)),
        local: s.dst.or_else(|| io.local_address(s.client)),
        server_ends,
        began: txn.began.tick(),
        age_ms: local.now.since(txn.began.tick()),
        left_ms: s.timer.map(|(_, at)| at.since(local.now)),
        side,
        client_fd: io.descriptor(s.client),
        server_fd: s.server_sock.map_or(-1, |sock| io.descriptor(sock)),
        retries: txn.retries,
        bytes_in: txn.client_in(),
        bytes_out: txn.client_out(),
    })
}
