//! Compared with haproxy 2.6: `keys.txt` holds the servers it chose.

use super::*;
use crate::backend::fixture::{backend, shared, weighted};
use std::sync::atomic::Ordering::SeqCst;

use crate::backend::{Ask, BackendView, Choice, Queue};
use crate::base::tick::Tick;
use crate::config::{Affinity, Backend, Balance, HashMethod, KeyKind};
use crate::lang::subject::Bytes;
use crate::proto::http::Head;

struct Request {
    head: Head,
    body: Vec<u8>,
}

impl Subject for Request {
    fn request(&self) -> Option<&Head> {
        Some(&self.head)
    }
    fn request_body(&self) -> Option<Bytes<'_>> {
        Some(Bytes {
            bytes: &self.body,
            complete: true,
            announced: None,
        })
    }
    fn request_bytes(&self) -> Option<Bytes<'_>> {
        self.request_body()
    }
}

/// `%XX` for bytes other than printable ones; `-`: nothing.
fn bytes(text: &str) -> Vec<u8> {
    if text == "-" {
        return Vec::new();
    }
    let mut out = Vec::new();
    let mut rest = text.bytes();
    while let Some(b) = rest.next() {
        out.push(if b == b'%' {
            let digits = [rest.next().unwrap(), rest.next().unwrap()];
            u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
        } else {
            b
        });
    }
    out
}

fn uri_key(len: u32, depth: u32, whole: bool, path_only: bool) -> HashKey {
    HashKey::Uri {
        len: Some(len).filter(|&n| n > 0),
        depth: Some(depth).filter(|&n| n > 0),
        whole,
        path_only,
    }
}
fn header(name: &str, domain_only: bool) -> HashKey {
    HashKey::Header {
        name: name.as_bytes().into(),
        domain_only,
    }
}
fn param(post: Option<u32>) -> HashKey {
    HashKey::UrlParam {
        name: b"id"[..].into(),
        post,
    }
}

fn of_name(name: &str) -> (HashKey, HashType) {
    let plain = HashType::default();
    if name == "f_cons" {
        let how = HashType {
            method: HashMethod::Consistent,
            avalanche: true,
            ..plain
        };
        return (header("x", false), how);
    }
    if let Some(rest) = name.strip_prefix("f_") {
        let words: Vec<&str> = rest.split('_').collect();
        let how = HashType {
            method: match words[2] {
                "m" => HashMethod::MapBased,
                _ => HashMethod::Consistent,
            },
            function: match words[0] {
                "sdbm" => HashFunction::Sdbm,
                "djb2" => HashFunction::Djb2,
                "wt6" => HashFunction::Wt6,
                _ => HashFunction::Crc32,
            },
            avalanche: words[1] == "avalanche",
        };
        return (header("x", false), how);
    }
    let key = match name {
        "uri" => uri_key(0, 0, false, false),
        "len5" => uri_key(5, 0, false, false),
        "len0" => uri_key(100, 0, false, false),
        "dep1" => uri_key(0, 1, false, false),
        "dep2" => uri_key(0, 2, false, false),
        "dep3" => uri_key(0, 3, false, false),
        "l8d2" => uri_key(8, 2, false, false),
        "who" => uri_key(0, 0, true, false),
        "pat" => uri_key(0, 0, false, true),
        "pwho" => uri_key(0, 0, true, true),
        "plen" => uri_key(4, 0, false, true),
        "pdep" => uri_key(0, 1, false, true),
        "wlen" => uri_key(7, 0, true, false),
        "wdep" => uri_key(0, 2, true, false),
        "par" => param(None),
        "post" => param(Some(0)),
        "hx" => header("x", false),
        "hh" => header("host", false),
        "hhd" => header("host", true),
        "hxd" => header("x", true),
        other => panic!("{other}"),
    };
    (key, plain)
}

#[test]
fn keys_of_requests_choose_the_servers_that_haproxy_chooses() {
    let arena = Arena::new();
    let (mut compared, mut wrong) = (0, Vec::new());
    for line in include_str!("keys.txt")
        .lines()
        .filter(|l| !l.starts_with('#'))
    {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, expected, method, target, fields, body] = words[..] else {
            panic!("{line}")
        };
        let (key, how) = of_name(name);
        let mut head = Head::default();
        head.set_method(method.as_bytes());
        head.set_target(&bytes(target));
        for field in bytes(fields)
            .split(|&b| b == b'\n')
            .filter(|f| !f.is_empty())
        {
            let colon = field.iter().position(|&b| b == b':').unwrap();
            head.push(&field[..colon], field[colon + 1..].trim_ascii());
        }
        let request = Request {
            head,
            body: bytes(body),
        };
        let got = of_request(&key, how, &request, &arena).map_or(0, |key| {
            let b = Backend {
                hash_type: how,
                ..backend("b", Balance::Key(KeyKind::Header))
            };
            let shared = shared(vec![(b, weighted(&[1; 16]))], 1);
            let mut view = BackendView::new(&shared, BackendId(0), 0, 1);
            let ask = Ask {
                key: Some(key),
                ..Ask::default()
            };
            match view.pick(&shared, &ask, Tick(1000)) {
                Choice::Server(id) => id.0 + 1,
                other => panic!("{other:?}"),
            }
        });
        compared += 1;
        if got.to_string() != expected {
            wrong.push(format!("{line}; ours {got}"));
        }
    }
    assert!(compared > 1000);
    assert!(
        wrong.is_empty(),
        "{} of {compared}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn samples_are_hashed_as_bytes_and_numbers_are_keys_under_none() {
    let crc = HashType {
        function: HashFunction::Crc32,
        ..HashType::default()
    };
    // Servers of 97 that haproxy 2.6 chose for these expressions.
    for (value, server) in [
        (Value::Int(5), 90),
        (Value::Int(-5), 69),
        (Value::Bool(true), 47),
        (Value::Bool(false), 94),
        (Value::Ip("1.2.3.4".parse().unwrap()), 40),
        (Value::Ip("2001:db8::5".parse().unwrap()), 92),
        (Value::Method(b"GET"), 60),
        (Value::Str(b"abc"), 63),
        (Value::Bin(b"\0\xffA"), 73),
    ] {
        assert_eq!(
            sample(value, crc).map(|h| h % 97 + 1),
            Some(server),
            "{value:?}"
        );
    }
    let none = HashType {
        function: HashFunction::None,
        ..HashType::default()
    };
    assert_eq!(sample(Value::Int(77), none), Some(77));
    assert_eq!(sample(Value::Str(b"77"), none), Some(77));
}

fn keyed(weights: &[u32], consistent: bool, factor: u32) -> crate::shared::Shared {
    let method = match consistent {
        true => HashMethod::Consistent,
        false => HashMethod::MapBased,
    };
    let b = Backend {
        hash_type: HashType {
            method,
            avalanche: consistent,
            ..HashType::default()
        },
        hash_balance_factor: factor,
        ..backend("b", Balance::Key(KeyKind::Header))
    };
    shared(vec![(b, weighted(weights))], 1)
}

/// The digits of servers chosen for these keys, every place held.
fn held(shared: &crate::shared::Shared, keys: impl Iterator<Item = Option<u32>>) -> String {
    let mut view = BackendView::new(shared, BackendId(0), 0, 1);
    let mut choose = |key| {
        let ask = Ask {
            key,
            ..Ask::default()
        };
        match view.pick(shared, &ask, Tick(1000)) {
            Choice::Server(id) => char::from_digit(id.0 + 1, 10).unwrap(),
            other => panic!("{other:?}"),
        }
    };
    keys.map(&mut choose).collect()
}

/// The sequences of haproxy 2.6.
#[test]
fn requests_without_a_key_take_turns() {
    for (weights, map, ring) in [
        (
            [1, 1, 1],
            "123123123123",
            "332131123111223133231233121323211321223213213212332",
        ),
        (
            [1, 2, 3],
            "132323132323",
            "333333333332131312311312233313323331232333132322",
        ),
        (
            [3, 1, 2],
            "113123113123",
            "333111132111131312311131121231133231111111213313",
        ),
    ] {
        let none = |n: usize| std::iter::repeat_n(None, n);
        assert_eq!(held(&keyed(&weights, false, 0), none(12)), map);
        assert_eq!(held(&keyed(&weights, true, 0), none(ring.len())), ring);
        // The bound is of keys only.
        assert_eq!(held(&keyed(&weights, true, 110), none(ring.len())), ring);
    }
}

/// The sequences of haproxy 2.6 while every request is held: weights, factor, keys, servers.
#[test]
fn no_server_is_loaded_beyond_hash_balance_factor() {
    let how = HashType {
        method: HashMethod::Consistent,
        avalanche: true,
        ..HashType::default()
    };
    for line in include_str!("bound.txt")
        .lines()
        .filter(|l| !l.starts_with('#'))
    {
        let words: Vec<&str> = line.split(' ').collect();
        let weights: Vec<u32> = words[0].split(',').map(|w| w.parse().unwrap()).collect();
        let keys = words[2].split(',').map(|k| Some(hashed(k.as_bytes(), how)));
        let shared = keyed(&weights, true, words[1].parse().unwrap());
        assert_eq!(held(&shared, keys), words[3], "{line}");
    }
}

#[test]
fn draws_lose_that_hold_more_than_their_share() {
    let b = Backend {
        hash_balance_factor: 101,
        ..backend("b", Balance::Random(1))
    };
    let shared = shared(vec![(b, weighted(&[1, 1, 1]))], 1);
    held(&shared, std::iter::repeat_n(None, 300));
    for i in 0..3 {
        let open = shared.server_connections(ServerId(i));
        assert!(open.abs_diff(100) <= 2, "{open}");
    }
}

#[test]
fn keys_leave_a_full_server_only_where_hash_preserve_affinity_says_so() {
    let how = HashType {
        method: HashMethod::Consistent,
        avalanche: true,
        ..HashType::default()
    };
    for (affinity, second) in [
        (Affinity::Always, Choice::Wait(Queue::Server(ServerId(2)))),
        (Affinity::Maxqueue, Choice::Wait(Queue::Server(ServerId(2)))),
        (Affinity::Maxconn, Choice::Server(ServerId(0))),
    ] {
        let mut servers = weighted(&[1, 1, 1]);
        for server in &mut servers {
            (server.maxconn, server.maxqueue) = (1, 1);
        }
        let b = Backend {
            hash_type: how,
            hash_affinity: affinity,
            ..backend("b", Balance::Key(KeyKind::Header))
        };
        let shared = shared(vec![(b, servers)], 1);
        let mut view = BackendView::new(&shared, BackendId(0), 0, 1);
        let ask = Ask {
            key: Some(hashed(b"k1", how)),
            ..Ask::default()
        };
        let mut pick = || view.pick(&shared, &ask, Tick(1000));
        assert_eq!(pick(), Choice::Server(ServerId(2)));
        assert_eq!(pick(), second);
        shared.server(ServerId(2)).queued.store(1, SeqCst);
        let third = match affinity {
            Affinity::Always => Choice::Full(ServerId(2)),
            Affinity::Maxqueue => Choice::Server(ServerId(0)),
            Affinity::Maxconn => Choice::Server(ServerId(1)),
        };
        assert_eq!(pick(), third);
    }
}

#[test]
fn an_rdp_cookie_is_a_key_or_names_its_server() {
    let packet = |cookie: &str| {
        let mut bytes = b"\x03\x00\x00\x30\x2b\xe0\0\0\0\0\0".to_vec();
        bytes.extend_from_slice(format!("Cookie: {cookie}\r\n").as_bytes());
        Request {
            head: Head::default(),
            body: bytes,
        }
    };
    let key = HashKey::RdpCookie {
        name: b"mstshash"[..].into(),
    };
    let how = HashType::default();
    let arena = Arena::new();
    let user = of_request(&key, how, &packet("mstshash=user"), &arena);
    assert_eq!(user, Some(hash::sdbm(b"user")));
    assert_eq!(of_request(&key, how, &packet("msts=1"), &arena), None);
    let shared = shared(vec![(backend("b", Balance::RoundRobin), weighted(&[1]))], 1);
    // 127.0.0.1 and port 80, bytes in reverse.
    let token = packet("msts=16777343.20480.0000");
    let named = |r: &Request| rdp_server(&shared.config, BackendId(0), &r.body, b"msts");
    assert_eq!(named(&token), Some(ServerId(0)));
    assert_eq!(named(&packet("msts=16777343.20736.0000")), None);
    assert_eq!(named(&packet("msts=x")), None);
}
