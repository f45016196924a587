//! Choices compared with haproxy's own (`vectors/`), and bounds on how they are spread.

use std::net::IpAddr;

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
                avoid: None,
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
