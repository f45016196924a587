//! Which server haproxy takes for a request by its key, and which one Ringway does.

use super::{Side, same};
use crate::support::http::{Origin, Wire};
use crate::support::{Launch, ports_in_a_row};

const KEYS: usize = 200;

/// `balance` line and the request number `n` for it.
type Algorithm = (&'static str, fn(usize) -> String);

fn get(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: h\r\n{fields}\r\n")
}

const ALGORITHMS: [Algorithm; 11] = [
    ("uri", |n| get(&format!("/u{n}?q={}", n % 7), "")),
    ("uri len 5", |n| get(&format!("/a{n}/{n}"), "")),
    ("uri depth 2", |n| {
        get(&format!("/d{}/e{}/f{n}", n / 10, n % 10), "")
    }),
    ("uri whole", |n| get(&format!("/w?n={n}"), "")),
    ("uri path-only", |n| {
        get(&format!("http://h{}/p{n}?x=1", n % 3), "")
            .replace("Host: h", &format!("Host: h{}", n % 3))
    }),
    ("url_param id", |n| get(&format!("/?x=1&id=k{n}&y=2"), "")),
    ("url_param id check_post", |n| {
        let body = format!("a=b&id=post{n}");
        let length = body.len();
        format!("POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}")
    }),
    ("hdr(x-key)", |n| get("/", &format!("X-Key: value {n}\r\n"))),
    ("hdr(host) use_domain_only", |n| {
        get("/", "").replace("Host: h", &format!("Host: www.site{n}.test:80"))
    }),
    ("rdp-cookie(msts)", |n| {
        get("/", &format!("Cookie: msts=c{n}\r\n"))
    }),
    // Without a key servers take turns.
    ("hdr(missing)", |n| get(&format!("/{n}"), "")),
];

const TYPES: [&str; 6] = [
    "map-based sdbm",
    "map-based crc32 avalanche",
    "map-based djb2",
    "consistent sdbm",
    "consistent wt6",
    "consistent djb2 avalanche",
];

/// The server of every key, for each algorithm and type.
fn chosen(side: &Side, algorithms: &[Algorithm]) -> Vec<String> {
    let servers = ["A", "B", "C", "D"].map(Origin::named);
    let extra = ["weight 1", "weight 3", "weight 2 id 77", "weight 10"];
    let lines = servers.iter().zip(extra).enumerate();
    let lines: String = lines
        .map(|(i, (server, extra))| format!(" server s{i} {} {extra}\n", server.addr()))
        .collect();
    let both: Vec<_> = algorithms
        .iter()
        .flat_map(|algorithm| TYPES.iter().map(move |kind| (algorithm, kind)))
        .collect();
    let first = ports_in_a_row(both.len() as u16);
    let mut config = "global\n nbthread 1\ndefaults\n mode http\n timeout connect 5s\n timeout client 20s\n timeout server 20s\n".to_owned();
    for (i, ((balance, _), kind)) in both.iter().enumerate() {
        let port = usize::from(first) + i;
        config.push_str(&format!(
            "listen l{i}\n bind 127.0.0.1:{port}\n balance {balance}\n hash-type {kind}\n{lines}"
        ));
    }
    let _daemon = Launch::of(side.program.clone(), &config).start();
    let walk = |i: usize| {
        let ((balance, request), kind) = both[i];
        let mut client = Wire::to(first + i as u16);
        let who = (0..KEYS).map(|n| {
            client.send(request(n));
            client.last_answer("GET").body
        });
        format!("{balance}, {kind}: {}", who.collect::<String>())
    };
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..4)
            .map(|lane| {
                let mine = (lane..both.len()).step_by(4);
                scope.spawn(move || mine.map(|i| (i, walk(i))).collect::<Vec<_>>())
            })
            .collect();
        let mut all: Vec<_> = lanes
            .into_iter()
            .flat_map(|lane| lane.join().unwrap())
            .collect();
        all.sort();
        all.into_iter().map(|(_, text)| text).collect()
    })
}

// A06, A07, A08, A09, A10
#[test]
fn keys_of_requests_choose_haproxys_servers() {
    same(|side| chosen(side, &ALGORITHMS));
}
