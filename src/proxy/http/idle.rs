//! Server connections between requests: kept by their session (`http-reuse never`, private ones) or parked
//! in the shard's pool for whoever may use them.

use super::*;
use crate::config::http::Reuse;

/// A parked connection.
#[derive(Debug)]
pub struct Parked {
    sock: SockKey,
    server: ServerId,
    link: Link,
    since: Tick,
}

impl Session {
    /// Keeps or parks the server's connection. `false`: it is not worth it.
    pub(super) fn park(&mut self, local: &mut Local, io: &mut dyn Io, sock: SockKey) -> bool {
        let Some(server) = self.server else {
            return false;
        };
        let spec = local.config.server(server);
        let reuse = self.back(local).map_or(Reuse::Never, |b| b.reuse);
        if spec.max_reuse.is_some_and(|most| self.link.uses > most) {
            return false;
        }
        // A server that goes away, or a stop, ends its idle connections.
        if local.shared.phase() == crate::shared::Phase::SoftStop {
            return false;
        }
        self.read_server(io);
        if reuse == Reuse::Never || self.link.private {
            if let Some((_, old, _)) = self.kept.replace((server, sock, self.link)) {
                io.push(Op::Close {
                    sock: old,
                    reset: false,
                });
            }
            return true;
        }
        let idle = &local.idle_of[server.index()];
        if spec
            .pool_max
            .is_some_and(|most| idle.len() >= most as usize)
        {
            return false;
        }
        let parked = Parked {
            sock,
            server,
            link: self.link,
            since: local.now,
        };
        let Ok(key) = local.idle.insert(parked) else {
            return false;
        };
        local.idle_of[server.index()].push(key);
        local.cells().servers[server.index()].idle.inc();
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
        let reuse = self.back(local).map_or(Reuse::Never, |b| b.reuse);
        let first = self.requests <= 1;
        let identity = t.socket.identity();
        let may = |link: &Link| {
            link.identity == identity
                && match reuse {
                    Reuse::Never => false,
                    // The first request of a client cannot be sent again by it: only a proven connection will do.
                    Reuse::Safe => !first,
                    Reuse::Aggressive => !first || link.uses > 1,
                    Reuse::Always => true,
                }
        };
        let idle = &mut local.idle_of[server.index()];
        // The youngest first: its memory is warm, and the oldest may be purged.
        let found = idle.iter().rposition(|key| {
            let parked = local.idle.get(*key);
            parked.is_some_and(|p| may(&p.link))
        });
        let Some(at) = found else { return false };
        let key = idle.remove(at);
        let parked = local.idle.remove(key).expect("listed for its server");
        local.cells().servers[server.index()].idle.sub(1);
        io.set_owner(parked.sock, Owner::Http(self.key).pack());
        self.use_link(t, local, io, parked.sock, parked.link);
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
    // In this very turn a request took it: what happened is that session's to know.
    if let Some(Owner::Http(now)) = io.owner(done.sock).map(Owner::unpack) {
        on_done(local, io, now, done);
        return;
    }
    drop_payload(io, done.what);
    if let Some(parked) = local.idle.remove(key) {
        local.idle_of[parked.server.index()].retain(|k| *k != key);
        local.cells().servers[parked.server.index()].idle.sub(1);
        io.push(Op::Close {
            sock: parked.sock,
            reset: false,
        });
    }
}

/// Once a second: ends what was idle for longer than `pool-purge-delay`, half of it at a time.
pub fn purge(local: &mut Local, io: &mut dyn Io) {
    let stopping = local.shared.phase() == crate::shared::Phase::SoftStop;
    for server in 0..local.idle_of.len() {
        if local.idle_of[server].is_empty() {
            continue;
        }
        let spec = &local.config.servers[server];
        let usable =
            crate::backend::server::is_usable(local.shared.server(ServerId(server as u32)));
        let old = |parked: &Parked| local.now.since(parked.since) >= u64::from(spec.pool_purge_ms);
        let list = &local.idle_of[server];
        let idle = list
            .iter()
            .filter(|k| local.idle.get(**k).is_some_and(old))
            .count();
        let ends = if stopping || !usable {
            list.len()
        } else {
            idle.div_ceil(2)
                .min(list.len().saturating_sub(spec.pool_low as usize))
        };
        // The oldest stand first.
        let gone: Vec<Key> = local.idle_of[server].drain(..ends).collect();
        local.cells().servers[server].idle.sub(gone.len() as u64);
        for key in gone {
            let parked = local.idle.remove(key).expect("listed for its server");
            io.push(Op::Close {
                sock: parked.sock,
                reset: false,
            });
        }
    }
}
