//! Which server a connection gets.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::client::{connect_from, hold, who};
use crate::support::{Daemon, Launch, Server, USUAL, port, sized, talk, until};

/// Servers A, B, C… and the `server` lines for them, `extra` (weights and so on) in turn.
fn servers(extra: &[&str]) -> (Vec<Server>, String) {
    let names = ["A", "B", "C", "D", "E"];
    let servers: Vec<_> = names
        .iter()
        .take(extra.len())
        .map(|name| Server::named(name))
        .collect();
    let line = |(i, server): (usize, &Server)| {
        format!(" server s{} {} {}\n", i + 1, server.addr(), extra[i])
    };
    let lines = servers.iter().enumerate().map(line).collect();
    (servers, lines)
}

fn balancer(threads: u32, algorithm: &str, lines: &str) -> (Daemon, u16) {
    let front = port();
    let config = format!(
        "global\n nbthread {threads}\n{USUAL}listen l\n balance {algorithm}\n bind 127.0.0.1:{front}\n{lines}"
    );
    (Daemon::start(&config), front)
}

/// Names of the servers of `n` connections made one after the other, each closed before the next.
fn sequence(front: u16, n: usize) -> String {
    (0..n).map(|_| who(front)).collect()
}

fn shares(names: &str) -> Vec<usize> {
    let mut count = BTreeMap::new();
    for name in names.chars() {
        *count.entry(name).or_insert(0) += 1;
    }
    count.into_values().collect()
}

// A01
#[test]
fn roundrobin_takes_equal_servers_in_turn() {
    let (_servers, lines) = servers(&["", "", ""]);
    let (_daemon, front) = balancer(1, "roundrobin", &lines);
    assert_eq!(sequence(front, 9), "ABCABCABC");
}

// A01
#[test]
fn roundrobin_gives_each_server_its_weighted_share() {
    let (_servers, lines) = servers(&["weight 12", "weight 26", "weight 26"]);
    let (_daemon, front) = balancer(1, "roundrobin", &lines);
    let got = shares(&sequence(front, 640));
    assert!(
        (119..=121).contains(&got[0])
            && (259..=261).contains(&got[1])
            && (259..=261).contains(&got[2]),
        "{got:?}"
    );
}

// A01, issue point 4
#[test]
fn roundrobin_over_four_threads_stays_within_one_per_thread() {
    let (_servers, lines) = servers(&["weight 12", "weight 26", "weight 26"]);
    let (_daemon, front) = balancer(4, "roundrobin", &lines);
    let got = shares(&sequence(front, 640));
    for (got, fair) in got.iter().zip([120, 260, 260]) {
        assert!(got.abs_diff(fair) <= 4, "{got} where {fair} is fair");
    }
}

// A02
#[test]
fn static_rr_gives_the_same_shares_in_haproxys_order() {
    let (_servers, lines) = servers(&["weight 1", "weight 2", "weight 3"]);
    let (_daemon, front) = balancer(1, "static-rr", &lines);
    let got = sequence(front, 120);
    assert!(got.starts_with("ACBCBC"), "{got}");
    assert_eq!(shares(&got), [20, 40, 60]);
}

// A03
#[test]
fn leastconn_alternates_while_connections_stay() {
    let (_servers, lines) = servers(&["", ""]);
    let (_daemon, front) = balancer(1, "leastconn", &lines);
    let held: Vec<_> = (0..6).map(|_| hold(front)).collect();
    assert_eq!(
        held.iter()
            .map(|(_, name)| name.as_str())
            .collect::<String>(),
        "ABABAB"
    );
}

// A03
#[test]
fn leastconn_fills_up_the_emptier_server() {
    let (_servers, lines) = servers(&["", ""]);
    let (daemon, front) = balancer(2, "leastconn", &lines);
    let mut held: Vec<_> = (0..6).map(|_| hold(front)).collect();
    held.retain(|(_, name)| name == "A");
    until("B's connections are gone", || {
        daemon.admin().count("l", "s2", "scur") == 0
    });
    let next: String = (0..3)
        .map(|_| {
            let (c, n) = hold(front);
            held.push((c, n.clone()));
            n
        })
        .collect();
    assert_eq!(next, "BBB");
}

// A03
#[test]
fn leastconn_rotates_among_idle_servers() {
    let (_servers, lines) = servers(&["", "", ""]);
    let (_daemon, front) = balancer(1, "leastconn", &lines);
    let got: String = (0..6)
        .map(|_| {
            let name = who(front);
            std::thread::sleep(Duration::from_millis(20));
            name
        })
        .collect();
    assert_eq!(shares(&got), [2, 2, 2], "{got}");
}

// A03, issue point 4
#[test]
fn leastconn_held_connections_differ_by_at_most_one_whatever_the_threads() {
    for threads in [1, 4] {
        let (_servers, lines) = servers(&["", "", ""]);
        let (daemon, front) = balancer(threads, "leastconn", &lines);
        let total = sized(300, 1000);
        let _held: Vec<_> = (0..total).map(|_| hold(front)).collect();
        let got: Vec<_> = (1..=3)
            .map(|i| daemon.admin().count("l", &format!("s{i}"), "scur"))
            .collect();
        assert_eq!(got.iter().sum::<u64>(), total);
        assert!(
            got.iter().max().unwrap() - got.iter().min().unwrap() <= 1,
            "{threads} threads: {got:?}"
        );
    }
}

// A04, B18
#[test]
fn leastconn_respects_weights() {
    for threads in [1, 4] {
        let (_servers, lines) = servers(&["weight 1", "weight 3"]);
        let (_daemon, front) = balancer(threads, "leastconn", &lines);
        let held: Vec<_> = (0..400).map(|_| hold(front)).collect();
        let a = held.iter().filter(|(_, name)| name == "A").count();
        assert!(
            a.abs_diff(100) <= 2,
            "{threads} threads: {a} of 400 with weight 1 of 4"
        );
    }
}

fn from(source: &str, front: u16) -> String {
    let mut client = connect_from(source, front).unwrap();
    let answer = talk(&mut client, "x");
    answer[..1].to_owned()
}

// A05
#[test]
fn source_keeps_a_client_on_its_server() {
    let (_servers, lines) = servers(&["", "", ""]);
    let (_daemon, front) = balancer(2, "source", &lines);
    assert_eq!(
        sequence(front, 30),
        "C".repeat(30),
        "127.0.0.1 goes to the third of three"
    );
    for source in ["127.0.0.2", "127.1.2.3", "127.200.0.9"] {
        let first = from(source, front);
        assert!((0..5).all(|_| from(source, front) == first), "{source}");
    }
}

// A10
#[test]
fn with_consistent_hashing_a_lost_server_moves_only_its_clients() {
    let (mut servers, lines) = servers(&[
        "check inter 100 fall 1",
        "check inter 100 fall 1",
        "check inter 100 fall 1",
    ]);
    let (daemon, front) = balancer(2, "source\n hash-type consistent", &lines);
    let sources: Vec<_> = (1..40)
        .map(|i| format!("127.0.{i}.{}", i * 5 % 256))
        .collect();
    let before: Vec<_> = sources.iter().map(|s| from(s, front)).collect();
    assert!(
        ["A", "B", "C"]
            .iter()
            .all(|name| before.iter().any(|b| b == name)),
        "{before:?}"
    );
    servers[1].stop();
    daemon.admin().wait_status("l", "s2", "DOWN");
    for (source, old) in sources.iter().zip(&before) {
        let now = from(source, front);
        assert_ne!(now, "B");
        assert!(
            old == "B" || &now == old,
            "{source} moved from {old} to {now}"
        );
    }
}

// A11
#[test]
fn a_server_of_weight_0_gets_nothing_new() {
    for algorithm in ["roundrobin", "leastconn", "static-rr"] {
        let (_servers, lines) = servers(&["", "weight 0", ""]);
        let (_daemon, front) = balancer(1, algorithm, &lines);
        let got = sequence(front, 60);
        assert!(!got.contains('B'), "{algorithm}: {got}");
        assert_eq!(shares(&got).iter().sum::<usize>(), 60);
    }
}

// A11
#[test]
fn a_weight_above_256_is_an_error_at_its_line() {
    let checked =
        Launch::new("defaults\n mode tcp\nbackend b\n server s 127.0.0.1:1 weight 257\n").check();
    assert_eq!(checked.code(), 1);
    assert_eq!(checked.lines_with("cfg:4]").len(), 1, "{}", checked.text);
}

// issue: first
#[test]
fn first_fills_one_server_before_the_next() {
    let (_servers, lines) = servers(&["maxconn 2", "maxconn 2", "maxconn 2"]);
    let (_daemon, front) = balancer(2, "first", &lines);
    let held: Vec<_> = (0..6).map(|_| hold(front)).collect();
    assert_eq!(
        held.iter()
            .map(|(_, name)| name.as_str())
            .collect::<String>(),
        "AABBCC"
    );
}

// issue: random
#[test]
fn random_uses_every_server_and_prefers_the_less_loaded_of_its_draws() {
    let (_servers, lines) = servers(&["", "", ""]);
    let (_daemon, front) = balancer(2, "random(3)", &lines);
    let held: Vec<_> = (0..120).map(|_| hold(front)).collect();
    let got = shares(
        &held
            .iter()
            .map(|(_, name)| name.as_str())
            .collect::<String>(),
    );
    assert!(
        got.len() == 3 && got.iter().all(|n| (25..=55).contains(n)),
        "{got:?}"
    );
}
