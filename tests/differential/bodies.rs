//! Bodies that rules look at or wait for, in both directions: what they see of one that comes in pieces, late, cut or
//! not at all, what the client gets, and the line each leaves.

use std::time::Duration;

use super::http_logs::without_own_bytes;
use super::{Side, same};
use crate::support::Server;
use crate::support::http::Wire;

/// Between two pieces.
const PAUSE: Duration = Duration::from_millis(150);

/// Answers of a server, by path: what it sends, `|` being a pause; `.` at the end lets the connection end there, else
/// it is held for a second.
const ANSWERS: &[(&str, &str)] = &[
    ("/whole", "Content-Length: 20\r\n\r\nhello0123456789abcde"),
    (
        "/pieces",
        "Content-Length: 20\r\n\r\n|hello|0123456789abcde",
    ),
    ("/stall", "Content-Length: 20\r\n\r\nhello"),
    (
        "/switch",
        "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\nhello|abc.",
    ),
    (
        "/chunks",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n|3\r\nabc\r\n0\r\n\r\n",
    ),
    ("/end", "\r\nhello|abc."),
    ("/cut", "Content-Length: 20\r\n\r\nhello|."),
    ("/empty", "Content-Length: 0\r\n\r\n"),
];

/// A server that sends [`ANSWERS`].
fn server() -> Server {
    Server::new(|stream, _| {
        let mut wire = Wire::new(stream);
        let Some(asked) = wire.request() else { return };
        let path = asked.target().split('?').next().unwrap_or_default();
        let found = ANSWERS.iter().find(|(name, _)| *name == path);
        let answer = found.map_or("Content-Length: 0\r\n\r\n", |(_, answer)| answer);
        if !answer.starts_with("HTTP/") {
            wire.send("HTTP/1.1 200 OK\r\n");
        }
        let (pieces, ends) = match answer.strip_suffix('.') {
            Some(pieces) => (pieces, true),
            None => (answer, false),
        };
        for (n, piece) in pieces.split('|').enumerate() {
            if n > 0 {
                std::thread::sleep(PAUSE);
            }
            wire.send(piece);
        }
        if !ends {
            std::thread::sleep(Duration::from_secs(1));
        }
    })
}

/// What the client got that says something: status, fields of the rules, payload.
fn told(wire: &mut Wire, method: &str) -> String {
    let Some(answer) = wire.answer(method) else {
        return "no answer".to_owned();
    };
    let fields = answer
        .fields
        .iter()
        .filter(|(name, _)| name.starts_with("x-"));
    let fields: Vec<_> = fields
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    let own = answer.get("cache-control") == Some("no-cache");
    let body = if own { "a page" } else { &answer.body };
    let whole = if answer.whole { "" } else { ", cut" };
    format!("{} {fields:?} {body:?}{whole}", answer.status())
}

#[test]
fn rules_see_of_a_response_what_is_there_or_what_they_wait_for() {
    let waits = [
        "",
        "wait-for-body time 400ms",
        "wait-for-body time 400ms at-least 3",
    ];
    let denies = ["", "?deny"];
    same(|side| {
        let mut said = Vec::new();
        for wait in waits {
            let server = server();
            let wait = match wait {
                "" => String::new(),
                wait => format!(" http-response {wait}\n"),
            };
            let body = format!(
                " option httplog\n option abortonclose\n{wait} http-response set-header x-len %[res.body_len]\n \
                 http-response set-header x-size %[res.body_size]\n http-response set-header x-body %[res.body]\n \
                 http-response deny if {{ capture.req.uri -m end deny }} {{ res.body -m sub bcd abc }}\n server s {}\n",
                server.addr()
            );
            let front = Side::new(side.program.clone());
            let daemon = front.start(" mode http\n", &body);
            let mut n = 0;
            for (path, _) in ANSWERS {
                // Rules that do not wait see what happens to have come with the head.
                let looks = matches!(*path, "/stall" | "/empty");
                if *path == "/switch" || wait.is_empty() && !looks {
                    continue;
                }
                for deny in denies {
                    let mut wire = Wire::to(front.front);
                    wire.send(format!(
                        "GET {path}{deny} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
                    ));
                    said.push(format!("{wait}{path}{deny}: {}", told(&mut wire, "GET")));
                    n += 1;
                    front.settled(n);
                }
            }
            let lines = front.lines(&daemon, n, &[]);
            said.extend(lines.iter().map(|line| without_own_bytes(line)));
        }
        said
    });
}

#[test]
fn a_request_that_keeps_a_rule_waiting_for_its_body_is_refused() {
    // Framing, pieces, whether that is all of it.
    let bodies = [
        ("Content-Length: 20", "hello0123456789abcde", true),
        ("Content-Length: 20", "hello|0123456789abcde", true),
        ("Content-Length: 20", "hello", false),
        (
            "Transfer-Encoding: chunked",
            "5\r\nhello\r\n|3\r\nabc\r\n0\r\n\r\n",
            true,
        ),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n", false),
        ("Content-Length: 20", "", false),
        ("Content-Length: 0", "", true),
    ];
    let ways = [
        " http-request wait-for-body time 400ms\n",
        " http-request wait-for-body time 400ms at-least 3\n",
        " option http-buffer-request\n",
    ];
    same(|side| {
        let mut said = Vec::new();
        for way in ways {
            let server = server();
            let body = format!(
                " option httplog\n option abortonclose\n timeout http-request 400ms\n{way} http-request set-header x-len %[req.body_len]\n \
                 http-request return status 200 hdr x-len %[req.hdr(x-len)] hdr x-body %[req.body] unless {{ path /on }}\n \
                 server s {}\n",
                server.addr()
            );
            let front = Side::new(side.program.clone());
            let daemon = front.start(" mode http\n", &body);
            let mut n = 0;
            for (framing, pieces, whole) in bodies {
                // Without a rule that waits, one that looks sees what happens to have come. A body that stalls on its way
                // to the server is ended by `timeout client` here, by `timeout server` in 2.6.
                let paths: &[&str] = match way {
                    way if !way.contains("wait") => &["/on"],
                    way if way.contains("least") && !whole => &["/"],
                    _ => &["/", "/on"],
                };
                for path in paths {
                    let mut wire = Wire::to(front.front);
                    wire.send(format!(
                        "POST {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{framing}\r\n\r\n"
                    ));
                    for (n, piece) in pieces.split('|').enumerate() {
                        if n > 0 {
                            std::thread::sleep(PAUSE);
                        }
                        wire.send(piece);
                    }
                    said.push(format!(
                        "{way}{path} {pieces:?}: {}",
                        told(&mut wire, "POST")
                    ));
                    drop(wire);
                    n += 1;
                    front.settled(n);
                }
            }
            let lines = front.lines(&daemon, n, &[]);
            said.extend(lines.iter().map(|line| without_own_bytes(line)));
        }
        said
    });
}

#[test]
fn what_follows_a_switch_of_protocols_is_no_body_to_wait_for() {
    same(|side| {
        let server = server();
        let body = format!(
            " option httplog\n option abortonclose\n http-response wait-for-body time 2s\n \
             http-response set-header x-len %[res.body_len]\n server s {}\n",
            server.addr()
        );
        let daemon = side.start(" mode http\n", &body);
        let mut wire = Wire::to(side.front);
        wire.send("GET /switch HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n");
        let all = wire.all();
        drop(wire);
        let (head, rest) = all.split_once("\r\n\r\n").unwrap_or_default();
        let status = head.lines().next().unwrap_or_default();
        let mut said = vec![format!("{status}, {rest}")];
        said.extend(side.lines(&daemon, 1, &[]));
        said
    });
}

#[test]
fn a_request_whose_answer_a_rule_waits_for_is_not_sent_again() {
    same(|side| {
        let server = server();
        let body = format!(
            " option httplog\n option abortonclose\n timeout server 300ms\n retries 3\n retry-on all-retryable-errors\n \
             http-response wait-for-body time 2s\n server s {}\n",
            server.addr()
        );
        let daemon = side.start(" mode http\n", &body);
        let mut wire = Wire::to(side.front);
        wire.send("GET /stall HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        let mut said = vec![told(&mut wire, "GET")];
        said.push(format!("{} connections", server.seen.accepted()));
        let lines = side.lines(&daemon, 1, &[]);
        said.extend(lines.iter().map(|line| without_own_bytes(line)));
        said
    });
}

/// Who keeps a rule waiting, and for how long, is limited by `timeout client` as well; whoever leaves is not waited for.
#[test]
fn clients_that_leave_or_fall_silent_end_the_wait_for_their_body() {
    for abort in ["option", "no option"] {
        same(|side| {
            let body = format!(
                " {abort} abortonclose\n timeout client 400ms\n http-request wait-for-body time 3s\n server s 127.0.0.1:1\n"
            );
            let _daemon = side.start(" mode http\n", &body);
            let mut said = Vec::new();
            for leaves in [false, true] {
                let mut wire = Wire::to(side.front);
                wire.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 20\r\n\r\nhello");
                std::thread::sleep(PAUSE);
                if leaves {
                    wire.finish();
                }
                let began = std::time::Instant::now();
                let told = told(&mut wire, "POST");
                let soon = began.elapsed() < Duration::from_secs(2);
                said.push(format!("{leaves}: {told}, soon: {soon}"));
            }
            said
        });
    }
}
