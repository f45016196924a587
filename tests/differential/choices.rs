//! Which server haproxy takes, and which one Ringway does, for the same clients in the same order.

use std::collections::BTreeMap;

use super::{Side, same};
use crate::support::client::{connect_from, who};
use crate::support::{Admin, Launch, Server, ask, port, talk};

/// Servers A, B, C… behind `side`, each line with its `extra` words.
fn behind(extra: &[&str]) -> (Vec<Server>, String) {
    let servers: Vec<_> = ["A", "B", "C", "D", "E"]
        .iter()
        .take(extra.len())
        .map(|name| Server::named(name))
        .collect();
    let line =
        |(i, server): (usize, &Server)| format!(" server s{i} {} {}\n", server.addr(), extra[i]);
    let lines = servers.iter().enumerate().map(line).collect();
    (servers, lines)
}

/// The sequence of servers that `n` clients get from `algorithm`.
fn sequence(side: &Side, algorithm: &str, extra: &[&str], n: usize) -> Vec<String> {
    let (_servers, lines) = behind(extra);
    let config = format!(
        "global\n nbthread 1\ndefaults\n mode tcp\n timeout connect 2s\n timeout client 5s\n timeout server 5s\n\
         listen l\n bind 127.0.0.1:{}\n balance {algorithm}\n{lines}",
        side.front
    );
    let _daemon = Launch::of(side.program.clone(), &config).start();
    vec![(0..n).map(|_| who(side.front)).collect()]
}

#[test]
fn roundrobin_in_haproxys_order() {
    for extra in [
        &["", "", ""][..],
        &["weight 1", "weight 2", "weight 3"],
        &["weight 12", "weight 26", "weight 26"],
        &["weight 0", "weight 5", "weight 7", "weight 1", "weight 256"],
    ] {
        same(|side| sequence(side, "roundrobin", extra, 60));
    }
}

#[test]
fn static_rr_in_haproxys_order() {
    for extra in [
        &["", "", ""][..],
        &["weight 1", "weight 2", "weight 3"],
        &["weight 7", "weight 3", "weight 13", "weight 2"],
    ] {
        same(|side| sequence(side, "static-rr", extra, 60));
    }
}

#[test]
fn source_hashes_choose_haproxys_servers() {
    let sources: Vec<_> = (1..=60)
        .map(|i: u32| format!("127.{}.{}.{}", i * 7 % 256, i * 31 % 256, i))
        .collect();
    for kind in ["map-based", "consistent"] {
        for function in ["sdbm", "djb2", "wt6", "crc32"] {
            for avalanche in ["", " avalanche"] {
                same(|side| {
                    let (_servers, lines) =
                        behind(&["weight 1", "weight 3", "weight 2 id 77", "weight 10"]);
                    let config = format!(
                        "defaults\n mode tcp\n timeout connect 2s\n timeout client 5s\n timeout server 5s\n\
                         listen l\n bind 127.0.0.1:{}\n balance source\n hash-type {kind} {function}{avalanche}\n{lines}",
                        side.front
                    );
                    let _daemon = Launch::of(side.program.clone(), &config).start();
                    let chosen = sources.iter().map(|source| {
                        let mut client = connect_from(source, side.front).unwrap();
                        let answer = talk(&mut client, "x");
                        format!("{kind} {function}{avalanche} {source} {}", &answer[..1])
                    });
                    chosen.collect()
                });
            }
        }
    }
}

// L12: the stable columns of `show stat`; those of 3.4 follow.
#[test]
fn statistics_begin_with_haproxys_columns() {
    let header = |program| {
        let side = Side::new(program);
        let config = format!(
            "global\n stats socket @DIR@/admin\ndefaults\n mode tcp\n balance roundrobin\n timeout connect 2s\n timeout client 5s\n timeout server 5s\n\
             listen l\n bind 127.0.0.1:{}\n server s 127.0.0.1:1 disabled\n",
            side.front
        );
        let daemon = Launch::of(side.program.clone(), &config).start();
        let text = daemon.admin().run("show stat");
        let header = text.lines().next().unwrap_or_default().to_owned();
        header
            .split(",-,")
            .next()
            .unwrap_or_default()
            .trim_end_matches(',')
            .to_owned()
    };
    let (ours, theirs) = (
        header(crate::support::balancer()),
        header(crate::support::oracle()),
    );
    assert!(
        ours.starts_with(&theirs),
        "ours:   {ours}\ntheirs: {theirs}"
    );
}

// Ours are behind all of haproxy's, so that nobody who counts columns is led astray.
#[test]
fn columns_of_our_own_stand_behind_all_of_haproxys() {
    let header = |program| {
        let side = Side::new(program);
        let config = format!(
            "global\n stats socket @DIR@/admin\ndefaults\n mode tcp\n timeout connect 2s\n timeout client 5s\n timeout server 5s\n\
             listen l\n bind 127.0.0.1:{}\n server s 127.0.0.1:1 disabled\n",
            side.front
        );
        let daemon = Launch::of(side.program.clone(), &config).start();
        let text = daemon.admin().run("show stat");
        let fields = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
        let names = fields(text.lines().next().unwrap_or_default());
        for line in text.lines().skip(1).filter(|line| !line.is_empty()) {
            assert_eq!(fields(line).len(), names.len(), "{line}");
        }
        names
    };
    let ours = header(crate::support::balancer());
    let theirs = header(crate::support::oracle());
    let module = |names: &[String]| names.iter().position(|name| name == "-").unwrap_or(0);
    // haproxy's modules in its order, though 3.4 has two more of TLS; both lines end with a comma.
    let modules = &theirs[module(&theirs)..theirs.len() - 1];
    let mut rest = ours[module(&ours)..].iter();
    for name in modules {
        assert!(rest.any(|own| own == name), "{name} is not in its place");
    }
    let own: Vec<_> = rest.map(String::as_str).collect();
    assert_eq!(own.len(), 16 + 1, "{own:?}");
    assert_eq!(
        (own[0], own[15], own[16]),
        ("qtime_p50_us", "ttime_p999_us", "")
    );
}

/// Cells of `show stat` that must be equal after the same traffic.
const COUNTED: [&str; 24] = [
    "qcur", "qmax", "scur", "smax", "slim", "stot", "bin", "bout", "dreq", "dresp", "ereq", "econ",
    "eresp", "wretr", "wredis", "status", "weight", "act", "bck", "type", "mode", "algo", "lbtot",
    "conn_tot",
];

#[test]
fn the_same_traffic_is_counted_alike() {
    same(|side| {
        let (_servers, lines) = behind(&["", "weight 2", "backup"]);
        let config = format!(
            "global\n nbthread 1\n maxconn 400\n stats socket @DIR@/admin\ndefaults\n mode tcp\n balance roundrobin\n timeout connect 300\n timeout client 5s\n timeout server 5s\n retries 1\n option redispatch\n\
             frontend f\n bind 127.0.0.1:{}\n default_backend b\nbackend b\n{lines} server dead 127.0.0.1:1 weight 1\n",
            side.front
        );
        let daemon = Launch::of(side.program.clone(), &config).start();
        for _ in 0..8 {
            who(side.front);
            // The peak of sessions at a time is compared too.
            crate::support::until("it is gone", || {
                daemon.admin().count("f", "FRONTEND", "scur") == 0
            });
        }
        let admin: Admin = daemon.admin();
        crate::support::until("all are gone", || admin.count("f", "FRONTEND", "scur") == 0);
        let rows = admin.stat();
        let cells: BTreeMap<_, _> = rows
            .iter()
            .flat_map(|row| {
                COUNTED.iter().map(move |name| {
                    (
                        format!("{}/{} {name}", row["pxname"], row["svname"]),
                        row.get(*name).cloned(),
                    )
                })
            })
            .collect();
        cells
            .into_iter()
            .map(|(name, value)| format!("{name} {value:?}"))
            .collect()
    });
}

#[test]
fn what_rules_deny_is_counted_where_haproxy_counts_it() {
    same(|side| {
        let (web, ports) = (
            Server::http(|_, _| (200, "page".to_owned())),
            [side.front, port(), port(), port()],
        );
        let [h, t, behind, back] = ports;
        let server = web.addr();
        let config = format!(
            "global\n nbthread 1\n stats socket @DIR@/admin\ndefaults\n option socket-stats\n timeout connect 1s\n \
             timeout client 5s\n timeout server 5s\n\
             frontend h\n mode http\n bind 127.0.0.1:{h}\n http-request deny if {{ path /a }}\n use_backend b\n\
             backend b\n mode http\n http-request deny if {{ path /b }}\n http-response deny if {{ path /c }}\n server s {server}\n\
             frontend t\n mode tcp\n bind 127.0.0.1:{t}\n tcp-request inspect-delay 1s\n \
             tcp-request content reject if {{ req.len gt 0 }}\n default_backend tb\n\
             frontend behind\n mode tcp\n bind 127.0.0.1:{behind}\n default_backend tb\n\
             backend tb\n mode tcp\n tcp-request inspect-delay 1s\n tcp-request content reject if {{ req.len gt 0 }}\n \
             server s {server}\n\
             frontend back\n mode tcp\n bind 127.0.0.1:{back}\n default_backend tc\n\
             backend tc\n mode tcp\n tcp-response inspect-delay 1s\n tcp-response content reject\n server s {server}\n"
        );
        let daemon = Launch::of(side.program.clone(), &config).start();
        for (port, path) in [
            (h, "/a"),
            (h, "/b"),
            (h, "/c"),
            (t, "/"),
            (behind, "/"),
            (back, "/"),
        ] {
            let _ = ask(port, &format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        }
        let admin = daemon.admin();
        crate::support::until("all are counted", || {
            admin.count("back", "FRONTEND", "dresp") == 1
        });
        let rows = admin.stat();
        let cell = |row: &crate::support::admin::Row| {
            format!(
                "{}/{} {} {}",
                row["pxname"], row["svname"], row["dreq"], row["dresp"]
            )
        };
        rows.iter().map(cell).collect()
    });
}

/// Sessions at servers and in queues, after `n` clients came and stay.
fn loads(side: &Side, lines: &str, n: usize) -> Vec<String> {
    let config = format!(
        "global\n nbthread 1\n stats socket @DIR@/admin\ndefaults\n mode tcp\n balance roundrobin\n timeout connect 2s\n timeout queue 20s\n \
         timeout client 20s\n timeout server 20s\nlisten l\n bind 127.0.0.1:{}\n{lines}",
        side.front
    );
    let daemon = Launch::of(side.program.clone(), &config).start();
    let admin = daemon.admin();
    let mut found = Vec::new();
    let mut held = Vec::new();
    for i in 1..=n {
        held.push(crate::support::connect(side.front));
        crate::support::until("it is counted", || {
            admin.count("l", "FRONTEND", "scur") == i as u64
        });
        std::thread::sleep(std::time::Duration::from_millis(20));
        let rows = admin.stat();
        let row = |row: &crate::support::admin::Row| {
            format!("{} {}/{}", row["svname"], row["scur"], row["qcur"])
        };
        found.push(format!(
            "after {i}: {}",
            rows.iter().skip(1).map(row).collect::<Vec<_>>().join(", ")
        ));
    }
    found
}

#[test]
fn limits_grow_from_minconn_to_maxconn_as_in_haproxy() {
    same(|side| {
        let (_servers, lines) = behind(&["minconn 1 maxconn 8", "minconn 2 maxconn 20 weight 2"]);
        loads(side, &format!(" fullconn 16\n{lines}"), 24)
    });
}

#[test]
fn queues_fill_in_haproxys_order() {
    same(|side| {
        let (_servers, lines) = behind(&["maxconn 1 maxqueue 1", "maxconn 2", "maxconn 1 backup"]);
        loads(side, &lines, 10)
    });
}
