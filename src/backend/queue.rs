//! Streams that wait for a place: in their own shard, in order of arrival over all shards.
//!
//! A ticket is a number of the backend's counter, one counter for its own queue and those of its
//! servers, so that any two waiting streams have an order. Each shard publishes the oldest ticket it
//! holds in each queue; only the holder of the oldest over all shards takes a place. Messages are
//! hints. What makes them needless for correctness:
//!
//! - A joining shard publishes a lower bound of its ticket *before* it draws it. So whoever sees no
//!   older ticket than its own knows that none exists.
//! - Joining and serving publish first and then look for places; releasing gives the place first and
//!   then looks for tickets. All of these accesses are sequentially consistent, so one of the two sees
//!   the other (Dekker), and a shard with waiters serves once a turn before it sleeps.
//! - Who leaves or is admitted passes the hint on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::*};

use super::pick::BackendView;
use super::server;
use crate::base::tick::Tick;
use crate::config::{BackendId, ServerId};
use crate::shared::state::NO_TICKET;
use crate::shared::{Message, Shared};

/// What a stream waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// Any server of this backend.
    Backend(BackendId),
    /// This server and no other.
    Server(ServerId),
}

/// A place in a queue. Given up by [`WaitRoom::leave`] or used up by [`WaitRoom::serve`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    queue: Queue,
    number: u64,
    ahead: u32,
    /// Streams admitted from the queue before this one joined.
    admitted: u64,
}

impl Ticket {
    /// The server that was waited for when it was drawn.
    pub fn server(&self) -> Option<ServerId> {
        match self.queue {
            Queue::Server(id) => Some(id),
            Queue::Backend(_) => None,
        }
    }

    /// Streams admitted from its queue since it joined, itself included: the log line's
    /// `srv_queue/backend_queue` (haproxy counts from 1, and not those who gave up). To be read while
    /// the ticket is held, or while it is admitted.
    pub fn position(&self, shared: &Shared) -> Position {
        let passed = admitted(shared, self.queue)
            .load(Relaxed)
            .saturating_sub(self.admitted);
        Position::in_queue(self.queue, u32::try_from(passed + 1).unwrap_or(u32::MAX))
    }
}

/// Position in either queue, from 1; 0 where it did not wait: `srv_queue/backend_queue` of the log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    pub server: u32,
    pub backend: u32,
}

impl Position {
    fn in_queue(queue: Queue, position: u32) -> Self {
        match queue {
            Queue::Backend(_) => Self {
                server: 0,
                backend: position,
            },
            Queue::Server(_) => Self {
                server: position,
                backend: 0,
            },
        }
    }
}

/// The waiting streams of one shard. `T` names a stream to the caller.
#[derive(Debug)]
pub struct WaitRoom<T> {
    shard: usize,
    /// Only backends that somebody waits for here.
    rooms: BTreeMap<BackendId, Room<T>>,
}

/// Those of one backend, oldest first.
#[derive(Debug)]
struct Room<T> {
    own: BTreeMap<u64, T>,
    /// Only servers that somebody waits for here.
    servers: BTreeMap<ServerId, BTreeMap<u64, T>>,
}

impl<T> Room<T> {
    fn is_empty(&self) -> bool {
        self.own.is_empty() && self.servers.is_empty()
    }
}

impl<T: Copy> WaitRoom<T> {
    pub fn new(_shared: &Shared, shard: usize) -> Self {
        Self {
            shard,
            rooms: BTreeMap::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// Streams waiting here.
    pub fn len(&self) -> usize {
        let of = |room: &Room<T>| {
            room.own.len() + room.servers.values().map(BTreeMap::len).sum::<usize>()
        };
        self.rooms.values().map(of).sum()
    }

    /// Takes the next ticket for `who`. Leaves the shard a hint to serve once more before it sleeps.
    pub fn join(&mut self, shared: &Shared, queue: Queue, who: T) -> Ticket {
        let backend = backend_of(shared, queue);
        let ahead = count_in(shared, queue);
        let cells = shared.backend(backend);
        cells.queued_total.fetch_add(1, SeqCst);
        let published = cell(shared, self.shard, queue);
        if published.load(Relaxed) == NO_TICKET {
            published.store(cells.next_ticket.load(SeqCst), SeqCst);
        }
        let number = cells.next_ticket.fetch_add(1, SeqCst);
        let room = self.rooms.entry(backend).or_insert_with(|| Room {
            own: BTreeMap::new(),
            servers: BTreeMap::new(),
        });
        let line = match queue {
            Queue::Backend(_) => &mut room.own,
            Queue::Server(id) => room.servers.entry(id).or_default(),
        };
        line.insert(number, who);
        publish(published, line);
        // A place that came free between the look for it and this ticket was nobody's: look again
        // before the shard sleeps.
        shared.hint(self.shard, Message::Place(backend));
        let admitted = admitted(shared, queue).load(Relaxed);
        Ticket {
            queue,
            number,
            ahead,
            admitted,
        }
    }

    /// Gives a ticket up: the stream's time is over, or its client has gone.
    pub fn leave(&mut self, shared: &Shared, ticket: Ticket) {
        let backend = backend_of(shared, ticket.queue);
        let found = [ticket.queue, Queue::Backend(backend)]
            .into_iter()
            .find(|&queue| self.remove(shared, backend, queue, ticket.number).is_some());
        assert!(found.is_some(), "a ticket was given up that is not held");
        // A hint may have been on its way to the one that leaves.
        hint_oldest(shared, backend, None);
        if let Queue::Server(id) = ticket.queue {
            hint_oldest(shared, backend, Some(id));
        }
    }

    /// Its position when it joined: what the log line will say unless some of those before it give up
    /// ([`Ticket::position`] knows that in the end).
    pub fn position(&self, _shared: &Shared, ticket: Ticket) -> Position {
        Position::in_queue(ticket.queue, ticket.ahead + 1)
    }

    /// Admits those of this shard who hold the oldest tickets and for whom a place is free, and hints
    /// the shard whose turn it is where that is another. `views` are this shard's, by backend.
    pub fn serve(
        &mut self,
        shared: &Shared,
        views: &mut [BackendView],
        now: Tick,
        mut admit: impl FnMut(T, ServerId),
    ) {
        let backends: Vec<BackendId> = self.rooms.keys().copied().collect();
        for backend in backends {
            let view = &mut views[backend.index()];
            assert_eq!(
                view.backend, backend,
                "views stand in the order of backends"
            );
            view.refresh(shared, now);
            self.requeue(shared, backend);
            self.serve_backend(shared, view, now, &mut admit);
            hint_free(shared, self.shard, view, now);
        }
    }

    /// Whoever waits for a server that is down or in maintenance waits for any of the backend from
    /// now on, at the age it has.
    fn requeue(&mut self, shared: &Shared, backend: BackendId) {
        let Some(room) = self.rooms.get_mut(&backend) else {
            return;
        };
        let gone: Vec<ServerId> = room
            .servers
            .keys()
            .copied()
            .filter(|&id| !server::serves_queue(shared.server(id)))
            .collect();
        for id in gone {
            let moved = room.servers.remove(&id).expect("was among the keys");
            let count = u32::try_from(moved.len()).expect("streams are counted in 32 bits");
            // Both lists stay below every ticket they hold at every moment.
            count_up(shared, Queue::Backend(backend), count);
            room.own.extend(moved);
            publish(cell(shared, self.shard, Queue::Backend(backend)), &room.own);
            cell(shared, self.shard, Queue::Server(id)).store(NO_TICKET, SeqCst);
            shared.server(id).queued.fetch_sub(count, SeqCst);
        }
    }

    fn serve_backend(
        &mut self,
        shared: &Shared,
        view: &mut BackendView,
        now: Tick,
        admit: &mut impl FnMut(T, ServerId),
    ) {
        // Heads of this shard's queues by age. Each admission puts the next of its queue in; a head
        // that finds no place ends its queue for this turn.
        let mut heads: BTreeMap<u64, Queue> = BTreeMap::new();
        if let Some(room) = self.rooms.get(&view.backend) {
            heads.extend(
                room.own
                    .keys()
                    .next()
                    .map(|&n| (n, Queue::Backend(view.backend))),
            );
            let head = |(id, line): (&ServerId, &BTreeMap<u64, T>)| {
                line.keys().next().map(|&n| (n, Queue::Server(*id)))
            };
            heads.extend(room.servers.iter().filter_map(head));
        }
        while let Some((number, queue)) = heads.pop_first() {
            let Some(id) = place_for(shared, self.shard, view, queue, number, now) else {
                continue;
            };
            let who = self
                .remove(shared, view.backend, queue, number)
                .expect("heads are in the room");
            admit(who, id);
            admitted(shared, queue).fetch_add(1, Relaxed);
            heads.extend(self.oldest_in(view.backend, queue).map(|n| (n, queue)));
        }
    }

    fn oldest_in(&self, backend: BackendId, queue: Queue) -> Option<u64> {
        let room = self.rooms.get(&backend)?;
        match queue {
            Queue::Backend(_) => room.own.keys().next().copied(),
            Queue::Server(id) => room.servers.get(&id)?.keys().next().copied(),
        }
    }

    fn remove(
        &mut self,
        shared: &Shared,
        backend: BackendId,
        queue: Queue,
        number: u64,
    ) -> Option<T> {
        let room = self.rooms.get_mut(&backend)?;
        let line = match queue {
            Queue::Backend(_) => &mut room.own,
            Queue::Server(id) => room.servers.get_mut(&id)?,
        };
        let who = line.remove(&number)?;
        publish(cell(shared, self.shard, queue), line);
        if let Queue::Server(id) = queue
            && line.is_empty()
        {
            room.servers.remove(&id);
        }
        if room.is_empty() {
            self.rooms.remove(&backend);
        }
        count_down(shared, queue);
        shared.backend(backend).queued_total.fetch_sub(1, SeqCst);
        Some(who)
    }
}

/// Gives back what [`BackendView::pick`] or [`WaitRoom::serve`] took, and tells whose turn it is.
pub fn release(shared: &Shared, shard: usize, id: ServerId) {
    server::count_down(shared, shard, id);
    if !server::is_limited(shared, id) {
        return;
    }
    let cell = shared.server(id);
    cell.give_place();
    let backend = shared.config.server(id).backend;
    let (for_server, for_any) = (
        cell.queued.load(SeqCst),
        shared.backend(backend).queued.load(SeqCst),
    );
    if for_server > 0 {
        hint_oldest(shared, backend, Some(id));
    }
    if for_any > 0 {
        hint_oldest(shared, backend, None);
    }
}

/// A place for the head of a queue of this shard, if it is its turn.
fn place_for(
    shared: &Shared,
    shard: usize,
    view: &mut BackendView,
    queue: Queue,
    number: u64,
    now: Tick,
) -> Option<ServerId> {
    match queue {
        Queue::Backend(backend) => {
            // Looking for a place is cheaper than looking for older tickets.
            view.with_place(shared, now).next()?;
            let (oldest, _) = oldest(shared, |s| &s.backend_tickets[backend.index()]);
            if oldest < number {
                return None;
            }
            view.pick_waiting(shared, now, |id| number < oldest_for(shared, id))
        }
        Queue::Server(id) => {
            if !view.place_on(shared, id, now) || oldest_for(shared, id) < number {
                return None;
            }
            let backend = view.backend;
            let (any, _) = oldest(shared, |s| &s.backend_tickets[backend.index()]);
            if any < number && view.may_choose(id) {
                return None;
            }
            debug_assert!(shard < shared.shards.len());
            view.take_own(shared, id, now).then_some(id)
        }
    }
}

/// Oldest ticket for this server alone.
fn oldest_for(shared: &Shared, id: ServerId) -> u64 {
    if shared.server(id).queued.load(SeqCst) == 0 {
        return NO_TICKET;
    }
    oldest(shared, |s| &s.server_tickets[id.index()]).0
}

/// Oldest ticket published in a kind of cell, and the shard that holds it.
fn oldest<'a>(
    shared: &'a Shared,
    of: impl Fn(&'a crate::shared::ShardShared) -> &'a AtomicU64,
) -> (u64, usize) {
    let all = shared
        .shards
        .iter()
        .enumerate()
        .map(|(i, s)| (of(s).load(SeqCst), i));
    all.min().unwrap_or((NO_TICKET, 0))
}

/// Hints the shard that holds the oldest ticket of the backend's queue, or of a server's.
fn hint_oldest(shared: &Shared, backend: BackendId, server: Option<ServerId>) {
    let (number, shard) = match server {
        None => oldest(shared, |s| &s.backend_tickets[backend.index()]),
        Some(id) => oldest(shared, |s| &s.server_tickets[id.index()]),
    };
    if number != NO_TICKET {
        shared.hint(shard, Message::Place(backend));
    }
}

/// Where places are free after this shard has served, the turn is another's: tells it.
fn hint_free(shared: &Shared, shard: usize, view: &BackendView, now: Tick) {
    let backend = shared.backend(view.backend);
    if backend.queued_total.load(SeqCst) == 0 {
        return;
    }
    let any = oldest(shared, |s| &s.backend_tickets[view.backend.index()]);
    let mut told = None;
    let mut tell = |to: usize| {
        if to != shard && told != Some(to) {
            shared.hint(to, Message::Place(view.backend));
            told = Some(to);
        }
    };
    let own_queues = backend.queued_total.load(SeqCst) > backend.queued.load(SeqCst);
    for &id in &shared.config.backend(view.backend).servers {
        let chosen_from = view.may_choose(id) && any.0 != NO_TICKET;
        let waited_for = own_queues && shared.server(id).queued.load(SeqCst) > 0;
        if !(chosen_from || waited_for) || !view.place_on(shared, id, now) {
            continue;
        }
        let mut first = if chosen_from { any } else { (NO_TICKET, shard) };
        if waited_for {
            first = first.min(oldest(shared, |s| &s.server_tickets[id.index()]));
        }
        if first.0 != NO_TICKET {
            tell(first.1);
        }
        if !own_queues {
            // Nobody waits for one server alone: the next place has the same taker.
            return;
        }
    }
}

fn backend_of(shared: &Shared, queue: Queue) -> BackendId {
    match queue {
        Queue::Backend(id) => id,
        Queue::Server(id) => shared.config.server(id).backend,
    }
}

fn cell(shared: &Shared, shard: usize, queue: Queue) -> &AtomicU64 {
    match queue {
        Queue::Backend(id) => &shared.shards[shard].backend_tickets[id.index()],
        Queue::Server(id) => &shared.shards[shard].server_tickets[id.index()],
    }
}

/// How many were admitted from a queue so far.
fn admitted(shared: &Shared, queue: Queue) -> &AtomicU64 {
    match queue {
        Queue::Backend(id) => &shared.backend(id).admitted,
        Queue::Server(id) => &shared.server(id).admitted,
    }
}

fn publish<T>(cell: &AtomicU64, line: &BTreeMap<u64, T>) {
    cell.store(line.keys().next().copied().unwrap_or(NO_TICKET), SeqCst);
}

/// Counts one more in the queue; how many were there before.
fn count_in(shared: &Shared, queue: Queue) -> u32 {
    count_up(shared, queue, 1)
}

fn count_up(shared: &Shared, queue: Queue, by: u32) -> u32 {
    let (queued, most) = match queue {
        Queue::Backend(id) => (&shared.backend(id).queued, &shared.backend(id).queued_max),
        Queue::Server(id) => (&shared.server(id).queued, &shared.server(id).queued_max),
    };
    let before = queued.fetch_add(by, SeqCst);
    most.fetch_max(before + by, Relaxed);
    before
}

fn count_down(shared: &Shared, queue: Queue) {
    let before = match queue {
        Queue::Backend(id) => shared.backend(id).queued.fetch_sub(1, SeqCst),
        Queue::Server(id) => shared.server(id).queued.fetch_sub(1, SeqCst),
    };
    assert!(before > 0, "a queue was left twice");
}

#[cfg(test)]
mod tests;
