//! Idle connections to servers, those of one shard: who may have them again, how many are kept and for how
//! long (configuration.txt 4.2 `http-reuse`, 5.2 `pool-max-conn`, `pool-purge-delay`, `max-reuse`).
//!
//! What a connection is, is the caller's business: `C` stands for it. Private ones (authenticated as a
//! connection, `http-reuse never`) are kept by their sessions and never come here. How many are idle is in
//! the counters of the shard, so that others can tell where to borrow one.

use std::sync::atomic::Ordering::Relaxed;

use crate::base::slots::{Key, Slots};
use crate::base::tick::Tick;
use crate::config::ServerId;
use crate::config::http::Reuse;
use crate::shared::Shared;

/// What makes two connections to one server unlike: source address, mark, PROXY header… hashed by whoever
/// connects. Equal connections may take each other's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Identity(pub u64);

/// An idle connection.
#[derive(Debug)]
pub struct Idle<C> {
    pub conn: C,
    pub server: ServerId,
    pub identity: Identity,
    /// Requests it has carried, at least 1.
    pub uses: u32,
    pub since: Tick,
}

/// Who asks for a connection.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    pub server: ServerId,
    pub identity: Identity,
    pub reuse: Reuse,
    /// The first request of its client's connection: a client sends others again by itself if the
    /// server's connection turns out to be dead, this one it does not.
    pub first: bool,
}

/// The idle connections of one shard.
#[derive(Debug)]
pub struct Pool<C> {
    shard: usize,
    slots: Slots<Idle<C>>,
    /// By server, the one idle for the longest first.
    lanes: Vec<Lane>,
}

#[derive(Debug, Default)]
struct Lane {
    idle: Vec<Key>,
    /// Most streams at once since the last purge, and what that says of the time to come.
    used: u32,
    needed: u32,
    /// When connections are purged next; [`Tick::NEVER`] where none is idle.
    purge: Tick,
}

impl Lane {
    fn new() -> Self {
        Self {
            purge: Tick::NEVER,
            ..Self::default()
        }
    }
}

impl<C> Pool<C> {
    /// An empty pool of at most `limit` connections.
    pub fn new(shared: &Shared, shard: usize, limit: usize) -> Self {
        Self {
            shard,
            slots: Slots::new(limit),
            lanes: shared.servers.iter().map(|_| Lane::new()).collect(),
        }
    }

    /// There are more servers now, or fewer: to those that are gone no connection is kept.
    pub fn follow(&mut self, shared: &Shared) {
        self.lanes.resize_with(shared.servers.len(), Lane::new);
    }

    /// Idle connections here.
    pub fn len(&self) -> usize {
        self.slots.len()
    }
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
    /// Idle connections to a server, here.
    pub fn idle(&self, server: ServerId) -> usize {
        self.lanes[server.index()].idle.len()
    }
    pub fn get(&self, key: Key) -> Option<&Idle<C>> {
        self.slots.get(key)
    }

    /// Keeps a connection whose response is complete. `Err` gives it back, to be closed: it has carried as many
    /// requests as `max-reuse` allows, as many as `pool-max-conn` are idle over all shards, nothing is kept
    /// (`pool-purge-delay 0`), its server is gone, or the pool is full.
    pub fn give(
        &mut self,
        shared: &Shared,
        server: ServerId,
        identity: Identity,
        uses: u32,
        conn: C,
        now: Tick,
    ) -> Result<Key, C> {
        let spec = shared.config.server(server);
        let worn = spec.max_reuse.is_some_and(|most| uses > most);
        let full = spec
            .pool_max
            .is_some_and(|most| idle_everywhere(shared, server) >= u64::from(most));
        let gone = !super::server::serves_queue(shared.server(server));
        self.note_use(shared, server);
        let lane = &self.lanes[server.index()];
        // As haproxy does: no more than there were streams at once of late, however many come and go.
        let needed = lane.used.max(lane.needed).max(1) as usize;
        let enough = lane.idle.len() >= needed;
        if worn || full || gone || enough || spec.pool_purge_ms == 0 {
            return Err(conn);
        }
        let idle = Idle {
            conn,
            server,
            identity,
            uses,
            since: now,
        };
        let key = self.slots.insert(idle).map_err(|idle| idle.conn)?;
        let lane = &mut self.lanes[server.index()];
        if lane.idle.is_empty() {
            lane.purge = now + u64::from(spec.pool_purge_ms);
        }
        lane.idle.push(key);
        self.count(shared, server).inc();
        Ok(key)
    }

    /// A connection for a request, the one idle for the shortest time first: its memory is warm, and the others may be
    /// purged. A proven one, used at least twice, is as good as any under `safe` and `always`.
    pub fn take(&mut self, shared: &Shared, wish: &Wish) -> Option<Idle<C>> {
        self.note_use(shared, wish.server);
        let may = |idle: &Idle<C>| {
            let allowed = match wish.reuse {
                Reuse::Never => false,
                Reuse::Safe => !wish.first,
                Reuse::Aggressive => !wish.first || idle.uses > 1,
                Reuse::Always => true,
            };
            allowed && idle.identity == wish.identity
        };
        let (slots, lane) = (&self.slots, &self.lanes[wish.server.index()]);
        let at = lane
            .idle
            .iter()
            .rposition(|&key| slots.get(key).is_some_and(may))?;
        let key = self.lanes[wish.server.index()].idle.remove(at);
        Some(self.let_go(shared, key))
    }

    /// Something happened on an idle connection: it is of no use any more.
    pub fn lose(&mut self, shared: &Shared, key: Key) -> Option<Idle<C>> {
        let server = self.slots.get(key)?.server;
        self.lanes[server.index()].idle.retain(|&k| k != key);
        Some(self.let_go(shared, key))
    }

    /// When [`Self::purge`] has something to do next.
    pub fn next_purge(&self) -> Tick {
        let times = self.lanes.iter().map(|lane| lane.purge);
        times.min().unwrap_or(Tick::NEVER)
    }

    /// Gives up, each `pool-purge-delay`, half of the connections beyond what was needed of late, oldest first;
    /// the need is halved each time nothing uses them.
    pub fn purge(&mut self, shared: &Shared, now: Tick, mut close: impl FnMut(Idle<C>)) {
        for at in 0..self.lanes.len() {
            if self.lanes[at].purge > now {
                continue;
            }
            let server = ServerId(u32::try_from(at).expect("servers are counted in 32 bits"));
            self.note_use(shared, server);
            let lane = &mut self.lanes[at];
            lane.needed = lane.used.max(lane.needed / 2);
            lane.used = 0;
            let beyond = lane.idle.len().saturating_sub(lane.needed as usize);
            let gone: Vec<Key> = lane.idle.drain(..beyond.div_ceil(2)).collect();
            let delay = u64::from(shared.config.server(server).pool_purge_ms);
            lane.purge = if lane.idle.is_empty() {
                Tick::NEVER
            } else {
                now + delay
            };
            for key in gone {
                close(self.let_go(shared, key));
            }
        }
    }

    /// Gives up all connections to servers that are down, in maintenance, or for which `all` holds.
    pub fn drain(
        &mut self,
        shared: &Shared,
        all: impl Fn(ServerId) -> bool,
        mut close: impl FnMut(Idle<C>),
    ) {
        for at in 0..self.lanes.len() {
            let server = ServerId(u32::try_from(at).expect("servers are counted in 32 bits"));
            let lane = &mut self.lanes[at];
            if lane.idle.is_empty()
                || super::server::serves_queue(shared.server(server)) && !all(server)
            {
                continue;
            }
            lane.purge = Tick::NEVER;
            for key in std::mem::take(&mut lane.idle) {
                close(self.let_go(shared, key));
            }
        }
    }

    fn let_go(&mut self, shared: &Shared, key: Key) -> Idle<C> {
        let idle = self.slots.remove(key).expect("listed for its server");
        self.count(shared, idle.server).sub(1);
        idle
    }

    fn note_use(&mut self, shared: &Shared, server: ServerId) {
        let open = shared.shards[self.shard].server_row[server.index()].load(Relaxed);
        let lane = &mut self.lanes[server.index()];
        lane.used = lane.used.max(open);
    }

    fn count<'s>(&self, shared: &'s Shared, server: ServerId) -> &'s crate::shared::Counter {
        &shared.shards[self.shard].servers[server.index()].idle
    }
}

/// Idle connections to a server over all shards.
pub fn idle_everywhere(shared: &Shared, server: ServerId) -> u64 {
    shared.sum(|s| &s.servers[server.index()].idle)
}

/// The shard to borrow an idle connection from: the one that has most, and more than `pool-low-conn`.
pub fn lender(shared: &Shared, server: ServerId, shard: usize) -> Option<usize> {
    let low = u64::from(shared.config.server(server).pool_low);
    let idle = |at: usize| shared.shards[at].servers[server.index()].idle.get();
    (0..shared.shards.len())
        .filter(|&at| at != shard && idle(at) > low)
        .max_by_key(|&at| idle(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::fixture::{backend, shared, weighted};
    use crate::config::{Balance, Server};
    use crate::shared::server_cell::OpState;

    const S: ServerId = ServerId(0);
    const ME: Identity = Identity(1);

    /// Four streams at once, so that as many connections are worth keeping.
    fn busy(shared: &Shared) {
        shared.shards[0].server_row[0].store(4, Relaxed);
    }

    fn world(change: impl Fn(&mut Server), shards: usize) -> (Shared, Vec<Pool<u32>>) {
        let mut servers = weighted(&[1, 1]);
        servers.iter_mut().for_each(change);
        let shared = shared(vec![(backend("b", Balance::RoundRobin), servers)], shards);
        let pools = (0..shards).map(|i| Pool::new(&shared, i, 100)).collect();
        (shared, pools)
    }
    fn wish(reuse: Reuse, first: bool) -> Wish {
        Wish {
            server: S,
            identity: ME,
            reuse,
            first,
        }
    }

    #[test]
    fn no_more_are_kept_than_there_were_streams_at_once() {
        let (shared, mut pools) = world(|_| {}, 1);
        assert!(pools[0].give(&shared, S, ME, 1, 1, Tick(0)).is_ok());
        assert_eq!(pools[0].give(&shared, S, ME, 1, 2, Tick(0)), Err(2));
        busy(&shared);
        for conn in 3..6 {
            assert!(pools[0].give(&shared, S, ME, 1, conn, Tick(0)).is_ok());
        }
        assert_eq!(pools[0].give(&shared, S, ME, 1, 6, Tick(0)), Err(6));
    }

    #[test]
    fn the_youngest_connection_of_the_same_kind_is_used_again() {
        let (shared, mut pools) = world(|_| {}, 1);
        busy(&shared);
        let pool = &mut pools[0];
        for (conn, identity) in [(1, ME), (2, ME), (3, Identity(2))] {
            pool.give(&shared, S, identity, 1, conn, Tick(0)).unwrap();
        }
        assert_eq!(idle_everywhere(&shared, S), 3);
        let mut take = |server| {
            let wish = Wish {
                server,
                ..wish(Reuse::Safe, false)
            };
            pool.take(&shared, &wish).map(|idle| idle.conn)
        };
        assert_eq!(take(ServerId(1)), None);
        assert_eq!([take(S), take(S), take(S)], [Some(2), Some(1), None]);
        assert_eq!((pool.len(), idle_everywhere(&shared, S)), (1, 1));
    }

    #[test]
    fn first_requests_go_over_connections_as_http_reuse_allows() {
        for (reuse, first, fresh, proven) in [
            (Reuse::Never, false, false, false),
            (Reuse::Safe, true, false, false),
            (Reuse::Safe, false, true, true),
            (Reuse::Aggressive, true, false, true),
            (Reuse::Aggressive, false, true, true),
            (Reuse::Always, true, true, true),
        ] {
            for (uses, expected) in [(1, fresh), (2, proven)] {
                let (shared, mut pools) = world(|_| {}, 1);
                pools[0].give(&shared, S, ME, uses, 7, Tick(0)).unwrap();
                let got = pools[0].take(&shared, &wish(reuse, first));
                assert_eq!(
                    got.is_some(),
                    expected,
                    "{reuse:?} first {first} uses {uses}"
                );
            }
        }
    }

    #[test]
    fn limits_are_kept_over_all_shards() {
        let (shared, mut pools) = world(|s| (s.pool_max, s.max_reuse) = (Some(2), Some(3)), 2);
        assert!(pools[0].give(&shared, S, ME, 1, 1, Tick(0)).is_ok());
        assert!(pools[1].give(&shared, S, ME, 1, 2, Tick(0)).is_ok());
        assert_eq!(pools[1].give(&shared, S, ME, 1, 3, Tick(0)), Err(3));
        assert!(
            pools[1]
                .give(&shared, ServerId(1), ME, 3, 4, Tick(0))
                .is_ok()
        );
        assert_eq!(
            pools[1].give(&shared, ServerId(1), ME, 4, 5, Tick(0)),
            Err(5),
            "worn"
        );
        let (shared, mut pools) = world(|s| s.pool_purge_ms = 0, 1);
        assert_eq!(pools[0].give(&shared, S, ME, 1, 1, Tick(0)), Err(1));
        let (shared, mut pools) = world(|s| s.pool_max = Some(0), 1);
        assert_eq!(pools[0].give(&shared, S, ME, 1, 1, Tick(0)), Err(1));
    }

    #[test]
    fn half_of_what_is_not_needed_goes_each_purge_delay_and_what_is_used_stays() {
        let (shared, mut pools) = world(|s| s.pool_purge_ms = 1000, 1);
        let pool = &mut pools[0];
        let row = &shared.shards[0].server_row[0];
        row.store(10, Relaxed);
        for conn in 0..10 {
            pool.give(&shared, S, ME, 1, conn, Tick(0)).unwrap();
        }
        row.store(0, Relaxed);
        assert_eq!(pool.next_purge(), Tick(1000));
        let mut left = Vec::new();
        let mut closed = Vec::new();
        for second in 1..=8 {
            pool.purge(&shared, Tick(1000 * second - 1), |_| panic!("too early"));
            pool.purge(&shared, Tick(1000 * second), |idle| closed.push(idle.conn));
            left.push(pool.idle(S));
        }
        assert_eq!(left, [10, 7, 4, 2, 1, 0, 0, 0]);
        assert_eq!(closed, (0..10).collect::<Vec<_>>(), "oldest first");
        assert_eq!(
            (pool.next_purge(), idle_everywhere(&shared, S)),
            (Tick::NEVER, 0)
        );
    }

    #[test]
    fn connections_end_with_their_server_or_by_themselves() {
        let (shared, mut pools) = world(|_| {}, 2);
        busy(&shared);
        let key = pools[0].give(&shared, S, ME, 1, 1, Tick(0)).unwrap();
        pools[0].give(&shared, S, ME, 1, 2, Tick(0)).unwrap();
        pools[0]
            .give(&shared, ServerId(1), ME, 1, 3, Tick(0))
            .unwrap();
        assert_eq!(lender(&shared, S, 1), Some(0));
        assert_eq!(lender(&shared, S, 0), None);
        assert_eq!(pools[0].lose(&shared, key).map(|i| i.conn), Some(1));
        assert!(pools[0].lose(&shared, key).is_none());
        shared.server(S).set_op(OpState::Stopped);
        assert_eq!(pools[0].give(&shared, S, ME, 1, 4, Tick(0)), Err(4));
        let mut closed = Vec::new();
        pools[0].drain(&shared, |_| false, |idle| closed.push(idle.conn));
        assert_eq!(closed, [2]);
        pools[0].drain(&shared, |_| true, |idle| closed.push(idle.conn));
        assert_eq!((closed, pools[0].is_empty()), (vec![2, 3], true));
    }
}
