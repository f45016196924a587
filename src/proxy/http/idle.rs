//! Server connections between requests: kept by their session (`http-reuse never`, private ones) or parked
//! in the shard's pool for whoever may use them.

use super::*;
use crate::backend::pool::{Identity, Idle, Wish};
use crate::config::http::Reuse;

impl Session {
    /// Keeps or parks the server's connection. `false`: it is not worth it.
    pub(super) fn park(&mut self, local: &mut Local, io: &mut dyn Io, sock: SockKey) -> bool {
        let Some(server) = self.server else {
            return false;
        };
        // A stop ends idle connections.
        if local.shared.phase() == crate::shared::Phase::SoftStop {
            return false;
        }
        let reuse = self.back(local).map_or(Reuse::Never, |b| b.reuse);
        let (identity, uses) = (Identity(self.link.identity), self.link.uses);
        if reuse == Reuse::Never || self.link.private {
            let most = local.config.server(server).max_reuse;
            if most.is_some_and(|most| uses > most) {
                return false;
            }
            self.read_server(io);
            if let Some((_, old, _)) = self.kept.replace((server, sock, self.link)) {
                io.push(Op::Close {
                    sock: old,
                    reset: false,
                });
            }
            return true;
        }
        let (shared, now) = (&local.shared, local.now);
        let Ok(key) = local.pool.give(shared, server, identity, uses, sock, now) else {
            return false;
        };
        self.read_server(io);
        io.set_owner(sock, Owner::Idle(key).pack());
        true
    }

    /// Sends the request over a kept or parked connection to `server`, if there is one it may use.
    pub(super) fn take_idle(
        &mut self,
        t: &mut Txn,
        local: &mut Local,
        io: &mut dyn Io,
        server: ServerId,
    ) -> bool {
        if let Some((of, sock, link)) = self.kept.take() {
            if of == server && link.identity == t.socket.identity() {
                self.use_link(t, local, io, sock, link);
                return true;
            }
            io.push(Op::Close { sock, reset: false });
        }
        let wish = Wish {
            server,
            identity: Identity(t.socket.identity()),
            reuse: self.back(local).map_or(Reuse::Never, |b| b.reuse),
            first: self.requests <= 1,
        };
        let Some(idle) = local.pool.take(&local.shared, &wish) else {
            return false;
        };
        io.set_owner(idle.conn, Owner::Http(self.key).pack());
        let link = Link {
            uses: idle.uses,
            identity: idle.identity.0,
            ..Link::default()
        };
        self.use_link(t, local, io, idle.conn, link);
        true
    }

    fn use_link(
        &mut self,
        t: &mut Txn,
        local: &mut Local,
        io: &mut dyn Io,
        sock: SockKey,
        link: Link,
    ) {
        self.server_sock = Some(sock);
        // An idle connection is watched for its end by a receive that goes on.
        self.server_reading = true;
        self.link = Link {
            reused: true,
            ..link
        };
        let cells = local.cells();
        if let Some(server) = self.server {
            cells.servers[server.index()].reuses.inc();
        }
        if let Some(backend) = self.backend {
            cells.backends[backend.index()].reuses.inc();
        }
        t.connected = Some(local.now);
        (self.server_rx, self.server_tx) = (local.now, local.now);
        self.send_request(t, local, io, b"");
    }

    /// Something happened on the kept connection: it is of no use any more.
    pub(super) fn kept_ended(&mut self, io: &mut dyn Io, sock: SockKey) -> bool {
        if self.kept.is_some_and(|(_, kept, _)| kept == sock) {
            self.kept = None;
            io.push(Op::Close { sock, reset: false });
            return true;
        }
        false
    }
}

/// Something happened on a parked connection: nobody asked anything, so it ends.
pub fn on_idle_done(local: &mut Local, io: &mut dyn Io, key: Key, done: Done) {
    drop_payload(io, done.what);
    if let Some(idle) = local.pool.lose(&local.shared, key) {
        io.push(Op::Close {
            sock: idle.conn,
            reset: false,
        });
    }
}

/// Once a second: ends what nobody needed of late, and what leads to servers that are gone.
pub fn purge(local: &mut Local, io: &mut dyn Io) {
    let stopping = local.shared.phase() == crate::shared::Phase::SoftStop;
    let mut close = |idle: Idle<SockKey>| {
        io.push(Op::Close {
            sock: idle.conn,
            reset: false,
        });
    };
    local.pool.purge(&local.shared, local.now, &mut close);
    local.pool.drain(&local.shared, |_| stopping, close);
}

/// The shard ends: so do its idle connections.
pub fn close_all(local: &mut Local, io: &mut dyn Io) {
    let close = |idle: Idle<SockKey>| {
        io.push(Op::Close {
            sock: idle.conn,
            reset: false,
        });
    };
    local.pool.drain(&local.shared, |_| true, close);
}
