//! Choices compared with haproxy's own (`vectors/`), and bounds on how they are spread.

use std::net::IpAddr;

use crate::backend::change::{set_drain, set_maint, set_ready, set_weight};
use crate::backend::fixture::{backend, shared, weighted};
use crate::backend::{Ask, BackendView, Choice, release};
use crate::base::tick::Tick;
use crate::config::model::*;
use crate::shared::Shared;

const NOW: Tick = Tick(1000);

fn views(shared: &Shared) -> Vec<BackendView> {
    (0..shared.shards.len())
        .map(|shard| BackendView::new(shared, BackendId(0), shard, 7 + shard as u64))
        .collect()
}

/// Chooses, and returns the number of the server from 1.
fn pick(view: &mut BackendView, shared: &Shared, ask: &Ask) -> u32 {
    match view.pick(shared, ask, NOW) {
        Choice::Server(id) => id.0 + 1,
        other => panic!("{other:?}"),
    }
}

/// One vector: what was asked, weights and ids, and haproxy's choices.
struct Vector {
    kind: String,
    servers: Vec<Server>,
    choices: Vec<u32>,
}

fn vectors() -> (Vec<IpAddr>, Vec<Vector>) {
    let text = include_str!("vectors/vectors.txt");
    let mut keys = Vec::new();
    let mut all = Vec::new();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        if words[0] == "keys" {
            keys = words[1..].iter().map(|w| w.parse().unwrap()).collect();
            continue;
        }
        let at = words
            .iter()
            .position(|w| w.as_bytes()[0].is_ascii_digit())
            .unwrap();
        let mut servers = weighted(&vec![1; words[at].split(',').count()]);
        for (server, word) in servers.iter_mut().zip(words[at].split(',')) {
            let (weight, id) = word.split_once('#').unwrap_or((word, ""));
            server.weight = weight.parse().unwrap();
            server.puid = id.parse().unwrap_or(server.puid);
        }
        let choices = words[at + 1..].iter().map(|w| w.parse().unwrap()).collect();
        all.push(Vector {
            kind: words[..at].join(" "),
            servers,
            choices,
        });
    }
    (keys, all)
}

fn compare(kind: &str, make: impl Fn(&str) -> (Balance, HashType)) {
    let (keys, all) = vectors();
    let mut compared = 0;
    for v in all.into_iter().filter(|v| v.kind.starts_with(kind)) {
        let (balance, hash_type) = make(&v.kind);
        let weights: Vec<u32> = v.servers.iter().map(|s| s.weight).collect();
        let shared = shared(
            vec![(
                Backend {
                    hash_type,
                    ..backend("b", balance)
                },
                v.servers,
            )],
            1,
        );
        let mut view = BackendView::new(&shared, BackendId(0), 0, 1);
        let by_key = kind == "source";
        for (i, &expected) in v.choices.iter().enumerate() {
            let ask = Ask {
                client: by_key.then(|| keys[i]),
                ..Ask::default()
            };
            let id = pick(&mut view, &shared, &ask);
            release(&shared, 0, ServerId(id - 1));
            assert_eq!(
                id, expected,
                "{} of weights {weights:?}, choice {i}",
                v.kind
            );
            compared += 1;
        }
    }
    assert!(compared > 100, "the vectors of {kind} were not found");
}

#[test]
fn roundrobin_chooses_as_haproxy_does() {
    compare("roundrobin", |_| (Balance::RoundRobin, HashType::default()));
}

#[test]
fn static_rr_chooses_as_haproxy_does() {
    compare("static-rr", |_| (Balance::StaticRr, HashType::default()));
}

#[test]
fn leastconn_of_idle_servers_takes_turns_as_haproxy_does() {
    compare("leastconn", |_| (Balance::LeastConn, HashType::default()));
}

#[test]
fn source_chooses_as_haproxy_does_by_map_and_on_the_ring() {
    compare("source", |kind| {
        let method = if kind.contains("consistent") {
            HashMethod::Consistent
        } else {
            HashMethod::MapBased
        };
        let hash = HashType {
            method,
            avalanche: kind.contains("avalanche"),
            ..HashType::default()
        };
        (Balance::Source, hash)
    });
}

fn counts(shared: &Shared) -> Vec<u32> {
    (0..shared.servers.len())
        .map(|i| shared.server_connections(ServerId(i as u32)))
        .collect()
}

#[test]
fn roundrobin_over_640_keeps_the_shares_on_one_and_on_four_shards() {
    for shards in [1, 4] {
        let shared = shared(
            vec![(backend("b", Balance::RoundRobin), weighted(&[12, 26, 26]))],
            shards,
        );
        let mut views = views(&shared);
        for i in 0..640 {
            pick(&mut views[i % shards], &shared, &Ask::default());
        }
        let counts = counts(&shared);
        if shards == 1 {
            assert_eq!(counts, [119, 261, 260]);
        }
        for (count, share) in counts.iter().zip([120, 260, 260]) {
            assert!(
                count.abs_diff(share) <= shards as u32,
                "{counts:?} on {shards} shards"
            );
        }
    }
}

#[test]
fn leastconn_held_in_sequence_differs_by_at_most_one_on_any_number_of_shards() {
    for shards in [1, 2, 4, 16] {
        let shared = shared(
            vec![(backend("b", Balance::LeastConn), weighted(&[1; 3]))],
            shards,
        );
        let mut views = views(&shared);
        for i in 0..1000 {
            pick(
                &mut views[(i * 7 + i / 5) % shards],
                &shared,
                &Ask::default(),
            );
            let counts = counts(&shared);
            assert!(
                counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1,
                "{counts:?}"
            );
        }
    }
}

#[test]
fn leastconn_holds_by_weight() {
    let shared = shared(
        vec![(backend("b", Balance::LeastConn), weighted(&[1, 3]))],
        4,
    );
    let mut views = views(&shared);
    for i in 0..400 {
        pick(&mut views[i % 4], &shared, &Ask::default());
    }
    assert_eq!(counts(&shared), [100, 300]);
}

#[test]
fn leastconn_of_a_thousand_servers_differs_by_at_most_the_number_of_shards() {
    for shards in [1, 4] {
        let shared = shared(
            vec![(backend("b", Balance::LeastConn), weighted(&[1; 1000]))],
            shards,
        );
        let mut views = views(&shared);
        let mut held = Vec::new();
        let mut state = 1u64;
        for i in 0..30_000usize {
            let shard = i % shards;
            let id = pick(&mut views[shard], &shared, &Ask::default());
            held.push((shard, ServerId(id - 1)));
            // In the middle third, old connections end at random while new ones come.
            if (10_000..20_000).contains(&i) {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let (shard, id) = held.swap_remove((state >> 33) as usize % held.len());
                release(&shared, shard, id);
            }
            if !(10_000..25_000).contains(&i) {
                let counts = counts(&shared);
                let spread = counts.iter().max().unwrap() - counts.iter().min().unwrap();
                assert!(
                    spread <= (shards as u32).max(1),
                    "{spread} at {i} on {shards} shards"
                );
            }
        }
    }
}

/// How often each of the servers is chosen in `n` sequential connections.
fn spread(view: &mut BackendView, shared: &Shared, n: usize) -> Vec<u32> {
    let mut counts = vec![0; shared.servers.len()];
    for _ in 0..n {
        let id = pick(view, shared, &Ask::default());
        release(shared, 0, ServerId(id - 1));
        counts[id as usize - 1] += 1;
    }
    counts
}

#[test]
fn roundrobin_follows_a_weight_that_moves_at_run_time() {
    let shared = shared(
        vec![(backend("b", Balance::RoundRobin), weighted(&[10, 10, 10]))],
        1,
    );
    let mut view = BackendView::new(&shared, BackendId(0), 0, 1);
    assert_eq!(spread(&mut view, &shared, 300), [100, 100, 100]);
    set_weight(&shared, ServerId(0), "10%", NOW).unwrap();
    view.refresh(&shared, NOW);
    let counts = spread(&mut view, &shared, 2100);
    for (count, share) in counts.iter().zip([100, 1000, 1000]) {
        assert!(count.abs_diff(share) <= 2, "{counts:?}");
    }
    set_weight(&shared, ServerId(0), "0", NOW).unwrap();
    view.refresh(&shared, NOW);
    assert_eq!(spread(&mut view, &shared, 100), [0, 50, 50]);
    set_weight(&shared, ServerId(0), "100%", NOW).unwrap();
    view.refresh(&shared, NOW);
    let counts = spread(&mut view, &shared, 300);
    for count in &counts {
        assert!(count.abs_diff(100) <= 2, "{counts:?}");
    }
}

#[test]
fn a_server_that_comes_back_climbs_with_slowstart_and_does_not_get_a_burst() {
    let mut servers = weighted(&[16, 16]);
    servers[0].slowstart_ms = 16_000;
    let shared = shared(vec![(backend("b", Balance::RoundRobin), servers)], 1);
    let mut view = BackendView::new(&shared, BackendId(0), 0, 1);
    set_maint(&shared, ServerId(0), Tick(1000));
    view.refresh(&shared, Tick(1000));
    assert_eq!(spread(&mut view, &shared, 50), [0, 50]);
    set_ready(&shared, ServerId(0), Tick(2000));
    view.refresh(&shared, Tick(2000));
    let counts = spread(&mut view, &shared, 170);
    assert!(
        counts[0].abs_diff(10) <= 1,
        "one step of sixteen: {counts:?}"
    );
    view.refresh(&shared, Tick(9500));
    let counts = spread(&mut view, &shared, 240);
    assert!(
        counts[0].abs_diff(80) <= 2,
        "eight steps of sixteen: {counts:?}"
    );
    view.refresh(&shared, Tick(18_000));
    let counts = spread(&mut view, &shared, 200);
    assert!(counts[0].abs_diff(100) <= 2, "all of it: {counts:?}");
}

#[test]
fn backups_serve_when_no_active_server_is_usable_and_only_the_first_unless_all_are_asked_for() {
    for (allbackups, expected) in [(false, [0, 0, 20, 0]), (true, [0, 0, 10, 10])] {
        let mut servers = weighted(&[1, 1, 1, 1]);
        servers[2].backup = true;
        servers[3].backup = true;
        let b = Backend {
            allbackups,
            ..backend("b", Balance::RoundRobin)
        };
        let shared = shared(vec![(b, servers)], 1);
        let mut view = BackendView::new(&shared, BackendId(0), 0, 1);
        assert_eq!(spread(&mut view, &shared, 20), [10, 10, 0, 0]);
        set_maint(&shared, ServerId(0), NOW);
        set_drain(&shared, ServerId(1), NOW);
        view.refresh(&shared, NOW);
        assert_eq!(spread(&mut view, &shared, 20), expected);
        set_maint(&shared, ServerId(2), NOW);
        set_maint(&shared, ServerId(3), NOW);
        view.refresh(&shared, NOW);
        assert_eq!(view.pick(&shared, &Ask::default(), NOW), Choice::Nobody);
        set_ready(&shared, ServerId(1), NOW);
        view.refresh(&shared, NOW);
        assert_eq!(spread(&mut view, &shared, 20), [0, 20, 0, 0]);
    }
}

#[test]
fn first_fills_the_lowest_id_before_the_next() {
    let mut servers = weighted(&[1, 1, 1]);
    for (server, puid) in servers.iter_mut().zip([30, 10, 20]) {
        (server.puid, server.maxconn) = (puid, 2);
    }
    let shared = shared(vec![(backend("b", Balance::First), servers)], 1);
    let mut view = BackendView::new(&shared, BackendId(0), 0, 1);
    let chosen: Vec<u32> = (0..6)
        .map(|_| pick(&mut view, &shared, &Ask::default()))
        .collect();
    assert_eq!(chosen, [2, 2, 3, 3, 1, 1]);
    assert!(matches!(
        view.pick(&shared, &Ask::default(), NOW),
        Choice::Wait(_)
    ));
}

#[test]
fn random_draws_by_weight_and_prefers_the_lighter_of_two() {
    for (draws, slack) in [(1, 60), (2, 60)] {
        let shared = shared(
            vec![(backend("b", Balance::Random(draws)), weighted(&[1, 3]))],
            1,
        );
        let mut view = BackendView::new(&shared, BackendId(0), 0, 1);
        let n = if draws == 1 { 4000 } else { 0 };
        let counts = spread(&mut view, &shared, n);
        assert!(
            counts[1].abs_diff(n as u32 * 3 / 4) <= slack * 2,
            "{counts:?}"
        );
        // Held: two draws keep them close to their shares.
        for _ in 0..400 {
            pick(&mut view, &shared, &Ask::default());
        }
        let held = self::counts(&shared);
        assert!(
            held[0].abs_diff(100) <= if draws == 1 { 40 } else { 20 },
            "{held:?}"
        );
    }
}

#[test]
fn redispatch_goes_elsewhere_if_there_is_another_server() {
    let balances = [
        Balance::RoundRobin,
        Balance::StaticRr,
        Balance::LeastConn,
        Balance::First,
        Balance::Random(2),
        Balance::Source,
    ];
    for balance in balances {
        for method in [HashMethod::MapBased, HashMethod::Consistent] {
            let hash_type = HashType {
                method,
                ..HashType::default()
            };
            let b = Backend {
                hash_type,
                ..backend("b", balance.clone())
            };
            let shared = shared(vec![(b, weighted(&[1, 1, 1]))], 1);
            let mut view = BackendView::new(&shared, BackendId(0), 0, 1);
            let client = Some("10.1.2.3".parse().unwrap());
            for avoid in (0..12).map(|i| ServerId(i % 3)) {
                let ask = Ask {
                    client,
                    key: None,
                    avoid: Some(avoid),
                };
                assert_ne!(pick(&mut view, &shared, &ask) - 1, avoid.0, "{balance:?}");
            }
            set_maint(&shared, ServerId(1), NOW);
            set_maint(&shared, ServerId(2), NOW);
            view.refresh(&shared, NOW);
            let ask = Ask {
                client,
                key: None,
                avoid: Some(ServerId(0)),
            };
            assert_eq!(
                pick(&mut view, &shared, &ask),
                1,
                "{balance:?} has no other"
            );
        }
    }
}
