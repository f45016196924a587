//! Compared with haproxy 2.6: `request.txt` and `response.txt` hold what it made of random cookies.

use super::*;
use crate::backend::fixture::{backend, server, shared};
use crate::config::Balance;
use crate::shared::server_cell::OpState;

fn cookie(mode: CookieMode, indirect: bool) -> Cookie {
    Cookie {
        name: b"S"[..].into(),
        mode,
        indirect,
        nocache: false,
        postonly: false,
        preserve: false,
        httponly: false,
        secure: false,
        domains: Vec::new(),
        maxidle: None,
        maxlife: None,
        dynamic_key: None,
        attributes: Vec::new(),
    }
}

/// The letter of a case in the files.
fn of_letter(letter: &str) -> Cookie {
    match letter {
        "i" => cookie(CookieMode::Insert, true),
        "n" => cookie(CookieMode::Insert, false),
        "p" => cookie(CookieMode::Prefix, false),
        "q" => cookie(CookieMode::Prefix, true),
        "r" => cookie(CookieMode::Rewrite, false),
        "t" => cookie(CookieMode::Passive, true),
        other => panic!("{other}"),
    }
}

/// Servers a, b, c with cookies A, B, C, of which c is down.
fn world() -> Shared {
    let servers = ["A", "B", "C"]
        .iter()
        .zip(1..)
        .map(|(value, n)| {
            let mut s = server(&format!("s{n}"), n);
            s.cookie = Some(value.as_bytes().into());
            s
        })
        .collect();
    let shared = shared(vec![(backend("b", Balance::RoundRobin), servers)], 1);
    shared.server(ServerId(2)).set_op(OpState::Stopped);
    shared
}

fn cases(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with('#'))
}

/// Values joined by `&`, bytes other than printable ones as `%XX`; `-`: none.
fn list(text: &str) -> Vec<Vec<u8>> {
    if text == "-" {
        return Vec::new();
    }
    let one = |text: &str| {
        let mut out = Vec::new();
        let mut bytes = text.bytes();
        while let Some(b) = bytes.next() {
            out.push(if b == b'%' {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            } else {
                b
            });
        }
        out
    };
    text.split('&').map(one).collect()
}

fn shown(list: &[Vec<u8>]) -> String {
    list.iter()
        .map(|v| format!("[{}]", v.escape_ascii()))
        .collect()
}

#[test]
fn requests_are_read_and_cleaned_as_haproxy_does() {
    let shared = world();
    let values = Values::new(&shared.config, BackendId(0));
    let (mut compared, mut wrong) = (0, Vec::new());
    for line in std::fs::read_to_string("/tmp/persist/req2.vec")
        .unwrap()
        .lines()
    {
        let words: Vec<&str> = line.split(' ').collect();
        let [letter, state, chosen, sent, expected] = words[..] else {
            panic!("{line}")
        };
        let cookie = of_letter(letter);
        let mut head = Head::default();
        for value in list(sent) {
            head.push(b"Cookie", &value);
        }
        let reading = Reading {
            cookie: &cookie,
            values: &values,
            shared: &shared,
            persist: false,
            ignored: false,
            chosen: None,
            now_s: 1_000_000,
        };
        let asked = read_request(&mut head, &reading, &mut Vec::new());
        let got: Vec<Vec<u8>> = head
            .values(b"cookie")
            .map(|v| v.trim_ascii().to_vec())
            .collect();
        let right = asked.found.letter() == state.chars().next().unwrap()
            && got == list(expected)
            && asked
                .server
                .is_none_or(|id| chosen == ["a", "b", "c"][id.index()]);
        compared += 1;
        if !right {
            wrong.push(format!(
                "{letter} {} -> {state} {chosen} {}; ours {} {:?} {}",
                shown(&list(sent)),
                shown(&list(expected)),
                asked.found.letter(),
                asked.server,
                shown(&got)
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {compared}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn responses_are_treated_as_haproxy_does() {
    let shared = world();
    let values = Values::new(&shared.config, BackendId(0));
    let (mut compared, mut wrong) = (0, Vec::new());
    for line in std::fs::read_to_string("/tmp/persist/resp2.vec")
        .unwrap()
        .lines()
    {
        let words: Vec<&str> = line.split(' ').collect();
        let [letter, state, chosen, asked, sent, expected] = words[..] else {
            panic!("{line}")
        };
        let cookie = of_letter(letter);
        let mut request = Head::default();
        for value in list(asked) {
            request.push(b"Cookie", &value);
        }
        let reading = Reading {
            cookie: &cookie,
            values: &values,
            shared: &shared,
            persist: false,
            ignored: false,
            chosen: None,
            now_s: 1_000_000,
        };
        let asked = read_request(&mut request, &reading, &mut Vec::new());
        let mut head = Head::default();
        head.set_status(200, b"OK");
        for value in list(sent) {
            head.push(b"Set-Cookie", &value);
        }
        let own = chosen.to_ascii_uppercase();
        let answer = Answering {
            cookie: &cookie,
            asked: &asked,
            server: Some(own.as_bytes()),
            method: b"GET",
            now_s: 1_000_000,
        };
        let done = treat_response(&mut head, &answer, &mut Vec::new());
        let got: Vec<Vec<u8>> = head
            .values(b"set-cookie")
            .map(|v| v.trim_ascii().to_vec())
            .collect();
        compared += 1;
        if format!("{}{done}", asked.found.letter()) != state || got != list(expected) {
            wrong.push(format!(
                "{letter} {} -> {state} {}; ours {done} {}",
                shown(&list(sent)),
                shown(&list(expected)),
                shown(&got)
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {compared}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn dates_are_read_and_written_as_haproxy_does() {
    let shared = {
        let mut servers = crate::backend::fixture::weighted(&[1; 4]);
        for (server, value) in servers.iter_mut().zip(["A", "B", "C"]) {
            server.cookie = Some(value.as_bytes().into());
        }
        shared(vec![(backend("b", Balance::RoundRobin), servers)], 1)
    };
    shared.server(ServerId(2)).set_op(OpState::Stopped);
    let values = Values::new(&shared.config, BackendId(0));
    let (mut compared, mut wrong) = (0, Vec::new());
    for line in cases(include_str!("dates.txt")) {
        let words: Vec<&str> = line.split(' ').collect();
        let [letter, now, state, chosen, sent, own, expected] = words[..] else {
            panic!("{line}")
        };
        let mut cookie = of_letter(match letter {
            "x" | "y" | "w" => "i",
            "z" => "n",
            "v" => "r",
            "u" => "p",
            _ => "t",
        });
        cookie.maxidle = "xzvus".contains(letter).then_some(10);
        cookie.maxlife = "yzvs".contains(letter).then_some(30);
        if letter == "z" {
            (cookie.httponly, cookie.secure) = (true, true);
            cookie.domains = vec![b".a.b"[..].into(), b"c.d"[..].into()];
            cookie.attributes = vec![b"X=1"[..].into(), b"Y"[..].into()];
        }
        let now_s = now.parse().unwrap();
        let mut request = Head::default();
        request.push(b"cookie", &list(sent)[0]);
        let reading = Reading {
            cookie: &cookie,
            values: &values,
            shared: &shared,
            persist: false,
            ignored: false,
            chosen: None,
            now_s,
        };
        let asked = read_request(&mut request, &reading, &mut Vec::new());
        let mut head = Head::default();
        head.set_status(200, b"OK");
        if own == "1" {
            head.push(b"set-cookie", b"S=q");
        }
        let at = "abcd".find(chosen).unwrap();
        let answer = Answering {
            cookie: &cookie,
            asked: &asked,
            server: shared.config.servers[at].cookie.as_deref(),
            method: b"GET",
            now_s,
        };
        let done = treat_response(&mut head, &answer, &mut Vec::new());
        let got: Vec<Vec<u8>> = head.values(b"set-cookie").map(<[u8]>::to_vec).collect();
        compared += 1;
        if format!("{}{done}", asked.found.letter()) != state || got != list(expected) {
            wrong.push(format!(
                "{line}; ours {}{done} {}",
                asked.found.letter(),
                shown(&got)
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {compared}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn response(status: u16, fields: &[(&[u8], &[u8])]) -> Head {
    let mut head = Head::default();
    head.set_status(status, b"");
    for (name, value) in fields {
        head.push(name, value);
    }
    head
}

/// As haproxy 2.6 decides whether `nocache` adds `Cache-Control: private`.
#[test]
fn what_a_cache_may_keep_follows_haproxy() {
    let of = |directives: &str, more: &[(&[u8], &[u8])]| {
        let mut head = response(200, more);
        head.push(b"cache-control", directives.as_bytes());
        is_cacheable(&head, b"GET")
    };
    let etag: &[(&[u8], &[u8])] = &[(b"etag", b"\"x\"")];
    for yes in [
        "max-age=5",
        "s-maxage=3",
        "MAX-AGE=60",
        "no-cache=\"x\", max-age=5",
        "max-age=00",
        "max-age",
    ] {
        assert!(of(yes, &[]), "{yes}");
    }
    for no in [
        "public",
        "no-cache",
        "max-age=0",
        "s-maxage=0, max-age=5",
        "immutable",
        "no-store, max-age=3",
    ] {
        assert!(!of(no, &[]), "{no}");
    }
    for yes in [
        "public",
        "no-store, public",
        "private=\"x\"",
        "no-store=x",
        "x=\"a, no-store\"",
        "\"a\\\", no-store\", b",
    ] {
        assert!(of(yes, etag), "{yes}");
    }
    for no in [
        "private",
        "NO-STORE",
        "public,private",
        "a,no-store ,b",
        ",,no-store,,",
        "max-age=0",
    ] {
        assert!(!of(no, etag), "{no}");
    }
    assert!(is_cacheable(&response(200, &[(b"expires", b"0")]), b"HEAD"));
    assert!(is_cacheable(&response(404, etag), b"OPTIONS"));
    assert!(!is_cacheable(&response(200, etag), b"POST"));
    assert!(!is_cacheable(&response(302, etag), b"GET"));
    assert!(!is_cacheable(&response(200, &[]), b"GET"));
    assert!(is_cacheable(
        &response(302, &[(b"etag", b"x"), (b"cache-control", b"public")]),
        b"POST"
    ));
    let pragma = response(
        200,
        &[
            (b"pragma", b"no-cache"),
            (b"cache-control", b"public, max-age=4"),
        ],
    );
    assert!(!is_cacheable(&pragma, b"GET"));
}

/// The letters and what the client gets, for who is asked for and who answers.
fn told(
    cookie: &Cookie,
    sent: &str,
    reading: impl Fn(&mut Reading<'_>),
    server: Option<&str>,
) -> String {
    let shared = world();
    let values = Values::new(&shared.config, BackendId(0));
    let mut request = Head::default();
    request.push(b"cookie", sent.as_bytes());
    let mut how = Reading {
        cookie,
        values: &values,
        shared: &shared,
        persist: false,
        ignored: false,
        chosen: None,
        now_s: 1000,
    };
    reading(&mut how);
    let mut asked = read_request(&mut request, &how, &mut Vec::new());
    let own = asked.server.map(|id| ["A", "B", "C"][id.index()]);
    if server.is_some() && own.is_some() && server != own {
        asked.redispatched();
    }
    let mut head = response(200, &[(b"cache-control", b"max-age=60")]);
    let answer = Answering {
        cookie,
        asked: &asked,
        server: server.map(str::as_bytes),
        method: b"GET",
        now_s: 1000,
    };
    let letter = treat_response(&mut head, &answer, &mut Vec::new());
    let added: Vec<String> = head
        .fields()
        .skip(1)
        .map(|(name, value)| format!("{}: {}", name.escape_ascii(), value.escape_ascii()))
        .collect();
    format!("{}{letter} {}", asked.found.letter(), added.join("; "))
}

#[test]
fn clients_learn_of_their_server_unless_they_know_it_or_shall_not() {
    let plain = cookie(CookieMode::Insert, true);
    let nocache = Cookie {
        nocache: true,
        ..plain.clone()
    };
    let as_is = |_: &mut Reading<'_>| {};
    assert_eq!(
        told(&plain, "x=1", as_is, Some("A")),
        "NI set-cookie: S=A; path=/"
    );
    assert_eq!(
        told(&nocache, "x=1", as_is, Some("A")),
        "NI set-cookie: S=A; path=/; cache-control: private"
    );
    assert_eq!(told(&nocache, "S=A", as_is, Some("A")), "VN ");
    // Its server failed and another one answers.
    assert_eq!(
        told(&plain, "S=A", as_is, Some("B")),
        "DI set-cookie: S=B; path=/"
    );
    assert_eq!(
        told(&plain, "S=C", as_is, Some("B")),
        "DI set-cookie: S=B; path=/"
    );
    assert_eq!(told(&plain, "S=C", |r| r.persist = true, Some("C")), "DN ");
    assert_eq!(told(&plain, "S=A", |r| r.ignored = true, Some("B")), "UN ");
    assert_eq!(
        told(&plain, "S=A", |r| r.chosen = Some(ServerId(1)), Some("B")),
        "UN "
    );
    assert_eq!(
        told(&plain, "S=A", |r| r.chosen = Some(ServerId(1)), Some("A")),
        "UI set-cookie: S=A; path=/"
    );
    assert_eq!(
        told(&plain, "x=1", as_is, None),
        "NI set-cookie: S=; Expires=Thu, 01-Jan-1970 00:00:01 GMT; path=/"
    );
    let postonly = Cookie {
        postonly: true,
        ..plain
    };
    assert_eq!(told(&postonly, "x=1", as_is, Some("A")), "NN ");
}

#[test]
fn the_first_server_of_a_value_that_is_up_wins_and_with_persist_the_first_of_all() {
    let servers = ["X", "X", "C"]
        .iter()
        .zip(1..)
        .map(|(value, n)| {
            let mut s = server(&format!("s{n}"), n);
            s.cookie = Some(value.as_bytes().into());
            s.backup = n == 2;
            s
        })
        .collect();
    let shared = shared(vec![(backend("b", Balance::RoundRobin), servers)], 1);
    let values = Values::new(&shared.config, BackendId(0));
    let cookie = cookie(CookieMode::Insert, false);
    let ask = |persist| {
        let mut request = response(0, &[(b"cookie", b"S=X")]);
        let reading = Reading {
            cookie: &cookie,
            values: &values,
            shared: &shared,
            persist,
            ignored: false,
            chosen: None,
            now_s: 1,
        };
        let asked = read_request(&mut request, &reading, &mut Vec::new());
        (asked.found, asked.server.map(|id| id.0))
    };
    assert_eq!(ask(false), (Found::Valid, Some(0)));
    shared.server(ServerId(0)).set_op(OpState::Stopped);
    assert_eq!(ask(false), (Found::Valid, Some(1)), "its backup");
    assert_eq!(ask(true), (Found::Down, Some(0)));
    shared.server(ServerId(1)).set_op(OpState::Stopped);
    assert_eq!(ask(false), (Found::Down, None));
}

#[test]
fn several_cookies_of_a_set_cookie2_field_are_treated_one_by_one() {
    let treat = |letter: &str, value: &[u8]| {
        let cookie = of_letter(letter);
        let mut head = response(200, &[(b"set-cookie2", value)]);
        let answer = Answering {
            cookie: &cookie,
            asked: &Asked::default(),
            server: Some(b"A"),
            method: b"GET",
            now_s: 1,
        };
        treat_response(&mut head, &answer, &mut Vec::new());
        let left = head.first(b"set-cookie2");
        left.map_or_else(String::new, |v| v.escape_ascii().to_string())
    };
    assert_eq!(treat("n", b"S=x; Version=1"), "");
    assert_eq!(treat("n", b"S=x; a, y=2; b"), "y=2; b");
    assert_eq!(treat("n", b"y=2; b, S=x; a, z"), "y=2; b, z");
    assert_eq!(treat("n", b"y=2, S=x; a"), "y=2");
    assert_eq!(treat("n", b"S=x, S=y"), "");
    assert_eq!(treat("p", b"S=x; a, S=y; b"), "S=A~x; a, S=A~y; b");
    assert_eq!(treat("r", b"y=1, S=longer; a, S=y"), "y=1, S=A; a, S=A");
}
