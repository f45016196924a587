//! What servers see of clients coming and going: connections used again, requests sent again, answers in pieces.

use std::time::Duration;

use super::{Side, same};
use crate::support::http::{Message, Origin, Reply, Wire, ok};
use crate::support::server::Server;
use crate::support::{Daemon, Launch, PATIENCE, balancer, port, ports_in_a_row, until, within};

/// A `listen` section with each of these lines, on one thread, and the ports of them.
fn start(side: &Side, sections: &[String]) -> (Daemon, Vec<u16>) {
    let first = ports_in_a_row(sections.len() as u16);
    let ports: Vec<_> = (first..).take(sections.len()).collect();
    let mut config = "global\n nbthread 1\ndefaults\n mode http\n timeout connect 2s\n timeout client 5s\n timeout server 5s\n option abortonclose\n".to_owned();
    for (port, lines) in ports.iter().zip(sections) {
        config.push_str(&format!(
            "listen l{port}\n bind 127.0.0.1:{port}\n balance roundrobin\n{lines}"
        ));
    }
    (Launch::of(side.program.clone(), &config).start(), ports)
}

/// Runs `work` for each of `0..n` at once; what each gave, in order.
fn at_once(n: usize, work: impl Fn(usize) -> Vec<String> + Sync) -> Vec<String> {
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..n)
            .map(|i| {
                let work = &work;
                scope.spawn(move || work(i))
            })
            .collect();
        all.into_iter()
            .flat_map(|one| one.join().unwrap())
            .collect()
    })
}

#[test]
fn connections_are_used_again_as_often_as_by_haproxy() {
    let modes = ["never", "safe", "aggressive", "always"];
    let options = ["", " option http-server-close\n", " option httpclose\n"];
    // Not max-reuse: haproxy's HTTP/1 does not keep to it.
    let extras = ["", " pool-max-conn 0"];
    let mut all = Vec::new();
    for mode in modes {
        for option in options {
            all.extend(extras.map(|extra| (mode, option, extra)));
        }
    }
    same(|side| {
        let origin = || {
            Origin::new(|asked: &Message| match asked.target() {
                "/close" => ok("Connection: close\r\n", "x"),
                _ => ok("", "x"),
            })
        };
        let origins: Vec<_> = all.iter().map(|_| origin()).collect();
        let sections = all
            .iter()
            .zip(&origins)
            .map(|((mode, option, extra), origin)| {
                format!(
                    " http-reuse {mode}\n{option} server s {}{extra}\n",
                    origin.addr()
                )
            });
        let (_daemon, ports) = start(side, &sections.collect::<Vec<_>>());
        at_once(all.len(), |i| {
            let (mode, option, extra) = all[i];
            vec![uses(ports[i], &origins[i].server, mode, option, extra)]
        })
    });
}

/// Clients that come and go, and how many connections the server saw of it.
fn uses(port: u16, server: &Server, mode: &str, option: &str, extra: &str) -> String {
    let accepted = || server.seen.accepted();
    // How many idle ones are worth keeping is a matter of taste; none at all is not.
    let none_stay = mode == "never" || !option.is_empty() || !extra.is_empty();
    let left = || {
        let none = none_stay && within(PATIENCE, || server.seen.open() == 0);
        if none { "none open" } else { "some open" }
    };
    let mut told = vec![format!("{mode}{option}{extra}")];
    let mut first = Wire::to(port);
    first.get("/1", "");
    told.push(format!("one request: {}", accepted()));
    if option.is_empty() {
        first.get("/2", "");
        told.push(format!("another: {}", accepted()));
        let mut second = Wire::to(port);
        second.get("/3", "");
        told.push(format!("another client: {}", accepted()));
        second.get("/4", "");
        told.push(format!("again: {}", accepted()));
        drop(second);
        first.get("/5", "");
        told.push(format!("the first again: {}", accepted()));
    }
    drop(first);
    // Time for the end of the client to be seen, where that shows in nothing else.
    std::thread::sleep(Duration::from_millis(60));
    told.push(left().to_owned());
    let mut third = Wire::to(port);
    third.get("/6", "");
    told.push(format!("a later client: {}", accepted()));
    drop(third);
    std::thread::sleep(Duration::from_millis(60));
    Wire::to(port).get("/close", "");
    told.push(format!("after close: {}, {}", accepted(), left()));
    told.join(", ")
}

#[test]
fn requests_are_sent_again_when_haproxy_does() {
    const GET: &str = "GET TARGET HTTP/1.1\r\nHost: h\r\n\r\n";
    const POST: &str = "POST TARGET HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody";
    const CHUNKS: &str = "POST TARGET HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
    let several = "empty-response conn-failure response-timeout junk-response 500";
    let words = [
        ("none", GET),
        ("conn-failure", GET),
        ("empty-response", GET),
        ("junk-response", GET),
        ("response-timeout", GET),
        ("500 404", GET),
        ("0rtt-rejected 503", GET),
        ("all-retryable-errors", GET),
        (several, GET),
        ("none", POST),
        ("all-retryable-errors", POST),
        ("all-retryable-errors", CHUNKS),
    ];
    same(|side| {
        let origins: Vec<_> = words.iter().map(|_| Origin::new(failing)).collect();
        let sections = words.iter().zip(&origins).map(|((retry_on, _), origin)| {
            format!(
                " timeout server 700\n retries 2\n option redispatch 1\n retry-on {retry_on}\n server a {}\n server b 127.0.0.1:{} backup\n",
                origin.addr(),
                port()
            )
        });
        let (_daemon, ports) = start(side, &sections.collect::<Vec<_>>());
        at_once(words.len(), |i| {
            let (retry_on, request) = words[i];
            let targets = [
                "/empty", "/junk", "/500", "/404", "/503", "/hang", "/half", "/",
            ];
            let told = targets.map(|target| {
                let mut client = Wire::to(ports[i]);
                client.send(request.replace("TARGET", target));
                let answer = client.answer("POST");
                let answer =
                    answer.map_or_else(|| "nothing".to_owned(), |a| a.status().to_string());
                let got = origins[i].drain();
                let got: Vec<_> = got
                    .iter()
                    .map(|r| format!("{} {}", r.method(), r.body))
                    .collect();
                format!("{retry_on} {target}: {answer}, {got:?}")
            });
            told.into()
        })
    });
}

/// A server whose every path fails in a way of its own.
fn failing(asked: &Message) -> Reply {
    match asked.target() {
        "/empty" => Reply::last(String::new()),
        "/junk" => Reply::from("JUNK\r\n\r\n"),
        "/500" => Reply::from("HTTP/1.1 500 Oops\r\nContent-Length: 3\r\n\r\nbad"),
        "/404" => Reply::from("HTTP/1.1 404 Gone\r\nContent-Length: 3\r\n\r\nbad"),
        "/503" => Reply::from("HTTP/1.1 503 Later\r\nContent-Length: 3\r\n\r\nbad"),
        "/hang" => Reply::none(),
        "/half" => Reply::last("HTTP/1.1 200 OK\r\nContent-L".to_owned()),
        _ => Reply::from(ok("", "good")),
    }
}

/// An answer that comes before its request was read: the client gets it whole.
#[test]
fn early_answers_are_passed_on() {
    same(|side| {
        let server = Server::new(|stream, _| {
            let mut wire = Wire::new(stream);
            wire.take(40);
            wire.send(
                "HTTP/1.1 413 Too much\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmuch",
            );
            wire.finish();
            wire.all();
        });
        let (_daemon, ports) = start(side, &[format!(" server s {}\n", server.addr())]);
        let mut told = Vec::new();
        for (length, sent) in [(100, 10), (100, 100), (3_000_000, 10), (3_000_000, 400_000)] {
            let mut client = Wire::to(ports[0]);
            client.send(format!(
                "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n"
            ));
            client.send("x".repeat(sent));
            let answer = client.last_answer("POST");
            told.push(format!(
                "{sent} of {length}: {} {}",
                answer.status(),
                answer.body
            ));
        }
        told
    });
}

/// Every cut of an answer is what it is in one piece.
#[test]
fn an_answer_cut_anywhere_is_what_it_is_in_one_piece() {
    let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\n\r\nuntil the end",
        "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ];
    let server = Server::new(move |stream, _| {
        let mut wire = Wire::new(stream);
        let Some(asked) = wire.request() else { return };
        let mut words = asked.target().trim_start_matches('/').split('/');
        let mut number = || {
            words
                .next()
                .and_then(|w| w.parse::<usize>().ok())
                .unwrap_or(0)
        };
        let (which, cut) = (answers[number()], number());
        wire.send(&which[..cut]);
        std::thread::sleep(Duration::from_micros(500));
        wire.send(&which[cut..]);
        wire.finish();
        wire.all();
    });
    let side = Side::new(balancer());
    let lines = format!(" option http-server-close\n server s {}\n", server.addr());
    let (_daemon, ports) = start(&side, &[lines]);
    std::thread::scope(|scope| {
        for (n, answer) in answers.iter().enumerate() {
            let front = ports[0];
            scope.spawn(move || {
                let seen = |cut: usize| {
                    let mut client = Wire::to(front);
                    client.send(format!(
                        "GET /{n}/{cut} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
                    ));
                    let mut all = Vec::new();
                    while let Some(answer) = client.answer("GET") {
                        all.push(answer.brief());
                        if !answer.whole {
                            break;
                        }
                    }
                    all
                };
                let whole = seen(0);
                assert!(!whole.is_empty());
                for cut in 1..answer.len() {
                    assert_eq!(seen(cut), whole, "{answer:?} cut at {cut}");
                }
            });
        }
    });
    until("nothing is left", || server.seen.open() == 0);
}
