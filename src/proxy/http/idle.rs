//! Server connections between requests: kept by their session (`http-reuse never`, private ones) or parked
//! in the shard's pool for whoever may use them.

use super::*;
use crate::backend::pool::{Identity, Idle, Wish, lender};
use crate::config::http::Reuse;
use crate::shared::Message;

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
            let alike = of == server && link.identity == self.identity(t, local);
            if alike && io.is_quiet(sock, local.now <= local.lull_over) {
                self.use_link(t, local, io, sock, link);
                return true;
            }
            io.push(Op::Close { sock, reset: false });
        }
        let wish = Wish {
            server,
            identity: Identity(self.identity(t, local)),
            reuse: self.back(local).map_or(Reuse::Never, |b| b.reuse),
            first: self.requests <= 1,
        };
        // Bytes that nobody asked for would be taken for the answer to this request. Those that came before the last
        // look at all connections are known to the engine, so only after a lull is the kernel asked too.
        let idle = loop {
            match local.pool.take(&local.shared, &wish) {
                Some(idle) if io.is_quiet(idle.conn, local.now <= local.lull_over) => break idle,
                Some(idle) => io.push(Op::Close {
                    sock: idle.conn,
                    reset: false,
                }),
                None => return false,
            }
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

    /// Asks the shard that has most idle connections to `server` for one. `false`: nobody has any.
    pub(super) fn borrow(&mut self, t: &Txn, local: &Local, server: ServerId) -> bool {
        let reuse = self.back(local).map_or(Reuse::Never, |b| b.reuse);
        let first = self.requests <= 1;
        if reuse == Reuse::Never || reuse == Reuse::Safe && first {
            return false;
        }
        let Some(from) = lender(&local.shared, server, local.shard) else {
            return false;
        };
        let message = Message::Borrow {
            server,
            identity: self.identity(t, local),
            first,
            to: local.shard,
            session: self.key,
        };
        if local.shared.send(from, message).is_err() {
            return false;
        }
        self.enter(Stage::Borrow, local.now);
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
        if let Some(server) = self.server {
            self.note_ends(t, local, io, server);
        }
        t.connected = Some(local.moment);
        self.count_reached(t, local);
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

/// Shard `to` asks for an idle connection (server, identity, whether for a client's first request).
pub fn on_borrow(
    local: &mut Local,
    io: &mut dyn Io,
    (server, identity, first): (ServerId, u64, bool),
    to: usize,
    session: Key,
) {
    let backend = local.config.server(server).backend;
    let proxy = local.config.backend(backend).proxy;
    let wish = Wish {
        server,
        identity: Identity(identity),
        reuse: local.config.proxy(proxy).http.reuse,
        first,
    };
    let lent = local.pool.take(&local.shared, &wish);
    let (fd, uses) = lent.map_or((None, 0), |idle| {
        let fd = io.detach(idle.conn);
        if fd.is_none() {
            // Its peer has just said something: it is of no use to anybody.
            io.push(Op::Close {
                sock: idle.conn,
                reset: false,
            });
        }
        (fd, idle.uses)
    });
    let message = Message::Lent {
        session,
        server,
        fd: fd.unwrap_or(-1),
        identity,
        uses,
    };
    // A full mailbox: the session connects by itself when its wait is over.
    if let (Err(_), Some(fd)) = (local.shared.send(to, message), fd) {
        io.drop_fd(fd);
    }
}

/// The answer to [`Session::borrow`]; whoever no longer waits for it leaves the connection to the pool.
pub fn on_lent(
    local: &mut Local,
    io: &mut dyn Io,
    session: Key,
    server: ServerId,
    fd: i32,
    (identity, uses): (u64, u32),
) {
    let place = local.sessions.get(session).map(Rc::clone);
    let waits = |place: &Place| {
        let s = place.borrow();
        s.stage == Stage::Borrow && s.server == Some(server)
    };
    let sock = if fd < 0 {
        None
    } else {
        io.adopt(fd, Owner::Http(session).pack())
            .map_err(|fd| io.drop_fd(fd))
            .ok()
    };
    if let Some(sock) = sock {
        io.push(Op::Recv { sock });
    }
    if let Some(place) = place.filter(waits) {
        let mut s = place.borrow_mut();
        s.run(local, io, |s, t, local, io| match sock {
            Some(sock) => {
                let link = Link {
                    uses,
                    identity,
                    ..Link::default()
                };
                s.use_link(t, local, io, sock, link);
            }
            None => s.reconnect(t, local, io),
        });
        return;
    }
    let Some(sock) = sock else { return };
    let (shared, now) = (&local.shared, local.now);
    match local
        .pool
        .give(shared, server, Identity(identity), uses, sock, now)
    {
        Ok(key) => io.set_owner(sock, Owner::Idle(key).pack()),
        Err(sock) => io.push(Op::Close { sock, reset: false }),
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

/// Ends idle connections to servers that are gone.
pub fn close_idle(local: &mut Local, io: &mut dyn Io, gone: &[ServerId]) {
    let close = |idle: Idle<SockKey>| {
        io.push(Op::Close {
            sock: idle.conn,
            reset: false,
        });
    };
    local
        .pool
        .drain(&local.shared, |id| gone.contains(&id), close);
}

/// Forgets servers that are gone where they are but a wish, and notes those that a session still names.
pub fn name_gone(local: &mut Local, io: &mut dyn Io, gone: &[ServerId], held: &mut Vec<ServerId>) {
    for key in local.sessions.keys() {
        let Some(place) = local.sessions.get(key).map(Rc::clone) else {
            continue;
        };
        let mut s = place.borrow_mut();
        if let Some((_, sock, _)) = s.kept.take_if(|(of, ..)| gone.contains(of)) {
            io.push(Op::Close { sock, reset: false });
        }
        s.last_server.take_if(|last| gone.contains(last));
        held.extend(s.server);
        held.extend(s.ticket.and_then(|ticket| ticket.server()));
        let busy = !matches!(s.stage, Stage::Header | Stage::Idle | Stage::Linger);
        if let Some(t) = s.txn.as_ref().filter(|_| busy) {
            held.extend(t.last_server);
            held.extend(t.found.server);
            held.extend(t.found.asked.server);
        }
        held.retain(|id| gone.contains(id));
    }
    held.sort_unstable();
    held.dedup();
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
