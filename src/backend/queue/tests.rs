//! Places and tickets over several shards: one by one, in seeded disorder, and on threads.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use super::*;
use crate::backend::fixture::{backend, shared, weighted};
use crate::backend::{Ask, Choice, Taken};
use crate::config::model::*;

const B: BackendId = BackendId(0);
const NOW: Tick = Tick(1000);

fn limited(balance: Balance, maxconns: &[u32], shards: usize) -> Shared {
    let mut servers = weighted(&vec![1; maxconns.len()]);
    for (server, &maxconn) in servers.iter_mut().zip(maxconns) {
        server.maxconn = maxconn;
    }
    shared(vec![(backend("b", balance), servers)], shards)
}

/// One shard as the engine drives it.
struct Shard {
    index: usize,
    views: Vec<BackendView>,
    room: WaitRoom<u32>,
}

impl Shard {
    fn all(shared: &Shared) -> Vec<Self> {
        let view = |i: usize| vec![BackendView::new(shared, B, i, i as u64)];
        (0..shared.shards.len())
            .map(|i| Self {
                index: i,
                views: view(i),
                room: WaitRoom::new(shared, i),
            })
            .collect()
    }

    /// A new stream: a server now, or a ticket.
    fn arrive(&mut self, shared: &Shared, ask: &Ask, who: u32) -> Result<ServerId, Ticket> {
        match self.views[0].pick(shared, ask, NOW) {
            Choice::Server(id) => Ok(id),
            Choice::Wait(queue) => {
                let ticket = self.room.join(shared, queue, who);
                // The turn that follows the hint to itself.
                assert!(self.hints(shared) > 0);
                Err(ticket)
            }
            other => panic!("{other:?}"),
        }
    }

    fn serve(&mut self, shared: &Shared) -> Vec<(u32, ServerId)> {
        let mut admitted = Vec::new();
        self.room.serve(shared, &mut self.views, NOW, |who, id| {
            admitted.push((who, id))
        });
        admitted
    }

    /// Hints that came in since last asked.
    fn hints(&self, shared: &Shared) -> usize {
        std::iter::from_fn(|| shared.shards[self.index].mailbox.take()).count()
    }
}

#[test]
fn with_one_place_and_four_shards_a_hundred_are_served_in_order_of_arrival() {
    let shared = limited(Balance::RoundRobin, &[1], 4);
    let mut shards = Shard::all(&shared);
    let first = shards[0].arrive(&shared, &Ask::default(), 1000).unwrap();
    for who in 0..100 {
        shards[who as usize * 7 % 4]
            .arrive(&shared, &Ask::default(), who)
            .unwrap_err();
    }
    assert_eq!(shared.backend(B).queued.load(Relaxed), 100);
    let (mut holder, mut server) = (0, first);
    for who in 0..100 {
        for shard in &mut shards {
            assert!(shard.serve(&shared).is_empty());
            shard.hints(&shared);
        }
        release(&shared, holder, server);
        holder = who as usize * 7 % 4;
        // The release hints the right shard and no other; that shard's next turn admits it.
        let hints: Vec<usize> = shards.iter().map(|s| s.hints(&shared)).collect();
        assert_eq!(hints.iter().sum::<usize>(), 1);
        assert_eq!(hints[holder], 1);
        let admitted = shards[holder].serve(&shared);
        assert_eq!(admitted, [(who, first)]);
        server = admitted[0].1;
    }
    release(&shared, holder, server);
    assert_eq!(shared.server(server).places.load(Relaxed), 0);
    assert_eq!(shared.backend(B).queued_total.load(Relaxed), 0);
    assert_eq!(shared.backend(B).queued_max.load(Relaxed), 100);
}

#[test]
fn a_newcomer_does_not_overtake_who_waits() {
    let shared = limited(Balance::LeastConn, &[1], 2);
    let mut shards = Shard::all(&shared);
    let held = shards[0].arrive(&shared, &Ask::default(), 0).unwrap();
    shards[1].arrive(&shared, &Ask::default(), 1).unwrap_err();
    release(&shared, 0, held);
    // The place is free, but the stream of shard 1 has the older claim.
    shards[0].arrive(&shared, &Ask::default(), 2).unwrap_err();
    assert!(shards[0].serve(&shared).is_empty());
    assert_eq!(shards[1].serve(&shared), [(1, held)]);
}

#[test]
fn who_serves_and_is_not_first_hints_who_is() {
    let shared = limited(Balance::LeastConn, &[1], 2);
    let mut shards = Shard::all(&shared);
    let held = shards[0].arrive(&shared, &Ask::default(), 0).unwrap();
    shards[1].arrive(&shared, &Ask::default(), 1).unwrap_err();
    shards[0].arrive(&shared, &Ask::default(), 2).unwrap_err();
    release(&shared, 0, held);
    assert_eq!(shards[1].hints(&shared), 1, "the release hints");
    // That hint is lost; the next turn of the other shard makes up for it.
    assert!(shards[0].serve(&shared).is_empty());
    assert_eq!(shards[1].hints(&shared), 1);
    assert_eq!(shards[1].serve(&shared), [(1, held)]);
}

#[test]
fn a_hint_for_one_who_leaves_is_passed_on() {
    let shared = limited(Balance::LeastConn, &[1], 2);
    let mut shards = Shard::all(&shared);
    let held = shards[0].arrive(&shared, &Ask::default(), 0).unwrap();
    let ticket = shards[1].arrive(&shared, &Ask::default(), 1).unwrap_err();
    shards[0].arrive(&shared, &Ask::default(), 2).unwrap_err();
    release(&shared, 0, held);
    shards[0].hints(&shared);
    shards[1].room.leave(&shared, ticket);
    assert!(shards[1].room.is_empty());
    assert_eq!(shards[0].hints(&shared), 1);
    assert_eq!(shards[0].serve(&shared), [(2, held)]);
}

#[test]
fn the_older_ticket_wins_between_a_servers_queue_and_the_backends() {
    let shared = limited(Balance::RoundRobin, &[1], 2);
    let server = ServerId(0);
    for older_waits_for_server in [true, false] {
        let mut shards = Shard::all(&shared);
        let held = shards[0].arrive(&shared, &Ask::default(), 0).unwrap();
        let queues = [Queue::Server(server), Queue::Backend(B)];
        let (first, second) = if older_waits_for_server {
            (queues[0], queues[1])
        } else {
            (queues[1], queues[0])
        };
        shards[1].room.join(&shared, first, 1);
        shards[0].room.join(&shared, second, 2);
        release(&shared, 0, held);
        assert!(shards[0].serve(&shared).is_empty());
        assert_eq!(shards[1].serve(&shared), [(1, server)]);
        release(&shared, 1, server);
        assert_eq!(shards[0].serve(&shared), [(2, server)]);
        release(&shared, 0, server);
    }
}

#[test]
fn positions_count_from_one_who_was_admitted_meanwhile_as_in_haproxy() {
    let shared = limited(Balance::RoundRobin, &[1], 2);
    let mut shards = Shard::all(&shared);
    let held = shards[0].arrive(&shared, &Ask::default(), 0).unwrap();
    let mut tickets = Vec::new();
    for n in 0..3 {
        let shard = &mut shards[n as usize % 2];
        let ticket = shard.arrive(&shared, &Ask::default(), n).unwrap_err();
        let expected = Position {
            server: 0,
            backend: n + 1,
        };
        assert_eq!(shard.room.position(&shared, ticket), expected);
        tickets.push(ticket);
    }
    // The second gives up before anyone was served: it was first in haproxy's count.
    assert_eq!(
        tickets[1].position(&shared),
        Position {
            server: 0,
            backend: 1
        }
    );
    shards[1].room.leave(&shared, tickets[1]);
    release(&shared, 0, held);
    assert_eq!(shards[0].serve(&shared), [(0, held)]);
    release(&shared, 0, held);
    let mut at_admission = Position::default();
    let Shard { room, views, .. } = &mut shards[0];
    room.serve(&shared, views, NOW, |_, _| {
        at_admission = tickets[2].position(&shared)
    });
    assert_eq!(
        at_admission,
        Position {
            server: 0,
            backend: 2
        }
    );
    let ticket = shards[0].room.join(&shared, Queue::Server(ServerId(0)), 9);
    assert_eq!(
        shards[0].room.position(&shared, ticket),
        Position {
            server: 1,
            backend: 0
        }
    );
}

#[test]
fn leastconn_uses_servers_queues_up_to_maxqueue_and_then_the_backends() {
    let shared = {
        let mut servers = weighted(&[1, 1]);
        for server in &mut servers {
            (server.maxconn, server.maxqueue) = (1, 1);
        }
        shared(vec![(backend("b", Balance::LeastConn), servers)], 1)
    };
    let mut shards = Shard::all(&shared);
    for who in 0..2 {
        shards[0].arrive(&shared, &Ask::default(), who).unwrap();
    }
    let queues: Vec<Queue> = (2..6)
        .map(|who| {
            shards[0]
                .arrive(&shared, &Ask::default(), who)
                .unwrap_err()
                .queue
        })
        .collect();
    let (own, any) = (|n| Queue::Server(ServerId(n)), Queue::Backend(B));
    assert_eq!(queues, [own(0), own(1), any, any]);
}

#[test]
fn who_waits_for_a_server_that_goes_down_moves_to_the_others_and_can_still_leave() {
    let shared = limited(Balance::Source, &[1, 1], 1);
    let mut shards = Shard::all(&shared);
    let client = Some("10.0.0.1".parse().unwrap());
    let ask = Ask {
        client,
        key: None,
        avoid: None,
    };
    let held = shards[0].arrive(&shared, &ask, 0).unwrap();
    shards[0].arrive(&shared, &ask, 1).unwrap_err();
    let ticket = shards[0].arrive(&shared, &ask, 2).unwrap_err();
    assert!(shards[0].serve(&shared).is_empty());
    shared
        .server(held)
        .set_op(crate::shared::server_cell::OpState::Stopped);
    shared.bump(B);
    let other = ServerId(1 - held.0);
    assert_eq!(shards[0].serve(&shared), [(1, other)]);
    assert_eq!(shared.server(held).queued.load(Relaxed), 0);
    assert_eq!(shared.backend(B).queued.load(Relaxed), 1);
    shards[0].room.leave(&shared, ticket);
    assert_eq!(shared.backend(B).queued_total.load(Relaxed), 0);
    assert!(shards[0].room.is_empty());
}

#[test]
fn a_full_queue_of_the_determined_server_is_told() {
    let shared = {
        let mut servers = weighted(&[1]);
        (servers[0].maxconn, servers[0].maxqueue) = (1, 2);
        shared(vec![(backend("b", Balance::Source), servers)], 1)
    };
    let mut shards = Shard::all(&shared);
    let ask = Ask {
        client: Some("10.0.0.1".parse().unwrap()),
        key: None,
        avoid: None,
    };
    shards[0].arrive(&shared, &ask, 0).unwrap();
    shards[0].arrive(&shared, &ask, 1).unwrap_err();
    shards[0].arrive(&shared, &ask, 2).unwrap_err();
    let full = Choice::Full(ServerId(0));
    assert_eq!(shards[0].views[0].pick(&shared, &ask, NOW), full);
}

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

/// What a stream of the disorder does.
#[derive(Clone, Copy)]
struct Held {
    shard: usize,
    server: ServerId,
}

/// Random steps of random shards: arrivals (half of them to one determined server), servings, leavings,
/// releases, servers going down and up, hints lost. Checked after each step: no limit is exceeded. In
/// each queue, admissions follow the order of arrival. At the end everybody is served, all counts are 0.
fn disorder(seed: u64) {
    let mut rng = Rng(seed);
    let shards_n = 1 + rng.below(8);
    let limits: Vec<u32> = (0..1 + rng.below(4))
        .map(|_| 1 + rng.below(3) as u32)
        .collect();
    let balances = [
        Balance::RoundRobin,
        Balance::LeastConn,
        Balance::StaticRr,
        Balance::First,
        Balance::Random(2),
    ];
    let shared = limited(balances[rng.below(5)].clone(), &limits, shards_n);
    let mut shards = Shard::all(&shared);
    let mut held: Vec<Held> = Vec::new();
    // Who waits: ticket, shard, queue. Order of arrival by queue.
    let mut waiting: BTreeMap<u32, (Ticket, usize)> = BTreeMap::new();
    let mut order: BTreeMap<Option<u32>, VecDeque<u32>> = BTreeMap::new();
    let mut next = 0;
    let (mut down, mut went_down) = (None, false);
    for _ in 0..600 {
        let s = rng.below(shards_n);
        match rng.below(20) {
            0..=6 => {
                next += 1;
                if rng.below(3) == 0 {
                    // Determined by cookie, say: the server's own queue.
                    let id = ServerId(rng.below(limits.len()) as u32);
                    let ticket = shards[s].room.join(&shared, Queue::Server(id), next);
                    waiting.insert(next, (ticket, s));
                    order.entry(Some(id.0)).or_default().push_back(next);
                } else {
                    match shards[s].views[0].pick(&shared, &Ask::default(), NOW) {
                        Choice::Server(server) => {
                            assert!(
                                order.get(&None).is_none_or(VecDeque::is_empty),
                                "overtook the backend's queue"
                            );
                            assert!(
                                order.get(&Some(server.0)).is_none_or(VecDeque::is_empty),
                                "overtook a server's queue"
                            );
                            held.push(Held { shard: s, server });
                        }
                        Choice::Wait(queue) => {
                            let ticket = shards[s].room.join(&shared, queue, next);
                            waiting.insert(next, (ticket, s));
                            order.entry(None).or_default().push_back(next);
                        }
                        Choice::Nobody => assert!(down.is_some()),
                        Choice::Full(_) => unreachable!("no maxqueue here"),
                    }
                }
            }
            7..=11 if !held.is_empty() => {
                let h = held.swap_remove(rng.below(held.len()));
                release(&shared, h.shard, h.server);
            }
            12 if !waiting.is_empty() => {
                let who = *waiting.keys().nth(rng.below(waiting.len())).unwrap();
                let (ticket, shard) = waiting.remove(&who).unwrap();
                shards[shard].room.leave(&shared, ticket);
                order.values_mut().for_each(|o| o.retain(|&w| w != who));
            }
            13 if rng.below(4) == 0 => {
                use crate::shared::server_cell::OpState;
                let id = down
                    .take()
                    .unwrap_or_else(|| ServerId(rng.below(limits.len()) as u32));
                let was_up = shared.server(id).op() == OpState::Running;
                shared.server(id).set_op(if was_up {
                    OpState::Stopped
                } else {
                    OpState::Running
                });
                down = was_up.then_some(id);
                went_down |= was_up;
                shared.bump(B);
                for shard in &mut shards {
                    shard.views[0].refresh(&shared, NOW);
                }
            }
            _ => {
                for (who, server) in shards[s].serve(&shared) {
                    waiting.remove(&who).expect("was waiting");
                    let queue = order.values_mut().find(|o| o.contains(&who)).unwrap();
                    // Who waited for a server that went down has moved to the backend's queue.
                    assert!(
                        went_down || queue[0] == who,
                        "seed {seed}: {who} before {}",
                        queue[0]
                    );
                    queue.retain(|&w| w != who);
                    held.push(Held { shard: s, server });
                }
            }
        }
        for (i, &limit) in limits.iter().enumerate() {
            let id = ServerId(i as u32);
            let count = held.iter().filter(|h| h.server == id).count() as u32;
            assert!(count <= limit, "seed {seed}");
            assert_eq!(count, shared.server(id).places.load(Relaxed), "seed {seed}");
            assert_eq!(count, shared.server_connections(id), "seed {seed}");
        }
        assert_eq!(
            shared.backend(B).queued_total.load(Relaxed) as usize,
            waiting.len(),
            "seed {seed}"
        );
    }
    drain(seed, &shared, &mut shards, held, waiting.len(), down);
}

/// Serves until all have gone. Only shards that were hinted take a turn; after that, nobody who could
/// be served may be left.
fn drain(
    seed: u64,
    shared: &Shared,
    shards: &mut [Shard],
    mut held: Vec<Held>,
    mut waiting: usize,
    down: Option<ServerId>,
) {
    if let Some(id) = down {
        shared
            .server(id)
            .set_op(crate::shared::server_cell::OpState::Running);
        shared.bump(B);
    }
    let mut idle = 0;
    while waiting > 0 || !held.is_empty() {
        let mut moved = false;
        for (s, shard) in shards.iter_mut().enumerate() {
            if shard.hints(shared) > 0 {
                let admitted = shard.serve(shared);
                moved |= !admitted.is_empty();
                waiting -= admitted.len();
                held.extend(
                    admitted
                        .into_iter()
                        .map(|(_, server)| Held { shard: s, server }),
                );
                idle = 0;
            }
        }
        if !moved {
            idle += 1;
        }
        if idle > shards.len() {
            // Nothing moves by hints alone: no place may be free while somebody waits for it.
            for h in held.drain(..1.min(held.len())) {
                release(shared, h.shard, h.server);
            }
            assert!(idle < 1000, "seed {seed}: {waiting} starve");
        }
    }
    for (i, server) in shared.servers.iter().enumerate() {
        assert_eq!(server.places.load(Relaxed), 0, "seed {seed}");
        assert_eq!(server.queued.load(Relaxed), 0, "seed {seed}");
        assert_eq!(
            shared.server_connections(ServerId(i as u32)),
            0,
            "seed {seed}"
        );
    }
    assert_eq!(shared.backend(B).queued.load(Relaxed), 0, "seed {seed}");
    assert_eq!(
        shared.backend(B).queued_total.load(Relaxed),
        0,
        "seed {seed}"
    );
    for shard in &shared.shards {
        assert_eq!(
            shard.backend_tickets[0].load(Relaxed),
            NO_TICKET,
            "seed {seed}"
        );
    }
}

#[test]
fn in_any_order_of_steps_limits_hold_and_everybody_is_served_in_order() {
    for seed in 0..1500 {
        disorder(seed);
    }
}

/// A shard's thread as the engine runs it: turns while there is work, then sleep until the bell.
struct Sleeper {
    shard: Shard,
    thread: std::thread::Thread,
}

impl Sleeper {
    fn new(shared: &Shared, index: usize) -> Self {
        let thread = std::thread::current();
        let bell = thread.clone();
        shared.shards[index].bell.install(move || bell.unpark());
        Self {
            shard: Shard::all(shared).swap_remove(index),
            thread,
        }
    }

    /// Sleeps unless a message is there; false if nobody rang for so long that no load of the machine explains it.
    fn sleep(&self, shared: &Shared) -> bool {
        let cells = &shared.shards[self.shard.index];
        let slept = std::time::Instant::now();
        cells.asleep.store(true, SeqCst);
        while cells.mailbox.is_empty() {
            assert_eq!(self.thread.id(), std::thread::current().id());
            std::thread::park_timeout(std::time::Duration::from_secs(20));
            if slept.elapsed().as_secs() >= 20 && cells.mailbox.is_empty() {
                return false;
            }
        }
        cells.asleep.store(false, SeqCst);
        true
    }
}

/// Four shards as threads that sleep when they have nothing to do but wait: hints alone must keep them
/// going. Each holds at most eight streams at once; a stream ends some turns after it got its place.
#[test]
fn threads_never_exceed_a_limit_and_no_wake_up_is_lost() {
    const EACH: u32 = 4000;
    const SHARDS: usize = 4;
    let shared = Arc::new(limited(Balance::LeastConn, &[1, 2], SHARDS));
    let at_once: Arc<[AtomicUsize; 2]> = Arc::default();
    let served = Arc::new(AtomicU64::new(0));
    let run = |index: usize| {
        let (shared, at_once, served) = (shared.clone(), at_once.clone(), served.clone());
        move || {
            let mut sleeper = Sleeper::new(&shared, index);
            let (mut arrived, mut done) = (0, 0);
            let mut held: VecDeque<ServerId> = VecDeque::new();
            let enter = |id: ServerId| {
                let now = at_once[id.index()].fetch_add(1, SeqCst) + 1;
                assert!(now <= id.index() + 1, "the limit was exceeded");
            };
            while done < EACH {
                let shard = &mut sleeper.shard;
                shard.hints(&shared);
                while arrived < EACH && (arrived - done) < 8 {
                    arrived += 1;
                    match shard.views[0].pick(&shared, &Ask::default(), NOW) {
                        Choice::Server(id) => {
                            enter(id);
                            held.push_back(id);
                        }
                        Choice::Wait(queue) => {
                            shard.room.join(&shared, queue, arrived);
                        }
                        other => panic!("{other:?}"),
                    }
                }
                for (_, id) in shard.serve(&shared) {
                    enter(id);
                    held.push_back(id);
                }
                if let Some(id) = held.pop_front() {
                    at_once[id.index()].fetch_sub(1, SeqCst);
                    release(&shared, index, id);
                    done += 1;
                    served.fetch_add(1, Relaxed);
                } else if done < EACH {
                    assert!(
                        sleeper.sleep(&shared),
                        "shard {index} was not woken: {done} of {EACH} done"
                    );
                }
            }
        }
    };
    let threads: Vec<_> = (0..SHARDS).map(|i| std::thread::spawn(run(i))).collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(served.load(Relaxed), u64::from(EACH) * SHARDS as u64);
    for (i, server) in shared.servers.iter().enumerate() {
        assert_eq!(server.places.load(Relaxed), 0);
        assert_eq!(shared.server_connections(ServerId(i as u32)), 0);
    }
    assert_eq!(shared.backend(B).queued_total.load(Relaxed), 0);
}

#[test]
fn a_server_that_a_cookie_names_is_waited_for_and_left_only_when_its_queue_is_full_and_redispatch_allows()
 {
    for redispatch in [0, -1] {
        let mut servers = weighted(&[1, 1]);
        (servers[0].maxconn, servers[0].maxqueue) = (1, 1);
        let b = Backend {
            redispatch: Redispatch(redispatch),
            ..backend("b", Balance::RoundRobin)
        };
        let shared = shared(vec![(b, servers)], 1);
        let mut shards = Shard::all(&shared);
        let mut take =
            || shards[0].views[0].take_server(&shared, ServerId(0), &Ask::default(), NOW);
        let own = |choice| Taken {
            choice,
            elsewhere: false,
        };
        assert_eq!(take(), own(Choice::Server(ServerId(0))));
        assert_eq!(take(), own(Choice::Wait(Queue::Server(ServerId(0)))));
        shared.server(ServerId(0)).queued.store(1, SeqCst);
        let full = take();
        shared.server(ServerId(0)).queued.store(0, SeqCst);
        if redispatch == 0 {
            assert_eq!(full, own(Choice::Full(ServerId(0))));
        } else {
            // Round robin offers the first server first, which is full.
            let other = Choice::Server(ServerId(1));
            assert_eq!((full.choice, full.elsewhere), (other, true));
        }
        assert_eq!(shared.shards[0].servers[0].chosen.get(), 0, "not counted");
    }
}
