//! What log formats give: aliases, flags, encodings, levels and states, line by line.

use std::io::{Read, Write};
use std::time::Duration;

use regex::Regex;

use super::{Side, same};
use crate::support::client::read_piece;
use crate::support::{Server, ask, connect};

/// Answers every request with these bytes, after its head, and closes.
fn answering(answer: &'static str) -> Server {
    Server::new(move |mut stream, _| {
        let mut head = String::new();
        while !head.contains("\r\n\r\n") {
            match read_piece(&mut stream) {
                Ok(piece) if !piece.is_empty() => head += &piece,
                _ => return,
            }
        }
        let _ = stream.write_all(answer.as_bytes());
    })
}

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nSet-Cookie: sid=new; path=/\r\n\
                      Server: o\"r|g\r\n\r\nabc";
/// Everything that is written otherwise than it came.
const ODD: &str = "GET http://ex.com/p/a%20th?q=1&b=\"z\" HTTP/1.1\r\nHost: ex.com\r\nX-A: a\"b#c{d}|e\\f]g\r\n\
                   X-B: caf\u{e9}\tt\r\nX-E: \r\nCookie: sid=ab#c|d{}\\]\u{e9}; x=y\r\nConnection: close\r\n\r\n";
const PLAIN: &str = "GET /some/where?a=b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
const HTTP: &str = " mode http\n timeout http-request 400\n";

/// Sends the bytes and takes whatever comes back until the end, which comes within the time any timeout here needs.
fn exchange(port: u16, request: &str) {
    let mut stream = connect(port);
    stream
        .set_read_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    let _ = stream.write_all(request.as_bytes());
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
}

/// Timers before a status, ports and what is left of dates.
fn masked(line: &str) -> String {
    const MASKS: [(&str, &str); 5] = [
        (
            r"(-1|\d+)/(-1|\d+)/(-1|\d+)/(-1|\d+)/(\+?)\d+ ",
            "T/T/T/T/${5}T ",
        ),
        (r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d(\.\d{3})?", "DATE"),
        (r"\d{4}-\d\d-\d\dT[\d:.]+", "DATE"),
        (r"haproxy \d+ ", "haproxy PID "),
        // A busy machine takes a millisecond here and there.
        (r"\b(T[hiRwcradutq]) (?:\d+ )+", "$1 T "),
    ];
    MASKS.iter().fold(line.to_owned(), |line, (pattern, to)| {
        let pattern = Regex::new(pattern).unwrap();
        pattern.replace_all(&line, *to).into_owned()
    })
}

/// Runs these requests one after the other through a `listen` with these lines; `lines` come of them in all.
fn compare(body: &str, server: impl Fn() -> Server + Sync, requests: &[&str], lines: usize) {
    same(|side: &Side| {
        let server = server();
        let body = body
            .replace("@SERVER@", &format!("server s {}", server.addr()))
            .replace("@LOG@", &format!("127.0.0.1:{}", side.log.port));
        let daemon = side.start(HTTP, &body);
        for (n, request) in requests.iter().enumerate() {
            exchange(side.front, request);
            if lines == requests.len() {
                side.settled(n + 1);
            }
        }
        let written = side.lines(&daemon, lines, &[]);
        written.iter().map(|line| masked(line)).collect()
    });
}

const CAPTURES: &str = " capture request header x-a len 50\n capture request header nope len 10\n \
                        capture request header x-b len 50\n capture response header server len 30\n \
                        capture cookie sid len 20\n unique-id-format id-%{+X}o%fi-%HM\n @SERVER@\n";

#[test]
fn every_alias_with_every_flag() {
    let aliases = "ci t tr trg trl T Tl f ft b bi bc bq s si sc sq fc fi ac rc B ST CC CS hr hs hrl hsl r HM HP HPO HQ HU \
                   HV ID H lc rt ts tsc Th Ti o sslv sslc";
    for some in aliases.split(' ').collect::<Vec<_>>().chunks(5) {
        let formats = some
            .iter()
            .map(|a| format!("{a} %{a} %{{+Q}}{a} %{{+X}}{a} %{{+E}}{a} %{{+Q,+E}}{a} "));
        let body = format!(
            " log-format \"{}\"\n{CAPTURES}",
            formats.collect::<String>()
        );
        compare(&body, || answering(ANSWER), &[ODD, PLAIN], 2);
    }
}

#[test]
fn the_predefined_formats() {
    for option in ["httplog", "tcplog"] {
        let body = format!(" option {option}\n{CAPTURES}");
        compare(&body, || answering(ANSWER), &[ODD, PLAIN], 2);
        let body = format!(" option {option}\n option logasap\n @SERVER@\n");
        compare(
            &body,
            || {
                Server::new(|mut stream, _| {
                    let _ = read_piece(&mut stream);
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n");
                    std::thread::sleep(Duration::from_millis(300));
                    let _ = stream.write_all(b"abc");
                })
            },
            &[PLAIN],
            1,
        );
    }
    // Without numbers that differ from run to run.
    let clf = " log-format \"%{+Q}o %{-Q}ci - - [%trg] %r %ST %B \\\"\\\" \\\"\\\" %ft %b %s %tsc %ac %fc %bc %sc %rc %sq \
               %bq %CC %CS %hrl %hsl\"\n";
    compare(
        &format!("{clf}{CAPTURES}"),
        || answering(ANSWER),
        &[ODD, PLAIN],
        2,
    );
}

#[test]
fn flags_spaces_and_percent_signs() {
    for format in [
        "%{Q}ci|%{+QX}ci|%{Q+X}ci|%{+X+Q}ci|%{-Q+X}ci|%{+Q,}ci|%{,+Q}ci|%{+X,Q}ci|%{+q}ci|%{ +Q}ci|%{++Q}ci|%{+Q-Q}ci",
        "%{+Q}o %ci %{-Q}b %s %{+X}o %ci %{-X,+Q}ci",
        "  a  b\tc %% %-b %]y %_ci %;%ci %ci_abc %ci] ",
        "%hr %hs %{+Q}r %hr",
        "a %HPO b %{+Q}HPO %{+Q}ID %ID %hrl",
        "%[src]|%{+X}[src]|%{+Q}[src]|%[int(42)]|%{+Q}[int(42)]|%[bool(1)]|%{+Q}[bool(1)]|%[var(txn.x)]|%{+Q}[var(txn.x)]",
        "%[str(']')]x%[str(\\\"a]b\\\")]|%{+E}[str('a]b')]|%{+Q,+E}[str('c]d')]|%[be_name]/%[srv_name] %[fe_conn] %[method]",
    ] {
        let body = format!(" log-format \"{format}\"\n @SERVER@\n");
        compare(
            &body,
            || answering(ANSWER),
            &[PLAIN, "OPTIONS * HTTP/1.0\r\n\r\n"],
            2,
        );
    }
}

#[test]
fn a_long_request_line_is_cut() {
    let long = format!(
        "GET /{}?b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "a".repeat(3000)
    );
    let less = format!(
        "GET /?{}b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "a".repeat(1010)
    );
    for format in ["%r", "%HM %HV|%HQ"] {
        same(|side: &Side| {
            let server = answering(ANSWER);
            let body = format!(" log-format \"{format}\"\n server s {}\n", server.addr());
            let daemon = side.start(HTTP, &body);
            exchange(side.front, &long);
            side.settled(1);
            exchange(side.front, &less);
            let mut lines = side.lines(&daemon, 2, &[]);
            // haproxy 2.6 writes the line of a request twice that was cut.
            lines.dedup();
            lines
        });
    }
}

#[test]
fn requests_that_are_not_whole() {
    let requests = ["GARBAGE\r\n\r\n", "GET / HT", "", PLAIN];
    let format = "%ci %f %b %s %TR/%Tw/%Tc/%Tr/%Ta %ST %r|%HM|%HU|%HV|%HQ %tsc %hr %CC %rc %ac/%fc/%bc/%sc %bi %si";
    let own = format!(" log-format \"{format}\"\n{CAPTURES}");
    compare(&own, || answering(ANSWER), &requests, 4);
    let errors = format!(" error-log-format \"E {format} %[fe_name]\"\n{own}");
    compare(&errors, || answering(ANSWER), &requests, 4);
    let null = format!(" option dontlognull\n{own}");
    compare(&null, || answering(ANSWER), &requests, 3);
}

#[test]
fn levels_and_what_is_left_out() {
    let server = || {
        Server::new(|mut stream, _| {
            let head = read_piece(&mut stream).unwrap_or_default();
            let status = if head.starts_with("GET /500") {
                "500 No"
            } else {
                "200 OK"
            };
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        })
    };
    let requests = [PLAIN, "GET /500 HTTP/1.0\r\n\r\n", "GARBAGE\r\n\r\n"];
    let format = " log-format \"%ST %tsc %r\"\n";
    compare(
        &format!("{format} option log-separate-errors\n @SERVER@\n"),
        server,
        &requests,
        3,
    );
    compare(
        &format!("{format} option dontlog-normal\n @SERVER@\n"),
        server,
        &requests,
        2,
    );
    compare(
        &format!("{format} option log-separate-errors\n server s 127.0.0.1:1\n retries 0\n"),
        server,
        &[PLAIN],
        1,
    );
}

#[test]
fn structured_data() {
    let body = " no log\n log @LOG@ format rfc5424 local0\n log @LOG@ format rfc3164 local0\n log-format \"%ST %r\"\n \
                log-format-sd %{+Q,+E}o\\ [ex@1\\ h=%ST\\ c=%ci\\ x=%HU\\ e=%ID]\n @SERVER@\n";
    compare(body, || answering(ANSWER), &[ODD], 2);
}

#[test]
fn ends_of_exchanges_with_a_server() {
    let format =
        " log-format \"%s %ST %tsc %rc %TR/%Tw/%Tc/%Tr/%Ta %r\"\n timeout server 300\n retries 1\n";
    let to = format!("{format} @SERVER@\n");
    let silent = || {
        Server::new(|mut stream, _| {
            let _ = read_piece(&mut stream);
            std::thread::sleep(Duration::from_secs(1));
        })
    };
    compare(&to, silent, &[PLAIN], 1);
    compare(&to, || answering(""), &[PLAIN], 1);
    compare(&to, || answering("no HTTP at all\r\n\r\n"), &[PLAIN], 1);
    compare(
        &to,
        || answering("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"),
        &[PLAIN],
        1,
    );
    let stalled = || {
        Server::new(|mut stream, _| {
            let _ = read_piece(&mut stream);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
            std::thread::sleep(Duration::from_secs(1));
        })
    };
    compare(&to, stalled, &[PLAIN], 1);
    compare(
        &format!("{format} server gone 127.0.0.1:1\n"),
        silent,
        &[PLAIN],
        1,
    );
    compare(
        &format!("{format} server off 127.0.0.1:1 disabled\n"),
        silent,
        &[PLAIN],
        1,
    );
}

#[test]
fn formats_of_tcp_sessions() {
    for format in [
        "%ci [%t] %ft %b/%s %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq|%U|%ST|%fi|%bi|%si|%Th|%lc|%ID|%H|%hr|%{+X}ci %[src] %[be_conn]",
        "%{+Q}o %{-Q}ci - - [%T] \\\"TCP \\\" 000 %B \\\"\\\" \\\"\\\" %ft %b %s %Th %U %ts-- %ac %fc %bc %sc %rc %sq %bq \\\"\\\" ",
    ] {
        same(|side: &Side| {
            let server = Server::named("A");
            let more = " capture request header a len 4\n capture request header b len 4\n unique-id-format \"a  %ST\"\n";
            let body = format!(
                " log-format \"{format}\"\n{more} server s {}\n",
                server.addr()
            );
            let daemon = side.start("", &body);
            ask(side.front, "x").unwrap();
            let lines = side.lines(&daemon, 1, &[]);
            lines.iter().map(|line| masked(line)).collect()
        });
    }
}

#[test]
fn formats_in_messages_and_variables() {
    const FORMATS: [&str; 12] = [
        "[%[req.hdr(nope)]]",
        "\"a  b %[req.hdr(nope)] c \"",
        "%[req.hdr(x-a)]",
        "%{+E}[req.hdr(x-a)]",
        "%{+Q}[req.hdr(x-a)]",
        "%{+Q,+E}[req.hdr(x-a)]",
        "%[req.hdr(x-b)]",
        "%[var(txn.bin)]",
        "%ci\\ %ID\\ %hr\\ %r\\ %CC|%sslv|%s|%b|%rc|%tsc|%B|%Tw",
        "%HU|%HQ|%{+Q}HM|%HP",
        "%{+Q}[req.hdr(nope)]",
        "%{+Q}ID|%{+Q}hrl|%hrl|%bi|%{+Q}si|%[src]%%",
    ];
    for format in FORMATS {
        let body = format!(
            " log-format \"%[var(txn.seen)] %[var(txn.f),hex] %[var(txn.h),hex]\"\n capture request header x-a len 50\n \
             http-request set-var(txn.bin) str(QSIKXVz/AGI=),b64dec\n http-request set-var-fmt(txn.f) {format}\n \
             http-request set-header x-q {format}\n http-request set-var(txn.h) req.hdr(x-q)\n @SERVER@\n"
        );
        compare(&body, || answering(ANSWER), &[ODD], 1);
    }
}
